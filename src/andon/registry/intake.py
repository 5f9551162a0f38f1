"""Receives a model file: streamed to disk while it is hashed, gone again if it is given up.

The file lies in ``models/.incoming`` and is held by a lock on it, so that a sweep can tell a
file that is being received from one a crash left behind.
"""

import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from andon.errors import StorageFull, TooLarge, UnusableUpload
from andon.store.model_files import ModelFiles, try_to_hold


class Received:
    """A complete file, flushed to disk, waiting to become a version.

    Hand it to `ModelRegistry.add`, which moves it away, or call `discard`.

    Attributes:
        path: Where it lies.
        sha256: Of its content, 64 hexadecimal digits.
        size: Bytes.
    """

    def __init__(self, path: Path, sha256: str, size: int, hold: int) -> None:
        self.path = path
        self.sha256 = sha256
        self.size = size
        self._hold = hold

    def discard(self) -> None:
        """Delete the file, unless it became a version. Safe to call twice."""
        self.path.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Let go of the file; a sweep may delete it if it is still there."""
        if self._hold >= 0:
            os.close(self._hold)
            self._hold = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def __del__(self) -> None:
        self.release()


class Incoming:
    """A file being received. Leaving the `with` block before `finish` deletes it.

    Args:
        files: The folder of model files.
        max_bytes: Largest size accepted.

    Raises:
        StorageFull: It cannot be created.
    """

    def __init__(self, files: ModelFiles, max_bytes: int) -> None:
        self._path = path = files.new_incoming()
        self._max_bytes = max_bytes
        self._size = 0
        self._hash = hashlib.sha256()
        self._finished = False
        self._hold = -1
        self._file = -1
        try:
            with files.creating():
                # Owner only until it is known what it is.
                self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                # A second, reading descriptor holds the file: Linux runs no program that
                # somebody still has open for writing.
                self._hold = os.open(path, os.O_RDONLY)
                try_to_hold(self._hold)
        except OSError as error:
            self.abort()
            raise _no_room(path.parent, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._finished:
            self.abort()

    @property
    def size(self) -> int:
        """Bytes received so far."""
        return self._size

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take the next piece.

        Raises:
            TooLarge: The file exceeds the limit; it is deleted.
            StorageFull: The disk is full; what there was is deleted.
        """
        self._size += len(chunk)
        if self._size > self._max_bytes:
            self.abort()
            raise TooLarge(
                f"The model file is larger than {self._max_bytes / 1024**2:.0f} MiB.",
                hint="Raise ANDON_MAX_MODEL_BYTES if it really is a model.",
            )
        self._hash.update(chunk)
        view = memoryview(chunk)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            self.abort()
            raise _no_room(self._path.parent, error) from error

    def finish(self) -> Received:
        """Flush the file to disk and hand it over.

        Raises:
            UnusableUpload: Nothing was received.
            StorageFull: It could not be flushed.
        """
        if self._size == 0:
            self.abort()
            raise UnusableUpload("The model file is empty.", hint="Choose the model file itself.")
        try:
            os.fsync(self._file)
        except OSError as error:
            self.abort()
            raise _no_room(self._path.parent, error) from error
        os.close(self._file)
        self._file = -1
        self._finished = True
        hold, self._hold = self._hold, -1
        return Received(self._path, self._hash.hexdigest(), self._size, hold)

    def abort(self) -> None:
        """Give it up: delete what was received. Safe to call twice."""
        if self._finished:
            return
        if self._file >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = -1
        if self._hold >= 0:
            os.close(self._hold)
            self._hold = -1


def _no_room(folder: Path, error: OSError) -> StorageFull:
    return StorageFull(
        f"The model file cannot be kept in {folder}: {error.strerror or error}.",
        hint="Free some space, or point ANDON_MODELS_DIR to a larger disk.",
    )
