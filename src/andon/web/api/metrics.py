"""`/metrics`, for Prometheus."""

from fastapi import APIRouter
from prometheus_client import generate_latest
from starlette.responses import Response

from andon.platform import Platform
from andon.web import openapi
from andon.web.metrics import CONTENT_TYPE, HttpMetrics


def router(platform: Platform, http: HttpMetrics) -> APIRouter:
    """`/metrics`."""
    routes = APIRouter(tags=["operations"])

    @routes.get(
        "/metrics",
        summary="Prometheus metrics",
        response_class=Response,
        responses={
            **openapi.files("text/plain", about="The Prometheus text format."),
            **openapi.problems(),
        },
    )
    def metrics() -> Response:
        """Inferences, detections, latency, deployments, HTTP and process numbers."""
        text = generate_latest(platform.collector) + http.text()
        return Response(text, headers={"Content-Type": CONTENT_TYPE})

    return routes
