"""What the process that watches found, told to the others on the same database.

One process looks at the models; all of them show pages and check pictures. The newest signals and
windows are kept as one row, what was learned of a model's pictures as one row for each model.
Where there is only one process (SQLite) nothing is written.
"""

import threading
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from andon import typed
from andon.monitoring.cameras import Publish
from andon.monitoring.performance import PerformanceWindow
from andon.monitoring.signals import Signal
from andon.store import clock
from andon.store.database import Database
from andon.store.watch_state import WatchState

_NEWEST = "newest"
_CAMERA = "camera:"
# A page asks several times while it is made.
_KEPT_SECONDS = 1.0
# Looks that may be missed before what was found is too old to be shown.
_LOOKS = 5
_AT_LEAST = timedelta(minutes=5)


class Newest(msgspec.Struct, frozen=True):
    """What the newest look found.

    Attributes:
        windows: By model.
        signals: Of all models and feeds.
        at: When that was; None where nobody has looked, or long ago.
    """

    windows: dict[str, PerformanceWindow] = {}
    signals: list[Signal] = []
    at: datetime | None = None


class _Camera(msgspec.Struct, frozen=True):
    """What is usual of a model's pictures."""

    sharpness_floor: float | None = None
    size: tuple[int, int] | None = None


class Shared:
    """Tells other processes what was found, and knows what they did.

    Args:
        db: Where it is kept.
        interval: Between two looks, seconds.
        publish: Is told what another process learned of a model's pictures.
    """

    def __init__(self, db: Database, interval: float, publish: Publish) -> None:
        self._rows = WatchState(db)
        self._too_old = max(_AT_LEAST, timedelta(seconds=_LOOKS * interval))
        self._publish = publish
        self._lock = threading.Lock()
        self._newest = Newest()
        self._read_at = float("-inf")
        self._learned: dict[str, datetime] = {}

    def tell(self, windows: Mapping[str, PerformanceWindow], signals: Iterable[Signal]) -> None:
        """Keep what a look has found.

        Raises:
            AndonError: The database does not take it.
        """
        found = {"windows": dict(windows), "signals": list(signals)}
        self._rows.put(_NEWEST, msgspec.to_builtins(found))

    def newest(self) -> Newest:
        """What was kept last, by whichever process; nothing where that is too old.

        Raises:
            AndonError: The database cannot be asked.
        """
        with self._lock:
            if time.monotonic() - self._read_at >= _KEPT_SECONDS:
                self._newest = self._read()
                self._read_at = time.monotonic()
            return self._newest

    def camera_learned(
        self, model: str, sharpness_floor: float | None, size: tuple[int, int] | None
    ) -> None:
        """Go by what was learned of a model's pictures, and let the others do so.

        Args:
            model: Registered model's name.
            sharpness_floor: Pictures below are blurred; None: unknown.
            size: Usual width and height; None: they differ.

        Raises:
            AndonError: The database does not take it; this process goes by it.
        """
        self._publish(model, sharpness_floor, size)
        value = {"sharpness_floor": sharpness_floor, "size": size}
        self._rows.put(f"{_CAMERA}{model}", value)

    def learn(self) -> None:
        """Go by what others have learned of pictures. Cheap where nothing is new.

        Raises:
            AndonError: The database cannot be asked.
        """
        for name, moment in self._rows.times(_CAMERA).items():
            if self._learned.get(name) == moment:
                continue
            row = self._rows.get(name)
            if row is None:
                continue
            usual = typed.convert(row.value, _Camera)
            self._publish(name.removeprefix(_CAMERA), usual.sharpness_floor, usual.size)
            self._learned[name] = moment

    def _read(self) -> Newest:
        row = self._rows.get(_NEWEST)
        # One from the future was found before the clock was set back.
        if row is None or abs(clock.now() - row.updated_at) > self._too_old:
            return Newest()
        try:
            found = typed.convert(row.value, Newest)
        except msgspec.ValidationError:
            # Another version of Andon, beside this one for a moment, writes it otherwise.
            return Newest()
        return msgspec.structs.replace(found, at=row.updated_at)
