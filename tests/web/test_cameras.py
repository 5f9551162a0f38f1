"""Cameras over HTTP: the field `camera`, what the answer says of a picture, and the log."""

import io
import json
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from tests.serving.boards import board, until
from tests.store.conftest import migrated_schema, postgres_server, postgres_url
from tests.web.conftest import Site

__all__ = ["migrated_schema", "postgres_server", "postgres_url"]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def watched(request, tmp_path) -> Iterator[Site]:
    """A server with a model, on SQLite and on PostgreSQL."""
    given = {}
    if request.param == "postgres":
        given["database_url"] = request.getfixturevalue("postgres_url")
    site = Site(tmp_path / "home", **given)
    site.upload()
    yield site
    site.close()


def dark(seed: int = 0) -> bytes:
    """A picture in which nothing can be seen."""
    pixels = np.full((64, 64, 3), 3, np.uint8)
    pixels[0, 0] = seed
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def test_a_picture_that_is_well_says_so(watched):
    """In both routes; the shape of the documents stays as it was."""
    for path in ("/api/predict", "/predict"):
        answer = watched.predict(path=path, camera="line-2").json()
        assert (answer["camera"], answer["camera_state"]) == ("line-2", "ok")
        assert answer["reliable"] is True
        assert "camera_problems" not in answer
        row = watched.client.get(f"/api/predictions/{answer['prediction_id']}").json()
        assert (row["camera"], row["camera_state"]) == ("line-2", "ok")
        assert row["image_stats"]["problems"] == []
        assert row["image_stats"]["high"] == 1.0
    assert "camera" not in watched.predict().json()


def test_no_detections_on_a_sick_picture_are_not_no_defects(watched):
    """The answer says it is not reliable and why; the log keeps it and finds it by camera."""
    answer = watched.predict(dark(), camera="line-2").json()
    assert (answer["detections"], answer["reliable"]) == ([], False)
    assert answer["camera_state"] == "dark"
    (said,) = answer["camera_problems"]
    assert said.startswith("The picture is too dark: ")
    row = watched.client.get(f"/api/predictions/{answer['prediction_id']}").json()
    assert (row["camera_state"], row["image_stats"]["problems"]) == ("dark", ["dark"])
    found = watched.client.get("/api/predictions", params={"camera": "line-2"}).json()["items"]
    assert [one["prediction_id"] for one in found] == [answer["prediction_id"]]


def test_a_frozen_camera_is_seen_although_its_answers_are_cached(watched):
    """The same file again is not run again, and counts all the same."""
    answers = [watched.predict(camera="line-3").json() for _ in range(6)]
    assert [one["camera_state"] for one in answers] == ["ok"] * 4 + ["frozen"] * 2
    assert [one["cached"] for one in answers] == [False] + [True] * 5
    assert answers[-1]["detections"]
    assert answers[-1]["reliable"] is False


def test_a_camera_has_a_name_of_64_characters_at_most(watched):
    """The error names the field."""
    answer = watched.predict(camera="x" * 65)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "camera"


def test_a_queued_picture_keeps_its_camera(watched):
    """The job's result has it, with its state."""
    job = watched.predict(camera="line-4", **{"async": "true"}).json()
    where = f"/api/jobs/{job['job_id']}"
    until(lambda: watched.client.get(where).json()["status"] == "succeeded")
    state = watched.client.get(where).json()
    assert state["result"]["camera"] == "line-4"
    assert state["result"]["camera_state"] == "ok"


def test_canary_and_comparison_go_over_the_wire(watched):
    """Both sides in the answer, the role in the log, and a canary's own answer."""
    with io.BytesIO(watched.model_file("second")) as file:
        watched.client.post(
            "/api/models/upload",
            files={"model": ("second.onnx", file)},
            data={"activate": "false"},
        )
    watched.platform.engine.traffic.start("pcb", "compare", 2)
    answer = watched.predict(subject="SN-1").json()
    assert answer["model_version"] == 1
    assert answer["comparison"]["model_b"]["version"] == 2
    found = watched.client.get("/api/predictions", params={"role": "compare"}).json()["items"]
    assert [one["model_version"] for one in found] == [2]
    watched.platform.engine.traffic.stop("pcb")
    watched.platform.engine.traffic.start("pcb", "canary", 2, 1.0)
    assert watched.predict(subject="SN-1").json()["model_version"] == 2


def test_nothing_is_looked_at_where_nobody_watches(tmp_path):
    """With watching off a dark picture is answered like any other."""
    site = Site(tmp_path / "home", monitor=False)
    try:
        site.upload()
        answer = site.predict(dark(), camera="line-2").json()
        assert (answer["camera"], answer["reliable"]) == ("line-2", True)
        assert "camera_state" not in answer
        row = site.client.get(f"/api/predictions/{answer['prediction_id']}").json()
        assert (row["camera_state"], row["image_stats"]) == (None, None)
    finally:
        site.close()


def test_the_log_holds_numbers_of_four_digits(watched):
    """A row is kept for months: it must not grow without need."""
    answer = watched.predict(board(seed=3), camera="line-2").json()
    row = watched.client.get(f"/api/predictions/{answer['prediction_id']}").json()
    assert len(json.dumps(row["image_stats"])) < 600
