"""What alerts, approvals, trials and the watch do to the lamp, and signals as pages show them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.web.dashboard.acting_records import CAMERA, CRITICAL, FEED, action, alert, done, rollout
from tests.web.dashboard.scenes import NOW, minutes_ago
from tests.web.dashboard.test_state import facts, said, state

from andon.web.dashboard import acting_reading, acting_words
from andon.web.dashboard.state import judge


def here(**given):
    """An alert about the version that serves in `facts`."""
    return alert(1, **{"model_version": 1, **given})


def test_a_critical_alert_about_what_serves_is_red():
    """Its answers come, and are not to be relied on; the step leads to the alerts."""
    lamp = judge(facts(alerts=[here(severity="critical"), here(alert_id="0193-b002")]))
    assert (lamp.color, lamp.word, lamp.count) == ("red", "At risk", 2)
    assert lamp.step.href == "/alerts"
    assert lamp.since == minutes_ago(7)


def test_where_an_action_waits_the_step_is_to_decide():
    """Somebody has to say yes; that is more than to know."""
    lamp = judge(facts(alerts=[here(severity="critical")], approvals=[action()]))
    assert lamp.color == "red"
    assert lamp.step.href == "/approvals"
    assert lamp.count == 2


def test_a_critical_alert_about_another_version_is_yellow():
    """What serves is well."""
    lamp = judge(facts(alerts=[CRITICAL]))
    assert lamp.color == "yellow"
    assert lamp.reasons[0].href == f"/alerts#alert-{CRITICAL.alert_id}"
    assert lamp.step.text == "See the alerts"


def test_a_yellow_lamp_leads_to_the_decision_that_waits():
    """The alert is known; what is to be done about it waits for a yes."""
    lamp = judge(facts(alerts=[here()], approvals=[action()]))
    assert (lamp.color, lamp.step.href) == ("yellow", "/approvals")
    assert lamp.reasons[0].lead == "pcb v7 is slow"


def test_what_the_agent_did_unasked_is_not_called_a_proposal():
    """Who asked, who proposed, and who just did it."""
    assert acting_reading.action(action()).source == "proposed by the agent"
    alone = acting_reading.action(done(requires_approval=False))
    assert alone.source == "by the agent itself"
    assert acting_reading.action(action(source="person")).source == "asked for by a person"


def test_an_action_says_nothing_twice():
    """What came of it is left out where the reason says it; a follow-up has one opening."""
    same = done(reason="Rows are faulty. v6 serves since 13:20 UTC.")
    assert acting_reading.action(same).result == ""
    unsure = {"recovered": None, "summary": "Not known yet whether it helped: too little came."}
    card = acting_reading.action(done(follow_up=unsure))
    assert card.follow == "It cannot be told whether it helped: too little came."


def test_an_alert_leads_to_the_version_or_the_camera_it_is_about():
    """Another version may serve by the time somebody looks."""
    assert acting_reading.next_step(alert(model_version=7))[1].endswith("?model=pcb&version=7")
    silent = alert(model=None, model_version=None, group_key="feed:pictures of line-2")
    assert acting_reading.next_step(silent) == ("See what arrives", "/inspect")
    assert acting_reading.subject_of(silent) == "Camera line-2"


def test_a_note_does_not_change_the_lamp():
    """It is counted, and that is all."""
    lamp = judge(facts(alerts=[FEED]))
    assert (lamp.color, lamp.count) == ("green", 1)


def test_a_sick_camera_is_yellow():
    """The picture is bad, not the model."""
    lamp = judge(facts(alerts=[CAMERA]))
    assert lamp.color == "yellow"
    assert "too dark" in said(lamp)


def test_many_alerts_are_counted_not_told():
    """Three in full, the gravest first, and how many more."""
    many = [alert(number, model_version=7) for number in range(1, 7)]
    lamp = judge(facts(alerts=[*many, CRITICAL]))
    assert lamp.reasons[0].text == CRITICAL.message
    assert lamp.reasons[3].text == "4 more alerts are open."


def test_what_waits_for_a_person_is_yellow():
    """And leads to where it is decided."""
    lamp = judge(facts(approvals=[action(3)]))
    assert (lamp.color, lamp.step.text, lamp.step.href) == ("yellow", "Decide", "/approvals")
    assert lamp.since == minutes_ago(3)


def test_a_trial_that_is_judged_worse_is_yellow():
    """One that cannot be told yet is not."""
    worse = rollout(judgement={"verdict": "worse", "reasons": ["v8 fails more often."]})
    lamp = judge(facts(rollout=worse))
    assert lamp.color == "yellow"
    assert "v8 is on trial and judged worse than v7. v8 fails more often." in said(lamp)
    assert lamp.step.href == "/models/8?model=pcb#traffic"
    assert judge(facts(rollout=rollout())).color == "green"
    assert judge(facts(rollout=rollout(judgement=None))).color == "green"


def test_nobody_watching_and_a_broken_policy_are_yellow():
    """Both lead to who watches."""
    lamp = judge(facts(watch="Nobody has looked since 11:02 UTC.", policy="line 7: no."))
    assert lamp.color == "yellow"
    assert [one.href for one in lamp.reasons] == ["/activity", "/activity"]
    assert "The policy file is broken: line 7: no." in said(lamp)


def test_a_stopped_line_stays_stopped():
    """No alert is graver than that nothing answers."""
    stopped = state(serving=None, loaded=False, problem="gone.")
    lamp = judge(facts(state=stopped, alerts=[here(severity="critical")]))
    assert (lamp.word, lamp.count) == ("Stopped", 1)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("error_rate", 0.12, "12 %"),
        ("error_rate", 0.003, "0.3 %"),
        ("accuracy", 0.845, "0.84"),
        ("latency", 21.4, "21 ms"),
        ("drift", 1.254, "1.25"),
        ("detections", 4.0, "4"),
        ("anything", None, "–"),
        ("anything", True, "–"),
    ],
)
def test_numbers_are_told_in_the_unit_people_know(name, value, words):
    """Shares as percents, times as milliseconds, what is unknown as a dash."""
    assert acting_words.figure(name, value) == words


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["name", "state", "value", "since", "severity"]), JSON))
def test_evidence_of_any_shape_becomes_a_row(signal):
    """It is data of another release, perhaps: what cannot be told is a dash."""
    row = acting_reading.cue(signal)
    assert row.value
    assert row.state


@pytest.mark.parametrize(
    ("found", "words", "tone"),
    [
        (None, "Too early to say whether it helped; it is looked at in 9 min.", "none"),
        (
            {"recovered": True, "summary": "It has recovered: 1 % fail."},
            "Helped: 1 % fail.",
            "good",
        ),
        ({"recovered": False, "summary": "Still 9 %."}, "Did not help: Still 9 %.", "look"),
        ({"recovered": None, "summary": ""}, "It cannot be told whether it helped.", "none"),
    ],
)
def test_a_follow_up_is_told_in_words(found, words, tone):
    """Helped, did not help, or too early to say."""
    later = NOW + timedelta(minutes=9)
    card = acting_reading.action(done(follow_up=found, follow_up_at=later), NOW)
    assert (card.follow, card.follow_tone) == (words, tone)
