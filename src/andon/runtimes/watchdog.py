"""Stops ONNX Runtime runs that exceed their deadline.

ONNX Runtime looks at `RunOptions.terminate` between nodes. One thread per process sets it
on runs that are late. It sleeps until the first of them can be: looking every few
milliseconds would interrupt the inference that it watches.
"""

import itertools
import math
import os
import threading
import time

import onnxruntime


class Watchdog:
    """Knows what runs and until when."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start from nothing: a forked child inherits the book-keeping but not the thread."""
        self._changed = threading.Condition(threading.Lock())
        self._running: dict[int, tuple[float, onnxruntime.RunOptions]] = {}
        self._tickets = itertools.count()
        self._wakes = math.inf
        self._thread: threading.Thread | None = None

    def enter(self, options: onnxruntime.RunOptions, deadline: float) -> int:
        """Watch a run until `leave`; `deadline` is a `time.monotonic()` value."""
        ticket = next(self._tickets)
        with self._changed:
            self._running[ticket] = (deadline, options)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._watch, name="andon-onnx-watchdog", daemon=True
                )
                self._thread.start()
            elif deadline < self._wakes:
                # Seldom: later runs have later deadlines, and what has ended is not forgotten
                # before its time.
                self._changed.notify()
        return ticket

    def leave(self, ticket: int) -> None:
        """The run is over."""
        with self._changed:
            self._running.pop(ticket, None)

    def _watch(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                self._wakes = math.inf
                for deadline, options in self._running.values():
                    if deadline <= now:
                        options.terminate = True
                    else:
                        self._wakes = min(self._wakes, deadline)
                self._changed.wait(None if math.isinf(self._wakes) else self._wakes - now)


WATCHDOG = Watchdog()
"""The one of this process."""

os.register_at_fork(after_in_child=WATCHDOG.reset)
