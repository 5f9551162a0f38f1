"""Who runs a training, and looking after one while its process works."""

import os
import socket
import threading
import time
from pathlib import Path
from typing import Literal

import structlog

from andon.errors import AndonError
from andon.store.database import Database
from andon.store.ids import uuid7
from andon.store.training_runs import TrainingRun
from andon.training import messages

log = structlog.get_logger("andon.training")

# An SD card wears by writes.
_WRITE_EVERY = 2.0
_BEAT_EVERY = 5.0
_LOOK_EVERY = 1.0

Why = Literal["", "stop", "timeout", "cancel", "let go"]
"""Why a process must end; "let go": somebody else has the run."""


class Watch:
    """Looks after a run while its process works: signs of life, wishes, the clock."""

    def __init__(
        self, db: Database, run: TrainingRun, timeout: float, stopping: threading.Event
    ) -> None:
        self._db = db
        self._run = run
        self._until = time.monotonic() + timeout
        self._stopping = stopping
        self._stage: str | None = None
        self._progress: float | None = None
        self._tracking: str | None = None
        self._looked = self._written = time.monotonic()

    def heard(self, message: messages.Line) -> None:
        """Keep what is to be shown."""
        match message:
            case messages.Stage(stage, progress):
                self._stage = stage[:200]
                self._progress = min(max(progress, 0.0), 0.97)
            case messages.Tracked(tracking_id):
                self._tracking = tracking_id[:64]

    def look(self) -> Why:
        """Why the process must end; empty while it may go on."""
        present = time.monotonic()
        if self._stopping.is_set():
            return "stop"
        if present >= self._until:
            return "timeout"
        if present - self._looked < _LOOK_EVERY:
            return ""
        self._looked = present
        try:
            wish = self._db.training.wish(self._run.id, self._run.worker)
            if wish != "go on":
                return wish
            self._beat(present)
        except AndonError as error:
            # A database that is away for a moment ends no training of an hour.
            log.warning(f"A training could not say that it is alive: {error}", run=self._run.id)
        return ""

    def _beat(self, present: float) -> None:
        news = (self._stage, self._progress, self._tracking) != (None, None, None)
        if present - self._written < (_WRITE_EVERY if news else _BEAT_EVERY):
            return
        self._written = present
        self._db.training.beat(
            self._run.id,
            self._run.worker,
            stage=self._stage,
            progress=self._progress,
            tracking_id=self._tracking,
        )
        self._stage = self._progress = self._tracking = None


def worker_name() -> str:
    """A name for this process, and for one run in it."""
    pid = os.getpid()
    return f"{host_name()}:{pid}:{_started(pid)}:{uuid7()[-8:]}"


def host_name() -> str:
    """This machine's name, as names of workers begin with it."""
    return socket.gethostname()[:32]


def is_dead(worker: str) -> bool | None:
    """Whether a worker's process is gone; None where it cannot be known, as of another machine."""
    host, _, rest = worker.rpartition(":")[0].partition(":")
    pid, _, started = rest.partition(":")
    if host != host_name() or not pid.isdecimal():
        return None
    return _started(int(pid)) != started


def _started(pid: int) -> str:
    """When a process started, in ticks of the kernel; empty where there is none.

    Process ids are used again; with the start they name one process.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    # A zombie runs nothing any more.
    return "" if fields[0] == "Z" else fields[19]
