"""What the logs of the floor have in common: pages, and the whole of a window as CSV."""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Query, Request
from starlette.responses import Response

from andon.errors import InvalidRequest
from andon.store.paging import Place
from andon.web.shapes import reply
from andon.web.tables import csv_reply, csv_stream, wants_csv

MOST_ROWS = 1_000_000
"""Of a table; what a spreadsheet can open, too."""

_PER_PAGE = 100
_ROWS_AT_A_TIME = 2_000

Cursor = Annotated[
    str | None,
    Query(pattern=r"^[0-9a-f]{1,15}-[0-9a-f]{1,15}$", description="`next_cursor` of a page."),
]
Limit = Annotated[
    int | None,
    Query(
        ge=1,
        le=500,
        description=f"Items per page, {_PER_PAGE} unless told. A page may hold fewer, even none: "
        "go on while `next_cursor` is there.",
    ),
]

T = TypeVar("T")


def log_reply(
    request: Request,
    table_format: str | None,
    cursor: str | None,
    limit: int | None,
    *,
    page: Callable[[Place | None, int], tuple[list[T], Place | None]],
    count: Callable[[], int],
    shape: Callable[[list[T], str | None], Any],
    filename: str,
    columns: Sequence[str],
) -> Response:
    """A page, or as CSV the whole window where neither `cursor` nor `limit` asks for a page.

    Args:
        request: Whose answer it is.
        table_format: Its parameter `format`.
        cursor: Where the page starts; None: with the newest.
        limit: Items of the page.
        page: Items behind a place, at most so many, and where the next ones start.
        count: How many items the window holds, whatever else they are filtered by.
        shape: The answer as JSON, of items and `next_cursor`.
        filename: The answer as CSV.
        columns: Of that; members of the items.

    Raises:
        InvalidRequest: The window holds too many for one table.
    """
    as_table = wants_csv(request, table_format)
    if as_table and cursor is None and limit is None:
        _refuse_too_many(count())
        parts = ([_cells(item, columns) for item in items] for items in _pages(page))
        return csv_stream(filename, columns, parts)
    items, following = page(_place(cursor), limit or _PER_PAGE)
    beyond = None if following is None else f"{following[0]:x}-{following[1]:x}"
    if not as_table:
        return reply(shape(items, beyond))
    answer = csv_reply(filename, columns, (_cells(item, columns) for item in items))
    if beyond is not None:
        url = request.url.include_query_params(cursor=beyond)
        answer.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
    return answer


def _refuse_too_many(count: int) -> None:
    if count > MOST_ROWS:
        raise InvalidRequest(
            f"The window holds {count} rows, more than the {MOST_ROWS} of one table.",
            hint="Narrow the window with `from` and `to`, or read it page by page with `limit`.",
        )


def _pages(page: Callable[[Place | None, int], tuple[list[T], Place | None]]) -> Iterator[list[T]]:
    items, following = page(None, _ROWS_AT_A_TIME)
    yield items
    while following is not None:
        items, following = page(following, _ROWS_AT_A_TIME)
        yield items


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    timestamp, key = cursor.split("-")
    return int(timestamp, 16), int(key, 16)


def _cells(item: Any, columns: Sequence[str]) -> list[Any]:
    return [getattr(item, column) for column in columns]
