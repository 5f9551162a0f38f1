"""Received pictures, kept by content: the same bytes are stored once.

A picture is written beside its place and renamed, so that nobody reads half of one. It is
not flushed unless asked: the row is the durable part, and a power cut may cost a picture,
never an answer.
"""

import itertools
import math
import os
import time
from pathlib import Path
from uuid import uuid4

from andon.errors import StorageFull
from andon.store.model_files import flush

_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "BMP": ".bmp"}
_HEX = frozenset("0123456789abcdef")
# A picture's file is written in milliseconds; what is older was left by a crash.
_LEFTOVER_SECONDS = 3600.0
# How stale a file's time may get before seeing it again refreshes it.
_TOUCH_SECONDS = 3600.0
# How long the free room that was read is believed; what is written meanwhile is taken off it.
_ROOM_SECONDS = 1.0


class Pictures:
    """A folder of pictures: ``<folder>/ab/<sha256>.<jpg|png|bmp>``.

    Args:
        folder: Created when it is missing.
        min_free_bytes: Below this much free disk nothing more is kept.
    """

    def __init__(self, folder: Path, *, min_free_bytes: int = 0) -> None:
        self.folder = folder
        self.min_free_bytes = min_free_bytes
        self._incoming = folder / ".incoming"
        # Names of its own: other processes, and earlier ones, write here too.
        self._mine, self._count = uuid4().hex, itertools.count()
        self._room = 0
        self._room_read = -math.inf

    def put(self, sha256: str, data: bytes, format: str, *, durable: bool = False) -> bool:  # noqa: A002 - Pillow's word
        """Keep a picture; whether it is kept now.

        Args:
            sha256: Of `data`, 64 hexadecimal digits.
            data: The uploaded bytes.
            format: "JPEG", "PNG" or "BMP".
            durable: Flush it to disk before returning, and raise where it cannot be kept.

        Raises:
            StorageFull: `durable`, and there is no room.
        """
        path = self._path(sha256, format)
        try:
            if self._seen(path):
                if durable:
                    flush(path)
                    self._flush_folders(path)
                return True
            if not self._room_for(len(data)):
                raise OSError("less free disk than min_free_bytes")
            self._write(path, data, durable=durable)
        except OSError as error:
            if durable:
                raise StorageFull(
                    f"The picture {path.name} cannot be kept in {self.folder}: "
                    f"{error.strerror or error}.",
                    hint="Free some space; Andon goes on by itself.",
                ) from error
            return False
        return True

    def get(self, sha256: str, format: str) -> Path | None:  # noqa: A002 - Pillow's word
        """Where a picture is, or None when it was not kept or was swept."""
        try:
            path = self._path(sha256, format)
        except ValueError:
            return None
        return path if path.is_file() else None

    def sweep(self, keep_days: float, max_bytes: int) -> int:
        """Delete pictures not seen for `keep_days`, then the oldest beyond `max_bytes`.

        Args:
            keep_days: Days.
            max_bytes: Total size that may stay, bytes; 0: no limit.

        Returns:
            How many were deleted.
        """
        moment = time.time()
        _sweep_leftovers(self._incoming, moment)
        kept: list[tuple[float, int, str]] = []
        deleted = 0
        for entry in self._entries():
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if status.st_mtime < moment - keep_days * 86_400:
                deleted += _delete(entry.path)
            else:
                kept.append((status.st_mtime, status.st_size, entry.path))
        total = sum(size for _, size, _ in kept)
        if max_bytes and total > max_bytes:
            for _, size, path in sorted(kept):
                deleted += _delete(path)
                total -= size
                if total <= max_bytes:
                    break
        return deleted

    def _path(self, sha256: str, format: str) -> Path:  # noqa: A002 - as in put
        suffix = _SUFFIXES.get(format)
        if suffix is None or len(sha256) != 64 or not _HEX.issuperset(sha256):
            raise ValueError(f"no picture is called {sha256[:80]!r} in format {format!r}")
        return self.folder / sha256[:2] / f"{sha256}{suffix}"

    def _seen(self, path: Path) -> bool:
        """Whether it is there; if so it counts as new again."""
        try:
            age = time.time() - path.stat().st_mtime
            if age > _TOUCH_SECONDS:
                os.utime(path)
        except FileNotFoundError:
            return False
        return True

    def _room_for(self, size: int) -> bool:
        moment = time.monotonic()
        if moment - self._room_read > _ROOM_SECONDS or self._room - size < self.min_free_bytes:
            try:
                disk = os.statvfs(self.folder)
            except FileNotFoundError:
                self.folder.mkdir(parents=True, exist_ok=True)
                disk = os.statvfs(self.folder)
            self._room, self._room_read = disk.f_bavail * disk.f_frsize, moment
        self._room -= size
        return self._room >= self.min_free_bytes

    def _write(self, path: Path, data: bytes, *, durable: bool) -> None:
        temporary = f"{self._incoming}/{self._mine}-{next(self._count)}"
        try:
            try:
                _write_file(temporary, data)
            except FileNotFoundError:
                self._incoming.mkdir(parents=True, exist_ok=True)
                _write_file(temporary, data)
            if durable:
                flush(Path(temporary))
            try:
                os.rename(temporary, path)  # noqa: PTH104 - as `_write_file`
            except FileNotFoundError:
                path.parent.mkdir(exist_ok=True)
                os.rename(temporary, path)  # noqa: PTH104
            if durable:
                self._flush_folders(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _flush_folders(self, path: Path) -> None:
        """Make the name last, too."""
        flush(path.parent)
        flush(self.folder)

    def _entries(self) -> "list[os.DirEntry[str]]":
        found: list[os.DirEntry[str]] = []
        if not self.folder.is_dir():
            return found
        for folder in self.folder.iterdir():
            if len(folder.name) == 2 and folder.is_dir():
                with os.scandir(folder) as entries:
                    found.extend(entry for entry in entries if entry.is_file())
        return found


def _write_file(path: str, data: bytes) -> None:
    """With three system calls: after each, this thread must wait for Python's lock again.

    Python's own files make six.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]
    finally:
        os.close(file)


def _delete(path: str) -> int:
    try:
        os.unlink(path)  # noqa: PTH108 - a DirEntry's path is text
    except FileNotFoundError:
        return 0
    return 1


def _sweep_leftovers(folder: Path, moment: float) -> None:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        try:
            if path.stat().st_mtime < moment - _LEFTOVER_SECONDS:
                path.unlink()
        except FileNotFoundError:
            continue
