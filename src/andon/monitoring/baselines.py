"""What is normal for a version: its first full window of answers after warm-up.

The first 20 answers are left out, and so are those that came from the cache. It is measured
once and kept among the measured numbers, so that it survives restarts and the pruning of the log.
Latency is that of the first full window for good. What is answered varies by lot, shift and
light, so that is described anew by answers of each hour of the first day when it is over.
"""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import structlog

from andon import typed
from andon.errors import AndonError
from andon.store.clock import now
from andon.store.database import Database
from andon.store.records import ModelVersion
from andon.store.windows import Windows

log = structlog.get_logger("andon.monitoring")

LATENCY = "baseline_latency_ms"
"""Name of the number in `performance_metrics`; the rest is in its details."""

ANSWERS = "baseline_answers"
"""The same of the description by the first day; its value is how many answers that are."""

HOURS = 24
"""Length of the first day."""

WARM_UP = 20
"""First answers of a version, which are slower than the others."""

ROW_COLUMNS = ("confidence_scores", "detection_count", "prediction", "probability")
"""What answers to rows are described by, besides latency."""

PICTURE_COLUMNS = ("confidence_scores", "raw_scores", "detection_count", "prediction", "detections")
"""The same of pictures."""


class Spread(msgspec.Struct, frozen=True):
    """Mean, standard deviation and how many."""

    mean: float = 0.0
    std: float = 0.0
    count: int = 0

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of some numbers."""
        if not values:
            return cls()
        array = np.asarray(values, np.float64)
        return cls(float(array.mean()), float(array.std()), len(array))

    def error_with(self, other: "Spread") -> float:
        """Standard error of the difference of the two means."""
        return math.sqrt(sum((one.std**2 + 1e-4) / max(one.count, 1) for one in (self, other)))


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """Some answers of one version, in numbers.

    Attributes:
        answers: How many.
        confidence: Of an answer; a picture without detections has none.
        detections: For each picture.
        labels: Detections by label.
        pictures: Pictures with a detection.
        predictions: Answers by predicted class.
    """

    answers: int = 0
    confidence: Spread = Spread()
    detections: Spread = Spread()
    labels: dict[str, int] = {}
    pictures: int = 0
    predictions: dict[str, int] = {}


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """What is normal for a version: median latency in milliseconds, and its answers."""

    latency_ms: float
    described: Described


def takes_rows(version: ModelVersion) -> bool:
    """Whether a version takes rows, not pictures."""
    return bool(version.description.get("rows"))


def columns_of(version: ModelVersion) -> tuple[str, ...]:
    """The columns that `describe` needs of its answers."""
    return ROW_COLUMNS if takes_rows(version) else PICTURE_COLUMNS


def describe(version: ModelVersion, rows: Sequence[Any]) -> Described:
    """Successful answers in numbers.

    Args:
        version: Whose.
        rows: With the columns of `columns_of`.
    """
    sure = [
        scores[0] if len(scores) == 1 else sum(scores) / len(scores)
        for row in rows
        if (scores := row.confidence_scores)
    ]
    predictions = Counter(row.prediction for row in rows if row.prediction is not None)
    if takes_rows(version):
        return Described(
            answers=len(rows), confidence=Spread.of(sure), predictions=dict(predictions)
        )
    labels = Counter(
        str(found.get("label")) for row in rows for found in row.detections or () if found
    )
    return Described(
        answers=len(rows),
        confidence=Spread.of(sure),
        detections=Spread.of([row.detection_count for row in rows]),
        labels=dict(labels),
        pictures=sum(row.detection_count > 0 for row in rows),
        predictions=dict(predictions),
    )


class Baselines:
    """The baselines of all versions; each is measured once.

    Args:
        db: Log and numbers.
        window: Answers of a baseline.
        keep: Whether what is measured is written down; a page that is looked at writes nothing.
    """

    def __init__(self, db: Database, window: int, *, keep: bool = True) -> None:
        self._keeps = keep
        self._db = db
        self._windows = Windows(db)
        self._window = window
        self._known: dict[int, Baseline] = {}
        self._wide: set[int] = set()

    def get(self, version: ModelVersion) -> Baseline | None:
        """What is normal for a version; None while it was not measured."""
        known = self._known.get(version.id)
        if known is not None:
            return known
        stored = self._db.metrics.first(version.id, LATENCY)
        if stored is None:
            return None
        wide = self._db.metrics.first(version.id, ANSWERS)
        try:
            described = typed.convert((wide or stored).details or {}, Described)
        except msgspec.ValidationError:
            described = Described()
        found = Baseline(latency_ms=stored.value, described=described)
        self._known[version.id] = found
        if wide is not None:
            self._wide.add(version.id)
        return found

    def settle(self, version: ModelVersion) -> Baseline | None:
        """What is normal for a version, measured (and kept) now where there is enough for it."""
        known = self.get(version)
        if known is None:
            rows = self._first(version, self._window)
            if not rows:
                return None
            latency = float(np.median([row.latency_ms for row in rows]))
            known = Baseline(latency_ms=latency, described=describe(version, rows))
            if self._keep(version, LATENCY, latency, known.described):
                self._known[version.id] = known
        if version.id not in self._wide:
            rows = self._day(version)
            if 0 < len(rows) < self._window:
                # A first day with hardly any answers says less than the first full window.
                self._wide.add(version.id)
            elif rows:
                known = msgspec.structs.replace(known, described=describe(version, rows))
                if self._keep(version, ANSWERS, len(rows), known.described):
                    self._known[version.id] = known
                    self._wide.add(version.id)
        return known

    def _day(self, version: ModelVersion) -> list[Any]:
        """Some answers of each hour of the first day; nothing before it is over."""
        first = self._windows.oldest(version.id, 1, columns=("created_at",))
        hour = timedelta(hours=1)
        if not first or now() - first[0].created_at < HOURS * hour:
            return []
        begin: datetime = first[0].created_at
        rows: list[Any] = []
        for place in range(HOURS):
            rows += self._windows.newest(
                version.id,
                self._window // 2,
                columns=columns_of(version),
                since=begin + place * hour,
                before=begin + (place + 1) * hour,
            )
        return rows

    def _first(self, version: ModelVersion, number: int) -> list[Any]:
        """The first answers after warm-up; nothing where there are not so many yet."""
        needed = WARM_UP + number
        rows = self._windows.oldest(
            version.id, needed, columns=("latency_ms", *columns_of(version)), cached=False
        )
        return rows[WARM_UP:] if len(rows) == needed else []

    def _keep(self, version: ModelVersion, name: str, value: float, found: Described) -> bool:
        if not self._keeps:
            return False
        try:
            self._db.metrics.add(version.id, {name: value}, details=msgspec.to_builtins(found))
        except AndonError as error:
            # The database may be read-only for a while: the same rows say the same next time.
            log.warning("A baseline could not be kept.", model=version.model, reason=str(error))
            return False
        return True

    def waiting(self, version: ModelVersion) -> int:
        """Answers that still lack before the first full window can be measured."""
        needed = WARM_UP + self._window
        rows = self._windows.oldest(version.id, needed, columns=("id",), cached=False)
        return max(0, needed - len(rows))
