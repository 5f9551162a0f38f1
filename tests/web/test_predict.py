"""`POST /api/predict`."""

import io
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from PIL import Image
from tests.web.conftest import Site, board, form, post, problem, status_of

S0_KEYS = {
    "model_version",
    "image_name",
    "timestamp",
    "detections",
    "inference_time",
    "image_url",
    "async",
}


@pytest.mark.parametrize("path", ["/api/predict", "/predict", "/api/predict/", "/predict/"])
@pytest.mark.parametrize("field", ["image", "file"])
def test_a_picture_is_answered_in_the_documented_shape(site: Site, path, field):
    """Both paths, both field names and a closing slash give S0's answer and its additions."""
    files = {field: ("board.png", board(16, 24), "image/png")}
    answer = site.client.post(path, files=files)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body.keys() >= S0_KEYS
    assert body["async"] is False
    assert body["model"] == "pcb"
    assert body["model_version"] == 1
    assert body["image_name"] == "board.png"
    assert body["timestamp"].endswith("Z")
    assert (body["image_width"], body["image_height"]) == (64, 64)
    [found] = body["detections"]
    assert found.keys() == {"label", "confidence", "bbox"}
    assert found["label"] == "spot"
    assert found["bbox"] == [16, 24, 8, 8]


def test_the_answer_is_in_the_log_when_it_is_sent(site: Site):
    """What was answered can be read back at once, by its id."""
    body = site.predict(board(seed=3), subject="SN-17", request_id="r-1").json()
    row = site.client.get(f"/api/predictions/{body['prediction_id']}").json()
    assert row["detections"] == body["detections"]
    assert (row["subject"], row["request_id"], row["source"]) == ("SN-17", "r-1", "api")


def test_the_image_url_shows_the_picture(site: Site):
    """`image_url` can be opened as it is, also with a space and letters of other alphabets."""
    body = site.predict(name="плата 7.png").json()
    assert body["image_name"] == "плата 7.png"
    answer = site.client.get(body["image_url"])
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"


def test_the_same_bytes_are_answered_from_the_cache(site: Site):
    """A repeated picture is a new row, told as cached."""
    data = board(seed=77)
    first, second = site.predict(data).json(), site.predict(data).json()
    assert not first["cached"]
    assert second["cached"]
    assert first["prediction_id"] != second["prediction_id"]


def test_the_threshold_comes_from_the_form_or_the_query(site: Site):
    """A form field wins over the query."""
    files = {"image": ("b.png", board())}
    by_query = site.client.post("/api/predict?threshold=0.9", files=files).json()
    both = site.client.post("/api/predict?threshold=0.9", files=files, data={"threshold": "0.1"})
    assert by_query["threshold"] == 0.9
    assert both.json()["threshold"] == 0.1


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"threshold": "high"}, "threshold"),
        ({"threshold": "nan"}, "threshold"),
        ({"threshold": "1.5"}, "threshold"),
        ({"threshold": "-0.1"}, "threshold"),
        ({"async": "perhaps"}, "async"),
        ({"subject": "x" * 256}, "subject"),
        ({"request_id": "a\nb"}, "request_id"),
    ],
)
def test_a_field_that_is_not_valid_is_named(site: Site, fields, named):
    """422 with an entry for the field."""
    body = problem(site.predict(**fields), 422)
    assert [entry["field"] for entry in body["errors"]] == [named]


def test_another_model_is_named_or_not_there(site: Site):
    """A model that is not registered is 404, not the default one's answer."""
    assert site.predict(model="pcb").status_code == 200
    problem(site.predict(model="nobody"), 404, "nobody")
    problem(site.predict(model="../../etc"), 404)


def test_no_file_is_no_image_provided(site: Site):
    """S0's words for a form without a picture."""
    problem(site.client.post("/api/predict", files={"other": ("a.png", board())}), 400, "No image")
    problem(site.client.post("/api/predict", files={"threshold": (None, "0.5")}), 400, "No image")


@pytest.mark.parametrize("name", ["board.txt", "board", "board.png.exe", ".png.sh", "board.svg"])
def test_a_name_without_a_picture_extension_is_refused(site: Site, name):
    """S0-185: the extension is required, and one of four."""
    problem(site.predict(name=name), 400, "Invalid file type")


@pytest.mark.parametrize("name", ["a.JPG", "a.Jpeg", "a.PNG", "a.bmp", "a.b.c.png"])
def test_the_extension_may_be_written_in_any_case(site: Site, name):
    """What the file is, is decided by its content."""
    assert site.predict(name=name).status_code == 200


def test_a_field_without_a_file_name_is_explained(site: Site):
    """`curl -F image=board.jpg` without the @ sends text."""
    answer = site.client.post("/api/predict", files={"image": (None, "board.jpg")})
    problem(answer, 400, "Invalid file type", "without a file name")


@pytest.mark.parametrize("declared", ["text/html", "application/zip", "video/mp4", "nonsense"])
def test_a_declared_type_that_is_no_picture_is_refused(site: Site, declared):
    """S2-39: the declared type is looked at too."""
    files = {"image": ("board.png", board(), declared)}
    problem(site.client.post("/api/predict", files=files), 415, "declared as")


def test_octet_stream_is_what_programs_send(site: Site):
    """A picture declared as nothing in particular is taken."""
    files = {"image": ("board.png", board(), "application/octet-stream")}
    assert site.client.post("/api/predict", files=files).status_code == 200


def test_content_that_is_no_picture_is_refused(site: Site):
    """S0-187: it has to decode, whatever it is called."""
    problem(site.predict(b"#!/bin/sh\nrm -rf /\n"), 400, "Invalid image")
    problem(site.predict(board()[:-40]), 400, "Invalid image")
    problem(site.predict(b""), 400, "Invalid image", "empty")


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(site: Site):
    """A small file can claim to be a huge picture."""
    out = io.BytesIO()
    Image.new("1", (9000, 9000)).save(out, "PNG")
    assert len(out.getvalue()) < 200_000
    problem(site.predict(out.getvalue()), 413, "9000x9000")


def test_a_picture_that_is_too_large_is_refused(site: Site):
    """S0-186, by the announced length before anything is read."""
    problem(site.predict(b"\x89PNG" + bytes(11 * 1024 * 1024)), 413, "File too large")


def test_a_picture_of_unknown_length_is_refused_once_it_is_too_large(site: Site):
    """Chunked bodies announce nothing; they are cut off while they stream."""
    sent = 0

    def body():
        nonlocal sent
        yield b'--XX\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        for _ in range(200):
            sent += 1
            yield bytes(1024 * 1024)

    headers = {"Content-Type": "multipart/form-data; boundary=XX"}
    try:
        answer = httpx.post(f"{site.url}/api/predict", content=body(), headers=headers)
    except httpx.WriteError:
        answer = None
    assert sent < 100
    if answer is not None:
        problem(answer, 413, "File too large")


def test_two_pictures_are_one_too_many(site: Site):
    """Which of them would be answered?"""
    files = [("image", ("a.png", board())), ("file", ("b.png", board()))]
    problem(site.client.post("/api/predict", files=files), 400, "more than one picture")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../../etc/passwd.png", "passwd.png"),
        ("..\\..\\boot.png", "boot.png"),
        ("/etc/shadow.png", "shadow.png"),
        ("\u202egnp.exe.png", "_gnp.exe.png"),
    ],
)
def test_a_name_is_never_more_than_a_name(site: Site, name, kept):
    """Paths, direction overrides and the like are cleaned, and the picture is answered."""
    body = site.predict(name=name).json()
    assert body["image_name"] == kept
    assert site.client.get(body["image_url"]).status_code == 200


def test_a_very_long_name_is_cut(site: Site):
    """10 000 letters are no reason to refuse a picture."""
    body = site.predict(name="a" * 10_000 + ".png").json()
    assert len(body["image_name"]) <= 120
    assert body["image_name"].endswith(".png")


def test_a_json_row_finds_no_tabular_model(site: Site):
    """Decision 13: JSON is for tabular models, of which there are none here."""
    post = site.client.post
    problem(post("/api/predict", json={"age": 54}), 404, "No tabular model")
    problem(post("/predict", json={"model": "pcb", "features": {}}), 415, "takes pictures")
    problem(post("/predict", json={"model": "heart-disease", "features": {}}), 404, "heart-disease")
    problem(post("/predict", json={"model": 7}), 422)
    problem(post("/predict", json=[1, 2]), 422)
    headers = {"Content-Type": "application/json"}
    problem(post("/predict", content=b"{", headers=headers), 400, "not JSON")
    problem(post("/predict", content=b'"' + b"x" * 300_000, headers=headers), 413)


@pytest.mark.parametrize("declared", ["text/plain", "image/png", "application/xml", ""])
def test_another_content_type_is_415(site: Site, declared):
    """Decision 13: neither a form nor JSON."""
    headers = {"Content-Type": declared} if declared else {}
    problem(site.client.post("/api/predict", content=board(), headers=headers), 415)


def test_an_async_picture_becomes_a_job_with_the_same_answer(site: Site):
    """202 with a job id; the job's result is what the route would have answered."""
    data = board(seed=1234)
    answer = site.predict(data, **{"async": "true"})
    assert answer.status_code == 202
    accepted = answer.json()
    assert accepted["message"] == "Job queued for async processing"
    assert accepted["async"] is True
    assert isinstance(accepted["queue_size"], int)
    deadline = time.monotonic() + 15
    while (job := site.client.get(f"/api/jobs/{accepted['job_id']}").json())[
        "status"
    ] != "succeeded":
        assert job["status"] in {"queued", "running"}
        assert time.monotonic() < deadline
        time.sleep(0.05)
    result = job["result"]
    assert result["prediction_id"] == accepted["prediction_id"]
    assert result["detections"] == site.predict(data).json()["detections"]
    assert site.client.get(result["image_url"]).status_code == 200


def test_an_async_picture_is_checked_while_somebody_listens(site: Site):
    """A damaged picture is refused at once, not by a failed job later."""
    problem(site.predict(b"nothing", **{"async": "1"}), 400, "Invalid image")
    problem(site.predict(model="nobody", **{"async": "yes"}), 404)


def test_without_a_model_the_answer_is_503(fresh: Site):
    """No model: try again when there is one."""
    answer = fresh.predict()
    problem(answer, 503)
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.slow
def test_two_hundred_clients_at_once_are_all_answered(site: Site):
    """Each on a connection of its own, each with a picture of its own."""

    def one(seed: int) -> int:
        body = form(("image", "board.png", board(seed=seed)))
        return status_of(site.send(post("/api/predict", body), wait=60))

    with ThreadPoolExecutor(200) as pool:
        statuses = list(pool.map(one, range(1, 201)))
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 190
