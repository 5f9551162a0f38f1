"""Watches a version for drift: one look at each full window of new answers.

Windows do not overlap, so every answer is tested once and two alarms in a row are two witnesses.
What is certain beyond doubt (`measuring.STRONG`) is drift at once; what is significant
(`measuring.ORDINARY`) must be seen again in the next window. Over N looks at quiet data so at most
N · (0.0001 + 0.01²) false alarms are to be expected: 0.09 in 30 days of 15 looks. A rate, and not a
sum that is used up: a monitor has no end, and must see the thousandth drift as well as the first.
"""

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast

import msgspec

from andon.errors import InvalidRequest
from andon.monitoring.drift import looking, reference
from andon.monitoring.drift.looking import Kind, Window
from andon.monitoring.drift.reference import SPAN, Known, Learning
from andon.monitoring.drift.report import Findings, findings
from andon.monitoring.signals import Issue, Signal, State, Watched
from andon.settings import Settings
from andon.store import clock
from andon.store.database import Database
from andon.store.drift_reports import DriftReports
from andon.store.ids import uuid7_floor
from andon.store.records import DriftReport, ModelVersion

EVERY = timedelta(hours=1)
"""Reports that say the same as the one before are kept at most this often."""

LEAST = 20
"""Answers that a look on demand takes at least."""

MOST = 10_000
"""Answers that a look on demand takes at most."""

# Sick pictures do not count: so many times the window is read to find enough healthy ones.
_READ = 4
# A clock that was set back left answers dated ahead; small differences are no such thing.
_AHEAD = timedelta(minutes=5)


class _Memory(msgspec.Struct):
    """What is known of a version between two looks."""

    last: str | None = None
    suspected: list[str] = []
    told: Findings | None = None
    report_id: str | None = None
    verdict: str = ""
    kept_at: datetime | None = None


class DriftDetector:
    """Says of versions whether what they are given, or answer, has changed.

    Args:
        db: With the log and the reports.
        settings: `drift_window` and `drift_reference`.
        span: Time that a learned reference must cover; a day, but for tests and drills.
    """

    def __init__(self, db: Database, settings: Settings, *, span: timedelta = SPAN) -> None:
        self._db = db
        self._settings = settings
        self._span = span
        self._memories: dict[int, _Memory] = {}
        self._lock = threading.Lock()

    def look(self, watched: Watched) -> list[Signal]:
        """Signals "drift", "prediction_drift" and, of pictures, "score_variance"."""
        version, moment = watched.version, watched.moment
        with self._lock:
            memory = self._memory(version, moment)
            known = reference.current(self._db, self._settings, version, span=self._span)
            self._look(memory, version, known, moment)
            if memory.told is None:
                return []
            return _signals(memory.told, memory.report_id)

    def forget(self, version_id: int) -> None:
        """Begin anew with a version: its reference was changed."""
        with self._lock:
            self._memories.pop(version_id, None)

    def _memory(self, version: ModelVersion, moment: datetime) -> _Memory:
        memory = self._memories.get(version.id)
        if memory is None:
            memory = self._memories[version.id] = self._recalled(version)
        ahead = uuid7_floor(moment + _AHEAD)
        if memory.last is not None and memory.last >= ahead:
            memory.last = None
        return memory

    def _recalled(self, version: ModelVersion) -> _Memory:
        """What the newest report says, after a restart or when another process watched before."""
        newest = reports_of(self._db).newest(version.model, version.version)
        if newest is None:
            return _Memory()
        try:
            told = findings(newest.report)
        except msgspec.ValidationError:
            return _Memory()
        if told.on_demand:
            # It tested answers that the watch has not seen yet.
            return _Memory()
        return _Memory(
            last=told.window.last if told.verdict != "unknown" else None,
            suspected=told.suspected,
            told=told,
            report_id=newest.report_id,
            verdict=newest.verdict,
            kept_at=newest.created_at,
        )

    def _look(
        self, memory: _Memory, version: ModelVersion, known: Known | Learning, moment: datetime
    ) -> None:
        if self._other_reference(memory, known):
            memory.last, memory.suspected, memory.told = None, [], None
        after = memory.last
        if after is None and isinstance(known, Known) and known.side.source == "learned":
            # A window out of the reference would look like it.
            after = known.side.last
        seen = _read(
            self._db, version, self._settings.drift_window, after=after,
            before=uuid7_floor(moment + _AHEAD),
        )  # fmt: skip
        if (
            not isinstance(known, Known)
            or not looking.known_features(known)
            or len(seen.rows) < seen.needed
        ):
            if memory.told is None or memory.told.verdict == "unknown" or seen.left_out:
                self._tell_unknown(memory, version, seen, known, moment)
            return
        found = looking.look(version, seen, known, moment, before=memory.suspected)
        memory.last = seen.rows[-1].id
        memory.suspected = found.suspected
        self._keep(memory, version, found, moment)

    def _tell_unknown(
        self,
        memory: _Memory,
        version: ModelVersion,
        seen: Window,
        known: Known | Learning,
        moment: datetime,
    ) -> None:
        told = memory.told
        sick = sum(seen.left_out.values())
        # The verdict of the last full window stands, unless sick pictures are all that comes.
        if told is not None and told.verdict != "unknown" and sick < (_READ - 1) * seen.needed:
            return
        self._keep(memory, version, looking.unknown(version, seen, moment, known), moment)

    def _keep(
        self, memory: _Memory, version: ModelVersion, found: Findings, moment: datetime
    ) -> None:
        """Store what was found where it is new, is drift, or an hour has passed."""
        memory.told = found
        passed = None if memory.kept_at is None else abs(moment - memory.kept_at)
        due = passed is None or passed >= EVERY
        changed = found.verdict != memory.verdict
        if not (due or changed or found.verdict == "drift"):
            return
        if found.verdict == "unknown" and not found.window.count and not changed:
            return
        memory.report_id = _store(self._db, version, found).report_id
        memory.verdict = found.verdict
        memory.kept_at = moment

    @staticmethod
    def _other_reference(memory: _Memory, known: Known | Learning) -> bool:
        """Whether what is compared with has changed since the last look."""
        told = memory.told
        if told is None or told.verdict == "unknown" or told.reference is None:
            return False
        return not isinstance(known, Known) or known.side != told.reference


def run(
    db: Database,
    settings: Settings,
    version: ModelVersion,
    limit: int | None = None,
    *,
    span: timedelta = SPAN,
) -> DriftReport:
    """Look at the newest answers now, and keep the report.

    One window alone decides: what is significant counts as drift, so about one look in a hundred
    is wrong on quiet data.

    Args:
        db: With the log and the reports.
        settings: `drift_window` and `drift_reference`.
        version: That answered, with its reference.
        limit: Answers to look at; default `drift_window`.
        span: Time that a learned reference must cover.

    Raises:
        InvalidRequest: `limit` is out of range.
    """
    size = settings.drift_window if limit is None else limit
    if not LEAST <= size <= MOST:
        raise InvalidRequest(
            f"A look takes {LEAST} to {MOST:,} answers, not {size:,}.", hint="Give another limit."
        )
    moment = clock.now()
    known = reference.current(db, settings, version, span=span)
    least = min(size, max(LEAST, settings.drift_window // 2))
    seen = _read(db, version, size, least=least)
    if not isinstance(known, Known) or not looking.known_features(known) or len(seen.rows) < least:
        found = looking.unknown(version, seen, moment, known, on_demand=True)
    else:
        found = looking.look(version, seen, known, moment, on_demand=True)
    return _store(db, version, found)


def reports_of(db: Database) -> DriftReports:
    """The stored reports."""
    return db.drift_reports


def _store(db: Database, version: ModelVersion, found: Findings) -> DriftReport:
    return reports_of(db).add(
        version.id, found.verdict, found.score, found.drifted, found.plain(), found.looked_at
    )


def _read(
    db: Database,
    version: ModelVersion,
    size: int,
    *,
    least: int | None = None,
    after: str | None = None,
    before: str | None = None,
) -> Window:
    """The newest answers that nobody has looked at, the first of them after `after`.

    With fewer than `least` (default: `size`) they are only counted, not read in full.
    """
    kind = cast("Kind", reference.kind_of(version))

    def window(columns: Sequence[str], most: int) -> tuple[Window, int]:
        rows = reference.windows_of(db).newest(
            version.id, most, columns=columns, since=after, before=before
        )
        rows = [row for row in rows if row.id != after]
        return looking.window(kind, rows, size), len(rows)

    most = size + 1
    seen, there = window(looking.LIGHT, most)
    if there > len(seen.rows) and len(seen.rows) < size and kind == "pictures":
        # Sick pictures among them: look further back.
        most = _READ * size
        seen, _ = window(looking.LIGHT, most)
    if len(seen.rows) < (size if least is None else least):
        return msgspec.structs.replace(seen, counted=True)
    return window(looking.columns(kind), most)[0]


def _signals(told: Findings, report_id: str | None) -> list[Signal]:
    inputs = [feature for feature in told.features if feature.group == "input"]
    outputs = [feature for feature in told.features if feature.group == "output"]
    found = [
        _signal(told, report_id, "drift", Issue.DATA_DRIFT, inputs),
        _signal(told, report_id, "prediction_drift", Issue.ANOMALY, outputs),
    ]
    if told.variance is not None:
        found.append(_variance(told, report_id))
    return found


def _signal(
    told: Findings, report_id: str | None, name: str, issue: Issue, features: Sequence[Any]
) -> Signal:
    bad = [feature for feature in features if feature.drifted]
    state = State.OK
    if told.verdict == "unknown" or not features:
        state = State.UNKNOWN
    elif bad:
        state = State.BAD
    scores = [feature.score for feature in features]
    summary = told.summary
    if state is State.UNKNOWN and told.verdict != "unknown":
        summary = "The reference says nothing of this."
    elif state is State.OK and told.verdict == "drift":
        what = "what the model is given" if name == "drift" else "what the model answers"
        summary = f"No drift in {what}."
    return Signal(
        name=name,
        issue=issue,
        state=state,
        summary=summary,
        value=max(scores) if scores and state is not State.UNKNOWN else None,
        threshold=1.0,
        report_id=report_id,
        evidence={
            "features": [feature.name for feature in bad],
            "distances": {feature.name: feature.distance for feature in bad[:10]},
            "left_out": told.left_out,
        },
        **_common(told),
    )


def _variance(told: Findings, report_id: str | None) -> Signal:
    rule = told.variance
    assert rule is not None
    if rule.value is None or told.window.count < told.needed:
        state = State.UNKNOWN
        summary = f"{told.window.count} of {told.needed} pictures for the variance of the scores."
    else:
        state = State.BAD if rule.exceeded else State.OK
        beyond = "over" if rule.exceeded else "within"
        summary = (
            f"The variance of {rule.count:,} unfiltered scores is {rule.value:.3g}, {beyond} the "
            f"threshold of {rule.threshold:.3g}."
        )
    return Signal(
        name="score_variance",
        issue=Issue.DATA_DRIFT,
        state=state,
        summary=summary,
        value=rule.value if state is not State.UNKNOWN else None,
        threshold=rule.threshold,
        baseline=rule.baseline,
        report_id=report_id,
        **_common(told),
    )


def _common(told: Findings) -> dict[str, Any]:
    return {
        "model": told.model,
        "version": told.version,
        "count": told.window.count,
        "needed": told.needed,
        "since": told.window.since,
        "until": told.window.until,
    }
