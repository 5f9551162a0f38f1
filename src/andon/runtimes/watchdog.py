"""Stops ONNX Runtime runs that exceed their deadline.

ONNX Runtime looks at `RunOptions.terminate` between nodes. One thread per process sets it
on runs that are late; it sleeps while nothing runs.
"""

import itertools
import os
import threading
import time

import onnxruntime

_TICK = 0.02
"""How late a run may be noticed, seconds."""


class Watchdog:
    """Knows what runs and until when."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start from nothing: a forked child inherits the book-keeping but not the thread."""
        self._lock = threading.Lock()
        self._awake = threading.Event()
        self._running: dict[int, tuple[float, onnxruntime.RunOptions]] = {}
        self._tickets = itertools.count()
        self._thread: threading.Thread | None = None

    def enter(self, options: onnxruntime.RunOptions, deadline: float) -> int:
        """Watch a run until `leave`; `deadline` is a `time.monotonic()` value."""
        ticket = next(self._tickets)
        with self._lock:
            self._running[ticket] = (deadline, options)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._watch, name="andon-onnx-watchdog", daemon=True
                )
                self._thread.start()
        if not self._awake.is_set():
            self._awake.set()
        return ticket

    def leave(self, ticket: int) -> None:
        """The run is over."""
        with self._lock:
            self._running.pop(ticket, None)

    def _watch(self) -> None:
        while True:
            self._awake.wait()
            with self._lock:
                if not self._running:
                    self._awake.clear()
                    continue
                now = time.monotonic()
                for deadline, options in self._running.values():
                    if deadline <= now:
                        options.terminate = True
            time.sleep(_TICK)


WATCHDOG = Watchdog()
"""The one of this process."""

os.register_at_fork(after_in_child=WATCHDOG.reset)
