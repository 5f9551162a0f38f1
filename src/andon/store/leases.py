"""Leases: who does what only one process may do, and until when unless it says so again.

The database's clock decides, so that machines need not agree on the time. (SQLite has none of its
own; there a lease is between processes of one machine, and its clock is theirs.)

The token grows with every change of hands, so that a holder that slept finds that it is none.
"""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from andon.store.clock import now
from andon.store.connections import Connections
from andon.store.tables import leases

_columns = leases.c


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """What the database says of one lease.

    Attributes:
        holder: The process, as it calls itself.
        token: Greater than that of every holder before.
        taken_at: When it changed hands.
        until: When it runs out, unless it is renewed.
    """

    name: str
    holder: str
    token: int
    taken_at: datetime
    until: datetime


class Leases:
    """The queries of `leases`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def take(
        self, name: str, holder: str, seconds: float, *, silent: Lease | None = None
    ) -> Lease | None:
        """Take a lease that is free, has run out, or is this holder's; None where another has it.

        Args:
            name: Which.
            holder: Who takes it.
            seconds: For how long, unless renewed.
            silent: What the caller has seen unchanged for longer than any lease lasts: it is
                taken although its time is not over, for the database's clock was set back.
        """
        with self._connections.write() as connection:
            moment = _clock(connection)
            until = moment + timedelta(seconds=seconds)
            row = connection.execute(
                select(leases).where(_columns.name == name).with_for_update()
            ).first()
            if row is None:
                return self._first(connection, name, holder, moment, until)
            free = row.until <= moment or row.holder == holder
            dead = silent is not None and (silent.token, silent.until) == (row.token, row.until)
            if not (free or dead):
                return None
            values = {
                "holder": holder,
                "token": row.token + 1,
                "taken_at": moment,
                "until": until,
            }
            changed = update(leases).where(_columns.name == name).values(values)
            return _record(connection.execute(changed.returning(leases)).one())

    def renew(self, name: str, holder: str, token: int, seconds: float) -> bool:
        """Hold a lease for longer; False when it is no longer this holder's.

        One that has run out and that nobody took is still its own.
        """
        with self._connections.write() as connection:
            until = _clock(connection) + timedelta(seconds=seconds)
            changed = connection.execute(
                update(leases).where(_held(name, holder, token)).values(until=until)
            ).rowcount
        return changed == 1

    def release(self, name: str, holder: str, token: int) -> None:
        """Give a lease back, so that another need not wait; nothing where it is another's."""
        with self._connections.write() as connection:
            connection.execute(
                update(leases)
                .where(_held(name, holder, token))
                .values(until=_clock(connection), holder="")
            )

    def get(self, name: str) -> Lease | None:
        """Who has a lease, or had it last (empty: it was given back); None: nobody ever."""
        with self._connections.read() as connection:
            row = connection.execute(select(leases).where(_columns.name == name)).first()
        return None if row is None else _record(row)

    def clock(self) -> datetime:
        """What time it is to the database."""
        with self._connections.read() as connection:
            return _clock(connection)

    def _first(
        self, connection: Connection, name: str, holder: str, moment: datetime, until: datetime
    ) -> Lease | None:
        values = {
            "name": name,
            "holder": holder,
            "token": 1,
            "taken_at": moment,
            "until": until,
        }
        try:
            with connection.begin_nested():
                row = connection.execute(insert(leases).values(values).returning(leases)).one()
        except IntegrityError:
            # Another process was first.
            return None
        return _record(row)


def _clock(connection: Connection) -> datetime:
    """The database's time now: not that of the transaction's begin, which may have waited."""
    if connection.dialect.name == "sqlite":
        return now()
    found: Any = connection.scalar(select(func.clock_timestamp()))
    assert isinstance(found, datetime)
    return found


def _held(name: str, holder: str, token: int) -> Any:
    return (_columns.name == name) & (_columns.holder == holder) & (_columns.token == token)


def _record(row: Any) -> Lease:
    return Lease(
        name=row.name,
        holder=row.holder,
        token=row.token,
        taken_at=row.taken_at,
        until=row.until,
    )
