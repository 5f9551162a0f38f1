"""Routes that take events in: one, or a batch as JSON or NDJSON. Factory and telemetry alike.

Plain ASGI applications instead of FastAPI functions: cameras send all day, and a stream must
be read while it arrives. They are described for the OpenAPI document by placeholders.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from andon.errors import EventsRejected, Saturated, TooLarge, UnsupportedMedia
from andon.events.intake import Report, Taken, members
from andon.events.reading import Kind
from andon.platform import Platform
from andon.web.problems import ClientGone
from andon.web.shapes import encode

SOURCE: Final = "http"
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")

# Batches being received or answered at a time: many small ones, or a few of the largest.
_LEAST_BUDGET = 64 * 1024 * 1024
_LARGEST_AT_A_TIME = 4
# Each holds a few thousand lines.
_STREAMS_AT_A_TIME = 16
# Reading a large batch takes memory and processor time: so many at once, each of more bytes.
_LARGE_AT_A_TIME = 2
_LARGE = 1024 * 1024
_JSON = (b"content-type", b"application/json")


class TakeOne:
    """Answers `POST` of a single event; JSON whatever the Content-Type says.

    Args:
        platform: Takes the event.
        kind: Of event.
        answer: What is answered, from what was taken.
    """

    def __init__(self, platform: Platform, kind: Kind, answer: Callable[[Taken], Any]) -> None:
        self._intake = platform.events
        self._kind = kind
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, store, answer: 201 when it is new, 200 when it was there already."""
        _refuse_compressed(scope)
        # The gate has read it in full and limited its size.
        data = b"".join([piece async for piece in _pieces(receive)])
        taken = await self._intake.take_one(self._kind, data, source=SOURCE)
        await _reply(send, 200 if taken.duplicate else 201, self._answer(taken))


class TakeBatch:
    """Answers `POST` of many events: JSON, or NDJSON where the Content-Type says so.

    Args:
        platform: Takes the events.
        kind: Of events.
    """

    def __init__(self, platform: Platform, kind: Kind) -> None:
        self._intake = platform.events
        self._kind = kind
        self._limit = platform.settings.max_batch_bytes
        self._budget = max(_LEAST_BUDGET, _LARGEST_AT_A_TIME * self._limit)
        self._used = 0
        self._streams = 0
        self._large = asyncio.Semaphore(_LARGE_AT_A_TIME)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, store, answer: 201 when anything is new, 200 when nothing is."""
        _refuse_compressed(scope)
        if (
            _header(scope, b"content-type").split(b";")[0].strip().lower().decode("latin-1")
            in NDJSON
        ):
            report = await self._stream(receive)
        else:
            report = await self._batch(scope, receive)
        if not report.accepted:
            raise nothing_stored(report)
        await _reply(send, 201 if report.ingested else 200, report)

    async def _stream(self, receive: Receive) -> Report:
        if self._streams >= _STREAMS_AT_A_TIME:
            raise Saturated(
                f"{self._streams} uploads of events are already being received.",
                hint="Try again when one of them is done.",
            )
        self._streams += 1
        try:
            return await self._intake.take_stream(self._kind, _pieces(receive), source=SOURCE)
        finally:
            self._streams -= 1

    async def _batch(self, scope: Scope, receive: Receive) -> Report:
        declared = _header(scope, b"content-length")
        if declared.isdigit() and int(declared) > self._limit:
            raise self._too_large()
        taken = 0
        try:
            pieces: list[bytes] = []
            async for piece in _pieces(receive):
                if self._used + len(piece) > self._budget:
                    raise Saturated(
                        "Too many batches are being received at once.",
                        hint="Try again in a moment.",
                    )
                self._used += len(piece)
                taken += len(piece)
                if taken > self._limit:
                    raise self._too_large()
                pieces.append(piece)
            data = b"".join(pieces)
            del pieces
            if len(data) < _LARGE:
                return await self._intake.take(self._kind, data, source=SOURCE)
            async with self._large:
                return await self._intake.take(self._kind, data, source=SOURCE)
        finally:
            self._used -= taken

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"The batch exceeds {self._limit} bytes.",
            hint="Send it in parts, or one event per line as application/x-ndjson.",
        )


def nothing_stored(report: Report) -> EventsRejected:
    """A batch of which no event could be stored."""
    error = EventsRejected(
        f"None of the {report.total} events could be stored. The first reason: "
        f"{report.errors[0].detail}"
    )
    error.members = members(report)
    return error


def batch_limit(platform: Platform) -> int:
    """Largest body of a batch, bytes: NDJSON's, for a batch's own is checked here."""
    settings = platform.settings
    return max(settings.max_batch_bytes, settings.max_stream_bytes)


def _refuse_compressed(scope: Scope) -> None:
    """Say plainly what would else be answered as "not JSON".

    Raises:
        UnsupportedMedia: The body is compressed.
    """
    encoding = _header(scope, b"content-encoding").lower()
    if encoding not in {b"", b"identity"}:
        raise UnsupportedMedia(
            f"A body with Content-Encoding {encoding.decode('latin-1')[:40]!r} is not taken.",
            hint="Send it uncompressed.",
        )


def _header(scope: Scope, wanted: bytes) -> bytes:
    for name, value in scope["headers"]:
        if name == wanted:
            return bytes(value)
    return b""


async def _pieces(receive: Receive) -> AsyncIterator[bytes]:
    """A body as it arrives.

    Raises:
        ClientGone: It never became complete.
    """
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        yield message.get("body", b"")
        more = message.get("more_body", False)


async def _reply(send: Send, status: int, answer: Any) -> None:
    body = encode(answer)
    headers = [_JSON, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
