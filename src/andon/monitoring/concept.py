"""Whether a version has begun to be wrong more often, told as labels come in.

A cumulative sum of log-likelihood ratios (CUSUM; E. S. Page, "Continuous inspection schemes",
Biometrika 41, 1954) for Bernoulli observations: errors at the version's usual rate against errors
ten points above it. Of all rules with the same time between false alarms it names that change
soonest in the worst case (Moustakides 1986). The time between false alarms comes out of the
Markov chain of the sum's values (Brook and Evans, Biometrika 59, 1972); D. Siegmund, "Sequential
Analysis", 1985, tells of both.

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
from andon.monitoring.performance import since_of
from andon.monitoring.signals import Issue, Signal, State, Watched
from andon.settings import Settings
from andon.store.database import Database
from andon.store.windows import Windows

log = structlog.get_logger("andon.monitoring")

WORSE = 0.10
"""Rise of the share of errors that is looked for, absolute."""

LABELS_BETWEEN_ALARMS = 50_000
"""Mean number of labels from one false alarm to the next."""

LABELS_BETWEEN_ALARMS_NOISY = 25_000
"""The same for versions with more than 15 % errors as usual: ten points more are a smaller change
there, and would otherwise be named too late."""

NEEDED = 30
"""Labels before anything is said."""

BASELINE = "baseline_error_rate"
"""Name of the number in `performance_metrics` of versions without held-out rows."""

_LEAST, _MOST = 0.005, 0.6
_NOISY = 0.155
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
        self._usual: dict[int, float] = {}

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
                    f"it is known after {self._window}.",
                    needed=self._window,
                    **common,
                )
            ]
        scheme = scheme_for(round(usual, 2))
        run = scheme.run(wrong.tolist())
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

    def _usual_errors(self, watched: Watched, wrong: Any) -> float | None:
        """Of the held-out rows, with their uncertainty added; else of the first full window."""
        version = watched.version
        accuracy, spread = estimate.held_out(version)
        if accuracy is not None:
            return min(max(1 - accuracy + spread, _LEAST), _MOST)
        if version.id in self._usual:
            return self._usual[version.id]
        stored = self._db.metrics.first(version.id, BASELINE)
        if stored is not None:
            self._usual[version.id] = stored.value
            return stored.value
        if len(wrong) < self._window:
            return None
        first = wrong[: self._window]
        share = float(first.mean())
        spread = math.sqrt(max(share * (1 - share), 0.01) / len(first))
        usual = min(max(share + spread, _LEAST), _MOST)
        try:
            self._db.metrics.add(version.id, {BASELINE: usual}, details={"labels": len(first)})
            self._usual[version.id] = usual
        except AndonError as error:
            # The database may be read-only for a while; the same labels say the same next time.
            log.warning("A baseline could not be kept.", model=version.model, reason=str(error))
        return usual


@lru_cache(maxsize=128)
def scheme_for(usual: float) -> Scheme:
    """The CUSUM for a usual share of errors.

    Args:
        usual: 0 to 1; taken as 0.005 to 0.6.
    """
    p = min(max(usual, _LEAST), _MOST)
    between = LABELS_BETWEEN_ALARMS if p <= _NOISY else LABELS_BETWEEN_ALARMS_NOISY
    q = p + WORSE
    ratio = math.log(q / p) / math.log((1 - p) / (1 - q))
    # Whole numbers whose ratio is near that of the log-likelihoods: then the sum has few values.
    down = min(range(1, _FINEST + 1), key=lambda k: (abs(round(ratio * k) / k - ratio), k))
    up = max(round(ratio * down), 1)
    low, high = up, 2 * up
    while run_length(p, up, down, high) < between:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if run_length(p, up, down, middle) < between:
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
