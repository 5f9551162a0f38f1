"""What the watch works with, as it sees it, and what it says of itself."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from andon.agent.diagnosis import Finding
from andon.agent.policy import Policy
from andon.monitoring.judging import Judgement
from andon.monitoring.performance import PerformanceWindow
from andon.monitoring.signals import Limits, Signal
from andon.serving.tripwire import Trip
from andon.store.records import Rollout


class Looks(Protocol):
    """`monitoring.monitor.Monitor`."""

    def look(self, model: str, limits: Limits) -> list[Signal]:
        """What is to be said of the active version."""

    def look_candidate(
        self, model: str, version: int, limits: Limits, since: datetime | None = None
    ) -> list[Signal]:
        """What is to be said of a version that gets a part of the traffic."""

    def no_candidate(self, model: str) -> None:
        """Forget what was said of a candidate."""

    def look_feeds(self) -> list[Signal]:
        """What is to be said of the feeds of events."""

    def windows(self) -> dict[str, PerformanceWindow]:
        """The newest window of each model."""

    def signals(self) -> list[Signal]:
        """Everything that the newest looks said."""

    def tell(self) -> None:
        """Let other processes know that."""

    def let_go(self) -> None:
        """Another process watches now."""


class Acts(Protocol):
    """`agent.agent.Agent`."""

    def handle(self, findings: Sequence[Finding], moment: datetime) -> object:
        """Decide about what was found."""

    def handle_judgement(
        self, rollout: Rollout, judgement: Any, moment: datetime | None = None
    ) -> object:
        """Act on the judgement of a canary."""

    def tick(self, moment: datetime) -> None:
        """Do what is due."""

    def trip(self, model: str, version: int, trip: Any) -> None:
        """Act at once on a version that crashes or hangs."""


class Trips(Protocol):
    """`serving.tripwire.Tripwire`."""

    def on_trip(self, callback: Callable[[Trip], None]) -> None:
        """Call for every trip."""

    def poll(self) -> list[Trip]:
        """Look for versions that hang."""


class Policies(Protocol):
    """`agent.policy.PolicyFile`."""

    def current(self) -> tuple[Policy, str]:
        """The policy in force, and what is wrong with the file."""


class Judges(Protocol):
    """`monitoring.judging.Judge`."""

    def look(self, rollout: Rollout) -> Judgement:
        """Judge a running rollout, and keep the judgement."""


class Shows(Protocol):
    """`monitoring.gauges.MonitoringGauges`."""

    def update(self, windows: Mapping[str, PerformanceWindow], signals: Iterable[Signal]) -> None:
        """Say what the newest looks found."""


class WatchStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Who watches, and how it goes.

    Attributes:
        enabled: Whether models are watched at all (`monitor`).
        holder: The process that watches; empty where none does.
        mine: Whether that is this one.
        since: Since when it does.
        last_look: When the models were last looked at, by whichever process.
        next_look: When that is due again, where this process watches.
        took_ms: What the last look of this process took; None before the first.
        problem: What goes wrong now, sentences; empty: nothing.
        problems: The same by stage.
        agent: What the agent does: "on", "dry-run" or "off".
        dry_run: Whether the agent only writes down what it would do.
    """

    enabled: bool
    holder: str
    mine: bool
    since: datetime | None
    last_look: datetime | None
    next_look: datetime | None
    took_ms: float | None
    problem: str
    problems: dict[str, str]
    agent: str
    dry_run: bool
