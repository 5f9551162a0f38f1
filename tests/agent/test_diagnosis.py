from tests.agent.conftest import NOON, signal

from andon.agent import decision
from andon.agent.decision import Situation
from andon.agent.diagnosis import diagnose
from andon.agent.rollback import Target
from andon.agent.thresholds import Step
from andon.monitoring.signals import Issue, State
from andon.store.records import ModelVersion


def version(number: int) -> ModelVersion:
    """A version that is there."""
    return ModelVersion(
        id=number, model="pcb", version=number, filename="m.onnx", file_hash="", file_size=1,
        format="onnx", status="production", is_active=True, source="upload", notes="", options={},
        description={}, upload_date=NOON, deployed_date=NOON, deleted_date=None, damaged="",
        proof=None, accuracy=None, total_inferences=0, total_detections=0, avg_inference_time=0,
        avg_confidence=0,
    )  # fmt: skip


def kinds(finding, **known):
    """What would be done about it."""
    situation = Situation(**{"moment": NOON, **known})
    return [wish.kind for wish in decision.decide(finding, situation)]


OLD = Target(active=version(2), since=NOON.replace(month=1), version=version(1))
NEW = Target(active=version(2), since=NOON.replace(hour=11), version=version(1))


def test_signals_of_one_trouble_are_one_finding_with_the_worst_severity():
    """All of them are its evidence; what is well or unknown makes none."""
    (found,) = diagnose(
        [
            signal("latency", summary="Slow."),
            signal("error_rate", severity="critical", summary="Errors."),
            signal("accuracy", state=State.OK),
            signal("drift", Issue.DATA_DRIFT, state=State.UNKNOWN),
        ]
    )
    assert (found.issue, found.severity, found.summary) == (
        Issue.PERFORMANCE, "critical", "Errors. Slow.",
    )  # fmt: skip
    assert found.names() == {"latency", "error_rate"}
    assert len(found.evidence()["signals"]) == 2
    assert found.group_key == "pcb:performance_degradation"


def test_the_five_issues_and_two_models_are_told_apart():
    """The gravest comes first."""
    found = diagnose(
        [signal("x", issue, model=model) for issue in Issue for model in ("pcb", "heart")]
        + [signal("error_rate", model="zoo", severity="critical")]
    )
    assert len(found) == 11
    assert found[0].model == "zoo"


def test_a_sick_camera_is_never_drift_or_anomaly_of_the_model():
    """Not even of the pictures of other cameras in the same window; errors stay errors."""
    found = diagnose(
        [
            signal("camera", Issue.DATA_QUALITY, subject="cam-1", summary="cam-1 is dark."),
            signal("drift", Issue.DATA_DRIFT),
            signal("label_mix", Issue.ANOMALY),
            signal("confidence", Issue.LOW_CONFIDENCE),
            signal("error_rate"),
            signal("drift", Issue.DATA_DRIFT, model="heart"),
        ]
    )
    about = {(one.model, str(one.issue), one.camera) for one in found}
    assert about == {
        ("pcb", "data_quality", True),
        ("pcb", "performance_degradation", False),
        ("heart", "data_drift", False),
    }
    camera = next(one for one in found if one.camera)
    assert "put down to the camera" in camera.summary
    assert {"drift", "label_mix", "confidence"} <= camera.names()
    assert camera.group_key == "pcb:camera:cam-1"
    assert kinds(camera) == ["send_alert"]


def test_feeds_belong_to_no_model():
    """Each is a finding of its own; people are told."""
    feeds = [
        signal("stale_feed", Issue.DATA_QUALITY, model="", version=None, subject=name)
        for name in ("a", "b")
    ]
    found = diagnose(feeds)
    assert [one.group_key for one in found] == ["feed:a", "feed:b"]
    assert kinds(found[0]) == ["send_alert"]


def test_what_is_done_about_which_issue():
    """The seven actions, by issue and situation."""
    (slow,) = diagnose([signal("latency")])
    (guess,) = diagnose([signal("estimated_accuracy")])
    (worse,) = diagnose([signal("accuracy")])
    (odd,) = diagnose([signal("label_mix", Issue.ANOMALY)])
    (moved,) = diagnose([signal("drift", Issue.DATA_DRIFT)])
    (unsure,) = diagnose([signal("confidence", Issue.LOW_CONFIDENCE)])
    (faulty,) = diagnose([signal("missing", Issue.DATA_QUALITY)])
    (concept,) = diagnose([signal("concept")])
    step = Step(before=0.5, after=0.55, f1_before=0.8, f1_after=0.9, labels=100)
    drift = frozenset({Issue.DATA_DRIFT})
    assert kinds(slow, target=OLD) == ["rollback_model"]
    assert kinds(worse, target=OLD) == ["rollback_model"]
    assert kinds(worse, target=OLD, also=drift, can_retrain=True) == [
        "retrain_model", "generate_report",
    ]  # fmt: skip
    assert kinds(guess, target=NEW) == ["rollback_model"]
    assert kinds(guess, target=OLD, can_retrain=True) == ["retrain_model", "generate_report"]
    assert kinds(guess, target=OLD) == ["generate_report", "send_alert"]
    assert kinds(odd, target=NEW) == ["rollback_model"]
    assert kinds(odd, target=OLD) == ["generate_report", "collect_diagnostics"]
    assert kinds(moved, target=OLD, can_retrain=True) == ["generate_report", "retrain_model"]
    assert kinds(moved, target=OLD) == ["generate_report"]
    assert kinds(unsure, target=OLD, step=step) == ["adjust_threshold"]
    assert kinds(unsure, target=OLD) == ["generate_report"]
    assert kinds(faulty, target=NEW) == ["validate_data", "send_alert"]
    assert kinds(concept, target=NEW, can_retrain=True) == ["retrain_model", "generate_report"]
    nothing = Target(active=version(1), since=NOON, version=None)
    assert kinds(slow, target=nothing) == ["send_alert", "collect_diagnostics"]


def test_a_version_slower_than_the_one_before_is_told_and_not_undone():
    """It may be meant so; beside another fault it stops nothing."""
    (slower,) = diagnose([signal("latency_before")])
    assert kinds(slower, target=NEW) == ["send_alert"]
    assert kinds(slower, target=OLD) == ["send_alert"]
    (both,) = diagnose([signal("latency_before"), signal("error_rate")])
    assert kinds(both, target=NEW) == ["rollback_model"]


def test_every_wish_has_its_reason():
    """A sentence, with the numbers of the signal."""
    (slow,) = diagnose([signal("latency", summary="312 ms instead of 120 ms.")])
    for wish in decision.decide(slow, Situation(moment=NOON, target=OLD)):
        assert "312 ms" in wish.reason
