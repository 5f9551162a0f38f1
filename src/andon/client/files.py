"""Reads events from a file or a pipe: NDJSON or CSV, told apart by content, a piece at a time.

A pipe's events are handed on as soon as they are there, so that ``camera | andon send factory -``
records each when it happens.
"""

import csv
from collections.abc import Callable, Iterator
from io import BufferedReader
from typing import Any, NamedTuple

import msgspec

from andon.client.sender import MAX_ITEM
from andon.errors import UnusableUpload

_PIECE = 256 * 1024
# Room for what a sender adds: the site, an id, a time.
_MAX_LINE = MAX_ITEM - 4096
_NUMBERS = {"confidence", "ear_value", "duration_ms"}
_TRUTHS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}

_Parse = Callable[[str], dict[str, Any]]


class Unreadable(NamedTuple):
    """A line nothing could be made of."""

    line: int
    why: str


class Piece(NamedTuple):
    """What one reading brought."""

    items: list[dict[str, Any]]
    unreadable: list[Unreadable]


def read_pieces(file: BufferedReader) -> Iterator[Piece]:
    """The objects of a file, as they come.

    NDJSON holds one object per line. CSV names its columns in the first line: the fields of an
    event; commas, semicolons or tabs between them; empty cells are left out.

    Raises:
        UnusableUpload: It is neither.
    """
    parse: _Parse | None = None
    for first, lines in _lines(file):
        items: list[dict[str, Any]] = []
        unreadable: list[Unreadable] = []
        for number, raw in enumerate(lines, start=first):
            try:
                text = _text(raw)
                if not text.strip():
                    continue
                if parse is None:
                    parse = _parser(text)
                    if parse is not _object:
                        continue
                items.append(parse(text))
            except ValueError as error:
                unreadable.append(Unreadable(number, str(error)))
        yield Piece(items, unreadable)


def _lines(file: BufferedReader) -> Iterator[tuple[int, list[bytes]]]:
    """Whole lines and the number of the first, as soon as they are there."""
    number, rest = 1, b""
    while piece := file.read1(_PIECE):
        *lines, rest = (rest + piece).split(b"\n")
        # Of a line without an end nothing but its length is of interest.
        rest = rest[: _MAX_LINE + 1]
        yield number, lines
        number += len(lines)
    yield number, [rest]


def _text(raw: bytes) -> str:
    if len(raw) > _MAX_LINE:
        raise ValueError(f"longer than {_MAX_LINE} bytes")
    try:
        return raw.decode("utf-8-sig").strip(" \r")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None


def _parser(first: str) -> _Parse:
    """How to read the lines, judged by the first."""
    if first.startswith("{"):
        return _object
    if first.startswith("["):
        raise UnusableUpload(
            "This is a JSON array.", hint="Write one object per line: jq -c '.[]' FILE"
        )
    delimiter = max(",;\t", key=first.count)
    columns = [name.strip() for name in next(csv.reader([first], delimiter=delimiter))]
    if len(columns) < 2 or not all(name.isidentifier() for name in columns):
        raise UnusableUpload(
            "This is neither NDJSON nor CSV.",
            hint="Write one JSON object per line, or a first line that names the columns, such as "
            "timestamp,worker_id,workstation_id,event_type,confidence,count",
        )

    def row(text: str) -> dict[str, Any]:
        cells = next(csv.reader([text], delimiter=delimiter, strict=True))
        if len(cells) != len(columns):
            raise ValueError(f"{len(cells)} cells, but {len(columns)} columns")
        return {
            name: _value(name, cell)
            for name, cell in zip(columns, cells, strict=True)
            if cell.strip()
        }

    return _tolerant(row)


def _tolerant(row: _Parse) -> _Parse:
    def parse(text: str) -> dict[str, Any]:
        try:
            return row(text)
        except csv.Error as error:
            raise ValueError(str(error)) from error

    return parse


def _object(text: str) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - one kind of error for every line
    return value


def _value(column: str, cell: str) -> Any:
    """A cell as JSON would have it; what does not fit stays text, and the server says so."""
    text = cell.strip()
    if column == "is_drowsy":
        return _TRUTHS.get(text.lower(), text)
    if column == "count" or column in _NUMBERS:
        try:
            return int(text) if text.lstrip("+-").isdecimal() and len(text) < 20 else float(text)
        except ValueError:
            return text
    return text
