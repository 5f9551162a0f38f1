"""Two versions on the same rows over HTTP."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.web.conftest import Site
from tests.web.rows import MODEL, ROW, log_rows, upload_heart


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with two versions of `heart`, the first of which is active."""
    made = Site(tmp_path_factory.mktemp("two") / "home")
    try:
        assert upload_heart(made).status_code == 200
        assert upload_heart(made, 1.0, activate=False).status_code == 200
        yield made
    finally:
        made.close()


def compare(site: Site, **body: Any) -> httpx.Response:
    """Compare versions 1 and 2, unless told otherwise."""
    return site.client.post("/api/models/compare", json={"model": MODEL, "a": 1, "b": 2, **body})


def test_rows_that_are_sent_are_compared(two: Site) -> None:
    """Agreement, flips, figures and a sentence; nothing is logged."""
    rows = [{**ROW, "age": age, "actual": int(age > 60)} for age in range(20, 100)]
    answer = compare(two, rows=rows)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["a"], found["b"], found["rows"], found["labelled"]) == (1, 2, 80, 80)
    assert set(found["metrics"]) == {
        "accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "brier",
    }  # fmt: skip
    assert found["metrics"]["accuracy"]["low"] <= found["metrics"]["accuracy"]["high"]
    assert found["verdict"]
    assert two.client.get("/api/predictions", params={"model": MODEL}).json()["items"] == []
    assert two.platform.db.models.get(MODEL, 1).total_inferences == 0


def test_stored_rows_with_feedback_are_compared(two: Site) -> None:
    """Those of any version; without any there is a sentence, no error."""
    assert compare(two).json()["verdict"].startswith("There is no row that both versions can")
    keys = log_rows(two, [0.9] * 3)
    body = [{"prediction_id": key, "actual": 1} for key in keys]
    assert two.client.post("/api/feedback/batch", json=body).status_code == 201
    found = compare(two, source="labelled").json()
    assert (found["rows"], found["labelled"]) == (3, 3)
    assert found["verdict"].startswith("Not enough labels to say which is better: 3 of 30.")


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"a": 0}, 422, "a"),
        ({"b": "x"}, 422, "b"),
        ({"rows": [1]}, 422, "rows"),
        ({"rows": [{}] * 5001}, 422, "rows"),
        ({"rows": [], "source": "rows"}, 422, "rows"),
        ({"rows": [{}], "source": "labelled"}, 422, "source"),
        ({"more": 1}, 422, "more"),
        ({"a": 9}, 404, None),
        ({"model": "no"}, 404, None),
    ],
)
def test_a_wish_that_is_wrong_is_named(
    two: Site, body: dict[str, Any], status: int, field: str | None
) -> None:
    """422 names the field, 404 what is not there."""
    answer = compare(two, **body)
    assert answer.status_code == status, answer.text
    if field:
        assert answer.json()["errors"][0]["field"].startswith(field)


def test_picture_models_are_sent_elsewhere(two: Site) -> None:
    """409 names the route for pictures."""
    two.upload("first")
    answer = compare(two, model="pcb", b=1)
    assert answer.status_code == 409
    assert "/api/compare" in answer.json()["detail"]
