"""Prometheus numbers of serving.

The `pcb_*` families carry the names, labels and buckets that existing dashboards query;
they count the default model. The `andon_*` families count every model, by `model` label.

`pcb_model_accuracy` and `pcb_drift_score` have no sample until something was measured:
a number nobody measured would be drawn, and alerted on, like a real one.
"""

import threading

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from andon.serving.cache import Known

_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Rows take less time than any picture.
_ALL_LATENCY = (0.00025, 0.0005, 0.001, 0.0025, *_LATENCY)
_CONFIDENCE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


class ServingMetrics:
    """The families, in a registry of their own (several platforms may share a process).

    Args:
        default_model: The model the `pcb_*` families count.
        registry: Where the families are collected; a new one if None.
    """

    def __init__(self, default_model: str, registry: CollectorRegistry | None = None) -> None:
        self.default_model = default_model
        self.registry = registry if registry is not None else CollectorRegistry()
        self._lock = threading.Lock()
        self._versions: dict[tuple[str, int], VersionMeters] = {}
        where = self.registry

        self.inferences = Counter(
            "pcb_inferences_total",
            "Pictures answered.",
            ["model_version", "status"],
            registry=where,
        )
        self.detections = Counter(
            "pcb_detections_total", "Things found.", ["model_version", "label"], registry=where
        )
        self.deployments = Counter(
            "pcb_model_deployments_total", "Deployments tried.", ["status"], registry=where
        )
        self.rollbacks = Counter(
            "pcb_model_rollbacks_total", "Returns to an earlier version.", registry=where
        )
        self.latency = Histogram(
            "pcb_inference_latency_seconds",
            "Time the model took for one picture.",
            ["model_version"],
            buckets=_LATENCY,
            registry=where,
        )
        self.confidence = Histogram(
            "pcb_confidence_score",
            "Confidence of what was found.",
            ["model_version"],
            buckets=_CONFIDENCE,
            registry=where,
        )
        self.active_version = Gauge(
            "pcb_active_model_version", "Version that serves; 0 for none.", registry=where
        )
        self.accuracy = Gauge(
            "pcb_model_accuracy",
            "Accuracy, 0 to 1; no sample while nothing was measured.",
            ["model_version"],
            registry=where,
        )
        self.drift = Gauge(
            "pcb_drift_score",
            "Variance of recent scores; no sample while nothing was measured.",
            ["model_version"],
            registry=where,
        )
        self.queue_size = Gauge(
            "pcb_inference_queue_size", "Queued asynchronous inferences.", registry=where
        )

        version = ["model", "model_version"]
        self.all_inferences = Counter(
            "andon_inferences_total",
            "Pictures and rows answered.",
            [*version, "status"],
            registry=where,
        )
        self.all_cached = Counter(
            "andon_cached_answers_total",
            "Pictures answered without running the model.",
            version,
            registry=where,
        )
        self.all_detections = Counter(
            "andon_detections_total", "Things found.", [*version, "label"], registry=where
        )
        self.all_latency = Histogram(
            "andon_inference_latency_seconds",
            "Time the model took for one picture or row.",
            version,
            buckets=_ALL_LATENCY,
            registry=where,
        )
        self.all_answer_latency = Histogram(
            "andon_answer_latency_seconds",
            "Time from a picture's or row's arrival to its finished answer, waiting included.",
            version,
            buckets=_ALL_LATENCY,
            registry=where,
        )
        self.all_deployments = Counter(
            "andon_model_deployments_total",
            "Deployments tried.",
            ["model", "status"],
            registry=where,
        )
        self.all_rollbacks = Counter(
            "andon_model_rollbacks_total",
            "Returns to an earlier version.",
            ["model"],
            registry=where,
        )
        self.all_active_version = Gauge(
            "andon_active_model_version",
            "Version that serves; 0 for none.",
            ["model"],
            registry=where,
        )
        self.pending = Gauge(
            "andon_inference_queue_size", "Pictures and rows that wait or run.", registry=where
        )
        self.saturated = Counter(
            "andon_saturated_total", "Requests turned away because all was busy.", registry=where
        )

        self.shadow_skipped = Counter(
            "andon_shadow_skipped_total",
            "Pictures and rows a shadow was not asked about because there was no time to spare.",
            ["model"],
            registry=where,
        )
        self.canary_fallbacks = Counter(
            "andon_canary_fallbacks_total",
            "Requests that the active version answered because the canary could not.",
            version,
            registry=where,
        )

        # Families without a sample yet look like a broken installation: start at zero.
        for status in ("success", "failed"):
            self.deployments.labels(status)
            self.all_deployments.labels(default_model, status)
        self.all_rollbacks.labels(default_model)
        self.serves(default_model, None)

    def version(self, model: str, number: int) -> "VersionMeters":
        """The meters of one version, the same object every time."""
        with self._lock:
            found = self._versions.get((model, number))
            if found is None:
                found = self._versions[model, number] = VersionMeters(self, model, number)
            return found

    def serves(self, model: str, number: int | None) -> None:
        """`number` answers for `model` from now on; None: nobody does."""
        self.all_active_version.labels(model).set(number or 0)
        if model == self.default_model:
            self.active_version.set(number or 0)

    def deployed(self, model: str, *, success: bool) -> None:
        """Count one deployment that was tried."""
        status = "success" if success else "failed"
        self.all_deployments.labels(model, status).inc()
        if model == self.default_model:
            self.deployments.labels(status).inc()

    def rolled_back(self, model: str) -> None:
        """Count one return to an earlier version."""
        self.all_rollbacks.labels(model).inc()
        if model == self.default_model:
            self.rollbacks.inc()


class VersionMeters:
    """The numbers of one version, looked up once and not per request."""

    def __init__(self, metrics: ServingMetrics, model: str, number: int) -> None:
        labels = (model, f"v{number}")
        short = labels[1]
        default = model == metrics.default_model
        self._success = [metrics.all_inferences.labels(*labels, "success")]
        self._error = [metrics.all_inferences.labels(*labels, "error")]
        self._latency = [metrics.all_latency.labels(*labels)]
        self._confidence = metrics.confidence.labels(short) if default else None
        self._answer_latency = metrics.all_answer_latency.labels(*labels)
        self._cached = metrics.all_cached.labels(*labels)
        if default:
            self._success.append(metrics.inferences.labels(short, "success"))
            self._error.append(metrics.inferences.labels(short, "error"))
            self._latency.append(metrics.latency.labels(short))
        self._metrics = metrics
        self._labels = labels
        self._default = default
        self._found: dict[str, list[Counter]] = {}

    def success(
        self,
        labels: list[str],
        scores: list[float],
        known: Known,
        latency_ms: float,
        *,
        cached: bool,
    ) -> None:
        """Count one answer.

        Args:
            labels: Label of every answered detection.
            scores: Their confidences.
            known: What the model said and took.
            latency_ms: From arrival to answer, milliseconds.
            cached: Whether the model was not run.
        """
        for counter in self._success:
            counter.inc()
        self._answer_latency.observe(latency_ms / 1000)
        if cached:
            self._cached.inc()
        else:
            said = known.inference
            seconds = (said.preprocess_ms + said.inference_ms + said.postprocess_ms) / 1000
            for histogram in self._latency:
                histogram.observe(seconds)
        for label in labels:
            for counter in self._counters(label):
                counter.inc()
        if self._confidence is not None:
            for score in scores:
                self._confidence.observe(score)

    def row(self, latency_ms: float, count: int = 1) -> None:
        """Count answered rows; `latency_ms` is that of each."""
        for counter in self._success:
            counter.inc(count)
        for _ in range(count):
            self._answer_latency.observe(latency_ms / 1000)

    def inference(self, seconds: float, count: int) -> None:
        """Count what the model took for each of `count` rows."""
        for histogram in self._latency:
            for _ in range(count):
                histogram.observe(seconds)

    def error(self, count: int = 1) -> None:
        """Count requests that got no answer."""
        for counter in self._error:
            counter.inc(count)

    def _counters(self, label: str) -> list[Counter]:
        found = self._found.get(label)
        if found is None:
            found = [self._metrics.all_detections.labels(*self._labels, label)]
            if self._default:
                found.append(self._metrics.detections.labels(self._labels[1], label))
            self._found[label] = found
        return found
