"""Alerts: raised once however often their cause is seen, acknowledged, resolved.

A cause is a group key. While an alert of a key is open (active or acknowledged), seeing the
cause again only counts; the database holds that there is one at most.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from andon.errors import Conflict, NotFound, StorageFull
from andon.store.clock import now
from andon.store.connections import Connections
from andon.store.ids import uuid7
from andon.store.records import Alert
from andon.store.tables import alerts

ANDON = "andon"
"""Who resolved an alert whose cause was gone."""

HELD_BACK = timedelta(hours=1)
"""After somebody resolved an alert by hand, its cause raises no new one for so long."""

SEVERITIES = ("info", "warning", "critical")
"""From the least to the worst."""

Told = Callable[[Connection, Alert], object]
"""Called inside the transaction that changed the alert, so that what it writes is kept together
with the change, or not at all."""

_columns = alerts.c
_open = _columns.status != "resolved"
_LONGEST = 255
_RACES = 20


class Alerts:
    """The queries of `alerts`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def see(
        self,
        group_key: str,
        *,
        alert_type: str,
        severity: str,
        title: str,
        message: str,
        model: str | None = None,
        model_version: int | None = None,
        evidence: dict[str, Any] | None = None,
        anew: bool = False,
        tell: Told | None = None,
    ) -> tuple[Alert, bool]:
        """Note that a cause is there; the alert, and whether it was raised by this call.

        An open alert of the key counts one occurrence more and takes the newest message, evidence
        and version. Its severity only grows; where it does, an acknowledged one is active again,
        for what was acknowledged was less.

        An alert that somebody resolved by hand although its cause is still there holds its cause
        back: it is raised anew only after the cause was gone once (`quiet`), after an hour, or when
        it has become worse. Until then the resolved alert is answered.

        Args:
            group_key: Which cause; of a longer one than 255 characters the end is a hash.
            alert_type: An issue type, "camera", "rollback", "agent" or "system".
            severity: "info", "warning" or "critical".
            title: A few words; cut at 255 characters.
            message: Full sentences.
            model: Registered model it is about; None where there is none.
            model_version: The version.
            evidence: `{"signals": [...], "href": "/…"}`.
            anew: It is no cause that lasts but something that happened now: nothing holds it back.
            tell: Called in the same transaction where the alert was raised or has become worse.

        Raises:
            StorageFull: The database does not take it.
        """
        fresh = {
            "message": storable(message),
            "evidence": storable(evidence or {}),
            "model_version": model_version,
        }
        made = {
            **fresh,
            "alert_type": alert_type,
            "severity": severity,
            "title": storable(title)[:_LONGEST],
            "group_key": key_of(group_key),
            "model_name": model,
        }
        for _ in range(_RACES):
            try:
                with self._connections.write() as connection:
                    seen = self._see(connection, fresh, made, tell, anew=anew)
            except IntegrityError:
                # Another process raised it between the look and the insertion.
                continue
            if seen is not None:
                return seen
        raise StorageFull(
            f"The alert {title!r} could not be raised: others of the same cause came and went.",
            hint="It is tried again with the next look.",
        )

    def quiet(
        self, group_key: str, looks: int = 2, notes: str = "", *, tell: Told | None = None
    ) -> Alert | None:
        """Note a look at which a cause was gone; the alert where this resolved it, else None.

        Args:
            group_key: Which cause.
            looks: So many in a row resolve the alert; one in between at which the cause is there
                begins anew.
            notes: Kept with the alert, for people.
            tell: Called in the same transaction where the alert was resolved.
        """
        key = key_of(group_key)
        with self._connections.read() as connection:
            # Looking first: a look at which all is well must not write for every cause.
            if not self._counts_quiet(connection, key):
                return None
        with self._connections.write() as connection:
            row = connection.execute(
                select(alerts).where(_columns.group_key == key, _open).with_for_update()
            ).first()
            if row is None:
                self._release(connection, key)
                return None
            counted = row.quiet_looks + 1
            values: dict[str, Any] = {"quiet_looks": counted}
            if counted >= looks:
                values |= {
                    "status": "resolved",
                    "resolved_by": ANDON,
                    "resolved_at": now(),
                    "resolution_notes": storable(notes),
                }
            alert = _changed(connection, row.id, values)
            if counted < looks:
                return None
            if tell is not None:
                tell(connection, alert)
            return alert

    def acknowledge(self, alert_id: str, by: str) -> Alert:
        """Somebody has taken it on. The first who did stays named; again changes nothing.

        Raises:
            NotFound: There is no such alert.
            Conflict: It is resolved.
        """
        with self._connections.write() as connection:
            row = _locked(connection, alert_id)
            if row.status == "resolved":
                raise _resolved(row)
            if row.status == "acknowledged":
                return _record(row)
            values = {"status": "acknowledged", "acknowledged_by": by, "acknowledged_at": now()}
            return _changed(connection, row.id, values)

    def resolve(
        self, alert_id: str, by: str, notes: str = "", *, tell: Told | None = None
    ) -> Alert:
        """Somebody says that it is over. See `see` for what happens when it is not.

        Args:
            alert_id: Which.
            by: Who.
            notes: What was done about it.
            tell: Called in the same transaction.

        Raises:
            NotFound: There is no such alert.
            Conflict: It is resolved already; who and when is said.
        """
        with self._connections.write() as connection:
            row = _locked(connection, alert_id)
            if row.status == "resolved":
                raise _resolved(row)
            values = {
                "status": "resolved",
                "resolved_by": by,
                "resolved_at": now(),
                "resolution_notes": storable(notes),
                "quiet_looks": 0,
            }
            alert = _changed(connection, row.id, values)
            if tell is not None:
                tell(connection, alert)
            return alert

    def get(self, alert_id: str) -> Alert:
        """One alert.

        Raises:
            NotFound: There is none with this id.
        """
        with self._connections.read() as connection:
            row = connection.execute(select(alerts).where(_columns.alert_id == alert_id)).first()
        if row is None:
            raise _unknown(alert_id)
        return _record(row)

    def ending(self, end: str, limit: int = 2) -> list[Alert]:
        """Alerts whose id ends so, the newest first: what people copy from a list."""
        query = (
            select(alerts)
            .where(_columns.alert_id.endswith(end, autoescape=True))
            .order_by(_columns.id.desc())
            .limit(limit)
        )
        with self._connections.read() as connection:
            return [_record(row) for row in connection.execute(query)]

    def page(
        self,
        *,
        status: str | None = None,
        severity: str | None = None,
        model: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> tuple[list[Alert], str | None]:
        """Alerts newest first, and the cursor of the next page (None on the last).

        Args:
            status: "active", "acknowledged", "resolved", or "open" for the first two.
            severity: Of this severity only.
            model: About this model only.
            before: The cursor of the page before: the id of its last alert.
            limit: At most this many.
        """
        query: Select[Any] = select(alerts).order_by(_columns.id.desc()).limit(limit + 1)
        if status == "open":
            query = query.where(_columns.status.in_(("active", "acknowledged")))
        elif status is not None:
            query = query.where(_columns.status == status)
        if severity is not None:
            query = query.where(_columns.severity == severity)
        if model is not None:
            query = query.where(_columns.model_name == model)
        if before is not None:
            last = alerts.alias("last").c
            place = select(last.id).where(last.alert_id == before).scalar_subquery()
            query = query.where(_columns.id < place)
        with self._connections.read() as connection:
            rows = connection.execute(query).all()
        found = [_record(row) for row in rows[:limit]]
        return found, found[-1].alert_id if len(rows) > limit else None

    def open(self, model: str | None = None) -> list[Alert]:
        """Every alert that is not resolved, the newest first."""
        query = select(alerts).where(_open).order_by(_columns.id.desc())
        if model is not None:
            query = query.where(_columns.model_name == model)
        with self._connections.read() as connection:
            return [_record(row) for row in connection.execute(query)]

    def open_keys(self) -> set[str]:
        """The group keys of the open alerts."""
        with self._connections.read() as connection:
            return set(connection.scalars(select(_columns.group_key).where(_open)))

    def awaited_keys(self) -> set[str]:
        """The group keys for which a quiet look changes something.

        Those of open alerts, and of alerts that were resolved by hand lately and hold their cause
        back.
        """
        held = (
            (_columns.status == "resolved")
            & (_columns.resolved_by != ANDON)
            & (_columns.quiet_looks == 0)
            & (_columns.resolved_at > now() - HELD_BACK)
        )
        with self._connections.read() as connection:
            open_ones = set(connection.scalars(select(_columns.group_key).where(_open)))
            return open_ones | set(connection.scalars(select(_columns.group_key).where(held)))

    def counts(self) -> dict[tuple[str, str], int]:
        """How many alerts there are, by severity and status."""
        query = select(_columns.severity, _columns.status, func.count()).group_by(
            _columns.severity, _columns.status
        )
        with self._connections.read() as connection:
            return {(row[0], row[1]): row[2] for row in connection.execute(query)}

    def _see(
        self,
        connection: Connection,
        fresh: dict[str, Any],
        made: dict[str, Any],
        tell: Told | None,
        *,
        anew: bool,
    ) -> tuple[Alert, bool] | None:
        """One try; None where another process raised it meanwhile."""
        moment = now()
        key, severity = made["group_key"], made["severity"]
        row = connection.execute(
            select(alerts).where(_columns.group_key == key, _open).with_for_update()
        ).first()
        if row is not None:
            values = {
                **fresh,
                "occurrences": row.occurrences + 1,
                "seen_at": moment,
                "quiet_looks": 0,
            }
            worse = _rank(severity) > _rank(row.severity)
            if worse:
                values["severity"] = severity
                if row.status == "acknowledged":
                    values |= {"status": "active", "acknowledged_by": "", "acknowledged_at": None}
            alert = _changed(connection, row.id, values)
            if worse and tell is not None:
                tell(connection, alert)
            return alert, False
        last = _newest(connection, key)
        if last is not None and last.status != "resolved":
            return None
        if last is not None and not anew and _holds_back(last, severity, moment):
            return _record(last), False
        row = connection.execute(
            insert(alerts)
            .values(
                **made,
                alert_id=uuid7(),
                status="active",
                occurrences=1,
                created_at=moment,
                seen_at=moment,
                quiet_looks=0,
                acknowledged_by="",
                resolved_by="",
                resolution_notes="",
            )
            .returning(alerts)
        ).one()
        alert = _record(row)
        if tell is not None:
            tell(connection, alert)
        return alert, True

    def _counts_quiet(self, connection: Connection, key: str) -> bool:
        row = _newest(connection, key)
        return row is not None and (row.status != "resolved" or _holding(row))

    def _release(self, connection: Connection, key: str) -> None:
        """The cause of an alert that was resolved by hand is gone: it may be raised again."""
        row = _newest(connection, key)
        if row is not None and row.status == "resolved" and _holding(row):
            _changed(connection, row.id, {"quiet_looks": 1})


def key_of(group_key: str) -> str:
    """A group key as it is stored: of one that is too long, the end is a hash of it."""
    key: str = storable(group_key)
    if len(key) <= _LONGEST:
        return key
    digest = hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
    return f"{key[: _LONGEST - 17]}~{digest}"


def storable(value: Any) -> Any:
    """Text, or JSON with text in it, without what PostgreSQL does not store.

    Messages quote what came from outside (names of cameras, errors of runtimes), and an alert
    must not fail because of that.
    """
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {storable(str(name)): storable(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(one) for one in value]
    if isinstance(value, float) and value - value != 0.0:
        # JSON knows neither infinity nor "not a number".
        return None
    return value


def _newest(connection: Connection, key: str) -> Any:
    query = select(alerts).where(_columns.group_key == key).order_by(_columns.id.desc()).limit(1)
    return connection.execute(query).first()


def _holding(row: Any) -> bool:
    return bool(row.resolved_by != ANDON and row.quiet_looks == 0)


def _holds_back(row: Any, severity: str, moment: datetime) -> bool:
    # A clock that was set back by more than that says nothing about the time since.
    lately = abs(moment - row.resolved_at) < HELD_BACK
    return _holding(row) and lately and _rank(severity) <= _rank(row.severity)


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity)


def _locked(connection: Connection, alert_id: str) -> Any:
    query = select(alerts).where(_columns.alert_id == alert_id).with_for_update()
    row = connection.execute(query).first()
    if row is None:
        raise _unknown(alert_id)
    return row


def _changed(connection: Connection, row_id: int, values: dict[str, Any]) -> Alert:
    changed = update(alerts).where(_columns.id == row_id).values(values).returning(alerts)
    return _record(connection.execute(changed).one())


def _unknown(alert_id: str) -> NotFound:
    return NotFound(
        f"There is no alert {alert_id}.", hint="andon alerts list --all shows every one."
    )


def _resolved(row: Any) -> Conflict:
    who = "by itself" if row.resolved_by == ANDON else f"by {row.resolved_by}"
    return Conflict(
        f"The alert {row.alert_id} was resolved {who} at {row.resolved_at:%Y-%m-%d %H:%M:%S} UTC.",
        hint="Nothing is left to do about it; when its cause comes back it is raised anew.",
    )


def _record(row: Any) -> Alert:
    return Alert(
        alert_id=row.alert_id,
        alert_type=row.alert_type,
        severity=row.severity,
        title=row.title,
        message=row.message,
        status=row.status,
        group_key=row.group_key,
        model=row.model_name,
        model_version=row.model_version,
        evidence=row.evidence,
        occurrences=row.occurrences,
        created_at=row.created_at,
        seen_at=row.seen_at,
        acknowledged_by=row.acknowledged_by,
        acknowledged_at=row.acknowledged_at,
        resolved_by=row.resolved_by,
        resolution_notes=row.resolution_notes,
        resolved_at=row.resolved_at,
    )
