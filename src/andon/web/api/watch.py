"""Who watches, over HTTP."""

from fastapi import APIRouter
from starlette.responses import Response

from andon.platform import Platform
from andon.web import openapi
from andon.web.alert_shapes import WatchShown
from andon.web.shapes import reply


def router(platform: Platform) -> APIRouter:
    """`/api/watch`."""
    routes = APIRouter(tags=["watching"])

    @routes.get(
        "/api/watch",
        summary="Who watches",
        responses=openapi.answers(WatchShown, about="Who does, since when, and how it goes."),
    )
    def get_watch() -> Response:
        """Of several servers on one database exactly one watches the models and acts.

        When it falls silent, another takes over within ANDON_LEASE_SECONDS and a few seconds.
        """
        return reply(WatchShown.of(platform.watch.status()))

    return routes
