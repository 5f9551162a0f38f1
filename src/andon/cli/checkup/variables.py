"""The settings: misspelt variables, an unsafe address, a key that is no secret."""

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from andon.cli.checkup.finding import Finding, fail, ok, warn
from andon.errors import ConfigurationError
from andon.web.access import check_key

if TYPE_CHECKING:
    from andon.settings import Settings

# Read by the command line and the test suite, not by the settings.
_OTHERS = {"ANDON_DEBUG", "ANDON_TEST_POSTGRES_URL"}


def examine(settings: "Settings") -> Iterator[Finding]:
    """All checks of the settings."""
    unknown = list(unknown_variables(settings, os.environ, Path(".env")))
    yield from unknown
    if not unknown:
        yield ok("settings", "Every ANDON_ variable is a setting.")
    yield from access(settings)


def unknown_variables(
    settings: "Settings", environment: Mapping[str, str], env_file: Path
) -> Iterator[Finding]:
    """A finding for every ``ANDON_…`` variable that no setting reads, with the nearest name."""
    known = {f"ANDON_{field.upper()}" for field in type(settings).model_fields} | _OTHERS
    given = dict.fromkeys(environment, "the environment")
    given |= {name: f"{env_file.absolute()}" for name in _names_in(env_file)}
    for name, where in sorted(given.items()):
        if not name.upper().startswith("ANDON_") or name.upper() in known:
            continue
        near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.6)
        advice = f"Did you mean {near[0]}?" if near else "docs/configuration.md lists them all."
        yield warn("settings", f"{name} in {where} is not a setting.", advice)


def access(settings: "Settings") -> Iterator[Finding]:
    """Whether strangers could reach the server, and whether the key is a secret."""
    if not settings.credentials_required and not settings.loopback:
        yield warn(
            "access",
            f"ANDON_AUTH=off and ANDON_HOST={settings.host}: everybody on the network may upload "
            "a model, which is a program.",
            "Unset ANDON_AUTH and set ANDON_API_KEY.",
        )
        return
    try:
        check_key(settings)
    except ConfigurationError as error:
        yield fail("access", f"{error.detail} The server will not start.", error.hint)
        return
    who = "with the API key" if settings.credentials_required else "from this machine"
    yield ok("access", f"Callers reach the server {who}.")


def _names_in(env_file: Path) -> list[str]:
    """The variable names of a ``.env`` file; none when there is no such file."""
    try:
        lines = env_file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    names = (line.strip().removeprefix("export ").partition("=")[0].strip() for line in lines)
    return [name for name in names if name and not name.startswith("#")]
