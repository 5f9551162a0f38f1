"""Totals of a model."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from andon.platform import Platform
from andon.web import openapi
from andon.web.parameters import ModelQuery, known_model
from andon.web.shapes import Stats, reply


def router(platform: Platform) -> APIRouter:
    """`/api/stats`."""
    routes = APIRouter(tags=["operations"])

    @routes.get(
        "/api/stats",
        summary="Totals of a model",
        responses=openapi.answers(Stats, 404, 422, about="Totals over all versions."),
    )
    def stats(model: Annotated[ModelQuery, Query()] = None) -> Response:
        """Inspections and detections of all versions of a model, from running counters."""
        name = known_model(platform, model)
        active = platform.db.models.active(name)
        totals = platform.db.predictions.stats(name)
        return reply(
            Stats(
                active_version=active.version if active else None,
                total_inferences=totals["total_inferences"],
                total_detections=totals["total_detections"],
                avg_confidence=totals["avg_confidence"],
                queue_size=platform.jobs.size(),
            )
        )

    return routes
