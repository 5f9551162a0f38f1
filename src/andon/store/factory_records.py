"""What goes into and comes out of the factory events: rows, outcomes, records.

Times and durations are whole microseconds, times since 1970 UTC (`andon.store.clock`).
"""

import msgspec

STORED = "stored"
DUPLICATE = "duplicate"
STATES = ("absent", "idle", "working")
"""State events, the weakest first: of two at one instant the later in this order counts."""
PRODUCT_COUNT = "product_count"


class FactoryRow(msgspec.Struct, gc=False):
    """One checked event on its way into the database.

    Attributes:
        event_id: Given by the sender, or made from what identifies the event
            (`andon.store.ids.uuid7_of`).
        given: Whether the sender gave `event_id`.
        count: Units of a product_count.
        source: How it came: "api", "mqtt", "cli", …
        received: When it came.
    """

    event_id: str
    given: bool
    timestamp: int
    worker_id: str
    workstation_id: str
    event_type: str
    confidence: float
    count: int
    site_id: str
    camera_id: str | None
    model_version: str | None
    source: str
    received: int


class Refused(msgspec.Struct, frozen=True):
    """Why a row was not stored.

    Attributes:
        reason: "unknown_worker", "unknown_workstation", "retired", "reused_id" or "too_old".
        detail: What is wrong with what: a full sentence.
        hint: The next step, a full sentence.
    """

    reason: str
    detail: str
    hint: str


class FactoryEvent(msgspec.Struct, frozen=True):
    """One stored event.

    Attributes:
        id: Grows in the order of arrival.
        until: When the state it opened ends, as far as is known now; None on counts.
        retracted: When it was taken back, or None.
    """

    id: int
    event_id: str
    timestamp: int
    worker_id: str
    workstation_id: str
    event_type: str
    confidence: float
    count: int
    site_id: str
    camera_id: str | None
    model_version: str | None
    source: str
    received: int
    until: int | None
    retracted: int | None


class StateSpan(msgspec.Struct, frozen=True):
    """A worker was in one state at one station from `start` to `end`."""

    worker_id: str
    workstation_id: str
    event_type: str
    start: int
    end: int


class Total(msgspec.Struct, frozen=True):
    """Sums of a worker at a station over a window, or over one bucket of it.

    Attributes:
        start: Start of the bucket; None where the window was not divided.
        worker_id: Empty where the sums run over all workers; the same with stations.
        working: Microseconds; so are `idle` and `absent`.
        units: Counted by product_count events.
        events: How many, counts and states together.
    """

    start: int | None
    worker_id: str
    workstation_id: str
    working: int
    idle: int
    absent: int
    units: int
    events: int
