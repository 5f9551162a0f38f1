import os
import threading

import pytest
from tests.serving.boards import board, until
from tests.support import onnx_models

from andon.errors import Conflict, InvalidRequest, ModelDamaged, ModelRejected, NotFound


def test_a_new_version_is_proven_then_serves(serving):
    """It has a number, a description, a proof and an event, and answers."""
    deployed = serving.deploy("second", notes="better light")
    version = deployed.version
    assert (version.version, version.is_active, version.notes) == (2, True, "better light")
    assert version.description["name"] == "second"
    assert version.proof["latency_ms"] > 0
    assert version.proof["active_version"] == 1
    assert serving.ask().model_version == 2
    events, _ = serving.platform.db.events.page(model="pcb")
    assert (events[0].event_type, events[0].previous_version, events[0].actor) == (
        "ACTIVATE",
        1,
        "test",
    )


def test_its_log_lines_are_the_documented_ones(serving):
    """People follow a deployment by these sentences."""
    serving.deploy("new_model")
    wanted = [
        "Model registered: v2 (new_model.onnx)",
        "Model v2 activated",
        "Model v2 loaded successfully: new_model",
        "Model v2 deployment complete",
    ]
    said = [line for line in serving.log if any(line.startswith(one) for one in wanted)]
    assert [line.startswith(one) for line, one in zip(said, wanted, strict=True)] == [True] * 4


def test_a_model_without_a_name_is_called_after_its_file(serving, tmp_path):
    """And not after the place it was received at."""
    file = onnx_models.yolov8_spot(tmp_path / "nameless.onnx", labels=("spot",))
    assert serving.deploy(file).version.description["name"] == "nameless"
    assert any(line.startswith("Model v2 loaded successfully: nameless") for line in serving.log)


def test_a_file_that_is_no_model_changes_nothing(serving, tmp_path):
    """No version, no file left behind; the refusal is in the history."""
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"this is no model at all" * 100)
    with pytest.raises(ModelRejected):
        serving.deploy(broken)
    assert [one.version for one in serving.platform.db.models.list("pcb")] == [1]
    assert serving.ask().model_version == 1
    assert not list((serving.home / "models" / ".incoming").iterdir())
    events, _ = serving.platform.db.events.page(model="pcb")
    assert (events[0].event_type, events[0].model_version) == ("REJECTED", 0)
    assert "broken.onnx" in events[0].reason


def test_a_model_that_loads_but_cannot_answer_is_refused(serving, monkeypatch):
    """Proving runs it; a crash there is a refusal."""
    from andon.runtimes.onnx import OnnxModel

    def infer(self, picture, *, deadline):
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(OnnxModel, "infer", infer)
    with pytest.raises(ModelRejected, match="shape mismatch"):
        serving.deploy("second")
    monkeypatch.undo()
    assert serving.ask().model_version == 1
    assert len(serving.platform.db.models.list("pcb")) == 1


def test_the_same_file_again_is_the_same_version_activated(serving):
    """A duplicate makes no new version, but serves."""
    file = serving.file("first")
    serving.deploy("second")
    again = serving.deploy(file)
    assert (again.duplicate, again.version.version) == (True, 1)
    assert serving.ask().model_version == 1


def test_the_same_file_with_other_options_is_refused(serving):
    """Ignoring what a person asked for would be worse."""
    with pytest.raises(Conflict, match="other options"):
        serving.deploy("first", options={"threshold": 0.9})


def test_uploading_a_damaged_versions_file_again_mends_it(serving):
    """The bytes that are missing have just arrived."""
    serving.deploy("second")
    stored = serving.platform.registry.get_model_path(1)
    stored.write_bytes(b"rust")
    with pytest.raises(ModelDamaged):
        serving.platform.deployments.activate("pcb", 1)
    assert serving.ask().model_version == 2
    assert serving.deploy("first").duplicate
    assert serving.ask().model_version == 1
    assert serving.platform.db.models.get("pcb", 1).damaged == ""


def test_a_version_can_be_kept_without_serving(serving):
    """`activate=False` proves and keeps it only."""
    assert not serving.deploy("second", activate=False).version.is_active
    assert serving.ask().model_version == 1


@pytest.mark.parametrize(
    "options", [{"treshold": 0.5}, {"threshold": "high"}, {"resize": "diagonal"}]
)
def test_options_that_do_not_exist_are_refused(serving, options):
    """Nothing is guessed, and nothing is left behind."""
    with pytest.raises(InvalidRequest):
        serving.deploy("second", options=options)
    assert not list((serving.home / "models" / ".incoming").iterdir())


@pytest.mark.parametrize("model", ["../evil", "a/b", "x" * 80])
def test_a_model_name_is_never_a_path(serving, model):
    """Names that cannot be used are refused before anything else."""
    with pytest.raises(InvalidRequest):
        serving.deploy("second", model=model)


def test_rollback_goes_back_step_by_step(serving):
    """Each rollback undoes one activation; at the end there is nothing to go back to."""
    serving.deploy("second")
    serving.deploy("third")
    roll = serving.platform.deployments.rollback
    assert roll(None, "too many false alarms", "test").version == 2
    assert serving.ask().model_version == 2
    assert roll(None, "still", "test").version == 1
    with pytest.raises(Conflict):
        roll(None, "again", "test")
    events, _ = serving.platform.db.events.page(event_type="ROLLBACK")
    assert [event.reason for event in events] == ["still", "too many false alarms"]


def test_activating_what_serves_changes_nothing(serving):
    """No second event, no reload."""
    slot = serving.engine.slot()
    serving.platform.deployments.activate("pcb", 1)
    assert serving.engine.slot() is slot
    assert len(serving.platform.db.events.page(model="pcb")[0]) == 1


def test_a_damaged_version_cannot_be_activated(serving):
    """Its hash no longer matches; the active version goes on."""
    serving.deploy("second")
    serving.platform.registry.get_model_path(1).write_bytes(b"rust")
    with pytest.raises(ModelDamaged):
        serving.platform.deployments.activate("pcb", 1)
    assert serving.ask().model_version == 2
    assert serving.platform.db.models.get("pcb", 1).damaged
    assert any(line.startswith("Failed to load model v1") for line in serving.log)


def test_a_deleted_version_is_gone_and_the_active_one_cannot_be(serving):
    """Deleting needs another active version first."""
    serving.deploy("second")
    serving.ask(version=1)
    serving.platform.deployments.delete("pcb", 1, "test")
    with pytest.raises(NotFound):
        serving.ask(version=1)
    with pytest.raises(Conflict):
        serving.platform.deployments.delete("pcb", 2, "test")
    assert not (serving.home / "models" / "pcb" / "model_v1.onnx").exists()


def test_deployments_at_the_same_time_all_arrive(serving):
    """One after the other per model; the last one activated serves."""
    files = [serving.file(f"model-{number}") for number in range(4)]
    threads = [threading.Thread(target=serving.deploy, args=(file,)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    versions = serving.platform.db.models.list("pcb")
    assert sorted(one.version for one in versions) == [1, 2, 3, 4, 5]
    active = serving.platform.db.models.active("pcb")
    assert serving.ask().model_version == active.version


def test_what_another_process_activates_serves_soon(serving):
    """A command line beside the server changes what the server answers with."""
    beside = type(serving)(serving.home)
    beside.start(serve=False)
    beside.deploy(serving.file("second"))
    beside.stop()
    until(lambda: serving.ask().model_version == 2)
    assert serving.engine.states()["pcb"].loaded


def test_a_rollback_of_another_process_counts(serving):
    """Whoever scrapes the server sees what was rolled back at the terminal."""
    serving.deploy(serving.file("second"))
    beside = type(serving)(serving.home)
    beside.start(serve=False)
    beside.platform.rollback("pcb", "By hand", "test")
    beside.stop()
    until(lambda: serving.ask().model_version == 1)
    counted = serving.platform.collector.get_sample_value("pcb_model_rollbacks_total")
    assert counted == 1


def test_what_another_process_activates_and_cannot_be_loaded_is_told(serving):
    """The loaded version goes on, and the state says why."""
    serving.deploy("second", activate=False)
    stored = serving.platform.registry.get_model_path(2)
    good = stored.read_bytes()
    stored.write_bytes(b"rust")
    serving.platform.db.models.set_active("pcb", 2, reason="elsewhere", actor="other")
    until(lambda: serving.engine.states()["pcb"].problem)
    state = serving.engine.states()["pcb"]
    assert (state.version, state.serving, state.loaded) == (2, 1, False)
    assert "v1 goes on serving" in state.problem
    assert serving.ask().model_version == 1
    serving.platform.db.models.set_active("pcb", 1, reason="back", actor="other")
    until(lambda: serving.engine.states()["pcb"].loaded)
    assert serving.engine.states()["pcb"].problem == ""
    stored.write_bytes(good)
    serving.platform.db.models.mark_damaged(serving.platform.db.models.get("pcb", 2).id, "")
    serving.platform.deployments.activate("pcb", 2)
    assert serving.engine.states()["pcb"].loaded
    assert serving.engine.states()["pcb"].problem == ""


def test_a_full_disk_refuses_the_upload_and_changes_nothing(serving, monkeypatch):
    """What cannot be kept is not registered."""
    from andon.errors import StorageFull

    def full(descriptor, data):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("andon.registry.intake.os.write", full)
    with pytest.raises(StorageFull):
        serving.deploy("second")
    monkeypatch.undo()
    assert serving.ask(board(seed=1)).model_version == 1
    assert serving.deploy("second").version.version == 2
