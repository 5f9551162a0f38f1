"""One kept-alive HTTP connection to the server, and nothing else HTTP could do.

TLS certificates and names are verified. Redirects are not followed: events would go where
nobody sent them. No proxy is asked.
"""

import contextlib
import email.utils
import http.client
import ssl
import time
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from andon import __version__
from andon.errors import ConfigurationError

_MAX_ANSWER = 1024 * 1024
_HINT = "Write it like http://127.0.0.1:8080 or https://andon.example."


class Unreachable(Exception):
    """No whole answer came: refused, cut, timed out, or the certificate is not trusted."""


class Reply(msgspec.Struct, frozen=True):
    """What came back.

    Args:
        status: HTTP status.
        body: At most a megabyte of it.
        kind: Content type without parameters.
        retry_after: Seconds the server asks to wait; None when it does not say.
        location: Where it would redirect to.
    """

    status: int
    body: bytes
    kind: str = ""
    retry_after: float | None = None
    location: str = ""


class Link:
    """The way to one server. For one thread at a time; `cut` may come from another.

    Args:
        server: Its address; a path in it is kept (a reverse proxy's prefix).
        api_key: Sent as X-API-Key; empty: none.
        timeout: Longest silence on the connection, seconds.
        ca_file: Certificates to trust instead of the system's (a private authority).

    Raises:
        ConfigurationError: The address, the key or the certificates cannot be used.
    """

    def __init__(
        self, server: str, *, api_key: str = "", timeout: float = 30.0, ca_file: Path | None = None
    ) -> None:
        try:
            parts = urlsplit(server)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host or parts.scheme not in {"http", "https"} or parts.query or parts.fragment:
            raise ConfigurationError(f"{server!r} is not the address of a server.", hint=_HINT)
        if parts.username is not None or parts.password is not None:
            raise ConfigurationError(
                "A name or password in the server's address is not used.", hint="Give an API key."
            )
        if not (api_key.isascii() and (api_key.isprintable() or not api_key)):
            raise ConfigurationError("The API key holds characters that no header can carry.")
        self.server = server.rstrip("/")
        self.name = f"{host}_{port or (443 if parts.scheme == 'https' else 80)}".replace(":", ".")
        self._prefix = parts.path.rstrip("/")
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"andon/{__version__}",
        }
        if api_key:
            self._headers["X-API-Key"] = api_key
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            self._connection = http.client.HTTPSConnection(
                host, port, timeout=timeout, context=_trusting(ca_file)
            )
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=timeout)

    def post(self, path: str, body: bytes) -> Reply:
        """Send a body to a route.

        An idle connection may have been closed by the server meanwhile: then the body is sent
        once more on a new one, which is safe because the server counts repeats once.

        Raises:
            Unreachable: With the reason in words. The server may have the body all the same.
        """
        kept = self._connection.sock is not None
        try:
            return self._exchange(path, body)
        except (ConnectionError, http.client.BadStatusLine) as error:
            if not kept:
                raise Unreachable(_reason(error)) from error
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(_reason(error)) from error
        try:
            return self._exchange(path, body)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(_reason(error)) from error

    def cut(self) -> None:
        """End a request in flight, from another thread."""
        sock = self._connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(2)

    def close(self) -> None:
        """Close the connection; `post` opens a new one."""
        self._connection.close()

    def _exchange(self, path: str, body: bytes) -> Reply:
        try:
            try:
                self._connection.request("POST", self._prefix + path, body, self._headers)
            except (BrokenPipeError, ConnectionResetError):
                # A server that refuses a large body may answer before it has read all of it.
                if self._connection.sock is None:
                    raise
            answer = self._connection.getresponse()
            text = answer.read(_MAX_ANSWER)
            if not answer.isclosed():  # more than anybody needs: the rest stays unread
                self._connection.close()
        except BaseException:
            self._connection.close()
            raise
        return Reply(
            answer.status,
            text,
            (answer.getheader("Content-Type") or "").partition(";")[0].strip().lower(),
            _seconds(answer.getheader("Retry-After")),
            answer.getheader("Location") or "",
        )


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"The certificates in {ca_file} cannot be read: {error}.",
            hint="Name a file of PEM certificates.",
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return f"it broke off its answer ({type(error).__name__})"


def _seconds(retry_after: str | None) -> float | None:
    """`Retry-After` in seconds: a number or an HTTP date (RFC 9110, section 10.2.3)."""
    if not retry_after:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None
