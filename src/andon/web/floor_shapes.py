"""What goes over the wire about factory events and the floor's numbers: one type per answer.

As in `shapes`: times are UTC, ISO 8601 with `Z`; durations are seconds. The numbers themselves
are defined where they are computed, in `andon.events.factory`.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType, field

from andon import typed
from andon.events.factory import (
    Bucket,
    FactoryMetrics,
    Span,
    WorkerMetrics,
    WorkstationMetrics,
)
from andon.events.intake import Report, RowError
from andon.store.clock import moment
from andon.store.factory_records import FactoryEvent
from andon.store.rejected_messages import RejectedMessage

Id = Annotated[str, Meta(min_length=1, max_length=64, description="Printable characters.")]
EventType = Literal["working", "idle", "absent", "product_count"]


class SentEvent(msgspec.Struct, kw_only=True):
    """A factory event as it is sent. Members that are not listed are ignored; null is absent."""

    timestamp: Annotated[
        datetime,
        Meta(
            tz=True,
            description="When it happened; with Z or a UTC offset.",
            examples=["2026-11-21T08:15:30Z"],
        ),
    ]
    worker_id: Annotated[Id, Meta(examples=["W1"])]
    workstation_id: Annotated[Id, Meta(examples=["S1"])]
    event_type: Annotated[EventType, Meta(examples=["product_count"])]
    confidence: Annotated[float, Meta(ge=0, le=1, description="0 to 1.", examples=[0.94])]
    count: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=1_000_000,
                description="Units; required on product_count and ignored on states.",
                examples=[3],
            ),
        ]
        | None
    ) = None
    event_id: (
        Annotated[Id, Meta(description="Yours; one is made from the event where none is given.")]
        | None
    ) = None
    model_version: Annotated[str | int, Meta(description="Of the model that saw it.")] | None = None
    camera_id: Id | None = None
    site_id: Annotated[Id, Meta(description="Default: the setting ANDON_SITE.")] | None = None


class EventStored(msgspec.Struct):
    """A factory event that is on disk."""

    event_id: Annotated[str, Meta(description="The one sent, or the UUIDv7 made from the event.")]
    status: Annotated[
        Literal["stored", "duplicate"],
        Meta(description="duplicate: it was stored before; sending it again was safe."),
    ]


class LoggedEvent(msgspec.Struct, kw_only=True):
    """One factory event of the log."""

    event_id: str
    timestamp: Annotated[datetime, Meta(description="When it happened.")]
    worker_id: str
    workstation_id: str
    event_type: EventType
    confidence: float
    count: Annotated[int, Meta(description="Units; 0 on states.")]
    site_id: str
    camera_id: str | None
    model_version: str | None
    source: Annotated[str, Meta(description="Way in: http, mqtt, cli.")]
    received_at: Annotated[datetime, Meta(description="When it arrived.")]
    ends_at: Annotated[
        datetime | None,
        Meta(
            description="When the state it opened ends, as far as is known now; null on counts "
            "and on what was taken back."
        ),
    ]
    retracted_at: Annotated[
        datetime | None, Meta(description="When it was taken back; null while it counts.")
    ]

    @classmethod
    def of(cls, event: FactoryEvent) -> "LoggedEvent":
        """The stored event, for the wire."""
        return cls(
            event_id=event.event_id,
            timestamp=moment(event.timestamp),
            worker_id=event.worker_id,
            workstation_id=event.workstation_id,
            event_type=typed.convert(event.event_type, EventType),
            confidence=event.confidence,
            count=event.count,
            site_id=event.site_id,
            camera_id=event.camera_id,
            model_version=event.model_version,
            source=event.source,
            received_at=moment(event.received),
            ends_at=_moment(event.until if event.retracted is None else None),
            retracted_at=_moment(event.retracted),
        )


class EventPage(msgspec.Struct):
    """Factory events, newest first."""

    items: list[LoggedEvent]
    next_cursor: Annotated[str | None, Meta(description="`cursor` of the next page, or null.")]


class RejectedPage(msgspec.Struct):
    """MQTT messages that could not be used, newest first; the newest 10,000 are kept."""

    items: list[RejectedMessage]
    total: Annotated[int, Meta(description="How many are kept.")]


class BatchProblem(msgspec.Struct, kw_only=True):
    """Problem details of a batch of which nothing could be stored, or read.

    With the counters where it could be read.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str
    total: int | UnsetType = UNSET
    ingested: int | UnsetType = UNSET
    duplicates: int | UnsetType = UNSET
    rejected: int | UnsetType = UNSET
    errors: list[RowError] | UnsetType = UNSET
    errors_omitted: int | UnsetType = UNSET


class WorkersAnswer(Span, kw_only=True):
    """The numbers of all workers."""

    workers: list[WorkerMetrics]


class WorkstationsAnswer(Span, kw_only=True):
    """The numbers of all workstations."""

    workstations: list[WorkstationMetrics]


class WorkerAnswer(WorkerMetrics, kw_only=True):
    """The numbers of one worker, and the window they are about."""

    since: Annotated[datetime, Meta(description="Beginning of the window.")] = field(name="from")
    until: Annotated[datetime, Meta(description="Its end; never after now.")] = field(name="to")
    bucket: Bucket | None


class WorkstationAnswer(WorkstationMetrics, kw_only=True):
    """The numbers of one workstation, and the window they are about."""

    since: Annotated[datetime, Meta(description="Beginning of the window.")] = field(name="from")
    until: Annotated[datetime, Meta(description="Its end; never after now.")] = field(name="to")
    bucket: Bucket | None


def members(*parts: msgspec.Struct) -> dict[str, Any]:
    """Several structs in one object, the members of the first ones first."""
    return {
        name: value
        for part in parts
        for name, value in msgspec.to_builtins(part, builtin_types=(datetime,)).items()
    }


def _moment(micros: int | None) -> datetime | None:
    return None if micros is None else moment(micros)


SHAPES = (
    SentEvent,
    EventStored,
    Report,
    BatchProblem,
    LoggedEvent,
    EventPage,
    RejectedPage,
    WorkersAnswer,
    WorkerAnswer,
    WorkstationsAnswer,
    WorkstationAnswer,
    FactoryMetrics,
)
"""For the OpenAPI document."""
