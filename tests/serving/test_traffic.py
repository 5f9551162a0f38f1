"""Canaries, shadows and comparisons of pictures, on real models and a real log."""

import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.boards import board, until

from andon.errors import Conflict, ModelDamaged, NotFound, RuntimeFailed, UnusableUpload
from andon.serving.traffic import Split, share_of
from andon.store.clock import now
from andon.store.records import Rollout

_SUBJECTS = [f"SN-{number:06d}" for number in range(10_000)]


def rollout(weight: float, rollout_id: str = "0193-a") -> Rollout:
    """A canary that is in no database."""
    moment = now()
    return Rollout(
        id=rollout_id, model="pcb", mode="canary", candidate=2, candidate_id=2, baseline=1,
        baseline_id=1, weight=weight, status="running", actor="", reason="", judgement=None,
        outcome="", created_at=moment, updated_at=moment, ended_at=None,
    )  # fmt: skip


@pytest.fixture
def trying(serving):
    """An installation with version 1 active and version 2 beside it, not tried yet.

    Nobody watches it: the agent would end what these tests look at.
    """
    serving.given["monitor"] = False
    serving.start()
    serving.deploy("second", activate=False)
    return serving


def logged(line) -> list:
    """The rows of the log, newest first."""
    line.platform.db.writer.flush()
    return line.platform.db.predictions.page(limit=500)[0]


def roles(line) -> list[tuple[str, int, str]]:
    """Role, version and status of each row of the log, in no order."""
    return sorted((row.role, row.model_version, row.status) for row in logged(line))


def broken(slot, error: Exception | None = None, gate: threading.Event | None = None) -> None:
    """Make a slot's model fail, or wait for a gate first."""
    real = slot.model.infer

    def infer(picture, *, deadline):
        if gate is not None:
            gate.wait(20)
        if error is not None:
            raise error
        return real(picture, deadline=deadline)

    slot.model.infer = infer


# -- Who is asked -----------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0.05, 0.1, 0.25, 0.5, 0.9])
def test_the_share_is_within_a_point_over_ten_thousand_subjects(weight):
    """At every weight tried."""
    split = Split(rollout(weight), None)
    asked = sum(split.candidate_for(subject, "") for subject in _SUBJECTS)
    assert abs(asked / len(_SUBJECTS) - weight) <= 0.01


@given(st.floats(0, 1), st.text(), st.uuids())
def test_shares_are_even_whatever_subjects_look_like(weight, stem, rollout_id):
    """Five times the spread that chance has: never seen by chance."""
    split = Split(rollout(weight, str(rollout_id)), None)
    asked = sum(split.candidate_for(f"{stem}{number}", "") for number in range(500))
    assert abs(asked / 500 - weight) <= 5 * (max(weight * (1 - weight), 0.01) / 500) ** 0.5


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_who_belongs_to_a_share_belongs_to_a_greater_one(subject, one, other):
    """Raising the weight takes nobody back from the candidate."""
    few, many = (Split(rollout(weight), None) for weight in sorted((one, other)))
    assert few.candidate_for(subject, "") <= many.candidate_for(subject, "")


def test_nobody_and_everybody():
    """Weights 0 and 1 have no exceptions."""
    assert not any(Split(rollout(0.0), None).candidate_for(one, "") for one in _SUBJECTS[:500])
    assert all(Split(rollout(1.0), None).candidate_for(one, "") for one in _SUBJECTS[:500])


def test_without_a_subject_the_request_decides():
    """Where there is one, the request's key changes nothing."""
    split = Split(rollout(0.5), None)
    found = {split.candidate_for(None, f"r-{number}") for number in range(50)}
    assert found == {True, False}
    assert split.candidate_for("a", "r-1") == split.candidate_for("a", "r-2")


def test_another_process_splits_in_the_same_way():
    """Python's own hash differs from process to process; this one must not."""
    code = """
from andon.serving.traffic import share_of
print(sum(share_of("0193-a", f"SN-{number:06d}") for number in range(1000)))
"""
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert said == f"{sum(share_of('0193-a', one) for one in _SUBJECTS[:1000])}\n"


# -- Canary -----------------------------------------------------------------------------


def test_a_canary_answers_its_share_and_the_same_subjects_each_time(trying):
    """And every logged row has the role of the version that answered."""
    trying.engine.traffic.start("pcb", "canary", 2, 0.5, "mia", "a try")
    subjects = _SUBJECTS[:40]
    first = {one: trying.ask(subject=one).model_version for one in subjects}
    again = {one: trying.ask(subject=one).model_version for one in subjects}
    assert first == again
    assert set(first.values()) == {1, 2}
    for row in logged(trying):
        assert row.role == ("canary" if row.model_version == 2 else "active")
        assert first[row.subject] == row.model_version


def test_the_split_outlives_a_restart(trying):
    """The salt is the rollout's, so each subject stays where it was."""
    trying.engine.traffic.start("pcb", "canary", 2, 0.5)
    first = {one: trying.ask_async(subject=one).model_version for one in _SUBJECTS[:20]}
    trying.start()
    assert {one: trying.ask(subject=one).model_version for one in _SUBJECTS[:20]} == first


def test_a_request_that_names_a_version_gets_it(trying):
    """Whatever the split says."""
    trying.engine.traffic.start("pcb", "canary", 2, 1.0)
    assert trying.ask(version=1).model_version == 1
    assert trying.ask().model_version == 2


@pytest.mark.parametrize("ask", ["ask", "ask_async"])
def test_no_request_fails_because_of_a_canary(trying, ask):
    """What crashes is answered by the active version, and logged as the candidate's failure."""
    trying.engine.traffic.start("pcb", "canary", 2, 1.0)
    broken(trying.engine.traffic.split("pcb").slot, RuntimeFailed("It fell over."))
    answer = getattr(trying, ask)(subject="SN-1", prediction_id=None)
    assert answer.model_version == 1
    assert roles(trying) == [("active", 1, "success"), ("canary", 2, "error")]
    until(lambda: trying.engine.queue_size() == 0)


def test_a_canary_that_goes_on_crashing_is_asked_nothing_more(trying):
    """Suspended in memory at once; who acts on it is told once, from another thread."""
    told: list[tuple[str, int, int]] = []
    trying.engine.tripwire.on_trip(
        lambda trip: told.append((trip.kind, trip.version, threading.get_ident()))
    )
    trying.engine.traffic.start("pcb", "canary", 2, 1.0)
    split = trying.engine.traffic.split("pcb")
    broken(split.slot, RuntimeFailed("It fell over."))
    versions = {trying.ask(board(seed=seed)).model_version for seed in range(1, 12)}
    assert versions == {1}
    assert "each of its first 3 runs" in split.suspended
    until(lambda: told)
    assert [one[:2] for one in told] == [("crash", 2)]
    assert told[0][2] != threading.get_ident()
    assert roles(trying).count(("canary", 2, "error")) == 3


def test_a_canary_that_hangs_costs_nobody_an_answer(trying, monkeypatch):
    """Who waits for it is answered by the active version as soon as the tripwire notices."""
    monkeypatch.setattr("andon.serving.tripwire._PATIENCE", 0.3)
    trying.engine.traffic.start("pcb", "canary", 2, 1.0)
    split = trying.engine.traffic.split("pcb")
    gate = threading.Event()
    broken(split.slot, gate=gate)
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(trying.ask, board(seed=seed)) for seed in range(1, 7)]
        until(lambda: trying.engine.tripwire.poll() or split.suspended)
        assert {one.result(10).model_version for one in asked} == {1}
    assert split.suspended
    gate.set()
    trying.engine.traffic.stop("pcb", "reverted", "It hangs.")


def test_a_bad_picture_is_not_the_canarys_fault(trying):
    """Eight unreadable ones neither suspend nor trip."""
    trying.engine.traffic.start("pcb", "canary", 2, 1.0)
    for _ in range(8):
        with pytest.raises(UnusableUpload):
            trying.ask(b"\x89PNG\r\n\x1a\nnothing more")
    assert not trying.engine.traffic.split("pcb").suspended
    assert (
        trying.engine.tripwire.tripped(trying.engine.traffic.split("pcb").slot.version.id) is None
    )


def test_changing_traffic_loses_no_request(trying):
    """Start, weights, stop, promotion and rollback, while eight clients never stop asking."""
    stop = threading.Event()
    failures: list[BaseException] = []
    answered = [0]

    def client(number: int) -> None:
        numbers = random.Random(number)
        while not stop.is_set():
            try:
                trying.ask(board(seed=numbers.randrange(1, 9000)), subject=f"{numbers.random()}")
            except Exception as error:
                failures.append(error)
            answered[0] += 1

    clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for one in clients:
        one.start()
    try:
        for _ in range(3):
            trying.engine.traffic.start("pcb", "canary", 2, 0.1)
            for weight in (0.5, 1.0, 0.2):
                trying.engine.traffic.set_weight("pcb", weight)
                seen = answered[0]
                until(lambda seen=seen: answered[0] > seen + 20)
            trying.engine.traffic.stop("pcb")
        trying.engine.traffic.start("pcb", "canary", 2, 0.5)
        trying.platform.deployments.activate("pcb", 2)
        assert trying.engine.traffic.split("pcb") is None
        trying.platform.deployments.rollback("pcb", "enough", "test")
    finally:
        stop.set()
        for one in clients:
            one.join()
    assert not failures
    assert answered[0] > 100


def test_the_candidate_is_let_go_when_the_try_is_over(trying):
    """Its slot closes; ending again is the same end, and it has no weight any more."""
    trying.engine.traffic.start("pcb", "canary", 2, 1.0)
    slot = trying.engine.traffic.split("pcb").slot
    trying.ask()
    trying.engine.traffic.stop("pcb", "stopped", "Seen enough.")
    assert trying.ask().model_version == 1
    until(lambda: slot.closed)
    # Saying it again says the same.
    assert trying.engine.traffic.stop("pcb", "stopped").outcome == "Seen enough."
    with pytest.raises(Conflict, match="being tried"):
        trying.engine.traffic.set_weight("pcb", 0.5)


def test_activating_the_candidate_promotes_it(trying):
    """The rollout ends as promoted."""
    started = trying.engine.traffic.start("pcb", "canary", 2, 0.1)
    trying.platform.deployments.activate("pcb", 2)
    assert trying.platform.db.models.active("pcb").version == 2
    ended = trying.engine.traffic.stop("pcb", "promoted")
    assert (ended.id, ended.status) == (started.id, "promoted")


def test_a_candidate_that_cannot_be_loaded_is_not_tried(trying):
    """Nor one there is not, nor the active one; what serves goes on."""
    record = trying.platform.db.models.get("pcb", 2)
    trying.platform.registry.path_of(record).write_bytes(b"gone")
    with pytest.raises(ModelDamaged):
        trying.engine.traffic.start("pcb", "canary", 2, 0.1)
    assert trying.engine.traffic.split("pcb") is None
    with pytest.raises(NotFound):
        trying.engine.traffic.start("pcb", "canary", 77, 0.1)
    with pytest.raises(Conflict, match="answers already"):
        trying.engine.traffic.start("pcb", "canary", 1, 0.1)
    assert trying.ask().model_version == 1


def test_a_candidate_that_breaks_later_is_suspended_and_reported(trying):
    """After a restart its file is damaged: the active version answers alone, and it is known."""
    trying.engine.traffic.start("pcb", "canary", 2, 1.0)
    record = trying.platform.db.models.get("pcb", 2)
    trying.platform.registry.path_of(record).write_bytes(b"gone")
    trying.start()
    assert "cannot be loaded" in trying.engine.traffic.split("pcb").suspended
    trip = trying.engine.tripwire.tripped(record.id)
    assert (trip.kind, trip.version) == ("errors", 2)
    assert "cannot be loaded" in trip.summary
    assert trying.ask().model_version == 1


def test_another_process_follows(trying):
    """What a terminal starts and stops, a server does within a refresh."""
    from andon.platform import Platform
    from andon.settings import Settings

    settings = Settings(home=trying.home, _env_file=None, watch=False)
    terminal = Platform(settings)
    terminal.start(serve=False)
    try:
        terminal.engine.traffic.start("pcb", "canary", 2, 1.0, "mia", "by hand")
        until(lambda: trying.engine.traffic.split("pcb") is not None)
        assert trying.ask().model_version == 2
        terminal.engine.traffic.set_weight("pcb", 0.0)
        until(lambda: trying.engine.traffic.split("pcb").rollout.weight == 0.0)
        assert trying.ask().model_version == 1
        terminal.engine.traffic.stop("pcb")
        until(lambda: trying.engine.traffic.split("pcb") is None)
    finally:
        terminal.stop()


def test_a_candidate_is_not_deleted(trying):
    """Not before the try has ended."""
    trying.engine.traffic.start("pcb", "shadow", 2)
    with pytest.raises(Conflict, match="is being tried"):
        trying.platform.deployments.delete("pcb", 2)
    trying.engine.traffic.stop("pcb")
    trying.platform.deployments.delete("pcb", 2)


# -- Shadow -----------------------------------------------------------------------------


def test_a_shadow_is_logged_and_never_answers(trying):
    """With the request's subject, id and camera, and without counting for totals."""
    trying.engine.traffic.start("pcb", "shadow", 2)
    answer = trying.ask_async(subject="SN-1", request_id="r-1", camera="line-1")
    assert answer.model_version == 1
    until(lambda: len(logged(trying)) == 2)
    assert roles(trying) == [("active", 1, "success"), ("shadow", 2, "success")]
    shadow = next(row for row in logged(trying) if row.role == "shadow")
    assert (shadow.subject, shadow.request_id, shadow.camera) == ("SN-1", "r-1", "line-1")
    assert trying.platform.db.models.get("pcb", 2).total_inferences == 0


def test_a_shadow_never_delays_an_answer(trying):
    """The candidate waits for an event that comes only after all answers are there."""
    trying.engine.traffic.start("pcb", "shadow", 2)
    gate = threading.Event()
    broken(trying.engine.traffic.split("pcb").slot, gate=gate)
    answers = [trying.ask(board(seed=seed)) for seed in range(1, 31)]
    assert {one.model_version for one in answers} == {1}
    assert not gate.is_set()
    skipped = trying.engine.metrics.shadow_skipped.labels("pcb")._value.get()
    assert 30 - 9 <= skipped < 30
    gate.set()
    until(lambda: len(logged(trying)) == 30 + 30 - skipped)


def test_a_shadow_that_crashes_is_known_and_harms_nobody(trying):
    """The answer stands and the log has the error."""
    trying.engine.traffic.start("pcb", "shadow", 2)
    broken(trying.engine.traffic.split("pcb").slot, RuntimeFailed("It fell over."))
    trying.ask()
    until(lambda: len(logged(trying)) == 2)
    assert roles(trying) == [("active", 1, "success"), ("shadow", 2, "error")]


# -- Compare ----------------------------------------------------------------------------


@pytest.mark.parametrize("ask", ["ask", "ask_async"])
def test_a_comparison_shows_both(trying, ask):
    """The active version's answer, with both sides' counts, confidence and time."""
    trying.engine.traffic.start("pcb", "compare", 2)
    answer = getattr(trying, ask)()
    assert answer.model_version == 1
    sides = answer.comparison
    assert [sides[side]["version"] for side in ("model_a", "model_b")] == [1, 2]
    assert sides["model_b"]["detections"] == len(answer.detections) == 1
    assert set(sides["model_a"]) == {"version", "detections", "avg_confidence", "inference_time"}
    assert roles(trying) == [("active", 1, "success"), ("compare", 2, "success")]


def test_a_comparison_does_not_wait_for_ever(trying, monkeypatch):
    """The answer goes out alone; what the candidate says later is logged all the same."""
    monkeypatch.setattr("andon.serving.answering._COMPARE_PATIENCE", 0.05)
    trying.engine.traffic.start("pcb", "compare", 2)
    gate = threading.Event()
    broken(trying.engine.traffic.split("pcb").slot, gate=gate)
    answer = trying.ask_async()
    assert (answer.model_version, answer.comparison) == (1, None)
    gate.set()
    until(lambda: len(logged(trying)) == 2)
    assert roles(trying) == [("active", 1, "success"), ("compare", 2, "success")]


def test_the_split_outlives_a_kill(trying):
    """A server that starts a canary, answers, and is killed in the middle of it all."""
    trying.stop()
    code = f"""
import os, signal, sys
from pathlib import Path
from tests.serving.boards import board
from andon.platform import Platform
from andon.settings import Settings

platform = Platform(Settings(
    home=Path({str(trying.home)!r}), _env_file=None, watch=False, monitor=False,
    inference_threads=1, log_level="ERROR",
))
platform.start()
platform.engine.traffic.start("pcb", "canary", 2, 0.5)
for number in range(20):
    answer = platform.engine.answer_sync(board(), image_name="a.png", subject=f"SN-{{number:06d}}")
    print(answer.model_version, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    trying.start()
    again = [trying.ask(subject=subject).model_version for subject in _SUBJECTS[:20]]
    assert again == [int(word) for word in ran.stdout.split()]
    assert set(again) == {1, 2}
