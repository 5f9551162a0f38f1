"""Trainings as rows: at most one unfinished per model, held by whoever runs it, ended once.

Whoever runs one says so every few seconds (`beat`). A run whose process is gone is failed with
a sentence (`fail_dead`), unless its job is still to be taken up again.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    exists,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError

from andon.errors import Conflict, NotFound
from andon.store.clock import now
from andon.store.connections import Connections
from andon.store.ids import uuid7
from andon.store.tables import Timestamp, jobs, model_versions, training_runs

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]

KIND = "train"
"""Kind of the job that runs a training; the two have the same id."""

UNFINISHED = ("queued", "running")

SILENCE = 15.0
"""Seconds without a sign of life after which a running training counts as dead."""

_MOST_ERROR = 4000
_columns = training_runs.c
_NEWEST = (_columns.created_at.desc(), _columns.id.desc())
_WAITING = "Waiting for a place."


class TrainingRun(msgspec.Struct, frozen=True):
    """One training of one model.

    Attributes:
        id: A UUIDv7; its folder and its job have the same.
        options: What was asked, as JSON.
        stage: What it is doing, or what became of it, for people.
        progress: Share that is done, 0 to 1.
        source: How it was asked for: "api", "page", "schedule", "cli".
        error: Why it failed; else empty.
        report: Everything that was measured, as JSON; None while there is nothing, and in lists.
        version: The version that came of it, or None.
        worker: Machine and process that runs it.
        cancelled: Whether somebody wants it to stop.
        tracking_id: Of MLflow's run, or None.
    """

    id: str
    model: str
    recipe: str
    options: dict[str, Any]
    status: Status
    stage: str
    progress: float
    source: str
    actor: str
    reason: str
    error: str
    report: dict[str, Any] | None
    version: int | None
    worker: str
    cancelled: bool
    tracking_id: str | None
    created_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime | None
    finished_at: datetime | None

    @property
    def finished(self) -> bool:
        """Whether nothing more will become of it."""
        return self.status not in UNFINISHED


class TrainingRuns:
    """The queries of `training_runs`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def create(
        self,
        *,
        model: str,
        recipe: str,
        options: dict[str, Any],
        source: str,
        actor: str = "",
        reason: str = "",
        run_id: str | None = None,
        worker: str = "",
    ) -> TrainingRun:
        """A new training, durable on return.

        Args:
            model: Registered model that it is for.
            recipe: What it is.
            options: What was asked, as JSON.
            source: How it was asked for.
            actor: Who asked.
            reason: Why, for people.
            run_id: A UUIDv7 made before; None makes one.
            worker: Who runs it from now on; empty queues a job that does.

        Raises:
            Conflict: A training of this model is unfinished, or this id is taken; the member
                `run_id` names it.
        """
        moment = now()
        values: dict[str, Any] = {
            "id": run_id or uuid7(),
            "model_name": model,
            "recipe": recipe,
            "options": options,
            "status": "queued",
            "stage": _WAITING,
            "source": source,
            "actor": actor,
            "reason": reason,
            "created_at": moment,
        }
        if worker:
            started = {"started_at": moment, "heartbeat_at": moment, "stage": "Starting."}
            values |= {"status": "running", "worker": worker, **started}
        try:
            with self._connections.write() as connection:
                connection.execute(insert(training_runs).values(values))
                if not worker:
                    _queue_job(connection, values["id"], moment)
        except IntegrityError as error:
            raise self._in_the_way(values["id"], model) from error
        return self.get(values["id"])

    def start(self, run_id: str, worker: str) -> TrainingRun | None:
        """Take a run over, whoever had it: the caller holds its job. None when it has ended."""
        moment = now()
        with self._connections.write() as connection:
            taken = connection.execute(
                update(training_runs)
                .where(_columns.id == run_id, _columns.status.in_(UNFINISHED))
                .values(
                    status="running",
                    worker=worker,
                    heartbeat_at=moment,
                    started_at=func.coalesce(_columns.started_at, literal(moment, Timestamp())),
                    stage="Starting.",
                    error="",
                )
            ).rowcount
        return self.get(run_id) if taken else None

    def beat(
        self,
        run_id: str,
        worker: str,
        *,
        stage: str | None = None,
        progress: float | None = None,
        tracking_id: str | None = None,
    ) -> bool:
        """Say that a run is alive and how far it is; False when it is no longer this worker's."""
        values: dict[str, Any] = {"heartbeat_at": now()}
        given = {"stage": stage, "progress": progress, "tracking_id": tracking_id}
        values |= {name: value for name, value in given.items() if value is not None}
        return self._change(_held(run_id, worker), values)

    def wish(self, run_id: str, worker: str) -> Literal["go on", "cancel", "let go"]:
        """What is wanted of whoever runs it; "let go": somebody else has it, or it has ended."""
        query = select(_columns.cancelled).where(_held(run_id, worker))
        with self._connections.read() as connection:
            cancelled = connection.scalar(query)
        if cancelled is None:
            return "let go"
        return "cancel" if cancelled else "go on"

    def finish(
        self,
        run_id: str,
        worker: str,
        *,
        report: dict[str, Any],
        version_id: int,
        stage: str,
    ) -> bool:
        """Record what was measured and the version; False when it was somebody else's already."""
        return self._end(
            _held(run_id, worker),
            status="succeeded",
            report=report,
            model_id=version_id,
            stage=stage,
            progress=1.0,
            error="",
        )

    def fail(
        self, run_id: str, worker: str, error: str, *, report: dict[str, Any] | None = None
    ) -> bool:
        """Record why it failed; False when it was somebody else's already."""
        more = {} if report is None else {"report": report}
        return self._end(
            _held(run_id, worker),
            status="failed",
            stage="Failed.",
            error=error[:_MOST_ERROR],
            **more,
        )

    def stopped(self, run_id: str, worker: str) -> bool:
        """Record that it was cancelled and has stopped."""
        return self._end(_held(run_id, worker), status="cancelled", stage="Cancelled.")

    def requeue(self, run_id: str, worker: str) -> bool:
        """Put it back where it waits: its server stops, and another start takes it up."""
        return self._change(
            _held(run_id, worker),
            {"status": "queued", "worker": "", "stage": "Interrupted; it will start again."},
        )

    def cancel(self, run_id: str) -> TrainingRun:
        """Want a run to stop. One that waits is cancelled at once, another within seconds.

        Raises:
            NotFound: There is none.
            Conflict: It has ended.
        """
        with self._connections.write() as connection:
            waited = connection.execute(
                update(training_runs)
                .where(_columns.id == run_id, _columns.status == "queued")
                .values(status="cancelled", cancelled=True, stage="Cancelled.", finished_at=now())
            ).rowcount
            if waited:
                connection.execute(
                    update(jobs)
                    .where(jobs.c.id == run_id, jobs.c.status == "queued")
                    .values(status="failed", error="Cancelled.", finished_at=now())
                )
            else:
                waited = connection.execute(
                    update(training_runs)
                    .where(_columns.id == run_id, _columns.status == "running")
                    .values(cancelled=True)
                ).rowcount
        run = self.get(run_id)
        if not waited:
            raise Conflict(
                f"The training {run_id} has ended already: {run.status}.",
                hint="Only one that waits or runs can be cancelled.",
            )
        return run

    def fail_dead(
        self, is_dead: Callable[[str], bool | None], *, model: str | None = None
    ) -> list[str]:
        """Fail the runs that nobody runs and nobody will; their ids.

        A run whose job is unfinished is left to the queue, which takes it up again.

        Args:
            is_dead: Tells of a worker whether its process is gone; None where it cannot be
                known. A terminal's process that lives keeps its run however long it was silent:
                the clock may have jumped, or the machine slept.
            model: Somebody waits for this one: its dead run is failed although a job would
                take it up again.
        """
        silent = now() - timedelta(seconds=SILENCE)
        queued = exists().where(jobs.c.id == _columns.id)
        job = queued.where(jobs.c.status.in_(UNFINISHED))
        columns = (_columns.id, _columns.status, _columns.worker, _columns.heartbeat_at)
        query = select(*columns, job, queued)
        query = query.where(_columns.status.in_(UNFINISHED))
        if model is not None:
            query = query.where(_columns.model_name == model)
        with self._connections.read() as connection:
            rows = connection.execute(query).all()
        failed = []
        for run_id, status, worker, beat, has_job, was_queued in rows:
            if has_job and (model is None or status == "queued"):
                continue
            if status == "running" and beat is not None:
                dead = is_dead(worker)
                if not dead and (beat >= silent or (dead is False and not was_queued)):
                    continue
            same = _held(run_id, worker) if status == "running" else _waiting(run_id)
            if beat is not None and status == "running":
                # It may have been taken over since it was looked at.
                same &= _columns.heartbeat_at == beat
            if self._end(same, status="failed", stage="Failed.", error=_gone(status)):
                failed.append(run_id)
        return failed

    def get(self, run_id: str) -> TrainingRun:
        """One run, with its report.

        Raises:
            NotFound: There is none with this id.
        """
        with self._connections.read() as connection:
            row = connection.execute(_query().where(_columns.id == run_id)).first()
        if row is None:
            raise NotFound(f"There is no training {run_id}.", hint="GET /api/training lists them.")
        return _record(row)

    def page(
        self,
        *,
        model: str | None = None,
        recipe: str | None = None,
        status: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> tuple[list[TrainingRun], str | None]:
        """Runs newest first, without reports, and the cursor of the next page (None: the last).

        A cursor is the id of the last run of a page. Ids alone do not tell the order: those of
        scheduled runs follow from the time they were due, which may be long past.
        """
        query = _query(report=False).order_by(*_NEWEST).limit(limit + 1)
        given = ((_columns.model_name, model), (_columns.recipe, recipe), (_columns.status, status))
        for column, value in given:
            if value is not None:
                query = query.where(column == value)
        if before is not None:
            last = training_runs.alias("last").c
            created = select(last.created_at).where(last.id == before).scalar_subquery()
            place = tuple_(created, literal(before, _columns.id.type))
            query = query.where(tuple_(_columns.created_at, _columns.id) < place)
        with self._connections.read() as connection:
            rows = connection.execute(query).all()
        found = [_record(row) for row in rows[:limit]]
        return found, found[-1].id if len(rows) > limit else None

    def unfinished(self, model: str | None = None) -> list[TrainingRun]:
        """What waits or runs, oldest first, without reports."""
        query = _query(report=False).where(_columns.status.in_(UNFINISHED))
        query = query.order_by(_columns.created_at, _columns.id)
        if model is not None:
            query = query.where(_columns.model_name == model)
        with self._connections.read() as connection:
            return [_record(row) for row in connection.execute(query)]

    def newest_succeeded(self) -> dict[str, str]:
        """Id of the newest run that succeeded, by model."""
        query = newest_of_each(_columns.status == "succeeded")
        with self._connections.read() as connection:
            return {row.model_name: row.id for row in connection.execute(query)}

    def newest_asked(self, model: str, *, source: str, host: str) -> TrainingRun | None:
        """The newest run of a model that succeeded and was asked for so, on this machine.

        Args:
            model: Registered model.
            source: How it was asked for.
            host: Name of the machine that ran it, as workers begin with it.
        """
        query = _query(report=False).where(
            _columns.model_name == model,
            _columns.status == "succeeded",
            _columns.source == source,
            _columns.worker.startswith(f"{host}:", autoescape=True),
        )
        with self._connections.read() as connection:
            row = connection.execute(query.order_by(*_NEWEST).limit(1)).first()
        return None if row is None else _record(row)

    def _in_the_way(self, run_id: str, model: str) -> Conflict:
        """The error for a run that cannot be made."""
        found = self.unfinished(model)
        other = found[0] if found else None
        error = Conflict(
            f"The training {run_id} exists already."
            if other is None
            else f"A training of model {model} is under way already ({other.status}): {other.id}.",
            hint="Wait for it, or cancel it: andon runs cancel "
            f"{run_id if other is None else other.id}",
        )
        error.members["run_id"] = run_id if other is None else other.id
        return error

    def _end(self, same: ColumnElement[bool], **values: Any) -> bool:
        return self._change(same, {"finished_at": now(), **values})

    def _change(self, same: ColumnElement[bool], values: dict[str, Any]) -> bool:
        with self._connections.write() as connection:
            changed = connection.execute(update(training_runs).where(same).values(values)).rowcount
        return changed == 1


def newest_of_each(wanted: ColumnElement[bool]) -> Select[Any]:
    """Model, id, status and error of the newest run of each model, among those wanted."""
    place = func.row_number().over(partition_by=_columns.model_name, order_by=_NEWEST)
    columns = (_columns.model_name, _columns.id, _columns.status, _columns.error)
    ordered = select(*columns, place.label("place")).where(wanted).subquery()
    found = ordered.c
    return (
        select(found.model_name, found.id, found.status, found.error)
        .where(found.place == 1)
        .order_by(found.model_name)
    )


def _queue_job(connection: Connection, run_id: str, moment: datetime) -> None:
    connection.execute(
        insert(jobs).values(
            id=run_id,
            kind=KIND,
            status="queued",
            payload={"run_id": run_id},
            created_at=moment,
            available_at=moment,
        )
    )


def _held(run_id: str, worker: str) -> ColumnElement[bool]:
    return (_columns.id == run_id) & (_columns.status == "running") & (_columns.worker == worker)


def _waiting(run_id: str) -> ColumnElement[bool]:
    return (_columns.id == run_id) & (_columns.status == "queued")


def _gone(status: str) -> str:
    if status == "queued":
        return "It never ran: its job was given up."
    return (
        "The process that ran it is gone. Start it again; a version that it may have registered "
        "is found, not made twice."
    )


def _query(*, report: bool = True) -> Select[Any]:
    columns: Sequence[Any] = [
        column for column in training_runs.columns if report or column.name != "report"
    ]
    joined = training_runs.outerjoin(model_versions, model_versions.c.id == _columns.model_id)
    return select(*columns, model_versions.c.version).select_from(joined)


def _record(row: Any) -> TrainingRun:
    return TrainingRun(
        id=row.id,
        model=row.model_name,
        recipe=row.recipe,
        options=row.options,
        status=row.status,
        stage=row.stage,
        progress=row.progress,
        source=row.source,
        actor=row.actor,
        reason=row.reason,
        error=row.error,
        report=getattr(row, "report", None),
        version=row.version,
        worker=row.worker,
        cancelled=row.cancelled,
        tracking_id=row.tracking_id,
        created_at=row.created_at,
        started_at=row.started_at,
        heartbeat_at=row.heartbeat_at,
        finished_at=row.finished_at,
    )
