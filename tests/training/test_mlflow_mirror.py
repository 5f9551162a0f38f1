"""Andon's registry, trainings and telemetry in a real local store of MLflow."""

import io
import socket
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.store.builders import add_version
from tests.support import trained

from andon import Database
from andon.errors import ConfigurationError, Unavailable
from andon.settings import Settings
from andon.store.clock import micros, now
from andon.store.drowsiness_records import DrowsinessRow
from andon.store.ids import uuid7
from andon.store.records import ModelVersion
from andon.training import mlflow_child, mlflow_mirror
from andon.training.messages import TrainRequest
from andon.training.mlflow_mirror import KIND, Mirror, MirrorJobs, MirrorWatch, telemetry_later
from andon.training.mlflow_names import of_recipe
from andon.training.mlflow_tasks import Answer, Look, Send, Store, names, surroundings

pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")
# MLflow's libraries warn of one another's futures.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True, scope="module")
def a_quiet_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """MLflow in this process keeps to itself, as it does in a process of its own."""
    patch = pytest.MonkeyPatch()
    for name, value in surroundings(Store("")).items():
        patch.setenv(name, value)
    yield
    patch.undo()


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks are done here: importing MLflow in yet another process takes seconds."""

    def ask(task: Send | Look) -> dict[str, Any]:
        answers: list[Answer] = []
        mlflow_child.do(task, io.BytesIO(), answers.append)
        return answers[-1].result

    monkeypatch.setattr(mlflow_mirror, "ask", ask)


class House:
    """A home with trainings, and its store of MLflow."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(
            home=home,
            mlflow_tracking_uri=f"sqlite:///{home / 'mlflow.db'}",
            mlflow_timeout=60,
            _env_file=None,
        )
        home.mkdir(parents=True, exist_ok=True)
        self.db = Database(home / "andon.db")
        self.mirror = Mirror(self.settings, self.db)

    def client(self) -> Any:
        """MLflow's own, to look with."""
        from mlflow import MlflowClient

        uri = self.settings.mlflow_tracking_uri.get_secret_value()
        return MlflowClient(uri, uri)

    def train(self, model: str, *, seed: int) -> ModelVersion:
        """A training that has ended, and its version."""
        run_id = uuid7()
        folder = trained.folder(self.settings.training / run_id, seed=seed, name=model)
        request = TrainRequest(
            run_id=run_id, recipe=model, model=model, recipes=str(self.settings.recipes)
        )
        (folder / "request.json").write_bytes(msgspec.json.encode(request))
        content = folder / "model.onnx"
        version = self.add(model, content, source="training")
        self.db.training.create(
            model=model, recipe=model, options={}, source="cli", run_id=run_id, worker="w"
        )
        self.db.training.finish(run_id, "w", report={}, version_id=version.id, stage="Done.")
        return version

    def add(self, model: str, content: Path, *, source: str) -> ModelVersion:
        """A version with this file."""
        import hashlib

        def place(number: int) -> None:
            target = self.settings.models / model / f"model_v{number}.onnx"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.read_bytes())

        sha256 = hashlib.sha256(content.read_bytes()).hexdigest()
        return add_version(self.db, model, source=source, file_hash=sha256, place=place)

    def enqueue(self, kind: str, payload: dict[str, Any]) -> Any:
        """As the queue of a server does."""
        return self.db.jobs.add(kind, payload)

    def runs(self, experiment: str, role: str) -> list[Any]:
        """The runs of an experiment."""
        client = self.client()
        found = client.get_experiment_by_name(experiment)
        return list(client.search_runs([found.experiment_id], f"tags.`andon.role` = '{role}'"))

    def aliases(self, name: str) -> dict[str, str]:
        """Andon's version by alias."""
        client = self.client()
        numbers = client.get_registered_model(name).aliases
        return {
            alias: client.get_model_version(name, number).tags["andon.version"]
            for alias, number in numbers.items()
        }


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One for all tests of this file: making a store of MLflow takes seconds."""
    made = House(tmp_path_factory.mktemp("house") / "home")
    yield made
    made.db.close()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[House]:
    """A house whose MLflow is never really reached."""
    made = House(tmp_path / "home")
    yield made
    made.db.close()


# -- Registry ---------------------------------------------------------------------------


def test_versions_and_aliases_follow_the_registry(house: House, in_this_process: None) -> None:
    """Activated, archived, rolled back: what Andon says now stands in MLflow, each time."""
    house.train("drowsiness", seed=1)
    house.train("drowsiness", seed=2)
    house.db.models.set_active("drowsiness", 1)
    jobs = MirrorJobs(house.settings, house.db)
    watch = MirrorWatch(house.enqueue, house.db, house.settings)
    job = watch.look()
    assert job is not None
    done = jobs.run(job)
    assert done["models"]["drowsiness"]["added"] == [1, 2]
    assert house.aliases("drowsiness_detector") == {"production": "1", "staging": "2"}

    assert watch.look() is None, "nothing has moved"
    house.db.models.set_active("drowsiness", 2)
    job = watch.look()
    assert job is not None
    assert jobs.run(job)["models"]["drowsiness"]["added"] == []
    assert house.aliases("drowsiness_detector") == {"production": "2"}

    house.db.models.set_active("drowsiness", 1, event_type="ROLLBACK")
    job = watch.look()
    assert job is not None
    jobs.run(job)
    assert house.aliases("drowsiness_detector") == {"production": "1"}


def test_the_versions_belong_to_the_runs_of_their_trainings(house: House) -> None:
    """Trainings that MLflow had missed were sent on the way, candidates and all."""
    runs = house.runs("drowsiness_detection", "training")
    assert {run.info.status for run in runs} == {"FINISHED"}
    client = house.client()
    versions = client.search_model_versions("name = 'drowsiness_detector'")
    assert {one.run_id for one in versions} == {run.info.run_id for run in runs}
    names = {run.info.run_name for run in house.runs("drowsiness_detection", "candidate")}
    assert "random_forest_baseline" in names


def test_a_trained_version_is_loaded_by_its_alias(house: House) -> None:
    """What the replaced system planned: load what production serves."""
    import mlflow
    import numpy as np

    mlflow.set_tracking_uri(house.settings.mlflow_tracking_uri.get_secret_value())
    loaded = mlflow.pyfunc.load_model("models:/drowsiness_detector@production")
    answer = loaded.predict(np.array([[0.3, 1.0]], np.float32))["probabilities"]
    assert answer.sum() == pytest.approx(1.0)


def test_sync_sends_a_training_once(house: House, in_this_process: None) -> None:
    """The second time everything is there."""
    version = house.train("heart", seed=3)
    sent = house.mirror.send(telemetry=False)
    assert len(sent["trainings"]) == 1
    assert sent["models"]["heart"]["aliases"] == {"staging": version.version}
    again = house.mirror.send(telemetry=False)
    assert again["trainings"] == []
    assert again["models"]["heart"]["added"] == []
    assert len(house.runs("heart", "training")) == 1


def test_half_a_training_is_written_again(house: House, in_this_process: None) -> None:
    """A run that was cut off is replaced, with those nested in it."""
    client = house.client()
    (run,) = house.runs("heart", "training")
    client.delete_tag(run.info.run_id, "andon.complete")
    before = len(house.runs("heart", "candidate"))
    assert len(house.mirror.send(models=False, telemetry=False)["trainings"]) == 1
    (new,) = house.runs("heart", "training")
    assert new.info.run_id != run.info.run_id
    assert len(house.runs("heart", "candidate")) == before


def test_a_version_without_its_training_is_sent_alone(house: House, tmp_path: Path) -> None:
    """The folder of the training is gone, or the file came from somewhere else."""
    house.add("heart", trained.model(tmp_path / "own.onnx", seed=9), source="upload")
    assert house.mirror.send(telemetry=False)["models"]["heart"]["added"] == [2]
    assert [run.info.run_name for run in house.runs("heart", "version")] == ["heart_v2"]
    assert house.aliases("heart") == {"staging": "2"}


def test_a_damaged_folder_stops_no_other(house: House, in_this_process: None) -> None:
    """It is named; the rest is sent."""
    run_id = uuid7()
    folder = trained.folder(house.settings.training / run_id, seed=4)
    (folder / "report.json").write_bytes(b"{")
    version = house.db.models.get("heart", 1)
    house.db.training.create(
        model="heart", recipe="heart", options={}, source="cli", run_id=run_id, worker="w"
    )
    house.db.training.finish(run_id, "w", report={}, version_id=version.id, stage="Done.")
    sent = house.mirror.send(models=False, telemetry=False)
    assert [text.partition(":")[0] for text in sent["unusable"]] == [run_id]
    (folder / "report.json").unlink()


def test_what_is_there_can_be_looked_at(house: House, in_this_process: None) -> None:
    """For `andon mlflow status`."""
    there = mlflow_mirror.look(house.settings)
    assert there["experiments"]["drowsiness_detection"] == 2
    assert there["models"]["drowsiness_detector"]["aliases"] == {"production": "1"}


def test_a_recipe_of_the_user_names_its_things_itself(house: House, in_this_process: None) -> None:
    """Its experiment and its registered model; the page is asked when the training is sent."""
    house.settings.recipes.mkdir()
    page = "title: Weld\ntarget: bad\nexperiment: welding\nmlflow_model: weld-net\n"
    (house.settings.recipes / "weld.yaml").write_text(page, encoding="utf-8")
    house.train("weld", seed=5)
    house.mirror.send(telemetry=False)
    assert len(house.runs("welding", "training")) == 1
    assert house.aliases("weld-net") == {"staging": "1"}


def test_the_built_in_names_are_those_of_the_recipe() -> None:
    """They stand twice: opening a recipe needs the libraries for training."""
    drowsiness = pytest.importorskip("andon.training.tabular.drowsiness")
    assert of_recipe(drowsiness.RECIPE, "drowsiness") == names("drowsiness")
    assert of_recipe(drowsiness.RECIPE, "mine").registered == "mine"


# -- Telemetry --------------------------------------------------------------------------


def measured(house: House, moment: int, *, drowsy: bool, ear: float) -> None:
    """One measurement of the eyes."""
    row = DrowsinessRow(
        event_id=uuid7(),
        given=False,
        timestamp=moment,
        driver_id="",
        device_id="",
        site_id="main",
        ear_value=ear,
        is_drowsy=drowsy,
        duration_ms=120.0,
        source="http",
        received=moment,
    )
    with house.db.write() as connection:
        house.db.telemetry.ingest(connection, [row])


def test_a_day_of_telemetry_is_one_run_and_is_replaced_when_it_changes(
    house: House, in_this_process: None
) -> None:
    """Sent twice it stays; a device that was late makes it anew; today is not over."""
    today = now().replace(hour=0, minute=0, second=0, microsecond=0)
    yesterday = today - timedelta(days=1)
    minute = micros(yesterday) + 61 * 60_000_000
    measured(house, minute, drowsy=True, ear=0.1)
    measured(house, minute + 1_000_000, drowsy=False, ear=0.3)
    measured(house, micros(today), drowsy=False, ear=0.3)
    jobs = MirrorJobs(house.settings, house.db)
    job = telemetry_later(house.enqueue, house.db, house.settings)
    assert job is not None

    day = f"{yesterday:%Y-%m-%d}"
    assert jobs.run(job)["days"] == [day]
    assert jobs.run(job)["days"] == []
    (run,) = house.runs("drowsiness_detection", "telemetry")
    assert run.info.run_name == f"telemetry-{day}"
    assert run.data.params["timestamp"] == f"{day}T00:00:00Z"
    assert run.data.metrics["drowsiness_rate"] == 50
    (point,) = house.client().get_metric_history(run.info.run_id, "average_ear")
    assert (point.step, point.value) == (61, pytest.approx(0.2))
    assert point.timestamp == minute // 1000

    measured(house, minute + 120_000_000, drowsy=False, ear=0.3)
    assert jobs.run(job)["days"] == [day]
    (run,) = house.runs("drowsiness_detection", "telemetry")
    steps = {one.step for one in house.client().get_metric_history(run.info.run_id, "events")}
    assert steps == {61, 63}


# -- Off, down, slow --------------------------------------------------------------------


def settings(home: Path, uri: str, **given: Any) -> Settings:
    return Settings(home=home, mlflow_tracking_uri=uri, _env_file=None, **given)


def test_a_server_that_hangs_is_given_up(
    elsewhere: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that talks to it is ended; the error names the place without its password."""
    monkeypatch.setattr(mlflow_mirror, "START_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        uri = f"http://me:s3cret-word@127.0.0.1:{server.getsockname()[1]}"
        given = settings(tmp_path / "home", uri, mlflow_timeout=0.2)
        with pytest.raises(Unavailable, match="not done within") as raised:
            mlflow_mirror.look(given)
    assert "s3cret-word" not in str(raised.value)
    assert "***@127.0.0.1" in str(raised.value)


def test_what_mlflow_refuses_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow retries nothing: the queue does."""
    code = """print('{"error":"401 for http://me:s3cret-word@there"}')"""
    monkeypatch.setattr(mlflow_mirror, "COMMAND", [sys.executable, "-c", code])
    with pytest.raises(Unavailable, match="could not be used: 401"):
        mlflow_mirror.look(settings(tmp_path, "http://127.0.0.1:5000"))


def test_a_process_that_dies_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed for its memory, say: nothing was answered."""
    command = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    monkeypatch.setattr(mlflow_mirror, "COMMAND", command)
    with pytest.raises(Unavailable, match="ended with code -9"):
        mlflow_mirror.look(settings(tmp_path, "http://127.0.0.1:5000"))


def test_off_means_that_nothing_is_queued_or_sent(tmp_path: Path, elsewhere: House) -> None:
    """The word `off` stands for no store at all, also where MLflow is installed."""
    off = settings(tmp_path, "off")
    assert mlflow_mirror.uri(off) == ""
    assert mlflow_mirror.store(off) is None
    elsewhere.train("heart", seed=1)
    assert MirrorWatch(elsewhere.enqueue, elsewhere.db, off).look() is None
    assert telemetry_later(elsewhere.enqueue, elsewhere.db, off) is None
    job = elsewhere.enqueue(KIND, {"task": "models"})
    assert "off" in MirrorJobs(off, elsewhere.db).run(job)
    with pytest.raises(ConfigurationError, match="is off"):
        mlflow_mirror.look(off)


def test_without_the_extra_the_command_to_install_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server is set and the library is missing: the training is told, nothing else happens."""
    monkeypatch.setattr(mlflow_mirror, "find_spec", lambda name: None)
    assert mlflow_mirror.uri(settings(tmp_path, "")) == ""
    given = settings(tmp_path, "http://127.0.0.1:5000")
    assert mlflow_mirror.uri(given) == "http://127.0.0.1:5000"
    assert mlflow_mirror.store(given) is None
    assert "pip install" in mlflow_mirror.why_off(given)


def test_the_local_store_is_in_the_home(tmp_path: Path) -> None:
    """Where no address is set and MLflow is installed."""
    found = mlflow_mirror.store(settings(tmp_path, ""))
    assert found is not None
    assert found.uri == f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    assert found.artifacts == f"{tmp_path}/mlflow/artifacts"


def test_a_registry_without_trained_models_asks_for_nothing(elsewhere: House) -> None:
    """A box with detectors alone never starts MLflow."""
    add_version(elsewhere.db, "pcb")
    assert MirrorWatch(elsewhere.enqueue, elsewhere.db, elsewhere.settings).look() is None
    nothing = {"trainings": [], "unusable": [], "models": {}, "days": []}
    assert elsewhere.mirror.send() == nothing


def test_a_change_made_while_no_server_ran_is_noticed_at_the_next_start(elsewhere: House) -> None:
    """What was queued for is in the jobs, not in the memory of a process."""
    elsewhere.train("heart", seed=1)
    first = MirrorWatch(elsewhere.enqueue, elsewhere.db, elsewhere.settings).look()
    assert first is not None
    restarted = MirrorWatch(elsewhere.enqueue, elsewhere.db, elsewhere.settings)
    assert restarted.look() is None
    elsewhere.db.models.set_active("heart", 1)
    later = MirrorWatch(elsewhere.enqueue, elsewhere.db, elsewhere.settings).look()
    assert later is not None
    assert later.payload["state"] != first.payload["state"]


def test_a_job_that_failed_for_good_is_queued_again_later(
    elsewhere: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow was down for hours: minutes after the last try comes the next."""
    elsewhere.train("heart", seed=1)
    watch = MirrorWatch(elsewhere.enqueue, elsewhere.db, elsewhere.settings)
    job = watch.look()
    assert job is not None
    assert elsewhere.db.jobs.claim("worker", 60) is not None
    elsewhere.db.jobs.fail(job.id, "worker", 1, "MLflow is down.", None)
    restarted = MirrorWatch(elsewhere.enqueue, elsewhere.db, elsewhere.settings)
    assert restarted.look() is None
    monkeypatch.setattr(mlflow_mirror, "_TRY_AGAIN", timedelta(0))
    assert restarted.look() is not None


def test_one_sender_at_a_time(elsewhere: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one waits, and gives up in the end."""
    path = elsewhere.settings.home / "mlflow.lock"
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with mlflow_mirror._alone(path, 1):
            held.set()
            free.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    with pytest.raises(Unavailable, match="Another process"), mlflow_mirror._alone(path, 0.3):
        pass
    free.set()
    holder.join()
    with mlflow_mirror._alone(path, 1):
        pass
