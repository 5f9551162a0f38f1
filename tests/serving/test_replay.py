"""Yesterday's inputs through a candidate: what flips, what is missing, what goes wrong."""

import io
import time
from collections.abc import Iterator
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from PIL import Image
from tests.serving.boards import board, until
from tests.serving.conftest import Line
from tests.support.tabular_models import ROW, heart

from andon.errors import AndonError, Conflict, InvalidRequest, NotFound
from andon.jobs.queue import JobQueue, Lane
from andon.serving import replay as replaying
from andon.serving import replay_run
from andon.serving.replay import KIND, Replays, moment_of
from andon.serving.replay_run import ReplayAsk, Replayed
from andon.serving.starter import install_starter
from andon.store.clock import now
from andon.store.jobs import JobGivenUp, JobInterrupted
from andon.store.records import Job
from andon.training.pcb.boards import generate_board

BLOTS = ("blot",)


def replays(line: Line) -> Replays:
    """The replays of a line."""
    platform = line.platform
    return Replays(platform.db, platform.engine, platform.pictures, platform.settings)


def dim(*, seed: int) -> bytes:
    """A board whose spot is gray, so that a model is less sure of it."""
    with Image.open(io.BytesIO(board(seed=seed))) as picture:
        out = io.BytesIO()
        picture.point(lambda value: value * 9 // 10).save(out, "PNG")
    return out.getvalue()


def replayed(line: Line, version: int = 2, model: str = "pcb", **given: Any) -> Replayed:
    """A replay, run here and now."""
    made = replays(line)
    payload = made.ask(model, version, **given)
    return made.replay(msgspec.convert(payload, ReplayAsk))


@pytest.fixture
def candidate(serving: Line) -> Line:
    """Version 1 serves; version 2 is the same detector, and calls spots blots."""
    serving.deploy(serving.file("second", labels=BLOTS), activate=False)
    return serving


def test_an_equal_candidate_flips_nothing(serving: Line):
    """Every answer is the same, and none of it is logged."""
    serving.deploy("second", activate=False)
    for seed in range(4):
        serving.ask(board(seed=seed))
    found = replayed(serving)
    assert (found.replayed, found.same, found.flipped, found.flips) == (4, 4, 0, [])
    assert found.took.candidate_p50 > 0
    assert found.took.active_p95 > 0
    assert len(serving.platform.db.predictions.page()[0]) == 4


def test_other_labels_are_listed_with_both_answers(candidate: Line):
    """With what it takes to see the picture and both answers side by side."""
    answer = candidate.ask()
    (flip,) = replayed(candidate).flips
    assert (flip.kind, flip.prediction_id) == ("labels", answer.prediction_id)
    assert [one.label for one in flip.before.detections] == ["spot"]
    assert [one.label for one in flip.after.detections] == ["blot"]
    assert flip.picture_url == f"/api/predictions/{answer.prediction_id}/image"
    assert (flip.image_width, flip.image_height) == (64, 64)


def test_the_candidates_own_threshold_holds_unless_the_caller_gave_one(serving: Line):
    """At a threshold that nothing reaches the candidate finds nothing."""
    serving.deploy("second", activate=False, options={"threshold": 0.95})
    serving.ask(dim(seed=1))
    asked = serving.ask(dim(seed=2), threshold=0.25)
    assert asked.detections[0].confidence < 0.95
    found = replayed(serving)
    assert found.by_kind == {"verdict": 1}
    assert found.flips[0].prediction_id != asked.prediction_id


def test_pictures_that_are_not_kept_are_counted(candidate: Line):
    """And damaged ones are none that were asked about."""
    for seed in range(3):
        candidate.ask(board(seed=seed))
    first, second, _ = sorted(candidate.platform.settings.uploads.glob("*/*.png"))
    first.unlink()
    second.write_bytes(b"damaged")
    found = replayed(candidate)
    assert (found.replayed, found.missing_pictures, found.skipped) == (1, 1, 1)


def test_only_the_span_and_the_newest_are_replayed(candidate: Line):
    """As many as asked for, newest first; failures and comparisons are no inputs."""
    answers = [candidate.ask(board(seed=seed)) for seed in range(5)]
    candidate.ask(version=2)
    found = replayed(candidate, limit=3)
    newest = [answer.prediction_id for answer in reversed(answers[2:])]
    assert [flip.prediction_id for flip in found.flips] == newest
    assert replayed(candidate, until=answers[0].timestamp - timedelta(minutes=1)).replayed == 0


def test_the_same_picture_is_asked_about_once(candidate: Line, monkeypatch: pytest.MonkeyPatch):
    """A line that sends the same picture all day is replayed in no time."""
    for _ in range(5):
        candidate.ask()
    asked: list[bytes] = []
    real = replay_run.decode
    monkeypatch.setattr(
        replay_run, "decode", lambda data, **given: asked.append(data) or real(data, **given)
    )
    assert replayed(candidate).replayed == 5
    assert len(asked) == 1


def test_all_flips_are_counted_and_some_kept(candidate: Line, monkeypatch: pytest.MonkeyPatch):
    """A result stays small."""
    monkeypatch.setattr(replay_run, "KEPT_FLIPS", 2)
    for seed in range(4):
        candidate.ask(board(seed=seed))
    found = replayed(candidate)
    assert (found.flipped, len(found.flips), found.by_kind) == (4, 2, {"labels": 4})


def test_rows_flip_and_move(line: Line, tmp_path: Path):
    """By their class; by their probability apart. A row that does not fit is counted."""
    platform = line.platform
    line.deploy(heart(tmp_path / "a.onnx"), model="heart")
    line.deploy(heart(tmp_path / "b.onnx", variant=0.8), model="heart", activate=False)
    near = {**ROW, "thalach": 220}
    for given in (ROW, near, {**ROW, "age": 90}):
        platform.engine.answer_row_sync(given, model="heart")
    found = replayed(line, model="heart")
    assert found.replayed == 3
    assert found.flipped + found.moved >= 1
    for flip in found.flips:
        assert flip.kind == "class"
        assert flip.before.prediction != flip.after.prediction
        assert flip.features is not None
    for move in found.moves:
        assert abs(move.before.probability - move.after.probability) > 0.1


def test_a_candidate_that_fails_every_time_is_not_asked_for_ever(
    candidate: Line, monkeypatch: pytest.MonkeyPatch
):
    """Twenty failures in a row are enough; the result says so."""
    monkeypatch.setattr(replay_run, "_HOPELESS", 3)
    for seed in range(6):
        candidate.ask(board(seed=seed))
    slot = candidate.engine.fleet.hold("pcb", 2)
    slot.release()
    slot.model.close()
    found = replayed(candidate)
    assert (found.replayed, found.failed) == (3, 3)
    assert "3 times in a row" in found.stopped
    assert found.flips[0].after.error


def test_what_cannot_be_replayed_is_refused(candidate: Line):
    """The active version, one that is not there, a span that ends before it begins."""
    made = replays(candidate)
    with pytest.raises(Conflict, match="is active: these answers are its own"):
        made.ask("pcb", 1)
    with pytest.raises(NotFound):
        made.ask("pcb", 9)
    with pytest.raises(InvalidRequest, match="since must be before until"):
        made.ask("pcb", 2, since=now(), until=now() - timedelta(hours=1))
    with pytest.raises(InvalidRequest, match="limit must be from 1 to 10000"):
        made.ask("pcb", 2, limit=10_001)


@pytest.mark.parametrize("words", ["24h", "90m", "7d", "2026-01-31T12:00:00Z", "24H "])
def test_times_are_read_as_people_write_them(words: str):
    """Ago, or with a zone."""
    assert moment_of("since", words).tzinfo is not None


@pytest.mark.parametrize("words", ["yesterday", "24", "2026-01-31T12:00:00", "h", "-3h"])
def test_other_times_are_refused(words: str):
    """A time without a zone could be any."""
    with pytest.raises(InvalidRequest, match="since must be such as 24h"):
        moment_of("since", words)
    assert moment_of("since", "") is None


def test_the_starter_detector_is_replayed_on_generated_boards(line: Line, tmp_path: Path):
    """Itself in another file flips nothing; surer of itself it leaves defects out."""
    assert install_starter(line.platform.deployments) is not None
    starter = onnx.load_from_string(
        resources.files("andon.starter").joinpath("pcb.onnx").read_bytes()
    )
    for seed in range(2):
        out = io.BytesIO()
        Image.fromarray(generate_board(9_000_000 + seed, size=320).image).save(out, "PNG")
        assert line.ask(out.getvalue()).detections
    for name, options in (("again", {}), ("surer", {"threshold": 0.999})):
        starter.metadata_props.add(key=f"test.{name}", value="1")
        onnx.save(starter, tmp_path / f"{name}.onnx")
        line.deploy(tmp_path / f"{name}.onnx", activate=False, options=options)
    again, surer = replayed(line, 2), replayed(line, 3)
    assert (again.replayed, again.flipped) == (2, 0)
    assert surer.flipped == 2
    assert set(surer.by_kind) <= {"labels", "verdict"}


# -- As a job ------------------------------------------------------------------------------


@pytest.fixture
def queued(candidate: Line) -> Iterator[tuple[Line, Replays, JobQueue]]:
    """A queue that runs replays."""
    made = replays(candidate)
    platform = candidate.platform
    platform.jobs.stop()
    queue = JobQueue(
        platform.db,
        platform.settings,
        {KIND: made.run},
        alone=True,
        lanes={KIND: Lane(workers=1, attempts=3)},
    )
    queue.start()
    yield candidate, made, queue
    made.stop()
    queue.stop()


def ended(line: Line, job_id: str) -> Job:
    """The job, once it has ended."""
    until(lambda: line.platform.db.jobs.get(job_id).status in {"succeeded", "failed"}, 20)
    return line.platform.db.jobs.get(job_id)


def test_a_job_leaves_its_result(queued: tuple[Line, Replays, JobQueue]):
    """As JSON, readable as what it was."""
    line, made, queue = queued
    line.ask()
    job = ended(line, queue.enqueue(KIND, made.ask("pcb", 2)).id)
    assert job.status == "succeeded", job.error
    assert msgspec.convert(job.result, Replayed).by_kind == {"labels": 1}
    assert made.progress(job.id) is None


def test_a_candidate_that_never_loads_fails_once_with_the_reason(
    queued: tuple[Line, Replays, JobQueue],
):
    """Nothing that serves is touched."""
    line, made, queue = queued
    line.ask()
    payload = made.ask("pcb", 2)
    line.platform.registry.get_model_path(2, "pcb").write_bytes(b"not the model any more")
    job = ended(line, queue.enqueue(KIND, payload).id)
    assert (job.status, job.attempts) == ("failed", 1)
    assert "v2" in job.error
    assert line.ask(board(seed=9)).model_version == 1


def test_a_version_that_was_deleted_meanwhile_fails_once(queued: tuple[Line, Replays, JobQueue]):
    """It waited too long in the queue."""
    line, made, queue = queued
    payload = made.ask("pcb", 2)
    line.platform.deployments.delete("pcb", 2)
    job = ended(line, queue.enqueue(KIND, payload).id)
    assert (job.status, job.attempts) == ("failed", 1)


def test_a_restart_in_the_middle_runs_it_again(candidate: Line, monkeypatch: pytest.MonkeyPatch):
    """The first process stops half-way; the next one gives the whole result."""
    for seed in range(6):
        candidate.ask(board(seed=seed))
    first = replays(candidate)
    job = candidate.platform.db.jobs.add(KIND, first.ask("pcb", 2))
    give_way = Replays._give_way

    def until_two_are_done(self: Replays) -> None:
        done = self.progress(job.id)
        if done is not None and done[0] == 2:
            self.stop()
        give_way(self)

    monkeypatch.setattr(Replays, "_give_way", until_two_are_done)
    with pytest.raises(JobInterrupted):
        first.run(job)
    monkeypatch.undo()
    result = msgspec.convert(replays(candidate).run(job), Replayed)
    assert result.flipped == 6


def test_it_gives_way_to_live_pictures(candidate: Line, monkeypatch: pytest.MonkeyPatch):
    """While callers wait it waits, though not for ever."""
    monkeypatch.setattr(replaying, "_PATIENCE", 0.15)
    candidate.ask()
    waiting = iter([3, 2, 1, 0])
    monkeypatch.setattr(candidate.engine, "queue_size", lambda: next(waiting, 1))
    began = time.monotonic()
    assert replayed(candidate).replayed == 1
    assert next(waiting, None) is None
    assert time.monotonic() - began < 5


def test_in_a_terminal_it_is_a_job_that_is_done(candidate: Line):
    """So that the dashboard can show it; a server beside it never takes it."""
    candidate.ask()
    made = replays(candidate)
    told: list[tuple[int, int]] = []
    job = made.run_here(made.ask("pcb", 2), lambda done, total: told.append((done, total)))
    assert (job.status, job.kind, told) == ("succeeded", KIND, [(1, 1)])
    assert job.result["flipped"] == 1


def test_one_that_fails_in_a_terminal_says_so(candidate: Line):
    """In the job, too."""
    made = replays(candidate)
    payload = made.ask("pcb", 2)
    candidate.platform.registry.get_model_path(2, "pcb").unlink()
    with pytest.raises(AndonError):
        made.run_here(payload)
    (job,) = candidate.platform.db.jobs.page(kind=KIND)[0]
    assert job.status == "failed"
    assert job.error


def test_a_damaged_candidate_is_given_up(candidate: Line):
    """Trying again would not help."""
    made = replays(candidate)
    job = candidate.platform.db.jobs.add(KIND, made.ask("pcb", 2))
    candidate.platform.registry.get_model_path(2, "pcb").unlink()
    with pytest.raises(JobGivenUp):
        made.run(job)
