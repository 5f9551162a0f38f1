from datetime import UTC, datetime, timedelta

import pytest

from andon.web.dashboard import periods

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("key", "length"),
    [
        ("1h", timedelta(hours=1)),
        ("8h", timedelta(hours=8)),
        ("", timedelta(hours=8)),
        ("today", timedelta(hours=14, minutes=30)),
        ("24h", timedelta(hours=24)),
        ("7d", timedelta(days=7)),
        ("30d", timedelta(days=30)),
    ],
)
def test_an_offered_period_ends_now(key, length):
    """And is as long as its name says."""
    found = periods.chosen(key, "", "", NOW)
    assert (found.end, found.length, found.problem) == (NOW, length, "")


@pytest.mark.parametrize(
    ("start", "end", "since", "until"),
    [
        ("2026-03-02T08:00", "2026-03-02T10:00", 8, 10),
        ("2026-03-02T08:00", "", 8, 14.5),
        ("2026-03-02T08:00Z", "2026-03-02T10:00:00+00:00", 8, 10),
        ("2026-03-02T08:00:00+02:00", "2026-03-02T10:00 02:00", 6, 8),
        ("2026-03-02", "2026-03-09", 0, 14.5),
        ("", "2026-03-02T12:00", -12, 12),
    ],
    ids=["form", "open end", "zones", "lost plus", "beyond now", "end alone"],
)
def test_an_own_period_is_read_in_utc(start, end, since, until):
    """As a form field, a program or a person writes it; nothing is shown beyond now."""
    found = periods.chosen("7d", start, end, NOW)
    midnight = NOW.replace(hour=0, minute=0)
    assert found.problem == ""
    assert found.key == ""
    assert found.start == midnight + timedelta(hours=since)
    assert found.end == midnight + timedelta(hours=until)


@pytest.mark.parametrize(
    ("key", "start", "end"),
    [
        ("9h", "", ""),
        ("", "yesterday", ""),
        ("", "2026-03-02T10:00", "2026-03-02T08:00"),
        ("", "2026-03-02T10:00", "2026-03-02T10:00"),
        ("", "2027-01-01", ""),
        ("", "0001-01-01T00:00+14:00", ""),
        ("", "9" * 64, "\x00"),
    ],
)
def test_what_makes_no_period_is_told(key, start, end):
    """The usual one is shown instead, and the page says so."""
    found = periods.chosen(key, start, end, NOW)
    assert "What you see is the last 8 hours" in found.problem
    assert (found.key, found.end) == (periods.DEFAULT, NOW)


def test_today_has_a_length_at_midnight():
    """A period without one could not be shown."""
    midnight = NOW.replace(hour=0, minute=0)
    assert periods.chosen("today", "", "", midnight).length > timedelta(0)


def test_links_keep_the_other_filters():
    """And say which one is chosen."""
    offered = periods.choices("/floor", periods.chosen("24h", "", "", NOW), {"worker": "W 1"})
    assert [one.text for one in offered if one.current] == ["24 h"]
    assert offered[0].href == "/floor?worker=W+1&period=1h"


def test_an_own_period_survives_in_an_address():
    """What a link carries is read back as the same period."""
    first = periods.chosen("", "2026-03-02T08:00", "2026-03-02T10:00", NOW)
    carried = periods.parameters(first)
    again = periods.chosen("", carried["from"], carried["to"], NOW)
    assert (again.start, again.end) == (first.start, first.end)
