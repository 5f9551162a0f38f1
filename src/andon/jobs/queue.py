"""Runs queued jobs on threads of this process; the database keeps them.

A job may run twice (a crash, a lost lease), so handlers are written to be repeatable; its
result is recorded once. Nothing that was accepted is lost: a job is in the database before
`enqueue` returns, and stays there until its result is.

Kinds that take long have a lane of their own: the jobs of the others never wait for them.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog

from andon.errors import AndonError, Saturated
from andon.settings import Settings
from andon.store.database import Database
from andon.store.jobs import JobGivenUp, JobInterrupted
from andon.store.records import Job

log = structlog.get_logger("andon.jobs")

Handler = Callable[[Job], Any]
"""Runs one job and answers its result as JSON values. Raises what it cannot do: `JobGivenUp` where
trying again would not help, `JobInterrupted` where this process ends and the next goes on."""

LEASE = 15.0
"""Seconds a worker may be silent before its job is given to another."""

_RENEW_EVERY = LEASE / 5
_POLL = 1.0
# So long what one idle worker saw is good for the others, seconds.
_SHARED = 0.9
_RETRY_BASE = 1.0
_RETRY_LIMIT = 60.0
_STOP_WAIT = 20.0


class Lane(msgspec.Struct, frozen=True):
    """A kind of job that has threads of its own.

    Attributes:
        workers: How many.
        attempts: Times such a job is tried before it counts as failed.
    """

    workers: int = 1
    attempts: int = 2


class JobQueue:
    """Takes jobs and, once started, runs them.

    Args:
        db: Where jobs are kept.
        settings: Workers, attempts and how many may wait.
        handlers: What runs each kind.
        alone: Whether no other process can be running jobs of this database: what is marked
            as running at start was then left by a crash and is taken up at once.
        lanes: The kinds that have threads of their own. Without any job worker
            (`ANDON_JOB_WORKERS=0`) this process runs none of them either.
    """

    def __init__(
        self,
        db: Database,
        settings: Settings,
        handlers: Mapping[str, Handler],
        *,
        alone: bool = False,
        lanes: Mapping[str, Lane] | None = None,
    ) -> None:
        self._db = db
        self._settings = settings
        self._handlers = dict(handlers)
        self._alone = alone
        self._lanes = dict(lanes or {})
        self._shared = [kind for kind in self._handlers if kind not in self._lanes]
        self._owner = f"{socket.gethostname()[:32]}:{os.getpid()}"
        self._threads: list[threading.Thread] = []
        self._wake = threading.Condition()
        # How often somebody was woken, and when nothing waited, for as many wakings.
        self._woken = 0
        self._nothing: tuple[int, float] | None = None
        self._asking = threading.Lock()
        self._stopping = threading.Event()
        self._held: dict[str, str] = {}
        self._held_lock = threading.Lock()

    def start(self) -> None:
        """Take up what a crash left, then run jobs until `stop`."""
        left = self._db.jobs.requeue_all_of("") if self._alone else 0
        left += self._requeue_expired()
        if left:
            log.warning("Jobs left by a crash were queued again", jobs=left)
        self._stopping.clear()
        workers = self._settings.job_workers
        named = [(f"andon-job-{number}", self._shared) for number in range(workers)]
        for kind, lane in self._lanes.items():
            count = min(lane.workers, workers)
            named += [(f"andon-job-{kind}-{number}", [kind]) for number in range(count)]
        self._threads = [
            # Daemons: a program that ends without `stop` must not hang. Its jobs run again.
            threading.Thread(target=self._work, args=(name, kinds), name=name, daemon=True)
            for name, kinds in named
        ]
        self._threads.append(
            threading.Thread(target=self._keep, name="andon-job-leases", daemon=True)
        )
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish the jobs that run; what waits, waits for the next start."""
        self._stopping.set()
        with self._wake:
            self._wake.notify_all()
        until = time.monotonic() + _STOP_WAIT
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            log.warning("A job is still running at shutdown; it will run again after a restart")
        self._threads = []

    def enqueue(self, kind: str, payload: dict[str, Any], *, job_id: str | None = None) -> Job:
        """Queue a job; it is in the database, durably, when this returns.

        Args:
            kind: A kind that has a handler.
            payload: JSON values.
            job_id: A UUIDv7 made beforehand; None makes a new one.

        Raises:
            Saturated: Too many jobs are waiting.
            ValueError: No handler runs this kind.
        """
        if kind not in self._handlers:
            raise ValueError(f"no handler runs jobs of kind {kind!r}")
        self.require_room()
        job = self._db.jobs.add(kind, payload, job_id=job_id)
        self.wake()
        return job

    def wake(self) -> None:
        """Look for jobs now: somebody has queued one in the database."""
        with self._wake:
            self._woken += 1
            # All: which of the threads takes this kind is not known here.
            self._wake.notify_all()

    def require_room(self) -> None:
        """Raise `Saturated` if no further job would be taken."""
        if self.size() >= self._settings.max_queued_jobs:
            raise Saturated(
                f"{self._settings.max_queued_jobs} jobs are waiting already.",
                hint="Try again when some are done.",
                retry_after=10.0,
            )

    def size(self) -> int:
        """Jobs that wait for a worker."""
        return self._db.jobs.count_queued()

    # -- Inside -------------------------------------------------------------------------

    def _work(self, name: str, kinds: list[str]) -> None:
        """One worker: claim, run, record, again."""
        worker = f"{self._owner}:{name}"
        while not self._stopping.is_set():
            job = self._claim(worker, kinds)
            if job is not None:
                self._run(job, worker)
                continue
            with self._wake:
                if not self._stopping.is_set():
                    # Jobs queued by other processes send no signal: look once a second.
                    self._wake.wait(_POLL)

    def _claim(self, worker: str, kinds: list[str]) -> Job | None:
        try:
            if self._idle():
                return None
            return self._db.jobs.claim(worker, LEASE, kinds=kinds)
        except AndonError as error:
            log.warning(f"No job could be claimed: {error}")
            self._stopping.wait(_POLL)
            return None

    def _idle(self) -> bool:
        """Whether nothing waits, of whatever kind: one thread asks for all, once a second.

        Raises:
            AndonError: The database cannot be asked.
        """
        with self._asking:
            woken = self._woken
            if self._nothing is not None:
                known, at = self._nothing
                if known == woken and time.monotonic() - at < _SHARED:
                    return True
            if self._db.jobs.count_queued():
                return False
            # A job queued meanwhile has woken us: then this does not hold any more.
            self._nothing = (woken, time.monotonic())
            return True

    def _run(self, job: Job, worker: str) -> None:
        """Run one claimed job and record what became of it."""
        with self._held_lock:
            self._held[job.id] = worker
        try:
            if job.attempts > self._attempts(job.kind):
                # It was running when its process died, every time.
                self._fail(job, worker, "Its worker died each time it ran.", final=True)
                return
            try:
                result = self._handlers[job.kind](job)
            except JobInterrupted:
                self._release(job, worker)
            except JobGivenUp as error:
                self._fail(job, worker, str(error), final=True)
            except AndonError as error:
                self._fail(job, worker, str(error), final=error.status < 500)
            # A handler's bug must not end the worker; the job keeps what happened.
            except Exception as error:
                log.exception("A job crashed", job=job.id, kind=job.kind)
                self._fail(job, worker, f"{type(error).__name__}: {error}", final=False)
            else:
                self._finish(job, worker, result)
        finally:
            with self._held_lock:
                self._held.pop(job.id, None)

    def _finish(self, job: Job, worker: str, result: Any) -> None:
        try:
            if not self._db.jobs.finish(job.id, worker, job.attempts, result):
                log.warning("A job's result came after its lease was lost", job=job.id)
        except AndonError as error:
            # The lease runs out and the job runs again.
            log.warning(f"A job's result could not be recorded: {error}", job=job.id)

    def _release(self, job: Job, worker: str) -> None:
        """It was no fault of the job: the attempt does not count."""
        log.info("A job was interrupted and waits for the next start", job=job.id, kind=job.kind)
        try:
            self._db.jobs.release(job.id, worker, job.attempts)
        except AndonError as error:
            # The lease runs out and the job runs again.
            log.warning(f"An interrupted job could not be queued: {error}", job=job.id)

    def _fail(self, job: Job, worker: str, error: str, *, final: bool) -> None:
        last = final or job.attempts >= self._attempts(job.kind)
        wait = None if last else min(_RETRY_LIMIT, _RETRY_BASE * 4.0 ** (job.attempts - 1))
        log.warning(
            f"Job failed: {error}", job=job.id, kind=job.kind, attempt=job.attempts, retry_in=wait
        )
        try:
            self._db.jobs.fail(job.id, worker, job.attempts, error, wait)
        except AndonError as unwritten:
            log.warning(f"A job's failure could not be recorded: {unwritten}", job=job.id)

    def _keep(self) -> None:
        """Renew the leases of running jobs; give away those of dead processes."""
        while not self._stopping.wait(_RENEW_EVERY) or self._busy():
            with self._held_lock:
                held = dict(self._held)
            try:
                for job_id, worker in held.items():
                    self._db.jobs.renew(job_id, worker, LEASE)
                if self._requeue_expired():
                    self.wake()
            except AndonError as error:
                log.warning(f"Job leases could not be renewed: {error}")
            if self._stopping.is_set():
                time.sleep(0.1)

    def _attempts(self, kind: str) -> int:
        lane = self._lanes.get(kind)
        return self._settings.job_attempts if lane is None else lane.attempts

    def _requeue_expired(self) -> int:
        return self._db.jobs.requeue_expired(
            max_attempts=self._settings.job_attempts,
            special={kind: lane.attempts for kind, lane in self._lanes.items()},
        )

    def _busy(self) -> bool:
        with self._held_lock:
            return bool(self._held)
