"""What eyes tell: the eye aspect ratio, and what a stream of it says about blinks and closures.

Every definition stands in docs/drowsiness.md with the paper it comes from. What the data do
not tell (too few points, too slow a camera, a lost face) is None, never 0.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

LANDMARKS = 6
# Corners this much closer together than the lids are apart are no eye.
_DEGENERATE = 1e-9

BLINK_SECONDS = (0.05, 0.5)
"""Shortest and longest closure that counts as a blink; a longer one is no reflex any more."""
CLOSED_SHARE = 0.2
"""EAR of a closed eye as a share of the open eye's, where a driver's own is not known."""
LEAST_SECONDS = 30.0
"""Observed time below which rates and shares are unknown."""
LEAST_POINTS = 30
"""Points below which nothing is known about how a driver's open eye looks."""
SLOWEST_INTERVAL = 0.1
"""Seconds between points beyond which blinks fall through, and closures have no length."""
# A hole this many times the usual interval, within these limits in seconds, is a gap: nobody
# knows what the eyes did in it.
_GAP_INTERVALS = 3.0
_GAP_SECONDS = (0.5, 10.0)
_OPEN_QUANTILE = 0.9
_P80 = 0.8


def eye_aspect_ratio(landmarks: ArrayLike) -> Any:
    """The eye aspect ratio (EAR) of one eye or of many.

    EAR = (‖p2 − p6‖ + ‖p3 − p5‖) / (2 ‖p1 − p4‖): the height of the eye over its width. It
    is near 0.3 while the eye is open and falls towards 0 as it closes, whatever the size of
    the face, its place and its roll. Soukupová & Čech, "Real-Time Eye Blink Detection using
    Facial Landmarks", Computer Vision Winter Workshop 2016, equation 1.

    Args:
        landmarks: Shape (6, 2), or (…, 6, 2) for many eyes: x and y, in any unit, of p1 (one
            corner), p2, p3 (upper lid), p4 (other corner), p5, p6 (lower lid), so that p2 is
            over p6 and p3 over p5.

    Returns:
        A float for one eye, an array of shape (…) for many. NaN where a coordinate is not
        finite or the corners coincide: there is no eye to measure.

    Raises:
        ValueError: The shape is another, or these are no numbers.
    """
    try:
        points = np.asarray(landmarks, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"landmarks must be numbers of shape (…, 6, 2): {error}") from None
    if points.ndim < 2 or points.shape[-2:] != (LANDMARKS, 2):
        raise ValueError(
            f"landmarks must have the shape (6, 2) or (…, 6, 2), not {points.shape}: x and y of "
            "six points, without depth"
        )
    p1, p2, p3, p4, p5, p6 = np.moveaxis(points, -2, 0)
    # Infinite coordinates give NaN here, which is what they mean.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        heights = _distance(p2, p6) + _distance(p3, p5)
        width = _distance(p1, p4)
        usable = np.isfinite(heights + width) & (width > _DEGENERATE * heights)
        ratio = np.where(usable, heights / (2 * width), np.nan)
    return float(ratio) if ratio.ndim == 0 else ratio


def both_eyes(right: ArrayLike, left: ArrayLike) -> Any:
    """The EAR of a face: the mean of both eyes, or the one that is known.

    Args:
        right: EAR of one eye, a number or an array.
        left: EAR of the other, of the same shape.

    Returns:
        The same shape; NaN where neither eye is known.
    """
    pair = np.stack(np.broadcast_arrays(np.asarray(right, float), np.asarray(left, float)))
    known = np.isfinite(pair)
    count = known.sum(axis=0)
    total = np.where(known, pair, 0.0).sum(axis=0)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return float(mean) if mean.ndim == 0 else mean


def closed_threshold(open_ear: float, closed_ear: float | None = None) -> float:
    """The EAR below which an eye is at least 80 % closed, for PERCLOS.

    Openness is taken to fall in proportion to EAR, from the open eye's to the closed eye's,
    which is not 0: lids have a thickness and landmarks an error.

    Args:
        open_ear: EAR of this driver's open eye.
        closed_ear: EAR of this driver's closed eye; default `CLOSED_SHARE` of the open one.
    """
    closed = CLOSED_SHARE * open_ear if closed_ear is None else closed_ear
    return closed + (1 - _P80) * (open_ear - closed)


def open_baseline(ears: ArrayLike) -> float | None:
    """EAR of a driver's open eye: the 90th percentile of what was measured.

    High enough that a tired driver's closures do not pull it down, and not the maximum, which
    is the landmarks' largest error. None with fewer than `LEAST_POINTS` values.
    """
    values = np.asarray(ears, float)
    known = values[np.isfinite(values)]
    return float(np.quantile(known, _OPEN_QUANTILE)) if known.size >= LEAST_POINTS else None


class Closure(NamedTuple):
    """Eyes seen to close and to open again.

    Attributes:
        start: First closed point, seconds.
        duration: Until the first open point after it, seconds.
        lowest: Smallest EAR meanwhile.
    """

    start: float
    duration: float
    lowest: float


def blinks(
    closures: Iterable[Closure],
    *,
    shortest: float = BLINK_SECONDS[0],
    longest: float = BLINK_SECONDS[1],
) -> list[Closure]:
    """The closures that are blinks: `shortest` ≤ duration ≤ `longest`, seconds."""
    return [closure for closure in closures if shortest <= closure.duration <= longest]


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """What a stretch of a driver's stream says. None is unknown.

    Attributes:
        points: Measurements with a finite EAR.
        observed_seconds: Time covered by them, gaps left out.
        ear_mean: Mean EAR.
        ear_variance: Unbiased variance of EAR (divided by points − 1).
        ear_min: Smallest EAR.
        closures: Times the eyes were seen to close and open again.
        closure_seconds_mean: Their mean duration.
        closure_seconds_max: The longest.
        blinks: Closures short enough to be blinks.
        blink_rate: Blinks per minute of observed time.
        perclos: Share of observed time with the eyes at least 80 % closed, 0 to 1.
    """

    points: int
    observed_seconds: float
    ear_mean: float | None
    ear_variance: float | None
    ear_min: float | None
    closures: int | None
    closure_seconds_mean: float | None
    closure_seconds_max: float | None
    blinks: int | None
    blink_rate: float | None
    perclos: float | None


class EyeStream:
    """EAR over time, of one driver.

    Args:
        seconds: When each point was measured, rising; from any beginning.
        ears: EAR of each; NaN where there was no face.
        threshold: EAR below which the eyes count as closed.
        open_ear: EAR of this driver's open eye; default `open_baseline` of the stream.
        closed_ear: EAR of this driver's closed eye, where it is known.

    Raises:
        ValueError: The two differ in length, or time runs backwards.
    """

    def __init__(
        self,
        seconds: ArrayLike,
        ears: ArrayLike,
        *,
        threshold: float,
        open_ear: float | None = None,
        closed_ear: float | None = None,
    ) -> None:
        self._seconds: Floats = np.asarray(seconds, float)
        self._ears: Floats = np.asarray(ears, float)
        if self._seconds.ndim != 1 or self._seconds.shape != self._ears.shape:
            raise ValueError("seconds and ears must be two lists of the same length")
        steps = np.diff(self._seconds)
        if not np.isfinite(self._seconds).all() or (steps < 0).any():
            raise ValueError("seconds must be finite and in order of time")
        self._known = np.isfinite(self._ears)
        self.threshold = threshold
        self.open_ear = open_baseline(self._ears) if open_ear is None else open_ear
        self._closed_below = (
            None if self.open_ear is None else closed_threshold(self.open_ear, closed_ear)
        )
        self.interval: float | None = float(np.median(steps)) if steps.size else None
        """Usual time between two points, seconds; None with fewer than two."""
        self._longest = float(np.clip(_GAP_INTERVALS * (self.interval or 0.0), *_GAP_SECONDS))
        # How long each point stands: until the next one, unless that comes after a gap.
        held = np.where(steps <= self._longest, steps, 0.0)
        self._held: Floats = np.where(self._known, np.append(held, 0.0)[: self._known.size], 0.0)
        self.closures = self._find_closures() if self._is_fine else None
        """Every closure with both its ends in the stream; None when sampled too slowly."""

    @property
    def _is_fine(self) -> bool:
        # To the microsecond: as a difference of floats, a tenth of a second is a little longer.
        return self.interval is not None and round(self.interval, 6) <= SLOWEST_INTERVAL

    def features(self, begin: float = -np.inf, end: float = np.inf) -> Features:
        """What the points with ``begin <= seconds < end`` say.

        A closure belongs to the stretch it began in.
        """
        first, last = np.searchsorted(self._seconds, (begin, end))
        known = self._known[first:last]
        ears, held = self._ears[first:last][known], self._held[first:last][known]
        observed = float(held.sum())
        enough = observed >= LEAST_SECONDS
        mine = None
        if self.closures is not None:
            mine = [closure for closure in self.closures if begin <= closure.start < end]
        durations = [closure.duration for closure in mine or ()]
        winks = None if mine is None else len(blinks(mine))
        perclos = None
        if enough and self._closed_below is not None:
            perclos = float(held[ears <= self._closed_below].sum()) / observed
        return Features(
            points=int(ears.size),
            observed_seconds=observed,
            ear_mean=float(ears.mean()) if ears.size else None,
            ear_variance=float(ears.var(ddof=1)) if ears.size > 1 else None,
            ear_min=float(ears.min()) if ears.size else None,
            closures=None if mine is None else len(mine),
            closure_seconds_mean=sum(durations) / len(durations) if durations else None,
            closure_seconds_max=max(durations, default=None),
            blinks=winks,
            blink_rate=winks / observed * 60 if winks is not None and enough else None,
            perclos=perclos,
        )

    def _find_closures(self) -> list[Closure]:
        """Runs of points below the threshold between two open ones, without a gap."""
        closed = self._known & (self._ears < self.threshold)
        # Where a run of closed points begins, and where the first point after it is.
        edges = np.flatnonzero(np.diff(closed.astype(np.int8), prepend=0, append=0))
        found = []
        for first, after in _pairs(edges.tolist()):
            if first == 0 or after >= closed.size:
                continue
            around = slice(first - 1, after + 1)
            whole = (
                self._known[around].all()
                and (np.diff(self._seconds[around]) <= self._longest).all()
            )
            if whole:
                began, ended = self._seconds[first], self._seconds[after]
                lowest = self._ears[first:after].min()
                found.append(Closure(float(began), float(ended - began), float(lowest)))
        return found


def _pairs(edges: Sequence[int]) -> Iterable[tuple[int, int]]:
    return zip(edges[::2], edges[1::2], strict=True)


def _distance(one: Floats, other: Floats) -> Floats:
    found: Floats = np.hypot(one[..., 0] - other[..., 0], one[..., 1] - other[..., 1])
    return found
