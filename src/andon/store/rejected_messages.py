"""Messages that could not be used, kept aside with the reason.

By MQTT nobody waits for an answer, so a message that cannot be read would vanish. It is kept
here instead, as text, until somebody has looked; the newest ten thousand stay.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import case, delete, func, insert, select

from andon.store.clock import now
from andon.store.connections import Connections
from andon.store.tables import rejected_messages

KEPT = 10_000
# So many of the newest are looked at to tell how it goes now.
LOOKED_AT = 1_000
MAX_TOPIC = 1_000
MAX_REASON = 2_000
# Of the payload, bytes: enough to see what it was.
MAX_PAYLOAD = 16 * 1024

_columns = rejected_messages.c


class RejectedMessage(msgspec.Struct, frozen=True):
    r"""One message.

    Attributes:
        payload: As text; bytes that are no UTF-8 are written ``\xff``, and what was cut off
            is counted at the end.
        reason: Why it could not be used, for people.
    """

    id: int
    received_at: datetime
    topic: str
    payload: str
    reason: str


class RejectedTopic(msgspec.Struct, frozen=True):
    """The messages of one topic.

    Attributes:
        count: How many came in the window that was asked for.
        first: When the first one came that is still kept, in the window or before it.
        newest: The last one.
    """

    topic: str
    count: int
    first: datetime
    newest: RejectedMessage


class RejectedLately(msgspec.Struct, frozen=True):
    """What came in the last minutes; none where `count` is 0.

    Attributes:
        count: How many of the newest `LOOKED_AT` messages.
        first: When the first of them came.
        topic: Of the newest one.
    """

    count: int = 0
    first: datetime | None = None
    topic: str = ""


class RejectedMessages:
    """The queries of `rejected_messages`.

    Args:
        connections: The database.
        keep: How many stay, the newest ones.
    """

    def __init__(self, connections: Connections, *, keep: int = KEPT) -> None:
        self._connections = connections
        self._keep = keep

    def add(self, topic: str, payload: bytes, reason: str) -> None:
        """Keep one message; on return it is on disk."""
        self.add_all([(topic, payload, reason)])

    def add_all(self, messages: Iterable[tuple[str, bytes, str]]) -> None:
        """Keep messages (topic, payload, reason) in one transaction, forgetting the oldest."""
        moment = now()
        rows = [
            {
                "received_at": moment,
                "topic": storable(topic)[:MAX_TOPIC],
                "payload": shown(payload),
                "reason": storable(reason)[:MAX_REASON],
            }
            for topic, payload, reason in messages
        ]
        if not rows:
            return
        outdated = select(_columns.id).order_by(_columns.id.desc()).offset(self._keep).limit(1)
        with self._connections.write() as connection:
            connection.execute(insert(rejected_messages), rows[-self._keep :])
            newest_gone = connection.scalar(outdated)
            if newest_gone is not None:
                connection.execute(delete(rejected_messages).where(_columns.id <= newest_gone))

    def recent(self, limit: int = 100) -> list[RejectedMessage]:
        """The newest messages, newest first."""
        query = select(rejected_messages).order_by(_columns.id.desc()).limit(limit)
        with self._connections.read() as connection:
            rows = connection.execute(query).all()
        return [_record(row) for row in rows]

    def page(
        self, *, topic: str | None = None, before: int | None = None, limit: int = 100
    ) -> tuple[list[RejectedMessage], int | None]:
        """Messages, newest first, and the cursor of the next page; None on the last one.

        Args:
            topic: Only messages of this topic.
            before: Cursor, the id of a message: only those that came before it.
            limit: At most this many.
        """
        query = select(rejected_messages).order_by(_columns.id.desc()).limit(limit + 1)
        if topic is not None:
            # As it was kept: what a database cannot hold, it cannot be asked for.
            query = query.where(_columns.topic == storable(topic)[:MAX_TOPIC])
        if before is not None:
            query = query.where(_columns.id < before)
        with self._connections.read() as connection:
            rows = connection.execute(query).all()
        found = [_record(row) for row in rows[:limit]]
        return found, found[-1].id if len(rows) > limit else None

    def topics(self, since: datetime, limit: int = 100) -> list[RejectedTopic]:
        """The topics with messages since then, the one with the newest message first."""
        newest = func.max(_columns.id)
        groups = (
            select(
                newest.label("newest"),
                func.sum(case((_columns.received_at >= since, 1), else_=0)).label("number"),
                func.min(_columns.received_at).label("first"),
            )
            .group_by(_columns.topic)
            .having(func.max(_columns.received_at) >= since)
            .order_by(newest.desc())
            .limit(limit)
            .subquery()
        )
        query = (
            select(rejected_messages, groups.c.number, groups.c.first)
            .join(groups, groups.c.newest == _columns.id)
            .order_by(_columns.id.desc())
        )
        with self._connections.read() as connection:
            rows = connection.execute(query).all()
        return [RejectedTopic(row.topic, row.number, row.first, _record(row)) for row in rows]

    def tally(self, since: datetime, *, ending: str = "") -> tuple[int, int]:
        """How many messages came since then, and on how many topics; `ending` is of the topic."""
        query = select(func.count(), func.count(_columns.topic.distinct())).where(
            _columns.received_at >= since, _columns.topic.endswith(ending, autoescape=True)
        )
        with self._connections.read() as connection:
            found = connection.execute(query).one()
        return found[0], found[1]

    def lately(self, since: datetime) -> RejectedLately:
        """What came since then. Where nothing did, this costs the look at one row."""
        newest = select(_columns.received_at, _columns.topic).order_by(_columns.id.desc())
        with self._connections.read() as connection:
            last = connection.execute(newest.limit(1)).first()
            if last is None or last.received_at < since:
                return RejectedLately()
            looked = newest.limit(LOOKED_AT).subquery()
            query = select(func.count(), func.min(looked.c.received_at)).where(
                looked.c.received_at >= since
            )
            number, first = connection.execute(query).one()
        return RejectedLately(number, first, last.topic)

    def count(self) -> int:
        """How many are kept."""
        with self._connections.read() as connection:
            return connection.scalar(select(func.count()).select_from(rejected_messages)) or 0


def shown(payload: bytes) -> str:
    """A payload as text that every database can hold and a person can read."""
    text = storable(payload[:MAX_PAYLOAD].decode("utf-8", "backslashreplace"))
    left_out = len(payload) - MAX_PAYLOAD
    return f"{text}… ({left_out} bytes more)" if left_out > 0 else text


def storable(text: str) -> str:
    """Text without what PostgreSQL cannot hold: NUL and lone surrogates are written out."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()


def _record(row: Any) -> RejectedMessage:
    return RejectedMessage(
        id=row.id,
        received_at=row.received_at,
        topic=row.topic,
        payload=row.payload,
        reason=row.reason,
    )
