"""The heart data: real hospitals, three codings, and the download."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.support.policy import absent

from andon.errors import Unavailable, UnusableUpload
from andon.training.tabular import checks, heart_disease, prepared, reading, schema
from andon.training.tabular.heart_disease import FEATURES, NAMES, RECIPE
from andon.training.tabular.table import Table

SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "heart"
COLUMNS = [*NAMES, "num"]


@pytest.fixture
def hospitals() -> Path:
    """The folder with the real files."""
    if not SHARED.is_dir():
        absent(f"the heart data are not at {SHARED}")
    return SHARED


def read(*paths: Path) -> Table:
    return heart_disease.read(paths, Path("unused"), lambda _: None)


def made_up(count: int = 60) -> pl.DataFrame:
    """Patients in UCI's coding, with the directions that real ones have."""
    random = np.random.default_rng(3)
    num = random.integers(0, 5, count) * random.integers(0, 2, count)
    sick = num > 0
    slope = random.integers(1, 4, count)
    slope[:3] = [1, 2, 3]
    return pl.DataFrame(
        {
            "age": random.integers(30, 75, count),
            "sex": random.integers(0, 2, count),
            "cp": np.append([1, 2, 3, 4], random.integers(1, 5, count - 4)),
            "trestbps": random.integers(100, 180, count),
            "chol": random.integers(150, 350, count),
            "fbs": random.integers(0, 2, count),
            "restecg": np.append([0, 1, 2], random.integers(0, 3, count - 3)),
            "thalach": np.where(sick, 130, 160) + random.integers(0, 9, count),
            "exang": np.where(sick, 1, 0),
            "oldpeak": slope - 1 + random.random(count).round(1),
            "slope": slope,
            "ca": np.where(sick, random.integers(1, 4, count), 0),
            "thal": np.append([3, 6, 7], random.choice([3, 6, 7], count - 3)),
            "num": num,
        }
    ).select(pl.all().cast(pl.Float64))


def recoded(frame: pl.DataFrame, **mappings: dict[int, int]) -> pl.DataFrame:
    return frame.with_columns(
        pl.col(name).replace_strict(mapping, return_dtype=pl.Float64)
        for name, mapping in mappings.items()
    )


def kaggle(frame: pl.DataFrame) -> pl.DataFrame:
    """The widely used heart.csv made from UCI's rows."""
    counted = recoded(
        frame,
        cp={1: 3, 2: 2, 3: 1, 4: 0},
        restecg={0: 1, 1: 2, 2: 0},
        slope={1: 2, 2: 1, 3: 0},
        thal={3: 2, 6: 1, 7: 3},
    )
    return counted.with_columns(num=(pl.col("num") == 0).cast(pl.Int64)).rename({"num": "target"})


def shifted(frame: pl.DataFrame) -> pl.DataFrame:
    """The copy that counts from 0."""
    counted = recoded(
        frame,
        cp={1: 0, 2: 1, 3: 2, 4: 3},
        slope={1: 0, 2: 1, 3: 2},
        thal={3: 0, 6: 1, 7: 2},
    )
    return counted.with_columns(num=(pl.col("num") > 0).cast(pl.Int64)).rename({"num": "condition"})


def raw(frame: pl.DataFrame, path: Path) -> Path:
    path.write_text(frame.write_csv(include_header=False, null_value="?"))
    return path


def found(table: Table) -> list[str]:
    return [finding.check for finding in table.findings]


def test_the_real_hospitals_are_read(hospitals: Path) -> None:
    """Rows, classes, missing values and repeated rows as the data's description counts them."""
    table = read(hospitals)
    counts = table.frame.group_by("hospital").agg(pl.len(), pl.col("target").sum())
    assert sorted(counts.rows()) == [
        ("cleveland", 303, 139),
        ("hungarian", 294, 106),
        ("va", 200, 149),
    ]
    va = table.frame.filter(pl.col("hospital") == "va")
    assert va["chol"].null_count() == 7 + 49
    assert va["trestbps"].null_count() == 56 + 1
    found = schema.infer(RECIPE, table)
    report = checks.check(RECIPE, table, found)
    assert report.ok, checks.render(report)
    assert [f.rows for f in report.findings if f.check == "duplicates"] == [2]
    ready = prepared.prepare(RECIPE, table, found)
    assert ready.x.shape == (795, 13)
    assert set(ready.slices) == {"sex", "age group", "hospital"}
    assert found.class_labels == ("no disease", "heart disease")


@pytest.mark.parametrize("name", ["cleveland", "hungarian", "va"])
def test_each_real_hospital_can_be_trained_on(hospitals: Path, name: str) -> None:
    """No range is too narrow, and Cleveland's 63.0 is the others' 63."""
    table = read(hospitals / f"processed.{name}.data")
    report = checks.check(RECIPE, table, schema.infer(RECIPE, table))
    assert report.ok, checks.render(report)


def test_the_pinned_hash_is_that_of_the_real_file(hospitals: Path) -> None:
    """What would be downloaded is what was tested."""
    assert reading.digest(hospitals / heart_disease.FILENAME) == heart_disease.SHA256


@pytest.mark.parametrize("recode", [kaggle, shifted])
def test_the_real_patients_are_the_same_in_every_coding(
    hospitals: Path, tmp_path: Path, recode: Any
) -> None:
    """Recoded and read again, Cleveland's rows are what they were."""
    original = reading.read_records(hospitals / heart_disease.FILENAME)
    frame = pl.DataFrame(original, schema=COLUMNS, orient="row")
    numbers = frame.select(pl.all().cast(pl.Float64, strict=False)).drop_nulls()
    recode(numbers).write_csv(tmp_path / "heart.csv")
    again = read(tmp_path / "heart.csv").frame
    expected = read(raw(numbers, tmp_path / "processed.cleveland.data")).frame
    assert again.drop("hospital").equals(expected.drop("hospital"))


def test_ucis_coding_stays_as_it_is(tmp_path: Path) -> None:
    """`?` is missing, num above 0 is disease, the hospital is in the file's name."""
    frame = made_up().with_columns(
        ca=pl.when(pl.col("age") > 60).then(None).otherwise(pl.col("ca"))
    )
    table = read(raw(frame, tmp_path / "processed.switzerland.data"))
    assert table.frame.select(NAMES).equals(frame.select(NAMES))
    assert table.frame["target"].to_list() == [int(num > 0) for num in frame["num"]]
    assert set(table.frame["hospital"]) == {"switzerland"}
    assert table.findings == ()


def test_the_kaggle_coding_is_translated_and_turned_round(tmp_path: Path) -> None:
    """cp, restecg, slope and thal by their meaning; target 1 there means no disease."""
    frame = made_up()
    kaggle(frame).write_csv(tmp_path / "heart.csv")
    table = read(tmp_path / "heart.csv")
    assert table.frame.select(NAMES).equals(frame.select(NAMES))
    assert table.frame["target"].to_list() == [int(num > 0) for num in frame["num"]]
    assert found(table) == ["coding", "inverted-target"]
    assert {finding.severity for finding in table.findings} == {"warning"}


def test_a_kaggle_file_whose_target_was_mended_is_not_turned_again(tmp_path: Path) -> None:
    """The rows tell which way round it is."""
    frame = made_up()
    mended = kaggle(frame).with_columns(target=1 - pl.col("target"))
    mended.write_csv(tmp_path / "heart.csv")
    table = read(tmp_path / "heart.csv")
    assert table.frame["target"].to_list() == [int(num > 0) for num in frame["num"]]
    assert found(table) == ["coding"]


def test_a_coding_counted_from_zero_is_translated(tmp_path: Path) -> None:
    """The other recoding: with a steeper depression its slope rises, as in UCI's."""
    frame = made_up()
    shifted(frame).write_csv(tmp_path / "heart.csv")
    table = read(tmp_path / "heart.csv")
    assert table.frame.select(NAMES).equals(frame.select(NAMES))
    assert found(table) == ["coding"]


def test_missing_values_in_disguise_are_found(tmp_path: Path) -> None:
    """Chol 0, trestbps 0, thal 0 and ca 4 are impossible."""
    frame = kaggle(made_up())
    first = {"chol": 0.0, "trestbps": 0.0, "thal": 0.0, "ca": 4.0}
    frame = pl.concat(
        [frame.head(1).with_columns(**{k: pl.lit(v) for k, v in first.items()}), frame[1:]]
    )
    frame.write_csv(tmp_path / "heart.csv")
    table = read(tmp_path / "heart.csv")
    assert table.frame.row(0, named=True) | dict.fromkeys(first) == table.frame.row(0, named=True)
    assert table.frame[1:].null_count().sum_horizontal().item() == 0
    assert found(table).count("disguised") == 2


def test_a_few_rows_do_not_tell_which_way_the_target_is(tmp_path: Path) -> None:
    """Then it is taken as written, with a warning."""
    frame = made_up(8).drop("num").with_columns(target=pl.Series([0, 1] * 4))
    frame.write_csv(tmp_path / "heart.csv")
    table = read(tmp_path / "heart.csv")
    assert table.frame["target"].to_list() == [0, 1] * 4
    assert "do not tell" in table.findings[0].detail


def test_other_names_of_the_columns_are_known(tmp_path: Path) -> None:
    """As a third copy writes them, in any case and order."""
    names = {"trestbps": "trtbps", "thalach": "thalachh", "slope": "SLP", "num": "output"}
    frame = made_up().rename(names)
    frame.select(reversed(frame.columns)).write_csv(tmp_path / "heart.csv")
    assert read(tmp_path / "heart.csv").frame.select(NAMES).equals(made_up().select(NAMES))


def test_two_codings_in_one_file_are_refused(tmp_path: Path) -> None:
    """One of them would be read wrongly."""
    both = pl.concat(
        [made_up(), kaggle(made_up()).rename({"target": "num"})], how="vertical_relaxed"
    )
    both.write_csv(tmp_path / "heart.csv")
    with pytest.raises(UnusableUpload, match="mixes two codings"):
        read(tmp_path / "heart.csv")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("age,sex\n1,2\n", "no column cp"),
        ("63,1,1\n", "record 1: 3 values instead of 14"),
        ("63,1,1,145,233,1,2,150,0,2.3,3,0,6,0\n63,x,1,145,233,1,2,150,0,2.3,3,0,6,0\n", "'x'"),
        ("", "is empty"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, complaint: str) -> None:
    """The message says what is missing."""
    (tmp_path / "heart.csv").write_text(content)
    with pytest.raises(UnusableUpload, match=complaint):
        read(tmp_path / "heart.csv")


def test_features_have_meanings_and_ranges() -> None:
    """Thirteen, each with a description; categories with labels, numbers with limits."""
    assert len(FEATURES) == 13
    for feature in FEATURES:
        assert feature.description
        if feature.kind == "category":
            assert len(feature.labels) == len(feature.categories)
        else:
            assert feature.minimum is not None
            assert feature.maximum is not None


class _Server(HTTPServer):
    content = b""
    asked = 0


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Answer the server's content."""
        self.server.asked += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[_Server]:
    """A web server on this machine that answers `content`."""
    running = _Server(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def download(path: Path, server: _Server) -> Path:
    address = f"http://127.0.0.1:{server.server_port}/{heart_disease.FILENAME}"
    return heart_disease.download(path, lambda _: None, address, 5.0)


def test_the_file_is_downloaded_once(
    tmp_path: Path, server: _Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept, used again, and fetched again when it was damaged."""
    server.content = b"the data"
    monkeypatch.setattr(heart_disease, "SHA256", hashlib.sha256(server.content).hexdigest())
    path = tmp_path / "heart-disease" / heart_disease.FILENAME
    assert download(path, server).read_bytes() == b"the data"
    download(path, server)
    assert server.asked == 1
    path.write_bytes(b"damaged")
    assert download(path, server).read_bytes() == b"the data"
    assert list(path.parent.iterdir()) == [path]


def test_another_file_is_refused_and_not_kept(tmp_path: Path, server: _Server) -> None:
    """Its hash is not the pinned one."""
    server.content = b"something else"
    with pytest.raises(Unavailable, match=r"SHA-256 differs.*--data"):
        download(tmp_path / "d" / "f.data", server)
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_the_next_step_is_said(tmp_path: Path) -> None:
    """Nothing listens there."""
    with pytest.raises(Unavailable, match=r"could not be downloaded.*--data"):
        heart_disease.download(tmp_path / "f", lambda _: None, "http://127.0.0.1:9/f", 1.0)


def test_tables_that_a_folder_has_besides_are_told(tmp_path: Path) -> None:
    """UCI's folder also holds other layouts; nobody shall think they were read."""
    raw(made_up(), tmp_path / "processed.basel.data")
    (tmp_path / "heart.csv").write_text("age,target\n1,1\n")
    table = read(tmp_path)
    assert table.frame.height == 60
    (finding,) = [one for one in table.findings if one.check == "left-out"]
    assert finding.detail.startswith("heart.csv in ")
