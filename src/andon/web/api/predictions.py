"""The prediction log over HTTP: pages of it, one row, and the picture a row is about."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from andon.errors import NotFound
from andon.platform import Platform
from andon.serving.cameras import MAX_CAMERA
from andon.store.retention import PREDICTIONS
from andon.web import openapi, pictures
from andon.web.parameters import NO_NUL, UUID, Moment, known_model
from andon.web.shapes import LoggedPrediction, PredictionPage, reply

_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(2999, 1, 1, tzinfo=UTC)

PredictionId = Annotated[str, Path(pattern=UUID, description="`prediction_id` of an answer.")]
Cursor = Annotated[str | None, Query(pattern=UUID, description="`next_cursor` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=500, description="Rows per page.")]


def router(platform: Platform) -> APIRouter:
    """`/api/predictions…`."""
    routes = APIRouter(tags=["predictions"])

    @routes.get(
        "/api/predictions",
        summary="Browse the log",
        responses=openapi.answers(PredictionPage, 404, 422, 503, about="Newest first."),
    )
    def list_predictions(
        model: Annotated[
            str | None, Query(max_length=64, description="Registered model. Default: all.")
        ] = None,
        version: Annotated[
            int | None,
            Query(ge=1, le=2**31 - 1, description="Of `model`, or of the default model."),
        ] = None,
        label: Annotated[
            str | None,
            Query(
                max_length=255, pattern=NO_NUL, description="Only answers in which it was found."
            ),
        ] = None,
        source: Annotated[
            str | None, Query(max_length=64, pattern=NO_NUL, description="api, job, cli, …")
        ] = None,
        status: Annotated[Literal["success", "error"] | None, Query()] = None,
        subject: Annotated[
            str | None, Query(max_length=255, pattern=NO_NUL, description="What was inspected.")
        ] = None,
        role: Annotated[
            Literal["active", "canary", "shadow", "compare"] | None,
            Query(description="As what the version answered; shadows answer nobody."),
        ] = None,
        camera: Annotated[
            str | None, Query(max_length=MAX_CAMERA, pattern=NO_NUL, description="The camera.")
        ] = None,
        since: Annotated[
            Moment | None, Query(description="Not older than this; with a UTC offset or Z.")
        ] = None,
        until: Annotated[
            Moment | None, Query(description="Older than this; with a UTC offset or Z.")
        ] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        """Every answer, newest first. Pass `next_cursor` on as `cursor` for the next page."""
        if model is not None or version is not None:
            model = known_model(platform, model)
        rows, following = platform.db.predictions.page(
            model=model,
            version=version,
            source=source,
            label=label,
            subject=subject,
            status=status,
            role=role,
            camera=camera,
            since=_utc(since),
            until=_utc(until),
            before=cursor.lower() if cursor else None,
            limit=limit,
        )
        since_when = platform.db.retention.since(PREDICTIONS)
        items = [LoggedPrediction.of(row) for row in rows]
        return reply(PredictionPage(items, following, since_when))

    @routes.get(
        "/api/predictions/{prediction_id}",
        summary="One answer",
        responses=openapi.answers(LoggedPrediction, 404, 422, 503, about="The row."),
    )
    def get_prediction(prediction_id: PredictionId) -> Response:
        """One row of the log."""
        return reply(LoggedPrediction.of(platform.db.predictions.get(prediction_id.lower())))

    @routes.get(
        "/api/predictions/{prediction_id}/image",
        summary="The picture as uploaded",
        response_class=Response,
        responses={
            **openapi.files(*pictures.TYPES, about="The uploaded file."),
            **openapi.problems(404, 422, 503),
        },
    )
    def get_image(request: Request, prediction_id: PredictionId) -> Response:
        """The file that was inspected, while it is kept. `/output/…` has it with boxes."""
        row = platform.db.predictions.get(prediction_id.lower())
        path = None
        if row.image_hash and row.image_format:
            path = platform.pictures.get(row.image_hash, row.image_format)
        if path is None:
            raise NotFound(
                f"The picture of prediction {row.id} is not kept.",
                hint="Pictures are deleted after ANDON_KEEP_UPLOADS_DAYS; the answer stays.",
            )
        return pictures.send(
            request,
            path,
            name=row.image_name or path.name,
            tag=(row.image_hash or row.id)[:32],
            forever=True,
        )

    return routes


def _utc(moment: datetime | None) -> datetime | None:
    """In UTC; moments before and after all logs are as good as the edges of time there."""
    if moment is None:
        return None
    return max(_FIRST, min(moment, _LAST)).astimezone(UTC)
