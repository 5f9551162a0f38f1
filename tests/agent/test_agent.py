import sqlite3
from datetime import timedelta

import pytest
from tests.agent.conftest import build, signal

from andon.agent.diagnosis import diagnose
from andon.errors import Conflict, InvalidRequest, StorageFull
from andon.monitoring.signals import Issue, State
from andon.serving.tripwire import Trip
from andon.store.clock import now
from andon.store.database import Database

BAD = diagnose([signal()])
ASK = '[models.default]\nrollback = "approve"\n'
TWO = '[agent]\nsecond_person = ["high"]\n' + ASK


def trip(bench, version: int = 2) -> Trip:
    """A version that crashes."""
    record = bench.db.models.get("pcb", version)
    return Trip("pcb", version, record.id, "crash", 5, 5, bench.moment, "It crashed 5 times.")


def test_pcb_is_rolled_back_by_itself_and_everything_is_linked(any_bench):
    """Finding, action, deployment event, alert and notification lead to each other."""
    bench = any_bench
    bench.versions()
    alert, _ = bench.db.alerts.see(
        "pcb:performance_degradation", alert_type="performance_degradation", severity="warning",
        title="Worse", message="It is bad.", model="pcb",
    )  # fmt: skip
    (action,) = bench.handle(*BAD)
    assert (action.status, action.alert_id) == ("approved", alert.alert_id)
    bench.tick()
    assert bench.serving() == 1
    done = bench.db.actions.get(action.action_id)
    assert (done.status, done.attempts) == ("succeeded", 1)
    event = bench.db.actions.event_of(action.action_id)
    assert done.deployment_event_id == event.id
    assert (event.actor, event.previous_version) == ("agent", 2)
    (told,) = bench.told.named("rollback")
    assert (told["from_version"], told["to_version"]) == (2, 1)
    assert bench.told.named("action_done")


def test_other_models_wait_for_a_person(bench):
    """And nothing changes until one agrees."""
    bench.versions("heart")
    (action,) = bench.handle(*diagnose([signal(model="heart")]))
    bench.tick()
    assert (action.status, bench.serving("heart")) == ("pending", 2)
    (asked,) = bench.told.named("approval_needed")
    assert asked["action_id"] == action.action_id
    assert bench.agent.approve(action.action_id, "Anna", "Seen.").status == "approved"
    bench.tick()
    assert bench.serving("heart") == 1
    assert bench.db.actions.event_of(action.action_id).actor == "agent, approved by Anna"


def test_a_rejected_action_is_not_done_and_not_proposed_again_that_day(bench):
    """A day later it may be asked anew."""
    bench.policy(ASK)
    bench.versions()
    (action,) = bench.handle(*BAD)
    bench.agent.reject(action.action_id, "Anna", "No.")
    for _ in range(20):
        bench.later(hours=1)
        bench.handle(*BAD)
        bench.tick()
    assert bench.serving() == 2
    assert len(bench.actions("rollback_model")) == 1
    bench.later(hours=5)
    (again,) = bench.handle(*BAD)
    assert again.status == "pending"


def test_high_risk_may_need_two_people(bench):
    """Two names that differ in case are one person."""
    bench.policy(TWO)
    bench.versions()
    (action,) = bench.handle(*BAD)
    bench.agent.approve(action.action_id, "Anna")
    with pytest.raises(Conflict, match="different people"):
        bench.agent.approve(action.action_id, "aNNa")
    bench.tick()
    assert bench.serving() == 2
    bench.agent.approve(action.action_id, "Bert")
    bench.tick()
    assert bench.serving() == 1


def test_approving_after_expiry_is_refused_and_changes_nothing(bench):
    """The agent asks anew while the trouble lasts."""
    bench.policy(ASK)
    bench.versions()
    (action,) = bench.handle(*BAD)
    bench.later(hours=24)
    with pytest.raises(Conflict, match="expired"):
        bench.agent.approve(action.action_id, "Anna")
    bench.tick()
    assert bench.db.actions.get(action.action_id).status == "expired"
    assert bench.serving() == 2
    (again,) = bench.handle(*BAD)
    assert again.status == "pending"


def test_a_dry_run_writes_down_and_changes_nothing(bench):
    """Once per trouble, not once per look."""
    bench.policy("[agent]\ndry_run = true\n")
    bench.versions()
    for _ in range(5):
        bench.handle(*BAD)
        bench.tick()
        bench.later(minutes=1)
    (action,) = bench.actions()
    assert (action.status, action.dry_run) == ("succeeded", True)
    assert "would rollback model for pcb" in action.execution_result["summary"]
    assert bench.serving() == 2
    assert bench.deployments.calls == []
    assert bench.told.events == []


def test_a_finding_that_lasts_is_decided_once(bench):
    """While it waits, and until the follow-up has said whether it helped."""
    bench.versions()
    data = diagnose([signal("missing", Issue.DATA_QUALITY)])
    for _ in range(30):
        bench.handle(*data)
        bench.tick()
        bench.later(seconds=60)
    kinds = [one.action_type for one in bench.actions()]
    assert kinds == ["validate_data", "send_alert"]


def test_the_follow_up_says_whether_it_helped(bench):
    """On the action: the number now, and that it recovered."""
    bench.versions()
    (action,) = bench.handle(*BAD)
    bench.tick()
    bench.signals = [signal(version=1, state=State.OK, summary="1 % of the answers failed.")]
    bench.later(minutes=15)
    bench.tick()
    found = bench.db.actions.get(action.action_id).follow_up
    assert found["recovered"] is True
    assert "1 % of the answers failed" in found["summary"]
    assert found["signal"]["state"] == "ok"


def test_two_bad_versions_in_a_row_are_held_and_a_person_decides(bench):
    """No second rollback by itself: a critical alert and a question."""
    bench.versions(count=3)
    bench.handle(*diagnose([signal(version=3)]))
    bench.tick()
    assert bench.serving() == 2
    bench.later(hours=2)
    made = bench.handle(*BAD)
    bench.tick()
    assert bench.serving() == 2
    assert [one.action_type for one in made] == ["rollback_model", "send_alert"]
    assert [one.status for one in made] == ["pending", "approved"]
    critical = [one for one in bench.db.alerts.open("pcb") if one.severity == "critical"]
    assert "a person must decide" in critical[0].message
    bench.agent.approve(made[0].action_id, "Anna")
    bench.tick()
    assert bench.serving() == 1


def test_with_nothing_to_go_back_to_people_are_told_once(bench):
    """A critical alert and diagnostics; the alert ends with the trouble."""
    bench.versions(count=1)
    only = diagnose([signal(version=1)])
    for _ in range(3):
        bench.handle(*only)
        bench.tick()
        bench.later(hours=2)
    assert bench.serving() == 1
    assert [one.action_type for one in bench.actions()][:2] == ["send_alert", "collect_diagnostics"]
    (alert,) = bench.db.alerts.open("pcb")
    assert "no healthy version" in alert.message
    assert len(bench.told.named("alert")) <= 1
    bench.handle()
    bench.handle()
    assert bench.db.alerts.open("pcb") == []


def test_a_trip_is_acted_on_at_once(bench):
    """Before any look, and once however often it is told."""
    bench.versions()
    bench.agent.trip("pcb", 2, trip(bench))
    bench.agent.trip("pcb", 2, trip(bench))
    assert bench.serving() == 1
    (action,) = bench.actions()
    assert action.status == "succeeded"
    assert action.evidence["signals"][0]["evidence"]["trip"] == "crash"


def test_a_trip_waits_for_people_where_the_policy_says_so(bench):
    """With a critical alert."""
    bench.policy(ASK)
    bench.versions()
    bench.agent.trip("pcb", 2, trip(bench))
    bench.tick()
    assert bench.serving() == 2
    assert [one.status for one in bench.actions("rollback_model")] == ["pending"]
    (alert,) = bench.db.alerts.open("pcb")
    assert (alert.severity, "waits for approval" in alert.message) == ("critical", True)


def test_a_trip_of_a_candidate_stops_the_canary(bench):
    """What serves stays as it is; nobody need agree."""
    bench.policy(ASK)
    bench.versions()
    bench.activate("pcb", 1)
    rollout = bench.db.rollouts.start("pcb", "canary", 2, 0.1, "anna", "Try it.")
    bench.agent.trip("pcb", 2, trip(bench))
    assert bench.serving() == 1
    assert bench.db.rollouts.get(rollout.id).status == "reverted"
    (action,) = bench.actions()
    assert (action.risk_level, action.status) == ("low", "succeeded")


def test_a_trip_while_the_database_is_read_only_is_acted_on_later(bench, monkeypatch):
    """It is not forgotten."""
    bench.versions()

    def refuse(**_):
        raise StorageFull("The database is read-only.")

    with monkeypatch.context() as patch:
        patch.setattr(bench.db.actions, "propose", refuse)
        bench.agent.trip("pcb", 2, trip(bench))
        assert bench.serving() == 2
    bench.later(seconds=60)
    bench.tick()
    assert bench.serving() == 1


def test_a_judged_canary(bench):
    """Better asks, worse is stopped at once; not enough does nothing."""
    bench.versions()
    bench.activate("pcb", 1)
    rollout = bench.db.rollouts.start("pcb", "canary", 2, 0.1, "anna", "Try it.")
    assert bench.agent.handle_judgement(rollout, {"verdict": "not_enough", "reasons": []}) is None
    better = {"verdict": "better", "reasons": ["Fewer errors."]}
    action = bench.agent.handle_judgement(rollout, better)
    assert action.status == "pending"
    assert bench.agent.handle_judgement(rollout, better) is None
    bench.agent.approve(action.action_id, "Anna")
    bench.tick()
    assert bench.serving() == 2
    assert bench.db.rollouts.get(rollout.id).status == "promoted"
    again = bench.db.rollouts.start("pcb", "canary", 1, 0.1, "anna", "And back.")
    bench.agent.handle_judgement(again, {"verdict": "worse", "reasons": ["Slower."]})
    bench.tick()
    assert bench.db.rollouts.get(again.id).status == "reverted"
    assert bench.serving() == 2


def test_the_budget_holds_and_keeps_a_part_for_rollbacks(bench):
    """Reports use up three quarters at most."""
    bench.policy("[agent]\nactions_per_day = 4\n")
    for number in range(6):
        bench.versions(f"m{number}", count=1)
    for number in range(6):
        drift = signal("drift", Issue.DATA_DRIFT, model=f"m{number}", version=1)
        bench.handle(*diagnose([drift]))
    assert len(bench.actions("generate_report")) == 3
    bench.versions()
    bench.handle(*BAD)
    assert len(bench.actions("rollback_model")) == 1


def test_manual_is_an_alert_and_no_more(bench):
    """With what the agent would have done."""
    bench.policy('[models.pcb]\nrollback = "manual"\n')
    bench.versions()
    (action,) = bench.handle(*BAD)
    assert action.action_type == "send_alert"
    assert "would rollback model" in action.parameters["message"]


def test_a_broken_policy_file_loosens_nothing(bench):
    """What ran by itself waits for a person until the file is mended."""
    bench.policy("[models.pcb]\nrollback = 'auto'\n")
    bench.means.policy.current()
    bench.policy("[models.pcb\nrollback = 'auto'\n")
    assert "Line 1" in bench.means.policy.current()[1]
    bench.versions()
    (action,) = bench.handle(*BAD)
    assert action.status == "pending"
    bench.tick()
    assert bench.serving() == 2


def test_a_person_who_asks_has_agreed(bench):
    """Where two are needed, one more has to."""
    bench.versions()
    action = bench.agent.propose("rollback_model", by="Anna", reason="It looks wrong.")
    assert (action.status, action.source) == ("approved", "person")
    bench.tick()
    assert bench.serving() == 1
    bench.policy(TWO)
    waits = bench.agent.propose("rollback_model", by="Anna", parameters={"to_version": 2})
    assert waits.status == "pending"
    with pytest.raises(Conflict, match="different people"):
        bench.agent.approve(waits.action_id, "anna")
    bench.agent.approve(waits.action_id, "Bert")
    bench.tick()
    assert bench.serving() == 2


@pytest.mark.parametrize(
    ("kind", "parameters", "error"),
    [
        ("fly", {}, InvalidRequest),
        ("rollback_model", {"to_version": "x"}, InvalidRequest),
        ("rollback_model", {"to": 1}, InvalidRequest),
        ("rollback_model", {"to_version": 2}, Conflict),
        ("adjust_threshold", {"to_threshold": 2}, InvalidRequest),
        ("promote_model", {}, Conflict),
        ("retrain_model", {}, Conflict),
        ("send_alert", {"severity": "loud", "message": "x"}, InvalidRequest),
    ],
)
def test_what_cannot_be_asked_for_is_refused(bench, kind, parameters, error):
    """Before anything is written."""
    bench.versions()
    with pytest.raises(error):
        bench.agent.propose(kind, by="Anna", parameters=parameters)
    assert bench.actions() == []


def test_a_moved_threshold_can_be_taken_back(bench):
    """To what it was; not where somebody changed it since."""
    bench.versions()
    made = bench.agent.propose("adjust_threshold", by="Anna", parameters={"to_threshold": 0.7})
    bench.tick()
    assert bench.db.models.get("pcb", 2).threshold == 0.7
    result = bench.db.actions.get(made.action_id).execution_result
    assert (result["before"], result["after"], result["before_set"]) == (0.5, 0.7, None)
    undo = bench.agent.undo(made.action_id, "Bert")
    bench.tick()
    assert bench.db.models.get("pcb", 2).threshold is None
    assert bench.db.actions.get(undo.action_id).parameters["undo_of"] == made.action_id
    with pytest.raises(Conflict, match="changed since"):
        bench.agent.undo(made.action_id, "Bert")


def test_a_failing_action_is_tried_three_times_and_then_told(bench):
    """With the error on it and a critical alert."""
    bench.versions()
    bench.handle(*BAD)
    bench.deployments.full = True
    for _ in range(5):
        bench.tick()
        bench.later(seconds=30)
    (action,) = bench.actions()
    assert (action.status, action.attempts) == ("failed", 3)
    assert "takes nothing" in action.error
    assert len(bench.deployments.calls) == 3
    assert [one.severity for one in bench.db.alerts.open("pcb")] == ["critical"]


def test_what_does_not_load_is_passed_over(bench):
    """By itself only: people agreed to one version and no other."""
    bench.versions(count=3)
    bench.deployments.broken = {2}
    bench.handle(*diagnose([signal(version=3)]))
    bench.tick()
    assert bench.serving() == 1


def test_an_approval_for_a_version_that_has_gone_does_nothing(bench):
    """Somebody else has changed what serves meanwhile."""
    bench.policy(ASK)
    bench.versions(count=3)
    (action,) = bench.handle(*diagnose([signal(version=3)]))
    bench.activate("pcb", 1)
    bench.agent.approve(action.action_id, "Anna")
    bench.tick()
    assert bench.serving() == 1
    assert "serves now" in bench.db.actions.get(action.action_id).error


def test_an_end_that_cannot_be_written_is_kept_until_it_can(bench, monkeypatch):
    """Nothing is done twice meanwhile."""
    bench.versions()
    bench.handle(*BAD)

    def refuse(*_, **__):
        raise StorageFull("The database is read-only.")

    with monkeypatch.context() as patch:
        patch.setattr(bench.db.actions, "finish", refuse)
        with pytest.raises(StorageFull):
            bench.tick()
        bench.later(minutes=1)
        with pytest.raises(StorageFull):
            bench.tick()
    bench.tick()
    (action,) = bench.actions()
    assert action.status == "succeeded"
    assert bench.deployments.calls == ["rollback pcb 1"]


def test_it_says_how_it_stands(bench):
    """For the page, the API and the command."""
    bench.policy(ASK)
    bench.versions()
    bench.handle(*BAD)
    status = bench.agent.status()
    assert (status.mode, status.pending, status.used, status.budget) == ("on", 1, 1, 20)


def test_a_clock_that_was_set_back_stops_nothing(bench):
    """Neither what was approved nor what was left."""
    bench.versions()
    (action,) = bench.handle(*BAD)
    bench.db.actions.claim()
    bench.moment -= timedelta(days=2)
    bench.tick()
    assert bench.db.actions.get(action.action_id).status == "succeeded"


def test_what_was_found_of_a_version_that_was_left_meanwhile_is_not_acted_on(bench):
    """Neither what a look found nor a trip: the version that serves now is another."""
    bench.policy('[models.default]\nrollback = "auto"\n')
    bench.versions()
    bench.db.models.set_active("pcb", 1, event_type="ROLLBACK", reason="By hand", actor="ana")
    bench.handle(*BAD)
    bench.agent.trip("pcb", 2, trip(bench))
    bench.tick()
    assert (bench.serving(), bench.actions()) == (1, [])


def test_a_database_that_is_read_only_for_a_minute_loses_nothing(sqlite_path):
    """Another program holds its lock: looks and ticks fail, then everything goes on."""
    db = Database(sqlite_path, busy_timeout=0.05)
    bench = build(db, sqlite_path.parent / "home")
    bench.policy(ASK)
    bench.versions()
    bench.moment = now()
    (waits,) = bench.handle(*BAD)
    bench.agent.approve(waits.action_id, "Anna")
    with sqlite3.connect(bench.db.path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            with pytest.raises(StorageFull):
                bench.tick()
            with pytest.raises(StorageFull):
                bench.handle(*diagnose([signal("missing", Issue.DATA_QUALITY)]))
        other.execute("ROLLBACK")
    other.close()
    bench.tick()
    bench.handle(*diagnose([signal("missing", Issue.DATA_QUALITY, version=1)]))
    assert bench.serving() == 1
    assert bench.db.actions.get(waits.action_id).status == "succeeded"
    assert [one.attempts for one in bench.actions("rollback_model")] == [1]
    assert len(bench.actions("validate_data")) == 1
    db.close()
