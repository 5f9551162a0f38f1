"""The life of a version over HTTP: staging, production, archived, with reasons; its details."""

from typing import Any

import httpx
import pytest
from tests.web.conftest import Site
from tests.web.rows import MODEL, upload_heart

from andon.store.clock import now
from andon.store.tables import training_runs


def move(site: Site, version: int, stage: str, reason: str = "") -> httpx.Response:
    """Move a version."""
    body = {"stage": stage, "reason": reason}
    return site.client.post(f"/api/models/{version}/stage", params={"model": MODEL}, json=body)


def detail(site: Site, version: int) -> dict[str, Any]:
    """All that is known of a version."""
    answer = site.client.get(f"/api/models/{version}", params={"model": MODEL})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_version_goes_through_its_life(fresh: Site) -> None:
    """Staging, production, archived and back, each with its reason in the history."""
    upload_heart(fresh)
    assert upload_heart(fresh, 0.5, activate=False).status_code == 200
    assert detail(fresh, 2)["next_stages"] == ["production", "archived"]
    answer = move(fresh, 2, "production", "better on the same rows")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "message": "Model v2 moved to production",
        "model": MODEL,
        "version": 2,
        "stage": "production",
        "previous_stage": "staging",
    }
    assert detail(fresh, 2)["loaded"]
    assert detail(fresh, 2)["next_stages"] == []
    assert move(fresh, 1, "staging", "a second look: it was not bad").status_code == 200
    assert move(fresh, 1, "archived").status_code == 200
    history = detail(fresh, 1)["history"]
    assert [(step["stage"], step["event_type"]) for step in history] == [
        ("production", "ACTIVATE"),
        ("archived", "ACTIVATE"),
        ("staging", "STAGE"),
        ("archived", "STAGE"),
    ]
    assert history[1]["reason"] == "v2 took over. better on the same rows"
    assert history[2]["reason"] == "a second look: it was not bad"
    assert history[3]["reason"] == ""
    assert {step["actor"] for step in history} == {"api"}
    assert detail(fresh, 1)["status"] == "archived"


def test_the_version_that_serves_stays(fresh: Site) -> None:
    """409 with the way out; what serves has not changed."""
    upload_heart(fresh)
    for stage in ("staging", "archived"):
        answer = move(fresh, 1, stage)
        assert answer.status_code == 409
        assert "serves" in answer.json()["detail"]
        assert "roll back" in answer.json()["detail"]
    assert move(fresh, 1, "production").status_code == 200
    assert detail(fresh, 1)["is_active"]


def test_a_version_that_missed_its_gate_goes_by_staging(fresh: Site) -> None:
    """Straight into production is 409; a person may stage it with a reason first."""
    upload_heart(fresh)
    upload_heart(fresh, 0.5, activate=False)
    with fresh.platform.db.write() as connection:
        connection.exec_driver_sql("UPDATE model_versions SET status='training' WHERE version=2")
    assert detail(fresh, 2)["next_stages"] == ["staging", "archived"]
    answer = move(fresh, 2, "production")
    assert answer.status_code == 409
    assert "gate" in answer.json()["detail"]
    assert move(fresh, 2, "staging", "the gate was too strict").status_code == 200
    assert move(fresh, 2, "production").status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"stage": "training"}, 422, "stage"),
        ({"stage": "none"}, 422, "stage"),
        ({}, 422, "stage"),
        ({"stage": "staging", "reason": "x" * 501}, 422, "reason"),
        ({"stage": "staging", "reason": "a\x00"}, 422, "reason"),
        ({"stage": "staging", "why": "x"}, 422, "why"),
        ([], 422, "body"),
    ],
)
def test_a_wish_that_is_wrong_is_named(site: Site, body: Any, status: int, field: str) -> None:
    """422 names the field."""
    answer = site.client.post("/api/models/1/stage", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["errors"][0]["field"] == field


def test_what_is_wrong_with_a_wish_is_said_in_words(site: Site) -> None:
    """What is missing, unknown, or may be said instead."""

    def said(body: Any) -> str:
        return site.client.post("/api/models/1/stage", json=body).json()["errors"][0]["detail"]

    assert said({}) == "is missing"
    assert said({"stage": "staging", "why": "x"}) == "is not known here"
    assert said({"stage": "prod"}).endswith("; it may be staging, production, archived")


def test_a_version_that_is_not_there_is_404(site: Site) -> None:
    """As is a model."""
    assert site.client.post("/api/models/99/stage", json={"stage": "staging"}).status_code == 404
    answer = site.client.post("/api/models/1/stage?model=no", json={"stage": "staging"})
    assert answer.status_code == 404
    assert site.client.post("/api/models/1/stage", content=b"{").status_code == 400


def test_details_show_schema_card_and_columns(fresh: Site) -> None:
    """Of a tabular version; the list leaves the large parts out."""
    upload_heart(fresh)
    found = detail(fresh, 1)
    assert found["rows"]["target"] == "num"
    assert found["card"]["algorithm"] == found["algorithm"] == "logistic-regression"
    assert found["f1_score"] == 0.83
    assert found["accuracy"] == 0.0
    assert (found["training_run"], found["gate"], found["comparison"]) == (None, None, None)
    assert found["live"]["labelled"] == 0
    (listed,) = fresh.client.get("/api/models", params={"model": MODEL}).json()
    assert "card" not in listed
    assert "history" not in listed


def test_details_show_what_its_training_made_of_it(fresh: Site) -> None:
    """The gate and the comparison are the training's, and the training is named."""
    upload_heart(fresh)
    db = fresh.platform.db
    report = {"gate": {"passed": False, "reasons": ["F1 0.70 is below 0.75."]}}
    with db.write() as connection:
        connection.execute(
            training_runs.insert().values(
                id="run-1",
                model_name=MODEL,
                recipe=MODEL,
                options={},
                status="succeeded",
                source="cli",
                report=report,
                model_id=db.models.get(MODEL, 1).id,
                created_at=now(),
            )
        )
    found = detail(fresh, 1)
    assert found["training_run"] == "run-1"
    assert found["gate"] == report["gate"]
    assert found["comparison"] is None


def test_details_of_a_picture_model_have_no_card(site: Site) -> None:
    """What concerns rows is null."""
    found = site.client.get("/api/models/1").json()
    assert (found["rows"], found["card"], found["f1_score"]) == (None, None, None)
    assert found["live"]["classes"] == ["ok", "defect"]
