import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.store.builders import start_program

from andon.errors import StorageFull
from andon.jobs import lease as module
from andon.jobs.lease import Lease
from andon.store.database import Database
from andon.store.leases import Leases

# Prints its token when it holds the lease, and a line with every change after that.
_HOLD = """
import sys, time
import structlog
from andon.jobs.lease import Lease
from andon.store.database import Database

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
lease = Lease(Database(sys.argv[1]), "watch", float(sys.argv[2]))
lease.start()
before = False
while True:
    if lease.held() != before:
        before = not before
        print("held" if before else "lost", lease.token, flush=True)
    time.sleep(0.005)
"""


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the clock that nobody sets."""
    ahead = [0.0]
    monkeypatch.setattr(module, "_clock", lambda: time.monotonic() + ahead[0])

    def by(seconds: float) -> None:
        ahead[0] += seconds

    return by


@pytest.fixture
def programs() -> Iterator[list[subprocess.Popen[str]]]:
    """Programs that are ended with the test, however it ends."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for program in started:
        program.kill()
        program.communicate(timeout=20)


def test_alone_it_is_held_from_start_to_stop_without_a_row(sqlite_db: Database):
    """On SQLite the home's lock keeps other servers away."""
    lease = Lease(sqlite_db, "watch", 10, alone=True)
    assert not lease.held()
    before = threading.active_count()
    lease.start()
    assert threading.active_count() == before
    assert lease.held()
    assert lease.tend()
    assert lease.since is not None
    assert lease.holder() is None
    lease.stop()
    assert not lease.held()
    assert Leases(sqlite_db).get("watch") is None


@pytest.mark.postgres
def test_one_of_two_holds_it_and_the_other_takes_over_when_it_is_given_back(postgres_db: Database):
    """The token grows with every change of hands."""
    one, two = Lease(postgres_db, "watch", 10), Lease(postgres_db, "watch", 10)
    assert one.tend()
    assert not two.tend()
    assert (one.held(), two.held(), one.token) == (True, False, 1)
    assert one.tend()
    one.stop()
    assert not one.held()
    assert two.tend()
    assert (two.held(), two.token, two.took_over()) == (True, 2, "")
    holder = one.holder()
    assert holder is not None
    assert holder.holder == two.me
    assert two.current() == holder


@pytest.mark.postgres
def test_it_is_not_held_any_more_once_it_could_have_run_out(
    postgres_db: Database, ticking: Callable[[float], None]
):
    """Without asking anybody: by then another may have it."""
    lease = Lease(postgres_db, "watch", 10)
    assert lease.tend()
    ticking(9.5)
    assert lease.held()
    ticking(0.6)
    assert not lease.held()
    assert lease.since is None
    # Nobody took it meanwhile: it is still its own.
    assert lease.tend()
    assert (lease.held(), lease.token) == (True, 1)


@pytest.mark.postgres
def test_one_that_slept_finds_that_it_is_none_any_more(
    postgres_db: Database, ticking: Callable[[float], None]
):
    """Its lease ran out and was taken: it lets go, says so, and the taker names it once."""
    one, two = Lease(postgres_db, "watch", 0.05), Lease(postgres_db, "watch", 10)
    assert one.tend()
    time.sleep(0.06)
    with capture_logs() as said:
        assert two.tend()
        assert not one.tend()
    assert (one.held(), two.held()) == (False, True)
    assert two.took_over() == one.me
    assert two.took_over() == ""
    assert "fell silent" in said[0]["event"]
    assert "no longer holds the lease" in said[1]["event"]
    assert not one.tend()


@pytest.mark.postgres
def test_a_database_that_fails_ends_it_when_its_time_is_over_and_not_before(
    postgres_db: Database, ticking: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
):
    """And it is renewed as soon as the database is back."""
    lease = Lease(postgres_db, "watch", 10)
    assert lease.tend()

    def fail(*_: Any, **__: Any) -> bool:
        raise StorageFull("The database is away.")

    monkeypatch.setattr(Leases, "renew", fail)
    with pytest.raises(StorageFull):
        lease.tend()
    assert lease.held()
    ticking(11)
    assert not lease.held()
    monkeypatch.undo()
    assert lease.tend()
    assert lease.held()


@pytest.mark.postgres
def test_a_clock_of_the_database_that_was_set_back_keeps_no_dead_holder(
    postgres_db: Database, ticking: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
):
    """Nobody heard of it for twice the length of the lease: it is dead, whatever the times say."""
    leases = Leases(postgres_db)
    leases.take("watch", "dead", 3600)
    lease = Lease(postgres_db, "watch", 10)
    assert not lease.tend()
    ticking(15)
    assert not lease.tend()
    leases.renew("watch", "dead", 1, 3700)
    ticking(15)
    assert not lease.tend()
    ticking(21)
    assert lease.tend()
    assert lease.took_over() == "dead"


@pytest.mark.postgres
def test_the_thread_goes_on_when_the_database_fails(
    postgres_db: Database, monkeypatch: pytest.MonkeyPatch
):
    """Why is said once, and shown until it works again."""
    lease = Lease(postgres_db, "watch", 0.6)
    take = Leases.take
    failing = [True]

    def sometimes(*given: Any, **named: Any) -> Any:
        if failing:
            raise StorageFull("The database is away.")
        return take(*given, **named)

    monkeypatch.setattr(Leases, "take", sometimes)
    with capture_logs() as said:
        lease.start()
        time.sleep(0.7)
        assert lease.problem == "The database is away."
        failing.clear()
        _wait(lease.held)
        lease.stop()
    assert len([one for one in said if "neither be taken nor renewed" in one["event"]]) == 1
    assert lease.problem == ""
    assert lease.holder() is not None
    assert lease.current() is None


@pytest.mark.postgres
def test_another_process_takes_over_when_the_holder_is_killed(
    postgres_url: str, programs: list[subprocess.Popen[str]]
):
    """Within the length of the lease and the pause between two looks: 15 s at most by default."""
    seconds = 2.0
    first = _holding(programs, postgres_url, seconds)
    second = start_program(_HOLD, postgres_url, str(seconds))
    programs.append(second)
    time.sleep(0.8)
    first.kill()
    begin = time.monotonic()
    assert second.stdout is not None
    assert second.stdout.readline().split() == ["held", "2"]
    took = time.monotonic() - begin
    assert took <= seconds + seconds / 3 + 2
    # The default: 10 s, with looks every 2 s.
    assert 10 + module._LONGEST_POLL < 15


@pytest.mark.postgres
def test_a_holder_that_was_stopped_never_believes_that_it_holds_it_still(
    postgres_url: str, programs: list[subprocess.Popen[str]]
):
    """When it wakes, the first thing it finds is that it has lost it."""
    first = _holding(programs, postgres_url, 1.0)
    os.kill(first.pid, signal.SIGSTOP)
    second = start_program(_HOLD, postgres_url, "1.0")
    programs.append(second)
    assert second.stdout is not None
    assert second.stdout.readline().split() == ["held", "2"]
    os.kill(first.pid, signal.SIGCONT)
    assert first.stdout is not None
    assert first.stdout.readline().split() == ["lost", "1"]


def _holding(
    programs: list[subprocess.Popen[str]], url: str, seconds: float
) -> "subprocess.Popen[str]":
    program = start_program(_HOLD, url, str(seconds))
    programs.append(program)
    assert program.stdout is not None
    assert program.stdout.readline().split() == ["held", "1"]
    return program


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)
