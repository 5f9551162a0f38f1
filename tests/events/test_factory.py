"""The numbers themselves: windows, formulas, series. What they mean is tested through HTTP."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.floor import DAY, HOUR, MINUTE, at, ingest, register, state, units

from andon.errors import InvalidRequest, NotFound
from andon.events import factory
from andon.events.factory import Sums, Window
from andon.store.clock import moment
from andon.store.database import Database

NOW = at(12)


@pytest.fixture
def floor(db: Database) -> Database:
    """W1 worked for half an hour from eight and made 10, W2 was idle."""
    register(db)
    ingest(db, [state("working", at(8)), units(10, at(8, 5)), state("absent", at(8, 30))])
    ingest(
        db,
        [state("idle", at(8), worker="W2", station="S2"), state("absent", at(8, 15), worker="W2")],
    )
    return db


def test_a_window_begins_with_the_data_and_ends_now(floor: Database):
    """Where nobody says otherwise."""
    assert factory.window(floor, None, None, NOW) == Window(at(8), NOW)
    assert factory.window(floor, at(9), at(10), NOW) == Window(at(9), at(10))
    assert factory.window(floor, at(9), at(20), NOW) == Window(at(9), NOW)
    assert factory.window(floor, None, at(7), NOW) == Window(at(7), at(7))


def test_a_window_without_data_is_empty(db: Database):
    """And not an error."""
    window = factory.window(db, None, None, NOW)
    assert window == Window(NOW, NOW)
    assert factory.factory(db, window).production == 0
    assert factory.factory(db, window, bucket="hour").series == []


@pytest.mark.parametrize(
    ("since", "until"), [(at(9), at(8)), (at(9), at(9)), (at(13), at(14)), (NOW, None)]
)
def test_a_window_must_not_be_turned_round(db: Database, since: int, until: int | None):
    """Nor begin in the future."""
    with pytest.raises(InvalidRequest) as wrong:
        factory.window(db, since, until, NOW)
    assert wrong.value.errors[0]["field"] == "from"


def test_the_numbers_of_each_level(floor: Database):
    """From the same sums."""
    window = Window(at(8), at(9))
    one, two, three = factory.workers(floor, window)
    assert (one.active_seconds, one.absent_seconds, one.units_per_hour) == (1800, 1800, 20)
    assert (two.idle_seconds, two.utilization) == (900, 0)
    assert three.events == 0
    first, second, third = factory.workstations(floor, window)
    assert (first.occupancy_seconds, first.utilization, first.throughput) == (1800, 1, 20)
    assert (second.occupancy_seconds, third.occupancy_seconds) == (900, 0)
    everything = factory.factory(floor, window)
    assert (everything.productive_seconds, everything.production, everything.workers) == (
        1800,
        10,
        2,
    )
    assert everything.utilization == 0.5


def test_one_of_them_alone(floor: Database):
    """Or nobody of that name."""
    (one,) = factory.workers(floor, Window(at(8), at(9)), worker="W2")
    assert (one.worker_id, one.idle_seconds) == ("W2", 900)
    (one,) = factory.workstations(floor, Window(at(8), at(9)), workstation="S1")
    assert one.workstation_id == "S1"
    with pytest.raises(NotFound):
        factory.workers(floor, Window(at(8), at(9)), worker="W9")
    with pytest.raises(NotFound):
        factory.workstations(floor, Window(at(8), at(9)), workstation="S9")


@pytest.mark.parametrize("bucket", ["hour", "day"])
def test_a_series_adds_up_to_the_window(floor: Database, bucket: factory.Bucket):
    """Whatever its edges; its buckets are those of the clock."""
    window = Window(at(7, 20) + 1, at(8, 21) + 7)
    whole = factory.workers(floor, window)
    for without, one in zip(whole, factory.workers(floor, window, bucket=bucket), strict=True):
        assert one.series
        assert without.series is not one.series
        assert sum(point.active_seconds for point in one.series) == without.active_seconds
        assert sum(point.units for point in one.series) == without.units == one.units
        assert one.active_seconds == without.active_seconds
    series = factory.factory(floor, window, bucket=bucket).series
    assert series
    width = HOUR if bucket == "hour" else DAY
    assert series[0].start == moment(window.since - window.since % width)


def test_a_series_has_a_limit(floor: Database):
    """Points of one series, and of all of them together."""
    factory.factory(floor, Window(at(0), at(0) + 2_000 * HOUR), bucket="hour")
    with pytest.raises(InvalidRequest, match="bucket=day"):
        factory.factory(floor, Window(at(0), at(0) + 2_000 * HOUR + 1), bucket="hour")
    with pytest.raises(InvalidRequest, match="2001 buckets"):
        factory.factory(floor, Window(at(0), at(0) + 2_001 * DAY), bucket="day")


def test_retired_people_stay_in_the_numbers(floor: Database):
    """With the time of their leaving."""
    floor.workers.retire("W1")
    (one, *_) = factory.workers(floor, Window(at(8), at(9)))
    assert one.retired_at is not None
    assert one.active_seconds == 1800


_sums = st.builds(Sums, *[st.integers(0, 10**15)] * 3, st.integers(0, 10**9), st.integers(0, 10**6))


@given(st.lists(_sums, max_size=8), st.randoms())
def test_the_factory_does_not_depend_on_the_order_of_its_workers(everybody: list[Sums], random):
    """To the last digit."""
    mixed = everybody.copy()
    random.shuffle(mixed)
    assert factory.factory_numbers(mixed) == factory.factory_numbers(everybody)


@given(_sums)
def test_fractions_are_fractions(sums: Sums):
    """0 to 1, and never a division by zero."""
    assert 0 <= factory.worker_numbers(sums)["utilization"] <= 1
    assert 0 <= factory.workstation_numbers(sums)["utilization"] <= 1
    assert factory.worker_numbers(Sums())["units_per_hour"] == 0
    assert factory.worker_numbers(Sums(units=3))["units_per_hour"] == 0
    assert factory.worker_numbers(Sums(working=30 * MINUTE, units=3))["units_per_hour"] == 6
