"""What is left when a process is killed in the middle of writing."""

import sqlite3
import time
from pathlib import Path

import pytest
from tests.store.builders import add_version, log, prediction, start_program

from andon.errors import StorageFull
from andon.store.database import Database

# Sixteen tasks write as fast as they can and print the ids of rows that were acknowledged.
_WRITE = """
import asyncio, os, sys
from andon.store.database import Database
from tests.store.builders import prediction

async def write(db, version):
    while True:
        row = prediction(version)
        await db.writer.write_async(row)
        os.write(1, (row["id"] + "\\n").encode())

async def main():
    db = Database(sys.argv[1])
    version = db.models.get("pcb", 1)
    await asyncio.gather(*(write(db, version) for _ in range(16)))

asyncio.run(main())
"""


@pytest.mark.parametrize("turn", range(3))
def test_every_acknowledged_row_survives_kill_9(where: str, turn: int):
    """Killed in the middle of commits: what was acknowledged is there, and counted right."""
    db = Database(where)
    add_version(db)
    db.close()
    program = start_program(_WRITE, where)
    assert program.stdout is not None
    acknowledged = [program.stdout.readline().strip()]
    time.sleep(0.15 + 0.1 * turn)
    program.kill()
    rest, errors = program.communicate(timeout=20)
    assert "Traceback" not in errors
    # A last line that was cut off by the kill was not read by anybody either.
    acknowledged += rest.split("\n")[:-1]
    db = Database(where)
    with db.read() as connection:
        stored = set(connection.exec_driver_sql("SELECT id FROM predictions").scalars())
    assert set(acknowledged) <= stored
    assert len(acknowledged) > 16
    assert db.predictions.stats("pcb")["total_inferences"] == len(stored)
    log(db, db.models.get("pcb", 1))
    db.close()
    if db.path is not None:
        bare = sqlite3.connect(db.path)
        assert bare.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        bare.close()


def test_a_start_killed_at_any_moment_is_started_again(tmp_path: Path):
    """Creating the database may be cut off anywhere: the next start finishes it."""
    code = "import sys; from andon.store.database import Database; print(1); Database(sys.argv[1])"
    for turn in range(4):
        path = tmp_path / f"{turn}.db"
        program = start_program(code, path)
        assert program.stdout is not None
        program.stdout.readline()
        time.sleep(0.05 * turn)
        program.kill()
        program.communicate(timeout=20)
        db = Database(path)
        assert db.models.names() == []
        db.close()


def test_a_full_disk_is_reported_and_survived(small_disk: Path):
    """Nothing that was acknowledged is lost; with room again, writing goes on."""
    db = Database(small_disk / "andon.db")
    version = add_version(db)
    acknowledged = log(db, version, 20)
    filler = small_disk / "filler"
    _fill(filler)
    with pytest.raises(StorageFull, match=r"full|failed"):
        for _ in range(5_000):
            acknowledged += log(db, version)
    with pytest.raises(StorageFull):
        db.check()
    found, _ = db.predictions.page(limit=10_000)
    assert {one.id for one in found} == set(acknowledged)
    filler.unlink()
    acknowledged += log(db, version, 5)
    db.check()
    db.close()
    again = Database(small_disk / "andon.db")
    found, _ = again.predictions.page(limit=10_000)
    assert {one.id for one in found} == set(acknowledged)
    assert again.predictions.stats("pcb")["total_inferences"] == len(acknowledged)
    again.close()


def test_a_full_disk_fails_a_plain_write_too(small_disk: Path):
    """Registering, activating and queueing say the same."""
    db = Database(small_disk / "andon.db")
    add_version(db)
    filler = small_disk / "filler"
    _fill(filler)
    with pytest.raises(StorageFull, match=r"full|failed"):
        for _ in range(5_000):
            db.jobs.add("predict", {"filler": "x" * 1000})
    queued = db.jobs.count_queued()
    filler.unlink()
    db.jobs.add("predict", {})
    assert db.jobs.count_queued() == queued + 1
    db.close()


def test_a_database_is_not_created_on_a_full_disk(small_disk: Path):
    """The message says why, and the next start with room works."""
    filler = small_disk / "filler"
    _fill(filler)
    path = small_disk / "andon.db"
    with pytest.raises(StorageFull):
        Database(path)
    filler.unlink()
    db = Database(path)
    log(db, add_version(db))
    db.close()


def test_a_writer_on_a_full_disk_answers_every_waiter(small_disk: Path):
    """A group that cannot be written leaves nobody waiting."""
    db = Database(small_disk / "andon.db")
    version = add_version(db)
    log(db, version)
    _fill(small_disk / "filler")
    futures = [
        db.writer.write(prediction(version, raw_scores=[0.123456789] * 2000)) for _ in range(400)
    ]
    failed = [future for future in futures if future.exception(timeout=20) is not None]
    assert failed
    assert all(isinstance(future.exception(), StorageFull) for future in failed)
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
