"""Judging a candidate: what the log says, at every look, and after a restart."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.monitoring.conftest import HEART, heart_version
from tests.store.builders import add_version, prediction

from andon.monitoring import judging
from andon.monitoring.guardrails import Margins
from andon.monitoring.judging import Judge, Judgement, weigh
from andon.monitoring.rollout_counts import Counts, Side, Tally
from andon.monitoring.sequential import Count
from andon.monitoring.signals import State
from andon.store import clock
from andon.store.database import Database
from andon.store.feedback import Label
from andon.store.ids import uuid7
from andon.store.records import ModelVersion, Rollout


class Trial:
    """Two versions of a model and a rollout, and ways to fill the log."""

    def __init__(self, db: Database, mode: str, *, rows: bool = False, weight: float = 0.5) -> None:
        self.db, self.mode = db, mode
        made = heart_version if rows else add_version
        self.active: ModelVersion = made(db)
        self.candidate: ModelVersion = made(db)
        db.models.set_active(self.active.model, 1, event_type="ACTIVATE")
        self.log(self.active, 60, "active")
        self.rollout_id = db.rollouts.start(
            self.active.model, mode, 2, weight, actor="test", reason=""
        ).id
        self.judge = Judge(db)

    @property
    def rollout(self) -> Rollout:
        """As it is in the database."""
        return self.db.rollouts.get(self.rollout_id)

    def look(self) -> Judgement:
        """One look."""
        return self.judge.look(self.rollout)

    def log(self, version: ModelVersion, number: int, role: str, **values: Any) -> list[str]:
        """Log answers; a value may be a function of the answer's number."""
        rows = []
        for place in range(number):
            given = {name: v(place) if callable(v) else v for name, v in values.items()}
            rows.append(prediction(version, **{"role": role, "latency_ms": 10.0} | given))
        for future in [self.db.writer.write(row) for row in rows]:
            future.result(timeout=20)
        return [row["id"] for row in rows]

    def both(self, number: int, **candidate: Any) -> list[str]:
        """The active version does well, the candidate as said; the candidate's ids."""
        self.log(self.active, number, "active")
        return self.log(self.candidate, number, self.mode, **candidate)

    def label(self, ids: list[str], actual: Any) -> None:
        """Say what answers should have been."""
        self.db.feedback.store([Label(one, actual, clock.now()) for one in ids])


@pytest.fixture
def canary(db: Database) -> Trial:
    """A canary of a detector."""
    return Trial(db, "canary")


def failed(_: int = 0) -> dict[str, Any]:
    """What a failed answer's row has."""
    return {"status": "error", "error": "It crashed.", "detections": None, "detection_count": 0}


def states(judgement: Judgement) -> dict[str, str]:
    """State by guardrail."""
    return {one.name: one.state for one in judgement.guardrails}


def test_silence_is_no_evidence(canary: Trial):
    """Without traffic nothing is said of the candidate, however often one looks."""
    for look in range(1, 4):
        judgement = canary.look()
        assert judgement.verdict == "not_enough"
        assert judgement.looks == look
    assert "has answered nothing" in judgement.reasons[0]
    assert {one.state for one in judgement.guardrails} == {"not_enough"}
    assert all(one.needed for one in judgement.guardrails)


def test_only_the_active_one_answering_is_no_evidence_either(canary: Trial):
    """A candidate that gets nothing is neither promoted nor reverted."""
    canary.log(canary.active, 400, "active")
    assert canary.look().verdict == "not_enough"


def test_a_candidate_that_fails_is_worse_after_a_few_answers(canary: Trial):
    """Errors are seen first of all."""
    canary.log(canary.active, 100, "active")
    canary.log(canary.candidate, 12, "canary", **failed())
    judgement = canary.look()
    assert judgement.verdict == "worse"
    assert states(judgement)["errors"] == "worse"
    assert judgement.reasons[0].startswith("Errors worse: 100 % of the requests fail at v2, 0 %")
    (signal, *_) = judging.signals(canary.rollout, judgement)
    assert (signal.name, signal.state, signal.version) == ("canary_errors", State.BAD, 2)


def test_a_slow_candidate_is_worse(canary: Trial):
    """Slower than the active version was before the rollout, and is beside it."""
    canary.both(80, latency_ms=25.0)
    judgement = canary.look()
    assert states(judgement)["latency"] == "worse"
    assert judgement.counts.slow_ms == pytest.approx(12.5)


def test_fractions_of_a_millisecond_are_no_slowness(db: Database):
    """Rows of a batch take microseconds each: what is a hundredfold of that bothers nobody."""
    trial = Trial(db, "shadow")
    trial.log(trial.active, 500, "active", inference_time=4e-6)
    trial.judge = Judge(db)
    started = trial.db.rollouts.end(trial.rollout_id, "stopped", "Anew.")
    trial.rollout_id = db.rollouts.start(
        started.model, "shadow", 2, 1.0, actor="test", reason=""
    ).id
    trial.both(80, inference_time=4e-4)
    judgement = trial.look()
    assert judgement.counts.slow_ms == pytest.approx(1.004)
    assert states(judgement)["latency"] != "worse"


def test_a_machine_that_got_slow_for_both_speaks_against_none(canary: Trial):
    """What both suffer from is no fault of the candidate."""
    canary.log(canary.active, 80, "active", latency_ms=25.0)
    canary.log(canary.candidate, 80, "canary", latency_ms=25.0)
    assert states(canary.look())["latency"] != "worse"


def test_cached_answers_are_not_timed(canary: Trial):
    """They say nothing of the model."""
    canary.both(30, cached=True, latency_ms=0.1)
    judgement = canary.look()
    assert (judgement.counts.candidate.total.timed, judgement.answers_candidate) == (0, 30)


def test_without_labels_there_is_no_better(canary: Trial):
    """Errors and latency are fine, and that is all that can be said."""
    canary.both(700)
    judgement = canary.look()
    assert states(judgement) == {
        "errors": "fine",
        "latency": "fine",
        "accuracy": "not_enough",
        "disagreement": "fine",
    }
    assert judgement.verdict == "not_enough"
    assert "without labels it cannot be called better" in judgement.reasons[-1]


def test_with_labels_there_is(canary: Trial):
    """No worse in errors, latency and accuracy: it may take over."""
    canary.label(canary.both(700), "defect")
    ids = canary.log(canary.active, 700, "active")
    canary.label(ids, "defect")
    judgement = canary.look()
    assert judgement.verdict == "better", judgement.reasons
    assert judgement.reasons[0].startswith("v2 is no worse than v1")


def test_labels_that_say_it_is_wrong_make_it_worse(canary: Trial):
    """And one taken back counts no more."""
    wrong = canary.both(100)
    canary.label(wrong[:80], "ok")
    canary.label(wrong[80:], "defect")
    canary.label(canary.log(canary.active, 100, "active"), "defect")
    judgement = canary.look()
    assert judgement.verdict == "worse"
    assert states(judgement)["accuracy"] == "worse"
    accuracy = judgement.guardrails[2]
    assert (accuracy.value_active, accuracy.value_candidate) == (1.0, 0.2)
    assert accuracy.high < -0.01
    canary.label(wrong, "defect")
    assert canary.look().verdict == "not_enough"


def test_answering_otherwise_is_worse_until_labels_say_it_is_right(canary: Trial):
    """A canary that finds nothing where the other finds defects."""
    nothing = {"detections": [], "detection_count": 0}
    ids = canary.both(300, **nothing)
    judgement = canary.look()
    assert judgement.verdict == "worse"
    assert states(judgement)["disagreement"] == "worse"
    canary.label(ids, "ok")
    more = canary.log(canary.active, 300, "active")
    canary.label(more, "defect")
    judgement = canary.look()
    assert states(judgement)["accuracy"] == "fine"
    assert states(judgement)["disagreement"] == "worse"
    assert judgement.verdict != "worse"
    assert judging.signals(canary.rollout, judgement)[3].state is State.OK


def test_others_answers_do_not_count(canary: Trial):
    """Comparisons somebody asked for, answers before the rollout, other models' answers."""
    canary.log(canary.candidate, 20, "compare")
    canary.log(add_version(canary.db, "other"), 20, "canary")
    judgement = canary.look()
    assert (judgement.answers_active, judgement.answers_candidate) == (0, 0)


def test_looks_go_on_where_the_last_ended(canary: Trial, monkeypatch: pytest.MonkeyPatch):
    """In another process, and with the same result as counting again from the log."""
    monkeypatch.setattr("andon.monitoring.rollout_counts._SETTLED", timedelta(milliseconds=20))
    for _ in range(5):
        canary.both(40)
        canary.log(canary.candidate, 2, "canary", **failed())
        time.sleep(0.03)
        judgement = Judge(canary.db).look(canary.rollout)
    anew = Judge(canary.db).judge(canary.rollout, anew=True)
    assert judgement.counts.candidate.settled.answers == 210
    assert judgement.counts.candidate.total == anew.counts.candidate.total
    assert judgement.counts.active.total == anew.counts.active.total
    assert (judgement.answers_active, judgement.answers_candidate) == (200, 210)
    assert judgement.counts.candidate.total.errors == 10


def test_answers_that_are_written_late_are_counted(canary: Trial):
    """An id tells when a request came; its row is written when it was answered."""
    late = uuid7()
    canary.both(10)
    assert canary.look().answers_candidate == 10
    canary.log(canary.candidate, 1, "canary", id=late)
    assert canary.look().answers_candidate == 11


def test_a_clock_that_went_back_counts_anew(canary: Trial, monkeypatch: pytest.MonkeyPatch):
    """A look dated tomorrow must not hide today's answers."""
    tomorrow = clock.now() + timedelta(days=1)
    monkeypatch.setattr("andon.monitoring.rollout_counts.now", lambda: tomorrow)
    canary.both(10)
    assert canary.look().answers_candidate == 10
    monkeypatch.undo()
    canary.both(10)
    assert canary.look().answers_candidate == 20


def test_much_at_once_is_read_over_several_looks(canary: Trial, monkeypatch: pytest.MonkeyPatch):
    """A look stays short; nothing is lost or counted twice."""
    monkeypatch.setattr("andon.monitoring.rollout_counts._AT_ONCE", 25)
    canary.both(110)
    later = clock.now() + timedelta(minutes=5)
    monkeypatch.setattr("andon.monitoring.rollout_counts.now", lambda: later)
    seen = []
    while True:
        judgement = canary.look()
        seen.append(judgement.answers_candidate)
        if not judgement.counts.behind:
            break
    assert seen == [25, 50, 75, 100, 110]
    assert canary.look().answers_active == 110


def test_what_slow_means_is_taken_from_the_first_answers_where_there_are_none_before(
    db: Database, monkeypatch: pytest.MonkeyPatch
):
    """A model that has just begun to answer."""
    monkeypatch.setattr("andon.monitoring.rollout_counts._FEWEST_USUAL", 1000)
    trial = Trial(db, "canary")
    trial.both(60)
    later = clock.now() + timedelta(minutes=5)
    monkeypatch.setattr("andon.monitoring.rollout_counts.now", lambda: later)
    assert trial.look().counts.slow_ms is None
    trial.log(trial.active, 60, "active", latency_ms=20.0)
    judgement = trial.look()
    assert judgement.counts.slow_ms == pytest.approx(25.0)


def test_a_judgement_of_another_release_is_counted_again(canary: Trial):
    """What is stored is understood or made anew, never half."""
    canary.both(10)
    canary.db.rollouts.set_judgement(canary.rollout_id, {"verdict": "splendid"})
    assert canary.look().answers_candidate == 10


@pytest.mark.parametrize("mode", ["shadow", "compare"])
def test_pairs_that_differ_are_counted(db: Database, mode: str):
    """By the request's id, else by the picture."""
    trial = Trial(db, mode)
    nothing = {"detections": [], "detection_count": 0}
    trial.log(trial.active, 40, "active", request_id=lambda n: f"r{n}")
    trial.log(trial.candidate, 20, mode, request_id=lambda n: f"r{n}")
    trial.log(trial.candidate, 20, mode, request_id=lambda n: f"r{n + 20}", **nothing)
    trial.log(trial.active, 30, "active", image_hash=lambda n: f"{n:064d}")
    trial.log(trial.candidate, 30, mode, image_hash=lambda n: f"{n:064d}")
    trial.log(trial.candidate, 5, mode, request_id=lambda n: f"alone{n}")
    judgement = trial.look()
    assert judgement.counts.pairs == Count(70, 20)
    assert judgement.guardrails[3].value_candidate == pytest.approx(20 / 70)
    assert judgement.counts == trial.judge.judge(trial.rollout, anew=True).counts


def test_rows_without_an_id_are_paired_by_subject_or_features(db: Database):
    """Nothing else tells which row a shadow answered."""
    trial = Trial(db, "shadow", rows=True)
    row = {"detections": None, "detection_count": 0, "image_hash": None}
    for version, role, said in ((trial.active, "active", "0"), (trial.candidate, "shadow", "1")):
        trial.log(version, 10, role, prediction="1", features={"age": 1}, subject="p1", **row)
        trial.log(version, 5, role, prediction=said, features=lambda n: {"age": n}, **row)
    assert trial.look().counts.pairs == Count(15, 5)


def test_labels_of_the_active_answer_judge_the_shadow(db: Database):
    """Nobody labels an answer that never left; its twin's label is as good."""
    trial = Trial(db, "shadow")
    nothing = {"detections": [], "detection_count": 0}
    ids = trial.log(trial.active, 300, "active", request_id=lambda n: f"r{n}")
    trial.log(trial.candidate, 300, "shadow", request_id=lambda n: f"r{n}", **nothing)
    trial.label(ids, "defect")
    judgement = trial.look()
    assert judgement.verdict == "worse"
    assert states(judgement)["accuracy"] == "worse"
    assert (judgement.labels_candidate, judgement.counts.right_candidate.hits) == (300, 0)
    assert judgement.counts.only_active == Count(300, 300)


def test_rows_are_judged_by_the_class_looked_for(db: Database):
    """It is "disease", of a heart model; labels are compared as the schema says."""
    trial = Trial(db, "canary", rows=True)
    row = {"features": {"age": 50}, "detections": None, "detection_count": 0}
    trial.log(trial.active, 250, "active", prediction=lambda n: str(int(n % 4 == 0)), **row)
    ids = trial.log(trial.candidate, 250, "canary", prediction="1", **row)
    trial.label(ids[:40], 1)
    judgement = trial.look()
    assert judgement.counts.said == "1"
    assert HEART.classes[HEART.positive] == 1
    assert states(judgement)["disagreement"] == "worse"
    assert judgement.counts.right_candidate == Count(40, 40)


def test_an_ended_rollout_can_still_be_judged(canary: Trial):
    """For the record; it is only not kept."""
    canary.both(10)
    canary.db.rollouts.end(canary.rollout_id, "stopped", "enough")
    assert canary.judge.judge(canary.rollout).answers_candidate == 10


def test_a_judgement_survives_json(canary: Trial):
    """It is kept with the rollout as JSON."""
    canary.both(10)
    judgement = canary.look()
    assert judging.judgement_of(canary.rollout) == judgement
    assert msgspec.convert(msgspec.to_builtins(judgement), Judgement) == judgement


# -- Looking after every ten answers, with fixed seeds -------------------------------------


def simulated(
    random: np.random.Generator,
    *,
    errors: tuple[float, float],
    right: tuple[float, float],
    every: int,
) -> Iterator[Judgement]:
    """Half and half, a label for each answer, a look after every few of 10,000 answers."""
    rollout = _rollout()
    total = {side: Tally() for side in ("active", "candidate")}
    labels = {side: Count() for side in total}
    for look in range(1, 10_000 // every + 1):
        sizes = random.multinomial(every, [0.5, 0.5])
        for place, side in enumerate(total):
            size = int(sizes[place])
            wrong = int(random.binomial(size, errors[place]))
            total[side] += Tally(
                answers=size,
                errors=wrong,
                timed=size,
                slow=int(random.binomial(size, 0.03)),
                told=size,
                chosen=int(random.binomial(size, 0.3)),
            )
            labels[side] += Count(size, int(random.binomial(size, right[place])))
        counts = Counts(
            active=Side(until="", total=total["active"]),
            candidate=Side(until="", total=total["candidate"]),
            slow_ms=10.0,
            said="defect",
            right_active=labels["active"],
            right_candidate=labels["candidate"],
        )
        yield weigh(rollout, counts, Margins(), looks=look, moment=clock.now())


def _rollout() -> Rollout:
    return Rollout(
        id=uuid7(),
        model="pcb",
        mode="canary",
        candidate=2,
        candidate_id=2,
        baseline=1,
        baseline_id=1,
        weight=0.5,
        status="running",
        actor="",
        reason="",
        judgement=None,
        outcome="",
        created_at=clock.now(),
        updated_at=clock.now(),
        ended_at=None,
    )


def outcomes(runs: int, every: int, **given: Any) -> tuple[list[str], list[int]]:
    """First verdict of each run, and after how many answers it came."""
    verdicts, delays = [], []
    for run in range(runs):
        for judgement in simulated(np.random.default_rng(run), every=every, **given):
            if judgement.verdict != "not_enough":
                verdicts.append(judgement.verdict)
                delays.append(judgement.looks * every)
                break
        else:
            verdicts.append("not_enough")
    return verdicts, delays


def test_a_candidate_ten_points_worse_is_found_quickly():
    """Accuracy 0.8 beside 0.9; in no run is it called better first."""
    verdicts, delays = outcomes(3, 30, errors=(0.005, 0.005), right=(0.9, 0.8))
    assert set(verdicts) == {"worse"}
    assert np.median(delays) <= 1500


def test_an_equal_candidate_is_never_called_worse():
    """It may take over, after a few thousand answers."""
    verdicts, delays = outcomes(2, 100, errors=(0.005, 0.005), right=(0.9, 0.9))
    assert set(verdicts) == {"better"}
    assert np.median(delays) <= 5000


def test_a_look_is_short():
    """Not a measurement, but far from what would be too long: 10 ms on a common machine."""
    counts = Counts(
        active=Side(until="", total=Tally(answers=9000, errors=9, timed=9000, slow=300, told=9000)),
        candidate=Side(until="", total=Tally(answers=1000, timed=1000, slow=30, told=1000)),
        slow_ms=10.0,
        said="defect",
    )
    began = time.perf_counter()
    weigh(_rollout(), counts, Margins(), looks=1, moment=clock.now())
    assert time.perf_counter() - began < 1.0
