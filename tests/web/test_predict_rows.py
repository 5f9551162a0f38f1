import json
from collections.abc import Iterator

import pytest
from tests.support.tabular_models import ROW, heart
from tests.web.conftest import Site, problem

MODEL = "heart-disease"


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with a tabular model and a model of pictures."""
    folder = tmp_path_factory.mktemp("ward")
    made = Site(folder / "home")
    try:
        files = {"model": ("heart.onnx", heart(folder / "heart.onnx").read_bytes())}
        answer = made.client.post("/api/models/upload", files=files)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"] == MODEL
        assert made.upload("first").status_code == 200
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("path", ["/predict", "/api/predict"])
def test_a_bare_row_is_answered_by_the_default_model(ward, path):
    """S4's body, as it is."""
    answer = ward.client.post(path, json=ROW)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body["prediction"] == 1
    assert body["label"] == "disease"
    assert body["probability"] == body["probabilities"]["1"]
    assert (body["model"], body["model_version"], body["threshold"]) == (MODEL, 1, 0.4)
    assert body["latency_ms"] >= 0
    assert len(body["prediction_id"]) == 36
    assert "explanation" not in body


def test_a_row_with_more_about_it_is_answered(ward):
    """Whom it is about, the caller's id, and why."""
    asked = {
        "model": MODEL,
        "features": {**ROW, "oldpeak": 4.0},
        "subject": "P-1",
        "request_id": "r-9",
        "version": 1,
        "explain": True,
    }
    body = ward.client.post("/predict", json=asked).json()
    assert body["explanation"][0]["feature"] == "oldpeak"
    logged = ward.client.get(f"/api/predictions/{body['prediction_id']}").json()
    assert (logged["subject"], logged["request_id"]) == ("P-1", "r-9")
    assert logged["prediction"] == "1"
    assert logged["image_url"] is None


def test_the_query_may_name_model_and_explanation(ward):
    """For bare rows."""
    body = ward.client.post(f"/predict?model={MODEL}&version=1&explain=true", json=ROW).json()
    assert body["explanation"]


def test_wrong_fields_are_named(ward):
    """422, with an entry for each field."""
    row = {**ROW, "age": 300, "colour": "red"}
    del row["thal"]
    body = problem(ward.client.post("/predict", json=row), 422, "age", "thal", "colour")
    assert [error["field"] for error in body["errors"]] == ["age", "thal", "colour"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"model": MODEL}, "features"),
        ({"model": MODEL, "features": [1]}, "features"),
        ({"features": {}, "extra": 1}, "extra"),
        ({"features": {}, "async": True}, "async"),
        ({"features": ROW, "subject": 7}, "subject"),
        ({"features": ROW, "subject": "a\x00b"}, "subject"),
        ({"features": ROW, "request_id": "x" * 300}, "request_id"),
        ({"features": ROW, "version": 0}, "version"),
        ({"features": ROW, "version": True}, "version"),
        ({"features": ROW, "explain": "yes"}, "explain"),
        ({"model": ["x"], "features": ROW}, "model"),
    ],
)
def test_a_member_that_does_not_fit_is_named(ward, body, field):
    """What stands beside the features is checked too."""
    found = problem(ward.client.post("/predict", json=body), 422, field)
    assert [error["field"] for error in found["errors"]] == [field]


def test_what_cannot_be_answered_says_why(ward):
    """No such model or version; a model of pictures; no JSON; later."""
    post = ward.client.post
    problem(post("/predict", json={"model": "nobody", "features": ROW}), 404, "nobody")
    problem(post("/predict", json={"features": ROW, "version": 9}), 404, "9")
    problem(post("/predict", json={"model": "pcb", "features": ROW}), 415, "takes pictures")
    problem(post("/predict?async=true", json=ROW), 422, "async")
    headers = {"Content-Type": "application/json"}
    problem(post("/predict", content=b"{", headers=headers), 400, "not JSON")
    problem(post("/predict", content=b'{"thal": "\xff"}', headers=headers), 400, "not JSON")
    half = b'{"age": 1e400, "\\ud800": 1}'
    problem(post("/predict", content=half, headers=headers), 400, "not JSON")
    problem(post("/predict", content=b'{"a":' * 40_000, headers=headers), 400, "not JSON")
    problem(post("/predict", content=b'{"age": NaN}', headers=headers), 400, "value is null")
    problem(ward.predict(model=MODEL), 415, "takes rows")


def test_a_number_that_is_too_large_is_named(ward):
    """Not only that there is one somewhere."""
    body = json.dumps(ROW | {"age": 54}).replace("54", "1e999").encode()
    headers = {"Content-Type": "application/json"}
    found = problem(ward.client.post("/predict", content=body, headers=headers), 422, "age")
    assert [error["field"] for error in found["errors"]] == ["age"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_row_of_another_type_is_told_which_to_name(ward, kind):
    """JSON, not only the form of pictures."""
    answer = ward.client.post("/predict", content=b"{}", headers={"Content-Type": kind})
    problem(answer, 415, "Send a row as application/json, a picture as multipart/form-data")


def test_a_model_without_an_active_version_is_not_loaded(fresh, tmp_path):
    """503, with what to do."""
    files = {"model": ("heart.onnx", heart(tmp_path / "h.onnx").read_bytes())}
    fresh.client.post("/api/models/upload", files=files, data={"activate": "false"})
    answer = fresh.client.post("/predict", json=ROW)
    problem(answer, 503, "no active version")
    assert int(answer.headers["retry-after"]) >= 1


def test_rows_are_counted_under_their_model(ward):
    """Prometheus, by model label."""
    ward.client.post("/predict", json=ROW)
    ward.client.post("/predict", json={})
    text = ward.client.get("/metrics").text
    labels = 'model="heart-disease",model_version="v1"'
    assert f'andon_inferences_total{{{labels},status="success"}}' in text
    assert f'andon_inferences_total{{{labels},status="error"}}' in text
    assert f"andon_inference_latency_seconds_count{{{labels}}}" in text


def test_the_version_shows_what_its_rows_hold(ward):
    """Forms are made of it."""
    (shown,) = ward.client.get("/api/models", params={"model": MODEL}).json()
    assert shown["description"]["task"] == "tabular-classification"
    names = [feature["name"] for feature in shown["description"]["rows"]["features"]]
    assert names == list(ROW)
