"""Reads Parquet files in a process of their own: `python -m andon.web.parquet`.

What is wanted comes on the first line of standard input, the file after it; the columns go to
standard output as JSON, or an error does.
The reader is large and the file a stranger's: in a child with limits, neither weighs on the
server nor can bring it down.
"""

import io
import resource
import subprocess
import sys
from collections.abc import Collection
from importlib.util import find_spec
from typing import Any

import msgspec

from andon import typed
from andon.errors import TooLarge, UnsupportedMedia, UnusableUpload
from andon.training.child_process import environment

CONTENT_TYPES = ("application/vnd.apache.parquet", "application/x-parquet")

_MEMORY_BYTES = 4 * 1024**3
_SECONDS = 30
_LONGEST_TEXT = 1000
_MAX_COLUMNS = 2100
_MAX_CELLS = 20_000_000
# Of all texts together: a few bytes of a file can stand for gigabytes.
_MAX_TEXT_BYTES = 32 * 1024 * 1024


class _Wanted(msgspec.Struct):
    max_rows: int
    names: list[str]


def read(data: bytes, max_rows: int, names: Collection[str]) -> dict[str, list[Any]]:
    """The columns of a Parquet file, values as JSON has them; missing ones and NaN as None.

    Blocks; call it in a thread.

    Args:
        data: The file.
        max_rows: Rows at most.
        names: Columns that may be there. If there are others, no values are read at all.

    Raises:
        UnsupportedMedia: The reader is not installed.
        UnusableUpload: It is no Parquet file, or holds more than numbers, text and truth.
        TooLarge: It has too many rows or columns.
    """
    if find_spec("polars") is None:
        raise UnsupportedMedia(
            "Parquet cannot be read: the reader is not installed.",
            hint='Install it with: pip install "andon[train]". Or send CSV or JSON.',
        )
    wanted = msgspec.json.encode(_Wanted(max_rows, list(names)))
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "andon.web.parquet"],
            input=wanted + b"\n" + data,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            # It has no business with our secrets.
            env=environment(threads=1),
        )
    except subprocess.TimeoutExpired:
        raise UnusableUpload(
            f"The Parquet file was not read within {_SECONDS} s.", hint="Send a smaller one."
        ) from None
    try:
        answer: dict[str, Any] = msgspec.json.decode(done.stdout)
    except msgspec.DecodeError:
        raise UnusableUpload(
            "The Parquet file cannot be read: it is damaged, or takes too much memory.",
            hint="Write it again, or send CSV or JSON.",
        ) from None
    if "too_large" in answer:
        raise TooLarge(answer["too_large"], hint="Send it in parts.")
    if "error" in answer:
        raise UnusableUpload(answer["error"], hint="Send numbers, text and true or false alone.")
    columns: dict[str, list[Any]] = answer["columns"]
    return columns


def child() -> dict[str, Any]:
    """Read standard input; the answer to write."""
    wanted = typed.decode(sys.stdin.buffer.readline(), _Wanted)
    max_rows = wanted.max_rows
    import polars as pl  # noqa: PLC0415 - large, and only here

    data = io.BytesIO(sys.stdin.buffer.read())
    try:
        schema = pl.read_parquet_schema(data)
        data.seek(0)
        if len(schema) > _MAX_COLUMNS or len(schema) * max_rows > _MAX_CELLS * 10:
            return {"too_large": f"The Parquet file has {len(schema)} columns."}
        if not schema.keys() <= set(wanted.names):
            return {"columns": {name[:_LONGEST_TEXT]: [] for name in schema}}
        for name, kind in schema.items():
            text = kind in {pl.String, pl.Categorical, pl.Enum}
            if not (text or kind.is_numeric() or kind in {pl.Boolean, pl.Null}):
                return {"error": f"Column {name[:64]} of the Parquet file holds {kind}."}
        # One more than is allowed tells that there are more.
        frame = pl.read_parquet(data, n_rows=max_rows + 1, use_statistics=False)
        if frame.height > max_rows:
            return {"too_large": f"The Parquet file has more than {max_rows} rows."}
        if frame.height * frame.width > _MAX_CELLS:
            return {"too_large": f"The Parquet file has {frame.height * frame.width} values."}
        columns: dict[str, list[Any]] = {}
        letters = 0
        for column in frame.iter_columns():
            found = column
            if column.dtype in {pl.String, pl.Categorical, pl.Enum}:
                found = column.cast(pl.String)
                sizes = found.str.len_bytes()
                if (sizes.max() or 0) > _LONGEST_TEXT:  # type: ignore[operator]
                    return {"error": f"Column {column.name[:64]} of the Parquet file is long text."}
                letters += int(sizes.sum())
                if letters > _MAX_TEXT_BYTES:
                    return {"too_large": f"The Parquet file holds {letters} bytes of text."}
            elif column.dtype.is_float():
                found = column.fill_nan(None)
            elif column.dtype.is_decimal():
                found = column.cast(pl.Float64)
            columns[column.name] = found.to_list()
    except Exception as error:
        return {"error": f"The Parquet file cannot be read: {' '.join(str(error).split())[:200]}."}
    return {"columns": columns}


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    sys.stdout.buffer.write(msgspec.json.encode(child()))
