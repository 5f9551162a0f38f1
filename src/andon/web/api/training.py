"""Trainings over HTTP: asking for one, following it, what came of it; recipes and schedules."""

import os
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Header, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response

from andon.errors import NotFound
from andon.platform import Platform
from andon.training import catalog, messages
from andon.training.child_process import MAX_LOG
from andon.training.messages import TrainReport
from andon.web import openapi
from andon.web.api.predictions import Cursor, Limit
from andon.web.bodies import decoded, read_body
from andon.web.parameters import NO_NUL, UUID, invalid
from andon.web.shapes import reply
from andon.web.training_shapes import (
    RecipeShown,
    RetrainingAccepted,
    ScheduleShown,
    SentRetraining,
    TrainingPage,
    TrainingState,
)

PATHS = ("/retrain", "/api/retrain")

_MAX_BODY = 64 * 1024
_LOG_PIECE = 1024 * 1024

RunPath = Annotated[str, Path(pattern=UUID, description="`run_id` of a training.")]
NameQuery = Annotated[str | None, Query(min_length=1, max_length=64, pattern=NO_NUL)]


def router(platform: Platform) -> APIRouter:
    """`/retrain`, `/api/training…`, `/api/recipes` and `/api/schedules`."""
    routes = APIRouter(tags=["training"])
    _asking(routes, platform)
    _following(routes, platform)
    _results(routes, platform)
    _planning(routes, platform)
    return routes


def _asking(routes: APIRouter, platform: Platform) -> None:
    async def retrain(request: Request) -> Response:
        """Queue a training; it is durable when the answer comes.

        One at a time per model: 409 names the run that is under way, and says what to install
        where the extra `train` is missing. Trainings run one after the other in a process of
        their own, and never hold up an answer.
        """
        body = await read_body(request, _MAX_BODY)
        wish = decoded(body, SentRetraining) if body.strip() else SentRetraining()
        if "\x00" in wish.reason:
            raise invalid("reason", "must not hold NUL characters")
        asked = msgspec.structs.asdict(wish)
        run = await run_in_threadpool(platform.retrain, **asked, source="api", actor="api")
        return reply(
            RetrainingAccepted(
                message=f"Training of {run.model} queued",
                job_id=run.id,
                run_id=run.id,
                model=run.model,
                status_url=f"/api/training/{run.id}",
            ),
            202,
        )

    for path in PATHS:
        routes.add_api_route(
            path,
            retrain,
            methods=["POST"],
            summary="Train a model again",
            operation_id=f"retrain{path.replace('/', '_')}",
            status_code=202,
            responses=openapi.problems(400, 404, 408, 409, 413, 415, 422, 503)
            | _accepted(RetrainingAccepted, "It is queued."),
            openapi_extra=openapi.json_body(
                SentRetraining, {"model": "heart-disease", "reason": "New rows have come"}
            ),
        )

    @routes.post(
        "/api/training/{run_id}/cancel",
        summary="Cancel a training",
        status_code=202,
        responses=openapi.problems(404, 409, 422, 503)
        | _accepted(TrainingState, "It is cancelled, or stops within seconds."),
    )
    def cancel(run_id: RunPath) -> Response:
        """One that waits is cancelled at once; one that runs is ended, and registers nothing.

        409 where it has ended already.
        """
        return reply(TrainingState.of(platform.db.training.cancel(run_id.lower())), 202)


def _following(routes: APIRouter, platform: Platform) -> None:
    @routes.get(
        "/api/training",
        summary="List trainings",
        responses=openapi.answers(TrainingPage, 422, 503, about="Newest first."),
    )
    def list_trainings(
        model: NameQuery = None,
        recipe: NameQuery = None,
        status: Annotated[
            Literal["queued", "running", "succeeded", "failed", "cancelled"] | None, Query()
        ] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        """Trainings, newest first, without their reports."""
        rows, following = platform.db.training.page(
            model=model,
            recipe=recipe,
            status=status,
            before=cursor.lower() if cursor else None,
            limit=limit,
        )
        return reply(TrainingPage([TrainingState.of(row) for row in rows], following))

    @routes.get(
        "/api/training/{run_id}",
        summary="One training",
        responses=openapi.answers(
            TrainingState, 404, 422, 503, about="How far it is, or what came of it."
        ),
    )
    def get_training(run_id: RunPath) -> Response:
        """Stage and progress while it runs; the report and the version when it is done."""
        run = platform.db.training.get(run_id.lower())
        found = platform.trainings.data_report(run.id)
        return reply(TrainingState.of(run, report=run.report, data_report=found))

    @routes.get(
        "/api/training/{run_id}/log",
        summary="The log of a training",
        responses=openapi.files("text/plain", about="The log, or the part that was asked for.")
        | openapi.problems(404, 422, 503),
    )
    def get_log(
        run_id: RunPath,
        start: Annotated[
            int,
            Query(
                alias="from",
                ge=0,
                le=2 * MAX_LOG,
                description="Byte to begin with: the header X-Next-From of the answer before.",
            ),
        ] = 0,
        byte_range: Annotated[str | None, Header(alias="Range", include_in_schema=False)] = None,
    ) -> Response:
        """What the training has said, also while it runs.

        At most 1 MiB at a time. The header `X-Next-From` says where what comes later begins;
        `Range` is understood, too.
        """
        run = platform.db.training.get(run_id.lower())
        path = platform.trainings.folder(run.id) / messages.LOG
        if byte_range is not None and path.is_file():
            return FileResponse(path, media_type="text/plain; charset=utf-8")
        try:
            with path.open("rb") as file:
                piece = os.pread(file.fileno(), _LOG_PIECE, start)
        except FileNotFoundError:
            if run.finished:
                raise NotFound(
                    f"The log of the training {run.id} is not there any more.",
                    hint="Folders of old trainings are deleted: ANDON_KEEP_TRAINING_DAYS.",
                ) from None
            piece = b""
        following = {"X-Next-From": str(start + len(piece))}
        return Response(piece, headers=following, media_type="text/plain; charset=utf-8")


def _results(routes: APIRouter, platform: Platform) -> None:
    @routes.get(
        "/api/training/{run_id}/report",
        summary="The report of a training",
        responses=openapi.answers(TrainReport, 404, 422, 503, about="As a file to keep."),
    )
    def get_report(run_id: RunPath) -> Response:
        """Everything that was measured: candidates, held-out rows, slices, importance, gate.

        404 while there is none.
        """
        run = platform.db.training.get(run_id.lower())
        if run.report is None:
            raise NotFound(
                f"The training {run.id} has no report: it is {run.status}.",
                hint="A report is there when a training has succeeded.",
            )
        answer = reply(run.report)
        name = f"{run.model}-{run.created_at:%Y-%m-%d}-{run.id[-8:]}.json"
        answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return answer


def _planning(routes: APIRouter, platform: Platform) -> None:
    @routes.get(
        "/api/recipes",
        summary="List recipes",
        responses=openapi.answers(list[RecipeShown], 503, about="By name."),
    )
    def list_recipes() -> Response:
        """What can be trained here by name: what Andon brings, and files in HOME/recipes."""
        scheduled = {recipe.name for recipe in platform.scheduled_recipes()}
        running = {run.model: run.id for run in platform.db.training.unfinished()}
        shown = []
        for recipe in catalog.recipes(platform.settings):
            active = platform.db.models.active(recipe.name)
            shown.append(
                RecipeShown(
                    name=recipe.name,
                    title=recipe.title,
                    # Where the folder lies is nobody's business.
                    source=os.path.basename(recipe.source),  # noqa: PTH119 - it may be no path
                    scheduled=recipe.name in scheduled,
                    active_version=active.version if active is not None else None,
                    running=running.get(recipe.name),
                )
            )
        return reply(shown)

    @routes.get(
        "/api/schedules",
        summary="List schedules",
        responses=openapi.answers(list[ScheduleShown], 503, about="All of them."),
    )
    def list_schedules() -> Response:
        """When models are trained again, and when that was last due.

        A time that passes while no server runs is made up for once, at the next start.
        """
        schedule = platform.schedule
        state = schedule.state()
        return reply(
            [
                ScheduleShown(
                    name=schedule.name,
                    cron=schedule.cron,
                    next_due_at=schedule.next_due(),
                    last_due_at=state.last_due_at if state is not None else None,
                    models=[recipe.name for recipe in platform.scheduled_recipes()],
                )
            ]
        )


def _accepted(shape: type[msgspec.Struct], about: str) -> dict[int | str, dict[str, Any]]:
    """The answer of a route that has begun something."""
    return {202: openapi.answers(shape, about=about)[200]}
