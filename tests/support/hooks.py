"""A receiver of webhooks for bad days: it answers, refuses, sends elsewhere, drips or hangs."""

import json
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any

HANG = "hang"
"""Takes the connection, and never answers."""

DRIP = "drip"
"""Answers a byte at a time, and never gets to the end."""


class Hooks:
    """Listens on 127.0.0.1; keeps the headers and the JSON of everything it gets.

    `script` holds what happens to the next requests (a status, `HANG` or `DRIP`), `always` what
    happens to those after.
    """

    def __init__(self) -> None:
        self.script: deque[int | str] = deque()
        self.always: int | str = 204
        self.location = ""
        self.got: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.times: list[float] = []
        self._open: list[tuple[socket.socket, threading.Thread]] = []
        self._stopping = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/hook/secret-path"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The bodies of everything that came whole."""
        return [body for _, body in self.got]

    def stop(self) -> None:
        """Hang up on everybody. Safe to call twice."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.close()
        for connection, answering in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            answering.join()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            answering = threading.Thread(target=self._answer, args=(connection,), daemon=True)
            self._open.append((connection, answering))
            answering.start()

    def _answer(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as file:
                head = file.readline()
                if not head:
                    return
                headers = {}
                while (line := file.readline().decode().strip()) != "":
                    name, _, value = line.partition(":")
                    headers[name.strip()] = value.strip()
                body = json.loads(file.read(int(headers["Content-Length"])))
                self.times.append(time.monotonic())
                self.got.append((headers | {"path": head.split()[1].decode()}, body))
                fault = self.script.popleft() if self.script else self.always
                if fault == HANG:
                    self._stopping.wait(30)
                    return
                if fault == DRIP:
                    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 400:
                        connection.send(bytes([byte]))
                        if self._stopping.wait(0.02):
                            return
                extra = f"Location: {self.location}\r\n" if self.location else ""
                answer = f"HTTP/1.1 {fault} Whatever\r\n{extra}Content-Length: 0\r\n\r\n"
                connection.sendall(answer.encode())
        except OSError:
            # The one who asked has hung up.
            return
