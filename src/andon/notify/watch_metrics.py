"""Prometheus numbers of watching and acting: alerts, notifications, who watches, actions.

Alerts, notifications that wait, and actions are read from the database when somebody scrapes, at
most every ten seconds: every server says the same, also one that does not watch. A scrape never
fails because the database does; these families stay away for that scrape.
"""

import threading
import time
from collections.abc import Iterator

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from andon.errors import AndonError
from andon.monitoring.signals import Issue
from andon.store.alerts import SEVERITIES, Alerts
from andon.store.database import Database
from andon.store.outbox import Outbox
from andon.store.tables import agent_actions

log = structlog.get_logger("andon.metrics")

ENDED = ("succeeded", "failed", "rejected", "expired")
"""Statuses of an action in which it stays: only these can be counted up."""

_ACTIONS = (
    "retrain_model",
    "rollback_model",
    "promote_model",
    "send_alert",
    "adjust_threshold",
    "collect_diagnostics",
    "validate_data",
    "generate_report",
)
_FRESH_SECONDS = 10.0
_OUTCOMES = ("sent", "failed", "given_up")
_TYPES = (*(str(issue) for issue in Issue), "camera", "rollback", "agent", "system")
_TOOK = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class WatchMetrics:
    """The families that this process counts itself, and those read from the database.

    Args:
        db: Read at a scrape.
        registry: Where the families are collected; a new one if None.
    """

    def __init__(self, db: Database, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        self.raised = Counter(
            "andon_alerts_raised_total",
            "Alerts that this server raised.",
            ["type", "severity"],
            registry=self.registry,
        )
        self.notifications = Counter(
            "andon_notifications_total",
            "Tries of this server to tell something over a channel besides the log.",
            ["channel", "outcome"],
            registry=self.registry,
        )
        self.leader = Gauge(
            "andon_watch_leader",
            "1 where this server watches and acts, 0 where another does.",
            registry=self.registry,
        )
        self.last_look = Gauge(
            "andon_watch_last_look_timestamp_seconds",
            "When this server last looked at the models; 0 while it never did.",
            registry=self.registry,
        )
        self.took = Histogram(
            "andon_watch_seconds",
            "Time one look at every model took, with what followed from it.",
            buckets=_TOOK,
            registry=self.registry,
        )
        # Families without a sample yet look like a broken installation: start at zero.
        for alert_type in _TYPES:
            for severity in SEVERITIES:
                self.raised.labels(alert_type, severity)
        self.leader.set(0)
        self.last_look.set(0)
        self.registry.register(_Stored(db))

    def expect(self, channel: str) -> None:
        """Show the series of a channel before its first notification."""
        for outcome in _OUTCOMES:
            self.notifications.labels(channel, outcome)

    def tried(self, channel: str, outcome: str) -> None:
        """Count one try; for `Notifier(observe=...)`."""
        self.notifications.labels(channel, outcome).inc()


class _Stored(Collector):
    """Reads the database, at most every ten seconds."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._families: list[Metric] = []
        self._read_at = -_FRESH_SECONDS
        self._complaint = ""

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
        try:
            found = [self._alerts(), self._waiting(), *self._actions()]
        except AndonError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                log.warning(f"The metrics of watching are missing: {error}")
        # Whatever it is, the other families of the scrape are worth more.
        except Exception:
            log.exception("The metrics of watching are missing")
        else:
            self._complaint = ""
            return found
        return []

    def _alerts(self) -> Metric:
        family = GaugeMetricFamily(
            "andon_alerts_open", "Alerts that are not resolved.", labels=["severity"]
        )
        counts = dict.fromkeys(SEVERITIES, 0)
        for (severity, status), count in Alerts(self._db).counts().items():
            if status != "resolved":
                counts[severity] += count
        for severity, count in counts.items():
            family.add_metric([severity], count)
        return family

    def _waiting(self) -> Metric:
        return GaugeMetricFamily(
            "andon_notifications_waiting",
            "Notifications that are not told yet.",
            value=Outbox(self._db).waiting(),
        )

    def _actions(self) -> Iterator[Metric]:
        columns = agent_actions.c
        query = select(columns.action_type, columns.status, func.count()).group_by(
            columns.action_type, columns.status
        )
        with self._db.read() as connection:
            counts = [(row[0], row[1], row[2]) for row in connection.execute(query)]
        ended = CounterMetricFamily(
            "andon_agent_actions_total",
            "Actions of the agent that are over, by what became of them.",
            labels=["type", "status"],
        )
        # A series that begins with its first failure would show no increase.
        found = {(kind, status): 0 for kind in _ACTIONS for status in ENDED}
        found |= {(kind, status): count for kind, status, count in counts if status in ENDED}
        for (kind, status), count in found.items():
            ended.add_metric([kind, status], count)
        yield ended
        yield GaugeMetricFamily(
            "andon_agent_approvals_pending",
            "Actions that wait for somebody's approval.",
            value=sum(count for _, status, count in counts if status == "pending"),
        )
