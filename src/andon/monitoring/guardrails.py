"""What a candidate is held against, each with bounds that hold however often one looks.

Candidate against the version that was active when the rollout began, over the same time:

- errors: share of the requests that got no answer;
- latency: share of the answers slower than 1.25 times the active version's 95th percentile; what
  the callers wait for in a canary, the model's own time in a shadow or comparison, which waits its
  turn;
- accuracy: share of the labelled answers that were right;
- disagreement: of requests that both answered, the share answered otherwise; in a canary, where
  each answers its own, how far apart the shares of "defect" (of the class looked for) are.
"""

from collections.abc import Callable
from typing import Literal

import msgspec

from andon.monitoring.rollout_counts import Counts, paired
from andon.monitoring.sequential import Count, difference_bounds, share_bounds
from andon.store.records import Rollout

ALPHA = 0.05
"""Chance that a rollout's judgement is ever wrong, all guardrails and all looks together."""

GUARDRAILS = ("errors", "latency", "accuracy", "disagreement")

_EACH = ALPHA / len(GUARDRAILS)
# How many answers of the candidate one looks ahead to say how many it still takes.
_AHEAD = tuple(25 * 2**step for step in range(14))
_FEW = 20
_MOST_TO_ONE = 100.0

GuardrailState = Literal["worse", "fine", "not_enough"]
Bounds = tuple[float, float]


class Margins(msgspec.Struct, frozen=True, kw_only=True):
    """Where a difference begins to count; all of them differences of shares, 0 to 1.

    Attributes:
        errors: More failed answers than this are worse.
        errors_within: Up to so many more are no worse.
        latency: More slow answers than this are worse.
        latency_within: Up to so many more are no worse.
        accuracy: More wrong answers than this are worse.
        accuracy_within: Up to so many more are no worse.
        apart: Canary: shares of "defect" further apart than this are worse, without labels that
            say otherwise.
        otherwise: Shadow, comparison: the same for requests that are answered otherwise.
    """

    errors: float = 0.005
    errors_within: float = 0.02
    latency: float = 0.05
    latency_within: float = 0.10
    accuracy: float = 0.01
    accuracy_within: float = 0.05
    apart: float = 0.15
    otherwise: float = 0.30


class Guardrail(msgspec.Struct, frozen=True, kw_only=True):
    """One number that a candidate is held against.

    Attributes:
        name: "errors", "latency", "accuracy" or "disagreement".
        state: "worse", "fine" or "not_enough".
        value_active: Of the active version, 0 to 1; None where unknown.
        value_candidate: Of the candidate.
        low: Lower bound of candidate minus active (of the disagreement itself, where it is of
            pairs). Holds at all looks.
        high: Upper bound.
        threshold: A difference beyond this is worse.
        within: Up to this it is fine.
        answers_active: Answers (labels, pairs) it rests on.
        answers_candidate: The same of the candidate.
        needed: About so many more of the candidate's until it is decided, if things go on as they
            are; None where that is not foreseeable, 0 where it is decided.
        summary: One sentence.
    """

    name: str
    state: GuardrailState
    value_active: float | None
    value_candidate: float | None
    low: float
    high: float
    threshold: float
    within: float
    answers_active: int
    answers_candidate: int
    needed: int | None
    summary: str


def guardrails_of(rollout: Rollout, counts: Counts, margins: Margins) -> list[Guardrail]:
    """The four, in the order of `GUARDRAILS`."""
    active, candidate = counts.active.total, counts.candidate.total
    sides = _Sides(rollout, counts)
    return [
        sides.rising(
            "errors",
            Count(active.answers, active.errors),
            Count(candidate.answers, candidate.errors),
            margins.errors,
            margins.errors_within,
        ),
        sides.rising(
            "latency",
            Count(active.timed, active.slow),
            Count(candidate.timed, candidate.slow),
            margins.latency,
            margins.latency_within,
        ),
        sides.accuracy(margins),
        sides.disagreement(margins),
    ]


class _Sides:
    """Guardrails of one rollout."""

    def __init__(self, rollout: Rollout, counts: Counts) -> None:
        self._rollout = rollout
        self._counts = counts
        self._paired = paired(rollout)
        self._new, self._old = f"v{rollout.candidate}", f"v{rollout.baseline}"

    def rising(
        self, name: str, active: Count, candidate: Count, worse: float, within: float
    ) -> Guardrail:
        """A share that must not rise."""
        bounds = self._difference(active, candidate)
        state = _state(bounds, worse, within)
        happens = {
            "errors": "of the requests fail",
            "latency": f"of the answers are slow{self._slow_words()}",
        }[name]
        compared = (
            f"{_percent(candidate.share)} {happens} at {self._new}, {_percent(active.share)} at "
            f"{self._old}"
        )
        needed = self._needed(
            active,
            candidate,
            state,
            lambda one, two: _state(self._difference(one, two), worse, within),
        )
        what = {"errors": "answers", "latency": "timed answers"}[name]
        return Guardrail(
            name=name,
            state=state,
            value_active=active.share,
            value_candidate=candidate.share,
            low=bounds[0],
            high=bounds[1],
            threshold=worse,
            within=within,
            answers_active=active.total,
            answers_candidate=candidate.total,
            needed=needed,
            summary=_summary(name, state, compared, bounds, candidate.total, needed, what),
        )

    def accuracy(self, margins: Margins) -> Guardrail:
        """The share of right answers, which must not fall."""
        counts = self._counts
        active, candidate = counts.right_active, counts.right_candidate
        worse, within = margins.accuracy, margins.accuracy_within

        def falls(base: Count, other: Count) -> Bounds:
            return self._difference(_wrong(base), _wrong(other))

        if self._paired:
            # Of the same requests only those count that one alone had right.
            bounds = _of_pairs(counts.only_active, counts.only_candidate)
        else:
            bounds = falls(active, candidate)
        state = _state(bounds, worse, within)
        needed = self._needed(
            active,
            candidate,
            state,
            self._pairs_ahead(worse, within)
            if self._paired
            else lambda one, two: _state(falls(one, two), worse, within),
            usual=0.9,
        )
        compared = (
            f"{_percent(candidate.share)} of the labelled answers of {self._new} are right, "
            f"{_percent(active.share)} of {self._old}"
        )
        gain = (-bounds[1], -bounds[0])
        return Guardrail(
            name="accuracy",
            state=state,
            value_active=active.share,
            value_candidate=candidate.share,
            low=gain[0],
            high=gain[1],
            threshold=-worse,
            within=-within,
            answers_active=active.total,
            answers_candidate=candidate.total,
            needed=needed,
            summary=_summary("accuracy", state, compared, gain, candidate.total, needed, "labels"),
        )

    def disagreement(self, margins: Margins) -> Guardrail:
        """Answers that are others than the active version's."""
        if self._paired:
            pairs, limit = self._counts.pairs, margins.otherwise
            bounds = share_bounds(pairs, _EACH)
            state = _state(bounds, limit, limit)
            value_active, value, seen = None, pairs.share, (pairs.total, pairs.total)
            compared = (
                f"{self._new} answers {_percent(pairs.share)} of the requests otherwise than "
                f"{self._old}"
            )
            needed = self._needed(
                pairs,
                pairs,
                state,
                lambda _, two: _state(share_bounds(two, _EACH), limit, limit),
                usual=0.05,
            )
            what = "answers to the same requests"
        else:
            mine, theirs = self._counts.active.total, self._counts.candidate.total
            active, candidate = Count(mine.told, mine.chosen), Count(theirs.told, theirs.chosen)
            limit = margins.apart
            bounds = difference_bounds(active, candidate, _EACH)
            state = _apart(bounds, limit)
            value_active, value = active.share, candidate.share
            seen = active.total, candidate.total
            compared = (
                f'{self._new} answers "{self._counts.said}" to {_percent(value)}, {self._old} to '
                f"{_percent(value_active)} of their requests"
            )
            needed = self._needed(
                active,
                candidate,
                state,
                lambda one, two: _apart(difference_bounds(one, two, _EACH), limit),
                usual=0.1,
            )
            what = "answers"
        return Guardrail(
            name="disagreement",
            state=state,
            value_active=value_active,
            value_candidate=value,
            low=bounds[0],
            high=bounds[1],
            threshold=limit,
            within=limit,
            answers_active=seen[0],
            answers_candidate=seen[1],
            needed=needed,
            summary=_summary("disagreement", state, compared, bounds, seen[1], needed, what),
        )

    def _difference(self, active: Count, candidate: Count) -> Bounds:
        """Bounds of candidate minus active."""
        if not self._paired:
            return difference_bounds(active, candidate, _EACH)
        # The same requests: what fails one may fail the other, so neither tells of the other.
        low, high = share_bounds(active, _EACH / 2)
        other_low, other_high = share_bounds(candidate, _EACH / 2)
        return other_low - high, other_high - low

    def _pairs_ahead(self, worse: float, within: float) -> Callable[[Count, Count], GuardrailState]:
        """What pairs would say if there were as many as counted."""
        mine, theirs = self._counts.only_active, self._counts.only_candidate

        def state(_: Count, two: Count) -> GuardrailState:
            if not mine.total:
                # About as many as where two good versions meet.
                part = Count(two.total, round(two.total * 0.03))
                return _state(_of_pairs(part, part), worse, within)
            factor = two.total / mine.total
            return _state(_of_pairs(mine.times(factor), theirs.times(factor)), worse, within)

        return state

    def _needed(
        self,
        active: Count,
        candidate: Count,
        state: GuardrailState,
        ahead: Callable[[Count, Count], GuardrailState],
        *,
        usual: float = 0.0,
    ) -> int | None:
        """How many more of the candidate's answers it takes, if things go on like this."""
        if state != "not_enough":
            return 0
        share = active.share if active.total >= _FEW else usual
        other = candidate.share if candidate.total >= _FEW else share
        assert share is not None
        assert other is not None
        ratio = self._ratio(active, candidate)

        def decided(total: int) -> bool:
            base = round(total * ratio)
            one = Count(base, round(base * share))
            return ahead(one, Count(total, round(total * other))) != "not_enough"

        totals = [total for total in _AHEAD if total > candidate.total]
        low, high = 0, len(totals)
        while low < high:
            middle = (low + high) // 2
            if decided(totals[middle]):
                high = middle
            else:
                low = middle + 1
        return None if low == len(totals) else _rounded(totals[low] - candidate.total)

    def _ratio(self, active: Count, candidate: Count) -> float:
        """Answers of the active version to one of the candidate's."""
        if self._paired:
            return 1.0
        if candidate.total >= _FEW:
            ratio = active.total / candidate.total
        else:
            weight = self._rollout.weight
            ratio = (1 - weight) / weight if weight > 0 else _MOST_TO_ONE
        return min(_MOST_TO_ONE, max(1 / _MOST_TO_ONE, ratio))

    def _slow_words(self) -> str:
        slow = self._counts.slow_ms
        return "" if slow is None else f" (more than {slow:.3g} ms)"


def _of_pairs(only_active: Count, only_candidate: Count) -> Bounds:
    """Bounds of how many more answers the candidate has wrong, as a share of all pairs."""
    lost, won = share_bounds(only_active, _EACH / 2), share_bounds(only_candidate, _EACH / 2)
    return lost[0] - won[1], lost[1] - won[0]


def _wrong(right: Count) -> Count:
    return Count(right.total, right.total - right.hits)


def _state(bounds: Bounds, worse: float, within: float) -> GuardrailState:
    if bounds[0] > worse:
        return "worse"
    return "fine" if bounds[1] < within else "not_enough"


def _apart(bounds: Bounds, limit: float) -> GuardrailState:
    if bounds[0] > limit or bounds[1] < -limit:
        return "worse"
    return "fine" if -limit < bounds[0] and bounds[1] < limit else "not_enough"


def _summary(
    name: str,
    state: GuardrailState,
    compared: str,
    bounds: Bounds,
    seen: int,
    needed: int | None,
    what: str,
) -> str:
    """One sentence with the numbers."""
    if not seen:
        more = "" if needed is None else f"; it takes about {needed} {what} of the candidate"
        return f"{name.capitalize()}: unknown, there are no {what} of the candidate yet{more}."
    span = f"difference between {_points(bounds[0])} and {_points(bounds[1])} points"
    if name == "disagreement" and "otherwise" in compared:
        span = f"between {_percent(max(0.0, bounds[0]))} and {_percent(bounds[1])}"
    word = {"worse": "worse", "fine": "fine", "not_enough": "not decided"}[state]
    tail = ""
    if state == "not_enough":
        tail = (
            "; the two may be too close to tell apart"
            if needed is None
            else f"; about {needed} more {what} of the candidate are needed"
        )
    return f"{name.capitalize()} {word}: {compared} ({span}){tail}."


def _rounded(number: int) -> int:
    """Two digits are all that a forecast is worth."""
    size = int(10 ** max(0, len(str(number)) - 2))
    return -(-number // size) * size


def _percent(share: float | None) -> str:
    return "an unknown share" if share is None else f"{share * 100:.3g} %"


def _points(difference: float) -> str:
    return f"{difference * 100:+.1f}"
