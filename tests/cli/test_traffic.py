"""`andon traffic` and `andon replay`: trying a version from a terminal, without a server."""

from pathlib import Path

import pytest
from tests.cli.conftest import Andon


@pytest.fixture
def tried(serving: Andon, other_detector: Path) -> Andon:
    """Version 1 finds spots and serves; version 2 calls them blots."""
    assert serving("models", "add", other_detector, "--no-activate").code == 0
    return serving


def test_a_canary_begins_and_ends(tried: Andon) -> None:
    """It is shown while it runs, and listed when it is over."""
    done = tried("traffic", "canary", "v2", "--reason", "Monthly A/B")
    assert done.code == 0, done.err
    assert done.out.startswith("pcb v2 answers 10% of the subjects, beside v1.")
    shown = tried("traffic", "show").out
    assert "canary" in shown
    assert "v2" in shown
    (state,) = tried("traffic", "show", "--json").json
    assert (state["mode"], state["candidate"], state["weight"]) == ("canary", 2, 0.1)
    again = tried("traffic", "canary", 2, "--weight", 0.3, "--json").json
    assert (again["id"], again["weight"]) == (state["rollout"]["id"], 0.3)
    assert tried("traffic", "stop").out == "The canary of pcb v2 is over.\n"
    (past,) = tried("traffic", "history", "--json").json
    assert (past["status"], past["reason"]) == ("stopped", "Monthly A/B")
    assert "stopped" in tried("traffic", "history").out


def test_a_share_is_written_as_people_write_it(tried: Andon) -> None:
    """As a fraction or in percent; a bare 20 is asked about, not guessed at."""
    assert tried("traffic", "canary", 2, "--weight", "20%", "--json").json["weight"] == 0.2
    assert tried("traffic", "canary", 2, "-w", "0.5", "--json").json["weight"] == 0.5
    for wrong in ("20", "-1", "much", "nan", "101%"):
        done = tried("traffic", "canary", 2, "--weight", wrong)
        assert done.code == 2
        assert f"'{wrong}' is no share: write 0.1 or 10%." in " ".join(done.err.split())
    assert "For 20 percent write 20%." in tried("traffic", "canary", 2, "--weight", "20").err


@pytest.mark.parametrize("mode", ["shadow", "compare"])
def test_the_other_ways_see_everything(tried: Andon, mode: str) -> None:
    """Unless told otherwise."""
    assert tried("traffic", mode, 2, "--json").json["weight"] == 1.0


def test_a_candidate_is_judged_at_once(tried: Andon) -> None:
    """With what is missing, in words and as JSON; nothing is kept."""
    tried("traffic", "canary", 2)
    done = tried("traffic", "judge")
    assert done.code == 0, done.err
    assert done.out.startswith("pcb v2: not enough evidence.\nv2 has answered nothing")
    assert "disagreement" in done.out
    found = tried("traffic", "judge", "--json").json
    assert (found["verdict"], found["answers_candidate"]) == ("not_enough", 0)
    assert tried("traffic", "show", "--json").json[0]["rollout"]["judgement"] is None


@pytest.mark.parametrize(
    "words",
    [
        ["traffic", "canary", "1"],
        ["traffic", "canary", "9"],
        ["traffic", "stop"],
        ["traffic", "judge"],
        ["traffic", "show", "--model", "none"],
        ["replay", "--version", "1"],
        ["replay", "--version", "2", "--since", "yesterday"],
    ],
)
def test_what_cannot_be_done_is_one_line(tried: Andon, words: list[str]) -> None:
    """With the next step."""
    done = tried(*words)
    assert done.code == 1
    assert done.err.startswith("Error: ")


def test_a_replay_lists_what_flips(tried: Andon, picture: Path) -> None:
    """Without a server; the dashboard finds it by its job."""
    tried("predict", picture)
    done = tried("replay", "--version", 2)
    assert done.code == 0, done.err
    first, *_ = done.out.splitlines()
    assert first == "1 input of pcb v1 through v2: 0 answered alike, 1 otherwise."
    assert "other labels" in done.out
    assert "Side by side: /replays/" in done.out
    found = tried("replay", "--version", 2, "--json").json
    assert found["by_kind"] == {"labels": 1}
    assert found["flips"][0]["after"]["detections"][0]["label"] == "blot"


def test_nothing_to_replay_is_said_calmly(tried: Andon, picture: Path, home: Path) -> None:
    """No answers in that time, or no pictures any more."""
    done = tried("replay", "--version", 2)
    assert done.out == "pcb v1 answered nothing in that time.\n"
    tried("predict", picture)
    for kept in (home / "uploads").glob("*/*.*"):
        kept.unlink()
    assert "1 picture of that time not kept any more" in tried("replay", "--version", 2).out


def test_a_candidate_that_does_not_load_is_one_line(
    tried: Andon, picture: Path, home: Path
) -> None:
    """Nothing is changed."""
    tried("predict", picture)
    (home / "models" / "pcb" / "model_v2.onnx").write_bytes(b"damaged")
    done = tried("replay", "--version", 2)
    assert done.code == 1
    assert "v2" in done.err
    assert tried("predict", picture).code == 0
