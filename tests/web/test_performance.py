"""Performance and trends over HTTP."""

from collections.abc import Iterator

import pytest
from tests.web.conftest import Site
from tests.web.rows import MODEL, log_rows, upload_heart


@pytest.fixture(scope="module")
def heart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server whose model `heart` has one active version with forty answers."""
    made = Site(tmp_path_factory.mktemp("performance") / "home")
    try:
        assert upload_heart(made).status_code == 200
        log_rows(made, [0.1, 0.9] * 20, confidence_scores=[0.9])
        yield made
    finally:
        made.close()


def test_a_version_is_measured_when_somebody_asks(heart: Site) -> None:
    """The active one unless told otherwise; an estimate is called one."""
    answer = heart.client.get("/api/performance", params={"model": MODEL})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["model"], found["version"], found["window"]) == (MODEL, 1, "100")
    window = found["performance"]
    assert (window["count"], window["errors"], window["error_rate"]) == (40, 0, 0.0)
    assert window["baseline_ms"] is None
    assert window["predictions"] == {"0": 0.5, "1": 0.5}
    assert window["accuracy"]["name"] == "estimated_accuracy"
    assert window["accuracy"]["value"] == pytest.approx(0.9)
    few = heart.client.get("/api/performance", params={"model": MODEL, "window": "10"}).json()
    assert few["performance"]["count"] == 10


@pytest.mark.parametrize(
    ("path", "params", "status"),
    [
        ("/api/performance", {"model": "nobody"}, 404),
        ("/api/performance", {"model": MODEL, "version": 9}, 404),
        ("/api/performance", {"model": MODEL, "window": "soon"}, 422),
        ("/api/trends", {"model": MODEL, "metric": "luck"}, 422),
        ("/api/trends", {"model": MODEL, "days": 0}, 422),
    ],
)
def test_what_cannot_be_told_is_a_problem(
    heart: Site, path: str, params: dict[str, object], status: int
) -> None:
    """With the reason."""
    answer = heart.client.get(path, params=params)
    assert answer.status_code == status
    assert answer.json()["detail"].endswith(".")


def test_trends_tell_versions_apart(heart: Site) -> None:
    """And mark what changed."""
    version = heart.platform.db.models.get(MODEL, 1)
    heart.platform.db.metrics.add(version.id, {"confidence": 0.9})
    query = {"model": MODEL, "metric": "confidence", "days": 7}
    found = heart.client.get("/api/trends", params=query).json()
    assert found["meaning"] == "Mean confidence, 0 to 1"
    (line,) = found["lines"]
    assert (line["version"], line["points"][-1]["value"]) == (1, 0.9)
    assert found["marks"][0]["event"] == "ACTIVATE"
