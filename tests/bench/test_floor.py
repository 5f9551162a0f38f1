"""The floor's measurements, small: that they run, and that what they measure is right.

Nothing here looks at a time that was taken.
"""

from pathlib import Path

import pytest

from bench import floor, history, ingest, streaming


def test_ingest_is_measured_beside_the_bare_rows(tmp_path, monkeypatch):
    """Every shape of ingest gives figures, and rows for the table."""
    monkeypatch.setattr(ingest, "SHORT_BATCHES", 2)
    monkeypatch.setattr(ingest, "LONG_BATCHES", 2)
    monkeypatch.setattr(ingest, "SINGLES", 40)
    found = ingest.measure(tmp_path, tmp_path / "bare.db", rounds=2)
    assert found["batch_50"]["batches"] == 4
    assert set(found["sustained"]["by_clients"]) == set(ingest.CLIENTS)
    assert found["sustained"]["clients"] in ingest.CLIENTS
    assert floor.rows({"sync_ms": 0.1, "sqlite": found})


def test_histories_are_built_asked_and_held_against_the_reference(tmp_path):
    """Each size answers every route, with and without buckets."""
    found = history.measure(tmp_path, sizes=[3_000, 5_000], windows=1)
    for size in ("3000", "5000"):
        assert len(found[size]["routes"]) == len(history.ROUTES) * len(history.BUCKETS)
    assert floor.curve(found).row_count > len(history.ROUTES)


def test_wrong_metrics_do_not_pass_for_a_measurement(tmp_path, monkeypatch):
    """Fast answers that are wrong end the run."""

    def nothing(*_: object) -> dict[str, dict[str, history.Sums]]:
        return {"worker": {}, "workstation": {}}

    monkeypatch.setattr(history, "sums", nothing)
    with pytest.raises(RuntimeError, match="differ in a history of 3000 events"):
        history.measure(tmp_path, sizes=[3_000], windows=1)


def test_a_stream_is_uploaded_whole(tmp_path: Path):
    """The server takes every line, and its memory is read meanwhile."""
    found = streaming.measure(tmp_path, events=3_000)
    assert found["events"] == 3_000
    assert found["rss_peak_mib"] >= found["rss_before_mib"] > 0
