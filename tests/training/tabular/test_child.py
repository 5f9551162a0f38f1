"""The process of a training: what it prints, what it leaves, how it ends."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.training.tabular import builders

from andon.errors import InvalidRequest, StorageFull
from andon.training import messages
from andon.training.messages import Line
from andon.training.tabular import child, drowsiness, export, loading, pages, pipeline

COMMAND = [sys.executable, "-m", "andon.training.tabular.child"]


def table(path: Path, rows: int = 200, *, one_class: bool = False) -> Path:
    """A CSV of made-up rows with the target `fault`."""
    data = builders.made_up(rows=rows)
    names = [feature.name for feature in data.schema.features]
    lines = [",".join([*names, "fault"])]
    for row, y in zip(data.x, data.y, strict=True):
        cells = ["" if np.isnan(value) else repr(float(value)) for value in row[:3]]
        colour = "" if np.isnan(row[3]) else ("red", "green", "blue")[int(row[3])]
        lines.append(",".join([*cells, colour, "0" if one_class else str(y)]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def prepare(folder: Path, recipe: str, **changes: object) -> Path:
    """A run's folder with its request."""
    run = folder / "run"
    run.mkdir()
    places: dict[str, object] = {
        "recipes": str(folder / "recipes"),
        "data_folder": str(folder / "data"),
        "home": str(folder),
        "target": "",
    }
    asked = builders.request(recipe=recipe, **(places | changes))
    (run / messages.REQUEST).write_bytes(msgspec.json.encode(asked))
    return run


def run_child(folder: Path) -> tuple[int, list[Line], str]:
    """Exit code, lines and standard error of a training."""
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    done = subprocess.run([*COMMAND, folder], capture_output=True, env=environment, check=False)
    lines = [messages.decode(line) for line in done.stdout.splitlines()]
    return done.returncode, lines, done.stderr.decode()


def run_here(folder: Path) -> tuple[int, list[Line]]:
    """The same in this process: a second process would import for seconds."""
    stream = io.BytesIO()
    code = child._train(folder, (folder / messages.REQUEST).read_bytes(), stream)
    return code, [messages.decode(line) for line in stream.getvalue().splitlines()]


def said(lines: list[Line]) -> list[str]:
    """What the terminal would show."""
    return [line.text for line in lines if isinstance(line, messages.Say)]


@pytest.mark.slow
def test_a_training_of_a_table_leaves_everything_complete(tmp_path: Path) -> None:
    """No code, no recipe: a CSV and the name of the column to learn."""
    path = table(tmp_path / "faults.csv")
    names = ("logistic-regression", "xgboost")
    folder = prepare(tmp_path, str(path), target="fault", candidates=names)
    code, lines, errors = run_child(folder)
    assert code == 0, errors
    report = messages.read_report(folder / messages.REPORT)
    content = (folder / messages.MODEL).read_bytes()
    assert report.onnx_bytes == len(content)
    assert report.data.rows == 200
    assert export.run(content, np.zeros((3, 4))).shape == (3, 2)
    checked = msgspec.json.decode(
        (folder / messages.DATA_REPORT).read_bytes(), type=messages.DataReport
    )
    assert checked.ok
    assert checked.rows == 200
    assert messages.Checked(checked) in lines
    assert sum(isinstance(line, messages.Scored) for line in lines) == 3
    assert said(lines)[0] == "Starting model training..."
    assert said(lines)[-1] == "Model training completed successfully!"
    assert [line.progress for line in lines if isinstance(line, messages.Stage)][-1] == 1
    known = {messages.REQUEST, messages.REPORT, messages.MODEL, messages.DATA_REPORT}
    assert {entry.name for entry in folder.iterdir()} == known

    # Again, in another process: the same file.
    request = msgspec.json.decode(
        (folder / messages.REQUEST).read_bytes(), type=messages.TrainRequest
    )
    assert pipeline.train(request, lambda _: None).model == content


def test_a_check_trains_nothing_and_does_not_say_so(tmp_path: Path) -> None:
    """What it says it does is what it does."""
    path = table(tmp_path / "faults.csv")
    folder = prepare(tmp_path, str(path), target="fault", check_only=True)
    code, lines = run_here(folder)
    assert (code, said(lines)) == (0, ["Checking the data..."])
    assert not (folder / messages.MODEL).exists()


def test_columns_of_the_command_line_are_no_features(tmp_path: Path) -> None:
    """One that gives the answer away can be left out without a recipe page."""
    path = table(tmp_path / "faults.csv")
    lines = path.read_text().splitlines()
    leak = ["the answer", *(line.rpartition(",")[2] for line in lines[1:])]
    pairs = zip(lines, leak, strict=True)
    path.write_text("".join(f"{line},{value}\n" for line, value in pairs))
    request = builders.request(recipe=str(path), target="fault", data_folder=str(tmp_path))
    with pytest.raises(loading.DataRefused) as refused:
        loading.load(request, lambda _: None)
    assert "--drop 'the answer'" in refused.value.hint
    asked = msgspec.structs.replace(request, drop=("the answer", "noise"))
    _, report, data = loading.load(asked, lambda _: None)
    assert report.ok
    assert [feature.name for feature in data.schema.features] == ["width", "weight", "colour"]


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ("nois", "There is no column 'nois' to leave out. There are .*, noise, .*'noise'?"),
        ("fault", "'fault' is the column to learn"),
    ],
)
def test_a_column_that_cannot_be_left_out_is_refused(
    tmp_path: Path, column: str, told: str
) -> None:
    """The columns that there are are listed."""
    path = table(tmp_path / "faults.csv")
    request = builders.request(recipe=str(path), target="fault", drop=(column,))
    with pytest.raises(InvalidRequest, match=told):
        loading.load(request, lambda _: None)


def test_data_that_fail_the_checks_are_refused(tmp_path: Path) -> None:
    """The last line says why with the whole report, and no model is left."""
    path = table(tmp_path / "faults.csv", one_class=True)
    folder = prepare(tmp_path, str(path), target="fault")
    code, lines = run_here(folder)
    assert code == messages.REFUSED
    refused = lines[-1]
    assert isinstance(refused, messages.Refused)
    assert refused.error
    assert refused.report is not None
    assert not refused.report.ok
    assert (folder / messages.DATA_REPORT).exists()
    assert not (folder / messages.MODEL).exists()
    assert not (folder / messages.REPORT).exists()


def test_a_check_trains_nothing(tmp_path: Path) -> None:
    """It leaves the report of the data alone."""
    path = table(tmp_path / "faults.csv")
    folder = prepare(tmp_path, str(path), target="fault", check_only=True)
    code, lines = run_here(folder)
    assert code == 0
    assert not any(isinstance(line, messages.Scored) for line in lines)
    left = {entry.name for entry in folder.iterdir()}
    assert left == {messages.REQUEST, messages.DATA_REPORT}


def test_an_unknown_recipe_is_refused(tmp_path: Path) -> None:
    """With a sentence, not a traceback."""
    folder = prepare(tmp_path, "no-such-recipe")
    code, lines = run_here(folder)
    assert code == messages.REFUSED
    assert isinstance(lines[-1], messages.Refused)
    assert "no-such-recipe" in lines[-1].error


def test_names_that_no_version_could_carry_are_refused_before_anything_is_trained(
    tmp_path: Path,
) -> None:
    """Not by the registry, minutes later."""
    path = table(tmp_path / "faults.csv")
    name, rest = path.read_text("utf-8").split(",", 1)
    path.write_text(f'"{name}\x1b[2J",{rest}', encoding="utf-8")
    code, lines = run_here(prepare(tmp_path, str(path), target="fault"))
    assert code == messages.REFUSED
    assert isinstance(lines[-1], messages.Refused)
    assert "could not be registered" in lines[-1].error


def test_the_request_tells_no_passwords_once_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is killed afterwards: nobody else would take them out."""
    secrets = {"database_url": "postgresql://u:secret@db/x", "mlflow_uri": "http://u:secret@x"}
    folder = prepare(tmp_path, "no-such-recipe", **secrets)
    path = folder / messages.REQUEST
    before = msgspec.json.decode(path.read_bytes(), type=messages.TrainRequest)
    seen: list[bytes] = []

    def trained(_folder: Path, content: bytes, _stream: object) -> int:
        assert b"secret" not in path.read_bytes()
        seen.append(content)
        return 0

    monkeypatch.setattr(child, "_train", trained)
    monkeypatch.setattr(child, "_protocol", contextlib.nullcontext)
    monkeypatch.setattr(child.signal, "signal", lambda *_: None)
    monkeypatch.setattr(child.os, "environ", {})
    monkeypatch.setattr("sys.argv", ["child", str(folder)])
    assert child.main() == 0
    assert msgspec.json.decode(seen[0], type=messages.TrainRequest) == before
    known = msgspec.json.decode(path.read_bytes(), type=messages.TrainRequest)
    assert known == msgspec.structs.replace(before, database_url="", mlflow_uri="")
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(folder.iterdir()) == [path]


@pytest.mark.slow
def test_a_training_that_is_stopped_ends_at_once(tmp_path: Path) -> None:
    """In the middle of the work; nothing half-written is left."""
    path = table(tmp_path / "faults.csv", rows=3000)
    folder = prepare(tmp_path, str(path), target="fault")
    with subprocess.Popen([*COMMAND, folder], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if b"Cross-validating Random Forest" in line:
                break
        process.terminate()
        assert process.wait(timeout=20) == -signal.SIGTERM
    left = {entry.name for entry in folder.iterdir()}
    assert left == {messages.REQUEST, messages.DATA_REPORT}


def test_drowsiness_prints_what_its_users_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines of S1-29 in their order, with four digits, and it says that data were made up."""
    quick = msgspec.structs.replace(drowsiness.RECIPE, folds=2, repeats=1)
    monkeypatch.setitem(pages.BUILT_IN, "drowsiness", quick)
    folder = prepare(tmp_path, "drowsiness", candidates=("random-forest",))
    code, lines = run_here(folder)
    assert code == 0
    texts = said(lines)
    known = [
        "Starting model training...",
        "Generating synthetic training data...",
        "Training Random Forest model...",
        "Model Metrics:",
        "Model training completed successfully!",
    ]
    assert [text for text in texts if text in known] == known
    at = texts.index("Model Metrics:")
    report = messages.read_report(folder / messages.REPORT)
    metrics = report.held_out.metrics
    assert texts[at + 1 : at + 5] == [
        f"  Accuracy: {metrics['accuracy'].value:.4f}",
        f"  Precision: {metrics['precision'].value:.4f}",
        f"  Recall: {metrics['recall'].value:.4f}",
        f"  F1-Score: {metrics['f1'].value:.4f}",
    ]
    assert report.data.synthetic
    assert report.hyperparameters["n_estimators"] == 100
    assert report.hyperparameters["max_depth"] == 10
    assert report.hyperparameters["random_state"] == 42


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """Where it cannot be, that is an error with what to do, and nothing is left lying about."""
    child._write(tmp_path / "report.json", b"{}")
    assert (tmp_path / "report.json").read_bytes() == b"{}"
    (tmp_path / "model.onnx").mkdir()
    with pytest.raises(StorageFull, match=r"model\.onnx could not be written"):
        child._write(tmp_path / "model.onnx", b"model")
    assert {entry.name for entry in tmp_path.iterdir()} == {"report.json", "model.onnx"}


def test_a_long_silence_is_filled_with_the_last_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that whoever listens knows it is working."""
    monkeypatch.setattr(child, "_SILENCE", 0.02)
    stream = io.BytesIO()
    stage = messages.Stage("Fitting XGBoost", 0.5)
    with child._Teller(stream) as teller:
        teller(stage)
        until = time.monotonic() + 10
        while stream.getvalue().count(b"\n") < 3 and time.monotonic() < until:
            time.sleep(0.01)
    lines = stream.getvalue().splitlines()
    assert len(lines) >= 3
    assert {messages.decode(line) for line in lines} == {stage}
