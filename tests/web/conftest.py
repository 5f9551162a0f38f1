"""A real server on a free port of this machine, with a real model behind it."""

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

from andon.logs import logging_stop
from andon.platform import Platform
from andon.settings import Settings
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
        self._thread = threading.Thread(target=self.server.run, args=([self.listener],))
        self._thread.start()
        assert self._up.wait(20), "the server did not start"
        self.client = httpx.Client(base_url=self.url, timeout=20)

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


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Site]:
    """A server that asks for the key."""
    made = Site(tmp_path / "home", auth="required", api_key=KEY)
    yield made
    made.close()


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


__all__ = ["KEY", "Site", "board", "form", "post", "problem", "received", "status_of", "until"]
