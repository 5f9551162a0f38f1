"""A light HTTP load generator: it shares the machine with the server under test.

Requests are built once; a client is one keep-alive connection that sends the next request
when the last answer is there. Parsing stops at the status line and Content-Length, so that
the generator takes little of the processor time it measures.
"""

import asyncio
import itertools
import socket
import time
from collections.abc import Sequence
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
        """Requests answered with 200."""
        return self.statuses.get(200, 0)

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


def _answer(connection: socket.socket) -> int:
    """Read one whole answer; its status."""
    received = connection.recv(65536)
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return int(head[9:12])
