"""The way of one picture: admitted, run, logged, answered.

One hop to the threads of the version's slot (hash, cache, decode, infer, look at the picture),
then the group commit of the log row, then the answer. The picture is kept meanwhile. Nothing else
happens on this path.

Which version is asked, and what happens when it fails, is a *course*: a generator that says what
to wait for, so that threads and event loops follow the same one.
"""

import asyncio
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec
import structlog

from andon.errors import (
    AndonError,
    DeadlineExceeded,
    Saturated,
)
from andon.serving.answers import (
    Answer,
    Ask,
    side_by_side,
)
from andon.serving.fleet import Fleet
from andon.serving.metrics import ServingMetrics
from andon.serving.shadowing import Shadowing
from andon.serving.slots import Slot, Superseded
from andon.serving.traffic import CANARY, COMPARE, SHADOW, Split, Traffic
from andon.serving.working import ACTIVE, NOT_ITS_FAULT, Done, Working, no_memory, resolve
from andon.settings import Settings
from andon.store.database import Database
from andon.store.ids import uuid7
from andon.store.pictures import Pictures

log = structlog.get_logger("andon.serving")

Name = TypeVar("Name", str, str | None)
"""A model's name; None where the default is meant."""


# An answer waits so long for the candidate's it is compared with: seconds, and times what the
# answer itself took.
_COMPARE_PATIENCE = 1.0
_COMPARE_TIMES = 3.0


class _Hold(NamedTuple):
    """Of a course: wait for a slot, which is then held."""

    model: str
    version: int | None


class _Await(NamedTuple):
    """Of a course: wait for a result until a `time.monotonic()`."""

    future: "Future[Any]"
    deadline: float


class _Outcome(NamedTuple):
    """What a course came to, and what is to be done once the answer is on its way."""

    slot: Slot
    done: Done
    answer: Answer
    shadow: Callable[[], None] | None = None


_Steps = Generator[_Hold | _Await, Any, Any]
_Course = Generator[_Hold | _Await, Any, _Outcome]
_Ran = Generator[_Hold | _Await, Any, tuple[Slot, Done]]


class Answering(Working):
    """Answers pictures with the versions of a fleet.

    Args:
        db: Where the log is.
        settings: Limits and the default model.
        fleet: What is loaded.
        pictures: Where received pictures are kept.
        metrics: Where pictures are counted.

    Attributes:
        traffic: The candidates that are tried beside active versions.
        shadowing: Asks candidates behind the answers' backs.
    """

    def __init__(
        self,
        db: Database,
        settings: Settings,
        fleet: Fleet,
        pictures: Pictures,
        metrics: ServingMetrics,
    ) -> None:
        super().__init__(db, settings, fleet, pictures, metrics)
        self.traffic = Traffic(db, fleet, settings)
        self.shadowing = Shadowing(metrics.shadow_skipped, lambda: self._pending > 0)

    async def answer(
        self,
        data: bytes,
        *,
        image_name: str,
        model: str | None = None,
        version: int | None = None,
        threshold: float | None = None,
        subject: str | None = None,
        request_id: str | None = None,
        source: str = "api",
        keep: bool = True,
        prediction_id: str | None = None,
        camera: str | None = None,
    ) -> Answer:
        """Answer one picture; it is in the log, durably, when this returns.

        Args:
            data: JPEG, PNG or BMP file.
            image_name: What the caller calls it.
            model: Registered model; None is the default model.
            version: A version to ask instead of the active one.
            threshold: Lowest confidence to answer, 0 to 1; None is the version's own.
            subject: What the picture shows (a board's serial number), for the log.
            request_id: The caller's id, for the log.
            source: Who asks: "api", "job", "cli", "python", "dashboard".
            keep: Whether to keep the picture for the annotated view.
            prediction_id: A UUIDv7 fixed beforehand; None makes a new one.
            camera: Id of the camera that took it; None says that none did.

        Raises:
            UnusableUpload, UnsupportedMedia, TooLarge: It is no picture that can be used.
            Saturated: Too many pictures are waiting already.
            DeadlineExceeded: It was not answered within `request_timeout`.
            ModelNotLoaded, NotFound: Nothing answers for this model or version.
            RuntimeFailed: The model crashed or answered garbage.
            StorageFull: The log cannot take the row, so nothing was acknowledged.
        """
        ask = self._ask(
            data, image_name, threshold, subject, request_id, source, keep, prediction_id, camera
        )
        course = self._course(ask, model or self.settings.default_model, version)
        outcome: _Outcome = await self._follow(course)
        # Counted in the loop's next round: the answer is on its way by then.
        asyncio.get_running_loop().call_soon(self._finish, outcome)
        return outcome.answer

    def answer_sync(
        self,
        data: bytes,
        *,
        image_name: str,
        model: str | None = None,
        version: int | None = None,
        threshold: float | None = None,
        subject: str | None = None,
        request_id: str | None = None,
        source: str = "python",
        keep: bool = True,
        prediction_id: str | None = None,
        camera: str | None = None,
    ) -> Answer:
        """The same as `answer`, for threads without an event loop."""
        ask = self._ask(
            data, image_name, threshold, subject, request_id, source, keep, prediction_id, camera
        )
        course = self._course(ask, model or self.settings.default_model, version)
        outcome: _Outcome = self._follow_sync(course)
        self._finish(outcome)
        return outcome.answer

    # -- Courses ------------------------------------------------------------------------

    async def _follow(self, course: _Steps) -> Any:
        """Follow a course on an event loop; what it comes to."""
        try:
            step = next(course)
            while True:
                try:
                    if isinstance(step, _Hold):
                        found: Any = await hold_later(self.fleet.hold, step.model, step.version)
                    else:
                        async with asyncio.timeout(step.deadline - time.monotonic()):
                            found = await asyncio.wrap_future(step.future)
                except BaseException as error:
                    step = course.throw(error)
                else:
                    step = course.send(found)
        except StopIteration as end:
            return end.value

    def _follow_sync(self, course: _Steps) -> Any:
        """The same on a thread."""
        try:
            step = next(course)
            while True:
                try:
                    if isinstance(step, _Hold):
                        found: Any = self.fleet.hold(step.model, step.version)
                    else:
                        found = self._wait(step)
                except BaseException as error:
                    step = course.throw(error)
                else:
                    step = course.send(found)
        except StopIteration as end:
            return end.value

    def _wait(self, step: _Await) -> Any:
        try:
            return step.future.result(max(0.0, step.deadline - time.monotonic()))
        except FutureTimeout:
            step.future.cancel()
            raise

    def _course(self, ask: Ask, model: str, version: int | None) -> _Course:
        """Which versions are asked, in which order."""
        split = None if version is not None else self.traffic.split(model)
        if split is None:
            slot, done = yield from self._ask_version(ask, model, version)
            return _Outcome(slot, done, done.answer)
        if ask.subject is None and ask.request_id is None and ask.prediction_id is None:
            ask = msgspec.structs.replace(ask, prediction_id=uuid7())
        candidate = self._candidate(split, model, ask)
        if candidate is None:
            slot, done = yield from self._ask_version(ask, model, None)
            return _Outcome(slot, done, done.answer)
        if split.mode == CANARY:
            found = yield from self._ask_canary(candidate, ask)
            if found is None:
                found = yield from self._ask_version(ask, model, None, forced=True)
            slot, done = found
            return _Outcome(slot, done, done.answer)
        if split.mode == COMPARE:
            return (yield from self._ask_both(candidate, ask, model))
        candidate.release()
        slot, done = yield from self._ask_version(ask, model, None)
        return _Outcome(slot, done, done.answer, partial(self._shadow, split, ask))

    def _candidate(self, split: Split, model: str, ask: Ask) -> Slot | None:
        """The candidate's slot, held, if it is to be asked about this picture."""
        if not split.candidate_for(ask.subject, ask.request_id or ask.prediction_id or ""):
            return None
        return self.hold_candidate(split, model)

    def hold_candidate(self, split: Split, model: str) -> Slot | None:
        """The candidate's slot, held; None where it may not be asked, or serves already."""
        slot = split.hold()
        active = self.fleet.slot(model)
        if slot is not None and active is not None and active.version.id == slot.version.id:
            slot.release()
            return None
        return slot

    def _ask_version(
        self, ask: Ask, model: str, version: int | None, *, forced: bool = False
    ) -> _Ran:
        """Ask the active version, or the one that was named.

        Where it is taken out of service with the request still waiting, its successor is asked.
        """
        while True:
            self._enter(forced=forced)
            try:
                slot = self.fleet.hold_loaded(model, version)
                if slot is None:
                    slot = yield _Hold(model, version)
                active = version is None or slot is self.fleet.slot(model)
                future = self._begin(slot, ask, ACTIVE if active else COMPARE)
            except Superseded:
                self._leave()
                forced = True
                continue
            except BaseException:
                self._leave()
                raise
            try:
                return slot, (yield _Await(future, ask.deadline))
            except TimeoutError:
                raise self._failed(slot, ask, self.late()) from None
            except MemoryError as error:
                raise self._failed(slot, ask, no_memory()) from error
            except Superseded as error:
                if time.monotonic() >= ask.deadline:
                    raise self._failed(slot, ask, error) from None
                forced = True
            except Exception as error:
                self._failed(slot, ask, error)
                raise

    def _ask_canary(
        self, slot: Slot, ask: Ask
    ) -> Generator[_Hold | _Await, Any, tuple[Slot, Done] | None]:
        """Ask the candidate, which is held; None where the active version is to answer instead."""
        patience = slot.watched.patience(self.tripwire.half_time)
        ask = msgspec.structs.replace(ask, deadline=min(ask.deadline, time.monotonic() + patience))
        try:
            self._enter()
        except BaseException:
            slot.release()
            raise
        try:
            future = self._begin(slot, ask, CANARY)
        except Superseded:
            self._leave()
            return None
        except BaseException:
            self._leave()
            raise
        why: Exception
        try:
            return slot, (yield _Await(future, ask.deadline))
        except NOT_ITS_FAULT as error:
            self._failed(slot, ask, error, CANARY)
            raise
        except TimeoutError:
            why = DeadlineExceeded(f"The canary did not answer within {patience:.1f} s.")
        except Exception as error:
            why = error
        self._failed(slot, ask, why, CANARY)
        self.fell_back(slot)
        return None

    def _ask_both(self, candidate: Slot, ask: Ask, model: str) -> _Course:
        """Ask both versions at once; the answer is the active one's."""
        beside = msgspec.structs.replace(ask, prediction_id=None, keep=False)
        other = self._beside(candidate, beside)
        slot, done = yield from self._ask_version(ask, model, None)
        if other is None:
            return _Outcome(slot, done, done.answer)
        # Waited for apart: giving up must not cancel what is to be logged.
        seen: Future[None] = Future()
        other.add_done_callback(lambda _: seen.set_result(None))
        patience = max(_COMPARE_PATIENCE, _COMPARE_TIMES * done.answer.latency_ms / 1000)
        answer = done.answer
        try:
            yield _Await(seen, min(ask.deadline, time.monotonic() + patience))
        except TimeoutError:
            return _Outcome(slot, done, answer)
        if other.exception() is None:
            sides = side_by_side(answer, other.result().answer)
            answer = msgspec.structs.replace(answer, comparison=sides)
        return _Outcome(slot, done, answer)

    def _beside(self, candidate: Slot, ask: Ask) -> "Future[Done] | None":
        """Ask a candidate, which is held, beside the active version; None where all is busy."""
        try:
            self._enter()
        except Saturated:
            candidate.release()
            return None
        try:
            future = self._begin(candidate, ask, COMPARE)
        except BaseException:
            self._leave()
            # The active version says what is wrong with the request.
            return None
        future.add_done_callback(partial(self._note, candidate, ask, COMPARE))
        return future

    def _shadow(self, split: Split, ask: Ask) -> None:
        """Ask the candidate what somebody else has answered; on the shadow's thread."""
        slot = split.hold()
        if slot is None:
            return
        ask = msgspec.structs.replace(
            ask,
            arrived=time.perf_counter(),
            deadline=time.monotonic() + self.settings.request_timeout,
            prediction_id=None,
            keep=False,
        )
        logged: Future[Done] = Future()
        logged.add_done_callback(partial(self._note, slot, ask, SHADOW))
        slot.submit(self._run, slot, ask, SHADOW, logged)
        try:
            logged.result(self.settings.request_timeout)
        except AndonError:
            return
        except FutureTimeout:
            # What it is too slow for is no answer, and is logged as such.
            resolve(logged, self.late())

    def _note(self, slot: Slot, ask: Ask, role: str, ran: "Future[Done]") -> None:
        """Log that a candidate nobody waits for has failed."""
        error = None if ran.cancelled() else ran.exception()
        if isinstance(error, Exception) and not isinstance(error, (*NOT_ITS_FAULT, Superseded)):
            self._failed(slot, ask, error, role)

    def fell_back(self, slot: Slot) -> None:
        """Count a request that the active version answers because this candidate did not."""
        version = slot.version
        self.metrics.canary_fallbacks.labels(version.model, f"v{version.version}").inc()

    def _finish(self, outcome: _Outcome) -> None:
        """What is left to do when the answer is on its way."""
        self._count(outcome.slot, outcome.done)
        if outcome.shadow is not None:
            self.shadowing.offer(outcome.slot.version.model, outcome.shadow)


async def hold_later(
    hold: Callable[[Name, int | None], Slot], model: Name, version: int | None
) -> Slot:
    """Hold a slot that must be loaded first, off the event loop."""
    loading = asyncio.ensure_future(asyncio.to_thread(hold, model, version))
    try:
        return await asyncio.shield(loading)
    except asyncio.CancelledError:
        # The thread cannot be stopped: what it comes to hold is let go by then.
        loading.add_done_callback(_let_go)
        raise


def _let_go(loading: "asyncio.Future[Slot]") -> None:
    if not loading.cancelled() and loading.exception() is None:
        loading.result().release()
