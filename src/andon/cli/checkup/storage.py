"""The folders, the disk under them, and the database."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from andon.cli.checkup import rows
from andon.cli.checkup.finding import Finding, fail, ok, warn
from andon.cli.output import size
from andon.errors import AndonError

if TYPE_CHECKING:
    from andon.settings import Settings

_HARDLY_ANY = 20 * 1024**2


def examine(settings: "Settings") -> Iterator[Finding]:
    """All checks of folders, disk and database."""
    yield from _folders(settings)
    yield from _disk(settings)
    yield from _medium(settings, Path("/proc/mounts"))
    yield _log(settings)
    yield from _database(settings)


def _folders(settings: "Settings") -> Iterator[Finding]:
    """Every folder can be written, or can be made."""
    folders = {
        "home": settings.home,
        "models": settings.models,
        "deploy": settings.deploy,
        "uploads": settings.uploads,
        "output": settings.output,
    }
    broken = {name: folder for name, folder in folders.items() if not _writable(folder)}
    for name, folder in broken.items():
        yield fail(
            name,
            f"{_nearest(folder)} cannot be written by user {os.geteuid()}.",
            f"sudo chown -R $USER {_nearest(folder)} (or set ANDON_HOME to a folder of your own).",
        )
    if not broken:
        there = "" if settings.home.is_dir() else " It will be made at the first start."
        yield ok("home", f"{settings.home} can be written.{there}")


def _disk(settings: "Settings") -> Iterator[Finding]:
    free = shutil.disk_usage(_nearest(settings.home)).free
    advice = (
        "Free some space: lower ANDON_KEEP_UPLOADS_DAYS or ANDON_MAX_UPLOADS_BYTES, delete old "
        "versions (andon models delete N)."
    )
    if free < _HARDLY_ANY:
        yield fail("disk", f"Only {size(free)} are free on {settings.home}.", advice)
    elif free < settings.min_free_bytes:
        yield warn(
            "disk",
            f"{size(free)} are free, less than ANDON_MIN_FREE_BYTES "
            f"({size(settings.min_free_bytes)}): pictures are no longer kept.",
            advice,
        )
    else:
        yield ok("disk", f"{size(free)} are free.")


def _medium(settings: "Settings", mounts: Path) -> Iterator[Finding]:
    """An SD card or eMMC wears by writes and is slow to sync."""
    device = _device(_nearest(settings.home), mounts)
    if "mmcblk" in device and settings.commit_linger == 0:
        yield warn(
            "medium",
            f"The home lies on {device}, an SD card or eMMC.",
            "ANDON_COMMIT_LINGER=0.01 saves writes when several clients ask at a time; an SSD is "
            "better for the database.",
        )


def _log(settings: "Settings") -> Finding:
    target = settings.log if settings.log.exists() else _nearest(settings.log.parent)
    if not os.access(target, os.W_OK):
        return fail(
            "log",
            f"The log {settings.log} cannot be written.",
            f"sudo chown $USER {target} (it may belong to root from an earlier `sudo andon`).",
        )
    return ok("log", f"{settings.log} can be written.")


def _database(settings: "Settings") -> Iterator[Finding]:
    if not settings.database_url and not (settings.home / "andon.db").exists():
        yield ok("database", f"{settings.home / 'andon.db'} will be made at the first start.")
        return
    try:
        with rows.reading(settings) as database:
            problem = database.integrity()
            newest = database.is_newest() if not problem else False
    except AndonError as error:
        yield fail("database", error.detail, error.hint)
        return
    where = rows.shown(settings)
    if problem:
        yield fail(
            "database",
            f"{where} is damaged: {problem}.",
            "Stop Andon, keep a copy of the file, then restore a backup or save what can be read: "
            f"sqlite3 {settings.home / 'andon.db'} .recover | sqlite3 recovered.db",
        )
    elif newest:
        yield ok("database", f"{where} is sound and up to date.")
    else:
        yield ok("database", f"{where} is sound; the next start brings it up to date.")


def _writable(folder: Path) -> bool:
    """Whether a file can really be made there (permissions lie on read-only mounts)."""
    nearest = _nearest(folder)
    if nearest != folder:
        return os.access(nearest, os.W_OK | os.X_OK)
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _nearest(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _device(path: Path, mounts: Path) -> str:
    """The device a path lies on, as the system names it; empty where it does not tell."""
    try:
        lines = [line.split() for line in mounts.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return ""
    places = [(line[1], line[0]) for line in lines if path.is_relative_to(line[1])]
    return max(places, key=lambda place: len(place[0]), default=("", ""))[1]
