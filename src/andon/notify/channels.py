"""The ways to tell people: the log, and a webhook.

A channel delivers one notification, or raises why it could not. Whether and when it is tried again
is the notifier's business.
"""

import base64
import contextlib
import http.client
import socket
import ssl
import threading
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec
import structlog

from andon import __version__
from andon.errors import ConfigurationError
from andon.store.outbox import Notification

log = structlog.get_logger("andon.notify")

# What a receiver says about the content itself: the same content will not be taken later.
_REFUSED = frozenset({400, 413, 415, 422})
_PORTS = {"http": 80, "https": 443}


class NotDelivered(Exception):
    """A notification could not be delivered.

    Args:
        why: For people, without secrets.
        final: Whether the receiver refused the content, so that trying again would not help.
    """

    def __init__(self, why: str, *, final: bool = False) -> None:
        super().__init__(why)
        self.final = final


class Channel(Protocol):
    """A way to tell people."""

    name: str
    """As the outbox knows it; at most 32 characters."""

    seconds: float
    """The longest that one delivery takes."""

    def deliver(self, notification: Notification) -> None:
        """Tell it.

        Raises:
            NotDelivered: It was not told, as far as is known.
        """


class LogChannel:
    """Writes into the log: always there, and immediate."""

    name = "log"
    seconds = 1.0

    def deliver(self, notification: Notification) -> None:
        """Write one line."""
        self.say(notification.event, notification.data)

    def say(self, event: str, data: dict[str, Any]) -> None:
        """Write one line about an event, as loud as it is bad."""
        loud = {"critical": log.error, "warning": log.warning}
        speak = loud.get(str(data.get("severity", "")), log.info)
        speak(sentence(event, data))


class WebhookChannel:
    """Posts `{"event", "timestamp", "data"}` as JSON to one address.

    `timestamp` is when it happened, not when it is sent. The headers `X-Andon-Notification` (the
    same with every try) and `X-Andon-Attempt` let a receiver drop what it got before. Redirects
    are not followed: the address was chosen by a person, where it sends others was not.

    Args:
        url: http or https; may carry USER:PASSWORD@.
        timeout: For everything together, the look-up of the name included, seconds.

    Raises:
        ConfigurationError: The address cannot be used.
    """

    name = "webhook"

    def __init__(self, url: str, timeout: float) -> None:
        self._address = _address(url)
        self.seconds = timeout
        self._unfinished: _Attempt | None = None

    @property
    def where(self) -> str:
        """The address as it may be shown: scheme, host and port. The rest may be a secret."""
        return shown(self._address)

    def deliver(self, notification: Notification) -> None:
        """Post it and wait for the answer; anything from 200 to 299 is a success.

        Raises:
            NotDelivered: No answer in time, another answer, or no connection.
        """
        body = msgspec.json.encode(
            {
                "event": notification.event,
                "timestamp": notification.created_at,
                "data": notification.data,
            }
        )
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"andon/{__version__}",
            "X-Andon-Notification": notification.id,
            "X-Andon-Attempt": str(notification.attempts),
        }
        status = self._post(body, headers)
        if 200 <= status < 300:
            return
        if 300 <= status < 400:
            raise NotDelivered(
                f"{self.where} answered {status}: it sends elsewhere, and redirects are not "
                "followed; set the final address"
            )
        why = f"{self.where} answered {status}"
        raise NotDelivered(why, final=status in _REFUSED)

    def probe(self) -> str:
        """Why nothing can be delivered there now; empty when a connection is possible.

        Connects (and speaks TLS, where it is https) and sends nothing.
        """
        attempt = _Attempt(self._address, self.seconds, None, {})
        try:
            self._run(attempt)
        except NotDelivered as error:
            return str(error)
        return ""

    def _post(self, body: bytes, headers: dict[str, str]) -> int:
        attempt = _Attempt(self._address, self.seconds, body, headers)
        self._run(attempt)
        assert attempt.status is not None
        return attempt.status

    def _run(self, attempt: "_Attempt") -> None:
        if self._unfinished is not None and self._unfinished.is_alive():
            # The look-up of a name cannot be ended from outside: one that hangs is enough.
            raise NotDelivered(f"{self.where}: the attempt before has not ended yet")
        self._unfinished = attempt
        attempt.start()
        attempt.join(self.seconds)
        if attempt.is_alive():
            attempt.give_up()
            raise NotDelivered(f"{self.where} did not answer within {self.seconds:g} s")
        if attempt.problem:
            raise NotDelivered(f"{self.where}: {attempt.problem}")


class _Attempt(threading.Thread):
    """One request, on a thread of its own: neither sockets nor look-ups know a total deadline."""

    def __init__(
        self, address: SplitResult, seconds: float, body: bytes | None, headers: dict[str, str]
    ) -> None:
        super().__init__(name="andon-webhook", daemon=True)
        self._address = address
        self._body = body
        self._headers = headers
        # Longer than the deadline, which ends it from outside: a second net, if that fails.
        self._connection = _connection(address, seconds + 1.0)
        self._given_up = False
        self.status: int | None = None
        self.problem = ""

    def run(self) -> None:
        """Ask; what became of it is in `status` or `problem`."""
        try:
            self._connection.connect()
            if self._body is None:
                return
            if self._given_up:
                return
            path = self._address.path or "/"
            if self._address.query:
                path = f"{path}?{self._address.query}"
            headers = {**self._headers, **_credentials(self._address)}
            self._connection.request("POST", path, self._body, headers)
            self.status = self._connection.getresponse().status
        except ssl.SSLError as error:
            self.problem = f"no secure connection ({error.reason or 'TLS failed'})"
        except TimeoutError:
            self.problem = "no answer in time"
        except OSError as error:
            self.problem = error.strerror or type(error).__name__
        except http.client.HTTPException as error:
            self.problem = f"no HTTP answer ({type(error).__name__})"
        # It would be printed by the interpreter, and the delivery would count as done.
        except Exception as error:
            self.problem = type(error).__name__
        finally:
            self._connection.close()

    def give_up(self) -> None:
        """End it from another thread, wherever it is; a look-up of a name ends by itself."""
        self._given_up = True
        sock = self._connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def sentence(event: str, data: dict[str, Any]) -> str:
    """One line for people about an event."""
    title = str(data.get("title") or "").strip()
    message = str(data.get("message") or data.get("reason") or "").strip()
    if event == "rollback" and "from_version" in data:
        model = f" of {data['model']}" if data.get("model") else ""
        title = title or f"v{data['from_version']}{model} replaced by v{data.get('to_version')}"
    what = event.replace("_", " ").capitalize()
    text = ": ".join(part for part in (what, title, message) if part)
    return " ".join(text.split())


def shown(address: SplitResult) -> str:
    """An address without what may be secret in it: user, password, path and query."""
    host = address.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"{address.scheme}://{host}:{address.port or _PORTS[address.scheme]}"


def _address(url: str) -> SplitResult:
    """The parts of a webhook's address.

    Raises:
        ConfigurationError: It is none; the address itself is not repeated.
    """
    hint = "Set ANDON_WEBHOOK_URL to an address such as https://example.org/hooks/andon."
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise ConfigurationError("The address of the webhook cannot be read.", hint=hint) from None
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise ConfigurationError(
            "The address of the webhook is no http or https address.", hint=hint
        )
    if any(ord(char) <= 32 or ord(char) >= 127 for char in f"{parts.path}{parts.query}"):
        raise ConfigurationError(
            "The address of the webhook holds blanks or characters that must be written as %XX.",
            hint=hint,
        )
    return parts


def _connection(address: SplitResult, seconds: float) -> http.client.HTTPConnection:
    host = address.hostname or ""
    if address.scheme == "http":
        return http.client.HTTPConnection(host, address.port, timeout=seconds)
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(host, address.port, timeout=seconds, context=context)


def _credentials(address: SplitResult) -> dict[str, str]:
    if address.username is None:
        return {}
    pair = f"{unquote(address.username)}:{unquote(address.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
