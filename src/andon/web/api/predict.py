"""The hot route: a picture or a row in, what the model finds in it out.

A plain ASGI application instead of a FastAPI function: on this path everything around the
model counts. It is described for the OpenAPI document by the placeholder beside it.
"""

import asyncio
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from andon.errors import (
    Saturated,
    UnsupportedMedia,
    UnusableUpload,
)
from andon.platform import Platform
from andon.registry.names import clean_filename
from andon.serving.cameras import MAX_CAMERA
from andon.web import openapi
from andon.web.api import rows
from andon.web.multipart import OVERHEAD_BYTES, Form, FormLimits, Upload, read_form
from andon.web.parameters import known_model, number, short_text, yes_or_no
from andon.web.row_shapes import RowPrediction, SentRow
from andon.web.shapes import JobAccepted, PredictionAnswer, encode

PATHS = ("/api/predict", "/predict")

_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp")
_JSON = b"application/json"
# Pictures being received or answered at a time: many small ones, or a few of the largest.
_LARGEST_AT_A_TIME = 16
# A queued picture is decoded (to refuse it now) and flushed to disk; both are heavy.
_QUEUED_AT_A_TIME = 4
_LEAST_BUDGET = 64 * 1024 * 1024
_FIELDS: dict[str, dict[str, Any]] = {
    "threshold": {
        "type": "number",
        "minimum": 0,
        "description": "Lowest confidence of an answered detection.",
    },
    "model": {"type": "string", "maxLength": 64, "description": "Registered model."},
    "async": {"type": "boolean", "default": False},
    "subject": {
        "type": "string",
        "maxLength": 255,
        "description": "What is inspected, e.g. a serial number.",
    },
    "request_id": {
        "type": "string",
        "maxLength": 255,
        "description": "Your own id, kept in the log.",
    },
    "camera": {
        "type": "string",
        "maxLength": MAX_CAMERA,
        "description": "The camera that took it, e.g. line-2. Whether one is frozen is known only "
        "of cameras that are named.",
    },
}
_OK = [(b"content-type", b"application/json")]


def picture_limits(platform: Platform) -> FormLimits:
    """What a route takes that receives a picture."""
    return FormLimits(
        file_fields=frozenset({"image", "file"}),
        max_file_bytes=platform.settings.max_image_bytes,
        file_kind="picture",
        check=check_picture,
    )


def check_picture(upload: Upload) -> None:
    """Refuse by name and declared type, before the content is received.

    Raises:
        UnusableUpload: The name has no picture's extension.
        UnsupportedMedia: It is declared as something that is no picture.
    """
    if not upload.filename.lower().endswith(_EXTENSIONS):
        shown = clean_filename(upload.filename) if upload.filename else "a part without a file name"
        raise UnusableUpload(
            f"Invalid file type: {shown}.", hint="Send a .jpg, .jpeg, .png or .bmp file."
        )
    declared = upload.content_type
    if declared and not declared.startswith("image/") and declared != "application/octet-stream":
        raise UnsupportedMedia(
            f"Invalid file type: the picture is declared as {declared[:60]}.",
            hint="Declare it as image/jpeg, image/png or image/bmp.",
        )


def the_picture(form: Form) -> Upload:
    """The picture of a form.

    Raises:
        UnusableUpload: There is none, or it is empty.
    """
    if form.file is None:
        raise UnusableUpload(
            "No image provided.", hint="Send a file in the form field `image` or `file`."
        )
    if not form.file.size:
        raise UnusableUpload("Invalid image: the file is empty.", hint="Send the complete file.")
    return form.file


class Budget:
    """Memory for pictures in flight, shared by all requests. Bytes.

    Args:
        largest: Size of the largest picture that is accepted.
    """

    def __init__(self, largest: int) -> None:
        self._limit = max(_LEAST_BUDGET, _LARGEST_AT_A_TIME * largest)
        self._used = 0

    def take(self, size: int) -> None:
        """Count bytes that have arrived.

        Raises:
            Saturated: They are too many together.
        """
        if self._used + size > self._limit:
            raise Saturated(
                "Too many pictures are being received at once.", hint="Try again in a moment."
            )
        self._used += size

    def give_back(self, size: int) -> None:
        """Forget bytes of a request that is over."""
        self._used -= size


class Predict:
    """Answers `POST /api/predict` and `POST /predict`."""

    def __init__(self, platform: Platform, budget: Budget) -> None:
        self._platform = platform
        self._engine = platform.engine
        self._limits = picture_limits(platform)
        self._budget = budget
        self._queueing = asyncio.Semaphore(_QUEUED_AT_A_TIME)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, ask the engine, answer."""
        content_type = _header(scope, b"content-type")
        if content_type[:16].lower() == _JSON:
            body = await rows.answer_row(self._platform, receive, scope["query_string"])
            await _reply(send, 200, body)
            return
        if not content_type.lower().startswith(b"multipart/"):
            named = content_type.partition(b";")[0].decode("latin-1")[:100] or "nothing"
            raise UnsupportedMedia(
                f"The body is declared as {named}.",
                hint="Send a row as application/json, a picture as multipart/form-data.",
            )
        taken = 0

        def count(size: int) -> None:
            nonlocal taken
            self._budget.take(size)
            taken += size

        try:
            form = await read_form(receive, content_type, self._limits, received=count)
            status, body = await self._answer(scope, form)
        finally:
            self._budget.give_back(taken)
        await _reply(send, status, body)

    async def _answer(self, scope: Scope, form: Form) -> tuple[int, bytes]:
        picture = the_picture(form)
        fields = form.fields
        if scope["query_string"]:
            query = parse_qsl(scope["query_string"].decode("latin-1"))
            fields = dict(query) | fields
        wish: dict[str, Any] = {
            "image_name": clean_filename(picture.filename),
            "model": fields.get("model") or None,
            "threshold": number("threshold", fields.get("threshold")),
            "subject": short_text("subject", fields.get("subject")),
            "request_id": short_text("request_id", fields.get("request_id")),
            "camera": short_text("camera", fields.get("camera"), limit=MAX_CAMERA),
        }
        if yes_or_no("async", fields.get("async"), default=False):
            return 202, await self._later(picture, wish)
        answer = await self._engine.answer(picture.data, **wish)
        return 200, encode(PredictionAnswer.of(answer))

    async def _later(self, picture: Upload, wish: dict[str, Any]) -> bytes:
        def enqueue() -> JobAccepted:
            known_model(self._platform, wish["model"])
            job = self._platform.predict_later(picture.data, **wish)
            return JobAccepted(
                message="Job queued for async processing",
                queue_size=self._platform.jobs.size(),
                job_id=job.id,
                prediction_id=job.payload["prediction_id"],
            )

        async with self._queueing:
            return encode(await run_in_threadpool(enqueue))


def routes(platform: Platform, budget: Budget) -> list[Route]:
    """The routes themselves; they go first, so that finding them costs nothing."""
    predict = Predict(platform, budget)
    return [Route(path, predict, methods=["POST"], include_in_schema=False) for path in PATHS]


def described() -> APIRouter:
    """The same routes for the OpenAPI document; never called, for `routes` come first."""
    shown = APIRouter(tags=["inspection"])

    async def predict() -> None:
        """Answer a picture or a row; the answer is sent after its log row is committed.

        `async=true` queues the picture instead and answers 202 with a `job_id`. JSON is a row for
        a tabular model: its fields alone, for the default one, or inside `features`.
        """

    responses = openapi.answers(
        PredictionAnswer, 400, 404, 408, 413, 415, 422, 503, about="What the model found."
    )
    # The same operation for rows (decision 13).
    responses[200]["content"]["application/json"]["schema"] = {
        "oneOf": [openapi.schema_of(PredictionAnswer), openapi.schema_of(RowPrediction)]
    }
    responses[202] = {
        "description": "Queued, with `async=true`.",
        "content": {"application/json": {"schema": openapi.schema_of(JobAccepted)}},
    }
    body = openapi.form(
        {"image": "JPEG, PNG or BMP. The field may also be called `file`."},
        _FIELDS,
        example='curl -F "image=@board.jpg" http://127.0.0.1:8080/api/predict',
    )
    body["requestBody"]["content"]["application/json"] = {"schema": openapi.schema_of(SentRow)}
    for path in PATHS:
        shown.add_api_route(
            path,
            predict,
            methods=["POST"],
            summary="Inspect a picture or a row"
            + ("" if path == PATHS[0] else " (same as /api/predict)"),
            operation_id="predict" if path == PATHS[0] else "predict_short",
            responses=responses,
            openapi_extra=body,
        )
    return shown


def body_limit(platform: Platform) -> int:
    """Largest body of a request with a picture, bytes."""
    return platform.settings.max_image_bytes + OVERHEAD_BYTES


async def _reply(send: Send, status: int, body: bytes) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*_OK, length]})
    await send({"type": "http.response.body", "body": body})


def _header(scope: Scope, wanted: bytes) -> bytes:
    for name, value in scope["headers"]:
        if name == wanted:
            return bytes(value)
    return b""
