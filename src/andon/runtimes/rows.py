"""What a row is: the schema that a tabular model's file carries, and rows as numbers.

A tabular model is one ONNX file. Its metadata entry ``andon.rows`` holds a `RowSchema` as JSON;
``andon.card`` and ``andon.reference`` hold what was measured and what the training data looked
like (JSON objects, described in docs/model-card.md). The graph takes one tensor, float32
``[rows, features]`` in the schema's order: numbers as they are, categories as their position in
`Feature.categories`, missing values as NaN. It answers float32 ``[rows, classes]``, probabilities,
under the output name ``probabilities``.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal

import msgspec

from andon import typed
from andon.errors import InvalidRequest, ModelRejected
from andon.runtimes.row_card import CONTROL

SCHEMA_KEY = "andon.rows"
CARD_KEY = "andon.card"
REFERENCE_KEY = "andon.reference"
INPUT = "features"
OUTPUT = "probabilities"

MAX_FEATURES = 2000
MAX_CLASSES = 1000
MAX_CATEGORIES = 10_000

Value = bool | int | float | str
"""A value of a row, as JSON writes it."""


class Feature(msgspec.Struct, frozen=True, omit_defaults=True):
    """One column of a row.

    Attributes:
        name: As the row spells it.
        kind: "number" (any finite number), "integer" (whole numbers) or "category".
        minimum: Smallest value taken, numbers only; None: no limit.
        maximum: Largest value taken; None: no limit.
        categories: Values taken, in the order of their codes; categories only.
        labels: What the categories mean, for people; as many as categories, or none.
        nullable: Whether the value may be missing (null).
        typical: What a typical row holds: the median, or the most frequent category. Forms start
            with it, and explanations compare with it.
        unit: For people: "mm Hg".
        description: For people.
    """

    name: str
    kind: Literal["number", "integer", "category"]
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[Value, ...] = ()
    labels: tuple[str, ...] = ()
    nullable: bool = False
    typical: Value | None = None
    unit: str = ""
    description: str = ""


class RowSchema(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a tabular model takes and answers.

    Attributes:
        features: In the order of the model's input.
        target: Name of the column that was learned.
        classes: Values of the target, in the order of the model's output.
        class_labels: What the classes mean, for people; as many as classes, or none.
        positive: Index of the class that a yes-or-no model looks for; None with three or more.
        threshold: Probability of the positive class from which it is answered, 0 to 1.
    """

    features: tuple[Feature, ...]
    target: str
    classes: tuple[Value, ...]
    class_labels: tuple[str, ...] = ()
    positive: int | None = None
    threshold: float = 0.5


class RowEncoder:
    """Turns rows of one schema into numbers, and says what is wrong with those that are not.

    Args:
        schema: Checked (`check_schema`).
    """

    def __init__(self, schema: RowSchema) -> None:
        self.schema = schema
        self._columns = [_column(feature) for feature in schema.features]
        self._features = {feature.name: feature for feature in schema.features}

    def encode(self, row: Mapping[str, Any]) -> list[float]:
        """A row as the model's input: as many numbers as there are features.

        Raises:
            InvalidRequest: Something is missing, unexpected, mistyped, out of range or
                unknown; `errors` names every such field.
        """
        values: list[float] = []
        add = values.append
        try:
            for name, codes, low, high, whole, empty in self._columns:
                value = row[name]
                if codes is not None:
                    # Hashes of 1, 1.0 and True are equal, as these values are to people.
                    add(codes[value])
                    continue
                kind = type(value)
                if (kind is float and not (whole and value % 1)) or kind is int:
                    if not low <= value <= high:
                        break
                    add(value)
                elif value is None and empty:
                    add(_NAN)
                else:
                    break
            else:
                if len(row) == len(values):
                    return values
        # A key that is not there; a list or an object for a category.
        except (KeyError, TypeError):
            pass
        raise invalid_row(self.faults(row))

    def faults(self, row: Mapping[str, Any]) -> list[dict[str, str]]:
        """What is wrong with a row, field by field; empty when nothing is."""
        found = [
            {"field": feature.name, "detail": detail}
            for feature in self.schema.features
            if (detail := _fault(feature, row))
        ]
        for name in row:
            if name not in self._features:
                near = get_close_matches(str(name)[:_SHOWN], self._features, 1, 0.6)
                hint = f"; did you mean {near[0]}?" if near else ""
                detail = f"is no feature of this model{hint}"
                found.append({"field": str(name)[:_SHOWN], "detail": detail})
                if len(found) >= _MOST_FAULTS:
                    break
        return found[:_MOST_FAULTS]

    def from_text(self, name: str, column: Sequence[str]) -> list[Any]:
        """A column of text (CSV) as values; what cannot be converted stays text.

        Args:
            name: Of the column; of no feature: the text as it is.
            column: Cells. Empty ones, and "NA", "NaN", "null" and "?" of features that may be
                missing, become None.
        """
        feature = self._features.get(name)
        if feature is None:
            return list(column)
        convert = _from_text(feature)
        known: dict[str, Any] = {}
        for cell in set(column):
            known[cell] = convert(cell)
        return [known[cell] for cell in column]

    def decode(self, index: int, number: float) -> Value | None:
        """What a number of the model's input stands for; None for a missing value."""
        if math.isnan(number):
            return None
        feature = self.schema.features[index]
        if feature.kind == "category":
            return feature.categories[int(number)]
        return int(number) if feature.kind == "integer" else number

    def typical(self) -> list[float | None]:
        """The typical row as numbers; None where the schema names nothing typical."""
        found: list[float | None] = []
        for feature, (_, codes, *_rest) in zip(self.schema.features, self._columns, strict=True):
            if feature.typical is None:
                found.append(None)
            elif codes is None:
                found.append(float(feature.typical))
            else:
                found.append(codes[feature.typical])
        return found


def read_schema(text: str) -> RowSchema:
    """The schema in a model file's metadata, checked.

    Raises:
        ModelRejected: It is no schema that rows can be checked with.
    """
    try:
        schema = typed.decode(text, RowSchema)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _bad_schema(f"it is not valid: {error}") from None
    check_schema(schema)
    return schema


def check_schema(schema: RowSchema) -> None:
    """Refuse a schema that contradicts itself.

    Raises:
        ModelRejected: With the first contradiction.
    """
    if not 1 <= len(schema.features) <= MAX_FEATURES:
        raise _bad_schema(f"it has {len(schema.features)} features, not 1 to {MAX_FEATURES}")
    if not 2 <= len(schema.classes) <= MAX_CLASSES:
        raise _bad_schema(f"it has {len(schema.classes)} classes, not 2 to {MAX_CLASSES}")
    names = [feature.name for feature in schema.features]
    if len(set(names)) != len(names):
        raise _bad_schema("two features have the same name")
    if len(set(schema.classes)) != len(schema.classes):
        raise _bad_schema("two classes are the same")
    for name in (*names, schema.target, *map(str, schema.classes)):
        if not name or len(name) > _LONGEST_NAME or not name.isprintable():
            raise _bad_schema(f"{name[:_SHOWN]!r} is no name that can be shown and stored")
    if schema.class_labels and len(schema.class_labels) != len(schema.classes):
        raise _bad_schema("there are not as many class labels as classes")
    if any(map(CONTROL.search, schema.class_labels)):
        raise _bad_schema("a class label holds characters that cannot be shown")
    if schema.positive is not None and not (len(schema.classes) == 2 and schema.positive in {0, 1}):
        raise _bad_schema("`positive` must be 0 or 1, of two classes")
    if not 0 <= schema.threshold <= 1:
        raise _bad_schema("the threshold is not from 0 to 1")
    for feature in schema.features:
        detail = _contradiction(feature)
        if detail:
            raise _bad_schema(f"feature {feature.name}: {detail}")


def text_of(value: Value) -> str:
    """A class or category as text: as JSON writes it, strings without quotes."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def invalid_row(faults: list[dict[str, str]]) -> InvalidRequest:
    """The error of a row with faults, which names every field."""
    if len(faults) == 1:
        (fault,) = faults
        said = f"{fault['field']} {fault['detail']}"
    else:
        said = ", ".join(fault["field"] for fault in faults)
    hint = "" if len(faults) == 1 else "See `errors`."
    return InvalidRequest(f"The row is not valid: {said}.", hint=hint, errors=faults)


_NAN = float("nan")
# The largest number that the model's input can hold.
_LARGEST = 3.4028234e38
_SHOWN = 64
_MOST_FAULTS = 100
_MOST_NAMED = 20
_LONGEST_NAME = 255
_MISSING = frozenset({"", "na", "nan", "null", "none", "?"})
_TRUTH = {"true": True, "false": False}

# Name, code by category, least, most, whole numbers only, may be missing.
_Column = tuple[str, dict[Value | None, float] | None, float, float, bool, bool]


def _column(feature: Feature) -> _Column:
    codes: dict[Value | None, float] | None = None
    if feature.kind == "category":
        codes = {value: float(code) for code, value in enumerate(feature.categories)}
        if feature.nullable:
            codes[None] = _NAN
    low = -_LARGEST if feature.minimum is None else max(feature.minimum, -_LARGEST)
    high = _LARGEST if feature.maximum is None else min(feature.maximum, _LARGEST)
    return feature.name, codes, low, high, feature.kind == "integer", feature.nullable


def _fault(feature: Feature, row: Mapping[str, Any]) -> str:
    """What is wrong with one field of a row; empty when nothing is."""
    if feature.name not in row:
        return f"is missing; {_wanted(feature)}"
    value = row[feature.name]
    if value is None:
        return "" if feature.nullable else f"must not be null; {_wanted(feature)}"
    if feature.kind == "category":
        scalar = isinstance(value, (bool, int, float, str))
        return "" if scalar and value in feature.categories else _wanted(feature, value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return _wanted(feature, value)
    _, _, low, high, whole, _ = _column(feature)
    if not low <= value <= high or (whole and value % 1):
        return _wanted(feature, value)
    return ""


def _wanted(feature: Feature, value: Any = None) -> str:
    """What a field must hold, and what it held instead."""
    if feature.kind == "category":
        named = ", ".join(_shown(one) for one in feature.categories[:_MOST_NAMED])
        more = len(feature.categories) - _MOST_NAMED
        wanted = f"must be one of {named}" + (f" and {more} more" if more > 0 else "")
    else:
        wanted = "must be a whole number" if feature.kind == "integer" else "must be a number"
        unit = f" {feature.unit}" if feature.unit else ""
        if feature.minimum is not None and feature.maximum is not None:
            wanted += f" from {feature.minimum:.10g} to {feature.maximum:.10g}{unit}"
        elif feature.minimum is not None:
            wanted += f", {feature.minimum:.10g}{unit} or more"
        elif feature.maximum is not None:
            wanted += f", {feature.maximum:.10g}{unit} or less"
    return wanted if value is None else f"{wanted}, not {_shown(value)}"


def _shown(value: Any) -> str:
    """A value as JSON writes it, cut where it is long."""
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    try:
        text = msgspec.json.encode(value).decode()
    except (TypeError, ValueError, OverflowError):
        text = type(value).__name__
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _from_text(feature: Feature) -> Callable[[str], Any]:
    """How a cell of a column becomes a value."""
    if feature.kind == "category":
        # Text is itself; numbers and truth values are known by any usual spelling.
        words: dict[str, Value] = {}
        numbers: dict[float, Value] = {}
        for value in feature.categories:
            if isinstance(value, str):
                words[value] = value
            else:
                numbers[float(value)] = value

        def category(cell: str) -> Any:
            text = cell.strip()
            if text in words:
                return words[text]
            if text.lower() in _MISSING:
                return None
            number = _number(text)
            return numbers.get(number, text) if isinstance(number, float) else text

        return category

    def quantity(cell: str) -> Any:
        text = cell.strip()
        if text.lower() in _MISSING:
            return None
        number = text if text.lower() in _TRUTH else _number(text)
        if isinstance(number, float) and feature.kind == "integer" and number.is_integer():
            return int(number)
        return number

    return quantity


def _number(text: str) -> float | str:
    """A number or a truth value, else the text itself."""
    truth = _TRUTH.get(text.lower())
    if truth is not None:
        return float(truth)
    try:
        # Python would read 1_000 as a number; nobody else does.
        return text if "_" in text else float(text)
    except ValueError:
        return text


def _contradiction(feature: Feature) -> str:
    """What a feature says against itself; empty when nothing."""
    described = (feature.unit, *feature.labels, " ".join(feature.description.split()))
    if any(map(CONTROL.search, described)):
        return "its unit, labels or description hold characters that cannot be shown"
    if feature.kind == "category":
        if not 1 <= len(feature.categories) <= MAX_CATEGORIES:
            return f"it has {len(feature.categories)} categories, not 1 to {MAX_CATEGORIES}"
        if len(set(feature.categories)) != len(feature.categories):
            return "two categories are the same"
        if any(isinstance(one, str) and not one.isprintable() for one in feature.categories):
            return "a category holds characters that cannot be printed"
        if any(not isinstance(one, str) and abs(one) > _LARGEST for one in feature.categories):
            return "a category is too large a number"
        if feature.labels and len(feature.labels) != len(feature.categories):
            return "there are not as many labels as categories"
        if feature.typical is not None and feature.typical not in feature.categories:
            return "its typical value is none of its categories"
        return ""
    if feature.categories:
        return f"a {feature.kind} has no categories"
    typical = feature.typical
    if isinstance(typical, (bool, str)):
        return "its typical value is no number"
    limits = [x for x in (feature.minimum, feature.maximum, typical) if x is not None]
    if not all(abs(limit) <= _LARGEST for limit in limits):
        return "a limit is too large"
    low, high = feature.minimum, feature.maximum
    if low is not None and high is not None and low > high:
        return "its least value is greater than its greatest"
    return ""


def _bad_schema(detail: str) -> ModelRejected:
    return ModelRejected(
        f"The model's description of its rows ({SCHEMA_KEY}) cannot be used: {detail}.",
        hint="Train and export it again with `andon train`.",
    )
