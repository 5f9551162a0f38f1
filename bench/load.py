"""A light HTTP load generator: it shares the machine with the server under test.

Requests are built once; a client is one keep-alive connection that sends the next request
when the last answer is there. Parsing stops at the status line and Content-Length, so that
the generator takes little of the processor time it measures.
"""

import asyncio
import itertools
import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

BOUNDARY = "andon-bench-boundary"

# Stands before the ten digits in a picture's comment (see `pictures.SERIAL`).
_MARKER = b"bench-serial:"


@dataclass
class Load:
    """What a run of the load generator saw.

    Attributes:
        seconds: Wall time of the run.
        latencies: Seconds of each answered request.
        statuses: Count by HTTP status; 0 counts broken connections.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def ok(self) -> int:
        """Requests answered with success: 200, or 201 where something was stored."""
        return self.statuses.get(200, 0) + self.statuses.get(201, 0)

    @property
    def failed(self) -> int:
        """Requests answered with anything else, or not at all."""
        return sum(self.statuses.values()) - self.ok

    @property
    def per_second(self) -> float:
        """Answered requests per second."""
        return self.ok / self.seconds if self.seconds else 0.0


def multipart(port: int, path: str, name: str, content: bytes, field_name: str = "image") -> bytes:
    """A complete HTTP/1.1 request that uploads one JPEG."""
    body = (
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; "
        f'name="{field_name}"; filename="{name}"\r\nContent-Type: image/jpeg\r\n\r\n'
    ).encode()
    body += content + f"\r\n--{BOUNDARY}--\r\n".encode()
    return request(port, path, body, f"multipart/form-data; boundary={BOUNDARY}")


def request(port: int, path: str, body: bytes, content_type: str) -> bytes:
    """A complete HTTP/1.1 POST request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nAccept: application/json\r\n\r\n"
    )
    return head.encode() + body


class Serial:
    """Requests that never repeat: the number in a picture's comment is counted up.

    Args:
        messages: Requests as `multipart` makes them.
        fresh: Whether to count; otherwise, and without a number, a request is sent as it is.
    """

    _count = itertools.count(1)

    def __init__(self, messages: Sequence[bytes], *, fresh: bool = True) -> None:
        self._messages = [bytearray(message) for message in messages]
        self._places = [message.find(_MARKER) if fresh else -1 for message in messages]

    def __getitem__(self, index: int) -> bytes:
        index %= len(self._messages)
        message, place = self._messages[index], self._places[index]
        if place >= 0:
            digits = place + len(_MARKER)
            message[digits : digits + 10] = b"%010d" % next(self._count)
        return bytes(message)


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes
) -> int:
    """Send one request and read its whole answer; the HTTP status."""
    writer.write(message)
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == b"content-length":
            length = int(value)
    if length:
        await reader.readexactly(length)
    return int(head[9:12])


async def _client(port: int, messages: Serial, first: int, until: float, load: Load) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    index = first
    try:
        while time.perf_counter() < until:
            started = time.perf_counter()
            try:
                status = await exchange(reader, writer, messages[index])
            except (OSError, asyncio.IncompleteReadError):
                load.statuses[0] = load.statuses.get(0, 0) + 1
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                continue
            load.latencies.append(time.perf_counter() - started)
            load.statuses[status] = load.statuses.get(status, 0) + 1
            index += 1
    finally:
        writer.close()


async def drive_async(
    port: int, messages: Sequence[bytes], *, clients: int, seconds: float, fresh: bool = True
) -> Load:
    """Send `messages` round-robin from `clients` connections for `seconds`.

    `fresh` renumbers the pictures, so that no two requests carry the same file.
    """
    load = Load()
    serial = Serial(messages, fresh=fresh)
    started = time.perf_counter()
    await asyncio.gather(
        *(
            # Clients start at different pictures, so that no two ask for the same at once.
            _client(port, serial, number * 7, started + seconds, load)
            for number in range(clients)
        )
    )
    load.seconds = time.perf_counter() - started
    return load


def drive(
    port: int, messages: Sequence[bytes], *, clients: int, seconds: float, fresh: bool = True
) -> Load:
    """`drive_async` for callers without an event loop."""
    return asyncio.run(drive_async(port, messages, clients=clients, seconds=seconds, fresh=fresh))


def drive_alone(port: int, messages: Sequence[bytes], *, seconds: float) -> Load:
    """One client on a plain blocking socket.

    An event loop on the client's side would add its own wake-ups to each answer.
    """
    load = Load()
    serial = Serial(messages)
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for index in itertools.count():
            message = serial[index]
            begun = time.perf_counter()
            if begun - started >= seconds:
                break
            connection.sendall(message)
            status = _answer(connection)
            load.latencies.append(time.perf_counter() - begun)
            load.statuses[status] = load.statuses.get(status, 0) + 1
    load.seconds = time.perf_counter() - started
    return load


def drive_all(port: int, messages: Sequence[bytes], *, clients: int) -> Load:
    """Send every message exactly once from `clients` keep-alive connections.

    One client is a plain blocking socket; more share one thread and `epoll`, which costs the
    machine less than an event loop or a thread for each.

    Raises:
        RuntimeError: The server closed a connection.
    """
    load = Load()
    waiting = iter(messages)
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(min(clients, len(messages)))
        ]
        for connection in sockets:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        started = time.perf_counter()
        if len(sockets) == 1:
            _send_in_turn(sockets[0], waiting, load)
        else:
            _send_at_once([_Wire(connection) for connection in sockets], waiting, load)
        load.seconds = time.perf_counter() - started
    return load


def _send_in_turn(connection: socket.socket, waiting: Iterator[bytes], load: Load) -> None:
    for message in waiting:
        begun = time.perf_counter()
        connection.sendall(message)
        status = _answer(connection)
        load.latencies.append(time.perf_counter() - begun)
        load.statuses[status] = load.statuses.get(status, 0) + 1


def _send_at_once(wires: list["_Wire"], waiting: Iterator[bytes], load: Load) -> None:
    busy = {wire.socket.fileno(): wire for wire in wires}
    with select.epoll() as events:
        for number, wire in busy.items():
            events.register(number, select.EPOLLIN)
            wire.begin(next(waiting), events)
        while busy:
            for number, what in events.poll():
                wire = busy[number]
                if what & select.EPOLLOUT:
                    wire.send(events)
                if not what & ~select.EPOLLOUT:
                    continue
                status = wire.receive()
                if not status:
                    continue
                load.latencies.append(time.perf_counter() - wire.begun)
                load.statuses[status] = load.statuses.get(status, 0) + 1
                message = next(waiting, None)
                if message is None:
                    events.unregister(number)
                    del busy[number]
                else:
                    wire.begin(message, events)


class _Wire:
    """One keep-alive connection of many: what is still to be sent, what has come back."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection
        self.begun = 0.0
        self._unsent = memoryview(b"")
        self._received = b""
        self._full = False

    def begin(self, message: bytes, events: select.epoll) -> None:
        """Send the next request, as much of it as goes at once."""
        self.begun = time.perf_counter()
        self._unsent = memoryview(message)
        self._received = b""
        self.send(events)

    def send(self, events: select.epoll) -> None:
        """Send on; ask to be woken where the connection takes no more now."""
        with suppress(BlockingIOError):
            while self._unsent:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
        full = bool(self._unsent)
        if full != self._full:
            self._full = full
            wanted = select.EPOLLIN | (select.EPOLLOUT if full else 0)
            events.modify(self.socket.fileno(), wanted)

    def receive(self) -> int:
        """Take in what has come; the status once the answer is complete, else 0."""
        self._received += _receive(self.socket)
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < _content_length(head):
            return 0
        return int(head[9:12])


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise RuntimeError("the server closed the connection")
    return data


def _content_length(head: bytes) -> int:
    return int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])


def _answer(connection: socket.socket) -> int:
    """Read one whole answer; its status."""
    received = _receive(connection)
    while b"\r\n\r\n" not in received:
        received += _receive(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    length = _content_length(head)
    while len(body) < length:
        body += _receive(connection)
    return int(head[9:12])
