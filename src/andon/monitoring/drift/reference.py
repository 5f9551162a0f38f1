"""What drift is measured from: training data, the first answers, or a window that a person pinned.

A line has its days: light, products and shifts come and go without anything being wrong. So a
reference made from answers is cut into contiguous blocks as long as the windows that will be
looked at, and how far each block is from the rest says how far every feature wanders by itself
(`tolerated`). Only what goes beyond that is drift.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from andon.errors import Conflict, InvalidRequest
from andon.monitoring.drift import distances, measuring, tabular, vision
from andon.monitoring.drift.measuring import Column
from andon.monitoring.drift.report import Side
from andon.settings import Settings
from andon.store.database import Database
from andon.store.drift_reports import DriftReferences, Reference
from andon.store.ids import uuid7_floor
from andon.store.records import ModelVersion
from andon.store.windows import Windows

SPAN = timedelta(hours=24)
"""Time that a learned reference covers at least: a whole day with its light and shifts."""

MARGIN = 1.5
"""How much further than any of its blocks a feature may wander: few blocks see not everything."""

LEAST = 50
"""Answers that a pinned window takes at least."""

# A line that goes in steps, one product after the other: blocks that are part one, part another
# hide how far apart the products are.
_STEP = 0.25
_STEPS_MARGIN = 2.0
_PARTS = 24
_FEWEST_PARTS = 3
_SHORTEST_BLOCK = 10
# Sick pictures do not count: more answers are read until enough are healthy.
_MOST_TIMES = 8


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What a window is compared with.

    Attributes:
        side: Where it comes from.
        features: Statistics by name.
        more: Of pictures: centres and profiles; `variance` of the scores.
    """

    side: Side
    features: dict[str, Any]
    more: dict[str, Any] = {}


class Learning(msgspec.Struct, frozen=True, kw_only=True):
    """How far a reference is that is still being learned.

    Attributes:
        count: Answers there are.
        needed: Answers it takes.
        hours: Time they span.
        needed_hours: Time they must span.
    """

    count: int
    needed: int
    hours: float
    needed_hours: float

    def sentence(self, things: str) -> str:
        """For people.

        Args:
            things: "pictures" or "rows".
        """
        time = ""
        if self.needed_hours:
            time = f", {min(self.hours, self.needed_hours):.0f} of {self.needed_hours:.0f} h"
        return (
            f"Learning the reference: {min(self.count, self.needed)} of {self.needed} "
            f"{things}{time}."
        )


def windows_of(db: Database) -> Windows:
    """The readers of the log."""
    return db.windows


def references_of(db: Database) -> DriftReferences:
    """The stored references."""
    return db.drift_references


def kind_of(version: ModelVersion) -> str:
    """What a version answers: "rows" or "pictures"."""
    task = str((version.description or {}).get("task") or "")
    return "rows" if tabular.is_rows(task, version.reference) else "pictures"


def current(
    db: Database, settings: Settings, version: ModelVersion, *, span: timedelta = SPAN
) -> Known | Learning:
    """What a version is compared with now; learned here where it is due.

    A pinned or learned reference stands before that of the training.

    Args:
        db: With the log and the stored references.
        settings: `drift_window` and `drift_reference`.
        version: With the reference of its training, where it has one.
        span: Time that a learned one must cover.
    """
    stored = references_of(db).get(version.id)
    if stored is not None:
        return known(stored)
    if kind_of(version) == "rows":
        features = tabular.statistics(version.reference or {})
        if features:
            count = int((version.reference or {}).get("rows") or 0)
            return Known(side=Side(source="training", count=count), features=features)
    return learn(db, settings, version, span=span)


def known(stored: Reference) -> Known:
    """A stored reference, to compare with."""
    statistics = stored.statistics
    span = stored.span
    return Known(
        side=Side(
            source=stored.source,
            count=int(span.get("count") or 0),
            since=_time(span.get("since")),
            until=_time(span.get("until")),
            first=span.get("first"),
            last=span.get("last"),
            actor=stored.actor,
        ),
        features=dict(statistics.get("features") or {}),
        more={key: value for key, value in statistics.items() if key != "features"},
    )


def learn(
    db: Database, settings: Settings, version: ModelVersion, *, span: timedelta = SPAN
) -> Known | Learning:
    """Make a reference of a version's first answers, once there are enough.

    Args:
        db: With the log.
        settings: `drift_window` and `drift_reference`.
        version: That answered.
        span: Time that they must cover.
    """
    needed = settings.drift_reference
    kind = kind_of(version)
    windows = windows_of(db)
    number = needed
    first = last = None
    healthy: list[Any] = []
    # One look at a version that has answered for months must not read all of it.
    while number <= needed * _MOST_TIMES:
        rows = windows.oldest(version.id, number, columns=("created_at", *_columns(kind)))
        if not rows:
            return Learning(count=0, needed=needed, hours=0.0, needed_hours=_hours(span))
        first, last = rows[0], rows[-1]
        healthy = _healthy(kind, rows)[0]
        if len(healthy) >= needed or len(rows) < number:
            break
        number *= 2
    if first is None or last is None:
        return Learning(count=0, needed=needed, hours=0.0, needed_hours=_hours(span))
    newest = windows.newest(version.id, 1, columns=("created_at",))
    passed = max(newest[0].created_at, last.created_at) - first.created_at
    if len(healthy) < needed or passed < span:
        return Learning(
            count=len(healthy), needed=needed, hours=max(0.0, _hours(passed)),
            needed_hours=_hours(span),
        )  # fmt: skip
    until = max(first.created_at + span, last.created_at + timedelta(milliseconds=1))
    blocks = _blocks(db, settings, version, (first.created_at, until), healthy)
    return _keep(db, version, kind, blocks, source="learned", actor="")


def pin(
    db: Database,
    version: ModelVersion,
    since: datetime,
    until: datetime,
    actor: str,
    *,
    settings: Settings,
) -> Reference:
    """Compare a version from now on with what it answered between two times.

    Args:
        db: With the log.
        version: That answered.
        since: Begin.
        until: End; not included.
        actor: Who wants it.
        settings: For `drift_window`.

    Raises:
        InvalidRequest: It ends before it begins.
        Conflict: Too few answers in it.
    """
    if since >= until:
        raise InvalidRequest(
            "The reference would end before it begins.", hint="Give a later `until`."
        )
    kind = kind_of(version)
    blocks = _blocks(db, settings, version, (since, until), None)
    count = sum(len(block) for block in blocks)
    if count < LEAST:
        raise Conflict(
            f"Version {version.version} of model {version.model} gave {count} usable answers in "
            f"that time; a reference takes {LEAST}.",
            hint="Choose a longer time; pictures of sick cameras do not count.",
        )
    _keep(db, version, kind, blocks, source="pinned", actor=actor)
    found = references_of(db).get(version.id)
    if found is None:
        raise Conflict("Somebody unpinned the reference at the same moment.", hint="Pin it again.")
    return found


def statistics(kind: str, blocks: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """What is kept of a reference.

    Args:
        kind: "rows" or "pictures".
        blocks: Answers in contiguous parts, oldest first.
    """
    everything = [row for block in blocks for row in block]
    if kind == "rows":
        shapes = tabular.learned(everything)
        parts = [tabular.columns(block, shapes) for block in blocks]
        more: dict[str, Any] = {}
    else:
        pictures = [vision.Pictures(block) for block in blocks]
        more = vision.centres(pictures)
        parts = [block.columns(more) for block in pictures]
        scores = vision.all_scores(everything)
        variance = distances.population_variance(scores)
        more |= {"variance": distances.finite(variance), "scores": len(scores)}
        parts = _with_left_out(parts, pictures)
    features: dict[str, Any] = {
        name: measuring.describe(_joined(columns)) | {"tolerated": _wandering(columns)}
        for name, columns in _by_name(parts).items()
        if any(column.known or not column.optional for column in columns)
    }
    if "together" in more:
        features[vision.TOGETHER] = {"kind": "together"}
    return {"kind": kind, "rows": len(everything), "features": features, **more}


def _keep(
    db: Database,
    version: ModelVersion,
    kind: str,
    blocks: Sequence[Sequence[Any]],
    *,
    source: str,
    actor: str,
) -> Known:
    first, last = blocks[0][0], blocks[-1][-1]
    span = {
        "since": min(first.created_at, last.created_at),
        "until": max(first.created_at, last.created_at),
        "count": sum(len(block) for block in blocks),
        "first": first.id,
        "last": last.id,
    }
    plain = msgspec.to_builtins(span)
    found = statistics(kind, blocks)
    return known(references_of(db).put(version.id, source, plain, found, actor))


def _blocks(
    db: Database,
    settings: Settings,
    version: ModelVersion,
    span: tuple[datetime, datetime],
    read: Sequence[Any] | None,
) -> list[list[Any]]:
    """Answers of a time in contiguous blocks as long as a window, spread evenly over it.

    `read` are the healthy ones, where they have been read already.
    """
    windows, kind = windows_of(db), kind_of(version)
    columns = ("created_at", *_columns(kind))
    since, until = uuid7_floor(span[0]), uuid7_floor(span[1])
    size = settings.drift_window
    most = _PARTS * size
    rows = windows.newest(version.id, most + 1, columns=columns, since=since, before=until)
    if len(rows) <= most:
        healthy = _healthy(kind, rows[::-1])[0]
        if read is not None and len(healthy) < len(read):
            # Their ids are not of the time that their rows say.
            healthy = list(read)
        return _cut(healthy, size)
    step = (span[1] - span[0]) / _PARTS
    found = []
    for part in range(_PARTS):
        begin, end = span[0] + part * step, span[0] + (part + 1) * step
        rows = windows.newest(
            version.id, size, columns=columns, since=uuid7_floor(begin), before=uuid7_floor(end)
        )
        healthy = _healthy(kind, rows[::-1])[0]
        # A short one wanders by chance alone.
        if len(healthy) >= max(_SHORTEST_BLOCK, size // 2):
            found.append(healthy)
    if found:
        return found
    rows = windows.newest(version.id, most, columns=columns, since=since, before=until)
    return [_healthy(kind, rows[::-1])[0]]


def _cut(rows: list[Any], size: int) -> list[list[Any]]:
    """Parts of about a window each, three at least where there are rows for them."""
    parts = min(max(_FEWEST_PARTS, len(rows) // size), max(1, len(rows) // _SHORTEST_BLOCK))
    ends = np.linspace(0, len(rows), parts + 1).astype(int)
    return [rows[begin:end] for begin, end in pairwise(ends)]


def _healthy(kind: str, rows: Sequence[Any]) -> tuple[list[Any], dict[str, int]]:
    return (list(rows), {}) if kind == "rows" else vision.healthy(rows)


def _columns(kind: str) -> tuple[str, ...]:
    return tabular.COLUMNS if kind == "rows" else vision.COLUMNS


def _with_left_out(
    parts: list[list[Column]], pictures: Sequence[vision.Pictures]
) -> list[list[Column]]:
    """Replace the distances of the reference's pictures by those they would have from outside."""
    if len([block for block in pictures if len(block.vectors) > 1]) < 2:
        return parts
    away = vision.left_out(pictures)
    found, begin = [], 0
    for columns, block in zip(parts, pictures, strict=True):
        used = len(block.vectors) if len(block.vectors) > 1 else 0
        mine = away[begin : begin + used]
        begin += used
        found.append(
            [
                msgspec.structs.replace(one, values=mine) if one.name == vision.NOVELTY else one
                for one in columns
            ]
        )
    return found


def _by_name(parts: Sequence[Sequence[Column]]) -> dict[str, list[Column]]:
    found: dict[str, list[Column]] = {}
    for columns in parts:
        for column in columns:
            found.setdefault(column.name, []).append(column)
    return found


def _joined(columns: Sequence[Column]) -> Column:
    total = sum(column.total for column in columns)
    first = columns[0]
    if first.weights is None:
        values = [column.values for column in columns if column.values is not None]
        joined = np.concatenate(values) if values else np.zeros(0)
        return msgspec.structs.replace(first, values=joined, total=total)
    weights: dict[str, float] = {}
    for column in columns:
        for key, weight in (column.weights or {}).items():
            weights[key] = weights.get(key, 0.0) + weight
    return msgspec.structs.replace(first, weights=weights, total=total)


def _wandering(columns: Sequence[Column]) -> float | None:
    """The greatest distance of a block from the rest, with a margin; None of a single block."""
    if len(columns) < 2:
        return None
    found = 0.0
    for index, column in enumerate(columns):
        rest = _joined([one for place, one in enumerate(columns) if place != index])
        found = max(found, measuring.wandering(column, rest))
    margin = _STEPS_MARGIN if found > _STEP else MARGIN
    return distances.finite(min(1.0, margin * found))


def _hours(span: timedelta) -> float:
    return span.total_seconds() / 3600


def _time(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    found = datetime.fromisoformat(value)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def describe_side(side: Side | None, things: str) -> str:
    """What a window is compared with, as a part of a sentence."""
    if side is None:
        return "nothing yet"
    if side.source == "training":
        return f"{side.count:,} {things} that it learned from"
    times = _span(side)
    if side.source == "pinned":
        return f"{side.count:,} {things} pinned by {side.actor or 'somebody'}{times}"
    return f"its first {side.count:,} {things}{times}"


def _span(side: Side) -> str:
    if side.since is None or side.until is None:
        return ""
    return f", {side.since:%Y-%m-%d %H:%M} to {side.until:%Y-%m-%d %H:%M} UTC"
