"""Requests that both versions of a rollout answered (shadow and compare), and whether alike.

The candidate's answer is put beside the active version's newest one before it (or just after it)
in the minute before with the same request id; where requests have none, of the same picture; of
rows, of the same subject, else with the same features. Answers without a partner are left out.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Text, and_, case, func, select
from sqlalchemy import cast as sql_cast

from andon.monitoring.classes import Classes
from andon.monitoring.sequential import Count
from andon.store.clock import moment
from andon.store.feedback import Asked
from andon.store.ids import uuid7_floor
from andon.store.records import Rollout
from andon.store.tables import predictions

# Candidate's answers that one look pairs.
_AT_ONCE = 2_000
# Ids in one query.
_ASKED_AT_ONCE = 500
# What two answers to one request have in common; the first that they have decides.
_KEYS = ("request_id", "image_hash", "subject", "features")
# How far before and behind a candidate's answer its partner is looked for.
_BEFORE_MS = 60_000
_BEHIND_MS = 2_000
# Labelled pairs that one look counts.
_LABELS_AT_ONCE = 20_000

_columns = predictions.c
_labels = msgspec.json.Decoder(list[dict[str, Any]])


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """Pairs that one look read.

    Attributes:
        settled: Pairs whose rows are all there, and those that differ.
        fresh: The same of the newest, which are read again.
        until: Candidate's rows with smaller ids are in `settled`.
        behind: There are more.
    """

    settled: Count
    fresh: Count
    until: str
    behind: bool


class LabelledPairs(msgspec.Struct, frozen=True, kw_only=True):
    """Labelled requests that both answered.

    Attributes:
        active: All, and those that the active version had right.
        candidate: All, and those that the candidate had right.
        only_active: All, and those that the active version alone had right.
        only_candidate: All, and those that the candidate alone had right.
    """

    active: Count
    candidate: Count
    only_active: Count
    only_candidate: Count


def read_pairs(
    connection: Connection, rollout: Rollout, *, since: str, horizon: str
) -> Disagreement:
    """Pair the candidate's answers since the last look.

    Args:
        connection: To read with.
        rollout: Which.
        since: Where the last look ended.
        horizon: Rows from here on may still get company.
    """
    rows = connection.execute(
        _said()
        .where(
            _columns.model_id == rollout.candidate_id,
            _columns.id >= since,
            _columns.role == rollout.mode,
            _columns.status == "success",
        )
        .order_by(_columns.id)
        .limit(_AT_ONCE + 1)
    ).all()
    edge: str | None = rows[-1].id if len(rows) > _AT_ONCE else None
    rows = rows[:_AT_ONCE]
    partners = _partners(connection, rollout, rows)
    settled, fresh = Count(), Count()
    for row in rows:
        other = partners.get(row.id)
        if other is None:
            continue
        one = Count(1, int(_answer(row) != _answer(other)))
        if row.id < horizon:
            settled += one
        else:
            fresh += one
    until = max(since, horizon if edge is None else min(edge, horizon))
    return Disagreement(
        settled=settled, fresh=fresh, until=until, behind=edge is not None and edge < horizon
    )


def _partners(connection: Connection, rollout: Rollout, rows: Iterable[Any]) -> dict[str, Any]:
    """The active version's answer to the same, by the candidate's id."""
    wanted: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for name in _KEYS:
            key = getattr(row, name)
            if key is not None:
                wanted[name][key].append(row.id)
                break
    found: dict[str, Any] = {}
    for name, ids_by_key in wanted.items():
        keys = sorted(ids_by_key)
        earliest = min(ids[0] for ids in ids_by_key.values())
        latest = max(ids[-1] for ids in ids_by_key.values())
        for start in range(0, len(keys), _ASKED_AT_ONCE):
            column = sql_cast(_columns.features, Text) if name == "features" else _columns[name]
            query = (
                _said()
                .where(
                    _columns.model_id == rollout.baseline_id,
                    _columns.role == "active",
                    _columns.status == "success",
                    column.in_(keys[start : start + _ASKED_AT_ONCE]),
                    *_about(earliest, latest),
                )
                .order_by(_columns.id)
            )
            by_key: dict[str, list[Any]] = defaultdict(list)
            for row in connection.execute(query):
                by_key[getattr(row, name)].append(row)
            for key, others in by_key.items():
                for candidate in ids_by_key[key]:
                    before = [other for other in others if other.id <= candidate]
                    found[candidate] = before[-1] if before else others[0]
    return found


def _about(earliest: str, latest: str) -> list[ColumnElement[bool]]:
    """They answered at about the same time; and a picture may have been sent all year."""
    return [
        _columns.id >= _floor(max(0, _at(earliest) - _BEFORE_MS)),
        _columns.id < _floor(_at(latest) + _BEHIND_MS),
    ]


def _at(prediction_id: str) -> int:
    """When an id was made, milliseconds since 1970."""
    return int(prediction_id.replace("-", "")[:12], 16)


def _floor(milliseconds: int) -> str:
    return uuid7_floor(moment(milliseconds * 1000))


def labelled_pairs(
    connection: Connection, rollout: Rollout, *, since: str, classes: Classes
) -> LabelledPairs:
    """Requests that both answered and whose answer by the active version somebody labelled.

    Counted anew at each look: labels come late, and change. Of several answers of the candidate
    to one picture the first stands for all.
    """
    active, other = predictions.alias("active"), predictions.alias("candidate")
    partner = other.alias("partner")
    # Written so that no index begins with them: a request or picture is found by its own, while
    # a walk along the version's answers would begin anew for each label.
    theirs = and_(
        partner.c.model_id + 0 == rollout.candidate_id,
        partner.c.role == rollout.mode,
        partner.c.status == "success",
        func.coalesce(partner.c.id, "") >= since,
    )
    first = select(func.min(partner.c.id)).where(theirs)
    by_request = first.where(partner.c.request_id == active.c.request_id).scalar_subquery()
    by_picture = first.where(partner.c.image_hash == active.c.image_hash).scalar_subquery()
    chosen = case((active.c.request_id.is_not(None), by_request), else_=by_picture)
    pairs = (
        select(
            active.c.prediction.label("active_said"),
            (active.c.detection_count > 0).label("active_found"),
            other.c.prediction.label("other_said"),
            (other.c.detection_count > 0).label("other_found"),
            sql_cast(active.c.actual, Text).label("actual"),
        )
        .select_from(active.join(other, other.c.id == chosen))
        .where(
            active.c.model_id == rollout.baseline_id,
            active.c.id >= since,
            active.c.role == "active",
            active.c.status == "success",
            active.c.actual.is_not(None),
        )
        .order_by(active.c.id.desc())
        .limit(_LABELS_AT_ONCE)
        .subquery()
    )
    grouped = select(pairs, func.count()).group_by(*pairs.c)
    total = mine = others = only_mine = only_others = 0
    for said, found, other_said, other_found, truth, number in connection.execute(grouped):
        label = msgspec.json.decode(truth)
        right = is_right(classes, said, label, found=bool(found))
        other_right = is_right(classes, other_said, label, found=bool(other_found))
        if right is None or other_right is None:
            continue
        total += number
        mine += number * right
        others += number * other_right
        only_mine += number * (right and not other_right)
        only_others += number * (other_right and not right)
    return LabelledPairs(
        active=Count(total, mine),
        candidate=Count(total, others),
        only_active=Count(total, only_mine),
        only_candidate=Count(total, only_others),
    )


def is_right(classes: Classes, prediction: str | None, actual: Any, *, found: bool) -> bool | None:
    """Whether an answer was right by its label; None where that cannot be said.

    Args:
        classes: Of the version.
        prediction: Class that was answered.
        actual: The label, as feedback keeps it.
        found: Whether anything was detected.
    """
    true = classes.truth(actual)
    said = classes.answered(Asked("", 0, "success", prediction, int(found)))
    return None if true is None or said is None else true == said


def _said() -> Any:
    return select(
        _columns.id,
        _columns.request_id,
        _columns.image_hash,
        _columns.subject,
        sql_cast(_columns.features, Text).label("features"),
        _columns.prediction,
        sql_cast(_columns.detections, Text).label("detections"),
    )


def _answer(row: Any) -> Any:
    """What is compared: the class and the labels that were found, each as often as it was."""
    found = _labels.decode(row.detections) if row.detections else []
    return row.prediction, sorted(one["label"] for one in found)
