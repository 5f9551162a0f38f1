import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.tabular_models import HEART, ROW

from andon.errors import InvalidRequest, ModelRejected
from andon.runtimes.rows import (
    MAX_FEATURES,
    Feature,
    RowEncoder,
    RowSchema,
    check_schema,
    read_schema,
    text_of,
)

ENCODER = RowEncoder(HEART)


def faults(row: dict[str, Any], encoder: RowEncoder = ENCODER) -> dict[str, str]:
    """What is wrong with a row, by field; it must be refused."""
    with pytest.raises(InvalidRequest) as caught:
        encoder.encode(row)
    assert caught.value.status == 422
    return {error["field"]: error["detail"] for error in caught.value.errors}


def schema(*features: Feature, **given: Any) -> RowSchema:
    """A schema of some features, for two classes."""
    return RowSchema(**{"features": features, "target": "y", "classes": (0, 1), **given})


def test_a_row_becomes_numbers_in_the_order_of_the_schema():
    """Numbers as they are, categories as codes, whatever the order of the row."""
    assert ENCODER.encode(ROW) == [54, 1.0, 150, 1.0, 0, 0.0]
    assert ENCODER.encode(dict(reversed(ROW.items()))) == [54, 1.0, 150, 1.0, 0, 0.0]


def test_a_missing_value_is_nan_where_it_may_be_missing():
    """Null is the only way to say that a value is not known."""
    assert math.isnan(ENCODER.encode({**ROW, "ca": None})[4])
    assert "must not be null" in faults({**ROW, "age": None})["age"]


@pytest.mark.parametrize("male", [1, 1.0, True])
def test_spellings_of_one_value_are_the_same_category(male):
    """1, 1.0 and true mean the same to people and to JSON's many writers."""
    assert ENCODER.encode({**ROW, "sex": male})[1] == 1.0


def test_a_whole_number_may_be_written_with_a_point():
    """54.0 is the integer 54; 54.5 is not."""
    assert ENCODER.encode({**ROW, "age": 54.0})[0] == 54
    assert "whole number" in faults({**ROW, "age": 54.5})["age"]


def test_a_missing_field_is_named():
    """And what it should hold."""
    row = {key: value for key, value in ROW.items() if key != "thal"}
    assert faults(row) == {"thal": 'is missing; must be one of "normal", "fixed", "reversible"'}


def test_an_unexpected_field_is_named_with_the_nearest_feature():
    """A typing error is told what was meant."""
    assert "did you mean thalach?" in faults({**ROW, "thalac": 1})["thalac"]
    assert faults({**ROW, "zzz": 1}) == {"zzz": "is no feature of this model"}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("age", "54", 'must be a whole number from 18 to 110 years, not "54"'),
        ("age", True, "not true"),
        ("age", [54], "not a list"),
        ("age", {"years": 54}, "not an object"),
        ("age", 17, "from 18 to 110"),
        ("age", 10**400, "from 18 to 110"),
        ("oldpeak", math.nan, "not nan"),
        ("oldpeak", math.inf, "not inf"),
        ("sex", 2, "must be one of 0, 1, not 2"),
        ("sex", "male", "must be one of 0, 1"),
        ("sex", [1], "not a list"),
        ("thal", "Normal", 'must be one of "normal"'),
    ],
)
def test_a_value_that_does_not_fit_is_named(field, value, words):
    """Mistyped, out of range, not finite, unknown: each says what is taken."""
    found = faults({**ROW, field: value})
    assert found.keys() == {field}
    assert words in found[field]


def test_all_faults_are_told_at_once():
    """Nobody should have to send a row six times to learn six things."""
    row = {**ROW, "age": "x", "sex": 5, "colour": "red"}
    del row["ca"]
    assert faults(row).keys() == {"age", "sex", "ca", "colour"}


def test_many_unexpected_fields_are_told_in_part():
    """An answer stays short whatever is sent."""
    assert len(faults({f"x{number}": 1 for number in range(5000)})) <= 100


@given(
    st.dictionaries(
        st.sampled_from([*ROW, "other"]),
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.none())
        ),
    )
)
def test_every_row_is_encoded_or_explained(row):
    """Whatever JSON holds: numbers come out, or an error that names at least one field."""
    try:
        values = ENCODER.encode(row)
    except InvalidRequest:
        assert ENCODER.faults(row)
    else:
        assert not ENCODER.faults(row)
        assert len(values) == len(HEART.features)
        assert np.array([values], np.float32).shape == (1, 6)


def test_text_of_a_table_becomes_values():
    """What a CSV holds is converted by the schema; what cannot be stays text, and is refused."""
    assert ENCODER.from_text("age", ["54", " 54.0 ", "x", ""]) == [54, 54, "x", None]
    assert ENCODER.from_text("sex", ["1", "0.0", "true", "2", "?"]) == [1, 0, 1, "2", None]
    assert ENCODER.from_text("thal", ["fixed", " normal", "NA"]) == ["fixed", "normal", None]
    assert ENCODER.from_text("age", ["true", "1_0"]) == ["true", "1_0"]
    assert ENCODER.from_text("subject", ["P 1"]) == ["P 1"]


def test_numbers_become_values_again():
    """For explanations."""
    values = ENCODER.encode({**ROW, "ca": None})
    decoded = [ENCODER.decode(index, value) for index, value in enumerate(values)]
    assert decoded == [54, 1, 150, 1.0, None, "normal"]


def test_the_typical_row_is_known_as_numbers():
    """Explanations compare with it."""
    assert ENCODER.typical() == [55.0, 1.0, 150.0, 0.8, 0.0, 0.0]


def test_a_schema_is_read_as_it_was_written():
    """JSON in the file's metadata."""
    assert read_schema(msgspec.json.encode(HEART).decode()) == HEART


NUMBER = Feature("a", "number")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (schema(), "0 features"),
        (schema(*[Feature(f"f{i}", "number") for i in range(MAX_FEATURES + 1)]), "2001 features"),
        (schema(NUMBER, NUMBER), "same name"),
        (schema(NUMBER, classes=(0,)), "1 classes"),
        (schema(NUMBER, classes=(1, True)), "classes are the same"),
        (schema(NUMBER, class_labels=("only",)), "class labels"),
        (schema(NUMBER, positive=2), "positive"),
        (schema(NUMBER, classes=(0, 1, 2), positive=1), "positive"),
        (schema(NUMBER, threshold=1.5), "threshold"),
        (schema(Feature("", "number")), "no name"),
        (schema(Feature("a\x00", "number")), "no name"),
        (schema(Feature("a", "category")), "0 categories"),
        (schema(Feature("a", "category", categories=(1, True))), "categories are the same"),
        (schema(Feature("a", "category", categories=("\x00",))), "printed"),
        (schema(Feature("a", "category", categories=(1, 2), labels=("x",))), "labels"),
        (schema(Feature("a", "category", categories=(1,), typical=2)), "typical"),
        (schema(Feature("a", "number", categories=(1,))), "no categories"),
        (schema(Feature("a", "number", typical="x")), "no number"),
        (schema(Feature("a", "number", minimum=2, maximum=1)), "greater"),
        (schema(Feature("a", "number", maximum=1e300)), "too large"),
        (schema(Feature("a", "category", categories=(1, 10**400))), "too large"),
        (schema(NUMBER, class_labels=("no", "\x1b[31myes")), "class label"),
        (schema(Feature("a", "number", unit="\x1b]0;mm\x07")), "cannot be shown"),
        (schema(Feature("a", "number", description="\x00")), "cannot be shown"),
        (schema(Feature("a", "category", categories=(1,), labels=("\u202eone",))), "be shown"),
    ],
)
def test_a_schema_that_contradicts_itself_is_refused(wrong, words):
    """Before any row is checked with it."""
    with pytest.raises(ModelRejected, match=words):
        check_schema(wrong)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"x":' * 100_000, '{"features": 7}', '{"features": [{"name": 1}]}']
)
def test_what_is_no_schema_is_refused(text):
    """A damaged file says so."""
    with pytest.raises(ModelRejected, match=r"andon\.rows"):
        read_schema(text)


def test_classes_are_shown_as_json_writes_them():
    """True is true."""
    assert [text_of(value) for value in (True, 1, 1.5, "x")] == ["true", "1", "1.5", "x"]
