"""Versions of registered models: numbers, stages, which one is active, running totals.

A change of what serves and its deployment event are one transaction, so history and state
cannot disagree. Files are `registry`'s; here is only the row.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Select, case, func, insert, select, text, update

from andon.errors import Conflict, ModelDamaged, NotFound
from andon.store.clock import now
from andon.store.connections import Connections
from andon.store.deployment_events import EventType, insert_event, serving_history
from andon.store.records import Event, ModelVersion
from andon.store.tables import model_versions, registered_models, training_runs

# Whoever changes versions takes this advisory lock (PostgreSQL; SQLite has one writer).
_LOCK = 0x76657273

# What a person may do with a version that does not serve. Production is not among them:
# activating proves the file and switches what serves.
_MOVES = {
    "training": ("staging", "archived"),
    "staging": ("archived",),
    "archived": ("staging",),
}

# Measured on the held-out rows: column by the card's name.
_MEASURED = {
    "accuracy": "accuracy",
    "f1": "f1_score",
    "precision": "precision",
    "recall": "recall",
    "roc_auc": "roc_auc",
}

# Inside the class `list` is the repository's own.
Versions = list[ModelVersion]


class ModelVersions:
    """The queries of `registered_models` and `model_versions`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @contextmanager
    def exclusive(self) -> Iterator[Connection]:
        """A writing transaction during which no version is added, activated or deleted.

        `registry` compares files with rows inside it: a file that has just been put in place
        for a row not yet committed cannot be mistaken for a leftover.
        """
        with self._connections.write() as connection:
            if self._connections.path is None:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            yield connection

    def ensure_model(self, name: str, task: str) -> None:
        """Register a model's name unless it is registered; its task is then kept."""
        if name in self.names():
            return
        with self.exclusive() as connection:
            _ensure_model(connection, name, task)

    def names(self) -> list[str]:
        """The registered models, in alphabetical order."""
        with self._connections.read() as connection:
            query = select(registered_models.c.name).order_by(registered_models.c.name)
            return list(connection.scalars(query))

    def add(
        self,
        model: str,
        *,
        filename: str,
        file_hash: str,
        file_size: int,
        format: str,  # noqa: A002 - the column's name
        source: str,
        notes: str = "",
        options: dict[str, Any] | None = None,
        description: dict[str, Any] | None = None,
        status: str = "staging",
        card: dict[str, Any] | None = None,
        reference: dict[str, Any] | None = None,
        place: Callable[[int], None] | None = None,
    ) -> ModelVersion:
        """Add the next version of `model`, registering the model when it is new.

        Args:
            model: Registered model's name.
            filename: Name the file came with.
            file_hash: SHA-256, 64 hexadecimal digits.
            file_size: Bytes.
            format: Runtime's name: "onnx", "eim".
            source: How it came: "upload", "watch", "cli", "python", …
            notes: For people.
            options: What a person overrode at upload.
            description: What the loaded model said of itself.
            status: "staging", or "training" for one that did not pass its gate.
            card: What was measured of it; its main figures become columns.
            reference: What its training data looked like.
            place: Called with the new number before the row is committed, to put the file in
                place; when it raises, there is no row.

        Raises:
            Conflict: The model has a version with the same content.
        """
        about = description or {}
        with self.exclusive() as connection:
            _ensure_model(connection, model, str(about.get("task", "")))
            same = connection.execute(
                _select().where(
                    model_versions.c.model_name == model,
                    model_versions.c.file_hash == file_hash,
                    model_versions.c.deleted_at.is_(None),
                )
            ).first()
            if same is not None:
                raise Conflict(
                    f"Version {same.version} of model {model} has the same content.",
                    hint="Activate that version instead.",
                )
            last = connection.scalar(
                select(func.max(model_versions.c.version)).where(
                    model_versions.c.model_name == model
                )
            )
            number = (last or 0) + 1
            values = {
                "model_name": model,
                "version": number,
                "filename": filename,
                "file_hash": file_hash,
                "file_size": file_size,
                "format": format,
                "status": status,
                "source": source,
                "notes": notes,
                "options": options or {},
                "description": about,
                "card": card,
                "reference": reference,
                "created_at": now(),
                **_from_card(card or {}),
            }
            connection.execute(insert(model_versions).values(values))
            if place is not None:
                place(number)
            row = connection.execute(_one(model, number, whole=True)).one()
        return _record(row)

    def get(self, model: str, version: int) -> ModelVersion:
        """One version.

        Raises:
            NotFound: There is no such version, or it was deleted.
        """
        with self._connections.read() as connection:
            return _record(_live(connection, model, version, whole=True))

    def by_id(self, version_id: int) -> ModelVersion:
        """The version with a row id, also when it was deleted since.

        Raises:
            NotFound: There never was one.
        """
        with self._connections.read() as connection:
            row = connection.execute(
                _select(whole=True).where(model_versions.c.id == version_id)
            ).first()
        if row is None:
            raise NotFound(f"There is no model version with the id {version_id}.")
        return _record(row)

    def by_hash(self, model: str, sha256: str) -> ModelVersion | None:
        """The version of `model` with this content, or None."""
        return self._first(
            _select().where(
                model_versions.c.model_name == model,
                model_versions.c.file_hash == sha256,
                model_versions.c.deleted_at.is_(None),
            )
        )

    def active(self, model: str) -> ModelVersion | None:
        """The version that serves, or None."""
        return self._first(
            _select().where(model_versions.c.model_name == model, model_versions.c.is_active)
        )

    def all_active(self) -> Versions:
        """The active version of every model that has one, by model name."""
        query = _select().where(model_versions.c.is_active).order_by(model_versions.c.model_name)
        return self._all(query)

    def list(self, model: str | None = None) -> Versions:
        """The versions of one model, or of all, newest first; deleted ones are left out.

        Here and in all that follows, records come without `card` and `reference`.
        """
        query = _select().where(model_versions.c.deleted_at.is_(None))
        if model is not None:
            query = query.where(model_versions.c.model_name == model)
        return self._all(query.order_by(model_versions.c.id.desc()))

    def all_ever(self) -> Versions:
        """Every version there ever was, deleted ones included, oldest first."""
        return self._all(_select().order_by(model_versions.c.id))

    def set_active(
        self,
        model: str,
        version: int,
        *,
        event_type: str = "ACTIVATE",
        reason: str = "",
        actor: str = "",
        action_id: str | None = None,
    ) -> Event:
        """Make one version the active one, archive the other, write it into the history.

        Activating the active version changes nothing and answers the event that made it so.

        Raises:
            NotFound: There is no such version, or it was deleted.
            ModelDamaged: Its file cannot be used.
        """
        with self.exclusive() as connection:
            target = _live(connection, model, version)
            if target.damaged:
                raise ModelDamaged(
                    f"Version {version} of model {model} cannot serve: {target.damaged}",
                    hint="Upload the file again, or activate another version.",
                )
            before = connection.execute(
                _select().where(model_versions.c.model_name == model, model_versions.c.is_active)
            ).first()
            if before is not None and before.id == target.id:
                known = serving_history(connection, model)
                if known and known[-1].model_version == version:
                    return known[-1]
            elif before is not None:
                _update(connection, before.id, is_active=False, status="archived")
            moment = now()
            _update(connection, target.id, is_active=True, status="production", deployed_at=moment)
            return insert_event(
                connection,
                model=model,
                model_id=target.id,
                version=version,
                event_type=event_type,
                reason=reason,
                previous_version=None if before is None else before.version,
                actor=actor,
                timestamp=moment,
                action_id=action_id,
            )

    def set_stage(
        self, model: str, version: int, stage: str, reason: str = "", actor: str = ""
    ) -> Event | None:
        """Move a version that does not serve to another stage, and write down why.

        Args:
            model: Registered model's name.
            version: Its number.
            stage: "staging" or "archived". (`set_active` makes a version production.)
            reason: For people.
            actor: Who does it.

        Returns:
            The event; None where the version is at that stage already.

        Raises:
            NotFound: There is no such version, or it was deleted.
            Conflict: It serves, or there is no way from its stage to that one.
        """
        with self.exclusive() as connection:
            row = _live(connection, model, version)
            if row.status == stage:
                return None
            what = f"Version {version} of model {model}"
            if row.is_active:
                raise Conflict(
                    f"{what} serves and cannot be moved to {stage}.",
                    hint="Activate another version or roll back first; that archives this one.",
                )
            allowed = _MOVES.get(row.status, ())
            if stage not in allowed:
                raise Conflict(
                    f"{what} is at stage {row.status} and cannot be moved to {stage}.",
                    hint=f"From {row.status} it may go to {' or '.join(allowed) or 'no other'}.",
                )
            _update(connection, row.id, status=stage)
            return insert_event(
                connection,
                model=model,
                model_id=row.id,
                version=version,
                event_type=EventType.STAGE,
                reason=stage_reason(row.status, stage, reason),
                previous_version=None,
                actor=actor,
                timestamp=now(),
            )

    def set_threshold(
        self,
        model: str,
        version: int,
        value: float | None,
        *,
        reason: str = "",
        actor: str = "",
        action_id: str | None = None,
    ) -> Event | None:
        """Set the threshold of a version, and write down why.

        Args:
            model: Registered model's name.
            version: Its number.
            value: 0 to 1; None: the one it came with.
            reason: For people.
            actor: Who does it.
            action_id: Of the agent's action, if it is one.

        Returns:
            The event; None where the version has this threshold already.

        Raises:
            NotFound: There is no such version, or it was deleted.
        """
        with self.exclusive() as connection:
            row = _live(connection, model, version)
            if row.threshold == value:
                return None
            _update(connection, row.id, threshold=value)
            words = ["its own" if one is None else f"{one:g}" for one in (row.threshold, value)]
            return insert_event(
                connection,
                model=model,
                model_id=row.id,
                version=version,
                event_type=EventType.THRESHOLD,
                reason=f"{words[0]} → {words[1]}: {reason}".removesuffix(": "),
                previous_version=None,
                actor=actor,
                timestamp=now(),
                action_id=action_id,
            )

    def training_run(self, version_id: int) -> str | None:
        """The id of the training that a version came from, or None."""
        query = (
            select(training_runs.c.id)
            .where(training_runs.c.model_id == version_id)
            .order_by(training_runs.c.id)
            .limit(1)
        )
        with self._connections.read() as connection:
            found: str | None = connection.scalar(query)
        return found

    def previous(self, model: str) -> ModelVersion | None:
        """The version to go back to: the one that served before the active one did.

        A rollback undoes the activation it answers, so going back twice goes further back
        and never forth to the version that was given up. Deleted and damaged ones are
        skipped. None where nothing is left.
        """
        with self._connections.read() as connection:
            rows = connection.execute(_select().where(model_versions.c.model_name == model)).all()
            events = serving_history(connection, model)
        by_number = {row.version: row for row in rows}
        active = next((row.version for row in rows if row.is_active), None)
        served: list[int] = []
        for event in events:
            if event.event_type == "ROLLBACK" and event.model_version in served:
                while served[-1] != event.model_version:
                    served.pop()
            elif not served or served[-1] != event.model_version:
                served.append(event.model_version)
        if active is not None and active in served:
            while served and served[-1] != active:
                served.pop()
        for number in reversed(served):
            row = by_number.get(number)
            usable = row is not None and row.deleted_at is None and not row.damaged
            if usable and number != active:
                return _record(row)
        return None

    def delete(self, model: str, version: int) -> None:
        """Delete a version; its row stays for the history, its content may be added again.

        Raises:
            NotFound: There is no such version, or it was deleted.
            Conflict: It is the active one.
        """
        with self.exclusive() as connection:
            row = _live(connection, model, version)
            if row.is_active:
                raise Conflict(
                    f"Version {version} of model {model} is active and cannot be deleted.",
                    hint="Activate another version first.",
                )
            _update(connection, row.id, deleted_at=now(), status="archived")

    def mark_damaged(self, version_id: int, why: str) -> None:
        """Say why a version's file cannot be used; an empty text says that it can again."""
        with self._connections.write() as connection:
            _update(connection, version_id, damaged=why)

    def set_description(self, version_id: int, description: dict[str, Any]) -> None:
        """Keep what the loaded model says of itself."""
        with self._connections.write() as connection:
            _update(connection, version_id, description=description)

    def set_proof(self, version_id: int, proof: dict[str, Any] | None) -> None:
        """Keep what proving the version measured."""
        with self._connections.write() as connection:
            _update(connection, version_id, proof=proof)

    def totals(self, model: str) -> dict[str, Any]:
        """Sums over all versions of `model`, deleted ones included.

        Returns:
            `total_inferences`, `total_detections`, `avg_confidence` (0 to 1) and
            `avg_inference_time` (seconds); zeros where nothing was answered.
        """
        with self._connections.read() as connection:
            totals = sum_totals(connection, model)
        del totals["active_version"]
        return totals

    def _first(self, query: Select[Any]) -> ModelVersion | None:
        with self._connections.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else _record(row)

    def _all(self, query: Select[Any]) -> Versions:
        with self._connections.read() as connection:
            return [_record(row) for row in connection.execute(query)]


def sum_totals(connection: Connection, model: str) -> dict[str, Any]:
    """The sums of `ModelVersions.totals` and the `active_version` (None without one)."""
    columns = model_versions.c
    query = select(
        func.max(case((columns.is_active, columns.version))),
        func.coalesce(func.sum(columns.total_inferences), 0),
        func.coalesce(func.sum(columns.total_detections), 0),
        func.coalesce(func.sum(columns.total_confidence), 0.0),
        func.coalesce(func.sum(columns.total_inference_time), 0.0),
    ).where(columns.model_name == model)
    active, answers, detections, confidence, seconds = connection.execute(query).one()
    # PostgreSQL sums whole numbers as decimals.
    inferences = int(answers)
    return {
        "active_version": active,
        "total_inferences": inferences,
        "total_detections": int(detections),
        "avg_confidence": confidence / inferences if inferences else 0.0,
        "avg_inference_time": seconds / inferences if inferences else 0.0,
    }


def stage_reason(before: str, stage: str, reason: str) -> str:
    """What an event of type STAGE says: from where to where, and why."""
    return f"{before} → {stage}: {reason}".removesuffix(": ")


def split_stage_reason(text: str) -> tuple[str, str]:
    """The stage and the reason that `stage_reason` was given."""
    moved, _, reason = text.partition(": ")
    return moved.rpartition(" ")[2], reason


# Large, and of no use in lists.
_LIGHT = [column for column in model_versions.c if column.name not in {"card", "reference"}]


def _select(*, whole: bool = False) -> Select[Any]:
    return select(model_versions) if whole else select(*_LIGHT)


def _one(model: str, version: int, *, whole: bool = False) -> Select[Any]:
    return _select(whole=whole).where(
        model_versions.c.model_name == model, model_versions.c.version == version
    )


def _from_card(card: dict[str, Any]) -> dict[str, Any]:
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


def _live(connection: Connection, model: str, version: int, *, whole: bool = False) -> Any:
    row = connection.execute(_one(model, version, whole=whole)).first()
    if row is None or row.deleted_at is not None:
        state = "was deleted" if row is not None else "does not exist"
        raise NotFound(
            f"Version {version} of model {model} {state}.",
            hint="`andon models list` shows the versions there are.",
        )
    return row


def _ensure_model(connection: Connection, name: str, task: str) -> None:
    known = connection.scalar(
        select(registered_models.c.name).where(registered_models.c.name == name)
    )
    if known is None:
        values = {"name": name, "task": task, "created_at": now()}
        connection.execute(insert(registered_models).values(values))


def _update(connection: Connection, version_id: int, **values: Any) -> None:
    connection.execute(
        update(model_versions).where(model_versions.c.id == version_id).values(values)
    )


def _record(row: Any) -> ModelVersion:
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
