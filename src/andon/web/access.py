"""Who may use the server: open on loopback, closed elsewhere (no half-open state).

Bound to loopback, local programs need no credentials. Web pages are kept out all the same:
the Host header must name this machine (a page that rebinds its own name to 127.0.0.1 sends
its name), and a request that changes something must not come from another origin.
Bound to anything else, every route but health and the sign-in page needs the key, as
`X-API-Key`, as `Authorization: Bearer` (what Prometheus can send), or as the session cookie
that the sign-in page hands out.
"""

import hmac
import ipaddress
import secrets
import socket
import time
from urllib.parse import urlsplit

import msgspec

from andon.errors import ConfigurationError, Forbidden, Unauthenticated
from andon.settings import Settings

COOKIE = "andon_session"
SESSION_SECONDS = 12 * 3600
MIN_KEY_CHARACTERS = 16
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

_MAX_SESSIONS = 1000
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
# Keys that stand in examples, compose files and tutorials: known to everybody.
_PLACEHOLDERS = frozenset(
    {
        "changeme",
        "change-me",
        "changemechangeme",
        "password",
        "secret",
        "secret-key",
        "api-key",
        "apikey",
        "your-api-key",
        "your-api-key-here",
        "your-secret-key",
        "your-secret-api-key",
        "your-secret-api-key-change-in-production",
        "your-secret-key-change-in-production",
        "change-in-production",
        "change-this-in-production",
        "example-api-key-1234",
        "1234567890123456",
        "0123456789abcdef",
    }
)
_NEW_KEY = (
    'Set ANDON_API_KEY to a random value, for example the output of `python3 -c "import secrets; '
    'print(secrets.token_urlsafe(32))"`, or listen on 127.0.0.1.'
)


class Head(msgspec.Struct):
    """The request headers that decide about access and reading; empty when not sent."""

    host: bytes = b""
    origin: bytes = b""
    fetch_site: bytes = b""
    request_method: bytes = b""
    api_key: bytes = b""
    authorization: bytes = b""
    cookie: bytes = b""
    accept: bytes = b""
    expect: bytes = b""
    content_length: bytes = b""
    transfer_encoding: bytes = b""


_WANTED = {
    b"host": "host",
    b"origin": "origin",
    b"sec-fetch-site": "fetch_site",
    b"access-control-request-method": "request_method",
    b"x-api-key": "api_key",
    b"authorization": "authorization",
    b"cookie": "cookie",
    b"accept": "accept",
    b"expect": "expect",
    b"content-length": "content_length",
    b"transfer-encoding": "transfer_encoding",
}


def read_head(headers: list[tuple[bytes, bytes]]) -> Head:
    """Pick the headers out of an ASGI scope's list, in one pass."""
    head = Head()
    for name, value in headers:
        field = _WANTED.get(name)
        if field is not None:
            setattr(head, field, value)
    return head


def check_key(settings: Settings) -> None:
    """Refuse to start where a key is needed and the configured one protects nothing.

    Raises:
        ConfigurationError: It is missing, a known placeholder or too short.
    """
    if not settings.credentials_required:
        return
    key = settings.api_key.get_secret_value()
    where = f"Listening on {settings.host} needs an API key"
    if not key:
        raise ConfigurationError(f"{where}, and none is set.", hint=_NEW_KEY)
    if key.strip().lower() in _PLACEHOLDERS or len(set(key)) < 4:
        raise ConfigurationError(f"{where}; the one set is a placeholder.", hint=_NEW_KEY)
    if len(key) < MIN_KEY_CHARACTERS:
        raise ConfigurationError(
            f"{where} of at least {MIN_KEY_CHARACTERS} characters; the one set has {len(key)}.",
            hint=_NEW_KEY,
        )


class Access:
    """Decides about one request, from its method, path and headers alone."""

    def __init__(self, settings: Settings) -> None:
        self.required = settings.credentials_required
        self._key = settings.api_key.get_secret_value().encode()
        extra = {name.strip().lower() for name in settings.allowed_hosts.split(",")} - {""}
        self._extra = frozenset(extra)
        # With no key in force, the Host header is what keeps rebinding web pages out.
        self._check_host = settings.loopback or not self.required
        self._names = _LOOPBACK_NAMES | self._extra
        self._any_address = not settings.loopback
        if self._any_address:
            self._names |= {socket.gethostname().lower()}
        self._good_hosts: set[bytes] = set()
        self._sessions: dict[str, float] = {}

    def check_origin(self, method: str, head: Head, *, guest: bool = False) -> None:
        """Keep web pages of others out.

        Args:
            method: Of the request.
            head: Of the request.
            guest: Whether the page's origin may come (`cross_origin`).

        Raises:
            Forbidden: The Host is not a name of this server, or the request would change
                something and comes from another site.
        """
        if self._check_host and head.host not in self._good_hosts:
            self._admit_host(head.host)
        if guest or method in SAFE_METHODS:
            return
        if head.fetch_site == b"cross-site":
            raise Forbidden(
                "This request was made by a page of another site.",
                hint="Open Andon's own pages, or call it from a program.",
            )
        if head.origin and not self._same_origin(head):
            raise Forbidden(
                f"This request comes from {_shown(head.origin)}, "
                f"the server was called as {_shown(head.host)}.",
                hint="Behind a proxy, list the public name in ANDON_ALLOWED_HOSTS.",
            )

    def check_credentials(self, head: Head) -> None:
        """Ask for the key where one is required.

        Raises:
            Unauthenticated: None was sent, or not the right one.
        """
        if not self.required or self._knows(head):
            return
        sent = head.api_key or head.authorization
        raise Unauthenticated(
            "The API key is not the right one." if sent else "This server needs an API key.",
            hint="Send it in the X-API-Key header, or sign in at /login.",
        )

    def is_key(self, candidate: bytes) -> bool:
        """Whether this is the key; takes the same time whatever differs."""
        return bool(self._key) and hmac.compare_digest(candidate, self._key)

    def sign_in(self) -> str:
        """A new session token."""
        now = time.monotonic()
        self._sessions = {t: end for t, end in self._sessions.items() if end > now}
        while len(self._sessions) >= _MAX_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
        token = secrets.token_urlsafe(32)
        self._sessions[token] = now + SESSION_SECONDS
        return token

    def sign_out(self, cookie: bytes) -> None:
        """Forget the session a Cookie header names."""
        self._sessions.pop(_session_of(cookie), None)

    def _knows(self, head: Head) -> bool:
        if head.api_key:
            return self.is_key(head.api_key)
        if head.authorization[:7].lower() == b"bearer ":
            return self.is_key(head.authorization[7:].strip())
        return self._sessions.get(_session_of(head.cookie), 0.0) > time.monotonic()

    def _admit_host(self, host: bytes) -> None:
        name = _name_of(host)
        if name not in self._names and not (self._any_address and _is_address(name)):
            raise Forbidden(
                f"The Host header {_shown(host)} is not a name of this server.",
                hint="If it is, list it in ANDON_ALLOWED_HOSTS.",
            )
        # Ports differ and spellings vary, so the set of seen ones is kept small.
        if len(self._good_hosts) < 64:
            self._good_hosts.add(host)

    def _same_origin(self, head: Head) -> bool:
        try:
            origin = urlsplit(head.origin.decode("latin-1").lower())
            port = origin.port
        except ValueError:
            return False
        if not origin.hostname or origin.scheme not in {"http", "https"}:
            return False
        name = f"[{origin.hostname}]" if ":" in origin.hostname else origin.hostname
        if name in self._extra:
            return True
        standard = 443 if origin.scheme == "https" else 80
        host = head.host.decode("latin-1").lower()
        explicit = f"{name}:{port or standard}"
        return explicit == (host if _has_port(host) else f"{host}:{standard}")


def _name_of(host: bytes) -> str:
    """The name in a Host header, without its port."""
    text = host.decode("latin-1").lower()
    return text.rpartition(":")[0] if _has_port(text) else text


def _has_port(host: str) -> bool:
    _, colon, port = host.rpartition(":")
    return bool(colon) and port.isdigit()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _session_of(cookie: bytes) -> str:
    """The session token in a Cookie header; empty when there is none."""
    for pair in cookie.decode("latin-1").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def _shown(value: bytes) -> str:
    """A header as part of a sentence: printable, short."""
    text = value.decode("latin-1")[:100]
    return repr(text) if text else "(none)"
