"""Performance, Drift and Trends in a real browser: charts, choosers, phone to wall."""

from collections.abc import Iterator

import pytest
from tests.support.policy import absent
from tests.web.conftest import Site
from tests.web.dashboard import watched
from tests.web.dashboard.browsing import overflow, tab_to

from andon.web.dashboard.rendering import drawable

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATHS = ("/performance?model=pcb", "/drift?model=pcb", "/trends?model=pcb")
_REFRESH = "() => import('/static/live.js').then((live) => live.refresh())"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Iterator[Site]:
    """One server for all of these tests, with a past of a month."""
    if not drawable():
        absent("vega.js was not made: `pip install -e .` makes it.")
    made = Site(tmp_path_factory.mktemp("watched") / "home", monitor=False)
    try:
        made.upload("first")
        version = watched.active(made)
        watched.answers(made.platform, version, 400, slow_from=330, camera="line-1-top-left")
        watched.answers(
            made.platform, version, 20, camera="line-2", camera_state="dark", source="watch"
        )
        watched.numbers(made.platform, version, 30)
        watched.report(made.platform, version)
        yield made
    finally:
        made.close()


def drawn(page) -> int:
    """Wait until every chart of the page is there; how many there are."""
    figures = page.locator("[data-chart]").all()
    for figure in figures:
        figure.locator("canvas").wait_for()
    return len(figures)


@pytest.mark.parametrize("path", PATHS)
def test_a_page_draws_its_charts_on_a_laptop(page, fresh, path):
    """No error in the console, nothing beside the window, and nothing jumps."""
    page.goto(fresh.url + path)
    assert drawn(page) >= 3
    assert overflow(page) == []
    assert page.evaluate("window.shifted") < 0.1


@pytest.mark.parametrize("path", PATHS)
def test_a_page_fits_a_phone(phone, fresh, path):
    """Tables scroll in themselves, the page never sideways; links can be hit with a thumb."""
    phone.goto(fresh.url + path)
    assert drawn(phone) >= 3
    assert overflow(phone) == []
    small = phone.evaluate(
        """() => [...document.querySelectorAll(".watch-nav a, .periods a, button, select")]
        .filter((one) => one.offsetParent && one.getBoundingClientRect().height < 43)
        .map((one) => one.textContent)"""
    )
    assert small == []


@pytest.mark.parametrize("path", PATHS)
def test_a_page_fills_a_wall_screen_in_the_dark(page, fresh, path):
    """Wide and dark, with every chart drawn anew in the other theme."""
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 1920, "height": 1080})
    page.goto(fresh.url + path)
    drawn(page)
    assert overflow(page) == []


def test_a_window_is_chosen_with_the_keyboard(page, fresh):
    """Tab to it, Enter, and the numbers are of that window."""
    page.goto(fresh.url + PATHS[0])
    tab_to(page, ".periods a:nth-child(2)")
    page.keyboard.press("Enter")
    page.wait_for_url("**window=1000")
    assert "the last 1\u202f000 answers" in page.inner_text("#numbers-title")


def test_the_numbers_of_a_chart_are_in_its_table(page, fresh):
    """For people who do not see it, and for those who want to copy."""
    page.goto(fresh.url + PATHS[0])
    page.locator("#time summary").click()
    assert "95TH PERCENTILE" in page.inner_text("#time table").upper()
    assert page.locator("#time tbody tr").count() > 5


def test_a_refresh_keeps_what_was_opened_and_typed(page, fresh):
    """What changes is put in; the table stays open, the field keeps its text."""
    page.goto(fresh.url + PATHS[1])
    drawn(page)
    page.fill("#pin-since", "2026-11-01T08:00")
    page.locator("#feature-1 summary").click()
    watched.report(fresh.platform, watched.active(fresh))
    before = page.locator("[data-key=reports] tbody tr").count()
    page.evaluate(_REFRESH)
    page.wait_for_function(
        f"document.querySelectorAll('[data-key=reports] tbody tr').length === {before + 1}"
    )
    assert page.input_value("#pin-since") == "2026-11-01T08:00"
    assert page.locator("#feature-1 details").get_attribute("open") is not None


def test_a_window_that_ends_before_it_begins_is_not_pinned(page, fresh):
    """The sentence stands at the form, and nobody is asked for a name."""
    page.goto(fresh.url + PATHS[1])
    page.fill("#pin-since", "2026-11-02T08:00")
    page.fill("#pin-until", "2026-11-01T08:00")
    page.locator("#pin button").click()
    assert page.inner_text("#pin-error") == "The window must begin before it ends."
    assert not page.locator("#dialog").is_visible()


def test_a_window_is_pinned_by_somebody_with_a_name(page, fresh):
    """Asked once, kept with the reference, told on the page."""
    page.goto(fresh.url + PATHS[1])
    page.locator("#pin button").click()
    page.fill("#dialog-who", "mia")
    page.locator("#dialog-go").click()
    page.wait_for_selector("text=pinned by mia")
    page.locator("[data-act=forget]").click()
    page.locator("#dialog-go").click()
    page.wait_for_selector("text=pinned by mia", state="detached")
