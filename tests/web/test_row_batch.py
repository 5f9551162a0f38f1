import csv
import io
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.tabular_models import HEART, ROW, heart
from tests.web.conftest import Site, problem

from andon.errors import InvalidRequest, TooLarge, UnusableUpload
from andon.runtimes.rows import RowEncoder
from andon.web import parquet
from andon.web.row_tables import read_csv, read_json

PATH = "/predict/batch"
PARQUET = "application/vnd.apache.parquet"
ENCODER = RowEncoder(HEART)


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with a tabular model, which takes 500 rows at a time."""
    folder = tmp_path_factory.mktemp("ward")
    made = Site(folder / "home", max_batch_rows=500)
    try:
        files = {"model": ("heart.onnx", heart(folder / "heart.onnx").read_bytes())}
        assert made.client.post("/api/models/upload", files=files).status_code == 200
        yield made
    finally:
        made.close()


def send(site: Site, body: bytes, kind: str = "text/csv", **more: Any) -> httpx.Response:
    """Send a body of a kind."""
    headers = {"Content-Type": kind, **more.pop("headers", {})}
    return site.client.post(PATH, content=body, headers=headers, **more)


def table(rows: list[dict[str, Any]], separator: str = ",") -> bytes:
    """Rows as CSV."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=separator)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


@pytest.mark.parametrize("path", [PATH, "/api/predict/batch"])
def test_a_list_of_rows_is_answered(ward, path):
    """Each like a row alone, in the order they were sent, and each in the log."""
    rows = [{**ROW, "age": age} for age in (30, 50, 70)]
    answer = ward.client.post(path, json=rows)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["total"], body["answered"], body["rejected"]) == (3, 3, 0)
    assert (body["model"], body["model_version"], body["threshold"]) == ("heart-disease", 1, 0.4)
    assert [one["index"] for one in body["results"]] == [0, 1, 2]
    alone = [ward.client.post("/predict", json=row).json() for row in rows]
    for one, single in zip(body["results"], alone, strict=True):
        assert one["probabilities"] == single["probabilities"]
        assert one["prediction"] == single["prediction"]
        logged = ward.client.get(f"/api/predictions/{one['prediction_id']}").json()
        assert logged["source"] == "batch"


def test_one_bad_row_never_sinks_the_others(ward):
    """Each has its reasons, by field."""
    rows = [ROW, {**ROW, "age": "x", "sex": 3}, 7, {**ROW, "ca": 2}, {"features": ROW, "x": 1}]
    body = ward.client.post(PATH, json={"model": "heart-disease", "rows": rows}).json()
    assert (body["total"], body["answered"], body["rejected"]) == (5, 2, 3)
    assert [one["index"] for one in body["results"]] == [0, 3]
    found = [(error["index"], error.get("field")) for error in body["errors"]]
    assert found == [(1, "age"), (1, "sex"), (2, None), (4, "x")]


def test_a_number_that_is_too_large_is_one_bad_row(ward):
    """The others are answered."""
    body = json.dumps([ROW, ROW | {"oldpeak": -987}]).replace("-987", "1e999").encode()
    answer = send(ward, body, "application/json").json()
    assert (answer["answered"], answer["rejected"]) == (1, 1)
    assert (answer["errors"][0]["index"], answer["errors"][0]["field"]) == (1, "oldpeak")


def test_a_batch_of_bad_rows_is_refused_with_the_reasons(ward):
    """422: there is nothing that could be answered."""
    body = problem(ward.client.post(PATH, json=[{**ROW, "age": 7}]), 422, "row 0: age")
    assert (body["total"], body["answered"], body["rejected"]) == (1, 0, 1)
    assert body["errors"][0]["field"] == "rows.0.age"


def test_rows_may_say_whom_they_are_about(ward):
    """For feedback, later."""
    rows = [{"features": ROW, "subject": "P-3", "request_id": "r-3"}]
    (one,) = ward.client.post(PATH, json=rows).json()["results"]
    logged = ward.client.get(f"/api/predictions/{one['prediction_id']}").json()
    assert (logged["subject"], logged["request_id"]) == ("P-3", "r-3")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_is_answered(ward, separator):
    """As spreadsheets write it; values are converted by the schema."""
    rows = [{**ROW, "ca": "", "subject": "P-1"}, {**ROW, "sex": "true", "subject": "P-2"}]
    body = send(ward, b"\xef\xbb\xbf" + table(rows, separator)).json()
    assert body["answered"] == 2
    expected = ward.client.post(PATH, json=[{**ROW, "ca": None}, ROW]).json()
    assert [one["probability"] for one in body["results"]] == [
        one["probability"] for one in expected["results"]
    ]
    logged = ward.client.get(f"/api/predictions/{body['results'][1]['prediction_id']}").json()
    assert logged["subject"] == "P-2"


def test_a_table_can_be_answered_with_a_table(ward):
    """One line per row that was sent, the refused ones with their reason."""
    body = table([ROW, {**ROW, "age": "old"}])
    answer = send(ward, body, headers={"Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    assert [line["index"] for line in lines] == ["0", "1"]
    assert (lines[0]["prediction"], lines[0]["label"], lines[0]["error"]) == ("1", "disease", "")
    assert lines[1]["prediction"] == ""
    assert lines[1]["error"].startswith("age must be")
    assert send(ward, body, params={"format": "csv"}).text.startswith("index,")


def test_columns_that_do_not_fit_are_named_once(ward):
    """Not for each of ten thousand rows."""
    row = {**ROW, "num": 1}
    del row["age"]
    body = problem(send(ward, table([row, row])), 422, "age is missing", "num is no feature")
    assert [error["field"] for error in body["errors"]] == ["age", "num"]


@pytest.mark.parametrize(
    ("body", "kind", "status", "words"),
    [
        (b"[]", "application/json", 400, "no row"),
        (b"", "text/csv", 400, "no row"),
        (b"age,sex\n", "text/csv", 400, "no row"),
        (b"{", "application/json", 400, "not JSON"),
        (b'{"rows": 7}', "application/json", 422, "rows"),
        (b'{"rows": [], "more": 1}', "application/json", 422, "more"),
        (b'{"rows": [{}], "version": "x"}', "application/json", 422, "version"),
        (b"\xff\xfe\x00", "text/csv", 400, "not UTF-8"),
        (b'age,sex\n"1,2\n', "text/csv", 400, "line"),
        (b"age;age\n1;2\n", "text/csv", 422, "age is there twice"),
        (b'[{"age": "\xff"}]', "application/json", 400, "not JSON"),
        (b"x", "text/plain", 415, "text/plain"),
        (b"PAR1 and nothing", PARQUET, 400, "Parquet"),
    ],
)
def test_what_cannot_be_read_says_why(ward, body, kind, status, words):
    """A sentence, not a stack trace."""
    if kind == PARQUET:
        pytest.importorskip("polars")
    problem(send(ward, body, kind), status, words)


def test_too_much_is_refused(ward):
    """Rows and bytes."""
    problem(ward.client.post(PATH, json=[ROW] * 501), 413, "500 rows")
    problem(send(ward, table([ROW] * 501)), 413, "500 rows")
    problem(send(ward, b"x", headers={"Content-Encoding": "gzip"}), 415, "compressed")


def test_a_model_that_is_not_there_is_not_found(ward):
    """In the query or in the body."""
    problem(send(ward, table([ROW]), params={"model": "nobody"}), 404, "nobody")
    problem(ward.client.post(PATH, json={"model": "nobody", "rows": [ROW]}), 404, "nobody")


def test_a_parquet_file_is_answered(ward):
    """Nulls and NaN are missing values."""
    polars = pytest.importorskip("polars")
    rows = [{**ROW, "oldpeak": 2.5, "ca": None, "subject": "P-9"}, {**ROW, "subject": "P-8"}]
    file = io.BytesIO()
    polars.DataFrame(rows).write_parquet(file)
    body = send(ward, file.getvalue(), PARQUET).json()
    assert body["answered"] == 2
    expected = ward.client.post(PATH, json=[{**ROW, "oldpeak": 2.5, "ca": None}, ROW]).json()
    assert [one["probability"] for one in body["results"]] == [
        one["probability"] for one in expected["results"]
    ]


def test_a_hostile_parquet_file_does_no_harm(ward):
    """Lists, millions of equal rows, very long text: refused, and the server answers on."""
    polars = pytest.importorskip("polars")
    frames = [
        (polars.DataFrame({"age": [[1], [2]]}), 400),
        (polars.DataFrame({"age": polars.repeat(1, 5_000_000, eager=True)}), 413),
        (polars.DataFrame({"thal": ["x" * 100_000] * 400}), 400),
    ]
    # Columns that nobody asked for are named, and not read.
    many = {f"c{number}": polars.repeat("x" * 900, 500, eager=True) for number in range(500)}
    file = io.BytesIO()
    polars.DataFrame(many).write_parquet(file)
    assert len(file.getvalue()) < 1_000_000
    problem(send(ward, file.getvalue(), PARQUET), 422, "c0 is no feature")
    for frame, status in frames:
        file = io.BytesIO()
        frame.write_parquet(file)
        assert len(file.getvalue()) < 1_000_000
        problem(send(ward, file.getvalue(), PARQUET), status, "Parquet")
    assert ward.client.post("/predict", json=ROW).status_code == 200


def test_a_little_parquet_file_that_stands_for_gigabytes_is_refused():
    """What comes back from its reader fits into memory; it knows nothing of our secrets."""
    polars = pytest.importorskip("polars")
    text = {name: polars.repeat("x" * 900, 20_000, eager=True) for name in ("thal", "subject")}
    file = io.BytesIO()
    polars.DataFrame(text).write_parquet(file)
    assert len(file.getvalue()) < 10_000
    with pytest.raises(TooLarge, match="bytes of text"):
        parquet.read(file.getvalue(), 100_000, text)


def test_a_line_with_too_few_cells_is_one_bad_row():
    """The others are read."""
    batch = read_csv(table([ROW, ROW]) + b"1,2\r\n", ENCODER, 10)
    assert (len(batch.rows), batch.total) == (2, 3)
    assert batch.faults == [(2, [{"detail": "has 2 values, and the header 6"}])]


def test_a_table_wider_than_any_model_is_refused_at_once():
    """A million columns cost no time and little memory."""
    names = ",".join(f"c{number}" for number in range(1_000_000)).encode()
    quoted = ",".join(f'"c{number},"' for number in range(2101)).encode()
    began = time.monotonic()
    for header in (names, b"," * 5_000_000, quoted):
        with pytest.raises(InvalidRequest, match="columns"):
            read_csv(header + b"\n1,2\n", ENCODER, 10)
    with pytest.raises(InvalidRequest, match="do not fit"):
        read_csv(b",".join(b"c%d" % number for number in range(2100)) + b"\n1", ENCODER, 10)
    assert time.monotonic() - began < 5


def test_lines_wider_than_the_header_are_not_kept():
    """Each is a bad row in its place."""
    good = table([ROW]).splitlines()
    text = b"\n".join([good[0], b"12," * 1000, good[1], b"", b"1"])
    batch = read_csv(text, ENCODER, 10)
    assert (batch.places, [place for place, _ in batch.faults]) == ([1], [0, 2])


def test_limits_hold_while_reading():
    """Nothing is read beyond them."""
    with pytest.raises(TooLarge):
        read_csv(table([ROW] * 11), ENCODER, 10)
    with pytest.raises(TooLarge):
        read_json(b"[{},{}]", 1)
    with pytest.raises(UnusableUpload):
        read_json(b"[" * 200_000, 10)
    with pytest.raises(InvalidRequest):
        read_json(b'"x"', 10)
