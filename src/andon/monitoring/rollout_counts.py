"""What the log says of the two versions of a rollout, counted once and carried on.

Each look reads the rows since the look before. Ids carry the time at which a request came, and a
row is written when it was answered: rows of the last half minute are therefore counted again at
each look, and those before it never. Whoever has the counts can go on with them; without them they
are counted again from the log, with the same result.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Integer, Text, and_, case, func, literal, select
from sqlalchemy import cast as sql_cast

from andon.monitoring.classes import DEFECT, Classes
from andon.monitoring.rollout_pairs import is_right, labelled_pairs, read_pairs
from andon.monitoring.sequential import Count
from andon.runtimes.rows import text_of
from andon.store.clock import now
from andon.store.database import Database
from andon.store.ids import uuid7_floor
from andon.store.records import Rollout
from andon.store.tables import predictions

SLOW_FACTOR = 1.25
"""An answer is slow where it took longer than this times the active version's 95th percentile."""

SLOW_LEAST_MS = 1.0
"""And than this more, ms: a row of a batch takes microseconds, and fractions of those are noise."""

_SETTLED = timedelta(seconds=30)
# Rows of one version that one look reads.
_AT_ONCE = 10_000
_LABELS_AT_ONCE = 20_000
# What "slow" means is taken from so many answers before the rollout, or from its first ones.
_USUAL = 500
_FEWEST_USUAL = 40
_FIRST = 100

_columns = predictions.c


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Answers of one version.

    Attributes:
        answers: All of them, those that failed too.
        errors: Those that failed.
        timed: Those whose time counts: answered, and not from the cache.
        slow: Those of them that were slow.
        told: Answers with a verdict or class.
        chosen: Those of them that said `Counts.said`.
    """

    answers: int = 0
    errors: int = 0
    timed: int = 0
    slow: int = 0
    told: int = 0
    chosen: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        mine, theirs = msgspec.structs.astuple(self), msgspec.structs.astuple(other)
        return Tally(
            **{name: a + b for name, a, b in zip(self.__struct_fields__, mine, theirs, strict=True)}
        )


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """How far one version's rows are counted.

    Attributes:
        until: Rows with smaller ids are in `settled`.
        settled: Their counts.
        total: With the rows since then.
    """

    until: str
    settled: Tally = Tally()
    total: Tally = Tally()


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a judgement rests on.

    Attributes:
        active: Of the version that served when the rollout began.
        candidate: Of the other.
        slow_ms: From when on an answer is slow, milliseconds; None while that is not known.
        timed_from: Rows from this id on are timed.
        said: The answer whose share is compared: "defect", or a class as the log has it.
        right_active: Labelled answers of the active version, and those that were right.
        right_candidate: The same of the candidate.
        pairs: Requests that both answered, and those answered differently (shadow, compare).
        pairs_until: Candidate's rows with smaller ids are in `pairs_settled`.
        pairs_settled: Their counts.
        only_active: Labelled pairs, and those that the active version alone had right.
        only_candidate: Labelled pairs, and those that the candidate alone had right.
        behind: There is more to read; the next look goes on.
    """

    active: Side
    candidate: Side
    slow_ms: float | None = None
    timed_from: str = ""
    said: str = ""
    right_active: Count = Count()
    right_candidate: Count = Count()
    pairs: Count = Count()
    pairs_until: str = ""
    pairs_settled: Count = Count()
    only_active: Count = Count()
    only_candidate: Count = Count()
    behind: bool = False


def paired(rollout: Rollout) -> bool:
    """Whether both versions answer the same requests."""
    return rollout.mode != "canary"


def count(db: Database, rollout: Rollout, before: Counts | None) -> Counts:
    """The counts of a rollout as of now.

    Args:
        db: The log.
        rollout: Which.
        before: Of the last look; None counts from the beginning.
    """
    start = uuid7_floor(rollout.created_at)
    moment = now()
    horizon = max(start, uuid7_floor(moment - _SETTLED))
    if before is not None and max(before.active.until, before.candidate.until) > uuid7_floor(
        moment
    ):
        # The clock went back: rows may have come that lie before what counts as settled.
        before = None
    classes = Classes.of(db.models.get(rollout.model, rollout.candidate))
    with db.read() as connection:
        if before is None:
            before = Counts(
                active=Side(until=start),
                candidate=Side(until=start),
                said=_said(connection, rollout, classes, start),
                pairs_until=start,
            )
        if before.slow_ms is None:
            slow_ms, timed_from = _usual(connection, rollout, start)
            before = msgspec.structs.replace(before, slow_ms=slow_ms, timed_from=timed_from)
        active, more = _side(connection, rollout, before, before.active, horizon, candidate=False)
        other, rest = _side(connection, rollout, before, before.candidate, horizon, candidate=True)
        counts = msgspec.structs.replace(
            before, active=active, candidate=other, behind=more or rest
        )
        if not paired(rollout):
            return msgspec.structs.replace(
                counts,
                right_active=_right(connection, rollout.baseline_id, "active", start, classes),
                right_candidate=_right(
                    connection, rollout.candidate_id, rollout.mode, start, classes
                ),
            )
        seen = read_pairs(connection, rollout, since=before.pairs_until, horizon=horizon)
        both = labelled_pairs(connection, rollout, since=start, classes=classes)
    return msgspec.structs.replace(
        counts,
        pairs_settled=before.pairs_settled + seen.settled,
        pairs=before.pairs_settled + seen.settled + seen.fresh,
        pairs_until=seen.until,
        behind=counts.behind or seen.behind,
        right_active=both.active,
        right_candidate=both.candidate,
        only_active=both.only_active,
        only_candidate=both.only_candidate,
    )


def _side(
    connection: Connection,
    rollout: Rollout,
    counts: Counts,
    side: Side,
    horizon: str,
    *,
    candidate: bool,
) -> tuple[Side, bool]:
    """One version's rows since the last look; whether there are more than one look reads."""
    mine = [
        _columns.model_id == (rollout.candidate_id if candidate else rollout.baseline_id),
        _columns.id >= side.until,
    ]
    edge = connection.scalar(
        select(_columns.id).where(*mine).order_by(_columns.id).offset(_AT_ONCE).limit(1)
    )
    role = _columns.role == (rollout.mode if candidate else "active")
    until = max(side.until, min(horizon, edge) if edge is not None else horizon)
    cut = edge is not None and edge <= horizon
    within = and_(*mine, role, *([_columns.id < edge] if edge is not None else []))
    # In one pass: what is settled, and what is not yet.
    settled = _columns.id < until
    query = select(settled, *_sums(rollout, counts)).where(within).group_by(settled)
    found = {bool(row[0]): Tally(**_named(row[1:])) for row in connection.execute(query)}
    whole = side.settled + found.get(True, Tally())
    fresh = found.get(False, Tally())
    return Side(until=until, settled=whole, total=whole + fresh), cut


def _sums(rollout: Rollout, counts: Counts) -> Sequence[ColumnElement[Any]]:
    good = _columns.status == "success"
    timed = good & _columns.cached.is_(False)
    slow: ColumnElement[bool] = literal(value=False)
    if counts.slow_ms is None:
        timed = timed & literal(value=False)
    else:
        timed = timed & (_columns.id >= counts.timed_from)
        slow = timed & (_took(rollout) > counts.slow_ms)
    if counts.said == DEFECT:
        told, chosen = good, good & (_columns.detection_count > 0)
    else:
        told = good & _columns.prediction.is_not(None)
        chosen = good & (_columns.prediction == counts.said)
    return (func.count(), *(_sum(one) for one in (~good, timed, slow, told, chosen)))


def _sum(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return sql_cast(func.sum(case((condition, 1), else_=0)), Integer)


def _named(values: Sequence[Any]) -> dict[str, int]:
    return {
        name: int(value or 0) for name, value in zip(Tally.__struct_fields__, values, strict=True)
    }


def _took(rollout: Rollout) -> ColumnElement[float]:
    """What is compared: what callers wait for; of a shadow, that waits for spare time, the model's
    own time.
    """
    return _columns.inference_time * 1000 if paired(rollout) else _columns.latency_ms


def _usual(connection: Connection, rollout: Rollout, start: str) -> tuple[float | None, str]:
    """From when on an answer is slow, and the id from which answers are timed by that."""
    wanted = [
        _columns.model_id == rollout.baseline_id,
        _columns.role == "active",
        _columns.status == "success",
        _columns.cached.is_(False),
    ]
    query = (
        select(_took(rollout))
        .where(*wanted, _columns.id < start)
        .order_by(_columns.id.desc())
        .limit(_USUAL)
    )
    took = sorted(connection.scalars(query))
    if len(took) >= _FEWEST_USUAL:
        return _slow(took), start
    # Too few before: its first answers beside the candidate say it, and are not judged by it.
    first = connection.execute(
        select(_columns.id, _took(rollout))
        .where(*wanted, _columns.id >= start, _columns.id < uuid7_floor(now() - _SETTLED))
        .order_by(_columns.id)
        .limit(_FIRST + 1)
    ).all()
    if len(first) <= _FIRST:
        return None, ""
    return _slow(sorted(row[1] for row in first[:-1])), first[-1][0]


def _slow(took: list[float]) -> float:
    most = float(took[-(-len(took) * 95 // 100) - 1])
    return max(most * SLOW_FACTOR, most + SLOW_LEAST_MS)


def _said(connection: Connection, rollout: Rollout, classes: Classes, start: str) -> str:
    """The answer whose share is compared between the versions."""
    if classes.kind == "verdict":
        return DEFECT
    if classes.positive is not None:
        return text_of(classes.values[classes.positive])
    newest = (
        select(_columns.prediction)
        .where(
            _columns.model_id == rollout.baseline_id,
            _columns.id < start,
            _columns.prediction.is_not(None),
        )
        .order_by(_columns.id.desc())
        .limit(_USUAL)
        .subquery()
    )
    most = connection.scalar(
        select(newest.c.prediction)
        .group_by(newest.c.prediction)
        .order_by(func.count().desc(), newest.c.prediction)
        .limit(1)
    )
    return text_of(classes.values[0]) if most is None else str(most)


def _right(
    connection: Connection, version_id: int, role: str, start: str, classes: Classes
) -> Count:
    """Labelled answers of a version, and those that were right. Counted anew at each look: labels
    come late, and change.
    """
    newest = (
        select(
            _columns.prediction.label("prediction"),
            (_columns.detection_count > 0).label("found"),
            sql_cast(_columns.actual, Text).label("actual"),
        )
        .where(
            _columns.model_id == version_id,
            _columns.actual.is_not(None),
            _columns.id >= start,
            _columns.role == role,
            _columns.status == "success",
        )
        .order_by(_columns.id.desc())
        .limit(_LABELS_AT_ONCE)
        .subquery()
    )
    grouped = select(newest, func.count()).group_by(*newest.c)
    total = hits = 0
    for prediction, found, actual, number in connection.execute(grouped):
        right = is_right(classes, prediction, msgspec.json.decode(actual), found=bool(found))
        if right is not None:
            total += number
            hits += number * right
    return Count(total, hits)
