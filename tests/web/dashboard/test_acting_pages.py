"""Alerts, approvals, actions, rollbacks, traffic and replays over a real server, no browser."""

import re
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from tests.serving.boards import board, until
from tests.web.dashboard.acting_records import signal
from tests.web.dashboard.test_pages import HTML, text

from andon.store.clock import now
from andon.store.records import AgentAction, Alert
from andon.web.dashboard import action_page, approvals, inspection, replay_page, state
from andon.web.dashboard import alerts as alerts_page

PATHS = ("/approvals", "/activity", "/alerts")


def said(site: Any, path: str, status: int = 200) -> str:
    """The words of a page."""
    answer = site.client.get(path, headers=HTML)
    assert answer.status_code == status, path
    return text(answer)


def ask(site: Any, **given: Any) -> AgentAction:
    """The agent wants to roll back, and waits."""
    values: dict[str, Any] = {
        "action_type": "rollback_model",
        "risk_level": "high",
        "reason": "v2 fails far more often than v1 did.",
        "model": "pcb",
        "model_version": 2,
        "parameters": {"from_version": 2, "to_version": 1},
        "evidence": {"signals": [signal(version=2)]},
        "approvals_needed": 1,
        "expires_at": now() + timedelta(hours=3, minutes=10),
    }
    made: AgentAction = site.platform.db.actions.propose(**{**values, **given})
    return made


def warn(site: Any, key: str = "pcb:performance_degradation", **given: Any) -> Alert:
    """An alert about the version that serves."""
    values: dict[str, Any] = {
        "alert_type": "performance_degradation",
        "severity": "warning",
        "title": "pcb v1 fails",
        "message": "12 of 100 answers of pcb v1 failed, 12 %; 5 % are allowed.",
        "model": "pcb",
        "model_version": 1,
        "evidence": {"signals": [signal(version=1)]},
    }
    alert, _ = site.platform.db.alerts.see(key, **{**values, **given})
    raised: Alert = alert
    return raised


def finish(site: Any, action: AgentAction, **given: Any) -> AgentAction:
    """It was approved and done."""
    actions = site.platform.db.actions
    if action.status == "pending":
        actions.review(action.action_id, "mia", "approve", "Saw it on the line too.")
    actions.claim(action.action_id)
    values = {"status": "succeeded", "result": {"summary": "v1 of pcb serves again, not v2."}}
    done: AgentAction = actions.finish(action.action_id, **{**values, **given})
    return done


@pytest.mark.parametrize("path", PATHS)
def test_every_page_is_there_from_the_first_minute(fresh, path):
    """Nothing waits, nothing is open, nothing was done: each says so, and what comes here."""
    answer = fresh.client.get(path, headers=HTML)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert re.search("Nothing waits|No alert is open|has not done anything", text(answer))


def test_what_waits_is_told_with_reason_risk_undo_and_expiry(fresh):
    """Everything a person needs to decide stands on the card."""
    ask(fresh)
    words = said(fresh, "/approvals")
    for part in (
        "Roll pcb back from v2 to v1",
        "v2 fails far more often than v1 did.",
        "12 of 100 answers of pcb v7 failed",
        "High risk",
        "expires in 3 h",
        "The earlier version answers instead",
        "Activate the later version again",
        "One person decides.",
    ):
        assert part in words, part


def test_the_gravest_and_most_urgent_comes_first(fresh):
    """Critical signals before others, then what expires first."""
    late = ask(fresh)
    mild = signal(severity="warning")
    soon = now() + timedelta(minutes=5)
    plain = ask(fresh, action_type="retrain_model", evidence={"signals": [mild]}, expires_at=soon)
    page = approvals.page(fresh.platform)
    assert [one.id for one in page.waiting] == [late.action_id, plain.action_id]


def test_an_action_that_expired_is_not_offered_any_more(fresh):
    """Also before the agent has written it down."""
    ask(fresh, expires_at=now() - timedelta(seconds=1))
    page = approvals.page(fresh.platform)
    assert page.waiting == ()
    assert [one.told for one in page.decided] == ["Expired"]
    fresh.platform.db.actions.expire_due(now())
    assert [one.told for one in approvals.page(fresh.platform).decided] == ["Expired"]


def test_a_second_person_is_asked_for_by_name(fresh):
    """Who agreed is told, and that another name is needed."""
    action = ask(fresh, approvals_needed=2)
    fresh.platform.db.actions.review(action.action_id, "mia", "approve", "Yes.")
    words = said(fresh, "/approvals")
    assert "mia agreed; one more person must agree, under another name." in words
    assert "mia approved" in words


def test_decided_actions_are_listed_page_by_page(fresh):
    """Each comes up once; what nobody was asked about is on Agent activity alone."""
    actions = fresh.platform.db.actions
    for number in range(approvals.PAGE + 3):
        one = ask(fresh, model=f"model-{number}")
        actions.review(one.action_id, "mia", "reject", "No.")
        finish(fresh, ask(fresh, model=f"model-{number}", approvals_needed=0))
    first = approvals.page(fresh.platform)
    assert len(first.decided) == approvals.PAGE
    cursor = re.search("before=([^#]+)#", first.pager.older)[1]
    second = approvals.page(fresh.platform, before=cursor)
    assert len(second.decided) == 3
    assert second.pager.older == ""
    assert not {one.id for one in first.decided} & {one.id for one in second.decided}
    assert "model-0" in said(fresh, "/activity?model=model-0")
    assert "No action matches" in said(fresh, "/activity?status=failed")
    assert "Newest" not in said(fresh, "/approvals?before=nonsense")


def test_an_action_page_has_all_its_evidence(fresh):
    """Numbers, both versions, who approved, the alert, the event, and the way back."""
    for name in ("first", "second"):
        fresh.upload(name)
        fresh.predict(board())
    alert = warn(fresh, model_version=2)
    action = ask(fresh, alert_id=alert.alert_id)
    db = fresh.platform.db
    db.actions.review(action.action_id, "mia", "approve", "Saw it on the line too.")
    db.actions.claim(action.action_id)
    fresh.platform.deployments.rollback(
        "pcb", action.reason, "agent", to=1, action_id=action.action_id
    )
    fresh.predict(board(40, 8))
    event, _ = db.events.page(limit=1)
    db.actions.finish(
        action.action_id,
        "succeeded",
        {
            "summary": "v1 of pcb serves again, not v2.",
            "files": [{"name": "why.json", "bytes": 512}],
        },
        deployment_event_id=event[0].id,
    )
    follow = {"recovered": True, "summary": "It has recovered: 0 of 50 answers failed."}
    db.actions.set_follow_up(action.action_id, follow)
    words = said(fresh, f"/actions/{action.action_id}")
    for part in (
        "Rolled pcb back from v2 to v1",
        "v1 of pcb serves again, not v2.",
        "Helped: 0 of 50 answers failed.",
        "mia approved",
        "Saw it on the line too.",
        "v2, before",
        "v1, after",
        "pcb v1 fails",
        "Rolled back from v2 to v1",
        "Activate v2 again",
        "why.json",
    ):
        assert part in words, part
    page = action_page.page(fresh.platform, action.action_id)
    numbers = {one.name: (one.old, one.new) for one in page.windows}
    assert numbers["Answers"] == ("1", "1")
    assert numbers["Failed"] == ("0 %", "0 %")
    assert page.undo is not None
    assert (page.undo.act, page.undo.version) == ("activate", 2)
    # The history leads to it.
    assert f"/actions/{action.action_id}" in fresh.client.get("/models", headers=HTML).text


def test_a_threshold_that_was_moved_can_be_put_back(fresh):
    """Until somebody has moved it again."""
    fresh.upload()
    action = ask(
        fresh,
        action_type="adjust_threshold",
        approvals_needed=0,
        model_version=1,
        parameters={"from_threshold": 0.5, "to_threshold": 0.6},
    )
    moved = {"before": 0.5, "after": 0.6, "before_set": None, "after_set": 0.6, "can_undo": True}
    change = fresh.platform.deployments.set_threshold
    change("pcb", 1, 0.6, "fewer false alarms", "agent", action_id=action.action_id)
    finish(fresh, action, result={"summary": "The threshold is 0.6 now.", **moved})
    page = action_page.page(fresh.platform, action.action_id)
    assert page.undo is not None
    assert (page.undo.act, page.undo.action) == ("threshold", action.action_id)
    assert page.undo.button == "Put the threshold back to 0.50"
    change("pcb", 1, 0.7, "by hand", "mia")
    assert action_page.page(fresh.platform, action.action_id).undo is None


def test_a_dry_run_says_that_nothing_was_done(fresh):
    """Neither a button to decide nor one to undo."""
    action = finish(fresh, ask(fresh, dry_run=True), result={"dry_run": True})
    words = said(fresh, f"/actions/{action.action_id}")
    assert "Not done: dry run" in words
    assert "Written down only: nothing was changed." in words
    assert action_page.page(fresh.platform, action.action_id).undo is None


@pytest.mark.parametrize("path", ["/actions/nothing", "/rollbacks/999", "/replays/nothing"])
def test_a_cut_link_is_told(fresh, path):
    """With a page, not with an error of the server."""
    assert said(fresh, path, status=404)


def test_a_rollback_by_hand_has_a_page_with_both_windows(fresh):
    """Linked from the history; an activation back is offered."""
    for name in ("first", "second"):
        fresh.upload(name)
        fresh.predict(board())
    warn(fresh, model_version=2, title="pcb v2 fails")
    fresh.client.post("/api/rollback", json={"reason": "False alarms"}).raise_for_status()
    path = re.search(r"/rollbacks/\d+", fresh.client.get("/models", headers=HTML).text)[0]
    words = said(fresh, path)
    for part in (
        "Rolled back from v2 to v1",
        "False alarms",
        "v2, before",
        "pcb v2 fails",
        "Activate v2 again",
        "v2 took over from v1",
    ):
        assert part in words, part


def test_open_alerts_come_first_by_gravity_and_model(fresh):
    """Critical before warning; what is about no model has a group of its own."""
    warn(fresh)
    warn(fresh, "pcb:other", severity="critical", title="pcb v1 hangs")
    warn(fresh, "feed:drivers", model=None, model_version=None, title="No events", severity="info")
    page = alerts_page.page(fresh.platform)
    assert [group.title for group in page.groups] == ["pcb", "Events and Andon itself"]
    assert [one.title for one in page.groups[0].alerts] == ["pcb v1 hangs", "pcb v1 fails"]
    assert page.groups[0].alerts[0].href == "/performance?model=pcb&version=1"
    assert page.groups[1].alerts[0].href == "/floor"


def test_an_alert_only_leads_to_this_server(fresh):
    """Evidence is data: an address elsewhere in it is not followed."""
    elsewhere = {"signals": [], "href": "//elsewhere.example/x"}
    warn(fresh, evidence=elsewhere)
    (group,) = alerts_page.page(fresh.platform).groups
    assert group.alerts[0].href == "/performance?model=pcb&version=1"


def test_resolved_alerts_are_filtered_and_paged(fresh):
    """Who resolved what, and with which note."""
    db = fresh.platform.db
    for number in range(alerts_page.PAGE + 2):
        one = warn(fresh, f"pcb:{number}", severity="critical" if number % 2 else "warning")
        db.alerts.resolve(one.alert_id, "mia", f"note {number}")
    first = alerts_page.page(fresh.platform)
    assert (first.open, len(first.past)) == (0, alerts_page.PAGE)
    cursor = re.search("before=([^#]+)#", first.pager.older)[1]
    assert len(alerts_page.page(fresh.platform, before=cursor).past) == 2
    assert len(alerts_page.page(fresh.platform, severity="critical").past) == 16
    assert "Resolved by mia" in said(fresh, "/alerts?severity=warning")
    assert said(fresh, "/alerts?before=nonsense&severity=nonsense&model=nobody")


def test_the_lamp_follows_alerts_and_approvals(fresh):
    """Each reason leads to the page where something is done about it."""
    fresh.upload()
    fresh.predict(board())

    def lamp() -> Any:
        return state.judge(state.look(fresh.platform, "pcb"))

    until(lambda: lamp().color == "green")
    ask(fresh)
    told = lamp()
    assert (told.color, told.count) == ("yellow", 1)
    assert told.reasons[0].href == "/approvals"
    alert = warn(fresh, severity="critical")
    told = lamp()
    assert (told.color, told.word, told.count) == ("red", "At risk", 2)
    assert told.reasons[0].href == f"/alerts#alert-{alert.alert_id}"
    assert "12 of 100 answers" in said(fresh, "/")


def test_a_sick_camera_is_never_nothing_found(fresh):
    """The card, the opened inspection and the filters say that it was not judged."""
    fresh.upload()
    dark = {"image": ("dark.png", _dark(), "image/png")}
    answer = fresh.client.post("/api/predict", files=dark, data={"camera": "line-2-top"}).json()
    assert answer["camera_state"] == "dark"
    words = said(fresh, f"/inspect?id={answer['prediction_id']}")
    assert "Not judged: the picture is too dark" in words
    assert "line-2-top" in words
    assert "Nothing found" not in words
    assert "dark.png" in said(fresh, "/inspect?only=camera")
    assert "No inspection matches" in said(fresh, "/inspect?only=none")


def _dark() -> bytes:
    """A picture of the night."""
    return inspection._png(np.zeros((64, 64), np.uint8))


def test_a_version_can_be_tried_from_its_page(fresh):
    """What is on trial is told on the version's page and on Models, and stands in the way."""
    for name in ("first", "second", "third"):
        fresh.upload(name)
    assert "Start a canary" in said(fresh, "/models/1")
    assert "Stored pictures are run through v1" in said(fresh, "/models/1")
    serving = said(fresh, "/models/3")
    assert "v3 answers everything." in serving
    assert "Start a canary" not in serving
    assert "Replay" not in serving
    body = {"mode": "canary", "version": 1, "weight": 0.1, "reason": "A/B"}
    fresh.client.put("/api/traffic", json=body).raise_for_status()
    for path in ("/models/1", "/models"):
        assert "v1 answers 10 % of the subjects beside v3" in said(fresh, path)
    assert "v1 is being tried. One version at a time" in said(fresh, "/models/2")
    fresh.client.delete("/api/traffic?reason=Seen").raise_for_status()
    words = said(fresh, "/models/1")
    assert "Start a canary" in words
    assert "v1 answered 10 % of the subjects" in words


def test_a_replay_shows_every_flip_side_by_side(fresh):
    """From the job to the boxes of both versions, and the pictures that are gone."""
    fresh.upload("first")
    fresh.predict(board(), name="flips.png")
    fresh.predict(board(40, 8), name="gone.png")
    asked = fresh.platform.replays.ask
    fresh.upload("second")
    fresh.platform.deployments.rollback("pcb", "back", "mia")
    job = fresh.platform.jobs.enqueue(replay_page.KIND, asked("pcb", 2))
    until(lambda: fresh.platform.db.jobs.get(job.id).status == "succeeded")
    words = said(fresh, f"/replays/{job.id}")
    assert "2 stored answers replayed: none flips." in words
    assert "No answer flips." in words
    assert f"/replays/{job.id}" in fresh.client.get("/models/2", headers=HTML).text


def test_pages_about_all_models_show_the_lamp_of_the_worst_one(fresh):
    """A model that is at risk is not hidden behind another one that runs."""
    fresh.upload("first")
    assert 'class="chip chip-green"' in fresh.client.get("/alerts", headers=HTML).text
    warn(fresh, "other:performance_degradation", model="other", severity="critical")
    page = fresh.client.get("/alerts", headers=HTML).text
    assert 'id="head-lamp" href="/?model=other"' in page
    assert fresh.client.get("/", headers=HTML).text.count("chip chip-green") == 1


def test_what_is_open_is_counted_beside_its_link(fresh):
    """On every page under Watch, of all models; what has expired does not wait."""
    fresh.upload("first")
    warn(fresh)
    ask(fresh)
    ask(fresh, action_type="retrain_model", expires_at=now() - timedelta(minutes=1))
    page = fresh.client.get("/performance", headers=HTML).text
    nav = page[page.index("watch-nav") : page.index("</nav>", page.index("watch-nav"))]
    assert re.findall(r"nav-count number\">(\d+)", nav) == ["1", "1"]


def test_what_weighs_more_is_asked_first(fresh):
    """A roll back before a training, though the training expires earlier."""
    ask(fresh, action_type="retrain_model", risk_level="medium", parameters={})
    ask(fresh, expires_at=now() + timedelta(hours=20))
    cards = approvals.page(fresh.platform).waiting
    assert [one.risk for one in cards] == ["high", "medium"]


def test_the_agent_can_be_asked_from_its_page(fresh):
    """For what needs nothing said but the model; without one there is nothing to ask."""
    assert 'id="ask-form"' not in fresh.client.get("/activity", headers=HTML).text
    fresh.upload("first")
    words = said(fresh, "/activity")
    assert "Ask the agent" in words
    assert "Collect diagnostics" in words
