"""Prometheus numbers of what the floor sends: how much, from where, how late.

What the floor itself does (who works, how many units) is read at a scrape: `floor_gauges`.
"""

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

KINDS = ("factory", "telemetry")
OUTCOMES = ("stored", "duplicate", "rejected")

_BATCH = (1, 10, 50, 100, 500, 1_000, 5_000, 10_000)
# From "live" over "the camera was offline for a shift" to "a forgotten disk was replayed".
_LAG = (1.0, 5.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0, 28_800.0, 86_400.0, 604_800.0)


class EventMetrics:
    """The families of events, whatever way they came.

    Args:
        registry: Where the families are collected; a new one if None.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        self.events = Counter(
            "andon_events_total",
            "Events received, by what became of them.",
            ["kind", "source", "outcome"],
            registry=self.registry,
        )
        self.batch_size = Histogram(
            "andon_events_batch_size",
            "Events that came together in one request, chunk or message.",
            ["kind", "source"],
            buckets=_BATCH,
            registry=self.registry,
        )
        self.waiting = Gauge(
            "andon_events_waiting", "Events that wait to be written.", registry=self.registry
        )
        self._lag = _Lag()
        self.registry.register(self._lag)
        self._mqtt: MqttMetrics | None = None
        # Families without a sample yet look like a broken installation: start at zero.
        self.expect("http")

    def expect(self, source: str) -> None:
        """Show the series of a source before its first event."""
        for kind in KINDS:
            self.batch_size.labels(kind, source)
            for outcome in OUTCOMES:
                self.events.labels(kind, source, outcome)

    def count(
        self, kind: str, source: str, *, stored: int = 0, duplicates: int = 0, rejected: int = 0
    ) -> None:
        """Count what became of one request, chunk or message.

        Args:
            kind: "factory" or "telemetry".
            source: "http", "mqtt" or another way in.
            stored: Events that are new.
            duplicates: Events that were there already.
            rejected: Events that could not be used.
        """
        for outcome, number in zip(OUTCOMES, (stored, duplicates, rejected), strict=True):
            if number:
                self.events.labels(kind, source, outcome).inc(number)
        self.batch_size.labels(kind, source).observe(stored + duplicates + rejected)

    def lag(self, kind: str, source: str, received: int, timestamps: Iterable[int]) -> None:
        """Count how late stored events were.

        Args:
            kind: "factory" or "telemetry".
            source: The way they came.
            received: When they arrived, µs since 1970.
            timestamps: When they happened, µs since 1970; a moment ahead counts as no lag.
        """
        self._lag.add((kind, source), received, timestamps)

    def wait_with(self, waiting: Callable[[], int]) -> None:
        """Ask `waiting` at each scrape how many events wait to be written."""
        self.waiting.set_function(lambda: float(waiting()))

    def mqtt(self) -> "MqttMetrics":
        """The families of MQTT; there are none where no broker is set."""
        if self._mqtt is None:
            self._mqtt = MqttMetrics(self.registry)
            self.expect("mqtt")
        return self._mqtt


class MqttMetrics:
    """The families of the connection to the broker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connected = Gauge(
            "andon_events_mqtt_connected",
            "1 while connected to the MQTT broker and subscribed.",
            registry=registry,
        )
        self.reconnects = Counter(
            "andon_events_mqtt_reconnects_total",
            "Connections made to the MQTT broker after the first.",
            registry=registry,
        )
        self.waiting = Gauge(
            "andon_events_mqtt_waiting_messages",
            "MQTT messages received and not yet acknowledged.",
            registry=registry,
        )
        self.rejected = Counter(
            "andon_events_rejected_messages_total",
            "MQTT messages kept aside, wholly or in part, by reason.",
            ["reason"],
            registry=registry,
        )
        self.dropped = Counter(
            "andon_events_mqtt_dropped_messages_total",
            "MQTT messages given up because too many waited; those of QoS 1 come again.",
            ["qos"],
            registry=registry,
        )
        for reason in ("topic", "unreadable", "too_large", "events", "unstorable"):
            self.rejected.labels(reason)
        for qos in ("0", "1"):
            self.dropped.labels(qos)


class _Lag(Collector):
    """A histogram that takes a thousand values in one turn: a batch may bring them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._edges = [int(edge * 1_000_000) for edge in _LAG]
        self._counts: dict[tuple[str, str], list[int]] = {}
        self._sums: dict[tuple[str, str], int] = {}

    def add(self, labels: tuple[str, str], received: int, timestamps: Iterable[int]) -> None:
        """Count events (one at least) that happened at `timestamps`, arrived at `received`, µs."""
        edges = self._edges
        with self._lock:
            counts = self._counts.setdefault(labels, [0] * (len(edges) + 1))
            total = self._sums.get(labels, 0)
            lags = [max(0, received - timestamp) for timestamp in timestamps]
            total += sum(lags)
            # What came together is mostly as late together: one look for all of it.
            place = bisect_left(edges, min(lags))
            if place == bisect_left(edges, max(lags)):
                counts[place] += len(lags)
            else:
                for lag in lags:
                    counts[bisect_left(edges, lag)] += 1
            self._sums[labels] = total

    def collect(self) -> Iterator[Metric]:
        """The family, for Prometheus."""
        family = HistogramMetricFamily(
            "andon_events_lag_seconds",
            "From an event's own time to its arrival; events sent late count as late.",
            labels=["kind", "source"],
        )
        with self._lock:
            for labels, counts in self._counts.items():
                reached = 0
                buckets: list[tuple[str, float]] = []
                for edge, count in zip((*(str(one) for one in _LAG), "+Inf"), counts, strict=True):
                    reached += count
                    buckets.append((edge, reached))
                family.add_metric(labels, buckets, self._sums[labels] / 1_000_000)
        yield family
