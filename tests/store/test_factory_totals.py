"""Sums of any window, and what happens when they are not what they should be."""

import pytest
from tests.support import floor
from tests.support.floor import DAY, HOUR, MINUTE, Told, at, ingest, state, units

from andon.store.database import Database
from andon.store.factory_records import Total


@pytest.fixture(autouse=True)
def _the_floor(db: Database) -> None:
    floor.register(db)


def _day(db: Database) -> list[Told]:
    told = floor.busy_day()
    ingest(db, told)
    return told


def test_nothing_sums_up_to_nothing(db: Database):
    """With no event ever stored, none in the window, and a window without length."""
    assert db.factory_totals.sums(at(), at(day=30)) == []
    assert db.factory_totals.check() == []
    _day(db)
    assert db.factory_totals.sums(at(day=3) + 1, at(day=30)) == []
    assert db.factory_totals.sums(at(8), at(8)) == []
    assert db.factory_totals.sums(at(9), at(8)) == []


def test_sums_are_by_worker_and_station_or_by_one_of_them(db: Database):
    """The same numbers, added up further; sorted."""
    _day(db)
    window = at(6, 30) + 5, at(15) + 7
    pairs = db.factory_totals.sums(*window)
    assert [(one.worker_id, one.workstation_id) for one in pairs] == sorted(
        (worker, station) for worker in floor.WORKERS for station in floor.STATIONS
    )
    for by in ("worker", "workstation"):
        found = db.factory_totals.sums(*window, by=by)  # type: ignore[arg-type]
        for one in found:
            same = [pair for pair in pairs if getattr(pair, f"{by}_id") == getattr(one, f"{by}_id")]
            assert one.working == sum(pair.working for pair in same)
            assert one.units == sum(pair.units for pair in same)
        assert len(found) == 3
        other = "workstation_id" if by == "worker" else "worker_id"
        assert {getattr(one, other) for one in found} == {""}


def test_sums_of_one_worker_or_one_station(db: Database):
    """Exactly their part of the whole, in every kind of bucket."""
    _day(db)
    window = at(6, 30) + 5, at(15) + 7
    for bucket in (None, 3600, 86_400):
        everything = db.factory_totals.sums(*window, bucket=bucket)
        assert db.factory_totals.sums(*window, bucket=bucket, worker="W2") == [
            one for one in everything if one.worker_id == "W2"
        ]
        assert db.factory_totals.sums(*window, bucket=bucket, workstation="S3") == [
            one for one in everything if one.workstation_id == "S3"
        ]
        assert db.factory_totals.sums(*window, bucket=bucket, worker="nobody") == []


def test_the_buckets_of_a_series_add_up_to_the_window(db: Database):
    """The first and the last one are cut where the window is."""
    ingest(db, [state("working", at(hour, 50)) for hour in range(48)])
    window = at(3, 55), at(26, 57)
    whole = db.factory_totals.sums(*window)[0].working
    for bucket in (3600, 86_400):
        series = db.factory_totals.sums(*window, bucket=bucket)
        assert sum(one.working for one in series) == whole
    hours = db.factory_totals.sums(*window, bucket=3600)
    assert [one.start for one in hours] == [at(hour) for hour in range(3, 27)]
    assert hours[0].working == 5 * MINUTE
    assert hours[1].working == 30 * MINUTE
    assert hours[-1].working == 27 * MINUTE


def test_a_bucket_is_an_hour_or_a_day(db: Database):
    """Nothing else is kept."""
    with pytest.raises(ValueError, match="bucket"):
        db.factory_totals.sums(at(8), at(9), bucket=60)


def test_whole_buckets_come_from_the_sums_alone(db: Database):
    """So that a question takes as long however many events there are."""
    _day(db)
    with db.write() as connection:
        connection.exec_driver_sql("DELETE FROM factory_events")
    assert db.factory_totals.sums(at(7), at(9))
    assert db.factory_totals.sums(at(-24), at(day=2))
    assert db.factory_totals.sums(at(7) + 1, at(7) + 5) == []


def test_a_long_state_is_split_over_hours_and_days(db: Database):
    """With a gap of a day, one report lasts over midnight."""
    db.factory_totals.ensure_basis(DAY)
    ingest(db, [state("working", at(12, 30)), units(1, at(13))])
    hours = db.factory_totals.sums(at(), at(day=2), bucket=3600)
    assert [one.working for one in hours] == [30 * MINUTE] + [HOUR] * 23 + [30 * MINUTE]
    assert db.factory_totals.sums(at(), at(day=2), bucket=86_400) == [
        Total(at(), "W1", "S1", 11 * HOUR + 30 * MINUTE, 0, 0, 1, 2),
        Total(at(day=1), "W1", "S1", 12 * HOUR + 30 * MINUTE, 0, 0, 0, 0),
    ]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE factory_totals SET working = working + 1 WHERE width = 3600",
        "UPDATE factory_totals SET units = units + 1 WHERE width = 86400",
        "DELETE FROM factory_totals WHERE worker_id = 'W2'",
        "INSERT INTO factory_totals VALUES (3600, 0, 'W1', 'S1', 1, 0, 0, 0, 0)",
        "UPDATE factory_events SET until = until + 1 WHERE worker_id = 'W1'",
        "UPDATE factory_events SET until = timestamp WHERE event_type = 'product_count'",
        "DELETE FROM factory_events WHERE worker_id = 'W1'",
    ],
)
def test_sums_that_are_wrong_are_found_and_mended(db: Database, damage: str):
    """Whatever went wrong: the events are the truth."""
    told = _day(db)
    window = at(6, 30) + 5, at(15) + 7
    with db.write() as connection:
        connection.exec_driver_sql(damage)
    found = db.factory_totals.check()
    assert found
    assert len(found) <= 21
    db.factory_totals.rebuild()
    assert db.factory_totals.check() == []
    if "DELETE FROM factory_events" in damage:
        told = [one for one in told if one.worker != "W1"]
    assert floor.stored_sums(db, *window) == floor.sums(told, *window)


def test_a_recount_goes_through_a_history_in_pieces(db: Database, monkeypatch: pytest.MonkeyPatch):
    """However many events: a few at a time, and simultaneous ones on both sides of a cut."""
    told = [*_day(db), *(state(kind, at(9)) for kind in floor.STATES)]
    ingest(db, told)
    right = db.factory_totals.sums(at(), at(day=1), bucket=3600)
    monkeypatch.setattr("andon.store.factory_recount._CHUNK", 7)
    assert db.factory_totals.check() == []
    with db.write() as connection:
        connection.exec_driver_sql("UPDATE factory_events SET until = until + 5")
    db.factory_totals.rebuild()
    assert db.factory_totals.sums(at(), at(day=1), bucket=3600) == right
    assert db.factory_totals.check() == []


def test_the_longest_gap_is_remembered_with_the_sums(db: Database):
    """A program with another setting counts as the database does until it is told."""
    told = [state("working", at(8)), state("idle", at(9))]
    ingest(db, told[:1])
    where = db.path or db.url.render_as_string(hide_password=False)
    other = Database(where, max_gap=60)
    ingest(other, told[1:])
    window = at(8), at(10)
    assert floor.stored_sums(other, *window) == floor.sums(told, *window)
    assert other.factory_totals.ensure_basis(MINUTE)
    assert floor.stored_sums(db, *window) == floor.sums(told, *window, MINUTE)
    assert not other.factory_totals.ensure_basis(MINUTE)
    assert db.factory_totals.check() == []
    other.close()
