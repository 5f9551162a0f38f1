"""Databases for the tests of this room, and labelled answers of heart models in them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tests.store.builders import add_version, log, prediction
from tests.store.conftest import (
    db,
    migrated_file,
    migrated_schema,
    postgres_db,
    postgres_server,
    postgres_url,
    sqlite_db,
    sqlite_path,
)
from tests.support.tabular_models import HEART

from andon.runtimes.base import plain
from andon.store.database import Database
from andon.store.feedback import Label
from andon.store.records import ModelVersion

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def heart_version(db: Database, **given: Any) -> ModelVersion:
    """A version that says it takes the rows of `heart`."""
    about = {"task": "tabular-classification", "rows": plain(HEART)}
    return add_version(db, "heart", description=about, **given)


def answered(
    db: Database, version: ModelVersion, pairs: Sequence[tuple[float, int | None]]
) -> list[str]:
    """Log an answer for each probability of disease, and label those with a truth."""
    rows = [
        prediction(
            version,
            features={"age": 50},
            prediction=str(int(p >= HEART.threshold)),
            probability=p,
            raw_scores=[round(1 - p, 6), p],
            detections=None,
            detection_count=0,
        )
        for p, _ in pairs
    ]
    for future in [db.writer.write(row) for row in rows]:
        future.result(timeout=20)
    keys = [row["id"] for row in rows]
    db.feedback.store(
        [
            Label(key, truth, NOON)
            for key, (_, truth) in zip(keys, pairs, strict=True)
            if truth is not None
        ]
    )
    return keys


__all__ = [
    "db",
    "log",
    "migrated_file",
    "migrated_schema",
    "postgres_db",
    "postgres_server",
    "postgres_url",
    "sqlite_db",
    "sqlite_path",
]
