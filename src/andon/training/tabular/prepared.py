"""Rows as arrays: what the candidates learn from."""

import hashlib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from andon.runtimes.rows import Feature, RowSchema
from andon.training.tabular.recipe import Recipe, SliceRule
from andon.training.tabular.schema import canonical, numeric, rows_with_target, text
from andon.training.tabular.table import Table

MAX_PARTS = 50
"""Different values of a slice beyond which nobody would look at its figures."""
UNKNOWN = "unknown"
"""The part of a slice that rows without the value belong to."""
# Between the values of a row, and where one is missing.
_BETWEEN = "\x1f"
_MISSING = "\x00"


@dataclass(frozen=True)
class Prepared:
    """Checked rows as numbers, n of them with k features.

    Attributes:
        schema: What the numbers mean.
        x: [n, k]: numbers that float32 can hold, categories as codes, NaN for missing.
        y: [n]: index of the class.
        groups: [n]: rows of the same number never stand on both sides of a split; or None.
        slices: By name, the part each row belongs to, as a text.
        keys: Content hash of each row, or of its group: decides what is held out.
        origin: Where the rows came from, for people.
        digest: SHA-256 of the content, hexadecimal.
        synthetic: Whether they were made up.
        notes: What a reader of the figures should know.
    """

    schema: RowSchema
    x: NDArray[np.float64]
    y: NDArray[np.int64]
    groups: NDArray[np.int64] | None
    slices: dict[str, NDArray[np.str_]]
    keys: list[str]
    origin: str
    digest: str
    synthetic: bool = False
    notes: tuple[str, ...] = ()


def usable(recipe: Recipe, frame: pl.DataFrame) -> pl.DataFrame:
    """The rows whose class is known, and of equal ones one where the recipe says so."""
    rows = rows_with_target(recipe, frame)
    return rows.unique(maintain_order=True) if recipe.drop_duplicates else rows


def prepare(recipe: Recipe, table: Table, schema: RowSchema) -> Prepared:
    """The rows of a checked table as arrays.

    Args:
        recipe: What is to be trained.
        table: The rows; `checks.check` found no error in them.
        schema: Of the same table, from `schema.infer`.
    """
    rows = usable(recipe, table.frame)
    values = canonical(rows, schema.features)
    codes = [_codes(values[feature.name], feature) for feature in schema.features]
    x = np.stack(codes, axis=1) if codes else np.empty((rows.height, 0))
    target = rows[recipe.target]
    index = {value: position for position, value in enumerate(schema.classes)}
    y = target.replace_strict(index, return_dtype=pl.Int64).to_numpy()
    grouped = recipe.group is not None and recipe.group in rows.columns
    groups = keys = None
    if recipe.group is not None and grouped:
        names = rows[recipe.group].cast(pl.String).fill_null(_MISSING)
        groups = (names.rank("dense") - 1).cast(pl.Int64).to_numpy()
        keys = names
    return Prepared(
        schema=schema,
        x=x,
        y=y,
        groups=groups,
        slices=_slices(recipe, rows, schema),
        keys=_hashed(recipe, _contents(values, schema, target) if keys is None else keys),
        origin=table.origin,
        digest=table.digest,
        synthetic=table.synthetic,
        notes=table.notes,
    )


def _codes(column: pl.Series, feature: Feature) -> NDArray[np.float64]:
    """A column as numbers that float32 can hold; NaN where missing."""
    if feature.kind == "category":
        exact = numeric(feature.categories)
        position = {
            (float(value) if exact else value): float(code)
            for code, value in enumerate(feature.categories)
        }
        column = column.replace_strict(position, default=None, return_dtype=pl.Float64)
    numbers = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    # Too large for float32 is infinite, which no model may see.
    with np.errstate(over="ignore"):
        single = numbers.astype(np.float32)
    single[~np.isfinite(single)] = np.nan
    return single.astype(np.float64)


def _contents(values: pl.DataFrame, schema: RowSchema, target: pl.Series) -> pl.Series:
    """What stands in each row as one text, whatever the order of rows, columns and categories."""
    columns = []
    for feature in sorted(schema.features, key=lambda feature: feature.name):
        column = values[feature.name]
        if column.dtype == pl.Float64:
            # 63 and 63.0, 0 and -0 are the same value; so are those float32 cannot tell apart.
            column = column.cast(pl.Float32).cast(pl.Float64) + 0.0
        columns.append(column.cast(pl.String).fill_null(_MISSING))
    answers = {value: text(value) for value in schema.classes}
    columns.append(target.replace_strict(answers, return_dtype=pl.String).alias(schema.target))
    return pl.select(pl.concat_str(columns, separator=_BETWEEN)).to_series()


def _hashed(recipe: Recipe, contents: pl.Series) -> list[str]:
    name = recipe.name.encode() + b"\x1e"
    return [hashlib.sha256(name + content.encode()).hexdigest() for content in contents]


def _slices(recipe: Recipe, rows: pl.DataFrame, schema: RowSchema) -> dict[str, NDArray[np.str_]]:
    """Which part each row belongs to; slices of columns that are not there are left out."""
    labels = {
        feature.name: dict(zip(feature.categories, feature.labels, strict=False))
        for feature in schema.features
    }
    found = {}
    for name, rule in recipe.slices.items():
        column = rule.column if isinstance(rule, SliceRule) else rule
        if column not in rows.columns:
            continue
        values = rows[column]
        if isinstance(rule, SliceRule) and rule.edges:
            parts = _cut(values, rule)
        elif values.n_unique() <= MAX_PARTS:
            known = labels.get(column, {})
            spelled = {value: known.get(value, _spelled(value)) for value in values.unique()}
            parts = [UNKNOWN if value is None else spelled[value] for value in values]
        else:
            continue
        found[name] = np.array(parts, dtype=np.str_)
    return found


def _spelled(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return text(value) if isinstance(value, bool | int | float | str) else str(value)


def _cut(values: pl.Series, rule: SliceRule) -> list[str]:
    edges = rule.edges
    labels = rule.labels or (
        f"under {edges[0]:g}",
        *(f"{low:g} to {high:g}" for low, high in pairwise(edges)),
        f"{edges[-1]:g} and over",
    )
    numbers = values.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    part = np.searchsorted(np.array(edges), numbers, side="right")
    return [
        UNKNOWN if np.isnan(number) else labels[index]
        for number, index in zip(numbers, part, strict=True)
    ]
