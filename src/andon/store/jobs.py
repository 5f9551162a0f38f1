"""Queued work as rows: claimed by one worker at a time, finished once, never lost.

A worker holds a job by a lease it renews. When it dies, the lease runs out and the job is
queued again; a result that comes too late, from a worker that lost its job, is not taken.
"""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, func, insert, select, update

from andon.errors import NotFound
from andon.store.clock import now
from andon.store.connections import Connections
from andon.store.ids import uuid7
from andon.store.records import Job
from andon.store.tables import jobs

_columns = jobs.c


class JobInterrupted(Exception):
    """A handler stopped half-way because its process ends: the job waits for the next one."""


class JobGivenUp(Exception):
    """A handler knows that its job has failed for good; trying again would not help."""


class Jobs:
    """The queries of `jobs`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def add(self, kind: str, payload: dict[str, Any], *, job_id: str | None = None) -> Job:
        """Queue work; on return it is on disk.

        Args:
            kind: Which handler runs it.
            payload: What the handler needs, as JSON.
            job_id: A UUIDv7 made before, where the payload must name it.
        """
        moment = now()
        values = {
            "id": job_id or uuid7(),
            "kind": kind,
            "status": "queued",
            "payload": payload,
            "created_at": moment,
            "available_at": moment,
        }
        with self._connections.write() as connection:
            row = connection.execute(insert(jobs).values(values).returning(jobs)).one()
            return _record(row)

    def claim(
        self, worker: str, lease_seconds: float, *, kinds: Collection[str] | None = None
    ) -> Job | None:
        """Take the oldest job that is due, or None; no other worker gets it meanwhile.

        Args:
            worker: Who takes it.
            lease_seconds: For how long, unless renewed.
            kinds: Of these only; None takes any.
        """
        moment = now()
        due = (
            select(_columns.id)
            .where(_columns.status == "queued", _columns.available_at <= moment)
            .order_by(_columns.id)
            .limit(1)
        )
        if kinds is not None:
            due = due.where(_columns.kind.in_(kinds))
        with self._connections.read() as connection:
            # Looking first: an idle worker must not take SQLite's write lock every second.
            if connection.scalar(due) is None:
                return None
        with self._connections.write() as connection:
            found = connection.scalar(due.with_for_update(skip_locked=True))
            if found is None:
                return None
            row = connection.execute(
                update(jobs)
                .where(_columns.id == found)
                .values(
                    status="running",
                    worker=worker,
                    attempts=_columns.attempts + 1,
                    started_at=moment,
                    lease_until=moment + timedelta(seconds=lease_seconds),
                )
                .returning(jobs)
            ).one()
            return _record(row)

    def renew(self, job_id: str, worker: str, lease_seconds: float) -> bool:
        """Hold a job for longer; False when it is no longer this worker's."""
        lease = now() + timedelta(seconds=lease_seconds)
        held = (_columns.status == "running") & (_columns.worker == worker)
        return self._change(job_id, held, lease_until=lease)

    def finish(self, job_id: str, worker: str, attempt: int, result: Any) -> bool:
        """Record the result; False when the job went to somebody else meanwhile."""
        return self._change(
            job_id,
            _held(worker, attempt),
            status="succeeded",
            result=result,
            error="",
            finished_at=now(),
            lease_until=None,
        )

    def fail(
        self, job_id: str, worker: str, attempt: int, error: str, retry_in: float | None
    ) -> bool:
        """Record a failure; False when the job went to somebody else meanwhile.

        Args:
            job_id: The job.
            worker: Who ran it.
            attempt: `Job.attempts` as claimed.
            error: What went wrong, for people.
            retry_in: Seconds until it is tried again; None: it has failed for good.
        """
        moment = now()
        if retry_in is None:
            values: dict[str, Any] = {"status": "failed", "finished_at": moment}
        else:
            due = moment + timedelta(seconds=retry_in)
            values = {"status": "queued", "available_at": due, "worker": ""}
        return self._change(job_id, _held(worker, attempt), error=error, lease_until=None, **values)

    def release(self, job_id: str, worker: str, attempt: int) -> bool:
        """Queue a job again as if it had not been tried; False when it is somebody else's."""
        return self._change(
            job_id,
            _held(worker, attempt),
            status="queued",
            worker="",
            attempts=attempt - 1,
            lease_until=None,
            available_at=now(),
        )

    def requeue_expired(
        self, *, max_attempts: int | None = None, special: Mapping[str, int] | None = None
    ) -> int:
        """Queue jobs again whose worker let its lease run out; how many there were.

        A job that was tried `max_attempts` times counts as failed instead: it may be the one
        that kills its worker.

        Args:
            max_attempts: None: any number.
            special: The same for single kinds.
        """
        moment = now()
        expired = (_columns.status == "running") & (_columns.lease_until < moment)
        changed = 0
        with self._connections.read() as connection:
            if connection.scalar(select(_columns.id).where(expired).limit(1)) is None:
                return 0
        with self._connections.write() as connection:
            limits = [(_columns.kind == kind, most) for kind, most in (special or {}).items()]
            if max_attempts is not None:
                limits.append((_columns.kind.not_in(special or ()), max_attempts))
            for of_kind, attempts in limits:
                changed += connection.execute(
                    update(jobs)
                    .where(expired, of_kind, _columns.attempts >= attempts)
                    .values(
                        status="failed",
                        error=f"Its worker died or hung {attempts} times while running it.",
                        finished_at=moment,
                        lease_until=None,
                    )
                ).rowcount
            changed += connection.execute(
                update(jobs)
                .where(expired)
                .values(status="queued", worker="", lease_until=None, available_at=moment)
            ).rowcount
        return changed

    def requeue_all_of(self, workers_prefix: str) -> int:
        """Queue the running jobs of a process that is known to be dead, lease or not."""
        with self._connections.write() as connection:
            return connection.execute(
                update(jobs)
                .where(
                    _columns.status == "running",
                    _columns.worker.startswith(workers_prefix, autoescape=True),
                )
                .values(status="queued", worker="", lease_until=None, available_at=now())
            ).rowcount

    def get(self, job_id: str) -> Job:
        """One job.

        Raises:
            NotFound: There is none with this id.
        """
        with self._connections.read() as connection:
            row = connection.execute(select(jobs).where(_columns.id == job_id)).first()
        if row is None:
            raise NotFound(
                f"There is no job {job_id}.",
                hint="Old ones are deleted (ANDON_KEEP_JOBS_DAYS); GET /api/jobs lists those "
                "there are.",
            )
        return _record(row)

    def page(
        self,
        *,
        kind: str | None = None,
        status: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> tuple[list[Job], str | None]:
        """Jobs newest first, and the cursor of the next page (None on the last)."""
        query: Select[Any] = select(jobs).order_by(_columns.id.desc()).limit(limit + 1)
        if kind is not None:
            query = query.where(_columns.kind == kind)
        if status is not None:
            query = query.where(_columns.status == status)
        if before is not None:
            query = query.where(_columns.id < before)
        with self._connections.read() as connection:
            rows = connection.execute(query).all()
        found = [_record(row) for row in rows[:limit]]
        return found, found[-1].id if len(rows) > limit else None

    def count_queued(self, kind: str | None = None) -> int:
        """Jobs that wait for a worker; of one kind, or of all."""
        query = select(func.count()).select_from(jobs).where(_columns.status == "queued")
        if kind is not None:
            query = query.where(_columns.kind == kind)
        with self._connections.read() as connection:
            return connection.scalar(query) or 0

    def _change(self, job_id: str, condition: ColumnElement[bool], **values: Any) -> bool:
        with self._connections.write() as connection:
            changed = connection.execute(
                update(jobs).where(_columns.id == job_id, condition).values(values)
            ).rowcount
        return changed == 1


def _held(worker: str, attempt: int) -> ColumnElement[bool]:
    return (
        (_columns.status == "running")
        & (_columns.worker == worker)
        & (_columns.attempts == attempt)
    )


def _record(row: Any) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        status=row.status,
        payload=row.payload,
        result=row.result,
        error=row.error,
        attempts=row.attempts,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
