"""`kill -9` at every step: nothing acknowledged is lost, and the next start mends the rest."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.serving.boards import board, until
from tests.support.forks import Forks

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


_DIE = "import sys; from tests.serving.crashing import main; main(*sys.argv[1:])"


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Where the processes that die come from."""
    with closing(Forks(tmp_path_factory.mktemp("forks"), "tests.serving.crashing")) as made:
        yield made


@pytest.fixture
def die(forks: Forks) -> Callable[..., str]:
    """Runs `crashing` until it kills itself; what it printed."""

    def run(home: Path, action: str, when: str, where: str, argument: object) -> str:
        done = forks.run(_DIE, home, action, when, where, argument)
        assert done.returncode == -signal.SIGKILL, done.stderr
        return done.stdout

    return run


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
def test_killed_while_deploying(serving, die, when, where, serves):
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
def test_killed_while_activating(serving, die, when, where, serves):
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
def test_killed_while_running_a_job(serving, die, when, where):
    """Every accepted job is done after a restart, its picture logged once."""
    serving.stop()
    accepted = die(serving.home, "jobs", when, where, 5).count("accepted")
    serving.start()
    jobs = serving.platform.db.jobs

    def done() -> bool:
        return all(job.status == "succeeded" for job in jobs.page()[0])

    # A restart waits for no lease: `crashing` took one of ten minutes.
    until(done, 30)
    found = jobs.page()[0]
    assert len(found) >= accepted
    rows, _ = serving.platform.db.predictions.page(source="job", limit=100)
    assert sorted(row.id for row in rows) == sorted(job.result["prediction_id"] for job in found)
    assert serving.platform.db.models.get("pcb", 1).total_inferences == len(found)
