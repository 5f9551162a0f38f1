"""Yesterday's inputs through a candidate, before it sees traffic.

What the active version answered is in the log, the pictures are kept by their content, rows are in
the log whole. Each input is put to the candidate once more, with what is free of the machine, and
the two answers are compared. Nothing of it is logged as an answer, nothing that serves is touched.

A replay is a job. It may run twice (a crash, a restart) with the same result, for it only reads.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import structlog
from sqlalchemy import insert, select

from andon import typed
from andon.errors import AndonError, Conflict, InvalidRequest, ModelDamaged
from andon.serving.engine import InferenceEngine
from andon.serving.replay_run import ReplayAsk, Replayed, ReplayRun
from andon.settings import Settings
from andon.store.clock import now
from andon.store.database import Database
from andon.store.ids import uuid7, uuid7_floor
from andon.store.jobs import JobGivenUp, JobInterrupted
from andon.store.pictures import Pictures
from andon.store.records import Job, ModelVersion
from andon.store.tables import jobs, predictions

log = structlog.get_logger("andon.replay")

KIND = "replay"

LIMIT = 1_000
"""Inputs that are replayed where nobody says otherwise."""

MOST = 10_000
"""Inputs that one replay takes at most."""

SPAN = timedelta(hours=24)
"""How far back a replay goes where nobody says otherwise."""

_PAGE = 500
# Live traffic goes first, but a replay on a busy machine ends one day all the same.
_PATIENCE = 1.0
_PAUSE = 0.02
# Errors from this status on may pass by themselves.
_PASSING = 500
# A command in a terminal holds its job so long without a sign of life.
_LEASE = 60.0
_RENEW_EVERY = 10.0
_AGO = re.compile(r"(\d{1,5})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_columns = predictions.c

Progress = Callable[[int, int], None]
"""Told how many inputs are done, and of how many."""


class Replays:
    """Asks for replays and runs them.

    Args:
        db: The log.
        engine: Loads the candidate as a guest; says how busy the machine is.
        pictures: Where received pictures are.
        settings: Limits.
    """

    def __init__(
        self, db: Database, engine: InferenceEngine, pictures: Pictures, settings: Settings
    ) -> None:
        self._db = db
        self._engine = engine
        self._pictures = pictures
        self._settings = settings
        self._stopping = threading.Event()
        self._progress: dict[str, tuple[int, int]] = {}

    def ask(
        self,
        model: str | None,
        version: int,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> dict[str, Any]:
        """What a job of kind "replay" must hold.

        Args:
            model: Registered model; None is the default model.
            version: The candidate.
            since: Inputs from then on; None: of the last 24 hours before `until`.
            until: Inputs before then; None: now.
            limit: The newest so many, 10,000 at most; None: 1,000.

        Raises:
            NotFound: No such model or version.
            Conflict: The version is active, or none is.
            InvalidRequest: The span or the limit cannot be used.
        """
        name = model or self._settings.default_model
        candidate = self._db.models.get(name, version)
        active = self._db.models.active(name)
        if active is None:
            raise Conflict(
                f"No version of model {name} is active, so there are no answers to compare with.",
                hint="Activate a version first.",
            )
        if active.id == candidate.id:
            raise Conflict(
                f"Version {version} of model {name} is active: these answers are its own.",
                hint="Name a version that does not serve.",
            )
        end = until or now()
        begin = since or end - SPAN
        if begin >= end:
            raise _invalid("since", "must be before until")
        wanted = LIMIT if limit is None else limit
        if not 1 <= wanted <= MOST:
            raise _invalid("limit", f"must be from 1 to {MOST}")
        asked = ReplayAsk(
            model=name,
            version=version,
            against=active.version,
            since=begin,
            until=end,
            limit=wanted,
        )
        payload: dict[str, Any] = msgspec.to_builtins(asked)
        return payload

    def run(self, job: Job) -> dict[str, Any]:
        """Run a job; its result as JSON values, see `Replayed`.

        Raises:
            JobGivenUp: The candidate or the version it is compared with is gone, or does not load.
            JobInterrupted: This process ends; the next one begins again.
            AndonError: The log cannot be read now.
        """
        asked = typed.convert(job.payload, ReplayAsk)

        def tell(done: int, total: int) -> None:
            self._progress[job.id] = done, total

        try:
            result: dict[str, Any] = msgspec.to_builtins(self.replay(asked, tell))
        except AndonError as error:
            if self._stopping.is_set():
                raise JobInterrupted from error
            # A candidate that does not load loads no better the second time.
            if isinstance(error, ModelDamaged) or error.status < _PASSING:
                raise JobGivenUp(f"{error.detail} {error.hint}".strip()) from error
            raise
        finally:
            self._progress.pop(job.id, None)
        return result

    def run_here(self, payload: dict[str, Any], progress: Progress | None = None) -> Job:
        """Run a replay in this process at once, as a job that a server's pages show.

        Args:
            payload: From `ask`.
            progress: Told after every input.

        Raises:
            AndonError: As for `replay`; the job says so, too.
        """
        worker = f"cli:{os.getpid()}"
        job_id, moment = uuid7(), now()
        with self._db.write() as connection:
            # Never queued: a server beside this would take it.
            connection.execute(
                insert(jobs).values(
                    id=job_id,
                    kind=KIND,
                    status="running",
                    payload=payload,
                    attempts=1,
                    worker=worker,
                    created_at=moment,
                    available_at=moment,
                    started_at=moment,
                    lease_until=moment + timedelta(seconds=_LEASE),
                )
            )
        renewed = time.monotonic()

        def tell(done: int, total: int) -> None:
            nonlocal renewed
            if time.monotonic() - renewed > _RENEW_EVERY:
                renewed = time.monotonic()
                self._db.jobs.renew(job_id, worker, _LEASE)
            if progress is not None:
                progress(done, total)

        try:
            found = self.replay(typed.convert(payload, ReplayAsk), tell)
        except BaseException as error:
            reason = str(error) if isinstance(error, AndonError) else "It was interrupted."
            self._db.jobs.fail(job_id, worker, 1, reason, None)
            raise
        self._db.jobs.finish(job_id, worker, 1, msgspec.to_builtins(found))
        return self._db.jobs.get(job_id)

    def progress(self, job_id: str) -> tuple[int, int] | None:
        """How many inputs are done, and of how many; None where this process does not run it."""
        return self._progress.get(job_id)

    def stop(self) -> None:
        """The process ends: what runs is left for the next start."""
        self._stopping.set()

    def replay(self, asked: ReplayAsk, progress: Progress | None = None) -> Replayed:
        """Put the inputs to the candidate, newest first, and compare.

        Args:
            asked: What.
            progress: Told after every input.

        Raises:
            NotFound: One of the versions is gone.
            ModelDamaged, ModelRejected: The candidate does not load.
            JobInterrupted: `stop` was called.
        """
        against = self._db.models.get(asked.model, asked.against)
        # Fails once, here, and not once per input.
        self._engine.fleet.hold(asked.model, asked.version).release()
        ids = self._ids(against, asked)
        run = ReplayRun(self._engine, self._pictures, self._settings, asked, against)
        log.info(
            f"Replay of {len(ids)} inputs through v{asked.version}",
            model=asked.model,
            against=asked.against,
        )
        for number, row in enumerate(self._rows(ids), 1):
            self._give_way()
            run.take(row)
            if progress is not None:
                progress(number, len(ids))
            if run.hopeless:
                break
        return run.result()

    def _give_way(self) -> None:
        """Wait while callers wait, within reason.

        Raises:
            JobInterrupted: The process ends.
        """
        until = time.monotonic() + _PATIENCE
        while not self._stopping.is_set():
            if self._engine.queue_size() == 0 or time.monotonic() >= until:
                return
            self._stopping.wait(_PAUSE)
        raise JobInterrupted

    def _ids(self, against: ModelVersion, asked: ReplayAsk) -> list[str]:
        """The answers to compare with, newest first."""
        query = (
            select(_columns.id)
            .where(
                _columns.model_id == against.id,
                _columns.id >= uuid7_floor(asked.since),
                _columns.id < uuid7_floor(asked.until),
                _columns.role == "active",
                _columns.status == "success",
            )
            .order_by(_columns.id.desc())
            .limit(asked.limit)
        )
        with self._db.read() as connection:
            return list(connection.scalars(query))

    def _rows(self, ids: list[str]) -> Iterator[Any]:
        """The answers, a few hundred at a time: ten thousand whole ones would fill memory."""
        for start in range(0, len(ids), _PAGE):
            part = ids[start : start + _PAGE]
            query = select(predictions).where(_columns.id.in_(part)).order_by(_columns.id.desc())
            with self._db.read() as connection:
                rows = connection.execute(query).all()
            yield from rows


def moment_of(field: str, words: str | None) -> datetime | None:
    """A time as people give it: "24h", "90m" or "7d" ago, or ISO 8601 with Z or a UTC offset.

    Args:
        field: Whose it is, for the error.
        words: None or empty where nobody said any.

    Raises:
        InvalidRequest: It is neither.
    """
    plain = (words or "").strip()
    if not plain:
        return None
    ago = _AGO.fullmatch(plain.lower())
    if ago is not None:
        return now() - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        found = datetime.fromisoformat(plain)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise _invalid(field, "must be such as 24h, 7d, or 2026-01-31T12:00:00Z")
    # Nothing was answered before 1970, and what lies at the ends of the calendar overflows.
    return max(_EPOCH, found)


def _invalid(field: str, detail: str) -> InvalidRequest:
    return InvalidRequest(
        f"The request is not valid: {field} {detail}.", errors=[{"field": field, "detail": detail}]
    )
