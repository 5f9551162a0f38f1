"""Messages between the network and the database: bounded, in order, acknowledged once stored.

An acknowledgement names a message by a number that the broker hands out anew on every
connection. So each message remembers the connection it came by, and none is acknowledged on
another. What was received but not acknowledged when a connection broke is stored all the same
(the broker may have lost it); when it comes again, the two are known to be one.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence

MAX_PAYLOAD = 1024**2
"""Largest payload that is read, bytes; larger ones are kept aside."""

GROUP_BYTES = 2 * 1024**2
"""Of payload that one group holds: what the database gets at a time."""


class Message:
    """One received message.

    Attributes:
        topic: As the broker names it.
        payload: Its bytes, or the first of them where there were too many.
        size: Of the whole payload, bytes.
        qos: 0 or 1; only those of 1 are acknowledged.
        mid: The broker's number for it, on `connection`.
        connection: Number of the connection it came by last.
        stored: Whether everything in it is stored or kept aside.
        pending: Whether it waits or is in work, be it for its acknowledgement alone.
    """

    __slots__ = ("connection", "mid", "payload", "pending", "qos", "size", "stored", "topic")

    def __init__(self, topic: str, payload: bytes, *, size: int, qos: int, mid: int) -> None:
        self.topic = topic
        self.payload = payload
        self.size = size
        self.qos = qos
        self.mid = mid
        self.connection = 0
        self.stored = False
        self.pending = False

    def same_as(self, other: "Message") -> bool:
        """Whether both carry the same."""
        return self.topic == other.topic and self.payload == other.payload


class Messages:
    """What was received and is not acknowledged.

    The broker itself bounds what one connection brings (receive maximum). The limits here are
    for messages of QoS 0, which nothing holds back, and for those that broken connections left.

    Args:
        limit: Messages that may wait.
        limit_bytes: Payload that may wait, bytes.
        dropped: Told the QoS of a message that was given up.
    """

    def __init__(
        self,
        *,
        limit: int = 1_000,
        limit_bytes: int = 32 * 1024**2,
        dropped: Callable[[int], None] = lambda _qos: None,
    ) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._dropped = dropped
        # Reentrant: an acknowledgement may find out that the connection is broken.
        self._changed = threading.Condition(threading.RLock())
        self._waiting: deque[Message] = deque()
        self._bytes = 0
        # Messages of QoS 1 that are not acknowledged, by the broker's number.
        self._held: dict[int, Message] = {}
        self._connection = 0
        self._connected = False
        self._in_work = 0
        self._closed = False

    def __len__(self) -> int:
        """Messages that wait or are being stored."""
        with self._changed:
            return len(self._waiting) + self._in_work

    def opened(self, *, session_present: bool) -> None:
        """A connection is there.

        Args:
            session_present: Whether the broker knew us: then what it did not see acknowledged
                comes again, under the old numbers.
        """
        with self._changed:
            if session_present:
                # What was stored before the last connection would have come again on it.
                self._held = {
                    mid: message
                    for mid, message in self._held.items()
                    if not message.stored or message.connection == self._connection
                }
            else:
                self._held.clear()
            self._connection += 1
            self._connected = True

    def lost(self) -> None:
        """The connection is gone: nothing that came by it is acknowledged any more."""
        with self._changed:
            self._connected = False

    def put(self, message: Message, *, again: bool) -> None:
        """Take a message from the network; never waits.

        Args:
            message: What came.
            again: Whether the broker says that it sent it before.
        """
        with self._changed:
            message.connection = self._connection
            if message.qos and again and self._recognise(message):
                return
            if self._full() and not self._make_room(message):
                self._dropped(message.qos)
                return
            if message.qos:
                self._held[message.mid] = message
            self._append(message)

    def take(self, timeout: float) -> list[Message]:
        """The oldest messages, up to `GROUP_BYTES`; none after `timeout` seconds without."""
        group: list[Message] = []
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, timeout)
            size = 0
            while self._waiting and (not group or size + self._waiting[0].size <= GROUP_BYTES):
                message = self._waiting.popleft()
                size += message.size
                self._bytes -= len(message.payload)
                group.append(message)
            self._in_work = len(group)
        return group

    def put_back(self, group: Sequence[Message]) -> None:
        """What `take` returned last could not be worked off: it is the oldest again."""
        with self._changed:
            for message in reversed(group):
                if message.pending:
                    self._waiting.appendleft(message)
                    self._bytes += len(message.payload)
            self._in_work = 0

    def settle(self, group: Iterable[Message], acknowledge: Callable[[int, int], None]) -> None:
        """Acknowledge stored messages, in order, where their connection still stands.

        Args:
            group: What `take` returned last.
            acknowledge: Called with number and QoS; must not wait.
        """
        for message in group:
            # One at a time, so that the network is never kept waiting.
            with self._changed:
                message.stored = True
                message.pending = False
                self._in_work -= 1
                if not message.qos:
                    continue
                if self._connected and message.connection == self._connection:
                    acknowledge(message.mid, message.qos)
                    self._release(message)

    def close(self) -> None:
        """Let `take` return at once from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _recognise(self, message: Message) -> bool:
        """Whether it is a message that is here already; then it belongs to this connection."""
        known = self._held.get(message.mid)
        if known is None or known.connection == self._connection or not known.same_as(message):
            return False
        known.connection = self._connection
        if not known.pending:
            # Only its acknowledgement is missing, and takes its turn.
            self._append(known)
        return True

    def _append(self, message: Message) -> None:
        message.pending = True
        self._waiting.append(message)
        self._bytes += len(message.payload)
        self._changed.notify_all()

    def _full(self) -> bool:
        return len(self._waiting) >= self._limit or self._bytes >= self._limit_bytes

    def _make_room(self, message: Message) -> bool:
        """For a message of QoS 1, give up one that cannot be acknowledged any more.

        What this connection brought stays: the broker waits for its acknowledgement.
        """
        if not message.qos:
            return False
        for old in self._waiting:
            if not old.qos or old.connection != self._connection:
                self._waiting.remove(old)
                self._bytes -= len(old.payload)
                self._release(old)
                self._dropped(old.qos)
                break
        return True

    def _release(self, message: Message) -> None:
        """Forget its number, unless that was handed out anew."""
        if self._held.get(message.mid) is message:
            del self._held[message.mid]
