"""`andon simulate`: printed or sent, the same events for the same seed."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest
from tests.cli.conftest import Andon
from tests.store.conftest import (  # noqa: F401 - pytest finds fixtures by their name here
    migrated_file,
    migrated_schema,
    postgres_server,
    postgres_url,
    sqlite_path,
    where,
)
from tests.support.receiver import Answer, Receiver

from andon.cli.sending import refuse_future
from andon.errors import InvalidRequest
from andon.store.clock import now_micros
from andon.store.database import Database

HALF_HOUR = ("--hours", 0.5, "--start", "2026-11-19T06:00:00Z")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server that takes everything, until it is told otherwise."""
    running = Receiver()
    yield running
    running.stop()


def test_a_shift_is_printed_the_same_for_the_same_seed(andon: Andon) -> None:
    """One object per line; another seed, another shift."""
    first = andon("simulate", "factory", "--to", "-", *HALF_HOUR, "--seed", 4)
    assert first.code == 0, first.err
    events = [json.loads(line) for line in first.out.splitlines()]
    assert {event["worker_id"] for event in events} == {f"W{n}" for n in range(1, 7)}
    again = andon("simulate", "factory", "--to", "-", *HALF_HOUR, "--seed", 4)
    assert again.out == first.out
    assert andon("simulate", "factory", "--to", "-", *HALF_HOUR).out != first.out


def test_a_shift_is_sent_after_its_roster(andon: Andon, receiver: Receiver) -> None:
    """Workers and stations first, those there stay; then every event, repeats as repeats."""
    receiver.script.extend([Answer(201), Answer(409)])
    done = andon(
        "simulate", "factory", "--workers", 2, "--stations", 3, "--duplicates", 1, "--late", 0,
        *HALF_HOUR, "--url", receiver.address, "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    paths = [path for _, path, _, _ in receiver.requests]
    assert paths[:5] == ["/workers"] * 2 + ["/workstations"] * 3
    assert set(paths[5:]) == {"/events/batch"}
    assert done.json["stored"] == done.json["duplicates"] > 20


def test_drivers_are_sent_at_a_chosen_speed(andon: Andon, receiver: Receiver) -> None:
    """A minute in a fraction of a second; the end is not in the future."""
    done = andon(
        "simulate", "drowsiness", "--drivers", 2, "--hours", 0.02, "--rate", 5, "--speed", 600,
        "--url", receiver.address, "--site", "depot",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert len(receiver.items) == 2 * 360
    assert {item["driver_id"] for item in receiver.items} == {"D1", "D2"}
    assert {item["site_id"] for item in receiver.items} == {"depot"}


def test_a_server_that_is_not_there_is_one_line(andon: Andon) -> None:
    """Nothing was registered, so nothing is made up."""
    done = andon("simulate", "factory", "--url", "http://127.0.0.1:9")
    assert done.code == 1
    assert "cannot be reached" in done.err
    assert "andon serve" in done.err


def test_a_server_that_refuses_the_key_is_one_line(andon: Andon, receiver: Receiver) -> None:
    """The status, and where the key comes from."""
    receiver.script.append(Answer(401))
    done = andon("simulate", "factory", "--url", receiver.address)
    assert done.code == 1
    assert "ANDON_API_KEY" in done.err


def test_a_shift_that_has_not_happened_is_refused_at_once(andon: Andon, receiver: Receiver) -> None:
    """Nothing is sent; it can be printed, and played while it happens."""
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for kind in ("factory", "drowsiness"):
        for speed in (0, 1, 60):
            done = andon(
                "simulate", kind, "--start", tomorrow, "--hours", 0.1, "--speed", speed,
                "--url", receiver.address,
            )  # fmt: skip
            assert done.code == 1
            assert "lies in the future" in done.err
    assert receiver.requests == []
    done = andon("simulate", "factory", "--start", tomorrow, "--hours", 0.1, "--to", "-")
    assert done.code == 0, done.err


@pytest.mark.parametrize(("speed", "taken"), [(0, False), (1, True), (2, False), (0.5, True)])
def test_what_is_played_may_end_in_the_future_when_it_is_sent_then(speed, taken) -> None:
    """An hour from now on: in real time it is never early."""
    begin = datetime.now(UTC)
    with nullcontext() if taken else pytest.raises(InvalidRequest, match="future"):
        refuse_future(begin, 3600, speed)


def test_only_standard_output_can_be_printed_to(andon: Andon) -> None:
    """A name after --to is a wrong command line."""
    assert andon("simulate", "factory", "--to", "file.ndjson").code == 2


def test_demo_brings_a_floor_and_drivers(
    andon: Andon,
    where: str,  # noqa: F811 - the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Six workers, six stations and a shift that goes on now; never beside real events."""
    url = where if "://" in where else f"sqlite:///{where}"
    monkeypatch.setenv("ANDON_DATABASE_URL", url)
    done = andon("demo", "--boards", 0)
    assert done.code == 0, done.err
    assert "Registered workers W1 to W6 and stations S1 to S6" in done.out
    assert "3 drivers: 21600 measurements" in done.out
    db = Database(where)
    try:
        workers, stations = db.workers.list(), db.workstations.list()
        assert [one.id for one in workers] == [f"W{n}" for n in range(1, 7)]
        assert [one.name for one in stations][:2] == ["Cutting", "Drilling"]
        before = db.factory.page(limit=1)[0]
        assert 0 <= now_micros() - before[0].timestamp < 10 * 60 * 1_000_000
        assert db.factory_totals.check() == []
        again = andon("demo", "--boards", 0)
        assert "The floor has events already" in again.out
        assert "There is eye telemetry already" in again.out
        assert db.factory.page(limit=1)[0] == before
    finally:
        db.close()
