"""Answers to rows as columns: the features, and what was answered."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from andon.monitoring.drift import measuring
from andon.monitoring.drift.measuring import Column

COLUMNS = ("features", "prediction", "probability")
"""What is read of the log."""

PROBABILITY = "answer.probability"
CLASSES = "answer.class"
"""Names of what is answered, among those of the features."""


def is_rows(task: str, reference: Mapping[str, Any] | None) -> bool:
    """Whether a version answers rows."""
    return task.startswith("tabular") or bool((reference or {}).get("features"))


def statistics(reference: Mapping[str, Any]) -> dict[str, Any]:
    """A training's reference, or one made here, by name of column.

    Members of another shape (an older or foreign file) are left out.
    """
    found = {
        str(name): dict(one)
        for name, one in _mapping(reference.get("features")).items()
        if measuring.usable(one)
    }
    answered = _mapping(reference.get("prediction"))
    probability = {
        "kind": "number",
        "edges": answered.get("edges"),
        "counts": answered.get("counts"),
    }
    if measuring.usable(probability) and any(answered["counts"]):
        found[PROBABILITY] = probability
    classes = _mapping(answered.get("classes"))
    if classes:
        found[CLASSES] = {"kind": "category", "counts": dict(classes)}
    return found


def columns(rows: Sequence[Any], known: Mapping[str, Any]) -> list[Column]:
    """The columns of a window.

    Args:
        rows: Answers with `COLUMNS`, oldest first.
        known: Statistics by name, as `statistics` gives them.
    """
    features = [row.features if isinstance(row.features, dict) else {} for row in rows]
    found = []
    for name, one in known.items():
        if name in {PROBABILITY, CLASSES}:
            continue
        values = [row.get(name) for row in features]
        if one.get("kind") == "category":
            weights = _categories(values, one.get("counts") or {})
            found.append(Column(name=name, weights=weights, total=len(rows)))
        else:
            found.append(Column(name=name, values=measuring.numbers(values), total=len(rows)))
    return found + _answers(rows, known)


def learned(rows: Sequence[Any]) -> dict[str, Any]:
    """What of rows is a number and what a category, for a reference made from answers.

    Returns:
        By name `{"kind": …}`, with a shape that `columns` takes.
    """
    kinds: dict[str, str] = {}
    for row in rows:
        for name, value in (row.features or {}).items():
            if value is None:
                kinds.setdefault(name, "")
            elif isinstance(value, bool | str):
                kinds[name] = "category"
            elif kinds.get(name) != "category":
                kinds[name] = "number"
    found: dict[str, Any] = {name: {"kind": kind or "number"} for name, kind in kinds.items()}
    return found | {PROBABILITY: {"kind": "number"}, CLASSES: {"kind": "category"}}


def _answers(rows: Sequence[Any], known: Mapping[str, Any]) -> list[Column]:
    probabilities = measuring.numbers([row.probability for row in rows])
    answered = [row.prediction for row in rows]
    return [
        Column(
            name=PROBABILITY,
            title="probability of the answer",
            group="output",
            values=probabilities,
            total=len(rows),
            optional=True,
        ),
        Column(
            name=CLASSES,
            title="answered class",
            group="output",
            weights=_categories(answered, (known.get(CLASSES) or {}).get("counts") or {}),
            total=len(rows),
            optional=True,
        ),
    ]


def _categories(values: Sequence[Any], counts: Mapping[str, Any]) -> dict[str, float]:
    """How often each occurs; 3 and 3.0 are the same, as the reference writes it."""
    found: Counter[str] = Counter()
    texts: dict[Any, str] = {}
    for value in values:
        if value is None:
            continue
        # True is 1 in a dict, and another category.
        key = (type(value), value) if isinstance(value, str | int | float | bool) else str(value)
        text = texts.get(key)
        if text is None:
            text = texts[key] = _text(value, counts)
        found[text] += 1
    return {key: float(count) for key, count in found.items()}


def _text(value: Any, counts: Mapping[str, Any]) -> str:
    text = measuring.category(value)
    if text not in counts and isinstance(value, int | float) and not isinstance(value, bool):
        whole = isinstance(value, int) or value.is_integer()
        for other in (str(int(value)), f"{int(value)}.0") if whole else ():
            if other in counts:
                return other
    return text


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
