"""A real training, with MLflow beside it, is killed at every stage or runs out of disk."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.store.conftest import small_disk

from andon.logs import logging_stop
from andon.platform import Platform
from andon.settings import Settings
from andon.store.training_runs import TrainingRun
from andon.training import messages
from andon.training.mlflow_mirror import Mirror
from andon.training.runs import Asked
from andon.training.watch import worker_name

for library in ("mlflow", "sklearn", "polars"):
    pytest.importorskip(library, reason="the extras `train` and `mlflow` are not installed")
# MLflow's libraries warn of one another's futures.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

__all__ = ["small_disk"]

MODEL = "spots"
PAGE = """
title: Spots
target: bad
candidates: [logistic-regression]
folds: 2
repeats: 1
gate: {minimum: 0.5}
"""


class Plant:
    """An installation with a quick recipe of its own, and a local store of MLflow."""

    def __init__(self, home: Path, **given: Any) -> None:
        self.uri = f"sqlite:///{home / 'mlflow' / 'mlflow.db'}"
        told = {"mlflow_tracking_uri": self.uri, "mlflow_timeout": 60, **given}
        self.settings = Settings(home=home, _env_file=None, **told)
        self.platform = Platform(self.settings)
        self.platform.start(serve=False)
        self.db = self.platform.db
        self.settings.recipes.mkdir(parents=True, exist_ok=True)
        (self.settings.recipes / f"{MODEL}.yaml").write_text(
            f"{PAGE}data: [{home / 'spots.csv'}]\n", encoding="utf-8"
        )
        generator = np.random.default_rng(0)
        size, light = generator.normal(size=160), generator.normal(size=160)
        bad = (size + 0.5 * light + generator.normal(scale=0.3, size=160) > 0).astype(int)
        rows = "\n".join(f"{a:.4f},{b:.4f},{c}" for a, b, c in zip(size, light, bad, strict=True))
        (home / "spots.csv").write_text(f"size,light,bad\n{rows}\n", encoding="utf-8")

    def train(self, tell: Callable[[messages.Line], None] = lambda line: None) -> TrainingRun:
        """One training, to whatever end."""
        run = self.platform.trainings.create(
            Asked(recipe=MODEL), model=MODEL, source="cli", worker=worker_name()
        )
        return self.platform.trainings.run(run, tell)

    def tracked(self) -> dict[str, str]:
        """What MLflow says became of each training that it heard of."""
        from mlflow import MlflowClient

        client = MlflowClient(self.uri, self.uri)
        experiment = client.get_experiment_by_name(MODEL)
        found = client.search_runs([experiment.experiment_id], "tags.`andon.role` = 'training'")
        return {run.data.tags["andon.run_id"]: run.info.status for run in found}


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """One for all tests: they leave nothing behind but runs."""
    made = Plant(tmp_path_factory.mktemp("plant") / "home")
    yield made
    made.platform.stop()
    logging_stop()


def kill_the_trainer() -> None:
    """As the kernel does when memory runs out."""
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"andon.training.tabular.child" in words:
                os.kill(int(pid), signal.SIGKILL)


@pytest.mark.parametrize(
    "stage", ["Reading", "Cross-validating", "Measuring", "Writing", "Mirroring"]
)
def test_a_trainer_that_is_killed_leaves_no_half_registered_version(
    stage: str, plant: Plant
) -> None:
    """At whatever stage: the run has failed and says so."""
    seen = []

    def tell(line: messages.Line) -> None:
        if isinstance(line, messages.Stage) and line.stage.startswith(stage) and not seen:
            seen.append(line.stage)
            kill_the_trainer()

    run = plant.train(tell)
    assert seen, "the stage came"
    assert run.status == "failed"
    assert "killed" in run.error
    assert plant.db.models.list(MODEL) == []


def test_the_next_training_is_registered_and_in_mlflow(plant: Plant) -> None:
    """Nothing of those before is in its way, and none of them seems to go on."""
    run = plant.train()
    assert run.status == "succeeded", run.error
    assert [(one.version, one.is_active) for one in plant.db.models.list(MODEL)] == [(1, True)]
    assert run.tracking_id, (plant.platform.trainings.folder(run.id) / "log.txt").read_text()
    deadline = time.monotonic() + 30
    while "RUNNING" in plant.tracked().values() and time.monotonic() < deadline:
        time.sleep(0.2)
    tracked = plant.tracked()
    assert tracked.pop(run.id) == "FINISHED"
    # The last one was killed when MLflow had been told everything.
    assert sorted(set(tracked.values())) in (["KILLED"], ["FINISHED", "KILLED"])
    (folder,) = Mirror(plant.settings, plant.db)._folders()
    assert folder.training.run_id == run.id


def test_a_disk_that_is_full_when_the_model_is_saved_is_told(
    small_disk: Path, tmp_path: Path
) -> None:
    """No version, no half of a file, and the sentence names what could not be written."""
    plant = Plant(
        tmp_path / "home", training_dir=small_disk / "training", mlflow_tracking_uri="off"
    )
    ballast = small_disk / "ballast"

    def tell(line: messages.Line) -> None:
        # Seconds before the model is written: the training does not wait for us.
        full = ballast.exists()
        if isinstance(line, messages.Stage) and line.stage.startswith("Loading") and not full:
            with ballast.open("wb", buffering=0) as file, pytest.raises(OSError):
                while True:
                    file.write(bytes(1 << 12))

    try:
        run = plant.train(tell)
        assert run.status == "failed"
        assert "model.onnx could not be written" in run.error
        left = {path.name for path in plant.platform.trainings.folder(run.id).iterdir()}
        assert not left & {"model.onnx", "report.json"}
        assert plant.db.models.list(MODEL) == []
    finally:
        plant.platform.stop()
        logging_stop()
