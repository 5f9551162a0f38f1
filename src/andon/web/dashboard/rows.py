"""Models of rows: which versions there are, the page of one, and how they turned out."""

from typing import Any

import msgspec

from andon import typed
from andon.errors import AndonError
from andon.monitoring import labels
from andon.platform import Platform
from andon.runtimes.rows import Feature, RowSchema
from andon.serving.stages import next_stages
from andon.store.records import ModelVersion, Prediction
from andon.web.dashboard import reading, state, traffic_panel, training_reading
from andon.web.dashboard.rendering import drawable
from andon.web.dashboard.training_contexts import (
    Grid,
    GridLine,
    Live,
    Measure,
    RowLine,
    RowModelsPage,
    RowVersion,
    RowVersionPage,
)
from andon.web.dashboard.versions import EVENTS, pairs
from andon.web.dashboard.wording import number, plural

# So many versions, from the newest, are listed with the intervals of their figures.
_CARDS = 20
REFUSED = "training"
"""The status of a version that did not pass its gate."""
# Metrics of labelled answers that a page shows.
_LIVE = ("f1", "accuracy", "precision", "recall")


def schema_of(record: ModelVersion | None) -> RowSchema | None:
    """What a version takes and answers; None where it is no model of rows."""
    told = record.description.get("rows") if record else None
    if not isinstance(told, dict):
        return None
    try:
        return typed.convert(told, RowSchema, strict=False)
    except msgspec.ValidationError:
        return None


def is_rows(platform: Platform, model: str) -> bool:
    """Whether a registered model answers rows: its newest version tells."""
    try:
        newest = next(iter(platform.db.models.list(model)), None)
    except AndonError:
        # The page of pictures stands without the database, and says what is wrong with it.
        return False
    return schema_of(newest) is not None


def class_text(schema: RowSchema | None, value: Any) -> str:
    """A class for people, given as its value or as the log has it."""
    if schema is not None:
        for place, one in enumerate(schema.classes):
            if one is value or plain(one) == plain(value):
                return schema.class_labels[place] if schema.class_labels else plain(one)
    return plain(value)


def plain(value: Any) -> str:
    """A value as the log has it: ``true`` for True, ``3`` for 3.0."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def class_names(schema: RowSchema | None) -> dict[str, str]:
    """The classes for people, by the text of their value."""
    classes = schema.classes if schema else ()
    return {plain(value): class_text(schema, value) for value in classes}


def positive_text(schema: RowSchema | None) -> str:
    """The class looked for, for people; empty with three or more classes."""
    if schema is None or schema.positive is None:
        return ""
    return class_text(schema, schema.classes[schema.positive])


def row_version(platform: Platform, record: ModelVersion) -> RowVersion:
    """A version with what was measured of it; lists give records without their card."""
    version = reading.version(platform, record)
    found = training_reading.measured(record.card)
    passed = record.status != REFUSED
    f1, auc = (found.measure("f1"), found.measure("roc_auc")) if found else _columns(record)
    return RowVersion(
        version=version,
        algorithm=found.algorithm_name if found else record.algorithm or "",
        f1=f1,
        auc=auc,
        synthetic=bool(found and found.data and found.data.synthetic),
        moves=() if version.damaged else tuple(next_stages(record)),
        warning="" if passed else "It did not pass its gate; its training says why.",
    )


def _columns(record: ModelVersion) -> tuple[Measure | None, Measure | None]:
    """F1 and ROC-AUC as far as the list tells them: without their intervals."""
    told = (("F1", record.f1_score), ("ROC-AUC", record.roc_auc))
    f1, auc = (None if value is None else Measure(name=name, value=value) for name, value in told)
    return f1, auc


def page(platform: Platform, model: str) -> RowModelsPage:
    """The context of the Models page."""
    facts = state.look(platform, model)
    versions = [row_version(platform, record) for record in _with_cards(platform, model)]
    versions.sort(key=lambda one: (not one.version.active, -one.version.number))
    previous = platform.db.models.previous(model)
    events, _ = platform.db.events.page(model=model, limit=EVENTS)
    schema = schema_of(next(iter(platform.db.models.list(model)), None))
    usable = [one.version.number for one in versions if not one.version.damaged]
    return RowModelsPage(
        shell=reading.shell(
            platform,
            page="models",
            title="Models",
            model=model,
            lamp=state.judge(facts),
            names=platform.db.models.names(),
        ),
        active=next((one.version for one in versions if one.version.active), None),
        versions=tuple(versions),
        previous=previous.version if previous else None,
        pair=(usable[0], usable[1]) if len(usable) > 1 else None,
        classes=class_names(schema),
        positive=positive_text(schema),
        events=tuple(reading.event(one) for one in events),
        traffic=traffic_panel.panel(platform, model, rows=True) if versions else None,
    )


def _with_cards(platform: Platform, model: str) -> list[ModelVersion]:
    """The versions of a model, those that people look at with their cards."""
    models = platform.db.models
    return [
        models.get(model, one.version) if one.is_active or place < _CARDS else one
        for place, one in enumerate(models.list(model))
    ]


def version_page(platform: Platform, model: str, number: int) -> RowVersionPage:
    """The context of one version's page.

    Raises:
        NotFound: There is no such version.
    """
    record = platform.db.models.get(model, number)
    schema = schema_of(record)
    found = training_reading.measured(record.card)
    one = row_version(platform, record)
    events, _ = platform.db.events.page(model=model, limit=200)
    return RowVersionPage(
        shell=reading.shell(
            platform,
            page="models",
            title=f"{model} v{number}",
            model=model,
            lamp=state.judge(state.look(platform, model)),
            names=platform.db.models.names(),
        ),
        one=one,
        version=one.version,
        run=platform.db.models.training_run(record.id) or "",
        evaluation=training_reading.evaluation(found, f"v{number}", class_names(schema))
        if found
        else None,
        features=features(schema),
        live=live(platform, record),
        options=pairs(record.options),
        warnings=tuple(str(text) for text in record.description.get("warnings") or ()),
        events=tuple(
            reading.event(told)
            for told in events
            if number in {told.model_version, told.previous_version}
        ),
        drawable=drawable(),
        traffic=traffic_panel.panel(platform, model, record, rows=True),
    )


def features(schema: RowSchema | None) -> Grid:
    """What a model takes, as a table."""
    known = schema.features if schema else ()
    return Grid(
        id="features",
        title="Features",
        columns=(
            ("Feature", False),
            ("Meaning", False),
            ("Kind", False),
            ("Values", False),
            ("May be missing", False),
        ),
        lines=tuple(
            GridLine(
                cells=(
                    one.name,
                    one.description or "–",
                    {"number": "number", "integer": "whole number", "category": "choice"}[one.kind],
                    values_of(one),
                    "yes" if one.nullable else "no",
                )
            )
            for one in known
        ),
    )


def values_of(feature: Feature) -> str:
    """The values a feature takes, in words."""
    if feature.kind == "category":
        labels = feature.labels or ("",) * len(feature.categories)
        named = zip(feature.categories, labels, strict=False)
        return ", ".join(f"{plain(value)} {label}".strip() for value, label in named)
    low, high = feature.minimum, feature.maximum
    unit = f" {feature.unit}" if feature.unit else ""
    if low is not None and high is not None:
        return f"{number(low)} to {number(high)}{unit}"
    if low is not None:
        return f"from {number(low)}{unit}"
    return f"up to {number(high)}{unit}" if high is not None else f"any{unit}"


def line(row: Prediction, schema: RowSchema | None) -> RowLine:
    """A logged answer about a row."""
    ok = row.status == "success"
    known = row.actual is not None
    positive = False
    probability = row.probability
    if schema is not None and schema.positive is not None:
        positive = plain(schema.classes[schema.positive]) == str(row.prediction)
    return RowLine(
        id=row.id,
        href=f"/inspect?id={row.id}",
        when=row.timestamp,
        ok=ok,
        label=class_text(schema, row.prediction) if ok else _refusal(row.error),
        positive=positive,
        probability=probability if ok else None,
        version=row.model_version,
        subject=row.subject or "",
        actual=class_text(schema, row.actual) if known else "",
        right=plain(row.actual) == str(row.prediction) if known and ok else None,
    )


def _refusal(error: str | None) -> str:
    """Why a row was not answered, without what only a program can follow."""
    return (error or "").removesuffix(" See `errors`.") or "It could not be answered."


def live(platform: Platform, record: ModelVersion | None) -> Live:
    """How the answers of a version turned out, by what people said of them later."""
    if record is None:
        return Live(labelled=0, measures=(), sentence="No version serves.")
    told = labels.measure(platform.db, record)
    measures = tuple(
        Measure(name=training_reading.METRICS[name], value=one.value, low=one.low, high=one.high)
        for name in _LIVE
        if (one := told.metrics.get(name)) is not None and one.value is not None
    )
    if not told.labelled:
        sentence = "Nobody has said yet what any answer really was."
    elif measures:
        sentence = f"Over {plural(told.labelled, 'answer')} whose truth is known."
    else:
        sentence = (
            f"Not enough labels: the truth of {plural(told.labelled, 'answer')} is known; "
            f"{told.needed} are needed."
        )
    return Live(labelled=told.labelled, measures=measures, sentence=sentence)
