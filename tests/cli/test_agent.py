"""`andon agent` and `andon approvals`, beside a server or without one."""

from pathlib import Path

import pytest
from tests.cli.conftest import Andon
from tests.store.builders import add_version

from andon.store.database import Database
from andon.store.records import AgentAction


@pytest.fixture
def waiting(home: Path) -> AgentAction:
    """A rollback that waits for two people."""
    home.mkdir()
    db = Database(home / "andon.db")
    for number in (1, 2):
        add_version(db)
        db.models.set_active("pcb", number)
    made = db.actions.propose(
        action_type="rollback_model",
        risk_level="high",
        reason="Half of the answers failed.",
        model="pcb",
        model_version=2,
        parameters={"from_version": 2, "to_version": 1},
        evidence={"signals": [{"name": "error_rate", "summary": "50 % of 100 answers failed."}]},
        approvals_needed=2,
    )
    db.close()
    return made


def test_what_waits_is_listed_shown_and_approved(andon: Andon, waiting: AgentAction) -> None:
    """Two different people, each with a comment; the numbers are shown."""
    listed = andon("approvals", "list")
    assert listed.code == 0, listed.err
    assert waiting.action_id in listed.out
    assert "0 of 2" in listed.out
    shown = andon("approvals", "show", waiting.action_id).out
    assert "50 % of 100 answers failed." in shown
    first = andon("approvals", "approve", waiting.action_id, "--by", "Anna", "--comment", "Seen.")
    assert "waits for one more person" in first.out
    twice = andon("approvals", "approve", waiting.action_id, "--by", "ANNA")
    assert twice.code != 0
    assert "different people" in twice.err
    second = andon("approvals", "approve", waiting.action_id, "--by", "Bert", "--json").json
    assert second["status"] == "approved"
    assert andon("approvals", "list").out == "Nothing waits for approval.\n"


def test_a_rejection_needs_one(andon: Andon, waiting: AgentAction) -> None:
    """And is listed with what became of it."""
    assert andon("approvals", "reject", waiting.action_id, "--by", "Anna").code == 0
    (found,) = andon("agent", "actions", "--status", "rejected", "--json").json
    assert found["reviews"][0]["decision"] == "reject"
    assert "rejected" in andon("agent", "actions").out


def test_the_policy_is_written_once_checked_and_shown(andon: Andon, home: Path) -> None:
    """A fault is named with its line, and fails."""
    assert andon("agent", "policy", "--check").out.startswith("There is no ")
    done = andon("agent", "policy", "--write")
    assert done.code == 0, done.err
    assert andon("agent", "policy", "--write").code != 0
    assert "is fine" in andon("agent", "policy", "--check").out
    assert andon("agent", "policy", "--json").json["problem"] == ""
    assert "rollback_model" in andon("agent", "policy").out
    path = home / "policy.toml"
    path.write_text(path.read_text() + "\n[models.nope]\n")
    done = andon("agent", "policy", "--check")
    assert done.code != 0
    assert "'nope' is no model that is known" in done.err


def test_an_action_is_asked_for(andon: Andon, waiting: AgentAction) -> None:
    """Who asks agrees; the server does it."""
    made = andon("agent", "ask", "adjust_threshold", "--set", "to_threshold=0.6", "--by", "Anna")
    assert made.code == 0, made.err
    assert "is approved" in made.out
    (found,) = andon("agent", "actions", "--status", "approved", "--json").json
    assert found["parameters"]["to_threshold"] == 0.6
    assert andon("agent", "ask", "fly").code != 0
    assert "NAME=VALUE" in andon("agent", "ask", "adjust_threshold", "--set", "x").err
    assert andon("agent", "undo", found["action_id"], "--by", "Anna").code != 0
    status = andon("agent", "status", "--json").json
    assert (status["pending"], status["mode"]) == (1, "on")
    assert "waiting for people" in andon("agent", "status").out


def test_the_end_of_an_id_is_enough(andon: Andon, waiting: AgentAction) -> None:
    """As people copy it from a list; what two share, or none has, is said."""
    assert waiting.action_id in andon("approvals", "show", waiting.action_id[-8:]).out
    none = andon("approvals", "show", "ffffffff")
    assert none.code == 1
    assert "There is no action ffffffff." in none.err
    done = andon("approvals", "approve", waiting.action_id[-6:].upper(), "--by", "Anna")
    assert "waits for one more person" in done.out


def test_the_policy_is_read_aloud(andon: Andon) -> None:
    """Times with a unit, and what holds for every model; an empty list is a sentence."""
    shown = andon("agent", "policy").out
    assert "approval expires  after 24 h" in shown
    assert "any other  approve   approve  approve" in shown
    assert "pcb" in shown
    assert andon("agent", "actions").out == "Nothing was decided or asked for yet.\n"
    assert andon("agent", "actions", "--status", "failed").out == "No such action.\n"
