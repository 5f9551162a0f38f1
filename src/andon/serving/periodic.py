"""A thread that does one small thing again and again."""

import threading
from collections.abc import Callable

import structlog

from andon.errors import AndonError

log = structlog.get_logger("andon.periodic")


class Periodic:
    """Calls a function every so often, until stopped.

    What it raises is logged and ends nothing: the next call may succeed.

    Args:
        name: Of the thread, and in the log.
        seconds: Between the end of one call and the next.
        work: Called with nothing.
        at_once: Whether the first call comes without waiting.
    """

    def __init__(
        self, name: str, seconds: float, work: Callable[[], object], *, at_once: bool = False
    ) -> None:
        self._name = name
        self._seconds = seconds
        self._work = work
        self._at_once = at_once
        self._complaint = ""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name=f"andon-{self._name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; a call that is under way is finished."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        if self._at_once:
            self._call()
        while not self._stopping.wait(self._seconds):
            self._call()

    def _call(self) -> None:
        try:
            self._work()
        except AndonError as error:
            # A full disk stays full for hours: said once, not every second.
            if str(error) != self._complaint:
                self._complaint = str(error)
                log.warning(f"{self._name}: {error}")
        # A thread that dies silently would leave its task undone for good.
        except Exception:
            log.exception(f"{self._name} failed")
        else:
            self._complaint = ""
