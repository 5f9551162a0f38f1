"""What a version answers, beside what it usually answers: confidence, detections, mixes.

A mean counts as moved where the move is larger than an effect that would matter and five
standard errors. The distance of two mixes is the total variation distance, half the sum of the
absolute differences of the shares; chance alone makes it about
sum(sqrt(2·p·(1-p)/(π·n)))/2, and by the concentration of Gaussian maxima (Borell 1975;
Tsirelson, Ibragimov and Sudakov 1976) more than z·sigma beyond that with a chance of at most
exp(-z²/2).
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from andon.monitoring.baselines import Described, Spread, takes_rows
from andon.monitoring.signals import Issue, Signal, State, Watched
from andon.store.windows import Windows

_Z = 5.0
_Z_RATES = 3.5
# Detections per picture: lots and shifts differ by so much either way without anything being wrong.
_TOLERATED = 2.5
# Mixes move by the hour without anything being wrong.
_MIX_MOVES = 0.10
_LEAST_MIX = 0.25
_MIX_NEEDED = 30
# Different inputs that get the very same answer, before it is called stuck.
_STUCK_INPUTS = 20
_STUCK_SHARE = 0.5


class _Say(msgspec.Struct, frozen=True):
    """What all signals of one look share."""

    watched: Watched
    since: datetime | None
    until: datetime | None

    @property
    def name(self) -> str:
        return f"{self.watched.version.model} v{self.watched.version.version}"

    def signal(self, name: str, issue: Issue, state: State, summary: str, **given: Any) -> Signal:
        version = self.watched.version
        return Signal(
            name=name,
            issue=issue,
            state=state,
            summary=summary,
            model=version.model,
            version=version.version,
            since=self.since,
            until=self.until,
            **given,
        )


def answer_signals(
    watched: Watched,
    found: Described,
    usual: Described | None,
    before: Described | None,
    *,
    since: datetime | None,
    until: datetime | None,
    needed: int,
) -> list[Signal]:
    """Confidence, detections and mixes of a window.

    Args:
        watched: What is looked at.
        found: The window.
        usual: The version's first answers, or None.
        before: The last window of the version before, while this one is new; or None.
        since: Oldest answer of the window.
        until: Newest one.
        needed: Answers that it takes.
    """
    say = _Say(watched, since, until)
    signals = [_confidence(say, found.confidence, usual, needed)]
    compared = [
        (words, one)
        for words, one in (("among its first answers", usual), ("of the version before", before))
        if one is not None and one.answers
    ]
    if takes_rows(watched.version):
        signals.append(
            _mix(say, "prediction_mix", "predictions", found, compared, _predicted, needed)
        )
        return signals
    signals.append(_detections(say, found, compared, needed))
    signals.append(_mix(say, "label_mix", "labels", found, compared, _labelled, _MIX_NEEDED))
    return signals


def _confidence(say: _Say, found: Spread, usual: Described | None, needed: int) -> Signal:
    drop = say.watched.limits.confidence_drop
    given: dict[str, Any] = {"count": found.count, "needed": needed}
    issue = Issue.LOW_CONFIDENCE
    if found.count < needed:
        text = f"{say.name} has {found.count} answers with a confidence; it takes {needed} to say."
        return say.signal("confidence", issue, State.UNKNOWN, text, **given)
    normal = usual.confidence if usual is not None else Spread()
    if normal.count < needed:
        text = (
            f"The mean confidence of {say.name} is {found.mean:.2f}; what is usual for it is not "
            "known yet."
        )
        return say.signal("confidence", issue, State.UNKNOWN, text, value=found.mean, **given)
    limit = normal.mean - max(drop, _Z * found.error_with(normal))
    return say.signal(
        "confidence",
        issue,
        State.BAD if found.mean < limit else State.OK,
        f"The mean confidence of {say.name} over {found.count} answers is {found.mean:.2f}; "
        f"usual is {normal.mean:.2f} and bad is under {limit:.2f}.",
        value=found.mean,
        threshold=limit,
        baseline=normal.mean,
        **given,
    )


def _detections(
    say: _Say, found: Described, compared: list[tuple[str, Described]], needed: int
) -> Signal:
    given: dict[str, Any] = {"count": found.answers, "needed": needed}
    issue, name = Issue.ANOMALY, "detections"
    if found.answers < needed:
        text = f"{say.name} has answered {found.answers} pictures; it takes {needed} to say."
        return say.signal(name, issue, State.UNKNOWN, text, **given)
    now = found.detections
    usable = [(words, one) for words, one in compared if one.answers >= needed]
    if not usable:
        text = (
            f"{say.name} finds {now.mean:.2f} things in a picture; what is usual is not known yet."
        )
        return say.signal(name, issue, State.UNKNOWN, text, value=now.mean, **given)
    for words, one in usable:
        normal = one.detections
        fewer = now.mean < normal.mean
        factor = 1 / _TOLERATED if fewer else _TOLERATED
        limit = normal.mean * factor
        beyond = now.mean < limit if fewer else now.mean > limit
        edge = Spread(limit, normal.std * math.sqrt(factor), normal.count)
        if beyond and _rates_apart(now, edge) > _Z_RATES:
            return say.signal(
                name,
                issue,
                State.BAD,
                f"{say.name} finds {now.mean:.2f} things in a picture, far "
                f"{'fewer' if fewer else 'more'} than the {normal.mean:.2f} {words} "
                f"({now.count} pictures).",
                value=now.mean,
                threshold=limit,
                baseline=normal.mean,
                **given,
            )
    words, one = usable[0]
    return say.signal(
        name,
        issue,
        State.OK,
        f"{say.name} finds {now.mean:.2f} things in a picture, beside "
        f"{one.detections.mean:.2f} {words}.",
        value=now.mean,
        baseline=one.detections.mean,
        **given,
    )


def _rates_apart(one: Spread, other: Spread) -> float:
    """How far two mean counts are apart, in sigmas: the root of the likelihood ratio statistic.

    Of two Poisson counts with one rate or with two (Wilks 1938), divided by how much more the
    counts vary than Poisson's do. Unlike the difference over its standard error it holds where one
    of the two counts is 0.
    """
    sums = one.mean * one.count, other.mean * other.count
    rate = sum(sums) / (one.count + other.count)
    if rate <= 0:
        return 0.0
    gain = sum(
        seen * math.log(seen / (rate * part.count))
        for seen, part in zip(sums, (one, other), strict=True)
        if seen > 0
    )
    spread = (one.std**2 * one.count + other.std**2 * other.count) / sum(sums)
    return math.sqrt(max(0.0, 2 * gain) / max(1.0, spread))


def _predicted(one: Described) -> tuple[dict[str, int], int]:
    return one.predictions, sum(one.predictions.values())


def _labelled(one: Described) -> tuple[dict[str, int], int]:
    # Detections of one picture are alike: pictures are what is counted as independent.
    return one.labels, one.pictures


def _mix(
    say: _Say,
    name: str,
    what: str,
    found: Described,
    compared: list[tuple[str, Described]],
    counts: Any,
    needed: int,
) -> Signal:
    shares, size = counts(found)
    given: dict[str, Any] = {"count": size, "needed": needed}
    if size < needed:
        text = f"{say.name} has {size} answers with {what}; it takes {needed} to say."
        return say.signal(name, Issue.ANOMALY, State.UNKNOWN, text, **given)
    best: Signal | None = None
    for words, one in compared:
        other, other_size = counts(one)
        if other_size < needed:
            continue
        distance, limit, moved = mix_distance(shares, size, other, other_size)
        signal = say.signal(
            name,
            Issue.ANOMALY,
            State.BAD if distance > limit else State.OK,
            f"The {what} of {say.name} differ by {distance:.2f} from those {words} "
            f"(total variation distance; limit {limit:.2f}); {moved[0]!r} moved most, from "
            f"{moved[1]:.0%} to {moved[2]:.0%}.",
            value=distance,
            threshold=limit,
            evidence={"now": _rounded(shares), "usual": _rounded(other)},
            **given,
        )
        if signal.state is State.BAD:
            return signal
        best = best or signal
    if best is not None:
        return best
    text = f"What {what} are usual for {say.name} is not known yet."
    return say.signal(name, Issue.ANOMALY, State.UNKNOWN, text, **given)


def mix_distance(
    now: dict[str, int], size: int, usual: dict[str, int], usual_size: int
) -> tuple[float, float, tuple[str, float, float]]:
    """Total variation distance of two mixes, where it turns bad, and what moved most.

    Args:
        now: How often each kind occurs.
        size: Independent observations behind that.
        usual: The same of what it is compared with.
        usual_size: Observations behind that.

    Returns:
        Distance (0 to 1), limit, and (kind, its share before, its share now).
    """
    totals = max(sum(now.values()), 1), max(sum(usual.values()), 1)
    effective = size * usual_size / (size + usual_size)
    distance = chance = widest = 0.0
    moved = ("", 0.0, 0.0)
    for kind in sorted({*now, *usual}):
        share, before = now.get(kind, 0) / totals[0], usual.get(kind, 0) / totals[1]
        pooled = (share * size + before * usual_size) / (size + usual_size)
        spread = math.sqrt(pooled * (1 - pooled) / effective)
        chance += spread * math.sqrt(2 / math.pi) / 2
        widest = max(widest, spread)
        distance += abs(share - before) / 2
        if abs(share - before) >= abs(moved[2] - moved[1]):
            moved = (kind, before, share)
    # A set of several kinds varies more than the widest one of them, and no more than a half does.
    widest = min(widest * math.sqrt(2), 0.5 / math.sqrt(effective)) if widest else 0.0
    return distance, max(_LEAST_MIX, _MIX_MOVES + chance + 0.8 * _Z * widest), moved


def stuck(
    watched: Watched,
    rows: Sequence[Any],
    windows: Windows,
    needed: int,
    *,
    since: datetime | None,
    until: datetime | None,
) -> Signal:
    """Whether different inputs get the very same answer.

    Args:
        watched: What is looked at.
        rows: Successful answers with `probability` of rows, else `raw_scores`; newest first.
        windows: To read their inputs, only where the answers are all the same.
        needed: Answers of a whole window.
        since: Oldest of them.
        until: Newest.
    """
    say = _Say(watched, since, until)
    given: dict[str, Any] = {"count": len(rows), "needed": needed}
    issue, name = Issue.ANOMALY, "stuck"
    if len(rows) < needed:
        text = f"{say.name} has {len(rows)} answers in the window; it takes {needed} to say."
        return say.signal(name, issue, State.UNKNOWN, text, **given)
    said = "probability" if takes_rows(watched.version) else "raw_scores"
    first = getattr(rows[0], said)
    # A detector without any candidate says nothing, and may say so a hundred times.
    if not first or any(getattr(row, said) != first for row in rows):
        text = f"{say.name} answers different inputs differently."
        return say.signal(name, issue, State.OK, text, **given)
    column = "features" if takes_rows(watched.version) else "image_hash"
    inputs = windows.newest(watched.version.id, len(rows), columns=(column,), since=rows[-1].id)
    different = len({repr(getattr(row, column)) for row in inputs})
    bad = different >= max(_STUCK_INPUTS, _STUCK_SHARE * len(rows))
    return say.signal(
        name,
        issue,
        State.BAD if bad else State.OK,
        f"{say.name} gave the very same answer {len(rows)} times in a row, to {different} "
        "different inputs.",
        severity="critical",
        value=float(different),
        **given,
    )


def _rounded(counts: dict[str, int]) -> dict[str, float]:
    total = max(sum(counts.values()), 1)
    return {kind: round(count / total, 4) for kind, count in sorted(counts.items())}
