"""Runs the server: listens, starts the platform, serves, and leaves in good order.

Prints nothing; `announce` is told when requests are answered.
"""

import contextlib
import errno
import ipaddress
import logging
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import structlog
import uvicorn

from andon.errors import ConfigurationError
from andon.platform import Platform
from andon.settings import Settings
from andon.web.access import check_key
from andon.web.app import create_app
from andon.web.memory import give_back, without
from andon.web.protocol import LimitedProtocol

_log = structlog.get_logger(__name__)

_BACKLOG = 1024
_KEEP_ALIVE_SECONDS = 30
# Requests in flight may finish for as long as they would be given anyway, and a little more.
_DRAIN_MARGIN_SECONDS = 2
_WANTED_FILES = 4096


def run(platform: Platform, announce: Callable[[str], None] | None = None) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is in flight and stop the platform.

    Args:
        platform: Built, not started.
        announce: Called once with the server's address (`http://127.0.0.1:8080`) when it
            answers.

    Raises:
        ConfigurationError: The address cannot be listened on, or a key is required and the
            configured one protects nothing. Nothing was started.
    """
    settings = platform.settings
    check_key(settings)
    listener = listen(settings)
    try:
        platform.start(serve=True)
        if not settings.loopback and not settings.credentials_required:
            _log.warning("No key is asked for: the whole network may deploy models here")
        try:
            _serve(platform, listener, announce)
        finally:
            platform.stop()
    finally:
        listener.close()


def listen(settings: Settings) -> socket.socket:
    """Take the address, before anything slow is done.

    Raises:
        ConfigurationError: Somebody else has it, or it is not this machine's.
    """
    where = f"{settings.host}:{settings.port}"
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6 and settings.host == "::":
                # One socket for both families: "every address" means both to people.
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind(address)
            # At once: of two servers that start together, the second must learn it here.
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise ConfigurationError(
            f"Cannot listen on {where}: {_reason(error)}.", hint=_next_step(error)
        ) from error
    return listener


def address_of(listener: socket.socket) -> str:
    """The address to open in a browser on this machine."""
    host, port = listener.getsockname()[:2]
    ip = ipaddress.ip_address(host)
    if ip.is_unspecified:
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """uvicorn's server, which says when it is up and does not kill the process at its end."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        self._tell()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while serving.

        uvicorn would raise them again afterwards, which ends the process before the platform
        was stopped.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        caught = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._signalled) for number in caught}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        """The first signal drains; Ctrl+C again does not wait any longer."""
        if self.should_exit and number == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True


def build_server(platform: Platform, started: Callable[[], None] = lambda: None) -> Server:
    """The server of a started platform, ready for `Server.run(sockets=[…])`."""
    settings = platform.settings
    config = uvicorn.Config(
        create_app(platform),
        loop="uvloop",
        http=LimitedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(settings.request_timeout) + _DRAIN_MARGIN_SECONDS,
    )
    return Server(config, started)


def _serve(
    platform: Platform, listener: socket.socket, announce: Callable[[str], None] | None
) -> None:
    _quiet()
    _allow_many_files()
    address = address_of(listener)
    # FastAPI would load it to see that no shape of ours is of Pydantic's first version: 1 MB.
    with without("pydantic.v1"):
        server = build_server(platform, lambda: announce(address) if announce else None)
    # Loading the models and building the routes had their peak; from here on it is idle.
    give_back()
    server.run([listener])


def _quiet() -> None:
    """What strangers send must not fill the log: these log every malformed byte."""
    for name in ("uvicorn.error", "python_multipart.multipart"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _allow_many_files() -> None:
    """Raise the soft limit of open files: a connection is one, and 1024 is the usual limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(_WANTED_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is already in use"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return "this user may not use that port"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return "that is not an address of this machine"
    return error.strerror or str(error)


def _next_step(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "Stop the other program, or choose another port with ANDON_PORT or --port."
    if error.errno in {errno.EACCES, errno.EPERM}:
        return "Choose a port above 1023 with ANDON_PORT or --port."
    return "Set ANDON_HOST to 127.0.0.1, to 0.0.0.0 or to an address of this machine."
