"""Which period a page of the floor is about: read from its address, and put back into links."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from andon.web.dashboard.contexts import Choice

DEFAULT = "8h"
_TEXTS = {
    "1h": "1 h",
    "8h": "8 h",
    "today": "Today",
    "24h": "24 h",
    "7d": "7 days",
    "30d": "30 days",
}
_WORDS = {
    "1h": "the last hour",
    "8h": "the last 8 hours",
    "today": "today (UTC)",
    "24h": "the last 24 hours",
    "7d": "the last 7 days",
    "30d": "the last 30 days",
}
_LENGTHS = {
    "1h": timedelta(hours=1),
    "8h": timedelta(hours=8),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}


@dataclass(frozen=True)
class Period:
    """From `start` up to `end`.

    Attributes:
        key: Which of the periods offered; empty for an own one.
        words: In words.
        problem: What the address said that cannot be, and what is shown instead.
        asked: The own period's fields as they were sent.
    """

    key: str
    start: datetime
    end: datetime
    words: str
    problem: str = ""
    asked: tuple[str, str] = ("", "")

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return self.end - self.start


def chosen(key: str, start: str, end: str, moment: datetime) -> Period:
    """The period an address asks for; what cannot be is told and replaced by the usual one.

    Args:
        key: One of the periods offered; empty means the usual one.
        start: Begin of an own period as a form or a person writes it, UTC where no zone is
            told; wins over `key`. With `end` alone: a day before it.
        end: Its end; empty means now.
        moment: Now; nothing is shown beyond it.
    """
    if not start and not end:
        if key and key not in _TEXTS:
            words = ", ".join(_TEXTS)
            return _usual(moment, f"There is no period called {key[:40]}, only {words}.")
        return _offered(key or DEFAULT, moment)
    try:
        until = _read(end) if end else moment
        since = _read(start) if start else min(until, moment) - timedelta(days=1)
    except (ValueError, OverflowError):
        text = "Times are written like 2026-11-21T08:00 (UTC)."
        return _usual(moment, text)
    asked = (_field(since) if start else "", _field(until) if end else "")
    until = min(until, moment)
    if since >= until:
        return _usual(moment, "The period must begin before it ends, and before now.", asked)
    told = f"{_short(since)} to {_short(until)} UTC" if end else f"since {_short(since)} UTC"
    return Period("", since, until, told, asked=(_field(since), asked[1]))


def choices(path: str, period: Period, others: Mapping[str, str]) -> tuple[Choice, ...]:
    """The periods offered, as links that keep the other filters."""
    return tuple(
        Choice(text=text, href=address(path, {**others, "period": key}), current=key == period.key)
        for key, text in _TEXTS.items()
    )


def parameters(period: Period) -> dict[str, str]:
    """What to put into an address for this period."""
    if period.key:
        return {"period": period.key}
    return {"from": period.asked[0], "to": period.asked[1]}


def address(path: str, given: Mapping[str, str]) -> str:
    """A path with the parameters that are set."""
    query = urlencode({name: value for name, value in given.items() if value})
    return f"{path}?{query}" if query else path


def _usual(moment: datetime, problem: str, asked: tuple[str, str] = ("", "")) -> Period:
    usual = _offered(DEFAULT, moment)
    text = f"{problem} What you see is {usual.words}."
    return Period(usual.key, usual.start, usual.end, usual.words, text, asked)


def _offered(key: str, moment: datetime) -> Period:
    if key == "today":
        start = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        # At midnight itself the day has no length yet.
        start = min(start, moment - timedelta(seconds=1))
    else:
        start = moment - _LENGTHS[key]
    return Period(key, start, moment, _WORDS[key])


def _read(text: str) -> datetime:
    """A time as forms (no zone: UTC) and programs write it.

    Raises:
        ValueError: It is none.
    """
    # A plus sign in an address arrives as a blank.
    found = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text.strip())
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


def _field(when: datetime) -> str:
    """A time as a form field writes it."""
    return when.strftime("%Y-%m-%dT%H:%M")


def _short(when: datetime) -> str:
    return when.strftime("%-d %b %Y, %H:%M")
