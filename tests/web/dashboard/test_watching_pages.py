"""Performance, Drift and Trends over a real server with a past, without a browser."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from tests.web.conftest import Site
from tests.web.dashboard import watched
from tests.web.dashboard.test_pages import HTML, text
from tests.web.dashboard.trainings import MODEL, ask, deploy

from andon.store.clock import now

PATHS = ("/performance", "/drift", "/trends")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server whose pcb v1 has answered for hours, and a model of rows beside it."""
    made = Site(tmp_path_factory.mktemp("watched") / "home", monitor=False)
    try:
        assert made.upload("first").status_code == 200
        deploy(made)
        version = watched.active(made)
        watched.answers(made.platform, version, 300, camera="top", camera_state="ok")
        watched.numbers(made.platform, version, 20)
        watched.report(made.platform, version)
        yield made
    finally:
        made.close()


def said(site: Site, path: str, **given: str) -> str:
    """The words of a page that is there."""
    answer = site.client.get(path, params=given, headers=HTML)
    assert answer.status_code == 200, answer.text[:400]
    assert answer.headers["cache-control"] == "no-store"
    return text(answer)


@pytest.mark.parametrize("path", PATHS)
def test_a_page_stands_before_there_is_any_model(fresh, path):
    """It says so, and what to do."""
    words = said(fresh, path)
    assert "No version serves yet" in words or "There is nothing to tell yet" in words


@pytest.mark.parametrize("path", PATHS)
def test_a_page_stands_before_anything_was_answered(fresh, path):
    """Not enough data is a state of its own, and no error."""
    fresh.upload("first")
    words = said(fresh, path)
    assert "Too few answers to say" in words or "yet" in words
    assert 'aria-current="page">' in fresh.client.get(path).text


@pytest.mark.parametrize("path", PATHS)
def test_every_page_leads_to_the_others(shop, path):
    """Six pages under one roof, and the model stays chosen."""
    page = shop.client.get(path, params={"model": MODEL}).text
    for other in PATHS:
        assert f'href="{other}?model={MODEL}"' in page
    for other in ("/alerts", "/approvals", "/activity"):
        assert f'href="{other}"' in page


def test_the_performance_page_begins_with_its_verdict(shop):
    """One sentence first, then what is watched, then the numbers."""
    words = said(shop, "/performance", model="pcb")
    verdict = words.index("v1 does what it did")
    assert verdict < words.index("What is watched") < words.index("In numbers")
    for part in ("Answer time", "Confidence", "baseline", "Detections by label", "spot"):
        assert part in words, part


def test_an_estimate_of_accuracy_is_called_one(shop):
    """Wherever the number stands, the word stands beside it."""
    words = said(shop, "/performance", model="pcb")
    assert "Accuracy estimated" in words


def test_a_version_that_became_slow_is_told_of_with_its_factor(fresh):
    """The sentence says how much slower, and slower than what."""
    fresh.upload("first")
    watched.answers(fresh.platform, watched.active(fresh), 300, slow_from=150)
    words = said(fresh, "/performance")
    assert "times as long as usual" in words
    assert "Bad 21 ms" in words


def test_windows_are_chosen_by_address(shop):
    """A number of answers or a span; anything else is told, not refused."""
    assert "the last 1 000 answers" in said(shop, "/performance", model="pcb", window="1000")
    assert "the last hour" in said(shop, "/performance", model="pcb", window="1h")
    words = said(shop, "/performance", model="pcb", window="forever")
    assert "There is no window called forever" in words
    assert "the last 100 answers" in words


def test_a_window_without_answers_says_so(fresh):
    """The numbers give way to a sentence."""
    fresh.upload("first")
    late = now() - timedelta(days=2)
    watched.answers(fresh.platform, watched.active(fresh), 40, until=late)
    assert "v1 answered nothing in the last hour" in said(fresh, "/performance", window="1h")


def test_a_window_with_more_answers_than_are_looked_at_says_so(fresh):
    """A week of a busy line is not read to its end every few seconds."""
    fresh.upload("first")
    version = watched.active(fresh)
    watched.answers(fresh.platform, version, 5_100, every=timedelta(seconds=1))
    words = said(fresh, "/performance", window="24h")
    assert "the newest 5 000 answers of the last 24 hours" in words


def test_a_version_that_is_not_there_is_not_found(shop):
    """With a way back."""
    answer = shop.client.get("/performance?model=pcb&version=99", headers=HTML)
    assert answer.status_code == 404
    assert "pcb has no version 99" in text(answer)


def test_a_model_of_rows_has_its_own_words(shop):
    """No pictures, no cameras, no labels."""
    for age in range(30, 60):
        ask(shop, age=age)
    words = said(shop, "/performance", model=MODEL)
    assert "Answers by what they said" in words
    assert "Detections" not in words
    assert "Cameras" not in said(shop, "/drift", model=MODEL)


def test_the_drift_page_begins_with_what_moved(shop):
    """The sentence, what was compared, the distributions, every feature."""
    words = said(shop, "/drift", model="pcb")
    verdict = words.index("Brightness and 1 other have moved away from what v1 knows")
    assert verdict < words.index("What was compared") < words.index("What moved most")
    for part in ("Labels found", "Everything compared", "scratch", "p, corrected", "Reports"):
        assert part in words, part


def test_drift_shows_every_camera_with_its_newest_picture(shop):
    """Its state, how many pictures were looked at, and a link to the last one."""
    page = shop.client.get("/drift?model=pcb").text
    assert "0 % of 20 pictures" in said(shop, "/drift", model="pcb")
    assert 'href="/inspect?id=' in page


def test_a_sick_camera_is_told_of(fresh):
    """With what is wrong; it is no drift."""
    fresh.upload("first")
    version = watched.active(fresh)
    watched.answers(fresh.platform, version, 30, camera="line-2", camera_state="dark")
    words = said(fresh, "/drift")
    assert "line-2" in words
    assert "Sick" in words
    assert "20 too dark" in words


def test_reports_of_drift_are_listed_with_their_pages(shop):
    """The newest first, each with a link to the whole of it."""
    version = watched.active(shop)
    kept = watched.report(shop.platform, version)
    page = shop.client.get("/drift?model=pcb").text
    assert f'href="/drift/reports/{kept.report_id}"' in page


def test_old_reports_are_on_further_pages(fresh):
    """And the newest page is one click away."""
    fresh.upload("first")
    for _ in range(15):
        watched.report(fresh.platform, watched.active(fresh))
    page = fresh.client.get("/drift").text
    before = page.split("before=")[1].split('"')[0]
    older = said(fresh, "/drift", model="pcb", before=before)
    assert "Newest" in older
    assert "Older" not in older


def test_a_report_in_an_unknown_shape_does_not_break_the_page(fresh):
    """Another version of Andon wrote it: the list still has it."""
    fresh.upload("first")
    version = watched.active(fresh)
    fresh.platform.db.drift_reports.add(version.id, "drift", 2.0, ["x"], {"features": 7})
    words = said(fresh, "/drift")
    assert "Nobody has looked at v1 yet" in words
    assert "2.00" in words


def test_trends_mark_versions_and_say_what_is_estimated(shop):
    """One row per day, the version that served, and the word at every estimate."""
    words = said(shop, "/trends", model="pcb")
    assert "Steady over 30 days" in words
    assert "87 % estimated" in words
    assert "Versions that began to serve" in words
    page = shop.client.get("/trends?model=pcb").text
    assert page.count('<th scope="row">') >= 20


def test_trends_tell_what_became_worse(fresh):
    """The first days against the last ones."""
    fresh.upload("first")
    version = watched.active(fresh)
    watched.numbers(fresh.platform, version, 20)
    watched.numbers(fresh.platform, version, 6, latency_p50_ms=40.0)
    assert "times as long as at the beginning" in said(fresh, "/trends")


def test_a_measured_accuracy_goes_before_an_estimated_one(fresh):
    """Of a day that has both."""
    fresh.upload("first")
    watched.numbers(fresh.platform, watched.active(fresh), 8, accuracy=0.61)
    words = said(fresh, "/trends", days="7")
    assert "61 %" in words
    assert "estimated" not in words.replace("An estimate says so", "")


def test_an_impossible_period_is_told_and_replaced(shop):
    """Never a page of errors for a typed address."""
    words = said(shop, "/trends", model="pcb", days="12000")
    assert "There is no period of 12000 days" in words
    assert "the last 30 days" in words


@pytest.mark.parametrize("path", PATHS)
def test_an_unknown_model_is_not_found(shop, path):
    """As on every page."""
    assert shop.client.get(path, params={"model": "nobody"}, headers=HTML).status_code == 404


def test_looking_at_a_version_that_nobody_watches_writes_nothing(shop):
    """What is normal for it is measured for the page, and kept by who watches."""
    platform = shop.platform
    version = watched.active(shop)
    kept = platform.db.metrics.recent(version.id, limit=1_000)
    words = said(shop, "/performance", model="pcb")
    assert "baseline" in words or "What is watched" in words
    assert platform.db.metrics.recent(version.id, limit=1_000) == kept
