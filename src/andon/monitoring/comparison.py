"""Two versions of a tabular model on the same rows.

Nothing here is logged as a prediction and no totals move: it is looking, not serving.
"""

import csv
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from andon.errors import AndonError, Conflict, InvalidRequest, UnusableUpload
from andon.events.intake import RowError
from andon.monitoring import intervals, labels
from andon.monitoring.classes import Classes
from andon.monitoring.intervals import Floats, Ints
from andon.runtimes.rows import RowEncoder, RowSchema, Value, text_of
from andon.runtimes.tabular import TabularModel
from andon.serving.fleet import Fleet
from andon.store.database import Database
from andon.store.feedback import LabelledRow

MAX_ROWS = 5_000
ACTUAL = "actual"

_MOST_FLIPS = 50
_MOST_ERRORS = 20
_SHOWN = {"f1": "F1", "accuracy": "accuracy"}


class Share(msgspec.Struct, frozen=True):
    """A share of rows, 0 to 1, with its 95 % interval."""

    value: float
    low: float
    high: float


class Difference(msgspec.Struct, frozen=True):
    """One figure of both versions on the same labelled rows."""

    a: float
    b: float
    difference: Annotated[float, Meta(description="b minus a.")]
    low: Annotated[float, Meta(description="Bounds of its 95 % interval (paired bootstrap).")]
    high: float


class RowAnswer(msgspec.Struct, frozen=True):
    """What one version says to a row."""

    prediction: Value
    label: str
    probability: Annotated[
        float, Meta(description="Of the positive class; of the answered one with three or more.")
    ]


class Flip(msgspec.Struct, frozen=True, kw_only=True):
    """A row that the versions answer differently."""

    index: Annotated[int, Meta(description="Place of the row, from 0.")]
    prediction_id: Annotated[str | None, Meta(description="Of a stored row.")]
    actual: Value | None
    a: RowAnswer
    b: RowAnswer


class RowComparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two versions side by side on the same rows."""

    model: str
    a: Annotated[int, Meta(description="A version.")]
    b: Annotated[int, Meta(description="The other version.")]
    rows: Annotated[int, Meta(description="Rows that both answered.")]
    labelled: Annotated[int, Meta(description="Those whose true class is known.")]
    needed: Annotated[int, Meta(description="Labels before figures are compared.")]
    skipped: Annotated[int, Meta(description="Rows that a version cannot take.")]
    errors: Annotated[list[RowError], Meta(description="The first twenty reasons.")]
    agreement: Annotated[Share | None, Meta(description="Same answer; null without rows.")]
    flips_total: int
    flips: Annotated[list[Flip], Meta(description="The first fifty different answers.")]
    metrics: Annotated[
        dict[str, Difference | None], Meta(description="null: too few labels for this figure.")
    ]
    verdict: Annotated[str, Meta(description="A sentence for people.")]


class _Row(msgspec.Struct, frozen=True):
    """A row to compare on."""

    index: int
    features: Mapping[str, Any]
    actual: int | None = None
    prediction_id: str | None = None


class _Side(msgspec.Struct, frozen=True):
    """What one version said: probabilities (n, classes) and class indexes (n,)."""

    probabilities: Floats
    answered: Ints


def stored_rows(db: Database, model: str, limit: int = MAX_ROWS) -> list[LabelledRow]:
    """The newest labelled rows that any version of a model answered."""
    versions = [version.id for version in db.models.list(model)]
    return db.feedback.rows(versions, limit)


def csv_rows(data: bytes, schemas: Sequence[RowSchema], target: str = "") -> list[dict[str, Any]]:
    """Rows of a CSV file with a heading line, as values of the schemas' features.

    Args:
        data: UTF-8.
        schemas: Of the versions that will be asked.
        target: Column of the true class; default "actual", else the target of a schema.

    Raises:
        UnusableUpload: It cannot be read.
        InvalidRequest: It has no column `target`.
    """
    try:
        lines = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnusableUpload(
            f"The CSV cannot be read: {error}.", hint="Save it as CSV UTF-8."
        ) from None
    columns = [name for name in (lines[0] if lines else {}) if isinstance(name, str)]
    if target and lines and target not in columns:
        detail = f"has no column {target[:64]!r}; it has {', '.join(columns)[:300]}"
        raise InvalidRequest(
            f"The request is not valid: the file {detail}.",
            errors=[{"field": "target", "detail": detail}],
        )
    wanted = (target, ACTUAL, *(schema.target for schema in schemas))
    truth = next((name for name in wanted if name and name in columns), "")
    rows: list[dict[str, Any]] = [{} for _ in lines]
    encoders = [RowEncoder(schema) for schema in schemas]
    for name in columns:
        column = [line.get(name) or "" for line in lines]
        if name == truth:
            values: list[Any] = [cell.strip() or None for cell in column]
        else:
            own = (one for one in encoders if name in {f.name for f in one.schema.features})
            values = next(own, encoders[0]).from_text(name, column)
        for row, value in zip(rows, values, strict=True):
            row[ACTUAL if name == truth else name] = value
    return rows


def compare_rows(
    fleet: Fleet,
    model: str,
    a: int,
    b: int,
    rows: Sequence[Mapping[str, Any] | LabelledRow],
    *,
    timeout: float = 30.0,
) -> RowComparison:
    """Ask two versions about the same rows.

    Args:
        fleet: Loads what is not loaded.
        model: Registered model's name.
        a: A version.
        b: Another one, or the same.
        rows: Features by name, with the true class under "actual" or the target's name where
            it is known; or stored rows. At most 5,000.
        timeout: For each version, seconds.

    Raises:
        NotFound: There is no such version.
        Conflict: A version takes no rows, or the two answer different classes.
        InvalidRequest: Too many rows.
    """
    if len(rows) > MAX_ROWS:
        raise InvalidRequest(
            f"{len(rows)} rows are too many to compare on; {MAX_ROWS} are taken.",
            errors=[{"field": "rows", "detail": f"must hold at most {MAX_ROWS}"}],
        )
    with _held(fleet, model, a) as first, _held(fleet, model, b) as second:
        both = (first, second)
        if set(map(text_of, first.schema.classes)) != set(map(text_of, second.schema.classes)):
            raise Conflict(
                f"Versions {a} and {b} of model {model} answer different classes.",
                hint="Compare versions that learned the same target.",
            )
        classes = _classes(first.schema)
        usable: list[_Row] = []
        errors: list[RowError] = []
        encoded: tuple[list[list[float]], list[list[float]]] = ([], [])
        known = {feature.name for one in both for feature in one.schema.features}
        for index, given in enumerate(rows):
            try:
                row = _row(index, given, first.schema.target, known, classes)
                numbers = [_encode(one, row.features, known) for one in both]
            except AndonError as error:
                errors.append(RowError(index, str(error)))
                continue
            usable.append(row)
            for matrix, line in zip(encoded, numbers, strict=True):
                matrix.append(line)
        sides = [
            _ask(one, matrix, first.schema, time.monotonic() + timeout)
            for one, matrix in zip(both, encoded, strict=True)
        ]
        return _compared(model, (a, b), first.schema, usable, sides, errors)


@contextmanager
def _held(fleet: Fleet, model: str, version: int) -> Iterator[TabularModel]:
    """A loaded tabular version; loaded for it where it does not serve."""
    slot = fleet.hold(model, version)
    try:
        if not isinstance(slot.model, TabularModel):
            raise Conflict(
                f"Version {version} of model {model} takes pictures, not rows.",
                hint="Compare versions on a picture with POST /api/compare.",
            )
        yield slot.model
    finally:
        slot.release()


def _classes(schema: RowSchema) -> Classes:
    texts = tuple(map(text_of, schema.classes))
    return Classes("rows", schema.classes, schema.class_labels or texts, schema.positive)


def _row(
    index: int,
    given: Mapping[str, Any] | LabelledRow,
    target: str,
    known: set[str],
    classes: Classes,
) -> _Row:
    """A row without its truth, and the index of that.

    Raises:
        InvalidRequest: It is no object, or its truth is no class.
    """
    if isinstance(given, LabelledRow):
        return _Row(index, given.features, classes.truth(given.actual), given.id)
    features = dict(given)
    actual = None
    for name in {ACTUAL, target} - known:
        said = features.pop(name, None)
        if said is not None:
            actual = classes.truth(classes.normal(said))
    return _Row(index, features, actual)


def _encode(model: TabularModel, row: Mapping[str, Any], known: set[str]) -> list[float]:
    """A row as a version's input, without what only the other version takes.

    Raises:
        InvalidRequest: The version cannot take it.
    """
    own = {feature.name for feature in model.schema.features}
    return model.encoder.encode(
        {name: value for name, value in row.items() if name in own or name not in known}
    )


def _ask(model: TabularModel, rows: list[list[float]], order: RowSchema, deadline: float) -> _Side:
    """What a version says to encoded rows, its classes in the order of `order`."""
    schema = model.schema
    size = len(schema.classes)
    if not rows:
        return _Side(np.zeros((0, size)), np.zeros(0, np.int64))
    found = model.infer_rows(np.array(rows, np.float32), deadline=deadline).astype(np.float64)
    if schema.positive is not None:
        yes = found[:, schema.positive] >= schema.threshold
        answered = np.where(yes, schema.positive, 1 - schema.positive)
    else:
        answered = found.argmax(axis=1)
    texts = [text_of(value) for value in schema.classes]
    places = np.array([texts.index(text_of(value)) for value in order.classes])
    return _Side(found[:, places], np.argsort(places)[answered].astype(np.int64))


def _compared(
    model: str,
    versions: tuple[int, int],
    schema: RowSchema,
    rows: list[_Row],
    sides: list[_Side],
    errors: list[RowError],
) -> RowComparison:
    a, b = sides
    same = a.answered == b.answered
    differ = np.flatnonzero(~same)
    labelled = np.array([row.actual is not None for row in rows], np.bool_)
    truth: Ints = np.array([row.actual for row in rows if row.actual is not None], np.int64)
    metrics = _differences(
        truth,
        _Side(a.probabilities[labelled], a.answered[labelled]),
        _Side(b.probabilities[labelled], b.answered[labelled]),
        schema,
    )
    total = len(rows)
    agreement = None
    if total:
        agree = int(same.sum())
        agreement = Share(agree / total, *intervals.wilson(agree, total))
    return RowComparison(
        model=model,
        a=versions[0],
        b=versions[1],
        rows=total,
        labelled=len(truth),
        needed=labels.NEEDED,
        skipped=len(errors),
        errors=errors[:_MOST_ERRORS],
        agreement=agreement,
        flips_total=len(differ),
        flips=[_flip(rows[place], int(place), sides, schema) for place in differ[:_MOST_FLIPS]],
        metrics=metrics,
        verdict=_verdict(versions, metrics, len(truth), agreement),
    )


def _differences(
    truth: Ints, a: _Side, b: _Side, schema: RowSchema
) -> dict[str, Difference | None]:
    """Every figure of both, with the interval of the difference over the same resamples."""
    size, positive = len(schema.classes), schema.positive
    names = ("accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "brier")
    found: dict[str, Difference | None] = dict.fromkeys(names)
    if len(truth) < labels.NEEDED:
        return found
    both = (a, b)
    tables = [intervals.confusion(truth, side.answered, size) for side in both]
    first, second = (intervals.from_counts(table, positive) for table in tables)
    drawn = intervals.resampled(truth, [a.answered, b.answered], size, positive)
    figures = {name: (first[name], second[name], drawn[1][name] - drawn[0][name]) for name in first}
    if size <= intervals.RANKED_CLASSES:
        ranks = [intervals.ranked(side.probabilities, truth, positive) for side in both]
        samples = intervals.resampled_rows(len(truth), size if positive is None else 1)
        measured = np.array([[measure(one) for measure in ranks] for one in (None, *samples)])
        for place, name in enumerate(("roc_auc", "pr_auc", "brier")):
            column = measured[:, :, place]
            figures[name] = (column[0, 0], column[0, 1], column[1:, 1] - column[1:, 0])
    supports = [labels.supports(table, positive, ranked=True) for table in tables]
    for name, (of_a, of_b, differences) in figures.items():
        enough = all(labels.enough_labels(name, one, positive) for one in supports)
        if enough and np.isfinite(of_a) and np.isfinite(of_b):
            found[name] = Difference(
                float(of_a), float(of_b), float(of_b - of_a), *intervals.percentiles(differences)
            )
    return found


def _flip(row: _Row, place: int, sides: list[_Side], schema: RowSchema) -> Flip:
    a, b = (_said(side, place, schema) for side in sides)
    return Flip(
        index=row.index,
        prediction_id=row.prediction_id,
        actual=None if row.actual is None else schema.classes[row.actual],
        a=a,
        b=b,
    )


def _said(side: _Side, place: int, schema: RowSchema) -> RowAnswer:
    answered = int(side.answered[place])
    value = schema.classes[answered]
    label = schema.class_labels[answered] if schema.class_labels else text_of(value)
    of = answered if schema.positive is None else schema.positive
    return RowAnswer(value, label, round(float(side.probabilities[place, of]), 6))


def _signed(value: float) -> str:
    """Three decimals, with a minus sign that is as wide as the plus."""
    return f"{value:+.3f}".replace("-", "−")


def _verdict(
    versions: tuple[int, int],
    metrics: dict[str, Difference | None],
    labelled: int,
    agreement: Share | None,
) -> str:
    """What a person should take from it."""
    a, b = versions
    if agreement is None:
        return (
            "There is no row that both versions can take. Give feedback on their answers, or "
            "rows of your own."
        )
    agree = f"They agree on {100 * agreement.value:.1f} % of the rows."
    name = "f1" if metrics["f1"] is not None else "accuracy"
    found = metrics[name]
    if found is None:
        return f"Not enough labels to say which is better: {labelled} of {labels.NEEDED}. {agree}"
    figures = f"{_SHOWN[name]} {found.a:.3f} of v{a}, {found.b:.3f} of v{b}"
    bounds = (
        f"difference {_signed(found.difference)}, 95 % interval {_signed(found.low)} to "
        f"{_signed(found.high)}"
    )
    if found.low > 0:
        said = f"v{b} is better"
    elif found.high < 0:
        said = f"v{a} is better"
    else:
        said = "No clear difference"
    return f"{said} on {labelled} labelled rows: {figures} ({bounds}). {agree}"
