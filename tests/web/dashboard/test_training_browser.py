"""Training and models of rows in a real browser: the button, the form, the stages."""

import re

import pytest
from tests.serving.boards import until
from tests.web.dashboard.browsing import overflow, tab_to
from tests.web.dashboard.trainings import MODEL, ask, deploy, finished, stand_in

from andon.web.dashboard.rendering import drawable

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_REFRESH = "() => import('/static/live.js').then((live) => live.refresh())"


def values(page) -> dict[str, str]:
    """What the fields of the form hold, by feature."""
    return page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll(".row-field")].map(
          (one) => [one.dataset.feature, one.querySelector("input, select").value]))"""
    )


def field(name: str) -> str:
    """Selects the field of a feature."""
    return f"[data-feature={name}] :is(input, select)"


def test_a_training_is_started_watched_and_promoted(page, fresh):
    """From the button over the progress to the version that serves, on one page after another."""
    deploy(fresh)
    kit = stand_in(fresh)
    page.goto(f"{fresh.url}/training")
    assert "Nothing has been trained yet" in page.inner_text("#training")
    page.click(f"[data-act=train][data-model={MODEL}]")
    page.fill("#dialog-reason", "New rows of August")
    page.click("#dialog-go")
    page.wait_for_selector(".going")
    page.wait_for_function(
        "() => document.querySelector('.going-stage')?.textContent.includes('XGBoost')"
    )
    assert page.evaluate("document.querySelector('.going progress').value") == pytest.approx(0.42)
    assert "New rows of August" in page.inner_text(".going")
    assert page.is_disabled(f"[data-act=train][data-model={MODEL}]")
    page.click(".going summary")
    page.wait_for_function("() => document.querySelector('.log pre').textContent.length > 5")

    (kit / "go").touch()
    page.wait_for_selector(".going", state="detached")
    page.wait_for_selector("#training .runs .tag-green")
    assert page.evaluate("window.shifted") < 0.1
    page.click(".runs tbody tr:first-child th a")
    page.wait_for_url("**/training/0*")
    assert "waits in staging: F1 0.84 (0.77–0.90)" in page.inner_text(".outcome")
    page.click("[data-act=promote]")
    page.fill("#dialog-reason", "Better on the new rows")
    page.click("#dialog-go")
    page.wait_for_function(
        "() => document.querySelector('.outcome').textContent.includes('Version 2 serves')"
    )
    page.goto(f"{fresh.url}/models?model={MODEL}")
    assert page.inner_text(".version.is-active h3") == "v2"
    assert "Better on the new rows" in page.inner_text("#history")


def test_a_training_is_cancelled_from_its_page(page, fresh):
    """The button asks first, and the page tells how it ended."""
    stand_in(fresh)
    run = fresh.client.post("/api/retrain", json={"model": MODEL}).json()
    (waiting,) = fresh.platform.db.training.unfinished()
    assert waiting.id in str(run)
    page.goto(f"{fresh.url}/training/{waiting.id}")
    page.wait_for_selector(".going")
    page.click("[data-act=cancel]")
    page.click("#dialog-go")
    page.wait_for_selector(".outcome", timeout=20_000)
    assert "It was cancelled before it was done." in page.inner_text(".outcome")
    assert page.inner_text("#title .tag") == "Cancelled"
    assert fresh.platform.db.models.list(MODEL) == []


def test_a_row_is_answered_explained_and_corrected(page, fresh):
    """By keyboard alone: a typical row is changed, answered, and said what it really was."""
    deploy(fresh)
    page.goto(f"{fresh.url}/inspect?model={MODEL}")
    assert values(page)["age"] == "55"
    tab_to(page, field("oldpeak"))
    page.keyboard.press("Control+A")
    page.keyboard.type("6")
    page.keyboard.press("Enter")
    page.wait_for_selector("#answer-label")
    assert page.inner_text("#answer-label") == "disease"
    moved = page.locator(".moved li")
    assert "oldpeak" in moved.first.inner_text()
    assert moved.first.locator(".moved-towards").count() == 1
    assert "Answered from 0.40" in page.inner_text("#answer")
    page.wait_for_selector("#history-items tbody tr")

    tab_to(page, "#truth button[data-key='0']")
    page.keyboard.press("Enter")
    page.wait_for_selector("#history-items .truth-wrong")
    assert "Kept: it was no disease" in page.inner_text("#truth-said")
    assert page.evaluate("window.shifted") < 0.25
    page.reload()
    assert values(page)["oldpeak"] == "6"
    assert "Said so far: no disease" in page.inner_text("#truth-said")
    assert page.get_attribute("#truth button[data-key='0']", "aria-pressed") == "true"


def test_what_a_row_cannot_hold_is_said_beside_its_field(page, fresh, witness):
    """First by the page, then by the server, whose word counts."""
    deploy(fresh)
    page.goto(f"{fresh.url}/inspect?model={MODEL}")
    page.fill(field("age"), "7")
    page.click("#predict")
    assert page.inner_text("[data-feature=age] .row-error") == "At least 18."
    assert page.evaluate("document.activeElement.closest('.row-field').dataset.feature") == "age"
    witness.expect("422 (Unprocessable")
    page.evaluate("document.querySelector('[data-feature=age] input').removeAttribute('min')")
    page.click("#predict")
    page.wait_for_function(
        "() => document.querySelector('[data-feature=age] .row-error').textContent.includes('18')"
        " && !document.querySelector('#predict').disabled"
    )
    assert page.inner_text("[data-feature=age] .row-error") != "At least 18."
    assert not page.is_visible("#row-problem")
    page.click("button[type=reset]")
    assert not page.is_visible("[data-feature=age] .row-error")


def test_a_version_is_promoted_archived_and_compared_with_its_reason(page, fresh):
    """The reason stands in the history, and the comparison is told in a sentence."""
    deploy(fresh)
    deploy(fresh, 0.7, activate="false")
    for age in (40, 60):
        told = ask(fresh, age=age)
        fresh.client.post(
            "/api/feedback", json={"prediction_id": told["prediction_id"], "actual": 1}
        ).raise_for_status()
    page.goto(f"{fresh.url}/models?model={MODEL}")
    page.click("[data-act=promote][data-version='2']")
    page.fill("#dialog-reason", "Fewer misses in August")
    page.click("#dialog-go")
    page.wait_for_selector("[data-key=v2].is-active")
    assert "v2 serves" in page.inner_text("#title")
    assert "Fewer misses in August" in page.inner_text("#history")
    page.click("#compare-button")
    page.wait_for_selector(".compare-said")
    assert "They agree on" in page.inner_text(".compare-said")
    page.click("[data-act=stage][data-version='1']")
    page.fill("#dialog-reason", "Look at it again")
    page.click("#dialog-go")
    page.wait_for_function(
        "() => document.querySelector('[data-key=v1] .tag').textContent === 'Staging'"
    )
    assert "v1 moved to staging" in page.inner_text("#history")


def test_a_phone_shows_training_and_rows(phone, fresh):
    """Nothing sticks out, fingers find every button, and charts are drawn."""
    deploy(fresh)
    run = finished(fresh)
    row = ask(fresh)["prediction_id"]
    paths = ("/training", f"/training/{run.id}", f"/models?model={MODEL}")
    rows = (f"/models/1?model={MODEL}", f"/inspect?id={row}", f"/?model={MODEL}")
    for path in (*paths, *rows):
        phone.goto(fresh.url + path)
        if drawable():
            for chart in phone.locator("[data-chart]").all():
                chart.locator("canvas").wait_for()
        assert overflow(phone) == [], path
        small = phone.evaluate(
            """() => [...document.querySelectorAll("button, .button, select, nav a, .rows a")]
              .filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 44)
              .map((one) => one.outerHTML.slice(0, 120))"""
        )
        assert small == [], path


def test_training_and_rows_can_be_read_without_scripts(chromium, fresh):
    """Tables instead of pictures, fields that tell what a row holds, and a sentence."""
    deploy(fresh)
    run = finished(fresh)
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{fresh.url}/training/{run.id}")
    assert page.locator("#roc tbody").evaluate("(one) => one.checkVisibility()")
    assert "Version 1 serves" in page.inner_text(".outcome")
    page.goto(f"{fresh.url}/inspect?model={MODEL}")
    assert "18 to 110 years" in page.inner_text("#row-form")
    assert "POST /predict" in page.inner_text("main")
    assert not page.is_visible("#predict")
    page.goto(f"{fresh.url}/training")
    assert re.search("Logistic regression", page.inner_text("main"))
    context.close()


def test_new_trainings_come_in_without_disturbing_anybody(page, fresh):
    """Focus, scroll position and an open log stay where they are."""
    deploy(fresh)
    run = finished(fresh)
    page.goto(f"{fresh.url}/training/{run.id}")
    page.click("#roc summary")
    page.evaluate("scrollTo(0, 500)")
    assert page.evaluate(_REFRESH) is True
    assert page.evaluate("scrollY") == 500
    assert page.locator("#roc details[open]").count() == 1
    until(lambda: page.evaluate("window.shifted") < 0.1)
