"""Trends over HTTP: measured numbers of a model over days and weeks."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from andon.monitoring import history
from andon.platform import Platform
from andon.web import openapi
from andon.web.parameters import ModelQuery, known_model
from andon.web.shapes import reply

PATH = "/api/trends"


def router(platform: Platform) -> APIRouter:
    """`/api/trends`."""
    routes = APIRouter(tags=["watching"])

    @routes.get(
        PATH,
        summary="A number of a model over weeks",
        responses=openapi.answers(
            history.Trends, 404, 422, 503, about="A line for each version, and what changed."
        ),
    )
    def show_trends(
        model: ModelQuery = None,
        metric: Annotated[
            str,
            Query(max_length=64, description=f"One of {', '.join(history.METRICS)}."),
        ] = "accuracy",
        days: Annotated[int, Query(ge=1, le=history.MOST_DAYS, description="Days back.")] = 28,
    ) -> Response:
        """Written down every quarter of an hour while a version answers; at most 1,000 points."""
        name = known_model(platform, model)
        return reply(history.trends(platform.db, name, days, metric))

    return routes
