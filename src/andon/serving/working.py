"""The work on one picture: admitted, run on a thread of its slot, looked at, logged.

Which version does it, and what happens when it fails, is `answering`'s.
"""

import hashlib
import threading
import time
from concurrent.futures import Future
from functools import partial
from typing import Any

import msgspec
import structlog

from andon.errors import (
    AndonError,
    DeadlineExceeded,
    InvalidRequest,
    RuntimeFailed,
    Saturated,
    StorageFull,
    TooLarge,
    Unavailable,
    UnsupportedMedia,
    UnusableUpload,
)
from andon.runtimes.base import Inference, Picture
from andon.runtimes.images import decode
from andon.serving import cameras
from andon.serving.answers import (
    Answer,
    Ask,
    check_threshold,
    failure_row,
    settle,
    success_row,
)
from andon.serving.cache import Known, ResultCache
from andon.serving.cameras import CameraHealth
from andon.serving.fleet import Fleet
from andon.serving.metrics import ServingMetrics
from andon.serving.slots import Slot, Superseded
from andon.serving.traffic import CANARY
from andon.settings import Settings
from andon.store.clock import now
from andon.store.database import Database
from andon.store.ids import uuid7
from andon.store.pictures import Pictures

log = structlog.get_logger("andon.serving")

ACTIVE = "active"

# What a candidate is not to blame for: the active version would say the same.
NOT_ITS_FAULT = (
    UnusableUpload,
    UnsupportedMedia,
    TooLarge,
    InvalidRequest,
    StorageFull,
    Saturated,
)


class Done(msgspec.Struct, frozen=True):
    """An answer that is not in the log yet."""

    answer: Answer
    row: dict[str, Any]
    known: Known
    image_hash: str


class Working:
    """Runs pictures on slots, and logs what comes of it.

    Args:
        db: Where the log is.
        settings: Limits.
        fleet: What is loaded.
        pictures: Where received pictures are kept.
        metrics: Where pictures are counted.

    Attributes:
        tripwire: Notices versions that crash or hang.
        cameras: Judges pictures.
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
        self.tripwire = fleet.tripwire
        self.cameras = CameraHealth(settings)
        self._keeping = True
        self._pending = 0
        self._pending_lock = threading.Lock()
        metrics.pending.set_function(lambda: self._pending)

    def queue_size(self) -> int:
        """Pictures that wait or run at this moment."""
        return self._pending

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
        camera: str | None,
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
            camera=camera,
        )

    def _begin(self, slot: Slot, ask: Ask, role: str) -> "Future[Done]":
        """Hand a picture that was let in to its slot, which is held."""
        try:
            check_threshold(ask.threshold, slot.model.description.task)
        except BaseException:
            slot.release()
            raise
        logged: Future[Done] = Future()
        ran = slot.submit(self._run, slot, ask, role, logged)
        # Tied to the work, like the slot: who gives up waiting frees no place.
        ran.add_done_callback(self._leave)
        ran.add_done_callback(partial(_given_up, logged))
        logged.add_done_callback(partial(_gone, ran))
        return logged

    def _run(self, slot: Slot, ask: Ask, role: str, logged: "Future[Done]") -> None:
        """Answer one picture on a thread of the slot; `logged` is done once the row is on disk.

        The row goes to the writer from here: the caller is woken once, by the commit.
        """
        give_up = partial(resolve, logged)
        slot.callers.add(give_up)
        try:
            done = self._work(slot, ask, role)
            slot.callers.discard(give_up)
            if logged.done() and not (role == ACTIVE and logged.cancelled()):
                # Given up meanwhile: another version has answered, or this one was too late.
                return
            written = self.db.writer.write(done.row)
        except BaseException as error:
            slot.callers.discard(give_up)
            resolve(logged, error)
            return
        try:
            if ask.keep:
                # While the writer's thread waits for the disk: this one has nothing to do then, and
                # waking a third would cost the answer, for they all want Python's lock.
                self._keep(done.image_hash, ask.data, done.known.format)
        finally:
            written.add_done_callback(partial(_committed, logged, done))

    def _work(self, slot: Slot, ask: Ask, role: str) -> Done:
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
            inference = _infer(slot, picture, ask.deadline)
            look = None
            if self.settings.monitor:
                look = cameras.look(picture.pixels, named=ask.camera is not None)
            known = Known(inference, picture.width, picture.height, picture.format, look)
            self.cache.put(image_hash, version.id, known)
        health = None
        if known.look is not None:
            # A camera's picture counts once, however many versions are asked about it.
            camera = ask.camera if role in {ACTIVE, CANARY} else None
            health = self.cameras.examine(
                version.model, camera, known.look, known.width, known.height, image_hash
            )
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
            health=health,
        )
        row = success_row(
            ask,
            answer,
            known,
            model_id=version.id,
            image_hash=image_hash,
            role=role,
            health=health,
        )
        return Done(answer, row, known, image_hash)

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

    def _count(self, slot: Slot, done: Done) -> None:
        answer = done.answer
        slot.meters.success(
            [found.label for found in answer.detections],
            answer.confidence_scores,
            done.known,
            answer.latency_ms,
            cached=answer.cached,
        )

    def late(self) -> DeadlineExceeded:
        """The error of a request whose time is over."""
        return DeadlineExceeded(
            f"No answer within {self.settings.request_timeout:g} s.",
            hint="Send fewer pictures at a time, or raise ANDON_REQUEST_TIMEOUT.",
        )

    def _failed(self, slot: Slot, ask: Ask, error: Exception, role: str = ACTIVE) -> Exception:
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
            role=role,
        )
        try:
            # Nobody waits for it: the caller gets the error, not an acknowledgement.
            self.db.writer.write(row)
        except AndonError:
            log.warning("A failed prediction could not be logged.", image_name=ask.image_name)
        return error

    # -- Admission ----------------------------------------------------------------------

    def _enter(self, *, forced: bool = False) -> None:
        """Take a place; `forced` for a request that had one, whose work goes on without it."""
        with self._pending_lock:
            if forced or self._pending < self.settings.queue_size:
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


def resolve(logged: "Future[Done]", outcome: "Done | BaseException") -> None:
    """Tell the caller, unless it has gone."""
    if logged.done() or not logged.set_running_or_notify_cancel():
        return
    if isinstance(outcome, Done):
        logged.set_result(outcome)
    else:
        logged.set_exception(outcome)


def _committed(logged: "Future[Done]", done: Done, written: "Future[None]") -> None:
    resolve(logged, written.exception() or done)


def _given_up(logged: "Future[Done]", ran: "Future[None]") -> None:
    """The slot was closed before the picture's turn came."""
    if ran.cancelled():
        resolve(logged, Superseded())


def _infer(slot: Slot, picture: Picture, deadline: float) -> Inference:
    """Run the model, and note what that came to."""
    watched = slot.watched
    run = watched.begin()
    try:
        inference = slot.model.infer(picture, deadline=deadline)
    except Exception as error:
        if slot.closed or not blames(error):
            watched.end(run)
        else:
            watched.failure(error, run)
        raise
    watched.success(run)
    return inference


def blames(error: Exception) -> bool:
    """Whether an error of a run is the model's fault."""
    if isinstance(error, AndonError):
        return isinstance(error, RuntimeFailed | DeadlineExceeded)
    return not isinstance(error, MemoryError)


def _gone(ran: "Future[None]", logged: "Future[Done]") -> None:
    """The caller went away: a picture that has not begun need not be run."""
    if logged.cancelled():
        ran.cancel()


def no_memory() -> Unavailable:
    """The error of a picture that there is no memory for."""
    return Unavailable(
        "There is not enough memory for this picture.",
        hint="Send a smaller picture, or give the machine more swap.",
    )
