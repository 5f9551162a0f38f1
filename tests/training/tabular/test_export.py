"""The ONNX file answers as the model does, always the same bytes, and describes itself."""

from dataclasses import replace

import msgspec
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.training.tabular import builders

from andon.runtimes.rows import CARD_KEY, REFERENCE_KEY, SCHEMA_KEY, RowSchema
from andon.training.tabular import export, fitting, trees
from andon.training.tabular.candidates import BASELINE, CANDIDATES, find
from andon.training.tabular.export import ExportDisagrees
from andon.training.tabular.fitting import Fitted, Plan
from andon.training.tabular.prepared import Prepared

KINDS = [(name, classes) for name in CANDIDATES for classes in (2, 3)]


def fitted(name: str, data: Prepared) -> Fitted:
    """A small fitted candidate."""
    plan = Plan(data.schema, parameters={"random-forest": {"n_estimators": 20}})
    return fitting.fit(find(name), builders.rows_of(data), plan)


@pytest.fixture(scope="module")
def models() -> dict[tuple[str, int], tuple[Fitted, bytes]]:
    """Every candidate with two and three classes, the middle ones without missing values."""
    found = {}
    for name, classes in KINDS:
        made = fitted(name, builders.made_up(classes=classes, missing=0.05 if classes == 2 else 0))
        found[name, classes] = (made, export.build(made))
    return found


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_file_agrees_with_the_model(
    models: dict[tuple[str, int], tuple[Fitted, bytes]], kind: tuple[str, int]
) -> None:
    """On rows nobody has seen, with values missing and categories unknown."""
    made, content = models[kind]
    agreement = export.measure(content, made, builders.made_up(seed=9).x)
    assert agreement.rows == 600
    assert agreement.max_difference <= 1e-6
    assert agreement.limit == 1e-5


@pytest.mark.parametrize("kind", KINDS, ids=str)
@settings(max_examples=25, deadline=None)
@given(
    rows=arrays.arrays(
        np.float32,
        (4, 4),
        elements=st.floats(width=32, allow_infinity=False)
        | st.sampled_from([0.0, 1.0, 2.0, 3.0, 1000.0, float("nan")]),
    )
)
def test_the_file_agrees_on_any_row(
    models: dict[tuple[str, int], tuple[Fitted, bytes]],
    kind: tuple[str, int],
    rows: np.ndarray,
) -> None:
    """Huge and tiny numbers, missing ones, codes and what are no codes, in any mixture."""
    made, content = models[kind]
    with np.errstate(over="ignore"):
        x = np.clip(rows, -1e6, 1e6).astype(np.float32).astype(np.float64)
        difference = np.abs(made.probabilities(x) - export.run(content, x))
    assert difference.max() <= 1e-5


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_file_agrees_at_every_threshold_of_a_tree(
    models: dict[tuple[str, int], tuple[Fitted, bytes]], kind: tuple[str, int]
) -> None:
    """At the very numbers a tree asks for, and their neighbours, nothing goes the other way."""
    made, content = models[kind]
    if kind[0] == "logistic-regression":
        return
    ensemble = onnx.load_model_from_string(content).graph.node[0]
    values = {one.name: onnx.helper.get_attribute_value(one) for one in ensemble.attribute}
    # A split that only parts missing values from all others asks for the largest number there is.
    near = np.clip(np.float32(values["nodes_values"]), -1e30, 1e30)
    x = np.tile(np.array([0.0, 1000.0, 5.0, 1.0]), (3 * len(near), 1))
    places = np.tile(values["nodes_featureids"], 3)
    x[np.arange(len(x)), places] = np.concatenate(
        [near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))]
    )
    assert np.abs(made.probabilities(x) - export.run(content, x)).max() <= 1e-5


@pytest.mark.parametrize("name", CANDIDATES)
def test_the_same_data_and_seed_give_the_same_bytes(
    models: dict[tuple[str, int], tuple[Fitted, bytes]], name: str
) -> None:
    """A second training makes the very same file."""
    again = fitted(name, builders.made_up(classes=2, missing=0.05))
    assert export.build(again) == models[name, 2][1]


def test_a_double_threshold_becomes_the_float_that_is_not_above_it() -> None:
    """So `row <= threshold` is the same question for every float32 row."""
    assert trees._not_above(0.1) < 0.1 < float(np.nextafter(np.float32(trees._not_above(0.1)), 1))
    assert trees._not_above(0.5) == 0.5
    assert trees._not_above(-0.1) < -0.1


def test_a_file_that_differs_is_refused(
    models: dict[tuple[str, int], tuple[Fitted, bytes]],
) -> None:
    """Another calibration than the model's is a difference of a probability."""
    made, content = models["logistic-regression", 2]
    other = replace(made, calibration=replace(made.calibration, scale=0.9))
    with pytest.raises(ExportDisagrees, match=r"Logistic Regression.*differ by"):
        export.measure(content, other, builders.made_up().x)


def test_a_model_that_lacks_a_class_is_not_exported() -> None:
    """Nor is the baseline: nobody would serve it."""
    data = builders.made_up(classes=3)
    known = data.y != 2
    plan = Plan(data.schema)
    partial = fitting.fit(find("xgboost"), builders.rows_of(data).take(known), plan)
    with pytest.raises(ExportDisagrees, match="every class"):
        export.build(partial)
    with pytest.raises(ExportDisagrees, match="cannot be exported"):
        export.build(fitting.fit(BASELINE, builders.rows_of(data), plan))


def test_the_file_says_what_it_takes_and_what_was_measured(
    models: dict[tuple[str, int], tuple[Fitted, bytes]],
) -> None:
    """Schema, card, reference and name stand in its metadata; the answers stay the same."""
    made, content = models["xgboost", 2]
    schema = made.model.schema
    described = export.describe(
        content, name="faults", schema=schema, card={"b": 1, "a": 2}, reference={"rows": 3}
    )
    model = onnx.load_model_from_string(described)
    onnx.checker.check_model(model)
    held = {entry.key: entry.value for entry in model.metadata_props}
    assert msgspec.json.decode(held[SCHEMA_KEY], type=RowSchema) == schema
    assert held[CARD_KEY] == '{"a":2,"b":1}'
    assert held[REFERENCE_KEY] == '{"rows":3}'
    assert held[export.NAME_KEY] == "faults"
    x = builders.made_up().x
    assert (export.run(described, x) == export.run(content, x)).all()
    assert all(entry.version <= 21 for entry in model.opset_import)
    assert model.ir_version <= 10


def test_rows_of_numbers_alone_and_of_categories_alone_are_exported() -> None:
    """The linear graph leaves out what there is nothing of."""
    data = builders.made_up(missing=0)
    for columns in ([0, 1, 2], [3]):
        schema = msgspec.structs.replace(
            data.schema, features=tuple(data.schema.features[place] for place in columns)
        )
        some = replace(data, schema=schema, x=data.x[:, columns])
        made = fitted("logistic-regression", some)
        assert export.measure(export.build(made), made, some.x).max_difference <= 1e-6
