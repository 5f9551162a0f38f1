"""Which camera is sick, from what was found wrong with its newest pictures.

What is dark or blown out shows in one picture by itself. What is blurred or of the wrong size
shows only beside what is usual: a model's usual sharpness and size are learned here, from the
drift reference where there is one, else from its first pictures, and handed to what checks every
picture.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from andon.monitoring.baselines import takes_rows
from andon.monitoring.performance import since_of
from andon.monitoring.signals import Issue, Signal, State, Watched
from andon.store.database import Database
from andon.store.drift_reports import DriftReferences
from andon.store.records import ModelVersion
from andon.store.windows import Windows

PICTURES = 20
"""Newest pictures of a camera that are looked at."""

NEEDED = 5
"""Pictures with something wrong before a camera is sick."""

SHARE = 0.5
"""Share of its pictures with something wrong from which a camera is sick."""

LEARNED_FROM = 200
"""Pictures that usual sharpness and size are learned from."""

SHARPNESS_SHARE = 0.3
"""Of the usual median: less is blurred."""

SIZE_SHARE = 0.95
"""Share of the pictures that must have one size before another one is wrong."""

_READ = 400
_WORDS = {
    "dark": "too dark",
    "bright": "blown out",
    "blurred": "blurred",
    "frozen": "the same picture again and again",
    "size": "of another size than usual",
}

Publish = Callable[[str, float | None, tuple[int, int] | None], None]
"""Takes a model, its sharpness floor and its usual size (width, height); None: none."""


class CameraDetector:
    """Says which cameras are sick, and learns what is usual.

    Args:
        db: The log.
        publish: Is told what was learned of a model.
    """

    def __init__(self, db: Database, publish: Publish | None = None) -> None:
        self._db = db
        self._windows = Windows(db)
        self._references = DriftReferences(db)
        self._publish = publish
        self._learned: dict[str, tuple[int, Any]] = {}

    def look(self, watched: Watched) -> list[Signal]:
        """One signal, named "camera", for each camera that sent pictures; none for rows."""
        version = watched.version
        if takes_rows(version):
            return []
        self._learn(version)
        rows = self._windows.newest(
            version.id,
            _READ,
            columns=("camera", "camera_state", "created_at"),
            since=since_of(watched),
        )
        by_camera: dict[str, list[Any]] = {}
        for row in rows:
            if row.camera_state is not None:
                newest = by_camera.setdefault(row.camera or "", [])
                if len(newest) < PICTURES:
                    newest.append(row)
        return [_signal(version, name, found) for name, found in sorted(by_camera.items())]

    def _learn(self, version: ModelVersion) -> None:
        """Hand on what is usual for a model, once for each version and reference."""
        if self._publish is None:
            return
        reference = self._references.get(version.id)
        basis = (version.id, None if reference is None else reference.created_at)
        if self._learned.get(version.model) == basis:
            return
        floor = None if reference is None else _floor_of(reference.statistics)
        rows = self._windows.oldest(
            version.id,
            LEARNED_FROM,
            columns=("image_stats", "image_width", "image_height", "camera_state"),
        )
        if len(rows) < LEARNED_FROM:
            # Those of the version before hold until there is something better.
            return
        if floor is None:
            floor = sharpness_floor(rows)
        self._publish(version.model, floor, usual_size(rows))
        self._learned[version.model] = basis


def sharpness_floor(rows: Sequence[Any]) -> float | None:
    """Under which sharpness a picture is blurred; None where that cannot be said.

    Args:
        rows: With `image_stats` and `camera_state`.
    """
    known = [
        float(row.image_stats["sharpness"])
        for row in rows
        if row.image_stats
        and row.camera_state in {"ok", "size"}
        and isinstance(row.image_stats.get("sharpness"), int | float)
    ]
    if len(known) < LEARNED_FROM // 2:
        return None
    return SHARPNESS_SHARE * float(np.median(known)) or None


def usual_size(rows: Sequence[Any]) -> tuple[int, int] | None:
    """The size (width, height) that nearly all pictures have; None where they differ."""
    sizes = Counter((row.image_width, row.image_height) for row in rows)
    (size, count), *_ = sizes.most_common(1) or [((None, None), 0)]
    if not rows or None in size or count < SIZE_SHARE * len(rows):
        return None
    return int(size[0]), int(size[1])


def _floor_of(statistics: dict[str, Any]) -> float | None:
    """The floor from the statistics of a drift reference."""
    known = (statistics.get("features") or {}).get("sharpness") or {}
    median = (known.get("quantiles") or {}).get("0.5", known.get("mean"))
    if not isinstance(median, int | float) or median <= 0:
        return None
    return SHARPNESS_SHARE * float(median)


def _signal(version: ModelVersion, camera: str, rows: Sequence[Any]) -> Signal:
    problems = Counter(row.camera_state for row in rows if row.camera_state != "ok")
    sick = sum(problems.values())
    bad = sick >= NEEDED and sick >= SHARE * len(rows)
    enough = len(rows) >= NEEDED
    name = f"camera {camera}" if camera else f"the unnamed camera of {version.model}"
    what = ", ".join(
        f"{count} {_WORDS.get(state, state)}" for state, count in problems.most_common()
    )
    if not enough:
        summary = f"{name} has sent {len(rows)} pictures; it takes {NEEDED} to say how it is."
    elif sick:
        summary = f"Of the last {len(rows)} pictures of {name}, {sick} are not usable: {what}."
    else:
        summary = f"The last {len(rows)} pictures of {name} are in order."
    return Signal(
        name="camera",
        issue=Issue.DATA_QUALITY,
        state=State.BAD if bad else State.OK if enough else State.UNKNOWN,
        summary=summary[0].upper() + summary[1:],
        model=version.model,
        version=version.version,
        value=sick / len(rows),
        threshold=SHARE,
        count=len(rows),
        needed=NEEDED,
        since=rows[-1].created_at,
        until=rows[0].created_at,
        subject=camera,
        evidence={"problems": dict(problems)},
    )
