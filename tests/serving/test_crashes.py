"""`kill -9` at every step: nothing acknowledged is lost, and the next start mends the rest."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.serving.boards import board, until

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def die(home: Path, action: str, when: str, where: str, argument: object) -> str:
    """Run `crashing` until it kills itself; what it printed."""
    command = [sys.executable, "-m", "tests.serving.crashing"]
    done = subprocess.run(
        [*command, str(home), action, when, where, str(argument)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout


INTAKE = "andon.registry.intake:Incoming."
VERSIONS = "andon.store.model_versions:ModelVersions."


@pytest.mark.parametrize(
    ("when", "where", "serves"),
    [
        ("after", INTAKE + "write", 1),
        ("before", INTAKE + "finish", 1),
        ("after", INTAKE + "finish", 1),
        ("before", "andon.serving.proving:load", 1),
        ("after", "andon.serving.proving:prove", 1),
        ("before", "andon.store.model_files:ModelFiles.place", 1),
        ("after", "andon.store.model_files:ModelFiles.place", 1),
        ("after", VERSIONS + "add", 1),
        ("before", VERSIONS + "set_active", 1),
        ("after", VERSIONS + "set_active", 2),
        ("before", "andon.serving.fleet:Fleet.swap", 2),
        ("after", "andon.serving.fleet:Fleet.swap", 2),
    ],
)
def test_killed_while_deploying(serving, when, where, serves):
    """The old or the new version serves, nothing lies about, and deploying again works."""
    file = serving.file("second")
    serving.stop()
    die(serving.home, "deploy", when, where, file)
    serving.start()
    assert serving.ask(board(seed=1)).model_version == serves
    assert serving.engine.states()["pcb"].loaded
    incoming = serving.home / "models" / ".incoming"
    assert not incoming.exists() or not list(incoming.iterdir())
    again = serving.deploy(file)
    assert again.version.is_active
    assert serving.ask(board(seed=2)).model_version == again.version.version == 2
    assert len(serving.platform.db.models.list("pcb")) == 2


@pytest.mark.parametrize(
    ("when", "where", "serves"),
    [
        ("after", "andon.serving.fleet:Fleet.load", 2),
        ("after", VERSIONS + "set_active", 1),
        ("after", "andon.serving.fleet:Fleet.swap", 1),
    ],
)
def test_killed_while_activating(serving, when, where, serves):
    """Exactly one version is active, before or after, and it serves."""
    serving.deploy("second")
    serving.stop()
    die(serving.home, "activate", when, where, 1)
    serving.start()
    assert serving.ask(board(seed=1)).model_version == serves
    active = [one.version for one in serving.platform.db.models.list("pcb") if one.is_active]
    assert active == [serves]


def test_killed_while_predicting(serving):
    """Every answer that was given is in the log, and none is there twice."""
    serving.stop()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.serving.predicting", str(serving.home)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        given = [process.stdout.readline().strip() for _ in range(40)]
        process.kill()
        given += [line.strip() for line in process.stdout if line.endswith("\n")]
    serving.start()
    assert len(given) >= 40
    for prediction_id in given:
        assert serving.platform.db.predictions.get(prediction_id).status == "success"
    logged = serving.platform.db.models.get("pcb", 1).total_inferences
    assert len(set(given)) <= logged <= len(given) + 6


RUN = "andon.serving.predict_jobs:PredictJobs.run"


@pytest.mark.parametrize(
    ("when", "where"),
    [
        ("before", "andon.serving.engine:InferenceEngine.answer_sync"),
        ("after", "andon.serving.engine:InferenceEngine.answer_sync"),
        ("before", "andon.store.jobs:Jobs.finish"),
        ("after", "andon.store.jobs:Jobs.finish"),
    ],
)
def test_killed_while_running_a_job(serving, when, where):
    """Every accepted job is done after a restart, its picture logged once."""
    serving.stop()
    accepted = die(serving.home, "jobs", when, where, 5).count("accepted")
    started = time.monotonic()
    serving.start()
    jobs = serving.platform.db.jobs

    def done() -> bool:
        return all(job.status == "succeeded" for job in jobs.page()[0])

    until(done)
    assert time.monotonic() - started < 8, "a restart waits for no lease"
    found = jobs.page()[0]
    assert len(found) >= accepted
    rows, _ = serving.platform.db.predictions.page(source="job", limit=100)
    assert sorted(row.id for row in rows) == sorted(job.result["prediction_id"] for job in found)
    assert serving.platform.db.models.get("pcb", 1).total_inferences == len(found)
