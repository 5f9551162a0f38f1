"""Many rows at a time: checked, run in chunks, logged. One bad row never sinks the others."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from andon.errors import AndonError, InvalidRequest, Unavailable
from andon.serving.answering import hold_later
from andon.serving.row_answers import GivenRow, RowAnswer, RowAsk
from andon.serving.rows import Rejected, SingleRows, model_of
from andon.serving.slots import Slot, Superseded
from andon.store.ids import uuid7

# So many rows share an inference and a transaction.
_CHUNK = 10_000


class RowBatches(SingleRows):
    """Answers many rows at a time."""

    async def ask_rows(
        self,
        given: Sequence[GivenRow],
        model: str | None,
        version: int | None,
        source: str,
        *,
        forced: bool = False,
    ) -> list[RowAnswer | Rejected]:
        """Answer many rows with the active version, or the one that is named.

        Raises:
            AndonError: As `answer_rows`.
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
            try:
                ran = self.begin_rows(slot, given, self._role(slot, version), source)
                async with asyncio.timeout(self.settings.request_timeout):
                    return await asyncio.wrap_future(ran)
            except Superseded:
                # It had not begun: the version's successor does it.
                forced = True
            except TimeoutError:
                slot.meters.error()
                raise self.late() from None

    def ask_rows_sync(
        self,
        given: Sequence[GivenRow],
        model: str | None,
        version: int | None,
        source: str,
        *,
        forced: bool = False,
    ) -> list[RowAnswer | Rejected]:
        """The same as `ask_rows`, for threads without an event loop."""
        while True:
            self._enter(forced=forced)
            try:
                slot = self._row_slot(model, version)
            except BaseException:
                self._leave()
                raise
            try:
                ran = self.begin_rows(slot, given, self._role(slot, version), source)
                return ran.result(self.settings.request_timeout)
            except Superseded:
                # It had not begun: the version's successor does it.
                forced = True
            except FutureTimeout:
                ran.cancel()
                slot.meters.error()
                raise self.late() from None

    def begin_rows(
        self, slot: Slot, given: Sequence[GivenRow], role: str, source: str
    ) -> "Future[list[RowAnswer | Rejected]]":
        """Hand rows to a slot that is held, with a place taken; both are given back.

        Raises:
            Superseded: The slot was given up meanwhile; by the future, too.
        """
        answered: Future[list[RowAnswer | Rejected]] = Future()

        def give_up(_: BaseException) -> None:
            settle_future(answered, error=_closed())

        def ended(ran: "Future[list[RowAnswer | Rejected]]") -> None:
            slot.callers.discard(give_up)
            self._leave()
            if ran.cancelled():
                settle_future(answered, error=Superseded())
            elif (error := ran.exception()) is not None:
                settle_future(answered, error=error)
            else:
                settle_future(answered, ran.result())

        slot.callers.add(give_up)
        try:
            ran = slot.submit(self._work_batch, slot, given, role, source)
        except BaseException:
            slot.callers.discard(give_up)
            self._leave()
            raise
        ran.add_done_callback(ended)
        answered.add_done_callback(lambda one: ran.cancel() if one.cancelled() else None)
        return answered

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
        encoder = model_of(slot).encoder
        asks: list[RowAsk] = []
        results: list[RowAnswer | Rejected] = []
        places: list[int] = []
        for place, one in enumerate(given):
            try:
                values = encoder.encode(one.features)
            except InvalidRequest as error:
                if time.monotonic() >= deadline:
                    raise self.late() from None
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
                raise self.late() from None
            slot.meters.row((time.perf_counter() - arrived) * 1000 / len(given), len(rows))
        slot.meters.error(len(given) - len(rows))
        return results


def settle_future(
    future: "Future[Any]", result: Any = None, *, error: BaseException | None = None
) -> None:
    """Tell who waits, unless it has gone or was told already."""
    if future.done() or not future.set_running_or_notify_cancel():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def _closed() -> Unavailable:
    return Unavailable(
        "The version was taken out of service in the middle of the batch.",
        hint="Send the rows that have no answer again.",
    )
