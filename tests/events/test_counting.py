"""The Prometheus families of the floor."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from tests.support.floor import HOUR, MINUTE, SECOND, ingest, metrics, register, state, units
from tests.support.policy import absent

from andon.errors import StorageFull
from andon.events import floor_gauges
from andon.events.counting import EventMetrics
from andon.events.floor_gauges import FloorGauges
from andon.store.clock import now_micros
from andon.store.database import Database
from andon.store.drowsiness_events import DrowsinessRow

ROOT = Path(__file__).parents[2]


def gauges(db: Database) -> CollectorRegistry:
    """The floor's families, never collected before."""
    registry = CollectorRegistry()
    FloorGauges(db, registry)
    return registry


def values(db: Database) -> dict[str, float]:
    """Every sample of the floor, by name and labels."""
    return {
        f"{sample.name}{{{','.join(sample.labels.values())}}}": sample.value
        for family in gauges(db).collect()
        for sample in family.samples
    }


def measured(count: int, drowsy: int, ear: float) -> list[DrowsinessRow]:
    """Measurements of the last minutes."""
    now = now_micros()
    return [
        DrowsinessRow(
            event_id=f"m{number}", given=True, timestamp=now - number * SECOND, driver_id="d",
            device_id="", site_id="main", ear_value=ear, is_drowsy=number < drowsy,
            duration_ms=100.0, source="test", received=now,
        )
        for number in range(count)
    ]  # fmt: skip


def test_what_came_is_counted_by_what_became_of_it():
    """By kind and source; a batch once with its size."""
    meters = EventMetrics()
    meters.count("factory", "http", stored=3, duplicates=2, rejected=1)
    meters.count("factory", "http", stored=1)
    sample = meters.registry.get_sample_value
    common = {"kind": "factory", "source": "http"}
    assert sample("andon_events_total", {**common, "outcome": "stored"}) == 4
    assert sample("andon_events_total", {**common, "outcome": "duplicate"}) == 2
    assert sample("andon_events_total", {**common, "outcome": "rejected"}) == 1
    assert sample("andon_events_batch_size_count", common) == 2
    assert sample("andon_events_batch_size_sum", common) == 7


def test_what_comes_late_is_counted_by_how_late():
    """A histogram; an event ahead of our clock is not late."""
    meters = EventMetrics()
    now = 1_000 * HOUR
    meters.lag("factory", "mqtt", now, [now - 2 * SECOND, now - HOUR, now + MINUTE])
    meters.lag("factory", "mqtt", now, [now - 10_000 * SECOND])
    labels = {"kind": "factory", "source": "mqtt"}
    sample = meters.registry.get_sample_value
    buckets = {
        edge: sample("andon_events_lag_seconds_bucket", {**labels, "le": edge})
        for edge in ("1.0", "5.0", "1800.0", "7200.0", "28800.0", "+Inf")
    }
    assert list(buckets.values()) == [1, 2, 2, 3, 4, 4]
    assert sample("andon_events_lag_seconds_sum", labels) == 2 + 3600 + 10_000


def test_families_start_at_zero_and_mqtt_has_some_only_where_it_is_set():
    """A family without a sample looks like a broken installation, as does a broker never set."""
    meters = EventMetrics()
    before = generate_latest(meters.registry).decode()
    assert 'andon_events_total{kind="telemetry",outcome="stored",source="http"} 0.0' in before
    assert "mqtt" not in before
    meters.mqtt()
    meters.mqtt()
    after = generate_latest(meters.registry).decode()
    assert "andon_events_mqtt_connected 0.0" in after
    assert 'andon_events_rejected_messages_total{reason="unreadable"} 0.0' in after


def test_what_waits_is_asked_for_at_the_scrape():
    """No counter to keep in step."""
    meters = EventMetrics()
    waiting = [7]
    meters.wait_with(lambda: waiting[0])
    assert meters.registry.get_sample_value("andon_events_waiting") == 7


def test_the_last_hour_of_the_floor_is_what_the_definitions_say(db: Database):
    """The factory, every worker, every station; who is where now."""
    register(db)
    db.workers.add("W9")
    now = now_micros()
    told = [
        state("working", now - 90 * MINUTE, "W1", "S1"),
        state("idle", now - 25 * MINUTE, "W1", "S1"),
        state("working", now - 10 * MINUTE, "W2", "S2"),
        units(40, now - 5 * MINUTE, "W2", "S2"),
        state("absent", now - 50 * MINUTE, "W3", "S3"),
    ]
    ingest(db, told)
    found = values(db)
    at_scrape = now_micros()
    should = metrics(told, at_scrape - HOUR, at_scrape)
    near = pytest.approx
    whole = should["factory"]
    assert found["andon_factory_active_seconds{}"] == near(whole["productive"], abs=2)
    assert found["andon_factory_utilization_ratio{}"] == near(whole["utilization"], abs=0.01)
    assert found["andon_factory_units{}"] == whole["production"] == 40
    assert found["andon_factory_production_rate{}"] == near(whole["production_rate"], rel=0.01)
    worker, station = should["workers"]["W1"], should["workstations"]["S1"]
    assert found["andon_factory_worker_active_seconds{W1}"] == near(worker["active"], abs=2)
    assert found["andon_factory_worker_utilization_ratio{W1}"] == near(
        worker["utilization"], abs=0.01
    )
    assert found["andon_factory_worker_units{W2}"] == 40
    assert found["andon_factory_workstation_occupancy_seconds{S1}"] == near(
        station["occupancy"], abs=2
    )
    assert {name: found[f"andon_factory_workers{{{name}}}"] for name in (
        "working", "idle", "absent", "unknown")} == {
        "working": 1, "idle": 1, "absent": 0, "unknown": 2,
    }  # fmt: skip
    newest = found["andon_factory_last_event_timestamp_seconds{}"]
    assert newest == (now - 5 * MINUTE) / SECOND


def test_the_last_hour_of_the_eyes(db: Database):
    """Measurements, the drowsy share, the mean, the newest."""
    with db.write() as connection:
        db.telemetry.ingest(connection, measured(40, 10, 0.25))
    found = values(db)
    assert found["andon_drowsiness_events{}"] == 40
    assert found["andon_drowsiness_alert_ratio{}"] == 0.25
    assert found["andon_drowsiness_ear{}"] == pytest.approx(0.25)
    newest = found["andon_drowsiness_last_event_timestamp_seconds{}"]
    assert newest == pytest.approx(now_micros() / SECOND, abs=60)


def test_without_events_there_is_no_newest_and_no_mean(db: Database):
    """A zero would be drawn, and alerted on, like a measured one."""
    found = values(db)
    assert found["andon_factory_units{}"] == 0
    assert found["andon_drowsiness_events{}"] == 0
    absent_ones = [name for name in found if "last_event" in name or name.endswith("_ear{}")]
    assert absent_ones == []


def test_a_scrape_reads_the_database_once_in_a_while(
    sqlite_db: Database, monkeypatch: pytest.MonkeyPatch
):
    """Two scrapers at a time ask it once."""
    calls = []
    real = sqlite_db.factory.last
    monkeypatch.setattr(sqlite_db.factory, "last", lambda: calls.append(1) or real())
    registry = gauges(sqlite_db)
    first = generate_latest(registry)
    assert generate_latest(registry) == first
    assert len(calls) == 1


@pytest.mark.parametrize("error", [StorageFull("away"), ZeroDivisionError()])
def test_a_failing_database_costs_its_families_and_no_scrape(
    sqlite_db: Database, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    """The others are needed most when something fails."""

    def broken() -> None:
        raise error

    monkeypatch.setattr(sqlite_db.factory, "last", broken)
    registry = gauges(sqlite_db)
    EventMetrics(registry)
    text = generate_latest(registry).decode()
    assert "andon_events_total" in text
    assert "andon_factory" not in text


def test_series_are_bounded(sqlite_db: Database, monkeypatch: pytest.MonkeyPatch):
    """Ten thousand workers would be ten thousand series, scraped every few seconds."""
    monkeypatch.setattr(floor_gauges, "MOST_SERIES", 2)
    register(sqlite_db)
    found = values(sqlite_db)
    assert [name for name in found if name.startswith("andon_factory_worker_units")] == [
        "andon_factory_worker_units{W1}",
        "andon_factory_worker_units{W2}",
    ]


def test_promtool_finds_nothing_to_complain_about(sqlite_db: Database):
    """Names, types and help as Prometheus wants them."""
    if shutil.which("promtool") is None:
        absent("no promtool here: apt-get install prometheus")
    register(sqlite_db)
    ingest(sqlite_db, [state("working", now_micros() - MINUTE)])
    with sqlite_db.write() as connection:
        sqlite_db.telemetry.ingest(connection, measured(3, 1, 0.3))
    registry = gauges(sqlite_db)
    meters = EventMetrics(registry)
    meters.mqtt()
    meters.count("factory", "mqtt", stored=1)
    meters.lag("factory", "mqtt", now_micros(), [now_micros()])
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=generate_latest(registry),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_every_family_is_documented(sqlite_db: Database):
    """By its name, where people look for it."""
    registry = gauges(sqlite_db)
    EventMetrics(registry).mqtt()
    page = (ROOT / "docs" / "prometheus.md").read_text()
    names = set(re.findall(r"^# TYPE (\S+) ", generate_latest(registry).decode(), re.MULTILINE))
    assert len(names) > 20
    undocumented = [name for name in sorted(names) if f"`{name}`" not in page]
    assert [name for name in undocumented if not name.endswith("_created")] == []
