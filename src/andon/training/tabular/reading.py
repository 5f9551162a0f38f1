"""Tables from files: CSV as programs and people write it, and Parquet.

Separator (comma, semicolon, tab, bar), encoding (UTF-8, UTF-16, Windows' and Latin-1) and decimal
comma are found out; what was found out that may be wrong is said. Values are numbers, whole
numbers, booleans (true, false) or texts. Missing are: nothing at all, ``?``, NA, N/A, #N/A, NaN and
null. Texts of digits that begin with 0 (postal codes) or are too long for a number stay texts.
"""

import codecs
import csv
import hashlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import polars as pl

from andon.errors import TooLarge, UnusableUpload
from andon.training.messages import Finding
from andon.training.tabular.table import Table, counted

SUFFIXES = (".csv", ".tsv", ".txt", ".data", ".parquet")
"""Of the files that are read from a folder."""
MAX_BYTES = 2 * 1024**3
MAX_ROWS = 5_000_000
MAX_COLUMNS = 2_000
MISSING = ("", "?", "na", "n/a", "#n/a", "nan", "null")
"""What stands for a missing value, in lower case."""

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_CHUNK = 1 << 20
_ROWS_AT_ONCE = 50_000
_SAMPLE = 1 << 16
_SAMPLE_ROWS = 200
# Rows with too many or too few fields are left out up to this share of all.
_RAGGED_SHARE = 0.01
# Beyond 15 digits a float no longer holds every whole number.
_INTEGER = r"^[+-]?\d{1,15}$"
_LEADING_ZERO = r"^[+-]?0\d+$"
_TOO_LONG = r"^[+-]?\d{16,}$"
_DECIMAL_COMMA = r"^[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?([eE][+-]?\d+)?$"
_THOUSANDS = r"^[+-]?\d{1,3}(,\d{3})+$"
_PARQUET = b"PAR1"
_KNOWN = {
    b"PK\x03\x04": "an Excel workbook or another ZIP archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x1f\x8b": "compressed with gzip",
    b"%PDF": "a PDF",
    b"\x80\x02": "a Python pickle, which is never opened",
    b"\x80\x03": "a Python pickle, which is never opened",
    b"\x80\x04": "a Python pickle, which is never opened",
    b"\x80\x05": "a Python pickle, which is never opened",
}


def read(paths: list[Path]) -> Table:
    """The rows of one or more files, or of every table in a folder, one after the other.

    Raises:
        UnusableUpload: A file is missing, empty or no table, or their columns differ.
        TooLarge: A file is longer than Andon reads.
    """
    files = [file for path in paths for file in files_of(path)]
    try:
        tables = [_read(file) for file in files]
    except OSError as error:
        raise UnusableUpload(
            f"{error.filename} cannot be read: {error.strerror}.", hint="Check its permissions."
        ) from error
    first = tables[0]
    for file, table in zip(files, tables, strict=True):
        if set(table.frame.columns) != set(first.frame.columns):
            differing = set(table.frame.columns) ^ set(first.frame.columns)
            raise UnusableUpload(
                f"{file.name} and {files[0].name} have different columns: "
                f"{', '.join(sorted(differing)[:5])}.",
                hint="Train on files that have the same header.",
            )
    if len(tables) == 1:
        return first
    return Table(
        frame=joined([table.frame.select(first.frame.columns) for table in tables]),
        origin=", ".join(file.name for file in files),
        digest=combined([table.digest for table in tables]),
        findings=tuple(finding for table in tables for finding in table.findings),
    )


def files_of(path: Path) -> list[Path]:
    """The file itself, or the tables of a folder by name.

    Raises:
        UnusableUpload: There is no such file, or no table in the folder.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UnusableUpload(f"There is no file {path}.", hint="Check the path.")
    found = sorted(
        file for file in path.iterdir() if file.is_file() and file.suffix.lower() in SUFFIXES
    )
    if not found:
        raise UnusableUpload(
            f"The folder {path} holds no table.", hint=f"Looked for {', '.join(SUFFIXES)}."
        )
    return found


def columns(path: Path) -> list[str]:
    """The names of a table's columns, without reading its rows."""
    if _is_parquet(path):
        return list(_parquet_schema(path))
    encoding = _encoding(path)
    separator = _separator(path, encoding)
    with path.open(encoding=encoding, newline="") as file:
        return _header(_records(path, file, separator), path)[0]


def joined(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Frames of the same columns below each other; whole numbers and numbers become numbers.

    A column that is text in one of them becomes text; one that is all missing takes any type.
    """
    aligned = []
    for frame in frames:
        casts = []
        for name in frame.columns:
            kinds = {f[name].dtype for f in frames if f[name].null_count() < f.height}
            if len(kinds) == 1:
                casts.append(pl.col(name).cast(kinds.pop()))
            elif kinds and all(kind.is_numeric() for kind in kinds):
                casts.append(pl.col(name).cast(pl.Float64))
            else:
                casts.append(pl.col(name).cast(pl.String))
        aligned.append(frame.select(casts))
    return pl.concat(aligned)


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combined(digests: list[str]) -> str:
    """One digest of several files, whatever their order; of one file its own."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


def read_records(path: Path) -> list[list[str]]:
    """The fields of a small text file without a header, by line; empty lines are left out.

    Raises:
        UnusableUpload: It is no text.
    """
    encoding = _encoding(path)
    separator = _separator(path, encoding)
    with path.open(encoding=encoding, newline="") as file:
        return [row for _, row in _records(path, file, separator)]


def _read(path: Path) -> Table:
    frame, findings = _parquet(path) if _is_parquet(path) else _csv(path)
    if frame.height == 0:
        raise UnusableUpload(
            f"{path.name} has a header and no rows.", hint="Check that the export was complete."
        )
    return Table(frame=frame, origin=path.name, digest=digest(path), findings=tuple(findings))


def _is_parquet(path: Path) -> bool:
    """By its content. Refuses what is known to be no table."""
    size = path.stat().st_size
    if size == 0:
        raise UnusableUpload(f"{path.name} is empty.", hint="Check that the export was complete.")
    if size > MAX_BYTES:
        raise TooLarge(
            f"{path.name} has {size} bytes; {MAX_BYTES} are the most.",
            hint="Train on a sample of the rows.",
        )
    with path.open("rb") as file:
        start = file.read(4)
    for magic, what in _KNOWN.items():
        if start.startswith(magic):
            raise UnusableUpload(
                f"{path.name} is {what}, no table.", hint="Save the table as CSV or Parquet."
            )
    return start == _PARQUET


# -- CSV --------------------------------------------------------------------------------


def _encoding(path: Path) -> str:
    """Name of the encoding, found by reading all of the file once."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    utf8 = True
    seen: set[int] = set()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            if file.tell() == len(chunk):
                if marked := _marked(chunk):
                    return marked
                if guessed := _unmarked_utf16(chunk):
                    return guessed
            if b"\0" in chunk:
                raise UnusableUpload(
                    f"{path.name} is no text: it holds zero bytes.",
                    hint="Save the table as CSV or Parquet.",
                )
            if utf8:
                try:
                    decoder.decode(chunk)
                except UnicodeDecodeError:
                    utf8 = False
            seen.update(chunk)
    if utf8:
        return "utf-8"
    # Bytes that Windows' encoding leaves undefined.
    return "latin-1" if seen & {0x81, 0x8D, 0x8F, 0x90, 0x9D} else "cp1252"


def _marked(start: bytes) -> str:
    if start.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return ""


def _unmarked_utf16(start: bytes) -> str:
    """UTF-16 without a mark: of most characters one byte is zero, always on the same side."""
    some = start[:4096]
    even, odd = some[::2], some[1::2]
    if even and odd.count(0) > 0.7 * len(odd) and even.count(0) < 0.1 * len(even):
        return "utf-16-le"
    if odd and even.count(0) > 0.7 * len(even) and odd.count(0) < 0.1 * len(odd):
        return "utf-16-be"
    return ""


def _separator(path: Path, encoding: str) -> str:
    """The one that divides the first lines most evenly, and into most fields."""
    try:
        with path.open(encoding=encoding, newline="") as file:
            sample = file.read(_SAMPLE)
    except UnicodeError as error:
        raise _not_text(path) from error
    lines = sample.splitlines(keepends=True)
    if len(lines) > 1 and len(sample) == _SAMPLE:
        lines = lines[:-1]
    best, separator = (0.0, 1), ","
    for candidate in _SEPARATORS:
        reader = csv.reader(lines, delimiter=candidate, skipinitialspace=True)
        try:
            widths = [len(row) for row in islice(reader, _SAMPLE_ROWS) if row]
        except csv.Error:
            continue
        if not widths or widths[0] < 2:
            continue
        score = (round(widths.count(widths[0]) / len(widths), 2), widths[0])
        if score > best:
            best, separator = score, candidate
    return separator


def _records(path: Path, file: Iterator[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """Number of the last line, and fields, of each record that is not empty."""
    reader = csv.reader(file, delimiter=separator, skipinitialspace=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise UnusableUpload(
            f"{path.name}, line {reader.line_num}: {error}.",
            hint="Perhaps a quotation mark is not closed.",
        ) from error
    except UnicodeError as error:
        raise _not_text(path) from error


def _not_text(path: Path) -> UnusableUpload:
    return UnusableUpload(
        f"{path.name} cannot be read as text.", hint="Save it as CSV in UTF-8, or as Parquet."
    )


def _header(
    records: Iterator[tuple[int, list[str]]], path: Path
) -> tuple[list[str], list[tuple[int, int]]]:
    """The names of the columns, each once, and the positions of those that were there before."""
    _, first = next(records, (0, []))
    given = [name.strip() for name in first]
    if not any(given):
        raise UnusableUpload(f"{path.name} is empty.", hint="Check that the export was complete.")
    if len(given) > MAX_COLUMNS:
        raise TooLarge(
            f"{path.name} has {len(given)} columns; {MAX_COLUMNS} are the most.",
            hint="Leave out columns that are not needed.",
        )
    if all(_is_number(name) for name in given):
        raise UnusableUpload(
            f"{path.name} has no header: its first line holds numbers only.",
            hint="Write the names of the columns into the first line.",
        )
    names: list[str] = []
    repeated: list[tuple[int, int]] = []
    for position, name in enumerate(given):
        free = name or f"column {position + 1}"
        if free in names:
            repeated.append((names.index(free), position))
        number = 2
        while free in names:
            free = f"{name} ({number})"
            number += 1
        names.append(free)
    return names, repeated


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _csv(path: Path) -> tuple[pl.DataFrame, list[Finding]]:
    encoding = _encoding(path)
    separator = _separator(path, encoding)
    findings: list[Finding] = []
    if encoding in {"cp1252", "latin-1"}:
        findings.append(
            Finding(
                "encoding",
                "info",
                detail=f"{path.name} is not UTF-8 and was read as {encoding}.",
                hint="If letters look wrong, save the file as UTF-8.",
            )
        )
    with path.open(encoding=encoding, newline="") as file:
        records = _records(path, file, separator)
        names, repeated = _header(records, path)
        texts, ragged = _texts(records, names, path)
    if ragged:
        findings.append(_ragged(path, ragged, texts.height, len(names), separator))
    frame = pl.DataFrame([_typed(texts[name], separator, findings) for name in names])
    dropped = []
    for first, again in repeated:
        same = frame[names[first]].equals(frame[names[again]], null_equal=True)
        findings.append(_repeated(names[first], same=same))
        if same:
            dropped.append(names[again])
    return frame.drop(dropped), findings


def _texts(
    records: Iterator[tuple[int, list[str]]], names: list[str], path: Path
) -> tuple[pl.DataFrame, list[int]]:
    """All fields as they stand in the file, and the lines of the records left out."""
    width = len(names)
    ragged: list[int] = []
    frames = [pl.DataFrame({name: [] for name in names}, schema=dict.fromkeys(names, pl.String))]
    height = 0
    while part := list(islice(records, _ROWS_AT_ONCE)):
        rows = []
        for line, row in part:
            # Spreadsheets put separators after the last field.
            if len(row) == width or (len(row) > width and not any(row[width:])):
                rows.append(row[:width])
            else:
                ragged.append(line)
        height += len(rows)
        if height > MAX_ROWS:
            raise TooLarge(
                f"{path.name} has more than {MAX_ROWS} rows.", hint="Train on a sample of them."
            )
        if rows:
            by_column = zip(*rows, strict=True)
            series = [
                pl.Series(name, values, dtype=pl.String)
                for name, values in zip(names, by_column, strict=True)
            ]
            frames.append(pl.DataFrame(series))
    return pl.concat(frames), ragged


def _ragged(path: Path, lines: list[int], kept: int, width: int, separator: str) -> Finding:
    few = len(lines) <= max(1, _RAGGED_SHARE * (kept + len(lines))) and kept
    shown = ", ".join(str(line) for line in lines[:5]) + (", …" if len(lines) > 5 else "")
    return Finding(
        "ragged-rows",
        "warning" if few else "error",
        detail=f"{counted(len(lines))} of {path.name} without the header's {width} fields (read "
        f"with the {_SEPARATORS[separator]} as separator): left out, line {shown}.",
        hint="Look for separators inside values that are not in quotation marks.",
        rows=len(lines),
    )


def _repeated(name: str, *, same: bool) -> Finding:
    if same:
        return Finding(
            "duplicate-header",
            "warning",
            column=name,
            detail=f"The column {name!r} is there twice with the same values; one is left out.",
        )
    return Finding(
        "duplicate-header",
        "error",
        column=name,
        detail=f"Two columns are called {name!r} and hold different values.",
        hint="Rename one of them: nobody could tell which is meant.",
    )


def _typed(column: pl.Series, separator: str, findings: list[Finding]) -> pl.Series:
    """A column of texts as what its values are."""
    stripped = column.str.strip_chars()
    absent = stripped.str.to_lowercase().is_in(list(MISSING))
    text = stripped.set(absent, None)
    known = text.drop_nulls().unique()
    if known.is_empty():
        return text
    if known.str.to_lowercase().is_in(["true", "false"]).all():
        return text.str.to_lowercase() == "true"
    if (known.str.contains(_LEADING_ZERO) | known.str.contains(_TOO_LONG)).any():
        return text
    if known.str.contains(_INTEGER).all():
        return text.str.strip_prefix("+").cast(pl.Int64)
    if known.cast(pl.Float64, strict=False).null_count() == 0:
        return finite(text.cast(pl.Float64), findings)
    commas = known.filter(known.str.contains(",", literal=True))
    if commas.is_empty() or not known.str.contains(_DECIMAL_COMMA).all():
        return text
    if separator == "," and commas.str.contains(_THOUSANDS).all():
        findings.append(
            Finding(
                "decimal-comma",
                "warning",
                column=column.name,
                detail=f"{column.name!r} holds values such as {commas.sort()[0]}: the comma may "
                "separate thousands or decimals, so they are taken as texts.",
                hint="Write the numbers without thousands separators.",
            )
        )
        return text
    findings.append(
        Finding(
            "decimal-comma",
            "info",
            column=column.name,
            detail=f"{column.name!r} was read with the comma as decimal mark.",
        )
    )
    plain = text.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    return finite(plain.cast(pl.Float64), findings)


def finite(column: pl.Series, findings: list[Finding]) -> pl.Series:
    """A column of floats with null where it is not a number or infinite; infinite ones are told."""
    infinite = column.is_infinite().sum()
    if infinite:
        findings.append(
            Finding(
                "infinite",
                "warning",
                column=column.name,
                detail=f"{counted(int(infinite), 'value')} of {column.name!r} infinite: taken as "
                "missing.",
                rows=int(infinite),
            )
        )
    return column.set((column.is_infinite() | column.is_nan()).fill_null(value=False), None)


# -- Parquet ----------------------------------------------------------------------------


def _parquet_schema(path: Path) -> dict[str, pl.DataType]:
    try:
        return dict(pl.read_parquet_schema(path))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _damaged(path, error) from error


def _parquet(path: Path) -> tuple[pl.DataFrame, list[Finding]]:
    kinds = _parquet_schema(path)
    if len(kinds) > MAX_COLUMNS:
        raise TooLarge(
            f"{path.name} has {len(kinds)} columns; {MAX_COLUMNS} are the most.",
            hint="Leave out columns that are not needed.",
        )
    try:
        height = pl.scan_parquet(path).select(pl.len()).collect().item()
        if height > MAX_ROWS:
            raise TooLarge(
                f"{path.name} has {height} rows; {MAX_ROWS} are the most.",
                hint="Train on a sample of them.",
            )
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _damaged(path, error) from error
    return usual(frame)


def usual(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[Finding]]:
    """A frame with the few types that a `Table` has; columns of others are left out and told."""
    findings: list[Finding] = []
    taken = []
    for column in frame.iter_columns():
        kind = column.dtype
        if kind.is_integer():
            whole = column.cast(pl.Int64, strict=False)
            same = whole.null_count() == column.null_count()
            taken.append(whole if same else column.cast(pl.Float64))
        elif kind.is_float() or kind.is_decimal():
            taken.append(finite(column.cast(pl.Float64), findings))
        elif isinstance(kind, pl.Categorical | pl.Enum):
            taken.append(column.cast(pl.String))
        elif isinstance(kind, pl.String | pl.Boolean | pl.Null) or kind.is_temporal():
            taken.append(column)
        else:
            findings.append(
                Finding(
                    "unusable-column",
                    "warning",
                    column=column.name,
                    detail=f"{column.name!r} holds {kind}, which is no number or text, and is "
                    "left out.",
                )
            )
    return pl.DataFrame(taken), findings


def _damaged(path: Path, error: Exception) -> UnusableUpload:
    return UnusableUpload(
        f"{path.name} is no Parquet file that can be read: {str(error).splitlines()[0]}.",
        hint="Write it again.",
    )
