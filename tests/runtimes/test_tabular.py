import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.support.tabular_models import (
    CARD,
    HEART,
    REFERENCE,
    ROW,
    heart,
    logistic,
    probability,
    save,
)

from andon.errors import DeadlineExceeded, ModelRejected, RuntimeFailed, UnsupportedMedia
from andon.runtimes import formats
from andon.runtimes.base import LoadedModel, ModelOptions, Picture, RuntimeConfig, Task
from andon.runtimes.rows import SCHEMA_KEY
from andon.runtimes.tabular import TabularModel, describes_rows, trial_rows


def load(path: Path, **options: Any) -> TabularModel:
    """Load a model the way a deployment does."""
    loaded = formats.load(path, ModelOptions(**options), RuntimeConfig())
    assert isinstance(loaded, TabularModel)
    return loaded


def ask(model: TabularModel, *rows: dict[str, Any]) -> list[list[float]]:
    """Probabilities of rows."""
    matrix = np.array([model.encoder.encode(row) for row in rows], np.float32)
    return model.infer_rows(matrix, deadline=time.monotonic() + 5).tolist()


@pytest.fixture
def model(tmp_path):
    """The heart model, loaded."""
    made = load(heart(tmp_path / "heart.onnx"))
    yield made
    made.close()


def test_a_file_with_a_schema_is_a_tabular_model(model):
    """The file says everything: what it is, its fields, its classes, its threshold."""
    about = model.description
    assert isinstance(model, LoadedModel)
    assert about.task is Task.TABULAR
    assert about.name == "heart"
    assert about.labels == ("no disease", "disease")
    assert about.threshold == 0.4
    assert (about.width, about.height, about.channels) == (0, 0, 0)
    assert msgspec.convert(about.rows, type(HEART)) == HEART
    assert about.warnings == ()


def test_the_card_and_the_reference_come_with_it(model):
    """What was measured in training travels in the file."""
    assert model.card == CARD
    assert model.reference == REFERENCE


def test_rows_are_answered_together(model):
    """One inference for all, each row as it would be alone."""
    old = {**ROW, "age": 80, "ca": None, "thal": "reversible"}
    together = ask(model, ROW, old)
    assert together[0] == pytest.approx(ask(model, ROW)[0])
    assert together[0][1] == pytest.approx(probability(54, 1, 150, 1, 0, 0), abs=1e-6)
    assert together[1][1] == pytest.approx(probability(80, 1, 150, 1, np.nan, 2), abs=1e-6)


def test_a_picture_is_not_taken(model):
    """A tabular model says what it takes."""
    picture = Picture(np.zeros((8, 8, 3), np.uint8), 8, 8, "PNG")
    with pytest.raises(UnsupportedMedia, match="takes rows"):
        model.infer(picture, deadline=time.monotonic() + 1)


def test_a_closed_model_fails_politely(model):
    """Requests that come too late get an error that may pass."""
    model.close()
    model.close()
    with pytest.raises(RuntimeFailed, match="closed"):
        ask(model, ROW)


def test_a_run_that_is_late_is_stopped(tmp_path):
    """Between two operations, soon after the deadline."""
    slow = load(heart(tmp_path / "slow.onnx", loops=100))
    matrix = np.repeat(trial_rows(HEART), 4000, axis=0)
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        slow.infer_rows(matrix, deadline=began + 0.05)
    assert time.monotonic() - began < 3
    with pytest.raises(DeadlineExceeded):
        slow.infer_rows(matrix, deadline=began)
    slow.close()


def test_trial_rows_are_rows_that_the_schema_allows():
    """And the same every time; the last lacks what may be missing."""
    rows = trial_rows(HEART)
    assert np.array_equal(rows, trial_rows(HEART), equal_nan=True)
    assert rows.dtype == np.float32
    assert rows[0].tolist() == pytest.approx([55, 1, 150, 0.8, 0, 0])
    assert np.isnan(rows[-1, 4])
    assert not np.isnan(np.delete(rows, 4, axis=1)).any()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"scale": 0.5}, "sum to 1"),
        ({"scale": 3.0}, "0 to 1"),
        ({"clean": False}, "0 to 1"),
        ({"output": "scores"}, "no output 'probabilities'"),
        ({"rows": 1}, "exactly 1 rows"),
        ({"weights": np.ones((7, 1))}, "7 numbers per row, but 6 features"),
    ],
)
def test_a_file_that_does_not_do_what_it_says_is_refused(tmp_path, given, words):
    """No probabilities, NaN for a missing value, other shapes: with the reason."""
    with pytest.raises(ModelRejected, match=words):
        load(heart(tmp_path / "wrong.onnx", **given))


def test_a_schema_with_other_classes_than_the_network_is_refused(tmp_path):
    """A lie is found by asking."""
    schema = msgspec.structs.replace(
        HEART, classes=(0, 1, 2), class_labels=(), positive=None, threshold=0.5
    )
    with pytest.raises(ModelRejected, match="rows of 3 numbers"):
        load(heart(tmp_path / "lying.onnx", schema=schema))


def test_a_schema_of_a_thousand_million_features_is_refused_unread(tmp_path):
    """The graph claims them, and nobody makes room for one row of it."""
    width = 10**9
    graph = helper.make_graph(
        [helper.make_node("Identity", ["features"], ["probabilities"])],
        "wide",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, width])],
    )
    with pytest.raises(ModelRejected, match="1 to 2000 are possible"):
        load(save(tmp_path / "wide.onnx", graph))


def test_metadata_without_end_is_refused(tmp_path):
    """Eight megabytes are enough for any training."""
    metadata = {SCHEMA_KEY: "x" * (9 * 1024 * 1024)}
    with pytest.raises(ModelRejected, match="metadata has"):
        load(logistic(tmp_path / "long.onnx", weights=np.ones((2, 1)), metadata=metadata))


@pytest.mark.parametrize(
    "card",
    [
        "[1]",
        '{"held_out": "x"}',
        '{"held_out": {"metrics": {"f1": {"value": "good"}}}}',
        '{"algorithm": ["x"]}',
        '{"algorithm": "' + "x" * 65 + '"}',
        '{"features": [{}]}',
        '{"importance": [1]}',
        '{"x":' * 100 + "1" + "}" * 100,
        '{"x":' * 100_000,
    ],
)
def test_a_card_of_another_shape_is_refused(tmp_path, card):
    """It is stored and shown, so it must be one."""
    metadata = {SCHEMA_KEY: msgspec.json.encode(HEART).decode(), "andon.card": card}
    with pytest.raises(ModelRejected, match=r"andon\.card"):
        load(heart(tmp_path / "card.onnx", metadata=metadata))


def test_a_card_gives_terminals_and_databases_nothing_to_obey(tmp_path):
    """Control characters are replaced, ends of lines stay."""
    card = {"title": "\x1b[2Jx\x00", "notes": ["one\ntwo"], "\x9b": 1}
    metadata = {
        SCHEMA_KEY: msgspec.json.encode(HEART).decode(),
        "andon.card": msgspec.json.encode(card).decode(),
    }
    model = load(heart(tmp_path / "card.onnx", metadata=metadata))
    assert model.card == {"title": "\ufffd[2Jx\ufffd", "notes": ["one\ntwo"], "\ufffd": 1}
    model.close()


def test_weights_in_another_file_are_refused_unread(tmp_path):
    """A path out of the folder is never followed."""
    path = heart(tmp_path / "whole.onnx")
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../../etc/passwd"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelRejected, match="another file"):
        load(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\x80\x04\x95pickle", "pickle"), (b"\x78\x9c" + b"joblib" * 10, "joblib")],
)
def test_pickles_are_refused_unread(tmp_path, content, words):
    """They could run any program."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelRejected, match=words):
        load(path)


def test_a_plain_export_is_taken_with_a_warning(tmp_path):
    """Without a schema, fields are called f0, f1, … and any number is taken."""
    path = logistic(tmp_path / "plain.onnx", weights=[[1.0], [2.0]], label=True)
    plain = load(path)
    assert [feature.name for feature in plain.schema.features] == ["f0", "f1"]
    assert plain.schema.classes == (0, 1)
    assert "does not describe its rows" in plain.description.warnings[0]
    assert ask(plain, {"f0": 0, "f1": 0}) == [[0.5, 0.5]]
    named = load(path, features=("left", "right"), labels=("no", "yes"), threshold=0.7)
    assert [feature.name for feature in named.schema.features] == ["left", "right"]
    assert named.description.labels == ("no", "yes")
    assert named.schema.threshold == 0.7


def test_names_that_do_not_fit_are_refused(tmp_path):
    """As many as there are numbers, and none where the file has its own."""
    path = logistic(tmp_path / "plain.onnx", weights=[[1.0], [2.0]])
    with pytest.raises(ModelRejected, match="1 features"):
        load(path, features=("only",))
    with pytest.raises(ModelRejected, match="class labels"):
        load(path, labels=("a", "b", "c"))
    with pytest.raises(ModelRejected, match="names its features itself"):
        load(heart(tmp_path / "heart.onnx"), features=("a", "b", "c", "d", "e", "f"))
    with pytest.raises(ModelRejected, match="takes rows"):
        load(path, task=Task.DETECTION)


@pytest.mark.parametrize("zipmap", [True, False])
def test_an_export_of_skl2onnx_is_taken(tmp_path, zipmap):
    """With its list of dictionaries as well as with a tensor."""
    sklearn = pytest.importorskip("sklearn.linear_model")
    skl2onnx = pytest.importorskip("skl2onnx")
    chance = np.random.default_rng(3)
    x = chance.normal(size=(60, 3)).astype(np.float32)
    y = np.where(x[:, 0] > 0, "up", "down")
    fitted = sklearn.LogisticRegression().fit(x, y)
    kind = skl2onnx.common.data_types.FloatTensorType([None, 3])
    options = {id(fitted): {"zipmap": zipmap}}
    made = skl2onnx.convert_sklearn(
        fitted, initial_types=[("x", kind)], options=options, target_opset=17
    )
    path = tmp_path / "export.onnx"
    path.write_bytes(made.SerializeToString())
    plain = load(path)
    assert plain.schema.classes == (("down", "up") if zipmap else (0, 1))
    rows = [dict(zip(("f0", "f1", "f2"), row.tolist(), strict=True)) for row in x[:5]]
    assert np.array(ask(plain, *rows)) == pytest.approx(fitted.predict_proba(x[:5]), abs=1e-5)


def test_a_regression_is_refused(tmp_path):
    """It answers no probabilities."""
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", ["x"], ["variable"], keepdims=1)],
        "regression",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("variable", TensorProto.FLOAT, [None, 1])],
    )
    with pytest.raises(ModelRejected, match="classes"):
        load(save(tmp_path / "regression.onnx", graph))


def test_a_file_that_describes_rows_is_known_by_a_look(tmp_path):
    """Enough to find its default name."""
    assert describes_rows(heart(tmp_path / "heart.onnx"))
    assert not describes_rows(logistic(tmp_path / "plain.onnx", weights=[[1.0]]))
    (tmp_path / "empty").touch()
    assert not describes_rows(tmp_path / "empty")
