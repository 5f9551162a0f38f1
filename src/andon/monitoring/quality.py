"""Whether the data that come in are sound: missing values, wild values, repeats, refused inputs.

Compared with the training data's statistics where the version's file brings them. A signal
turns bad on a large share that chance does not explain (the lower end of a four-sigma Wilson
interval), not on one odd row.
"""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from andon.monitoring.baselines import takes_rows
from andon.monitoring.feeds import FeedDetector
from andon.monitoring.intervals import Floats
from andon.monitoring.performance import since_of
from andon.monitoring.refusals import is_refusal
from andon.monitoring.signals import Issue, Signal, State, Watched
from andon.runtimes.rows import text_of
from andon.settings import Settings
from andon.store.clock import now
from andon.store.database import Database
from andon.store.records import ModelVersion
from andon.store.windows import Windows, time_of

__all__ = ["FeatureQuality", "FeedDetector", "Quality", "QualityDetector", "examine", "validate"]

NEEDED = 30
"""Answers before anything is said."""

_Z = 4.0
# Shares beyond what is usual, absolute, that matter.
_MISSING = 0.10
_OUTSIDE = 0.05
_NEW = 0.05
_REPEATED = 0.50
_REFUSED = 0.10
# A repeat is a sender's hiccup, and changes no answer.
_INFO = frozenset({"duplicates"})
# Of the span that training saw, on both sides: its end is where its last row happened to be.
_MARGIN = 0.05
_MOST_NAMED = 5


class FeatureQuality(msgspec.Struct, frozen=True, kw_only=True):
    """One feature in a window of rows.

    Attributes:
        missing: Share without a value.
        missing_usual: The same of the training data; None where that is not known.
        outside: Share beyond the training data's smallest and largest value; None of categories.
        low: Smallest value that the training data held.
        high: Largest one.
        new: Values that the training data did not hold, with their share; categories only.
    """

    name: str
    missing: float
    missing_usual: float | None = None
    outside: float | None = None
    low: float | None = None
    high: float | None = None
    new: dict[str, float] = {}


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of a window.

    Attributes:
        answers: Inputs that were answered.
        refused: Inputs that were refused.
        reasons: The most frequent sentences of those, with how often.
        repeated: Share of the answered inputs that are the same as another of the window.
        features: Of rows.
        states: Pictures by camera state.
        sizes: Pictures by size, such as "640x480".
    """

    answers: int
    refused: int
    reasons: dict[str, int]
    repeated: float
    features: list[FeatureQuality] = []
    states: dict[str, int] = {}
    sizes: dict[str, int] = {}
    since: datetime | None = None
    until: datetime | None = None


class QualityDetector:
    """Says what is wrong with the inputs of a version.

    Args:
        db: The log.
        settings: Size of the window.
    """

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._window = settings.monitor_window

    def look(self, watched: Watched) -> list[Signal]:
        """Signal "refused"; of rows "missing", "out_of_range", "new_category", "duplicates"."""
        found = examine(self._db, watched.version, self._window, since=since_of(watched))
        return signals_of(watched.version, found)


def examine(
    db: Database, version: ModelVersion, limit: int, since: datetime | None = None
) -> Quality:
    """The newest inputs of a version in numbers.

    Args:
        db: The log.
        version: With reference.
        limit: Answers at most, refused ones included.
        since: Not older than this.
    """
    of_rows = takes_rows(version)
    inputs = (
        ("features",) if of_rows else ("image_hash", "image_width", "image_height", "camera_state")
    )
    rows = Windows(db).newest(
        version.id, limit, columns=("status", "error", *inputs), status=None, since=since
    )
    reasons = Counter(
        row.error for row in rows if row.status != "success" and is_refusal(row.error)
    )
    answered = [row for row in rows if row.status == "success"]
    common: dict[str, Any] = {
        "answers": len(answered),
        "refused": sum(reasons.values()),
        "reasons": dict(reasons.most_common(_MOST_NAMED)),
        "since": None if not rows else time_of(rows[-1].id),
        "until": None if not rows else time_of(rows[0].id),
    }
    if of_rows:
        features = [row.features for row in answered if row.features]
        same = [repr(row) for row in features]
        return Quality(repeated=_repeated(same), features=_features(version, features), **common)
    return Quality(
        repeated=_repeated([row.image_hash for row in answered if row.image_hash]),
        states=dict(Counter(row.camera_state or "unknown" for row in answered)),
        sizes=dict(
            Counter(f"{row.image_width}x{row.image_height}" for row in answered).most_common(
                _MOST_NAMED
            )
        ),
        **common,
    )


def signals_of(version: ModelVersion, found: Quality) -> list[Signal]:
    """What a window of inputs says."""
    total = found.answers + found.refused
    name = f"{version.model} v{version.version}"

    def signal(what: str, state: State, summary: str, **given: Any) -> Signal:
        return Signal(
            name=what,
            issue=Issue.DATA_QUALITY,
            state=state,
            summary=summary,
            model=version.model,
            version=version.version,
            since=found.since,
            until=found.until,
            needed=NEEDED,
            **{"count": found.answers, **given},
        )

    names = ["refused"]
    if takes_rows(version):
        names += ["missing", "out_of_range", "new_category", "duplicates"]
    if total < NEEDED:
        text = f"{name} was sent {total} inputs in the window; it takes {NEEDED} to judge the data."
        return [signal(one, State.UNKNOWN, text) for one in names]
    most = max(found.reasons, key=lambda reason: found.reasons[reason], default="")
    bad = _surely(found.refused, total) > _REFUSED
    signals = [
        signal(
            "refused",
            State.BAD if bad else State.OK,
            f"{found.refused} of {total} inputs of {name} were refused"
            + (f", most for: {most[:200]}" if most else "."),
            value=found.refused / total,
            threshold=_REFUSED,
            count=total,
        )
    ]
    if not takes_rows(version):
        return signals
    if found.answers < NEEDED:
        text = f"{name} has {found.answers} rows in the window; it takes {NEEDED} to judge them."
        return signals + [signal(one, State.UNKNOWN, text) for one in names[1:]]
    signals += [
        signal(
            what,
            State.BAD if faults else State.OK,
            summary,
            severity="info" if what in _INFO else "warning",
            evidence=evidence,
        )
        for what, faults, summary, evidence in _row_faults(name, found)
    ]
    return signals


def _row_faults(name: str, found: Quality) -> list[tuple[str, bool, str, dict[str, Any]]]:
    """Name, whether it is bad, sentence and evidence of each check on rows."""
    n = found.answers
    missing = {
        one.name: one.missing
        for one in found.features
        if _surely(one.missing * n, n) > (one.missing_usual or 0.0) + _MISSING
    }
    outside = {
        one.name: one.outside
        for one in found.features
        if one.outside is not None and _surely(one.outside * n, n) > _OUTSIDE
    }
    new = {
        one.name: one.new
        for one in found.features
        if one.new and _surely(sum(one.new.values()) * n, n) > _NEW
    }
    named = ", ".join(f"{key} ({share:.0%})" for key, share in _most(missing))
    ranges = {one.name: one for one in found.features}
    wild = ", ".join(
        f"{key} ({share:.0%} beyond {ranges[key].low:g} to {ranges[key].high:g})"
        for key, share in _most(outside)
    )
    fresh = ", ".join(f"{key} ({', '.join(list(values)[:3])})" for key, values in new.items())
    repeated = found.repeated > _REPEATED
    return [
        (
            "missing",
            bool(missing),
            f"Rows of {name} lack values far more often than usual: {named}."
            if missing
            else f"Rows of {name} lack no more values than usual.",
            {"missing": missing},
        ),
        (
            "out_of_range",
            bool(outside),
            f"Rows of {name} hold values that its training never saw: {wild}."
            if outside
            else f"The values of {name} are inside of what its training saw.",
            {"outside": outside},
        ),
        (
            "new_category",
            bool(new),
            f"Rows of {name} hold categories that its training never saw: {fresh}."
            if new
            else f"Rows of {name} hold no new categories.",
            {"new": new},
        ),
        (
            "duplicates",
            repeated,
            f"{found.repeated:.0%} of the newest {n} rows of {name} are the same as another one"
            + (": a sender may repeat itself." if repeated else "."),
            {"repeated": found.repeated},
        ),
    ]


def validate(db: Database, version: ModelVersion, limit: int) -> dict[str, Any]:
    """Run all data checks on the newest inputs of a version, as a report.

    Args:
        db: The log.
        version: With reference.
        limit: Inputs at most.

    Returns:
        `model`, `version`, `checked_at`, `inputs`, `passed` (None with too few inputs),
        `summary`, `checks` (name, state, summary) and `measured`, everything as JSON holds it.
    """
    found = examine(db, version, limit)
    signals = signals_of(version, found)
    bad = [one for one in signals if one.state is State.BAD]
    known = any(one.state is not State.UNKNOWN for one in signals)
    inputs = found.answers + found.refused
    if not known:
        summary = signals[0].summary
    elif bad:
        summary = " ".join(one.summary for one in bad)
    else:
        summary = f"All {len(signals)} checks passed on {inputs} inputs."
    report: dict[str, Any] = msgspec.to_builtins(
        {
            "model": version.model,
            "version": version.version,
            "checked_at": now(),
            "inputs": inputs,
            "passed": not bad if known else None,
            "summary": summary,
            "checks": [
                {"name": one.name, "state": one.state, "summary": one.summary} for one in signals
            ],
            "measured": found,
        }
    )
    return report


def _features(version: ModelVersion, rows: Sequence[dict[str, Any]]) -> list[FeatureQuality]:
    """Each feature of the schema in some rows."""
    usual = (version.reference or {}).get("features") or {}
    rows_usual = (version.reference or {}).get("rows") or 0
    total = len(rows)
    if not total:
        return []
    answer = []
    for feature in (version.description.get("rows") or {}).get("features") or ():
        name = feature["name"]
        known = usual.get(name) or {}
        values = [row.get(name) for row in rows]
        present = [value for value in values if value is not None]
        given: dict[str, Any] = {"name": name, "missing": 1 - len(present) / total}
        if rows_usual and "missing" in known:
            given["missing_usual"] = known["missing"] / rows_usual
        counts = known.get("counts")
        if feature.get("kind") == "category":
            if isinstance(counts, dict):
                # A caller may send 1.0 for the category 1; the model takes it as that.
                same = {one: text_of(one) for one in feature.get("categories") or ()}
                seen = Counter(
                    text_of(value) if isinstance(value, bool) else same.get(value, text_of(value))
                    for value in present
                    if isinstance(value, str | int | float)
                )
                given["new"] = {
                    value: count / total
                    for value, count in seen.most_common()
                    if not counts.get(value)
                }
        elif known.get("min") is not None and known.get("max") is not None:
            low, high = float(known["min"]), float(known["max"])
            span = (high - low) * _MARGIN
            numbers = _numbers(present)
            beyond = int(((numbers < low - span) | (numbers > high + span)).sum())
            given |= {"outside": beyond / total, "low": low, "high": high}
        answer.append(FeatureQuality(**given))
    return answer


def _numbers(values: Sequence[Any]) -> Floats:
    """Those that are numbers; a log may hold what no version of today would take."""
    try:
        return np.array(values, np.float64)
    except (ValueError, TypeError):
        return np.array([value for value in values if isinstance(value, int | float)], np.float64)


def _repeated(values: Sequence[Any]) -> float:
    """Share of values that another one is equal to, the first of each left out."""
    return 1 - len(set(values)) / len(values) if values else 0.0


def _surely(hits: float, total: int) -> float:
    """The share that is there at least: the lower end of Wilson's interval at four sigmas."""
    share = hits / total
    spread = _Z * math.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2))
    return max(0.0, (share + _Z**2 / (2 * total) - spread) / (1 + _Z**2 / total))


def _most(shares: dict[str, Any]) -> list[tuple[str, float]]:
    return sorted(shares.items(), key=lambda item: -item[1])[:_MOST_NAMED]
