import asyncio
import logging
import sqlite3
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.store.builders import add_version, log, prediction

from andon.errors import Conflict, InvalidRequest, Saturated, StorageFull
from andon.store.clock import now
from andon.store.database import Database
from andon.store.ids import uuid7
from andon.store.records import ModelVersion
from andon.store.writer import GroupWriter


@pytest.fixture
def version(db: Database) -> ModelVersion:
    """A version that answers belong to."""
    return add_version(db)


def _total(db: Database) -> int:
    total: int = db.predictions.stats("pcb")["total_inferences"]
    return total


def _watch_commits(db: Database) -> list[str]:
    """A list that grows with every group the writer commits."""
    commits: list[str] = []

    def watch(statement: str) -> None:
        if statement == "COMMIT":
            commits.append(statement)

    connection = db.writer._sqlite
    assert connection is not None
    connection.set_trace_callback(watch)
    return commits


def test_a_row_is_readable_when_its_future_is_done(db: Database, version: ModelVersion):
    """Not before the commit, and by everybody."""
    row = prediction(version)
    assert db.writer.write(row).result(timeout=10) is None
    assert db.predictions.get(row["id"]).id == row["id"]


def test_an_event_loop_waits_without_being_blocked(db: Database, version: ModelVersion):
    """Two hundred tasks write at once; each goes on when its own row is on disk."""

    async def write() -> str:
        row = prediction(version)
        await db.writer.write_async(row)
        return db.predictions.get(row["id"]).id

    async def all_of_them() -> set[str]:
        return set(await asyncio.gather(*(write() for _ in range(200))))

    assert len(asyncio.run(all_of_them())) == 200
    assert _total(db) == 200


def test_many_rows_take_few_commits(sqlite_db: Database):
    """Rows that arrive while the disk is busy are written together."""
    version = add_version(sqlite_db)
    log(sqlite_db, version)
    commits = _watch_commits(sqlite_db)
    with sqlite_db.writing_turn():
        futures = [sqlite_db.writer.write(prediction(version)) for _ in range(500)]
    for future in futures:
        future.result(timeout=10)
    # The first row may have been taken before the others came.
    assert len(commits) <= 2
    assert _total(sqlite_db) == 501


def test_missing_columns_get_their_default(db: Database, version: ModelVersion):
    """The engine names what it knows; the time is now."""
    made = uuid7()
    row = {"id": made, "model_id": version.id, "source": "a", "role": "active", "status": "success"}
    db.writer.write(row).result(timeout=10)
    found = db.predictions.get(made)
    assert (found.error, found.cached, found.latency_ms, found.detections) == ("", False, 0.0, [])
    assert abs((found.timestamp - now()).total_seconds()) < 10


@pytest.mark.parametrize(
    "change", [{"no_such_column": 1}, {"id": None}, {"id": ""}], ids=["column", "none", "empty"]
)
def test_a_row_that_does_not_fit_is_refused_at_once(db: Database, change: dict[str, object]):
    """A mistake of the caller is the caller's, right where it is made."""
    with pytest.raises(ValueError, match="predictions"):
        db.writer.write({**prediction(add_version(db)), **change})


def test_a_bad_row_does_not_sink_the_others(sqlite_db: Database):
    """Only its own caller hears of it."""
    version = add_version(sqlite_db)
    good = [prediction(version) for _ in range(5)]
    bad = prediction(version, model_id=999)
    worse = prediction(version, image_name="\ud800")
    with sqlite_db.writing_turn():
        futures = [sqlite_db.writer.write(row) for row in (*good[:3], bad, worse, *good[3:])]
    with pytest.raises(Conflict, match="predictions"):
        futures[3].result(timeout=10)
    with pytest.raises(InvalidRequest, match="cannot be stored"):
        futures[4].result(timeout=10)
    for future in futures[:3] + futures[5:]:
        future.result(timeout=10)
    assert _total(sqlite_db) == 5


@pytest.mark.postgres
def test_a_bad_row_does_not_sink_the_others_on_postgresql(postgres_db: Database):
    """There a text may also be too long, or hold a NUL."""
    version = add_version(postgres_db)
    rows = [prediction(version) for _ in range(3)]
    rows.append(prediction(version, model_id=999))
    rows.append(prediction(version, subject="x" * 300))
    rows.append(prediction(version, subject="a\0b"))
    futures = [postgres_db.writer.write(row) for row in rows]
    for future in futures[:3]:
        future.result(timeout=10)
    with pytest.raises(Conflict):
        futures[3].result(timeout=10)
    for future in futures[4:]:
        with pytest.raises(InvalidRequest):
            future.result(timeout=10)
    assert _total(postgres_db) == 3


def test_writing_a_row_again_changes_nothing(db: Database, version: ModelVersion):
    """A job that runs twice logs and counts its answer once."""
    row = prediction(version)
    for _ in range(2):
        db.writer.write(row).result(timeout=10)
    again = [db.writer.write(other) for other in (row, prediction(version), row)]
    for future in again:
        future.result(timeout=10)
    assert len(db.predictions.page()[0]) == 2
    assert _total(db) == 2


def test_totals_count_successes_of_the_active_role(db: Database, version: ModelVersion):
    """Failures and shadows are logged and not counted; each version has its own totals."""
    other = add_version(db)
    log(db, version, 3, detection_count=2, confidence_scores=[0.5, 0.7], inference_time=0.5)
    log(db, version, 1, status="error")
    log(db, version, 1, role="shadow")
    log(db, other, 1, detections=[], detection_count=0, confidence_scores=[])
    found = db.models.by_id(version.id)
    assert (found.total_inferences, found.total_detections) == (3, 6)
    assert found.avg_confidence == pytest.approx(0.6)
    assert found.avg_inference_time == pytest.approx(0.5)
    assert db.models.by_id(other.id).avg_confidence == 0.0


def test_jobs_go_through_the_writer_too(db: Database):
    """Queueing a job shares the flush with everything else."""
    made = uuid7()
    row = {"id": made, "kind": "predict", "status": "queued", "payload": {"a": 1}}
    db.writer.write({**row, "available_at": now()}, table="jobs").result(timeout=10)
    claimed = db.jobs.claim("w", 30)
    assert claimed is not None
    assert (claimed.id, claimed.payload) == (made, {"a": 1})


def test_a_full_queue_refuses_instead_of_growing(sqlite_db: Database):
    """Beyond the limit the answer is a clear one, and what waits is still written."""
    version = add_version(sqlite_db)
    writer = GroupWriter(sqlite_db, limit=10)
    accepted: list[Future[None]] = []
    with sqlite_db.writing_turn():
        with pytest.raises(Saturated, match="10 answers already wait"):
            accepted.extend(writer.write(prediction(version)) for _ in range(2_000))
        assert len(accepted) >= 10
    for future in accepted:
        future.result(timeout=10)
    writer.close()
    assert _total(sqlite_db) == len(accepted)


def test_closing_writes_what_waits(where: str):
    """Nothing that was accepted is dropped."""
    db = Database(where)
    version = add_version(db)
    futures = [db.writer.write(prediction(version)) for _ in range(300)]
    db.close()
    assert all(future.done() and future.exception() is None for future in futures)
    again = Database(where)
    assert _total(again) == 300
    with pytest.raises(StorageFull, match="closed"):
        db.writer.write(prediction(version))
    again.close()


def test_flushing_waits_for_all_before(db: Database, version: ModelVersion):
    """And returns at once where nothing was ever written."""
    db.writer.flush()
    futures = [db.writer.write(prediction(version)) for _ in range(100)]
    db.writer.flush()
    assert all(future.done() for future in futures)


def test_a_lock_that_stays_fails_the_group_and_not_the_writer(
    sqlite_path: Path, caplog: pytest.LogCaptureFixture
):
    """Every waiter is told; when the lock is gone, writing goes on and health is restored."""
    db = Database(sqlite_path, busy_timeout=0.2)
    version = add_version(db)
    stranger = sqlite3.connect(sqlite_path, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    futures = [db.writer.write(prediction(version)) for _ in range(5)]
    with caplog.at_level(logging.CRITICAL):
        for future in futures:
            with pytest.raises(StorageFull, match="lock"):
                future.result(timeout=10)
    with pytest.raises(StorageFull, match="lock"):
        db.check()
    stranger.execute("ROLLBACK")
    stranger.close()
    db.check()
    assert db.writer.problem == ""
    log(db, version, 2)
    assert _total(db) == 2
    db.close()


def test_a_caller_that_gave_up_disturbs_nobody(db: Database, version: ModelVersion):
    """A cancelled task's row is written; the others are answered."""

    async def scenario() -> None:
        given_up = asyncio.create_task(db.writer.write_async(prediction(version)))
        others = [asyncio.create_task(db.writer.write_async(prediction(version))) for _ in "abc"]
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(*others)
        with pytest.raises(asyncio.CancelledError):
            await given_up

    asyncio.run(scenario())
    db.writer.flush()
    assert _total(db) == 4


def test_a_closed_event_loop_disturbs_nobody(sqlite_db: Database):
    """A row whose loop is gone is written; threads go on."""
    version = add_version(sqlite_db)
    loop = asyncio.new_event_loop()
    with sqlite_db.writing_turn():
        task = loop.create_task(sqlite_db.writer.write_async(prediction(version)))
        loop.run_until_complete(asyncio.sleep(0))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.close()
        thread = sqlite_db.writer.write(prediction(version))
    thread.result(timeout=10)
    assert _total(sqlite_db) == 2


def test_loops_and_threads_share_groups(db: Database, version: ModelVersion):
    """Several event loops and threads write at once; each of them is answered."""

    async def write_many() -> None:
        await asyncio.gather(*(db.writer.write_async(prediction(version)) for _ in range(50)))

    with ThreadPoolExecutor(6) as pool:
        loops = [pool.submit(asyncio.run, write_many()) for _ in range(3)]
        threads = [pool.submit(log, db, version, 50) for _ in range(3)]
        for done in (*loops, *threads):
            done.result(timeout=30)
    assert _total(db) == 300


def test_writers_and_activations_do_not_hinder_each_other(db: Database, version: ModelVersion):
    """Versions are switched and the log is read while answers are written."""
    add_version(db)
    stop = threading.Event()

    def keep_logging() -> int:
        count = 0
        while not stop.is_set():
            log(db, version, 5)
            count += 5
        return count

    with ThreadPoolExecutor(2) as pool:
        logging_threads = [pool.submit(keep_logging) for _ in range(2)]
        for turn in range(20):
            db.models.set_active("pcb", 1 + turn % 2)
            db.predictions.page(model="pcb", limit=10)
        stop.set()
        logged = sum(thread.result(timeout=30) for thread in logging_threads)
    assert _total(db) == logged
    assert len(db.events.page(limit=100)[0]) == 20


def test_lingering_gathers_rows(sqlite_path: Path):
    """A slow card gains from waiting a moment for more."""
    db = Database(sqlite_path, commit_linger=0.1)
    version = add_version(db)
    log(db, version)
    commits = _watch_commits(db)
    futures = []
    for _ in range(5):
        futures.append(db.writer.write(prediction(version)))
        time.sleep(0.005)
    for future in futures:
        future.result(timeout=10)
    assert len(commits) == 1
    db.close()


@pytest.mark.postgres
def test_a_lost_connection_is_replaced(postgres_url: str):
    """A restarted server costs nobody a row, and no row is counted twice."""
    name = f"andon-{uuid7()}"
    db, other = Database(f"{postgres_url}&application_name={name}"), Database(postgres_url)
    version = add_version(db)
    log(db, version)
    with other.write() as connection:
        killed = connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = :name"
            ),
            {"name": name},
        ).all()
    assert killed
    log(db, version)
    assert _total(db) == 2
    db.close()
    other.close()
