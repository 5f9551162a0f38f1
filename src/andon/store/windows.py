"""Windows of the log for monitoring: the newest answers of a version, and only what is needed.

Every query walks the index (model_id, id) from its end. JSON is decoded for the columns asked
for and no others: of a thousand rows that is most of the time.
"""

from collections import namedtuple
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, Text, cast, func, select

from andon.store.connections import Connections
from andon.store.ids import uuid7_floor
from andon.store.tables import Json, feedback, predictions

SERVING = ("active", "canary")
"""Roles of the answers that somebody got."""

# Answers that are looked through for those wanted: a version with a million answers and not one
# of the role asked for must not cost a walk through all of them, every minute.
_LOOKED_THROUGH = 20_000

# Behind every id.
_LAST = "g"

_columns = predictions.c
_decoders: dict[str, Callable[[str], list[Any]]] = {
    "confidence_scores": msgspec.json.Decoder(list[list[float] | None]).decode,
    "raw_scores": msgspec.json.Decoder(list[list[float] | None]).decode,
}
_any: Callable[[str], list[Any]] = msgspec.json.Decoder(list[Any]).decode


class Windows:
    """Light readers of `predictions`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def newest(
        self,
        version_id: int,
        limit: int,
        *,
        columns: Sequence[str],
        roles: Sequence[str] = SERVING,
        status: str | None = "success",
        since: datetime | str | None = None,
        before: datetime | str | None = None,
    ) -> list[Any]:
        """The newest answers of a version, newest first.

        Where fewer than `limit` match among the newest 20,000 answers (or 20 times `limit`),
        older ones are not looked for.

        Args:
            version_id: Row id of the version.
            limit: Answers at most.
            columns: Of `predictions`, by name.
            roles: In which the version answered.
            status: "success", "error", or None for both.
            since: A time, or the id of an answer; that one is included.
            before: The same; that one is left out.

        Returns:
            Named tuples with `id` and the columns asked for, JSON decoded.
        """
        names = ("id", *(name for name in dict.fromkeys(columns) if name != "id"))
        wanted = [_columns.model_id == version_id, *between(since, before)]
        if status is not None:
            wanted.append(_columns.status == status)
        if roles:
            wanted.append(_columns.role.in_(roles))
        if status is not None or roles:
            wanted.append(_columns.id >= _oldest(version_id, before, limit))
        query = select(*(_read(name) for name in names)).where(*wanted)
        return self.rows(query.order_by(_columns.id.desc()).limit(limit), names)

    def count(
        self,
        version_id: int,
        since: datetime | str | None = None,
        *,
        roles: Sequence[str] = SERVING,
    ) -> int:
        """How many answers of a version are in the log, failed ones included.

        Args:
            version_id: Row id of the version.
            since: A time, or the id of an answer; that one is included.
            roles: In which the version answered.
        """
        query = select(func.count()).where(
            _columns.model_id == version_id, _columns.role.in_(roles), *between(since, None)
        )
        with self._connections.read() as connection:
            return connection.scalar(query) or 0

    def oldest(
        self,
        version_id: int,
        limit: int,
        *,
        columns: Sequence[str],
        roles: Sequence[str] = SERVING,
        cached: bool | None = None,
    ) -> list[Any]:
        """The first successful answers of a version that are still in the log, oldest first.

        Where fewer than `limit` match among the first 20,000 answers (or 20 times `limit`),
        later ones are not looked for.

        Args:
            version_id: Row id of the version.
            limit: Answers at most.
            columns: Of `predictions`, by name.
            roles: In which the version answered.
            cached: Only those that came from the cache, or only those that did not.
        """
        names = ("id", *(name for name in dict.fromkeys(columns) if name != "id"))
        nth = (
            select(_columns.id)
            .where(_columns.model_id == version_id)
            .order_by(_columns.id)
            .limit(1)
            .offset(max(_LOOKED_THROUGH, 20 * limit))
            .scalar_subquery()
        )
        query = select(*(_read(name) for name in names)).where(
            _columns.model_id == version_id,
            _columns.role.in_(roles),
            _columns.status == "success",
            _columns.id <= func.coalesce(nth, _LAST),
        )
        if cached is not None:
            query = query.where(_columns.cached.is_(cached))
        return self.rows(query.order_by(_columns.id).limit(limit), names)

    def labelled(
        self,
        version_id: int,
        limit: int,
        *,
        columns: Sequence[str] = (),
        since: datetime | str | None = None,
    ) -> list[Any]:
        """The newest labelled answers of a version in the order in which their labels came.

        Args:
            version_id: Row id of the version.
            limit: Answers at most; the newest answers count, whenever their labels came.
            columns: Of `predictions`, by name, besides those below.
            since: A time, or the id of an answer; that one is included.

        Returns:
            Named tuples with `id`, `prediction`, `detection_count`, `actual`, `received_at`
            (of the label) and the columns asked for; the label that came first is first.
        """
        own = ("id", "prediction", "detection_count", "actual")
        names = (*own, *(name for name in dict.fromkeys(columns) if name not in own))
        query = (
            select(*(_read(name) for name in names), feedback.c.received_at)
            .join(feedback, feedback.c.prediction_id == _columns.id)
            .where(
                _columns.model_id == version_id,
                _columns.actual.is_not(None),
                *between(since, None),
            )
            .order_by(_columns.id.desc())
            .limit(limit)
        )
        rows = self.rows(query, (*names, "received_at"))
        return sorted(rows, key=lambda row: (row.received_at, row.id))

    def cameras(self, since: str, limit: int) -> list[Any]:
        """Which camera sent pictures when, of all models: the newest answers, newest first.

        Args:
            since: Only answers with a greater id.
            limit: Answers at most, those without a camera included.

        Returns:
            Named tuples with `id`, `camera` and `source`.
        """
        names = ("id", "camera", "source")
        query = (
            select(*(_columns[name] for name in names))
            .where(_columns.id > since)
            .order_by(_columns.id.desc())
            .limit(limit)
        )
        return self.rows(query, names)

    def rows(self, query: Select[Any], names: tuple[str, ...]) -> list[Any]:
        """Run a query whose columns are `names` in this order, JSON columns as text."""
        with self._connections.read() as connection:
            found = connection.execute(query).all()
        row = _row_type(names)._make
        if not found or not any(_is_json(name) for name in names):
            return [row(one) for one in found]
        columns = [
            _decoded(name, values) if _is_json(name) else values
            for name, values in zip(names, zip(*found, strict=True), strict=True)
        ]
        return [row(one) for one in zip(*columns, strict=True)]


def between(
    since: datetime | str | None, before: datetime | str | None
) -> list[ColumnElement[bool]]:
    """Conditions on the ids of answers: from `since` on, older than `before`."""
    found: list[ColumnElement[bool]] = []
    if since is not None:
        found.append(_columns.id >= _id(since))
    if before is not None:
        found.append(_columns.id < _id(before))
    return found


def time_of(prediction_id: str) -> datetime | None:
    """When an answer was given, by its id (a UUIDv7), to the millisecond; None of other ids."""
    try:
        milliseconds = int(prediction_id[:8] + prediction_id[9:13], 16)
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _id(moment: datetime | str) -> str:
    return moment if isinstance(moment, str) else uuid7_floor(moment)


def _oldest(version_id: int, before: datetime | str | None, limit: int) -> ColumnElement[str]:
    """The id at which looking stops; empty where the log ends earlier."""
    nth = (
        select(_columns.id)
        .where(_columns.model_id == version_id, *between(None, before))
        .order_by(_columns.id.desc())
        .limit(1)
        .offset(max(_LOOKED_THROUGH, 20 * limit))
        .scalar_subquery()
    )
    return func.coalesce(nth, "")


def _is_json(name: str) -> bool:
    return name in _columns and isinstance(_columns[name].type, Json)


def _read(name: str) -> ColumnElement[Any]:
    return cast(_columns[name], Text).label(name) if _is_json(name) else _columns[name]


def _decoded(name: str, texts: Sequence[str | None]) -> list[Any]:
    """A column of JSON, decoded in one go: a call for each row would take twice as long."""
    joined = ",".join(["null" if text is None else text for text in texts])
    return _decoders.get(name, _any)(f"[{joined}]")


@lru_cache(maxsize=128)
def _row_type(names: tuple[str, ...]) -> Any:
    return namedtuple("Row", names)  # noqa: PYI024 - the names differ by call
