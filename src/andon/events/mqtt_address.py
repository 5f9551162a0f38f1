"""What the settings say of the broker: its address, the topics, the name of our session."""

import os
import secrets
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from andon.errors import ConfigurationError

SESSION_NAME = "mqtt-client-id"
"""File in the home with the name of our session."""

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_EXAMPLE = "Write ANDON_MQTT_URL like mqtt://host, mqtt://user:password@host:1883 or mqtts://host."


class BrokerAddress(msgspec.Struct, frozen=True):
    """Where the broker is. Credentials are here and never in `str()`."""

    host: str
    port: int
    tls: bool
    username: str | None = None
    password: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __repr__(self) -> str:
        return f"BrokerAddress({self})"


def read_address(url: str) -> BrokerAddress:
    """The broker of an ``mqtt://`` or ``mqtts://`` URL.

    Raises:
        ConfigurationError: It is none; the message repeats nothing of it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError("The MQTT URL cannot be read.", hint=_EXAMPLE) from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ConfigurationError("The MQTT URL names no broker.", hint=_EXAMPLE)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigurationError(
            "The MQTT URL says more than a broker.",
            hint=f"{_EXAMPLE} Topics are set by ANDON_MQTT_TOPIC_PREFIX; a # or / in a password "
            "is written %23 or %2F.",
        )
    return BrokerAddress(
        host=parts.hostname,
        port=_PORTS[parts.scheme] if port is None else port,
        tls=parts.scheme == "mqtts",
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )


def check_prefix(prefix: str) -> str:
    """A topic prefix as it may stand before ``/SITE/events``.

    Raises:
        ConfigurationError: It would match other topics, or none.
    """
    if prefix.startswith(("$", "/")) or prefix.endswith("/") or set(prefix) & set("+#\x00"):
        raise ConfigurationError(
            f"{prefix!r} cannot stand before MQTT topics.",
            hint="Set ANDON_MQTT_TOPIC_PREFIX to a word, or to levels like plant/andon: no "
            "wildcards (+ #), no $ and no / at the ends.",
        )
    return prefix


def client_id(chosen: str, home: Path) -> str:
    """The name of our session at the broker: as set, or made once for this installation.

    Another name would be another session, and the messages that wait in the first one would
    never be fetched.

    Raises:
        ConfigurationError: It can neither be read nor kept.
    """
    if chosen:
        return chosen
    path = home / SESSION_NAME
    try:
        if path.exists() and (kept := path.read_text(encoding="ascii").strip()):
            return kept
        # At most 23 letters and digits: what every broker takes (MQTT 3.1.1, 3.1.3.1).
        made = f"andon{secrets.token_hex(8)}"
        draft = path.with_name(path.name + ".new")
        with draft.open("w", encoding="ascii") as file:
            file.write(f"{made}\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The name of the MQTT session cannot be kept in {path}: {error}.",
            hint="Set ANDON_MQTT_CLIENT_ID, or mend the file.",
        ) from error
    return made
