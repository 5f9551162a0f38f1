"""The one place that asks for the time, so that tests and readers know where it comes from.

Events carry times as whole microseconds since 1970 UTC: sums of their differences come out
the same in Python, in SQLite and in PostgreSQL.
"""

import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


def now_micros() -> int:
    """The present moment, microseconds since 1970 UTC."""
    return time.time_ns() // 1000


def micros(moment: datetime) -> int:
    """An aware time as whole microseconds since 1970 UTC; exact, negative before 1970.

    Raises:
        ValueError: `moment` carries no UTC offset, so it names no moment.
    """
    if moment.tzinfo is None:
        raise ValueError("a time without a zone names no moment; give it a UTC offset")
    return (moment - _EPOCH) // _MICROSECOND


def moment(micros: int) -> datetime:
    """The aware UTC time of microseconds since 1970; the inverse of `micros`.

    Raises:
        OverflowError: Outside of the years 1 to 9999.
    """
    return _EPOCH + timedelta(microseconds=micros)
