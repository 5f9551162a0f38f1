"""Actions of the agent over HTTP, on a real server that watches."""

import io
import zipfile

import pytest
from tests.web.conftest import problem, until

from andon.store.ids import uuid7


@pytest.fixture
def acting(fresh):
    """A server with two versions of pcb, whose policy asks for everything that is risky."""
    policy = fresh.platform.settings.policy
    policy.write_text('[models.default]\nrollback = "approve"\n[models.pcb]\nrollback="approve"\n')
    for name in ("first", "second"):
        assert fresh.upload(name).status_code == 200
    return fresh


def ask(site, kind, **given):
    """Ask for an action; as it was taken."""
    answer = site.client.post("/api/actions", json={"action_type": kind, "by": "Anna", **given})
    assert answer.status_code == 202, answer.text
    return answer.json()


def ended(site, action):
    """The action once it has succeeded."""
    path = f"/api/actions/{action['action_id']}"
    until(lambda: site.client.get(path).json()["status"] in {"succeeded", "failed"})
    found = site.client.get(path).json()
    assert found["status"] == "succeeded", found["error"]
    return found


def propose(site, **given):
    """A rollback that the agent asks for."""
    values = {
        "action_type": "rollback_model",
        "risk_level": "high",
        "reason": "It is bad.",
        "model": "pcb",
        "model_version": 2,
        "parameters": {"from_version": 2, "to_version": 1},
        "approvals_needed": 1,
    }
    return site.platform.db.actions.propose(**{**values, **given})


def test_an_approved_rollback_is_done_and_can_be_followed(acting):
    """From the question to the version that serves, by HTTP alone."""
    made = propose(acting)
    (waits,) = acting.client.get("/api/actions", params={"status": "pending"}).json()["actions"]
    assert waits["action_id"] == made.action_id
    path = f"/api/actions/{made.action_id}"
    answer = acting.client.post(f"{path}/approve", json={"by": "Bert", "comment": "Seen."})
    assert answer.json()["status"] in {"approved", "running", "succeeded"}
    found = ended(acting, waits)
    assert found["reviews"][0]["by"] == "Bert"
    assert acting.platform.db.models.active("pcb").version == 1
    again = acting.client.post(f"{path}/approve", json={"by": "Bert"})
    problem(again, 409, "was approved by Bert already")


def test_a_rejected_action_stays_rejected(acting):
    """With its comment."""
    made = propose(acting)
    path = f"/api/actions/{made.action_id}"
    answer = acting.client.post(f"{path}/reject", json={"by": "Anna", "comment": "No."})
    assert answer.json()["status"] == "rejected"
    problem(acting.client.post(f"{path}/approve", json={"by": "Bert"}), 409, "rejected")
    assert acting.platform.db.models.active("pcb").version == 2


def test_diagnostics_and_reports_can_be_downloaded(acting):
    """Asked for by hand, done in the background, kept as files."""
    bundle = ended(acting, ask(acting, "collect_diagnostics"))
    (file,) = bundle["execution_result"]["files"]
    answer = acting.client.get(file["href"])
    assert answer.headers["content-type"] == "application/zip"
    assert "attachment" in answer.headers["content-disposition"]
    names = zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    assert {"settings.json", "andon.log", "metrics.txt", "tables.json"} <= set(names)
    report = ended(acting, ask(acting, "generate_report"))
    page = acting.client.get(report["execution_result"]["files"][0]["href"])
    assert page.text.startswith("<!doctype html>")
    problem(acting.client.get(f"/api/actions/{report['action_id']}/files/andon.db"), 404)


def test_data_are_validated_by_the_real_checks(acting):
    """Also where there is nothing to check yet."""
    found = ended(acting, ask(acting, "validate_data"))
    assert found["execution_result"]["validation"]["model"] == "pcb"


def test_a_threshold_is_moved_and_taken_back(acting):
    """The next answer goes by it."""
    moved = ended(acting, ask(acting, "adjust_threshold", parameters={"to_threshold": 0.99}))
    assert acting.predict().json()["threshold"] == 0.99
    undo = acting.client.post(f"/api/actions/{moved['action_id']}/undo", json={"by": "Anna"})
    ended(acting, undo.json())
    assert acting.predict().json()["threshold"] != 0.99


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"action_type": "fly", "by": "Anna"}, 422),
        ({"action_type": "rollback_model", "by": ""}, 422),
        ({"action_type": "rollback_model", "by": "Anna", "model": "nope"}, 404),
        ({"action_type": "adjust_threshold", "by": "Anna"}, 422),
        ({"action_type": "send_alert", "by": "Anna", "reason": "a\x00b"}, 422),
        ({"action_type": "promote_model", "by": "Anna"}, 409),
    ],
)
def test_what_is_wrong_with_a_wish_is_said(site, body, status):
    """Nothing is written down."""
    problem(site.client.post("/api/actions", json=body), status)


def test_unknown_actions_are_not_found(site):
    """Each route of one says so."""
    path = f"/api/actions/{uuid7()}"
    problem(site.client.get(path), 404, "There is no action")
    for word in ("approve", "reject", "undo"):
        problem(site.client.post(f"{path}/{word}", json={"by": "Anna"}), 404)
    problem(site.client.get("/api/actions", params={"cursor": uuid7()}), 404)


def test_how_the_agent_stands_and_its_policy(site):
    """Every action, every model; no path of this machine."""
    found = site.client.get("/api/agent").json()
    assert (found["mode"], found["budget"], found["problem"]) == ("on", 20, "")
    policy = site.client.get("/api/agent/policy").json()
    assert policy["actions"]["rollback_model"] == {
        "risk": "high", "cooldown": 3600.0, "approvals": 1,
    }  # fmt: skip
    assert policy["models"]["pcb"]["rollback"] == "auto"
    assert str(site.home) not in str(policy)
