"""Retention: from when on the rows of a table are all there."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_21_1200"
down_revision = "2026_11_21_1000"


def upgrade() -> None:
    table = op.create_table(
        "retention",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("before", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_retention"),
    )
    # There from the beginning: who takes in telemetry locks its row on PostgreSQL.
    op.bulk_insert(table, [{"name": name, "before": 0} for name in ("predictions", "telemetry")])
