"""Deciding, taking on, resolving and trying in a real browser, against a real server."""

import pytest
from tests.serving.boards import board, until
from tests.web.dashboard.browsing import boxes, overflow, picture, png, tab_to
from tests.web.dashboard.test_acting_pages import ask, finish, warn

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def dialog_says(page) -> str:
    """What the open dialog says."""
    return page.inner_text("#dialog")


def test_an_action_is_approved_with_name_and_second_thought(page, fresh):
    """High risk wants a tick; nobody approves without saying who they are."""
    action = ask(fresh)
    page.goto(f"{fresh.url}/approvals")
    page.click("[data-act=approve]")
    page.click("#dialog-go")
    assert "Please say who you are" in dialog_says(page)
    page.fill("#dialog-who", "Mia")
    page.click("#dialog-go")
    assert "Please tick the box first" in dialog_says(page)
    page.check("#dialog-sure")
    page.fill("#dialog-reason", "Saw it on the line too.")
    page.click("#dialog-go")
    page.wait_for_selector(f"#decided [data-key='{action.action_id}']")
    assert "Nothing waits" in page.inner_text("#title")
    decided = page.inner_text("#decided")
    assert "Mia approved" in decided
    assert "Saw it on the line too." in decided
    assert fresh.platform.db.actions.get(action.action_id).status != "pending"


def test_an_action_is_rejected_and_the_name_is_remembered(page, fresh):
    """The next dialog knows who decides here."""
    ask(fresh, risk_level="medium", action_type="retrain_model")
    ask(fresh, risk_level="medium")
    page.goto(f"{fresh.url}/approvals")
    page.locator("[data-act=reject]").first.click()
    page.fill("#dialog-who", "Jan")
    page.fill("#dialog-reason", "The camera was moved.")
    page.click("#dialog-go")
    page.wait_for_selector("#decided .truth-wrong")
    assert "Jan rejected" in page.inner_text("#decided")
    page.reload()
    page.click("[data-act=approve]")
    assert page.input_value("#dialog-who") == "Jan"
    assert not page.is_visible("#dialog-sure")
    page.keyboard.press("Escape")
    assert not page.is_visible("#dialog")


def test_a_decision_of_somebody_else_is_told_calmly(page, fresh, witness):
    """The dialog says what happened meanwhile, and offers nothing but to close it."""
    action = ask(fresh)
    page.goto(f"{fresh.url}/approvals")
    page.click("[data-act=approve]")
    page.fill("#dialog-who", "Mia")
    page.check("#dialog-sure")
    fresh.platform.db.actions.review(action.action_id, "Jan", "reject", "Not today.")
    witness.expect("409 (Conflict)")
    page.click("#dialog-go")
    page.wait_for_selector("#dialog-go", state="hidden")
    assert page.inner_text("#dialog-title") == "This is already decided"
    assert not page.is_visible("#dialog-error")
    page.click("#dialog-cancel")
    assert "Jan rejected" in page.inner_text("#decided")


def test_the_same_person_cannot_be_the_second_one(page, fresh, witness):
    """The dialog stays open, so that the name can be mended."""
    action = ask(fresh, approvals_needed=2)
    fresh.platform.db.actions.review(action.action_id, "Mia", "approve")
    page.goto(f"{fresh.url}/actions/{action.action_id}")
    page.click("[data-act=approve]")
    page.fill("#dialog-who", "mia")
    page.check("#dialog-sure")
    witness.expect("409 (Conflict)")
    page.click("#dialog-go")
    page.wait_for_selector("#dialog-error:visible")
    page.fill("#dialog-who", "Jan")
    page.click("#dialog-go")
    page.wait_for_selector("[data-act=approve]", state="detached")
    assert "Jan approved" in page.inner_text("#action")


def test_an_alert_is_taken_on_and_resolved_by_keyboard(page, fresh):
    """Without a mouse: who looks after it, and what was done."""
    warn(fresh)
    page.goto(f"{fresh.url}/alerts")
    tab_to(page, "[data-act=acknowledge]")
    page.keyboard.press("Enter")
    page.keyboard.type("Mia")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('.warn-taken') !== null")
    assert "Mia looks after it" in page.inner_text("#alerts")
    page.wait_for_selector("#dialog", state="hidden")
    tab_to(page, "[data-act=resolve]")
    page.keyboard.press("Enter")
    page.keyboard.type("The lamp was replaced.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#past .warn-past")
    assert "Resolved by Mia" in page.inner_text("#past")
    assert "The lamp was replaced." in page.inner_text("#past")
    assert "No alert is open" in page.inner_text("#alerts")


def test_a_canary_is_started_changed_and_stopped_from_the_versions_page(page, fresh):
    """The panel follows each step, and says what is asked."""
    for name in ("first", "second"):
        fresh.upload(name)
    page.goto(f"{fresh.url}/models/1")
    page.click("[data-act=traffic-start][data-mode=canary]")
    page.fill("#dialog-amount", "80")
    page.click("#dialog-go")
    assert "a number from 1 to 50" in dialog_says(page)
    page.fill("#dialog-amount", "20")
    page.fill("#dialog-reason", "Monthly comparison")
    page.click("#dialog-go")
    page.wait_for_selector(".rollout")
    assert "v1 answers 20 % of the subjects beside v2" in page.inner_text("#traffic")
    assert "Monthly comparison" in page.inner_text("#traffic")
    page.click("[data-act=traffic-weight]")
    assert page.input_value("#dialog-amount") == "20"
    page.fill("#dialog-amount", "50")
    page.click("#dialog-go")
    page.wait_for_function(
        "() => document.querySelector('.rollout h3').textContent.includes('50 %')"
    )
    page.click("[data-act=traffic-stop]")
    page.click("#dialog-go")
    page.wait_for_selector("[data-act=traffic-start]")
    assert fresh.platform.db.rollouts.running("pcb") is None


def test_stored_pictures_are_replayed_from_the_versions_page(page, fresh):
    """A form, a page that follows, and the flips with both versions' boxes."""
    fresh.upload("first")
    fresh.predict(board(), name="flips.png")
    other = {"model": ("other.onnx", fresh.model_file("other", labels=("hole",)))}
    fresh.client.post("/api/models/upload", files=other, data={"activate": "false"})
    page.goto(f"{fresh.url}/models/2")
    page.click("#replay-form button")
    page.wait_for_url("**/replays/*")
    page.wait_for_function("() => document.querySelector('#replay').dataset.status === 'succeeded'")
    page.wait_for_selector(".flip")
    assert "1 stored answer replayed: 1 flips." in page.inner_text("#replay")
    assert "1 defect: spot 1.00" in page.inner_text(".flip-pair figure:first-child")
    assert "1 defect: hole 1.00" in page.inner_text(".flip-pair figure:last-child")
    for side in ("first", "last"):
        frame = f".flip-pair figure:{side}-child"
        page.wait_for_function(
            "(one) => document.querySelector(`${one} img`).naturalWidth > 0", arg=frame
        )
        assert boxes(page, frame) == [[16, 24, 8, 8]]


def test_a_picture_of_a_sick_camera_is_not_called_clean(page, fresh):
    """Neither in the film, nor as the result, nor in the gallery."""
    fresh.upload("first")
    page.goto(f"{fresh.url}/inspect")
    page.set_input_files("#pick", [png("night.png", picture({}))])
    page.wait_for_selector(".film .film-state:text('not judged')")
    assert page.inner_text("#result h2") == "Not judged: the picture is too dark"
    assert "cannot be relied on" in page.inner_text("#result .sick")
    page.wait_for_selector("#gallery-items .is-sick")


def test_a_phone_shows_every_page(phone, fresh):
    """Nothing sticks out, and fingers find every button."""
    for name in ("first", "second"):
        fresh.upload(name)
        fresh.predict(board())
    waiting = ask(fresh)
    done = finish(fresh, ask(fresh, action_type="retrain_model"))
    warn(fresh)
    fresh.platform.db.alerts.resolve(warn(fresh, "pcb:b").alert_id, "mia", "note")
    fresh.client.put("/api/traffic", json={"mode": "shadow", "version": 1}).raise_for_status()
    actions = tuple(f"/actions/{one.action_id}" for one in (waiting, done))
    for path in ("/approvals", "/activity", "/alerts", *actions, "/models/1", "/models", "/"):
        phone.goto(fresh.url + path)
        assert overflow(phone) == [], path
        small = phone.evaluate(
            """() => [...document.querySelectorAll("button, .button, select, nav a, h3 a")]
              .filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 44)
              .map((one) => one.outerHTML.slice(0, 120))"""
        )
        assert small == [], path


def test_what_happens_meanwhile_comes_in_without_disturbing(page, fresh):
    """A new alert appears, nothing jumps, and the lamp says so."""
    fresh.upload("first")
    warn(fresh)
    page.goto(f"{fresh.url}/alerts")
    refresh = "() => import('/static/live.js').then((live) => live.refresh())"
    page.focus("[data-act=resolve]")
    warn(fresh, "pcb:later", title="pcb v1 is slow")
    assert page.evaluate(refresh) is True
    assert page.locator(".warn").count() == 2
    assert page.evaluate("document.activeElement.dataset.act") == "resolve"
    until(lambda: "Look here" in page.inner_text("#head-lamp"))
    assert page.evaluate("window.shifted") < 0.1


def test_everything_can_be_read_without_scripts(chromium, fresh):
    """And how to decide then is said."""
    ask(fresh)
    warn(fresh)
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{fresh.url}/approvals")
    assert "andon approvals" in page.inner_text("main")
    assert not page.is_visible("[data-act=approve]")
    assert "Roll pcb back from v2 to v1" in page.inner_text("main")
    page.goto(f"{fresh.url}/alerts")
    assert "pcb v1 fails" in page.inner_text("main")
    context.close()


def test_the_agent_is_asked_once_from_its_page(page, fresh):
    """What was chosen stays through a refresh; one press is one action."""
    fresh.upload("first")
    page.goto(f"{fresh.url}/activity")
    page.select_option("#ask-kind", "validate_data")
    page.evaluate("() => import('/static/live.js').then((live) => live.refresh())")
    assert page.input_value("#ask-kind") == "validate_data"
    page.click("#ask-form button")
    page.fill("#dialog-who", "Mia")
    page.press("#dialog-who", "Enter")
    page.wait_for_selector(".deed")
    found, _ = fresh.platform.db.actions.page()
    assert [(one.action_type, one.model) for one in found] == [("validate_data", "pcb")]


def test_a_page_that_cannot_be_had_anew_says_so(page, fresh, witness):
    """An error is no news of the line: the old state must not pass for the present one."""
    fresh.upload("first")
    page.goto(f"{fresh.url}/alerts")
    witness.expect("503 (Service Unavailable)")
    page.route("**/alerts", lambda route: route.fulfill(status=503, body="no"))
    page.evaluate("() => import('/static/live.js').then((live) => live.refresh())")
    assert "answered with an error (503) since" in page.inner_text("#offline")
    page.unroute("**/alerts")
    page.evaluate("() => import('/static/live.js').then((live) => live.refresh())")
    assert not page.is_visible("#offline")
