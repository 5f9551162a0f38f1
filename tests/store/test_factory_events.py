"""What is taken, refused, listed and taken back; who is where."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event
from tests.support import floor
from tests.support.floor import MINUTE, SECOND, Told, at, ingest, state, stored_sums, units

from andon.errors import NotFound
from andon.store import paging, tables
from andon.store.clock import moment
from andon.store.database import Database
from andon.store.factory_records import DUPLICATE, STORED, FactoryEvent, Refused, StateSpan


@pytest.fixture(autouse=True)
def _the_floor(db: Database) -> None:
    floor.register(db)


def _reasons(outcomes: list[str | Refused]) -> list[str]:
    return [one.reason if isinstance(one, Refused) else one for one in outcomes]


def test_an_event_is_kept_as_it_was_told(db: Database):
    """With everything it carries."""
    told = units(3, at(8), site="north", event_id="own", confidence=0.25, camera="cam-7")
    assert ingest(db, [told]) == [STORED]
    found = db.factory.get("own")
    assert found == FactoryEvent(
        id=found.id,
        event_id="own",
        timestamp=at(8),
        worker_id="W1",
        workstation_id="S1",
        event_type="product_count",
        confidence=0.25,
        count=3,
        site_id="north",
        camera_id="cam-7",
        model_version=None,
        source="test",
        received=floor.MONDAY,
        until=None,
        retracted=None,
    )


def test_a_state_has_no_count(db: Database):
    """The usual sample, working with a count of 1, is not a unit."""
    ingest(db, [Told(at(8), "W1", "S1", "working", count=1, event_id="own")])
    assert db.factory.get("own").count == 0
    assert stored_sums(db, at(8), at(9))["W1", "S1"]["units"] == 0
    assert ingest(db, [Told(at(8), "W1", "S1", "working", count=2, event_id="own")]) == [DUPLICATE]


def test_nothing_is_a_batch_too(db: Database):
    """And changes nothing."""
    assert ingest(db, []) == []


# -- Repeats --------------------------------------------------------------------------------


@pytest.mark.parametrize("event_id", [None, "own"])
@pytest.mark.parametrize("together", [True, False])
def test_a_repeat_is_a_success(db: Database, event_id: str | None, together: bool):
    """In the same batch or later, with an id of its own or without."""
    told = units(2, at(8), event_id=event_id)
    outcomes = ingest(db, [told, told]) if together else ingest(db, [told]) + ingest(db, [told])
    assert outcomes == [STORED, DUPLICATE]
    assert stored_sums(db, at(8), at(9))["W1", "S1"]["units"] == 2


def test_sending_an_event_with_the_id_it_was_given_is_a_repeat(db: Database):
    """The sender may have read it from an answer."""
    told = units(2, at(8))
    ingest(db, [told])
    named = units(2, at(8), event_id=told.stored_id)
    assert ingest(db, [named]) == [DUPLICATE]
    assert _reasons(ingest(db, [units(3, at(8), event_id=told.stored_id)])) == ["reused_id"]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    "other",
    [
        units(2, at(8, 1), event_id="own"),
        units(2, at(8), worker="W2", event_id="own"),
        units(2, at(8), station="S2", event_id="own"),
        units(2, at(8), site="north", event_id="own"),
        units(5, at(8), event_id="own"),
        state("idle", at(8), event_id="own"),
    ],
    ids=["time", "worker", "station", "site", "count", "type"],
)
def test_an_id_names_one_event(db: Database, other: Told, together: bool):
    """Another one under it is refused, and the first stands."""
    first = units(2, at(8), event_id="own")
    outcomes = ingest(db, [first, other]) if together else ingest(db, [first]) + ingest(db, [other])
    assert _reasons(outcomes) == [STORED, "reused_id"]
    refused = outcomes[1]
    assert isinstance(refused, Refused)
    assert "own was already used for another event" in refused.detail
    assert "DELETE /events/own" in refused.hint
    found, _ = db.factory.page()
    assert [(event.timestamp, event.count) for event in found] == [(at(8), 2)]
    assert db.factory_totals.check() == []


@pytest.mark.parametrize("counts", [(1, 4, 2), (4, 1, 2), (2, 1, 4)])
@pytest.mark.parametrize("together", [True, False])
def test_of_counts_that_differ_the_greatest_stands(
    db: Database, counts: tuple[int, ...], together: bool
):
    """Whichever came first."""
    told = [units(count, at(8)) for count in counts]
    parcels = [told] if together else [[one] for one in told]
    outcomes = [one for parcel in parcels for one in ingest(db, parcel)]
    assert outcomes == [STORED, DUPLICATE, DUPLICATE]
    assert stored_sums(db, at(8), at(9))["W1", "S1"]["units"] == 4
    assert db.factory.get(told[0].stored_id).count == 4
    assert db.factory_totals.check() == []


# -- Who may be named -----------------------------------------------------------------------


def test_unknown_workers_and_stations_are_refused(db: Database):
    """The rest of the batch is stored; the reason names the way out."""
    outcomes = ingest(
        db,
        [
            state("idle", at(8), worker="W9"),
            state("idle", at(8), station="S9"),
            state("idle", at(8)),
        ],
    )
    assert _reasons(outcomes) == ["unknown_worker", "unknown_workstation", STORED]
    first = outcomes[0]
    assert isinstance(first, Refused)
    assert "W9" in first.detail
    assert "POST /workers/" in first.hint
    assert "ANDON_FACTORY_AUTO_REGISTER" in first.hint


def test_unknown_ones_are_registered_where_that_is_wanted(db: Database):
    """Once each, and not for a row that is refused."""
    told = [state("idle", at(8), worker="W9", station="S9"), units(1, at(9), worker="W9")]
    assert ingest(db, told, auto_register=True) == [STORED, STORED]
    assert ingest(db, told, auto_register=True) == [DUPLICATE, DUPLICATE]
    assert db.workers.get("W9").retired_at is None
    assert "S9" in db.workstations.ids()
    db.workstations.retire("S1", moment(at(8)))
    refused = ingest(db, [state("idle", at(9), worker="W8")], auto_register=True)
    assert _reasons(refused) == ["retired"]
    assert "W8" not in db.workers.ids()


@pytest.mark.parametrize("roster", ["workers", "workstations"])
def test_a_retired_one_takes_events_from_before(db: Database, roster: str):
    """Late ones, and repeats; none from the moment on; everything once it is back."""
    entries, key = (db.workers, "W1") if roster == "workers" else (db.workstations, "S1")
    seen = state("working", at(9))
    ingest(db, [seen])
    entries.retire(key, moment(at(8)))
    outcomes = ingest(db, [state("idle", at(8) - 1), state("idle", at(8)), seen])
    assert _reasons(outcomes) == [STORED, "retired", DUPLICATE]
    entries.bring_back(key)
    assert ingest(db, [state("idle", at(8))]) == [STORED]


def test_an_event_before_a_fraction_of_a_second_is_before(db: Database):
    """Retiring is exact to the microsecond."""
    db.workers.retire("W1", moment(at(8)) + timedelta(microseconds=5))
    outcomes = ingest(db, [state("idle", at(8) + 4), state("idle", at(8) + 5)])
    assert _reasons(outcomes) == [STORED, "retired"]


# -- Taking back ----------------------------------------------------------------------------


def test_an_event_taken_back_stays_and_is_not_counted(db: Database):
    """Twice is fine; a repeat of it does not bring it back."""
    told = units(2, at(8), event_id="own")
    ingest(db, [told, units(1, at(9))])
    gone = db.factory.retract("own")
    assert gone.retracted is not None
    assert db.factory.retract("own") == db.factory.get("own") == gone
    assert ingest(db, [told]) == [DUPLICATE]
    assert stored_sums(db, at(8), at(10))["W1", "S1"]["units"] == 1
    assert [event.timestamp for event in db.factory.page()[0]] == [at(9)]
    assert len(db.factory.page(retracted=True)[0]) == 2
    assert db.factory_totals.check() == []


def test_taking_back_nothing_is_an_error(db: Database):
    """So is looking for it."""
    with pytest.raises(NotFound, match="no-such"):
        db.factory.retract("no-such")
    with pytest.raises(NotFound, match="no-such"):
        db.factory.get("no-such")


def test_the_time_of_a_state_taken_back_goes_to_the_one_before(db: Database):
    """Up to the next state and the longest gap; of one instant to the next strongest."""
    ingest(
        db,
        [
            state("working", at(8)),
            state("absent", at(8, 10), event_id="wrong"),
            state("idle", at(8, 20)),
        ],
    )
    db.factory.retract("wrong")
    found = stored_sums(db, at(8), at(10))["W1", "S1"]
    assert (found["working"], found["absent"]) == (20 * MINUTE, 0)
    ingest(db, [state("working", at(8, 20), event_id="stronger")])
    db.factory.retract("stronger")
    assert stored_sums(db, at(8), at(10))["W1", "S1"]["idle"] == 30 * MINUTE
    assert db.factory_totals.check() == []


def test_a_correction_under_another_id_takes_its_place(db: Database):
    """Taken back, and sent right."""
    ingest(db, [state("idle", at(8), event_id="wrong")])
    db.factory.retract("wrong")
    assert ingest(db, [state("working", at(8), event_id="right")]) == [STORED]
    assert stored_sums(db, at(8), at(9))["W1", "S1"]["working"] == 30 * MINUTE


# -- Looking --------------------------------------------------------------------------------


def test_pages_follow_each_other_without_gap_or_repeat(db: Database):
    """Newest first, also where many have the same time."""
    told = [units(1, at(8, step // 4), worker=floor.WORKERS[step % 3]) for step in range(30)]
    told = list({event.identity: event for event in told}.values())
    ingest(db, told)
    seen: list[FactoryEvent] = []
    place = None
    while True:
        found, place = db.factory.page(limit=4, before=place)
        seen += found
        if place is None:
            break
    assert len(seen) == len(told)
    assert seen == sorted(seen, key=lambda event: (event.timestamp, event.id), reverse=True)


def test_pages_are_filtered(db: Database):
    """By each of what an event is of, and by time."""
    ingest(
        db,
        [
            state("idle", at(8), camera="c1"),
            state("working", at(9), worker="W2", station="S2", site="north"),
            units(1, at(10), worker="W3", station="S3"),
        ],
    )
    for wanted, hours in (
        ({"worker": "W2"}, [9]),
        ({"workstation": "S3"}, [10]),
        ({"event_type": "idle"}, [8]),
        ({"site": "main"}, [10, 8]),
        ({"camera": "c1"}, [8]),
        ({"since": at(9)}, [10, 9]),
        ({"until": at(9)}, [8]),
        ({"since": at(9), "until": at(10), "worker": "W2"}, [9]),
        ({"worker": "nobody"}, []),
    ):
        found, _ = db.factory.page(**wanted)  # type: ignore[arg-type]
        assert [event.timestamp for event in found] == [at(hour) for hour in hours]


def test_a_page_looks_at_so_many_rows_and_no_more(db: Database, monkeypatch: pytest.MonkeyPatch):
    """It may be empty then; whoever goes on finds everything, once."""
    monkeypatch.setattr(paging, "EXAMINED", 8)
    told = [units(1, at(8, n), worker=f"W{n % 3 + 1}", camera=f"c{n == 25}") for n in range(60)]
    ingest(db, told)
    for wanted, count in (
        ({"camera": "cTrue"}, 1),
        ({"camera": "cFalse", "worker": "W2"}, 19),
        ({"site": "nowhere"}, 0),
        ({}, 60),
    ):
        seen: list[int] = []
        pages, place = 0, None
        while True:
            found, place = db.factory.page(**wanted, limit=2, before=place)  # type: ignore[arg-type]
            seen += [event.timestamp for event in found]
            pages += 1
            if place is None:
                break
        assert len(seen) == len(set(seen)) == count
        assert seen == sorted(seen, reverse=True)
        # A page is 2 * limit and 8 rows.
        assert count > 2 or pages == 60 // (4 + 8) + 1


def test_a_workers_events_are_found_by_their_index(sqlite_db: Database):
    """Not by looking at everybody's."""
    plans: list[str] = []
    with sqlite_db.read() as connection:

        def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
            if statement.startswith("SELECT"):
                cursor = connection.connection.cursor()
                rows = cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
                plans.append("; ".join(row[3] for row in rows))

        event.listen(connection, "before_cursor_execute", note)
        paging.page(
            connection,
            tables.factory_events,
            indexed=[tables.factory_events.c.worker_id == "W1"],
            others=[tables.factory_events.c.event_type == "absent"],
            before=(at(9), 7),
            limit=5,
        )
    assert len(plans) == 2
    for plan in plans:
        assert "ix_factory_events_worker_id_timestamp (worker_id=? AND timestamp<?)" in plan
        assert "TEMP B-TREE" not in plan


def test_states_are_cut_to_the_window_and_joined(db: Database):
    """Reports of the same state that follow each other are one span."""
    ingest(
        db,
        [
            state("working", at(8)),
            state("working", at(8, 10)),
            state("idle", at(8, 20)),
            state("absent", at(8, 20)),
            state("idle", at(8, 20), worker="W2"),
            state("working", at(10)),
        ],
    )
    found = db.factory.states(since=at(8, 5), until=at(10, 1))
    assert found == [
        StateSpan("W1", "S1", "working", at(8, 5), at(8, 20)),
        StateSpan("W1", "S1", "idle", at(8, 20), at(8, 50)),
        StateSpan("W2", "S1", "idle", at(8, 20), at(8, 50)),
        StateSpan("W1", "S1", "working", at(10), at(10, 1)),
    ]
    assert db.factory.states(since=at(8), until=at(11), worker="W2") == [found[2]]
    assert db.factory.states(since=at(8), until=at(11), workstation="S2") == []
    assert db.factory.states(since=at(8, 5), until=at(11), limit=1) == [found[0]]


def test_who_is_where_now(db: Database):
    """By worker; whose last state is too old is nowhere."""
    ingest(
        db,
        [
            state("working", at(8)),
            state("idle", at(8, 10), station="S2"),
            state("working", at(7, 30), worker="W2"),
            units(1, at(8, 11)),
        ],
    )
    assert db.factory.latest_states(at(8, 12)) == {
        "W1": StateSpan("W1", "S2", "idle", at(8, 10), at(8, 40))
    }
    assert db.factory.latest_states(at(8, 10) - 1)["W1"].event_type == "working"
    assert db.factory.latest_states(at(7)) == {}


def test_first_and_last_are_of_events_that_count(db: Database):
    """None while there are none."""
    assert (db.factory.first(), db.factory.last()) == (None, None)
    ingest(db, [units(1, at(hour), event_id=f"at-{hour}") for hour in (7, 8, 9, 10)])
    db.factory.retract("at-7")
    db.factory.retract("at-10")
    assert (db.factory.first(), db.factory.last()) == (at(8), at(9))


def test_the_view_shows_events_with_readable_times(db: Database):
    """For people with a SQL prompt; without those taken back."""
    ingest(db, [units(1, at(8) + 5 * SECOND + 7), units(1, at(9), event_id="gone")])
    db.factory.retract("gone")
    with db.read() as connection:
        rows = connection.exec_driver_sql("SELECT timestamp, worker_id FROM events").all()
    assert len(rows) == 1
    found = rows[0][0]
    text = found if isinstance(found, str) else found.isoformat().replace("+00:00", "Z")
    assert text == "2026-03-02T08:00:05.000007Z"
