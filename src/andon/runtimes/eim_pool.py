"""A fixed number of `.eim` processes, kept alive.

Callers borrow a process and give it back. One that dies or hangs is replaced in the
background, later and later the more often it happens; after too many times nothing is
started for a while, and callers are told so at once.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from andon.errors import AndonError, DeadlineExceeded, RuntimeFailed
from andon.runtimes.base import RuntimeConfig
from andon.runtimes.eim_process import EimProcess, stop_all
from andon.runtimes.eim_protocol import Hello

log = structlog.get_logger("andon.runtimes")


class RestartPolicy(msgspec.Struct, frozen=True):
    """When to start again what died.

    Attributes:
        first_delay: Wait before the second restart in a row, seconds; doubles from there.
            The first restart waits for nothing.
        longest_delay: Upper bound of the wait, seconds.
        crashes: More than this many within `window` is too many.
        window: Seconds.
        cool_down: Rest after too many crashes, seconds; then one start is tried.
    """

    first_delay: float = 0.25
    longest_delay: float = 10.0
    crashes: int = 5
    window: float = 300.0
    cool_down: float = 60.0


class Pool:
    """Processes of one model file.

    Args:
        path: The executable.
        config: How many, and their limits.
        policy: When to restart.
    """

    def __init__(self, path: Path, config: RuntimeConfig, policy: RestartPolicy) -> None:
        self._path = path
        self._config = config
        self._policy = policy
        self._change = threading.Condition()
        self._idle: list[EimProcess] = []
        self._all: set[EimProcess] = set()
        self._menders: set[threading.Thread] = set()
        self._resting = 0
        self._crashes: deque[float] = deque()
        self._why = ""
        self._closed = threading.Event()

    def open(self) -> Hello:
        """Start every process; what the first one says of itself.

        Raises:
            ModelRejected, RuntimeFailed, DeadlineExceeded: One of them cannot be started;
                then none runs.
        """
        hello: Hello | None = None
        try:
            for _ in range(self._config.workers):
                process = self._start()
                self._give(process)
                hello = hello or process.hello
        except BaseException:
            self.close()
            raise
        assert hello is not None
        return hello

    @property
    def held_back(self) -> bool:
        """Whether the program keeps its own threshold."""
        with self._change:
            return any(process.held_back for process in self._all)

    def borrow(self, deadline: float) -> EimProcess:
        """An idle process; give it to `give_back`, `retire` or `await_late`.

        Raises:
            DeadlineExceeded: None became idle in time.
            RuntimeFailed: None is expected to.
        """
        with self._change:
            while not self._idle:
                if self._closed.is_set():
                    raise RuntimeFailed("The model is closed.")
                if self._resting >= self._config.workers:
                    raise RuntimeFailed(
                        f"The model crashed too often and rests for up to "
                        f"{self._policy.cool_down:.0f} s. {self._why}",
                        hint="Roll back to another version if it stays.",
                    )
                left = deadline - time.monotonic()
                if left <= 0:
                    raise DeadlineExceeded(
                        "All processes of the model are busy or being restarted.",
                        hint="Try again, or raise ANDON_EIM_PROCESSES.",
                    )
                self._change.wait(left)
            return self._idle.pop()

    def give_back(self, process: EimProcess) -> None:
        """The process is well."""
        self._give(process)

    def retire(self, process: EimProcess, why: str) -> None:
        """The process is unusable: end it now, replace it in the background."""
        process.kill()
        with self._change:
            self._all.discard(process)
            self._crashed(why)
            if not self._closed.is_set():
                self._mend(self._replace)

    def await_late(self, process: EimProcess, deadline: float) -> None:
        """An answer is overdue: wait for it in the background, or else retire the process.

        A caller in a hurry so costs no healthy process.
        """

        def wait() -> None:
            try:
                process.late(deadline)
            except (RuntimeFailed, DeadlineExceeded) as error:
                self.retire(process, error.detail)
            else:
                self._give(process)

        with self._change:
            if not self._closed.is_set():
                self._mend(wait)

    def close(self) -> None:
        """Stop every process and wait for it. Safe to call twice."""
        with self._change:
            self._closed.set()
            self._idle.clear()
            processes = list(self._all)
            self._change.notify_all()
        stop_all(processes)
        while True:
            with self._change:
                mender = next(iter(self._menders), None)
                late = list(self._all)
            stop_all(late)
            if mender is None:
                return
            mender.join(timeout=0.05)

    # -- Behind the counter ---------------------------------------------------------------

    def _start(self) -> EimProcess:
        process = EimProcess(self._path, self._config)
        with self._change:
            # Known before it runs, so that closing ends it at any moment.
            self._all.add(process)
        try:
            process.start(time.monotonic() + self._config.start_timeout)
        except BaseException:
            with self._change:
                self._all.discard(process)
            raise
        return process

    def _give(self, process: EimProcess) -> None:
        with self._change:
            if not self._closed.is_set():
                self._idle.append(process)
                self._change.notify()

    def _mend(self, work: Callable[[], None]) -> None:
        """Run work on a thread that `close` waits for; with the lock held."""

        def run() -> None:
            try:
                work()
            finally:
                with self._change:
                    self._menders.discard(threading.current_thread())

        thread = threading.Thread(target=run, name="andon-eim-mender", daemon=True)
        self._menders.add(thread)
        thread.start()

    def _crashed(self, why: str) -> None:
        """Take note of a crash; with the lock held."""
        if not self._closed.is_set():
            log.warning("model process ended", file=self._path.name, reason=why)
        self._why = why
        now = time.monotonic()
        self._crashes.append(now)
        while self._crashes and self._crashes[0] < now - self._policy.window:
            self._crashes.popleft()

    def _delay(self) -> tuple[bool, float]:
        """Whether to rest, and how long to wait before starting again; with the lock held."""
        count = len(self._crashes)
        if count > self._policy.crashes:
            return True, self._policy.cool_down
        if count < 2:
            return False, 0.0
        delay = self._policy.first_delay * 2.0 ** (count - 2)
        return False, min(delay, self._policy.longest_delay)

    def _replace(self) -> None:
        """Start a process in place of one that died, until it works or the pool closes."""
        while not self._closed.is_set():
            with self._change:
                rest, delay = self._delay()
                self._resting += rest
                self._change.notify_all()
            if rest:
                log.error("model process crashes too often", file=self._path.name, rest_s=delay)
            self._closed.wait(delay)
            with self._change:
                self._resting -= rest
            if self._closed.is_set():
                return
            try:
                process = self._start()
            except AndonError as error:
                with self._change:
                    self._crashed(error.detail)
                continue
            self._give(process)
            log.info("model process restarted", file=self._path.name)
            return
