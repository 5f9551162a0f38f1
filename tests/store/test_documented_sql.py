"""Raw SQL that people and scripts already use on the file must go on working."""

import json
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.store.builders import add_version, log

from andon.store.clock import now
from andon.store.database import Database


@pytest.fixture
def used(sqlite_path: Path) -> Iterator[sqlite3.Connection]:
    """A bare connection to a database with two versions, answers, metrics and events."""
    db = Database(sqlite_path)
    first, second = add_version(db, filename="a.eim", notes="first"), add_version(db)
    db.activate_model(1)
    db.activate_model(2)
    log(db, first, 2, created_at=now() - timedelta(days=100))
    log(db, second, 3)
    log(db, second, 1, status="error", detections=None, error="it broke")
    db.log_metrics({"model_version": 2, "accuracy": 0.75, "detection_count": 7})
    db.close()
    connection = sqlite3.connect(sqlite_path)
    connection.row_factory = sqlite3.Row
    yield connection
    connection.close()


def test_the_active_model_is_found(used: sqlite3.Connection):
    """S0-63 and S0-49: one active row with the documented columns."""
    rows = used.execute("SELECT * FROM models WHERE is_active=1;").fetchall()
    assert [row["version"] for row in rows] == [2]
    documented = (
        "version filename file_hash upload_date deployed_date is_active accuracy "
        "avg_inference_time total_inferences total_detections notes"
    )
    assert rows[0].keys()[:11] == documented.split()
    assert (rows[0]["total_inferences"], rows[0]["total_detections"]) == (3, 3)
    assert rows[0]["avg_inference_time"] == pytest.approx(0.01)
    assert rows[0]["accuracy"] == 0.0


def test_the_newest_inferences_are_found(used: sqlite3.Connection):
    """S0-63 and S0-50: documented columns, JSON text inside, newest first."""
    rows = used.execute("SELECT * FROM inferences ORDER BY timestamp DESC LIMIT 10;").fetchall()
    assert [row["model_version"] for row in rows] == [2, 2, 2, 1, 1]
    documented = "id model_version image_name timestamp detections inference_time confidence_scores"
    assert rows[0].keys()[:7] == documented.split()
    assert json.loads(rows[0]["detections"])[0]["bbox"] == [1, 2, 3, 4]
    assert json.loads(rows[0]["confidence_scores"]) == [0.9]


def test_the_newest_inferences_come_along_an_index(used: sqlite3.Connection):
    """A log of millions is not sorted for ten rows."""
    query = "EXPLAIN QUERY PLAN SELECT * FROM inferences ORDER BY timestamp DESC LIMIT 10"
    plan = " ".join(row["detail"] for row in used.execute(query))
    assert "ix_predictions_created_at" in plan
    assert "TEMP B-TREE" not in plan


def test_deployment_events_are_found(used: sqlite3.Connection):
    """S0-63 and S0-52: who replaced whom."""
    rows = used.execute("SELECT * FROM deployment_events;").fetchall()
    found = [(row["model_version"], row["event_type"], row["previous_version"]) for row in rows]
    assert found == [(1, "ACTIVATE", None), (2, "ACTIVATE", 1)]
    assert {"timestamp", "reason"} <= set(rows[0].keys())


def test_metrics_are_found(used: sqlite3.Connection):
    """S0-51: numbers measured together are one row."""
    (row,) = used.execute("SELECT * FROM metrics").fetchall()
    documented = (
        "id model_version timestamp accuracy avg_confidence avg_inference_time detection_count"
    )
    assert row.keys()[:7] == documented.split()
    assert tuple(row)[3:7] == (0.75, None, None, 7)


def test_old_inferences_are_deleted(used: sqlite3.Connection):
    """S0-157: the documented retention statement prunes the log and nothing else."""
    used.execute("DELETE FROM inferences WHERE timestamp < datetime('now','-90 days')")
    used.commit()
    used.execute("VACUUM;")
    assert used.execute("SELECT count(*) FROM inferences").fetchone()[0] == 3
    assert used.execute("SELECT count(*) FROM predictions").fetchone()[0] == 4


def test_versions_are_compared(used: sqlite3.Connection):
    """S0-182: the documented aggregate over both versions."""
    query = """
        SELECT model_version, AVG(inference_time) AS avg_time, COUNT(*) AS total_inferences,
               SUM(json_array_length(detections)) AS total_detections
        FROM inferences WHERE model_version IN (?, ?) GROUP BY model_version
    """
    rows = [tuple(row) for row in used.execute(query, (1, 2))]
    assert [(row[0], row[2], row[3]) for row in rows] == [(1, 2, 2), (2, 3, 3)]
