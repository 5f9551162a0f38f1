import csv
import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from andon.web.tables import csv_reply, wants_csv


def read(answer) -> list[list[str]]:
    """The rows, as a spreadsheet reads them."""
    return list(csv.reader(io.StringIO(answer.body.decode("utf-8"), newline="")))


def asking(accept: str | None) -> Request:
    """A request with this Accept header."""
    headers = [] if accept is None else [(b"accept", accept.encode())]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": headers})


def test_a_table_is_answered_as_a_file():
    """RFC 4180: a header, commas, CR LF; UTF-8."""
    answer = csv_reply("workers.csv", ("id", "name"), [("W1", "Jürgen"), ("W2", "a,b")])
    assert answer.body == 'id,name\r\nW1,Jürgen\r\nW2,"a,b"\r\n'.encode()
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["content-disposition"] == 'attachment; filename="workers.csv"'


def test_values_are_written_as_spreadsheets_read_them():
    """Numbers stay numbers, negative ones too; times in UTC; nothing is an empty cell."""
    at = datetime(2026, 11, 21, 8, 15, tzinfo=UTC)
    answer = csv_reply("x.csv", "abcdef", [(1, -2.5, True, False, None, at)])
    assert read(answer)[1] == ["1", "-2.5", "true", "false", "", "2026-11-21T08:15:00.000000Z"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1"])
def test_text_that_would_run_as_a_formula_is_marked(text):
    """As the spreadsheet itself marks text."""
    assert read(csv_reply("x.csv", ["a"], [[text]]))[1] == [f"'{text}"]


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_any_text_survives_and_none_is_a_formula(cells):
    """Quotes, commas and line breaks are part of a cell."""
    (_, *rows) = read(csv_reply("x.csv", cells, [cells]))
    if cells == [""]:
        assert rows in ([], [[""]])
        return
    for cell, found in zip(cells, rows[0], strict=True):
        assert found in {cell, f"'{cell}"}
        assert not found.lstrip(" ").startswith(("=", "+", "-", "@"))


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (None, False),
        ("*/*", False),
        ("application/json", False),
        ("text/csv", True),
        ("TEXT/CSV; header=present", True),
        ("text/csv, */*;q=0.1", True),
        ("application/json, text/csv", False),
        ("application/json;q=0.5, text/csv;q=0.9", True),
        ("text/csv;q=0", False),
        ("text/csv;q=x", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        (",;=", False),
    ],
)
def test_the_accept_header_may_ask_for_csv(accept, wanted):
    """When it wants CSV more than JSON."""
    assert wants_csv(asking(accept), None) is wanted


def test_the_parameter_decides():
    """Whatever the header says."""
    assert wants_csv(asking("application/json"), "csv")
    assert not wants_csv(asking("text/csv"), "json")
