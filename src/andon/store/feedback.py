"""What answers should have been, said by somebody later: one row per answer.

Labels come late, twice and out of order. Of several for one answer the one with the greatest
`timestamp` stands (of equal ones, the greatest by its text), so any order, batching or repetition
of the same labels leaves the same rows. `predictions.actual` follows in the same transaction.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Text,
    bindparam,
    cast,
    delete,
    func,
    insert,
    select,
    update,
)

from andon.errors import NotFound
from andon.store.clock import now
from andon.store.connections import Connections
from andon.store.ids import uuid7_floor
from andon.store.tables import feedback, predictions

# Labels in one transaction: others can write in between.
_AT_ONCE = 1_000
# Ids in one query.
_ASKED_AT_ONCE = 500

_sorted = msgspec.json.Encoder(order="sorted")
_scores = msgspec.json.Decoder(list[float])
_any = msgspec.json.Decoder()
# Of a label's rank: time, value and note. Said again by somebody else it is the same label.
_SAID = 3


class Outcome(StrEnum):
    """What became of a label."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    UNKNOWN = "unknown"


class Label(msgspec.Struct, frozen=True):
    """What one answer should have been.

    Attributes:
        prediction_id: Of the answer.
        actual: The true value, as JSON holds it; never None.
        timestamp: When it was said. The latest stands.
        source: The way it came: "http", "cli".
        actor: Who said it.
        note: For people.
    """

    prediction_id: str
    actual: Any
    timestamp: datetime
    source: str = ""
    actor: str = ""
    note: str = ""


class Asked(msgspec.Struct, frozen=True):
    """What must be known of an answer before it takes a label."""

    id: str
    version_id: int
    status: str
    prediction: str | None
    detections: int
    role: str = "active"


class Labelled(msgspec.Struct, frozen=True, array_like=True):
    """An answer with its label, as far as figures need it.

    Attributes:
        prediction: Text of the answered class, or None.
        detections: How many were answered.
        raw_scores: Of a row: probability by class, in class order.
        actual: The true value.
    """

    id: str
    prediction: str | None
    detections: int
    raw_scores: list[float]
    actual: Any


class LabelledRow(msgspec.Struct, frozen=True):
    """A row with its label: what two versions can both be asked about."""

    id: str
    features: dict[str, Any]
    actual: Any


class Feedback:
    """The queries of `feedback`, and of the labels in `predictions`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def asked(self, ids: Iterable[str]) -> dict[str, Asked]:
        """The answers there are among `ids`."""
        columns = predictions.c
        found: dict[str, Asked] = {}
        for part in _parts(sorted(set(ids)), _ASKED_AT_ONCE):
            query = select(
                columns.id,
                columns.model_id,
                columns.status,
                columns.prediction,
                columns.detection_count,
                columns.role,
            ).where(columns.id.in_(part))
            with self._connections.read() as connection:
                found |= {row.id: Asked(*row) for row in connection.execute(query)}
        return found

    def by_request(self, request_ids: Iterable[str]) -> dict[str, list[str]]:
        """The ids of the answers to each of the callers' own ids, oldest first."""
        columns = predictions.c
        found: dict[str, list[str]] = {}
        for part in _parts(sorted(set(request_ids)), _ASKED_AT_ONCE):
            query = (
                select(columns.request_id, columns.id)
                .where(columns.request_id.in_(part))
                .order_by(columns.id)
            )
            with self._connections.read() as connection:
                for request_id, prediction_id in connection.execute(query):
                    found.setdefault(request_id, []).append(prediction_id)
        return found

    def get(self, prediction_id: str) -> Label | None:
        """The label that stands, or None."""
        with self._connections.read() as connection:
            return _standing(connection, [prediction_id]).get(prediction_id)

    def store(self, labels: Sequence[Label]) -> list[Outcome]:
        """Store labels; they are on disk when this returns.

        Returns:
            For each label: STORED when it stands now, DUPLICATE when it stood before,
            SUPERSEDED when a later one stands, UNKNOWN when there is no such answer.
        """
        outcomes: list[Outcome] = []
        for part in _parts(labels, _AT_ONCE):
            with self._connections.write() as connection:
                outcomes += _store(connection, part)
        return outcomes

    def remove(self, prediction_id: str) -> None:
        """Take the label of an answer back.

        Raises:
            NotFound: The answer has none.
        """
        with self._connections.write() as connection:
            _lock(connection, [prediction_id])
            gone = connection.execute(
                delete(feedback).where(feedback.c.prediction_id == prediction_id)
            ).rowcount
            if gone:
                _set_actual(connection, {prediction_id: None})
        if not gone:
            raise NotFound(f"There is no feedback on prediction {prediction_id[:64]}.")

    def labelled(
        self, version_id: int, *, since: datetime | None = None, limit: int = 1_000
    ) -> list[Labelled]:
        """The newest labelled answers of a version, newest first.

        Args:
            version_id: Row id of the version.
            since: Only answers given since then.
            limit: Answers at most.
        """
        columns = predictions.c
        query = (
            select(
                columns.id,
                columns.prediction,
                columns.detection_count,
                # Decoded below: where the shape is known that takes a third of the time.
                cast(columns.raw_scores, Text),
                cast(columns.actual, Text),
            )
            .where(columns.model_id == version_id, columns.actual.is_not(None), *_since(since))
            .order_by(columns.id.desc())
            .limit(limit)
        )
        with self._connections.read() as connection:
            rows = connection.execute(query).all()
        return [
            Labelled(key, answered, count, _scores.decode(raw or "[]"), _any.decode(actual))
            for key, answered, count, raw, actual in rows
        ]

    def answered(self, version_id: int, *, since: datetime | str | None = None) -> int:
        """How many answers of a version are in the log since a time, or since one of them."""
        columns = predictions.c
        after = [columns.id >= since] if isinstance(since, str) else _since(since)
        query = select(func.count()).where(columns.model_id == version_id, *after)
        with self._connections.read() as connection:
            return connection.scalar(query) or 0

    def rows(self, version_ids: Sequence[int], limit: int = 5_000) -> list[LabelledRow]:
        """The newest labelled rows that any of these versions answered, newest first."""
        columns = predictions.c
        found: list[LabelledRow] = []
        # One by one along the index; see `predictions`.
        for version_id in version_ids:
            query = (
                select(columns.id, columns.features, columns.actual)
                .where(
                    columns.model_id == version_id,
                    columns.actual.is_not(None),
                    columns.features.is_not(None),
                )
                .order_by(columns.id.desc())
                .limit(limit)
            )
            with self._connections.read() as connection:
                found += [LabelledRow(*row) for row in connection.execute(query)]
        found.sort(key=lambda row: row.id, reverse=True)
        return found[:limit]


def delete_feedback(connection: Connection, prediction_ids: Sequence[str]) -> None:
    """Delete the labels of answers that were pruned, in the caller's transaction.

    Args:
        connection: Of the transaction that has just deleted the answers. The other order could
            make two transactions wait for each other.
        prediction_ids: Their ids, a few thousand at most.
    """
    connection.execute(delete(feedback).where(feedback.c.prediction_id.in_(prediction_ids)))


def _store(connection: Connection, labels: Sequence[Label]) -> list[Outcome]:
    """`Feedback.store` in the caller's transaction."""
    ids = sorted({label.prediction_id for label in labels})
    known = _lock(connection, ids)
    before = _standing(connection, sorted(known))
    standing = dict(before)
    outcomes = []
    for label in labels:
        key = label.prediction_id
        if key not in known:
            outcomes.append(Outcome.UNKNOWN)
            continue
        stands = standing.get(key)
        rank, other = _rank(label), () if stands is None else _rank(stands)
        if rank > other:
            standing[key] = label
        if rank[:_SAID] == other[:_SAID]:
            outcomes.append(Outcome.DUPLICATE)
        else:
            outcomes.append(Outcome.STORED if rank > other else Outcome.SUPERSEDED)
    changed = [label for key, label in standing.items() if label is not before.get(key)]
    if changed:
        connection.execute(
            delete(feedback).where(
                feedback.c.prediction_id.in_([label.prediction_id for label in changed])
            )
        )
        received = now()
        rows = [{**msgspec.structs.asdict(label), "received_at": received} for label in changed]
        connection.execute(insert(feedback), rows)
        _set_actual(connection, {label.prediction_id: label.actual for label in changed})
    return outcomes


def _rank(label: Label) -> tuple[Any, ...]:
    """Which of two labels stands: the greater one, whichever came first."""
    text = _sorted.encode(label.actual)
    return (label.timestamp, text, label.note, label.source, label.actor)


def _lock(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Which answers there are. On PostgreSQL nobody else labels them until the commit."""
    columns = predictions.c
    known: set[str] = set()
    for part in _parts(ids, _ASKED_AT_ONCE):
        # In the order of their ids: two writers never wait for each other.
        query = select(columns.id).where(columns.id.in_(part)).order_by(columns.id)
        known.update(connection.scalars(query.with_for_update()))
    return known


def _standing(connection: Connection, ids: Sequence[str]) -> dict[str, Label]:
    columns = feedback.c
    found: dict[str, Label] = {}
    for part in _parts(ids, _ASKED_AT_ONCE):
        query = select(
            columns.prediction_id,
            columns.actual,
            columns.timestamp,
            columns.source,
            columns.actor,
            columns.note,
        ).where(columns.prediction_id.in_(part))
        found |= {row.prediction_id: Label(*row) for row in connection.execute(query)}
    return found


def _set_actual(connection: Connection, actuals: dict[str, Any]) -> None:
    connection.execute(
        update(predictions)
        .where(predictions.c.id == bindparam("key"))
        .values(actual=bindparam("value")),
        [{"key": key, "value": actual} for key, actual in sorted(actuals.items())],
    )


def _since(moment: datetime | None) -> list[ColumnElement[bool]]:
    return [] if moment is None else [predictions.c.id >= uuid7_floor(moment)]


def _parts(values: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
