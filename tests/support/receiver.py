"""A server for senders to meet bad days with: it keeps what it gets, and fails as it is told."""

import json
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

HTML = "text/html"
PROBLEM = "application/problem+json"


class Answer(NamedTuple):
    """An answer instead of the usual one; nothing is taken."""

    status: int
    body: bytes = b""
    kind: str = PROBLEM
    headers: tuple[tuple[str, str], ...] = ()


LOST = "lost"
"""Takes the batch, and hangs up before it answers."""

DEAF = "deaf"
"""Hangs up without having taken anything."""


class Receiver:
    """Takes batches as Andon does: counts repeats once, refuses what `refuse` names.

    `script` holds what happens to the next requests, `always` what happens to those after.

    Args:
        port: Where to listen; 0: anywhere.
        tls: Certificate and key, in one file.
    """

    def __init__(self, port: int = 0, *, tls: str = "") -> None:
        self.script: deque[Answer | str] = deque()
        self.always: Answer | None = None
        self.refuse: Callable[[dict[str, Any]], str] = lambda _: ""
        self.stored: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[float, str, int, dict[str, str]]] = []
        self.largest = 10_000
        self.named = 100
        self._lock = threading.Lock()
        self._sockets: list[Any] = []
        self._server = self._listening(port, tls)
        scheme = "https" if tls else "http"
        self.port = self._server.server_address[1]
        self.address = f"{scheme}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def items(self) -> list[dict[str, Any]]:
        """What was stored, in the order of arrival."""
        return list(self.stored.values())

    def stop(self) -> None:
        """Hang up on everybody, as a machine does that loses its power."""
        self._server.shutdown()
        self._server.server_close()
        for sock in self._sockets:
            try:
                sock.shutdown(2)
            except OSError:
                continue
        self._thread.join()

    def _listening(self, port: int, tls: str) -> ThreadingHTTPServer:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                receiver._sockets.append(self.request)
                super().setup()

            def do_POST(self) -> None:
                receiver._handle(self)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A client that hangs up is no news."""

        server = Server(("127.0.0.1", port), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        return server

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        rows = json.loads(body)
        rows = rows if isinstance(rows, list) else [rows]
        with self._lock:
            self.requests.append(
                (time.monotonic(), request.path, len(rows), dict(request.headers.items()))
            )
            fault = self.script.popleft() if self.script else self.always
            if fault == DEAF:
                self._hang_up(request)
                return
            if isinstance(fault, Answer):
                answer = fault
            elif len(rows) > self.largest:
                answer = Answer(413)
            else:
                answer = self._take(rows)
            if fault == LOST:
                self._hang_up(request)
                return
        request.send_response(answer.status)
        for name, value in answer.headers:
            request.send_header(name, value)
        request.send_header("Content-Type", answer.kind)
        request.send_header("Content-Length", str(len(answer.body)))
        request.end_headers()
        request.wfile.write(answer.body)

    def _take(self, rows: list[dict[str, Any]]) -> Answer:
        counts = {"total": len(rows), "ingested": 0, "duplicates": 0, "rejected": 0}
        errors = []
        for index, row in enumerate(rows):
            key = row.get("event_id") or json.dumps(row, sort_keys=True)
            reason = self.refuse(row)
            if reason:
                counts["rejected"] += 1
                errors.append({"index": index, "detail": reason})
            elif key in self.stored:
                counts["duplicates"] += 1
            else:
                counts["ingested"] += 1
                self.stored[key] = row
        report: dict[str, Any] = {**counts, "errors": errors[: self.named]}
        if len(errors) > self.named:
            report["errors_omitted"] = len(errors) - self.named
        taken = counts["ingested"] + counts["duplicates"]
        status = 201 if counts["ingested"] else 200 if taken else 400
        return Answer(status, json.dumps(report).encode(), "application/json")

    @staticmethod
    def _hang_up(request: BaseHTTPRequestHandler) -> None:
        request.close_connection = True
        request.connection.shutdown(2)
