"""A real server on a free port of this machine, with a real model behind it."""

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving.boards import board, spot_model, until
from tests.store.conftest import migrated_schema, postgres_server
from tests.support.floor import Told, register

from andon.logs import logging_stop
from andon.platform import Platform
from andon.settings import Settings
from andon.store.clock import moment
from andon.store.tables import iso
from andon.web.server import Server, address_of, build_server, listen

KEY = "a-key-long-enough-for-a-test"


class Site:
    """A running server, and short ways to call it."""

    def __init__(self, home: Path, **given: Any) -> None:
        settings = {"watch": False, "inference_threads": 1, "port": 0, **given}
        self.home = home
        self.models = home.parent
        self.platform = Platform(Settings(home=home, _env_file=None, **settings))
        self.platform.start(serve=True)
        self.listener = listen(self.platform.settings)
        self.port = self.listener.getsockname()[1]
        self.url = address_of(self.listener)
        self._up = threading.Event()
        self.server: Server = build_server(self.platform, self._up.set)
        self.server.main_loop = self._until_told  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self.server.run, args=([self.listener],))
        self._thread.start()
        assert self._up.wait(20), "the server did not start"
        # It speaks plain HTTP; reading the certificates of all authorities takes 20 ms.
        self.client = httpx.Client(base_url=self.url, timeout=20, verify=False)

    async def _until_told(self) -> None:
        """The loop of uvicorn, which looks more often whether it is to end: tests end often."""
        counter = 0
        while not await self.server.on_tick(counter):
            counter += 1
            await asyncio.sleep(0.01)

    def close(self) -> None:
        """Stop everything."""
        self.client.close()
        self.server.should_exit = True
        self._thread.join(20)
        self.platform.stop()
        logging_stop()

    def model_file(self, name: str = "first", **given: Any) -> bytes:
        """A model's bytes; another name is another content."""
        return spot_model(self.models / f"{name}.onnx", name=name, **given).read_bytes()

    def upload(self, name: str = "first", **fields: Any) -> httpx.Response:
        """Deploy a model over HTTP."""
        files = {"model": (f"{name}.onnx", self.model_file(name))}
        return self.client.post("/api/models/upload", files=files, data=fields)

    def predict(
        self,
        data: bytes | None = None,
        name: str = "board.png",
        path: str = "/api/predict",
        **fields,
    ) -> httpx.Response:
        """Send a picture."""
        files = {"image": (name, board() if data is None else data, "image/png")}
        return self.client.post(path, files=files, data=fields)

    def send(self, raw: bytes, *, wait: float = 5.0, close: bool = False) -> bytes:
        """Send raw bytes; everything the server sends back until it hangs up or says nothing."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait) as connection:
            connection.sendall(raw)
            if close:
                return b""
            return received(connection)

    @property
    def incoming(self) -> list[Path]:
        """Model files that are being received, or were left behind."""
        return [path for path in (self.home / "models" / ".incoming").glob("*") if path.is_file()]


def received(connection: socket.socket) -> bytes:
    """One HTTP answer, or less where the connection ends or the wait is over."""
    answer = b""
    with contextlib.suppress(TimeoutError, ConnectionResetError):
        while piece := connection.recv(65536):
            answer += piece
            head, end, body = answer.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            if end and length and len(body) >= int(length[1]):
                break
    return answer


def status_of(answer: bytes) -> int:
    """The status of a raw answer; 0 where there is none."""
    match = re.match(rb"HTTP/1.1 (\d{3})", answer)
    return int(match[1]) if match else 0


def form(*parts: tuple[str, str | None, bytes], boundary: str = "XX") -> bytes:
    """A multipart body of (name, file name or None, content)."""
    body = b""
    for name, filename, content in parts:
        extra = "" if filename is None else f'; filename="{filename}"'
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{extra}'.encode()
        body += b"\r\n\r\n" + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


def post(path: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """A raw POST of a form with boundary XX."""
    head = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: multipart/form-data; boundary=XX",
        f"Content-Length: {len(body) if length is None else length}",
        *headers,
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One server for every test that leaves models alone; version 1 of `pcb` is active."""
    made = Site(tmp_path_factory.mktemp("site") / "home")
    try:
        assert made.upload("first").status_code == 200
        yield made
    finally:
        made.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Site]:
    """A server of its own for a test, without any model."""
    made = Site(tmp_path / "home")
    yield made
    made.close()


@pytest.fixture(scope="module")
def closed_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server that asks for the key, for tests that change nothing in it."""
    made = Site(tmp_path_factory.mktemp("closed") / "home", auth="required", api_key=KEY)
    yield made
    made.close()


@pytest.fixture
def closed(closed_site: Site) -> Site:
    """The same, called by somebody who has not signed in."""
    closed_site.client.cookies.clear()
    return closed_site


class Floor:
    """A server with the made-up floor's workers and stations, and short ways to use it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.client = site.client
        self.db = site.platform.db

    def clear(self) -> None:
        """Forget every event, and everybody who was not there at first."""
        kept = ("factory_events", "factory_totals", "drowsiness_events", "drowsiness_totals")
        with self.db.write() as connection:
            for table in (*kept, "rejected_messages", "workers", "workstations"):
                connection.exec_driver_sql(f"DELETE FROM {table}")
        register(self.db)

    def send(self, *told: Told, path: str = "/events/batch") -> dict[str, Any]:
        """Send events as one batch, and expect them to be taken; what is answered."""
        answer = self.client.post(path, json=[event.body() for event in told])
        assert answer.status_code in {200, 201}, answer.text
        body: dict[str, Any] = answer.json()
        assert not body["rejected"], body["errors"]
        return body

    def post(self, path: str, body: bytes, kind: str = "application/json") -> httpx.Response:
        """Send bytes."""
        return self.client.post(path, content=body, headers={"Content-Type": kind})

    def metrics(self, what: str, since: int, until: int, **more: str) -> dict[str, Any]:
        """`GET /metrics/…` of a window in microseconds."""
        window = {"from": iso(moment(since)), "to": iso(moment(until))}
        answer = self.client.get(f"/metrics/{what}", params={**window, **more})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def worker(self, since: int, until: int, worker: str = "W1") -> dict[str, Any]:
        """One worker's numbers."""
        return self.metrics(f"workers/{worker}", since, until)

    def station(self, since: int, until: int, station: str = "S1") -> dict[str, Any]:
        """One station's numbers."""
        return self.metrics(f"workstations/{station}", since, until)


@pytest.fixture(
    scope="session", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def floor_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """One server for all tests of the floor, on SQLite and on PostgreSQL."""
    given = {}
    if request.param == "postgres":
        given["database_url"] = request.getfixturevalue("migrated_schema")
    made = Site(tmp_path_factory.mktemp("floor") / "home", **given)
    yield made
    made.close()


@pytest.fixture
def floor(floor_site: Site) -> Floor:
    """An empty floor with workers W1 to W3 and stations S1 to S3."""
    found = Floor(floor_site)
    found.clear()
    return found


def problem(answer: httpx.Response, status: int, *words: str) -> dict[str, Any]:
    """Check that an answer is a problem (RFC 9457) that says these words; its members."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "instance"} <= body.keys()
    assert body["status"] == status
    assert body["instance"] == answer.request.url.path.rstrip("/") or "/"
    for word in words:
        assert word in body["detail"], body["detail"]
    return body


__all__ = [
    "KEY",
    "Floor",
    "Site",
    "board",
    "form",
    "migrated_schema",
    "post",
    "postgres_server",
    "problem",
    "received",
    "status_of",
    "until",
]
