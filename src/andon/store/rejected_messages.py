"""Messages that could not be used, kept aside with the reason.

By MQTT nobody waits for an answer, so a message that cannot be read would vanish. It is kept
here instead, as text, until somebody has looked; the newest ten thousand stay.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import delete, func, insert, select

from andon.store.clock import now
from andon.store.connections import Connections
from andon.store.tables import rejected_messages

KEPT = 10_000
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
