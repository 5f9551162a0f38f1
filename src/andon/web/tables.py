"""Answers for spreadsheets: the same rows as the JSON, as CSV (RFC 4180, UTF-8).

Text that a spreadsheet would run as a formula is marked as text: ids and names come from
outside, and whoever opens the file did not write them.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import Annotated, Any, Literal

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from andon.store.tables import iso

CONTENT_TYPE = "text/csv"

# For routes: `table_format: FormatQuery = None`.
FormatQuery = Annotated[
    Literal["json", "csv"] | None,
    Query(alias="format", description="csv for a spreadsheet; the Accept header works too."),
]

# What spreadsheets take for the beginning of a formula, or skip before looking for one.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def wants_csv(request: Request, table_format: str | None) -> bool:
    """Whether the caller asks for CSV: `format` decides, else the Accept header.

    Args:
        request: Its Accept header wants `text/csv` more than JSON.
        table_format: The parameter `format`; None where it was not given.
    """
    if table_format is not None:
        return table_format == "csv"
    accepted = _weights(request.headers.get("accept", ""))
    return accepted.get(CONTENT_TYPE, 0.0) > accepted.get("application/json", 0.0)


def csv_reply(filename: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Response:
    """A CSV answer that browsers save as a file.

    Args:
        filename: A plain name of ours, such as `workers.csv`.
        header: Names of the columns.
        rows: One sequence per row, in the header's order. Numbers are written as numbers,
            times as ISO 8601 with `Z`, booleans as true and false, None as an empty cell.
    """
    return Response(_written(chain([header], rows)), headers=_headers(filename))


def csv_stream(
    filename: str, header: Sequence[str], parts: Iterable[Iterable[Sequence[Any]]]
) -> Response:
    """The same, sent part by part: as long as it likes, in the memory of one part.

    Args:
        filename: As above, like `header`.
        header: Names of the columns.
        parts: Rows. The first part is made before the answer begins, so that what fails at
            once is answered as a problem; what fails later breaks the connection.
    """
    later: Iterator[Iterable[Sequence[Any]]] = iter(parts)
    first = _written(chain([header], next(later, ())))
    return StreamingResponse(
        chain([first], (_written(part) for part in later)), headers=_headers(filename)
    )


def _written(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _headers(filename: str) -> dict[str, str]:
    return {
        "Content-Type": f"{CONTENT_TYPE}; charset=utf-8; header=present",
        "Content-Disposition": f'attachment; filename="{filename}"',
    }


def _cell(value: Any) -> str | int | float:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, datetime):
        return iso(value)
    found = str(value)
    # The apostrophe is how a spreadsheet itself marks text.
    return f"'{found}" if found.lstrip(" ").startswith(_FORMULA) else found


def _weights(accept: str) -> dict[str, float]:
    """Media types of an Accept header and how much each is wanted, 0 to 1."""
    found: dict[str, float] = {}
    for part in accept.split(","):
        kind, *options = (piece.strip().lower() for piece in part.split(";"))
        weight = 1.0
        for option in options:
            name, _, value = option.partition("=")
            if name.strip() == "q":
                try:
                    weight = float(value)
                except ValueError:
                    weight = 0.0
        found[kind] = weight
    return found
