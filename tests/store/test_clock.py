import ast
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import andon.store
from andon.store.clock import micros, moment, now, now_micros


def test_the_time_is_aware_and_in_utc():
    """Nobody has to guess what zone a time is in."""
    assert now().tzinfo is UTC
    assert now().utcoffset() == timedelta(0)


def test_only_the_clock_asks_for_the_date():
    """`datetime.now` and its like are called in clock.py alone."""
    asked = {"now", "utcnow", "today"}
    for path in Path(andon.store.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in asked:
                assert path.name == "clock.py", f"{path}:{node.lineno}"


@given(st.datetimes(timezones=st.timezones()))
def test_microseconds_are_exact_both_ways(given_moment: datetime):
    """No float is involved, and the zone does not matter."""
    in_utc = given_moment.astimezone(UTC)
    assert moment(micros(given_moment)) == in_utc
    assert micros(in_utc) == micros(given_moment)


def test_microseconds_start_in_1970():
    """One more microsecond is one more."""
    assert micros(datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC)) == 1_000_005
    assert moment(-1).microsecond == 999_999
    assert abs(now_micros() - micros(now())) < 5_000_000


def test_a_time_without_a_zone_has_no_microseconds():
    """A guess about the zone would be wrong silently."""
    with pytest.raises(ValueError, match="zone"):
        micros(datetime(2026, 1, 1))
