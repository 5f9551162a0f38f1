"""Asks a candidate what nobody waits for: after the answer went out, and only on spare capacity.

A shadow never delays an answer: what it is to be asked waits in a short queue, is taken from
there when no request waits or runs, and is left out where the queue is full.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

import structlog
from prometheus_client import Counter

from andon.errors import AndonError

log = structlog.get_logger("andon.traffic")

_WAITING = 8
# How long one thing waits for a moment in which nothing else is to be done, seconds, and how
# often that is looked for.
_PATIENCE = 2.0
_LOOK = 0.005


class Shadowing:
    """A thread that asks candidates. Starts with the first question.

    Args:
        skipped: Counts what was left out, by model.
        busy: Whether any request waits or runs.
    """

    def __init__(self, skipped: Counter, busy: Callable[[], bool]) -> None:
        self._skipped = skipped
        self._busy = busy
        self._waiting: deque[tuple[str, int, Callable[[], None]]] = deque()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def offer(self, model: str, work: Callable[[], None], count: int = 1) -> bool:
        """Do something later; False, and counted, where too much waits. Never waits itself.

        Args:
            model: For the counter.
            work: Asks the candidate and logs what it says.
            count: Pictures or rows that it is about.
        """
        if len(self._waiting) >= _WAITING or self._stopped:
            self._skipped.labels(model).inc(count)
            return False
        with self._change:
            self._waiting.append((model, count, work))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="andon-shadow", daemon=True)
                self._thread.start()
            self._change.notify()
        return True

    def stop(self) -> None:
        """End; what still waits is left out. Safe to call twice."""
        with self._change:
            self._stopped = True
            self._waiting.clear()
            self._change.notify()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def start(self) -> None:
        """Take questions again after a stop."""
        self._stopped = False

    def _run(self) -> None:
        while (item := self._next()) is not None:
            model, count, work = item
            if not self._free():
                self._skipped.labels(model).inc(count)
                continue
            try:
                work()
            except AndonError as error:
                log.warning(f"A shadow did not answer: {error}", model=model)
            # A thread that dies silently would end the shadowing for good.
            except Exception:
                log.exception("Shadowing failed", model=model)

    def _next(self) -> tuple[str, int, Callable[[], None]] | None:
        with self._change:
            while not self._waiting:
                if self._stopped:
                    return None
                self._change.wait()
            return None if self._stopped else self._waiting.popleft()

    def _free(self) -> bool:
        """Wait for a moment in which no request waits or runs; False where none comes."""
        deadline = time.monotonic() + _PATIENCE
        while self._busy():
            if self._stopped or time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK)
        return not self._stopped
