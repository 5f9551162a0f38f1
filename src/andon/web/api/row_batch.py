"""Many rows at once: `POST /predict/batch` takes JSON, CSV and Parquet.

Every row is answered or refused by itself. What is answered is in the log, under its own
`prediction_id`, before the answer is sent.
"""

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter
from msgspec import UNSET
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from andon.errors import InvalidRequest, UnsupportedMedia
from andon.platform import Platform
from andon.serving.row_answers import RowAnswer
from andon.serving.rows import Rejected
from andon.web import openapi, parquet, row_tables
from andon.web.api.rows import model_and_version, read_body
from andon.web.row_shapes import BatchAnswer, RowProblem, RowResult, SentRows
from andon.web.row_tables import Batch
from andon.web.shapes import reply
from andon.web.tables import CONTENT_TYPE as CSV
from andon.web.tables import csv_reply, wants_csv

PATHS = ("/api/predict/batch", "/predict/batch")

_JSON = "application/json"
_MAX_ERRORS = 1000
_COLUMNS = ("index", "prediction", "label", "probability", "prediction_id", "error")
# Bodies that are received, read or answered at a time.
_AT_A_TIME = 2
_EXAMPLE = {
    "model": "heart-disease",
    "rows": [
        {
            "age": 54,
            "sex": 1,
            "cp": 4,
            "trestbps": 130,
            "chol": 246,
            "fbs": 0,
            "restecg": 0,
            "thalach": 150,
            "exang": 0,
            "oldpeak": 1.0,
            "slope": 2,
            "ca": 0,
            "thal": 3,
        }
    ],
}


class PredictBatch:
    """Answers `POST /api/predict/batch` and `POST /predict/batch`."""

    def __init__(self, platform: Platform) -> None:
        self._engine = platform.engine
        self._max_rows = platform.settings.max_batch_rows
        self._max_bytes = body_limit(platform)
        self._turns = asyncio.Semaphore(_AT_A_TIME)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, ask the engine, answer."""
        request = Request(scope, receive)
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind not in {_JSON, CSV, *parquet.CONTENT_TYPES}:
            raise UnsupportedMedia(
                f"Rows are not taken as {kind[:60] or 'a body without a Content-Type'}.",
                hint=f"Send {_JSON}, {CSV} or {parquet.CONTENT_TYPES[0]}.",
            )
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedMedia("A compressed body is not taken.", hint="Send it uncompressed.")
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        as_csv = wants_csv(request, query.get("format"))
        async with self._turns:
            data = await read_body(receive, self._max_bytes, "The batch")
            wish = model_and_version(query)
            batch = await self._read(kind, data, wish)
            wish |= batch.wish
            del data
            found = await self._engine.answer_rows(batch.rows, source="batch", **wish)
            answer = await run_in_threadpool(self._report, batch, found)
            if as_csv:
                response = await run_in_threadpool(_as_csv, answer)
            else:
                response = await run_in_threadpool(reply, answer)
        await response(scope, receive, send)

    async def _read(self, kind: str, data: bytes, wish: dict[str, Any]) -> Batch:
        """The rows of a body, read in a thread."""
        if kind == _JSON:
            return await run_in_threadpool(row_tables.read_json, data, self._max_rows)
        encoder = await self._engine.row_encoder(**wish)
        if kind == CSV:
            return await run_in_threadpool(row_tables.read_csv, data, encoder, self._max_rows)
        names = row_tables.column_names(encoder)
        columns = await run_in_threadpool(parquet.read, data, self._max_rows, names)
        return await run_in_threadpool(row_tables.read_columns, columns, encoder)

    def _report(self, batch: Batch, found: Sequence[RowAnswer | Rejected]) -> BatchAnswer:
        """What became of the rows.

        Raises:
            InvalidRequest: None was answered; the problem carries the reasons.
        """
        results: list[RowResult] = []
        faults = list(batch.faults)
        first: RowAnswer | None = None
        for place, one in zip(batch.places, found, strict=True):
            if isinstance(one, RowAnswer):
                first = first or one
                results.append(
                    RowResult(
                        index=place,
                        prediction=one.prediction,
                        label=one.label,
                        probability=one.probability,
                        probabilities=one.probabilities,
                        prediction_id=one.prediction_id,
                        model_version=UNSET
                        if one.model_version == first.model_version
                        else one.model_version,
                    )
                )
            else:
                faults.append((place, one))
        faults.sort(key=lambda fault: fault[0])
        errors = [
            RowProblem(index=place, field=one.get("field", ""), detail=one["detail"])
            for place, row in faults
            for one in row
        ]
        if first is None:
            raise _nothing(batch.total, errors)
        answer = BatchAnswer(
            model=first.model,
            model_version=first.model_version,
            threshold=first.threshold,
            total=batch.total,
            answered=len(results),
            rejected=len(faults),
            results=results,
            errors=errors[:_MAX_ERRORS],
        )
        if len(errors) > _MAX_ERRORS:
            answer.errors_omitted = len(errors) - _MAX_ERRORS
        return answer


def _nothing(total: int, errors: list[RowProblem]) -> InvalidRequest:
    """A batch of which no row could be answered."""
    first = errors[0]
    said = f"{first.field} {first.detail}".strip()
    error = InvalidRequest(
        f"None of the {total} rows could be answered. The first reason: row {first.index}: {said}.",
        errors=[
            {"field": f"rows.{one.index}.{one.field}".rstrip("."), "detail": one.detail}
            for one in errors[:100]
        ],
    )
    error.members = {"total": total, "answered": 0, "rejected": total}
    return error


def _as_csv(answer: BatchAnswer) -> Any:
    """One line per row that was sent, in its order."""
    refused: dict[int, list[str]] = {}
    for one in answer.errors:
        refused.setdefault(one.index, []).append(f"{one.field} {one.detail}".strip())
    lines: list[tuple[Any, ...]] = [
        (one.index, one.prediction, one.label, one.probability, one.prediction_id, None)
        for one in answer.results
    ]
    lines += [(place, *[None] * 4, "; ".join(said)) for place, said in refused.items()]
    lines.sort(key=lambda line: line[0])
    return csv_reply("predictions.csv", _COLUMNS, lines)


def routes(platform: Platform) -> list[Route]:
    """The routes themselves."""
    batch = PredictBatch(platform)
    return [Route(path, batch, methods=["POST"], include_in_schema=False) for path in PATHS]


def body_limit(platform: Platform) -> int:
    """Largest body of a batch, bytes."""
    return platform.settings.max_batch_bytes


def described() -> APIRouter:
    """The same routes for the OpenAPI document; never called, for `routes` come first."""
    shown = APIRouter(tags=["rows"])

    async def predict_batch() -> None:
        """Answer many rows with a tabular model; one bad row never sinks the others.

        JSON is a list of rows, or an object with `rows`. CSV has a header with the features'
        names and, if you like, `subject` and `request_id`; its values are converted by the
        model's schema. Parquet needs the extra `train`. 422 where no row could be answered.
        """

    parameters = [
        {
            "name": "model",
            "in": "query",
            "description": "Registered model; default: ANDON_DEFAULT_TABULAR_MODEL.",
            "schema": {"type": "string", "maxLength": 64},
        },
        {
            "name": "version",
            "in": "query",
            "description": "Instead of the active one.",
            "schema": {"type": "integer", "minimum": 1},
        },
        {
            "name": "format",
            "in": "query",
            "description": "csv for a spreadsheet; the Accept header works too.",
            "schema": {"type": "string", "enum": ["json", "csv"]},
        },
    ]
    file = {"schema": {"type": "string", "format": "binary"}}
    content = {
        _JSON: {"schema": openapi.schema_of(SentRows), "example": _EXAMPLE},
        CSV: {"schema": {"type": "string"}},
        parquet.CONTENT_TYPES[0]: file,
    }
    for path in PATHS:
        short = path != PATHS[0]
        shown.add_api_route(
            path,
            predict_batch,
            methods=["POST"],
            summary="Answer many rows" + (" (same as /api/predict/batch)" if short else ""),
            operation_id="predict_batch_short" if short else "predict_batch",
            responses=openapi.answers(
                BatchAnswer,
                400,
                404,
                408,
                413,
                415,
                422,
                503,
                about="What became of the rows.",
                table=True,
            ),
            openapi_extra={
                "parameters": parameters,
                "requestBody": {"required": True, "content": content},
            },
        )
    return shown
