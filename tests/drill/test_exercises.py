import json
from pathlib import Path

import msgspec
import pytest

from andon.drill import exercises, report
from andon.drill.exercises import DrillReport, Exercise, Step
from andon.settings import Settings


@pytest.mark.slow
@pytest.mark.parametrize(("name", "boards"), [("killed-runtime", 5), ("approval", 45)])
def test_an_exercise_finds_that_everything_works(
    name: str, boards: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """For real: a version goes wrong, and alarm, approval and rollback follow."""
    # How quick they are is for the drill on a line; a machine that runs tests has other work.
    monkeypatch.setattr(exercises, "_CRASH_SECONDS", 80.0)
    monkeypatch.setattr(exercises, "_WARM_UP", boards)
    installation = Settings(_env_file=None, home=tmp_path / "real")
    folder = tmp_path / "drills"
    folder.mkdir()
    told: list[Exercise] = []
    done = exercises.drill(installation, folder, [name], told.append)
    assert [(step.text, step.ok) for step in told[0].steps if not step.ok] == []
    assert (done.passed, done.policy, [one.name for one in done.exercises]) == (
        True, "built in", [name],
    )  # fmt: skip
    assert told[0].answers > 0
    assert not installation.home.exists()


def drilled(*, passed: bool = True) -> DrillReport:
    steps = [Step("An alert was raised.", True, 1.25), Step("v1 <b>serves</b> again.", passed)]
    one = Exercise("bad-model", "It finds nothing.", passed, steps, 40, 2, 9.9)
    return DrillReport("20261121-101500", passed, "built in", [one])


def test_a_report_is_kept_as_json_and_as_a_page(tmp_path: Path):
    """Side by side; the JSON is read back as the same report."""
    made = drilled()
    page = report.write(made, tmp_path / "new" / "reports")
    assert page.name == "drill-20261121-101500.html"
    kept = page.with_suffix(".json").read_bytes()
    assert msgspec.json.decode(kept, type=DrillReport) == made
    assert json.loads(kept)["exercises"][0]["steps"][0]["seconds"] == 1.25
    text = page.read_text(encoding="utf-8")
    assert text == report.html(made)
    assert "Every alarm, approval and rollback worked" in text
    assert "40 sent after the fault, 2 without an answer." in text
    assert "1.2 s" in text


def test_a_page_names_what_did_not_work_and_runs_nothing():
    """No script and nothing from elsewhere; what steps say is text."""
    text = report.html(drilled(passed=False))
    assert "Something did not work" in text
    assert '<td class="no">NO</td>' in text
    assert "v1 &lt;b&gt;serves&lt;/b&gt; again." in text
    assert "<script" not in text
    assert "http" not in text.replace("http-equiv", "")


@pytest.mark.slow
def test_a_policy_that_leaves_rollbacks_to_people_is_explained(tmp_path: Path):
    """Nothing failed then: the drill says what it means on the line, and does the person's part."""
    installation = Settings(_env_file=None, home=tmp_path / "real")
    installation.home.mkdir()
    installation.policy.write_text('[models.pcb]\nrollback = "manual"\n')
    folder = tmp_path / "drills"
    folder.mkdir()
    done = exercises.drill(installation, folder, ["bad-model", "bad-model"])
    (one,) = done.exercises
    assert [step.text for step in one.steps if not step.ok] == []
    assert "Andon left it to people, as your policy says." in [step.text for step in one.steps]
    assert 'rollback = "manual" for pcb' in one.note
    assert one.note in report.html(done).replace("&#34;", '"')


def test_what_differs_outside_of_the_drill_is_noted(tmp_path: Path):
    """A broken policy with its line, and an agent or a monitor that is off."""
    home = tmp_path / "real"
    home.mkdir()
    assert exercises.notes_on(Settings(_env_file=None, home=home)) == []
    (home / "policy.toml").write_text("[agent]\nenabled = tru\n")
    broken, agent, monitor = exercises.notes_on(
        Settings(_env_file=None, home=home, agent="off", monitor=False)
    )
    assert "Line 2" in broken
    assert "everything waits for people" in broken
    assert agent.startswith("ANDON_AGENT is off here")
    assert monitor.startswith("ANDON_MONITOR is off here")
    page = report.html(DrillReport("20261121-101500", False, "p", [], [broken]))
    assert "Line 2" in page
