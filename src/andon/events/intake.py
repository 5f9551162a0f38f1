"""The one front of this room: whatever way an event comes, it is read, stored and counted here.

A call returns when every event it could store is on disk. Storing is safe to repeat: an event
that is there already is a duplicate, and that is a success.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from andon.errors import (
    AndonError,
    Conflict,
    EventsRejected,
    InvalidRequest,
    TooLarge,
    UnreadableEvents,
    UploadInterrupted,
)
from andon.events.counting import EventMetrics
from andon.events.reading import (
    MAX_LINE,
    Kind,
    Reading,
    Row,
    Shape,
    read_factory,
    read_factory_lines,
    read_telemetry,
    read_telemetry_lines,
)
from andon.settings import Settings
from andon.store.clock import now_micros
from andon.store.database import Database
from andon.store.factory_records import STORED, Refused

# Larger bodies are read in a thread, so that the event loop goes on.
_IN_LOOP_BYTES = 128 * 1024
# Of a stream: one transaction each; while two are being stored, no more is read.
_CHUNK_LINES = 1_000
_CHUNK_BYTES = 1024 * 1024
_CHUNKS_IN_FLIGHT = 2
_MAX_ERRORS = 100
_BOM = b"\xef\xbb\xbf"


class RowError(msgspec.Struct, frozen=True):
    """Why one event was not stored.

    Attributes:
        index: Its place in the batch, from 0; in NDJSON the line's number less one.
        detail: What is wrong, and the way out.
    """

    index: int
    detail: str


class Report(msgspec.Struct):
    """What became of events that arrived together.

    Attributes:
        total: Events that were sent.
        ingested: Stored now.
        duplicates: Stored before; sending them again was safe.
        rejected: Not stored.
        errors: The reasons, the first hundred in the order of the input.
        errors_omitted: How many reasons are left out; unset where none are.
    """

    total: int
    ingested: int
    duplicates: int
    rejected: int
    errors: list[RowError]
    errors_omitted: int | UnsetType = UNSET

    @property
    def accepted(self) -> bool:
        """Whether anything is stored, now or before."""
        return self.ingested + self.duplicates > 0


class Taken(NamedTuple):
    """A single event that is stored."""

    event_id: str
    duplicate: bool


class EventIntake:
    """Takes events in.

    Args:
        db: Where they are stored.
        settings: Site, limits, whether unknown workers and stations are registered.
        metrics: Where they are counted.
    """

    def __init__(
        self, db: Database, settings: Settings, metrics: EventMetrics | None = None
    ) -> None:
        self._writer = db.event_writer
        self._metrics = metrics or EventMetrics()
        self._site = settings.site
        self._max_ahead = round(settings.event_max_ahead * 1_000_000)
        self._auto_register = settings.factory_auto_register
        self._max_stream = settings.max_stream_bytes

    def read(
        self, kind: Kind, data: bytes, *, source: str, site: str | None = None, shape: Shape
    ) -> Reading[Any]:
        """Read a body; `site`, where given, is the only one its events may name.

        Raises:
            UnreadableEvents: The body is no JSON, or an empty batch.
            InvalidRequest: It is JSON of another shape.
        """
        reader = read_factory if kind == "factory" else read_telemetry
        return reader(
            data,
            site=site or self._site,
            received=now_micros(),
            max_ahead=self._max_ahead,
            source=source,
            shape=shape,
            only_site=site is not None,
        )

    async def take(
        self,
        kind: Kind,
        data: bytes,
        *,
        source: str,
        site: str | None = None,
        shape: Shape = "batch",
    ) -> Report:
        """Read and store a body.

        Args:
            kind: "factory" or "telemetry".
            data: JSON.
            source: The way it came.
            site: The only site that it may name; default any, and the setting for none.
            shape: One event, a batch, or either.

        Raises:
            UnreadableEvents: The body is no JSON, or an empty batch.
            InvalidRequest: It is JSON of another shape.
            Saturated: Too many events wait to be stored.
            StorageFull: The database cannot take them now; nothing was stored.
        """
        return await self.store(kind, await self._read_aside(kind, data, source, site, shape))

    def take_sync(
        self,
        kind: Kind,
        data: bytes,
        *,
        source: str,
        site: str | None = None,
        shape: Shape = "batch",
    ) -> Report:
        """The same for callers without an event loop."""
        reading = self.read(kind, data, source=source, site=site, shape=shape)
        return self.submit(kind, reading).result()

    async def take_one(
        self, kind: Kind, data: bytes, *, source: str, site: str | None = None
    ) -> Taken:
        """Read and store a body that is a single event.

        Raises:
            UnreadableEvents: The body is no JSON.
            InvalidRequest: Its fields are wrong; `errors` names them.
            EventsRejected: Its worker or station is unknown or retired.
            Conflict: Its id was used for another event.
            Saturated: Too many events wait to be stored.
            StorageFull: The database cannot take it now.
        """
        reading = await self._read_aside(kind, data, source, site, "one")
        for problem in reading.problems:
            self._metrics.count(kind, source, rejected=1)
            raise InvalidRequest(
                f"The event is not valid: {problem.detail.rstrip('.')}.",
                errors=[msgspec.structs.asdict(error) for error in problem.errors],
            )
        outcomes = await self._writer.submit_async(
            kind, reading.rows, auto_register=self._auto_register
        )
        self._count(kind, reading, outcomes)
        (outcome,) = outcomes
        if isinstance(outcome, Refused):
            kind_of_error = Conflict if outcome.reason == "reused_id" else EventsRejected
            raise kind_of_error(outcome.detail, hint=outcome.hint)
        return Taken(reading.rows[0].event_id, outcome != STORED)

    async def store(self, kind: Kind, reading: Reading[Row]) -> Report:
        """Store what was read.

        Raises:
            Saturated: Too many events wait to be stored.
            StorageFull: The database cannot take them now; nothing was stored.
        """
        outcomes: Sequence[str | Refused] = ()
        if reading.rows:
            outcomes = await self._writer.submit_async(
                kind, reading.rows, auto_register=self._auto_register
            )
        return self._count(kind, reading, outcomes)

    def submit(self, kind: Kind, reading: Reading[Any]) -> "Future[Report]":
        """Store what was read; the future is done when it is on disk.

        Raises:
            Saturated: Too many events wait to be stored.
            StorageFull: The database is being closed.
        """
        done: Future[Report] = Future()
        if not reading.rows:
            done.set_result(self._count(kind, reading, ()))
            return done
        written = self._writer.submit(kind, reading.rows, auto_register=self._auto_register)

        def answer(written: "Future[list[str | Refused]]") -> None:
            try:
                done.set_result(self._count(kind, reading, written.result()))
            except BaseException as error:
                done.set_exception(error)

        written.add_done_callback(answer)
        return done

    async def take_stream(
        self, kind: Kind, chunks: AsyncIterator[bytes], *, source: str, site: str | None = None
    ) -> Report:
        """Read and store NDJSON of any length while it arrives, in little memory.

        Every thousand lines are stored on their own. Reading stops while the database is slow,
        and the sender has to wait.

        Args:
            kind: "factory" or "telemetry".
            chunks: Pieces of the body, cut anywhere.
            source: The way it came.
            site: Of events that name none.

        Raises:
            UnreadableEvents: There was not one event.
            UploadInterrupted: Something went wrong after a part was stored; that part stays.
            TooLarge: More than `ANDON_MAX_STREAM_BYTES`, and nothing was stored yet.
            AndonError: Something else went wrong, and nothing was stored yet.
        """
        total = Report(0, 0, 0, 0, [])
        pending: deque[asyncio.Task[Report]] = deque()
        try:
            async for first, lines in _line_groups(chunks, self._max_stream):
                if len(pending) == _CHUNKS_IN_FLIGHT:
                    _add(total, await pending.popleft())
                reading = await asyncio.to_thread(
                    self._read_lines, kind, lines, first, source, site
                )
                pending.append(asyncio.create_task(self.store(kind, reading)))
            while pending:
                _add(total, await pending.popleft())
        except AndonError as error:
            # What is being stored is stored anyway; say so.
            for later in await asyncio.gather(*pending, return_exceptions=True):
                if isinstance(later, Report):
                    _add(total, later)
            pending.clear()
            if not total.total:
                raise
            raise _interrupted(error, total) from error
        finally:
            if pending:
                await asyncio.gather(*pending, return_exceptions=True)
        if not total.total:
            raise UnreadableEvents(
                "The upload holds no event.", hint="Send one event per line, as JSON."
            )
        return total

    async def _read_aside(
        self, kind: Kind, data: bytes, source: str, site: str | None, shape: Shape
    ) -> Reading[Any]:
        """Read a body, a large one in a thread."""
        try:
            if len(data) <= _IN_LOOP_BYTES:
                return self.read(kind, data, source=source, site=site, shape=shape)
            return await asyncio.to_thread(
                self.read, kind, data, source=source, site=site, shape=shape
            )
        except AndonError:
            self._metrics.count(kind, source, rejected=1)
            raise

    def _read_lines(
        self, kind: Kind, lines: list[bytes], first: int, source: str, site: str | None
    ) -> Reading[Any]:
        reader = read_factory_lines if kind == "factory" else read_telemetry_lines
        return reader(
            lines,
            first=first,
            site=site or self._site,
            received=now_micros(),
            max_ahead=self._max_ahead,
            source=source,
        )

    def _count(
        self, kind: Kind, reading: Reading[Any], outcomes: Sequence[str | Refused]
    ) -> Report:
        """Put rows that could not be read and rows that were refused into one report."""
        stored = duplicates = 0
        happened: list[int] = []
        found = [(problem.index, problem.detail) for problem in reading.problems]
        for row, place, outcome in zip(reading.rows, reading.places, outcomes, strict=True):
            if isinstance(outcome, Refused):
                found.append((place, f"{outcome.detail} {outcome.hint}".strip()))
            elif outcome == STORED:
                stored += 1
                happened.append(row.timestamp)
            else:
                duplicates += 1
        metrics, source = self._metrics, reading.source
        metrics.count(kind, source, stored=stored, duplicates=duplicates, rejected=len(found))
        if happened:
            metrics.lag(kind, source, reading.received, happened)
        report = Report(reading.total, stored, duplicates, len(found), [])
        found.sort(key=lambda error: error[0])
        _add_errors(report, [RowError(*error) for error in found[:_MAX_ERRORS]], len(found))
        return report


async def _line_groups(
    chunks: AsyncIterator[bytes], limit: int
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """The lines of a stream in groups, each with the number of its first line.

    Raises:
        TooLarge: More than `limit` bytes.
    """
    received = size = first = 0
    lines: list[bytes] = []
    rest = b""
    async for chunk in chunks:
        received += len(chunk)
        if received > limit:
            raise TooLarge(
                f"The upload exceeds {limit} bytes.",
                hint="Send it in parts, or raise ANDON_MAX_STREAM_BYTES.",
            )
        if received == len(chunk):
            chunk = chunk.removeprefix(_BOM)  # noqa: PLW2901 - what is left of it
        size += len(chunk)
        pieces = (rest + chunk).split(b"\n")
        # Of a line that is too long, enough is kept to see that it is.
        rest = pieces.pop()[: MAX_LINE + 1]
        lines += pieces
        while len(lines) >= _CHUNK_LINES or (lines and size >= _CHUNK_BYTES):
            yield first, lines[:_CHUNK_LINES]
            first += len(lines[:_CHUNK_LINES])
            del lines[:_CHUNK_LINES]
            size = 0
    if rest:
        lines.append(rest)
    while lines:
        yield first, lines[:_CHUNK_LINES]
        first += _CHUNK_LINES
        del lines[:_CHUNK_LINES]


def _add(total: Report, more: Report) -> None:
    """Count a part of a stream."""
    total.total += more.total
    total.ingested += more.ingested
    total.duplicates += more.duplicates
    total.rejected += more.rejected
    _add_errors(total, more.errors, more.rejected)


def _add_errors(report: Report, errors: list[RowError], count: int) -> None:
    """Add errors that stand for `count` of them, as far as there is room."""
    room = errors[: _MAX_ERRORS - len(report.errors)]
    report.errors += room
    left_out = count - len(room)
    if left_out:
        known = 0 if report.errors_omitted is UNSET else report.errors_omitted
        report.errors_omitted = known + left_out


def _interrupted(error: AndonError, done: Report) -> UploadInterrupted:
    """An error that came after a part of a stream was stored."""
    found = UploadInterrupted(
        f"{error.detail} Before that, {done.total} lines were taken in: {done.ingested} events "
        f"are new, {done.duplicates} were there already, {done.rejected} were rejected.",
        hint=f"{error.hint} Sending the whole upload again is safe.".strip(),
        cause=error,
    )
    found.members = members(done)
    return found


def members(report: Report) -> dict[str, Any]:
    """A report as members of problem details."""
    found: dict[str, Any] = msgspec.to_builtins(report)
    return found
