"""Whether a version has begun to be wrong more often, told as labels come in.

A cumulative sum of log-likelihood ratios (CUSUM; E. S. Page, "Continuous inspection schemes",
Biometrika 41, 1954) for Bernoulli observations: errors at the version's usual rate against errors
ten points above it. Of all rules with the same time between false alarms it names that change
soonest in the worst case (Moustakides 1986). The time between false alarms comes out of the
Markov chain of the sum's values (Brook and Evans, Biometrika 59, 1972); D. Siegmund, "Sequential
Analysis", 1985, tells of both.

What is usual is learned: of the held-out rows, and of the version's own labels while they come. A
held-out accuracy of some sixty rows is uncertain by as much as half of the change that is looked
for, and no rule that knows the usual rate no better can be both quick and quiet.

The sum is computed anew at each look from the labels in the log, in the order in which they came,
so nothing is lost with the process.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import structlog

from andon.errors import AndonError
from andon.monitoring import estimate
from andon.monitoring.intervals import Floats
from andon.monitoring.performance import since_of
from andon.monitoring.signals import Issue, Signal, State, Watched
from andon.settings import Settings
from andon.store.database import Database
from andon.store.windows import Windows

log = structlog.get_logger("andon.monitoring")

WORSE = 0.10
"""Rise of the share of errors that is looked for, absolute."""

LABELS_BETWEEN_ALARMS = 25_000
"""Mean number of labels from one false alarm to the next, where the usual rate is known exactly."""

NEEDED = 30
"""Labels before anything is said."""

BASELINE = "baseline_error_rate"
"""Name of the number in `performance_metrics`; its details say of how many `labels` it is."""

OWN = (200, 400, 800, 1600)
"""So many labels of the version's own make its usual rate known anew, each better."""

_LEAST, _MOST = 0.005, 0.6
# From so many labels on the usual rate is taken as it was measured, without a margin.
_KNOWN_WELL = 400
# Own labels that are worse than the held-out rows by more standard errors are not usual.
_WORSE_AT_ONCE = 2.0
_ROUNDED = 200
_TURNS = 60
_FINEST = 4
_WINDOWS = 4
# The sum does not grow beyond this many thresholds: it must come down again when all is well.
_CAP = 2.0
_CALM = 0.5


class Scheme(msgspec.Struct, frozen=True):
    """A CUSUM in whole numbers: `up` for an error, `-down` for a right answer, bad from `limit`.

    Attributes:
        usual: Share of errors that is normal.
    """

    usual: float
    up: int
    down: int
    limit: int

    def run(self, errors: Sequence[bool]) -> "Run":
        """Go through some labels, the first one first."""
        total, begin, bad = 0, 0, False
        most = int(self.limit * _CAP)
        for place, error in enumerate(errors):
            total = min(total + self.up, most) if error else total - self.down
            if total <= 0:
                total, begin = 0, place + 1
            # At the limit the sum goes up and down with every label: bad stays bad for a while.
            bad = total >= self.limit or (bad and total >= self.limit * _CALM)
        return Run(total, begin, bad)


class Run(msgspec.Struct, frozen=True):
    """What a CUSUM says after some labels.

    Attributes:
        total: The sum.
        begin: Place of the label since which it has risen from zero.
        bad: Whether it has reached its limit and not come down to half of it since.
    """

    total: int
    begin: int
    bad: bool


class ConceptDetector:
    """Says whether labels tell of a version that got worse.

    Args:
        db: Answers and labels.
        settings: Sizes of the windows.
    """

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._windows = Windows(db)
        self._window = settings.label_window
        self._usual: dict[int, tuple[int, float]] = {}
        self._turns: dict[int, int] = {}

    def look(self, watched: Watched) -> list[Signal]:
        """One signal, named "concept"."""
        version = watched.version
        rows = self._windows.labelled(version.id, _WINDOWS * self._window, since=since_of(watched))
        right = estimate.rightness(version, rows)
        known = ~np.isnan(right)
        wrong = right[known] == 0
        name = f"{version.model} v{version.version}"
        common: dict[str, Any] = {
            "name": "concept",
            "issue": Issue.PERFORMANCE,
            "model": version.model,
            "version": version.version,
            "count": len(wrong),
        }
        if len(wrong) < NEEDED:
            return [
                Signal(
                    state=State.UNKNOWN,
                    summary=f"{name} has {len(wrong)} labels; it takes {NEEDED} to tell whether "
                    "it is getting worse.",
                    needed=NEEDED,
                    **common,
                )
            ]
        usual = self._usual_errors(watched, wrong)
        if usual is None:
            return [
                Signal(
                    state=State.UNKNOWN,
                    summary=f"{name} has {len(wrong)} labels; what share of errors is usual for "
                    f"it is known after {OWN[0]}.",
                    needed=OWN[0],
                    **common,
                )
            ]
        scheme = scheme_for(round(usual * _ROUNDED) / _ROUNDED)
        run = scheme.run(wrong.tolist())
        if run.total < scheme.limit * _CALM:
            self._learn(watched, wrong)
        total, begin, bad = run.total, run.begin, run.bad
        received = [row.received_at for row, one in zip(rows, known, strict=True) if one]
        tail = wrong[begin:] if bad else wrong[-self._window :]
        share = float(tail.mean()) if len(tail) else 0.0
        after = f" since {received[begin]:%Y-%m-%d %H:%M} UTC" if bad else ""
        return [
            Signal(
                state=State.BAD if bad else State.OK,
                summary=f"{share:.1%} of the newest {len(tail)} labelled answers of {name} were "
                f"wrong{after}; usual is {usual:.1%}. The evidence for ten points more is "
                f"{total / scheme.limit:.2f} of what it takes.",
                needed=NEEDED,
                value=total / scheme.limit,
                threshold=1.0,
                baseline=usual,
                since=received[begin] if bad else received[0],
                until=received[-1],
                evidence={"errors": share, "labels": len(tail)},
                **common,
            )
        ]

    def _usual_errors(self, watched: Watched, wrong: Floats) -> float | None:
        """What was learned of its own labels; until then of the held-out rows, with a margin."""
        version = watched.version
        known = self._known(version.id)
        if known is not None:
            return known[1]
        accuracy, spread = estimate.held_out(version)
        if accuracy is not None:
            return min(max(1 - accuracy + spread, _LEAST), _MOST)
        self._learn(watched, wrong)
        known = self._known(version.id)
        return None if known is None else known[1]

    def _known(self, version_id: int) -> tuple[int, float] | None:
        """How many own labels the usual rate was learned of, and the rate; None: of none yet."""
        if version_id not in self._usual:
            stored = self._db.metrics.recent(version_id, name=BASELINE, limit=1)
            if not stored:
                return None
            labels = (stored[0].details or {}).get("labels")
            self._usual[version_id] = (int(labels or OWN[0]), stored[0].value)
        return self._usual[version_id]

    def _learn(self, watched: Watched, wrong: Floats) -> None:
        """Take the version's own labels for what is usual, each time there are twice as many.

        Labels that are surely worse than the held-out rows are not: then those stay the measure.
        """
        version = watched.version
        known = self._known(version.id)
        before = 0 if known is None else known[0]
        if before >= OWN[-1]:
            return
        if before >= len(wrong) >= _WINDOWS * self._window:
            wrong = self._more(watched)
        due = [one for one in OWN if before < one <= len(wrong)]
        if not due:
            return
        own = wrong[: due[-1]]
        usual = usual_errors(own, *estimate.held_out(version))
        if usual is None:
            return
        try:
            self._db.metrics.add(version.id, {BASELINE: usual}, details={"labels": len(own)})
        except AndonError as error:
            # The database may be read-only for a while; the same labels say the same next time.
            log.warning("A baseline could not be kept.", model=version.model, reason=str(error))
        self._usual[version.id] = (len(own), usual)

    def _more(self, watched: Watched) -> Floats:
        """More labels than a look needs: read at one look in sixty."""
        version = watched.version
        self._turns[version.id] = self._turns.get(version.id, -1) + 1
        if self._turns[version.id] % _TURNS:
            return np.zeros(0)
        rows = self._windows.labelled(version.id, OWN[-1], since=since_of(watched))
        right = estimate.rightness(version, rows)
        wrong: Floats = right[~np.isnan(right)] == 0
        return wrong


def usual_errors(own: Floats, held_out: float | None, spread: float) -> float | None:
    """The usual share of errors, of a version's own labels and the held-out rows together.

    The held-out rows count as so many as their standard error is worth.

    Args:
        own: 1 for an error, 0 for a right answer.
        held_out: Accuracy on the held-out rows, or None.
        spread: Its standard error.

    Returns:
        None where the version's own labels are surely worse than the held-out rows.
    """
    count, errors = len(own), float(np.sum(own))
    if held_out is not None:
        rate = min(max(1 - held_out, _LEAST), 1 - _LEAST)
        weight = rate * (1 - rate) / max(spread, _LEAST) ** 2
        pooled = (errors + weight * rate) / (count + weight)
        error = math.sqrt(pooled * (1 - pooled) * (1 / count + 1 / weight))
        if errors / count > rate + _WORSE_AT_ONCE * error:
            return None
        errors, total = errors + weight * rate, count + weight
    else:
        total = float(count)
    share = errors / total
    # Never sure of a share that happened to be 0.
    margin = math.sqrt(max(share * (1 - share), 0.01) / total) if count < _KNOWN_WELL else 0.0
    return min(max(share + margin, _LEAST), _MOST)


@lru_cache(maxsize=256)
def scheme_for(usual: float) -> Scheme:
    """The CUSUM for a usual share of errors.

    Args:
        usual: 0 to 1; taken as 0.005 to 0.6.
    """
    p = min(max(usual, _LEAST), _MOST)
    q = p + WORSE
    ratio = math.log(q / p) / math.log((1 - p) / (1 - q))
    # Whole numbers whose ratio is near that of the log-likelihoods: then the sum has few values.
    down = min(range(1, _FINEST + 1), key=lambda k: (abs(round(ratio * k) / k - ratio), k))
    up = max(round(ratio * down), 1)
    low, high = up, 2 * up
    while run_length(p, up, down, high) < LABELS_BETWEEN_ALARMS:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if run_length(p, up, down, middle) < LABELS_BETWEEN_ALARMS:
            low = middle
        else:
            high = middle
    return Scheme(p, up, down, high)


def run_length(share: float, up: int, down: int, limit: int) -> float:
    """Mean number of labels until the sum, begun at 0, reaches `limit`; of one value per state.

    Args:
        share: Chance of an error.
        up: Step of an error.
        down: Step of a right answer.
        limit: Where it stops.
    """
    states = np.arange(limit)
    moves = np.zeros((limit, limit))
    moves[states, np.maximum(states - down, 0)] = 1 - share
    inside = states[states + up < limit]
    moves[inside, inside + up] += share
    return float(np.linalg.solve(np.eye(limit) - moves, np.ones(limit))[0])
