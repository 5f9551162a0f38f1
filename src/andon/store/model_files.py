"""Stored model files: ``<folder>/<model>/model_v<N>.<suffix>``, written so that a crash at
any moment leaves either the whole file in its place or a leftover that is swept.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

_STORED = re.compile(r"model_v([1-9][0-9]{0,8})(\.[a-z0-9]{1,10})")


class ModelFiles:
    """The folder of model files.

    Args:
        folder: Created, with its ``.incoming``, when something is first written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.incoming = folder / ".incoming"

    def path(self, model: str, version: int, suffix: str) -> Path:
        """Where a version's file is."""
        return self.folder / model / f"model_v{version}{suffix}"

    def new_incoming(self) -> Path:
        """A fresh name for a file that is still being received."""
        return self.incoming / uuid4().hex

    def place(self, received: Path, target: Path, *, mode: int) -> None:
        """Move a received file, already flushed, to its place, for good."""
        received.chmod(mode)
        new = not target.parent.exists()
        target.parent.mkdir(parents=True, exist_ok=True)
        received.replace(target)
        flush(target.parent)
        if new:
            flush(self.folder)

    def stored(self) -> list[tuple[str, int, Path]]:
        """Every file that looks like a stored version: model, version, path."""
        found: list[tuple[str, int, Path]] = []
        if not self.folder.is_dir():
            return found
        for folder in sorted(self.folder.iterdir()):
            if folder.name.startswith(".") or not folder.is_dir():
                continue
            for path in sorted(folder.iterdir()):
                match = _STORED.fullmatch(path.name)
                if match is not None and path.is_file():
                    found.append((folder.name, int(match[1]), path))
        return found

    @contextmanager
    def creating(self) -> Iterator[None]:
        """Keep sweeps away between creating an incoming file and holding it."""
        self.incoming.mkdir(parents=True, exist_ok=True)
        with _folder_locked(self.incoming, fcntl.LOCK_SH):
            yield

    def sweep(self) -> int:
        """Delete received files that nobody holds any more; how many there were."""
        if not self.incoming.is_dir():
            return 0
        with _folder_locked(self.incoming, fcntl.LOCK_EX):
            return sum(_delete_unless_held(path) for path in self.incoming.iterdir())


@contextmanager
def _folder_locked(folder: Path, how: int) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def _delete_unless_held(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            if not try_to_hold(file.fileno()):
                return False
            path.unlink()
    except (FileNotFoundError, IsADirectoryError):
        return False
    return True


def try_to_hold(file: int) -> bool:
    """Mark an open file (its descriptor) as in use until it is closed or its process dies.

    Returns:
        False when another open file holds it.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def flush(path: Path) -> None:
    """Flush a file or a folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
