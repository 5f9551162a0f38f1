"""The floor: workers, workstations, factory events, eye telemetry, and their running totals.

The view `events` shows factory events with readable times, for people with a SQL prompt.
"""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_21_0500"
down_revision = "2026_11_21_0100"

_TIME = sa.String(32).with_variant(sa.DateTime(timezone=True), "postgresql")
_COUNTED = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for roster in ("workers", "workstations"):
        op.create_table(
            roster,
            sa.Column("id", sa.String(64), nullable=False),
            sa.Column("name", sa.String(255), nullable=False),
            sa.Column("created_at", _TIME, nullable=False),
            sa.Column("retired_at", _TIME),
            sa.PrimaryKeyConstraint("id", name=f"pk_{roster}"),
        )
    _create_factory()
    _create_drowsiness()
    op.create_table(
        "rejected_messages",
        sa.Column("id", _COUNTED, autoincrement=True, nullable=False),
        sa.Column("received_at", _TIME, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rejected_messages"),
    )
    op.execute(_VIEW[op.get_bind().dialect.name])


def _create_factory() -> None:
    op.create_table(
        "factory_events",
        sa.Column("id", _COUNTED, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("timestamp", sa.BigInteger, nullable=False),
        sa.Column("worker_id", sa.String(64), nullable=False),
        sa.Column("workstation_id", sa.String(64), nullable=False),
        sa.Column("event_type", sa.String(16), nullable=False),
        sa.Column("confidence", sa.Float, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("site_id", sa.String(64), nullable=False),
        sa.Column("camera_id", sa.String(64)),
        sa.Column("model_version", sa.String(64)),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger),
        sa.Column("retracted", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_factory_events"),
    )
    _create_indexes("factory_events", "worker_id")
    op.create_table(
        "factory_totals",
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("worker_id", sa.String(64), nullable=False),
        sa.Column("workstation_id", sa.String(64), nullable=False),
        sa.Column("working", sa.BigInteger, nullable=False),
        sa.Column("idle", sa.BigInteger, nullable=False),
        sa.Column("absent", sa.BigInteger, nullable=False),
        sa.Column("units", sa.BigInteger, nullable=False),
        sa.Column("events", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(
            "width", "start", "worker_id", "workstation_id", name="pk_factory_totals"
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "factory_basis",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("max_gap", sa.BigInteger, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_factory_basis_one")),
        sa.PrimaryKeyConstraint("id", name="pk_factory_basis"),
    )


def _create_drowsiness() -> None:
    op.create_table(
        "drowsiness_events",
        sa.Column("id", _COUNTED, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("timestamp", sa.BigInteger, nullable=False),
        sa.Column("driver_id", sa.String(64), nullable=False),
        sa.Column("device_id", sa.String(64), nullable=False),
        sa.Column("site_id", sa.String(64), nullable=False),
        sa.Column("ear_value", sa.Float, nullable=False),
        sa.Column("is_drowsy", sa.Boolean, nullable=False),
        sa.Column("duration_ms", sa.Float, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_drowsiness_events"),
    )
    _create_indexes("drowsiness_events", "driver_id")
    op.create_table(
        "drowsiness_totals",
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("driver_id", sa.String(64), nullable=False),
        sa.Column("events", sa.BigInteger, nullable=False),
        sa.Column("drowsy", sa.BigInteger, nullable=False),
        sa.Column("ear_sum", sa.BigInteger, nullable=False),
        sa.Column("ear_min", sa.BigInteger, nullable=False),
        sa.Column("duration_sum", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("width", "start", "driver_id", name="pk_drowsiness_totals"),
        sqlite_with_rowid=False,
    )


def _create_indexes(table: str, who: str) -> None:
    op.create_index(f"uq_{table}_event_id", table, ["event_id"], unique=True)
    op.create_index(f"ix_{table}_{who}_timestamp", table, [who, "timestamp"])
    op.create_index(f"ix_{table}_timestamp", table, ["timestamp"])


# Times as text, to the microsecond.
_VIEW = {
    "sqlite": """
    CREATE VIEW events AS
    SELECT
        event_id,
        strftime('%Y-%m-%dT%H:%M:%S', timestamp / 1000000, 'unixepoch')
            || printf('.%06dZ', timestamp % 1000000) AS timestamp,
        worker_id, workstation_id, event_type, confidence, count,
        site_id, camera_id, model_version, source
    FROM factory_events
    WHERE retracted IS NULL
    """,
    "postgresql": """
    CREATE VIEW events AS
    SELECT
        event_id,
        'epoch'::timestamptz + timestamp * interval '1 microsecond' AS timestamp,
        worker_id, workstation_id, event_type, confidence, count,
        site_id, camera_id, model_version, source
    FROM factory_events
    WHERE retracted IS NULL
    """,
}
