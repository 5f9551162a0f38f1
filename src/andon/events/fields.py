"""Looks at the fields of one event that somebody else wrote, and says what is wrong with them.

Slow and exact: events that are all right never come here (`reading`).
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from andon import typed
from andon.store import ids
from andon.store.clock import micros
from andon.store.ids import MAX_ID

TAKEN_IDS = frozenset({"batch", "rejected"})
"""No factory event can have these ids: `/events/batch` and `/events/rejected` are addresses."""
EARLIEST = 946_684_800_000_000
"""The beginning of 2000. A clock that says less was never set."""

_SHOWN = 40
# Longer numbers are not worth writing out, and Python would refuse to.
_SHOWN_BITS = 128


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field."""

    field: str
    detail: str


class Fields:
    """The members of one JSON object, taken out one by one.

    Args:
        given: The object. Members that are null count as absent.

    Attributes:
        errors: What was wrong with those that were asked for.
    """

    def __init__(self, given: dict[str, Any]) -> None:
        self._given = given
        self.errors: list[FieldError] = []

    def wrong(self, field: str, detail: str) -> None:
        """Note what is wrong with a field."""
        self.errors.append(FieldError(field, detail))

    def take(self, field: str, *, required: bool = False) -> Any:
        """A member as it is; None when absent."""
        value = self._given.get(field)
        if value is None and required:
            self.wrong(field, "is missing")
        return value

    def identifier(self, field: str, *, required: bool = False, empty: bool = False) -> str | None:
        """An id: 1 to 64 printable characters, or none at all where it may be `empty`."""
        value = self.take(field, required=required)
        if value is None or (empty and value == ""):
            return None
        problem = id_problem(value)
        if problem:
            self.wrong(field, problem)
            return None
        return str(value)

    def version(self, field: str) -> str | None:
        """A version, text or whole number, as text."""
        value = self._given.get(field)
        if type(value) is int and value.bit_length() <= _SHOWN_BITS:
            return str(value)
        if value is not None and not isinstance(value, str):
            self.wrong(field, f"must be text or a whole number, not {shown(value)}")
            return None
        return self.identifier(field)

    def choice(self, field: str, among: Sequence[str]) -> str:
        """One of a few words."""
        value = self.take(field, required=True)
        if value is None:
            return ""
        if isinstance(value, str) and value in among:
            return value
        words = f"{', '.join(among[:-1])} or {among[-1]}"
        self.wrong(field, f"must be {words}, not {shown(value)}")
        return ""

    def number(self, field: str, low: float, high: float) -> float:
        """A finite number between limits, both included."""
        value = self.take(field, required=True)
        if value is None:
            return low
        if type(value) in {int, float} and math.isfinite(_bounded(value)) and low <= value <= high:
            return float(value)
        self.wrong(field, f"must be a number from {low} to {high}, not {shown(value)}")
        return low

    def whole(self, field: str, low: int, high: int) -> int:
        """A whole number between limits, both included. 5.0 is one."""
        value = self.take(field, required=True)
        if value is None:
            return low
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is int and low <= value <= high:
            return value
        self.wrong(field, f"must be a whole number from {low} to {high}, not {shown(value)}")
        return low

    def yes_or_no(self, field: str) -> bool:
        """A boolean."""
        value = self.take(field, required=True)
        if isinstance(value, bool) or value is None:
            return bool(value)
        self.wrong(field, f"must be true or false, not {shown(value)}")
        return False

    def moment(self, field: str, *, required: bool, latest: int) -> datetime | None:
        """An aware time within limits; `latest` in microseconds since 1970."""
        value = self.take(field, required=required)
        if value is None:
            return None
        found = _time(value)
        if found is None:
            self.wrong(
                field,
                f"must be a date and time such as 2026-01-31T12:00:00Z, not {shown(value)}",
            )
        elif found.tzinfo is None:
            self.wrong(field, f"must carry Z or a UTC offset: {shown(value)} could be any zone's")
        else:
            problem = time_problem(micros(found), latest)
            if not problem:
                return found
            self.wrong(field, f"{problem} ({shown(value)})")
        return None


def id_problem(value: object) -> str:
    """What is wrong with an id from outside; empty when nothing is."""
    if not isinstance(value, str):
        return f"must be text, not {shown(value)}"
    return ids.id_problem(value)


def time_problem(moment: int, latest: int) -> str:
    """What is wrong with an event's time, microseconds since 1970; empty when nothing is."""
    if moment < EARLIEST:
        return "is before the year 2000: the sender's clock is not set"
    if moment > latest:
        return "is in the future: the sender's clock is ahead of this server's"
    return ""


def shown(value: object) -> str:
    """A value from outside as a person reads it, never long."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        short = value[:_SHOWN].encode("utf-8", "backslashreplace").decode()
        return repr(short) + ("…" if len(value) > _SHOWN else "")
    if isinstance(value, int):
        return str(value) if value.bit_length() <= _SHOWN_BITS else "a huge number"
    if isinstance(value, float):
        return _shown_float(value)
    if isinstance(value, datetime):
        return repr(value.isoformat().replace("+00:00", "Z"))
    return "an object" if isinstance(value, dict) else "a list"


def _shown_float(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def _bounded(value: float) -> float:
    """A number as a float; infinite where it is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _time(value: object) -> datetime | None:
    """A time as written: RFC 3339, or the rest of ISO 8601; None for anything else."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or len(value) > MAX_ID:
        return None
    try:
        return typed.convert(value, datetime)
    except msgspec.ValidationError:
        pass
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None
