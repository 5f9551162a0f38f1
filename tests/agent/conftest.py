"""An agent on a real database: what serves is the database's word, people are told into a list."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from sqlalchemy import update
from tests.store.builders import add_version
from tests.store.conftest import (
    db,
    migrated_file,
    migrated_schema,
    postgres_db,
    postgres_server,
    postgres_url,
    sqlite_db,
    sqlite_path,
)

from andon.agent.agent import Agent
from andon.agent.means import Means
from andon.agent.policy import PolicyFile
from andon.errors import Conflict, ModelRejected, StorageFull
from andon.monitoring.signals import Issue, Signal, State
from andon.notify.notifier import Notifier
from andon.settings import Settings
from andon.store.database import Database
from andon.store.records import AgentAction, ModelVersion
from andon.store.tables import deployment_events

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Deployments:
    """What serves, as far as the database goes: no model is loaded."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.calls: list[str] = []
        self.broken: set[int] = set()
        self.full = False

    def rollback(self, model, reason="", actor="", *, to=None, action_id=None, instead_of=None):
        """Let `to` serve."""
        self.calls.append(f"rollback {model} {to}")
        if self.full:
            raise StorageFull("The database takes nothing.")
        if to in self.broken:
            raise ModelRejected(f"v{to} does not load.")
        self.db.models.set_active(
            model, to, event_type="ROLLBACK", reason=reason, actor=actor, action_id=action_id,
            instead_of=instead_of,
        )  # fmt: skip
        return self.db.models.get(model, to)

    def activate(self, model, version, reason="", actor="", *, action_id=None):
        """Let a version serve."""
        self.calls.append(f"activate {model} {version}")
        self.db.models.set_active(model, version, reason=reason, actor=actor, action_id=action_id)
        return self.db.models.get(model, version)

    def set_threshold(self, model, version, value, reason="", actor="", *, action_id=None):
        """Set a threshold."""
        self.calls.append(f"threshold {model} {version} {value}")
        self.db.models.set_threshold(
            model, version, value, reason=reason, actor=actor, action_id=action_id
        )
        return self.db.models.get(model, version)


class Traffic:
    """Ends rollouts in the database."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def stop(self, model, status="stopped", outcome=""):
        """End the running one."""
        running = self.db.rollouts.running(model)
        if running is None:
            raise Conflict("None runs.")
        return self.db.rollouts.end(running.id, status, outcome)


class Told(Notifier):
    """Remembers what it told."""

    def __init__(self, db: Database, settings: Settings) -> None:
        super().__init__(db, settings)
        self.events: list[tuple[str, dict[str, Any]]] = []

    def tell(self, event: str, data: dict[str, Any]) -> None:
        """Tell and remember."""
        msgspec.json.encode(data)
        self.events.append((event, data))
        super().tell(event, data)

    def told_with(self, event: str, data: dict[str, Any]) -> None:
        """Say and remember."""
        msgspec.json.encode(data)
        self.events.append((event, data))
        super().told_with(event, data)

    def named(self, event: str) -> list[dict[str, Any]]:
        """What was told of one kind."""
        return [data for name, data in self.events if name == event]


@dataclass
class Bench:
    """An agent and everything around it."""

    db: Database
    settings: Settings
    deployments: Deployments
    told: Told
    means: Means
    agent: Agent
    moment: datetime = NOON
    trained: list[dict[str, Any]] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)

    def versions(self, model: str = "pcb", count: int = 2) -> list[ModelVersion]:
        """So many versions, each activated by a person a day after the one before."""
        made = []
        for number in range(1, count + 1):
            add_version(self.db, model)
            self.activate(model, number)
            made.append(self.db.models.get(model, number))
        # Long ago: nothing is new any more.
        with self.db.write() as connection:
            connection.execute(
                update(deployment_events).values(timestamp=self.moment - timedelta(days=10))
            )
        return made

    def activate(self, model: str, number: int, actor: str = "anna") -> None:
        """A person lets a version serve."""
        self.db.models.set_active(model, number, actor=actor)

    def serving(self, model: str = "pcb") -> int:
        """The active version."""
        active = self.db.models.active(model)
        assert active is not None
        return active.version

    def policy(self, text: str) -> None:
        """Write the policy file."""
        self.settings.policy.write_text(text, encoding="utf-8")

    def handle(self, *findings) -> list[AgentAction]:
        """One look."""
        return self.agent.handle(list(findings), self.moment)

    def tick(self) -> None:
        """Do what is due."""
        self.agent.tick(self.moment)

    def later(self, **span: float) -> datetime:
        """Let time pass."""
        self.moment += timedelta(**span)
        return self.moment

    def actions(self, kind: str | None = None, model: str | None = None) -> list[AgentAction]:
        """Everything written down, oldest first."""
        return self.db.actions.page(action_type=kind, model=model, limit=500)[0][::-1]


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """A clock that stands until it is moved; every module of this room goes by it."""
    from andon.agent import agent, bundle, report, worker
    from andon.store import agent_actions, alerts, deployment_events, model_versions

    made = SimpleNamespace(now=NOON)
    for module in (agent, worker, report, bundle, agent_actions, model_versions):
        monkeypatch.setattr(module, "now", lambda: made.now)
    monkeypatch.setattr(worker, "steady", lambda: _seconds(made))
    for module in (alerts, deployment_events):
        monkeypatch.setattr(module, "now", lambda: made.now)
    return made


def _seconds(clock: SimpleNamespace) -> float:
    return clock.now.timestamp()


@pytest.fixture
def bench(sqlite_db, tmp_path, clock) -> Iterator[Bench]:
    """An agent on SQLite, with everything it needs."""
    yield from _bench(sqlite_db, tmp_path, clock)


@pytest.fixture
def any_bench(db, tmp_path, clock) -> Iterator[Bench]:
    """The same on SQLite and on PostgreSQL."""
    yield from _bench(db, tmp_path, clock)


def build(db: Database, home, **more: Any) -> Bench:
    """Everything around an agent; nothing runs by itself."""
    settings = Settings(home=home, _env_file=None)
    settings.home.mkdir(parents=True, exist_ok=True)
    deployments = Deployments(db)
    told = Told(db, settings)
    made: Bench

    def retrain(**asked):
        made.trained.append(asked)
        return db.training.create(
            model=asked["model"], recipe="heart-disease", options={}, source=asked["source"],
            actor=asked["actor"], reason=asked["reason"], run_id=asked["run_id"],
        )  # fmt: skip

    means = Means(
        db=db,
        settings=settings,
        deployments=deployments,
        engine=SimpleNamespace(traffic=Traffic(db)),
        policy=PolicyFile(settings.policy, settings),
        notifier=told,
        retrain=retrain,
        drift_report=lambda version: None,
        validate=lambda version: {"summary": f"v{version.version}: all is well.", "faults": []},
        signals=lambda: made.signals,
        **more,
    )
    made = Bench(db, settings, deployments, told, means, Agent(means, background=False))
    return made


def _bench(db, tmp_path, clock) -> Iterator[Bench]:
    made = build(db, tmp_path / "home")
    made.__class__ = type("Moving", (Bench,), {"moment": _moment(clock)})
    yield made
    made.agent.stop()


def _moment(clock: SimpleNamespace) -> property:
    def change(_bench: Bench, moment: datetime) -> None:
        clock.now = moment

    return property(lambda _bench: clock.now, change)


def signal(name: str = "error_rate", issue: Issue = Issue.PERFORMANCE, **given: Any) -> Signal:
    """A bad signal of the active version 2 of `pcb`."""
    values = {
        "state": State.BAD,
        "summary": f"The {name} is bad.",
        "model": "pcb",
        "version": 2,
        "value": 0.5,
        "threshold": 0.05,
        "count": 100,
        "needed": 30,
    }
    return Signal(name=name, issue=issue, **{**values, **given})


__all__ = [
    "NOON",
    "Bench",
    "build",
    "db",
    "migrated_file",
    "migrated_schema",
    "postgres_db",
    "postgres_server",
    "postgres_url",
    "signal",
    "sqlite_db",
    "sqlite_path",
]
