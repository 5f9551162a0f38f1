"""Looks at models: asks every detector, and remembers what the newest look said."""

import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any, Protocol

import structlog

from andon.errors import NotFound
from andon.monitoring.cameras import CameraDetector, Publish
from andon.monitoring.concept import ConceptDetector
from andon.monitoring.feeds import FeedDetector
from andon.monitoring.performance import PerformanceDetector, PerformanceWindow
from andon.monitoring.quality import QualityDetector
from andon.monitoring.shared import Shared
from andon.monitoring.signals import Issue, Limits, Signal, State, Watched
from andon.settings import Settings
from andon.store import clock
from andon.store.database import Database
from andon.store.records import ModelVersion

log = structlog.get_logger("andon.monitoring")


class Detector(Protocol):
    """Looks at one version."""

    def look(self, watched: Watched) -> list[Signal]:
        """What it says of it."""


class Monitor:
    """Looks at models and keeps the newest signals and windows.

    Args:
        db: The log.
        settings: Sizes of the windows.
        drift: Looks for drift; None: nobody does.
        publish: Is told the usual sharpness and picture size of a model, once they are known.
        shared: What the process that watches found, where that may be another one.
    """

    def __init__(
        self,
        db: Database,
        settings: Settings,
        drift: Detector | None = None,
        *,
        publish: Publish | None = None,
        shared: Shared | None = None,
    ) -> None:
        self._db = db
        self._shared = shared
        self._own = shared is None
        self._performance = PerformanceDetector(db, settings)
        self._feeds = FeedDetector(db, settings)
        self._detectors: dict[str, tuple[Issue, Detector]] = {
            "concept": (Issue.PERFORMANCE, ConceptDetector(db, settings)),
            "quality": (Issue.DATA_QUALITY, QualityDetector(db, settings)),
            "camera": (Issue.DATA_QUALITY, CameraDetector(db, publish)),
        }
        if drift is not None:
            self._detectors["drift"] = (Issue.DATA_DRIFT, drift)
        # One look at a time: a page that asks for one must not meet the clockwork's.
        self._looking = threading.Lock()
        self._lock = threading.Lock()
        self._windows: dict[str, PerformanceWindow] = {}
        self._signals: dict[tuple[str, str], list[Signal]] = {}
        # By detector and version what it fails with: a failure that lasts is written down once.
        self._failing: dict[tuple[str, int], str] = {}

    def look(self, model: str, limits: Limits) -> list[Signal]:
        """Look at the version that serves a model; nothing where none does.

        Args:
            model: Registered model's name.
            limits: Where its numbers turn bad.
        """
        active = self._db.models.active(model)
        if active is None:
            with self._lock:
                self._windows.pop(model, None)
                self._signals.pop(("model", model), None)
            return []
        version = self._db.models.get(model, active.version)
        watched = Watched(
            version=version,
            previous=self._previous(model, version),
            limits=limits,
            moment=clock.now(),
            since=version.deployed_date,
        )
        with self._looking:
            window, signals = self._see(watched)
        with self._lock:
            self._own = True
            if window is not None:
                self._windows[model] = window
            self._signals["model", model] = signals
        return signals

    def look_candidate(
        self, model: str, version: int, limits: Limits, since: datetime | None = None
    ) -> list[Signal]:
        """Look at a version that gets a part of the traffic.

        Args:
            model: Registered model's name.
            version: Its number.
            limits: Where its numbers turn bad.
            since: When it began to get traffic; None counts all of its answers.

        Raises:
            NotFound: There is no such version.
        """
        watched = Watched(
            version=self._db.models.get(model, version),
            previous=self._db.models.active(model),
            limits=limits,
            moment=clock.now(),
            since=since,
        )
        with self._looking:
            signals = self._see(watched)[1]
        with self._lock:
            self._signals["candidate", model] = signals
        return signals

    def no_candidate(self, model: str) -> None:
        """Forget what was said of a candidate that is none any more."""
        with self._lock:
            self._signals.pop(("candidate", model), None)

    def look_feeds(self) -> list[Signal]:
        """Look at the feeds of events."""
        with self._looking:
            signals = self._guarded(
                "stale_feed",
                Issue.DATA_QUALITY,
                lambda: self._feeds.look_feeds(clock.now()),
                None,
            )
        with self._lock:
            self._signals["feeds", ""] = signals
        return signals

    def windows(self) -> dict[str, PerformanceWindow]:
        """The newest window of each model that serves, by its name.

        Raises:
            AndonError: Another process watches, and the database cannot be asked.
        """
        with self._lock:
            if self._own or self._shared is None:
                return dict(self._windows)
        return dict(self._shared.newest().windows)

    def signals(self) -> list[Signal]:
        """Everything that the newest looks said; as `windows`."""
        with self._lock:
            if self._own or self._shared is None:
                return [one for signals in self._signals.values() for one in signals]
        return list(self._shared.newest().signals)

    def tell(self) -> None:
        """Let other processes know what the newest looks said; nothing where there are none.

        Raises:
            AndonError: The database does not take it.
        """
        if self._shared is not None:
            self._shared.tell(self.windows(), self.signals())

    def let_go(self) -> None:
        """Another process watches: what was seen here is old from now on."""
        if self._shared is None:
            return
        with self._lock:
            self._own = False
            self._windows.clear()
            self._signals.clear()

    def _previous(self, model: str, version: ModelVersion) -> ModelVersion | None:
        try:
            found = self._db.models.previous(model)
        except NotFound:
            return None
        return None if found is None or found.id == version.id else found

    def _see(self, watched: Watched) -> tuple[PerformanceWindow | None, list[Signal]]:
        """Ask every detector; one that fails says that it could not tell."""
        seen: list[PerformanceWindow] = []

        def performance() -> list[Signal]:
            window, signals = self._performance.see(watched)
            seen.append(window)
            return signals

        signals = self._guarded("error_rate", Issue.PERFORMANCE, performance, watched)
        for name, (issue, detector) in self._detectors.items():
            signals += self._guarded(name, issue, partial(detector.look, watched), watched)
        return (seen[0] if seen else None), signals

    def _guarded(
        self, name: str, issue: Issue, look: Callable[[], Iterable[Signal]], watched: Watched | None
    ) -> list[Signal]:
        about: dict[str, Any] = {}
        if watched is not None:
            about = {"model": watched.version.model, "version": watched.version.version}
        key = (name, 0 if watched is None else watched.version.id)
        try:
            found = list(look())
        except Exception as error:
            # Whatever goes wrong in one detector, the others still watch.
            told = str(error)[:300].strip().rstrip(".") or type(error).__name__
            kind = f"{type(error).__name__} {told}"
            if self._failing.get(key) != kind:
                self._failing[key] = kind
                log.exception("A detector failed.", detector=name, **about)
            return [
                Signal(
                    name=name,
                    issue=issue,
                    state=State.UNKNOWN,
                    summary=f"This could not be measured: {told}.",
                    **about,
                )
            ]
        if self._failing.pop(key, None) is not None:
            log.info("A detector works again.", detector=name, **about)
        return found
