"""A long NDJSON upload: how much memory the server takes while it streams in."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import plant
from bench.ingest import register
from bench.processes import andon

_YEARS = 12
_CHUNK = 64 * 1024


def measure(home: Path, *, events: int) -> dict[str, Any]:
    """Send events as one NDJSON request whose lines are made while they are sent.

    Returns:
        `events_per_second`, `mib` sent, and the resident set of a freshly started server
        before the upload, at its peak and after, MiB.
    """
    register(home / "andon.db")
    with andon(home) as server:
        before = server.rss_mib()
        server.forget_peak()
        begun = time.perf_counter()
        sent, answer = _upload(server.port, "/events/batch", events)
        seconds = time.perf_counter() - begun
        if answer.get("ingested") != events:
            raise RuntimeError(f"the upload is not usable: {answer}")
        return {
            "events": events,
            "mib": sent / 2**20,
            "events_per_second": events / seconds,
            "rss_before_mib": before,
            "rss_peak_mib": server.peak_rss_mib(),
            "rss_after_mib": server.rss_mib(),
            "growth_mib": server.peak_rss_mib() - before,
        }


def _upload(port: int, path: str, events: int) -> tuple[int, dict[str, Any]]:
    """Bytes sent, and the answer."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n"
        "Accept: application/json\r\nConnection: close\r\n\r\n"
    )
    sent = 0
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode())
        for chunk in _chunks(events):
            connection.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            sent += len(chunk)
        connection.sendall(b"0\r\n\r\n")
        received = bytearray()
        while data := connection.recv(65536):
            received += data
    answer: dict[str, Any] = json.loads(received.partition(b"\r\n\r\n")[2])
    return sent, answer


def _chunks(events: int) -> Iterator[bytes]:
    first = time.time_ns() // 1000 // plant.DAY - 365 * _YEARS
    chunk = bytearray()
    for line in plant.lines(first, events):
        chunk += line
        if len(chunk) >= _CHUNK:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)
