"""The log: readable lines in ``andon.log`` and, shorter, on the console.

One event is one line: whatever a client sent is escaped, so that nobody can write lines of
their own into the log. Secrets never get there.
"""

import logging
import re
import sys
import time
import traceback
from collections.abc import Iterable, MutableMapping
from logging.handlers import RotatingFileHandler, WatchedFileHandler
from typing import Any

import structlog

from andon.settings import Settings

MAX_BYTES = 5 * 1024 * 1024
"""Size at which ``andon.log`` becomes ``andon.log.1``."""

KEEP = 5
"""Older files that are kept."""

_SECRET_KEYS = re.compile(r"key|password|passwd|secret|token|authorization|cookie", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(\w+://[^\s:/@]*:)[^\s@]+@")
_HIDDEN = "***"
_MAX_VALUE = 2000
_OURS = ("andon",)


def logging_setup(settings: Settings, *, serve: bool = True) -> None:
    """Send every log line to the log file and to stderr. Safe to call again.

    Args:
        settings: Where the file is, and the least severe level.
        serve: Whether this is the server: it rotates the file and says on the console what
            it does. Other commands only append, and show warnings.
    """
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_log_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        # Another platform in this process (tests do that) sets the log up anew.
        cache_logger_on_first_use=False,
    )
    secrets = [settings.api_key.get_secret_value()]
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, _Quiet):
            root.removeHandler(handler)
            handler.close()
    root.setLevel(logging.WARNING)
    for name in _OURS:
        logging.getLogger(name).setLevel(settings.log_level)

    console = _Console(sys.stderr)
    console.setLevel(logging.NOTSET if serve else logging.WARNING)
    console.setFormatter(_formatter(_Line(secrets, stamp="%H:%M:%S", values=True)))
    root.addHandler(console)
    try:
        settings.log.parent.mkdir(parents=True, exist_ok=True)
        file: logging.Handler
        if serve:
            file = _Rotating(settings.log, maxBytes=MAX_BYTES, backupCount=KEEP, encoding="utf-8")
        else:
            file = _Appending(settings.log, encoding="utf-8")
    except OSError as error:
        logging.getLogger("andon.logs").warning(
            "The log file %s cannot be written (%s); the log goes to the console only.",
            settings.log,
            error.strerror,
        )
        return
    file.setFormatter(_formatter(_Line(secrets, stamp="", values=True)))
    root.addHandler(file)


def logging_stop() -> None:
    """Close the log file."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, _Quiet):
            root.removeHandler(handler)
            handler.close()


def escaped(text: str) -> str:
    r"""Text on one line: control, separator and direction characters as ``\x..`` escapes."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text
    )


class _Quiet(logging.Handler):
    """A handler of ours. A log that cannot be written is no reason to fail or to shout."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Drop the line (a full disk)."""


class _Console(_Quiet, logging.StreamHandler[Any]):
    """stderr."""


class _Rotating(_Quiet, RotatingFileHandler):
    """The server's log file."""


class _Appending(_Quiet, WatchedFileHandler):
    """The log file for a process beside the server, which follows its rotation."""


def _formatter(line: "_Line") -> structlog.stdlib.ProcessorFormatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level],
        processors=[line],
    )


class _Line:
    """Makes one line of text out of an event.

    Args:
        secrets: Values that must not appear anywhere.
        stamp: `strftime` format of the time; empty: ISO 8601 with milliseconds and ``Z``.
        values: Whether to append the event's values as ``key=value``.
    """

    def __init__(self, secrets: Iterable[str], *, stamp: str, values: bool) -> None:
        self._secrets = [secret for secret in secrets if secret]
        self._stamp = stamp
        self._values = values

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
        record: logging.LogRecord | None = event.pop("_record", None)
        event.pop("_from_structlog", None)
        level = str(event.pop("level", "info")).upper()
        error = event.pop("exc_info", None) or (record.exc_info if record else None)
        parts = [self._time(), f"{level:<8}", self._clean(event.pop("event", ""))]
        if self._values:
            parts += [f"{key}={self._value(key, value)}" for key, value in event.items()]
        line = " ".join(parts).rstrip()
        trace = _traceback(error)
        # Indented, so that no line of it can pass for a line of the log.
        return "\n".join([line, *(f"    | {self._clean(one)}" for one in trace)])

    def _time(self) -> str:
        moment = time.time()
        utc = time.gmtime(moment)
        if self._stamp:
            return time.strftime(self._stamp, utc)
        return time.strftime("%Y-%m-%dT%H:%M:%S", utc) + f".{int(moment * 1000) % 1000:03d}Z"

    def _value(self, key: str, value: Any) -> str:
        if _SECRET_KEYS.search(key):
            return _HIDDEN
        text = self._clean(value)
        return f'"{text}"' if " " in text or not text else text

    def _clean(self, value: Any) -> str:
        text = str(value)
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        text = _URL_PASSWORD.sub(rf"\1{_HIDDEN}@", text)
        if len(text) > _MAX_VALUE:
            text = text[:_MAX_VALUE] + "…"
        return escaped(text)


def _traceback(error: Any) -> list[str]:
    """The lines of a traceback, or none."""
    if error is True:
        error = sys.exc_info()
    if isinstance(error, BaseException):
        error = (type(error), error, error.__traceback__)
    if not isinstance(error, tuple) or error[0] is None:
        return []
    return "".join(traceback.format_exception(*error)).splitlines()
