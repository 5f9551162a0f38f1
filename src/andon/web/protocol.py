"""What uvicorn's HTTP protocol leaves open: limits before there is a request.

Too many connections, headers that never end or never come, and bytes that are no HTTP are
answered (or hung up on) here; everything later is the gate's.
"""

import asyncio
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from andon.web.problems import CONTENT_TYPE

MAX_CONNECTIONS = 1000
HEAD_SECONDS = 15.0
MAX_HEAD_BYTES = 64 * 1024


class LimitedProtocol(HttpToolsProtocol):
    """One connection, within limits."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None
        self._in_head = True
        self._heads = 0
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(503, "Too many connections", "Try again in a moment.", retry=True)
        else:
            self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer with the connection."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; hang up on a head that grows without end."""
        began_in_head, heads = self._in_head, self._heads
        if began_in_head and self._head_timer is None:
            self._start_head_timer()
        super().data_received(data)
        if began_in_head and self._heads == heads and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(
                    431, "Request header fields too large", "Send fewer or shorter headers."
                )

    def on_headers_complete(self) -> None:
        """The head is there; the gate watches the body."""
        self._in_head = False
        self._heads += 1
        self._head_bytes = 0
        self._stop_head_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next bytes are the next request's head."""
        self._in_head = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._refuse(400, "Bad request", msg)

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_too_slow)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self._head_bytes:
            self._refuse(408, "Request timeout", f"The headers took more than {HEAD_SECONDS:g} s.")
        else:
            self.transport.close()

    def _refuse(self, status: int, title: str, detail: str, *, retry: bool = False) -> None:
        """Write a problem and close; there is no request yet that an application could answer."""
        body = msgspec.json.encode(
            {"type": "about:blank", "title": title, "status": status, "detail": detail}
        )
        self.transport.write(
            b"%scontent-type: %s\r\ncontent-length: %d\r\n%sconnection: close\r\n\r\n%s"
            % (
                STATUS_LINE[status],
                CONTENT_TYPE.encode(),
                len(body),
                b"retry-after: 1\r\n" if retry else b"",
                body,
            )
        )
        self.transport.close()
