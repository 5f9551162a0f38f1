"""Deploys model files that are dropped into a folder.

The folder is looked at whenever something in it changes, and every few seconds anyway: a
notification can be lost, a file cannot. A file is taken when it has stopped growing; what
became of it is visible in the folder: it ends in `processed/`, or in `rejected/` beside a
text that says why.

    deploy/board.onnx               the default model
    deploy/<model>/board.onnx       a model by name
"""

import os
import stat
import threading
import time
from pathlib import Path

import msgspec
import structlog
from watchfiles import watch

from andon.errors import AndonError, ModelRejected, Unavailable
from andon.registry.intake import Received
from andon.registry.names import clean_model_name
from andon.serving.deployment import Deployments
from andon.settings import Settings
from andon.store.clock import now

log = structlog.get_logger("andon.watcher")

SUFFIXES = frozenset({".eim", ".onnx"})
PROCESSED = "processed"
REJECTED = "rejected"

# What browsers, file managers and copy programs call a file that is not finished.
_UNFINISHED = frozenset(
    {".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".filepart", ".swp", ".lock"}
)
_TICK = 0.25
_RESCAN = 5.0
_CHUNK = 1024 * 1024
_RETRY = 5.0


class _Seen(msgspec.Struct):
    """What is known of a file in the folder.

    Attributes:
        size: Bytes when it was last looked at.
        changed: Its modification time, nanoseconds.
        still_since: `time.monotonic()` since when neither moved.
        failure: Why it could not be used as it is now, or None while it was not tried.
        again_at: `time.monotonic()` before which it is left alone.
    """

    size: int
    changed: int
    still_since: float
    failure: AndonError | None = None
    again_at: float = 0.0


class DeploymentWatcher:
    """Watches the deploy folder on a thread of its own.

    Args:
        deployments: Deploys what is found.
        settings: The folder, and how long a file must stand still.
    """

    def __init__(self, deployments: Deployments, settings: Settings) -> None:
        self._deployments = deployments
        self._settings = settings
        self._folder = settings.deploy
        self._seen: dict[Path, _Seen] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Make the folders and watch until `stop`; files already there are taken as well."""
        for folder in (self._folder, self._folder / PROCESSED, self._folder / REJECTED):
            folder.mkdir(parents=True, exist_ok=True)
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="andon-watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; a deployment that is under way is finished."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    # -- The folder ---------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._watch()
            # The folder may be deleted, unmounted or made unreadable under the watcher.
            except Exception:
                log.exception("The deploy folder cannot be watched", folder=self._folder)
                self._stopping.wait(_RESCAN)

    def _watch(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        watched = self._folder.stat().st_ino
        self._scan()
        scanned = time.monotonic()
        changes = watch(
            self._folder,
            watch_filter=None,
            debounce=100,
            step=50,
            rust_timeout=int(_TICK * 1000),
            yield_on_timeout=True,
            stop_event=self._stopping,
            raise_interrupt=False,
        )
        for changed in changes:
            if changed or self._seen or time.monotonic() - scanned >= _RESCAN:
                if not self._folder.is_dir() or self._folder.stat().st_ino != watched:
                    # Deleted, perhaps made again: what is watched is not there any more.
                    return
                self._scan()
                scanned = time.monotonic()

    def _scan(self) -> None:
        """Look at every file; take those that are complete, oldest first."""
        present = self._present()
        for path in list(self._seen):
            if path not in present:
                del self._seen[path]
        for path in sorted(present, key=lambda one: (present[one].st_mtime_ns, one.name)):
            if self._stopping.is_set():
                return
            try:
                self._look(path, present[path])
            except FileNotFoundError:
                log.info(f"Model file vanished: {path.name}")
                self._seen.pop(path, None)

    def _present(self) -> dict[Path, os.stat_result]:
        """The files that are to be looked at, in the folder and its folders."""
        found: dict[Path, os.stat_result] = {}
        pending = [self._folder]
        while pending:
            folder = pending.pop()
            try:
                entries = list(os.scandir(folder))
            except FileNotFoundError:
                continue
            for entry in entries:
                path = Path(entry.path)
                if _unfinished(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if folder != self._folder or entry.name not in {PROCESSED, REJECTED}:
                        pending.append(path)
                    continue
                try:
                    found[path] = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
        return found

    def _look(self, path: Path, status: os.stat_result) -> None:
        """Decide about one file: wait, deploy or reject."""
        moment = time.monotonic()
        seen = self._seen.get(path)
        if seen is None or (seen.size, seen.changed) != (status.st_size, status.st_mtime_ns):
            # A file that was moved here, or was here at start, carries an old time: nobody
            # has written to it since.
            age = max(0.0, time.time() - status.st_mtime)
            still = moment - age if seen is None else moment
            seen = _Seen(status.st_size, status.st_mtime_ns, still)
            self._seen[path] = seen
        idle = moment - seen.still_since
        if idle < self._settings.watch_settle or moment < seen.again_at:
            return
        problem = self._unacceptable(path, status)
        if problem is not None:
            self._reject(path, problem)
        elif seen.failure is None:
            self._deploy(path, seen)
        # It may be half of a file whose copying has paused: it gets time to grow.
        waited = idle >= self._settings.watch_timeout
        if seen.failure is not None and waited and path in self._seen:
            self._reject(path, seen.failure)

    # -- One file -----------------------------------------------------------------------

    def _unacceptable(self, path: Path, status: os.stat_result) -> AndonError | None:
        """Why a file is not even opened, or None."""
        if stat.S_ISLNK(status.st_mode):
            return ModelRejected(
                "It is a symbolic link, and links are not followed.",
                hint="Copy the file itself into the folder.",
            )
        if not stat.S_ISREG(status.st_mode):
            return ModelRejected("It is not a regular file.", hint="Copy a model file here.")
        if path.suffix.lower() not in SUFFIXES:
            return ModelRejected(
                "Only .onnx and .eim files are deployed from this folder.",
                hint="Export the model to one of these formats.",
            )
        nested = path.parent.relative_to(self._folder).parts
        if len(nested) > 1:
            return ModelRejected("It lies too deep.", hint="Use deploy/FILE or deploy/MODEL/FILE.")
        if nested:
            try:
                clean_model_name(nested[0])
            except AndonError as error:
                return error
        return None

    def _deploy(self, path: Path, seen: _Seen) -> None:
        """Take a complete file in and deploy it."""
        log.info(f"New model detected: {path.name}")
        nested = path.parent.relative_to(self._folder).parts
        try:
            received = self._receive(path, seen)
            if received is None:
                return
            self._deployments.deploy(
                received,
                filename=path.name,
                model=nested[0] if nested else None,
                source="watch",
                actor="watcher",
                notes=f"Dropped into {self._folder.name}/",
            )
        except Unavailable as error:
            # The disk is full or the database is locked: that passes, the file stays.
            log.warning(f"Model {path.name} is tried again later: {error}")
            seen.again_at = time.monotonic() + _RETRY
        except AndonError as error:
            seen.failure = error
        except FileNotFoundError:
            if not path.exists():
                raise
            log.exception(f"Deploying {path.name} crashed")
            seen.failure = ModelRejected("Deploying it crashed: a file of Andon's is missing.")
        # A bug must not stop the watcher, nor lose the file.
        except Exception as error:
            log.exception(f"Deploying {path.name} crashed")
            seen.failure = ModelRejected(f"Deploying it crashed: {type(error).__name__}: {error}.")
        else:
            self._move(path, PROCESSED)

    def _receive(self, path: Path, seen: _Seen) -> Received | None:
        """Copy a file into the registry's intake; None if it changed meanwhile."""
        try:
            # Never through a link, and never waiting for the other end of a pipe.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ModelRejected(
                f"It cannot be read: {error.strerror}.",
                hint="Make it readable for the user Andon runs as.",
            ) from error
        with (
            os.fdopen(descriptor, "rb") as file,
            self._deployments.receive() as incoming,
        ):
            while chunk := file.read(_CHUNK):
                incoming.write(chunk)
            after = os.fstat(file.fileno())
            if (after.st_size, after.st_mtime_ns) != (seen.size, seen.changed):
                return None
            return incoming.finish()

    def _reject(self, path: Path, error: AndonError) -> None:
        """Move a file aside, with a text beside it that says why."""
        log.error(f"Model file rejected: {path.name}: {error}")
        moved = self._move(path, REJECTED)
        if moved is None:
            return
        text = (
            f"{path.name} was not deployed.\n\n"
            f"Why:       {error.detail}\n"
            f"Next step: {error.hint or 'Correct the file and drop it into the folder again.'}\n"
            f"When:      {now().strftime('%Y-%m-%d %H:%M:%S')} UTC\n"
        )
        try:
            moved.with_name(f"{moved.name}.reason.txt").write_text(text, encoding="utf-8")
        except OSError as unwritten:
            log.warning(f"The reason could not be written beside {moved}: {unwritten.strerror}")

    def _move(self, path: Path, folder: str) -> Path | None:
        """Move a file to `processed` or `rejected` under a free name."""
        nested = path.parent.relative_to(self._folder)
        target = self._folder / folder / nested / path.name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            number = 1
            while os.path.lexists(target):
                number += 1
                target = target.with_name(f"{path.stem}.{number}{path.suffix}")
            path.rename(target)
        except FileNotFoundError:
            raise
        except OSError as error:
            # Left where it is, and alone until it changes.
            log.warning(f"{path.name} could not be moved to {folder}/: {error.strerror}")
            self._seen[path].again_at = float("inf")
            return None
        self._seen.pop(path, None)
        return target


def _unfinished(name: str) -> bool:
    """Whether a name says that the file is not ready, or is none of ours."""
    return (
        name.startswith((".", "~"))
        or name.endswith("~")
        or Path(name).suffix.lower() in _UNFINISHED
    )
