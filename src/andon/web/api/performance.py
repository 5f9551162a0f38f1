"""Performance over HTTP: how a version does over its newest answers."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from andon.errors import NotFound
from andon.monitoring import performance
from andon.monitoring.labels import Window
from andon.platform import Platform
from andon.store.clock import now
from andon.web import openapi
from andon.web.parameters import ModelQuery, known_model
from andon.web.performance_shapes import PerformanceReply
from andon.web.shapes import reply

PATH = "/api/performance"


def router(platform: Platform) -> APIRouter:
    """`/api/performance`."""
    routes = APIRouter(tags=["watching"])

    @routes.get(
        PATH,
        summary="How a version does",
        responses=openapi.answers(
            PerformanceReply, 404, 422, 503, about="Its numbers, and what is said of them."
        ),
    )
    def show_performance(
        model: ModelQuery = None,
        version: Annotated[
            int | None, Query(ge=1, le=2**31 - 1, description="Default: the active one.")
        ] = None,
        window: Annotated[
            str | None,
            Query(
                max_length=16,
                description="The newest so many answers (up to 10,000), or those of the last 90m, "
                "24h, 7d. Default: ANDON_MONITOR_WINDOW.",
            ),
        ] = None,
    ) -> Response:
        """Measured now, from the log. Numbers that nobody can know yet are null.

        `accuracy` is measured by feedback where there are enough labels; else it is an estimate
        from confidence and says so.
        """
        name = known_model(platform, model)
        db, settings = platform.db, platform.settings
        words = window or str(settings.monitor_window)
        wanted = Window.parse(words)
        number = version
        if number is None:
            active = db.models.active(name)
            if active is None:
                raise NotFound(
                    f"No version of model {name} is active.", hint="Name one with `version`."
                )
            number = active.version
        found = db.models.get(name, number)
        measured = performance.measure(
            db, found, limit=wanted.limit, since=wanted.since, settings=settings
        )
        signals = platform.monitor.signals()
        return reply(
            PerformanceReply(
                model=name,
                version=number,
                window=words,
                measured_at=now(),
                performance=measured,
                signals=[one for one in signals if (one.model, one.version) == (name, number)],
            )
        )

    return routes
