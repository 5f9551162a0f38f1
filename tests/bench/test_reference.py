"""The benchmark's own computation of the floor's sums."""

import sqlite3
from pathlib import Path

import pytest
from bench.plant import MAX_GAP
from bench.reference import sums

from andon.store.database import Database

_COLUMNS = (
    "event_id, timestamp, worker_id, workstation_id, event_type, count, retracted, "
    "confidence, site_id, source, received"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with a few events: id, time, worker, station, type, count, taken back."""
    Database(tmp_path / "andon.db").close()
    start = 10 * MAX_GAP
    rows = [
        ("a", start, "W1", "S1", "working", 0, None),
        # Loses against the event of the same instant.
        ("b", start + 100, "W1", "S2", "idle", 0, None),
        ("c", start + 100, "W1", "S2", "working", 0, None),
        ("d", start + 150, "W1", "S1", "product_count", 7, None),
        # Taken back: as if it had never been there.
        ("e", start + 120, "W1", "S1", "absent", 0, start),
        ("f", start + 300, "W1", "S1", "absent", 0, None),
        ("g", start - MAX_GAP + 50, "W2", "S1", "idle", 0, None),
    ]
    connection = sqlite3.connect(tmp_path / "andon.db")
    connection.executemany(
        f"INSERT INTO factory_events ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, 1, 'main', '', 0)",
        rows,
    )
    connection.commit()
    connection.close()
    return tmp_path / "andon.db"


def test_states_last_to_the_next_one_and_counts_belong_to_their_station(path):
    """The rules of docs/metrics.md, written a second time."""
    start = 10 * MAX_GAP
    found = sums(path, start, start + 400)
    assert found["worker"] == {"W1": (300, 0, 100, 7), "W2": (0, 50, 0, 0)}
    assert found["workstation"] == {"S1": (100, 50, 100, 7), "S2": (200, 0, 0, 0)}


def test_a_state_counts_at_most_for_the_longest_gap(path):
    """After it nobody knows."""
    start = 10 * MAX_GAP
    found = sums(path, start + 200, start + 10 * MAX_GAP)
    assert found["worker"] == {"W1": (100, 0, MAX_GAP, 0)}
