"""Floor and Drivers in a real browser: charts that are drawn, filters, a page that stays put."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.support.floor import register, state, units
from tests.support.policy import absent
from tests.web.conftest import Floor, Site
from tests.web.dashboard.browsing import overflow
from tests.web.dashboard.scenes import SCENES
from tests.web.dashboard.test_drivers import measured
from tests.web.dashboard.test_floor import a_shift, ago

from andon.web.dashboard.rendering import drawable, render

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# How many pixels of a chart have a colour of the style sheet.
_PAINTED = """([figure, name]) => {
  const canvas = document.querySelector(`#${figure} canvas`);
  const copy = document.createElement("canvas");
  copy.width = canvas.width;
  copy.height = canvas.height + 1;
  const paper = copy.getContext("2d", { willReadFrequently: true });
  const mark = document.createElement("span");
  mark.style.color = `var(${name})`;
  document.body.append(mark);
  paper.fillStyle = getComputedStyle(mark).color;
  mark.remove();
  // The wanted colour below, the chart above.
  paper.fillRect(0, canvas.height, 1, 1);
  const want = paper.getImageData(0, canvas.height, 1, 1).data;
  paper.drawImage(canvas, 0, 0);
  const all = paper.getImageData(0, 0, canvas.width, canvas.height).data;
  let found = 0;
  for (let at = 0; at < all.length; at += 4) {
    found += all[at] === want[0] && all[at + 1] === want[1] && all[at + 2] === want[2] ? 1 : 0;
  }
  return found;
}"""
EMPTY = render(SCENES["floor, nothing ever"])
_REFRESH = "() => import('/static/live.js').then((live) => live.refresh())"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Iterator[Site]:
    """One server for all of these tests: they look, and one of them adds events."""
    if not drawable():
        absent("vega.js was not made: `pip install -e .` makes it.")
    made = Site(tmp_path_factory.mktemp("floor") / "home")
    yield made
    made.close()


@pytest.fixture(scope="module")
def shop(fresh) -> Floor:
    """A floor with a shift behind it, and two drivers."""
    made = Floor(fresh)
    register(made.db)
    made.send(*a_shift())
    measured(made, "D1", [0.3, 0.1, 0.3, 0.3] * 10)
    measured(made, "D2", [0.25] * 40, minutes=40)
    return made


def drawn(page) -> None:
    """Wait until every chart of the page is there."""
    for figure in page.locator("[data-chart]").all():
        figure.locator("canvas").wait_for()


def point_at_a_bar(page) -> None:
    """The tooltip says what the bar under the pointer is."""
    page.locator("#units").scroll_into_view_if_needed()
    box = page.locator("#units canvas").bounding_box()
    # The newest hours are at the right, and small bars stand at the bottom.
    for share in (0.97, 0.9, 0.85, 0.8):
        page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] * 0.8)
        if page.locator("#chart-tooltip.visible").count():
            break
    said = page.inner_text("#chart-tooltip.visible")
    assert "Units" in said
    assert "UTC" in said


def test_charts_are_drawn_in_the_theme_of_the_page(page, fresh, shop):
    """Under the strict policy, without a word in the console, and anew for another theme."""
    page.goto(f"{fresh.url}/floor")
    drawn(page)
    for name in ("--working", "--idle", "--absent"):
        assert page.evaluate(_PAINTED, ["states", name]) > 50, name
    assert page.evaluate(_PAINTED, ["units", "--working"]) > 500
    point_at_a_bar(page)
    page.click("#theme")
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.wait_for_function(f"(given) => ({_PAINTED})(given) > 500", arg=["units", "--working"])
    page.goto(f"{fresh.url}/drivers")
    drawn(page)
    assert page.locator("[data-chart]").count() == 3
    assert page.evaluate(_PAINTED, ["eyes-0", "--stop"]) > 20


def test_a_filter_needs_no_button_and_leaves_an_address(page, fresh, shop):
    """Short enough to be sent to somebody."""
    page.goto(f"{fresh.url}/floor?period=24h")
    page.select_option("#by-worker", "W2")
    page.wait_for_url("**worker=W2**")
    assert parse_qs(urlsplit(page.url).query) == {"period": ["24h"], "worker": ["W2"]}
    assert page.locator("[aria-labelledby=workers-title] tbody tr").count() == 1
    page.click("text=1 h >> nth=0")
    page.wait_for_url("**period=1h**")
    assert page.input_value("#by-worker") == "W2"
    page.click("text=Own period")
    page.fill("#from", "2026-03-02T08:00")
    page.click(".own-fields button")
    page.wait_for_url("**from=**")
    assert parse_qs(urlsplit(page.url).query) == {"from": ["2026-03-02T08:00"], "worker": ["W2"]}
    assert page.input_value("#from") == "2026-03-02T08:00"
    page.click("text=Clear")
    page.wait_for_url(f"{fresh.url}/floor")


def test_new_events_come_in_without_disturbing_anybody(page, fresh, shop):
    """Focus, scroll position and an open table stay where they are."""
    page.goto(f"{fresh.url}/floor")
    drawn(page)
    page.click("#units summary")
    page.focus("[aria-labelledby=workers-title] tbody tr:first-child a")
    page.evaluate("scrollTo(0, 400)")
    shop.send(units(8, ago(1), "W3", "S3"), state("working", ago(1.5), "W3", "S3"))
    assert page.evaluate(_REFRESH) is True
    page.wait_for_function("() => document.querySelector('.tiles').innerText.includes('50')")
    assert page.evaluate("scrollY") == 400
    assert page.evaluate("document.activeElement.textContent") == "W1"
    assert page.locator("#units details[open]").count() == 1
    assert "Working" in page.inner_text("[data-key=W3]")
    assert page.locator("#units canvas").count() == 1


def test_the_first_event_makes_the_page_whole(page, fresh, shop):
    """Whoever waits on the empty page need not reload it."""
    page.route(
        "**/floor", lambda route: route.fulfill(body=EMPTY, content_type="text/html"), times=1
    )
    page.goto(f"{fresh.url}/floor")
    assert "has not reported anything yet" in page.inner_text("main")
    page.wait_for_selector("#filters")
    drawn(page)


def test_a_library_that_does_not_come_leaves_the_tables(page, fresh, shop, witness):
    """The page opens them and says why."""
    witness.expect("vega.js", "A chart could not be drawn")
    page.route("**/vega.js", lambda route: route.abort())
    page.goto(f"{fresh.url}/floor")
    page.wait_for_selector("#units details[open]")
    assert page.locator("#units .chart-canvas.is-undrawn").count() == 1
    assert "Units per hour of work" in page.inner_text("#units table")


def test_a_phone_shows_the_floor_and_the_drivers(phone, fresh, shop):
    """Nothing sticks out, and fingers find every button."""
    for path in ("/floor", "/floor?from=2026-03-02T08:00", "/drivers"):
        phone.goto(fresh.url + path)
        drawn(phone)
        assert overflow(phone) == [], path
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390, path
        small = phone.evaluate(
            """() => [...document.querySelectorAll("button, .button, select, nav a, .rows a")]
              .filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 44)
              .map((one) => one.outerHTML.slice(0, 120))"""
        )
        assert small == [], path
    tops = phone.evaluate(
        "[...document.querySelectorAll('.nav a')].map((one) => one.getBoundingClientRect().top)"
    )
    assert len(tops) == 7
    assert len(set(tops)) == 1


def test_the_floor_can_be_read_and_filtered_without_scripts(chromium, fresh, shop):
    """A plain form, and tables instead of pictures."""
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{fresh.url}/floor")
    assert "Drawing" not in page.inner_text("main")
    assert page.locator("#states tbody").evaluate("(one) => one.checkVisibility()")
    assert page.locator("#states .table-box").bounding_box()["height"] > 40
    page.select_option("#by-worker", "W1")
    page.click("#filters > button")
    assert page.locator("[aria-labelledby=workers-title] tbody tr").count() == 1
    page.goto(f"{fresh.url}/drivers")
    assert "D2" in page.inner_text("[aria-labelledby=drivers-title]")
    context.close()
