import json
import os
import threading
import time
from pathlib import Path

import msgspec
import pytest
from tests.serving.boards import until
from tests.store.conftest import migrated_schema, postgres_server, postgres_url, small_disk
from tests.support import trainings

from andon.errors import Conflict, InvalidRequest, RuntimeFailed
from andon.logs import logging_stop
from andon.platform import Platform
from andon.settings import Settings
from andon.store.training_runs import TrainingRun
from andon.training import catalog, messages
from andon.training.runs import Asked
from andon.training.watch import is_dead, worker_name

__all__ = ["migrated_schema", "postgres_server", "postgres_url", "small_disk"]

MODEL = "heart"


class Bench:
    """An installation whose trainings are fake, and what they leave."""

    def __init__(self, tmp_path: Path, **given) -> None:
        self.outcome = tmp_path / "outcome"
        settings = {"watch": False, "inference_threads": 1, **given}
        self.settings = Settings(home=tmp_path / "home", _env_file=None, **settings)
        self.platform = Platform(self.settings)
        self.platform.start(serve=False)
        self.db = self.platform.db
        self.trainings = self.platform.trainings
        self.prepare()

    def prepare(self, variant: float = 0.0, **given) -> None:
        """What the next training leaves: another variant is another model."""
        trainings.prepare(self.outcome, variant, **given)

    def run(self, how: str = "good", tell=None, **asked) -> TrainingRun:
        """A training from beginning to end."""
        return self.trainings.run(self.create(how, **asked), tell)

    def create(self, how: str = "good", model: str = MODEL, **asked) -> TrainingRun:
        """A run of this process."""
        self.trainings.command = self.command(how)
        return self.trainings.create(
            Asked(recipe="heart-disease", **asked), model=model, source="cli", worker=worker_name()
        )

    def command(self, how: str) -> list[str]:
        """The fake training."""
        return trainings.command(how, self.outcome)

    def versions(self) -> list[tuple[int, str, bool]]:
        """Number, status and whether it serves."""
        return [(v.version, v.status, v.is_active) for v in self.db.models.list(MODEL)]


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """An installation."""
    monkeypatch.setattr(catalog, "missing_packages", list)
    made = Bench(tmp_path)
    yield made
    made.platform.stop()
    logging_stop()


def test_a_first_model_that_passes_serves(bench):
    """Registered as trained, with report, log, and what to see for people."""
    told = []
    run = bench.run(tell=told.append, seed=7)
    assert (run.status, run.version, run.progress) == ("succeeded", 1, 1.0)
    assert run.stage == "Registered v1; it serves."
    assert bench.versions() == [(1, "production", True)]
    version = bench.db.models.get(MODEL, 1)
    assert (version.source, version.filename) == ("training", "heart.onnx")
    assert "F1 0.900" in version.notes
    assert run.report["chosen"] == "random-forest"
    assert messages.Say("Model Metrics:") in told
    folder = bench.trainings.folder(run.id)
    assert "seed 7" in (folder / "log.txt").read_text()
    assert bench.trainings.data_report(run.id).rows == 10


def test_the_next_one_waits_for_a_person(bench):
    """And says how to let it serve."""
    bench.run()
    bench.prepare(0.1)
    run = bench.run()
    assert run.stage == "Registered v2; it waits: andon models promote 2 -m heart"
    assert bench.versions() == [(2, "staging", False), (1, "production", True)]


@pytest.mark.parametrize(("promote", "asked"), [("auto", None), ("approve", True)])
def test_it_serves_at_once_where_that_is_wanted(bench, promote, asked):
    """By the recipe, or by a person."""
    bench.run()
    bench.prepare(0.1, promote=promote)
    bench.run(promote=asked)
    assert bench.versions()[0] == (2, "production", True)


def test_it_does_not_serve_where_that_is_not_wanted(bench):
    """Not even the first one."""
    bench.run(promote=False)
    assert bench.versions() == [(1, "staging", False)]


@pytest.mark.parametrize("promote", [None, True])
def test_a_model_that_fails_the_gate_never_serves(bench, promote):
    """It can be looked at; nobody's wish lets it serve."""
    bench.prepare(passed=False, promote="auto")
    run = bench.run(promote=promote)
    assert run.status == "succeeded"
    assert "did not pass the gate" in run.stage
    assert bench.versions() == [(1, "training", False)]
    assert run.report["gate"]["reasons"] == ["F1 is 0.6, below 0.75."]


def test_the_same_model_again_is_the_same_version(bench):
    """The run succeeds and names it."""
    bench.run()
    run = bench.run()
    assert (run.version, run.stage) == (1, "v1 was there already; it serves.")
    assert len(bench.versions()) == 1


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("crash", "out of luck"),
        ("kill", "killed it"),
        ("refuse", "The target has one class. Bring rows of both."),
        ("nothing", "without a report"),
        ("cut", "bytes instead of"),
        ("link", "no model file"),
        ("flood", "exit code 1"),
    ],
)
def test_a_training_that_fails_says_why_and_registers_nothing(bench, how, words):
    """And the next one can start at once."""
    run = bench.run(how)
    assert run.status == "failed"
    assert words in run.error
    assert bench.versions() == []
    assert bench.run().status == "succeeded"


def test_a_file_that_is_no_model_is_not_registered(bench):
    """The report does not make it one."""
    (bench.outcome / "model.onnx").write_bytes(b"x" * 1000)
    report = messages.read_report(bench.outcome / "report.json")
    report = msgspec.structs.replace(report, onnx_bytes=1000)
    (bench.outcome / "report.json").write_bytes(msgspec.json.encode(report))
    assert bench.run().status == "failed"
    assert bench.versions() == []
    assert list((bench.settings.models / ".incoming").glob("*.*")) == []


def test_too_much_memory_is_told(tmp_path, monkeypatch):
    """With the setting that allows more."""
    monkeypatch.setattr(catalog, "missing_packages", list)
    bench = Bench(tmp_path, training_memory_bytes=512 * 1024**2)
    run = bench.run("hog")
    bench.platform.stop()
    assert "ANDON_TRAINING_MEMORY_BYTES" in run.error


def test_too_much_time_is_told(tmp_path, monkeypatch):
    """With the setting that allows more; the process is gone."""
    monkeypatch.setattr(catalog, "missing_packages", list)
    bench = Bench(tmp_path, training_timeout=0.5)
    run = bench.run("hang")
    bench.platform.stop()
    assert run.status == "failed"
    assert "ANDON_TRAINING_TIMEOUT" in run.error


def in_thread(bench, run) -> threading.Thread:
    """Run it beside the test."""
    thread = threading.Thread(target=bench.trainings.run, args=(run,))
    thread.start()
    return thread


def test_it_can_be_cancelled(bench, monkeypatch):
    """By anybody who knows the database."""
    run = bench.create("hang")
    thread = in_thread(bench, run)
    until(lambda: "Hanging" in bench.db.training.get(run.id).stage, 15)
    bench.db.training.cancel(run.id)
    thread.join(15)
    found = bench.db.training.get(run.id)
    assert (found.status, found.version) == ("cancelled", None)
    assert bench.run().status == "succeeded"


def test_ctrl_c_cancels_it(bench):
    """The run is cancelled, and nothing of it runs on."""

    def interrupt(_message):
        raise KeyboardInterrupt

    run = bench.create("hang")
    with pytest.raises(KeyboardInterrupt):
        bench.trainings.run(run, interrupt)
    assert bench.db.training.get(run.id).status == "cancelled"


def test_whoever_lost_a_run_registers_nothing(bench):
    """Somebody else has taken it over."""
    run = bench.create("slow")
    bench.db.training.start(run.id, "somebody:else")
    bench.trainings.run(run)
    assert bench.versions() == []
    assert bench.db.training.get(run.id).worker == "somebody:else"


def test_an_attempt_that_only_was_not_registered_is_not_trained_again(bench, monkeypatch):
    """Killed between the end of the training and its registration: the work is not lost."""
    run = bench.create("good")
    with monkeypatch.context() as patch:
        patch.setattr(bench.trainings, "_register", lambda *_: None)
        bench.trainings.run(run)
    assert bench.versions() == []
    run = bench.db.training.start(run.id, worker_name())
    bench.trainings.command = bench.command("crash")
    assert bench.trainings.run(run).version == 1


def test_a_run_that_was_registered_and_not_ended_is_registered_once(bench, monkeypatch):
    """Killed between registration and the last word: the second time finds the version."""
    run = bench.create("good")
    with monkeypatch.context() as patch:
        patch.setattr(bench.db.training, "finish", lambda *_, **__: None)
        bench.trainings.run(run)
    assert len(bench.versions()) == 1
    run = bench.trainings.run(bench.db.training.start(run.id, worker_name()))
    assert (run.status, run.version) == ("succeeded", 1)
    assert len(bench.versions()) == 1


def test_what_an_attempt_left_half_done_is_cleared(bench):
    """Only the log goes on."""
    run = bench.create("good")
    folder = bench.trainings.folder(run.id)
    (folder / "parts").mkdir(parents=True)
    (folder / "parts" / "x").touch()
    (folder / "report.json").write_text("{")
    (folder / "log.txt").write_text("first attempt\n")
    assert bench.trainings.run(run).status == "succeeded"
    assert not (folder / "parts").exists()
    assert (folder / "log.txt").read_text().startswith("first attempt\n")


def test_two_at_once_are_one_training(bench):
    """The second is told which one is in the way."""
    first = bench.create("hang")
    with pytest.raises(Conflict) as refused:
        bench.create("good")
    assert refused.value.members["run_id"] == first.id
    assert bench.run(model="other").status == "succeeded"


def test_a_dead_run_is_in_nobodys_way(bench):
    """Its process is gone, so it is failed for the next one."""
    first = bench.create("hang")
    dead = first.worker.replace(first.worker.split(":")[2], "1")
    assert is_dead(dead)
    assert is_dead(first.worker) is False
    assert is_dead("elsewhere:1:1:x") is None
    bench.db.training.start(first.id, dead)
    assert bench.run("good").status == "succeeded"
    assert bench.db.training.get(first.id).status == "failed"


def test_the_request_is_private_and_forgets_secrets(tmp_path, monkeypatch):
    """Passwords are for the training alone, while it runs."""
    monkeypatch.setattr(catalog, "missing_packages", list)
    bench = Bench(tmp_path, mlflow_tracking_uri="http://u:secret@localhost:1")
    run = bench.create("slow", telemetry=True)
    thread = in_thread(bench, run)
    path = bench.trainings.folder(run.id) / "request.json"
    until(path.exists, 10)
    until(lambda: bool(path.read_bytes()), 10)
    assert path.stat().st_mode & 0o777 == 0o600
    assert "secret" in path.read_text()
    assert path.parent.stat().st_mode & 0o777 == 0o700
    thread.join(15)
    bench.platform.stop()
    kept = json.loads(path.read_text())
    assert (kept["mlflow_uri"], kept["database_url"]) == ("", "")
    assert kept["run_id"] == run.id


def test_the_version_that_serves_is_told_to_the_training(bench):
    """For the comparison on the same rows."""
    bench.run()
    run = bench.run()
    request = json.loads((bench.trainings.folder(run.id) / "request.json").read_text())
    assert request["active"]["version"] == 1
    assert Path(request["active"]["path"]).is_file()


def test_checking_makes_no_run(bench):
    """The data are read, and nothing stays."""
    bench.trainings.command = bench.command("good")
    report = bench.trainings.check(Asked(recipe="heart-disease"), model=MODEL)
    assert report.rows == 10
    assert bench.db.training.page()[0] == []
    assert list(bench.settings.training.iterdir()) == []
    bench.trainings.command = bench.command("refuse")
    with pytest.raises(InvalidRequest, match="one class"):
        bench.trainings.check(Asked(recipe="heart-disease"), model=MODEL)
    bench.trainings.command = bench.command("crash")
    with pytest.raises(RuntimeFailed, match="out of luck"):
        bench.trainings.check(Asked(recipe="heart-disease"), model=MODEL)


def test_without_the_extra_it_says_what_to_install(bench, monkeypatch):
    """In the error of the run, and before where somebody waits."""
    monkeypatch.setattr(catalog, "missing_packages", lambda: ["lightgbm", "optuna"])
    run = bench.run()
    assert run.status == "failed"
    assert "pip install 'andon[train]'" in run.error


def test_a_full_disk_is_told_and_nothing_is_registered(small_disk, tmp_path, monkeypatch):
    """Also the training's own disk may be full while it saves."""
    monkeypatch.setattr(catalog, "missing_packages", list)
    bench = Bench(tmp_path, training_dir=small_disk / "training")
    run = bench.run("full")
    assert run.status == "failed"
    assert "No space left" in run.error
    assert bench.versions() == []
    bench.platform.stop()


def test_a_disk_without_room_for_the_version_is_told(small_disk, tmp_path, monkeypatch):
    """The training is done; its files stay for another try."""
    monkeypatch.setattr(catalog, "missing_packages", list)
    bench = Bench(tmp_path, models_dir=small_disk / "models")
    ballast = small_disk / "ballast"
    with ballast.open("wb") as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(b"0" * 65536)
            file.flush()
    run = bench.run()
    assert run.status == "failed"
    assert bench.versions() == []
    ballast.unlink()
    assert bench.run().version == 1
    bench.platform.stop()


def test_old_folders_are_deleted(bench):
    """Never those of unfinished runs, nor of the newest that succeeded."""
    old = [bench.run(), bench.run()]
    bench.prepare(0.1)
    newest = bench.run()
    waiting = bench.create("hang")
    bench.trainings.folder(waiting.id).mkdir()
    (bench.settings.training / "notes").mkdir()
    (bench.settings.training / ".check-killed").mkdir()
    for folder in bench.settings.training.iterdir():
        ago = time.time() - 91 * 86400
        os.utime(folder, (ago, ago))
    assert bench.trainings.sweep() == 2
    assert not any(bench.trainings.folder(run.id).exists() for run in old)
    left = {path.name for path in bench.settings.training.iterdir()}
    assert left == {newest.id, waiting.id, "notes"}
    (bench.settings.training / ".check-running").mkdir()
    bench.trainings.sweep()
    assert (bench.settings.training / ".check-running").is_dir()
