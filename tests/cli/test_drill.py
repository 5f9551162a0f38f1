"""`andon drill` through the door of the program; the exercises themselves are in tests/drill."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Andon

from andon.drill import exercises
from andon.drill.exercises import DrillReport, Exercise, Step
from andon.settings import Settings


@pytest.fixture
def drilled(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Exercises that leave a sandbox and fail where they are called `hung-runtime`."""
    asked: list[list[str]] = []

    def drill(
        _installation: Settings, folder: Path, names: list[str], done: Callable[[Exercise], None]
    ) -> DrillReport:
        asked.append(names)
        found = []
        for name in names:
            (folder / name).mkdir()
            (folder / name / "SANDBOX.txt").touch()
            ok = name != "hung-runtime"
            steps = [Step("An alert was raised.", ok, 1.5 if ok else None)]
            found.append(Exercise(name, f"{name} went wrong.", ok, steps, 9, 0, 2.0))
            done(found[-1])
        return DrillReport("20261121-101500", all(one.passed for one in found), "built in", found)

    monkeypatch.setattr(exercises, "drill", drill)
    return asked


def test_an_exercise_there_is_not_is_named_with_those_there_are(andon: Andon, home: Path) -> None:
    """Before anything is made."""
    done = andon("drill", "killed-runtime", "earthquake")
    assert (done.code, done.out) == (1, "")
    assert "There is no exercise earthquake." in done.err
    assert "killed-runtime" in done.err
    assert not (home / "drills").exists()


def test_all_exercises_are_done_told_and_kept(
    andon: Andon, home: Path, drilled: list[list[str]]
) -> None:
    """In order; one that fails is exit code 1. The report stays, the sandboxes do not."""
    done = andon("drill")
    assert drilled == [list(exercises.EXERCISES)]
    assert done.code == 1
    assert "NO  hung-runtime went wrong." in done.out
    assert "ok  approval went wrong." in done.out
    assert "Something did not work" in done.out
    names = {path.name for path in (home / "reports").iterdir()}
    assert names == {"drill-20261121-101500.html", "drill-20261121-101500.json"}
    assert not (home / "drills").exists()


def test_a_script_gets_json_alone(andon: Andon, drilled: list[list[str]]) -> None:
    """Of the exercises it names."""
    done = andon("drill", "approval", "--json")
    assert drilled == [["approval"]]
    assert done.code == 0
    assert done.json["passed"] is True
    assert done.json["exercises"][0]["steps"] == [
        {"text": "An alert was raised.", "ok": True, "seconds": 1.5}
    ]


def test_sandboxes_are_kept_when_asked_and_cleared_by_the_next(
    andon: Andon, home: Path, drilled: list[list[str]]
) -> None:
    """Only what is marked is ever deleted: other files, and the folder with them, stay."""
    assert andon("drill", "approval", "--keep").code == 0
    assert (home / "drills" / "approval" / "SANDBOX.txt").exists()
    mine = home / "drills" / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("Keep.", encoding="utf-8")
    assert andon("drill", "bad-model").code == 0
    assert [path.name for path in (home / "drills").iterdir()] == ["mine"]
    assert (mine / "notes.txt").exists()
    assert len(drilled) == 2


def test_a_folder_that_is_a_link_is_left_alone(
    andon: Andon, home: Path, tmp_path: Path, drilled: list[list[str]]
) -> None:
    """What it points to may be somebody's."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    home.mkdir()
    (home / "drills").symlink_to(theirs)
    done = andon("drill", "approval")
    assert done.code == 1
    assert "no folder of its own" in done.err
    assert drilled == []


def test_one_drill_at_a_time(andon: Andon, home: Path, drilled: list[list[str]]) -> None:
    """A second would clear away the sandboxes of the first."""
    folder = home / "drills"
    folder.mkdir(parents=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        done = andon("drill", "approval")
    finally:
        os.close(descriptor)
    assert done.code == 1
    assert "Another drill is under way here." in done.err
    assert drilled == []


def test_a_policy_that_cannot_be_used_is_named_first(
    andon: Andon, home: Path, drilled: list[list[str]]
) -> None:
    """On standard error, so that JSON stays JSON."""
    home.mkdir()
    (home / "policy.toml").write_text("[agent]\nenabled = tru\n")
    done = andon("drill", "approval", "--json")
    assert done.json["passed"] is True
    assert "Line 2" in done.err
    assert "everything waits for people" in done.err
    assert drilled == [["approval"]]


def test_telling_nobody_is_said(andon: Andon, drilled: list[list[str]]) -> None:
    """Where no webhook is set."""
    done = andon("drill", "approval", "--tell")
    assert done.code == 0, done.err
    assert "ANDON_WEBHOOK_URL names no receiver" in done.err
    assert drilled == [["approval"]]
