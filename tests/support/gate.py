"""A gate in front of a PostgreSQL server: shut, the server is away; opened, it is back.

For the program under test that is a restart of the database, without one: other tests use the
same server.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import make_url

_NAME = ".s.PGSQL.5432"


class Gate:
    """Passes connections on while it is open.

    Args:
        url: Of the server.
        folder: Where its own socket lies; short, for the name of a socket is.
    """

    def __init__(self, url: str, folder: Path) -> None:
        server = make_url(url)
        place = str(server.query.get("host") or server.host or "/var/run/postgresql")
        port = server.port or int(str(server.query.get("port", 5432)))
        self._family = socket.AF_UNIX if place.startswith("/") else socket.AF_INET
        self._server = f"{place}/.s.PGSQL.{port}" if place.startswith("/") else (place, port)
        gated = server.set(host=None, port=None).update_query_dict({"host": str(folder)})
        self.url = gated.render_as_string(hide_password=False)
        self._path = folder / _NAME
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None

    def open(self) -> None:
        """Let connections through."""
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._path))
        listener.listen()
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def shut(self) -> None:
        """Cut every connection and refuse new ones."""
        listener, self._listener = self._listener, None
        if listener is not None:
            self._path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.socket(self._family)
            far.connect(self._server)
            with self._lock:
                self._open |= {near, far}
            both = threading.Barrier(2)
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(one, other, both), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, both: threading.Barrier) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        both.wait()
        source.close()
        with self._lock:
            self._open.discard(source)


@contextlib.contextmanager
def gated(url: str, folder: Path) -> Iterator[Gate]:
    """An open gate, shut at the end."""
    gate = Gate(url, folder)
    gate.open()
    try:
        yield gate
    finally:
        gate.shut()
