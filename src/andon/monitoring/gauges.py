"""What monitoring measured, for Prometheus.

All of it is replaced at once after each look: a version that serves no more, or a number that
nobody knows any more, has no sample.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from andon.monitoring.performance import PerformanceWindow
from andon.monitoring.signals import Signal, State

_VERSION = ("model", "model_version")
_FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "andon_model_accuracy": (
        "Accuracy of the version that serves, 0 to 1, measured by labels or estimated.",
        (*_VERSION, "kind"),
    ),
    "andon_drift_score": (
        "Drift of the version that serves, as a multiple of its threshold.",
        _VERSION,
    ),
    "andon_model_error_ratio": ("Share of the newest answers that failed.", _VERSION),
    "andon_model_latency_seconds": (
        "Latency of the newest answers that were computed.",
        (*_VERSION, "quantile"),
    ),
    "andon_model_confidence": ("Mean confidence of the newest answers.", _VERSION),
    "andon_camera_sick": (
        "1 where a camera's newest pictures are not usable, else 0.",
        ("model", "camera"),
    ),
}

Samples = dict[str, dict[tuple[str, ...], float]]


class PlainGauges(Protocol):
    """The gauges of the default model that serving declares."""

    default_model: str
    accuracy: Gauge
    drift: Gauge


class MonitoringGauges(Collector):
    """The `andon_*` families of monitoring, and the `pcb_*` ones of the default model.

    Args:
        registry: Where the families are collected.
        plain: Where `pcb_model_accuracy` and `pcb_drift_score` are; None: nowhere.
    """

    def __init__(self, registry: CollectorRegistry, plain: PlainGauges | None = None) -> None:
        self._plain = plain
        self._lock = threading.Lock()
        self._samples: Samples = {}
        self._labelled: dict[str, str] = {}
        registry.register(self)

    def update(self, windows: Mapping[str, PerformanceWindow], signals: Iterable[Signal]) -> None:
        """Say what the newest looks found.

        Args:
            windows: Newest of each model that serves.
            signals: Newest ones.
        """
        samples: Samples = {}
        for window in windows.values():
            _add_window(samples, window)
        variance: dict[str, float] = {}
        for signal in signals:
            serves = signal.model in windows and windows[signal.model].version == signal.version
            if signal.name == "camera" and signal.state is not State.UNKNOWN:
                sick = float(signal.state is State.BAD)
                _add(samples, "andon_camera_sick", (signal.model, signal.subject), sick)
            elif signal.name == "drift" and signal.value is not None and serves:
                labels = (signal.model, f"v{signal.version}")
                _add(samples, "andon_drift_score", labels, signal.value)
            elif signal.name == "score_variance" and signal.value is not None and serves:
                variance[signal.model] = signal.value
        with self._lock:
            self._samples = samples
        self._update_plain(windows, variance)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The families, for a scrape."""
        with self._lock:
            samples = self._samples
        for name, (meaning, labels) in _FAMILIES.items():
            family = GaugeMetricFamily(name, meaning, labels=labels)
            for values, value in samples.get(name, {}).items():
                family.add_metric(values, value)
            yield family

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The families without samples."""
        for name, (meaning, labels) in _FAMILIES.items():
            yield GaugeMetricFamily(name, meaning, labels=labels)

    def _update_plain(
        self, windows: Mapping[str, PerformanceWindow], variance: Mapping[str, float]
    ) -> None:
        if self._plain is None:
            return
        window = windows.get(self._plain.default_model)
        found = None if window is None or window.accuracy is None else window.accuracy.value
        name = "" if window is None else f"v{window.version}"
        self._set("accuracy", self._plain.accuracy, name, found)
        # S0's drift score is the variance of unfiltered scores.
        self._set("drift", self._plain.drift, name, variance.get(self._plain.default_model))

    def _set(self, key: str, gauge: Gauge, label: str, value: float | None) -> None:
        """One sample, or none; the new one before the old one goes."""
        before = self._labelled.pop(key, None)
        if value is not None:
            gauge.labels(label).set(value)
            self._labelled[key] = label
        if before is not None and self._labelled.get(key) != before:
            gauge.remove(before)


def _add(samples: Samples, name: str, labels: tuple[str, ...], value: float) -> None:
    """Of two with the same labels, as of a camera that two versions see, the greater one."""
    family = samples.setdefault(name, {})
    family[labels] = max(value, family.get(labels, value))


def _add_window(samples: Samples, window: PerformanceWindow) -> None:
    labels = (window.model, f"v{window.version}")
    accuracy = window.accuracy
    if accuracy is not None and accuracy.value is not None:
        kind = "estimated" if accuracy.estimated else "measured"
        _add(samples, "andon_model_accuracy", (*labels, kind), accuracy.value)
    if window.error_rate is not None:
        _add(samples, "andon_model_error_ratio", labels, window.error_rate)
    if window.latency is not None:
        for quantile, value in (
            ("0.5", window.latency.p50),
            ("0.95", window.latency.p95),
            ("0.99", window.latency.p99),
        ):
            _add(samples, "andon_model_latency_seconds", (*labels, quantile), value / 1000)
    if window.confidence is not None:
        _add(samples, "andon_model_confidence", labels, window.confidence.mean)
