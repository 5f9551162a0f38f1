"""Candidates beside active versions: which one, how it takes part, how that ended.

At most one runs per model; the database holds that with a unique index, for all processes.
"""

from typing import Any

from sqlalchemy import Connection, Select, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from andon.errors import Conflict, InvalidRequest, NotFound
from andon.store.clock import now
from andon.store.connections import Connections
from andon.store.ids import uuid7
from andon.store.records import Rollout
from andon.store.tables import iso, model_versions, rollouts

MODES = ("canary", "shadow", "compare")
ENDINGS = ("promoted", "reverted", "stopped")

_columns = rollouts.c
_candidate = model_versions.alias("candidate")
_baseline = model_versions.alias("baseline")


class Rollouts:
    """The queries of `rollouts`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def start(
        self, model: str, mode: str, candidate: int, weight: float, actor: str, reason: str
    ) -> Rollout:
        """Let a candidate take part from now on.

        Args:
            model: Registered model's name.
            mode: "canary" (it answers its share), "shadow" (nobody sees its answers) or
                "compare" (both answer).
            candidate: Version number.
            weight: Share of the subjects that it is asked about, 0 to 1.
            actor: Who wants it.
            reason: Why, for people.

        Raises:
            NotFound: There is no such version, or it was deleted.
            Conflict: A rollout of this model runs, the candidate is active, or no version is.
            InvalidRequest: The mode or the weight is none.
        """
        if mode not in MODES:
            raise InvalidRequest(
                f"{mode[:64]!r} is no way to try a version.", hint=f"Say {', '.join(MODES)}."
            )
        check_weight(weight)
        moment = now()
        values: dict[str, Any] = {
            "id": uuid7(),
            "model_name": model,
            "mode": mode,
            "weight": weight,
            "status": "running",
            "actor": actor,
            "reason": reason,
            "outcome": "",
            "created_at": moment,
            "updated_at": moment,
        }
        try:
            with self._connections.write() as connection:
                wanted = _version(connection, model, candidate)
                active = connection.execute(
                    select(model_versions.c.id, model_versions.c.version).where(
                        model_versions.c.model_name == model, model_versions.c.is_active
                    )
                ).first()
                if active is None:
                    raise Conflict(
                        f"No version of model {model} is active, so there is nothing to try "
                        f"version {candidate} beside.",
                        hint="Activate a version first.",
                    )
                if active.id == wanted:
                    raise Conflict(
                        f"Version {candidate} of model {model} is active: it answers already.",
                        hint="Name a version that does not serve.",
                    )
                running = connection.execute(_running(model)).first()
                if running is not None:
                    raise _one_at_a_time(model, _record(running))
                values |= {"candidate_id": wanted, "baseline_id": active.id}
                connection.execute(insert(rollouts).values(values))
                return _record(connection.execute(_one(values["id"])).one())
        except IntegrityError:
            # Another process was faster.
            raise _one_at_a_time(model, self.running(model)) from None

    def running(self, model: str) -> Rollout | None:
        """The rollout of a model that runs, or None."""
        with self._connections.read() as connection:
            row = connection.execute(_running(model)).first()
        return None if row is None else _record(row)

    def all_running(self) -> list[Rollout]:
        """The rollouts that run, by model."""
        query = _select().where(_columns.status == "running").order_by(_columns.model_name)
        with self._connections.read() as connection:
            return [_record(row) for row in connection.execute(query)]

    def get(self, rollout_id: str) -> Rollout:
        """One rollout.

        Raises:
            NotFound: There is none of this id.
        """
        with self._connections.read() as connection:
            return _get(connection, rollout_id)

    def page(
        self, model: str | None = None, before: str | None = None, limit: int = 50
    ) -> tuple[list[Rollout], str | None]:
        """Rollouts newest first, and the id to pass as `before` for the next page, or None."""
        query = _select().order_by(_columns.id.desc()).limit(limit + 1)
        if model is not None:
            query = query.where(_columns.model_name == model)
        if before is not None:
            query = query.where(_columns.id < before)
        with self._connections.read() as connection:
            found = [_record(row) for row in connection.execute(query)]
        return found[:limit], found[limit - 1].id if len(found) > limit else None

    def set_weight(self, rollout_id: str, weight: float) -> Rollout:
        """Change the share. Who was asked for by a smaller share stays so by a greater one.

        Raises:
            NotFound: There is none of this id.
            Conflict: It has ended.
            InvalidRequest: Not from 0 to 1.
        """
        check_weight(weight)
        return self._change(rollout_id, weight=weight)

    def set_judgement(self, rollout_id: str, judgement: dict[str, Any]) -> Rollout:
        """Keep the newest judgement.

        Raises:
            NotFound: There is none of this id.
            Conflict: It has ended.
        """
        return self._change(rollout_id, judgement=judgement)

    def end(self, rollout_id: str, status: str, outcome: str) -> Rollout:
        """End a rollout; ending it once more in the same way changes nothing.

        Args:
            rollout_id: Which.
            status: "promoted", "reverted" or "stopped".
            outcome: Why, for people.

        Raises:
            NotFound: There is none of this id.
            Conflict: It has ended otherwise.
            InvalidRequest: The status is no ending.
        """
        if status not in ENDINGS:
            raise InvalidRequest(
                f"A rollout cannot end as {status[:64]!r}.", hint=f"Say {', '.join(ENDINGS)}."
            )
        with self._connections.write() as connection:
            moment = now()
            ended = connection.execute(
                update(rollouts)
                .where(_columns.id == rollout_id, _columns.status == "running")
                .values(status=status, outcome=outcome, updated_at=moment, ended_at=moment)
            ).rowcount
            found = _get(connection, rollout_id)
        if not ended and found.status != status:
            raise Conflict(
                f"The rollout of version {found.candidate} of model {found.model} has ended "
                f"already: {found.status}.",
                hint="Start another one if it is to be tried again.",
            )
        return found

    def last_change(self) -> str:
        """A token that differs after every change: what runs, in which state, and how many ran."""
        changed = (
            select(_columns.id, _columns.updated_at, _columns.weight)
            .where(_columns.status == "running")
            .order_by(_columns.id)
        )
        with self._connections.read() as connection:
            count = connection.scalar(select(func.count()).select_from(rollouts))
            rows = connection.execute(changed).all()
        running = [f"{row.id}@{iso(row.updated_at)}*{row.weight}" for row in rows]
        return "|".join([str(count), *running])

    def _change(self, rollout_id: str, **values: Any) -> Rollout:
        with self._connections.write() as connection:
            changed = connection.execute(
                update(rollouts)
                .where(_columns.id == rollout_id, _columns.status == "running")
                .values(updated_at=now(), **values)
            ).rowcount
            found = _get(connection, rollout_id)
        if not changed:
            raise Conflict(
                f"The rollout of version {found.candidate} of model {found.model} has ended: "
                f"{found.status}.",
                hint="Start another one.",
            )
        return found


def check_weight(weight: float) -> None:
    """Refuse a share that is none.

    Raises:
        InvalidRequest: Not from 0 to 1.
    """
    if not 0 <= weight <= 1:
        raise InvalidRequest(
            f"A share of {weight} cannot be used.",
            hint="Give a number from 0 to 1; 0.1 is a tenth of the subjects.",
            errors=[{"field": "weight", "detail": "must be from 0 to 1"}],
        )


def _one_at_a_time(model: str, running: Rollout | None) -> Conflict:
    which = f"version {running.candidate} as {running.mode}" if running else "another version"
    return Conflict(
        f"Model {model} is trying {which} already.", hint="Stop that rollout first, or wait for it."
    )


def _version(connection: Connection, model: str, version: int) -> int:
    """The row id of a version that may be a candidate."""
    row = connection.execute(
        select(model_versions.c.id, model_versions.c.deleted_at).where(
            model_versions.c.model_name == model, model_versions.c.version == version
        )
    ).first()
    if row is None or row.deleted_at is not None:
        state = "was deleted" if row is not None else "does not exist"
        raise NotFound(
            f"Version {version} of model {model} {state}.",
            hint="`andon models list` shows the versions there are.",
        )
    found: int = row.id
    return found


def _select() -> Select[Any]:
    joined = rollouts.join(_candidate, _candidate.c.id == _columns.candidate_id).join(
        _baseline, _baseline.c.id == _columns.baseline_id
    )
    return select(
        rollouts,
        _candidate.c.version.label("candidate"),
        _baseline.c.version.label("baseline"),
    ).select_from(joined)


def _running(model: str) -> Select[Any]:
    return _select().where(_columns.model_name == model, _columns.status == "running")


def _one(rollout_id: str) -> Select[Any]:
    return _select().where(_columns.id == rollout_id)


def _get(connection: Connection, rollout_id: str) -> Rollout:
    row = connection.execute(_one(rollout_id)).first()
    if row is None:
        raise NotFound(
            f"There is no rollout {rollout_id[:64]}.", hint="`andon traffic show` lists them."
        )
    return _record(row)


def _record(row: Any) -> Rollout:
    return Rollout(
        id=row.id,
        model=row.model_name,
        mode=row.mode,
        candidate=row.candidate,
        candidate_id=row.candidate_id,
        baseline=row.baseline,
        baseline_id=row.baseline_id,
        weight=row.weight,
        status=row.status,
        actor=row.actor,
        reason=row.reason,
        judgement=row.judgement,
        outcome=row.outcome,
        created_at=row.created_at,
        updated_at=row.updated_at,
        ended_at=row.ended_at,
    )
