"""Whether rows can be trained on: all that is wrong with them, before anything is learned.

Types, ranges and categories are checked with pandera; the rest is counted here.
"""

import shlex
from collections.abc import Iterator

import numpy as np
import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors

from andon.runtimes.rows import Feature, RowSchema
from andon.training.messages import DataReport, Finding
from andon.training.tabular.prepared import MAX_PARTS, usable
from andon.training.tabular.recipe import Recipe, SliceRule
from andon.training.tabular.schema import (
    MAX_CLASSES,
    MAX_TEXT_CLASSES,
    canonical,
    examine,
    numeric,
    rows_with_target,
    text,
)
from andon.training.tabular.table import Table, counted

__all__ = ["DataReport", "Finding", "check", "render"]

LEAK = 0.995
"""ROC-AUC of a single feature, or share of rows it decides, from which it gives the target away."""

_MOSTLY_MISSING = 0.5
_LEAST_KNOWN = 5
_ROWS_PER_CATEGORY = 5
_BINS = 20
_ORDER = {"error": 0, "warning": 1, "info": 2}


def check(recipe: Recipe, table: Table, schema: RowSchema) -> DataReport:
    """Everything that was found, errors first.

    Args:
        recipe: What is to be trained.
        table: The rows as they were read.
        schema: Of the same table, from `schema.infer`.
    """
    findings = [*table.findings, *_about_target(recipe, table, schema)]
    rows = rows_with_target(recipe, table.frame)
    counted = 0
    if recipe.target in table.frame.columns:
        counted = rows.height
        rows = usable(recipe, table.frame)
        findings += _about_rows(recipe, table, rows)
        findings += _about_classes(recipe, rows, schema)
    findings += _about_columns(recipe, table, schema)
    features = [feature for feature in schema.features if feature.name in rows.columns]
    values = canonical(rows, features)
    findings += _about_values(values, features)
    broken = {finding.column for finding in findings if finding.check == "type"}
    if counted and 2 <= len(schema.classes) <= MAX_TEXT_CLASSES:
        target = rows[recipe.target]
        for feature in features:
            if feature.name not in broken:
                findings += _leak(recipe, feature, values[feature.name], target, schema)
    return DataReport(
        origin=table.origin,
        digest=table.digest,
        rows=table.frame.height,
        columns=table.frame.width,
        findings=tuple(sorted(findings, key=lambda finding: _ORDER[finding.severity])),
        classes=_classes(rows, schema) if counted else {},
    )


def render(report: DataReport) -> str:
    """The report as a text for a terminal."""
    lines = [
        f"Data: {report.origin}",
        f"{report.rows} rows, {report.columns} columns, SHA-256 {report.digest[:16]}…",
    ]
    if report.classes:
        total = max(1, sum(report.classes.values()))
        shares = (f"{name}: {n} ({n / total:.1%})" for name, n in report.classes.items())
        lines.append(f"Classes: {', '.join(shares)}")
    for finding in report.findings:
        lines.append(f"{finding.severity:<7} {finding.check}: {finding.detail}")
        if finding.hint:
            lines.append(f"        {finding.hint}")
    counts = {
        severity: sum(finding.severity == severity for finding in report.findings)
        for severity in _ORDER
    }
    verdict = "can be trained on" if report.ok else "cannot be trained on"
    said = ", ".join(counted(counts[weight], weight) for weight in ("error", "warning"))
    lines.append(f"{said}: {verdict}.")
    return "\n".join(lines)


# -- Target -----------------------------------------------------------------------------


def _about_target(recipe: Recipe, table: Table, schema: RowSchema) -> Iterator[Finding]:
    name, found = recipe.target, len(schema.classes)
    if name not in table.frame.columns:
        yield Finding(
            "target",
            "error",
            column=name,
            detail=f"There is no column {name!r} to learn.",
            hint=f"The columns are {', '.join(table.frame.columns[:50])}.",
        )
        return
    column = table.frame[name]
    if column.dtype.is_temporal():
        yield Finding(
            "classes",
            "error",
            column=name,
            detail=f"{name!r} holds times, which are no classes.",
            hint="Is it the right column?",
        )
    different = column.drop_nulls().n_unique()
    fractions = any(isinstance(value, float) for value in schema.classes)
    if column.dtype.is_numeric() and (different > MAX_CLASSES or (fractions and different > 5)):
        yield Finding(
            "regression",
            "error",
            column=name,
            detail=f"{name!r} holds {different} different numbers. That looks like regression; "
            "Andon trains classifiers.",
            hint="Make classes of it: a column such as `high` with true where it is over a limit.",
        )
    elif found > MAX_TEXT_CLASSES:
        yield Finding(
            "classes",
            "error",
            column=name,
            detail=f"{name!r} holds {different} different values, too many for classes.",
            hint="Is it the right column? Otherwise make fewer, larger classes.",
        )
    elif found < 2:
        only = f"only {text(schema.classes[0])!r}" if found else "no value at all"
        yield Finding(
            "one-class",
            "error",
            column=name,
            detail=f"{name!r} holds {only}: there is nothing to tell apart.",
            hint="Add rows of the other class.",
        )
    if found == 2 and schema.positive is None:
        yield Finding(
            "positive",
            "error",
            column=name,
            detail=f"No row has the class {text(recipe.positive or '')!r} that is looked for.",
            hint=f"`positive` is one of {', '.join(map(text, schema.classes))}.",
        )
    if found == 2 and recipe.positive is None and schema.classes != (0, 1):
        looked_for = text(schema.classes[schema.positive or 0])
        yield Finding(
            "positive",
            "info",
            column=name,
            detail=f"{looked_for!r} is taken as the class that is looked for.",
            hint="Say `positive:` in a recipe if it is the other one.",
        )


def _about_classes(recipe: Recipe, rows: pl.DataFrame, schema: RowSchema) -> Iterator[Finding]:
    if rows.height < recipe.min_rows:
        yield Finding(
            "rows",
            "error",
            detail=f"{counted(rows.height)} to learn from; {recipe.min_rows} are needed.",
            hint="Collect more rows.",
            rows=rows.height,
        )
    if len(schema.classes) > MAX_TEXT_CLASSES:
        return
    for name, count in _classes(rows, schema).items():
        if count < recipe.min_rows_per_class:
            yield Finding(
                "rows-per-class",
                "error",
                column=recipe.target,
                detail=f"{counted(count)} of the class {name!r}; {recipe.min_rows_per_class} are "
                "needed of each.",
                hint="Collect more rows of it, or join it with another class.",
                rows=count,
            )


def _classes(rows: pl.DataFrame, schema: RowSchema) -> dict[str, int]:
    counts = dict(rows[schema.target].value_counts().iter_rows())
    return {text(value): counts.get(value, 0) for value in schema.classes}


# -- Rows and columns -------------------------------------------------------------------


def _about_rows(recipe: Recipe, table: Table, rows: pl.DataFrame) -> Iterator[Finding]:
    unknown = table.frame[recipe.target].null_count()
    if unknown:
        yield Finding(
            "target-missing",
            "warning",
            column=recipe.target,
            detail=f"{counted(unknown)} without {recipe.target!r}: left out.",
            rows=unknown,
        )
    known = rows_with_target(recipe, table.frame)
    repeated = known.height - known.n_unique()
    if not repeated:
        return
    what = f"{counted(repeated)} the same as another one in every column"
    if recipe.drop_duplicates:
        yield Finding("duplicates", "info", detail=f"{what}: left out.", rows=repeated)
    else:
        yield Finding(
            "duplicates",
            "warning",
            detail=f"{what}: counted again.",
            hint="If they are the same case, say `drop_duplicates: true` in a recipe.",
            rows=repeated,
        )
    if rows.height == 0:
        yield Finding("rows", "error", detail="No row is left.")


def _about_columns(recipe: Recipe, table: Table, schema: RowSchema) -> Iterator[Finding]:
    present = set(table.frame.columns)
    for feature in recipe.features:
        if feature.name not in present:
            yield Finding(
                "missing-column",
                "error",
                column=feature.name,
                detail=f"The recipe declares {feature.name!r}, and there is no such column.",
                hint=f"The columns are {', '.join(table.frame.columns[:50])}.",
            )
    if recipe.group and recipe.group not in present and not table.synthetic:
        yield Finding(
            "missing-column",
            "error",
            column=recipe.group,
            detail=f"The rows are to be grouped by {recipe.group!r}, and there is no such column.",
        )
    for name, rule in recipe.slices.items():
        column = rule.column if isinstance(rule, SliceRule) else rule
        if column not in present:
            yield Finding(
                "missing-column",
                "warning",
                column=column,
                detail=f"There is no column {column!r} to show figures by ({name}).",
            )
        elif isinstance(rule, str) and table.frame[column].n_unique() > MAX_PARTS:
            yield Finding(
                "parts",
                "warning",
                column=column,
                detail=f"{column!r} has more than {MAX_PARTS} different values: figures by it "
                f"({name}) are left out.",
                hint="Cut it: `{column: " + column + ", edges: [...]}`.",
            )
    examined = examine(recipe, table)
    yield from (column.finding for column in examined if column.finding)
    if not schema.features:
        yield Finding("features", "error", detail="No column is left to learn from.")
    for feature in schema.features:
        yield from _about_column(recipe, feature, table.frame[feature.name])


def _about_column(recipe: Recipe, feature: Feature, column: pl.Series) -> Iterator[Finding]:
    name, missing = feature.name, column.null_count()
    if missing == len(column):
        yield Finding(
            "all-missing", "warning", column=name, detail=f"{name!r} has no value in any row."
        )
    elif missing > _MOSTLY_MISSING * len(column):
        yield Finding(
            "missing",
            "warning",
            column=name,
            detail=f"{name!r} is missing in {missing / len(column):.0%} of the rows.",
            hint="A model can learn little from it.",
            rows=missing,
        )
    elif missing:
        yield Finding(
            "missing",
            "info",
            column=name,
            detail=f"{name!r} is missing in {counted(missing)}; the model takes rows without it.",
            rows=missing,
        )
    if missing == 0 and len(column) and column.n_unique() == 1:
        yield Finding(
            "constant", "warning", column=name, detail=f"{name!r} is the same in every row."
        )
    ours, theirs = _plain(name), _plain(recipe.target)
    alike = ours == theirs or (len(theirs) >= 3 and theirs in ours.split("_"))
    if alike and name not in recipe.trusted:
        yield Finding(
            "target-name",
            "warning",
            column=name,
            detail=f"{name!r} is called like the target {recipe.target!r}.",
            hint=f"If it is made from the target, leave it out: --drop {shlex.quote(name)}, or "
            "`drop` in a recipe.",
        )


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name.lower()).strip("_")


# -- Values -----------------------------------------------------------------------------


def _about_values(values: pl.DataFrame, features: list[Feature]) -> Iterator[Finding]:
    """Types, ranges and categories against the schema."""
    expected = pa.DataFrameSchema(
        {feature.name: _expected(feature, values[feature.name].dtype) for feature in features}
    )
    try:
        expected.validate(values, lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases
    else:
        return
    for feature in features:
        mine = cases.filter(pl.col("column") == feature.name)
        mistyped = mine.filter(pl.col("check").str.starts_with("dtype"))
        if mistyped.height:
            yield _mistyped(feature, values[feature.name])
            continue
        for (_, kind), failed in mine.group_by("check_number", "check", maintain_order=True):
            yield _outside(feature, str(kind), failed["failure_case"])


def _expected(feature: Feature, dtype: pl.DataType) -> pa.Column:
    """What pandera shall hold a column against."""
    if feature.kind == "category":
        as_numbers = numeric(feature.categories)
        allowed = [float(value) if as_numbers else value for value in feature.categories]
        kind = pl.Float64 if as_numbers else pl.String
        checks = [pa.Check.isin(allowed)]
    else:
        kind = pl.Float64
        checks = []
        if feature.minimum is not None:
            checks.append(pa.Check.ge(feature.minimum))
        if feature.maximum is not None:
            checks.append(pa.Check.le(feature.maximum))
        if feature.kind == "integer":
            checks.append(pa.Check(_whole, name="whole"))
    # Values of another type cannot be compared.
    return pa.Column(kind, checks if dtype == kind else [], nullable=True)


def _whole(data: pa.PolarsData) -> pl.LazyFrame:
    return data.lazyframe.select(pl.col(data.key) % 1 == 0)


def _mistyped(feature: Feature, column: pl.Series) -> Finding:
    wrong = column.filter(
        column.is_not_null() & column.cast(pl.Float64, strict=False).is_null()
        if column.dtype == pl.String
        else column.is_not_null()
    )
    shown = ", ".join(repr(value) for value in wrong.unique().sort().head(3).to_list())
    what = "a category of numbers" if feature.kind == "category" else f"declared as {feature.kind}"
    return Finding(
        "type",
        "error",
        column=feature.name,
        detail=f"{feature.name!r} is {what} and holds other values in {counted(len(wrong))}: "
        f"{shown}.",
        hint="Mend the values, or declare the column with `kind: category`.",
        rows=len(wrong),
    )


def _outside(feature: Feature, kind: str, failed: pl.Series) -> Finding:
    shown = ", ".join(failed.unique().sort().head(5).to_list())
    if kind.startswith("isin"):
        known = ", ".join(text(value) for value in feature.categories)
        return Finding(
            "category",
            "error",
            column=feature.name,
            detail=f"{feature.name!r} holds values that are not declared, in "
            f"{counted(len(failed))}: {shown}.",
            hint=f"Declared are {known}. Add what is missing, or mend the rows.",
            rows=len(failed),
        )
    if kind == "whole":
        return Finding(
            "type",
            "error",
            column=feature.name,
            detail=f"{feature.name!r} is declared as integer and holds fractions in "
            f"{counted(len(failed))}: {shown}.",
            hint="Declare it with `kind: number`.",
            rows=len(failed),
        )
    low = "no limit" if feature.minimum is None else f"{feature.minimum:g}"
    high = "no limit" if feature.maximum is None else f"{feature.maximum:g}"
    unit = f" {feature.unit}" if feature.unit else ""
    return Finding(
        "range",
        "error",
        column=feature.name,
        detail=f"{feature.name!r} is outside {low} to {high}{unit} in {counted(len(failed))}: "
        f"{shown}.",
        hint="Mend the rows, or declare a wider range: rows outside are refused when predicting.",
        rows=len(failed),
    )


# -- Leaks ------------------------------------------------------------------------------


def _leak(
    recipe: Recipe, feature: Feature, column: pl.Series, target: pl.Series, schema: RowSchema
) -> Iterator[Finding]:
    """Whether one feature alone gives the class away, by its values or by being missing."""
    share, what = _power(feature, column, target, schema)
    if share < LEAK:
        return
    yield Finding(
        "leakage",
        "warning" if feature.name in recipe.trusted else "error",
        column=feature.name,
        detail=f"{feature.name!r} alone tells {recipe.target!r} almost without fail ({what} "
        f"{share:.3f}): it is probably made from the answer, and not known when one is asked for.",
        hint=f"Leave it out: --drop {shlex.quote(feature.name)}, or `drop` in a recipe; or add it "
        "to `trusted` in a recipe, if it is honestly known beforehand.",
    )


def _power(
    feature: Feature, column: pl.Series, target: pl.Series, schema: RowSchema
) -> tuple[float, str]:
    """How well one feature tells the classes apart, and in what measure."""
    if len(schema.classes) > 2:
        return _decided(feature, column, target), "share of rows decided"
    positive = (target == schema.classes[1]).to_numpy()
    missing = column.is_null().to_numpy()
    by_absence = 0.0
    if 0.01 < missing.mean() < 0.99:
        by_absence = _auc(missing.astype(float), positive)
    if feature.kind == "category":
        rates = (
            pl.DataFrame({"value": column, "positive": positive})
            .with_columns(pl.col("positive").mean().over("value"), pl.len().over("value"))
            .select("positive", "len", distinct=pl.col("value").n_unique())
        )
        if len(column) < _ROWS_PER_CATEGORY * rates["distinct"][0]:
            return by_absence, "ROC-AUC"
        by_value = _auc(rates["positive"].to_numpy(), positive)
    else:
        known, among = column.drop_nulls().to_numpy(), positive[~missing]
        few = min(among.sum(), (~among).sum()) < _LEAST_KNOWN
        enough = not few and len(known) > _MOSTLY_MISSING * len(column)
        by_value = _auc(known, among) if enough else 0.0
    return max(by_value, by_absence), "ROC-AUC"


def _auc(values: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve of a single column, whichever way it points."""
    ones = int(positive.sum())
    zeros = len(positive) - ones
    if not ones or not zeros:
        return 0.0
    ranks = pl.Series(values).rank("average").to_numpy()
    area = float(ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros)
    return max(area, 1 - area)


def _decided(feature: Feature, column: pl.Series, target: pl.Series) -> float:
    """Share of rows whose class is the most frequent one among rows of the same value.

    0 where the most frequent class alone is as good.
    """
    if feature.kind != "category" and column.n_unique() > _BINS:
        column = column.rank("ordinal") * _BINS // (len(column) + 1)
    elif len(column) < _ROWS_PER_CATEGORY * column.n_unique():
        return 0.0
    counts = pl.DataFrame({"value": column, "target": target}).group_by("value", "target").len()
    right = counts.group_by("value").agg(pl.col("len").max())["len"].sum()
    most = target.value_counts()["count"].max()
    assert isinstance(most, int)
    return 0.0 if most >= LEAK * len(target) else int(right) / len(target)
