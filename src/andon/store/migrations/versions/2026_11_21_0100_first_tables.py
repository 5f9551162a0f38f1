"""First tables: models and their versions, predictions, events, metrics, jobs.

On SQLite also the views `models`, `inferences` and `metrics`, under which documented raw SQL
(`SELECT * FROM models WHERE is_active=1`) goes on working.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "2026_11_21_0100"
down_revision = None

# Frozen copies of the column types: a migration must not change when the tables do.
_JSON = sa.JSON().with_variant(JSONB(), "postgresql")
_TIME = sa.String(32).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    _create_models()
    _create_predictions()
    _create_history()
    _create_jobs()
    if op.get_bind().dialect.name == "sqlite":
        for statement in _VIEWS:
            op.execute(statement)


def _create_models() -> None:
    op.create_table(
        "registered_models",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("task", sa.String(32), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_registered_models"),
    )
    op.create_table(
        "model_versions",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("model_name", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("filename", sa.String(255), nullable=False),
        sa.Column("file_hash", sa.String(64), nullable=False),
        sa.Column("file_size", sa.BigInteger, nullable=False),
        sa.Column("format", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("is_active", sa.Boolean, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("notes", sa.Text, nullable=False),
        sa.Column("options", _JSON, nullable=False),
        sa.Column("description", _JSON, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("deployed_at", _TIME),
        sa.Column("deleted_at", _TIME),
        sa.Column("damaged", sa.Text, nullable=False),
        sa.Column("proof", _JSON),
        sa.Column("total_inferences", sa.BigInteger, nullable=False),
        sa.Column("total_detections", sa.BigInteger, nullable=False),
        sa.Column("total_inference_time", sa.Float, nullable=False),
        sa.Column("total_confidence", sa.Float, nullable=False),
        sa.Column("algorithm", sa.String(64)),
        sa.Column("accuracy", sa.Float),
        sa.Column("f1_score", sa.Float),
        sa.Column("precision", sa.Float),
        sa.Column("recall", sa.Float),
        sa.Column("roc_auc", sa.Float),
        sa.Column("hyperparameters", _JSON),
        sa.Column("feature_names", _JSON),
        sa.CheckConstraint(
            "status IN ('training', 'staging', 'production', 'archived')",
            name=op.f("ck_model_versions_status"),
        ),
        sa.ForeignKeyConstraint(
            ["model_name"], ["registered_models.name"], name="fk_model_versions_model_name"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_model_versions"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "uq_model_versions_model_name_version",
        "model_versions",
        ["model_name", "version"],
        unique=True,
    )
    not_deleted = sa.text("deleted_at IS NULL")
    op.create_index(
        "uq_model_versions_model_name_file_hash",
        "model_versions",
        ["model_name", "file_hash"],
        unique=True,
        sqlite_where=not_deleted,
        postgresql_where=not_deleted,
    )
    active = sa.text("is_active")
    op.create_index(
        "uq_model_versions_active",
        "model_versions",
        ["model_name"],
        unique=True,
        sqlite_where=active,
        postgresql_where=active,
    )


def _create_predictions() -> None:
    op.create_table(
        "predictions",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("model_id", sa.Integer, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("subject", sa.String(255)),
        sa.Column("request_id", sa.String(255)),
        sa.Column("image_name", sa.String(255)),
        sa.Column("image_hash", sa.String(64)),
        sa.Column("image_format", sa.String(8)),
        sa.Column("image_width", sa.Integer),
        sa.Column("image_height", sa.Integer),
        sa.Column("features", _JSON),
        sa.Column("detections", _JSON),
        sa.Column("confidence_scores", _JSON),
        sa.Column("raw_scores", _JSON),
        sa.Column("detection_count", sa.Integer, nullable=False),
        sa.Column("prediction", sa.String(255)),
        sa.Column("probability", sa.Float),
        sa.Column("threshold", sa.Float),
        sa.Column("cached", sa.Boolean, nullable=False),
        sa.Column("inference_time", sa.Float, nullable=False),
        sa.Column("latency_ms", sa.Float, nullable=False),
        sa.Column("actual", _JSON),
        sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["model_versions.id"], name="fk_predictions_model_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_predictions"),
    )
    op.create_index("ix_predictions_model_id_id", "predictions", ["model_id", "id"])
    op.create_index("ix_predictions_image_hash", "predictions", ["image_hash"])
    op.create_index("ix_predictions_created_at", "predictions", ["created_at"])


def _create_history() -> None:
    op.create_table(
        "deployment_events",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("model_id", sa.Integer),
        sa.Column("model_name", sa.String(64), nullable=False),
        sa.Column("model_version", sa.Integer, nullable=False),
        sa.Column("event_type", sa.String(32), nullable=False),
        sa.Column("timestamp", _TIME, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("previous_version", sa.Integer),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["model_versions.id"], name="fk_deployment_events_model_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_deployment_events"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_deployment_events_model_name_id", "deployment_events", ["model_name", "id"])
    op.create_table(
        "performance_metrics",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("model_id", sa.Integer, nullable=False),
        sa.Column("metric_name", sa.String(64), nullable=False),
        sa.Column("metric_value", sa.Float, nullable=False),
        sa.Column("metadata", _JSON),
        sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["model_versions.id"], name="fk_performance_metrics_model_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_performance_metrics"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_performance_metrics_model_id_created_at",
        "performance_metrics",
        ["model_id", "created_at"],
    )


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("payload", _JSON, nullable=False),
        sa.Column("result", _JSON),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("available_at", _TIME, nullable=False),
        sa.Column("started_at", _TIME),
        sa.Column("finished_at", _TIME),
        sa.Column("lease_until", _TIME),
        sa.Column("worker", sa.String(64), nullable=False),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'succeeded', 'failed')",
            name=op.f("ck_jobs_status"),
        ),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_status_id", "jobs", ["status", "id"])


_VIEWS = (
    """
    CREATE VIEW models AS
    SELECT
        version,
        filename,
        file_hash,
        created_at AS upload_date,
        deployed_at AS deployed_date,
        is_active,
        coalesce(accuracy, 0.0) AS accuracy,
        CASE WHEN total_inferences > 0
            THEN total_inference_time / total_inferences ELSE 0.0 END AS avg_inference_time,
        total_inferences,
        total_detections,
        notes,
        model_name AS model
    FROM model_versions
    WHERE deleted_at IS NULL
    """,
    # Answers only: a request that failed has no detections to speak of.
    """
    CREATE VIEW inferences AS
    SELECT
        predictions.id,
        model_versions.version AS model_version,
        coalesce(predictions.image_name, '') AS image_name,
        predictions.created_at AS timestamp,
        predictions.detections,
        predictions.inference_time,
        coalesce(predictions.confidence_scores, '[]') AS confidence_scores,
        model_versions.model_name AS model
    FROM predictions
    JOIN model_versions ON model_versions.id = predictions.model_id
    WHERE predictions.status = 'success' AND predictions.detections IS NOT NULL
    """,
    """
    CREATE TRIGGER inferences_delete INSTEAD OF DELETE ON inferences
    BEGIN
        DELETE FROM predictions WHERE id = OLD.id;
    END
    """,
    """
    CREATE VIEW metrics AS
    SELECT
        min(performance_metrics.id) AS id,
        model_versions.version AS model_version,
        performance_metrics.created_at AS timestamp,
        max(CASE metric_name WHEN 'accuracy' THEN metric_value END) AS accuracy,
        max(CASE metric_name WHEN 'avg_confidence' THEN metric_value END) AS avg_confidence,
        max(CASE metric_name WHEN 'avg_inference_time' THEN metric_value END)
            AS avg_inference_time,
        CAST(max(CASE metric_name WHEN 'detection_count' THEN metric_value END) AS INTEGER)
            AS detection_count,
        model_versions.model_name AS model
    FROM performance_metrics
    JOIN model_versions ON model_versions.id = performance_metrics.model_id
    WHERE metric_name IN ('accuracy', 'avg_confidence', 'avg_inference_time', 'detection_count')
    GROUP BY performance_metrics.model_id, performance_metrics.created_at
    """,
)
