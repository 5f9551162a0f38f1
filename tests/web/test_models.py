"""Versions over HTTP: `/api/models…`, `/api/rollback`, `/api/events`."""

import hashlib
import threading

import httpx
import pytest
from tests.web.conftest import Site, board, problem

S0_KEYS = {
    "version",
    "filename",
    "file_hash",
    "upload_date",
    "deployed_date",
    "is_active",
    "accuracy",
    "avg_inference_time",
    "total_inferences",
    "total_detections",
    "notes",
}


def test_an_upload_is_registered_and_serves(fresh: Site):
    """S0-107: the answer's words, and the version answers pictures at once."""
    answer = fresh.upload("first", notes="Production model v1")
    assert answer.status_code == 200
    body = answer.json()
    assert body["message"] == "Model v1 deployed"
    assert (body["version"], body["model"], body["duplicate"]) == (1, "pcb", False)
    predicted = fresh.predict().json()
    assert predicted["model_version"] == 1
    assert predicted["detections"]
    [listed] = fresh.client.get("/api/models").json()
    assert listed["notes"] == "Production model v1"
    assert fresh.incoming == []


def test_models_are_listed_newest_first_in_the_documented_shape(fresh: Site):
    """S0-105 and S0-106."""
    fresh.upload("first")
    fresh.upload("second")
    fresh.predict()
    listed = fresh.client.get("/api/models").json()
    assert [model["version"] for model in listed] == [2, 1]
    assert listed[0].keys() >= S0_KEYS
    assert [model["is_active"] for model in listed] == [True, False]
    assert [model["loaded"] for model in listed] == [True, False]
    assert listed[0]["total_inferences"] == 1
    assert listed[0]["file_hash"] == hashlib.sha256(fresh.model_file("second")).hexdigest()
    assert listed[0]["upload_date"].endswith("Z")
    detail = fresh.client.get("/api/models/2").json()
    assert detail | listed[0] == detail
    problem(fresh.client.get("/api/models/9"), 404)


@pytest.mark.parametrize("version", ["0", "99999999999", "9" * 400])
def test_a_number_that_cannot_be_a_version_is_named(site: Site, version):
    """422 for the field."""
    body = problem(site.client.get(f"/api/models/{version}"), 422)
    assert body["errors"][0]["field"] == "version"


@pytest.mark.parametrize("version", ["-1", "x", "1.5", "%00", "1;DROP", "v1"])
def test_what_is_no_number_is_no_version(site: Site, version):
    """404: there is nothing of that name."""
    problem(site.client.get(f"/api/models/{version}"), 404)
    problem(site.client.get("/api/models/upload"), 405)


def test_a_model_that_is_not_registered_is_404(site: Site):
    """For every route that takes `?model=`."""
    for path in ("/api/models", "/api/models/1", "/api/stats", "/api/events"):
        problem(site.client.get(path, params={"model": "nobody"}), 404, "nobody")


def test_the_same_file_again_is_the_same_version(fresh: Site):
    """Decision 17: answered with the version there is, and activated."""
    fresh.upload("first")
    fresh.upload("second")
    body = fresh.upload("first").json()
    assert (body["version"], body["duplicate"]) == (1, True)
    assert fresh.client.get("/api/stats").json()["active_version"] == 1


def test_a_version_can_be_uploaded_without_serving(fresh: Site):
    """`activate=false` proves it and leaves serving as it is."""
    fresh.upload("first")
    body = fresh.upload("second", activate="false").json()
    assert body["message"] == "Model v2 registered"
    assert fresh.client.get("/api/stats").json()["active_version"] == 1
    assert fresh.client.get("/api/models/2").json()["status"] == "staging"


def test_another_model_has_versions_of_its_own(fresh: Site):
    """`model_name` at upload, `?model=` afterwards."""
    fresh.upload("first")
    body = fresh.upload("other", model_name="Solder").json()
    assert (body["model"], body["version"]) == ("solder", 1)
    assert [m["version"] for m in fresh.client.get("/api/models?model=solder").json()] == [1]
    assert fresh.predict(model="solder").json()["model"] == "solder"
    assert fresh.predict().json()["model"] == "pcb"


def test_options_override_what_is_recognised(fresh: Site):
    """A JSON object in the form."""
    fresh.upload("first", options='{"labels": ["scratch"], "threshold": 0.25}')
    body = fresh.predict().json()
    assert body["threshold"] == 0.25
    assert body["detections"][0]["label"] == "scratch"


@pytest.mark.parametrize("options", ["{", "[]", '"x"', '{"heads": 1}', '{"threshold": "high"}'])
def test_options_that_are_not_valid_are_refused(site: Site, options):
    """Before anything is registered."""
    before = site.client.get("/api/models").json()
    problem(site.upload("unlike-others", options=options), 422)
    assert site.client.get("/api/models").json() == before
    assert site.incoming == []


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"notes": "x" * 2001}, 422),
        ({"activate": "maybe"}, 422),
        ({"model_name": "../up"}, 422),
        ({"notes": "x" * 70_000}, 413),
    ],
)
def test_fields_that_are_not_valid_are_refused(site: Site, fields, status):
    """And nothing stays behind."""
    before = site.client.get("/api/models").json()
    problem(site.upload("unlike-others", **fields), status)
    assert site.client.get("/api/models").json() == before
    assert site.incoming == []


def test_no_file_and_other_files_are_refused(site: Site):
    """S0-108: 400 with a reason."""
    post = site.client.post
    path = "/api/models/upload"
    problem(post(path, files={"notes": (None, "x")}), 400, "No file provided")
    problem(post(path, files={"model": ("model.txt", b"x")}), 400, "Invalid file type")
    problem(post(path, files={"model": ("model", b"x")}), 400, "Invalid file type")
    problem(post(path, files={"model": (None, "model.onnx")}), 400, "Invalid file type")
    problem(post(path, files={"model": ("m.onnx", b"")}), 400, "empty")
    problem(post(path, files={"model": ("m.onnx", b"x", "image/png")}), 415)
    problem(post(path, json={"model": "x"}), 415)
    two = [("model", ("a.onnx", b"x")), ("file", ("b.onnx", b"y"))]
    problem(post(path, files=two), 400, "more than one")


@pytest.mark.parametrize("content", [b"nothing", b"\x7fELF" + bytes(60), b"PK\x03\x04" + bytes(60)])
@pytest.mark.parametrize("name", ["m.onnx", "m.eim"])
def test_the_content_decides_what_a_file_is(site: Site, name, content):
    """A name makes no model; what was active goes on serving."""
    answer = site.client.post("/api/models/upload", files={"model": (name, content)})
    problem(answer, 400)
    assert site.predict().json()["model_version"] == 1
    assert site.incoming == []


def test_an_onnx_file_may_be_called_eim(fresh: Site):
    """The other way round too: content decides."""
    files = {"model": ("m.eim", fresh.model_file("first"))}
    assert fresh.client.post("/api/models/upload", files=files).status_code == 200
    assert fresh.client.get("/api/models/1").json()["format"] == "onnx"


def test_a_model_that_is_too_large_is_refused(tmp_path):
    """By its length, and while it streams; nothing stays on disk."""
    small = Site(tmp_path / "home", max_model_bytes=100_000)
    try:
        path = "/api/models/upload"
        answer = small.client.post(path, files={"model": ("m.onnx", bytes(1_000_000))})
        problem(answer, 413)
        problem(small.client.post(path, files={"model": ("m.onnx", bytes(150_000))}), 413)
        assert small.incoming == []
    finally:
        small.close()


def test_versions_are_activated(fresh: Site):
    """S0-109, with the reason kept in the history."""
    fresh.upload("first")
    fresh.upload("second")
    answer = fresh.client.post("/api/models/1/activate", json={"reason": "v2 sees ghosts"})
    assert answer.json() == {"message": "Model v1 activated", "version": 1}
    assert fresh.predict().json()["model_version"] == 1
    events = fresh.client.get("/api/events").json()
    assert events[0]["reason"] == "v2 sees ghosts"
    assert (events[0]["model_version"], events[0]["previous_version"]) == (1, 2)
    assert fresh.client.post("/api/models/2/activate").status_code == 200
    problem(fresh.client.post("/api/models/9/activate"), 404)
    problem(fresh.client.post("/api/models/1/activate", json={"why": "x"}), 422)
    problem(fresh.client.post("/api/models/1/activate", json={"reason": "x" * 501}), 422)


def test_switching_versions_fails_no_request(fresh: Site):
    """Clients that never stop see the version change and nothing else."""
    fresh.upload("first")
    fresh.upload("second")
    stop = threading.Event()
    answers: list[tuple[int, int]] = []

    def ask(seed: int) -> None:
        with httpx.Client(base_url=fresh.url, timeout=20) as client:
            while not stop.is_set():
                answer = client.post("/api/predict", files={"image": ("b.png", board(seed=seed))})
                answers.append((answer.status_code, answer.json().get("model_version", 0)))

    clients = [threading.Thread(target=ask, args=(seed,)) for seed in range(3)]
    for client in clients:
        client.start()
    for turn in range(10):
        path = f"/api/models/{1 + turn % 2}/activate"
        assert fresh.client.post(path).status_code == 200
        # The switch has happened by the time it is answered.
        assert fresh.predict().json()["model_version"] == 1 + turn % 2
    stop.set()
    for client in clients:
        client.join()
    assert {status for status, _ in answers} == {200}
    assert {version for _, version in answers} == {1, 2}


def test_versions_are_deleted_but_not_the_active_one(fresh: Site):
    """S0-110: 400 for the active one."""
    fresh.upload("first")
    fresh.upload("second")
    answer = fresh.client.delete("/api/models/1")
    assert answer.json() == {"message": "Model v1 deleted", "version": 1}
    problem(fresh.client.get("/api/models/1"), 404)
    problem(fresh.client.delete("/api/models/1"), 404)
    problem(fresh.client.delete("/api/models/2"), 400, "active")
    assert fresh.predict().status_code == 200


def test_rolling_back_goes_to_the_version_before(fresh: Site):
    """Decision 26, and 409 where there is nothing to go back to."""
    problem(fresh.client.post("/api/rollback", json={}), 409)
    fresh.upload("first")
    problem(fresh.client.post("/api/rollback", json={"reason": "x"}), 409)
    fresh.upload("second")
    answer = fresh.client.post("/api/rollback", json={"reason": "too many false alarms"})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["version"], body["previous_version"], body["model"]) == (1, 2, "pcb")
    assert fresh.predict().json()["model_version"] == 1
    event = fresh.client.get("/api/events").json()[0]
    assert (event["event_type"], event["reason"]) == ("ROLLBACK", "too many false alarms")
    problem(fresh.client.post("/api/rollback", json={"model": "nobody"}), 404)


def test_a_body_that_is_not_json_is_named(site: Site):
    """422, for the routes that take a small JSON body."""
    headers = {"Content-Type": "application/json"}
    problem(site.client.post("/api/rollback", content=b"{", headers=headers), 422)
    problem(site.client.post("/api/rollback", json=[1]), 422)


def test_two_versions_are_compared_on_one_picture(fresh: Site):
    """S0-165's shape, with both answers."""
    fresh.upload("first")
    fresh.upload("second")
    files = {"image": ("b.png", board())}
    answer = fresh.client.post("/api/compare", files=files, data={"a": "1", "b": "v2"})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["model_a"]["version"], body["model_b"]["version"]) == (1, 2)
    keys = {"version", "detections", "avg_confidence", "inference_time"}
    assert body["model_a"].keys() == keys
    assert body["model_a"]["detections"] == len(body["detections_a"]) == 1
    assert body["result_b"]["model_version"] == 2


@pytest.mark.parametrize(
    ("fields", "status", "named"),
    [
        ({"b": "1"}, 422, "a"),
        ({"a": "0", "b": "1"}, 422, "a"),
        ({"a": "1", "b": "x"}, 422, "b"),
        ({"a": "1", "b": "1", "threshold": "x"}, 422, "threshold"),
        ({"a": "1", "b": "77"}, 404, None),
        ({"a": "1", "b": "1", "model": "nobody"}, 404, None),
    ],
)
def test_a_comparison_needs_two_versions(site: Site, fields, status, named):
    """Fields are named, versions that do not exist are 404."""
    files = {"image": ("b.png", board())}
    body = problem(site.client.post("/api/compare", files=files, data=fields), status)
    if named:
        assert body["errors"][0]["field"] == named
