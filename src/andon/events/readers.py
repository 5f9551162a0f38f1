"""The readers behind `reading`: decode events of one kind, check them, make the store's rows.

Good events are decoded straight into typed objects and cost a few microseconds. Only where one
does not fit are its members looked at one by one (`fields`), to say exactly what is wrong; a
bad row costs itself and no other (`rows`).
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta, Raw

from andon.errors import InvalidRequest, UnreadableEvents
from andon.events import rows as json_rows
from andon.events.fields import (
    EARLIEST,
    TAKEN_IDS,
    FieldError,
    Fields,
    id_problem,
    shown,
    time_problem,
)
from andon.store.drowsiness_events import DrowsinessRow
from andon.store.factory_records import PRODUCT_COUNT, FactoryRow
from andon.store.ids import uuid7, uuid7_of

Shape = Literal["one", "batch", "any"]
Row = FactoryRow | DrowsinessRow

MAX_COUNT = 1_000_000
MAX_EAR = 2
MAX_DURATION_MS = 86_400_000
MAX_LINE = 64 * 1024
"""Longest line of NDJSON, bytes."""

EVENT_TYPES = ("working", "idle", "absent", "product_count")

# Above this a body is decoded row by row: other threads wait while one object is decoded.
_AT_ONCE = 256 * 1024
# Ids that were checked before. The same few dozen come all day.
_MOST_CHECKED = 10_000
_checked: set[str] = set()

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ODD = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

AwareTime = Annotated[datetime, Meta(tz=True)]


class RowProblem(msgspec.Struct, frozen=True):
    """Why one event cannot be used.

    Attributes:
        index: Its place in the input, from 0; of NDJSON the line's number less one.
        detail: A sentence naming the fields: "count: must be a whole number …".
        errors: The same by field; empty where the event as a whole is unusable.
    """

    index: int
    detail: str
    errors: tuple[FieldError, ...] = ()

    @property
    def field(self) -> str | None:
        """The first field that is wrong."""
        return self.errors[0].field if self.errors else None


R = TypeVar("R", bound=Row)


class Reading(msgspec.Struct, Generic[R]):
    """What was read.

    Attributes:
        source: The way it came.
        received: When, microseconds since 1970 UTC.
        rows: The events that can be stored.
        places: Place in the input of each of them.
        problems: The others.
    """

    source: str
    received: int
    rows: list[R] = msgspec.field(default_factory=list)
    places: list[int] = msgspec.field(default_factory=list)
    problems: list[RowProblem] = msgspec.field(default_factory=list)

    @property
    def total(self) -> int:
        """Events that were sent."""
        return len(self.rows) + len(self.problems)


def _is_checked(value: str) -> bool:
    """Whether an id can be used; ids that can are remembered."""
    if value in _checked:
        return True
    if id_problem(value):
        return False
    if len(_checked) >= _MOST_CHECKED:
        _checked.clear()
    _checked.add(value)
    return True


class _FactoryEvent(msgspec.Struct, gc=False):
    """A factory event whose members have the right types."""

    timestamp: AwareTime
    worker_id: str
    workstation_id: str
    event_type: Literal["working", "idle", "absent", "product_count"]
    confidence: Annotated[float, Meta(ge=0, le=1)]
    count: int | None = None
    event_id: str | None = None
    model_version: str | int | None = None
    camera_id: str | None = None
    site_id: str | None = None


class _Measurement(msgspec.Struct, gc=False):
    """A measurement of the eyes whose members have the right types."""

    ear_value: Annotated[float, Meta(ge=0, le=MAX_EAR)]
    is_drowsy: bool
    duration_ms: Annotated[float, Meta(ge=0, le=MAX_DURATION_MS)]
    timestamp: AwareTime | None = None
    event_id: str | None = None
    driver_id: str | None = None
    device_id: str | None = None
    site_id: str | None = None


W = TypeVar("W", _FactoryEvent, _Measurement)
S = TypeVar("S", FactoryRow, DrowsinessRow)


class _FactoryEvents(msgspec.Struct):
    events: list[_FactoryEvent]


class _Measurements(msgspec.Struct):
    events: list[_Measurement]


class _Decoders(msgspec.Struct, Generic[W]):
    """Decoders of one kind: an event, an array of them, an object with the array."""

    one: msgspec.json.Decoder[W]
    array: msgspec.json.Decoder[list[W]]
    envelope: msgspec.json.Decoder[Any]


_factory = _Decoders(
    msgspec.json.Decoder(_FactoryEvent),
    msgspec.json.Decoder(list[_FactoryEvent]),
    msgspec.json.Decoder(_FactoryEvents),
)
_telemetry = _Decoders(
    msgspec.json.Decoder(_Measurement),
    msgspec.json.Decoder(list[_Measurement]),
    msgspec.json.Decoder(_Measurements),
)


class _Reader(ABC, Generic[W, S]):
    """Reads events of one kind that arrived together.

    Args:
        site: Of events that name none.
        received: When they arrived, microseconds since 1970 UTC.
        max_ahead: How far beyond that an event may be dated, microseconds.
        source: The way they came.
        only_site: Whether events of another site are refused.
    """

    decoders: _Decoders[W]
    noun: str

    def __init__(
        self, site: str, received: int, max_ahead: int, source: str, *, only_site: bool = False
    ) -> None:
        self.site = site
        self.received = received
        self.latest = received + max_ahead
        self.source = source
        self.only_site = only_site

    @abstractmethod
    def row(self, event: W) -> S | None:
        """The event for the store; None when something is wrong with it."""

    @abstractmethod
    def examine(self, fields: Fields) -> W | None:
        """The event from members of any type; None with `fields.errors`."""

    def read(self, data: bytes, shape: Shape) -> Reading[S]:
        """Read a whole body."""
        data = json_rows.trimmed(data)
        if shape == "one" or (shape == "any" and self._is_one(data)):
            return self._read_one(data)
        events = self._decoded(data) if len(data) <= _AT_ONCE else None
        reading: Reading[S] = Reading(self.source, self.received)
        if events is None:
            for index, raw in enumerate(json_rows.cut(data)):
                self._take_raw(reading, index, raw)
        else:
            self._take_all(reading, events)
        if not reading.total:
            raise UnreadableEvents("The batch is empty.", hint="Send at least one event.")
        return reading

    def read_lines(self, lines: Iterable[bytes], first: int) -> Reading[S]:
        """Read lines of one event each."""
        reading: Reading[S] = Reading(self.source, self.received)
        for index, line in enumerate(lines, first):
            if len(line) > MAX_LINE:
                detail = f"The line is longer than {MAX_LINE} bytes."
                reading.problems.append(RowProblem(index, detail))
            elif line and not line.isspace():
                self._take_raw(reading, index, line)
        return reading

    def _decoded(self, data: bytes) -> list[W] | None:
        """The events of a batch in one piece; None when they are not all right."""
        try:
            if data.startswith(b"["):
                return self.decoders.array.decode(data)
            found: list[W] = self.decoders.envelope.decode(data).events
        except _ODD:
            return None
        return found

    def _is_one(self, data: bytes) -> bool:
        """Whether a body is one event and no batch."""
        if not data.startswith(b"{"):
            return False
        try:
            self.decoders.one.decode(data)
        except _ODD:
            pass
        else:
            return True
        try:
            json_rows.cut(data)
        except (InvalidRequest, UnreadableEvents):
            return True
        return False

    def _read_one(self, data: bytes) -> Reading[S]:
        reading: Reading[S] = Reading(self.source, self.received)
        try:
            event = self.decoders.one.decode(data)
        except _ODD:
            try:
                loose = _loose(data)
            except (ValueError, RecursionError) as error:
                raise json_rows.unreadable(data, error) from None
            if not isinstance(loose, dict):
                raise InvalidRequest(
                    f"The body must be one {self.noun} as a JSON object, not {shown(loose)}.",
                    hint="Several at once go to the address with /batch.",
                ) from None
            if isinstance(loose.get("events"), list):
                raise InvalidRequest(
                    f"The body must be one {self.noun}, not a batch.",
                    hint="Several at once go to the address with /batch.",
                ) from None
            self._take_loose(reading, 0, loose)
        else:
            self._take(reading, 0, event)
        return reading

    def _take_all(self, reading: Reading[S], events: list[W]) -> None:
        """Check events that were decoded together."""
        row = self.row
        found = [row(event) for event in events]
        if None not in found:
            reading.rows = found  # type: ignore[assignment]
            reading.places = list(range(len(found)))
            return
        for index, event in enumerate(events):
            self._take(reading, index, event)

    def _take_raw(self, reading: Reading[S], index: int, raw: bytes | Raw) -> None:
        """Read one event on its own."""
        try:
            event = self.decoders.one.decode(raw)
        except _ODD:
            try:
                loose = _loose(bytes(raw))
            except UnicodeDecodeError:
                detail = "is not UTF-8"
            except RecursionError:
                detail = "is nested too deeply"
            except ValueError as error:
                detail = f"is not JSON: {str(error)[:200]}"
            else:
                self._take_loose(reading, index, loose)
                return
            reading.problems.append(RowProblem(index, f"The {self.noun} {detail}."))
        else:
            self._take(reading, index, event)

    def _take(self, reading: Reading[S], index: int, event: W) -> None:
        found = self.row(event)
        if found is None:
            self._take_loose(reading, index, msgspec.structs.asdict(event))
        else:
            reading.rows.append(found)
            reading.places.append(index)

    def _take_loose(self, reading: Reading[S], index: int, given: object) -> None:
        """Look at an event's members one by one."""
        if not isinstance(given, dict):
            reading.problems.append(
                RowProblem(index, f"A {self.noun} must be a JSON object, not {shown(given)}.")
            )
            return
        fields = Fields(given)
        event = self.examine(fields)
        found = None if event is None else self.row(event)
        if found is None:
            detail = "; ".join(f"{error.field}: {error.detail}" for error in fields.errors)
            reading.problems.append(RowProblem(index, detail, tuple(fields.errors)))
        else:
            reading.rows.append(found)
            reading.places.append(index)

    def check_site(self, fields: Fields) -> str | None:
        """The event's site."""
        found = fields.identifier("site_id")
        if found is not None and self.only_site and found != self.site:
            fields.wrong("site_id", f"must be {shown(self.site)}, as its topic says")
        return found


class FactoryReader(_Reader[_FactoryEvent, FactoryRow]):
    """Reads factory events."""

    decoders = _factory
    noun = "factory event"

    def row(self, event: _FactoryEvent) -> FactoryRow | None:
        """The event for the store; None when something is wrong with it."""
        since = event.timestamp - _EPOCH
        moment = since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds
        if not EARLIEST <= moment <= self.latest:
            return None
        worker, station, site = event.worker_id, event.workstation_id, event.site_id
        if site is None:
            site = self.site
        elif (self.only_site and site != self.site) or not _is_checked(site):
            return None
        # Most ids were seen before: look for them here, a call would cost more.
        if worker not in _checked and not _is_checked(worker):
            return None
        if station not in _checked and not _is_checked(station):
            return None
        camera, version = event.camera_id, event.model_version
        if camera is not None and camera not in _checked and not _is_checked(camera):
            return None
        if version is not None and version not in _checked:
            version = str(version)
            if not _is_checked(version):
                return None
        kind, count = event.event_type, event.count
        if kind != PRODUCT_COUNT:
            count = 0
        elif count is None or not 0 <= count <= MAX_COUNT:
            return None
        event_id = event.event_id
        given = event_id is not None
        if event_id is None:
            key = f"{moment}\n{worker}\n{station}\n{kind}\n{site}"
            event_id = uuid7_of(moment, key.encode())
        elif event_id in TAKEN_IDS or id_problem(event_id):
            return None
        return FactoryRow(
            event_id,
            given,
            moment,
            worker,
            station,
            kind,
            event.confidence,
            count,
            site,
            camera,
            version,
            self.source,
            self.received,
        )

    def examine(self, fields: Fields) -> _FactoryEvent | None:
        """The event from members of any type; None with `fields.errors`."""
        moment = fields.moment("timestamp", required=True, latest=self.latest)
        worker = fields.identifier("worker_id", required=True)
        station = fields.identifier("workstation_id", required=True)
        kind: Any = fields.choice("event_type", EVENT_TYPES)
        confidence = fields.number("confidence", 0, 1)
        count = fields.whole("count", 0, MAX_COUNT) if kind == PRODUCT_COUNT else None
        event_id = fields.identifier("event_id")
        if event_id in TAKEN_IDS:
            fields.wrong("event_id", f"must not be {shown(event_id)}, which is an address here")
        version = fields.version("model_version")
        camera = fields.identifier("camera_id")
        site = self.check_site(fields)
        if fields.errors or moment is None or worker is None or station is None:
            return None
        return _FactoryEvent(
            moment, worker, station, kind, confidence, count, event_id, version, camera, site
        )


class TelemetryReader(_Reader[_Measurement, DrowsinessRow]):
    """Reads measurements of the eyes."""

    decoders = _telemetry
    noun = "measurement"

    def row(self, event: _Measurement) -> DrowsinessRow | None:
        """The event for the store; None when something is wrong with it."""
        moment = self.received
        if event.timestamp is not None:
            since = event.timestamp - _EPOCH
            moment = since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds
            if time_problem(moment, self.latest):
                return None
        driver, device, site = event.driver_id or "", event.device_id or "", event.site_id
        if site is None:
            site = self.site
        elif (self.only_site and site != self.site) or not _is_checked(site):
            return None
        if (driver and not _is_checked(driver)) or (device and not _is_checked(device)):
            return None
        event_id = event.event_id
        given = event_id is not None
        if event_id is not None:
            if id_problem(event_id):
                return None
        elif event.timestamp is None:
            # Nothing tells it from another measurement: it never is a repeat.
            event_id = uuid7()
        else:
            event_id = uuid7_of(moment, f"{moment}\n{driver}\n{device}\n{site}".encode())
        return DrowsinessRow(
            event_id,
            given,
            moment,
            driver,
            device,
            site,
            event.ear_value,
            event.is_drowsy,
            event.duration_ms,
            self.source,
            self.received,
        )

    def examine(self, fields: Fields) -> _Measurement | None:
        """The event from members of any type; None with `fields.errors`."""
        ear = fields.number("ear_value", 0, MAX_EAR)
        drowsy = fields.yes_or_no("is_drowsy")
        duration = fields.number("duration_ms", 0, MAX_DURATION_MS)
        moment = fields.moment("timestamp", required=False, latest=self.latest)
        event_id = fields.identifier("event_id")
        driver = fields.identifier("driver_id", empty=True)
        device = fields.identifier("device_id", empty=True)
        site = self.check_site(fields)
        if fields.errors:
            return None
        return _Measurement(ear, drowsy, duration, moment, event_id, driver, device, site)


def _loose(data: bytes) -> Any:
    """JSON as Python reads it: with NaN, Infinity, control characters and lone surrogates.

    Raises:
        ValueError: It is no JSON even so.
        RecursionError: It is nested too deeply.
    """
    return json.loads(data.decode("utf-8"), strict=False)
