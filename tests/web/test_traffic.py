"""Candidates over HTTP: canary, shadow, compare, their history, and replays."""

from typing import Any

import httpx
import pytest
from tests.web.conftest import Site, board, problem, until

from andon.monitoring.judging import Judge
from andon.store.ids import uuid7


@pytest.fixture
def tried(fresh: Site) -> Site:
    """Version 1 serves, version 2 is registered."""
    assert fresh.upload("first").status_code == 200
    assert fresh.upload("second", activate="false").status_code == 200
    return fresh


def put(site: Site, **body: Any) -> httpx.Response:
    """Try a version."""
    return site.client.put("/api/traffic", json={"mode": "canary", "version": 2, **body})


def traffic(site: Site) -> dict[str, Any]:
    """What is said of the default model."""
    answer = site.client.get("/api/traffic", params={"model": "pcb"})
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()
    shown: dict[str, Any] = found
    return shown


def test_without_a_candidate_the_active_version_answers(tried: Site):
    """And every model is listed."""
    assert traffic(tried) == {
        "model": "pcb",
        "active": 1,
        "mode": "active",
        "candidate": None,
        "weight": None,
        "suspended": "",
        "rollout": None,
    }
    assert [one["model"] for one in tried.client.get("/api/traffic").json()] == ["pcb"]


def test_a_canary_begins_changes_and_ends(tried: Site):
    """Put, put again, patch, delete; the history has it."""
    begun = put(tried, reason="Monthly A/B")
    assert begun.status_code == 200, begun.text
    body = begun.json()
    assert (body["candidate"], body["baseline"], body["weight"]) == (2, 1, 0.1)
    assert (body["status"], body["reason"], body["actor"]) == ("running", "Monthly A/B", "api")
    assert body["judgement"] is None
    same = put(tried, weight=0.2).json()
    assert (same["id"], same["weight"]) == (body["id"], 0.2)
    patched = tried.client.patch("/api/traffic", json={"weight": 1.0})
    assert patched.json()["weight"] == 1.0
    assert tried.predict(subject="board-1").json()["model_version"] == 2
    state = traffic(tried)
    assert (state["mode"], state["candidate"], state["weight"]) == ("canary", 2, 1.0)
    stopped = tried.client.delete("/api/traffic", params={"reason": "enough"})
    assert (stopped.json()["status"], stopped.json()["outcome"]) == ("stopped", "enough")
    assert traffic(tried)["mode"] == "active"
    assert tried.predict(subject="board-1").json()["model_version"] == 1
    (past,) = tried.client.get("/api/rollouts", params={"model": "pcb"}).json()["items"]
    assert past["id"] == body["id"]
    assert tried.client.get(f"/api/rollouts/{body['id']}").json() == past


def test_a_judgement_is_shown_without_what_it_is_counted_from(tried: Site):
    """Verdict, reasons and guardrails with their bounds."""
    put(tried, weight=1.0)
    for seed in range(3):
        tried.predict(board(seed=seed), subject=f"b{seed}")
    db = tried.platform.db
    Judge(db).look(db.rollouts.running("pcb"))
    judgement = traffic(tried)["rollout"]["judgement"]
    assert judgement["verdict"] == "not_enough"
    assert judgement["answers_candidate"] == 3
    assert "counts" not in judgement
    names = [guardrail["name"] for guardrail in judgement["guardrails"]]
    assert names == ["errors", "latency", "accuracy", "disagreement"]
    for guardrail in judgement["guardrails"]:
        assert guardrail["low"] <= guardrail["high"]


def test_what_cannot_be_tried_changes_nothing(tried: Site):
    """The active version, a second candidate, one that is not there, nonsense."""
    problem(put(tried, version=1), 409, "is active")
    problem(put(tried, version=9), 404, "Version 9")
    problem(put(tried, weight=1.5), 422)
    problem(put(tried, mode="sometimes"), 422)
    problem(put(tried, model="none"), 404, "no model named")
    problem(put(tried, reason="a\x00b"), 422, "NUL")
    problem(put(tried, speed=1), 422)
    problem(tried.client.patch("/api/traffic", json={"weight": 0.5}), 409, "being tried")
    problem(tried.client.delete("/api/traffic"), 409, "being tried")
    problem(tried.client.get(f"/api/rollouts/{uuid7()}"), 404)
    assert traffic(tried)["mode"] == "active"
    put(tried)
    problem(put(tried, mode="shadow"), 409)
    assert traffic(tried)["mode"] == "canary"


def test_a_candidate_that_does_not_load_is_not_tried(tried: Site):
    """The reason is answered, and the active version goes on."""
    tried.platform.registry.get_model_path(2, "pcb").write_bytes(b"damaged")
    answer = put(tried)
    assert answer.status_code >= 400
    assert "v2" in answer.json()["detail"]
    assert traffic(tried)["mode"] == "active"
    assert tried.predict().json()["model_version"] == 1


# -- Replays -------------------------------------------------------------------------------


def replay(site: Site, **body: Any) -> httpx.Response:
    """Ask for a replay."""
    return site.client.post("/api/replays", json={"version": 2, **body})


def ended(site: Site, url: str) -> dict[str, Any]:
    """A replay, once it has ended."""
    until(lambda: site.client.get(url).json()["status"] in {"succeeded", "failed"}, 20)
    found: dict[str, Any] = site.client.get(url).json()
    return found


def test_a_replay_lists_every_flip(fresh: Site):
    """Queued, run, listed; each flip with both answers and its picture."""
    fresh.upload("first")
    fresh.platform.deployments.deploy(
        _received(fresh, labels=("blot",)),
        filename="blots.onnx",
        source="upload",
        actor="test",
        activate=False,
    )
    for seed in range(3):
        fresh.predict(board(seed=seed))
    accepted = replay(fresh, since="1h", limit=2)
    assert accepted.status_code == 202, accepted.text
    body = accepted.json()
    assert body["page_url"] == f"/replays/{body['job_id']}"
    found = ended(fresh, body["status_url"])
    assert found["status"] == "succeeded", found["error"]
    assert (found["version"], found["against"], found["limit"]) == (2, 1, 2)
    result = found["result"]
    assert (result["replayed"], result["flipped"], result["by_kind"]) == (2, 2, {"labels": 2})
    flip = result["flips"][0]
    assert flip["after"]["detections"][0]["label"] == "blot"
    assert fresh.client.get(flip["picture_url"]).status_code == 200
    assert fresh.client.get(flip["image_url"]).status_code == 200
    (listed,) = fresh.client.get("/api/replays").json()["items"]
    assert listed["result"]["flipped"] == 2
    assert listed["result"]["flips"] == []
    assert len(fresh.client.get("/api/predictions").json()["items"]) == 3


def test_what_cannot_be_replayed_is_refused(tried: Site):
    """With the field that is wrong."""
    problem(replay(tried, version=1), 409, "these answers are its own")
    problem(replay(tried, version=9), 404)
    problem(replay(tried, since="yesterday"), 422, "since must be such as 24h")
    problem(replay(tried, since="1h", until="2h"), 422, "since must be before until")
    problem(replay(tried, limit=10_001), 422)
    problem(tried.client.get(f"/api/replays/{uuid7()}"), 404)
    assert tried.client.get("/api/replays").json()["items"] == []


def test_a_job_of_another_kind_is_no_replay(tried: Site):
    """Its id is known, and means something else."""
    job = tried.predict(**{"async": "true"}).json()["job_id"]
    problem(tried.client.get(f"/api/replays/{job}"), 404, "no replay")


def test_a_replay_whose_candidate_is_damaged_fails_with_the_reason(tried: Site):
    """Once, and nothing that serves is touched."""
    tried.predict()
    path = tried.platform.registry.get_model_path(2, "pcb")
    path.write_bytes(b"damaged")
    found = ended(tried, replay(tried).json()["status_url"])
    assert found["status"] == "failed"
    assert "v2" in found["error"]
    assert found["result"] is None


def _received(site: Site, **given: Any) -> Any:
    with site.platform.deployments.receive() as incoming:
        incoming.write(site.model_file("blots", **given))
        return incoming.finish()
