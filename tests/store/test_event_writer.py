"""Events from many senders at once: stored together, answered one by one, never lost."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests.store.builders import start_program
from tests.support import floor
from tests.support.floor import at, submit, units

from andon.errors import DatabaseDamaged, InvalidRequest, Saturated, StorageFull
from andon.store.database import Database
from andon.store.event_writer import EventWriter
from andon.store.factory_records import DUPLICATE, STORED, Refused
from andon.store.factory_recount import rebuild
from andon.store.factory_sql import factory_sql
from andon.store.ids import uuid7
from andon.store.statements import Statements


def _count(db: Database) -> int:
    with db.read() as connection:
        found: int = connection.exec_driver_sql("SELECT count(*) FROM factory_events").scalar_one()
        return found


def _parcel(db: Database, place: int, rows: int = 1) -> "Future[list[str | Refused]]":
    """Submit counts that nobody else sends."""
    told = [units(1, at(8) + place * 1000 + step) for step in range(rows)]
    return db.event_writer.submit("factory", [event.row() for event in told], auto_register=True)


def test_events_are_readable_when_their_future_is_done(db: Database):
    """Not before the commit; one outcome for each row, in their order."""
    floor.register(db)
    told = [units(1, at(8)), units(1, at(8)), units(1, at(8), worker="nobody")]
    outcomes = submit(db, told)
    assert outcomes[:2] == [STORED, DUPLICATE]
    assert isinstance(outcomes[2], Refused)
    assert _count(db) == 1


def test_an_event_loop_waits_without_being_blocked(db: Database):
    """A hundred tasks send at once; each gets its own answer."""
    told = floor.busy_day()[:100]

    async def send(event: floor.Told) -> list[str | Refused]:
        return await db.event_writer.submit_async("factory", [event.row()], auto_register=True)

    async def all_of_them() -> list[list[str | Refused]]:
        return list(await asyncio.gather(*(send(event) for event in told)))

    assert asyncio.run(all_of_them()) == [[STORED]] * 100
    assert db.factory_totals.check() == []


def test_parcels_that_wait_are_written_in_one_transaction(sqlite_db: Database):
    """While the disk is busy the next group gathers; outcomes go to their senders."""
    _parcel(sqlite_db, 0).result(timeout=10)
    commits: list[str] = []
    connection = sqlite_db.event_writer._sqlite
    assert connection is not None
    with sqlite_db.writing_turn():
        first = _parcel(sqlite_db, 1)
        while sqlite_db.event_writer._waiting.qsize():
            time.sleep(0)
        connection.set_trace_callback(commits.append)
        rest = [_parcel(sqlite_db, place % 20 + 2, rows=2) for place in range(40)]
    outcomes = [future.result(timeout=10) for future in (first, *rest)]
    assert outcomes[:21] == [[STORED]] + [[STORED] * 2] * 20
    assert outcomes[21:] == [[DUPLICATE] * 2] * 20
    assert commits.count("COMMIT") == 2


def test_kinds_are_stored_in_the_same_order_whichever_came_first(sqlite_db: Database):
    """Else two programs on one PostgreSQL could wait for each other's locks."""
    stored: list[str] = []

    def store(kind: str) -> Any:
        def note(_: Any, rows: Sequence[Any], *, auto_register: bool) -> list[str | Refused]:
            stored.append(f"{kind} {auto_register}")
            return [STORED for _ in rows]

        return note

    writer = EventWriter(
        sqlite_db, {kind: store(kind) for kind in ("factory", "telemetry")}, linger=0.2
    )
    futures = [
        writer.submit("telemetry", [1]),
        writer.submit("factory", [1], auto_register=True),
        writer.submit("factory", [1]),
    ]
    assert [future.result(timeout=10) for future in futures] == [[STORED]] * 3
    assert stored == ["factory True", "factory False", "telemetry False"]
    writer.close()


def test_a_batch_repeated_while_the_first_is_in_flight_counts_once(db: Database):
    """A sender that lost patience sends again at once."""
    rows = [event.row() for event in floor.busy_day()]
    futures = [db.event_writer.submit("factory", rows, auto_register=True) for _ in range(3)]
    outcomes = [set(future.result(timeout=20)) for future in futures]
    assert outcomes == [{STORED}, {DUPLICATE}, {DUPLICATE}]
    assert db.factory_totals.check() == []


def test_a_bad_parcel_does_not_sink_the_others(db: Database):
    """Only its own sender hears of it; nothing of it is stored."""
    bad = [units(1, at(9)), units(1 << 70, at(9, 1))]
    with db.writing_turn():
        futures = [_parcel(db, place) for place in range(3)]
        wrong = db.event_writer.submit(
            "factory", [event.row() for event in bad], auto_register=True
        )
        futures += [_parcel(db, place) for place in range(3, 6)]
    with pytest.raises(InvalidRequest, match="cannot be stored"):
        wrong.result(timeout=10)
    for future in futures:
        assert future.result(timeout=10) == [STORED]
    assert _count(db) == 6
    assert db.factory_totals.check() == []


def test_a_mistake_in_the_code_reaches_the_sender(sqlite_db: Database):
    """And the writer goes on."""

    def fail(*_: Any, **__: Any) -> list[str | Refused]:
        raise RuntimeError("broken")

    writer = EventWriter(sqlite_db, {"factory": sqlite_db.factory.ingest, "telemetry": fail})
    with pytest.raises(RuntimeError, match="broken"):
        writer.submit("telemetry", [1]).result(timeout=10)
    row = units(1, at(8)).row()
    assert writer.submit("factory", [row], auto_register=True).result(timeout=10) == [STORED]
    writer.close()


def test_a_full_queue_refuses_instead_of_growing(sqlite_db: Database):
    """Beyond the limit the answer is a clear one, and what waits is still written."""
    floor.register(sqlite_db)
    writer = EventWriter(sqlite_db, {"factory": sqlite_db.factory.ingest}, limit=10)
    rows = [units(1, at(8) + step).row() for step in range(200)]
    accepted: list[Future[list[str | Refused]]] = []
    with sqlite_db.writing_turn():
        with pytest.raises(Saturated, match="events already wait"):
            accepted.extend(writer.submit("factory", rows[step : step + 4]) for step in range(200))
        assert writer.waiting <= 10
    for future in accepted:
        future.result(timeout=10)
    # Greater than the limit, but alone.
    assert len(writer.submit("factory", rows).result(timeout=10)) == 200
    assert writer.waiting == 0
    writer.close()


def test_closing_writes_what_waits(where: str):
    """Nothing that was accepted is dropped; nothing is accepted any more."""
    db = Database(where)
    futures = [_parcel(db, place) for place in range(300)]
    db.close()
    assert [future.result(timeout=0) for future in futures] == [[STORED]] * 300
    with pytest.raises(StorageFull, match="closed"):
        _parcel(db, 301)
    again = Database(where)
    assert _count(again) == 300
    assert again.factory_totals.check() == []
    again.close()


def test_a_lock_that_stays_fails_the_group_and_not_the_writer(
    sqlite_path: Path, caplog: pytest.LogCaptureFixture
):
    """Every sender is told; when the lock is gone, writing goes on and health is restored."""
    db = Database(sqlite_path, busy_timeout=0.2)
    stranger = sqlite3.connect(sqlite_path, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    futures = [_parcel(db, place) for place in range(5)]
    with caplog.at_level(logging.CRITICAL):
        for future in futures:
            with pytest.raises(StorageFull, match="lock"):
                future.result(timeout=10)
    with pytest.raises(StorageFull, match="lock"):
        db.check()
    stranger.execute("ROLLBACK")
    stranger.close()
    db.check()
    assert db.event_writer.problem == ""
    assert _parcel(db, 1).result(timeout=10) == [STORED]
    db.close()


def test_a_single_parcel_is_one_parcel_in_the_log(
    sqlite_path: Path, caplog: pytest.LogCaptureFixture
):
    """The sentence is right for one, too."""
    db = Database(sqlite_path, busy_timeout=0.1)
    with db.writing_turn(), pytest.raises(StorageFull):
        _parcel(db, 0).result(timeout=10)
    assert "1 parcel of events could not be written: " in caplog.text
    db.close()


def test_a_damaged_file_is_named(sqlite_path: Path, caplog: pytest.LogCaptureFixture):
    """It cannot pass, and the answer says so."""
    db = Database(sqlite_path)
    _parcel(db, 0).result(timeout=10)
    db.close()
    content = bytearray(sqlite_path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    sqlite_path.write_bytes(content)
    with caplog.at_level(logging.CRITICAL), pytest.raises(DatabaseDamaged):
        db = Database(sqlite_path)
        try:
            _parcel(db, 1).result(timeout=10)
        finally:
            db.close()


def test_a_caller_that_gave_up_disturbs_nobody(db: Database):
    """A cancelled task's events are written; the others are answered."""

    async def scenario() -> None:
        def send(place: int) -> "asyncio.Task[list[str | Refused]]":
            row = units(1, at(8) + place).row()
            sent = db.event_writer.submit_async("factory", [row], auto_register=True)
            return asyncio.create_task(sent)

        given_up, *others = [send(place) for place in range(4)]
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(*others)

    asyncio.run(scenario())
    db.event_writer.close()
    assert _count(db) == 4


def test_a_closed_event_loop_disturbs_nobody(sqlite_db: Database):
    """Events whose loop is gone are written; threads go on."""
    loop = asyncio.new_event_loop()
    with sqlite_db.writing_turn():
        row = units(1, at(8)).row()
        sent = sqlite_db.event_writer.submit_async("factory", [row], auto_register=True)
        task = loop.create_task(sent)
        loop.run_until_complete(asyncio.sleep(0))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.close()
        thread = _parcel(sqlite_db, 1)
    assert thread.result(timeout=10) == [STORED]
    assert _count(sqlite_db) == 2


@pytest.mark.postgres
def test_two_programs_keep_the_sums_right(postgres_url: str):
    """Both write the same workers' events to one server at once, and some of them twice."""
    told = floor.busy_day()
    first, second = Database(postgres_url), Database(postgres_url)

    def send(db: Database, events: list[floor.Told]) -> None:
        for start in range(0, len(events), 20):
            submit(db, events[start : start + 20], auto_register=True)

    with ThreadPoolExecutor(2) as pool:
        sent = [
            pool.submit(send, first, told[::2] + told[::3]),
            pool.submit(send, second, told[1::2] + told[::5]),
        ]
        for one in sent:
            one.result(timeout=60)
    assert first.factory_totals.check() == []
    window = at(), at(day=1)
    assert floor.stored_sums(second, *window) == floor.sums(told, *window)
    second.close()
    first.close()


@pytest.mark.postgres
def test_a_lost_connection_is_replaced(postgres_url: str):
    """A restarted server costs nobody an event, and none is counted twice."""
    name = f"andon-{uuid7()}"
    db, other = Database(f"{postgres_url}&application_name={name}"), Database(postgres_url)
    _parcel(db, 0).result(timeout=10)
    with other.write() as connection:
        killed = connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = :name"
            ),
            {"name": name},
        ).all()
    assert killed
    assert _parcel(db, 1).result(timeout=10) == [STORED]
    assert _count(db) == 2
    db.close()
    other.close()


@pytest.mark.postgres
def test_a_connection_lost_in_the_middle_is_tried_again(postgres_db: Database):
    """Whether the commit happened need not be known: what is there is a repeat."""
    lost: list[int] = []

    def store(connection: Any, rows: Sequence[Any], *, auto_register: bool) -> list[str | Refused]:
        outcomes = postgres_db.factory.ingest(connection, rows, auto_register=auto_register)
        if not lost:
            lost.append(1)
            connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
        return outcomes

    writer = EventWriter(postgres_db, {"factory": store})
    row = units(1, at(8)).row()
    assert writer.submit("factory", [row], auto_register=True).result(timeout=10) == [STORED]
    assert lost
    assert _count(postgres_db) == 1
    writer.close()


@pytest.mark.postgres
def test_an_id_that_two_programs_store_at_once_is_stored_once(postgres_db: Database):
    """For different workers neither waits for the other; the later one hears of it."""
    floor.register(postgres_db)
    told = units(1, at(8), event_id="own")
    other = units(1, at(8), worker="W2", event_id="own")
    with postgres_db.write() as connection:
        postgres_db.factory.ingest(connection, [told.row()])
        second = postgres_db.event_writer.submit("factory", [other.row()])
        _wait_until_somebody_waits_for_a_lock(postgres_db)
    (outcome,) = second.result(timeout=10)
    assert isinstance(outcome, Refused)
    assert outcome.reason == "reused_id"
    assert postgres_db.factory_totals.check() == []


@pytest.mark.postgres
def test_making_the_sums_anew_keeps_writers_waiting(postgres_db: Database):
    """Events that arrive meanwhile are counted with the new gap."""
    submit(postgres_db, floor.busy_day(), auto_register=True)
    told = units(1, at(20))
    with postgres_db.write() as connection:
        sql = factory_sql(Statements(connection))
        sql.basis(0, alone=True)
        sent = postgres_db.event_writer.submit("factory", [told.row()])
        _wait_until_somebody_waits_for_a_lock(postgres_db)
        rebuild(sql, floor.MINUTE)
        connection.exec_driver_sql(f"UPDATE factory_basis SET max_gap = {floor.MINUTE}")
    assert sent.result(timeout=10) == [STORED]
    assert postgres_db.factory_totals.check() == []


def _wait_until_somebody_waits_for_a_lock(db: Database) -> None:
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    for _ in range(10_000):
        with db.read() as connection:
            if connection.scalar(waiting):
                return
    raise AssertionError("nobody waits")


# -- Bad days -------------------------------------------------------------------------------

# Four tasks send parcels of a history as fast as they can, some twice, and print which were
# acknowledged.
_SEND = """
import asyncio, os, sys
from andon.store.database import Database
from tests.support.floor import Told, at, SECOND

def parcel(task, turn):
    for step in range(20):
        kind = ("working", "idle", "product_count", "absent")[(turn + step) % 4]
        when = at(6) + (turn * 20 + step * 7) * SECOND + task
        yield Told(when, f"W{task}", f"S{turn % 3}", kind, step, event_id=f"{task}-{turn}-{step}")

async def send(db, task):
    for turn in range(100_000):
        rows = [told.row() for told in parcel(task, turn)]
        await db.event_writer.submit_async("factory", rows, auto_register=True)
        os.write(1, f"{task}-{turn}\\n".encode())
        if turn % 3 == 0:
            await db.event_writer.submit_async("factory", rows, auto_register=True)

async def main():
    db = Database(sys.argv[1])
    await asyncio.gather(*(send(db, task) for task in range(4)))

asyncio.run(main())
"""


@pytest.mark.parametrize("turn", range(2))
def test_acknowledged_events_survive_kill_9_and_the_sums_are_right(where: str, turn: int):
    """Killed in the middle of commits: what was acknowledged is there, whole, and counted."""
    Database(where).close()
    program = start_program(_SEND, where)
    assert program.stdout is not None
    acknowledged = [program.stdout.readline().strip()]
    time.sleep(0.15 + 0.15 * turn)
    program.kill()
    rest, errors = program.communicate(timeout=20)
    assert "Traceback" not in errors
    # A last line that was cut off by the kill was not read by anybody either.
    acknowledged += rest.split("\n")[:-1]
    db = Database(where)
    with db.read() as connection:
        ids = set(connection.exec_driver_sql("SELECT event_id FROM factory_events").scalars())
    assert {f"{one}-{step}" for one in acknowledged for step in range(20)} <= ids
    # Whole parcels or nothing of them.
    assert len(ids) == 20 * len({one.rpartition("-")[0] for one in ids})
    assert db.factory_totals.check() == []
    db.close()


def test_a_full_disk_is_reported_and_survived(small_disk: Path, caplog: pytest.LogCaptureFixture):
    """Nothing acknowledged is lost, nothing is half stored; with room again it goes on."""
    db = Database(small_disk / "andon.db")
    _parcel(db, 0).result(timeout=10)
    filler = small_disk / "filler"
    _fill(filler)
    acknowledged = 1
    with caplog.at_level(logging.CRITICAL), pytest.raises(StorageFull, match=r"full|failed"):
        for place in range(1, 5_000):
            _parcel(db, place, rows=100).result(timeout=10)
            acknowledged += 100
    assert _count(db) == acknowledged
    assert db.factory_totals.check() == []
    filler.unlink()
    assert _parcel(db, 6_000).result(timeout=10) == [STORED]
    db.check()
    assert db.factory_totals.check() == []
    db.close()


def _fill(path: Path) -> None:
    """Take all the room there is."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
