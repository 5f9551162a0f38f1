"""Events as they arrive, read and checked in one pass: bytes in, rows for the store out.

One bad row never sinks the others; what is wrong with it is said by field, for people.
"""

from collections.abc import Iterable
from typing import Literal

from andon.events.fields import id_problem
from andon.events.readers import (
    MAX_LINE,
    FactoryReader,
    Reading,
    Row,
    RowProblem,
    Shape,
    TelemetryReader,
)
from andon.store.drowsiness_events import DrowsinessRow
from andon.store.factory_records import FactoryRow

__all__ = [
    "MAX_LINE",
    "Kind",
    "Reading",
    "Row",
    "RowProblem",
    "Shape",
    "checked_id",
    "read_factory",
    "read_factory_lines",
    "read_telemetry",
    "read_telemetry_lines",
]

Kind = Literal["factory", "telemetry"]


def read_factory(
    data: bytes,
    *,
    site: str,
    received: int,
    max_ahead: int,
    source: str,
    shape: Shape = "batch",
    only_site: bool = False,
) -> Reading[FactoryRow]:
    """Read factory events.

    Args:
        data: JSON.
        site: Of events that name none.
        received: When they arrived, microseconds since 1970 UTC.
        max_ahead: How far beyond that an event may be dated, microseconds.
        source: The way they came.
        shape: One event, a batch (an array, or an object with the array `events`), or
            whichever it is.
        only_site: Whether events of another site are refused.

    Raises:
        UnreadableEvents: The body is no JSON, or an empty batch.
        InvalidRequest: It is JSON of another shape.
    """
    reader = FactoryReader(site, received, max_ahead, source, only_site=only_site)
    return reader.read(data, shape)


def read_telemetry(
    data: bytes,
    *,
    site: str,
    received: int,
    max_ahead: int,
    source: str,
    shape: Shape = "batch",
    only_site: bool = False,
) -> Reading[DrowsinessRow]:
    """Read eye telemetry; arguments and errors as `read_factory`."""
    reader = TelemetryReader(site, received, max_ahead, source, only_site=only_site)
    return reader.read(data, shape)


def read_factory_lines(
    lines: Iterable[bytes],
    *,
    first: int = 0,
    site: str,
    received: int,
    max_ahead: int,
    source: str,
) -> Reading[FactoryRow]:
    """Read factory events, one per line; blank lines are skipped.

    Args:
        lines: Without or with their line ends.
        first: Number of the first line, from 0.
        site: As in `read_factory`, and the rest too.
        received: When they arrived.
        max_ahead: How far beyond that an event may be dated.
        source: The way they came.
    """
    return FactoryReader(site, received, max_ahead, source).read_lines(lines, first)


def read_telemetry_lines(
    lines: Iterable[bytes],
    *,
    first: int = 0,
    site: str,
    received: int,
    max_ahead: int,
    source: str,
) -> Reading[DrowsinessRow]:
    """Read eye telemetry, one per line; arguments as `read_factory_lines`."""
    return TelemetryReader(site, received, max_ahead, source).read_lines(lines, first)


def checked_id(value: str) -> str:
    """An id from outside, as it is.

    Raises:
        ValueError: It is not 1 to 64 printable characters without blanks around them.
    """
    problem = id_problem(value)
    if problem:
        raise ValueError(problem)
    return value
