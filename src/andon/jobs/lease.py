"""Exactly one process at a time does a thing: it holds a lease in the database, and renews it.

Whether it holds it is answered from memory, and "no" as soon as the lease could have run out by a
clock that nobody sets: a process that slept, or that cannot reach the database, stops by itself
before another may take over. How long that takes at most: the length of the lease, and the time
between two looks of those who wait, a third of it.
"""

import os
import secrets
import socket
import threading
import time
from datetime import datetime

import structlog

from andon.errors import AndonError
from andon.store.clock import now
from andon.store.database import Database
from andon.store.leases import Lease as Held
from andon.store.leases import Leases

log = structlog.get_logger("andon.lease")

_SHARE = 3
_LONGEST_POLL = 2.0
_STOP_WAIT = 5.0
# Without news of its holder for so many lengths of the lease, it is dead whatever the clocks say.
_SILENCE = 2.0


class Lease:
    """One lease, as this process sees it. Safe in threads.

    Args:
        db: Holds the lease.
        name: Which.
        seconds: How long it lasts without being renewed. The same in every process.
        alone: Whether no other process can want it (SQLite: the home's lock keeps other servers
            away); then it is held from `start` to `stop`, and nothing is written.
    """

    def __init__(self, db: Database, name: str, seconds: float, *, alone: bool = False) -> None:
        self._leases = Leases(db)
        self.name = name
        self.alone = alone
        self._seconds = seconds
        self.me = f"{socket.gethostname()[:64]}:{os.getpid()}:{secrets.token_hex(4)}"
        """What this process calls itself as a holder."""
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._until = 0.0
        self._token = 0
        self._since: datetime | None = None
        self._seen: tuple[Held, float] | None = None
        self._problem = ""
        self._took_over = ""
        self._running = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def token(self) -> int:
        """Of the newest time this process held it: greater than every other holder's before."""
        with self._lock:
            return self._token

    @property
    def since(self) -> datetime | None:
        """When this process took it (the database's clock); None while it does not hold it."""
        with self._lock:
            return self._since if self._holding() else None

    @property
    def problem(self) -> str:
        """Why it could not be asked for or renewed; empty when nothing is wrong."""
        with self._lock:
            return self._problem

    def held(self) -> bool:
        """Whether this process holds it now, for certain. Asks nobody."""
        with self._lock:
            return self._holding()

    def took_over(self) -> str:
        """The holder that fell silent before this process took it; empty where there was none.

        Answered once per change of hands.
        """
        with self._lock:
            found, self._took_over = self._took_over, ""
            return found

    def holder(self) -> Held | None:
        """What the database says of it; None while nobody ever held it, and where `alone`.

        Raises:
            AndonError: The database cannot be asked.
        """
        return None if self.alone else self._leases.get(self.name)

    def current(self) -> Held | None:
        """As `holder`; None, too, where its time is over by the database's clock.

        Raises:
            AndonError: The database cannot be asked.
        """
        found = self.holder()
        if found is None or not found.holder or found.until <= self._leases.clock():
            return None
        return found

    def start(self) -> None:
        """Ask for it, and keep it, on a thread of its own, until `stop`."""
        with self._lock:
            self._running = True
            if self.alone:
                self._token = 1
                self._since = now()
        if self.alone:
            return
        self._stopping.clear()
        self._thread = threading.Thread(
            target=self._run, name=f"andon-lease-{self.name}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Give it back, so that another need not wait for it to run out. Repeatable."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_STOP_WAIT)
            self._thread = None
        with self._lock:
            holding, token = self._holding(), self._token
            self._running = False
            self._until = 0.0
        if not holding or self.alone:
            return
        try:
            self._leases.release(self.name, self.me, token)
        except AndonError as error:
            log.warning(f"The lease {self.name} was not given back, and runs out: {error}")

    def tend(self) -> bool:
        """Renew it, or try to take it; whether it is held. What `start` does again and again.

        Raises:
            AndonError: The database cannot be asked. What is held stays so until it runs out.
        """
        with self._turn:
            return self.alone or self._tend()

    def _tend(self) -> bool:
        before = _clock()
        with self._lock:
            mine, token = self._until > 0.0, self._token
        if mine:
            if self._leases.renew(self.name, self.me, token, self._seconds):
                with self._lock:
                    self._until = before + self._seconds
                    self._running = not self._stopping.is_set()
                return True
            with self._lock:
                self._until = 0.0
            log.warning(
                f"This process no longer holds the lease {self.name}: it was silent for too long, "
                "and another took over"
            )
            return False
        return self._take()

    def _take(self) -> bool:
        found = self._leases.get(self.name)
        silent = self._silent(found)
        before = _clock()
        taken = self._leases.take(self.name, self.me, self._seconds, silent=silent)
        if taken is None:
            return False
        fell_silent = found.holder if found is not None and found.holder != self.me else ""
        with self._lock:
            self._until = before + self._seconds
            self._token = taken.token
            self._since = taken.taken_at
            self._took_over = fell_silent
            self._running = not self._stopping.is_set()
        if fell_silent:
            log.warning(f"{fell_silent} fell silent; this process holds the lease {self.name} now")
        else:
            log.info(f"This process holds the lease {self.name}", token=taken.token)
        return True

    def _silent(self, found: Held | None) -> Held | None:
        """The lease, where its holder has not renewed it for longer than any lease lasts.

        A database whose clock is set back by a day would else keep a dead holder for a day.
        """
        if found is None or not found.holder:
            return None
        if self._seen is None or self._seen[0] != found:
            self._seen = found, _clock()
            return None
        return found if _clock() - self._seen[1] > self._seconds * _SILENCE else None

    def _run(self) -> None:
        while True:
            pause = self._seconds / _SHARE
            try:
                if not self.tend():
                    pause = min(pause, _LONGEST_POLL)
                trouble = ""
            except AndonError as error:
                trouble = str(error)
                pause = min(pause, _LONGEST_POLL)
            # A thread that dies silently would leave nobody to watch.
            except Exception as error:
                log.exception(f"The lease {self.name} cannot be tended")
                trouble = f"{type(error).__name__}: {error}"
            with self._lock:
                changed, self._problem = trouble != self._problem, trouble
            if trouble and changed:
                log.warning(f"The lease {self.name} can neither be taken nor renewed: {trouble}")
            if self._stopping.wait(pause):
                return

    def _holding(self) -> bool:
        if self.alone:
            return self._running
        return self._running and _clock() < self._until


def _clock() -> float:
    """Seconds on a clock that nobody sets and that also counts while the machine sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)
