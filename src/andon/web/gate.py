"""The one middleware: every request comes in and every answer goes out through it.

In: Host, Origin and credentials; methods every route has (HEAD, OPTIONS); a closing slash;
the size and pace of the body. Out: security headers, metrics, and a problem for whatever
was not answered. It is plain ASGI because the prediction path pays for it too.
"""

import asyncio
import time
from typing import Any
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from andon.errors import AndonError, TooLarge, Unauthenticated
from andon.web import problems
from andon.web.access import Access, Head, read_head
from andon.web.cross_origin import CrossOrigin
from andon.web.metrics import HttpMetrics
from andon.web.problems import ClientGone, RequestTimeout
from andon.web.routes import RouteTable

# Longer than any address here. Numbers in paths are read before anybody can limit them.
_MAX_PATH = 2000
# Bodies of all routes that do not take files.
MAX_BODY_BYTES = 1024 * 1024
# A body may take this long, plus a second for every so many bytes that did arrive. A phone
# on a bad link passes; a client that holds a connection by dripping does not.
_GRACE_SECONDS = 30.0
_MIN_BYTES_PER_SECOND = 16 * 1024
# A refused body is read on for a moment: closing at once would reset the connection, and
# the client would see that instead of the answer.
_LINGER_SECONDS = 3.0
_LINGER_BYTES = 32 * 1024 * 1024
# A small rest is read before the answer, so that the connection can be used again.
_DRAIN_SECONDS = 0.3
_DRAIN_BYTES = 64 * 1024

_POLICY = (
    b"default-src 'self'; img-src 'self' blob: data:; style-src 'self'; script-src 'self'; "
    b"object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)
_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_CSP = (b"content-security-policy", _POLICY)
_NO_STORE = (b"cache-control", b"no-store")
_REVALIDATE = (b"cache-control", b"no-cache")

# Open to strangers: what a load balancer asks, and the way in.
_OPEN = frozenset({"/health", "/health/live", "/health/ready", "/login", "/favicon.ico"})
# Style sheets and scripts: the sign-in page needs them, and they are in every installation.
_LOOKS = "/static/"


class Gate:
    """Pure ASGI middleware around the whole application.

    Args:
        app: What answers admitted requests.
        access: Who may come in.
        cross_origin: Which pages of other origins may call what.
        metrics: Where answers are counted.
        routes: What paths and methods exist.
        file_limits: Largest body by path, bytes, of the routes that take files; their
            handlers read (and limit) the body themselves while it arrives.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        cross_origin: CrossOrigin,
        metrics: HttpMetrics,
        routes: RouteTable,
        file_limits: dict[str, int],
    ) -> None:
        self._app = app
        self._access = access
        self._cross_origin = cross_origin
        self._metrics = metrics
        self._routes = routes
        self._file_limits = file_limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            # There are no WebSockets here; refusing the handshake closes it with 403.
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        head = read_head(scope["headers"])
        exchange = Exchange(scope, head, receive, send)
        inner = _inner(scope)
        try:
            await self._answer(inner, head, exchange)
        except ClientGone:
            exchange.status = 499
        finally:
            route = inner.get("route")
            path = getattr(route, "path_format", None) or self._routes.template(inner["path"])
            self._metrics.observe(
                path, scope["method"], exchange.status, time.perf_counter() - started
            )

    async def _answer(self, scope: Scope, head: Head, exchange: "Exchange") -> None:
        path = scope["path"]
        try:
            refusal = self._refuse(scope, exchange, head)
            if refusal is None and exchange.has_body:
                await self._prepare_body(path, head, exchange)
            if refusal is None and exchange.method == "OPTIONS":
                refusal = self._options(scope)
            if refusal is not None:
                await refusal(scope, exchange.receive, exchange.send)
                return
            # Hot routes need nothing of the framework, whose way to them is a tenth of a row's.
            answer = self._routes.plain(scope["method"], path) or self._app
            await answer(scope, exchange.receive, exchange.send)
        except ClientGone:
            raise
        except AndonError as error:
            await exchange.reply(problems.respond(error, scope))
        except Exception as error:
            # The one place where a bug ends: logged, answered, counted.
            await exchange.reply(problems.bug(error, scope))

    def _refuse(self, scope: Scope, exchange: "Exchange", head: Head) -> Response | None:
        """The answer to those who may not come in, and to browsers that ask whether they may."""
        path, method = scope["path"], exchange.method
        if len(path) > _MAX_PATH:
            return problems.respond(problems.not_found(path), scope)
        guest = self._cross_origin.is_guest(path, method, head)
        exchange.extra = self._cross_origin.headers(path, head.origin if guest else b"")
        try:
            self._access.check_origin(method, head, guest=guest)
            if guest:
                # A session is for our own pages.
                head.cookie = b""
                permission = self._cross_origin.preflight(method, head)
                if permission is not None:
                    return permission
            if path not in _OPEN and not path.startswith(_LOOKS):
                self._access.check_credentials(head)
        except Unauthenticated as error:
            if problems.is_for_people(scope):
                return RedirectResponse(f"/login?next={quote(path)}", status_code=303)
            return problems.respond(error, scope)
        except AndonError as error:
            return problems.respond(error, scope)
        return None

    async def _prepare_body(self, path: str, head: Head, exchange: "Exchange") -> None:
        """Refuse a body that says it is too large; read a small one in full."""
        limit = self._file_limits.get(path, MAX_BODY_BYTES)
        if declared_length(head) > limit:
            raise _too_large(limit)
        if path not in self._file_limits:
            await exchange.read_ahead(limit)

    def _options(self, scope: Scope) -> Response:
        """What a path can do. Other origins get no permission from it."""
        allowed = self._routes.allowed(scope["path"])
        if not allowed:
            return problems.respond(problems.not_found(scope["path"]), scope)
        return Response(status_code=204, headers={"Allow": ", ".join(allowed)})


class Exchange:
    """One request and its answer: watches the body come in and the answer go out.

    Attributes:
        status: Of the answer; 500 until one has started.
        has_body: Whether the request announces a body.
        extra: Headers that the answer carries besides.
    """

    def __init__(self, scope: Scope, head: Head, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.status = 500
        self.extra: list[tuple[bytes, bytes]] = []
        self.has_body = bool(head.transfer_encoding) or head.content_length not in {b"", b"0"}
        self._declared = declared_length(head)
        self._path: str = scope["path"]
        self._receive = receive
        self._send = send
        self._complete = not self.has_body
        self._received = 0
        self._began = time.monotonic()
        self._ahead: list[Message] = []
        self._response_started = False
        self._linger = False
        # Who waits for "100 Continue" has not sent the body and never will when refused.
        self._may_drain = not head.expect

    async def receive(self) -> Message:
        """The next piece of the body, within its time.

        Raises:
            RequestTimeout: It arrives too slowly.
        """
        if self._ahead:
            return self._ahead.pop()
        if self._complete:
            return await self._receive()
        allowed = _GRACE_SECONDS + self._received / _MIN_BYTES_PER_SECOND
        try:
            async with asyncio.timeout(self._began + allowed - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            raise RequestTimeout(
                f"The body came too slowly: {self._received} bytes in {allowed:.0f} s.",
                hint="Send it faster, or send less.",
            ) from None
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
        return message

    async def read_ahead(self, limit: int) -> None:
        """Read the whole body now; `receive` then hands it out in one piece.

        Raises:
            TooLarge: It has more than `limit` bytes.
            ClientGone: It never became complete.
        """
        pieces: list[bytes] = []
        while not self._complete:
            message = await self.receive()
            if message["type"] != "http.request":
                raise ClientGone
            pieces.append(message.get("body", b""))
            if self._received > limit:
                raise _too_large(limit)
        self._ahead = [{"type": "http.request", "body": b"".join(pieces), "more_body": False}]

    async def send(self, message: Message) -> None:
        """Pass the answer on, with what every answer carries."""
        if message["type"] == "http.response.start":
            self._response_started = True
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            self._complete_headers(headers)
            if not self._complete:
                await self._refuse_rest(headers)
            message = {**message, "headers": headers}
        elif self._linger and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._drain(_LINGER_SECONDS, _LINGER_BYTES)
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def reply(self, response: Response) -> None:
        """Send a whole answer, if none has started; else there is nothing left to say."""
        if self._response_started:
            raise ClientGone
        await response({"type": "http", "method": self.method}, self.receive, self.send)

    def _complete_headers(self, headers: list[tuple[bytes, bytes]]) -> None:
        names = {name for name, _ in headers}
        headers.extend(_SECURITY)
        headers.extend(self.extra)
        if b"content-security-policy" not in names:
            headers.append(_CSP)
        if b"cache-control" not in names:
            headers.append(_REVALIDATE if self._path.startswith(_LOOKS) else _NO_STORE)

    async def _refuse_rest(self, headers: list[tuple[bytes, bytes]]) -> None:
        """The answer is there before the body is: swallow a little, hang up on a lot."""
        little = self._declared - self._received <= _DRAIN_BYTES
        if self._may_drain and little and await self._drain(_DRAIN_SECONDS, _DRAIN_BYTES):
            return
        headers[:] = [(name, value) for name, value in headers if name != b"connection"]
        headers.append((b"connection", b"close"))
        self._linger = self._may_drain

    async def _drain(self, seconds: float, limit: int) -> bool:
        """Read and forget; True when the body came to its end."""
        taken = 0
        try:
            async with asyncio.timeout(seconds):
                while not self._complete and taken <= limit:
                    message = await self._receive()
                    if message["type"] != "http.request":
                        break
                    taken += len(message.get("body", b""))
                    self._complete = not message.get("more_body", False)
        except TimeoutError:
            return False
        return self._complete


def declared_length(head: Head) -> int:
    """The body's length as announced, bytes; 0 where it is not."""
    return int(head.content_length) if head.content_length.isdigit() else 0


def _inner(scope: Scope) -> dict[str, Any]:
    """The request as the routes see it: HEAD is GET, and a closing slash means nothing."""
    inner = dict(scope)
    path = scope["path"]
    # An id that ends with a slash has it written as %2F.
    if len(path) > 1 and path[-1] == "/" and scope.get("raw_path", b"/")[-1:] == b"/":
        inner["path"] = path[:-1]
        inner["raw_path"] = scope.get("raw_path", b"").removesuffix(b"/")
    if scope["method"] == "HEAD":
        # The server leaves the body out, for it has the method as it was asked.
        inner["method"] = "GET"
    return inner


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"File too large: the body exceeds {limit} bytes."
        if limit > MAX_BODY_BYTES
        else f"The body exceeds {limit} bytes.",
        hint="Send less.",
    )
