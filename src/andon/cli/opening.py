"""Settings and platform for one command.

The commands work on the installation's own folder and database, with or without a running
server: a server on the same home notices a changed active version by itself.
"""

import getpass
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from andon.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic import ValidationError

    from andon.platform import Platform
    from andon.settings import Settings


def load_settings(home: Path | None = None, **given: Any) -> "Settings":
    """The settings in force: what was given on the command line, then the environment.

    Args:
        home: Folder of the installation; None leaves it to the environment.
        given: Further settings by field name; None means "not given".

    Raises:
        ConfigurationError: A value does not parse or is out of range; every one is named.
    """
    # pydantic alone takes a third of a second on a small machine.
    from pydantic import ValidationError  # noqa: PLC0415

    from andon.settings import Settings  # noqa: PLC0415

    chosen = {name: value for name, value in {"home": home, **given}.items() if value is not None}
    try:
        return Settings(**chosen)
    except ValidationError as error:
        raise ConfigurationError(
            _bad_settings(error), hint="docs/configuration.md lists every setting with its unit."
        ) from error


# What a command does itself, it says itself.
_SAID = frozenset({"andon.deployment", "andon.notify"})


@contextmanager
def opened(home: Path | None = None, **given: Any) -> Iterator["Platform"]:
    """The platform of an installation, without server threads; stopped at the end.

    Raises:
        AndonError: The installation cannot be opened; the sentence says why.
    """
    # Everything heavy comes with the platform.
    from andon.platform import Platform  # noqa: PLC0415

    platform = Platform(load_settings(home, **given))
    try:
        platform.start(serve=False)
        _say_once()
        yield platform
    finally:
        platform.stop()


def _say_once() -> None:
    """Keep off the console what the commands say themselves; the log file gets it all."""
    for handler in logging.getLogger().handlers:
        if getattr(handler, "stream", None) is sys.stderr:
            handler.addFilter(lambda record: record.name not in _SAID)


def actor() -> str:
    """Who does it, for the deployment events: the login name at this terminal."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container may run a uid without a name
        return "cli"


def _bad_settings(error: "ValidationError") -> str:
    """One sentence per refused value, without the value (it may be a secret)."""
    sentences = []
    for item in error.errors(include_input=False, include_url=False):
        name = str(item["loc"][0]) if item["loc"] else "settings"
        variable = name if name.isupper() else f"ANDON_{name.upper()}"
        sentences.append(f"{variable}: {item['msg']}.")
    return "Unusable settings. " + " ".join(sentences)
