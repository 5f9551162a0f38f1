"""What the agent works with, handed to it: it builds nothing of it and knows no platform."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from andon.agent.policy import PolicyFile
from andon.monitoring.signals import Signal
from andon.notify.alerting import Alerting
from andon.notify.notifier import Notifier
from andon.serving.deployment import Deployments
from andon.serving.engine import InferenceEngine
from andon.settings import Settings
from andon.store.database import Database
from andon.store.records import ModelVersion
from andon.training import catalog
from andon.training.watch import host_name


class Traffic(Protocol):
    """The part of the engine's traffic that is needed here."""

    def stop(self, model: str, status: str, outcome: str) -> object:
        """End the rollout of a model."""


@dataclass(frozen=True, kw_only=True)
class Means:
    """What the agent works with.

    Attributes:
        db: Actions, versions, alerts.
        settings: Where files go.
        deployments: Changes what serves.
        engine: What serves, and its traffic.
        policy: What may be done.
        notifier: Tells people.
        retrain: Queues a training; as `Platform.retrain`, with `run_id`.
        drift_report: Looks at drift now; its record has a `report_id`.
        validate: Runs the data checks on a version's window; a dict of JSON.
        signals: The newest of every detector.
        metrics: The metrics as Prometheus reads them.
        health: What `/health` says.
        windows: The newest performance window of each model, as plain values.
    """

    db: Database
    settings: Settings
    deployments: Deployments
    engine: InferenceEngine
    policy: PolicyFile
    notifier: Notifier
    retrain: Callable[..., Any]
    drift_report: Callable[[ModelVersion], Any]
    validate: Callable[[ModelVersion], dict[str, Any]]
    signals: Callable[[], list[Signal]]
    metrics: Callable[[], bytes] = field(default=lambda: b"")
    health: Callable[[], Any] = field(default=dict)
    windows: Callable[[], dict[str, Any]] = field(default=dict)

    @property
    def alerting(self) -> Alerting:
        """Raises alerts and tells them."""
        return Alerting(self.db, self.notifier)

    @property
    def traffic(self) -> Traffic:
        """Splits what comes between versions."""
        found: Traffic = self.engine.traffic
        return found

    def why_not_retrain(self, model: str) -> str:
        """Why a model cannot be trained again here; empty where it can."""
        known = catalog.known(model, self.settings) is not None
        host = host_name()
        if not known and self.db.training.newest_asked(model, source="cli", host=host) is None:
            return f"there is no recipe for {model}."
        if not catalog.is_available():
            return "the extra `train` is not installed."
        return ""
