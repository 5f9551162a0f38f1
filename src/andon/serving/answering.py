"""The way of one picture: admitted, run, logged, answered.

One hop to the threads of the version's slot (hash, cache, decode, infer), then the group
commit of the log row, then the answer. The picture is kept meanwhile. Nothing else
happens on this path.
"""

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from typing import Any, TypeVar

import msgspec
import structlog

from andon.errors import AndonError, DeadlineExceeded, Saturated, StorageFull, Unavailable
from andon.runtimes.images import decode
from andon.serving.answers import (
    Answer,
    Ask,
    check_threshold,
    failure_row,
    settle,
    success_row,
)
from andon.serving.cache import Known, ResultCache
from andon.serving.fleet import Fleet
from andon.serving.metrics import ServingMetrics
from andon.serving.slots import Slot
from andon.settings import Settings
from andon.store.clock import now
from andon.store.database import Database
from andon.store.ids import uuid7
from andon.store.pictures import Pictures

log = structlog.get_logger("andon.serving")

Name = TypeVar("Name", str, str | None)
"""A model's name; None where the default is meant."""


class _Done(msgspec.Struct, frozen=True):
    """An answer that is not in the log yet."""

    answer: Answer
    row: dict[str, Any]
    known: Known
    image_hash: str


class Answering:
    """Answers pictures with the versions of a fleet.

    Args:
        db: Where the log is.
        settings: Limits and the default model.
        fleet: What is loaded.
        pictures: Where received pictures are kept.
        metrics: Where pictures are counted.
    """

    def __init__(
        self,
        db: Database,
        settings: Settings,
        fleet: Fleet,
        pictures: Pictures,
        metrics: ServingMetrics,
    ) -> None:
        self.db = db
        self.settings = settings
        self.fleet = fleet
        self.pictures = pictures
        self.metrics = metrics
        self.cache = ResultCache(settings.result_cache_size)
        self._keeping = True
        self._pending = 0
        self._pending_lock = threading.Lock()
        metrics.pending.set_function(lambda: self._pending)

    def queue_size(self) -> int:
        """Pictures that wait or run at this moment."""
        return self._pending

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

        Raises:
            UnusableUpload, UnsupportedMedia, TooLarge: It is no picture that can be used.
            Saturated: Too many pictures are waiting already.
            DeadlineExceeded: It was not answered within `request_timeout`.
            ModelNotLoaded, NotFound: Nothing answers for this model or version.
            RuntimeFailed: The model crashed or answered garbage.
            StorageFull: The log cannot take the row, so nothing was acknowledged.
        """
        ask = self._ask(
            data, image_name, threshold, subject, request_id, source, keep, prediction_id
        )
        name = model or self.settings.default_model
        self._enter()
        try:
            slot = self.fleet.hold_loaded(name, version)
            if slot is None:
                slot = await hold_later(self.fleet.hold, name, version)
            future = self._begin(slot, ask, version)
        except BaseException:
            self._leave()
            raise
        try:
            async with asyncio.timeout(ask.deadline - time.monotonic()):
                done = await asyncio.wrap_future(future)
        except TimeoutError:
            raise self._failed(slot, ask, self._late()) from None
        except MemoryError as error:
            raise self._failed(slot, ask, _no_memory()) from error
        except Exception as error:
            self._failed(slot, ask, error)
            raise
        # Counted in the loop's next round: the answer is on its way by then.
        asyncio.get_running_loop().call_soon(self._count, slot, done)
        return done.answer

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
    ) -> Answer:
        """The same as `answer`, for threads without an event loop."""
        ask = self._ask(
            data, image_name, threshold, subject, request_id, source, keep, prediction_id
        )
        self._enter()
        try:
            slot = self.fleet.hold(model or self.settings.default_model, version)
            future = self._begin(slot, ask, version)
        except BaseException:
            self._leave()
            raise
        try:
            done = future.result(max(0.0, ask.deadline - time.monotonic()))
        except FutureTimeout:
            future.cancel()
            raise self._failed(slot, ask, self._late()) from None
        except MemoryError as error:
            raise self._failed(slot, ask, _no_memory()) from error
        except Exception as error:
            self._failed(slot, ask, error)
            raise
        self._count(slot, done)
        return done.answer

    # -- Inside ---------------------------------------------------------

    def _ask(
        self,
        data: bytes,
        image_name: str,
        threshold: float | None,
        subject: str | None,
        request_id: str | None,
        source: str,
        keep: bool,
        prediction_id: str | None,
    ) -> Ask:
        return Ask(
            data=data,
            image_name=image_name,
            threshold=threshold,
            subject=subject,
            request_id=request_id,
            source=source,
            keep=keep,
            prediction_id=prediction_id,
            arrived=time.perf_counter(),
            deadline=time.monotonic() + self.settings.request_timeout,
        )

    def _begin(self, slot: Slot, ask: Ask, version: int | None) -> "Future[_Done]":
        """Hand a picture that was let in to its slot, which is held."""
        try:
            check_threshold(ask.threshold, slot.model.description.task)
        except BaseException:
            slot.release()
            raise
        active = version is None or slot is self.fleet.slot(slot.version.model)
        logged: Future[_Done] = Future()
        ran = slot.submit(self._run, slot, ask, "active" if active else "compare", logged)
        # Tied to the work, like the slot: who gives up waiting frees no place.
        ran.add_done_callback(self._leave)
        ran.add_done_callback(partial(_given_up, logged))
        logged.add_done_callback(partial(_gone, ran))
        return logged

    def _run(self, slot: Slot, ask: Ask, role: str, logged: "Future[_Done]") -> None:
        """Answer one picture on a thread of the slot; `logged` is done once the row is on disk.

        The row goes to the writer from here: the caller is woken once, by the commit.
        """
        try:
            done = self._work(slot, ask, role)
            written = self.db.writer.write(done.row)
        except BaseException as error:
            _resolve(logged, error)
            return
        try:
            if ask.keep:
                # While the writer's thread waits for the disk: this one has nothing to do then, and
                # waking a third would cost the answer, for they all want Python's lock.
                self._keep(done.image_hash, ask.data, done.known.format)
        finally:
            written.add_done_callback(partial(_committed, logged, done))

    def _work(self, slot: Slot, ask: Ask, role: str) -> _Done:
        """Everything between a picture and its answer; runs on a thread of the slot."""
        if time.monotonic() >= ask.deadline:
            raise DeadlineExceeded(
                f"The picture waited {self.settings.request_timeout:g} s without being started.",
                hint="Send fewer pictures at a time.",
            )
        version = slot.version
        image_hash = hashlib.sha256(ask.data).hexdigest()
        known = self.cache.get(image_hash, version.id)
        cached = known is not None
        if known is None:
            picture = decode(ask.data, max_pixels=self.settings.max_image_pixels, gray=slot.gray)
            inference = slot.model.infer(picture, deadline=ask.deadline)
            known = Known(inference, picture.width, picture.height, picture.format)
            self.cache.put(image_hash, version.id, known)
        answer = settle(
            ask,
            known,
            version=version,
            description=slot.model.description,
            threshold=slot.threshold if ask.threshold is None else ask.threshold,
            prediction_id=ask.prediction_id or uuid7(),
            now=now(),
            latency_ms=(time.perf_counter() - ask.arrived) * 1000,
            cached=cached,
        )
        row = success_row(ask, answer, known, model_id=version.id, image_hash=image_hash, role=role)
        return _Done(answer, row, known, image_hash)

    def _keep(self, image_hash: str, data: bytes, picture_format: str) -> None:
        """Keep the picture. Losing one costs a view, so it never costs an answer."""
        kept = self.pictures.put(image_hash, data, picture_format)
        if kept is not self._keeping:
            self._keeping = kept
            if kept:
                log.info("Pictures are kept again", folder=self.pictures.folder)
            else:
                log.warning(
                    "Pictures are not kept any more: the disk is almost full",
                    folder=self.pictures.folder,
                )

    def _count(self, slot: Slot, done: _Done) -> None:
        answer = done.answer
        slot.meters.success(
            [found.label for found in answer.detections],
            answer.confidence_scores,
            done.known,
            answer.latency_ms,
            cached=answer.cached,
        )

    def _late(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"No answer within {self.settings.request_timeout:g} s.",
            hint="Send fewer pictures at a time, or raise ANDON_REQUEST_TIMEOUT.",
        )

    def _failed(self, slot: Slot, ask: Ask, error: Exception) -> Exception:
        """Count and log a picture that got no answer; the error to raise."""
        slot.meters.error()
        if isinstance(error, StorageFull):
            # It has said so itself, and has no room for another row.
            return error
        if not isinstance(error, AndonError) or error.status >= 500:
            log.warning(f"Prediction error: {error}", image_name=ask.image_name)
        row = failure_row(
            ask,
            error,
            model_id=slot.version.id,
            prediction_id=uuid7(),
            now=now(),
            latency_ms=(time.perf_counter() - ask.arrived) * 1000,
        )
        try:
            # Nobody waits for it: the caller gets the error, not an acknowledgement.
            self.db.writer.write(row)
        except AndonError:
            log.warning("A failed prediction could not be logged.", image_name=ask.image_name)
        return error

    # -- Admission ----------------------------------------------------------------------

    def _enter(self) -> None:
        with self._pending_lock:
            if self._pending < self.settings.queue_size:
                self._pending += 1
                return
        self.metrics.saturated.inc()
        raise Saturated(
            f"{self.settings.queue_size} requests are waiting already.",
            hint="Try again after the time in Retry-After.",
        )

    def _leave(self, _: object = None) -> None:
        with self._pending_lock:
            self._pending -= 1


def _resolve(logged: "Future[_Done]", outcome: "_Done | BaseException") -> None:
    """Tell the caller, unless it has gone."""
    if logged.done() or not logged.set_running_or_notify_cancel():
        return
    if isinstance(outcome, _Done):
        logged.set_result(outcome)
    else:
        logged.set_exception(outcome)


def _committed(logged: "Future[_Done]", done: _Done, written: "Future[None]") -> None:
    _resolve(logged, written.exception() or done)


def _given_up(logged: "Future[_Done]", ran: "Future[None]") -> None:
    """The slot was closed before the picture's turn came."""
    if ran.cancelled():
        error = Unavailable("The model was closed meanwhile.", hint="Send the picture again.")
        _resolve(logged, error)


def _gone(ran: "Future[None]", logged: "Future[_Done]") -> None:
    """The caller went away: a picture that has not begun need not be run."""
    if logged.cancelled():
        ran.cancel()


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


def _no_memory() -> Unavailable:
    return Unavailable(
        "There is not enough memory for this picture.",
        hint="Send a smaller picture, or give the machine more swap.",
    )
