"""Versions that crash or hang are noticed at once, and left without losing a request."""

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from tests.serving.boards import board, until
from tests.support.fake_eim import build_fake_eim

from andon.errors import DeadlineExceeded, RuntimeFailed, UnusableUpload
from andon.serving.tripwire import Tripwire
from andon.settings import Settings

_CRASH = RuntimeFailed("It fell over.")


def magenta(seed: int) -> bytes:
    """A picture that the fake misbehaves at."""
    pixels = np.zeros((96, 96, 3), np.uint8)
    pixels[:8, :8] = (255, 0, 255)
    pixels[-1, -1] = seed
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def tripwire() -> Tripwire:
    """With the usual settings."""
    return Tripwire(Settings(_env_file=None))


@pytest.fixture
def alone(serving):
    """An installation that nobody watches: the agent would act before these tests do."""
    serving.given["monitor"] = False
    # Its pulse goes on without looks, and acts on trips.
    serving.start().watch.stop()
    return serving


@pytest.fixture
def version(serving):
    """A version's record."""
    return serving.platform.db.models.get("pcb", 1)


def test_three_failures_and_nothing_else_trip(tripwire, version):
    """The third; the trip says how many of how many, and a reset forgets it."""
    watched = tripwire.watch(version)
    for _ in range(2):
        tripwire.failure(version.id, _CRASH)
    assert tripwire.tripped(version.id) is None
    tripwire.failure(version.id, _CRASH)
    trip = tripwire.tripped(version.id)
    assert (trip.model, trip.version, trip.kind) == ("pcb", 1, "crash")
    assert (trip.count, trip.of) == (3, 3)
    assert trip.summary.startswith("v1 of model pcb crashed or answered nonsense in each of")
    watched.reset()
    assert tripwire.tripped(version.id) is None


def test_a_version_that_has_answered_may_fail_now_and_then(tripwire, version):
    """Half of its last twenty runs, and five at least."""
    tripwire.watch(version)
    for _ in range(50):
        tripwire.success(version.id)
    for _ in range(9):
        tripwire.failure(version.id, _CRASH)
    assert tripwire.tripped(version.id) is None
    tripwire.failure(version.id, _CRASH)
    assert tripwire.tripped(version.id).count == 10


def test_a_lone_failure_between_successes_never_trips(tripwire, version):
    """Not even two hundred of them."""
    tripwire.watch(version)
    for _ in range(200):
        tripwire.success(version.id)
        tripwire.success(version.id)
        tripwire.failure(version.id, _CRASH)
    assert tripwire.tripped(version.id) is None


def test_failures_of_long_ago_are_forgotten(tripwire, version, monkeypatch):
    """Four an hour ago and one now are one."""
    watched = tripwire.watch(version)
    watched.success()
    for _ in range(4):
        tripwire.failure(version.id, _CRASH)
    moment = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: moment + 3600)
    tripwire.failure(version.id, _CRASH)
    assert tripwire.tripped(version.id) is None


def test_a_run_started_when_its_time_was_over_is_nobodys_fault(tripwire, version):
    """Too many requests are no hang."""
    watched = tripwire.watch(version)
    for _ in range(20):
        watched.failure(DeadlineExceeded("Late."), watched.begin())
    assert tripwire.tripped(version.id) is None


def test_a_run_that_does_not_end_is_a_hang(tripwire, version, monkeypatch):
    """Unless others succeed meanwhile: then it is only that one picture."""
    watched = tripwire.watch(version)
    told = []
    tripwire.at_once(told.append)
    moment = time.monotonic()
    clock = [moment]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    run = watched.begin()
    clock[0] = moment + 2.9
    assert tripwire.poll() == []
    clock[0] = moment + 3.1
    (trip,) = tripwire.poll()
    assert (trip.kind, trip.count) == ("hang", 1)
    assert "has been going on for 3.1 s" in trip.summary
    assert tripwire.poll() == []
    assert told == [trip]
    watched.reset()
    watched.end(run)
    watched.begin()
    clock[0] += 2
    watched.success(watched.begin())
    clock[0] += 2
    assert tripwire.poll() == []


def test_a_slow_model_gets_more_time(tripwire, version, monkeypatch):
    """Twenty times what it usually takes."""
    watched = tripwire.watch(version)
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    run = watched.begin()
    clock[0] += 1.0
    watched.success(run)
    watched.begin()
    clock[0] += 19
    assert tripwire.poll() == []
    clock[0] += 2
    assert len(tripwire.poll()) == 1


def test_a_callback_that_fails_does_not_keep_others_from_acting(tripwire, version):
    """The next one is told all the same."""
    told = threading.Event()

    def fail(_):
        raise ValueError("no")

    tripwire.on_trip(fail)
    tripwire.on_trip(lambda _: told.set())
    tripwire.watch(version)
    tripwire.report(version, "errors", "cannot be loaded: it is gone")
    assert told.wait(10)
    assert tripwire.tripped(version.id).summary == "v1 of model pcb cannot be loaded: it is gone."


def test_bad_pictures_never_trip(serving, version):
    """What a client sends wrong is no failure of the version."""
    for seed in range(12):
        with pytest.raises(UnusableUpload):
            serving.ask(b"\x89PNG\r\n\x1a\n" + bytes([seed]))
    assert serving.engine.tripwire.tripped(version.id) is None


def test_a_version_that_crashes_trips_after_three_pictures(alone):
    """Through the engine; after a rollback and a new activation it starts anew."""
    alone.deploy("second")
    slot = alone.engine.slot()

    def infer(picture, *, deadline):
        raise _CRASH

    slot.model.infer = infer
    for seed in range(1, 4):
        with pytest.raises(RuntimeFailed):
            alone.ask(board(seed=seed))
    assert alone.engine.tripwire.tripped(slot.version.id).kind == "crash"
    # Who goes back and comes again starts anew.
    alone.platform.deployments.rollback("pcb", "It crashes.", "test")
    alone.platform.deployments.activate("pcb", 2)
    assert alone.engine.tripwire.tripped(slot.version.id) is None


@pytest.mark.parametrize("ask", ["ask", "ask_async"])
def test_rolling_back_a_version_that_hangs_loses_no_request(alone, monkeypatch, ask):
    """Those it runs, and those that wait behind them, are answered by the one before."""
    monkeypatch.setattr("andon.serving.tripwire._PATIENCE", 0.3)
    alone.deploy("second")
    slot = alone.engine.slot()
    gate = threading.Event()

    def infer(picture, *, deadline):
        gate.wait(30)
        raise _CRASH

    slot.model.infer = infer
    with ThreadPoolExecutor(8) as pool:
        asked = [
            pool.submit(getattr(alone, ask), board(seed=seed), subject=f"{seed}")
            for seed in range(1, 9)
        ]
        until(alone.engine.tripwire.poll)
        trip = alone.engine.tripwire.tripped(slot.version.id)
        assert trip.kind == "hang"
        alone.platform.deployments.rollback("pcb", trip.summary, "andon")
        answers = [one.result(10) for one in asked]
    assert {one.model_version for one in answers} == {1}
    gate.set()
    until(lambda: alone.engine.queue_size() == 0)
    alone.platform.db.writer.flush()
    rows, _ = alone.platform.db.predictions.page(limit=100)
    assert len(rows) == 8
    assert {row.status for row in rows} == {"success"}


def test_the_processes_of_a_version_that_hangs_are_killed(alone, monkeypatch):
    """An .eim that never answers is gone with its version, and nobody waited for it."""
    monkeypatch.setattr("andon.serving.tripwire._PATIENCE", 0.3)
    hung = build_fake_eim(
        alone.home.parent / "hung.eim", misbehave="hang", on="magenta", name="Hung boards"
    )
    alone.deploy(hung)
    slot = alone.engine.slot()
    (process,) = slot.model._pool._all
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(alone.ask, picture) for picture in (magenta(1), magenta(2))]
        until(alone.engine.tripwire.poll)
        alone.platform.deployments.rollback("pcb", "It hangs.", "andon")
        assert {one.result(10).model_version for one in asked} == {1}
    until(lambda: slot.closed)
    until(lambda: process._process is None or process._process.poll() is not None)
