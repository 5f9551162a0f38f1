"""Any order, any batching, any repetition of the same events gives the same numbers."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import floor
from tests.support.floor import DAY, HOUR, MINUTE, Told, at, ingest, state, stored_sums, units

from andon.store.database import Database
from andon.store.factory_records import DUPLICATE, STORED

_EXAMPLES = settings(
    # On either database, so there are twice as many.
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
_NAMES = ("working", "idle", "absent", "units", "events")


@pytest.fixture(autouse=True)
def _the_floor(db: Database) -> None:
    floor.register(db)


def _like_the_reference(
    db: Database, told: list[Told], window: tuple[int, int], gap: int = floor.GAP
) -> None:
    """The sums of a window, and by hour and day, are those of the reference."""
    assert db.factory_totals.check() == []
    assert stored_sums(db, *window) == floor.sums(told, *window, gap)
    for width in (3600, 86_400):
        found = {
            (total.start, total.worker_id, total.workstation_id): {
                name: getattr(total, name) for name in _NAMES
            }
            for total in db.factory_totals.sums(*window, bucket=width)
        }
        assert found == floor.series(told, *window, width * floor.SECOND, gap)


@_EXAMPLES
@given(told=floor.histories(), window=floor.windows(), data=st.data())
def test_any_delivery_of_a_history_gives_the_reference(
    db: Database, told: list[Told], window: tuple[int, int], data: st.DataObject
):
    """Sums at random windows, by hour and by day; and a recomputation finds no difference."""
    floor.clear(db)
    outcomes = []
    for parcel in data.draw(floor.deliveries(told)):
        outcomes += ingest(db, parcel)
    assert outcomes.count(STORED) == len(floor.distinct(told))
    assert outcomes.count(DUPLICATE) == len(told) - outcomes.count(STORED)
    _like_the_reference(db, told, window)


@_EXAMPLES
@given(told=floor.histories(), window=floor.windows(), data=st.data())
def test_events_taken_back_were_never_there(
    db: Database, told: list[Told], window: tuple[int, int], data: st.DataObject
):
    """Whenever that happens, and whatever comes later; their repeats stay duplicates."""
    floor.clear(db)
    gone: set[str] = set()
    for parcel in data.draw(floor.deliveries(told)):
        ingest(db, parcel)
        for event in parcel:
            if event.stored_id not in gone and data.draw(st.integers(0, 4)) == 0:
                db.factory.retract(event.stored_id)
                gone.add(event.stored_id)
    assert set(ingest(db, told)) <= {DUPLICATE}
    left = [event for event in told if event.stored_id not in gone]
    _like_the_reference(db, left, window)


@_EXAMPLES
@given(told=floor.histories(), window=floor.windows(), gap=st.integers(1, 3 * HOUR))
def test_another_longest_gap_makes_every_sum_anew(
    db: Database, told: list[Told], window: tuple[int, int], gap: int
):
    """And later events are counted with it."""
    floor.clear(db)
    half = len(told) // 2
    ingest(db, told[:half])
    db.factory_totals.ensure_basis(gap)
    ingest(db, told[half:])
    _like_the_reference(db, told, window, gap)
    db.factory_totals.ensure_basis(floor.GAP)
    _like_the_reference(db, told, window)
    assert not db.factory_totals.ensure_basis(floor.GAP)


def test_a_late_event_splits_the_state_it_falls_into(db: Database):
    """The earlier one ends with it; the later ones are not touched."""
    ingest(db, [state("working", at(8)), state("idle", at(8, 20))])
    ingest(db, [state("absent", at(8, 5))])
    assert stored_sums(db, at(8), at(9))["W1", "S1"] == {
        "working": 5 * MINUTE,
        "absent": 15 * MINUTE,
        "idle": 30 * MINUTE,
        "units": 0,
        "events": 3,
    }
    assert db.factory_totals.check() == []


def test_a_state_opened_before_the_window_counts_inside(db: Database):
    """As far as it reaches, over hours and midnight."""
    ingest(db, [state("working", at(23, 50))])
    midnight = at(day=1)
    assert stored_sums(db, midnight, midnight + DAY)["W1", "S1"]["working"] == 20 * MINUTE
    assert stored_sums(db, midnight + 1, midnight + 3)["W1", "S1"]["working"] == 2


def test_time_goes_with_the_station_of_the_state(db: Database):
    """A worker who changes station takes the time along; two at one station add up."""
    ingest(
        db,
        [
            state("working", at(8), station="S1"),
            state("working", at(8, 10), station="S2"),
            state("idle", at(8, 15), station="S1"),
            state("working", at(8, 5), worker="W2", station="S2"),
            state("absent", at(8, 25), worker="W2", station="S2"),
        ],
    )
    found = stored_sums(db, at(8), at(8, 30))
    assert found["W1", "S1"]["working"] == 10 * MINUTE
    assert found["W1", "S1"]["idle"] == 15 * MINUTE
    assert found["W1", "S2"]["working"] == 5 * MINUTE
    assert found["W2", "S2"]["working"] == 20 * MINUTE


def test_of_simultaneous_states_the_strongest_counts(db: Database):
    """In whatever order they come, in one batch or one by one."""
    together = [state(kind, at(8)) for kind in ("working", "absent", "idle")]
    for order in (together, together[::-1]):
        for parcels in ([order], [[event] for event in order]):
            floor.clear(db)
            for parcel in parcels:
                ingest(db, parcel)
            found = stored_sums(db, at(8), at(10))
            assert found["W1", "S1"]["working"] == 30 * MINUTE
            assert found["W1", "S1"]["idle"] == found["W1", "S1"]["absent"] == 0


def test_counts_do_not_end_a_state(db: Database):
    """They are at the station they name, whatever the state says."""
    ingest(db, [state("working", at(8)), units(3, at(8, 10), station="S2")])
    found = stored_sums(db, at(8), at(9))
    assert found["W1", "S1"]["working"] == 30 * MINUTE
    assert found["W1", "S2"]["units"] == 3


def test_concurrent_writers_keep_the_sums_right(db: Database):
    """Threads that send overlapping histories of the same workers, late and repeated."""
    told = floor.busy_day()
    slices = [told[place::4] + told[place : len(told) : 7] for place in range(4)]

    def send(events: list[Told]) -> None:
        for start in range(0, len(events), 30):
            floor.submit(db, events[start : start + 30])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, slices))
    _like_the_reference(db, told, (at(), at(day=1)))
