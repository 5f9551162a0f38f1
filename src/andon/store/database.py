"""The database as the rest of Andon sees it: one object, its repositories, its writer.

The methods at the end carry the names and shapes that scripts written for the replaced PCB
system use; each is a line or two over a repository.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from andon.errors import NotFound
from andon.store.agent_actions import AgentActions
from andon.store.alerts import Alerts
from andon.store.clock import now
from andon.store.connections import Connections
from andon.store.deployment_events import DeploymentEvents
from andon.store.drift_reports import DriftReferences, DriftReports
from andon.store.drowsiness_events import DrowsinessEvents
from andon.store.event_writer import EventWriter
from andon.store.factory_events import FactoryEvents
from andon.store.factory_totals import FactoryTotals
from andon.store.feedback import Feedback
from andon.store.ids import uuid7
from andon.store.jobs import Jobs
from andon.store.leases import Leases
from andon.store.metrics import Metrics
from andon.store.model_versions import ModelVersions
from andon.store.outbox import Outbox
from andon.store.predictions import Predictions
from andon.store.records import Event, ModelVersion, Prediction
from andon.store.rejected_messages import RejectedMessages
from andon.store.retention import Retention
from andon.store.rollouts import Rollouts
from andon.store.roster import Roster
from andon.store.schedules import Schedules
from andon.store.schema import VERSION_TABLE
from andon.store.tables import workers, workstations
from andon.store.training_runs import TrainingRuns
from andon.store.watch_state import WatchState
from andon.store.windows import Windows
from andon.store.writer import GroupWriter

_METRICS = ("accuracy", "avg_confidence", "avg_inference_time", "detection_count")


class Database(Connections):
    """An opened database, brought to the newest schema.

    Args:
        where: A path (SQLite) or an SQLAlchemy URL.
        default_model: The model meant by the methods that take a bare version number.
        commit_linger: Extra time a group commit waits for more rows, seconds.
        busy_timeout: Time to wait for another program's lock, seconds.
        max_gap: Longest time a state of a worker counts for, seconds; only used where the
            database does not say (`factory_totals.ensure_basis`).

    Raises:
        DatabaseDamaged: The file is not a database of Andon's, or is damaged. It is left alone.
        ConfigurationError: The URL cannot be used, or a newer Andon made the database.
        StorageFull: Locked by another program, unreachable, or no room to create it.
    """

    def __init__(
        self,
        where: Path | str,
        *,
        default_model: str = "pcb",
        commit_linger: float = 0.0,
        busy_timeout: float = 10.0,
        max_gap: float = 1800.0,
    ) -> None:
        super().__init__(where, busy_timeout=busy_timeout)
        self.default_model = default_model
        self.models = ModelVersions(self)
        self.predictions = Predictions(self)
        self.jobs = Jobs(self)
        self.events = DeploymentEvents(self)
        self.metrics = Metrics(self)
        self.writer = GroupWriter(self, linger=commit_linger)
        self.workers = Roster(self, workers)
        self.workstations = Roster(self, workstations)
        gap = max(1, round(max_gap * 1_000_000))
        self.factory = FactoryEvents(self, max_gap=gap)
        self.factory_totals = FactoryTotals(self, max_gap=gap)
        self.telemetry = DrowsinessEvents(self)
        self.rejected = RejectedMessages(self)
        self.feedback = Feedback(self)
        self.training = TrainingRuns(self)
        self.schedules = Schedules(self)
        self.windows = Windows(self)
        self.drift_reports = DriftReports(self)
        self.drift_references = DriftReferences(self)
        self.alerts = Alerts(self)
        self.outbox = Outbox(self)
        self.actions = AgentActions(self)
        self.rollouts = Rollouts(self)
        self.leases = Leases(self)
        self.watch_state = WatchState(self)
        self.retention = Retention(self)
        self.event_writer = EventWriter(
            self,
            {
                "factory": self.factory.ingest,
                "telemetry": lambda connection, rows, **_: self.telemetry.ingest(connection, rows),
            },
            linger=commit_linger,
        )

    def close(self) -> None:
        """Commit what waits in the writers and close every connection. Safe to call twice."""
        self.writer.close()
        self.event_writer.close()
        super().close()

    def check(self) -> None:
        """Ask the database something small, and whether the last rows could be written.

        Raises:
            DatabaseDamaged: The file was removed or replaced under the running program.
            StorageFull: It does not answer, or cannot take rows.
        """
        super().check()
        if self.writer.problem or self.event_writer.problem:
            # Perhaps it has passed, and only nobody has written since: write something.
            with self.write() as connection:
                connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = version_num")  # noqa: S608 - a constant
            self.writer.problem = self.event_writer.problem = ""

    def data_version(self) -> int:
        """A number that grows whenever a version was activated, by whatever process."""
        return self.events.last_id()

    # -- Names of the replaced system -----------------------------------------------------

    def register_model(self, filename: str, file_hash: str, notes: str = "") -> int:
        """Register a version of the default model; its number. The file is the caller's."""
        row = self.models.add(
            self.default_model,
            filename=filename,
            file_hash=file_hash,
            file_size=0,
            format=Path(filename).suffix.lstrip(".").lower() or "eim",
            source="python",
            notes=notes,
        )
        return row.version

    def activate_model(self, version: int) -> Event:
        """Make a version of the default model the only active one."""
        return self.models.set_active(self.default_model, version, actor="python")

    def get_active_model(self) -> ModelVersion | None:
        """The default model's active version, or None."""
        return self.models.active(self.default_model)

    def list_models(self) -> list[ModelVersion]:
        """The default model's versions, newest first."""
        return self.models.list(self.default_model)

    def log_inference(self, result: Any) -> str:
        """Log an answer and wait until it is on disk; its id.

        Args:
            result: Anything with `model_version`, `image_name`, `timestamp` (ISO 8601 or
                `datetime`), `detections`, `inference_time` (seconds), `confidence_scores`.

        Raises:
            NotFound: The default model has no such version.
        """
        version = self.models.get(self.default_model, int(_field(result, "model_version")))
        seconds = float(_field(result, "inference_time") or 0.0)
        detections = list(_field(result, "detections") or [])
        prediction_id = uuid7()
        self.writer.write(
            {
                "id": prediction_id,
                "model_id": version.id,
                "source": "python",
                "role": "active",
                "status": "success",
                "image_name": _field(result, "image_name"),
                "detections": detections,
                "confidence_scores": list(_field(result, "confidence_scores") or []),
                "detection_count": len(detections),
                "inference_time": seconds,
                "latency_ms": seconds * 1000.0,
                "created_at": _time(_field(result, "timestamp")),
            }
        ).result()
        return prediction_id

    def get_recent_inferences(self, version: int, limit: int = 100) -> list[Prediction]:
        """The newest answers of a version of the default model, newest first."""
        return self.predictions.recent(self.default_model, version, limit)

    def log_metrics(self, metrics: Any) -> None:
        """Record `accuracy`, `avg_confidence`, `avg_inference_time`, `detection_count`.

        Args:
            metrics: An object or mapping with `model_version` and any of those.

        Raises:
            NotFound: The default model has no such version.
        """
        version = self.models.get(self.default_model, int(_field(metrics, "model_version")))
        found = {name: _field(metrics, name) for name in _METRICS}
        values = {name: float(value) for name, value in found.items() if value is not None}
        self.metrics.add(version.id, values, at=_time(_field(metrics, "timestamp")))

    def log_deployment_event(
        self,
        version: int,
        type: str,  # noqa: A002 - the documented name
        reason: str = "",
        previous_version: int | None = None,
    ) -> Event:
        """Write an event of the default model into the history."""
        if not any(row.version == version for row in self.models.list(self.default_model)):
            raise NotFound(f"Version {version} of model {self.default_model} does not exist.")
        return self.events.add(
            self.default_model,
            version,
            type,
            reason=reason,
            previous_version=previous_version,
            actor="python",
        )


def _field(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def _time(value: Any) -> datetime:
    """A result's time. Those of the replaced system are naive local times: taken as such."""
    if value is None:
        return now()
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment.astimezone(UTC)
