"""The stored models: files that are missing, changed or not executable, and strays."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from andon.cli.checkup import rows
from andon.cli.checkup.finding import Finding, fail, ok, warn
from andon.errors import AndonError

if TYPE_CHECKING:
    from andon.settings import Settings

_EXECUTABLE = 0o100
_NEWER = timedelta(minutes=5)


def examine(settings: "Settings") -> Iterator[Finding]:
    """All checks of stored models; nothing when the database cannot be read (said elsewhere)."""
    if not settings.database_url and not (settings.home / "andon.db").exists():
        yield _no_model()
        return
    try:
        with rows.reading(settings) as database:
            versions, newest = database.versions(), database.newest_prediction()
    except AndonError:
        return
    yield from _clock_went_back(newest)
    yield from _active(versions, settings)
    yield from _files(versions, settings)
    yield from _strays(versions, settings)
    yield from _rejected(settings)


def path_of(stored: rows.StoredFile, settings: "Settings") -> Path:
    """Where a version's file lies: ``models/<model>/model_v<N>.<format>``."""
    return settings.models / stored.model / f"model_v{stored.version}.{stored.format}"


def _no_model() -> Finding:
    return warn(
        "active model",
        "No active model found in the database.",
        "andon models add FILE registers yours; andon demo brings a detector and sample boards.",
    )


def _clock_went_back(newest: datetime | None) -> Iterator[Finding]:
    if newest is not None and newest > datetime.now(UTC) + _NEWER:
        yield warn(
            "clock",
            f"The newest prediction is of {newest:%Y-%m-%d %H:%M} UTC, which is in the future.",
            "The clock was wrong then, or is now. Keep it right: sudo timedatectl set-ntp true",
        )


def _active(versions: Sequence[rows.StoredFile], settings: "Settings") -> Iterator[Finding]:
    active = [stored for stored in versions if stored.is_active]
    defaults = {settings.default_model, settings.default_tabular_model}
    if not any(stored.model in defaults for stored in active):
        yield _no_model()
    else:
        names = ", ".join(f"{stored.model} v{stored.version}" for stored in active)
        yield ok("active model", f"Active: {names}.")


def _files(versions: Sequence[rows.StoredFile], settings: "Settings") -> Iterator[Finding]:
    sound = 0
    for stored in versions:
        trouble = list(_trouble(stored, settings))
        yield from trouble
        sound += not trouble
    if sound:
        yield ok("model files", f"{sound} of {len(versions)} match their SHA-256.")


def _trouble(stored: rows.StoredFile, settings: "Settings") -> Iterator[Finding]:
    """What is wrong with one version's file."""
    name, path = f"{stored.model} v{stored.version}", path_of(stored, settings)
    say = fail if stored.is_active else warn
    instead = (
        f"andon models rollback -m {stored.model}, then add the file again"
        if stored.is_active
        else f"Add the file again, or andon models delete {stored.version} -m {stored.model}"
    )
    if not path.exists():
        yield say("model files", f"The file of {name} is missing: {path}.", f"{instead}.")
        return
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        yield say(
            "model files",
            f"{path} of {name} cannot be read: {error.strerror}.",
            f"sudo chown -R $USER {settings.models}",
        )
        return
    if digest != stored.file_hash:
        yield say(
            "model files",
            f"{path} of {name} is not the file that was registered (SHA-256 differs).",
            f"The disk may be failing. {instead}.",
        )
    elif stored.format == "eim":
        yield from _executable(name, path)


def _executable(name: str, path: Path) -> Iterator[Finding]:
    """An `.eim` is a program: its mode and its mount must let it run."""
    if not path.stat().st_mode & _EXECUTABLE:
        yield warn(
            "model files",
            f'Model file "{path}" of {name} is not executable.',
            f"Andon mends this when it loads the model; by hand: chmod 755 {path}",
        )
    if os.statvfs(path).f_flag & os.ST_NOEXEC:
        yield fail(
            "model files",
            f"{path} of {name} lies on a file system mounted with noexec: it cannot run.",
            "Set ANDON_MODELS_DIR to a folder on another file system, or remount it with exec.",
        )


def _strays(versions: Sequence[rows.StoredFile], settings: "Settings") -> Iterator[Finding]:
    """Files under the models folder that no version owns."""
    if not settings.models.is_dir():
        return
    owned = {path_of(stored, settings) for stored in versions}
    strays = [
        path
        for path in sorted(settings.models.rglob("*"))
        if path.is_file() and path not in owned and ".incoming" not in path.parts
    ]
    if strays:
        shown = ", ".join(str(path.relative_to(settings.models)) for path in strays[:5])
        more = f" and {len(strays) - 5} more" if len(strays) > 5 else ""
        yield warn(
            "model files",
            f"No version owns {shown}{more} in {settings.models}.",
            "Register a file you want (andon models add FILE) and delete the rest.",
        )


def _rejected(settings: "Settings") -> Iterator[Finding]:
    folder = settings.deploy / "rejected"
    reasons = sorted(folder.glob("*.reason.txt")) if folder.is_dir() else []
    if reasons:
        newest = max(reasons, key=lambda path: path.stat().st_mtime)
        yield warn(
            "watch folder",
            f"{len(reasons)} dropped files were rejected; the newest says why in {newest}.",
            "Mend and drop them again, then empty the folder.",
        )
