import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from andon.errors import NotFound
from andon.store import paging
from andon.store.database import Database
from andon.store.drowsiness_events import (
    DrowsinessEvents,
    DrowsinessRow,
    Sums,
)
from andon.store.drowsiness_records import WIDTHS
from andon.store.drowsiness_totals import pieces
from andon.store.factory_records import DUPLICATE, STORED, Refused
from andon.store.ids import uuid7, uuid7_of
from andon.store.tables import drowsiness_events, drowsiness_totals

SECOND = 1_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
# The first minute of a day.
START = 20_000 * DAY


def row(at: int = START, *, event_id: str | None = None, **values) -> DrowsinessRow:
    """A measurement; without an id, one is made from what identifies it."""
    places = {"driver_id": "D1", "device_id": "", "site_id": "main"} | {
        name: values.pop(name) for name in ("driver_id", "device_id", "site_id") if name in values
    }
    made = uuid7_of(at, "\n".join((str(at), *places.values())).encode())
    return DrowsinessRow(
        event_id=event_id or made,
        given=event_id is not None,
        timestamp=at,
        **places,
        **{
            "ear_value": 0.3,
            "is_drowsy": False,
            "duration_ms": 0.0,
            "source": "api",
            "received": START + 9 * DAY,
            **values,
        },
    )


def ingest(db: Database, rows: Sequence[DrowsinessRow]) -> list[str | Refused]:
    """One transaction."""
    with db.write() as connection:
        return DrowsinessEvents(db).ingest(connection, rows)


def expected(rows: Sequence[DrowsinessRow]) -> Sums:
    """The sums of measurements, added up plainly."""
    if not rows:
        return Sums()
    return Sums(
        events=len(rows),
        drowsy=sum(row.is_drowsy for row in rows),
        ear_sum=sum(int(row.ear_value * 1e6 + 0.5) for row in rows),
        ear_min=min(int(row.ear_value * 1e6 + 0.5) for row in rows),
        duration_sum=sum(int(row.duration_ms * 1e3 + 0.5) for row in rows),
    )


# -- Taking measurements in -----------------------------------------------------------


def test_a_measurement_is_stored_and_counted(db: Database):
    """In the row and in the sums of its minute, hour and day."""
    telemetry = DrowsinessEvents(db)
    one = row(START + 61 * SECOND, ear_value=0.1875, is_drowsy=True, duration_ms=1500.5)
    assert ingest(db, [one]) == [STORED]
    (kept,), _ = telemetry.page()
    assert (kept.event_id, kept.ear_value, kept.is_drowsy) == (one.event_id, 0.1875, True)
    assert telemetry.get(one.event_id) == kept
    assert telemetry.overall() == Sums(
        events=1, drowsy=1, ear_sum=187_500, ear_min=187_500, duration_sum=1_500_500
    )
    with db.read() as connection:
        buckets = connection.execute(
            drowsiness_totals.select().order_by(drowsiness_totals.c.width)
        ).all()
    assert [(bucket.width, bucket.start) for bucket in buckets] == [
        (60, START + MINUTE),
        (3600, START),
        (86_400, START),
    ]


def test_nothing_is_taken_from_nothing(db: Database):
    """No rows, no answers; no measurements, no means."""
    telemetry = DrowsinessEvents(db)
    assert ingest(db, []) == []
    assert telemetry.overall() == Sums()
    assert telemetry.overall().average_ear is None
    assert telemetry.overall().drowsy_percent is None
    assert (telemetry.first(), telemetry.last()) == (None, None)
    assert telemetry.page() == ([], None)
    assert telemetry.drivers() == []
    with pytest.raises(NotFound, match="no-such"):
        telemetry.get("no-such")


def test_a_repeat_is_a_duplicate_and_counts_once(db: Database):
    """In another transaction and within one, with a given id and a made one."""
    given_id, made = row(event_id="mine"), row(START + 1)
    assert ingest(db, [given_id, made, given_id]) == [STORED, STORED, DUPLICATE]
    assert ingest(db, [made, made, given_id]) == [DUPLICATE] * 3
    assert DrowsinessEvents(db).overall() == expected([given_id, made])
    assert DrowsinessEvents(db).check_totals() == []


@pytest.mark.parametrize(
    "other",
    [
        {"at": START + 1},
        {"driver_id": "D2"},
        {"device_id": "cam"},
        {"site_id": "north"},
        {"ear_value": 0.29},
        {"is_drowsy": True},
        {"duration_ms": 1.0},
    ],
    ids=lambda value: next(iter(value)),
)
def test_a_given_id_is_used_for_one_measurement_only(db: Database, other):
    """The first stands, and the answer says why the second was refused."""
    first, second = row(event_id="mine"), row(event_id="mine", **other)
    assert ingest(db, [first]) == [STORED]
    (refused,) = ingest(db, [second])
    assert isinstance(refused, Refused)
    assert (refused.reason, "mine" in refused.detail) == ("reused_id", True)
    assert refused.hint
    assert DrowsinessEvents(db).overall() == expected([first])
    # Within one batch just the same.
    own = [row(event_id="own"), row(event_id="own", **other)]
    stored, again = ingest(db, own)
    assert stored == STORED
    assert isinstance(again, Refused)


def test_a_repeat_without_a_time_of_its_own_is_a_repeat(db: Database):
    """The time of its arrival is not a value the sender gave."""
    first = row(START, event_id="mine", received=START)
    later = row(START + 5, event_id="mine", received=START + 5)
    timed = row(START + 5, event_id="mine", received=START + 6)
    assert ingest(db, [first, later]) == [STORED, DUPLICATE]
    assert isinstance(ingest(db, [timed])[0], Refused)
    # Exported and sent again: the time we gave it is its time.
    exported = row(START, event_id="mine", received=START + 9)
    assert ingest(db, [exported]) == [DUPLICATE]
    assert DrowsinessEvents(db).last() == START


@pytest.mark.parametrize("together", [True, False])
def test_the_smaller_value_stands_under_a_made_id(db: Database, together):
    """Whatever order they arrive in: EAR first, then drowsy, then the longer duration."""
    values = [
        {"ear_value": 0.2, "is_drowsy": True, "duration_ms": 900.0},
        {"ear_value": 0.2, "is_drowsy": True, "duration_ms": 100.0},
        {"ear_value": 0.2, "is_drowsy": False, "duration_ms": 2000.0},
        {"ear_value": 0.4, "is_drowsy": True, "duration_ms": 0.0},
    ]
    for turn in range(4):
        at = START + turn * SECOND
        rows = [row(at, **value) for value in values[turn:] + values[:turn]]
        outcomes = ingest(db, rows) if together else [ingest(db, [one])[0] for one in rows]
        assert outcomes == [STORED, DUPLICATE, DUPLICATE, DUPLICATE]
    telemetry = DrowsinessEvents(db)
    standing = [row(START, **values[0])] * 4
    assert telemetry.overall() == expected(standing)
    assert telemetry.check_totals() == []
    assert {event.duration_ms for event in telemetry.page()[0]} == {900.0}


def test_an_undone_transaction_leaves_nothing(db: Database):
    """Neither rows nor sums."""
    with pytest.raises(RuntimeError), db.write() as connection:
        DrowsinessEvents(db).ingest(connection, [row()])
        raise RuntimeError
    assert DrowsinessEvents(db).overall() == Sums()
    assert ingest(db, [row()]) == [STORED]


MOMENTS = st.sampled_from([0, 1, MINUTE - 1, MINUTE, HOUR - 1, HOUR, DAY - 1, DAY, 2 * DAY + 5])
HISTORIES = st.lists(
    st.builds(
        row,
        at=MOMENTS.map(lambda offset: START + offset),
        driver_id=st.sampled_from(["", "D1", "D2"]),
        ear_value=st.floats(0, 2),
        is_drowsy=st.booleans(),
        duration_ms=st.floats(0, 86_400_000),
        event_id=st.none() | st.sampled_from(["a", "b", "c"]),
    ),
    max_size=12,
)


def standing(rows: Sequence[DrowsinessRow]) -> list[DrowsinessRow]:
    """What a plain reading of the rules leaves of a history."""
    kept: dict[str, DrowsinessRow] = {}
    for one in rows:
        first = kept.get(one.event_id)
        if first is None or (
            not one.given
            and (one.ear_value, not one.is_drowsy, -one.duration_ms)
            < (first.ear_value, not first.is_drowsy, -first.duration_ms)
        ):
            kept[one.event_id] = one
    return list(kept.values())


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(history=HISTORIES, cuts=st.lists(st.integers(0, 12), max_size=3), seed=st.integers(0, 99))
def test_any_order_and_batching_gives_the_same_sums(db: Database, history, cuts, seed):
    """Measurements under made ids in any order; then everything again."""
    with db.write() as connection:
        connection.execute(drowsiness_events.delete())
        connection.execute(drowsiness_totals.delete())
    telemetry = DrowsinessEvents(db)
    rows = [one for one in history if not one.given]
    random.Random(seed).shuffle(rows)
    # Given ids are first come, first served, so these keep their order.
    rows += [one for one in history if one.given]
    borders = sorted({0, *(cut for cut in cuts if cut < len(rows)), len(rows)})
    for begin, end in pairwise(borders):
        ingest(db, rows[begin:end])
    ingest(db, rows[::-1])
    left = standing(rows)
    assert telemetry.overall() == expected(left)
    assert telemetry.check_totals() == []
    for driver in ("", "D1", "D2"):
        mine = [one for one in left if one.driver_id == driver]
        assert telemetry.window(None, None, driver) == expected(mine)


def test_writers_at_the_same_time_count_everything_once(where: str):
    """Several connections, the same drivers, repeats of one another's rows and shared ids."""
    db = Database(where)
    rows = [
        row(START + number * SECOND, driver_id=f"D{number % 3}", ear_value=0.2 + number / 1000)
        for number in range(60)
    ]
    # One id, claimed for different drivers: exactly one of them gets it.
    claims = [row(event_id="claimed", driver_id=f"C{worker}") for worker in range(6)]
    together = threading.Barrier(6)

    def work(worker: int) -> list[str | Refused]:
        mine = [*rows, claims[worker]]
        random.Random(worker).shuffle(mine)
        together.wait()
        found: list[str | Refused] = []
        for begin in range(0, len(mine), 7):
            found += ingest(db, mine[begin : begin + 7])
        return found

    with ThreadPoolExecutor(6) as pool:
        outcomes = [outcome for part in pool.map(work, range(6)) for outcome in part]
    assert outcomes.count(STORED) == 61
    assert outcomes.count(DUPLICATE) == 5 * 60
    assert sum(isinstance(outcome, Refused) for outcome in outcomes) == 5
    telemetry = DrowsinessEvents(db)
    assert telemetry.overall().events == 61
    assert telemetry.check_totals() == []
    db.close()


# -- Asking ---------------------------------------------------------------------------


@given(
    since=st.integers(0, 5 * DAY),
    length=st.integers(-5, 3 * DAY),
    widths=st.sampled_from([WIDTHS, WIDTHS[1:], WIDTHS[2:], ()]),
)
def test_pieces_cover_a_window_once(since, length, widths):
    """Without gaps, with whole buckets, and with little left at the ends."""
    found = pieces(since, since + length, widths)
    assert sum(last - first for _, first, last in found) == max(length, 0)
    edges = [edge for _, first, last in found for edge in (first, last)]
    assert edges == sorted(edges)
    if found:
        assert (found[0][1], found[-1][2]) == (since, since + length)
    for width, first, last in found:
        if width:
            assert first % (width * SECOND) == last % (width * SECOND) == 0
        elif widths:
            assert last - first < 2 * MINUTE


def spread(db: Database) -> list[DrowsinessRow]:
    """Measurements over three days, on and between the borders of buckets."""
    chance = random.Random(7)
    rows = [
        row(
            START + chance.choice((0, DAY, 2 * DAY)) + chance.randrange(0, DAY, SECOND // 2),
            driver_id=chance.choice(("D1", "D2", "")),
            ear_value=chance.uniform(0, 0.5),
            is_drowsy=chance.random() < 0.2,
            duration_ms=chance.uniform(0, 3000),
        )
        for _ in range(300)
    ]
    ingest(db, rows)
    return standing(rows)


def test_windows_are_exact_to_the_microsecond(db: Database):
    """Every cut through days, hours, minutes and seconds; all drivers and each."""
    rows = spread(db)
    telemetry = DrowsinessEvents(db)
    chance = random.Random(3)
    exact = sorted(one.timestamp for one in rows)
    for _ in range(40):
        since = chance.choice((chance.choice(exact), START + chance.randrange(3 * DAY)))
        until = since + chance.choice((1, SECOND, MINUTE, 5 * HOUR + 7, DAY, 3 * DAY))
        driver = chance.choice((None, "D1", ""))
        inside = [
            one
            for one in rows
            if since <= one.timestamp < until and driver in {None, one.driver_id}
        ]
        assert telemetry.window(since, until, driver) == expected(inside)
    assert telemetry.window(None, exact[5]) == expected([r for r in rows if r.timestamp < exact[5]])
    assert telemetry.window(exact[5], exact[5]) == Sums()


@pytest.mark.parametrize("width", [60, 300, 3600, 7200, 86_400])
def test_series_divide_a_window(db: Database, width):
    """Each bucket has what lies in it and in the window; together they are the window."""
    rows = spread(db)
    telemetry = DrowsinessEvents(db)
    since, until = START + 3 * HOUR + 17 * SECOND, START + 2 * DAY + 61 * SECOND
    unit = width * SECOND
    inside = [one for one in rows if since <= one.timestamp < until]
    found = telemetry.series(since, until, width)
    starts = sorted({one.timestamp // unit * unit for one in inside})
    assert [bucket.start for bucket in found] == starts
    for bucket in found:
        mine = [one for one in inside if one.timestamp // unit * unit == bucket.start]
        assert Sums(
            events=bucket.events,
            drowsy=bucket.drowsy,
            ear_sum=bucket.ear_sum,
            ear_min=bucket.ear_min,
            duration_sum=bucket.duration_sum,
        ) == expected(mine)
    by_driver = telemetry.series_by_driver(since, until, width)
    assert sum(bucket.events for bucket in by_driver) == len(inside)
    assert {bucket.driver_id for bucket in by_driver} == {one.driver_id for one in inside}
    only = telemetry.series(since, until, width, driver="D2")
    assert sum(b.events for b in only) == sum(one.driver_id == "D2" for one in inside)


def test_buckets_are_whole_minutes(db: Database):
    """Nothing finer is summed."""
    with pytest.raises(ValueError, match="whole minutes"):
        DrowsinessEvents(db).series(START, START + DAY, 90)


def test_drivers_are_listed_with_their_sums(db: Database):
    """Who was measured in the window, and when each was seen last."""
    rows = spread(db)
    telemetry = DrowsinessEvents(db)
    found = telemetry.drivers()
    assert [driver.driver_id for driver in found] == ["", "D1", "D2"]
    for driver in found:
        mine = [one for one in rows if one.driver_id == driver.driver_id]
        assert driver.sums.events == len(mine)
        assert driver.last == max(one.timestamp for one in mine) == telemetry.last(driver.driver_id)
        assert telemetry.first(driver.driver_id) == min(one.timestamp for one in mine)
    ingest(db, [row(START + 5 * DAY, driver_id="D9")])
    assert [driver.driver_id for driver in telemetry.drivers(START + 4 * DAY)] == ["D9"]


def test_means_are_those_of_the_values(db: Database):
    """EAR, duration and share of drowsy measurements, in their own units."""
    ingest(
        db,
        [
            row(START, ear_value=0.1, is_drowsy=True, duration_ms=1000),
            row(START + 1, ear_value=0.3),
            row(START + 2, ear_value=0.3),
        ],
    )
    sums = DrowsinessEvents(db).overall()
    assert sums.average_ear == pytest.approx(0.7 / 3)
    assert sums.lowest_ear == pytest.approx(0.1)
    assert sums.average_duration_ms == pytest.approx(1000 / 3)
    assert sums.drowsy_percent == pytest.approx(100 / 3)


def test_pages_lead_through_everything_newest_first(db: Database):
    """Also where many measurements share an instant, and while new ones arrive."""
    telemetry = DrowsinessEvents(db)
    rows = [row(START + number // 4, device_id=f"cam-{number}") for number in range(30)]
    ingest(db, rows)
    seen, before = [], None
    while True:
        found, before = telemetry.page(before=before, limit=7)
        seen += found
        if before is None:
            break
        ingest(db, [row(START + DAY, event_id=uuid7())])
    assert len(seen) == 30
    order = [(event.timestamp, event.id) for event in seen]
    assert order == sorted(order, reverse=True)


def test_pages_can_be_filtered(db: Database):
    """By driver, device, site, word of the device, and time."""
    telemetry = DrowsinessEvents(db)
    rows = [
        row(START, driver_id="", device_id="cam-1"),
        row(START + 1, is_drowsy=True, site_id="north"),
        row(START + 2, device_id="cam-1"),
    ]
    ingest(db, rows)

    def times(**wanted) -> list[int]:
        return [event.timestamp - START for event in telemetry.page(**wanted)[0]]

    assert times() == [2, 1, 0]
    assert times(driver="") == [0]
    assert times(driver="D1", device="cam-1") == [2]
    assert times(site="north") == times(drowsy=True) == [1]
    assert times(drowsy=False) == [2, 0]
    assert times(since=START + 1, until=START + 2) == [1]


def test_a_page_looks_at_so_many_measurements_and_no_more(
    db: Database, monkeypatch: pytest.MonkeyPatch
):
    """It may be empty then; whoever goes on finds everything."""
    monkeypatch.setattr(paging, "EXAMINED", 8)
    telemetry = DrowsinessEvents(db)
    ingest(db, [row(START + number, is_drowsy=number == 3) for number in range(40)])
    seen, pages, before = [], 0, None
    while True:
        found, before = telemetry.page(drowsy=True, before=before, limit=2)
        seen += found
        pages += 1
        if before is None:
            break
    assert [event.timestamp for event in seen] == [START + 3]
    assert pages == 4


def test_a_stream_comes_in_the_order_of_time(db: Database):
    """One driver's, whatever order it arrived in, and no more than asked for."""
    telemetry = DrowsinessEvents(db)
    rows = [row(START + number, ear_value=number / 10) for number in (3, 1, 2, 0)]
    ingest(db, [*rows, row(START, driver_id="D2")])
    found = telemetry.measurements(START, START + 3, "D1", 10)
    assert list(found.timestamps) == [START, START + 1, START + 2]
    assert list(found.ears) == [0.0, 0.1, 0.2]
    assert (list(found.drowsy), list(found.durations)) == ([0, 0, 0], [0.0, 0.0, 0.0])
    assert len(telemetry.measurements(START, START + 9, "D1", 2).ears) == 2
    assert len(telemetry.measurements(START, START + 9, "D9", 2).ears) == 0
