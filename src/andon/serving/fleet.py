"""The loaded versions: what answers for which model, and how that changes.

Every change goes through `swap`: the pointer moves first, the old slot is drained behind
it. Deployments and `refresh` hold `changing(model)` meanwhile, so that one model changes
hands once at a time; requests never wait for that lock.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import structlog

from andon.errors import AndonError, ModelNotLoaded, NotFound, Unavailable
from andon.registry.registry import ModelRegistry
from andon.runtimes.base import LoadedModel
from andon.runtimes.tabular import TabularModel
from andon.serving import proving
from andon.serving.answers import default_threshold
from andon.serving.metrics import ServingMetrics
from andon.serving.slots import Slot, SlotState
from andon.serving.tripwire import Tripwire
from andon.settings import Settings
from andon.store.clock import now
from andon.store.database import Database
from andon.store.records import ModelVersion

log = structlog.get_logger("andon.serving")

MAX_GUESTS = 2
"""Versions beside the active one that stay loaded for comparisons."""

GUEST_IDLE = 300.0
"""Seconds after which an unused guest gives its memory back."""

_DRAIN_MARGIN = 5.0


class Fleet:
    """One slot per model that serves, and a few guests.

    Args:
        db: Says which version is active.
        registry: Says where its file is and whether it is whole.
        settings: Threads, deadlines, the default model.
        metrics: Where versions are counted.

    Attributes:
        tripwire: Notices versions that crash or hang.
    """

    def __init__(
        self, db: Database, registry: ModelRegistry, settings: Settings, metrics: ServingMetrics
    ) -> None:
        self.lock = threading.Lock()
        self.tripwire = Tripwire(settings)
        self._db = db
        self._registry = registry
        self._settings = settings
        self._metrics = metrics
        self._slots: dict[str, Slot] = {}
        self._active: dict[str, int] = {}
        self._problems: dict[str, str] = {}
        self._changing: dict[str, threading.RLock] = {}
        self._guests: OrderedDict[int, Slot] = OrderedDict()
        self._pinned: dict[int, Slot] = {}
        self._guest_lock = threading.Lock()
        self._drains: list[threading.Thread] = []
        self._unloadable: set[tuple[int, datetime | None]] = set()
        self._seen: int | None = None
        self._serving = False
        self._stopped = False

    # -- Start and stop -----------------------------------------------------------------

    def start(self) -> None:
        """Load every active version; where one cannot be, an earlier good one serves."""
        self._serving = True
        self._stopped = False
        self._seen = self._db.data_version()
        active = self._db.models.all_active()
        for version in active:
            self._start(version)
        if self._settings.default_model not in {version.model for version in active}:
            log.warning("No active model found in database", model=self._settings.default_model)

    def stop(self) -> None:
        """Let running requests end, then close every model."""
        with self.lock:
            self._stopped = True
            leaving = list(self._slots.values())
            self._slots.clear()
        with self._guest_lock:
            leaving += [*self._guests.values(), *self._pinned.values()]
            self._guests.clear()
            self._pinned.clear()
        for slot in leaving:
            self._retire(slot)
        for thread in self._drains:
            thread.join()
        self._drains.clear()

    # -- Changing what serves -----------------------------------------------------------

    @contextmanager
    def changing(self, model: str) -> Iterator[None]:
        """Nobody else of this process changes what serves `model` meanwhile. Re-entrant."""
        with self._change_lock(model):
            yield

    def load(self, version: ModelVersion) -> LoadedModel:
        """Verify a stored version and load it.

        Raises:
            ModelDamaged: The file is missing or not what was registered.
            ModelRejected: It does not load.
        """
        return proving.load(self._registry.verify(version), version.options, self._settings)

    def swap(self, version: ModelVersion, loaded: LoadedModel) -> None:
        """Let `version` answer from now on; requests on the old one finish there.

        Args:
            version: Its record, after it was activated.
            loaded: Ready to answer; the fleet closes it.
        """
        slot = self._slot(version, loaded)
        slot.watched.reset()
        with self.lock:
            if self._stopped:
                old: Slot | None = slot
            else:
                old = self._slots.get(version.model)
                self._slots[version.model] = slot
                self._active[version.model] = version.version
                self._problems.pop(version.model, None)
        if old is not slot:
            self._metrics.serves(version.model, version.version)
            name = version.description.get("name") or loaded.description.name
            log.info(f"Model v{version.version} loaded successfully: {name}", model=version.model)
        if old is not None:
            self._retire(old)

    def unload(self, model: str) -> None:
        """Nobody answers for `model` any more; running requests finish."""
        with self.lock:
            old = self._slots.pop(model, None)
            self._active.pop(model, None)
            self._problems.pop(model, None)
        self._metrics.serves(model, None)
        if old is not None:
            self._retire(old)

    def forget(self, version_id: int) -> None:
        """Close a guest whose version is going away."""
        with self._guest_lock:
            guest = self._guests.pop(version_id, None)
        if guest is not None:
            self._retire(guest)

    def pin(self, version: ModelVersion) -> Slot:
        """Load a version beside the active one, to stay until it is unpinned. Not held.

        Raises:
            ModelDamaged, ModelRejected: It cannot be loaded.
            Unavailable: The server is shutting down.
        """
        with self._guest_lock:
            pinned = self._pinned.get(version.id)
            if pinned is not None:
                return pinned
        slot = self._slot(version, self.load(version))
        slot.watched.reset()
        with self._guest_lock:
            if not self._stopped and version.id not in self._pinned:
                self._pinned[version.id] = slot
                return slot
            faster = self._pinned.get(version.id)
        self._retire(slot)
        if faster is None:
            raise _closing()
        return faster

    def unpin(self, version_id: int) -> None:
        """Let a pinned version go; requests that run on it finish."""
        with self._guest_lock:
            slot = self._pinned.pop(version_id, None)
        if slot is not None:
            self._retire(slot)

    @property
    def serving(self) -> bool:
        """Whether this process is a server, which follows what others change."""
        return self._serving and not self._stopped

    def refresh(self) -> None:
        """Take over what another process activated; give up guests nobody asks for."""
        self._dismiss_idle_guests()
        # Read before the query: a change in between is seen again, never missed.
        token = self._db.data_version()
        if token == self._seen:
            return
        active = {version.model: version for version in self._db.models.all_active()}
        settled = True
        self._retune(list(active.values()))
        for model in active.keys() | self._slots.keys():
            if self._answers(model, active.get(model)):
                self._agree(model, active.get(model))
                continue
            lock = self._change_lock(model)
            # A deployment of this process is at work; it will have settled it next time.
            if not lock.acquire(blocking=False):
                settled = False
                continue
            try:
                self._follow(model)
            finally:
                lock.release()
        if settled:
            self._seen = token

    # -- Asking -------------------------------------------------------------------------

    def slot(self, model: str) -> Slot | None:
        """The slot that answers for `model`, or None. Not held: for looking, not for use."""
        return self._slots.get(model)

    def hold_loaded(self, model: str, version: int | None) -> Slot | None:
        """The active slot, held, if it is loaded and is the version asked for. Never waits."""
        while (slot := self._slots.get(model)) is not None:
            if version is not None and slot.version.version != version:
                return None
            if slot.hold():
                return slot
        return None

    def hold(self, model: str, version: int | None) -> Slot:
        """A slot that can answer, held; loads what is missing, so it may take seconds.

        Raises:
            NotFound: No such model or version.
            ModelNotLoaded: Nothing serves this model.
            ModelDamaged, ModelRejected: The version asked for cannot be loaded.
        """
        if self._stopped:
            raise _closing()
        held = self.hold_loaded(model, version)
        if held is not None:
            return held
        if version is not None:
            record = self._db.models.get(model, version)
            if not record.is_active:
                return self._guest(record)
        if not self._serving:
            self._load_active(model)
            held = self.hold_loaded(model, version)
            if held is not None:
                return held
        raise self._absent(model)

    def states(self) -> dict[str, SlotState]:
        """What serves each model that has, or should have, an active version."""
        if not self._serving:
            for version in self._db.models.all_active():
                self._active.setdefault(version.model, version.version)
        with self.lock:
            slots, problems, active = dict(self._slots), dict(self._problems), dict(self._active)
        states = {}
        for model in sorted(slots.keys() | problems.keys() | active.keys()):
            slot = slots.get(model)
            serving = None if slot is None else slot.version.version
            number = active.get(model)
            states[model] = SlotState(
                model=model,
                version=number,
                serving=serving,
                loaded=serving is not None and serving == number,
                since=None if slot is None else slot.since,
                problem=problems.get(model, ""),
            )
        return states

    # -- Inside -------------------------------------------------------------------------

    def _start(self, version: ModelVersion) -> None:
        """Load one active version, or find another that can serve."""
        with self.changing(version.model):
            try:
                self.swap(version, self.load(version))
            except AndonError as error:
                report_failed(version, error)
                self._fall_back(version, error)

    def _fall_back(self, broken: ModelVersion, error: AndonError) -> None:
        """Serve the most recently deployed version that still works."""
        model = broken.model
        for candidate in self._earlier(broken):
            try:
                loaded = self.load(candidate)
            except AndonError as worse:
                report_failed(candidate, worse)
                continue
            reason = f"v{broken.version} could not be loaded at start: {error.detail}"
            problem = f"{reason} v{candidate.version} serves instead."
            try:
                self._db.models.set_active(
                    model, candidate.version, event_type="ROLLBACK", reason=reason, actor="andon"
                )
            except AndonError as unwritten:
                # Serving beats bookkeeping; the next start will try again.
                problem += f" That could not be recorded: {unwritten.detail}"
            self.swap(self._db.models.get(model, candidate.version), loaded)
            self._trouble(model, problem)
            self._metrics.rolled_back(model)
            log.critical(f"Rolled back: {problem}", model=model)
            return
        with self.lock:
            self._active[model] = broken.version
        self._trouble(
            model, f"v{broken.version} is active but cannot be loaded: {error} Nothing serves."
        )
        self._metrics.serves(model, None)
        log.critical(
            f"No version of model {model} can serve: {error}",
            model=model,
            hint="Upload the model again, or activate another version.",
        )

    def _earlier(self, broken: ModelVersion) -> list[ModelVersion]:
        """Versions that served once, the latest first."""
        served = [
            (version.deployed_date, version)
            for version in self._db.models.list(broken.model)
            if version.deployed_date and not version.damaged and version.id != broken.id
        ]
        return [version for _, version in sorted(served, key=lambda pair: pair[0], reverse=True)]

    def _follow(self, model: str) -> None:
        """Bring one model in line with the database; the caller holds its change lock."""
        active = self._db.models.active(model)
        if self._answers(model, active):
            return
        if active is None:
            self.unload(model)
            log.warning("No active model found in database", model=model)
            return
        log.info(f"Model v{active.version} was activated by another process", model=model)
        newest, _ = self._db.events.page(model=model, event_type="ROLLBACK", limit=1)
        if newest and newest[0].timestamp == active.deployed_date:
            # Of a terminal or of another server: whoever scrapes this one should see it, too.
            self._metrics.rolled_back(model)
        try:
            self.swap(active, self.load(active))
        except AndonError as error:
            # Tried once per activation, not once per second.
            self._unloadable.add((active.id, active.deployed_date))
            report_failed(active, error)
            slot = self._slots.get(model)
            going = f" v{slot.version.version} goes on serving." if slot else " Nothing serves."
            with self.lock:
                self._active[model] = active.version
            self._trouble(model, f"v{active.version} cannot be loaded: {error}{going}")

    def _answers(self, model: str, active: ModelVersion | None) -> bool:
        """Whether nothing is left to do for `model`, given the active version."""
        slot = self._slots.get(model)
        if active is None:
            return slot is None
        if slot is not None and slot.version.id == active.id:
            return True
        return (active.id, active.deployed_date) in self._unloadable

    def retune(self, version: ModelVersion) -> None:
        """Take over the threshold that was set for a version, wherever it is loaded."""
        self._retune([version])

    def _retune(self, active: list[ModelVersion]) -> None:
        """Take over thresholds: of the versions given, and of the guests."""
        known = {version.id: version for version in active}
        with self._guest_lock:
            beside = [*self._guests.values(), *self._pinned.values()]
        for slot in [*self._slots.values(), *beside]:
            version = known.get(slot.version.id)
            if version is None:
                version = self._db.models.by_id(slot.version.id)
            if version.threshold != slot.version.threshold:
                slot.retune(version, self._threshold(version, slot.model))

    def _agree(self, model: str, active: ModelVersion | None) -> None:
        """Forget the trouble with another version once the one that serves is active again."""
        with self.lock:
            slot = self._slots.get(model)
            if active is None or slot is None or slot.version.id != active.id:
                return
            if self._active.get(model) != active.version:
                self._active[model] = active.version
                self._problems.pop(model, None)

    def _load_active(self, model: str) -> None:
        """Load the active version when it is first asked for (no server runs here)."""
        with self.changing(model):
            if model in self._slots:
                return
            version = self._db.models.active(model)
            if version is not None:
                self.swap(version, self.load(version))

    def _guest(self, record: ModelVersion) -> Slot:
        """A version that is not active, held."""
        with self._guest_lock:
            pinned = self._pinned.get(record.id)
            if pinned is not None and pinned.hold():
                return pinned
            guest = self._guests.get(record.id)
            if guest is not None and guest.hold():
                self._guests.move_to_end(record.id)
                return guest
            guest = self._slot(record, self.load(record))
            guest.hold()
            self._guests[record.id] = guest
            _, oldest = next(iter(self._guests.items()))
            if len(self._guests) > MAX_GUESTS:
                del self._guests[oldest.version.id]
                self._retire(oldest)
            return guest

    def _dismiss_idle_guests(self) -> None:
        limit = time.monotonic() - GUEST_IDLE
        with self._guest_lock:
            idle = [key for key, guest in self._guests.items() if guest.idle_since < limit]
            for key in idle:
                self._retire(self._guests.pop(key))

    def _slot(self, version: ModelVersion, loaded: LoadedModel) -> Slot:
        return Slot(
            version,
            loaded,
            threshold=self._threshold(version, loaded),
            meters=self._metrics.version(version.model, version.version),
            since=now(),
            watched=self.tripwire.watch(version),
        )

    def _threshold(self, version: ModelVersion, loaded: LoadedModel) -> float:
        if isinstance(loaded, TabularModel):
            # Measured in training; the installation's setting is about pictures.
            return loaded.schema.threshold if version.threshold is None else version.threshold
        return default_threshold(version, loaded.description, self._settings)

    def _retire(self, slot: Slot) -> None:
        """Close a slot behind the back of nobody: in a thread, when its requests have ended."""
        thread = threading.Thread(
            target=self._drain, args=(slot,), name=f"andon-drain-v{slot.version.version}"
        )
        self._drains = [other for other in self._drains if other.is_alive()] + [thread]
        thread.start()

    def _drain(self, slot: Slot) -> None:
        if not slot.drain(self._settings.request_timeout + _DRAIN_MARGIN):
            log.error(
                f"Model v{slot.version.version} was closed with requests still running",
                model=slot.version.model,
            )

    def _trouble(self, model: str, problem: str) -> None:
        with self.lock:
            self._problems[model] = problem

    def _change_lock(self, model: str) -> threading.RLock:
        with self.lock:
            return self._changing.setdefault(model, threading.RLock())

    def _absent(self, model: str) -> AndonError:
        """Why nobody answers for `model`."""
        problem = self._problems.get(model)
        known = model == self._settings.default_model or model in self._db.models.names()
        if not known:
            return NotFound(f"There is no model {model!r}.", hint="See the list of models.")
        return ModelNotLoaded(
            f"Model not properly initialized: {problem or f'model {model} has no active version.'}",
            hint="Deploy or activate a version.",
        )


def _closing() -> Unavailable:
    return Unavailable("The server is shutting down.", hint="Try again in a moment.")


def report_failed(version: ModelVersion, error: Exception) -> None:
    """Log that a version cannot be loaded. One sentence: the file is at fault, not the code."""
    log.error(f"Failed to load model v{version.version}: {error}", model=version.model)
