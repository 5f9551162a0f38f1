"""`store.retention`: what is old goes, a few rows at a time; what is precious stays."""

import random
import threading
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update
from tests.store.builders import add_version, log, prediction, start_program
from tests.store.test_drowsiness_events import DAY, MINUTE, START, ingest
from tests.store.test_drowsiness_events import row as measurement

from andon.errors import NotFound
from andon.store import retention, steps
from andon.store.alerts import Alerts
from andon.store.clock import moment, now
from andon.store.database import Database
from andon.store.drowsiness_records import DrowsinessRow
from andon.store.factory_records import DUPLICATE, STORED, Refused
from andon.store.feedback import Label, Outcome
from andon.store.tables import alerts, feedback, jobs, performance_metrics, predictions


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows in a transaction: a few dozen rows need many."""
    monkeypatch.setattr(steps, "AT_ONCE", 3)


def row(at: int, **values: Any) -> DrowsinessRow:
    """A measurement that was received long ago."""
    return measurement(at, **{"received": START, **values})


def ago(days: float) -> datetime:
    """A time before now."""
    return now() - timedelta(days=days)


def label(db: Database, ids: list[str], actual: Any = "short") -> list[Outcome]:
    """Say what answers should have been."""
    return db.feedback.store([Label(key, actual, now()) for key in ids])


def ids(db: Database) -> set[str]:
    """The answers that are there."""
    with db.read() as connection:
        return set(connection.scalars(select(predictions.c.id)))


def labels(db: Database) -> set[str]:
    """The answers that have a label."""
    with db.read() as connection:
        return set(connection.scalars(select(feedback.c.prediction_id)))


def test_old_answers_go_and_their_totals_stay(db: Database):
    """Those with a label stay too, with the label; from when on all are there is told."""
    version = add_version(db)
    old = log(db, version, 10, created_at=ago(100))
    (young,) = log(db, version)
    label(db, old[3:5])
    assert db.retention.since("predictions") is None
    bound = ago(90)
    assert db.retention.delete_predictions(bound) == (8, True)
    assert ids(db) == {*old[3:5], young}
    assert labels(db) == set(old[3:5])
    assert db.predictions.stats("pcb")["total_inferences"] == 11
    assert db.retention.since("predictions") == bound
    assert db.retention.delete_predictions(ago(90)) == (0, True)
    assert db.retention.since("predictions") == bound


def test_labelled_answers_go_with_their_label_where_somebody_says_so(db: Database):
    """Only the old ones, and none without a label by this."""
    version = add_version(db)
    old, young = log(db, version, 7, created_at=ago(100)), log(db, version, 2)
    label(db, [*old[1:], young[0]])
    assert db.retention.delete_predictions(ago(90), labelled=True) == (6, True)
    assert ids(db) == {old[0], *young}
    assert labels(db) == {young[0]}


def test_a_label_for_a_deleted_answer_is_refused(db: Database):
    """It is unknown, and asking for it says why."""
    (old,) = log(db, add_version(db), created_at=ago(100))
    db.retention.delete_predictions(ago(90))
    assert label(db, [old]) == [Outcome.UNKNOWN]
    assert labels(db) == set()
    with pytest.raises(NotFound) as raised:
        db.predictions.get(old)
    assert "ANDON_KEEP_PREDICTIONS_DAYS" in raised.value.hint


def test_a_label_that_is_taken_back_no_longer_keeps_its_answer(
    db: Database, monkeypatch: pytest.MonkeyPatch
):
    """What was gone through is looked at again a day later."""
    old = log(db, add_version(db), 5, created_at=ago(100))
    label(db, old[:1])
    assert db.retention.delete_predictions(ago(90)) == (4, True)
    db.feedback.remove(old[0])
    assert db.retention.delete_predictions(ago(90)) == (0, True)
    monkeypatch.setattr(retention, "_AGAIN", 0.0)
    assert db.retention.delete_predictions(ago(90)) == (1, True)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_rows_and_however_often_it_is_cut_off(db: Database, seed: int):
    """In the end exactly the old answers without a label are gone."""
    draw = random.Random(seed)
    version = add_version(db)
    ages = [draw.choice([10, 80, 89.9, 90.1, 95, 95, 95, 400]) for _ in range(draw.randint(0, 40))]
    rows = [(log(db, version, created_at=ago(age))[0], age) for age in ages]
    labelled = {key for key, _ in rows if draw.random() < 0.3}
    label(db, sorted(labelled))
    bound = ago(90)
    gone = 0
    for _ in range(100):
        done = db.retention.delete_predictions(bound, pace=lambda _: draw.random() < 0.5)
        gone += done.rows
        if done.finished:
            break
    assert ids(db) == {key for key, age in rows if age < 90 or key in labelled}
    assert gone == len(rows) - len(ids(db))


def test_it_stops_when_it_is_told_to(db: Database):
    """After one transaction; the next call goes on."""
    log(db, add_version(db), 8, created_at=ago(100))
    took: list[float] = []

    def stop(seconds: float) -> bool:
        took.append(seconds)
        return False

    assert db.retention.delete_predictions(ago(90), pace=stop) == (3, False)
    assert len(took) == 1
    assert db.retention.delete_predictions(ago(90)) == (5, True)


def test_nothing_is_lost_that_is_written_meanwhile(db: Database):
    """Answers and labels come while old ones go: each is there, none was refused."""
    version = add_version(db)
    rows = [prediction(version, created_at=ago(100 - number / 100)) for number in range(300)]
    db.writer.write_rows(rows).result(timeout=20)
    old = [one["id"] for one in rows]
    written: list[str] = []
    stored: dict[str, Outcome] = {}
    failures: list[BaseException] = []
    over = threading.Event()

    def guarded(work: Any) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def write() -> None:
        while not over.is_set():
            written.extend(log(db, version, 5))

    def say() -> None:
        # Backwards, so that they meet.
        for start in range(len(old) - 7, 0, -7):
            part = old[start : start + 7]
            stored.update(zip(part, label(db, part), strict=True))

    threads = [guarded(write), guarded(say)]
    done = db.retention.delete_predictions(ago(90))
    over.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert done.finished
    said = {key for key, outcome in stored.items() if outcome is Outcome.STORED}
    assert labels(db) == said
    assert ids(db) == {*written, *said}
    assert db.predictions.stats("pcb")["total_inferences"] == len(written) + 300


_DELETE = """
import os, sys
from datetime import timedelta
from andon.store import steps
from andon.store.clock import now
from andon.store.database import Database

def tell(_):
    os.write(1, b"step\\n")
    return True

steps.AT_ONCE = 7
db = Database(sys.argv[1])
db.retention.delete_predictions(now() - timedelta(days=90), pace=tell)
"""


def test_killed_in_the_middle_it_harms_nothing(where: str):
    """Whole transactions are gone, the rest is there, and the next round ends it."""
    db = Database(where)
    version = add_version(db)
    old, young = log(db, version, 1500, created_at=ago(100)), log(db, version, 10)
    label(db, old[::10])
    db.close()
    program = start_program(_DELETE, where)
    assert program.stdout is not None
    for _ in range(5):
        program.stdout.readline()
    program.kill()
    _, errors = program.communicate(timeout=20)
    assert "Traceback" not in errors
    db = Database(where)
    left = ids(db)
    assert {*old[::10], *young} <= left
    assert len(left) < len(old) + len(young)
    assert db.retention.since("predictions") is not None
    db.retention.delete_predictions(ago(90))
    assert ids(db) == {*old[::10], *young}
    assert labels(db) == set(old[::10])
    if db.path is not None:
        with db.read() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    db.close()


def test_jobs_that_are_over_are_forgotten(db: Database):
    """Succeeded and failed ones that are old; those that wait or run never."""
    made = [db.jobs.add("predict", {}).id for _ in range(6)]
    for number in range(4):
        job = db.jobs.claim("w", 30)
        assert job is not None
        if number % 2:
            db.jobs.finish(job.id, "w", 1, None)
        else:
            db.jobs.fail(job.id, "w", 1, "no", None)
    db.jobs.claim("w", 30)
    assert db.retention.delete_jobs(ago(1)) == (0, True)
    assert db.retention.delete_jobs(now() + timedelta(days=1)) == (4, True)
    with db.read() as connection:
        assert set(connection.scalars(select(jobs.c.id))) == set(made[4:])
    with pytest.raises(NotFound, match=made[0]):
        db.jobs.get(made[0])


def test_alerts_that_are_resolved_are_forgotten(db: Database):
    """By the day they were resolved; open ones never."""
    kept = Alerts(db)
    for name in ("open", "old", "late"):
        made, _ = kept.see(name, alert_type="system", severity="info", title=name, message=name)
        if name != "open":
            kept.resolve(made.alert_id, "me", "")
    with db.write() as connection:
        connection.execute(update(alerts).values(created_at=ago(500)))
        old = alerts.c.group_key == "old"
        connection.execute(update(alerts).where(old).values(resolved_at=ago(450)))
    assert db.retention.delete_alerts(ago(400)) == (1, True)
    with db.read() as connection:
        assert set(connection.scalars(select(alerts.c.group_key))) == {"open", "late"}


def test_measured_numbers_go_version_by_version(db: Database):
    """All old ones but the baselines, however many transactions it takes."""
    versions = [add_version(db, file_hash=f"{number:064d}") for number in range(2)]
    for version in versions:
        for days in (500, 499, 498, 497, 3):
            db.metrics.add(version.id, {"accuracy": 0.9, "baseline_p95": 3.0}, at=ago(days))
    assert db.metrics.prune(ago(400), pace=lambda _: False) == 3
    assert db.metrics.prune(ago(400)) == 5
    with db.read() as connection:
        count = connection.scalar(select(func.count()).select_from(performance_metrics))
    assert count == 12


# -- Eye measurements: what they added up to stays --------------------------------------------


@pytest.fixture
def measured(db: Database) -> list[Any]:
    """Three days of measurements of two drivers, at odd moments; and the rows."""
    draw = random.Random(4)
    rows = [
        row(
            START + draw.randrange(3 * DAY),
            driver_id=draw.choice(["D1", "D2"]),
            ear_value=draw.random(),
            is_drowsy=draw.random() < 0.3,
        )
        for _ in range(150)
    ]
    ingest(db, rows)
    return rows


def test_sums_of_deleted_measurements_stay(db: Database, measured: list[Any]):
    """Windows of whole minutes before, any window after; the drivers and their last time too."""
    telemetry = db.telemetry
    bound = START + 2 * DAY + 5 * MINUTE + 17
    edges = [START, START + 7 * MINUTE, START + DAY, START + 2 * DAY, bound + MINUTE + 3]
    windows = [(a, b) for a in edges for b in (*edges, START + 3 * DAY) if a < b]

    def seen() -> list[Any]:
        return [
            telemetry.overall(),
            [driver.sums for driver in telemetry.drivers()],
            *[telemetry.window(*window) for window in windows],
            *[telemetry.series_by_driver(a, b, 60) for a, b in windows],
        ]

    before = seen()
    done = db.retention.delete_telemetry(moment(bound))
    whole = bound - bound % MINUTE
    assert done == (sum(one.timestamp < whole for one in measured), True)
    assert telemetry.first() == min(one.timestamp for one in measured if one.timestamp >= whole)
    assert seen() == before
    assert telemetry.check_totals() == []
    assert db.retention.since("telemetry") == moment(whole)


def test_an_end_in_a_deleted_minute_takes_the_whole_minute(db: Database):
    """Nothing of it is lost: the window grows outwards."""
    rows = [row(START + second * 1_000_000) for second in (5, 30, 55, 200)]
    ingest(db, [*rows, row(START + DAY)])
    db.retention.delete_telemetry(moment(START + DAY))
    window = db.telemetry.window(START + 10_000_000, START + 40_000_000)
    assert window.events == 3
    assert db.telemetry.window(START + MINUTE, START + MINUTE + 1).events == 0


def test_a_measurement_of_a_deleted_time_is_refused(db: Database, measured: list[Any]):
    """It could be a repeat, and would be counted twice; later ones are taken as ever."""
    bound = START + DAY
    db.retention.delete_telemetry(moment(bound))
    old = min(measured, key=lambda one: one.timestamp)
    young = max(measured, key=lambda one: one.timestamp)
    fresh = row(START + 4 * DAY)
    before = db.telemetry.overall().events
    refused, repeated, stored = ingest(db, [old, young, fresh])
    assert isinstance(refused, Refused)
    assert (refused.reason, "ANDON_KEEP_TELEMETRY_DAYS" in refused.hint) == ("too_old", True)
    assert (repeated, stored) == (DUPLICATE, STORED)
    assert db.telemetry.overall().events == before + 1
    assert db.telemetry.check_totals() == []


def test_history_that_was_just_brought_in_is_kept(db: Database):
    """It is deleted as long after it came as if it were of that day."""
    ingest(db, [row(START + number, received=START + DAY) for number in range(5)])
    assert db.retention.delete_telemetry(moment(START + DAY)) == (0, True)
    assert db.retention.since("telemetry") is None
    assert db.retention.delete_telemetry(moment(START + DAY + MINUTE)) == (4, True)


def test_numbers_of_rows_are_never_given_twice(db: Database):
    """Where all is old, the newest row stays: what reads by number would miss the next."""
    ingest(db, [row(START + second) for second in range(5)])
    newest = db.telemetry.page()[0][0].id
    assert db.retention.delete_telemetry(now()) == (4, True)
    (only,) = db.telemetry.drivers()
    assert only.sums.events == 5
    ingest(db, [row(int(time.time() * 1_000_000))])
    assert db.telemetry.page()[0][0].id > newest


def test_a_driver_of_whom_nothing_is_left_was_seen_to_the_minute(db: Database):
    """The last minute that counts, instead of no time at all."""
    ingest(db, [row(START + MINUTE + 5, driver_id="D1"), row(START + DAY, driver_id="D2")])
    db.retention.delete_telemetry(moment(START + DAY))
    assert [one.last for one in db.telemetry.drivers()] == [START + MINUTE, START + DAY]


@pytest.mark.postgres
@pytest.mark.parametrize("held", [[1], [0, 1, 2], [4, 5, 6, 7, 8, 9]])
def test_an_answer_that_is_being_labelled_is_not_waited_for(
    postgres_db: Database, monkeypatch: pytest.MonkeyPatch, held: list[int]
):
    """Deleting passes over rows that another transaction holds, and comes back another day."""
    version = add_version(postgres_db)
    old = [log(postgres_db, version, created_at=ago(100 - number))[0] for number in range(10)]
    wanted = select(predictions.c.id).where(predictions.c.id.in_([old[one] for one in held]))
    with postgres_db.write() as connection:
        connection.execute(wanted.with_for_update())
        assert postgres_db.retention.delete_predictions(ago(90)).rows == 10 - len(held)
    assert ids(postgres_db) == {old[one] for one in held}
    monkeypatch.setattr(retention, "_AGAIN", 0.0)
    assert postgres_db.retention.delete_predictions(ago(90)).rows == len(held)


@pytest.mark.postgres
def test_many_answers_of_one_moment_that_are_held_are_no_endless_loop(postgres_db: Database):
    """They cannot be gone around by their time: the round ends."""
    version = add_version(postgres_db)
    log(postgres_db, version, 10, created_at=ago(100))
    with postgres_db.write() as connection:
        connection.execute(select(predictions.c.id).with_for_update())
        assert postgres_db.retention.delete_predictions(ago(90)).rows == 0


def test_an_old_answer_may_come_late(db: Database, monkeypatch: pytest.MonkeyPatch):
    """Written now with an old time: gone with the next look from the beginning."""
    version = add_version(db)
    log(db, version, 4, created_at=ago(100))
    db.retention.delete_predictions(ago(90))
    db.writer.write(prediction(version, created_at=ago(200))).result(timeout=20)
    assert db.retention.delete_predictions(ago(90)).rows == 0
    monkeypatch.setattr(retention, "_AGAIN", 0.0)
    assert db.retention.delete_predictions(ago(90)).rows == 1
