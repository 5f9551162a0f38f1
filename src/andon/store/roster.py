"""Who works on the floor, and where: the workers and the workstations.

Nobody is deleted: whoever leaves is retired, takes no later events, and stays in every number
that was ever counted for them.
"""

import builtins
import re
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, select, update

from andon.errors import Conflict, InvalidRequest, NotFound
from andon.store.clock import now
from andon.store.connections import Connections
from andon.store.ids import MAX_ID, id_problem

MAX_NAME = 255


class RosterEntry(msgspec.Struct, frozen=True):
    """One worker or workstation.

    Attributes:
        name: For people; the id where none was given.
        retired_at: From when on events are refused; None while it is in use.
    """

    id: str
    name: str
    created_at: datetime
    retired_at: datetime | None


class Roster:
    """The queries of `workers` or `workstations`.

    Args:
        connections: The database.
        table: One of the two; they have the same columns.
    """

    def __init__(self, connections: Connections, table: Table) -> None:
        self._connections = connections
        self._table = table
        self.noun = table.name.removesuffix("s")
        """What one entry is called: worker or workstation."""

    def list(self, *, include_retired: bool = True) -> builtins.list[RosterEntry]:
        """The entries, in the order people count: W2 before W10."""
        query = select(self._table)
        if not include_retired:
            query = query.where(self._table.c.retired_at.is_(None))
        with self._connections.read() as connection:
            rows = connection.execute(query).all()
        return sorted(map(_record, rows), key=lambda entry: counting_order(entry.id))

    def ids(self) -> set[str]:
        """Every id, those of the retired included."""
        with self._connections.read() as connection:
            return set(connection.scalars(select(self._table.c.id)))

    def get(self, entry_id: str) -> RosterEntry:
        """One entry.

        Raises:
            NotFound: There is none with this id.
        """
        query = select(self._table).where(self._table.c.id == entry_id)
        with self._connections.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise self._unknown(entry_id)
        return _record(row)

    def add(self, entry_id: str, name: str = "") -> RosterEntry:
        """Register somebody or something new.

        Args:
            entry_id: 1 to 64 printable characters without blanks around them.
            name: For people; default the id.

        Raises:
            InvalidRequest: The id or the name breaks its rule.
            Conflict: The id is taken, perhaps by a retired one.
        """
        values = {
            "id": checked_id(entry_id, self.noun),
            "name": checked_name(name) or entry_id,
            "created_at": now(),
            "retired_at": None,
        }
        with self._connections.write() as connection:
            added = self._insert_new(connection, values)
        if added is None:
            there = self.get(entry_id)
            raise Conflict(
                f"There is a {self.noun} {entry_id} already"
                + ("." if there.retired_at is None else ", retired."),
                hint="Choose another id, or rename this one."
                if there.retired_at is None
                else "Bring it back with PATCH and retired=false.",
            )
        return added

    def rename(self, entry_id: str, name: str) -> RosterEntry:
        """Change the name; the id stays, for events carry it.

        Raises:
            NotFound: There is none with this id.
            InvalidRequest: The name breaks its rule.
        """
        return self.change(entry_id, name=name)

    def retire(self, entry_id: str, at: datetime | None = None) -> RosterEntry:
        """Take no events dated at `at` (default now) or later.

        Retiring twice changes nothing unless another time is given.

        Raises:
            NotFound: There is none with this id.
        """
        return self.change(entry_id, retired=True, at=at)

    def bring_back(self, entry_id: str) -> RosterEntry:
        """Take events again.

        Raises:
            NotFound: There is none with this id.
        """
        return self.change(entry_id, retired=False)

    def change(
        self,
        entry_id: str,
        *,
        name: str | None = None,
        retired: bool | None = None,
        at: datetime | None = None,
    ) -> RosterEntry:
        """Rename, retire and bring back in one transaction; None leaves a thing as it is.

        Raises:
            NotFound: There is none with this id.
            InvalidRequest: The name breaks its rule.
        """
        named = None if name is None else checked_name(name) or entry_id
        columns = self._table.c
        with self._connections.write() as connection:
            row = connection.execute(
                select(self._table).where(columns.id == entry_id).with_for_update()
            ).first()
            if row is None:
                raise self._unknown(entry_id)
            values: dict[str, Any] = {} if named is None else {"name": named}
            if retired is False:
                values["retired_at"] = None
            elif retired and (at is not None or row.retired_at is None):
                values["retired_at"] = at or now()
            if values:
                row = connection.execute(
                    update(self._table)
                    .where(columns.id == entry_id)
                    .values(values)
                    .returning(self._table)
                ).one()
        return _record(row)

    def _insert_new(self, connection: Connection, values: dict[str, Any]) -> RosterEntry | None:
        """Insert an entry unless its id is taken."""
        # Only the dialect that is used: PostgreSQL's takes 3 MB.
        if self._connections.path is None:
            from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415
        else:
            from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]  # noqa: PLC0415
        statement = insert(self._table).values(values)
        row = connection.execute(
            statement.on_conflict_do_nothing(index_elements=["id"]).returning(self._table)
        ).first()
        return None if row is None else _record(row)

    def _unknown(self, entry_id: str) -> NotFound:
        shown = entry_id if entry_id.isprintable() and len(entry_id) <= MAX_ID else "of this id"
        return NotFound(
            f"There is no {self.noun} {shown}.",
            hint=f"GET /{self._table.name}/ lists them, POST /{self._table.name}/ adds one.",
        )


def checked_id(value: str, noun: str) -> str:
    """An id from outside, as it is.

    Raises:
        InvalidRequest: It is empty, longer than 64 characters, holds characters that
            cannot be printed, or has blanks around it.
    """
    detail = id_problem(value)
    if detail:
        field = f"{noun}_id"
        raise InvalidRequest(
            f"The request is not valid: {field} {detail}.",
            errors=[{"field": field, "detail": detail}],
        )
    return value


def checked_name(value: str) -> str:
    """A name for people, without blanks around it; it may be empty.

    Raises:
        InvalidRequest: It is longer than 255 characters or holds some that cannot be printed.
    """
    name = value.strip()
    detail = ""
    if len(name) > MAX_NAME:
        detail = f"must have at most {MAX_NAME} characters"
    elif not name.isprintable():
        detail = "must not hold characters that cannot be printed"
    if detail:
        raise InvalidRequest(
            f"The request is not valid: name {detail}.",
            errors=[{"field": "name", "detail": detail}],
        )
    return name


def counting_order(entry_id: str) -> tuple[list[str | int], str]:
    """Sorts ids as people do: by text and number in turn, so that W2 comes before W10."""
    pieces = re.split(r"([0-9]+)", entry_id)
    found = [int(piece) if place % 2 else piece.casefold() for place, piece in enumerate(pieces)]
    return found, entry_id


def _record(row: Any) -> RosterEntry:
    return RosterEntry(
        id=row.id,
        name=row.name or row.id,
        created_at=row.created_at,
        retired_at=row.retired_at,
    )
