"""Looks at models, numbers over weeks, and gauges."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from tests.monitoring.simulated import (
    SETTINGS,
    label,
    named,
    picture_answer,
    picture_version,
    quiet_rows,
    rows_version,
    store,
)

from andon.errors import InvalidRequest, StorageFull
from andon.monitoring import history
from andon.monitoring.gauges import MonitoringGauges
from andon.monitoring.monitor import Monitor
from andon.monitoring.signals import Issue, Limits, Signal, State, Watched
from andon.serving.metrics import ServingMetrics
from andon.store.clock import now
from andon.store.database import Database


class Broken:
    """A detector with a fault."""

    def look(self, watched: Watched) -> list[Signal]:
        """Fails."""
        raise ZeroDivisionError("nothing to divide by")


class Drifting:
    """A detector that always finds the same."""

    def look(self, watched: Watched) -> list[Signal]:
        """Drift, and the variance of scores."""
        common: dict[str, Any] = {
            "issue": Issue.DATA_DRIFT,
            "state": State.OK,
            "summary": "Nothing drifts.",
            "model": watched.version.model,
            "version": watched.version.version,
        }
        return [
            Signal(name="drift", value=0.4, **common),
            Signal(name="score_variance", value=0.02, **common),
        ]


def test_the_version_that_serves_is_looked_at(sqlite_db: Database) -> None:
    """From when it began to serve, with everything that was said kept for the pages."""
    version = rows_version(sqlite_db)
    monitor = Monitor(sqlite_db, SETTINGS, Drifting())
    assert monitor.look("heart", Limits()) == []
    store(sqlite_db, quiet_rows(version, 50))
    sqlite_db.models.set_active("heart", version.version)
    begin = now()
    store(
        sqlite_db,
        [row | {"at": begin + timedelta(milliseconds=5)} for row in quiet_rows(version, 40)],
    )
    signals = monitor.look("heart", Limits())
    assert named(signals, "error_rate").count == 40
    assert named(signals, "drift").value == 0.4
    assert monitor.windows()["heart"].count == 40
    assert monitor.signals() == signals
    monitor.look_feeds()
    assert monitor.signals() == signals


def test_a_broken_detector_stops_nobody_else(sqlite_db: Database) -> None:
    """It says that it could not tell."""
    version = rows_version(sqlite_db)
    sqlite_db.models.set_active("heart", version.version)
    signals = Monitor(sqlite_db, SETTINGS, Broken()).look("heart", Limits())
    drift = named(signals, "drift")
    assert drift.state is State.UNKNOWN
    assert "nothing to divide by" in drift.summary
    assert {one.name for one in signals} >= {"error_rate", "latency", "refused", "concept"}


def test_a_failure_that_lasts_is_written_down_once(sqlite_db: Database) -> None:
    """Its traceback comes when it begins or changes, not with every look; its end is told too."""
    version = rows_version(sqlite_db)
    sqlite_db.models.set_active("heart", version.version)
    faults: list[Exception | None] = [
        ValueError("one"), ValueError("one"), ValueError("two"), None, ValueError("two")
    ]  # fmt: skip

    class Faulty:
        """A detector that fails now and then."""

        def look(self, watched: Watched) -> list[Signal]:
            """Raise the next fault."""
            fault = faults.pop(0)
            if fault is not None:
                raise fault
            return []

    monitor = Monitor(sqlite_db, SETTINGS, Faulty())
    with capture_logs() as lines:
        while faults:
            monitor.look("heart", Limits())
    told = [(one["log_level"], one["detector"]) for one in lines]
    failed, works = ("error", "drift"), ("info", "drift")
    assert told == [failed, failed, works, failed]


def test_a_candidate_is_looked_at_beside_the_active_version(sqlite_db: Database) -> None:
    """Its canary answers count; the model's window stays that of the active version."""
    active, candidate = rows_version(sqlite_db), rows_version(sqlite_db)
    sqlite_db.models.set_active("heart", active.version)
    store(sqlite_db, quiet_rows(candidate, 40, role="canary"))
    monitor = Monitor(sqlite_db, SETTINGS)
    signals = monitor.look_candidate("heart", candidate.version, Limits())
    assert named(signals, "error_rate").count == 40
    assert monitor.windows() == {}
    assert monitor.signals() == signals
    monitor.no_candidate("heart")
    assert monitor.signals() == []


def test_a_database_that_takes_no_rows_is_looked_at_all_the_same(
    sqlite_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The baseline is kept as soon as it does again."""
    version = rows_version(sqlite_db)
    store(sqlite_db, quiet_rows(version, 150))

    def full(*_: Any, **__: Any) -> None:
        raise StorageFull("The database is read-only.")

    sqlite_db.models.set_active("heart", version.version)
    store(
        sqlite_db,
        [row | {"at": now() + timedelta(seconds=1)} for row in quiet_rows(version, 150)],
    )
    monitor = Monitor(sqlite_db, SETTINGS)
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_db.metrics, "add", full)
        assert named(monitor.look("heart", Limits()), "latency").state is State.OK
    assert sqlite_db.metrics.first(version.id, "baseline_latency_ms") is None
    monitor.look("heart", Limits())
    assert sqlite_db.metrics.first(version.id, "baseline_latency_ms") is not None


def test_numbers_are_written_every_quarter_of_an_hour(sqlite_db: Database) -> None:
    """Only while there are new answers; trends tell versions apart and mark what changed."""
    version = rows_version(sqlite_db)
    sqlite_db.models.set_active("heart", version.version, reason="first")
    later = now() + timedelta(seconds=1)
    rows = [row | {"at": later} for row in quiet_rows(version, 60)]
    keys = store(sqlite_db, rows)
    monitor = Monitor(sqlite_db, SETTINGS, Drifting())
    monitor.look("heart", Limits())
    moment = now() + timedelta(seconds=2)
    windows = monitor.windows()
    assert history.record(sqlite_db, windows, moment, monitor.signals()) == 1
    assert history.record(sqlite_db, windows, moment + timedelta(minutes=14)) == 0
    # Nothing was answered since: nothing is written.
    assert history.record(sqlite_db, windows, moment + timedelta(minutes=16)) == 0
    label(sqlite_db, keys, [int(row["prediction"]) for row in rows])
    found = history.trends(sqlite_db, "heart", 7, "estimated_accuracy")
    assert [(line.version, len(line.points)) for line in found.lines] == [(1, 1)]
    assert [(mark.version, mark.event) for mark in found.marks] == [(1, "ACTIVATE")]
    assert history.trends(sqlite_db, "heart", 7, "drift_score").lines[0].points[0].value == 0.4
    assert history.trends(sqlite_db, "heart", 7, "accuracy").lines == []
    with pytest.raises(InvalidRequest, match="must be one of accuracy"):
        history.trends(sqlite_db, "heart", 7, "luck")
    with pytest.raises(InvalidRequest, match="1 to 400"):
        history.trends(sqlite_db, "heart", 0, "accuracy")


def test_old_numbers_go_and_baselines_stay(sqlite_db: Database) -> None:
    """After as many days as are kept."""
    version = rows_version(sqlite_db)
    old = now() - timedelta(days=50)
    sqlite_db.metrics.add(version.id, {"confidence": 0.9, "baseline_latency_ms": 9.0}, at=old)
    sqlite_db.metrics.add(version.id, {"confidence": 0.8})
    assert history.prune(sqlite_db, 30) == 1
    assert {one.value for one in sqlite_db.metrics.recent(version.id)} == {9.0, 0.8}


def test_many_points_become_few(sqlite_db: Database) -> None:
    """A year is not sent point by point."""
    version = rows_version(sqlite_db)
    for days in range(0, 400, 2):
        for minutes in (0, 20):
            at = now() - timedelta(days=days, minutes=minutes + 1)
            sqlite_db.metrics.add(version.id, {"confidence": 0.5}, at=at)
    (line,) = history.trends(sqlite_db, "heart", 400, "confidence").lines
    assert 150 <= len(line.points) <= 320
    assert {point.value for point in line.points} == {0.5}
    assert [point.at for point in line.points] == sorted(point.at for point in line.points)


def test_the_gauges_say_what_was_measured(sqlite_db: Database) -> None:
    """Nothing of a version that serves no more, and nothing that nobody knows."""
    version = picture_version(sqlite_db)
    sqlite_db.models.set_active("pcb", version.version)
    registry = CollectorRegistry()
    serving = ServingMetrics("pcb", registry)
    gauges = MonitoringGauges(registry, serving)
    monitor = Monitor(sqlite_db, SETTINGS, Drifting())
    value = registry.get_sample_value
    labels = {"model": "pcb", "model_version": "v1"}

    def update() -> None:
        monitor.look("pcb", Limits())
        gauges.update(monitor.windows(), monitor.signals())

    update()
    assert value("pcb_model_accuracy", {"model_version": "v1"}) is None
    assert value("pcb_drift_score", {"model_version": "v1"}) == 0.02
    later = now() + timedelta(seconds=1)
    store(
        sqlite_db,
        [picture_answer(version, ("open",), at=later, camera="top") for _ in range(60)],
    )
    update()
    accuracy = value("andon_model_accuracy", {**labels, "kind": "estimated"})
    assert accuracy == pytest.approx(0.9)
    assert value("pcb_model_accuracy", {"model_version": "v1"}) == accuracy
    assert value("andon_model_error_ratio", labels) == 0
    assert value("andon_model_confidence", labels) == 0.9
    assert value("andon_model_latency_seconds", {**labels, "quantile": "0.5"}) == 0.0125
    assert value("andon_drift_score", labels) == 0.4
    assert value("andon_camera_sick", {"model": "pcb", "camera": "top"}) == 0
    second = picture_version(sqlite_db)
    sqlite_db.models.set_active("pcb", second.version)
    update()
    assert value("andon_model_accuracy", {**labels, "kind": "estimated"}) is None
    assert value("pcb_model_accuracy", {"model_version": "v1"}) is None
    assert value("pcb_drift_score", {"model_version": "v2"}) == 0.02
    gauges.update({}, [])
    assert value("pcb_drift_score", {"model_version": "v2"}) is None


def test_two_who_look_at_once_do_not_meet(sqlite_db: Database) -> None:
    """A page's look waits for the clockwork's."""
    version = rows_version(sqlite_db)
    sqlite_db.models.set_active("heart", version.version)
    monitor = Monitor(sqlite_db, SETTINGS)
    looks = [threading.Thread(target=monitor.look, args=("heart", Limits())) for _ in range(4)]
    for one in looks:
        one.start()
    for one in looks:
        one.join(10)
    assert len({signal.name for signal in monitor.signals()}) == len(monitor.signals())
