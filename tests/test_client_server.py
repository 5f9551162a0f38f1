"""The edge client and a real server, on SQLite and PostgreSQL: offline for hours, then a flush."""

import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.store.conftest import (  # noqa: F401 - pytest finds fixtures by their name here
    migrated_file,
    migrated_schema,
    postgres_server,
    postgres_url,
    sqlite_path,
    where,
)
from tests.support import floor

from andon.client import Sender, sender
from andon.events.simulation import Shift, happened, roster
from andon.store.clock import micros
from andon.store.database import Database

SHIFT = Shift(datetime(2026, 3, 2, 6, tzinfo=UTC), workers=4, stations=3, hours=4, seed=11)
EVENTS = happened(SHIFT)
SINCE, UNTIL = SHIFT.start - timedelta(hours=1), SHIFT.start + timedelta(hours=6)


class CuttingProxy(ThreadingHTTPServer):
    """Forwards batches to a server, and hangs up instead of bringing back every third answer."""

    daemon_threads = True

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.answers = itertools.count(1)
        super().__init__(("127.0.0.1", 0), _Forwarding)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"


class _Forwarding(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: CuttingProxy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.close_connection = True
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=30)
        try:
            upstream.request("POST", self.path, body, {"Content-Type": "application/json"})
            answer = upstream.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            return
        finally:
            upstream.close()
        if next(self.server.answers) % 3 == 0:
            return
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Server:
    """`andon serve` in a process of its own, on a port that outlives it."""

    def __init__(self, home: Path, database: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        url = database if "://" in database else f"sqlite:///{database}"
        self._environment = {**os.environ, "ANDON_HOME": str(home), "ANDON_DATABASE_URL": url}
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "andon.cli.main", "serve", "--port", str(self.port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self._environment,
        )
        assert self._process.stdout is not None
        assert any(line.split()[:1] == ["Stop"] for line in self._process.stdout)

    def kill(self) -> None:
        """As a power cut would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.communicate()
            self._process = None

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        with urllib.request.urlopen(f"{self.address}{path}", timeout=30) as answer:
            return json.load(answer)


@pytest.fixture
def server(tmp_path: Path, where: str) -> Iterator[Server]:  # noqa: F811 - the fixture
    """A server that is not running yet, with the roster of the shift."""
    db = Database(where)
    for entries, names in zip((db.workers, db.workstations), roster(SHIFT), strict=True):
        for entry, name in names.items():
            entries.add(entry, name)
    db.close()
    prepared = Server(tmp_path / "home", where)
    yield prepared
    prepared.kill()


def told() -> list[floor.Told]:
    """The shift, for the plain reference."""
    return [
        floor.Told(
            micros(event["timestamp"]),
            event["worker_id"],
            event["workstation_id"],
            event["event_type"],
            event.get("count", 0),
            event_id=event["event_id"],
        )
        for event in EVENTS
    ]


@pytest.fixture
def proxy(server: Server) -> Iterator[CuttingProxy]:
    """A way to the server that loses answers."""
    running = CuttingProxy(server.port)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.mark.slow
def test_offline_for_hours_then_a_flush_with_lost_answers_and_a_power_cut(
    server: Server, proxy: CuttingProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything arrives once, with its time; the metrics are those of the shift as it was."""
    monkeypatch.setattr(sender, "_FIRST_PAUSE", 0.02)
    camera = Sender(proxy.address, spool=tmp_path / "spool.db", batch=10, max_backoff=0.1)
    try:
        camera.add_all("factory", EVENTS)
        server.start()
        while camera.status().sent < 100:
            assert camera.pending()
            time.sleep(0.001)
        server.kill()
        waiting = camera.pending()
        assert 0 < waiting < len(EVENTS)
        server.start()
        assert camera.flush(60)
        status = camera.status()
    finally:
        camera.close(timeout=0)
    assert (status.sent, status.refused) == (len(EVENTS), 0)
    assert status.duplicates >= 10

    window = f"?from={SINCE.isoformat()[:19]}Z&to={UNTIL.isoformat()[:19]}Z"
    expected = floor.metrics(told(), micros(SINCE), micros(UNTIL))
    whole = server.get(f"/metrics/factory{window}")
    assert whole["events"] == len(EVENTS)
    assert whole["production"] == expected["factory"]["production"]
    assert whole["productive_seconds"] == pytest.approx(expected["factory"]["productive"])
    assert whole["utilization"] == pytest.approx(expected["factory"]["utilization"])

    # Another camera has recorded the same: all of it is known.
    with Sender(server.address, spool=tmp_path / "second.db") as again:
        again.add_all("factory", EVENTS)
        assert again.flush(60)
        assert again.status().duplicates == len(EVENTS)
    assert server.get(f"/metrics/factory{window}") == whole
