"""Tables from files: what is found out, what is said about it, and what is refused."""

import csv
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.errors import TooLarge, UnusableUpload
from andon.training.tabular import reading
from andon.training.tabular.table import Table

ROWS = "name,size,good\nbolt,1.5,true\nnüt,2,false\n"


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(tmp_path: Path, content: str | bytes) -> Table:
    return reading.read([write(tmp_path / "t.csv", content)])


def checks(table: Table) -> list[tuple[str, str]]:
    return [(finding.check, finding.severity) for finding in table.findings]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_encoding_and_separator_are_found_out(
    tmp_path: Path, encoding: str, separator: str
) -> None:
    """The same rows, however the file was saved."""
    table = read(tmp_path, ROWS.replace(",", separator).encode(encoding))
    assert table.frame.to_dict(as_series=False) == {
        "name": ["bolt", "nüt"],
        "size": [1.5, 2.0],
        "good": [True, False],
    }
    assert not table.findings


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_an_old_encoding_is_read_and_said(tmp_path: Path, encoding: str) -> None:
    """Windows' and Latin-1 letters survive; a person is told to look."""
    table = read(tmp_path, ROWS.encode(encoding))
    assert table.frame["name"].to_list() == ["bolt", "nüt"]
    assert checks(table) == [("encoding", "info")]


def test_a_decimal_comma_is_understood(tmp_path: Path) -> None:
    """As European spreadsheets write numbers, thousands included."""
    table = read(tmp_path, "a;b\n1,5;1.234,5\n-2;7\n")
    assert table.frame.to_dict(as_series=False) == {"a": [1.5, -2.0], "b": [1234.5, 7.0]}
    assert checks(table) == [("decimal-comma", "info")] * 2


def test_a_comma_that_may_mean_either_stays_text(tmp_path: Path) -> None:
    """1,234 between commas may be a thousand or one and a bit: nobody guesses."""
    table = read(tmp_path, 'a,b\n"1,234",1\n"5,678",2\n')
    assert table.frame["a"].to_list() == ["1,234", "5,678"]
    assert checks(table) == [("decimal-comma", "warning")]


def test_quoted_fields_may_hold_separators_quotes_and_line_ends(tmp_path: Path) -> None:
    """What RFC 4180 allows."""
    table = read(tmp_path, 'a,b\r\n"x, ""y""\nz",1\r\n')
    assert table.frame.row(0) == ('x, "y"\nz', 1)


@pytest.mark.parametrize("token", ["", "?", "NA", "n/a", "NaN", "null", " "])
def test_missing_values_are_known_in_every_spelling(tmp_path: Path, token: str) -> None:
    """They leave the column a column of numbers."""
    assert read(tmp_path, f"a,b\n1,x\n{token},y\n").frame["a"].to_list() == [1, None]


def test_digits_that_are_no_numbers_stay_texts(tmp_path: Path) -> None:
    """Postal codes lose no zero, card numbers no digit."""
    table = read(tmp_path, "zip,card\n01067,4111111111111111\n10115,4222222222222222\n")
    assert table.frame.row(0) == ("01067", "4111111111111111")


def test_infinite_values_are_missing_and_said(tmp_path: Path) -> None:
    """No model can compute with them."""
    table = read(tmp_path, "a,b\ninf,1\n1.5,2\n")
    assert table.frame["a"].to_list() == [None, 1.5]
    assert checks(table) == [("infinite", "warning")]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"a,b\n", "no rows"),
        (b"1,2\n3,4\n", "no header"),
        (b'a,b\n"1,2\n' + b"x" * 200_000, "quotation mark"),
        (b"a,b\n1,\0\n", "zero bytes"),
        (b"PK\x03\x04rest", "Excel"),
        (b"\x80\x04\x95rest", "pickle"),
        (b"\x1f\x8brest", "gzip"),
        (b"PAR1 and nothing", "no Parquet"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    """The message says what it is instead."""
    with pytest.raises(UnusableUpload, match=complaint):
        read(tmp_path, content)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """It is named."""
    with pytest.raises(UnusableUpload, match=r"nowhere\.csv"):
        reading.read([tmp_path / "nowhere.csv"])


def test_too_many_columns_are_refused(tmp_path: Path) -> None:
    """Memory has a limit."""
    header = ",".join(f"c{n}" for n in range(reading.MAX_COLUMNS + 1))
    with pytest.raises(TooLarge, match="columns"):
        read(tmp_path, f"{header}\n")


def test_too_many_rows_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are counted while they are read, not afterwards."""
    monkeypatch.setattr(reading, "MAX_ROWS", 2)
    with pytest.raises(TooLarge, match="rows"):
        read(tmp_path, "a\n1\n2\n3\n")


def test_two_columns_of_one_name_are_an_error(tmp_path: Path) -> None:
    """Nobody could tell which is meant; both are kept for the report."""
    table = read(tmp_path, "a,a,b\n1,2,3\n")
    assert table.frame.columns == ["a", "a (2)", "b"]
    assert checks(table) == [("duplicate-header", "error")]


def test_the_same_column_twice_counts_once(tmp_path: Path) -> None:
    """Equal values are harmless."""
    table = read(tmp_path, "a,a,b\n1,1,3\n,,4\n")
    assert table.frame.columns == ["a", "b"]
    assert checks(table) == [("duplicate-header", "warning")]


def test_a_column_without_a_name_gets_one(tmp_path: Path) -> None:
    """As pandas writes its index."""
    assert read(tmp_path, ",a\n7,1\n").frame.columns == ["column 1", "a"]


def test_separators_after_the_last_field_are_harmless(tmp_path: Path) -> None:
    """Spreadsheets leave them behind."""
    table = read(tmp_path, "a,b\n1,2,,\n3,4\n")
    assert table.frame.rows() == [(1, 2), (3, 4)]
    assert not table.findings


def test_a_stray_ragged_row_is_left_out_with_a_warning(tmp_path: Path) -> None:
    """Its line is named; guessing would shift values into other columns."""
    table = read(tmp_path, "a,b\n" + "1,2\n" * 200 + "1,2,3\n")
    assert table.frame.height == 200
    assert checks(table) == [("ragged-rows", "warning")]
    assert "line 202" in table.findings[0].detail


def test_many_ragged_rows_are_an_error(tmp_path: Path) -> None:
    """Then the separator or the file is wrong."""
    table = read(tmp_path, "a,b\n" + "1,2\n1,2,3\n" * 20)
    assert checks(table) == [("ragged-rows", "error")]


def test_parquet_is_read(tmp_path: Path) -> None:
    """Types become the few that rows have; nested columns are left out and told."""
    pl.DataFrame(
        {
            "a": pl.Series([1, 2], dtype=pl.UInt8),
            "b": pl.Series([1.5, float("nan")], dtype=pl.Float32),
            "c": pl.Series(["x", "y"], dtype=pl.Categorical),
            "d": [[1], [2]],
        }
    ).write_parquet(tmp_path / "t.parquet")
    table = reading.read([tmp_path / "t.parquet"])
    assert table.frame.to_dict(as_series=False) == {
        "a": [1, 2],
        "b": [1.5, None],
        "c": ["x", "y"],
    }
    assert checks(table) == [("unusable-column", "warning")]
    assert reading.columns(tmp_path / "t.parquet") == ["a", "b", "c", "d"]


def test_a_folder_is_one_table(tmp_path: Path) -> None:
    """Files of one header below each other; a column that is whole in one may not be in another."""
    write(tmp_path / "1.csv", "a,b\n1,x\n")
    write(tmp_path / "2.csv", "b;a\ny;2.5\n")
    table = reading.read([tmp_path])
    assert table.frame.rows() == [(1.0, "x"), (2.5, "y")]
    assert table.origin == "1.csv, 2.csv"


def test_files_of_different_columns_are_refused(tmp_path: Path) -> None:
    """The message names what differs."""
    write(tmp_path / "1.csv", "a,b\n1,x\n")
    write(tmp_path / "2.csv", "a,c\n1,x\n")
    with pytest.raises(UnusableUpload, match=r"different columns: b, c"):
        reading.read([tmp_path])


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    """The message says what was looked for."""
    with pytest.raises(UnusableUpload, match=r"holds no table.*\.parquet"):
        reading.read([tmp_path])


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12)
_ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-(10**14), 10**14),
        st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32),
        _TEXT,
        st.booleans(),
    ),
    min_size=2,
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(
    rows=_ROWS, separator=st.sampled_from(",;\t|"), encoding=st.sampled_from(["utf-8", "utf-16"])
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int | None, float | None, str, bool]],
    separator: str,
    encoding: str,
) -> None:
    """Any numbers, texts and booleans come back, through every separator and encoding."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=separator, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(["whole", "number", "text", "flag"])
    writer.writerows([*row[:2], f"t {row[2]}.", row[3]] for row in rows)
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(file.getvalue().encode(encoding))
    frame = reading.read([path]).frame
    assert frame["whole"].to_list() == [row[0] for row in rows]
    numbers = frame["number"]
    assert numbers.to_list() == [row[1] for row in rows]
    assert frame["text"].to_list() == [f"t {row[2]}." for row in rows]
    assert frame["flag"].to_list() == [row[3] for row in rows]


def test_many_rows_are_read_in_parts(tmp_path: Path) -> None:
    """More rows than one part holds."""
    count = 120_000
    path = write(tmp_path / "t.csv", "a,b\n" + "".join(f"{n},x{n % 3}\n" for n in range(count)))
    frame = reading.read([path]).frame
    assert frame.height == count
    assert frame["a"].sum() == count * (count - 1) // 2
