"""The one place that asks for the time, so that tests and readers know where it comes from."""

from datetime import UTC, datetime


def now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)
