"""The way of a row: checked, run, logged, answered.

A model answers a row sooner than a thread can be woken. So rows run on the event loop itself,
where their version has shown that it is quick, and those that arrived together share one
inference and one transaction. Slow models, explanations and batches run on the threads of the
version's slot, like pictures.
"""

import asyncio
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from typing import Any

import numpy as np
import structlog

from andon.errors import (
    AndonError,
    DeadlineExceeded,
    NotFound,
    RuntimeFailed,
    StorageFull,
    UnsupportedMedia,
)
from andon.runtimes.rows import RowEncoder
from andon.runtimes.tabular import TabularModel
from andon.serving.answering import Answering, hold_later
from andon.serving.explain import effects
from andon.serving.row_answers import GivenRow, RowAnswer, RowAsk, failure_row
from andon.serving.slots import Slot, Superseded
from andon.serving.traffic import COMPARE
from andon.serving.working import ACTIVE, blames
from andon.store.clock import now
from andon.store.ids import uuid7

log = structlog.get_logger("andon.serving")

# More rows than these at a time would hold up the event loop.
_MOST_IN_LOOP = 64
# Longest time that a quick model may keep the event loop, seconds. Then it was not quick.
_LOOP_DEADLINE = 0.5
# Of the rows of one run that fail, so many count.
_MOST_FAILURES = 5

Rejected = list[dict[str, str]]
"""What is wrong with a row of a batch: entries of `field` and `detail`."""


class _Waiting:
    """A row that waits for its answer; `done` is set when the log row is on disk."""

    __slots__ = ("answer", "ask", "done", "slot")

    def __init__(self, slot: Slot, ask: RowAsk, done: "asyncio.Future[None]") -> None:
        self.slot = slot
        self.ask = ask
        self.done = done
        self.answer: RowAnswer | None = None


class SingleRows(Answering):
    """Answers rows one by one, beside pictures, with the versions of a fleet."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        # Rows of the present round of each event loop.
        self._gathered: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}

    async def ask_row(
        self,
        given: GivenRow,
        model: str | None,
        version: int | None,
        *,
        source: str,
        explain: bool,
        arrived: float,
        forced: bool = False,
    ) -> RowAnswer:
        """Answer one row with the active version, or the one that is named.

        Where it is taken out of service with the row still waiting, its successor is asked.

        Raises:
            AndonError: As `answer_row`; the failure is logged.
        """
        while True:
            self._enter(forced=forced)
            try:
                slot = self._active_slot(model, version) or await hold_later(
                    self._row_slot, model, version
                )
            except BaseException:
                self._leave()
                raise
            role = self._role(slot, version)
            try:
                return await self.ask_held(slot, given, role, source, explain, arrived)
            except Superseded as error:
                if time.perf_counter() - arrived >= self.settings.request_timeout:
                    self._row_failed(slot, given, source, arrived, error)
                    raise
                forced = True
            except Exception as error:
                self._row_failed(slot, given, source, arrived, error)
                raise

    async def ask_held(
        self,
        slot: Slot,
        given: GivenRow,
        role: str,
        source: str,
        explain: bool,
        arrived: float,
        patience: float | None = None,
    ) -> RowAnswer:
        """Answer one row on a slot that is held, with a place taken; gives both back.

        Args:
            slot: Of a tabular model.
            given: The row.
            role: For the log.
            source: Who asks.
            explain: Say which features moved the answer.
            arrived: `time.perf_counter()` when the request came in.
            patience: Seconds it may take; None is `request_timeout`.

        Raises:
            AndonError: It has no answer; nothing was logged.
        """
        seconds = self.settings.request_timeout if patience is None else patience
        ask = self._checked(slot, given, role, source, explain, arrived, seconds)
        loop = asyncio.get_running_loop()
        waiting = _Waiting(slot, ask, loop.create_future())
        gathered = self._gathered.get(loop)
        if gathered is None:
            self._gathered[loop] = [waiting]
            loop.call_soon(self._answer_gathered, loop)
        else:
            gathered.append(waiting)
        try:
            async with asyncio.timeout(seconds):
                await waiting.done
        except TimeoutError:
            raise self.late() from None
        answer = waiting.answer
        assert answer is not None
        # Counted in the loop's next round: the answer is on its way by then.
        loop.call_soon(slot.meters.row, answer.latency_ms)
        return answer

    def ask_row_sync(
        self,
        given: GivenRow,
        model: str | None,
        version: int | None,
        *,
        source: str,
        explain: bool,
        arrived: float,
        forced: bool = False,
    ) -> RowAnswer:
        """The same as `ask_row`, for threads without an event loop."""
        while True:
            self._enter(forced=forced)
            try:
                slot = self._row_slot(model, version)
            except BaseException:
                self._leave()
                raise
            role = self._role(slot, version)
            try:
                return self.ask_held_sync(slot, given, role, source, explain, arrived)
            except Superseded as error:
                if time.perf_counter() - arrived >= self.settings.request_timeout:
                    self._row_failed(slot, given, source, arrived, error)
                    raise
                forced = True
            except Exception as error:
                self._row_failed(slot, given, source, arrived, error)
                raise

    def ask_held_sync(
        self,
        slot: Slot,
        given: GivenRow,
        role: str,
        source: str,
        explain: bool,
        arrived: float,
        patience: float | None = None,
    ) -> RowAnswer:
        """The same as `ask_held`, for threads without an event loop."""
        seconds = self.settings.request_timeout if patience is None else patience
        ask = self._checked(slot, given, role, source, explain, arrived, seconds)
        logged: Future[tuple[RowAnswer | AndonError, dict[str, Any]]] = Future()
        give_up = partial(_give_up, logged)
        slot.callers.add(give_up)
        try:
            ran = slot.submit(self._work_rows, slot, [ask])
        except BaseException:
            slot.callers.discard(give_up)
            self._leave()
            raise
        ran.add_done_callback(self._leave)
        ran.add_done_callback(partial(_handed_over, logged))
        try:
            answer, row = logged.result(seconds)
            if isinstance(answer, AndonError):
                raise answer
            self.db.writer.write(row).result(max(0.0, ask.deadline - time.monotonic()))
        except FutureTimeout:
            ran.cancel()
            raise self.late() from None
        finally:
            slot.callers.discard(give_up)
        slot.meters.row(answer.latency_ms)
        return answer

    async def row_encoder(
        self, *, model: str | None = None, version: int | None = None
    ) -> RowEncoder:
        """What checks and encodes the rows of a model, for reading tables of text.

        Raises:
            NotFound, UnsupportedMedia, ModelNotLoaded: As for one row.
        """
        slot = self._active_slot(model, version) or await hold_later(self._row_slot, model, version)
        try:
            return model_of(slot).encoder
        finally:
            slot.release()

    # -- Which version ------------------------------------------------------------------

    def _active_slot(self, model: str | None, version: int | None) -> Slot | None:
        """The slot meant, held, if it is loaded. Never waits."""
        slot = self.fleet.hold_loaded(model or self.settings.default_tabular_model, version)
        return None if slot is None else _takes_rows(slot)

    def _row_slot(self, model: str | None, version: int | None) -> Slot:
        """The slot meant, held; loads what is missing."""
        try:
            slot = self.fleet.hold(model or self.settings.default_tabular_model, version)
        except NotFound:
            if model is not None or version is not None:
                raise
            raise NotFound(
                f"No tabular model '{self.settings.default_tabular_model}' is registered, so a "
                "JSON row cannot be answered.",
                hint="Train one with `andon train`, or name one in `model`. A picture is sent as "
                "multipart/form-data in the field `image`.",
            ) from None
        return _takes_rows(slot)

    def _role(self, slot: Slot, version: int | None) -> str:
        active = version is None or slot is self.fleet.slot(slot.version.model)
        return ACTIVE if active else COMPARE

    # -- One row ------------------------------------------------------------------------

    def _checked(
        self,
        slot: Slot,
        given: GivenRow,
        role: str,
        source: str,
        explain: bool,
        arrived: float,
        seconds: float,
    ) -> RowAsk:
        """The row as numbers; lets go of the slot and the place when it is not valid."""
        try:
            values = model_of(slot).encoder.encode(given.features)
        except BaseException:
            slot.release()
            self._leave()
            raise
        return RowAsk(
            given,
            values,
            source,
            role,
            explain,
            uuid7(),
            arrived,
            time.monotonic() + seconds,
        )

    def _answer_gathered(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer what arrived in this round of the loop."""
        by_slot: dict[Slot, list[_Waiting]] = {}
        for waiting in self._gathered.pop(loop):
            by_slot.setdefault(waiting.slot, []).append(waiting)
        for slot, group in by_slot.items():
            slow = not slot.quick or len(group) > _MOST_IN_LOOP
            # Explained one by one: each is as much work as many rows.
            apart = [waiting for waiting in group if waiting.ask.explain]
            together = [waiting for waiting in group if not waiting.ask.explain]
            for part in [together, *([waiting] for waiting in apart)]:
                if part and (slow or part is not together):
                    self._answer_in_thread(loop, slot, part)
                elif part:
                    self._answer_group(loop, slot, part, in_loop=True)
                    for _ in part:
                        slot.release()
                        self._leave()

    def _answer_in_thread(
        self, loop: asyncio.AbstractEventLoop, slot: Slot, group: list[_Waiting]
    ) -> None:
        """Hand rows to the slot's threads; one hold of the slot goes with them."""
        for _ in group[1:]:
            slot.release()

        def give_up(error: BaseException) -> None:
            loop.call_soon_threadsafe(_fail, group, error)

        def leave(ran: Any) -> None:
            slot.callers.discard(give_up)
            for _ in group:
                self._leave()
            if ran.cancelled():
                give_up(Superseded())

        slot.callers.add(give_up)
        try:
            ran = slot.submit(self._answer_group, loop, slot, group)
        except BaseException as error:
            slot.callers.discard(give_up)
            for _ in group:
                self._leave()
            _fail(group, error)
            return
        ran.add_done_callback(leave)

    def _answer_group(
        self,
        loop: asyncio.AbstractEventLoop,
        slot: Slot,
        group: list[_Waiting],
        *,
        in_loop: bool = False,
    ) -> None:
        """Answer rows and hand their log rows to the writer, which wakes who waits."""
        try:
            worked = self._work_rows(slot, [waiting.ask for waiting in group], in_loop=in_loop)
            rows: list[dict[str, Any]] = []
            waiters: list[asyncio.Future[None]] = []
            for waiting, (answer, row) in zip(group, worked, strict=True):
                if isinstance(answer, AndonError):
                    loop.call_soon_threadsafe(_fail, [waiting], answer)
                    continue
                if waiting.done.done():
                    # Given up meanwhile: another version has answered, or it was too late.
                    continue
                waiting.answer = answer
                rows.append(row)
                waiters.append(waiting.done)
            self.db.writer.write_for(loop, rows, waiters)
        except BaseException as error:
            if in_loop and isinstance(error, DeadlineExceeded):
                slot.quick = False
                log.warning(
                    "The model is slow for some rows; it runs on threads from now on.",
                    model=slot.version.model,
                )
            loop.call_soon_threadsafe(_fail, group, error)

    def _work_rows(
        self, slot: Slot, asks: list[RowAsk], *, in_loop: bool = False
    ) -> list[tuple[RowAnswer | AndonError, dict[str, Any]]]:
        """Answers with their log rows; an error with nothing where the model failed for one."""
        model, judge = model_of(slot), slot.judge
        assert judge is not None
        deadline = min(ask.deadline for ask in asks)
        if in_loop:
            deadline = min(deadline, time.monotonic() + _LOOP_DEADLINE)
        began = time.perf_counter()
        found = _watched(slot, model, [ask.values for ask in asks], deadline)
        ended = time.perf_counter()
        seconds = round((ended - began) / len(asks), 6)
        moment = now()
        worked: list[tuple[RowAnswer | AndonError, dict[str, Any]]] = []
        for ask, said in zip(asks, found, strict=True):
            if isinstance(said, AndonError):
                worked.append((said, {}))
                continue
            explanation = None
            if ask.explain:
                _, shown = judge.choose(said)
                explanation = effects(model, ask.values, shown, deadline=deadline)
                ended = time.perf_counter()
            answer = judge.settle(
                ask,
                said,
                now=moment,
                latency_ms=(ended - ask.arrived) * 1000,
                explanation=explanation,
            )
            worked.append((answer, judge.log_row(ask, answer, seconds)))
        slot.meters.inference(seconds, len(asks))
        return worked

    def _row_failed(
        self,
        slot: Slot,
        given: GivenRow,
        source: str,
        arrived: float,
        error: Exception,
        role: str = ACTIVE,
    ) -> Exception:
        """Count and log a row that got no answer; the error to raise."""
        slot.meters.error()
        if isinstance(error, StorageFull):
            # It has said so itself, and has no room for another row.
            return error
        if not isinstance(error, AndonError) or error.status >= 500:
            log.warning(f"Prediction error: {error}", model=slot.version.model)
        row = failure_row(
            given,
            error,
            model_id=slot.version.id,
            source=source,
            prediction_id=uuid7(),
            now=now(),
            latency_ms=(time.perf_counter() - arrived) * 1000,
            role=role,
        )
        try:
            # Nobody waits for it: the caller gets the error, not an acknowledgement.
            self.db.writer.write(row)
        except AndonError:
            log.warning("A failed prediction could not be logged.", model=slot.version.model)
        return error


def _takes_rows(slot: Slot) -> Slot:
    """A slot of a tabular model; let go of otherwise.

    Raises:
        UnsupportedMedia: The model takes pictures.
    """
    if slot.tabular is not None:
        return slot
    slot.release()
    raise UnsupportedMedia(
        f"Model {slot.version.model} takes pictures, not JSON rows.",
        hint="Send multipart/form-data with the picture in the field `image`.",
    )


def model_of(slot: Slot) -> TabularModel:
    """The model of a slot that takes rows."""
    assert slot.tabular is not None
    return slot.tabular


def _watched(
    slot: Slot, model: TabularModel, values: list[list[float]], deadline: float
) -> list[list[float] | AndonError]:
    """Run the model on rows, and note what that came to."""
    watched = slot.watched
    run = watched.begin()
    try:
        found = _inferred(model, values, deadline)
    except Exception as error:
        if slot.closed or not blames(error):
            watched.end(run)
        else:
            watched.failure(error, run)
        raise
    failed = [one for one in found if isinstance(one, AndonError)]
    if len(failed) < len(found):
        watched.success(run)
    else:
        watched.end(run)
    for one in failed[:_MOST_FAILURES]:
        watched.failure(one)
    return found


def _inferred(
    model: TabularModel, values: list[list[float]], deadline: float
) -> list[list[float] | AndonError]:
    """Probabilities of each row, or why the model has none for it.

    Rows that make the model fail are found by halving, so that they do not sink the others.
    """
    try:
        found: list[list[float] | AndonError] = model.infer_rows(
            np.array(values, np.float32), deadline=deadline
        ).tolist()
    except RuntimeFailed as error:
        if len(values) == 1:
            return [error]
        middle = len(values) // 2
        first = _inferred(model, values[:middle], deadline)
        return first + _inferred(model, values[middle:], deadline)
    return found


def _give_up(logged: "Future[Any]", error: BaseException) -> None:
    if not logged.done() and logged.set_running_or_notify_cancel():
        logged.set_exception(error)


def _handed_over(logged: "Future[Any]", ran: "Future[Any]") -> None:
    """Pass on the answer of the only row of a run."""
    error = Superseded() if ran.cancelled() else ran.exception()
    if error is not None:
        _give_up(logged, error)
    elif not logged.done() and logged.set_running_or_notify_cancel():
        logged.set_result(ran.result()[0])


def _fail(group: list[_Waiting], error: BaseException) -> None:
    """Tell those that still wait."""
    for waiting in group:
        if not waiting.done.done():
            waiting.done.set_exception(error)
