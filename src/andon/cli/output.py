"""What the commands write: tables, fields, JSON, progress and messages.

Results go to standard output, everything else to standard error, so that a pipe carries
results alone. A terminal gets colour and boxes; a file or pipe gets plain text without
wrapping, one row per line.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import Console


class Step(Protocol):
    """Tells a progress bar that one more item is done."""

    def __call__(self) -> None:
        """One more is done."""


def console(*, stderr: bool = False) -> "Console":
    """A console for standard output or standard error, plain unless it is a terminal."""
    # rich takes a tenth of a second; a command that prints JSON never needs it.
    from rich.console import Console  # noqa: PLC0415

    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def say(text: str = "", *, mark: str = "") -> None:
    """One line of a result, at once: a server's first lines must not wait in a pipe's buffer."""
    print(f"{mark}{shown(text)}", flush=True)


def shown(text: str) -> str:
    """Text as a terminal may have it: what it would obey, but for the ends of lines, as escapes.

    Names, reasons and comments come from whoever calls the server.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode()
        for one in text
    )


def note(text: str) -> None:
    """One line about the work itself, on standard error."""
    print(shown(text), file=sys.stderr)


def print_json(value: Any) -> None:
    """The value as indented JSON; times as ISO 8601 with ``Z``, records as objects."""
    print(json.dumps(plain(value), indent=2, ensure_ascii=False))


def plain(value: Any) -> Any:
    """Records as dicts, times and paths as text: what JSON can hold."""
    import msgspec  # noqa: PLC0415 - only needed for JSON

    return msgspec.to_builtins(value, enc_hook=str)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, numbers: str = "") -> None:
    """Rows under headings.

    Args:
        columns: Headings.
        rows: One sequence of cells per row; None is shown as a dash.
        numbers: Headings whose columns are set right, separated by commas.
    """
    cells = [["–" if cell is None else shown(str(cell)) for cell in row] for row in rows]
    right = {name.strip() for name in numbers.split(",")}
    if not sys.stdout.isatty():
        _plain_table(columns, cells, right)
        return
    from rich import box  # noqa: PLC0415 - see console()
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        drawn.add_column(column, justify="right" if column in right else "left")
    for row in cells:
        drawn.add_row(*(Text(cell) for cell in row))
    console().print(drawn)


def fields(values: dict[str, object]) -> None:
    """Names and values, one per line; empty values are left out."""
    shown = {name: value for name, value in values.items() if value not in (None, "", [], {})}
    width = max((len(name) for name in shown), default=0)
    for name, value in shown.items():
        say(f"{name:<{width}}  {value}")


@contextmanager
def progress(what: str, total: int) -> Iterator[Step]:
    """A progress bar on standard error where that is a terminal; silent otherwise."""
    if not sys.stderr.isatty() or total == 0:
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    bar = Progress(
        TextColumn(what), BarColumn(), MofNCompleteColumn(), console=console(stderr=True)
    )
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


def moment(value: datetime | None) -> str | None:
    """A time for people: UTC to the second."""
    if value is None:
        return None
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def milliseconds(seconds: float) -> str:
    """A duration for people."""
    return f"{seconds * 1000:.1f} ms"


def span(seconds: float) -> str:
    """A length of time for people, such as 24 h; empty for none."""
    for name, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        # Up to two days, hours say more than days.
        if seconds >= length * (2 if name == "d" else 1) and seconds % length == 0:
            return f"{seconds / length:g} {name}"
    return f"{seconds:g} s" if seconds else ""


def size(count: float) -> str:
    """A number of bytes for people, in binary units."""
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _plain_table(columns: Sequence[str], cells: Sequence[Sequence[str]], right: set[str]) -> None:
    widths = [
        max(len(column), *(len(row[index]) for row in cells)) if cells else len(column)
        for index, column in enumerate(columns)
    ]
    for row in [[column.upper() for column in columns], *cells]:
        line = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, cell, width in zip(columns, row, widths, strict=True)
        )
        print("  ".join(line).rstrip())
