"""The rows that a candidate is asked about, and the public way to have rows answered.

As with pictures: a canary's rows are answered by the active version where the candidate fails, a
shadow is asked when the answers are out, and a comparison waits a moment for the candidate.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import msgspec

from andon.errors import (
    AndonError,
    DeadlineExceeded,
    InvalidRequest,
    RuntimeFailed,
    Saturated,
)
from andon.serving.row_answers import GivenRow, RowAnswer
from andon.serving.row_batches import RowBatches
from andon.serving.rows import Rejected, model_of
from andon.serving.slots import Slot, Superseded
from andon.serving.traffic import CANARY, COMPARE, SHADOW, Split
from andon.serving.working import NOT_ITS_FAULT
from andon.store.ids import uuid7

# An answer waits so long for the one it is compared with, seconds.
_COMPARE_PATIENCE = 1.0
# A shadow is asked about so many rows of a batch.
_MOST_SHADOWED = 1_000


class RowAnswering(RowBatches):
    """Answers rows, beside pictures, with active versions and their candidates."""

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
        split, slot = self._candidate_row(given, model, version)
        ask = partial(
            self.ask_row, given, model, version, source=source, explain=explain, arrived=arrived
        )
        if split is None or slot is None:
            return await ask()
        if split.mode == CANARY:
            self._place(slot)
            patience = slot.watched.patience(self.tripwire.half_time)
            why: Exception
            try:
                return await self.ask_held(slot, given, CANARY, source, explain, arrived, patience)
            except Exception as error:
                why = error
            self._blame(slot, given, source, arrived, why)
            answer = await ask(forced=True)
            self._blame_schema(slot, given, source, arrived, why)
            return answer
        if split.mode == COMPARE:
            other = self._beside_row(slot, given, source)
            answer = await ask()
            if other is None:
                return answer
            await _seen(other, _COMPARE_PATIENCE)
            return _compared(answer, other)
        slot.release()
        answer = await ask()
        asyncio.get_running_loop().call_soon(self._offer, split, [given], source)
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
        split, slot = self._candidate_row(given, model, version)
        ask = partial(
            self.ask_row_sync,
            given,
            model,
            version,
            source=source,
            explain=explain,
            arrived=arrived,
        )
        if split is None or slot is None:
            return ask()
        if split.mode == CANARY:
            self._place(slot)
            patience = slot.watched.patience(self.tripwire.half_time)
            why: Exception
            try:
                return self.ask_held_sync(slot, given, CANARY, source, explain, arrived, patience)
            except Exception as error:
                why = error
            self._blame(slot, given, source, arrived, why)
            answer = ask(forced=True)
            self._blame_schema(slot, given, source, arrived, why)
            return answer
        slot.release()
        answer = ask()
        self._offer(split, [given], source)
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
        split, slot, chosen = self._candidate_rows(given, model, version)
        if split is None or slot is None:
            return await self.ask_rows(given, model, version, source)
        if split.mode != CANARY:
            slot.release()
            found = await self.ask_rows(given, model, None, source)
            self._offer(split, [given[place] for place in chosen], source)
            return found
        asked, patience = self._begin_canary(slot, given, chosen, source)
        taken = set(chosen)
        others = [place for place in range(len(given)) if place not in taken]
        answered: dict[int, RowAnswer | Rejected] = {}
        if others:
            rest = await self.ask_rows([given[place] for place in others], model, None, source)
            answered = dict(zip(others, rest, strict=True))
        if asked is not None:
            await _seen(asked, patience)
        left = self._take(slot, asked, given, chosen, source, answered)
        if left:
            again = [given[place] for place in left]
            rest = await self.ask_rows(again, model, None, source, forced=True)
            answered |= dict(zip(left, rest, strict=True))
        return [answered[place] for place in range(len(given))]

    def answer_rows_sync(
        self,
        given: Sequence[GivenRow],
        *,
        model: str | None = None,
        version: int | None = None,
        source: str = "python",
    ) -> list[RowAnswer | Rejected]:
        """The same as `answer_rows`, for threads without an event loop. Canaries are not asked."""
        split, slot, chosen = self._candidate_rows(given, model, version)
        if slot is not None:
            slot.release()
        found = self.ask_rows_sync(given, model, version, source)
        if split is not None and slot is not None and split.mode != CANARY:
            self._offer(split, [given[place] for place in chosen], source)
        return found

    # -- Which rows ---------------------------------------------------------------------

    def _candidate_row(
        self, given: GivenRow, model: str | None, version: int | None
    ) -> tuple[Split | None, Slot | None]:
        """The rollout, and the candidate's slot, held, if it is to be asked about this row."""
        if version is not None:
            return None, None
        name = model or self.settings.default_tabular_model
        split = self.traffic.split(name)
        if split is None or not split.candidate_for(given.subject, given.request_id or uuid7()):
            return None, None
        return split, self._held(split, name)

    def _candidate_rows(
        self, given: Sequence[GivenRow], model: str | None, version: int | None
    ) -> tuple[Split | None, Slot | None, list[int]]:
        """The same for a batch, and the places of the rows that the candidate is asked about."""
        name = model or self.settings.default_tabular_model
        split = None if version is not None else self.traffic.split(name)
        if split is None:
            return None, None, []
        chosen = [
            place
            for place, one in enumerate(given)
            if split.candidate_for(one.subject, one.request_id or uuid7())
        ]
        return split, self._held(split, name) if chosen else None, chosen

    def _held(self, split: Split, model: str) -> Slot | None:
        slot = self.hold_candidate(split, model)
        if slot is not None and slot.tabular is None:
            slot.release()
            return None
        return slot

    # -- Canary -------------------------------------------------------------------------

    def _place(self, slot: Slot) -> None:
        """Take a place for a candidate's row, which lets go of the slot where there is none."""
        try:
            self._enter()
        except Saturated:
            slot.release()
            raise

    def _blame(
        self, slot: Slot, given: GivenRow, source: str, arrived: float, error: Exception
    ) -> None:
        """Log that the candidate failed; raise what it is not to blame for."""
        if isinstance(error, InvalidRequest):
            # Perhaps the row is wrong, perhaps the candidate takes others than the active one.
            return
        self._row_failed(slot, given, source, arrived, error, CANARY)
        if isinstance(error, NOT_ITS_FAULT):
            raise error
        self.fell_back(slot)

    def _blame_schema(
        self, slot: Slot, given: GivenRow, source: str, arrived: float, error: Exception
    ) -> None:
        """The active version took a row that the candidate refused: that is its fault."""
        if isinstance(error, InvalidRequest):
            self._row_failed(slot, given, source, arrived, error, CANARY)
            slot.watched.failure(error)
            self.fell_back(slot)

    def _begin_canary(
        self, slot: Slot, given: Sequence[GivenRow], chosen: list[int], source: str
    ) -> tuple["Future[list[RowAnswer | Rejected]] | None", float]:
        """Ask the candidate about its rows of a batch; and how long it may take, seconds."""
        self._place(slot)
        patience = slot.watched.patience(self.tripwire.half_time)
        rows = [given[place] for place in chosen]
        try:
            return self.begin_rows(slot, rows, CANARY, source), patience
        except Superseded:
            return None, patience

    def _take(
        self,
        slot: Slot,
        asked: "Future[list[RowAnswer | Rejected]] | None",
        given: Sequence[GivenRow],
        chosen: list[int],
        source: str,
        answered: dict[int, RowAnswer | Rejected],
    ) -> list[int]:
        """Keep what the candidate answered of a batch; the places that it did not."""
        arrived = time.perf_counter()
        error: BaseException | None = None
        if asked is None:
            return chosen
        if not asked.done():
            asked.cancel()
            error = DeadlineExceeded("The canary did not answer its rows of a batch in time.")
        elif (error := asked.exception()) is None:
            left = []
            for place, one in zip(chosen, asked.result(), strict=True):
                if isinstance(one, RowAnswer):
                    answered[place] = one
                else:
                    left.append(place)
            if left:
                self.fell_back(slot)
            return left
        if isinstance(error, Exception):
            # Once for all of its rows: the log would be full of the same sentence.
            self._row_failed(slot, given[chosen[0]], source, arrived, error, CANARY)
        self.fell_back(slot)
        return chosen

    # -- Shadow and comparison ----------------------------------------------------------

    def _beside_row(self, slot: Slot, given: GivenRow, source: str) -> "Future[Any] | None":
        """Ask a candidate, which is held, beside the active version; None where all is busy."""
        try:
            self._enter()
        except Saturated:
            slot.release()
            return None
        try:
            ran = self.begin_rows(slot, [given], COMPARE, source)
        except Superseded:
            return None
        arrived = time.perf_counter()
        ran.add_done_callback(partial(self._note_rows, slot, [given], COMPARE, source, arrived))
        return ran

    def _offer(self, split: Split, given: list[GivenRow], source: str) -> None:
        """Have the candidate asked about rows that are answered, when there is time."""
        rows = given[:_MOST_SHADOWED]
        if rows:
            role = COMPARE if split.mode == COMPARE else SHADOW
            work: Callable[[], None] = partial(self._shadow_rows, split, rows, role, source)
            self.shadowing.offer(split.rollout.model, work, len(given))

    def _shadow_rows(self, split: Split, given: list[GivenRow], role: str, source: str) -> None:
        slot = split.hold()
        if slot is None:
            return
        ran = slot.submit(self._work_batch, slot, given, role, source)
        arrived = time.perf_counter()
        try:
            ran.result(self.settings.request_timeout)
        except (AndonError, TimeoutError):
            ran.cancel()
        self._note_rows(slot, given, role, source, arrived, ran)

    def _note_rows(
        self,
        slot: Slot,
        given: Sequence[GivenRow],
        role: str,
        source: str,
        arrived: float,
        ran: "Future[list[RowAnswer | Rejected]]",
    ) -> None:
        """Log that a candidate nobody waits for has failed."""
        if not ran.done() or ran.cancelled():
            self._row_failed(slot, given[0], source, arrived, self.late(), role)
            return
        error = ran.exception()
        if isinstance(error, Exception):
            if not isinstance(error, (*NOT_ITS_FAULT, Superseded)):
                self._row_failed(slot, given[0], source, arrived, error, role)
            return
        encoder = model_of(slot).encoder
        for one, said in zip(given, ran.result(), strict=True):
            if isinstance(said, RowAnswer):
                continue
            try:
                encoder.encode(one.features)
            except InvalidRequest:
                # Wrong for the active version as well, or not: only a canary finds that out.
                continue
            self._row_failed(slot, one, source, arrived, RuntimeFailed(said[0]["detail"]), role)


async def _seen(future: "Future[Any]", seconds: float) -> None:
    """Wait until a future is done or the time is over; it goes on then."""
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    future.add_done_callback(lambda _: loop.call_soon_threadsafe(done.set))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await done.wait()


def _compared(answer: RowAnswer, other: "Future[list[RowAnswer | Rejected]]") -> RowAnswer:
    """The answer with the candidate's beside it, where there is one by now."""
    if not other.done() or other.cancelled() or other.exception() is not None:
        return answer
    said = other.result()[0]
    if not isinstance(said, RowAnswer):
        return answer
    sides = {"model_a": _summary(answer), "model_b": _summary(said)}
    return msgspec.structs.replace(answer, comparison=sides)


def _summary(answer: RowAnswer) -> dict[str, Any]:
    return {
        "version": answer.model_version,
        "prediction": answer.prediction,
        "probability": answer.probability,
    }
