"""Watching and acting: drift, alerts, the outbox, the agent's actions, rollouts, leases."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "2026_11_21_1000"
down_revision = "2026_11_21_0800"

_TIME = sa.String(32).with_variant(sa.DateTime(timezone=True), "postgresql")
_JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("predictions", sa.Column("camera", sa.String(64)))
    op.add_column("predictions", sa.Column("camera_state", sa.String(16)))
    op.add_column("predictions", sa.Column("image_stats", _JSON))
    op.add_column("model_versions", sa.Column("threshold", sa.Float))
    op.add_column("deployment_events", sa.Column("action_id", sa.String(36)))
    _create_drift()
    _create_alerts()
    _create_actions()
    _create_rollouts()


def _create_partial(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, unique=True, sqlite_where=where, postgresql_where=where)


def _create_drift() -> None:
    op.create_table(
        "drift_references",
        sa.Column("model_id", sa.Integer, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("span", _JSON, nullable=False),
        sa.Column("statistics", _JSON, nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["model_versions.id"], name="fk_drift_references_model_id"
        ),
        sa.PrimaryKeyConstraint("model_id", name="pk_drift_references"),
    )
    op.create_table(
        "drift_reports",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("report_id", sa.String(36), nullable=False),
        sa.Column("model_id", sa.Integer, nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("drift_detected", sa.Boolean, nullable=False),
        sa.Column("drift_score", sa.Float),
        sa.Column("drifted_features", _JSON, nullable=False),
        sa.Column("report", _JSON, nullable=False),
        sa.Column("report_path", sa.String(255)),
        sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["model_versions.id"], name="fk_drift_reports_model_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_drift_reports"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_drift_reports_model_id_id", "drift_reports", ["model_id", "id"])
    op.create_index("uq_drift_reports_report_id", "drift_reports", ["report_id"], unique=True)


def _create_alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("alert_id", sa.String(36), nullable=False),
        sa.Column("alert_type", sa.String(32), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("title", sa.String(255), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("group_key", sa.String(255), nullable=False),
        sa.Column("model_name", sa.String(64)),
        sa.Column("model_version", sa.Integer),
        sa.Column("evidence", _JSON, nullable=False),
        sa.Column("occurrences", sa.Integer, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.Column("quiet_looks", sa.Integer, nullable=False),
        sa.Column("acknowledged_by", sa.String(64), nullable=False),
        sa.Column("acknowledged_at", _TIME),
        sa.Column("resolved_by", sa.String(64), nullable=False),
        sa.Column("resolution_notes", sa.Text, nullable=False),
        sa.Column("resolved_at", _TIME),
        sa.CheckConstraint(
            "severity IN ('info', 'warning', 'critical')",
            name=op.f("ck_alerts_severity"),
        ),
        sa.CheckConstraint(
            "status IN ('active', 'acknowledged', 'resolved')",
            name=op.f("ck_alerts_status"),
        ),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alerts_status_id", "alerts", ["status", "id"])
    op.create_index("uq_alerts_alert_id", "alerts", ["alert_id"], unique=True)
    _create_partial("uq_alerts_open", "alerts", ["group_key"], "status <> 'resolved'")
    op.create_table(
        "notifications",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("channel", sa.String(32), nullable=False),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("data", _JSON, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("available_at", _TIME, nullable=False),
        sa.Column("sent_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_notifications"),
    )
    op.create_index(
        "ix_notifications_status_available_at", "notifications", ["status", "available_at"]
    )


def _create_actions() -> None:
    op.create_table(
        "agent_actions",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("action_id", sa.String(36), nullable=False),
        sa.Column("action_type", sa.String(32), nullable=False),
        sa.Column("risk_level", sa.String(16), nullable=False),
        sa.Column("requires_approval", sa.Boolean, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("dry_run", sa.Boolean, nullable=False),
        sa.Column("model_name", sa.String(64)),
        sa.Column("model_version", sa.Integer),
        sa.Column("issue_type", sa.String(32)),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("parameters", _JSON, nullable=False),
        sa.Column("evidence", _JSON, nullable=False),
        sa.Column("alert_id", sa.String(36)),
        sa.Column("deployment_event_id", sa.Integer),
        sa.Column("approvals_needed", sa.Integer, nullable=False),
        sa.Column("reviews", _JSON, nullable=False),
        sa.Column("reviewed_by", sa.String(255), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME),
        sa.Column("started_at", _TIME),
        sa.Column("executed_at", _TIME),
        sa.Column("execution_result", _JSON),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("follow_up_at", _TIME),
        sa.Column("follow_up", _JSON),
        sa.CheckConstraint(
            "risk_level IN ('low', 'medium', 'high')",
            name=op.f("ck_agent_actions_risk_level"),
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'approved', 'running', 'succeeded', 'failed', 'rejected', "
            "'expired')",
            name=op.f("ck_agent_actions_status"),
        ),
        sa.PrimaryKeyConstraint("id", name="pk_agent_actions"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_agent_actions_model_name_id", "agent_actions", ["model_name", "id"])
    op.create_index("ix_agent_actions_status_id", "agent_actions", ["status", "id"])
    op.create_index("uq_agent_actions_action_id", "agent_actions", ["action_id"], unique=True)


def _create_rollouts() -> None:
    op.create_table(
        "rollouts",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("model_name", sa.String(64), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("candidate_id", sa.Integer, nullable=False),
        sa.Column("baseline_id", sa.Integer, nullable=False),
        sa.Column("weight", sa.Float, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("judgement", _JSON),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME),
        sa.CheckConstraint(
            "mode IN ('canary', 'shadow', 'compare')",
            name=op.f("ck_rollouts_mode"),
        ),
        sa.CheckConstraint(
            "status IN ('running', 'promoted', 'reverted', 'stopped')",
            name=op.f("ck_rollouts_status"),
        ),
        sa.ForeignKeyConstraint(
            ["baseline_id"], ["model_versions.id"], name="fk_rollouts_baseline_id"
        ),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["model_versions.id"], name="fk_rollouts_candidate_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_rollouts"),
    )
    op.create_index("ix_rollouts_model_name_created_at", "rollouts", ["model_name", "created_at"])
    _create_partial("uq_rollouts_running", "rollouts", ["model_name"], "status = 'running'")
    op.create_table(
        "leases",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("holder", sa.String(128), nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("taken_at", _TIME, nullable=False),
        sa.Column("until", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    op.create_table(
        "watch_state",
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("value", _JSON, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_watch_state"),
    )
