"""Store records as the pages show them. Every page module reads through these."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from andon import __version__
from andon.errors import AndonError
from andon.platform import Platform
from andon.store.clock import now
from andon.store.deployment_events import EventType
from andon.store.model_versions import split_stage_reason
from andon.store.records import Event, ModelVersion, Prediction
from andon.web.dashboard.contexts import EventLine, Found, Inspection, Lamp, Shell, Version
from andon.web.dashboard.wording import by, score, sick, unjudged, verdict

INKS = 8


def shell(
    platform: Platform, *, page: str, title: str, model: str, lamp: Lamp | None, names: list[str]
) -> Shell:
    """The frame of a page."""
    default = platform.settings.default_model
    if page == "models" and names and default not in names:
        # Its page is where a first model of pictures is dropped.
        names = sorted([*names, default])
    marks, alerts, approvals = _open(platform)
    return Shell(
        page=page,
        title=title,
        model=model,
        models=tuple(names),
        lamp=lamp,
        release=__version__,
        marks=marks,
        alerts=alerts,
        approvals=approvals,
        sign_out=platform.settings.credentials_required,
    )


def _open(platform: Platform) -> tuple[dict[str, str], int, int]:
    """The gravest open alert of each model, and how much is open: of alerts, and to decide."""
    try:
        alerts = platform.db.alerts.open()
        moment = now()
        waiting = [
            one
            for one in platform.db.actions.pending()
            if one.expires_at is None or one.expires_at > moment
        ]
    except AndonError:
        # The lamp says what is wrong with the database.
        return {}, 0, 0
    marks: dict[str, str] = {}
    for one in alerts:
        if one.model and one.severity != "info" and marks.get(one.model) != "critical":
            marks[one.model] = one.severity
    return marks, len(alerts), len(waiting)


def worst_model(platform: Platform) -> str:
    """The model that most needs a person: what the lamp of a page about all models shows."""
    usual = chosen_model(platform)
    marks, _, _ = _open(platform)
    rank = {"critical": 0, "warning": 1}
    ordered = sorted(marks, key=lambda one: (rank.get(marks[one], 2), one != usual, one))
    return ordered[0] if ordered else usual


def chosen_model(platform: Platform) -> str:
    """The model that pages are about where nobody names one: the default, if there is such.

    A home that has models of rows alone is not told to wait for one of pictures.
    """
    settings = platform.settings
    try:
        names = platform.db.models.names()
    except AndonError:
        # The pages stand without the database, and say what is wrong with it.
        return settings.default_model
    wanted = (settings.default_model, settings.default_tabular_model, *names)
    return next((one for one in wanted if one in names), settings.default_model)


def version(platform: Platform, record: ModelVersion) -> Version:
    """A stored version, with whether it is loaded here."""
    state = platform.engine.states().get(record.model)
    proof = record.proof or {}
    asked = record.total_inferences > 0
    latency = proof.get("latency_ms")
    return Version(
        number=record.version,
        model=record.model,
        name=str(record.description.get("name") or record.filename),
        filename=record.filename,
        format=record.format,
        size=record.file_size,
        hash=record.file_hash,
        notes=record.notes,
        source=record.source,
        status=record.status,
        active=record.is_active,
        loaded=state is not None and state.serving == record.version,
        damaged=record.damaged,
        uploaded=record.upload_date,
        deployed=record.deployed_date,
        inspections=record.total_inferences,
        detections=record.total_detections,
        latency_ms=record.avg_inference_time * 1000 if asked else None,
        confidence=record.avg_confidence if record.total_detections else None,
        proof_ms=None if latency is None else float(latency),
        threshold=threshold(platform, record),
        labels=tuple(str(label) for label in record.description.get("labels") or ()),
    )


def threshold(platform: Platform, record: ModelVersion) -> float:
    """From which confidence a version counts a detection where the request names none."""
    slot = platform.engine.slot(record.model)
    if slot is not None and slot.version.id == record.id:
        return slot.threshold
    chosen = record.options.get("threshold")
    if chosen is None and "confidence_threshold" not in platform.settings.model_fields_set:
        chosen = record.description.get("threshold")
    return float(chosen) if chosen else platform.settings.confidence_threshold


def picture_url(platform: Platform, row: Prediction) -> str:
    """Where the uploaded picture can be fetched; empty when it is not kept (any more)."""
    if not row.image_hash or not row.image_format:
        return ""
    kept = platform.pictures.get(row.image_hash, row.image_format)
    return f"/api/predictions/{row.id}/image" if kept else ""


def inspection(platform: Platform, row: Prediction, labels: tuple[str, ...]) -> Inspection:
    """A logged answer as a card; `labels` are the model's, for the colours.

    The boxes go over the uploaded picture as SVG: crisp at any size, and nothing is drawn on
    the machine that has boards to inspect.
    """
    ok = row.status == "success"
    name = row.image_name or "unnamed picture"
    return Inspection(
        id=row.id,
        name=name,
        version=row.model_version,
        when=row.timestamp,
        ok=ok,
        count=len(row.detections),
        verdict=_said(row) if ok else row.error or "The inspection failed.",
        camera=row.camera or "",
        sick=sick(row.camera_state) if ok else "",
        picture=picture_url(platform, row) if ok else "",
        width=row.image_width or 0,
        height=row.image_height or 0,
        found=found(row.detections, labels),
        href=f"/inspect?id={row.id}",
    )


def _said(row: Prediction) -> str:
    """The result in words, by what kind of answer it is.

    From a picture that shows nothing it does not follow that there is nothing.
    """
    if not row.detections and (why := unjudged(row.camera_state)):
        return why
    if row.prediction is not None and not row.detections:
        return f"{row.prediction} {score(row.probability)}"
    if row.probability is not None and not row.detections:
        return f"Nothing unusual, anomaly {score(row.probability)}"
    return verdict(row.detections, row.threshold or 0.0)


def found(detections: Iterable[dict[str, Any]], labels: tuple[str, ...]) -> tuple[Found, ...]:
    """Detections, most confident first, numbered and coloured as `static/overlay.js` does."""
    ranked = sorted(detections, key=lambda one: -float(one["confidence"]))
    return tuple(
        Found(
            number=number,
            label=str(one["label"]),
            confidence=float(one["confidence"]),
            x=int(one["bbox"][0]),
            y=int(one["bbox"][1]),
            width=int(one["bbox"][2]),
            height=int(one["bbox"][3]),
            color=ink(str(one["label"]), labels),
        )
        for number, one in enumerate(ranked, start=1)
    )


def ink(label: str, labels: tuple[str, ...]) -> int:
    """Colour and line pattern of a label: its place among the labels, else by its letters."""
    if label in labels:
        return labels.index(label) % INKS
    total = 0
    for letter in label:
        total = (total * 31 + ord(letter)) % 9973
    return total % INKS


_TEXTS = {
    EventType.ACTIVATE: "v{version} began to serve",
    EventType.ROLLBACK: "Rolled back to v{version}",
    EventType.REJECTED: "A model file was refused",
    EventType.DAMAGED: "The file of v{version} is damaged",
    EventType.DELETE: "v{version} was deleted",
    EventType.STAGE: "v{version} moved to {stage}",
    EventType.THRESHOLD: "The threshold of v{version} moved",
}
_KINDS = {
    EventType.ACTIVATE: "activate",
    EventType.ROLLBACK: "rollback",
    EventType.REJECTED: "rejected",
    EventType.DAMAGED: "rejected",
    EventType.DELETE: "delete",
    EventType.STAGE: "stage",
    EventType.THRESHOLD: "stage",
}
_FROM = {
    EventType.ACTIVATE: "v{version} took over from v{previous}",
    EventType.ROLLBACK: "Rolled back from v{previous} to v{version}",
}
_WAYS = {
    "api": "over HTTP",
    "cli": "in the terminal",
    "andon": "by Andon itself",
    "watch": "through the watch folder",
    "watcher": "through the watch folder",
    "training": "by its training",
    "schedule": "by the schedule",
}


def event(record: Event) -> EventLine:
    """A deployment event as a sentence."""
    known = record.event_type in set(EventType)
    kind = EventType(record.event_type) if known else None
    previous = record.previous_version
    if kind is None:
        pattern = record.event_type.capitalize() + ": v{version}"
    elif kind in _FROM and previous and previous != record.model_version:
        pattern = _FROM[kind]
    else:
        pattern = _TEXTS[kind]
    stage, reason = "", record.reason
    if kind is EventType.STAGE:
        stage, reason = split_stage_reason(record.reason)
    return EventLine(
        kind=_KINDS[kind] if kind else "other",
        text=pattern.format(version=record.model_version, previous=previous, stage=stage),
        reason=reason,
        actor=_WAYS.get(record.actor, by(record.actor)),
        when=record.timestamp,
        href=_evidence(record, kind),
    )


def _evidence(record: Event, kind: EventType | None) -> str:
    """The page with all that is known of a change; empty where there is no more to tell."""
    if record.action_id:
        return f"/actions/{quote(record.action_id)}"
    return f"/rollbacks/{record.id}" if kind is EventType.ROLLBACK else ""
