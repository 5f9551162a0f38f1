"""The way of a row: checked, run, logged, answered.

A model answers a row sooner than a thread can be woken. So rows run on the event loop itself,
where their version has shown that it is quick, and those that arrived together share one
inference and one transaction. Slow models, explanations and batches run on the threads of the
version's slot, like pictures.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

import numpy as np
import structlog

from andon.errors import (
    AndonError,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    RuntimeFailed,
    StorageFull,
    Unavailable,
    UnsupportedMedia,
)
from andon.runtimes.rows import RowEncoder
from andon.runtimes.tabular import TabularModel
from andon.serving.answering import Answering, hold_later
from andon.serving.explain import effects
from andon.serving.row_answers import GivenRow, RowAnswer, RowAsk, failure_row
from andon.serving.slots import Slot
from andon.store.clock import now
from andon.store.ids import uuid7

log = structlog.get_logger("andon.serving")

# More rows than these at a time would hold up the event loop.
_MOST_IN_LOOP = 64
# Longest time that a quick model may keep the event loop, seconds. Then it was not quick.
_LOOP_DEADLINE = 0.5
# Of a batch: so many rows share an inference and a transaction.
_CHUNK = 10_000

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


class RowAnswering(Answering):
    """Answers rows, beside pictures, with the versions of a fleet."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        # Rows of the present round of each event loop.
        self._gathered: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}

    async def answer_row(
        self,
        features: Mapping[str, Any],
        *,
        model: str | None = None,
        version: int | None = None,
        subject: str | None = None,
        request_id: str | None = None,
        explain: bool = False,
        source: str = "api",
    ) -> RowAnswer:
        """Answer one row; it is in the log, durably, when this returns.

        Args:
            features: Value by name, as the model's schema has it.
            model: Registered model; None is the default tabular model.
            version: A version to ask instead of the active one.
            subject: Whom or what the row describes, for the log.
            request_id: The caller's id, for the log.
            explain: Say which features moved the answer.
            source: Who asks.

        Raises:
            InvalidRequest: The row does not fit the model's schema; `errors` names the fields.
            NotFound: There is no such model or version.
            UnsupportedMedia: The model takes pictures.
            Saturated: Too many requests wait already.
            DeadlineExceeded: It was not answered within `request_timeout`.
            ModelNotLoaded: Nothing serves this model.
            RuntimeFailed: The model crashed or answered garbage.
            StorageFull: The log cannot take the row, so nothing was acknowledged.
        """
        arrived = time.perf_counter()
        given = GivenRow(features, subject, request_id)
        self._enter()
        try:
            slot = self._active_slot(model, version) or await hold_later(
                self._row_slot, model, version
            )
        except BaseException:
            self._leave()
            raise
        ask = self._checked(slot, given, version, source, explain, arrived)
        loop = asyncio.get_running_loop()
        waiting = _Waiting(slot, ask, loop.create_future())
        gathered = self._gathered.get(loop)
        if gathered is None:
            self._gathered[loop] = [waiting]
            loop.call_soon(self._answer_gathered, loop)
        else:
            gathered.append(waiting)
        try:
            async with asyncio.timeout(self.settings.request_timeout):
                await waiting.done
        except TimeoutError:
            raise self._row_failed(slot, ask.given, source, arrived, self._late()) from None
        except Exception as error:
            self._row_failed(slot, ask.given, source, arrived, error)
            raise
        answer = waiting.answer
        assert answer is not None
        # Counted in the loop's next round: the answer is on its way by then.
        loop.call_soon(slot.meters.row, answer.latency_ms)
        return answer

    def answer_row_sync(
        self,
        features: Mapping[str, Any],
        *,
        model: str | None = None,
        version: int | None = None,
        subject: str | None = None,
        request_id: str | None = None,
        explain: bool = False,
        source: str = "python",
    ) -> RowAnswer:
        """The same as `answer_row`, for threads without an event loop."""
        arrived = time.perf_counter()
        given = GivenRow(features, subject, request_id)
        self._enter()
        try:
            slot = self._row_slot(model, version)
        except BaseException:
            self._leave()
            raise
        ask = self._checked(slot, given, version, source, explain, arrived)
        try:
            ran = slot.submit(self._work_rows, slot, [ask])
        except BaseException:
            self._leave()
            raise
        ran.add_done_callback(self._leave)
        try:
            ((answer, row),) = ran.result(self.settings.request_timeout)
            if isinstance(answer, AndonError):
                raise answer
            self.db.writer.write(row).result(max(0.0, ask.deadline - time.monotonic()))
        except FutureTimeout:
            ran.cancel()
            raise self._row_failed(slot, given, source, arrived, self._late()) from None
        except Exception as error:
            self._row_failed(slot, given, source, arrived, error)
            raise
        slot.meters.row(answer.latency_ms)
        return answer

    async def answer_rows(
        self,
        given: Sequence[GivenRow],
        *,
        model: str | None = None,
        version: int | None = None,
        source: str = "batch",
    ) -> list[RowAnswer | Rejected]:
        """Answer many rows; those that fit are in the log, durably, when this returns.

        Args:
            given: The rows.
            model: Registered model; None is the default tabular model.
            version: A version to ask instead of the active one.
            source: Who asks.

        Returns:
            For each row its answer, or what is wrong with it. A bad row never sinks others.

        Raises:
            NotFound, UnsupportedMedia, Saturated, ModelNotLoaded, StorageFull: As for one row.
            DeadlineExceeded: Not all were answered within `request_timeout`.
        """
        deadline = time.monotonic() + self.settings.request_timeout
        self._enter()
        try:
            slot = self._active_slot(model, version) or await hold_later(
                self._row_slot, model, version
            )
            ran = slot.submit(self._work_batch, slot, given, self._role(slot, version), source)
        except BaseException:
            self._leave()
            raise
        ran.add_done_callback(self._leave)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await asyncio.wrap_future(ran)
        except TimeoutError:
            slot.meters.error()
            raise self._late() from None

    def answer_rows_sync(
        self,
        given: Sequence[GivenRow],
        *,
        model: str | None = None,
        version: int | None = None,
        source: str = "python",
    ) -> list[RowAnswer | Rejected]:
        """The same as `answer_rows`, for threads without an event loop."""
        self._enter()
        try:
            slot = self._row_slot(model, version)
            ran = slot.submit(self._work_batch, slot, given, self._role(slot, version), source)
        except BaseException:
            self._leave()
            raise
        ran.add_done_callback(self._leave)
        try:
            return ran.result(self.settings.request_timeout)
        except FutureTimeout:
            ran.cancel()
            slot.meters.error()
            raise self._late() from None

    async def row_encoder(
        self, *, model: str | None = None, version: int | None = None
    ) -> RowEncoder:
        """What checks and encodes the rows of a model, for reading tables of text.

        Raises:
            NotFound, UnsupportedMedia, ModelNotLoaded: As for one row.
        """
        slot = self._active_slot(model, version) or await hold_later(self._row_slot, model, version)
        try:
            return _model(slot).encoder
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
        return "active" if active else "compare"

    # -- One row ------------------------------------------------------------------------

    def _checked(
        self,
        slot: Slot,
        given: GivenRow,
        version: int | None,
        source: str,
        explain: bool,
        arrived: float,
    ) -> RowAsk:
        """The row as numbers; lets go of the slot and the place when it is not valid."""
        try:
            values = _model(slot).encoder.encode(given.features)
        except BaseException as error:
            slot.release()
            self._leave()
            if isinstance(error, InvalidRequest):
                self._row_failed(slot, given, source, arrived, error)
            raise
        return RowAsk(
            given,
            values,
            source,
            self._role(slot, version),
            explain,
            uuid7(),
            arrived,
            time.monotonic() + self.settings.request_timeout,
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

        def leave(ran: Any) -> None:
            for _ in group:
                self._leave()
            if ran.cancelled():
                closed = Unavailable("The model was closed meanwhile.", hint="Send the row again.")
                loop.call_soon_threadsafe(_fail, group, closed)

        try:
            ran = slot.submit(self._answer_group, loop, slot, group)
        except BaseException as error:
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
        model, judge = _model(slot), slot.judge
        assert judge is not None
        deadline = min(ask.deadline for ask in asks)
        if in_loop:
            deadline = min(deadline, time.monotonic() + _LOOP_DEADLINE)
        began = time.perf_counter()
        found = _inferred(model, [ask.values for ask in asks], deadline)
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
        self, slot: Slot, given: GivenRow, source: str, arrived: float, error: Exception
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
        )
        try:
            # Nobody waits for it: the caller gets the error, not an acknowledgement.
            self.db.writer.write(row)
        except AndonError:
            log.warning("A failed prediction could not be logged.", model=slot.version.model)
        return error

    # -- Many rows ----------------------------------------------------------------------

    def _work_batch(
        self, slot: Slot, given: Sequence[GivenRow], role: str, source: str
    ) -> list[RowAnswer | Rejected]:
        """Answer and log a batch; runs on a thread of the slot."""
        deadline = time.monotonic() + self.settings.request_timeout
        results: list[RowAnswer | Rejected] = []
        for start in range(0, len(given), _CHUNK):
            results += self._work_chunk(slot, given[start : start + _CHUNK], role, source, deadline)
        return results

    def _work_chunk(
        self, slot: Slot, given: Sequence[GivenRow], role: str, source: str, deadline: float
    ) -> list[RowAnswer | Rejected]:
        arrived = time.perf_counter()
        encoder = _model(slot).encoder
        asks: list[RowAsk] = []
        results: list[RowAnswer | Rejected] = []
        places: list[int] = []
        for place, one in enumerate(given):
            try:
                values = encoder.encode(one.features)
            except InvalidRequest as error:
                if time.monotonic() >= deadline:
                    raise self._late() from None
                results.append(error.errors)
                continue
            results.append([])
            places.append(place)
            asks.append(RowAsk(one, values, source, role, False, uuid7(), arrived, deadline))
        if not asks:
            slot.meters.error(len(given))
            return results
        rows: list[dict[str, Any]] = []
        for place, (answer, row) in zip(places, self._work_rows(slot, asks), strict=True):
            results[place] = [{"detail": str(answer)}] if isinstance(answer, AndonError) else answer
            if row:
                rows.append(row)
        if rows:
            written = self.db.writer.write_rows(rows)
            try:
                written.result(max(0.0, deadline - time.monotonic()))
            except FutureTimeout:
                raise self._late() from None
            slot.meters.row((time.perf_counter() - arrived) * 1000 / len(given), len(rows))
        slot.meters.error(len(given) - len(rows))
        return results


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


def _model(slot: Slot) -> TabularModel:
    assert slot.tabular is not None
    return slot.tabular


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


def _fail(group: list[_Waiting], error: BaseException) -> None:
    """Tell those that still wait."""
    for waiting in group:
        if not waiting.done.done():
            waiting.done.set_exception(error)
