"""Writes the generated pages of the documentation, or checks that they are in step.

    python -m scripts.reference            # write (make docs)
    python -m scripts.reference --check    # compare (make check)

`docs/configuration.md` follows from `andon.settings`, `docs/cli.md` from ``andon --help`` and
the table of problem types in `docs/http.md` from `andon.errors`.
"""

import argparse
import inspect
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo

from andon.errors import AndonError
from andon.settings import Settings

DOCS = Path(__file__).parent.parent / "docs"
_GENERATED = "<!-- Written by `make docs` from {source}. Do not edit. -->"

_CONFIGURATION = """\
# Configuration

{generated}

Every setting, its default and what it means. A setting is an environment variable; a file `.env`
in the working directory is read as well, and loses against the environment. The names in
*also read* are those older installations used; the `ANDON_` name wins.

`andon doctor` finds misspelt names and unsafe combinations. Sizes are in bytes, times in the unit
the description names.
"""

_CLI = """\
# Command line

{generated}

`andon` works on the installation's own folder (`--home`, `ANDON_HOME`, default `~/.andon`), with or
without a running server; a running server notices a changed active version within a second or two.
Results go to standard output, everything else to standard error, so that `--json` can be piped.

Exit codes: 0 done; 1 an error that the line on standard error explains; 2 a wrong command line;
130 interrupted. `--debug` before the command, or `ANDON_DEBUG=1`, shows the traceback of an error.
"""


def configuration() -> str:
    """The page of the settings, in the groups and the order of `andon.settings`."""
    lines = [_CONFIGURATION.format(generated=_GENERATED.format(source="src/andon/settings.py"))]
    for group, fields in _groups():
        lines += [f"## {group}\n", "| setting | default | meaning |", "|---|---|---|"]
        lines += [_row(name, Settings.model_fields[name]) for name in fields]
        lines.append("")
    return "\n".join(lines)


def command_line() -> str:
    """The page of the commands: what ``--help`` prints, command by command."""
    # Help is as wide as the page, whatever the terminal.
    os.environ.update(COLUMNS="100", NO_COLOR="1", TERM="dumb")
    from typer.main import get_command  # noqa: PLC0415 - reads the width when imported

    from andon.cli.main import app  # noqa: PLC0415

    lines = [_CLI.format(generated=_GENERATED.format(source="`andon --help`"))]
    for path, text in _helps(get_command(app), "andon", None):
        level = "##" if path.count(" ") <= 1 else "###"
        lines += [f"{level} {path}\n", "```text", text.rstrip(), "```\n"]
    return "\n".join(lines)


def problem_types() -> str:
    """The table of problem types, by status."""
    # The web layer adds two that only HTTP knows.
    import andon.web.problems  # noqa: F401, PLC0415

    rows = ["| status | type | when |", "|---|---|---|"]
    for error in sorted(errors(), key=lambda kind: (kind.status, kind.slug)):
        meaning = (inspect.getdoc(error) or "").partition("\n\n")[0].replace("\n", " ")
        if error is AndonError:
            meaning = "A fault in Andon. The log tells more under the incident in `detail`."
        rows.append(f'| {error.status} | <a id="{error.slug}"></a>`{error.slug}` | {meaning} |')
    return "\n".join(rows)


def errors() -> set[type[AndonError]]:
    """Every error that reaches a caller: the classes with a problem type of their own."""
    found, waiting = {AndonError}, [AndonError]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            waiting.append(kind)
            if "slug" in vars(kind) and kind.__module__.startswith("andon."):
                found.add(kind)
    return found


def environment_names(name: str, field: FieldInfo) -> list[str]:
    """The environment variables that set a field, the chief one first."""
    names = [f"ANDON_{name.upper()}"]
    if isinstance(field.validation_alias, AliasChoices):
        names += [str(c) for c in field.validation_alias.choices if str(c).isupper()]
    return list(dict.fromkeys(names))


def pages() -> dict[Path, str]:
    """Every generated page and its text."""
    http = DOCS / "http.md"
    return {
        DOCS / "configuration.md": configuration(),
        DOCS / "cli.md": command_line(),
        http: _between(http.read_text(encoding="utf-8"), "problem types", problem_types()),
    }


def stale() -> list[Path]:
    """The pages whose text is not what the code says."""
    return [
        path
        for path, text in pages().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def main() -> None:
    """Write the pages, or say which are out of step."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    if parser.parse_args().check:
        behind = [str(path.relative_to(DOCS.parent)) for path in stale()]
        if behind:
            sys.exit(f"Out of step with the code: {', '.join(behind)}. Run `make docs`.")
        return
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


def _groups() -> Iterator[tuple[str, list[str]]]:
    """The settings under the headings that the comments in `settings.py` are."""
    source = inspect.getsource(Settings)
    parts = re.split(r"# -- (.+?) -+\n", source)
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        fields = re.findall(r"^    (\w+): .*?= Field\(", body, flags=re.MULTILINE)
        yield heading, fields


def _row(name: str, field: FieldInfo) -> str:
    chief, *others = environment_names(name, field)
    meaning = (field.description or "").replace("|", "\\|")
    if choices := _choices(field.annotation):
        meaning += f" One of: {', '.join(f'`{choice}`' for choice in choices)}."
    if others:
        meaning += f" Also read: {', '.join(f'`{other}`' for other in others)}."
    return f"| `{chief}` | {_default(field)} | {meaning} |"


def _default(field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


def _choices(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if isinstance(annotation, UnionType):
        return tuple(choice for part in get_args(annotation) for choice in _choices(part))
    return ()


def _helps(command: Any, path: str, parent: Any) -> Iterator[tuple[str, str]]:
    """The help text of a command and of all commands under it."""
    context = command.context_class(
        command,
        info_name=path if parent is None else path.rpartition(" ")[2],
        parent=parent,
        **command.context_settings,
    )
    yield path, command.get_help(context)
    for name, child in getattr(command, "commands", {}).items():
        yield from _helps(child, f"{path} {name}", context)


def _between(text: str, name: str, new: str) -> str:
    """The text with what stands between the two markers of that name replaced."""
    begin, end = f"<!-- {name}: written by `make docs` -->", f"<!-- end of {name} -->"
    head, found, rest = text.partition(begin)
    _, also, tail = rest.partition(end)
    if not found or not also:
        raise ValueError(f"the markers {begin} and {end} are missing")
    return f"{head}{begin}\n\n{new}\n\n{end}{tail}"


if __name__ == "__main__":
    main()
