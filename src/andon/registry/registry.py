"""Versions with their files: added, activated, verified, deleted, and mended after a crash.

A version is a row and a file. The file is put in place before the row is committed, inside
the row's transaction: a crash leaves a file without a row, which nobody was told about and
which `reconcile` moves aside, but never an acknowledged row without its file.
"""

import contextlib
import hashlib
import os
import shutil
import stat
from pathlib import Path
from typing import Any

from andon.errors import (
    AndonError,
    ConfigurationError,
    ModelDamaged,
    StorageFull,
    UnusableUpload,
)
from andon.registry.intake import Incoming, Received
from andon.registry.names import clean_filename, clean_model_name
from andon.store.clock import now
from andon.store.database import Database
from andon.store.model_files import ModelFiles, flush
from andon.store.records import ModelVersion

_PROGRAMS = frozenset({"eim"})
_ELF = b"\x7fELF"
_PIECE = 1024 * 1024
_NO_LIMIT = 1 << 62


class ModelRegistry:
    """The registered models of one database and one folder.

    Args:
        db: The database.
        registry_dir: Folder of the model files; created when something is first kept.
        default_model: The model meant where none is named.
    """

    def __init__(
        self, db: Database, registry_dir: Path | str, *, default_model: str = "pcb"
    ) -> None:
        self.db = db
        self.files = ModelFiles(Path(registry_dir))
        self.default_model = clean_model_name(default_model)

    def receive(self, max_bytes: int = _NO_LIMIT) -> Incoming:
        """A place to stream a model file to.

        Raises:
            StorageFull: The folder cannot be written.
        """
        return Incoming(self.files, max_bytes)

    def add(
        self,
        received: Received,
        *,
        filename: str,
        format: str,  # noqa: A002 - the column's name
        suffix: str = "",
        model: str | None = None,
        notes: str = "",
        options: dict[str, Any] | None = None,
        description: dict[str, Any] | None = None,
        source: str = "upload",
        status: str = "staging",
        card: dict[str, Any] | None = None,
        reference: dict[str, Any] | None = None,
    ) -> ModelVersion:
        """Make a received file the next version of a model; on return both are on disk.

        Args:
            received: The file; it is moved, or deleted when it cannot become a version.
            filename: The name it came with; cleaned.
            format: Runtime's name, "onnx" or "eim".
            suffix: ".onnx" or ".eim"; follows from `format` when empty.
            model: Registered model's name; None: the default model.
            notes: For people.
            options: What a person overrode.
            description: What the loaded model said of itself.
            source: How it came: "upload", "watch", "cli", "python", "training".
            status: "staging", or "training" for what its training's gate held back.
            card: What was measured of it, as its file says.
            reference: Statistics of its training data, as its file says.

        Raises:
            Conflict: The model has a version with the same content.
            StorageFull: No room for the row or the file.
        """
        if suffix not in {"", f".{format}"}:
            raise ValueError(f"a {format} file is kept as .{format}, not {suffix}")
        name = self._name(model)

        placed: list[Path] = []

        def place(number: int) -> None:
            target = self.files.path(name, number, f".{format}")
            placed.append(target)
            self.files.place(received.path, target, mode=mode_of(format))

        try:
            return self.db.models.add(
                name,
                filename=clean_filename(filename),
                file_hash=received.sha256,
                file_size=received.size,
                format=format,
                source=source,
                notes=notes,
                options=options,
                description=description,
                place=place,
                status=status,
                card=card,
                reference=reference,
            )
        except Exception as error:
            self._take_back(placed, name, received.sha256)
            if isinstance(error, OSError):
                raise StorageFull(
                    f"The model file cannot be kept in {self.files.folder}: {error.strerror}.",
                    hint="Free some space, or point ANDON_MODELS_DIR to a larger disk.",
                ) from error
            raise
        finally:
            received.discard()

    def find(self, model: str | None, sha256: str) -> ModelVersion | None:
        """The version of a model with this content, or None."""
        return self.db.models.by_hash(self._name(model), sha256)

    def register_model(
        self, source_path: Path | str, notes: str = "", model: str | None = None
    ) -> int:
        """Copy a model file into the registry; its version number.

        The same content again is the same version. The file is not loaded here: only whether
        it is a program (`.eim`) or not is looked at.

        Raises:
            UnusableUpload: The file cannot be read or is empty.
            StorageFull: No room.
        """
        source = Path(source_path)
        with self.receive() as incoming:
            first = self._copy(source, incoming)
            received = incoming.finish()
        same = self.find(model, received.sha256)
        if same is not None:
            received.discard()
            return same.version
        kind = "eim" if first.startswith(_ELF) or source.suffix.lower() == ".eim" else "onnx"
        return self.add(
            received,
            filename=source.name,
            format=kind,
            model=model,
            notes=notes,
            source="python",
        ).version

    def activate_model(
        self,
        version: int,
        model: str | None = None,
        *,
        reason: str = "",
        actor: str = "",
        event_type: str = "ACTIVATE",
    ) -> bool:
        """Make a version the active one and write it into the history. Always True.

        Only the row changes; a running server notices within a second.

        Raises:
            NotFound: There is no such version.
            ModelDamaged: Its file cannot be used.
        """
        self.db.models.set_active(
            self._name(model), version, event_type=event_type, reason=reason, actor=actor
        )
        return True

    def get_model_path(self, version: int, model: str | None = None) -> Path:
        """Where a version's file is.

        Raises:
            NotFound: There is no such version.
        """
        return self.path_of(self.db.models.get(self._name(model), version))

    def path_of(self, version: ModelVersion) -> Path:
        """Where a version's file is kept, whether it is there or not."""
        return self.files.path(version.model, version.version, f".{version.format}")

    def compute_hash(self, path: Path | str) -> str:
        """SHA-256 of a file's content, 64 hexadecimal digits."""
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def safe_copy_file(self, source: Path | str, dest: Path | str) -> None:
        """Copy a file so that `dest` is either the old or the whole new one; mode 0755."""
        target = Path(dest)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            shutil.copyfile(source, temporary)
            temporary.chmod(0o755)
            flush(temporary)
            temporary.replace(target)
            flush(target.parent)
        finally:
            temporary.unlink(missing_ok=True)

    def verify(self, version: ModelVersion) -> Path:
        """Check a version's file before it is used, and mend its mode.

        A version once found damaged is good again when its file is.

        Returns:
            The file's path.

        Raises:
            ModelDamaged: It is missing, or its content is not what was registered. The
                version is marked.
        """
        path = self.path_of(version)
        why = self._damage(version, path)
        if why:
            if why != version.damaged:
                self.db.models.mark_damaged(version.id, why)
            raise ModelDamaged(
                f"Version {version.version} of model {version.model} cannot be used: {why}",
                hint="Put the original file back, or delete the version and upload it again.",
            )
        if version.damaged:
            self.db.models.mark_damaged(version.id, "")
        return path

    def delete(self, model: str | None, version: int) -> None:
        """Delete a version and its file.

        Raises:
            NotFound: There is no such version.
            Conflict: It is the active one.
        """
        name = self._name(model)
        row = self.db.models.get(name, version)
        self.db.models.delete(name, version)
        # A crash here leaves the file to `reconcile`.
        self.path_of(row).unlink(missing_ok=True)

    def reconcile(self) -> list[str]:
        """Bring files and rows in step after a crash; a sentence for each thing mended."""
        done: list[str] = []
        count = self.files.sweep()
        if count:
            done.append(f"Deleted {count} half-received model file{'s' if count > 1 else ''}.")
        with self.db.models.exclusive():
            rows = {(row.model, row.version): row for row in self.db.models.all_ever()}
            for model, number, path in self.files.stored():
                known = rows.get((model, number))
                if known is None or path != self.path_of(known):
                    aside = self._move_aside(model, path)
                    done.append(f"Moved {path}, which belongs to no version, to {aside}.")
                elif known.deleted_date is not None:
                    path.unlink(missing_ok=True)
                    done.append(f"Deleted the file of the deleted version {number} of {model}.")
        for row in rows.values():
            if row.deleted_date is None:
                done.extend(self._mend(row))
        return done

    def _name(self, model: str | None) -> str:
        return self.default_model if model is None else clean_model_name(model)

    def _take_back(self, placed: list[Path], model: str, sha256: str) -> None:
        """Delete a file whose row was not committed; a full disk needs the room."""
        # If the database does not even say whether it was, `reconcile` decides later.
        with contextlib.suppress(AndonError):
            if self.db.models.by_hash(model, sha256) is None:
                for path in placed:
                    path.unlink(missing_ok=True)

    def _copy(self, source: Path, incoming: Incoming) -> bytes:
        """Stream a file into the registry; its first bytes."""
        first = b""
        try:
            with source.open("rb") as file:
                while piece := file.read(_PIECE):
                    first = first or piece[:16]
                    incoming.write(piece)
        except OSError as error:
            raise UnusableUpload(
                f"The model file {source} cannot be read: {error.strerror}.",
                hint="Check the path and who may read it.",
            ) from error
        return first

    def _damage(self, version: ModelVersion, path: Path) -> str:
        """What is wrong with a file, a sentence; empty when nothing is."""
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                return f"{path} is not a file."
            if version.file_size and status.st_size != version.file_size:
                return f"{path} has {status.st_size} bytes instead of {version.file_size}."
            _set_mode(path, status.st_mode, mode_of(version.format))
            found = self.compute_hash(path)
        except FileNotFoundError:
            return f"{path} is missing."
        except OSError as error:
            return f"{path} cannot be read: {error.strerror}."
        if found != version.file_hash:
            return (
                f"{path} was changed: its SHA-256 begins with {found[:12]} instead of "
                f"{version.file_hash[:12]}."
            )
        return ""

    def _mend(self, version: ModelVersion) -> list[str]:
        """Mark a version whose file is missing; give a file its mode back."""
        path = self.path_of(version)
        called = f"version {version.version} of model {version.model}"
        try:
            status = path.stat()
        except FileNotFoundError:
            if version.damaged:
                return []
            self.db.models.mark_damaged(version.id, f"{path} is missing.")
            return [f"Marked {called} as damaged: {path} is missing."]
        if _set_mode(path, status.st_mode, mode_of(version.format)):
            return [f"Gave the file of {called} its mode back."]
        return []

    def _move_aside(self, model: str, path: Path) -> Path:
        """Nobody was told about this file, yet it may be all that is left of a lost row."""
        folder = self.files.folder / ".orphans"
        folder.mkdir(exist_ok=True)
        target = folder / f"{now():%Y%m%dT%H%M%S%f}-{model}-{path.name}"
        path.replace(target)
        return target


def mode_of(format: str) -> int:  # noqa: A002 - the column's name
    """The file mode a format needs: an `.eim` is a program, anything else is data."""
    return 0o755 if format in _PROGRAMS else 0o644


def _set_mode(path: Path, found: int, wanted: int) -> bool:
    if stat.S_IMODE(found) == wanted:
        return False
    try:
        path.chmod(wanted)
    except PermissionError as error:
        if wanted & ~stat.S_IMODE(found) & 0o500 == 0:
            # Somebody else's file, yet good enough to read (and run).
            return False
        raise ConfigurationError(
            f"The mode of {path} must be {wanted:o} and cannot be changed.",
            hint=f"Run `sudo chmod {wanted:o} {path}`, or give the folder to Andon's user.",
        ) from error
    return True
