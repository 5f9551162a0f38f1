"""The tables, once, for SQLite and PostgreSQL.

Column names are the ones the replaced systems documented; where they differ from the names
here, the SQLite views `models`, `inferences` and `metrics` (see the migrations) give the old
ones. Times are UTC; ids that outsiders see are UUIDv7 text.

They are plain tables, not mapped classes: every query is written out in a repository, and
SQLAlchemy's object mapper would cost each start a quarter of a second and five megabytes.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)


class Json(TypeDecorator[Any]):
    """JSON: `jsonb` on PostgreSQL, text on SQLite.

    Python's None is SQL's NULL: a JSON 'null' would be a third kind of nothing.
    """

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """The column type of this database."""
        if dialect.name == "postgresql":
            # The dialect takes 3 MB, which a box with SQLite need not pay.
            from sqlalchemy.dialects.postgresql import JSONB  # noqa: PLC0415

            return dialect.type_descriptor(JSONB(none_as_null=True))
        return dialect.type_descriptor(JSON(none_as_null=True))


class Timestamp(TypeDecorator[datetime]):
    """UTC time: `timestamptz` on PostgreSQL, ISO 8601 text with `Z` on SQLite.

    Text keeps raw SQL readable (`sqlite3 andon.db`) and sorts by time.
    """

    impl = String(32)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """The column type of this database."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(DateTime(timezone=True))
        return dialect.type_descriptor(String(32))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse naive times: a guess about the zone would be wrong silently."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored; give it a UTC offset")
        if dialect.name == "postgresql":
            return value
        return iso(value)

    def process_result_value(self, value: Any, _dialect: Dialect) -> datetime | None:
        """Always an aware UTC `datetime`."""
        if value is None:
            return None
        if isinstance(value, str):
            return datetime.fromisoformat(value)
        return value.astimezone(UTC) if isinstance(value, datetime) else None


def iso(value: datetime) -> str:
    """ISO 8601 in UTC with microseconds and `Z`: fixed width, so text order is time order."""
    return value.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


# Every constraint has a name, so that migrations can address it.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _must(name: str, kind: Any, *more: Any, **options: Any) -> Column[Any]:
    """A column that always has a value."""
    return Column(name, kind, *more, nullable=False, **options)


def _may(name: str, kind: Any, *more: Any) -> Column[Any]:
    """A column that may be empty."""
    return Column(name, kind, *more, nullable=True)


# A model people call by name: `pcb`, `heart-disease`, …
registered_models = Table(
    "registered_models",
    metadata,
    _must("name", String(64), primary_key=True),
    _must("task", String(32)),
    _must("created_at", Timestamp),
)

# One version of a registered model, its file and its running totals.
model_versions = Table(
    "model_versions",
    metadata,
    _must("id", Integer, primary_key=True, autoincrement=True),
    _must("model_name", String(64), ForeignKey("registered_models.name")),
    _must("version", Integer),
    _must("filename", String(255)),
    _must("file_hash", String(64)),
    _must("file_size", BigInteger),
    _must("format", String(16)),
    _must("status", String(16)),
    _must("is_active", Boolean, default=False),
    _must("source", String(16)),
    _must("notes", Text, default=""),
    _must("options", Json),
    _must("description", Json),
    _must("created_at", Timestamp),
    _may("deployed_at", Timestamp),
    _may("deleted_at", Timestamp),
    _must("damaged", Text, default=""),
    _may("proof", Json),
    _must("total_inferences", BigInteger, default=0),
    _must("total_detections", BigInteger, default=0),
    _must("total_inference_time", Float, default=0.0),
    _must("total_confidence", Float, default=0.0),
    _may("algorithm", String(64)),
    _may("accuracy", Float),
    _may("f1_score", Float),
    _may("precision", Float),
    _may("recall", Float),
    _may("roc_auc", Float),
    _may("hyperparameters", Json),
    _may("feature_names", Json),
    # Of trained models, as their file says it: how it was measured (`card`), and what its
    # training data looked like (`reference`).
    _may("card", Json),
    _may("reference", Json),
    # The threshold that a person or the agent set since; None is the one it came with.
    _may("threshold", Float),
    Index("uq_model_versions_model_name_version", "model_name", "version", unique=True),
    # Both of these are partial, which the migrations say: saying it here would load SQLAlchemy's
    # PostgreSQL dialect, 3 MB, on every box with SQLite.
    # A deleted version's file may be registered again (WHERE deleted_at IS NULL).
    Index("uq_model_versions_model_name_file_hash", "model_name", "file_hash", unique=True),
    # Exactly one active version per model, whatever two processes do at once (WHERE is_active).
    Index("uq_model_versions_active", "model_name", unique=True),
    CheckConstraint("status IN ('training', 'staging', 'production', 'archived')", name="status"),
    sqlite_autoincrement=True,
)

# One answer of one version: what was asked, what was said, how long it took.
predictions = Table(
    "predictions",
    metadata,
    _must("id", String(36), primary_key=True),
    _must("model_id", Integer, ForeignKey("model_versions.id")),
    _must("source", String(16)),
    _must("role", String(16)),
    _must("status", String(16)),
    _must("error", Text, default=""),
    _may("subject", String(255)),
    _may("request_id", String(255)),
    _may("image_name", String(255)),
    _may("image_hash", String(64)),
    _may("image_format", String(8)),
    _may("image_width", Integer),
    _may("image_height", Integer),
    _may("features", Json),
    _may("detections", Json),
    _may("confidence_scores", Json),
    _may("raw_scores", Json),
    _must("detection_count", Integer, default=0),
    _may("prediction", String(255)),
    _may("probability", Float),
    _may("threshold", Float),
    _must("cached", Boolean, default=False),
    _must("inference_time", Float, default=0.0),
    _must("latency_ms", Float, default=0.0),
    _may("actual", Json),
    # Of pictures: which camera took it, what is wrong with it ("ok", "dark", …), its statistics.
    _may("camera", String(64)),
    _may("camera_state", String(16)),
    _may("image_stats", Json),
    _must("created_at", Timestamp),
    Index("ix_predictions_model_id_id", "model_id", "id"),
    Index("ix_predictions_image_hash", "image_hash"),
    Index("ix_predictions_created_at", "created_at"),
    # Partial (WHERE actual IS NOT NULL), which the migrations say: few rows get a label.
    Index("ix_predictions_labelled", "model_id", "id"),
    # The same (WHERE request_id IS NOT NULL): feedback may name the caller's own id.
    Index("ix_predictions_request_id", "request_id"),
)

# What an answer should have been, said by somebody later. One row per answer: of several
# that came, the one with the greatest `timestamp` stands, in whatever order they came.
feedback = Table(
    "feedback",
    metadata,
    _must("prediction_id", String(36), primary_key=True),
    _must("actual", Json),
    _must("timestamp", Timestamp),
    _must("received_at", Timestamp),
    _must("source", String(16)),
    _must("actor", String(64), default=""),
    _must("note", Text, default=""),
)

# A change of what serves: which version, from which, why, by whom.
deployment_events = Table(
    "deployment_events",
    metadata,
    _must("id", Integer, primary_key=True, autoincrement=True),
    _may("model_id", Integer, ForeignKey("model_versions.id")),
    _must("model_name", String(64)),
    _must("model_version", Integer),
    _must("event_type", String(32)),
    _must("timestamp", Timestamp),
    _must("reason", Text, default=""),
    _may("previous_version", Integer),
    _must("actor", String(64), default=""),
    # The agent's action that did it, where one did.
    _may("action_id", String(36)),
    Index("ix_deployment_events_model_name_id", "model_name", "id"),
    # Ids only grow, even past deleted rows: others wait for a greater one.
    sqlite_autoincrement=True,
)

# One measured number of one version at one time.
performance_metrics = Table(
    "performance_metrics",
    metadata,
    _must("id", Integer, primary_key=True, autoincrement=True),
    _must("model_id", Integer, ForeignKey("model_versions.id")),
    _must("metric_name", String(64)),
    _must("metric_value", Float),
    _may("metadata", Json),
    _must("created_at", Timestamp),
    Index("ix_performance_metrics_model_id_created_at", "model_id", "created_at"),
    sqlite_autoincrement=True,
)

# Work to be done once, whatever crashes in between.
jobs = Table(
    "jobs",
    metadata,
    _must("id", String(36), primary_key=True),
    _must("kind", String(32)),
    _must("status", String(16)),
    _must("payload", Json),
    _may("result", Json),
    _must("error", Text, default=""),
    _must("attempts", Integer, default=0),
    _must("created_at", Timestamp),
    _must("available_at", Timestamp),
    _may("started_at", Timestamp),
    _may("finished_at", Timestamp),
    _may("lease_until", Timestamp),
    _must("worker", String(64), default=""),
    Index("ix_jobs_status_id", "status", "id"),
    CheckConstraint("status IN ('queued', 'running', 'succeeded', 'failed')", name="status"),
)

# One training of one model, from the wish to the registered version.
training_runs = Table(
    "training_runs",
    metadata,
    _must("id", String(36), primary_key=True),
    _must("model_name", String(64)),
    _must("recipe", String(64)),
    # What was asked: seed, source of the data, tuning budget, …
    _must("options", Json),
    _must("status", String(16)),
    # What it is doing, for people, and the share that is done, 0 to 1.
    _must("stage", Text, default=""),
    _must("progress", Float, default=0.0),
    _must("source", String(16)),
    _must("actor", String(64), default=""),
    _must("reason", Text, default=""),
    _must("error", Text, default=""),
    # Everything that was measured; None until there is something.
    _may("report", Json),
    # The version that came of it.
    _may("model_id", Integer, ForeignKey("model_versions.id")),
    # The machine and process that runs it, and the last time it said so.
    _must("worker", String(96), default=""),
    _may("heartbeat_at", Timestamp),
    _must("cancelled", Boolean, default=False),
    _may("tracking_id", String(64)),
    _must("created_at", Timestamp),
    _may("started_at", Timestamp),
    _may("finished_at", Timestamp),
    # Ids do not tell the order: a scheduled run's follows from the time it was due.
    Index("ix_training_runs_created_at_id", "created_at", "id"),
    Index("ix_training_runs_model_name_created_at_id", "model_name", "created_at", "id"),
    # One at a time per model (WHERE status IN ('queued', 'running'); see the migrations).
    Index("uq_training_runs_unfinished", "model_name", unique=True),
    CheckConstraint(
        "status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="status"
    ),
)

# What the training data, or a pinned window of answers, looked like: drift is measured from it.
drift_references = Table(
    "drift_references",
    metadata,
    _must("model_id", Integer, ForeignKey("model_versions.id"), primary_key=True),
    # "learned" from the first answers, or "pinned" by a person.
    _must("source", String(16)),
    # From when to when, and how many answers.
    _must("span", Json),
    _must("statistics", Json),
    _must("actor", String(64), default=""),
    _must("created_at", Timestamp),
)

# One look at a window of answers, with its evidence.
drift_reports = Table(
    "drift_reports",
    metadata,
    _must("id", Integer, primary_key=True, autoincrement=True),
    _must("report_id", String(36)),
    _must("model_id", Integer, ForeignKey("model_versions.id")),
    # "drift", "none" or "unknown" (not enough data).
    _must("verdict", String(16)),
    _must("drift_detected", Boolean),
    _may("drift_score", Float),
    _must("drifted_features", Json),
    # Everything that was measured.
    _must("report", Json),
    # The page of a full Evidently report, where one was made: a name in the reports folder.
    _may("report_path", String(255)),
    _must("created_at", Timestamp),
    Index("uq_drift_reports_report_id", "report_id", unique=True),
    Index("ix_drift_reports_model_id_id", "model_id", "id"),
    sqlite_autoincrement=True,
)

# Something a person should know of, raised once however often it is seen.
alerts = Table(
    "alerts",
    metadata,
    _must("id", Integer, primary_key=True, autoincrement=True),
    _must("alert_id", String(36)),
    _must("alert_type", String(32)),
    _must("severity", String(16)),
    _must("title", String(255)),
    _must("message", Text),
    _must("status", String(16)),
    # What it is about: the same key while one is open is the same alert.
    _must("group_key", String(255)),
    _may("model_name", String(64)),
    _may("model_version", Integer),
    _must("evidence", Json),
    # Times it was seen, and the last.
    _must("occurrences", Integer, default=1),
    _must("created_at", Timestamp),
    _must("seen_at", Timestamp),
    # Looks in a row at which the cause was gone.
    _must("quiet_looks", Integer, default=0),
    _must("acknowledged_by", String(64), default=""),
    _may("acknowledged_at", Timestamp),
    _must("resolved_by", String(64), default=""),
    _must("resolution_notes", Text, default=""),
    _may("resolved_at", Timestamp),
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
    _must("id", String(36), primary_key=True),
    _must("channel", String(32)),
    _must("event", String(64)),
    _must("data", Json),
    # "waiting", "sent" or "given_up".
    _must("status", String(16)),
    _must("attempts", Integer, default=0),
    _must("error", Text, default=""),
    _must("created_at", Timestamp),
    _must("available_at", Timestamp),
    _may("sent_at", Timestamp),
    Index("ix_notifications_status_available_at", "status", "available_at"),
)

# What the agent decided, who approved it, what became of it, and whether it helped.
agent_actions = Table(
    "agent_actions",
    metadata,
    _must("id", Integer, primary_key=True, autoincrement=True),
    _must("action_id", String(36)),
    _must("action_type", String(32)),
    _must("risk_level", String(16)),
    _must("requires_approval", Boolean),
    # pending, approved, running, succeeded, failed, rejected, expired.
    _must("status", String(16)),
    _must("dry_run", Boolean, default=False),
    _may("model_name", String(64)),
    _may("model_version", Integer),
    # data_drift, performance_degradation, prediction_anomaly, low_confidence, data_quality; none
    # where a person asked for it.
    _may("issue_type", String(32)),
    _must("source", String(16)),
    _must("reason", Text, default=""),
    _must("parameters", Json),
    _must("evidence", Json),
    _may("alert_id", String(36)),
    # Of the deployment, where the action made one.
    _may("deployment_event_id", Integer),
    _must("approvals_needed", Integer, default=0),
    # Each: by, decision (approve or reject), comment, at.
    _must("reviews", Json),
    _must("reviewed_by", String(255), default=""),
    _must("created_at", Timestamp),
    _may("expires_at", Timestamp),
    _may("started_at", Timestamp),
    _may("executed_at", Timestamp),
    _may("execution_result", Json),
    _must("error", Text, default=""),
    _must("attempts", Integer, default=0),
    # Whether the number recovered: due when, and what was found.
    _may("follow_up_at", Timestamp),
    _may("follow_up", Json),
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
    _must("id", String(36), primary_key=True),
    _must("model_name", String(64)),
    # "canary", "shadow" or "compare".
    _must("mode", String(16)),
    _must("candidate_id", Integer, ForeignKey("model_versions.id")),
    _must("baseline_id", Integer, ForeignKey("model_versions.id")),
    # Share of the subjects that the candidate answers, 0 to 1 (canary).
    _must("weight", Float),
    # running, promoted, reverted, stopped.
    _must("status", String(16)),
    _must("actor", String(64), default=""),
    _must("reason", Text, default=""),
    # The newest judgement, and why it ended.
    _may("judgement", Json),
    _must("outcome", Text, default=""),
    _must("created_at", Timestamp),
    _must("updated_at", Timestamp),
    _may("ended_at", Timestamp),
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
    _must("name", String(64), primary_key=True),
    _must("holder", String(128)),
    # Grows with every change of hands: a holder that slept finds that it is none any more.
    _must("token", BigInteger),
    _must("taken_at", Timestamp),
    _must("until", Timestamp),
)

# What is to be done again and again, and when it was last due and done.
schedules = Table(
    "schedules",
    metadata,
    _must("name", String(64), primary_key=True),
    _must("cron", String(64)),
    # The due time that was last acted on: later ones that passed are made up for, once.
    _must("last_due_at", Timestamp),
    _must("updated_at", Timestamp),
)

# Counted up by the database. SQLite's own row number must be declared as plain INTEGER.
_Counted = BigInteger().with_variant(Integer(), "sqlite")

# The people whose work the floor reports. A retired one takes no later events.
workers = Table(
    "workers",
    metadata,
    _must("id", String(64), primary_key=True),
    _must("name", String(255)),
    _must("created_at", Timestamp),
    _may("retired_at", Timestamp),
)

# The places they work at.
workstations = Table(
    "workstations",
    metadata,
    _must("id", String(64), primary_key=True),
    _must("name", String(255)),
    _must("created_at", Timestamp),
    _may("retired_at", Timestamp),
)

# What the floor reported, one row per event. Times are whole microseconds since 1970 UTC:
# metrics are sums of differences of them, and must come out the same on every database.
# The view `events` shows them as text.
factory_events = Table(
    "factory_events",
    metadata,
    _must("id", _Counted, primary_key=True, autoincrement=True),
    # Given by the sender, or made from what identifies the event.
    _must("event_id", String(64)),
    _must("timestamp", BigInteger),
    _must("worker_id", String(64)),
    _must("workstation_id", String(64)),
    _must("event_type", String(16)),
    _must("confidence", Float),
    # Units of a product_count; 0 on states.
    _must("count", Integer),
    _must("site_id", String(64)),
    _may("camera_id", String(64)),
    _may("model_version", String(64)),
    _must("source", String(16)),
    _must("received", BigInteger),
    # When the state that this event opened ends, as far as is known now; none on counts.
    _may("until", BigInteger),
    # When somebody took the event back. It stays, so that a repeat is still a repeat.
    _may("retracted", BigInteger),
    Index("uq_factory_events_event_id", "event_id", unique=True),
    Index("ix_factory_events_worker_id_timestamp", "worker_id", "timestamp"),
    Index("ix_factory_events_timestamp", "timestamp"),
)

# Sums of the events by hour and by day, kept with every event: durations in microseconds.
factory_totals = Table(
    "factory_totals",
    metadata,
    # Length of the bucket, seconds: 3600 or 86400.
    _must("width", Integer, primary_key=True),
    _must("start", BigInteger, primary_key=True),
    _must("worker_id", String(64), primary_key=True),
    _must("workstation_id", String(64), primary_key=True),
    _must("working", BigInteger),
    _must("idle", BigInteger),
    _must("absent", BigInteger),
    _must("units", BigInteger),
    _must("events", BigInteger),
    sqlite_with_rowid=False,
)

# The one row says which ANDON_FACTORY_MAX_GAP (microseconds) the totals were made with.
factory_basis = Table(
    "factory_basis",
    metadata,
    _must("id", Integer, primary_key=True, autoincrement=False),
    _must("max_gap", BigInteger),
    CheckConstraint("id = 1", name="one"),
)

# Eye telemetry, one row per measurement; times in microseconds as above.
drowsiness_events = Table(
    "drowsiness_events",
    metadata,
    _must("id", _Counted, primary_key=True, autoincrement=True),
    _must("event_id", String(64)),
    _must("timestamp", BigInteger),
    # Empty where the sender did not say.
    _must("driver_id", String(64)),
    _must("device_id", String(64)),
    _must("site_id", String(64)),
    _must("ear_value", Float),
    _must("is_drowsy", Boolean),
    _must("duration_ms", Float),
    _must("source", String(16)),
    _must("received", BigInteger),
    Index("uq_drowsiness_events_event_id", "event_id", unique=True),
    Index("ix_drowsiness_events_driver_id_timestamp", "driver_id", "timestamp"),
    Index("ix_drowsiness_events_timestamp", "timestamp"),
)

# Sums of the telemetry by minute, hour and day. Whole numbers: their sum has no order.
drowsiness_totals = Table(
    "drowsiness_totals",
    metadata,
    # Length of the bucket, seconds: 60, 3600 or 86400.
    _must("width", Integer, primary_key=True),
    _must("start", BigInteger, primary_key=True),
    _must("driver_id", String(64), primary_key=True),
    _must("events", BigInteger),
    _must("drowsy", BigInteger),
    # Millionths.
    _must("ear_sum", BigInteger),
    _must("ear_min", BigInteger),
    # Microseconds.
    _must("duration_sum", BigInteger),
    sqlite_with_rowid=False,
)

# What arrived by MQTT and could not be used, with the reason. Nobody waits for an answer
# there, so somebody has to be able to look.
rejected_messages = Table(
    "rejected_messages",
    metadata,
    _must("id", _Counted, primary_key=True, autoincrement=True),
    _must("received_at", Timestamp),
    _must("topic", Text),
    _must("payload", Text),
    _must("reason", Text),
)

# Columns under the name of their row, for readers outside the repositories.
ModelVersionRow = model_versions.c
PredictionRow = predictions.c
