"""Feedback over HTTP: one label, many, taking one back, and the figures they make."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.web.conftest import Site, post
from tests.web.rows import MODEL, log_rows, upload_heart


@pytest.fixture(scope="module")
def heart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server whose model `heart` has one version, which is active."""
    made = Site(tmp_path_factory.mktemp("feedback") / "home")
    try:
        assert upload_heart(made).status_code == 200
        yield made
    finally:
        made.close()


def send(site: Site, body: Any) -> httpx.Response:
    """One label."""
    return site.client.post("/api/feedback", json=body)


def test_a_label_is_stored_and_judged(heart: Site) -> None:
    """201 the first time, 200 when it stood already, and the answer says who was right."""
    (key,) = log_rows(heart, [0.9])
    body = {"prediction_id": key, "actual": "no disease", "timestamp": "2026-11-20T08:00:00Z"}
    first = send(heart, body)
    assert first.status_code == 201, first.text
    assert first.json() == {
        "prediction_id": key,
        "model": MODEL,
        "model_version": 1,
        "status": "stored",
        "prediction": "disease",
        "actual": 0,
        "correct": False,
        "timestamp": "2026-11-20T08:00:00Z",
    }
    again = send(heart, body)
    assert (again.status_code, again.json()["status"]) == (200, "duplicate")
    older = send(heart, {**body, "actual": 1, "timestamp": "2026-11-19T08:00:00Z"})
    assert (older.status_code, older.json()["status"], older.json()["actual"]) == (
        200, "superseded", 0,
    )  # fmt: skip


def test_a_picture_takes_a_verdict(heart: Site) -> None:
    """The same route serves detectors."""
    heart.upload("first")
    key = heart.predict().json()["prediction_id"]
    answer = send(heart, {"prediction_id": key, "actual": "defect"})
    assert answer.status_code == 201, answer.text
    assert answer.json()["correct"] is True
    assert heart.platform.db.predictions.get(key).actual == "defect"


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"prediction_id": "nobody"}, 404, None),
        ({"prediction_id": None}, 422, "prediction_id"),
        ({"actual": 5}, 422, "actual"),
        ({"actual": None}, 422, "actual"),
        ({"actual": {"a": 1}}, 422, "actual"),
        ({"timestamp": "yesterday"}, 422, "timestamp"),
        ({"timestamp": "2026-11-20T08:00:00"}, 422, "timestamp"),
        ({"timestamp": "2199-01-01T00:00:00Z"}, 422, "timestamp"),
        ({"note": "x" * 3000}, 422, "note"),
        ({"note": "a\x00b"}, 422, "note"),
    ],
)
def test_a_label_that_is_wrong_is_named(
    heart: Site, change: dict[str, Any], status: int, field: str | None
) -> None:
    """Nothing is stored; 422 names the field."""
    (key,) = log_rows(heart, [0.9])
    answer = send(heart, {"prediction_id": key, "actual": 1} | change)
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert problem["status"] == status
    if field:
        assert problem["errors"][0]["field"] == field
    assert heart.platform.db.predictions.get(key).actual is None


def test_a_request_id_stands_for_its_only_answer(heart: Site) -> None:
    """409 where several have it."""
    log_rows(heart, [0.9], request_id="visit-1")
    log_rows(heart, [0.9, 0.8], request_id="visit-2")
    assert send(heart, {"request_id": "visit-1", "actual": 1}).status_code == 201
    answer = send(heart, {"request_id": "visit-2", "actual": 1})
    assert answer.status_code == 409
    assert "2 predictions" in answer.json()["detail"]


def test_what_is_no_json_is_400_or_415(heart: Site) -> None:
    """Broken, compressed, too large."""
    post_bytes = heart.client.post
    assert post_bytes("/api/feedback", content=b"{").status_code == 400
    gzip = {"Content-Encoding": "gzip"}
    assert post_bytes("/api/feedback", content=b"x", headers=gzip).status_code == 415
    large = b'{"note": "' + b"x" * 100_000 + b'"}'
    assert post_bytes("/api/feedback", content=large).status_code == 413
    deep = b'[{"actual": ' + b"[" * 20_000 + b"]" * 20_000 + b"}]"
    assert post_bytes("/api/feedback/batch", content=deep).status_code == 400


@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson", "text/csv"])
def test_a_batch_is_taken_in_any_form(heart: Site, kind: str) -> None:
    """JSON, lines and CSV; a bad row sinks no others."""
    good, other = log_rows(heart, [0.9, 0.1])
    bodies = {
        "application/json": f'[{{"prediction_id":"{good}","actual":1}},'
        f'{{"prediction_id":"x","actual":1}},{{"prediction_id":"{other}","actual":0}}]',
        "application/x-ndjson": f'{{"prediction_id":"{good}","actual":1}}\nbroken\n'
        f'{{"prediction_id":"{other}","actual":0}}\n',
        "text/csv": f"prediction_id,actual\n{good},disease\n{good},maybe\n{other},0\n",
    }
    answer = heart.client.post(
        "/api/feedback/batch", content=bodies[kind], headers={"Content-Type": kind}
    )
    assert answer.status_code == 201, answer.text
    report = answer.json()
    assert (report["total"], report["stored"], report["rejected"]) == (3, 2, 1)
    assert [error["index"] for error in report["errors"]] == [1]
    assert heart.platform.db.predictions.get(good).actual == 1


def test_a_batch_of_which_nothing_can_be_stored_is_400(heart: Site) -> None:
    """With the counters; and one that is no list is 422."""
    answer = heart.client.post("/api/feedback/batch", json=[{"prediction_id": "x", "actual": 1}])
    assert answer.status_code == 400
    assert (answer.json()["total"], answer.json()["rejected"]) == (1, 1)
    assert "no prediction 'x'" in answer.json()["detail"]
    assert heart.client.post("/api/feedback/batch", json=[]).status_code == 400
    assert heart.client.post("/api/feedback/batch", json={"a": 1}).status_code == 422


def test_the_same_batch_again_changes_nothing(heart: Site) -> None:
    """200, and every label is a duplicate."""
    keys = log_rows(heart, [0.9] * 3)
    body = [
        {"prediction_id": key, "actual": 1, "timestamp": "2026-11-20T08:00:00Z"} for key in keys
    ]
    assert heart.client.post("/api/feedback/batch", json=body).status_code == 201
    again = heart.client.post("/api/feedback/batch", json=body[::-1])
    assert (again.status_code, again.json()["duplicates"]) == (200, 3)


def test_feedback_can_be_taken_back(heart: Site) -> None:
    """404 where there is none."""
    (key,) = log_rows(heart, [0.9])
    send(heart, {"prediction_id": key, "actual": 1})
    assert heart.client.delete(f"/api/feedback/{key}").status_code == 200
    assert heart.platform.db.predictions.get(key).actual is None
    assert heart.client.delete(f"/api/feedback/{key}").status_code == 404


def test_a_body_that_never_ends_leaves_nothing(heart: Site) -> None:
    """A client that goes away in the middle is no error of the server."""
    heart.send(post("/api/feedback/batch", b"[", length=100), close=True)
    assert heart.client.get("/health/live").status_code == 200


def test_the_summary_says_how_well_a_version_does(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Figures with bounds, coverage, the window; nothing made up where labels are few."""
    site = Site(tmp_path_factory.mktemp("summary") / "home")
    try:
        nothing = site.client.get("/api/feedback/summary")
        assert nothing.status_code == 404
        upload_heart(site)
        where = {"model": MODEL}
        empty = site.client.get("/api/feedback/summary", params=where).json()
        assert (empty["version"], empty["labelled"], empty["coverage"]) == (1, 0, None)
        assert empty["metrics"]["accuracy"] == {
            "value": None, "low": None, "high": None, "labels": 0, "needed": 30,
        }  # fmt: skip
        keys = log_rows(site, [0.9, 0.1] * 30)
        body = [
            {"prediction_id": key, "actual": int(turn % 2 == 0) if turn < 40 else 1}
            for turn, key in enumerate(keys[:50])
        ]
        assert site.client.post("/api/feedback/batch", json=body).json()["stored"] == 50
        answer = site.client.get("/api/feedback/summary", params={**where, "window": "7d"})
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert (found["labelled"], found["answers"], found["enough"]) == (50, 60, True)
        assert found["metrics"]["accuracy"]["value"] == 45 / 50
        assert found["confusion"] == [[20, 0], [5, 25]]
        assert found["metrics"]["precision"]["value"] == 1.0
        assert found["since"] is not None
        for wrong in ({"window": "x"}, {"version": 0}, {"version": "a"}):
            answer = site.client.get("/api/feedback/summary", params={**where, **wrong})
            assert answer.status_code == 422
        assert (
            site.client.get("/api/feedback/summary", params={**where, "version": 9}).status_code
            == 404
        )
        detail = site.client.get("/api/models/1", params=where).json()
        assert detail["live"]["labelled"] == 50
    finally:
        site.close()
