"""A training in MLflow: what stands there, and that MLflow is never in the way."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from tests.support import trained

from andon.training.messages import Line, Say, Tracked, TrainRequest
from andon.training.tabular.recipe import Recipe
from andon.training.tabular.tracking import Tracker

pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")
# MLflow's libraries warn of one another's futures.
pytestmark = pytest.mark.filterwarnings("ignore")

RUN_ID = "0190a0a0-0000-7000-8000-000000000001"


RECIPE = Recipe(
    name="drowsiness",
    title="Drowsy drivers",
    target="drowsy",
    experiment="drowsiness_detection",
    run_names={"random-forest": "random_forest_baseline"},
)


def tracker(uri: str, *, timeout: float = 60.0, run_id: str = RUN_ID) -> tuple[Tracker, list[Line]]:
    """A tracker of a training, and all that it tells."""
    told: list[Line] = []
    request = TrainRequest(
        run_id=run_id,
        recipe="drowsiness",
        model="drowsiness",
        mlflow_uri=uri,
        mlflow_timeout=timeout,
    )
    return Tracker(request, RECIPE, told.append), told


def said(told: list[Line]) -> str:
    return " ".join(line.text for line in told if isinstance(line, Say))


class Kept(NamedTuple):
    """What a training left in a local store."""

    client: Any
    parent: Any
    nested: dict[str, Any]
    told: list[Line]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A local store."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture(scope="module")
def kept(uri: str, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A training that was mirrored while it ran."""
    tracking, told = tracker(uri)
    tracking.start(trained.CHECKED)
    report = trained.report()
    for candidate in report.candidates[:2]:
        tracking.candidate(candidate)
    tracking.finish(report, trained.model(tmp_path_factory.mktemp("run") / "model.onnx"))
    assert tracking.problem == ""

    from mlflow import MlflowClient

    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("drowsiness_detection")
    nested = f"tags.`mlflow.parentRunId` = '{tracking.tracking_id}'"
    return Kept(
        client,
        client.get_run(tracking.tracking_id),
        {run.info.run_name: run for run in client.search_runs([experiment.experiment_id], nested)},
        told,
    )


def test_a_training_is_a_finished_run_with_what_was_measured(kept: Kept) -> None:
    """Parameters, metrics, digest of the data, code version, gate."""
    run = kept.parent
    assert run.info.status == "FINISHED"
    assert run.data.params["seed"] == "42"
    assert run.data.params["n_estimators"] == "100"
    assert run.data.metrics["f1_score"] == 0.93
    assert run.data.metrics["f1_score_low"] == 0.88
    assert run.data.metrics["cv_f1_score_mean"] == 0.91
    tags = run.data.tags
    assert tags["andon.run_id"] == RUN_ID
    assert (tags["andon.synthetic"], tags["andon.gate"]) == ("yes", "passed")
    assert tags["andon.data_digest"] == trained.DIGEST
    assert tags["andon.code_version"]


def test_every_candidate_is_a_nested_run(kept: Kept) -> None:
    """Under the names of the replaced system, where it had one."""
    assert set(kept.nested) == {"random_forest_baseline", "baseline", "lightgbm"}
    forest = kept.nested["random_forest_baseline"]
    assert forest.data.params["max_depth"] == "10"
    assert forest.data.metrics["accuracy"] == 0.95
    assert forest.data.metrics["cv_f1_score_std"] == 0.02
    assert forest.data.tags["andon.chosen"] == "yes"
    assert kept.nested["lightgbm"].info.status == "FAILED"


def test_plots_report_and_data_set_are_with_the_run(kept: Kept) -> None:
    """What a person looks at, and the digest that says which data it was."""
    files = {file.path for file in kept.client.list_artifacts(kept.parent.info.run_id)}
    assert files >= {
        "confusion_matrix.png",
        "roc_curve.png",
        "precision_recall_curve.png",
        "calibration.png",
        "feature_importance.png",
        "report.html",
        "report.json",
    }
    (used,) = kept.parent.inputs.dataset_inputs
    assert trained.DIGEST.startswith(used.dataset.digest)


def test_the_model_is_logged_with_signature_and_example(kept: Kept, uri: str) -> None:
    """MLflow loads it and answers as ONNX Runtime does."""
    import mlflow

    mlflow.set_tracking_uri(uri)
    address = kept.parent.data.tags["andon.model_uri"]
    info = mlflow.models.get_model_info(address)
    assert info.signature.inputs.inputs[0].shape == (-1, 2)
    assert info.metadata == {"features": ["ear", "lit"]}
    loaded = mlflow.pyfunc.load_model(address)
    (example,) = loaded.input_example
    assert example.tolist() == pytest.approx([0.3, 1.0])
    assert loaded.predict(loaded.input_example)["probabilities"].shape == (1, 2)


def test_the_page_escapes_what_people_wrote(kept: Kept) -> None:
    """The report's title is text, not markup."""
    path = kept.client.download_artifacts(kept.parent.info.run_id, "report.html")
    assert "Drowsy drivers &lt;made up&gt;" in Path(path).read_text("utf-8")


def test_the_training_learns_the_id_of_its_run(kept: Kept) -> None:
    """It is told once, for the page of the training."""
    assert [line for line in kept.told if isinstance(line, Tracked)] == [
        Tracked(kept.parent.info.run_id)
    ]


def test_a_failed_training_is_a_failed_run(kept: Kept, uri: str) -> None:
    """With the reason."""
    tracking, _ = tracker(uri, run_id="failed")
    tracking.start(trained.CHECKED)
    tracking.fail("No candidate could be fitted.")
    run = kept.client.get_run(tracking.tracking_id)
    assert run.info.status == "FAILED"
    assert run.data.tags["andon.error"] == "No candidate could be fitted."


@pytest.mark.slow
def test_a_killed_training_is_a_killed_run(kept: Kept, uri: str) -> None:
    """`kill -9` of the training and its process group leaves no run that seems to go on."""
    code = """
        import sys, time
        from andon.training.messages import DataReport, Tracked, TrainRequest
        from andon.training.tabular.tracking import Tracker
        from tests.support import trained
        from tests.training.tabular.test_tracking import RECIPE

        asked = TrainRequest(
            run_id="killed", recipe="r", model="drowsiness", mlflow_uri=sys.argv[1]
        )
        tracking = Tracker(asked, RECIPE, lambda line: None)
        tracking.start(trained.CHECKED)
        while not tracking.tracking_id:
            tracking.candidate(trained.candidates()[1])
            time.sleep(0.2)
        print(tracking.tracking_id, flush=True)
        time.sleep(60)
    """
    training = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), uri],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
        start_new_session=True,
    )
    assert training.stdout is not None
    run_id = training.stdout.readline().strip()
    os.killpg(training.pid, signal.SIGKILL)
    training.communicate()
    deadline = time.monotonic() + 20
    while (status := kept.client.get_run(run_id).info.status) == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert status == "KILLED"


# -- Bad days ---------------------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://user:s3cret-word@127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def refusing() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def test_a_server_that_never_answers_delays_nothing_beyond_the_limit(
    silent: str, tmp_path: Path
) -> None:
    """Neither the start nor a candidate waits; the end waits as long as was set."""
    tracking, told = tracker(silent, timeout=1.0)
    began = time.monotonic()
    tracking.start(trained.CHECKED)
    for candidate in trained.candidates():
        tracking.candidate(candidate)
    assert time.monotonic() - began < 1.0
    tracking.finish(trained.report(), tmp_path / "model.onnx")
    assert time.monotonic() - began < 3.0
    assert "not done within 1 seconds" in tracking.problem
    assert "andon mlflow sync" in said(told)
    assert "s3cret-word" not in said(told)


def test_a_server_that_refuses_is_given_up_once(refusing: str, tmp_path: Path) -> None:
    """One sentence, and the training goes on."""
    tracking, told = tracker(refusing)
    tracking.start(trained.CHECKED)
    for candidate in trained.candidates():
        tracking.candidate(candidate)
    tracking.finish(trained.report(), tmp_path / "model.onnx")
    assert said(told).count("The training goes on without it.") == 1
    assert tracking.problem.startswith("MLflow: ")


def test_a_large_report_does_not_wait_for_a_reader(silent: str, tmp_path: Path) -> None:
    """More than a pipe holds, to a process that reads nothing yet."""
    tracking, _ = tracker(silent, timeout=0.5)
    tracking.start(trained.CHECKED)
    large = msgspec.structs.replace(trained.candidates()[0], parameters={"x": "y" * 500_000})
    began = time.monotonic()
    tracking.candidate(large)
    assert time.monotonic() - began < 0.4
    tracking.finish(trained.report(), tmp_path / "model.onnx")
    assert tracking.problem


def test_without_mlflow_nothing_happens_and_it_is_said_once() -> None:
    """No process, no file, one line in the log."""
    tracking, told = tracker("")
    tracking.start(trained.CHECKED)
    tracking.candidate(trained.candidates()[0])
    tracking.finish(trained.report(), Path("model.onnx"))
    assert said(told) == "MLflow is off: this training is not mirrored."
    assert tracking.problem == ""


def test_an_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server is set, the library is not there."""
    monkeypatch.setattr("andon.training.tabular.tracking.find_spec", lambda name: None)
    tracking, told = tracker("http://127.0.0.1:5000")
    tracking.start(trained.CHECKED)
    tracking.finish(trained.report(), Path("model.onnx"))
    assert "pip install 'andon[mlflow]'" in said(told)
