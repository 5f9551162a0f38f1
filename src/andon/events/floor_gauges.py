"""What the floor does, for Prometheus: read from the database when somebody scrapes.

Numbers of the last hour are gauges, for they fall as well as rise. A scrape never fails because
the database does: the families stay away for that scrape, so that no alert sees an old number.
"""

import threading
import time
from collections.abc import Iterator, Sequence

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from andon.errors import AndonError
from andon.events import factory
from andon.store.clock import now_micros
from andon.store.database import Database
from andon.store.factory_records import STATES

log = structlog.get_logger("andon.metrics")

MOST_SERIES = 200
"""Workers, and workstations, that get series of their own: the first by id."""

_HOUR = 3_600_000_000
_SECOND = 1_000_000
_FRESH_SECONDS = 10.0


class FloorGauges(Collector):
    """Reads the database, at most every ten seconds.

    Args:
        db: The database.
        registry: Where the families are collected.
    """

    def __init__(self, db: Database, registry: CollectorRegistry) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._families: list[Metric] = []
        self._read_at = -_FRESH_SECONDS
        registry.register(self)

    def describe(self) -> list[Metric]:
        """Nothing: asked when registering, where the database must not be needed."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The families, for Prometheus."""
        with self._lock:
            if time.monotonic() - self._read_at >= _FRESH_SECONDS:
                self._families = self._read()
                self._read_at = time.monotonic()
            families = self._families
        yield from families

    def _read(self) -> list[Metric]:
        moment = now_micros()
        try:
            return [
                *self._presence(moment),
                *self._work(moment),
                *self._drowsiness(moment),
            ]
        except AndonError as error:
            log.warning(f"The floor's metrics are missing: {error}")
        # Whatever it is, the other families of the scrape are worth more.
        except Exception:
            log.exception("The floor's metrics are missing")
        return []

    def _presence(self, moment: int) -> Iterator[Metric]:
        """Who is in which state now; who was not reported for too long is unknown."""
        current = self._db.factory.latest_states(moment)
        counts = dict.fromkeys(STATES, 0)
        for span in current.values():
            counts[span.event_type] += 1
        known = {worker.id for worker in self._db.workers.list(include_retired=False)}
        workers = GaugeMetricFamily(
            "andon_factory_workers",
            "Workers by present state; unknown: not reported within ANDON_FACTORY_MAX_GAP.",
            labels=["state"],
        )
        for state, count in counts.items():
            workers.add_metric([state], count)
        workers.add_metric(["unknown"], len(known - current.keys()))
        yield workers
        yield _last(
            "andon_factory_last_event_timestamp_seconds",
            "When the newest factory event happened.",
            self._db.factory.last(),
        )

    def _work(self, moment: int) -> Iterator[Metric]:
        """The last hour: the factory, each worker, each workstation."""
        hour = factory.Window(moment - _HOUR, moment)
        whole = factory.factory(self._db, hour)
        for name, meaning, value in (
            ("active_seconds", "Working time of all workers", whole.productive_seconds),
            ("utilization_ratio", "Mean of the workers' utilization", whole.utilization),
            ("units", "Units produced", whole.production),
            ("production_rate", "Units per hour of working time", whole.production_rate),
        ):
            yield GaugeMetricFamily(f"andon_factory_{name}", f"{meaning}, last hour.", value=value)
        yield from _series(
            "worker",
            ("active_seconds", "Working time, last hour."),
            [
                (one.worker_id, one.active_seconds, one.utilization, one.units)
                for one in factory.workers(self._db, hour)
                if one.retired_at is None or one.events
            ],
        )
        yield from _series(
            "workstation",
            ("occupancy_seconds", "Working and idle time of whoever was there, last hour."),
            [
                (one.workstation_id, one.occupancy_seconds, one.utilization, one.units)
                for one in factory.workstations(self._db, hour)
                if one.retired_at is None or one.events
            ],
        )

    def _drowsiness(self, moment: int) -> Iterator[Metric]:
        """The last hour of the eyes."""
        sums = self._db.telemetry.window(moment - _HOUR, moment)
        yield GaugeMetricFamily(
            "andon_drowsiness_events", "Measurements in the last hour.", value=sums.events
        )
        yield GaugeMetricFamily(
            "andon_drowsiness_alert_ratio",
            "Share of the last hour's measurements that were drowsy.",
            value=sums.drowsy / sums.events if sums.events else 0.0,
        )
        ear = GaugeMetricFamily(
            "andon_drowsiness_ear",
            "Mean eye aspect ratio of the last hour; no sample without measurements.",
        )
        if sums.average_ear is not None:
            ear.add_metric([], sums.average_ear)
        yield ear
        yield _last(
            "andon_drowsiness_last_event_timestamp_seconds",
            "When the newest measurement was taken.",
            self._db.telemetry.last(),
        )


def _series(
    level: str, duration: tuple[str, str], numbers: Sequence[tuple[str, float, float, int]]
) -> Iterator[Metric]:
    """Time, utilization and units of each worker or workstation.

    Args:
        level: "worker" or "workstation".
        duration: Name and meaning of the time.
        numbers: Id, seconds, share and units of each.
    """
    families = [
        GaugeMetricFamily(f"andon_factory_{level}_{name}", meaning, labels=[f"{level}_id"])
        for name, meaning in (
            duration,
            ("utilization_ratio", "Working time by working and idle time, last hour."),
            ("units", "Units produced, last hour."),
        )
    ]
    for name, *values in numbers[:MOST_SERIES]:
        for family, value in zip(families, values, strict=True):
            family.add_metric([name], value)
    yield from families


def _last(name: str, meaning: str, moment: int | None) -> Metric:
    """A time; no sample where there is none."""
    family = GaugeMetricFamily(name, meaning)
    if moment is not None:
        family.add_metric([], moment / _SECOND)
    return family
