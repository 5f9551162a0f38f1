"""Replays over HTTP: yesterday's inputs through a candidate, and what it answers otherwise."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from andon.errors import NotFound, Saturated
from andon.platform import Platform
from andon.serving.replay import KIND, moment_of
from andon.store.records import Job
from andon.web import openapi
from andon.web.api.predictions import Cursor, Limit
from andon.web.bodies import decoded, read_body
from andon.web.parameters import UUID, known_model
from andon.web.shapes import reply
from andon.web.traffic_shapes import ReplayAccepted, ReplayPage, ReplayState, SentReplay

PATH = "/api/replays"

_MAX_BODY = 16 * 1024
# Each may take many minutes, and trainings wait in the same line.
_MOST_WAITING = 20

ReplayPath = Annotated[str, Path(pattern=UUID, description="`job_id` of a replay.")]


def router(platform: Platform) -> APIRouter:
    """`/api/replays…`."""
    routes = APIRouter(tags=["traffic"])

    @routes.post(
        PATH,
        summary="Replay stored inputs through a version",
        status_code=202,
        responses=openapi.problems(400, 404, 408, 409, 413, 415, 422, 503)
        | {
            202: {
                "description": "It is queued.",
                "content": {"application/json": {"schema": openapi.schema_of(ReplayAccepted)}},
            }
        },
        openapi_extra=openapi.json_body(SentReplay, {"version": 7, "since": "24h"}),
    )
    async def ask(request: Request) -> Response:
        """Put what the active version answered to another one, and list what it answers otherwise.

        It runs in the background and gives way to live requests. Nothing is logged as an
        answer. 409 where the version is active itself.
        """
        wish = decoded(await read_body(request, _MAX_BODY), SentReplay)

        def queue() -> Job:
            platform.jobs.require_room()
            if platform.db.jobs.count_queued(KIND) >= _MOST_WAITING:
                raise Saturated(
                    f"{_MOST_WAITING} replays are waiting already, one after the other.",
                    hint="Try again when some are done.",
                    retry_after=60.0,
                )
            asked = platform.replays.ask(
                known_model(platform, wish.model),
                wish.version,
                moment_of("since", wish.since),
                moment_of("until", wish.until),
                wish.limit,
            )
            return platform.jobs.enqueue(KIND, asked)

        job = await run_in_threadpool(queue)
        return reply(
            ReplayAccepted(
                message=f"Replay through v{wish.version} queued",
                job_id=job.id,
                status_url=f"{PATH}/{job.id}",
                page_url=f"/replays/{job.id}",
            ),
            202,
        )

    @routes.get(
        PATH,
        summary="List replays",
        responses=openapi.answers(ReplayPage, 422, 503, about="Newest first, without flips."),
    )
    def replays(
        status: Annotated[
            Literal["queued", "running", "succeeded", "failed"] | None, Query()
        ] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        """What was replayed, and how much flipped."""
        found, following = platform.db.jobs.page(
            kind=KIND, status=status, before=cursor.lower() if cursor else None, limit=limit
        )
        shown = [
            ReplayState.of(job, platform.replays.progress(job.id), whole=False) for job in found
        ]
        return reply(ReplayPage(shown, following))

    @routes.get(
        PATH + "/{job_id}",
        summary="One replay",
        responses=openapi.answers(ReplayState, 404, 422, 503, about="With every flip it kept."),
    )
    def replay(job_id: ReplayPath) -> Response:
        """How far it is, or what came of it: up to 500 flips, all of them counted."""
        job = platform.db.jobs.get(job_id.lower())
        if job.kind != KIND:
            raise NotFound(f"There is no replay {job.id}.", hint="It is a job of another kind.")
        return reply(ReplayState.of(job, platform.replays.progress(job.id)))

    return routes
