"""`andon doctor`: how large the database is, and since when its rows are kept."""

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from tests.store.builders import add_version, log

from andon.cli.checkup import State, kept
from andon.cli.checkup.finding import Finding
from andon.settings import Settings
from andon.store import space
from andon.store.clock import now
from andon.store.database import Database
from andon.store.feedback import Label


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An installation that was never started."""
    return Settings(home=tmp_path / "home", _env_file=None)


def looked(settings: Settings) -> dict[str, Finding]:
    """The findings, by check."""
    return {finding.check: finding for finding in kept.examine(settings)}


def test_there_is_nothing_to_say_before_the_first_start(settings: Settings) -> None:
    """And none of a file that is no database: another check says so."""
    assert looked(settings) == {}
    settings.home.mkdir()
    (settings.home / "andon.db").write_bytes(b"no database" * 100)
    assert looked(settings) == {}


def test_it_says_since_when_predictions_are_there(settings: Settings) -> None:
    """Also which are older because they have a label, and for how long they are kept."""
    db = Database(settings.home / "andon.db")
    assert looked(settings)["rows"].detail == (
        "No prediction is in the log; they are kept for 90 days."
    )
    version = add_version(db)
    begin = now() - timedelta(days=200)
    old = log(db, version, 5, created_at=begin)
    assert looked(settings)["rows"].detail == (
        f"Predictions go back to {begin:%Y-%m-%d}; they are kept for 90 days."
    )
    db.feedback.store([Label(old[0], "short", now())])
    bound = now() - timedelta(days=90)
    db.retention.delete_predictions(bound)
    db.close()
    found = looked(settings)
    assert found["rows"].state is State.OK
    assert found["rows"].detail == (
        f"Predictions go back to {bound:%Y-%m-%d}, those with a label to {begin:%Y-%m-%d}; "
        "they are kept for 90 days."
    )
    assert found["size"].detail.startswith("The database takes ")
    for_ever = Settings(home=settings.home, _env_file=None, keep_predictions_days=0)
    assert looked(for_ever)["rows"].detail.endswith("they are kept for ever.")


def test_a_file_that_cannot_shrink_by_itself_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that gives the room back, and the room that takes."""
    monkeypatch.setattr(space, "_WORTH_IT", 64 * 1024)
    settings.home.mkdir()
    path = settings.home / "andon.db"
    bare = sqlite3.connect(path)
    bare.execute("CREATE TABLE t (id INTEGER)")
    bare.execute("DROP TABLE t")
    bare.close()
    db = Database(path)
    log(db, add_version(db), 40, raw_scores=[0.123456789] * 3000)
    assert looked(settings)["size"].state is State.OK
    with db.write() as connection:
        connection.exec_driver_sql("DELETE FROM predictions")
    db.close()
    found = looked(settings)["size"]
    assert found.state is State.WARN
    assert "free for new rows" in found.detail
    assert f"sqlite3 {path} 'PRAGMA auto_vacuum=INCREMENTAL; VACUUM;'" in found.advice


def test_a_database_of_a_release_before_is_looked_at(settings: Settings) -> None:
    """Without the table that says since when."""
    db = Database(settings.home / "andon.db")
    log(db, add_version(db), 2)
    with db.write() as connection:
        connection.exec_driver_sql("DROP TABLE retention")
    db.close()
    assert looked(settings)["rows"].detail.startswith(f"Predictions go back to {now():%Y-%m-%d};")
