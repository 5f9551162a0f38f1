"""The folder of a training: what it holds when, and who may read it."""

import contextlib
import os
import shutil
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec
import structlog

from andon.errors import AndonError, ModelRejected, StorageFull
from andon.training import messages
from andon.training.messages import TrainReport

log = structlog.get_logger("andon.training")

CHECK = ".check-"
"""Folders of checks, which make no run, are called so."""

_DAY = 86400.0


def left_before(folder: Path) -> TrainReport | None:
    """The report of an earlier attempt that only was not registered; else a clean folder.

    Raises:
        StorageFull: The folder cannot be made.
    """
    with writing(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(AndonError):
            return complete(folder)
        for entry in folder.iterdir():
            if entry.name == messages.LOG:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    return None


def complete(folder: Path) -> TrainReport:
    """The report of a training that has left everything.

    Raises:
        ModelRejected: Something is missing, damaged or cut short.
    """
    model = folder / messages.MODEL
    try:
        report = messages.read_report(folder / messages.REPORT)
        if model.is_symlink() or not model.is_file():
            raise ModelRejected("The training left no model file.")
        size = model.stat().st_size
    except FileNotFoundError:
        raise ModelRejected("The training ended without a report.") from None
    except (OSError, msgspec.DecodeError) as error:
        raise ModelRejected(f"The report of the training cannot be read: {error}.") from None
    if size != report.onnx_bytes:
        raise ModelRejected(
            f"The model file of the training has {size} bytes instead of {report.onnx_bytes}."
        )
    return report


def sweep(place: Path, kept: Collection[str], keep_days: float) -> int:
    """Delete the folders of runs that were last changed more than `keep_days` ago; how many.

    Args:
        place: Where they lie.
        kept: Ids of the runs whose folders stay.
        keep_days: Of the others.
    """
    oldest = time.time() - keep_days * _DAY
    count = 0
    for folder in place.glob(f"{CHECK}*"):
        # A check that was killed. The others are gone when they end.
        if _changed_before(folder, time.time() - _DAY):
            shutil.rmtree(folder, ignore_errors=True)
    for folder in place.glob("????????-????-????-????-????????????"):
        try:
            if folder.name in kept or folder.lstat().st_mtime >= oldest:
                continue
            shutil.rmtree(folder)
            count += 1
        except OSError as error:
            log.warning(f"{folder.name} could not be deleted: {error.strerror}")
    if count:
        log.info("Folders of old trainings were deleted", folders=count)
    return count


def _changed_before(folder: Path, moment: float) -> bool:
    try:
        return folder.lstat().st_mtime < moment
    except OSError:
        return False


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn errors of the file system into sentences."""
    try:
        yield
    except OSError as error:
        raise StorageFull(
            f"The folder {folder} cannot be used: {error.strerror}.",
            hint="Free some space, or check its owner and mode.",
        ) from error


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A file to read; what a link points to is not opened."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        yield file
    finally:
        os.close(file)


def write_private(path: Path, content: bytes) -> None:
    """For the owner alone, whatever stood there."""
    path.unlink(missing_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "wb") as stream:
        stream.write(content)
