"""``andon train`` and ``andon runs``, with a fake process behind them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support import trainings

from andon import Database
from andon.cli import output
from andon.store.ids import uuid7_of
from andon.training import catalog, runs


@pytest.fixture
def behave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """How the next training goes."""
    monkeypatch.setattr(catalog, "missing_packages", list)
    outcome = tmp_path / "outcome"
    trainings.prepare(outcome)
    init = runs.Trainings.__init__

    def now(how: str, **prepared) -> None:
        if prepared:
            trainings.prepare(outcome, **prepared)

        def fake(self, *args) -> None:
            init(self, *args)
            self.command = trainings.command(how, outcome)

        monkeypatch.setattr(runs.Trainings, "__init__", fake)

    now("good")
    return now


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A file of a user."""
    path = tmp_path / "My Parts.csv"
    path.write_text("x,y\n1,0\n2,1\n")
    return path


def test_it_trains_a_recipe_and_says_what_came_of_it(andon, behave):
    """The training's own words, the figures with intervals, the gate, what serves."""
    done = andon("train", "heart-disease", "--reason", "new rows")
    assert done.code == 0, done.err
    assert done.out.startswith("Model Metrics:\n")
    assert ["f1", "0.9000", "0.8000", "0.9500"] in [line.split() for line in done.out.splitlines()]
    assert "Gate: passed." in done.out
    assert "heart-disease: Registered v1; it serves." in done.out
    assert "Data: 10 rows from memory" in done.err
    assert andon("models", "list", "--json").json[0]["source"] == "training"


def test_the_next_step_is_a_command_that_works(andon, behave):
    """Copied from what it prints."""
    andon("train", "heart-disease")
    behave("good", variant=0.1)
    done = andon("train", "heart-disease")
    command = done.out.rstrip().rpartition("andon ")[2]
    assert command == "models promote 2 -m heart-disease"
    assert andon(*command.split()).code == 0
    assert andon("models", "list", "--json").json[0]["is_active"]


def test_a_gate_that_is_not_passed_is_told(andon, behave):
    """With the reasons; the exit code is that of a training that was done."""
    behave("good", passed=False)
    done = andon("train", "heart-disease", "--promote")
    assert done.code == 0
    assert "Gate: not passed.\n  F1 is 0.6, below 0.75." in done.out
    assert "does not serve" in done.out


def test_a_reader_that_leaves_does_not_end_the_training(andon, behave, monkeypatch):
    """As `| head` does: hours of work are not thrown away for it."""
    said: list[str] = []

    def gone(text: str = "") -> None:
        said.append(text)
        if len(said) == 1:
            raise BrokenPipeError

    monkeypatch.setattr(output, "say", gone)
    assert andon("train", "heart-disease").code == 0
    assert said[-1] == "heart-disease: Registered v1; it serves."


def test_json_is_the_run_alone(andon, behave):
    """Also where it fails: a script looks at `status`."""
    run = andon("train", "heart-disease", "--seed", 3, "--tune", 5, "--json").json
    assert (run["status"], run["version"]) == ("succeeded", 1)
    assert (run["options"]["seed"], run["options"]["tuning_trials"]) == (3, 5)
    behave("refuse")
    done = andon("train", "heart-disease", "--json")
    assert (done.code, done.json["status"]) == (1, "failed")


def test_a_file_of_ones_own_becomes_a_model_of_its_name(andon, behave, table):
    """Or of the name that is given."""
    done = andon("train", table, "--target", "y", "--json")
    assert done.json["model"] == "my-parts"
    assert done.json["recipe"] == "My Parts.csv"
    assert done.json["options"] == {"recipe": str(table), "target": "y"}
    assert andon("train", table, "--target", "y", "-m", "other", "--json").json["model"] == "other"


def test_a_file_name_that_names_no_model_needs_one(andon, behave, table):
    """It is asked for where it is missing, and taken where it is given."""
    odd = table.rename(table.with_name("müsli.csv"))
    refused = andon("train", odd, "--target", "y")
    assert refused.code == 1
    assert "Give one with --model NAME." in refused.err
    done = andon("train", odd, "--target", "y", "--model", "muesli")
    assert done.code == 0, done.err
    assert "muesli: Registered v1" in done.out


def test_a_folder_of_ones_own_becomes_a_model_of_its_name(andon, behave, table):
    """As many files as it holds."""
    done = andon("train", table.parent, "--target", "y", "--model", "parts")
    assert done.code == 0, done.err
    assert andon("models", "list", "-m", "parts", "--json").json[0]["version"] == 1


def test_other_data_can_be_given(andon, behave, table):
    """As whole paths: the training runs in a folder of its own."""
    options = andon("train", "heart-disease", "--data", table, "--json").json["options"]
    assert options["data"] == [str(table)]


def test_columns_can_be_left_out(andon, behave, table):
    """The run knows them, and whoever trains it again."""
    words = ("--target", "y", "--drop", "x", "--drop", "z")
    assert andon("train", table, *words, "--json").json["options"]["drop"] == ["x", "z"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hart-disease"], "Did you mean 'heart-disease'?"),
        (["nothing"], "drowsiness, heart-disease."),
        (["gone.csv"], "There is no file gone.csv."),
        (["heart-disease", "--data", "gone"], "There is no file"),
    ],
)
def test_what_is_not_there_is_told(andon, behave, words, said):
    """With the nearest name."""
    done = andon("train", *words)
    assert done.code == 1
    assert said in done.err


def test_a_misspelt_file_is_found_nearby(andon, behave, table):
    """The folder is looked through."""
    done = andon("train", table.with_name("My Part.csv"))
    assert f"Did you mean {table}?" in done.err


def test_nothing_to_train_is_a_wrong_command_line(andon, behave):
    """Exit code 2, and where to look."""
    done = andon("train")
    assert done.code == 2
    assert "--list" in done.err


def test_without_the_extra_it_says_what_to_install(andon, behave, monkeypatch):
    """In one line."""
    monkeypatch.setattr(catalog, "missing_packages", lambda: ["optuna"])
    done = andon("train", "heart-disease")
    assert done.code == 1
    assert "pip install 'andon[train]'" in done.err


def test_a_training_that_fails_says_why(andon, behave):
    """And where its log is."""
    behave("crash")
    done = andon("train", "heart-disease")
    assert done.code == 1
    assert "out of luck" in done.err
    command = done.err.rstrip().rpartition("andon ")[2]
    assert "out of luck" in andon(*command.split()).out


def test_a_dry_run_checks_the_data_only(andon, behave):
    """No run, no version."""
    done = andon("train", "heart-disease", "--dry-run")
    assert done.code == 0
    assert "The data can be trained on: 10 rows, 2 columns." in done.out
    assert andon("train", "heart-disease", "--dry-run", "--json").json["rows"] == 10
    assert andon("runs", "list").out.startswith("No trainings yet.")
    behave("refuse")
    done = andon("train", "heart-disease", "--dry-run")
    assert (done.code, "one class" in done.err) == (1, True)


def test_recipes_are_listed(andon, behave):
    """By name."""
    assert [one["name"] for one in andon("train", "--list", "--json").json] == [
        "drowsiness",
        "heart-disease",
    ]
    assert "heart-disease" in andon("train", "--list").out


def test_trainings_are_listed_and_shown(andon, behave):
    """By the end of their id, which is what lists show."""
    andon("train", "heart-disease")
    (run,) = andon("runs", "list", "--json").json
    short = run["id"][-8:]
    assert short in andon("runs", "list").out
    shown = andon("runs", "show", short).out
    assert run["id"] in shown
    assert "Gate: passed." in shown
    assert "Model Metrics:" in andon("runs", "show", short, "--log").out
    assert andon("runs", "show", short, "--json").json["report"]["chosen"] == "random-forest"
    done = andon("runs", "show", "ffffffff")
    assert (done.code, "no training ends" in done.err) == (1, True)
    assert "ended already" in andon("runs", "cancel", short).err


def test_another_training_is_in_the_way_until_it_is_cancelled(andon, behave, home):
    """The message is a command that mends it."""
    andon("runs", "list")
    db = Database(home / "andon.db")
    run = db.training.create(model="heart-disease", recipe="x", options={}, source="api")
    done = andon("train", "heart-disease")
    assert done.code == 1
    command = done.err.rstrip().rpartition("andon ")[2]
    assert command == f"runs cancel {run.id}"
    assert "Cancelled" in andon(*command.split()).out
    assert andon("train", "heart-disease").code == 0
    db.close()


_PROGRAM = """
import sys
from pathlib import Path
from tests.support import trainings
from andon.cli import main
from andon.training import catalog, runs
catalog.missing_packages = list
init = runs.Trainings.__init__
how, outcome = sys.argv[1:3]
sys.argv[1:] = ["train", "heart-disease"]
def command(self, *args):
    init(self, *args)
    self.command = trainings.command(how, Path(outcome))
runs.Trainings.__init__ = command
main.main()
"""


def start(how: str, outcome: Path, home: Path) -> "subprocess.Popen[str]":
    """``andon train`` as a program of its own, in the middle of its training."""
    root = Path(__file__).parents[2]
    env = {**os.environ, "ANDON_HOME": str(home), "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", _PROGRAM, how, str(outcome)]
    program = subprocess.Popen(
        command, env=env, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    while not list((home / "training").glob("*/log.txt")) or not any(
        path.read_text() for path in (home / "training").glob("*/log.txt")
    ):
        assert time.monotonic() < deadline
        assert program.poll() is None, program.communicate()
        time.sleep(0.05)
    return program


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, "cancelled"), (9, "failed")])
def test_ctrl_c_and_a_kill_leave_nothing_behind(behave, andon, home, tmp_path, number, status):
    """No process, no half of a version, and the next training starts at once."""
    program = start("family", tmp_path / "outcome", home)
    (place,) = (home / "training").glob("*-*")
    deadline = time.monotonic() + 10
    while not (place / "grandchild").exists() or not (place / "grandchild").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    program.send_signal(number)
    _, err = program.communicate(timeout=20)
    if number == signal.SIGINT:
        assert program.returncode == 130
        assert "Cancelled: the training" in err
    done = andon("train", "heart-disease")
    assert done.code == 0, done.err
    statuses = [run["status"] for run in andon("runs", "list", "--json").json]
    assert statuses == ["succeeded", status]
    assert [one["version"] for one in andon("models", "list", "--json").json] == [1]
    if number == signal.SIGKILL:
        # The kernel ends the training with its parent; what that started is on its own.
        os.kill(int((place / "grandchild").read_text()), signal.SIGKILL)


def due_long_ago(home: Path) -> None:
    """A training whose id tells of 1970, as that of one that was made up for tells of then."""
    db = Database(home / "andon.db")
    values = {"model": "heart-disease", "recipe": "x", "options": {}, "source": "schedule"}
    run = db.training.create(**values, run_id=uuid7_of(0, b"due"), worker="w")
    db.training.fail(run.id, "w", "Out of luck.")
    db.close()


def test_the_doctor_knows_of_trainings(andon, behave, home, monkeypatch):
    """What is missing, a schedule that cannot be, and how the last one ended."""

    def said() -> str:
        return andon("doctor").out

    andon("train", "heart-disease")
    assert "Everything is installed that training needs." in said()
    assert "The newest training of heart-disease: succeeded." in said()
    behave("crash")
    andon("train", "heart-disease")
    assert "The newest training of heart-disease failed: It crashed" in said()
    due_long_ago(home)
    assert "The newest training of heart-disease failed: Out of luck." in said()
    monkeypatch.setattr(catalog, "missing_packages", lambda: ["optuna"])
    assert "training lacks optuna now" in said()
    monkeypatch.setenv("ANDON_RETRAIN_CRON", "0 2 * * 9")
    assert "ANDON_RETRAIN_CRON is not a cron expression: the day-of-week, '9', is none." in said()


def test_a_box_that_does_not_train_is_well(andon, behave, monkeypatch):
    """Nothing is wrong with it."""
    monkeypatch.setattr(catalog, "missing_packages", lambda: ["optuna"])
    line = next(line for line in andon("doctor").out.splitlines() if "does not train" in line)
    assert line.startswith("ok")
