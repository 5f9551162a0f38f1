"""Puts the HTTP application together.

The application serves a platform that somebody else has started and will stop
(`server.run`, or a test).
"""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from andon import __version__
from andon.errors import AndonError
from andon.platform import Platform
from andon.web import problems, signin
from andon.web.access import Access, check_key
from andon.web.api import (
    actions,
    agent,
    alerts,
    compare,
    docs,
    drift,
    events,
    feedback,
    floor_metrics,
    health,
    jobs,
    metrics,
    models,
    output,
    performance,
    predict,
    predictions,
    replays,
    row_batch,
    stats,
    taking,
    telemetry,
    traffic,
    training,
    trends,
    watch,
    workers,
)
from andon.web.cross_origin import CrossOrigin
from andon.web.dashboard import pages
from andon.web.gate import Gate
from andon.web.metrics import HttpMetrics
from andon.web.openapi import Document
from andon.web.routes import RouteTable


def create_app(platform: Platform) -> FastAPI:
    """The application over a platform.

    Args:
        platform: Started by the caller, who stops it after the last answer.

    Raises:
        ConfigurationError: A key is required, and the configured one protects nothing.
    """
    settings = platform.settings
    check_key(settings)
    access = Access(settings)
    counted = HttpMetrics()
    table = RouteTable()
    budget = predict.Budget(settings.max_image_bytes)
    app = FastAPI(
        title="Andon",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        # The gate takes a closing slash away; a redirect would lose a form's body.
        redirect_slashes=False,
        # Andon has metrics of its own; looking whether somebody wants these costs every request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        exception_handlers=_handlers(table),
    )
    document = Document(app)
    app.openapi = document.build  # type: ignore[method-assign]

    app.router.routes.extend(predict.routes(platform, budget))
    app.router.routes.extend(row_batch.routes(platform))
    app.router.routes.extend(events.intake_routes(platform))
    app.router.routes.extend(telemetry.intake_routes(platform))
    for router in (
        predict.described(),
        row_batch.described(),
        compare.router(platform, budget),
        models.router(platform),
        predictions.router(platform),
        feedback.router(platform),
        performance.router(platform),
        trends.router(platform),
        drift.router(platform),
        alerts.router(platform),
        watch.router(platform),
        agent.router(platform),
        actions.router(platform),
        traffic.router(platform),
        replays.router(platform),
        training.router(platform),
        output.router(platform),
        jobs.router(platform),
        events.router(platform),
        floor_metrics.router(platform),
        workers.router(platform),
        telemetry.router(platform),
        stats.router(platform),
        health.router(platform),
        metrics.router(platform, counted),
        docs.router(document),
        signin.router(access),
        pages.router(platform),
    ):
        # Routers carry whole paths and nothing to inherit, so their routes are taken as they
        # are: one flat list is matched faster than nested routers.
        app.router.routes.extend(router.routes)
    app.mount("/static", StaticFiles(directory=pages.STATIC_DIR), name="static")
    table.fill(app.router.routes)

    app.add_middleware(
        Gate,
        access=access,
        cross_origin=CrossOrigin(settings),
        metrics=counted,
        routes=table,
        file_limits={
            **dict.fromkeys((*predict.PATHS, compare.PATH), predict.body_limit(platform)),
            **dict.fromkeys(row_batch.PATHS, row_batch.body_limit(platform)),
            models.UPLOAD: models.body_limit(platform),
            models.COMPARE: models.comparison_limit(platform),
            feedback.BATCH: feedback.body_limit(platform),
            **dict.fromkeys((events.BATCH, telemetry.BATCH), taking.batch_limit(platform)),
        },
    )
    return app


def _handlers(table: RouteTable) -> dict[Any, Any]:
    """Error handlers inside the application: what they answer still passes the gate."""

    async def andon_error(request: Request, error: AndonError) -> Response:
        return problems.respond(error, request.scope)

    async def framework_error(request: Request, error: HTTPException) -> Response:
        path = request.url.path
        if error.status_code == problems.MethodNotAllowed.status:
            # The framework knows only the first route of this path that did not fit.
            return problems.respond(
                problems.MethodNotAllowed(request.method, path, table.allowed(path)), request.scope
            )
        found = problems.from_framework(error, path)
        return problems.respond(found, request.scope, status=error.status_code)

    async def validation_error(request: Request, error: RequestValidationError) -> Response:
        return problems.respond(problems.from_validation(error), request.scope)

    return {
        AndonError: andon_error,
        HTTPException: framework_error,
        RequestValidationError: validation_error,
    }
