"""Diagnostics as one .zip for those who look into it: everything but secrets.

Secrets are left out twice: values that are known to be secret are never asked for, and every text
that goes in is searched for them, for passwords in addresses and for what looks like a token.
"""

import io
import json
import os
import platform as machine
import re
import shutil
import sys
import threading
import zipfile
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import msgspec
import structlog
from pydantic import SecretStr
from sqlalchemy import func, select

from andon import __version__
from andon.agent import files
from andon.agent.files import Made
from andon.agent.means import Means
from andon.settings import Settings
from andon.store.clock import now
from andon.store.records import AgentAction
from andon.store.tables import metadata

log = structlog.get_logger("andon.agent")

HIDDEN = "***"
LINES = 2_000
"""Of the log, the newest."""

_SECRET_NAME = re.compile(
    r"key|password|passwd|pwd|secret|token|credential|authorization|cookie|dsn", re.IGNORECASE
)
_URL_PASSWORD = re.compile(r"(\w+://[^\s:/@]*:)[^\s@]+@")
# The user name of an address can be a token as well.
_URL_USER = re.compile(r"(\w+://)[^\s:/@]+@")
# How it is said: `name: value`, `name=value`, and both in quotes, which a string in JSON escapes.
_NAME = (
    r"(?i)((?:authorization|cookie|api[_-]?key|access[_-]?key|password|passwd|secret|token)"
    r"[\w-]{0,40}"
)
_QUOTED = re.compile(_NAME + r"[\"']?\s{0,4}[:=]\s{0,4})\"(?:[^\"\\]|\\.)+\"")
_ESCAPED = re.compile(_NAME + r"(?:\\\")?\s{0,4}[:=]\s{0,4})\\\".+?\\\"")
_SAID = re.compile(_NAME + r"\s{0,4}[:=]\s{0,4}(?:(?:bearer|basic|digest)\s{1,4})?)[^\s\"',;&]+")
_SHORTEST = 4
# What SOME_TOKEN_CHECK may be set to: no secret, and a part of JSON.
_PLAIN = frozenset({"true", "false", "null", "none"})
# Of the words in an address that is a secret as a whole.
_SHORTEST_WORD = 8


class Hiding:
    """Takes secrets out of texts.

    Args:
        settings: Whose secrets.
        environment: Names and values around this process.
    """

    def __init__(self, settings: Settings, environment: dict[str, str] | None = None) -> None:
        found = set(_secrets_of(settings))
        around = dict(os.environ) if environment is None else environment
        for name, value in around.items():
            if _SECRET_NAME.search(name):
                found.add(value)
            found.update(_password_of(value))
        # As they are written in JSON and in addresses, too.
        for secret in list(found):
            found |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
            found |= {quote(secret, safe=""), quote(secret)}
        # The longest first: a short one may be a part of it.
        secrets = {one for one in found if len(one) >= _SHORTEST and one.lower() not in _PLAIN}
        self._secrets = sorted(secrets, key=len)[::-1]

    def text(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        text = _URL_PASSWORD.sub(rf"\1{HIDDEN}@", text)
        text = _URL_USER.sub(rf"\1{HIDDEN}@", text)
        text = _ESCAPED.sub(rf'\1\\"{HIDDEN}\\"', text)
        text = _QUOTED.sub(rf'\1"{HIDDEN}"', text)
        return _SAID.sub(rf"\1{HIDDEN}", text)

    def json(self, value: Any) -> bytes:
        """A value as indented JSON without secrets."""
        plain = msgspec.json.encode(value, enc_hook=str)
        return self.text(msgspec.json.format(plain, indent=2).decode()).encode()


def collect(means: Means, action: AgentAction) -> Made:
    """Collect everything into a file named by the action.

    A part that cannot be had says why instead, and the rest is there.

    Raises:
        StorageFull: The file cannot be written.
    """
    hiding = Hiding(means.settings)
    parts: dict[str, Callable[[], bytes]] = {
        "action.json": lambda: hiding.json(action),
        "versions.json": lambda: hiding.json(_versions()),
        "machine.json": lambda: hiding.json(_machine(means.settings)),
        "settings.json": lambda: hiding.json(shown_settings(means.settings)),
        "policy.json": lambda: hiding.json(_policy(means)),
        "models.json": lambda: hiding.json(means.db.models.list()),
        "deployments.json": lambda: hiding.json(means.db.events.page(limit=200)[0]),
        "actions.json": lambda: hiding.json(means.db.actions.page(limit=100)[0]),
        "alerts.json": lambda: hiding.json(means.db.alerts.page(limit=100)[0]),
        "rollouts.json": lambda: hiding.json(means.db.rollouts.page(limit=50)[0]),
        "jobs.json": lambda: hiding.json(means.db.jobs.page(limit=50)[0]),
        "tables.json": lambda: hiding.json(_tables(means)),
        "signals.json": lambda: hiding.json(means.signals()),
        "windows.json": lambda: hiding.json(means.windows()),
        "health.json": lambda: hiding.json(means.health()),
        "threads.txt": lambda: hiding.text(_threads()).encode(),
        "metrics.txt": lambda: hiding.text(means.metrics().decode("utf-8", "replace")).encode(),
        "andon.log": lambda: hiding.text(_last_lines(means.settings.log)).encode(),
    }
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, make in parts.items():
            archive.writestr(name, _made(name, make, hiding))
    name = f"{action.action_id}-diagnostics.zip"
    return files.put(means.settings.reports, name, whole.getvalue(), "application/zip")


def shown_settings(settings: Settings) -> dict[str, Any]:
    """The settings without secrets and without passwords in addresses."""
    found: dict[str, Any] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            found[name] = HIDDEN if value.get_secret_value() else ""
        elif isinstance(value, str):
            found[name] = _URL_USER.sub(rf"\1{HIDDEN}@", _URL_PASSWORD.sub(rf"\1{HIDDEN}@", value))
        elif isinstance(value, int | float | bool | None):
            found[name] = value
        else:
            found[name] = str(value)
    return found


def _secrets_of(settings: Settings) -> Iterable[str]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            plain = value.get_secret_value()
            yield plain
            yield from _password_of(plain)
            yield from _words_of(plain)
        elif isinstance(value, str):
            yield from _password_of(value)


def _password_of(value: str) -> list[str]:
    """The password in an address, as it is written and as it is meant.

    Where there is a user without one, the user's name is a token.
    """
    try:
        parts = urlsplit(value) if "://" in value else None
        secret = None if parts is None else parts.password or parts.username
    except ValueError:
        return []
    return [secret, unquote(secret)] if secret else []


def _words_of(value: str) -> list[str]:
    """What else may be secret in an address that is one: long parts of its path and its query.

    Whoever knows the token in `https://hook.example/T0KEN` may post there.
    """
    if "://" not in value:
        return []
    try:
        parts = urlsplit(value)
    except ValueError:
        return []
    said = [*parts.path.split("/"), *re.split("[&=]", parts.query)]
    return [one for word in said for one in (word, unquote(word)) if len(one) >= _SHORTEST_WORD]


def _made(name: str, make: Callable[[], bytes], hiding: Hiding) -> bytes:
    try:
        return make()
    # What is broken is what is looked for: the other parts must come along.
    except Exception as error:
        log.warning(f"Diagnostics without {name}: {type(error).__name__}")
        return hiding.text(f"This part could not be collected: {error!r}\n").encode()


def _versions() -> dict[str, Any]:
    # Imported where it is used: reading the packages' metadata takes a moment.
    from importlib.metadata import distributions  # noqa: PLC0415

    packages = {one.metadata["Name"]: one.version for one in distributions()}
    return {
        "andon": __version__,
        "python": sys.version,
        "system": machine.platform(),
        "at": now(),
        "packages": dict(sorted(packages.items(), key=lambda item: str(item[0]).lower())),
    }


def _machine(settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = {
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "process": os.getpid(),
    }
    for name, path in (("home", settings.home), ("uploads", settings.uploads)):
        try:
            usage = shutil.disk_usage(path)
        except OSError as error:
            found[f"disk_{name}"] = error.strerror
        else:
            found[f"disk_{name}"] = {"total": usage.total, "free": usage.free}
    for title, path, wanted in (
        ("memory", Path("/proc/meminfo"), ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree")),
        ("own", Path("/proc/self/status"), ("VmRSS", "VmHWM", "Threads", "FDSize")),
    ):
        found[title] = _lines_of(path, wanted)
    return found


def _lines_of(path: Path, wanted: tuple[str, ...]) -> dict[str, str]:
    """`Name: value` lines; nothing where this system has no such file."""
    try:
        lines = path.read_text("ascii", "replace").splitlines()
    except OSError:
        return {}
    split = (line.partition(":") for line in lines)
    return {name: value.strip() for name, _, value in split if name in wanted}


def _policy(means: Means) -> dict[str, Any]:
    policy, problem = means.policy.current()
    return {"problem": problem, "tight": policy.tight, "page": policy.page}


def _tables(means: Means) -> dict[str, int]:
    found = {}
    with means.db.read() as connection:
        for table in metadata.sorted_tables:
            found[table.name] = connection.scalar(select(func.count()).select_from(table)) or 0
    return found


def _threads() -> str:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    pieces = []
    # The only way to see where the others are.
    for ident, frame in sys._current_frames().items():  # noqa: SLF001
        pieces.append(f"{names.get(ident, 'unknown')} ({ident})")
        here: Any = frame
        while here is not None:
            code = here.f_code
            pieces.append(f"    {Path(code.co_filename).name}:{here.f_lineno} {code.co_name}")
            here = here.f_back
        pieces.append("")
    return "\n".join(pieces)


def _last_lines(path: Path) -> str:
    """The newest lines, of the older file as well where this one has just begun."""
    lines: deque[str] = deque(maxlen=LINES)
    for one in (path.with_name(f"{path.name}.1"), path):
        try:
            with one.open(encoding="utf-8", errors="replace") as file:
                lines.extend(file)
        except FileNotFoundError:
            continue
    return "".join(lines)
