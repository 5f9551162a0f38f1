from datetime import timedelta

from tests.web.dashboard.scenes import NOW, minutes_ago

from andon.serving.slots import SlotState
from andon.store.records import Event, ModelVersion
from andon.store.rejected_messages import RejectedLately
from andon.web.dashboard.state import Aside, Facts, judge


def record(number: int = 1, *, inspections: int = 10, **given) -> ModelVersion:
    """A version in the registry."""
    values = {
        "id": number,
        "model": "pcb",
        "version": number,
        "filename": "x.onnx",
        "file_hash": "0" * 64,
        "file_size": 1,
        "format": "onnx",
        "status": "production",
        "is_active": True,
        "source": "upload",
        "notes": "",
        "options": {},
        "description": {},
        "upload_date": NOW,
        "deployed_date": NOW,
        "deleted_date": None,
        "damaged": "",
        "proof": None,
        "accuracy": None,
        "total_inferences": inspections,
        "total_detections": 0,
        "avg_inference_time": 0.0,
        "avg_confidence": 0.0,
    }
    return ModelVersion(**{**values, **given})


def event(kind: str, version: int = 1, minutes: float = 5, reason: str = "") -> Event:
    """A deployment event so many minutes ago."""
    return Event(1, "pcb", version, kind, minutes_ago(minutes), reason, None, "")


def state(**given) -> SlotState:
    """v1 is active and loaded."""
    values = {
        "model": "pcb",
        "version": 1,
        "serving": 1,
        "loaded": True,
        "since": minutes_ago(60),
        "problem": "",
    }
    return SlotState(**{**values, **given})


def facts(**given) -> Facts:
    """A line that runs well."""
    values = {"model": "pcb", "state": state(), "versions": [record()], "moment": NOW}
    return Facts(**{**values, "queue_size": 10, **given})


def said(lamp) -> str:
    """All reasons of a lamp."""
    return " ".join(reason.text for reason in lamp.reasons)


def test_a_line_that_runs_is_green_and_asks_for_nothing():
    """Green has no step: there is nothing to do."""
    lamp = judge(facts())
    assert (lamp.color, lamp.step) == ("green", None)
    assert lamp.since == minutes_ago(60)


def test_a_fresh_version_invites_to_inspect():
    """Green, and the step is the first picture."""
    lamp = judge(facts(versions=[record(inspections=0)]))
    assert (lamp.color, lamp.word) == ("green", "Ready")
    assert lamp.step.href.startswith("/inspect")


def test_no_model_leads_to_deploying_one():
    """An installation without a version is not broken, but something is to be done."""
    for known in (None, state(version=None, serving=None, loaded=False)):
        lamp = judge(facts(state=known, versions=[]))
        assert lamp.color == "yellow"
        assert lamp.step.href == "/models?model=pcb#deploy"


def test_versions_none_of_which_is_active_lead_to_choosing_one():
    """The newest one is named."""
    lamp = judge(facts(state=None, versions=[record(3, is_active=False)]))
    assert lamp.color == "yellow"
    assert "v3 is ready" in said(lamp)


def test_an_active_version_that_cannot_serve_stops_the_line():
    """Red says the engine's own reason."""
    broken = state(serving=None, loaded=False, problem="v1 is active but cannot be loaded: gone.")
    lamp = judge(facts(state=broken, events=[event("ACTIVATE", minutes=30)]))
    assert lamp.color == "red"
    assert "cannot be loaded" in said(lamp)
    assert lamp.since == minutes_ago(30)


def test_an_active_version_that_serves_elsewhere_only_stops_the_line_too():
    """Without a reason from the engine there still is a sentence."""
    lamp = judge(facts(state=state(serving=None, loaded=False)))
    assert lamp.color == "red"
    assert "not loaded" in said(lamp)


def test_a_fallback_is_told_with_what_serves_instead():
    """The damaged version is named, and the one that took over."""
    problem = "v2 could not be loaded at start: the file is damaged. v1 serves instead."
    lamp = judge(facts(state=state(problem=problem), events=[event("ROLLBACK", minutes=7)]))
    assert lamp.color == "yellow"
    assert lamp.reasons[0].text == problem
    assert lamp.since == minutes_ago(7)


def test_a_damaged_file_that_does_not_serve_is_still_told():
    """It would fail at the next roll back."""
    spare = record(2, is_active=False, damaged="the file is missing.")
    lamp = judge(facts(versions=[spare, record(1)], events=[event("DAMAGED", 2, 9)]))
    assert lamp.color == "yellow"
    assert "The file of v2 is damaged: the file is missing." in said(lamp)
    assert "v1 serves" in said(lamp)
    assert lamp.since == minutes_ago(9)


def test_a_refused_file_is_told_until_something_is_deployed():
    """A later activation answers it."""
    refused = event("REJECTED", 0, 5, "x.onnx: it is plain text.")
    lamp = judge(facts(events=[refused, event("ACTIVATE", minutes=20)]))
    assert lamp.color == "yellow"
    assert "it is plain text" in said(lamp)
    assert judge(facts(events=[event("ACTIVATE", minutes=1), refused])).color == "green"


def test_a_refused_file_is_forgotten_after_a_day():
    """Nobody who comes in the morning looks for last week's mistake."""
    old = event("REJECTED", 0, 25 * 60, "x.onnx")
    assert judge(facts(events=[old])).color == "green"


def test_a_file_moved_aside_by_the_watch_folder_is_told():
    """It may never have become an event: its name alone said that it is no model."""
    aside = Aside("notes.txt", "Only .onnx and .eim files are deployed.", minutes_ago(3))
    lamp = judge(facts(aside=aside, events=[event("ACTIVATE", minutes=20)]))
    assert lamp.color == "yellow"
    assert said(lamp) == (
        "notes.txt in the watch folder was refused. Only .onnx and .eim files are deployed."
    )
    assert judge(facts(aside=aside, events=[event("ACTIVATE", minutes=1)])).color == "green"
    # The event of the same file says it already.
    both = judge(facts(aside=aside, events=[event("REJECTED", 0, 4, "notes.txt: no model.")]))
    assert len(both.reasons) == 1


def test_a_full_queue_is_told_before_it_turns_requests_away():
    """Nine of ten places taken is full."""
    assert judge(facts(waiting=8)).color == "green"
    lamp = judge(facts(waiting=9))
    assert lamp.color == "yellow"
    assert "9 of 10 places" in said(lamp)


def test_a_full_disk_says_what_stops_and_what_goes_on():
    """Answers go on, pictures are no longer kept."""
    lamp = judge(facts(free_bytes=5 * 1024**2, min_free_bytes=200 * 1024**2))
    assert lamp.color == "yellow"
    assert "5 MB are free" in said(lamp)
    assert "no longer kept" in said(lamp)
    assert judge(facts(free_bytes=None, min_free_bytes=1)).color == "green"


def test_failures_count_by_share_and_number():
    """One unreadable picture is no state of the line; a tenth of all is."""
    since = NOW - timedelta(minutes=4)
    assert judge(facts(answered=10, failed=1)).color == "green"
    assert judge(facts(answered=1000, failed=10)).color == "green"
    lamp = judge(facts(answered=50, failed=10, failing_since=since))
    assert lamp.color == "yellow"
    assert "10 of 50 inspections failed" in said(lamp)
    assert lamp.since == since
    assert "only=failed" in lamp.step.href


def test_messages_that_cannot_be_used_now_are_a_worry():
    """A sender that goes on is one; a single message is not. The topic is a stranger's word."""
    since = NOW - timedelta(minutes=9)
    assert judge(facts(rejected=RejectedLately(2, since, "t"))).color == "green"
    lamp = judge(facts(rejected=RejectedLately(37, since, "andon/\u202e" + "x" * 900)))
    assert (lamp.color, lamp.since) == ("yellow", since)
    assert "37 MQTT messages could not be used in the last 15 minutes" in said(lamp)
    assert "andon/\\u202exxx" in said(lamp)
    assert len(said(lamp)) < 250
    assert (lamp.step.href, lamp.step.text) == ("/floor/rejected", "See what was refused")
    bare = judge(facts(state=None, versions=[], rejected=RejectedLately(3, since, "t")))
    assert "3 MQTT messages could not be used" in said(bare)


def test_every_worry_is_told_and_the_gravest_leads():
    """The step belongs to the first reason."""
    lamp = judge(
        facts(
            state=state(problem="v2 could not be loaded. v1 serves instead."),
            waiting=10,
            free_bytes=0,
            min_free_bytes=1,
        )
    )
    assert len(lamp.reasons) == 3
    assert lamp.step.href.startswith("/models")


def test_a_database_that_fails_stops_the_line():
    """Its own words are shown."""
    lamp = judge(facts(database="The database is damaged."))
    assert lamp.color == "red"
    assert said(lamp) == "The database is damaged."


def test_a_model_of_rows_is_told_in_words_of_rows():
    """No boards and no pictures where there are none."""
    ready = judge(facts(rows=True, versions=[record(inspections=0)]))
    assert ready.headline == "Ready for the first row"
    assert ready.step.text == "Try a row"
    assert judge(facts(rows=True)).headline == "Rows are answered"
    failing = judge(facts(rows=True, answered=50, failed=10))
    assert "10 of 50 rows failed" in said(failing)
    assert failing.step.href.endswith("#history")
    full = judge(facts(rows=True, waiting=10))
    assert "Further rows are turned away" in said(full)
    stopped = judge(facts(rows=True, state=state(serving=None, loaded=False)))
    assert stopped.headline == "No row can be answered"
    assert stopped.step.text == "Choose another version"
