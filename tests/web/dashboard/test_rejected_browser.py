"""Refused messages in a real browser: whatever strangers sent stays in its box."""

import pytest
from tests.web.dashboard.browsing import overflow, tab_to
from tests.web.dashboard.test_rejected import HOSTILE, TOPIC

from andon.web.dashboard import rejected

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_REFRESH = "() => import('/static/live.js').then((live) => live.refresh())"
_HOSTILE = (
    (TOPIC, b"", "The body is empty. Send events as JSON."),
    (f"andon/{HOSTILE}{'x' * 900}/events", HOSTILE.encode() * 200, f"The body {HOSTILE * 20}"),
    ("andon/rtl/events", "\u202e\u05d0\u0627 gnp.exe".encode(), "The body \u202e is"),
    ("andon/z/events", ("Z" + "\u0351\u0489\u20dd" * 60).encode() * 9, "The body is not JSON."),
    ("andon/lines/events", b"\n" * 3000, "The body is not JSON."),
    ("andon/wide/events", b"W" * 9000, "W" * 1900),
    ("andon/bytes/events", bytes(range(256)) * 8, "The body is not JSON."),
)


def sent(site) -> None:
    """Everything that is hard to show, and more topics than are listed."""
    site.platform.db.rejected.add_all(
        (f"andon/s{number}/telemetry", b'{"device_id": "D7"}', "The body is not JSON.")
        for number in range(rejected.TOPICS + 25)
    )
    site.platform.db.rejected.add_all(_HOSTILE)


@pytest.mark.parametrize("width", [390, 1280, 1920])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_that_was_sent_leaves_its_box(chromium, fresh, witness, width, theme):
    """On a phone and on a wall, in both themes, opened and closed; and nothing of it runs."""
    context = chromium.new_context(viewport={"width": width, "height": 844}, color_scheme=theme)
    page = context.new_page()
    witness.watch(page)
    page.goto(fresh.url + rejected.PATH)
    assert overflow(page) == []
    sent(fresh)
    page.reload()
    assert overflow(page) == []
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert overflow(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    highest = (
        "Math.max(...[...document.querySelectorAll('.payload')].map((one) => one.offsetHeight))"
    )
    assert page.evaluate(highest) <= 330
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, .button, select, nav a, summary, h3 a")]
          .filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 44)
          .map((one) => one.outerHTML.slice(0, 120))"""
    )
    assert small == []
    assert page.locator("main img, main script").count() == 0
    context.close()
    witness.verdict()


def test_a_message_is_found_and_opened_by_keyboard(page, fresh):
    """Filter, payload and the way on, without a mouse."""
    sent(fresh)
    page.goto(fresh.url + "/floor")
    tab_to(page, "main a[href='/floor/rejected']")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{rejected.PATH}")
    tab_to(page, ".warn summary")
    page.keyboard.press("Enter")
    assert page.locator(".warn details[open]").count() == 1
    page.goto(f"{fresh.url}{rejected.PATH}?topic=andon%2Fwide%2Fevents#messages")
    tab_to(page, "#messages summary")
    page.keyboard.press("Enter")
    tab_to(page, ".payload")
    page.keyboard.press("End")
    page.wait_for_function("() => document.activeElement.scrollTop > 100")
    page.goto(fresh.url + rejected.PATH)
    tab_to(page, ".pager a[rel=next]")
    page.keyboard.press("Enter")
    page.wait_for_url("**before=**")
    assert page.locator("#messages .warn").count() == rejected.PAGE


def test_a_topic_is_chosen_without_a_button(page, fresh):
    """The address can be shared; strange names go there and back unharmed."""
    sent(fresh)
    page.goto(fresh.url + rejected.PATH)
    strange = page.eval_on_selector_all("#by-topic option", "(all) => all.map((one) => one.value)")
    hostile = next(one for one in strange if "<script>" in one)
    page.select_option("#by-topic", hostile)
    page.wait_for_url("**topic=**")
    assert page.locator("#messages .warn").count() == 1
    assert page.input_value("#by-topic") == hostile
    page.click("text=Clear")
    page.wait_for_url(fresh.url + rejected.PATH)


def test_new_refusals_come_in_without_disturbing_anybody(page, fresh):
    """What is open stays open, and the lamp says that somebody is needed."""
    fresh.upload()
    fresh.platform.db.rejected.add(TOPIC, b'{"camera_id": "C7"}', "The body is not JSON.")
    page.goto(fresh.url + rejected.PATH)
    page.locator("#messages summary").first.click()
    assert page.inner_text("#head-lamp .chip-word") == "Ready"
    fresh.platform.db.rejected.add(TOPIC, b"again", "The body is not JSON.")
    fresh.platform.db.rejected.add(TOPIC, b"and again", "The body is not JSON.")
    assert page.evaluate(_REFRESH) is True
    assert "3 messages" in page.inner_text("#title")
    assert page.inner_text("#head-lamp .chip-word") == "Look here"
    assert page.locator("#messages .warn").count() == 3
    assert "C7" in page.inner_text("#messages details[open]")
    page.goto(fresh.url)
    page.click("text=See what was refused")
    page.wait_for_url(f"**{rejected.PATH}")


def test_the_page_can_be_read_and_filtered_without_scripts(chromium, fresh):
    """Plain form, plain links, plain text."""
    sent(fresh)
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(fresh.url + rejected.PATH)
    page.select_option("#by-topic", TOPIC)
    page.click("#sieve button")
    assert page.locator("#messages .warn").count() == 1
    page.locator("#messages summary").click()
    assert "the message was empty" in page.inner_text("#messages")
    context.close()


@pytest.mark.parametrize("path", ["/redoc", "/docs", "/docs/errors"])
def test_the_reference_asks_nothing_of_anybody_else(page, fresh, path):
    """No picture, font or script from another host, and nothing the policy must stop."""
    page.goto(fresh.url + path)
    wanted = {"/redoc": "[role=search] input", "/docs": ".opblock", "/docs/errors": "section"}
    # Swagger draws a hundred routes: on a busy machine that takes its time.
    page.locator(wanted[path]).first.wait_for(timeout=60_000)
    page.wait_for_function("[...document.images].every((one) => one.complete)")
    assert page.evaluate("[...document.images].every((one) => one.naturalWidth > 0)")
    if path == "/redoc":
        assert "API docs by Redocly" in page.inner_text("body")
        assert page.evaluate("document.querySelector('#redoc').getBoundingClientRect().x") == 0
