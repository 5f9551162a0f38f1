"""Batches of rows as they are sent: JSON, CSV or Parquet; and their answers as CSV."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from andon.errors import InvalidRequest, TooLarge, UnusableUpload
from andon.runtimes.rows import MAX_FEATURES, RowEncoder
from andon.serving.row_answers import GivenRow
from andon.web.bodies import plain_json
from andon.web.parameters import invalid, short_text

_SUBJECT, _REQUEST = "subject", "request_id"
_SEPARATORS = ",;\t|"
_MEMBERS = frozenset({"rows", "model", "version"})
_ROW_MEMBERS = frozenset({"features", _SUBJECT, _REQUEST})
_SHOWN = 64
_MOST_COLUMNS = MAX_FEATURES + 100
_MOST_FAULTS = 100

Fault = list[dict[str, str]]


class Batch(msgspec.Struct):
    """Rows that came together.

    Attributes:
        rows: Those that can be asked.
        places: Place of each in the batch.
        faults: Place and faults of those that are no rows at all.
        wish: `model` and `version`, where the body names them.
    """

    rows: list[GivenRow]
    places: list[int]
    faults: list[tuple[int, Fault]]
    wish: dict[str, Any]

    @property
    def total(self) -> int:
        """Rows that were sent."""
        return len(self.rows) + len(self.faults)


def read_json(data: bytes, limit: int) -> Batch:
    """A list of rows, or an object with `rows`.

    Raises:
        UnusableUpload: It is no JSON, or holds no row.
        InvalidRequest: It is JSON of another shape.
        TooLarge: It holds more than `limit` rows.
    """
    body = plain_json(data)
    wish: dict[str, Any] = {}
    items = body
    if isinstance(body, dict):
        for name in body:
            if name not in _MEMBERS:
                raise invalid(name[:_SHOWN], "is no member of the request")
        items = body.get("rows")
        wish = {name: body[name] for name in ("model", "version") if body.get(name) is not None}
        if not isinstance(wish.get("model", ""), str):
            raise invalid("model", "must be text")
        version = wish.get("version", 1)
        if type(version) is not int or not 1 <= version < 2**31:
            raise invalid("version", "must be a version number, 1 or more")
    if not isinstance(items, list):
        raise invalid("rows", "must be a list of rows")
    _count(len(items), limit)
    batch = Batch([], [], [], wish)
    for place, item in enumerate(items):
        try:
            batch.rows.append(_row(item))
        except InvalidRequest as error:
            batch.faults.append((place, error.errors))
        else:
            batch.places.append(place)
    return batch


def read_csv(data: bytes, encoder: RowEncoder, limit: int) -> Batch:
    """A table of text with a header; values are converted by the schema.

    Raises:
        UnusableUpload: It is no table in UTF-8, or holds no row.
        InvalidRequest: Columns are missing or unexpected.
        TooLarge: It holds more than `limit` rows.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnusableUpload(
            f"The CSV is not UTF-8: byte {error.start} is wrong.", hint="Save it as UTF-8."
        ) from None
    first = text[: text.find("\n")] if "\n" in text else text
    separator = max(_SEPARATORS, key=first.count)
    if first.count(separator) > 2 * _MOST_COLUMNS:
        # Before it is cut: separators inside quotes make up no such number.
        _check_width(first.count(separator) + 1)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    lines: list[list[str]] = []
    whole: list[int] = []
    faults: list[tuple[int, Fault]] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_width(len(header))
        for line in reader:
            if not line:
                continue
            place = len(lines) + len(faults)
            if place >= limit:
                _count(place + 1, limit)
            if len(line) == len(header):
                whole.append(place)
                lines.append(line)
            else:
                # Not kept: a line may hold millions of cells.
                detail = f"has {len(line)} values, and the header {len(header)}"
                faults.append((place, [{"detail": detail}]))
    except csv.Error as error:
        raise UnusableUpload(f"The CSV cannot be read: line {reader.line_num}: {error}.") from None
    _count(len(lines) + len(faults), limit)
    _check_columns(header, encoder)
    cells = zip(*lines, strict=True) if lines else ([] for _ in header)
    columns = {
        name: encoder.from_text(name, column) for name, column in zip(header, cells, strict=True)
    }
    return _from_columns(columns, whole, faults, encoder)


def column_names(encoder: RowEncoder) -> set[str]:
    """What the columns of a table for this model may be called."""
    return {feature.name for feature in encoder.schema.features} | {_SUBJECT, _REQUEST}


def read_columns(columns: Mapping[str, list[Any]], encoder: RowEncoder) -> Batch:
    """Columns of values (of a Parquet file).

    Raises:
        UnusableUpload: There is no row.
        InvalidRequest: Columns are missing or unexpected.
    """
    _check_columns(list(columns), encoder)
    count = max((len(column) for column in columns.values()), default=0)
    _count(count, count)
    return _from_columns(columns, list(range(count)), [], encoder)


def _from_columns(
    columns: Mapping[str, Sequence[Any]],
    places: list[int],
    faults: list[tuple[int, Fault]],
    encoder: RowEncoder,
) -> Batch:
    """Rows out of columns; `subject` and `request_id` are taken out of them."""
    known = {feature.name for feature in encoder.schema.features}
    names = [name for name in columns if name in known]
    subjects = columns.get(_SUBJECT) if _SUBJECT not in known else None
    requests = columns.get(_REQUEST) if _REQUEST not in known else None
    batch = Batch([], [], faults, {})
    rows = zip(*(columns[name] for name in names), strict=True)
    for index, (place, values) in enumerate(zip(places, rows, strict=True)):
        try:
            row = GivenRow(
                dict(zip(names, values, strict=True)),
                _text(_SUBJECT, None if subjects is None else subjects[index]),
                _text(_REQUEST, None if requests is None else requests[index]),
            )
        except InvalidRequest as error:
            faults.append((place, error.errors))
            continue
        batch.rows.append(row)
        batch.places.append(place)
    return batch


def _row(item: Any) -> GivenRow:
    """A row of a JSON list: the row itself, or an object with its `features`.

    Raises:
        InvalidRequest: It is neither.
    """
    if type(item) is not dict:
        raise InvalidRequest("", errors=[{"detail": "must be an object"}])
    features = item.get("features")
    if type(features) is not dict:
        return GivenRow(item)
    for name in item:
        if name not in _ROW_MEMBERS:
            raise invalid(name[:_SHOWN], "stands beside `features`, not inside")
    for name in (_SUBJECT, _REQUEST):
        if not isinstance(item.get(name, ""), (str, type(None))):
            raise invalid(name, "must be text")
    return GivenRow(
        features, _text(_SUBJECT, item.get(_SUBJECT)), _text(_REQUEST, item.get(_REQUEST))
    )


def _text(name: str, value: Any) -> str | None:
    return None if value is None else short_text(name, str(value))


def _check_width(columns: int) -> None:
    """Refuse a table that is wider than any model, before its lines are read.

    Raises:
        InvalidRequest: It says how wide it is.
    """
    if columns > _MOST_COLUMNS:
        raise InvalidRequest(
            f"The header names {columns} columns; {_MOST_COLUMNS} are possible.",
            hint="The header must name the model's features, and may have subject and request_id.",
        )


def _check_columns(names: Sequence[str], encoder: RowEncoder) -> None:
    """Refuse a table whose columns are not the features, before each row says so.

    Raises:
        InvalidRequest: It names the columns.
    """
    features = {feature.name for feature in encoder.schema.features}
    known = column_names(encoder)
    faults = [
        {"field": name[:_SHOWN], "detail": "is there twice"}
        for name, times in Counter(names).items()
        if times > 1
    ]
    faults += [{"field": name, "detail": "is missing"} for name in features.difference(names)]
    extra = [name for name in names if name not in known]
    faults += [{"field": name[:_SHOWN], "detail": "is no feature of this model"} for name in extra]
    if faults:
        faults = sorted(faults[:_MOST_FAULTS], key=lambda fault: fault["field"])
        named = ", ".join(f"{fault['field']} {fault['detail']}" for fault in faults[:5])
        raise InvalidRequest(
            f"The columns do not fit the model: {named}.",
            hint="The header must name the model's features, and may have subject and request_id.",
            errors=faults,
        )


def _count(rows: int, limit: int) -> None:
    """Refuse no rows at all, and too many.

    Raises:
        UnusableUpload: There is none.
        TooLarge: There are more than `limit`.
    """
    if not rows:
        raise UnusableUpload("The batch holds no row.", hint="Send one row at least.")
    if rows > limit:
        raise TooLarge(
            f"The batch holds more than {limit} rows.",
            hint="Send it in parts, or raise ANDON_MAX_BATCH_ROWS.",
        )
