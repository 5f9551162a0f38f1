"""Notices within seconds that a version crashes or hangs, from what its requests come to.

Statistics need a window of answers; a version that answers nobody must be out before there is
one. Here only what is the model's fault counts: a crash, garbage, a run past its deadline. A bad
picture, a full queue or a full disk says nothing about a version.

Everything is in this process's memory; each process watches what it runs itself.
"""

import itertools
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import datetime

import msgspec
import structlog

from andon.errors import DeadlineExceeded, RuntimeFailed
from andon.settings import Settings
from andon.store.clock import now
from andon.store.records import ModelVersion

log = structlog.get_logger("andon.serving")

# So many outcomes are remembered, none older than these seconds.
_OUTCOMES = 20
_AGE = 600.0
# A crash: so many failures among them, and at least this share.
_FAILURES = 5
_SHARE = 0.5
# Or every one of its first so many.
_FIRST = 3
# A hang: a run that takes longer than this, and than this many times the usual, while no other
# one succeeds.
_PATIENCE = 3.0
_TIMES_USUAL = 20.0
# How fast what is usual follows what is seen.
_WEIGHT = 0.05
# Versions that are remembered.
_VERSIONS = 256


class Trip(msgspec.Struct, frozen=True):
    """A version that must not go on.

    Attributes:
        model: Registered model's name.
        version: Version number.
        version_id: Row id of the version.
        kind: "crash" (its runtime dies or talks nonsense), "hang" (it does not answer in time)
            or "errors" (anything else, such as a candidate that cannot be loaded).
        count: Failures, or runs that hang.
        of: Outcomes they are among; runs in flight where it hangs.
        since: When the first of them happened, or the oldest run began.
        summary: A sentence for people.
    """

    model: str
    version: int
    version_id: int
    kind: str
    count: int
    of: int
    since: datetime
    summary: str


class Watched:
    """The outcomes of one version. Made by `Tripwire.watch`.

    Its methods are called for every run and take about a microsecond: deques and dictionaries
    are changed in one step each, so there is no lock.
    """

    __slots__ = (
        "_fresh", "_last_success", "_number", "_outcomes", "_starts", "_tripwire",
        "_usual", "trip", "version",
    )  # fmt: skip

    def __init__(self, version: ModelVersion, tripwire: "Tripwire") -> None:
        self.version = version
        self.trip: Trip | None = None
        self._tripwire = tripwire
        # When, and None or what failed.
        self._outcomes: deque[tuple[float, str | None]] = deque(maxlen=_OUTCOMES)
        self._fresh = True
        self._starts: dict[int, float] = {}
        self._number = itertools.count()
        self._last_success = 0.0
        self._usual = 0.0

    def begin(self) -> int:
        """A run begins; hand the number to `success`, `failure` or `end`."""
        number = next(self._number)
        self._starts[number] = time.monotonic()
        return number

    def end(self, number: int) -> None:
        """A run is over, and what became of it is not the model's doing."""
        self._starts.pop(number, None)

    def success(self, number: int | None = None) -> None:
        """A run ended well."""
        moment = time.monotonic()
        if number is not None:
            began = self._starts.pop(number, None)
            if began is not None:
                took = moment - began
                self._usual += _WEIGHT * (took - self._usual) if self._usual else took
        self._last_success = moment
        self._fresh = False
        self._outcomes.append((moment, None))

    def failure(self, error: BaseException, number: int | None = None) -> None:
        """A run failed; whether that is the model's fault is found out here."""
        moment = time.monotonic()
        began = None if number is None else self._starts.pop(number, None)
        if isinstance(error, DeadlineExceeded):
            if began is not None and moment - began < self.patience(self._tripwire.half_time) / 2:
                # It was started when its time was almost over: too many wait.
                return
            kind = "hang"
        else:
            kind = "crash" if isinstance(error, RuntimeFailed) else "errors"
        self._outcomes.append((moment, kind))
        self._tripwire.judge(self)

    def reset(self) -> None:
        """It begins to serve, or to be tried: what was before counts no more."""
        self._outcomes.clear()
        # Runs of an earlier slot may still go on: they are not this one's.
        self._starts = {}
        self._fresh = True
        self.trip = None

    def failed(self, moment: float) -> Trip | None:
        """The trip that its failures amount to, or None."""
        recent = [one for one in list(self._outcomes) if one[0] > moment - _AGE]
        failures = [one for one in recent if one[1] is not None]
        count, total = len(failures), len(recent)
        first = self._fresh and count >= _FIRST
        if not first and (count < _FAILURES or count < _SHARE * total):
            return None
        kinds = [kind for _, kind in failures if kind is not None]
        kind = max(set(kinds), key=lambda one: (kinds.count(one), one))
        words = {
            "crash": "crashed or answered nonsense",
            "hang": "did not answer in time",
            "errors": "failed",
        }
        which = f"each of its first {count} runs" if first else f"{count} of its last {total} runs"
        return self._trip(kind, count, total, moment - failures[0][0], f"{words[kind]} in {which}")

    def hanging(self, moment: float | None = None) -> Trip | None:
        """The trip that its runs in flight amount to, or None."""
        starts = list(self._starts.values())
        if not starts:
            return None
        moment = time.monotonic() if moment is None else moment
        oldest = min(starts)
        waited = moment - oldest
        if waited <= self.patience() or self._last_success > oldest:
            return None
        return self._trip(
            "hang",
            len(starts),
            len(starts),
            waited,
            f"hangs: a run has been going on for {waited:.1f} s without an answer",
        )

    def report(self, kind: str, why: str) -> Trip:
        """A trip for a reason found elsewhere, such as that it cannot be loaded."""
        return self._trip(kind, 1, 1, 0.0, why)

    def patience(self, longest: float = float("inf")) -> float:
        """How long a run may take, seconds; `longest` where its usual time says more."""
        return min(max(_PATIENCE, _TIMES_USUAL * self._usual), longest)

    def _trip(self, kind: str, count: int, of: int, ago: float, what: str) -> Trip:
        version = self.version
        moment = now()
        return Trip(
            version.model,
            version.version,
            version.id,
            kind,
            count,
            of,
            datetime.fromtimestamp(moment.timestamp() - ago, moment.tzinfo),
            f"v{version.version} of model {version.model} {what}.",
        )


class Tripwire:
    """Watches every version that this process has loaded.

    Args:
        settings: The deadline of a request.
    """

    def __init__(self, settings: Settings) -> None:
        self.half_time = settings.request_timeout / 2
        """A run that took so long, seconds, has failed by its own fault."""
        self._lock = threading.Lock()
        self._watched: OrderedDict[int, Watched] = OrderedDict()
        self._at_once: list[Callable[[Trip], None]] = []
        self._later: list[Callable[[Trip], None]] = []

    def watch(self, version: ModelVersion) -> Watched:
        """What a version's runs are reported to: the same object every time."""
        with self._lock:
            found = self._watched.get(version.id)
            if found is None:
                found = self._watched[version.id] = Watched(version, self)
                while len(self._watched) > _VERSIONS:
                    self._watched.popitem(last=False)
            else:
                self._watched.move_to_end(version.id)
            return found

    def begin(self, version_id: int) -> int:
        """A run of a watched version begins."""
        return self._of(version_id).begin()

    def end(self, version_id: int, number: int) -> None:
        """It is over."""
        self._of(version_id).end(number)

    def success(self, version_id: int) -> None:
        """A run of a watched version ended well."""
        self._of(version_id).success()

    def failure(self, version_id: int, error: BaseException) -> None:
        """A run of a watched version failed."""
        self._of(version_id).failure(error)

    def tripped(self, version_id: int) -> Trip | None:
        """The trip of a version since it began to serve or to be tried, or None."""
        watched = self._watched.get(version_id)
        return None if watched is None else watched.trip

    def on_trip(self, callback: Callable[[Trip], None]) -> None:
        """Call `callback` once per trip, from a thread of its own."""
        self._later.append(callback)

    def at_once(self, callback: Callable[[Trip], None]) -> None:
        """Call `callback` once per trip, on the thread that noticed; it must be quick."""
        self._at_once.append(callback)

    def poll(self) -> list[Trip]:
        """Look for versions that hang; call it every second or so.

        Returns:
            The trips noticed now; each has been told to whoever wants to know.
        """
        moment = time.monotonic()
        with self._lock:
            watched = list(self._watched.values())
        found = []
        for one in watched:
            if one.trip is None and (trip := one.hanging(moment)) is not None:
                self._tell(one, trip)
                found.append(trip)
        return found

    def judge(self, watched: Watched) -> None:
        """Look at a version's failures after one more."""
        if watched.trip is None and (trip := watched.failed(time.monotonic())) is not None:
            self._tell(watched, trip)

    def report(self, version: ModelVersion, kind: str, why: str) -> None:
        """A version cannot go on for a reason found elsewhere. `why` ends a sentence about it."""
        watched = self.watch(version)
        if watched.trip is None:
            self._tell(watched, watched.report(kind, why))

    def _tell(self, watched: Watched, trip: Trip) -> None:
        with self._lock:
            if watched.trip is not None:
                return
            watched.trip = trip
        log.error(f"Tripwire: {trip.summary}", model=trip.model, kind=trip.kind)
        for callback in self._at_once:
            callback(trip)
        if self._later:
            threading.Thread(
                target=self._call, args=(trip,), name="andon-tripwire", daemon=True
            ).start()

    def _call(self, trip: Trip) -> None:
        for callback in self._later:
            try:
                callback(trip)
            # One that fails must not keep the others from acting.
            except Exception:
                log.exception("A trip could not be acted on", model=trip.model)

    def _of(self, version_id: int) -> Watched:
        with self._lock:
            return self._watched[version_id]
