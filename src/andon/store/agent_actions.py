"""What the agent decided to do, as rows: proposed once, reviewed by people, done once.

A row goes pending → approved → running → succeeded or failed; or pending → rejected or expired.
Every step is one transaction that looks at the row first, so two people, two processes and a
process that was killed in between leave one of these ways behind, never a mixture.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, func, insert, select, text, update

from andon import typed
from andon.errors import Conflict, NotFound
from andon.store.action_reviews import refuse_review
from andon.store.clock import now
from andon.store.connections import Connections
from andon.store.ids import uuid7
from andon.store.records import AgentAction, Event, Review
from andon.store.tables import agent_actions, deployment_events

Told = Callable[[Connection, AgentAction], object]
"""Called in the transaction that writes an action down: what it adds is kept or lost with it."""

OPEN = ("pending", "approved", "running")
"""An action in one of these is not over: no second one of its type begins for its model."""

_MOST_TEXT = 4000
# Names the lock under which PostgreSQL looks for an open action and then makes one.
_LOCK = 0x616E646F6E41
_columns = agent_actions.c


class AgentActions:
    """The queries of `agent_actions`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def propose(
        self,
        *,
        action_type: str,
        risk_level: str,
        reason: str,
        action_id: str | None = None,
        model: str | None = None,
        model_version: int | None = None,
        issue_type: str | None = None,
        source: str = "agent",
        parameters: dict[str, Any] | None = None,
        evidence: dict[str, Any] | None = None,
        alert_id: str | None = None,
        approvals_needed: int = 0,
        dry_run: bool = False,
        expires_at: datetime | None = None,
        at: datetime | None = None,
        tell: Told | None = None,
    ) -> AgentAction:
        """Write an action down; durable on return.

        One that needs nobody's approval, and one that is written down only (`dry_run`), is
        "approved" at once and will be claimed; others wait.

        Args:
            action_type: One of the eight.
            risk_level: "low", "medium" or "high".
            reason: Why, in a sentence.
            action_id: A UUIDv7 made before; None makes one. A known one changes nothing.
            model: Registered model, or None.
            model_version: The version that it is about.
            issue_type: What it is about; None where a person asked.
            source: "agent" or "person".
            parameters: What to do exactly.
            evidence: Why, in numbers.
            alert_id: The alert it answers.
            approvals_needed: People who must agree.
            dry_run: Nothing will be done.
            expires_at: When nobody may agree any more.
            at: When it was decided; now where None.
            tell: Called where it waits for people.

        Raises:
            Conflict: An action of this type is open for the model already; the member
                `action_id` names it.
        """
        action_id = action_id or uuid7()
        waits = approvals_needed > 0 and not dry_run
        values = {
            "action_id": action_id,
            "action_type": action_type,
            "risk_level": risk_level,
            "requires_approval": approvals_needed > 0,
            "status": "pending" if waits else "approved",
            "dry_run": dry_run,
            "model_name": model,
            "model_version": model_version,
            "issue_type": issue_type,
            "source": source,
            "reason": reason[:_MOST_TEXT],
            "parameters": parameters or {},
            "evidence": evidence or {},
            "alert_id": alert_id,
            "approvals_needed": approvals_needed,
            "reviews": [],
            "created_at": at or now(),
            "expires_at": expires_at if waits else None,
        }
        with self._connections.write() as connection:
            self._alone(connection)
            known = connection.execute(_one(action_id)).first()
            if known is not None:
                return _record(known)
            if not dry_run:
                _refuse_second(connection, action_type, model)
            row = connection.execute(
                insert(agent_actions).values(values).returning(agent_actions)
            ).one()
            action = _record(row)
            if waits and tell is not None:
                tell(connection, action)
            return action

    def get(self, action_id: str) -> AgentAction:
        """One action.

        Raises:
            NotFound: There is none with this id.
        """
        with self._connections.read() as connection:
            return _record(_existing(connection, action_id))

    def page(
        self,
        status: str | None = None,
        model: str | None = None,
        action_type: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> tuple[list[AgentAction], str | None]:
        """Actions newest first, and the `before` of the next page (None on the last).

        Args:
            status: Of this status only; "open" means all that are not over.
            model: Of this model only.
            action_type: Of this type only.
            before: `action_id` of the last action of the page before.
            limit: At most this many.

        Raises:
            NotFound: There is no action `before`.
        """
        query: Select[Any] = select(agent_actions).order_by(_columns.id.desc()).limit(limit + 1)
        if status == "open":
            query = query.where(_columns.status.in_(OPEN))
        elif status is not None:
            query = query.where(_columns.status == status)
        if model is not None:
            query = query.where(_columns.model_name == model)
        if action_type is not None:
            query = query.where(_columns.action_type == action_type)
        with self._connections.read() as connection:
            if before is not None:
                query = query.where(_columns.id < _existing(connection, before).id)
            rows = connection.execute(query).all()
        found = [_record(row) for row in rows[:limit]]
        return found, found[-1].action_id if len(rows) > limit else None

    def pending(self, model: str | None = None) -> list[AgentAction]:
        """What waits for people, oldest first."""
        return self._open(["pending"], model)

    def open(self, model: str | None = None) -> list[AgentAction]:
        """What is not over, oldest first."""
        return self._open(OPEN, model)

    def review(
        self,
        action_id: str,
        by: str,
        decision: str,
        comment: str = "",
        at: datetime | None = None,
    ) -> AgentAction:
        """Take one person's word: the last one that is needed approves, any rejection ends it.

        Args:
            action_id: A pending action.
            by: Who, 1 to 64 characters; names that differ in case alone are one person.
            decision: "approve" or "reject".
            comment: For people.
            at: When; now where None.

        Returns:
            The action as it is now; still pending where one more person must agree.

        Raises:
            NotFound: There is no such action.
            Conflict: It does not wait any more, its time is over, or this person has agreed
                already.
        """
        moment = at or now()
        with self._connections.write() as connection:
            row = _existing(connection, action_id, lock=True)
            refuse_review(row, by, decision, moment)
            reviews = [
                *row.reviews,
                {"by": by.strip(), "decision": decision, "comment": comment, "at": moment},
            ]
            agreed = sum(one["decision"] == "approve" for one in reviews)
            status = "pending"
            if decision == "reject":
                status = "rejected"
            elif agreed >= row.approvals_needed:
                status = "approved"
            return self._update(
                connection,
                _columns.id == row.id,
                status=status,
                reviews=msgspec.to_builtins(reviews),
                reviewed_by=", ".join(one["by"] for one in reviews)[:255],
            )

    def claim(self, action_id: str | None = None, at: datetime | None = None) -> AgentAction | None:
        """Take the oldest approved action to do it now, or None; nobody else gets it.

        Args:
            action_id: This one only.
            at: When it starts; now where None.
        """
        due = select(_columns.id).where(_columns.status == "approved").order_by(_columns.id)
        if action_id is not None:
            due = due.where(_columns.action_id == action_id)
        due = due.limit(1)
        with self._connections.read() as connection:
            # Looking first: an idle agent must not take SQLite's write lock every second.
            if connection.scalar(due) is None:
                return None
        with self._connections.write() as connection:
            found = connection.scalar(due.with_for_update(skip_locked=True))
            if found is None:
                return None
            return self._update(
                connection,
                _columns.id == found,
                status="running",
                attempts=_columns.attempts + 1,
                started_at=at or now(),
            )

    def again(
        self, action_id: str, attempts: int, at: datetime | None = None
    ) -> AgentAction | None:
        """Take a running action that its process left behind; None where somebody else did.

        Args:
            action_id: Of `unfinished`.
            attempts: As it was read there.
            at: When it starts anew; now where None.
        """
        left = (
            (_columns.action_id == action_id)
            & (_columns.status == "running")
            & (_columns.attempts == attempts)
        )
        with self._connections.write() as connection:
            row = connection.execute(
                update(agent_actions)
                .where(left)
                .values(attempts=attempts + 1, started_at=at or now())
                .returning(agent_actions)
            ).first()
        return None if row is None else _record(row)

    def note_error(self, action_id: str, error: str) -> None:
        """Say why a running action failed that will be tried again."""
        with self._connections.write() as connection:
            connection.execute(
                update(agent_actions)
                .where(_columns.action_id == action_id, _columns.status == "running")
                .values(error=error[:_MOST_TEXT])
            )

    def finish(
        self,
        action_id: str,
        status: str,
        result: dict[str, Any] | None,
        error: str = "",
        deployment_event_id: int | None = None,
        follow_up_at: datetime | None = None,
        alert_id: str | None = None,
        at: datetime | None = None,
        attempts: int | None = None,
        tell: Told | None = None,
    ) -> AgentAction:
        """Write down what came of an action; what has ended stays as it ended.

        Args:
            action_id: A running action.
            status: "succeeded" or "failed".
            result: What was done.
            error: Why it failed.
            deployment_event_id: Of the deployment it made.
            follow_up_at: When to look whether it helped; None: never.
            alert_id: Of the alert it raised; None leaves what there is.
            at: When it ended; now where None.
            attempts: The beginning of which this is the end; where it was begun anew since, by
                a process that believed this one dead, that one says how it ended.
            tell: Called where this ended it.

        Raises:
            NotFound: There is no such action.
        """
        with self._connections.write() as connection:
            row = _existing(connection, action_id, lock=True)
            if row.status not in OPEN or attempts not in {None, row.attempts}:
                return _record(row)
            more = {} if alert_id is None else {"alert_id": alert_id}
            ended = self._update(
                connection,
                _columns.id == row.id,
                status=status,
                execution_result=result,
                error=error[:_MOST_TEXT],
                deployment_event_id=deployment_event_id,
                follow_up_at=follow_up_at,
                executed_at=at or now(),
                **more,
            )
            if tell is not None:
                tell(connection, ended)
            return ended

    def expire_due(self, moment: datetime) -> list[AgentAction]:
        """End what nobody approved in time; these."""
        due = (_columns.status == "pending") & (_columns.expires_at <= moment)
        with self._connections.read() as connection:
            if connection.scalar(select(_columns.id).where(due).limit(1)) is None:
                return []
        with self._connections.write() as connection:
            rows = connection.execute(
                update(agent_actions)
                .where(due)
                .values(status="expired", error="Nobody approved it in time.")
                .returning(agent_actions)
            ).all()
        return sorted((_record(row) for row in rows), key=lambda action: action.action_id)

    def unfinished(self) -> list[AgentAction]:
        """What runs, or was left by a process that died, oldest first."""
        return self._open(["running"], None)

    def recent(
        self, model: str | None, action_type: str | None, since: datetime
    ) -> list[AgentAction]:
        """Actions decided since a moment, newest first, dry runs among them.

        Args:
            model: Of this model; None: of all.
            action_type: Of this type; None: of all.
            since: Decided then or later.
        """
        query = select(agent_actions).where(_columns.created_at >= since)
        if model is not None:
            query = query.where(_columns.model_name == model)
        if action_type is not None:
            query = query.where(_columns.action_type == action_type)
        return self._all(query.order_by(_columns.id.desc()))

    def due_follow_ups(
        self, moment: datetime, longest: timedelta | None = None
    ) -> list[AgentAction]:
        """Actions of which it is time to see whether they helped, oldest first.

        Args:
            moment: Now.
            longest: Nobody waits for longer: what lies further ahead was written down before the
                clock was set back, and is due as well.
        """
        due = _columns.follow_up_at <= moment
        if longest is not None:
            due |= _columns.follow_up_at > moment + longest
        return self._all(
            select(agent_actions).where(_columns.status == "succeeded", due).order_by(_columns.id)
        )

    def set_follow_up(
        self, action_id: str, follow_up: dict[str, Any], again_at: datetime | None = None
    ) -> None:
        """Keep what was found when it was looked.

        Args:
            action_id: Of a succeeded action.
            follow_up: See `AgentAction`.
            again_at: When to look once more; None: this is the last word.
        """
        with self._connections.write() as connection:
            connection.execute(
                update(agent_actions)
                .where(_columns.action_id == action_id)
                .values(follow_up=follow_up, follow_up_at=again_at)
            )

    def counts(self) -> dict[str, int]:
        """How many there are of each status; statuses that nothing has are left out."""
        query = select(_columns.status, func.count()).group_by(_columns.status)
        with self._connections.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def event_of(self, action_id: str) -> Event | None:
        """The newest deployment event that an action made, or None."""
        events = deployment_events.c
        query = (
            select(deployment_events)
            .where(events.action_id == action_id)
            .order_by(events.id.desc())
            .limit(1)
        )
        with self._connections.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        return Event(
            id=row.id,
            model=row.model_name,
            model_version=row.model_version,
            event_type=row.event_type,
            timestamp=row.timestamp,
            reason=row.reason,
            previous_version=row.previous_version,
            actor=row.actor,
            action_id=row.action_id,
        )

    # -- Inside -------------------------------------------------------------------------

    def _open(self, statuses: Sequence[str], model: str | None) -> list[AgentAction]:
        query = select(agent_actions).where(_columns.status.in_(statuses))
        if model is not None:
            query = query.where(_columns.model_name == model)
        return self._all(query.order_by(_columns.id))

    def _all(self, query: Select[Any]) -> list[AgentAction]:
        with self._connections.read() as connection:
            return [_record(row) for row in connection.execute(query)]

    def _alone(self, connection: Connection) -> None:
        """On PostgreSQL two could look and then both write; SQLite has one writer anyway."""
        if self._connections.dialect == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})

    @staticmethod
    def _update(
        connection: Connection, condition: ColumnElement[bool], **values: Any
    ) -> AgentAction:
        row = connection.execute(
            update(agent_actions).where(condition).values(values).returning(agent_actions)
        ).one()
        return _record(row)


def _one(action_id: str) -> Select[Any]:
    return select(agent_actions).where(_columns.action_id == action_id)


def _existing(connection: Connection, action_id: str, *, lock: bool = False) -> Any:
    query = _one(action_id)
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise NotFound(f"There is no action {action_id}.", hint="`andon agent actions` lists them.")
    return row


def _refuse_second(connection: Connection, action_type: str, model: str | None) -> None:
    same = _columns.model_name.is_(None) if model is None else _columns.model_name == model
    row = connection.execute(
        select(agent_actions).where(
            _columns.action_type == action_type,
            same,
            _columns.status.in_(OPEN),
            _columns.dry_run.is_(False),
        )
    ).first()
    if row is None:
        return
    waits = "waits for approval" if row.status == "pending" else f"is {row.status}"
    error = Conflict(
        f"An action {action_type} for {'no model' if model is None else f'model {model}'} "
        f"{waits} already: {row.action_id}.",
        hint="Approve or reject that one first.",
    )
    error.members["action_id"] = row.action_id
    raise error


def _record(row: Any) -> AgentAction:
    return AgentAction(
        action_id=row.action_id,
        action_type=row.action_type,
        risk_level=row.risk_level,
        requires_approval=row.requires_approval,
        status=row.status,
        dry_run=row.dry_run,
        model=row.model_name,
        model_version=row.model_version,
        issue_type=row.issue_type,
        source=row.source,
        reason=row.reason,
        parameters=row.parameters,
        evidence=row.evidence,
        alert_id=row.alert_id,
        deployment_event_id=row.deployment_event_id,
        approvals_needed=row.approvals_needed,
        reviews=typed.convert(row.reviews, list[Review]),
        created_at=row.created_at,
        expires_at=row.expires_at,
        started_at=row.started_at,
        executed_at=row.executed_at,
        execution_result=row.execution_result,
        error=row.error,
        attempts=row.attempts,
        follow_up_at=row.follow_up_at,
        follow_up=row.follow_up,
    )
