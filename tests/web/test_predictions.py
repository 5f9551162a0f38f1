"""The log over HTTP, and its pictures."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from tests.web.conftest import Site, board, problem


@pytest.fixture(scope="module")
def logged(site: Site) -> list[str]:
    """Seven answers about one subject, oldest first."""
    return [
        site.predict(board(seed=900 + n), f"b{n}.png", subject="paged").json()["prediction_id"]
        for n in range(7)
    ]


def test_pages_follow_each_other_without_gaps(site: Site, logged):
    """Newest first; the cursor leads on; the last page has none."""
    seen, cursor = [], None
    while True:
        params = {"subject": "paged", "limit": 3} | ({"cursor": cursor} if cursor else {})
        body = site.client.get("/api/predictions", params=params).json()
        seen += [row["prediction_id"] for row in body["items"]]
        cursor = body["next_cursor"]
        if cursor is None:
            break
    assert seen == logged[::-1]


def test_filters_narrow_the_log(site: Site, logged):
    """By label, version, model, status, source and time."""
    get = site.client.get

    def count(**params) -> int:
        answer = get("/api/predictions", params={"subject": "paged", **params})
        assert answer.status_code == 200, answer.text
        return len(answer.json()["items"])

    assert count() == 7
    assert count(label="spot") == 7
    assert count(label="scratch") == 0
    assert count(version=1) == 7
    assert count(version=2) == 0
    assert count(model="pcb", status="success", source="api") == 7
    assert count(status="error") == 0
    now = datetime.now(UTC)
    assert count(since=(now - timedelta(hours=1)).isoformat()) == 7
    assert count(since=(now + timedelta(hours=1)).isoformat()) == 0
    assert count(until=(now + timedelta(hours=1)).isoformat().replace("+00:00", "Z")) == 7
    assert count(since="2020-01-01T00:00:00+02:00") == 7


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cursor", "nonsense"),
        ("cursor", "' OR 1=1"),
        ("limit", "0"),
        ("limit", "501"),
        ("limit", "many"),
        ("since", "2026-01-01T00:00:00"),
        ("since", "yesterday"),
        ("since", "1700000000"),
        ("until", "2026-13-01T00:00:00Z"),
        ("status", "fine"),
        ("version", "0"),
        ("label", "x" * 256),
    ],
)
def test_a_parameter_that_is_not_valid_is_named(site: Site, field, value):
    """Decision 11 included: a time without an offset is refused, not guessed."""
    body = problem(site.client.get("/api/predictions", params={field: value}), 422, field)
    assert [entry["field"] for entry in body["errors"]] == [field]


@pytest.mark.parametrize("written", ["2026-11-21", "2026-11-21T08:00:00", "2026-11-21 08:00"])
def test_a_time_of_no_zone_is_told_what_it_lacks(site: Site, written):
    """In words of this program, not of a library."""
    body = problem(site.client.get("/api/predictions", params={"since": written}), 422)
    says = "must carry Z or a UTC offset, such as 2026-01-31T12:00:00Z"
    assert body["errors"] == [{"field": "since", "detail": says}]


def test_a_row_has_everything_that_was_said(site: Site, logged):
    """One answer by its id."""
    row = site.client.get(f"/api/predictions/{logged[0]}").json()
    assert row["status"] == "success"
    assert row["image_name"] == "b0.png"
    assert row["detections"][0]["bbox"] == [16, 24, 8, 8]
    assert row["timestamp"].endswith("Z")
    assert site.client.get(row["image_url"]).status_code == 200
    assert site.client.get(row["picture_url"]).content == board(seed=900)


def test_an_id_that_does_not_exist_is_404_and_no_id_is_422(site: Site):
    """For the row and for its picture."""
    for path in ("/api/predictions/{}", "/api/predictions/{}/image", "/api/jobs/{}"):
        problem(site.client.get(path.format(uuid.uuid4())), 404)
        problem(site.client.get(path.format("1")), 422)


def test_the_uploaded_picture_is_cached_and_shown_in_place(site: Site, logged):
    """Type, disposition, ETag, and 304 for who has it."""
    path = f"/api/predictions/{logged[1]}/image"
    answer = site.client.get(path)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == 'inline; filename="b1.png"'
    assert "max-age" in answer.headers["cache-control"]
    again = site.client.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = site.client.head(path)
    assert head.headers["content-length"] == str(len(answer.content))
    assert head.content == b""


def test_a_picture_that_was_swept_is_404(site: Site):
    """The row stays."""
    body = site.predict(board(seed=4321), "swept.png").json()
    row = site.platform.db.predictions.get(body["prediction_id"])
    site.platform.pictures.get(row.image_hash, row.image_format).unlink()
    problem(site.client.get(f"/api/predictions/{row.id}/image"), 404, "not kept")
    problem(site.client.get(body["image_url"]), 404, "not kept")


def test_the_annotated_picture_is_found_by_id_and_by_name(site: Site):
    """S0-115's form means the newest answer to that name."""
    site.predict(board(16, 24), "twice.png")
    newest = site.predict(board(40, 40), "twice.png").json()
    by_id = site.client.get(newest["image_url"])
    by_name = site.client.get("/output/result_twice.png")
    assert by_id.status_code == by_name.status_code == 200
    assert by_id.content == by_name.content
    assert by_id.content != board(40, 40)
    assert by_id.headers["content-type"] == "image/png"
    assert by_id.headers["content-disposition"].startswith("inline")
    assert "immutable" in by_id.headers["cache-control"]
    assert "no-cache" in by_name.headers["cache-control"]
    etag = {"If-None-Match": by_name.headers["etag"]}
    assert site.client.get("/output/result_twice.png", headers=etag).status_code == 304


def test_a_jpeg_is_annotated_as_a_jpeg(site: Site):
    """As it was uploaded."""
    body = site.predict(board(kind="JPEG"), "b.jpg").json()
    answer = site.client.get(body["image_url"])
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content[:2] == b"\xff\xd8"


@pytest.mark.parametrize(
    "path",
    [
        "/output/result_nobody.png",
        "/output/board.png",
        "/output/..%2f..%2fandon.db",
        "/output/%2e%2e/andon.db",
        "/output/result_..%2f..%2fandon.db",
        "/output/result_%00",
        "/output/%2fetc%2fpasswd",
        "/output/",
        "/output",
        "/static/../../app.py",
        "/static/..%2f..%2fapp.py",
        "/static/%2e%2e/pages.py",
        "/docs/assets/..%2f..%2fserver.py",
        "/docs/assets/nothing.js",
    ],
)
def test_no_path_leads_out(site: Site, path):
    """Every one of these is a plain 404."""
    answer = site.client.get(path)
    assert answer.status_code == 404
    assert b"SQLite" not in answer.content
    assert b"root:" not in answer.content


def test_jobs_are_listed(site: Site):
    """Newest first, by status."""
    job = site.predict(board(seed=55), **{"async": "true"}).json()["job_id"]
    body = site.client.get("/api/jobs").json()
    assert body["items"][0]["job_id"] == job
    problem(site.client.get("/api/jobs?status=lost"), 422, "status")
    assert site.client.get("/api/jobs?status=failed&limit=1").status_code == 200
