"""What the repositories hand out: plain, frozen records, free of any session.

They are what every room above works with, and what JSON answers are made from.
"""

from datetime import datetime
from typing import Any

import msgspec


class ModelVersion(msgspec.Struct, frozen=True):
    """One version of a registered model.

    Attributes:
        accuracy: Measured accuracy, 0 to 1, or None while nothing was measured.
        avg_inference_time: Seconds, mean over `total_inferences`; 0 when there are none.
        damaged: Why the stored file cannot be used; empty while it can.
        proof: What proving the version measured (`latency_ms`, `loaded_ms`), or None.
        card: What was measured of a trained version, as its file says it. Tens of kilobytes:
            lists leave it out (None), like `reference`; `get` brings both.
        reference: What its training data looked like.
        algorithm: What was trained, such as "xgboost"; None where the file does not say.
        f1_score: Measured on the held-out rows, 0 to 1, like the three after it; or None.
        threshold: Set by a person or the agent since; None is the one it came with.
    """

    id: int
    model: str
    version: int
    filename: str
    file_hash: str
    file_size: int
    format: str
    status: str
    is_active: bool
    source: str
    notes: str
    options: dict[str, Any]
    description: dict[str, Any]
    upload_date: datetime
    deployed_date: datetime | None
    deleted_date: datetime | None
    damaged: str
    proof: dict[str, Any] | None
    accuracy: float | None
    total_inferences: int
    total_detections: int
    avg_inference_time: float
    avg_confidence: float
    card: dict[str, Any] | None = None
    reference: dict[str, Any] | None = None
    algorithm: str | None = None
    f1_score: float | None = None
    precision: float | None = None
    recall: float | None = None
    roc_auc: float | None = None
    threshold: float | None = None


class Prediction(msgspec.Struct, frozen=True):
    """One logged answer. `bbox` is x, y, width, height in pixels of the uploaded picture."""

    id: str
    model: str
    model_version: int
    source: str
    role: str
    status: str
    error: str
    subject: str | None
    request_id: str | None
    image_name: str | None
    image_hash: str | None
    image_format: str | None
    image_width: int | None
    image_height: int | None
    detections: list[dict[str, Any]]
    confidence_scores: list[float]
    raw_scores: list[float]
    prediction: str | None
    probability: float | None
    threshold: float | None
    cached: bool
    inference_time: float
    latency_ms: float
    actual: Any
    timestamp: datetime
    features: dict[str, Any] | None = None
    camera: str | None = None
    camera_state: str | None = None
    image_stats: dict[str, Any] | None = None


class Event(msgspec.Struct, frozen=True):
    """A change of what serves."""

    id: int
    model: str
    model_version: int
    event_type: str
    timestamp: datetime
    reason: str
    previous_version: int | None
    actor: str
    action_id: str | None = None


class Job(msgspec.Struct, frozen=True):
    """A queued piece of work and what became of it."""

    id: str
    kind: str
    status: str
    payload: dict[str, Any]
    result: Any
    error: str
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Metric(msgspec.Struct, frozen=True):
    """One measured number of one version at one time."""

    id: int
    version_id: int
    name: str
    value: float
    details: dict[str, Any] | None
    timestamp: datetime


class DriftReport(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a window of answers.

    Attributes:
        verdict: "drift", "none", or "unknown" where there was not enough data.
        drift_score: Of the feature that moved most, as a multiple of its threshold (1.0 is the
            threshold); None where unknown.
        drifted_features: Names, the one that moved most first.
        report: Everything that was measured; see `monitoring.drift`.
        report_path: Name of a full Evidently page in the reports folder, or None.
    """

    report_id: str
    model: str
    version: int
    verdict: str
    drift_score: float | None
    drifted_features: list[str]
    report: dict[str, Any]
    report_path: str | None
    created_at: datetime


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something a person should know of.

    Attributes:
        alert_type: An issue type, "camera", "rollback", "agent" or "system".
        severity: "info", "warning" or "critical".
        status: "active", "acknowledged" or "resolved".
        evidence: The signals behind it: `{"signals": [...], "href": "/…"}`.
        occurrences: Times it was seen while open.
        resolved_by: "andon" where the cause was gone.
    """

    alert_id: str
    alert_type: str
    severity: str
    title: str
    message: str
    status: str
    group_key: str
    model: str | None
    model_version: int | None
    evidence: dict[str, Any]
    occurrences: int
    created_at: datetime
    seen_at: datetime
    acknowledged_by: str
    acknowledged_at: datetime | None
    resolved_by: str
    resolution_notes: str
    resolved_at: datetime | None


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """What one person said of an action."""

    by: str
    decision: str
    comment: str
    at: datetime


class AgentAction(msgspec.Struct, frozen=True, kw_only=True):
    """Something the agent decided to do, and what became of it.

    Attributes:
        action_type: One of the seven: retrain_model, rollback_model, send_alert,
            adjust_threshold, collect_diagnostics, validate_data, generate_report; and
            promote_model, where a canary is judged better.
        risk_level: "low", "medium" or "high".
        status: "pending" (waits for people), "approved" (to be done), "running", "succeeded",
            "failed", "rejected" or "expired".
        dry_run: Written down, and not done.
        issue_type: What it is about; None where a person asked for it.
        source: "agent" or "person".
        parameters: What to do exactly, such as `{"to_version": 3}`.
        evidence: `{"signals": [...]}` at the time it was decided.
        approvals_needed: People who must agree; 0 where none.
        execution_result: What was done; its shape depends on the type.
        follow_up: `{"recovered": true|false|null, "summary": "…", "signal": {...}, "at": …}`.
    """

    action_id: str
    action_type: str
    risk_level: str
    requires_approval: bool
    status: str
    dry_run: bool
    model: str | None
    model_version: int | None
    issue_type: str | None
    source: str
    reason: str
    parameters: dict[str, Any]
    evidence: dict[str, Any]
    alert_id: str | None
    deployment_event_id: int | None
    approvals_needed: int
    reviews: list[Review]
    created_at: datetime
    expires_at: datetime | None
    started_at: datetime | None
    executed_at: datetime | None
    execution_result: dict[str, Any] | None
    error: str
    attempts: int
    follow_up_at: datetime | None
    follow_up: dict[str, Any] | None


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate version beside the active one.

    Attributes:
        mode: "canary", "shadow" or "compare".
        weight: Share of the subjects that the candidate answers, 0 to 1.
        status: "running", "promoted", "reverted" or "stopped".
        judgement: The newest; see `monitoring.judging.Judgement`. None before the first.
        outcome: Why it ended.
    """

    id: str
    model: str
    mode: str
    candidate: int
    candidate_id: int
    baseline: int
    baseline_id: int
    weight: float
    status: str
    actor: str
    reason: str
    judgement: dict[str, Any] | None
    outcome: str
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None
