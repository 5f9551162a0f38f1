"""Numbers about HTTP itself and about this process, in Prometheus' terms.

Routes are counted under their template, never under the path that was asked: a label per
path would let any caller fill the memory.
"""

import platform as machine

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

from andon import __version__

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class HttpMetrics:
    """Counts answers by route, method and status; times them by route."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "andon_http_requests_total",
            "HTTP requests answered. Status 499: the client left first.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._duration = Histogram(
            "andon_http_request_duration_seconds",
            "Time from the request's headers to the end of its answer.",
            ("route", "method"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        info = Gauge(
            "andon_build_info",
            "Always 1; the labels say what is running.",
            ("version", "python"),
            registry=self._registry,
        )
        info.labels(version=__version__, python=machine.python_version()).set(1)
        ProcessCollector(namespace="andon", registry=self._registry)
        # `labels()` takes a lock and builds a key; the few dozen children are kept instead.
        self._counted: dict[tuple[str, str, int], Counter] = {}
        self._timed: dict[tuple[str, str], Histogram] = {}

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer."""
        method = method if method in _METHODS else "OTHER"
        counter = self._counted.get((route, method, status))
        if counter is None:
            counter = self._requests.labels(route, method, str(status))
            self._counted[route, method, status] = counter
        counter.inc()
        timer = self._timed.get((route, method))
        if timer is None:
            timer = self._timed[route, method] = self._duration.labels(route, method)
        timer.observe(seconds)

    def text(self) -> bytes:
        """All families in the text format."""
        return generate_latest(self._registry)
