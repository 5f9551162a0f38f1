"""What a model's file tells of its training, read with care: strangers write files, too."""

import itertools
import re
from typing import Annotated, Any, Literal

import msgspec

from andon import typed
from andon.errors import ModelRejected

_HINT = "Train and export it with `andon train`."
_DEEPEST = 64

# Of control and direction characters all but the ends of lines: terminals obey them, and
# PostgreSQL cannot store NUL. They are left out of names and labels altogether.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

_Text = Annotated[str, msgspec.Meta(max_length=64)]


class _Figure(msgspec.Struct):
    value: float | None
    low: float | None = None
    high: float | None = None


class _HeldOut(msgspec.Struct):
    metrics: dict[str, _Figure] | None = None


class _Data(msgspec.Struct):
    origin: str | None = None
    rows: int | None = None
    synthetic: bool | None = None


class _Feature(msgspec.Struct):
    name: str


class _Importance(msgspec.Struct):
    feature: str


class _Card(msgspec.Struct):
    """What is read of a card; the rest may be anything."""

    held_out: _HeldOut | None = None
    data: _Data | None = None
    algorithm: _Text | None = None
    hyperparameters: dict[str, Any] | None = None
    features: list[_Feature | str] | None = None
    importance: list[_Importance] | None = None


# Every look at drift reads it, and the report shows it: a file may not make these endless.
_LARGEST_REFERENCE = 4 * 1024 * 1024
_MOST_BINS = 1_000
_MOST_VALUES = 10_000
_Number = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Counts = Annotated[list[_Count], msgspec.Meta(max_length=_MOST_BINS)]
_Edges = Annotated[list[_Number], msgspec.Meta(max_length=_MOST_BINS + 1)]
_Values = Annotated[dict[str, _Count], msgspec.Meta(max_length=_MOST_VALUES)]


class _Distribution(msgspec.Struct):
    """Of one feature, as `training.tabular.reference` writes it; the rest may be anything."""

    kind: Literal["number", "integer", "category"]
    missing: _Count = 0
    counts: _Counts | _Values | None = None
    edges: _Edges | None = None
    min: _Number | None = None
    max: _Number | None = None
    mean: _Number | None = None
    std: Annotated[float, msgspec.Meta(ge=0, le=1e300)] | None = None
    quantiles: dict[str, _Number | None] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.counts, dict) != (self.kind == "category") and self.counts is not None:
            raise ValueError("counts of a category are by value, those of a number by bin")
        if isinstance(self.counts, list):
            _check_bins(self.edges, self.counts)


class _Answered(msgspec.Struct):
    edges: _Edges | None = None
    counts: _Counts | None = None
    classes: _Values | None = None

    def __post_init__(self) -> None:
        if self.counts is not None:
            _check_bins(self.edges, self.counts)


class _Reference(msgspec.Struct):
    rows: _Count = 0
    features: Annotated[dict[str, _Distribution], msgspec.Meta(max_length=2_000)] = {}
    prediction: _Answered | None = None


def _check_bins(edges: list[float] | None, counts: list[int]) -> None:
    """Raise `ValueError` where these are no bins, one beside the other."""
    if edges is None or len(edges) != len(counts) + 1:
        raise ValueError("there must be one edge more than there are counts")
    if any(low > high for low, high in itertools.pairwise(edges)):
        raise ValueError("edges must ascend")


def read_reference(entries: dict[str, str], key: str) -> dict[str, Any] | None:
    """What the training data looked like; None where the file does not say it.

    Raises:
        ModelRejected: It has another shape, or is larger than anybody needs.
    """
    if len(entries.get(key, "")) > _LARGEST_REFERENCE:
        raise ModelRejected(
            f"The model's metadata entry {key} has more than {_LARGEST_REFERENCE:,} characters.",
            hint=_HINT,
        )
    reference = read_object(entries, key)
    try:
        typed.convert(reference or {}, _Reference)
    except msgspec.ValidationError as error:
        raise ModelRejected(
            f"The model's metadata entry {key} is no reference for drift: {error}.", hint=_HINT
        ) from None
    return reference


def read_object(entries: dict[str, str], key: str) -> dict[str, Any] | None:
    """A metadata entry that holds a JSON object; None where there is none.

    Raises:
        ModelRejected: It is no JSON object, or nested beyond all measure.
    """
    text = entries.get(key)
    if text is None:
        return None
    try:
        found = typed.decode(text, dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ModelRejected(
            f"The model's metadata entry {key} is no JSON object: {error}.", hint=_HINT
        ) from None
    cleaned: dict[str, Any] = _cleaned(found, key, 0)
    return cleaned


def read_card(entries: dict[str, str], key: str) -> dict[str, Any] | None:
    """What was measured, where what is shown and stored of it has the shape of a card.

    Raises:
        ModelRejected: It has another shape; the member is named.
    """
    card = read_object(entries, key)
    try:
        typed.convert(card or {}, _Card)
    except msgspec.ValidationError as error:
        raise ModelRejected(
            f"The model's metadata entry {key} is no model card: {error}.", hint=_HINT
        ) from None
    return card


def _cleaned(value: Any, key: str, depth: int) -> Any:
    """JSON without characters that a terminal obeys or a database cannot store."""
    if isinstance(value, str):
        return _OBEYED.sub("\ufffd", value)
    if depth > _DEEPEST:
        raise ModelRejected(f"The model's metadata entry {key} is nested too deep.", hint=_HINT)
    if isinstance(value, list):
        return [_cleaned(one, key, depth + 1) for one in value]
    if isinstance(value, dict):
        return {
            _OBEYED.sub("\ufffd", name): _cleaned(one, key, depth + 1)
            for name, one in value.items()
        }
    return value
