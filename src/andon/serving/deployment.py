"""From received bytes to a serving version, and the other ways of changing what serves.

One change per model at a time. Whatever fails, fails before the active version changes:
a file is recognised and proven first, then kept, then activated, then swapped in.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import structlog

from andon.errors import AndonError, Conflict, InvalidRequest, ModelDamaged
from andon.registry.intake import Incoming, Received
from andon.registry.names import clean_filename, clean_model_name
from andon.registry.registry import ModelRegistry, mode_of
from andon.runtimes import formats
from andon.runtimes.base import LoadedModel, ModelDescription, Task, plain
from andon.runtimes.tabular import TabularModel, describes_rows
from andon.serving import proving
from andon.serving.engine import InferenceEngine
from andon.serving.fleet import report_failed
from andon.settings import Settings
from andon.store.database import Database
from andon.store.deployment_events import EventType
from andon.store.records import ModelVersion

log = structlog.get_logger("andon.deployment")


class Deployed(msgspec.Struct, frozen=True):
    """What became of received bytes.

    Attributes:
        version: The version, as it is now.
        duplicate: The same content was registered before; no new version was made.
    """

    version: ModelVersion
    duplicate: bool


class Deployments:
    """Deploys, activates, rolls back and deletes versions.

    Args:
        db: Versions and deployment events.
        registry: Model files.
        engine: What serves.
        settings: The default model, threads, deadlines.
    """

    def __init__(
        self, db: Database, registry: ModelRegistry, engine: InferenceEngine, settings: Settings
    ) -> None:
        self._db = db
        self._registry = registry
        self._engine = engine
        self._settings = settings

    def deploy(
        self,
        received: Received,
        *,
        filename: str,
        model: str | None = None,
        notes: str = "",
        options: dict[str, Any] | None = None,
        source: str,
        actor: str,
        activate: bool = True,
        status: str = "staging",
    ) -> Deployed:
        """Prove a received file, keep it as the next version, and let it serve.

        Args:
            received: From `ModelRegistry.receive`; is used up, also when this fails.
            filename: Name it came with.
            model: Registered model; None is the default model, of rows for a file that
                describes rows.
            notes: For people.
            options: What a person overrides, by `ModelOptions` field.
            source: How it came: "upload", "watch", "cli", "starter", "training".
            actor: Who did it.
            activate: Whether it serves from now on.
            status: What it is until it serves: "staging", or "training" where it did not
                pass its training's gate.

        Raises:
            ModelRejected: It is no model that this machine can run; nothing has changed.
            InvalidRequest: The model name or an option cannot be used.
            Conflict: The same file is there with other options; or it takes rows and the
                model of this name takes pictures, or the other way round.
            StorageFull: The disk or database cannot take it; nothing has changed.
        """
        name = self._settings.default_model
        try:
            if model is None and describes_rows(received.path):
                name = self._settings.default_tabular_model
            name = clean_model_name(model or name)
            filename = clean_filename(filename)
            proving.model_options(options)
            with self._engine.fleet.changing(name):
                deployed = self._deploy(
                    received, name, filename, notes, options or {}, source, actor, activate, status
                )
        except AndonError as error:
            self._refused(name, filename, error, actor)
            raise
        except BaseException:
            self._engine.metrics.deployed(name, success=False)
            raise
        finally:
            received.discard()
        self._engine.metrics.deployed(name, success=True)
        if activate:
            log.info(f"Model v{deployed.version.version} deployment complete", model=name)
        return deployed

    def activate(
        self,
        model: str | None,
        version: int,
        reason: str = "",
        actor: str = "",
        *,
        action_id: str | None = None,
    ) -> ModelVersion:
        """Let a stored version serve. A candidate that was being tried is promoted by that.

        Args:
            model: Registered model; None is the default model.
            version: Its number.
            reason: For people.
            actor: Who does it.
            action_id: Of the agent's action, if it is one.

        Returns:
            The version, as it is now. If it serves already, nothing changes.

        Raises:
            NotFound: No such version.
            ModelDamaged: Its file is missing or changed.
            ModelRejected: It does not load; the active version goes on serving.
        """
        name = clean_model_name(model or self._settings.default_model)
        with self._engine.fleet.changing(name):
            record = self._db.models.get(name, version)
            slot = self._engine.slot(name)
            if record.is_active and slot is not None and slot.version.id == record.id:
                return record
            with self._load(record) as loaded:
                return self._switch(record, loaded, EventType.ACTIVATE, reason, actor, action_id)

    def rollback(
        self,
        model: str | None,
        reason: str = "",
        actor: str = "",
        *,
        to: int | None = None,
        action_id: str | None = None,
        instead_of: int | None = None,
    ) -> ModelVersion:
        """Let the version serve that served before the active one, or the one that is named.

        Requests that run on the version that is left finish there; where it hangs, the earlier
        one answers them within seconds.

        Args:
            model: Registered model; None is the default model.
            reason: For people.
            actor: Who does it.
            to: The version to go back to.
            action_id: Of the agent's action, if it is one; it is done once.
            instead_of: The version to go back from; None: whichever serves.

        Raises:
            Conflict: There is nothing to go back to, the version named serves already, or it is
                not the one to go back from that serves.
            NotFound: There is no such version.
            ModelDamaged, ModelRejected: It cannot be loaded; nothing has changed.
        """
        name = clean_model_name(model or self._settings.default_model)
        with self._engine.fleet.changing(name):
            active = self._db.models.active(name)
            target = self._db.models.previous(name) if to is None else self._db.models.get(name, to)
            if active is None or target is None:
                raise Conflict(
                    f"Model {name} has no earlier version to go back to.",
                    hint="Deploy another version, or activate one by its number.",
                )
            if target.id == active.id:
                raise Conflict(
                    f"Version {target.version} of model {name} serves already.",
                    hint="Name the version to go back to.",
                )
            with self._load(target) as loaded:
                record = self._switch(
                    target, loaded, EventType.ROLLBACK, reason, actor, action_id, instead_of
                )
            self._engine.metrics.rolled_back(name)
            log.warning(
                f"Rolled back from v{active.version} to v{record.version}",
                model=name,
                reason=reason,
                actor=actor,
            )
            return record

    def set_threshold(
        self,
        model: str | None,
        version: int,
        value: float | None,
        reason: str = "",
        actor: str = "",
        *,
        action_id: str | None = None,
    ) -> ModelVersion:
        """Move the threshold of a version; it holds for answers from now on, without a reload.

        Of pictures it is the lowest confidence that is answered where a request names none; of
        rows the probability from which the class looked for is answered. Other processes follow
        within a second or two.

        Args:
            model: Registered model; None is the default model.
            version: Its number.
            value: 0 to 1; None: back to the one it came with.
            reason: For people.
            actor: Who does it.
            action_id: Of the agent's action, if it is one.

        Returns:
            The version, as it is now.

        Raises:
            NotFound: No such version.
            InvalidRequest: The value is not from 0 to 1.
            Conflict: It has no threshold: it takes rows and knows more than two classes.
        """
        name = clean_model_name(model or self._settings.default_model)
        if value is not None and not 0 <= value <= 1:
            raise InvalidRequest(
                f"A threshold of {value} cannot be used.",
                hint="Give a number from 0 to 1.",
                errors=[{"field": "threshold", "detail": "must be from 0 to 1"}],
            )
        record = self._db.models.get(name, version)
        rows = record.description.get("rows") or {}
        if rows and rows.get("positive") is None:
            raise Conflict(
                f"Version {version} of model {name} has no threshold: the most probable of its "
                "classes is answered."
            )
        event = self._db.models.set_threshold(
            name, version, value, reason=reason, actor=actor, action_id=action_id
        )
        record = self._db.models.get(name, version)
        self._engine.fleet.retune(record)
        if event is not None:
            log.info(f"Threshold of v{version}: {event.reason}", model=name, actor=actor)
        return record

    def delete(self, model: str | None, version: int, actor: str = "") -> None:
        """Delete a version and its file; its predictions stay in the log.

        Raises:
            NotFound: No such version.
            Conflict: It is the active one, or is being tried.
        """
        name = clean_model_name(model or self._settings.default_model)
        with self._engine.fleet.changing(name):
            record = self._db.models.get(name, version)
            self._engine.traffic.require_free(record)
            self._registry.delete(name, version)
            self._engine.fleet.forget(record.id)
        self._note(name, version, EventType.DELETE, "", actor)
        log.info(f"Model v{version} deleted", model=name, actor=actor)

    def receive(self) -> Incoming:
        """Where to stream a model file to; `finish` gives what `deploy` takes."""
        return self._registry.receive(self._settings.max_model_bytes)

    def has_versions(self, model: str | None = None) -> bool:
        """Whether a model (None: the default model) has any version."""
        return bool(self._db.models.list(model or self._settings.default_model))

    # -- Inside -------------------------------------------------------------------------

    def _deploy(
        self,
        received: Received,
        model: str,
        filename: str,
        notes: str,
        options: dict[str, Any],
        source: str,
        actor: str,
        activate: bool,
        status: str,
    ) -> Deployed:
        """`deploy` with names checked, alone on this model."""
        known = self._registry.find(model, received.sha256)
        if known is not None:
            return self._again(known, received, options, notes, actor, activate)
        runtime = formats.recognise(received.path)
        if runtime.format == "eim":
            received.path.chmod(0o755)
        proof = self._engine.prove(received.path, options)
        loaded = proof.loaded
        try:
            self._same_kind(model, proof.description)
            record = self._registry.add(
                received,
                filename=filename,
                format=runtime.format,
                suffix=runtime.suffix,
                model=model,
                notes=notes,
                options=options,
                description=plain(_named(proof.description, received.path, filename)),
                source=source,
                status=status,
                card=loaded.card if isinstance(loaded, TabularModel) else None,
                reference=loaded.reference if isinstance(loaded, TabularModel) else None,
            )
            log.info(f"Model registered: v{record.version} ({filename})", model=model)
            self._db.models.set_proof(record.id, self._compared(model, proof.proof))
            if activate and runtime.format == "eim":
                # Its processes are started again from the path they were loaded from, and
                # the file has just moved.
                loaded.close()
                loaded = self._engine.fleet.load(record)
            if activate:
                self._switch(record, loaded, EventType.ACTIVATE, notes, actor)
            else:
                loaded.close()
        except BaseException:
            loaded.close()
            raise
        return Deployed(self._db.models.get(model, record.version), duplicate=False)

    def _same_kind(self, model: str, description: ModelDescription) -> None:
        """A model takes pictures or rows, in all its versions.

        Raises:
            Conflict: This file takes the other.
        """
        rows = description.task is Task.TABULAR
        versions = self._db.models.list(model)
        tasks = [task for version in versions if (task := version.description.get("task"))]
        if tasks:
            meant = tasks[0] == Task.TABULAR.value
        elif model in {self._settings.default_model, self._settings.default_tabular_model}:
            meant = model == self._settings.default_tabular_model
        else:
            return
        if meant is not rows:
            words = ("rows", "pictures") if meant else ("pictures", "rows")
            raise Conflict(
                f"Model {model} takes {words[0]}, and this file takes {words[1]}.",
                hint="Deploy it under the name of another model.",
            )

    def _again(
        self,
        known: ModelVersion,
        received: Received,
        options: dict[str, Any],
        notes: str,
        actor: str,
        activate: bool,
    ) -> Deployed:
        """The same content came again: answer the version there is, mended if need be."""
        if options and options != known.options:
            raise Conflict(
                f"This file is v{known.version} of model {known.model} already, "
                "with other options.",
                hint=f"Delete v{known.version} first, or deploy under another model name.",
            )
        try:
            self._registry.verify(known)
        except ModelDamaged:
            # The stored file was damaged, and here are its bytes again.
            place = self._registry.path_of(known)
            self._registry.files.place(received.path, place, mode=mode_of(known.format))
            self._registry.verify(known)
            log.warning(
                f"The file of v{known.version} was damaged and is mended", model=known.model
            )
        log.info(f"Model registered: v{known.version} ({known.filename}), the same file again")
        record = known
        if activate:
            record = self.activate(known.model, known.version, notes, actor)
        return Deployed(record, duplicate=True)

    @contextmanager
    def _load(self, record: ModelVersion) -> Iterator[LoadedModel]:
        """A loaded version that is closed again unless `_switch` took it over."""
        try:
            loaded = self._engine.fleet.load(record)
        except AndonError as error:
            report_failed(record, error)
            raise
        try:
            yield loaded
        except BaseException:
            loaded.close()
            raise

    def _switch(
        self,
        record: ModelVersion,
        loaded: LoadedModel,
        event_type: EventType,
        reason: str,
        actor: str,
        action_id: str | None = None,
        instead_of: int | None = None,
    ) -> ModelVersion:
        """Activate in the database, then let it answer."""
        self._db.models.set_active(
            record.model,
            record.version,
            event_type=event_type,
            reason=reason,
            actor=actor,
            action_id=action_id,
            instead_of=instead_of,
        )
        log.info(f"Model v{record.version} activated", model=record.model, actor=actor)
        now_active = self._db.models.get(record.model, record.version)
        self._engine.swap(now_active, loaded)
        self._engine.traffic.activated(now_active)
        return now_active

    def _compared(self, model: str, proof: dict[str, Any]) -> dict[str, Any]:
        """The proof beside the active version's, so that a slower model is seen."""
        slot = self._engine.slot(model)
        before = slot.version.proof if slot is not None else None
        if slot is None or not before or "latency_ms" not in before:
            return proof
        return {
            **proof,
            "active_version": slot.version.version,
            "active_latency_ms": before["latency_ms"],
        }

    def _refused(self, model: str, filename: str, error: AndonError, actor: str) -> None:
        """Count, log and note a deployment that was turned down."""
        self._engine.metrics.deployed(model, success=False)
        log.error(f"Model not deployed: {filename}: {error}", model=model, actor=actor)
        if not isinstance(error, InvalidRequest | Conflict):
            self._note(model, 0, EventType.REJECTED, f"{filename}: {error}", actor)

    def _note(self, model: str, version: int, kind: EventType, reason: str, actor: str) -> None:
        """Write an event that changed nothing; failing to is no reason to fail."""
        try:
            self._db.events.add(model, version, kind, reason=reason, actor=actor)
        except AndonError as error:
            log.warning(f"A deployment event could not be written: {error}", model=model)


def _named(description: ModelDescription, path: Path, filename: str) -> ModelDescription:
    """A model without a name is called after its file, as it was called when it came."""
    if description.name != path.stem:
        return description
    return msgspec.structs.replace(description, name=Path(filename).stem)
