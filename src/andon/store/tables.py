"""The tables, once, for SQLite and PostgreSQL.

Column names are the ones the replaced systems documented; where they differ from the names
here, the SQLite views `models`, `inferences` and `metrics` (see the migrations) give the old
ones. Times are UTC; ids that outsiders see are UUIDv7 text.

They are plain tables, not mapped classes: every query is written out in a repository, and
SQLAlchemy's object mapper would cost each start a quarter of a second and five megabytes.
"""

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

from andon.store.columns import Json, Timestamp, iso, may, metadata, must
from andon.store.watch_tables import (
    agent_actions,
    alerts,
    drift_references,
    drift_reports,
    leases,
    notifications,
    rollouts,
    watch_state,
)

__all__ = [
    "Json",
    "Timestamp",
    "agent_actions",
    "alerts",
    "drift_references",
    "drift_reports",
    "iso",
    "leases",
    "metadata",
    "notifications",
    "rollouts",
    "watch_state",
]

# A model people call by name: `pcb`, `heart-disease`, …
registered_models = Table(
    "registered_models",
    metadata,
    must("name", String(64), primary_key=True),
    must("task", String(32)),
    must("created_at", Timestamp),
)

# One version of a registered model, its file and its running totals.
model_versions = Table(
    "model_versions",
    metadata,
    must("id", Integer, primary_key=True, autoincrement=True),
    must("model_name", String(64), ForeignKey("registered_models.name")),
    must("version", Integer),
    must("filename", String(255)),
    must("file_hash", String(64)),
    must("file_size", BigInteger),
    must("format", String(16)),
    must("status", String(16)),
    must("is_active", Boolean, default=False),
    must("source", String(16)),
    must("notes", Text, default=""),
    must("options", Json),
    must("description", Json),
    must("created_at", Timestamp),
    may("deployed_at", Timestamp),
    may("deleted_at", Timestamp),
    must("damaged", Text, default=""),
    may("proof", Json),
    must("total_inferences", BigInteger, default=0),
    must("total_detections", BigInteger, default=0),
    must("total_inference_time", Float, default=0.0),
    must("total_confidence", Float, default=0.0),
    may("algorithm", String(64)),
    may("accuracy", Float),
    may("f1_score", Float),
    may("precision", Float),
    may("recall", Float),
    may("roc_auc", Float),
    may("hyperparameters", Json),
    may("feature_names", Json),
    # Of trained models, as their file says it: how it was measured (`card`), and what its
    # training data looked like (`reference`).
    may("card", Json),
    may("reference", Json),
    # The threshold that a person or the agent set since; None is the one it came with.
    may("threshold", Float),
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
    must("id", String(36), primary_key=True),
    must("model_id", Integer, ForeignKey("model_versions.id")),
    must("source", String(16)),
    must("role", String(16)),
    must("status", String(16)),
    must("error", Text, default=""),
    may("subject", String(255)),
    may("request_id", String(255)),
    may("image_name", String(255)),
    may("image_hash", String(64)),
    may("image_format", String(8)),
    may("image_width", Integer),
    may("image_height", Integer),
    may("features", Json),
    may("detections", Json),
    may("confidence_scores", Json),
    may("raw_scores", Json),
    must("detection_count", Integer, default=0),
    may("prediction", String(255)),
    may("probability", Float),
    may("threshold", Float),
    must("cached", Boolean, default=False),
    must("inference_time", Float, default=0.0),
    must("latency_ms", Float, default=0.0),
    may("actual", Json),
    # Of pictures: which camera took it, what is wrong with it ("ok", "dark", …), its statistics.
    may("camera", String(64)),
    may("camera_state", String(16)),
    may("image_stats", Json),
    must("created_at", Timestamp),
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
    must("prediction_id", String(36), primary_key=True),
    must("actual", Json),
    must("timestamp", Timestamp),
    must("received_at", Timestamp),
    must("source", String(16)),
    must("actor", String(64), default=""),
    must("note", Text, default=""),
)

# A change of what serves: which version, from which, why, by whom.
deployment_events = Table(
    "deployment_events",
    metadata,
    must("id", Integer, primary_key=True, autoincrement=True),
    may("model_id", Integer, ForeignKey("model_versions.id")),
    must("model_name", String(64)),
    must("model_version", Integer),
    must("event_type", String(32)),
    must("timestamp", Timestamp),
    must("reason", Text, default=""),
    may("previous_version", Integer),
    must("actor", String(64), default=""),
    # The agent's action that did it, where one did.
    may("action_id", String(36)),
    Index("ix_deployment_events_model_name_id", "model_name", "id"),
    # Ids only grow, even past deleted rows: others wait for a greater one.
    sqlite_autoincrement=True,
)

# One measured number of one version at one time.
performance_metrics = Table(
    "performance_metrics",
    metadata,
    must("id", Integer, primary_key=True, autoincrement=True),
    must("model_id", Integer, ForeignKey("model_versions.id")),
    must("metric_name", String(64)),
    must("metric_value", Float),
    may("metadata", Json),
    must("created_at", Timestamp),
    Index("ix_performance_metrics_model_id_created_at", "model_id", "created_at"),
    sqlite_autoincrement=True,
)

# Work to be done once, whatever crashes in between.
jobs = Table(
    "jobs",
    metadata,
    must("id", String(36), primary_key=True),
    must("kind", String(32)),
    must("status", String(16)),
    must("payload", Json),
    may("result", Json),
    must("error", Text, default=""),
    must("attempts", Integer, default=0),
    must("created_at", Timestamp),
    must("available_at", Timestamp),
    may("started_at", Timestamp),
    may("finished_at", Timestamp),
    may("lease_until", Timestamp),
    must("worker", String(64), default=""),
    Index("ix_jobs_status_id", "status", "id"),
    CheckConstraint("status IN ('queued', 'running', 'succeeded', 'failed')", name="status"),
)

# One training of one model, from the wish to the registered version.
training_runs = Table(
    "training_runs",
    metadata,
    must("id", String(36), primary_key=True),
    must("model_name", String(64)),
    must("recipe", String(64)),
    # What was asked: seed, source of the data, tuning budget, …
    must("options", Json),
    must("status", String(16)),
    # What it is doing, for people, and the share that is done, 0 to 1.
    must("stage", Text, default=""),
    must("progress", Float, default=0.0),
    must("source", String(16)),
    must("actor", String(64), default=""),
    must("reason", Text, default=""),
    must("error", Text, default=""),
    # Everything that was measured; None until there is something.
    may("report", Json),
    # The version that came of it.
    may("model_id", Integer, ForeignKey("model_versions.id")),
    # The machine and process that runs it, and the last time it said so.
    must("worker", String(96), default=""),
    may("heartbeat_at", Timestamp),
    must("cancelled", Boolean, default=False),
    may("tracking_id", String(64)),
    must("created_at", Timestamp),
    may("started_at", Timestamp),
    may("finished_at", Timestamp),
    # Ids do not tell the order: a scheduled run's follows from the time it was due.
    Index("ix_training_runs_created_at_id", "created_at", "id"),
    Index("ix_training_runs_model_name_created_at_id", "model_name", "created_at", "id"),
    # One at a time per model (WHERE status IN ('queued', 'running'); see the migrations).
    Index("uq_training_runs_unfinished", "model_name", unique=True),
    CheckConstraint(
        "status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="status"
    ),
)

# What is to be done again and again, and when it was last due and done.
schedules = Table(
    "schedules",
    metadata,
    must("name", String(64), primary_key=True),
    must("cron", String(64)),
    # The due time that was last acted on: later ones that passed are made up for, once.
    must("last_due_at", Timestamp),
    must("updated_at", Timestamp),
)

# Counted up by the database. SQLite's own row number must be declared as plain INTEGER.
_Counted = BigInteger().with_variant(Integer(), "sqlite")

# The people whose work the floor reports. A retired one takes no later events.
workers = Table(
    "workers",
    metadata,
    must("id", String(64), primary_key=True),
    must("name", String(255)),
    must("created_at", Timestamp),
    may("retired_at", Timestamp),
)

# The places they work at.
workstations = Table(
    "workstations",
    metadata,
    must("id", String(64), primary_key=True),
    must("name", String(255)),
    must("created_at", Timestamp),
    may("retired_at", Timestamp),
)

# What the floor reported, one row per event. Times are whole microseconds since 1970 UTC:
# metrics are sums of differences of them, and must come out the same on every database.
# The view `events` shows them as text.
factory_events = Table(
    "factory_events",
    metadata,
    must("id", _Counted, primary_key=True, autoincrement=True),
    # Given by the sender, or made from what identifies the event.
    must("event_id", String(64)),
    must("timestamp", BigInteger),
    must("worker_id", String(64)),
    must("workstation_id", String(64)),
    must("event_type", String(16)),
    must("confidence", Float),
    # Units of a product_count; 0 on states.
    must("count", Integer),
    must("site_id", String(64)),
    may("camera_id", String(64)),
    may("model_version", String(64)),
    must("source", String(16)),
    must("received", BigInteger),
    # When the state that this event opened ends, as far as is known now; none on counts.
    may("until", BigInteger),
    # When somebody took the event back. It stays, so that a repeat is still a repeat.
    may("retracted", BigInteger),
    Index("uq_factory_events_event_id", "event_id", unique=True),
    Index("ix_factory_events_worker_id_timestamp", "worker_id", "timestamp"),
    Index("ix_factory_events_timestamp", "timestamp"),
)

# Sums of the events by hour and by day, kept with every event: durations in microseconds.
factory_totals = Table(
    "factory_totals",
    metadata,
    # Length of the bucket, seconds: 3600 or 86400.
    must("width", Integer, primary_key=True),
    must("start", BigInteger, primary_key=True),
    must("worker_id", String(64), primary_key=True),
    must("workstation_id", String(64), primary_key=True),
    must("working", BigInteger),
    must("idle", BigInteger),
    must("absent", BigInteger),
    must("units", BigInteger),
    must("events", BigInteger),
    sqlite_with_rowid=False,
)

# The one row says which ANDON_FACTORY_MAX_GAP (microseconds) the totals were made with.
factory_basis = Table(
    "factory_basis",
    metadata,
    must("id", Integer, primary_key=True, autoincrement=False),
    must("max_gap", BigInteger),
    CheckConstraint("id = 1", name="one"),
)

# Eye telemetry, one row per measurement; times in microseconds as above.
drowsiness_events = Table(
    "drowsiness_events",
    metadata,
    must("id", _Counted, primary_key=True, autoincrement=True),
    must("event_id", String(64)),
    must("timestamp", BigInteger),
    # Empty where the sender did not say.
    must("driver_id", String(64)),
    must("device_id", String(64)),
    must("site_id", String(64)),
    must("ear_value", Float),
    must("is_drowsy", Boolean),
    must("duration_ms", Float),
    must("source", String(16)),
    must("received", BigInteger),
    Index("uq_drowsiness_events_event_id", "event_id", unique=True),
    Index("ix_drowsiness_events_driver_id_timestamp", "driver_id", "timestamp"),
    Index("ix_drowsiness_events_timestamp", "timestamp"),
)

# Sums of the telemetry by minute, hour and day. Whole numbers: their sum has no order.
drowsiness_totals = Table(
    "drowsiness_totals",
    metadata,
    # Length of the bucket, seconds: 60, 3600 or 86400.
    must("width", Integer, primary_key=True),
    must("start", BigInteger, primary_key=True),
    must("driver_id", String(64), primary_key=True),
    must("events", BigInteger),
    must("drowsy", BigInteger),
    # Millionths.
    must("ear_sum", BigInteger),
    must("ear_min", BigInteger),
    # Microseconds.
    must("duration_sum", BigInteger),
    sqlite_with_rowid=False,
)

# What arrived by MQTT and could not be used, with the reason. Nobody waits for an answer
# there, so somebody has to be able to look.
rejected_messages = Table(
    "rejected_messages",
    metadata,
    must("id", _Counted, primary_key=True, autoincrement=True),
    must("received_at", Timestamp),
    must("topic", Text),
    must("payload", Text),
    must("reason", Text),
)

# Rows of what is named that are older than this (microseconds since 1970 UTC) were deleted.
retention = Table(
    "retention",
    metadata,
    # "predictions" (those without a label) or "telemetry".
    must("name", String(64), primary_key=True),
    must("before", BigInteger),
)

# Columns under the name of their row, for readers outside the repositories.
ModelVersionRow = model_versions.c
PredictionRow = predictions.c
