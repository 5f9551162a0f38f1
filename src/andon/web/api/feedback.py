"""Feedback over HTTP: what answers should have been, and how well versions do by it."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from andon.errors import NotFound, UnusableUpload
from andon.monitoring import labels
from andon.monitoring.feedback import (
    FeedbackIntake,
    FeedbackReport,
    FeedbackStored,
    Form,
    SentFeedback,
    read,
    read_one,
)
from andon.platform import Platform
from andon.web import openapi
from andon.web.api.taking import NDJSON
from andon.web.bodies import read_body
from andon.web.feedback_shapes import FeedbackProblem, FeedbackRemoved, FeedbackSummary
from andon.web.parameters import NO_NUL, ModelQuery, known_model
from andon.web.shapes import reply

ONE = "/api/feedback"
BATCH = "/api/feedback/batch"

_ONE_BYTES = 64 * 1024
_SOURCE = "http"
_ACTOR = "api"
_EXAMPLE = {
    "prediction_id": "019aa4a1-7c00-7000-8000-000000000000",
    "actual": 1,
    "timestamp": "2026-11-20T08:15:30Z",
}

PredictionId = Annotated[
    str, Path(min_length=1, max_length=64, pattern=NO_NUL, description="Id of a prediction.")
]


def router(platform: Platform) -> APIRouter:
    """`/api/feedback…`."""
    routes = APIRouter(tags=["feedback"])
    intake = FeedbackIntake(platform.db, max_ahead=platform.settings.event_max_ahead)
    _sending(routes, platform, intake)
    _reading(routes, platform)
    return routes


def body_limit(platform: Platform) -> int:
    """Largest body of a batch, bytes."""
    return platform.settings.max_batch_bytes


def _sending(routes: APIRouter, platform: Platform, intake: FeedbackIntake) -> None:
    @routes.post(
        ONE,
        summary="Say what an answer should have been",
        status_code=201,
        responses=openapi.answers(
            FeedbackStored, 400, 404, 408, 409, 413, 415, 422, 503, about="It stood already."
        )
        | openapi.created(FeedbackStored, "Stored."),
        openapi_extra=openapi.json_body(SentFeedback, _EXAMPLE),
    )
    async def send_feedback(request: Request) -> Response:
        """Store the true value of one answer. It is on disk when the answer comes.

        Of several for one answer the one with the greatest `timestamp` stands, in whatever
        order they come; sending one again is safe.
        """
        sent = read_one(await read_body(request, _ONE_BYTES))
        done = await run_in_threadpool(intake.take_one, sent, source=_SOURCE, actor=_ACTOR)
        return reply(done, 201 if done.status == "stored" else 200)

    @routes.post(
        BATCH,
        summary="Send many labels",
        status_code=201,
        responses=openapi.answers(
            FeedbackReport, 400, 408, 413, 415, 422, 503, about="All of them stood already."
        )
        | openapi.created(FeedbackReport, "Some or all are stored.")
        | {400: openapi.problem(400, FeedbackProblem)},
        openapi_extra=_batch_body(),
    )
    async def send_feedback_batch(request: Request) -> Response:
        """Store the good ones and say what is wrong with the others.

        A JSON list, one JSON object per line, or CSV with the columns `prediction_id` (or
        `request_id`), `actual`, and if you like `timestamp` and `note`.
        """
        form = _form(request.headers.get("content-type", ""))
        data = await read_body(request, body_limit(platform))

        def take() -> FeedbackReport:
            return intake.take(read(data, form), source=_SOURCE, actor=_ACTOR)

        report = await run_in_threadpool(take)
        if report.rejected == report.total:
            raise nothing_stored(report)
        return reply(report, 201 if report.stored else 200)

    @routes.delete(
        ONE + "/{prediction_id}",
        summary="Take feedback back",
        responses=openapi.answers(FeedbackRemoved, 404, 422, 503, about="It is gone."),
    )
    def remove_feedback(prediction_id: PredictionId) -> Response:
        """Forget what was said about one answer; figures are as if it had never been said."""
        platform.db.feedback.remove(prediction_id)
        return reply(FeedbackRemoved(prediction_id, "Feedback taken back"))


def _reading(routes: APIRouter, platform: Platform) -> None:
    @routes.get(
        ONE + "/summary",
        summary="How well a version does by feedback",
        responses=openapi.answers(
            FeedbackSummary, 404, 422, 503, about="Figures with 95 % intervals."
        ),
    )
    def summary(
        model: ModelQuery = None,
        version: Annotated[
            int | None, Query(ge=1, le=2**31 - 1, description="Default: the active one.")
        ] = None,
        window: Annotated[
            str,
            Query(
                max_length=16,
                description="The newest so many labels (up to 10,000), or answers of the last "
                "90m, 24h, 7d.",
            ),
        ] = labels.WINDOW,
    ) -> Response:
        """Computed now, from labelled answers. Where there are too few, `value` is null.

        `labels` and `needed` say how many each figure rests on and how many it takes.
        """
        name = known_model(platform, model)
        wanted = labels.Window.parse(window)
        if version is None:
            found = platform.db.models.active(name)
            if found is None:
                raise NotFound(
                    f"No version of model {name} is active.", hint="Name one with `version`."
                )
        else:
            found = platform.db.models.get(name, version)
        figures = labels.measure(platform.db, found, wanted)
        return reply(
            FeedbackSummary(
                **msgspec.structs.asdict(figures),
                model=name,
                version=found.version,
                window=window,
                since=wanted.since,
            )
        )


def nothing_stored(report: FeedbackReport) -> UnusableUpload:
    """A batch of which no label could be stored."""
    error = UnusableUpload(
        f"None of the {report.total} labels could be stored. The first reason: "
        f"{report.errors[0].detail}"
    )
    error.members = msgspec.to_builtins(report)
    return error


def _form(content_type: str) -> Form:
    kind = content_type.partition(";")[0].strip().lower()
    if kind in NDJSON:
        return "ndjson"
    return "csv" if kind == "text/csv" else "json"


def _batch_body() -> dict[str, Any]:
    one = openapi.schema_of(SentFeedback)
    lines = {"schema": {"type": "string"}, "example": msgspec.json.encode(_EXAMPLE).decode()}
    table = {
        "schema": {"type": "string"},
        "example": f"prediction_id,actual\n{_EXAMPLE['prediction_id']},1\n",
    }
    content = {
        "application/json": {
            "schema": {"type": "array", "items": one, "minItems": 1},
            "example": [_EXAMPLE],
        },
        **dict.fromkeys(NDJSON, lines),
        "text/csv": table,
    }
    return {"requestBody": {"required": True, "content": content}}
