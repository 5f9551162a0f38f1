"""The tables of watching and acting: drift, alerts, the outbox, actions, rollouts, leases."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
)

from andon.store.columns import Json, Timestamp, may, metadata, must

# What the training data, or a pinned window of answers, looked like: drift is measured from it.
drift_references = Table(
    "drift_references",
    metadata,
    must("model_id", Integer, ForeignKey("model_versions.id"), primary_key=True),
    # "learned" from the first answers, or "pinned" by a person.
    must("source", String(16)),
    # From when to when, and how many answers.
    must("span", Json),
    must("statistics", Json),
    must("actor", String(64), default=""),
    must("created_at", Timestamp),
)

# One look at a window of answers, with its evidence.
drift_reports = Table(
    "drift_reports",
    metadata,
    must("id", Integer, primary_key=True, autoincrement=True),
    must("report_id", String(36)),
    must("model_id", Integer, ForeignKey("model_versions.id")),
    # "drift", "none" or "unknown" (not enough data).
    must("verdict", String(16)),
    must("drift_detected", Boolean),
    may("drift_score", Float),
    must("drifted_features", Json),
    # Everything that was measured.
    must("report", Json),
    # The page of a full Evidently report, where one was made: a name in the reports folder.
    may("report_path", String(255)),
    must("created_at", Timestamp),
    Index("uq_drift_reports_report_id", "report_id", unique=True),
    Index("ix_drift_reports_model_id_id", "model_id", "id"),
    sqlite_autoincrement=True,
)

# Something a person should know of, raised once however often it is seen.
alerts = Table(
    "alerts",
    metadata,
    must("id", Integer, primary_key=True, autoincrement=True),
    must("alert_id", String(36)),
    must("alert_type", String(32)),
    must("severity", String(16)),
    must("title", String(255)),
    must("message", Text),
    must("status", String(16)),
    # What it is about: the same key while one is open is the same alert.
    must("group_key", String(255)),
    may("model_name", String(64)),
    may("model_version", Integer),
    must("evidence", Json),
    # Times it was seen, and the last.
    must("occurrences", Integer, default=1),
    must("created_at", Timestamp),
    must("seen_at", Timestamp),
    # Looks in a row at which the cause was gone.
    must("quiet_looks", Integer, default=0),
    must("acknowledged_by", String(64), default=""),
    may("acknowledged_at", Timestamp),
    must("resolved_by", String(64), default=""),
    must("resolution_notes", Text, default=""),
    may("resolved_at", Timestamp),
    Index("uq_alerts_alert_id", "alert_id", unique=True),
    # One open alert per cause (WHERE status <> 'resolved'; see the migrations).
    Index("uq_alerts_open", "group_key", unique=True),
    Index("ix_alerts_status_id", "status", "id"),
    CheckConstraint("status IN ('active', 'acknowledged', 'resolved')", name="status"),
    CheckConstraint("severity IN ('info', 'warning', 'critical')", name="severity"),
    sqlite_autoincrement=True,
)

# What is to be told, until it is told: the outbox.
notifications = Table(
    "notifications",
    metadata,
    must("id", String(36), primary_key=True),
    must("channel", String(32)),
    must("event", String(64)),
    must("data", Json),
    # "waiting", "sent" or "given_up".
    must("status", String(16)),
    must("attempts", Integer, default=0),
    must("error", Text, default=""),
    must("created_at", Timestamp),
    must("available_at", Timestamp),
    may("sent_at", Timestamp),
    Index("ix_notifications_status_available_at", "status", "available_at"),
)

# What the agent decided, who approved it, what became of it, and whether it helped.
agent_actions = Table(
    "agent_actions",
    metadata,
    must("id", Integer, primary_key=True, autoincrement=True),
    must("action_id", String(36)),
    must("action_type", String(32)),
    must("risk_level", String(16)),
    must("requires_approval", Boolean),
    # pending, approved, running, succeeded, failed, rejected, expired.
    must("status", String(16)),
    must("dry_run", Boolean, default=False),
    may("model_name", String(64)),
    may("model_version", Integer),
    # data_drift, performance_degradation, prediction_anomaly, low_confidence, data_quality; none
    # where a person asked for it.
    may("issue_type", String(32)),
    must("source", String(16)),
    must("reason", Text, default=""),
    must("parameters", Json),
    must("evidence", Json),
    may("alert_id", String(36)),
    # Of the deployment, where the action made one.
    may("deployment_event_id", Integer),
    must("approvals_needed", Integer, default=0),
    # Each: by, decision (approve or reject), comment, at.
    must("reviews", Json),
    must("reviewed_by", String(255), default=""),
    must("created_at", Timestamp),
    may("expires_at", Timestamp),
    may("started_at", Timestamp),
    may("executed_at", Timestamp),
    may("execution_result", Json),
    must("error", Text, default=""),
    must("attempts", Integer, default=0),
    # Whether the number recovered: due when, and what was found.
    may("follow_up_at", Timestamp),
    may("follow_up", Json),
    Index("uq_agent_actions_action_id", "action_id", unique=True),
    Index("ix_agent_actions_status_id", "status", "id"),
    Index("ix_agent_actions_model_name_id", "model_name", "id"),
    CheckConstraint(
        "status IN ('pending', 'approved', 'running', 'succeeded', 'failed', 'rejected', "
        "'expired')",
        name="status",
    ),
    CheckConstraint("risk_level IN ('low', 'medium', 'high')", name="risk_level"),
    sqlite_autoincrement=True,
)

# A candidate version beside the active one: who sees it, and what came of it.
rollouts = Table(
    "rollouts",
    metadata,
    must("id", String(36), primary_key=True),
    must("model_name", String(64)),
    # "canary", "shadow" or "compare".
    must("mode", String(16)),
    must("candidate_id", Integer, ForeignKey("model_versions.id")),
    must("baseline_id", Integer, ForeignKey("model_versions.id")),
    # Share of the subjects that the candidate answers, 0 to 1 (canary).
    must("weight", Float),
    # running, promoted, reverted, stopped.
    must("status", String(16)),
    must("actor", String(64), default=""),
    must("reason", Text, default=""),
    # The newest judgement, and why it ended.
    may("judgement", Json),
    must("outcome", Text, default=""),
    must("created_at", Timestamp),
    must("updated_at", Timestamp),
    may("ended_at", Timestamp),
    # One at a time per model (WHERE status = 'running'; see the migrations).
    Index("uq_rollouts_running", "model_name", unique=True),
    Index("ix_rollouts_model_name_created_at", "model_name", "created_at"),
    CheckConstraint("mode IN ('canary', 'shadow', 'compare')", name="mode"),
    CheckConstraint("status IN ('running', 'promoted', 'reverted', 'stopped')", name="status"),
)

# Who does what only one process may do, and until when unless it says so again.
leases = Table(
    "leases",
    metadata,
    must("name", String(64), primary_key=True),
    must("holder", String(128)),
    # Grows with every change of hands: a holder that slept finds that it is none any more.
    must("token", BigInteger),
    must("taken_at", Timestamp),
    must("until", Timestamp),
)

# What the process that watches found last, for the processes beside it.
watch_state = Table(
    "watch_state",
    metadata,
    must("name", String(128), primary_key=True),
    must("value", Json),
    must("updated_at", Timestamp),
)
