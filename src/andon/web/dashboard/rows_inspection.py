"""The Inspect page of a model of rows: a form made from its schema, and past answers."""

from typing import Any
from urllib.parse import urlencode

import msgspec
from sqlalchemy import select

from andon.errors import NotFound
from andon.platform import Platform
from andon.runtimes.rows import Feature, RowSchema
from andon.store.records import ModelVersion, Prediction
from andon.store.tables import PredictionRow
from andon.web.dashboard import reading, rows, state
from andon.web.dashboard.training_contexts import (
    AnswerClass,
    FieldChoice,
    FieldGroup,
    FormField,
    RowHistory,
    RowInspectPage,
    ShownRow,
)

PAGE = 20


def page(platform: Platform, model: str, *, shown_id: str = "", before: str = "") -> RowInspectPage:
    """The context of the Inspect page.

    Args:
        platform: What everything is read from.
        model: Registered model.
        shown_id: Answer to open; empty: none.
        before: Cursor of the history's page; empty: the newest.
    """
    row, missing = _opened(platform, shown_id)
    record = _answering(platform, model)
    schema = rows.schema_of(record)
    given = _given(platform, row.id) if row is not None else {}
    threshold = schema.threshold if schema and schema.positive is not None else None
    return RowInspectPage(
        shell=reading.shell(
            platform,
            page="inspect",
            title="Inspect",
            model=model,
            lamp=state.judge(state.look(platform, model)),
            names=platform.db.models.names(),
        ),
        active=reading.version(platform, record) if record else None,
        synthetic=_synthetic(platform, record),
        groups=form(schema, given) if schema else (),
        classes=classes_of(schema),
        positive=classes_of(schema)[schema.positive]
        if schema and schema.positive is not None
        else None,
        threshold=threshold,
        shown=_shown(row, given, schema) if row is not None else None,
        missing=missing,
        history=history(platform, model, schema, before=before),
    )


def model_of(platform: Platform, shown_id: str) -> str:
    """The model that gave a logged answer; empty where there is none."""
    row, _ = _opened(platform, shown_id)
    return row.model if row is not None else ""


def _answering(platform: Platform, model: str) -> ModelVersion | None:
    """The version that answers now, or None."""
    slot = platform.engine.slot(model)
    return slot.version if slot is not None else None


def _synthetic(platform: Platform, record: ModelVersion | None) -> bool:
    """Whether a version learned from made-up data; its card tells, which the slot has not."""
    if record is None:
        return False
    known = platform.db.models.get(record.model, record.version)
    return rows.row_version(platform, known).synthetic


def _opened(platform: Platform, shown_id: str) -> tuple[Prediction | None, str]:
    if not shown_id:
        return None, ""
    try:
        return platform.db.predictions.get(shown_id.lower()), ""
    except NotFound:
        return None, (
            "This answer is not in the log. It may have been removed, or the link is cut short."
        )


def _given(platform: Platform, prediction_id: str) -> dict[str, Any]:
    """The row of an answer, as it was given; empty where it was not kept."""
    query = select(PredictionRow.features).where(PredictionRow.id == prediction_id)
    with platform.db.read() as connection:
        return dict(connection.scalar(query) or {})


def classes_of(schema: RowSchema | None) -> tuple[AnswerClass, ...]:
    """What a model can answer, in the order of its output."""
    if schema is None:
        return ()
    return tuple(
        AnswerClass(value=_json(one), key=rows.plain(one), text=rows.class_text(schema, one))
        for one in schema.classes
    )


def form(schema: RowSchema, given: dict[str, Any]) -> tuple[FieldGroup, ...]:
    """The fields of a model's form: numbers first, then choices.

    Args:
        schema: What the model takes.
        given: Values to start with; features it does not name start with their typical value.
    """
    fields = [
        _field(place, one, given.get(one.name, one.typical))
        for place, one in enumerate(schema.features)
    ]
    groups = (
        ("Numbers", tuple(one for one in fields if one.kind != "category")),
        ("Choices", tuple(one for one in fields if one.kind == "category")),
    )
    return tuple(FieldGroup(title=title, fields=some) for title, some in groups if some)


def _field(place: int, feature: Feature, value: Any) -> FormField:
    number = feature.kind != "category"
    limits = rows.values_of(feature) if number else ""
    return FormField(
        id=f"feature-{place}",
        name=feature.name,
        label=feature.description or feature.name,
        hint="" if limits.startswith("any") else limits,
        unit=feature.unit,
        kind=feature.kind,
        minimum="" if feature.minimum is None else f"{feature.minimum:.12g}",
        maximum="" if feature.maximum is None else f"{feature.maximum:.12g}",
        step="1" if feature.kind == "integer" else "any",
        nullable=feature.nullable,
        value="" if value is None else f"{value:.12g}" if _is_number(value) else str(value),
        choices=() if number else _choices(feature, value),
    )


def _choices(feature: Feature, value: Any) -> tuple[FieldChoice, ...]:
    labels = feature.labels or tuple(rows.plain(one) for one in feature.categories)
    known = [
        FieldChoice(value=_json(one), text=label, chosen=rows.plain(one) == rows.plain(value))
        for one, label in zip(feature.categories, labels, strict=False)
    ]
    if feature.nullable or not any(one.chosen for one in known):
        text = "Unknown" if feature.nullable else "Please choose"
        chosen = not any(one.chosen for one in known)
        known.insert(0, FieldChoice(value="", text=text, chosen=chosen))
    return tuple(known)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _shown(row: Prediction, given: dict[str, Any], schema: RowSchema | None) -> ShownRow:
    labels = {one.name: one for one in schema.features} if schema else {}
    return ShownRow(
        line=rows.line(row, schema),
        threshold=row.threshold,
        latency_ms=row.latency_ms,
        features=tuple((name, _told(labels.get(name), value)) for name, value in given.items()),
    )


def _told(feature: Feature | None, value: Any) -> str:
    """A value of a row for people."""
    if value is None:
        return "unknown"
    if feature is not None and feature.labels:
        for one, label in zip(feature.categories, feature.labels, strict=False):
            if rows.plain(one) == rows.plain(value):
                return label
    unit = f" {feature.unit}" if feature is not None and feature.unit else ""
    return f"{rows.plain(value)}{unit}"


def history(
    platform: Platform, model: str, schema: RowSchema | None, *, before: str = ""
) -> RowHistory:
    """One page of past rows, newest first."""
    found, following = platform.db.predictions.page(model=model, before=before or None, limit=PAGE)
    return RowHistory(
        items=tuple(rows.line(row, schema) for row in found),
        older=urlencode({"model": model, "before": following}) if following else "",
        newer=urlencode({"model": model}) if before else "",
    )
