"""What a model's file tells of its training, read with care: strangers write files, too."""

import re
from typing import Annotated, Any

import msgspec

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


def read_object(entries: dict[str, str], key: str) -> dict[str, Any] | None:
    """A metadata entry that holds a JSON object; None where there is none.

    Raises:
        ModelRejected: It is no JSON object, or nested beyond all measure.
    """
    text = entries.get(key)
    if text is None:
        return None
    try:
        found = msgspec.json.decode(text, type=dict[str, Any])
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
        msgspec.convert(card or {}, _Card)
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
