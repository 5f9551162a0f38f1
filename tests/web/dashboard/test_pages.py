"""The pages over a real server, without a browser."""

import re
from html import unescape

import numpy as np
import pytest
from PIL import Image
from tests.serving.boards import board, until
from tests.web.conftest import KEY
from tests.web.dashboard.test_templates import Page

from andon.logs import logging_stop
from andon.platform import Platform
from andon.settings import Settings
from andon.web.dashboard import inspection, overview, state

HTML = {"Accept": "text/html"}


def text(answer) -> str:
    """The words of a page."""
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return re.sub(r"\s+", " ", Page(answer.text).words)


def ids(answer) -> list[str]:
    """The inspections a page shows, in order."""
    return re.findall(r'class="shot" data-key="([^"]+)"', answer.text)


@pytest.mark.parametrize("path", ["/", "/inspect", "/models"])
def test_every_page_is_there_from_the_first_minute(fresh, path):
    """Without any model a page says what to do."""
    answer = fresh.client.get(path)
    assert answer.status_code == 200
    assert "Deploy a model" in text(answer)
    assert answer.headers["cache-control"] == "no-store"


def test_the_overview_tells_what_happened(fresh):
    """Numbers, verdict and deployment come from the log."""
    fresh.upload("first")
    fresh.predict(board(), name="told.png")
    said = text(fresh.client.get("/"))
    assert "1 defect: spot 1.00" in said
    assert "v1 began to serve" in said
    assert "told.png" in said


def test_an_inspection_has_an_address(site):
    """The page of an inspection needs no script: boxes, list and verdict are in it."""
    answer = site.predict(board(16, 24), name="linked.png").json()
    page = site.client.get(f"/inspect?id={answer['prediction_id']}")
    assert '<rect class="edge" x="16" y="24" width="8" height="8"' in page.text
    assert f"/api/predictions/{answer['prediction_id']}/image" in page.text
    assert "linked.png · Inspect" in page.text


@pytest.mark.parametrize("name", ["01931111-0000-7000-8000-000000000000", "nonsense", "%00", "'--"])
def test_an_unknown_inspection_is_told(site, name):
    """A cut or old link leads to a page that says so, never to an error."""
    answer = site.client.get(f"/inspect?id={name}")
    assert answer.status_code == 404
    assert "not in the log" in text(answer)


def test_a_failed_inspection_says_why(fresh):
    """Its address shows the reason."""
    fresh.upload()
    fresh.predict(b"\x89PNG\r\n\x1a\nno", name="bad.png")
    # Nobody waits for the row of a failure, so it may come a moment later.
    until(lambda: fresh.client.get("/api/predictions?status=error").json()["items"])
    (row,) = fresh.client.get("/api/predictions?status=error").json()["items"]
    said = text(fresh.client.get(f"/inspect?id={row['prediction_id']}"))
    assert "bad.png could not be inspected" in said


def test_the_gallery_filters_and_pages(fresh):
    """Filters keep their meaning over pages; every inspection comes up exactly once."""
    fresh.upload()
    dark = board(0, 0, seed=1)
    for number in range(30):
        fresh.predict(board(), name=f"found-{number}.png")
        if number % 3 == 0:
            fresh.predict(_blank(), name=f"blank-{number}.png")
    fresh.predict(dark + b"", name="last.png")
    seen: list[str] = []
    path = "/inspect?only=found"
    while path:
        page = fresh.client.get(path)
        seen += ids(page)
        older = re.search(r'href="(/inspect\?[^"]*before=[^"]*)#gallery" rel="next"', page.text)
        path = unescape(older[1]) if older else ""
    assert len(seen) == len(set(seen)) == 31
    assert len(ids(fresh.client.get("/inspect?only=none"))) == 10
    assert len(ids(fresh.client.get("/inspect?label=spot"))) == 24
    assert "No inspection matches" in text(fresh.client.get("/inspect?label=rust"))
    assert "No inspection matches" in text(fresh.client.get("/inspect?only=failed"))
    assert len(ids(fresh.client.get("/inspect?only=hostile%22%3E"))) == 24


def _blank() -> bytes:
    # Grey: of a black picture nobody could say that there is nothing.
    return inspection._png(np.full((64, 64), 100, np.uint8))


def test_fainter_finds_are_told_without_being_logged(fresh):
    """They come from the cache, and after a restart of the cache from the kept picture."""
    fresh.upload()
    answer = fresh.predict(board(), threshold="0.9").json()
    path = f"/inspect/fainter/{answer['prediction_id']}"
    first = fresh.client.get(path).json()
    assert first["floor"] == inspection.FLOOR
    assert [one["bbox"] for one in first["detections"]] == [[16, 24, 8, 8]]
    fresh.platform.engine.cache.clear()
    assert fresh.client.get(path).json() == first
    assert len(fresh.client.get("/api/predictions").json()["items"]) == 1


def test_fainter_finds_of_a_version_that_does_not_serve_are_out_of_reach(fresh):
    """Looking back never loads a second model."""
    fresh.upload("first")
    answer = fresh.predict(board()).json()
    fresh.upload("second")
    fresh.platform.engine.cache.clear()
    told = fresh.client.get(f"/inspect/fainter/{answer['prediction_id']}").json()
    assert told == {"floor": 0.5, "detections": None, "reason": "v1 is not loaded."}
    assert fresh.client.get("/inspect/fainter/nonsense").status_code == 404


def test_a_sample_board_is_a_picture(site):
    """The same seed draws the same board."""
    answer = site.client.get("/inspect/sample?seed=7")
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-name"] == "sample-board-7.png"
    assert answer.content == inspection.sample_board(7)
    assert site.client.get("/inspect/sample?seed=-1").status_code == 422


def test_unknown_things_are_pages_for_people_and_problems_for_programs(site):
    """The browser gets a readable page with a way on."""
    for path in ("/models/99", "/?model=nothing", "/nowhere"):
        page = site.client.get(path, headers=HTML)
        assert page.status_code == 404, path
        assert "There is nothing here" in text(page)
    program = site.client.get("/models/99", headers={"Accept": "application/json"})
    assert program.headers["content-type"] == "application/problem+json"


def test_signing_in_shows_the_pages(closed):
    """A stranger is led to the sign-in page, which looks right before anybody signed in."""
    stranger = closed.client.get("/models", headers=HTML)
    assert (stranger.status_code, stranger.headers["location"]) == (303, "/login?next=/models")
    form = closed.client.get(stranger.headers["location"], headers=HTML)
    assert 'name="next" value="/models"' in form.text
    for path in ("/static/base.css", "/static/theme.js", "/static/shell.js", "/static/favicon.svg"):
        assert closed.client.get(path).status_code == 200, path
    wrong = closed.client.post("/login", data={"key": "wrong", "next": "/models"}, headers=HTML)
    assert wrong.status_code == 401
    assert "not the key" in text(wrong)
    right = closed.client.post("/login", data={"key": KEY, "next": "/models"}, headers=HTML)
    assert right.headers["location"] == "/models"
    assert "Sign out" in text(closed.client.get("/models", headers=HTML))


@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "https://evil.example"])
def test_signing_in_never_leads_elsewhere(closed, target):
    """A link to the sign-in page cannot carry an address of somebody else."""
    page = closed.client.get("/login", params={"next": target}, headers=HTML)
    assert "evil.example" not in page.text


def test_a_damaged_file_is_told_with_what_serves_instead(fresh, tmp_path):
    """After a restart with a changed file: v1 serves, and the lamp and the card say why."""
    fresh.upload("first")
    fresh.upload("second")
    fresh.platform.stop()
    path = fresh.home / "models" / "pcb" / "model_v2.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    platform = Platform(Settings(home=fresh.home, watch=False, _env_file=None))
    platform.start(serve=True)
    try:
        page = overview.page(platform, "pcb")
        assert page.lamp.color == "yellow"
        assert "v2" in page.lamp.reasons[0].text
        assert "v1 serves" in page.lamp.reasons[0].text
        assert page.active is not None
        assert (page.active.number, page.active.loaded) == (1, True)
        path.with_name("model_v1.onnx").unlink()
    finally:
        platform.stop()
    platform = Platform(Settings(home=fresh.home, watch=False, _env_file=None))
    platform.start(serve=True)
    try:
        assert overview.page(platform, "pcb").lamp.color == "red"
    finally:
        platform.stop()
        logging_stop()


def test_a_file_that_the_watch_folder_refuses_is_told(tmp_path):
    """Dropped in, moved aside, and on the Overview with its reason."""
    home = tmp_path / "home"
    settings = Settings(home=home, watch_settle=0.1, watch_timeout=0.2, _env_file=None)
    platform = Platform(settings)
    platform.start(serve=True)
    try:
        (settings.deploy / "notes.txt").write_text("these are only words")
        until(lambda: list(settings.deploy.glob("rejected/*.reason.txt")))
        said = " ".join(reason.text for reason in overview.page(platform, "pcb").lamp.reasons)
        assert "notes.txt in the watch folder was refused" in said
        assert ".onnx and .eim" in said
    finally:
        platform.stop()
        logging_stop()


def test_another_model_has_pages_of_its_own(fresh):
    """The chooser appears with the second model, and every page takes its name."""
    fresh.upload("first")
    fresh.upload("second", model_name="gaskets")
    for path in ("/", "/inspect", "/models", "/models/1"):
        page = fresh.client.get(path, params={"model": "gaskets"})
        assert page.status_code == 200
        assert "<body data-page" in page.text
        assert 'data-model="gaskets"' in page.text
        assert "?model=pcb" in page.text


def test_a_database_that_fails_leaves_the_overview_standing(fresh, monkeypatch):
    """The lamp is red and says it; the page is no error page."""
    fresh.upload("first")

    def fail(*_given, **_named):
        raise state.AndonError("The disk is gone.")

    monkeypatch.setattr(type(fresh.platform.db.models), "list", fail)
    page = fresh.client.get("/")
    assert page.status_code == 200
    assert "The database cannot be used" in text(page)
    assert "The disk is gone." in text(page)


def test_pictures_that_are_gone_are_not_asked_for(fresh):
    """A swept picture leaves words in its place, not a broken image."""
    fresh.upload("first")
    fresh.predict(board())
    for path in (fresh.home / "uploads").rglob("*.png"):
        path.unlink()
    page = fresh.client.get("/inspect")
    assert "No picture kept" in text(page)
    assert Page(page.text).all("img") == []


def test_the_favicon_is_where_browsers_look(site):
    """Asked for or not."""
    for path in ("/favicon.ico", "/static/favicon.svg"):
        assert site.client.get(path).headers["content-type"].startswith("image/svg+xml")


def test_pictures_that_lie_about_their_size_are_no_reason_to_fail(site):
    """A page with a wide picture renders its boxes in the picture's own pixels."""
    wide = Image.new("RGB", (400, 20), "black")
    site.predict(inspection._png(np.asarray(wide)), name="wide.png")
    assert 'viewBox="0 0 400 20"' in site.client.get("/inspect").text
