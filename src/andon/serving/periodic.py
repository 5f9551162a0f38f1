"""A thread that does small things again and again."""

import threading
from collections.abc import Callable

import structlog

from andon.errors import AndonError

log = structlog.get_logger("andon.periodic")


class Periodic:
    """Calls functions every so often, one after the other, until stopped.

    What one raises is logged and ends nothing: the others are called, and its next call may
    succeed.

    Args:
        name: Of the thread, and in the log.
        seconds: Between the end of one round and the next.
        work: Each called with nothing.
        at_once: Whether the first round comes without waiting.
    """

    def __init__(
        self, name: str, seconds: float, *work: Callable[[], object], at_once: bool = False
    ) -> None:
        self._name = name
        self._seconds = seconds
        self._work = work
        self._at_once = at_once
        self._complaints = [""] * len(work)
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
            self._round()
        while not self._stopping.wait(self._seconds):
            self._round()

    def _round(self) -> None:
        for number, work in enumerate(self._work):
            self._call(number, work)

    def _call(self, number: int, work: Callable[[], object]) -> None:
        try:
            work()
        except AndonError as error:
            # A full disk stays full for hours: said once, not every second.
            if str(error) != self._complaints[number]:
                self._complaints[number] = str(error)
                log.warning(f"{self._name}: {error}")
        # A thread that dies silently would leave its task undone for good.
        except Exception:
            log.exception(f"{self._name} failed")
        else:
            self._complaints[number] = ""
