"""What the columns of a table are: the features a model will take, and the classes it answers.

What a recipe declares stands; of everything else the kind is found in the data. Columns that can
teach nothing, or that a form could not ask for (identifiers, dates, free text), are left out, and
each is told.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import polars as pl

from andon import typed
from andon.runtimes.rows import Feature, RowSchema, Value
from andon.training.messages import Finding
from andon.training.tabular.recipe import Recipe
from andon.training.tabular.table import Table

MAX_CATEGORIES = 64
"""Different texts of a column beyond which it is no category, unless declared."""
MAX_CLASSES = 20
"""Different numbers of a target beyond which they are amounts, not classes."""
MAX_TEXT_CLASSES = 50
"""Different texts of a target beyond which they are no classes."""

_FEW_ROWS = 20
_LONG_TEXT = 60
_DATE = r"^\d{4}-\d{1,2}-\d{1,2}([T ].*)?$|^\d{1,2}[./]\d{1,2}[./]\d{2,4}( .*)?$"
_MOSTLY = 0.95
_NAMED_ID = re.compile(
    r"(^|[^a-z])(id|ids|uuid|guid|key|index|idx|nr|no|number|rownum)$", re.IGNORECASE
)


@dataclass(frozen=True)
class Column:
    """What became of one column of a table.

    Attributes:
        name: Of the column.
        feature: What a model will take; None where it is left out.
        finding: Why it is left out; None where that was asked for, or it is a feature.
    """

    name: str
    feature: Feature | None = None
    finding: Finding | None = None


def infer(recipe: Recipe, table: Table) -> RowSchema:
    """The schema of a recipe's model, from its declarations and its data.

    Never fails: where the target is missing there are no classes, and `checks.check` says so.
    """
    features = [column.feature for column in examine(recipe, table) if column.feature]
    found = classes(table.frame[recipe.target]) if recipe.target in table.frame.columns else ()
    return RowSchema(
        features=tuple(features),
        target=recipe.target,
        classes=found,
        class_labels=_labels(recipe, found),
        positive=_positive(recipe, found),
    )


def examine(recipe: Recipe, table: Table) -> list[Column]:
    """Every column but the target: declared features first, then the others as they stand."""
    unasked = {recipe.target, recipe.group, *recipe.drop}
    declared = {one.name: one for one in recipe.features if one.name not in unasked}
    usable = rows_with_target(recipe, table.frame)
    found = [
        Column(name, _declared(feature, usable[name]))
        for name, feature in declared.items()
        if name in usable.columns
    ]
    for name in usable.columns:
        if name in declared:
            continue
        if name in unasked:
            if name != recipe.target:
                found.append(Column(name))
            continue
        found.append(_inferred(usable[name]))
    return found


def rows_with_target(recipe: Recipe, frame: pl.DataFrame) -> pl.DataFrame:
    """The rows whose class is known; all of them where there is no such column."""
    if recipe.target not in frame.columns:
        return frame
    return frame.filter(pl.col(recipe.target).is_not_null())


def classes(target: pl.Series) -> tuple[Value, ...]:
    """The different values of a target in order; numbers that are whole become integers.

    At most one more than may be classes.
    """
    known = target.drop_nulls().unique().sort()
    values: list[Value] = known.head(MAX_TEXT_CLASSES + 1).to_list()
    if target.dtype.is_float() and all(float(value).is_integer() for value in values):
        return tuple(int(value) for value in values)
    return tuple(str(value) if target.dtype.is_temporal() else value for value in values)


def text(value: Value) -> str:
    """A value as tables and pages write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def numeric(categories: Sequence[Value]) -> bool:
    """Whether categories are numbers or booleans, to be compared as numbers."""
    return not any(isinstance(value, str) for value in categories)


def canonical(frame: pl.DataFrame, features: Sequence[Feature]) -> pl.DataFrame:
    """The columns of the features in their order, each in the one type of its kind.

    Numbers, and categories that are numbers or booleans, are floats; other categories are texts.
    A column that holds something else keeps its type, so that a check can find it.
    """
    return frame.select(_canonical(frame[feature.name], feature) for feature in features)


def _canonical(column: pl.Series, feature: Feature) -> pl.Series:
    if column.null_count() == len(column):
        column = pl.Series(column.name, [None] * len(column), dtype=pl.Null)
    if feature.kind == "category" and not numeric(feature.categories):
        if column.dtype == pl.Boolean:
            return column.cast(pl.String).str.to_lowercase()
        return column.cast(pl.String)
    if column.dtype.is_temporal():
        return column
    if column.dtype == pl.String:
        lowered = column.str.to_lowercase()
        if set(feature.categories) <= {True, False} and lowered.is_in(["true", "false"]).all():
            return (lowered == "true").cast(pl.Float64)
    as_float = column.cast(pl.Float64, strict=False)
    return as_float if as_float.null_count() == column.null_count() else column


# -- Columns ----------------------------------------------------------------------------


def _declared(feature: Feature, column: pl.Series) -> Feature:
    """A declared feature, with what only the data can tell."""
    categories = feature.categories
    if feature.kind == "category" and not categories:
        categories = _values(column)
    complete = msgspec.structs.replace(
        feature, categories=categories, nullable=feature.nullable or column.null_count() > 0
    )
    if feature.typical is not None:
        return complete
    return msgspec.structs.replace(complete, typical=_typical(column, complete))


def _inferred(column: pl.Series) -> Column:
    known = column.drop_nulls()
    name = column.name
    if known.is_empty():
        return _left_out(name, "all-missing", f"{name!r} has no value in any row", "warning")
    different = known.n_unique()
    if different == 1 and column.null_count() == 0:
        return _left_out(name, "constant", f"{name!r} is the same in every row", "warning")
    if column.dtype.is_temporal():
        return _date(name)
    if column.dtype == pl.Boolean:
        return Column(name, _declared(Feature(name, "category", categories=(False, True)), column))
    if column.dtype.is_numeric():
        if column.dtype.is_integer() and _counts_rows(known, different):
            return _identifier(name)
        whole = column.dtype.is_integer()
        feature = Feature(name, "integer") if whole else Feature(name, "number")
        return Column(name, _declared(feature, column))
    return _inferred_text(known, different, column)


def _inferred_text(known: pl.Series, different: int, column: pl.Series) -> Column:
    name = column.name
    if known.str.contains(_DATE).sum() >= _MOSTLY * len(known):
        return _date(name)
    letters = int(known.str.len_chars().sum())
    unique = len(known) >= _FEW_ROWS and different >= _MOSTLY * len(known)
    if unique and letters < _LONG_TEXT * len(known):
        return _identifier(name)
    if different > MAX_CATEGORIES or unique:
        return _left_out(
            name,
            "free-text",
            f"{name!r} holds {different} different texts, too many for a category",
            "warning",
            "Declare its `categories` in a recipe, or make fewer of them.",
        )
    return Column(name, _declared(Feature(name, "category"), column))


def _counts_rows(known: pl.Series, different: int) -> bool:
    """Whether whole numbers name the rows: all different, and called so or without a gap."""
    if different < len(known) or len(known) < _FEW_ROWS:
        return False
    low, high = known.min(), known.max()
    assert isinstance(low, int)
    assert isinstance(high, int)
    return _NAMED_ID.search(known.name) is not None or high - low + 1 == len(known)


def _identifier(name: str) -> Column:
    return _left_out(
        name,
        "identifier",
        f"{name!r} is different in every row: it names the rows and describes none",
        "info",
    )


def _date(name: str) -> Column:
    return _left_out(
        name,
        "date",
        f"{name!r} holds dates",
        "warning",
        "If they matter, add a column with what matters of them: the age, the hour, the weekday.",
    )


def _left_out(name: str, check: str, detail: str, severity: str, hint: str = "") -> Column:
    finding = typed.convert(
        {
            "check": check,
            "severity": severity,
            "column": name,
            "detail": f"{detail}; it is left out.",
            "hint": hint,
        },
        Finding,
    )
    return Column(name, finding=finding)


def _values(column: pl.Series) -> tuple[Value, ...]:
    values: list[Value] = column.drop_nulls().unique().sort().to_list()
    if column.dtype.is_float() and all(float(value).is_integer() for value in values):
        return tuple(int(value) for value in values)
    return tuple(values)


def _typical(column: pl.Series, feature: Feature) -> Value | None:
    """The median, or the most frequent category, the first in order of equals."""
    known = canonical(pl.DataFrame([column]), [feature])[column.name].drop_nulls()
    if known.is_empty() or (feature.kind != "category" and known.dtype != pl.Float64):
        return None
    if feature.kind == "category":
        counts = dict(known.value_counts().iter_rows())
        exact = numeric(feature.categories)
        return max(
            feature.categories,
            key=lambda value: counts.get(float(value) if exact else value, 0),
            default=None,
        )
    middle = known.median()
    assert isinstance(middle, float)
    return round(middle) if feature.kind == "integer" else middle


# -- Target -----------------------------------------------------------------------------


def _labels(recipe: Recipe, found: tuple[Value, ...]) -> tuple[str, ...]:
    if not recipe.class_labels:
        return ()
    return tuple(
        recipe.class_labels.get(text(value), recipe.class_labels.get(str(value), text(value)))
        for value in found
    )


def _positive(recipe: Recipe, found: tuple[Value, ...]) -> int | None:
    """Index of the class that is looked for: the declared one, else 1 or true, else the last."""
    if len(found) != 2:
        return None
    if recipe.positive is not None:
        wanted = text(recipe.positive)
        return next((at for at, value in enumerate(found) if text(value) == wanted), None)
    return found.index(1) if 1 in found else 1
