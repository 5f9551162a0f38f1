"""Loaded versions: who may use one, and when it may be closed.

A slot is held while a request runs on it. Taking it out of service stops new holders; it
is closed when the last one has let go, so that a switch costs nobody an answer.
"""

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from andon.errors import Unavailable
from andon.runtimes.base import LoadedModel
from andon.runtimes.tabular import TabularModel
from andon.serving.metrics import VersionMeters
from andon.serving.row_answers import Judge
from andon.serving.tripwire import Watched
from andon.store.records import ModelVersion

Result = TypeVar("Result")

_QUICK_MS = 0.3
"""A model that answers a row sooner may run on the event loop: waking a thread takes longer."""


# How often a slot that is being emptied is looked at, seconds.
_LOOK = 0.25


class Superseded(Unavailable):
    """The slot was closed with this request still on it; another may answer it."""

    def __init__(self) -> None:
        super().__init__(
            "The version was taken out of service with the request still waiting for it.",
            hint="Send it again.",
        )


class SlotState(msgspec.Struct, frozen=True):
    """What serves a model, for people and health checks.

    Attributes:
        version: The version that is active by the registry, or None.
        serving: The version that is loaded and answers, or None.
        loaded: Whether the active version is the one that answers.
        since: When the loaded version took over, or None.
        problem: What is wrong, in sentences; empty when nothing is.
    """

    model: str
    version: int | None
    serving: int | None
    loaded: bool
    since: datetime | None
    problem: str


class Slot:
    """One loaded version with threads of its own.

    Args:
        version: The version's record when it was loaded.
        model: Ready to answer; closed by the slot.
        threshold: Confidence threshold where a request names none.
        meters: Where its numbers are counted.
        since: When it took over.
        watched: Where what its runs come to is noted.

    Attributes:
        tabular: The model where it takes rows, else None.
        judge: What makes answers of its probabilities; None of pictures.
        quick: Whether rows may be answered on the event loop.
        callers: Called with an error when the slot is given up under requests that run; each
            request adds one and takes it away again.
    """

    def __init__(
        self,
        version: ModelVersion,
        model: LoadedModel,
        *,
        threshold: float,
        meters: VersionMeters,
        since: datetime,
        watched: Watched,
    ) -> None:
        self.watched = watched
        self.callers: set[Callable[[BaseException], None]] = set()
        self.version = version
        self.model = model
        self.threshold = threshold
        self.meters = meters
        self.since = since
        self.tabular = model if isinstance(model, TabularModel) else None
        self.judge = None if self.tabular is None else Judge(version, self.tabular.schema)
        self.quick = self.tabular is not None and self.tabular.row_ms < _QUICK_MS
        self.gray = model.description.channels == 1
        # One thread more than the model can use: it decodes the next picture meanwhile.
        self._pool = ThreadPoolExecutor(
            model.capacity + 1, thread_name_prefix=f"andon-{version.model}-v{version.version}"
        )
        self._condition = threading.Condition()
        self._in_flight = 0
        self._touched = time.monotonic()
        self._retired = False
        self._closed = False

    def retune(self, version: ModelVersion, threshold: float) -> None:
        """Take over a threshold that was set; what runs already may still use the old one."""
        self.version = version
        self.threshold = threshold
        if self.tabular is not None:
            self.judge = Judge(version, self.tabular.schema)

    @property
    def in_flight(self) -> int:
        """Requests that hold this slot."""
        return self._in_flight

    @property
    def idle_since(self) -> float:
        """`time.monotonic()` of its last use; infinity while a request holds it."""
        with self._condition:
            return math.inf if self._in_flight else self._touched

    @property
    def closed(self) -> bool:
        """Whether the model is closed; nobody holds the slot then."""
        return self._closed

    def hold(self) -> bool:
        """Keep the slot open for one request; False when it is being taken out of service."""
        with self._condition:
            if self._retired:
                return False
            self._in_flight += 1
            return True

    def release(self, _: object = None) -> None:
        """The request is done with the slot. (The argument lets futures call this.)"""
        with self._condition:
            self._in_flight -= 1
            self._touched = time.monotonic()
            if self._in_flight == 0:
                self._condition.notify_all()

    def submit(self, work: Callable[..., Result], /, *given: Any) -> "Future[Result]":
        """Run `work` on the slot's threads; lets go of the slot when that has ended.

        The caller holds the slot. Letting go is tied to the work and not to the caller,
        who may give up waiting while the model is still busy.

        Raises:
            Superseded: The slot was given up meanwhile.
        """
        try:
            future = self._pool.submit(work, *given)
        except RuntimeError:
            # Given up since it was held.
            self.release()
            raise Superseded from None
        future.add_done_callback(self.release)
        return future

    def abandon(self) -> None:
        """Give up what runs and waits on a model that hangs: callers get `Superseded`."""
        self.retire()
        # What waits is cancelled first, so that it does not start on a thread that gets free.
        self._pool.shutdown(wait=False, cancel_futures=True)
        for give_up in list(self.callers):
            give_up(Superseded())

    def retire(self) -> None:
        """Let nobody hold the slot any more."""
        with self._condition:
            self._retired = True

    def drain(self, timeout: float) -> bool:
        """Take the slot out of service and close it when the last request has ended.

        Where the model hangs nobody waits for it: requests are given up after some seconds.

        Args:
            timeout: Seconds to wait for requests; then the model is closed under them
                (they get an error).

        Returns:
            Whether every request had ended by itself.
        """
        self.retire()
        deadline = time.monotonic() + timeout
        while not (idle := self._empty(min(_LOOK, deadline - time.monotonic()))):
            if time.monotonic() >= deadline or self._hangs():
                self.abandon()
                break
        with self._condition:
            if self._closed:
                return idle
            self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.model.close()
        return idle

    def _empty(self, timeout: float) -> bool:
        with self._condition:
            return self._condition.wait_for(lambda: self._in_flight == 0, max(0.0, timeout))

    def _hangs(self) -> bool:
        tripped = self.watched.trip
        if tripped is not None and tripped.kind == "hang":
            return True
        return self.watched.hanging() is not None
