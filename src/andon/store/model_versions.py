"""Versions of registered models: numbers, stages, which one is active, running totals.

A change of what serves and its deployment event are one transaction, so history and state
cannot disagree. Files are `registry`'s; here is only the row.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Select, case, func, insert, select, text

from andon.errors import Conflict, ModelDamaged, NotFound
from andon.store.clock import now
from andon.store.connections import Connections
from andon.store.deployment_events import EventType, insert_event, serving_history
from andon.store.records import Event, ModelVersion
from andon.store.tables import model_versions, registered_models, training_runs
from andon.store.version_rows import (
    card_columns,
    ensure_model,
    live_version,
    one_version,
    refuse_again,
    select_versions,
    update_version,
    version_record,
)

# Whoever changes versions takes this advisory lock (PostgreSQL; SQLite has one writer).
_LOCK = 0x76657273

# What a person may do with a version that does not serve. Production is not among them:
# activating proves the file and switches what serves.
_MOVES = {
    "training": ("staging", "archived"),
    "staging": ("archived",),
    "archived": ("staging",),
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
            ensure_model(connection, name, task)

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
            ensure_model(connection, model, str(about.get("task", "")))
            same = connection.execute(
                select_versions().where(
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
                **card_columns(card or {}),
            }
            connection.execute(insert(model_versions).values(values))
            if place is not None:
                place(number)
            row = connection.execute(one_version(model, number, whole=True)).one()
        return version_record(row)

    def get(self, model: str, version: int) -> ModelVersion:
        """One version.

        Raises:
            NotFound: There is no such version, or it was deleted.
        """
        with self._connections.read() as connection:
            return version_record(live_version(connection, model, version, whole=True))

    def by_id(self, version_id: int) -> ModelVersion:
        """The version with a row id, also when it was deleted since.

        Raises:
            NotFound: There never was one.
        """
        with self._connections.read() as connection:
            row = connection.execute(
                select_versions(whole=True).where(model_versions.c.id == version_id)
            ).first()
        if row is None:
            raise NotFound(f"There is no model version with the id {version_id}.")
        return version_record(row)

    def by_hash(self, model: str, sha256: str) -> ModelVersion | None:
        """The version of `model` with this content, or None."""
        return self._first(
            select_versions().where(
                model_versions.c.model_name == model,
                model_versions.c.file_hash == sha256,
                model_versions.c.deleted_at.is_(None),
            )
        )

    def active(self, model: str) -> ModelVersion | None:
        """The version that serves, or None."""
        return self._first(
            select_versions().where(
                model_versions.c.model_name == model, model_versions.c.is_active
            )
        )

    def all_active(self) -> Versions:
        """The active version of every model that has one, by model name."""
        query = (
            select_versions()
            .where(model_versions.c.is_active)
            .order_by(model_versions.c.model_name)
        )
        return self._all(query)

    def list(self, model: str | None = None) -> Versions:
        """The versions of one model, or of all, newest first; deleted ones are left out.

        Here and in all that follows, records come without `card` and `reference`.
        """
        query = select_versions().where(model_versions.c.deleted_at.is_(None))
        if model is not None:
            query = query.where(model_versions.c.model_name == model)
        return self._all(query.order_by(model_versions.c.id.desc()))

    def all_ever(self) -> Versions:
        """Every version there ever was, deleted ones included, oldest first."""
        return self._all(select_versions().order_by(model_versions.c.id))

    def set_active(
        self,
        model: str,
        version: int,
        *,
        event_type: str = "ACTIVATE",
        reason: str = "",
        actor: str = "",
        action_id: str | None = None,
        instead_of: int | None = None,
    ) -> Event:
        """Make one version the active one, archive the other, write it into the history.

        Activating the active version changes nothing and answers the event that made it so.

        Args:
            model: Registered model's name.
            version: Its number.
            event_type: What the history calls it.
            reason: For people.
            actor: Who does it.
            action_id: Of the agent's action; it is done once, whoever tries it again.
            instead_of: The version that must be the active one until now; None: any.

        Raises:
            NotFound: There is no such version, or it was deleted.
            ModelDamaged: Its file cannot be used.
            Conflict: Another version serves meanwhile, or the action was done already.
        """
        with self.exclusive() as connection:
            refuse_again(connection, model, action_id)
            target = live_version(connection, model, version)
            if target.damaged:
                raise ModelDamaged(
                    f"Version {version} of model {model} cannot serve: {target.damaged}",
                    hint="Upload the file again, or activate another version.",
                )
            before = connection.execute(
                select_versions().where(
                    model_versions.c.model_name == model, model_versions.c.is_active
                )
            ).first()
            if instead_of is not None and (before is None or before.version != instead_of):
                now_active = "no version" if before is None else f"v{before.version}"
                raise Conflict(
                    f"{now_active.capitalize()} of model {model} serves now, not v{instead_of} "
                    "any more.",
                    hint="Look whether what serves now is well.",
                )
            if before is not None and before.id == target.id:
                known = serving_history(connection, model)
                if known and known[-1].model_version == version:
                    return known[-1]
            elif before is not None:
                update_version(connection, before.id, is_active=False, status="archived")
            moment = now()
            update_version(
                connection, target.id, is_active=True, status="production", deployed_at=moment
            )
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
            row = live_version(connection, model, version)
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
            update_version(connection, row.id, status=stage)
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
            row = live_version(connection, model, version)
            if row.threshold == value:
                return None
            update_version(connection, row.id, threshold=value)
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
            rows = connection.execute(
                select_versions().where(model_versions.c.model_name == model)
            ).all()
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
                return version_record(row)
        return None

    def delete(self, model: str, version: int) -> None:
        """Delete a version; its row stays for the history, its content may be added again.

        Raises:
            NotFound: There is no such version, or it was deleted.
            Conflict: It is the active one.
        """
        with self.exclusive() as connection:
            row = live_version(connection, model, version)
            if row.is_active:
                raise Conflict(
                    f"Version {version} of model {model} is active and cannot be deleted.",
                    hint="Activate another version first.",
                )
            update_version(connection, row.id, deleted_at=now(), status="archived")

    def mark_damaged(self, version_id: int, why: str) -> None:
        """Say why a version's file cannot be used; an empty text says that it can again."""
        with self._connections.write() as connection:
            update_version(connection, version_id, damaged=why)

    def set_description(self, version_id: int, description: dict[str, Any]) -> None:
        """Keep what the loaded model says of itself."""
        with self._connections.write() as connection:
            update_version(connection, version_id, description=description)

    def set_proof(self, version_id: int, proof: dict[str, Any] | None) -> None:
        """Keep what proving the version measured."""
        with self._connections.write() as connection:
            update_version(connection, version_id, proof=proof)

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
        return None if row is None else version_record(row)

    def _all(self, query: Select[Any]) -> Versions:
        with self._connections.read() as connection:
            return [version_record(row) for row in connection.execute(query)]


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
