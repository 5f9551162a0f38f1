"""Jobs over HTTP: what became of pictures that were queued with `async=true`."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from andon.platform import Platform
from andon.web import openapi
from andon.web.api.predictions import Cursor, Limit
from andon.web.parameters import UUID
from andon.web.shapes import JobPage, JobState, reply

JobId = Annotated[str, Path(pattern=UUID, description="`job_id` from the 202 answer.")]


def router(platform: Platform) -> APIRouter:
    """`/api/jobs…`."""
    routes = APIRouter(tags=["jobs"])

    @routes.get(
        "/api/jobs",
        summary="List jobs",
        responses=openapi.answers(JobPage, 422, 503, about="Newest first."),
    )
    def list_jobs(
        status: Annotated[
            Literal["queued", "running", "succeeded", "failed"] | None, Query()
        ] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        """Queued work, newest first."""
        rows, following = platform.db.jobs.page(
            status=status, before=cursor.lower() if cursor else None, limit=limit
        )
        return reply(JobPage([JobState.of(job) for job in rows], following))

    @routes.get(
        "/api/jobs/{job_id}",
        summary="One job",
        responses=openapi.answers(JobState, 404, 422, 503, about="Its state and result."),
    )
    def get_job(job_id: JobId) -> Response:
        """Whether a job is done, and its result."""
        return reply(JobState.of(platform.db.jobs.get(job_id.lower())))

    return routes
