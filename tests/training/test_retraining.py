"""Who asks for a training and what becomes of it: by name, by model, by the calendar."""

import json
from datetime import UTC, datetime

import pytest
from tests.store.builders import add_version
from tests.support import trainings

from andon.errors import Conflict, NotFound
from andon.logs import logging_stop
from andon.platform import Platform
from andon.settings import Settings
from andon.store.jobs import JobGivenUp
from andon.training import catalog, watch
from andon.training.retraining import Retraining
from andon.training.runs import Asked
from andon.training.watch import worker_name

SUNDAY = datetime(2026, 11, 22, 2, tzinfo=UTC)
NEXT = datetime(2026, 11, 29, 2, tzinfo=UTC)


@pytest.fixture
def platform(tmp_path, monkeypatch):
    """An installation without a server."""
    monkeypatch.setattr(catalog, "missing_packages", list)
    made = Platform(Settings(home=tmp_path / "home", _env_file=None, watch=False))
    made.start(serve=False)
    trainings.prepare(tmp_path / "outcome")
    made.trainings.command = trainings.command("good", tmp_path / "outcome")
    yield made
    made.stop()
    logging_stop()


@pytest.fixture
def retraining(platform):
    """Its trainings as jobs."""
    return Retraining(platform.db, platform.trainings, platform.settings)


def in_terminal(platform, recipe, model="heart-disease", **given):
    """A training that somebody at this machine has asked for, and that succeeded."""
    run = platform.trainings.create(
        Asked(recipe=recipe, **given), model=model, source="cli", worker=worker_name()
    )
    assert platform.trainings.run(run).status == "succeeded"


def test_the_calendar_trains_what_was_trained_before(platform, retraining):
    """A box that never trained does not begin on a Sunday."""
    assert retraining.due(SUNDAY) == []
    add_version(platform.db, model="heart-disease", format="onnx")
    (run_id,) = retraining.due(SUNDAY)
    run = platform.db.training.get(run_id)
    assert (run.model, run.source) == ("heart-disease", "schedule")
    assert run.reason == "Due at 2026-11-22 02:00 UTC."


def test_the_same_due_time_trains_once(platform, retraining):
    """Of two servers, or after a crash, or a clock that was set back a day."""
    add_version(platform.db, model="heart-disease", format="onnx")
    (run_id,) = retraining.due(SUNDAY)
    assert retraining.due(SUNDAY) == []
    platform.db.training.cancel(run_id)
    assert retraining.due(SUNDAY) == []
    assert len(retraining.due(NEXT)) == 1


def test_the_calendar_leaves_a_training_alone(platform, retraining):
    """One that somebody has asked for is as good."""
    add_version(platform.db, model="heart-disease", format="onnx")
    retraining.ask(recipe="heart-disease", source="api")
    assert retraining.due(SUNDAY) == []


def test_without_the_extra_the_calendar_trains_nothing(platform, retraining, monkeypatch):
    """It is said in the log, and is no error every week."""
    add_version(platform.db, model="heart-disease", format="onnx")
    monkeypatch.setattr(catalog, "missing_packages", lambda: ["optuna"])
    assert retraining.due(SUNDAY) == []


def test_a_recipe_of_the_user_says_itself_whether_it_takes_part(platform, retraining):
    """In its file."""
    recipes = platform.settings.recipes
    recipes.mkdir()
    for name, wants in (("parts", "true"), ("other", "false")):
        (recipes / f"{name}.yaml").write_text(f"target: y\nretrain: {wants}\n")
        add_version(platform.db, model=name, format="onnx")
    assert [recipe.name for recipe in retraining.scheduled()] == ["parts"]


def test_a_model_from_a_file_is_trained_as_before(platform, retraining, tmp_path):
    """Whoever sits at the machine has named the file; a caller names the model."""
    asked = Asked(recipe=str(tmp_path / "parts.csv"), target="y")
    mine = worker_name()
    run = platform.trainings.create(asked, model="parts", source="cli", worker=mine)
    with pytest.raises(NotFound):
        retraining.ask(model="parts", source="api")
    version = add_version(platform.db, model="parts", format="onnx")
    platform.db.training.finish(run.id, mine, report={}, version_id=version.id, stage="")
    again = retraining.ask(model="parts", seed=9, source="api")
    assert again.options == {"recipe": asked.recipe, "target": "y", "seed": 9}
    with pytest.raises(NotFound):
        retraining.ask(recipe="parts", source="api")


def test_a_training_reads_what_the_newest_one_from_the_terminal_read(
    platform, retraining, tmp_path
):
    """Asked for by model, by recipe or by the calendar; seed and promotion are of that one time."""
    data = tmp_path / "hospitals"
    data.mkdir()
    given = {"data": (str(data),), "drop": ("age",), "tuning_trials": 3, "candidates": ("xgboost",)}
    in_terminal(platform, "heart-disease", seed=9, promote=False, **given)
    expected = {
        "recipe": "heart-disease",
        "data": [str(data)],
        "drop": ["age"],
        "tuning_trials": 3,
        "candidates": ["xgboost"],
    }
    for asked in ({"model": "heart-disease"}, {"recipe": "heart-disease"}, {}):
        run = retraining.ask(source="api", **asked)
        assert run.options == expected
        job = platform.db.jobs.claim("w", 15)
        assert retraining.run(job)["status"] == "succeeded"
        platform.db.jobs.finish(job.id, "w", job.attempts, {})
        request = json.loads((platform.trainings.folder(run.id) / "request.json").read_text())
        assert {name: request[name] for name in expected} == expected
    (run_id,) = retraining.due(SUNDAY)
    assert platform.db.training.get(run_id).options == expected
    platform.db.training.cancel(run_id)
    assert retraining.ask(tuning_trials=0, source="api").options["tuning_trials"] == 0


def test_the_terminal_takes_other_data_back(platform, retraining, tmp_path):
    """The newest that succeeded counts, without `--data`, too; and of this recipe only."""
    in_terminal(platform, "heart-disease", data=(str(tmp_path),))
    in_terminal(platform, "heart-disease")
    run = retraining.ask(source="api")
    assert run.options == {"recipe": "heart-disease"}
    platform.db.training.cancel(run.id)
    in_terminal(platform, str(tmp_path), target="y", model="heart-disease")
    run = retraining.ask(recipe="heart-disease", source="api")
    assert run.options == {"recipe": "heart-disease"}
    platform.db.training.cancel(run.id)
    run = retraining.ask(model="heart-disease", source="schedule")
    assert run.options == {"recipe": str(tmp_path), "target": "y"}


def test_what_another_machine_read_is_not_looked_for_here(
    platform, retraining, tmp_path, monkeypatch
):
    """Of two servers of one database each knows its own files."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(watch.socket, "gethostname", lambda: "elsewhere")
        in_terminal(platform, "heart-disease", data=(str(tmp_path),))
    assert retraining.ask(source="api").options == {"recipe": "heart-disease"}


@pytest.mark.parametrize("gone", ["recipe", "data"])
def test_a_file_that_is_gone_fails_the_run_with_a_sentence(platform, retraining, tmp_path, gone):
    """Which one, and the command that names another."""
    path = tmp_path / "my parts.csv"
    path.touch()
    if gone == "recipe":
        in_terminal(platform, str(path), target="y", model="parts")
        command = "andon train FILE -m parts --target y"
    else:
        in_terminal(platform, "heart-disease", data=(str(path),), drop=("a b",), model="parts")
        command = "andon train heart-disease --data PATH -m parts --drop 'a b'"
    path.unlink()
    run = retraining.ask(model="parts", source="api")
    with pytest.raises(JobGivenUp):
        retraining.run(platform.db.jobs.claim("w", 15))
    assert platform.db.training.get(run.id).error == (
        f"{path}, which this model is trained on, is not there any more. Bring it back; or train "
        f"once in the terminal on what there is now, and later trainings read the same: {command}"
    )


def test_only_the_recipe_on_telemetry_may_read_the_database(retraining):
    """Its address may hold a password."""
    assert retraining.ask(recipe="drowsiness", source="api").options["telemetry"]
    assert "telemetry" not in retraining.ask(recipe="heart-disease", source="api").options


def test_a_job_ends_as_its_training_does(platform, retraining):
    """With the version, or given up with the reason; one that ended before is left alone."""
    run = retraining.ask(source="api")
    job = platform.db.jobs.claim("w", 15)
    assert retraining.run(job)["version"] == 1
    assert retraining.run(job) == {
        "run_id": run.id, "status": "succeeded", "model": "heart-disease", "version": 1
    }  # fmt: skip
    platform.trainings.command = [*platform.trainings.command[:-2], "crash", "x"]
    retraining.ask(source="api")
    platform.db.jobs.finish(job.id, "w", job.attempts, {})
    with pytest.raises(JobGivenUp, match="crashed"):
        retraining.run(platform.db.jobs.claim("w", 15))


def test_two_that_ask_get_one_training(retraining):
    """The second learns which."""
    run = retraining.ask(source="api")
    with pytest.raises(Conflict, match=run.id):
        retraining.ask(model="heart-disease", source="page")
