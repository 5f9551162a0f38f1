"""Rows of `model_versions` for the queries around them: selecting, changing, making a record."""

from typing import Any

from sqlalchemy import Connection, Select, insert, select, update

from andon.errors import Conflict, NotFound
from andon.store.clock import now
from andon.store.records import ModelVersion
from andon.store.tables import deployment_events, model_versions, registered_models

# Measured on the held-out rows: column by the card's name.
_MEASURED = {
    "accuracy": "accuracy",
    "f1": "f1_score",
    "precision": "precision",
    "recall": "recall",
    "roc_auc": "roc_auc",
}

# Large, and of no use in lists.
_LIGHT = [column for column in model_versions.c if column.name not in {"card", "reference"}]


def select_versions(*, whole: bool = False) -> Select[Any]:
    """A query of versions; `card` and `reference` come only with `whole`."""
    return select(model_versions) if whole else select(*_LIGHT)


def one_version(model: str, version: int, *, whole: bool = False) -> Select[Any]:
    """The query of one version by its number."""
    return select_versions(whole=whole).where(
        model_versions.c.model_name == model, model_versions.c.version == version
    )


def card_columns(card: dict[str, Any]) -> dict[str, Any]:
    """The columns that a card fills; None where it says nothing."""
    metrics = (card.get("held_out") or {}).get("metrics") or {}
    columns = {column: (metrics.get(name) or {}).get("value") for name, column in _MEASURED.items()}
    features = card.get("features") or []
    names = [one["name"] if isinstance(one, dict) else one for one in features]
    return {
        **columns,
        "algorithm": card.get("algorithm"),
        "hyperparameters": card.get("hyperparameters"),
        "feature_names": names or None,
    }


def refuse_again(connection: Connection, model: str, action_id: str | None) -> None:
    """Refuse what an action has done already: its process was believed dead, and was not.

    Raises:
        Conflict: There is an event of it.
    """
    if action_id is None:
        return
    events = deployment_events.c
    same = (events.model_name == model) & (events.action_id == action_id)
    if connection.scalar(select(events.id).where(same).limit(1)) is not None:
        raise Conflict(f"The action {action_id} was done already.")


def live_version(connection: Connection, model: str, version: int, *, whole: bool = False) -> Any:
    """The row of a version that was not deleted.

    Raises:
        NotFound: There is no such version, or it was deleted.
    """
    row = connection.execute(one_version(model, version, whole=whole)).first()
    if row is None or row.deleted_at is not None:
        state = "was deleted" if row is not None else "does not exist"
        raise NotFound(
            f"Version {version} of model {model} {state}.",
            hint="`andon models list` shows the versions there are.",
        )
    return row


def ensure_model(connection: Connection, name: str, task: str) -> None:
    """Register a model's name unless it is registered."""
    known = connection.scalar(
        select(registered_models.c.name).where(registered_models.c.name == name)
    )
    if known is None:
        values = {"name": name, "task": task, "created_at": now()}
        connection.execute(insert(registered_models).values(values))


def update_version(connection: Connection, version_id: int, **values: Any) -> None:
    """Change columns of one version."""
    connection.execute(
        update(model_versions).where(model_versions.c.id == version_id).values(values)
    )


def version_record(row: Any) -> ModelVersion:
    """What the rest of Andon gets to see of a row."""
    inferences = row.total_inferences
    return ModelVersion(
        id=row.id,
        model=row.model_name,
        version=row.version,
        filename=row.filename,
        file_hash=row.file_hash,
        file_size=row.file_size,
        format=row.format,
        status=row.status,
        is_active=row.is_active,
        source=row.source,
        notes=row.notes,
        options=row.options,
        description=row.description,
        upload_date=row.created_at,
        deployed_date=row.deployed_at,
        deleted_date=row.deleted_at,
        damaged=row.damaged,
        proof=row.proof,
        accuracy=row.accuracy,
        total_inferences=inferences,
        total_detections=row.total_detections,
        avg_inference_time=row.total_inference_time / inferences if inferences else 0.0,
        avg_confidence=row.total_confidence / inferences if inferences else 0.0,
        # Selected only where they are wanted.
        card=getattr(row, "card", None),
        reference=getattr(row, "reference", None),
        algorithm=row.algorithm,
        f1_score=row.f1_score,
        precision=row.precision,
        recall=row.recall,
        roc_auc=row.roc_auc,
        threshold=row.threshold,
    )
