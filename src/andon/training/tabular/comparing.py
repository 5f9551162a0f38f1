"""The new model beside the active version, on held-out rows that neither has learned from."""

from typing import Any

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from andon import typed
from andon.runtimes.rows import CARD_KEY, INPUT, OUTPUT, SCHEMA_KEY, RowSchema, Value
from andon.training.messages import ActiveModel, Comparison
from andon.training.tabular import scoring
from andon.training.tabular.schema import text

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


class _Incomparable(Exception):
    """Why the active version cannot answer these rows."""


def compare(
    active: ActiveModel,
    *,
    schema: RowSchema,
    x: Array,
    y: Labels,
    p: Array,
    positions: Array,
    groups: NDArray[np.int64] | None,
    seed: int,
) -> Comparison:
    """Both on the same rows, with the differences (new minus active) and their intervals.

    Args:
        active: The version that serves.
        schema: Of the new model and the rows.
        x: Held-out rows [n, features].
        y: Their classes [n].
        p: The new model's probabilities [n, classes].
        positions: Of the rows' keys in hash space [n]; see `splitting`.
        groups: Of the rows [n], or None.
        seed: Of the resamples.

    Returns:
        The comparison; its `note` says why where there is none.
    """
    try:
        session, theirs, card = _open(active)
        columns = _columns(schema, theirs)
        order = _classes(schema, theirs)
        unseen = positions <= _limits(card, schema)[y]
        if unseen.sum() < scoring.SLICE_ROWS or len(np.unique(y[unseen])) < 2:
            raise _Incomparable("There are too few rows that neither version has seen.")
        rows = _rows(x[unseen], schema, theirs, columns)
        answered = np.asarray(session.run([OUTPUT], {INPUT: rows})[0], dtype=np.float64)
        old = scoring.Scorer(y[unseen], answered[:, order], schema.positive, theirs.threshold)
    except _Incomparable as error:
        return Comparison(version=active.version, note=str(error))
    except Exception as error:  # a damaged or foreign file must not end a training
        return Comparison(version=active.version, note=f"Its file could not be run: {error}")
    new = scoring.Scorer(y[unseen], p[unseen], schema.positive, schema.threshold)
    kept = None if groups is None else groups[unseen]
    return Comparison(
        version=active.version,
        rows=int(unseen.sum()),
        new=new.figures(),
        active=old.figures(),
        differences=scoring.differences(new, old, kept, seed),
    )


def _open(active: ActiveModel) -> tuple[Any, RowSchema, dict[str, Any]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(active.path, options, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    if SCHEMA_KEY not in metadata:
        raise _Incomparable("Its file does not say what rows it takes.")
    schema = typed.decode(metadata[SCHEMA_KEY], RowSchema)
    return session, schema, msgspec.json.decode(metadata.get(CARD_KEY, "{}"))


def _columns(ours: RowSchema, theirs: RowSchema) -> list[int]:
    """Where the active version's features stand in our rows."""
    places = {feature.name: place for place, feature in enumerate(ours.features)}
    absent = [feature.name for feature in theirs.features if feature.name not in places]
    if absent:
        raise _Incomparable(f"It takes features that these data lack: {', '.join(absent)}.")
    return [places[feature.name] for feature in theirs.features]


def _classes(ours: RowSchema, theirs: RowSchema) -> list[int]:
    """Where our classes stand in the active version's answer."""
    if set(map(text, ours.classes)) != set(map(text, theirs.classes)):
        raise _Incomparable("It answers other classes.")
    places = [text(value) for value in theirs.classes]
    if ours.positive is not None and (
        theirs.positive is None or text(ours.classes[ours.positive]) != places[theirs.positive]
    ):
        raise _Incomparable("It looks for another class.")
    return [places.index(text(value)) for value in ours.classes]


def _limits(card: dict[str, Any], schema: RowSchema) -> Array:
    """Up to where in hash space the active version held rows out, by our class index."""
    limits = card.get("hold_out", {})
    return np.array([limits.get(text(value), np.inf) for value in schema.classes])


def _rows(x: Array, ours: RowSchema, theirs: RowSchema, columns: list[int]) -> NDArray[np.float32]:
    """Our rows as the active version takes them: its columns, its codes."""
    rows = x[:, columns].copy()
    for column, (place, feature) in enumerate(zip(columns, theirs.features, strict=True)):
        mine = ours.features[place]
        if (mine.kind == "category") != (feature.kind == "category"):
            raise _Incomparable(f"It takes {feature.name} as another kind of value.")
        if feature.kind != "category" or feature.categories == mine.categories:
            continue
        codes = _codes(mine.categories, feature.categories)
        known = np.isfinite(rows[:, column])
        rows[known, column] = codes[rows[known, column].astype(int)]
    return rows.astype(np.float32)


def _codes(ours: tuple[Value, ...], theirs: tuple[Value, ...]) -> Array:
    """Their code of each of our categories; NaN where they have none."""
    places = {text(value): float(code) for code, value in enumerate(theirs)}
    return np.array([places.get(text(value), np.nan) for value in ours])
