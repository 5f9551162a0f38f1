"""Training: runs, schedules, feedback, and what a trained version says of itself."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "2026_11_21_0800"
down_revision = "2026_11_21_0500"

_TIME = sa.String(32).with_variant(sa.DateTime(timezone=True), "postgresql")
_JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("model_versions", sa.Column("card", _JSON))
    op.add_column("model_versions", sa.Column("reference", _JSON))
    _create_partial("ix_predictions_labelled", ["model_id", "id"], "actual IS NOT NULL")
    _create_partial("ix_predictions_request_id", ["request_id"], "request_id IS NOT NULL")
    op.create_table(
        "feedback",
        sa.Column("prediction_id", sa.String(36), nullable=False),
        sa.Column("actual", _JSON, nullable=False),
        sa.Column("timestamp", _TIME, nullable=False),
        sa.Column("received_at", _TIME, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("prediction_id", name="pk_feedback"),
    )
    _create_runs()
    op.create_table(
        "schedules",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("cron", sa.String(64), nullable=False),
        sa.Column("last_due_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_schedules"),
    )


def _create_partial(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "predictions", columns, sqlite_where=where, postgresql_where=where)


def _create_runs() -> None:
    op.create_table(
        "training_runs",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("model_name", sa.String(64), nullable=False),
        sa.Column("recipe", sa.String(64), nullable=False),
        sa.Column("options", _JSON, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("progress", sa.Float, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("report", _JSON),
        sa.Column("model_id", sa.Integer),
        sa.Column("worker", sa.String(96), nullable=False),
        sa.Column("heartbeat_at", _TIME),
        sa.Column("cancelled", sa.Boolean, nullable=False),
        sa.Column("tracking_id", sa.String(64)),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("started_at", _TIME),
        sa.Column("finished_at", _TIME),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_training_runs_status"),
        ),
        sa.ForeignKeyConstraint(
            ["model_id"], ["model_versions.id"], name="fk_training_runs_model_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_training_runs"),
    )
    order = ["created_at", "id"]
    op.create_index("ix_training_runs_created_at_id", "training_runs", order)
    op.create_index(
        "ix_training_runs_model_name_created_at_id", "training_runs", ["model_name", *order]
    )
    unfinished = sa.text("status IN ('queued', 'running')")
    op.create_index(
        "uq_training_runs_unfinished",
        "training_runs",
        ["model_name"],
        unique=True,
        sqlite_where=unfinished,
        postgresql_where=unfinished,
    )
