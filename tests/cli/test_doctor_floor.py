"""`andon doctor` and the floor: the broker, messages kept aside, the sums."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import SecretStr
from tests.store.conftest import (  # noqa: F401 - pytest finds fixtures by their name here
    migrated_schema,
    postgres_db,
    postgres_server,
    postgres_url,
)
from tests.support.broker import running, until
from tests.support.floor import at, ingest, register, state, units

from andon.cli.checkup import State, floor
from andon.cli.checkup.finding import Finding
from andon.settings import Settings
from andon.store.database import Database


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An installation that was never started."""
    return Settings(home=tmp_path / "home", port=0)


@pytest.fixture
def used(settings: Settings) -> Settings:
    """An installation whose database is there."""
    settings.home.mkdir()
    Database(settings.home / "andon.db").close()
    return settings


def about(findings: Sequence[Finding], check: str) -> list[Finding]:
    """The findings of one check."""
    return [finding for finding in findings if finding.check == check]


def floor_of(settings: Settings) -> list[Finding]:
    """The findings about the floor."""
    return list(floor.examine(settings))


def reported(settings: Settings) -> Database:
    """A database with a day of a worker; the caller closes it."""
    db = Database(settings.home / "andon.db")
    register(db)
    told = [state("working", at(8)), state("idle", at(9)), units(7, at(9, 30)), units(1, at(5))]
    ingest(db, [*told, state("absent", at(7, day=-1)), state("working", at(23, 50, day=-1))])
    return db


def test_sums_that_are_those_of_the_events_are_fine(used: Settings) -> None:
    """And an installation without events has nothing to say."""
    assert [finding.state for finding in floor_of(used)] == [State.OK]
    reported(used).close()
    assert [finding.state for finding in floor_of(used)] == [State.OK]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE factory_totals SET units = units + 1 WHERE units = 7", "units is 9 instead of 8"),
        ("DELETE FROM factory_totals WHERE working > 0", "working is 0"),
        ("DELETE FROM factory_events WHERE event_type = 'idle'", "idle is"),
    ],
)
def test_sums_that_are_not_are_found(used: Settings, change: str, said: str) -> None:
    """Of the newest day, with the command that makes them anew."""
    db = reported(used)
    with db.write() as connection:
        connection.exec_driver_sql(change)
    db.close()
    (finding,) = floor_of(used)
    assert finding.state is State.FAIL
    assert said in finding.detail
    assert "rebuild()" in finding.advice


@pytest.mark.postgres
def test_sums_are_checked_on_postgresql_too(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The same question to the other database."""
    db: Database = request.getfixturevalue("postgres_db")
    url = db.url.render_as_string(hide_password=False)
    settings = Settings(home=tmp_path, database_url=url)
    register(db)
    ingest(db, [state("working", at(8)), units(7, at(8))])
    assert [finding.state for finding in floor_of(settings)] == [State.OK]
    with db.write() as connection:
        connection.exec_driver_sql("UPDATE factory_totals SET units = 8")
    assert [finding.state for finding in floor_of(settings)] == [State.FAIL]


def test_messages_kept_aside_are_pointed_out(used: Settings) -> None:
    """How many, and the newest reason."""
    db = Database(used.home / "andon.db")
    db.rejected.add("andon/main/events", b"x", "The first.")
    db.rejected.add("andon/main/events", b"x", "The event names a worker nobody knows.")
    db.close()
    (finding,) = about(floor_of(used), "mqtt")
    assert finding.state is State.WARN
    assert "2 MQTT messages" in finding.detail
    assert "nobody knows" in finding.detail


def test_a_single_message_kept_aside_is_one_message(used: Settings) -> None:
    """The sentence is right for one, too."""
    db = Database(used.home / "andon.db")
    db.rejected.add("andon/main/events", b"x", "The first.")
    db.close()
    (finding,) = about(floor_of(used), "mqtt")
    assert finding.detail.startswith("1 MQTT message of the last day")


def test_a_broker_is_asked_and_left_as_it_was(settings: Settings, tmp_path: Path) -> None:
    """It takes us, it is away, its address makes no sense: each is said, no session is left."""

    def state_of(url: str) -> Finding:
        return about(floor_of(settings.model_copy(update={"mqtt_url": SecretStr(url)})), "mqtt")[0]

    with running(tmp_path / "broker") as broker:
        assert state_of(broker.url).state is State.OK
        until(lambda: "andon-doctor" in broker.log() and "disconnected" in broker.log())
        assert "c1" in broker.log()
    away = state_of(broker.url)
    assert away.state is State.FAIL
    assert "cannot be reached (ConnectionRefusedError" in away.detail
    nonsense = state_of("broker")
    assert nonsense.state is State.FAIL
    assert "will not start" in nonsense.detail
