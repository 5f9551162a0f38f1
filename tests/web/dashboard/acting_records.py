"""Signals, actions, alerts and rollouts as the store has them, for scenes and tests."""

from datetime import timedelta
from typing import Any

from tests.web.dashboard.scenes import NOW, minutes_ago

from andon.store.records import AgentAction, Alert, Review, Rollout


def signal(name: str = "error_rate", state: str = "bad", **given: Any) -> dict[str, Any]:
    """A signal as evidence keeps it."""
    values = {
        "name": name,
        "issue": "performance_degradation",
        "state": state,
        "summary": "12 of 100 answers of pcb v7 failed, 12 %; 5 % are allowed.",
        "model": "pcb",
        "version": 7,
        "severity": "critical",
        "value": 0.12,
        "threshold": 0.05,
        "baseline": 0.003,
        "count": 100,
        "since": minutes_ago(14).isoformat(),
        "subject": "",
        "estimated": False,
        "report_id": None,
    }
    return {**values, **given}


FINE = signal(
    "latency",
    "ok",
    summary="pcb v7 answers within 21 ms, as usual.",
    value=21.4,
    threshold=44.0,
    baseline=20.8,
)
GUESS = signal(
    "accuracy",
    "unknown",
    summary="12 labels are known; 30 are needed to tell the accuracy.",
    value=None,
    baseline=None,
    count=12,
    estimated=True,
)


def action(number: int = 1, **given: Any) -> AgentAction:
    """A roll back that waits for one person."""
    values: dict[str, Any] = {
        "action_id": f"0193-a{number:03}",
        "action_type": "rollback_model",
        "risk_level": "high",
        "requires_approval": True,
        "status": "pending",
        "dry_run": False,
        "model": "pcb",
        "model_version": 7,
        "issue_type": "performance_degradation",
        "source": "agent",
        "reason": "v7 fails far more often than v6 did: 12 % of its answers since 13:02.",
        "parameters": {"to_version": 6},
        "evidence": {"signals": [FINE, signal(), GUESS]},
        "alert_id": None,
        "deployment_event_id": None,
        "approvals_needed": 1,
        "reviews": [],
        "created_at": minutes_ago(number),
        "expires_at": NOW + timedelta(hours=3, minutes=12),
        "started_at": None,
        "executed_at": None,
        "execution_result": None,
        "error": "",
        "attempts": 0,
        "follow_up_at": None,
        "follow_up": None,
    }
    return AgentAction(**{**values, **given})


def review(by: str = "mia", decision: str = "approve", comment: str = "") -> Review:
    """What somebody said."""
    return Review(by=by, decision=decision, comment=comment, at=minutes_ago(2))


def done(number: int = 2, **given: Any) -> AgentAction:
    """A roll back that was approved, done, and helped."""
    values = {
        "status": "succeeded",
        "reviews": [review(comment="Saw it on the line too.")],
        "executed_at": minutes_ago(number - 1),
        "started_at": minutes_ago(number - 1),
        "attempts": 1,
        "execution_result": {"summary": "v6 serves since 13:20 UTC.", "event_id": 12},
        "follow_up": {
            "recovered": True,
            "summary": "The error rate fell from 12 % to 0.3 %.",
            "signal": signal(state="ok", value=0.003, summary="3 of 1 000 answers failed."),
            "at": minutes_ago(1).isoformat(),
        },
    }
    return action(number, **{**values, **given})


ALL_ACTIONS = (
    action(1),
    action(2, approvals_needed=2, reviews=[review()]),
    done(3),
    done(4, follow_up=None, follow_up_at=NOW + timedelta(minutes=9)),
    done(
        5,
        action_type="adjust_threshold",
        risk_level="low",
        requires_approval=False,
        approvals_needed=0,
        reviews=[],
        parameters={"from_threshold": 0.5, "to_threshold": 0.6},
        follow_up={"recovered": False, "summary": "Detections per picture stayed at 4.1."},
    ),
    action(
        6,
        action_type="retrain_model",
        risk_level="medium",
        status="rejected",
        parameters={},
        reviews=[review("jan", "reject", "The camera was moved, new data come tomorrow.")],
    ),
    action(7, status="expired", expires_at=minutes_ago(60), error="Nobody approved it in time."),
    action(8, status="failed", error="v6 could not be loaded: its file is damaged.", attempts=3),
    done(
        9,
        action_type="collect_diagnostics",
        risk_level="low",
        requires_approval=False,
        approvals_needed=0,
        reviews=[],
        parameters={},
        execution_result={"summary": "A bundle of 214 kB was written.", "files": ["a.zip"]},
        follow_up=None,
    ),
    done(10, dry_run=True, requires_approval=False, reviews=[], execution_result=None),
    action(11, status="running", attempts=2, started_at=minutes_ago(1)),
)


def alert(number: int = 1, **given: Any) -> Alert:
    """An open warning."""
    values: dict[str, Any] = {
        "alert_id": f"0193-b{number:03}",
        "alert_type": "performance_degradation",
        "severity": "warning",
        "title": "pcb v7 is slow",
        "message": "Half of the answers of pcb v7 take more than 44 ms; 21 ms are usual.",
        "status": "active",
        "group_key": f"pcb:{number}",
        "model": "pcb",
        "model_version": 7,
        "evidence": {"signals": [FINE]},
        "occurrences": number,
        "created_at": minutes_ago(number * 7),
        "seen_at": minutes_ago(1),
        "acknowledged_by": "",
        "acknowledged_at": None,
        "resolved_by": "",
        "resolution_notes": "",
        "resolved_at": None,
    }
    return Alert(**{**values, **given})


CRITICAL = alert(
    9,
    severity="critical",
    title="pcb v7 fails",
    message="12 of 100 answers of pcb v7 failed, 12 %; 5 % are allowed.",
)
CAMERA = alert(
    2,
    alert_type="camera",
    title="Camera line-2-top is too dark",
    message="31 of the last 40 pictures of line-2-top are too dark.",
    group_key="pcb:camera:line-2-top",
    status="acknowledged",
    acknowledged_by="jan",
    acknowledged_at=minutes_ago(3),
)
FEED = alert(
    3,
    alert_type="data_quality",
    severity="info",
    title="No events of drivers",
    message="No eye event has come for 3 hours; one a second is usual.",
    group_key="feed:drivers",
    model=None,
    model_version=None,
)
RESOLVED = (
    alert(20, status="resolved", resolved_by="andon", resolved_at=minutes_ago(30)),
    alert(
        21,
        status="resolved",
        severity="critical",
        resolved_by="mia",
        resolution_notes="Rolled back to v6.",
        resolved_at=minutes_ago(300),
    ),
)

JUDGED = {
    "verdict": "not_enough",
    "reasons": ["About 400 more answers of v8 are needed to tell its errors from those of v7."],
    "answers_active": 4_210,
    "answers_candidate": 472,
    "guardrails": [
        {
            "name": "errors",
            "state": "not_enough",
            "value_active": 0.003,
            "value_candidate": 0.002,
            "low": -0.012,
            "high": 0.024,
            "summary": "v8 fails by -1.2 to +2.4 points.",
        },
        {
            "name": "latency",
            "state": "fine",
            "value_active": 0.051,
            "value_candidate": 0.048,
            "low": -0.03,
            "high": 0.021,
            "summary": "v8 is no slower.",
        },
        {
            "name": "disagreement",
            "state": "worse",
            "value_active": 0.11,
            "value_candidate": 0.31,
            "low": 0.16,
            "high": 0.24,
            "summary": "v8 calls 31 % of the boards defective, v7 11 %.",
        },
    ],
}


def rollout(**given: Any) -> Rollout:
    """A canary that runs."""
    values: dict[str, Any] = {
        "id": "0193-c001",
        "model": "pcb",
        "mode": "canary",
        "candidate": 8,
        "candidate_id": 8,
        "baseline": 7,
        "baseline_id": 7,
        "weight": 0.1,
        "status": "running",
        "actor": "mia",
        "reason": "Trained on the new station's boards.",
        "judgement": JUDGED,
        "outcome": "",
        "created_at": minutes_ago(95),
        "updated_at": minutes_ago(1),
        "ended_at": None,
    }
    return Rollout(**{**values, **given})
