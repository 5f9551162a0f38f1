"""The dashboard's routes, and the pages other rooms of the web layer answer with.

`web/app.py` includes `router`, mounts `STATIC_DIR` at ``/static``, answers a browser's
failed requests with `render_problem` and its sign-in route with `render_login`.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse
from starlette.responses import Response

from andon import __version__
from andon.errors import AndonError, NotFound
from andon.platform import Platform
from andon.web.dashboard.contexts import ErrorPage, InspectPage, LoginPage, Shell, Step
from andon.web.dashboard.rendering import STATIC_DIR, respond

if TYPE_CHECKING:
    from andon.web.dashboard import (
        action_page,
        activity,
        alerts,
        approvals,
        drift,
        drivers,
        floor,
        inspection,
        overview,
        performance,
        reading,
        rejected,
        replay_page,
        rows,
        rows_inspection,
        rows_overview,
        training,
        trends,
        versions,
    )
    from andon.web.dashboard.training_contexts import RowInspectPage
else:

    class _Pages:
        """A module of pages, imported when a page is first asked for.

        Together they take 2 MB, which a box that nobody looks at need not pay.
        """

        def __init__(self, module: str) -> None:
            self._module = f"andon.web.dashboard.{module}"

        def __getattr__(self, name: str) -> Any:
            return getattr(import_module(self._module), name)

    action_page = _Pages("action_page")
    activity = _Pages("activity")
    alerts = _Pages("alerts")
    approvals = _Pages("approvals")
    drift = _Pages("drift")
    drivers = _Pages("drivers")
    floor = _Pages("floor")
    inspection = _Pages("inspection")
    overview = _Pages("overview")
    performance = _Pages("performance")
    reading = _Pages("reading")
    rejected = _Pages("rejected")
    replay_page = _Pages("replay_page")
    rows = _Pages("rows")
    rows_inspection = _Pages("rows_inspection")
    rows_overview = _Pages("rows_overview")
    training = _Pages("training")
    trends = _Pages("trends")
    versions = _Pages("versions")

__all__ = ["STATIC_DIR", "render_login", "render_problem", "router"]

ModelName = Annotated[str, Query(max_length=64)]
Short = Annotated[str, Query(max_length=255)]
# As long as one that is kept.
Topic = Annotated[str, Query(max_length=1000)]
Since = Annotated[str, Query(alias="from", max_length=64)]
Until = Annotated[str, Query(alias="to", max_length=64)]
PredictionId = Annotated[str, Query(max_length=64)]
Number = Annotated[int | None, Query(ge=1, le=2**31 - 1)]
Kind = Annotated[str, Query(alias="type", max_length=64)]
RunId = Annotated[str, Query(max_length=64)]

_HEADINGS = {
    401: "Please sign in",
    403: "This is not allowed",
    404: "There is nothing here",
    405: "This cannot be done here",
    409: "Not in the present state",
    413: "That is too large",
    422: "Something is missing or wrong",
    500: "Andon made a mistake",
    503: "Not now",
}


def router(platform: Platform) -> APIRouter:
    """The pages. None of them is part of the documented API."""
    routes = APIRouter(include_in_schema=False)
    _pages(routes, platform)
    _watching(routes, platform)
    _acting(routes, platform)
    _training(routes, platform)
    _floor(routes, platform)
    _pieces(routes, platform)
    return routes


def _named(platform: Platform, model: str) -> str:
    """The model a page is about.

    Raises:
        NotFound: There is no such model.
    """
    if not model:
        return reading.chosen_model(platform)
    if model == platform.settings.default_model:
        return model
    if model not in platform.db.models.names():
        raise NotFound(f"There is no model called {model}.", hint="Models lists what there is.")
    return model


def _pages(routes: APIRouter, platform: Platform) -> None:
    @routes.get("/")
    def show_overview(model: ModelName = "") -> HTMLResponse:
        """Is the line running, and how."""
        name = _named(platform, model)
        if rows.is_rows(platform, name):
            return respond(rows_overview.page(platform, name))
        return respond(overview.page(platform, name))

    @routes.get("/inspect")
    def show_inspect(
        model: ModelName = "",
        id: PredictionId = "",  # noqa: A002 - the address people share
        before: PredictionId = "",
        label: Short = "",
        only: Short = "all",
    ) -> HTMLResponse:
        """Put a picture or a row in, see the answer, look back."""
        name = rows_inspection.model_of(platform, id) or _named(platform, model)
        context: RowInspectPage | InspectPage
        if rows.is_rows(platform, name):
            context = rows_inspection.page(platform, name, shown_id=id, before=before)
        else:
            context = inspection.page(
                platform, name, shown_id=id, before=before, label=label, only=only
            )
        return respond(context, status=404 if context.missing else 200)

    @routes.get("/models")
    def show_models(model: ModelName = "") -> HTMLResponse:
        """Which versions there are, which one serves, and how to change that."""
        name = _named(platform, model)
        if rows.is_rows(platform, name):
            return respond(rows.page(platform, name))
        return respond(versions.page(platform, name))

    @routes.get("/models/{version}")
    def show_version(
        version: Annotated[int, Path(ge=1, le=2**31 - 1)], model: ModelName = ""
    ) -> HTMLResponse:
        """Everything known about one version."""
        name = _named(platform, model)
        if rows.is_rows(platform, name):
            return respond(rows.version_page(platform, name, version))
        return respond(versions.version_page(platform, name, version))


def _watching(routes: APIRouter, platform: Platform) -> None:
    @routes.get("/performance")
    def show_performance(
        model: ModelName = "", version: Number = None, window: ModelName = ""
    ) -> HTMLResponse:
        """How well a version does."""
        name = _named(platform, model)
        return respond(performance.page(platform, name, version=version, window=window))

    @routes.get("/drift")
    def show_drift(model: ModelName = "", before: PredictionId = "") -> HTMLResponse:
        """Whether what comes in, or what is answered, has changed."""
        return respond(drift.page(platform, _named(platform, model), before=before))

    @routes.get("/trends")
    def show_trends(model: ModelName = "", days: ModelName = "") -> HTMLResponse:
        """How it went over weeks."""
        return respond(trends.page(platform, _named(platform, model), days=days))


def _acting(routes: APIRouter, platform: Platform) -> None:
    @routes.get("/approvals")
    def show_approvals(before: PredictionId = "") -> HTMLResponse:
        """What waits for a person, and what was decided."""
        return respond(approvals.page(platform, before=before.lower()))

    @routes.get("/activity")
    def show_activity(
        status: Short = "", kind: Kind = "", model: ModelName = "", before: PredictionId = ""
    ) -> HTMLResponse:
        """Everything the agent did, and what came of it."""
        return respond(
            activity.page(platform, status=status, kind=kind, model=model, before=before.lower())
        )

    @routes.get("/actions/{action_id}")
    def show_action(action_id: Annotated[str, Path(max_length=64)]) -> HTMLResponse:
        """One action with all its evidence."""
        return respond(action_page.page(platform, action_id.lower()))

    @routes.get("/rollbacks/{event_id}")
    def show_rollback(event_id: Annotated[int, Path(ge=1, le=2**31 - 1)]) -> Response:
        """One change back that nobody proposed, with the numbers of both versions."""
        event = action_page.find_event(platform, event_id)
        if event.action_id:
            return RedirectResponse(f"/actions/{quote(event.action_id)}", 303)
        return respond(action_page.rollback_page(platform, event_id))

    @routes.get("/alerts")
    def show_alerts(
        severity: Short = "", model: ModelName = "", before: PredictionId = ""
    ) -> HTMLResponse:
        """What is open, the gravest first, and what was."""
        return respond(alerts.page(platform, severity=severity, model=model, before=before.lower()))

    @routes.get("/replays/{job_id}")
    def show_replay(
        job_id: Annotated[str, Path(max_length=64)],
        start: Annotated[int, Query(ge=0, le=10_000)] = 0,
    ) -> HTMLResponse:
        """Which stored answers another version would flip."""
        return respond(replay_page.page(platform, job_id.lower(), start=start))


def _training(routes: APIRouter, platform: Platform) -> None:
    @routes.get("/training")
    def show_training(before: RunId = "") -> HTMLResponse:
        """Which trainings there are, were and will be."""
        return respond(training.page(platform, before=before))

    @routes.get("/training/{run_id}")
    def show_run(run_id: Annotated[str, Path(max_length=64)]) -> HTMLResponse:
        """Everything known about one training."""
        return respond(training.run_page(platform, run_id.lower()))


def _floor(routes: APIRouter, platform: Platform) -> None:
    @routes.get("/floor")
    def show_floor(
        worker: Short = "",
        station: Short = "",
        period: Short = "",
        start: Since = "",
        end: Until = "",
    ) -> HTMLResponse:
        """Who works, waits and is away, and what comes of it."""
        context, status = floor.page(
            platform, worker=worker, station=station, period=period, start=start, end=end
        )
        return respond(context, status=status)

    @routes.get("/floor/rejected")
    def show_rejected(topic: Topic = "", before: PredictionId = "") -> HTMLResponse:
        """Which messages could not be used, and what to do about it."""
        return respond(rejected.page(platform, topic=topic, before=before))

    @routes.get("/drivers")
    def show_drivers(
        driver: Short = "", period: Short = "", start: Since = "", end: Until = ""
    ) -> HTMLResponse:
        """Whose eyes close, and how often."""
        context, status = drivers.page(platform, driver=driver, period=period, start=start, end=end)
        return respond(context, status=status)


def _pieces(routes: APIRouter, platform: Platform) -> None:
    @routes.get("/inspect/fainter/{prediction_id}")
    def show_fainter(prediction_id: Annotated[str, Path(max_length=64)]) -> Response:
        """What the model saw below the line's threshold, for the slider.

        Not being able to tell is an ordinary answer: `detections` is null, `reason` says why.
        """
        row = platform.db.predictions.get(prediction_id.lower())
        try:
            found = inspection.fainter(platform, row)
        except inspection.OutOfReach as error:
            return JSONResponse({"floor": row.threshold, "detections": None, "reason": str(error)})
        return JSONResponse({"floor": inspection.FLOOR, "detections": found, "reason": ""})

    @routes.get("/inspect/sample")
    def show_sample(seed: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0) -> Response:
        """A generated board to try the detector on."""
        name = f"sample-board-{seed}.png"
        return Response(
            inspection.sample_board(seed), media_type="image/png", headers={"X-Name": name}
        )

    @routes.get("/favicon.ico")
    def show_icon() -> Response:
        """Where browsers look unasked."""
        return FileResponse(STATIC_DIR / "favicon.svg", media_type="image/svg+xml")


def render_problem(request: Request, problem: Mapping[str, Any] | AndonError) -> HTMLResponse:
    """A failed request as a page, for browsers.

    Args:
        request: What was asked for.
        problem: The error, or its problem details (RFC 9457).
    """
    body = problem.problem() if isinstance(problem, AndonError) else dict(problem)
    status = int(body.get("status", 500))
    title = _HEADINGS.get(status) or str(body.get("title") or "Something went wrong")
    step = Step(text="Go to Overview", href="/")
    if request.url.path.startswith("/models/"):
        step = Step(text="Go to Models", href="/models")
    if request.url.path.startswith("/training/"):
        step = Step(text="Go to Training", href="/training")
    context = ErrorPage(
        shell=_bare_shell(title, page="error"),
        status=status,
        heading=title,
        detail=str(body.get("detail") or "There is no more to say about it."),
        step=step,
        request_id=str(body.get("request_id") or ""),
    )
    headers = problem.headers() if isinstance(problem, AndonError) else {}
    return respond(context, status=status, headers=headers)


def render_login(request: Request, error: str = "") -> HTMLResponse:
    """The sign-in page; a failed try is answered with 401.

    Args:
        request: Its ``next`` parameter is where to go afterwards, if that is a path here.
        error: Why the last try failed.
    """
    wanted = request.query_params.get("next", "")
    # "//host" and "/\host" are addresses elsewhere to a browser.
    here = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    context = LoginPage(
        shell=_bare_shell("Sign in", page="none"), error=error, next=wanted if here else ""
    )
    return respond(context, status=401 if error else 200)


def _bare_shell(title: str, *, page: str) -> Shell:
    return Shell(page=page, title=title, model="", models=(), lamp=None, release=__version__)
