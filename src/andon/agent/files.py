"""Files that actions make: named by the action, whole or not there at all."""

import os
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from andon.errors import NotFound, StorageFull
from andon.store.model_files import flush
from andon.store.records import AgentAction

_MODE = 0o640
_OURS = re.compile(
    r"\.?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-(report\.(html|json)|diagnostics\.zip)(\.\d+)?"
)


class Made(msgspec.Struct, frozen=True):
    """A file of an action, in the reports folder."""

    name: str
    bytes: int
    kind: str

    def shown(self, action_id: str) -> dict[str, Any]:
        """For the action's result."""
        return {
            "name": self.name,
            "bytes": self.bytes,
            "kind": self.kind,
            "href": f"/api/actions/{action_id}/files/{self.name}",
        }


def put(folder: Path, name: str, content: bytes, kind: str) -> Made:
    """Write a file and flush it; one that is there is replaced.

    Raises:
        StorageFull: It cannot be written.
    """
    path = folder / name
    unfinished = folder / f".{name}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        flush(folder)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise StorageFull(
            f"The file {name} cannot be written: {error.strerror}.",
            hint="Make room, or set ANDON_REPORTS_DIR to another folder.",
        ) from error
    return Made(name, len(content), kind)


def find(folder: Path, action: AgentAction, name: str) -> tuple[Path, str]:
    """The file of an action and its media type.

    Raises:
        NotFound: The action made none of this name, or it was deleted since.
    """
    made = (action.execution_result or {}).get("files", [])
    kind = next((one["kind"] for one in made if one["name"] == name), None)
    path = folder / name
    # Only names that the action itself wrote down, and only files: never a path from outside, or
    # what somebody laid in their place.
    if kind is None or path.is_symlink() or not path.is_file():
        raise NotFound(
            f"The action {action.action_id} has no file {name[:80]!r}.",
            hint="Old ones are deleted: ANDON_KEEP_REPORTS_DAYS.",
        )
    return path, kind


def sweep(folder: Path, before: datetime) -> int:
    """Delete files of actions that were made before a moment; how many there were."""
    deleted = 0
    if not folder.is_dir():
        return 0
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name) is None:
            continue
        try:
            if path.stat().st_mtime < before.timestamp():
                path.unlink()
                deleted += 1
        except FileNotFoundError:
            continue
    return deleted
