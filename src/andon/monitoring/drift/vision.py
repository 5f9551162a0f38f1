"""Answers to pictures as columns: what the pictures look like, and what was answered.

Everything is counted by picture: labels of one picture belong together, and its numbers come from
`image_stats`. Pictures of a sick camera (`camera_state`) are left out before: they say something
of the camera, not of the boards.

Beside the single numbers there are two kinds of distance to what is known: of the histograms
(luminance, edges) to their mean, and of all numbers together to the nearest part of the reference,
in units of how pictures of one part differ (Mahalanobis, 1936; the covariance shrunk towards its
diagonal, so that few pictures are enough: Ledoit and Wolf, 2004, with a constant share).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from andon.monitoring.drift import distances, measuring
from andon.monitoring.drift.distances import Floats
from andon.monitoring.drift.measuring import Column, Together

COLUMNS = (
    "image_stats", "camera_state", "image_width", "image_height", "raw_scores", "detections",
)  # fmt: skip
"""What is read of the log."""

HEALTHY = frozenset({None, "", "ok"})
"""States of a camera whose pictures count."""

NOVELTY = "picture"
TOGETHER = "pictures"
TITLES = {
    "brightness": "brightness",
    "contrast": "contrast",
    "sharpness": "sharpness",
    "low": "darkest hundredth",
    "high": "brightest hundredth",
    "red": "red",
    "green": "green",
    "blue": "blue",
    "luminance": "histogram of brightness",
    "edges": "directions of edges",
    NOVELTY: "distance of a picture to those known",
    TOGETHER: "pictures as a whole",
    "size": "size and colours",
    "score": "highest score",
    "mean_score": "mean score",
    "detections": "detections in a picture",
    "labels": "labels",
}
_NUMBERS = ("brightness", "contrast", "sharpness", "low", "high")
_PROFILES = {"luminance": ("hist", 16), "edges": ("edges", 8)}
_COLOURS = ("red", "green", "blue")
_NOTHING = "(none)"
# Of the covariance, how much is its diagonal; and the least difference of a number that counts.
_DIAGONAL = 0.5
_LEAST_SPREAD = 0.01
_MOST_PARTS = 12
# No statistics of a picture are near it.
_GREATEST = 1e12
# Pictures of the reference that are kept; and how much further than its parts a window may be.
_MOST_POINTS = 300
_TOGETHER_MARGIN = 1.25
# Of a line that goes in steps (one product after the other), whose parts differ by so many times
# what chance explains: parts that are half one product hide how far apart the products are.
_STEPS = 3.0
_STEPS_MARGIN = 2.0


class Pictures:
    """The numbers of some pictures, oldest first.

    Args:
        rows: Answers with `COLUMNS`, oldest first.
    """

    def __init__(self, rows: Sequence[Any]) -> None:
        self.rows = rows
        self.stats = [row.image_stats for row in rows if isinstance(row.image_stats, dict)]
        self.numbers = {name: self._numbers(name) for name in _NUMBERS}
        colours = [_colour(one.get("color")) for one in self.stats]
        for place, name in enumerate(_COLOURS):
            self.numbers[name] = _floats([one[place] for one in colours])
        self.profiles = {
            name: _table([one.get(key) for one in self.stats], size)
            for name, (key, size) in _PROFILES.items()
        }
        self.vectors = self._vectors()

    def _numbers(self, name: str) -> Floats:
        return _floats([one.get(name) for one in self.stats])

    def _vectors(self) -> Floats:
        """All numbers of each picture that has them, shape (pictures, numbers)."""
        parts = [self.numbers[name][:, None] for name in _NUMBERS]
        # Sharpness has no upper end; its ratios count.
        parts[2] = np.log1p(np.maximum(parts[2], 0.0))
        # Gray pictures have the same in all three.
        gray = self.numbers["brightness"]
        for name in _COLOURS:
            colour = self.numbers[name]
            parts.append(np.where(np.isnan(colour), gray, colour)[:, None])
        parts += list(self.profiles.values())
        found = np.hstack(parts) if self.stats else np.zeros((0, 32))
        known: Floats = found[~np.isnan(found).any(axis=1)]
        return known

    def columns(self, reference: Mapping[str, Any]) -> list[Column]:
        """Every feature.

        Args:
            reference: What `centres` gave, of the reference.
        """
        total = len(self.rows)
        found = []
        for name, values in self.numbers.items():
            known = values[~np.isnan(values)]
            found.append(_column(name, values=known, total=total))
        for name, profiles in self.profiles.items():
            mean = (reference.get("profiles") or {}).get(name)
            known = profiles[~np.isnan(profiles).any(axis=1)]
            if mean and len(mean) == profiles.shape[1]:
                away = np.abs(known - np.array(mean, float)).sum(axis=1) / 2
                found.append(_column(name, values=away, total=total))
        novelty = reference.get("novelty")
        if novelty and len(novelty["centres"][0]) == self.vectors.shape[1]:
            away = nearest(self.vectors, novelty)
            found.append(_column(NOVELTY, values=away, total=total, greater=True))
            found.append(_together(self.vectors, reference, total))
        return [*found, *self._answers(total)]

    def _answers(self, total: int) -> list[Column]:
        sizes: Counter[str] = Counter()
        labels: dict[str, float] = {}
        counts, best, mean = [], [], []
        for row in self.rows:
            if row.image_width and row.image_height:
                stats = row.image_stats if isinstance(row.image_stats, dict) else {}
                kind = "colour" if stats.get("color") else "gray"
                sizes[f"{row.image_width}×{row.image_height} {kind}"] += 1
            found = row.detections if isinstance(row.detections, list) else []
            named = [
                measuring.category(one.get("label")) if isinstance(one, dict) else "?"
                for one in found
            ]
            counts.append(float(len(named)))
            for label in named or [_NOTHING]:
                labels[label] = labels.get(label, 0.0) + 1 / max(1, len(named))
            scores = row.raw_scores or ()
            best.append(max(scores, default=0.0))
            mean.append(sum(scores) / len(scores) if scores else 0.0)
        weights = {key: float(count) for key, count in sizes.items()}
        return [
            _column("size", weights=weights, total=total),
            _column("score", "output", values=measuring.numbers(best), total=total),
            _column("mean_score", "output", values=measuring.numbers(mean), total=total),
            _column("detections", "output", values=np.array(counts), total=total),
            _column("labels", "output", weights=labels, total=total),
        ]


def healthy(rows: Sequence[Any]) -> tuple[list[Any], dict[str, int]]:
    """Pictures of cameras that are well, and how many others there are by what is wrong."""
    sick = Counter(str(row.camera_state) for row in rows if row.camera_state not in HEALTHY)
    return [row for row in rows if row.camera_state in HEALTHY], dict(sick)


def all_scores(rows: Sequence[Any]) -> Floats:
    """Every score of every answer, also those under the threshold."""
    return measuring.numbers([score for row in rows for score in row.raw_scores or ()])


def centres(blocks: Sequence[Pictures]) -> dict[str, Any]:
    """What the pictures of a reference have in common, for `Pictures.columns`.

    Args:
        blocks: Contiguous parts of the reference.
    """
    found: dict[str, Any] = {"profiles": {}}
    for name in _PROFILES:
        table = np.vstack([block.profiles[name] for block in blocks])
        table = table[~np.isnan(table).any(axis=1)]
        if len(table):
            found["profiles"][name] = _plain(table.mean(axis=0))
    parts = [block.vectors for block in blocks if len(block.vectors) > 1]
    if parts:
        found["novelty"] = _parts(parts)
        found["together"] = _all_together(parts, np.array(found["novelty"]["white"], float))
    return found


def left_out(blocks: Sequence[Pictures]) -> Floats:
    """How far each picture is from the nearest part of the reference that it does not belong to.

    What a picture that the reference does not hold would have, if it is like those in it.
    """
    parts = [block.vectors for block in blocks if len(block.vectors) > 1]
    if len(parts) < 2:
        return np.zeros(0)
    away = []
    for index, part in enumerate(parts):
        others = parts[:index] + parts[index + 1 :]
        away.append(nearest(part, _parts(others)))
    return np.concatenate(away)


def nearest(vectors: Floats, novelty: Mapping[str, Any]) -> Floats:
    """Distance of each picture to the nearest part, per number (about 1 for a picture like it)."""
    if not len(vectors):
        return np.zeros(0)
    white = np.array(novelty["white"], float)
    centres_ = np.array(novelty["centres"], float) @ white
    here = vectors @ white
    squares = (here**2).sum(1)[:, None] + (centres_**2).sum(1)[None, :] - 2 * here @ centres_.T
    found: Floats = np.sqrt(np.maximum(squares, 0.0).min(axis=1) / vectors.shape[1])
    return found


def _parts(parts: Sequence[Floats]) -> dict[str, Any]:
    """Centres of parts of the reference, and the matrix that makes their pictures round."""
    # Many parts cost time at each look and tell little more.
    step = -(-len(parts) // _MOST_PARTS)
    means = [np.vstack(parts[at : at + step]).mean(axis=0) for at in range(0, len(parts), step)]
    within = np.vstack([part - part.mean(axis=0) for part in parts])
    covariance = within.T @ within / max(1, len(within) - len(parts))
    spread = np.maximum(np.sqrt(np.diag(covariance)), _LEAST_SPREAD)
    scaled = covariance / np.outer(spread, spread) * (1 - _DIAGONAL)
    np.fill_diagonal(scaled, 1.0)
    values, axes = np.linalg.eigh(scaled)
    white = (axes / np.sqrt(np.maximum(values, 1e-3))) / spread[:, None]
    return {
        "centres": [_plain(mean) for mean in means],
        "white": [_plain(row) for row in white],
    }


def _all_together(parts: Sequence[Floats], white: Floats) -> dict[str, Any]:
    """Pictures of the reference, and how far its parts are from the rest of it."""
    round_ = [part @ white for part in parts]
    points = _thinned(np.vstack(round_))
    scale, freedom = distances.energy_noise(points)
    wandering, chance = 0.0, 0.0
    for index, part in enumerate(round_ if len(round_) > 1 else []):
        others = _thinned(np.vstack(round_[:index] + round_[index + 1 :]))
        energy, _ = distances.energy(part, others)
        noise = scale * freedom * (1 / len(part) + 1 / len(others))
        wandering, chance = max(wandering, energy - noise), max(chance, noise)
    margin = _STEPS_MARGIN if wandering > _STEPS * chance else _TOGETHER_MARGIN
    return {
        "points": [_plain(point) for point in points],
        "scale": distances.finite(scale),
        "freedom": distances.finite(freedom),
        "tolerated": distances.finite(margin * wandering),
    }


def _together(vectors: Floats, reference: Mapping[str, Any], total: int) -> Column:
    known = reference["together"]
    points = np.array(known["points"], float)
    found = None
    if len(vectors):
        here = vectors @ np.array(reference["novelty"]["white"], float)
        energy, across = distances.energy(here, points)
        n = sum(map(distances.independent, here.T)) / here.shape[1]
        found = Together(
            energy=energy,
            across=across,
            tolerated=float(known["tolerated"]),
            scale=float(known["scale"]) * (1 / n + 1 / len(points)),
            freedom=float(known["freedom"]),
        )
    return _column(TOGETHER, together=found, total=total)


def _thinned(points: Floats) -> Floats:
    """At most `_MOST_POINTS` of them, evenly spread."""
    if len(points) <= _MOST_POINTS:
        return points
    kept: Floats = points[np.linspace(0, len(points) - 1, _MOST_POINTS).astype(int)]
    return kept


def _column(name: str, group: str = "input", **given: Any) -> Column:
    return Column(name=name, title=TITLES[name], group=group, optional=True, **given)


def _colour(value: Any) -> list[Any]:
    """Of a gray picture, nothing three times."""
    return value if isinstance(value, list) and len(value) == 3 else [None, None, None]


def _floats(values: Sequence[Any]) -> Floats:
    """As many numbers as values; NaN for what is none."""
    try:
        found = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.zeros(0)
    if found.shape != (len(values),):
        found = np.array([_number(value) for value in values], dtype=np.float64)
    found[~(np.abs(found) < _GREATEST)] = np.nan
    return found


def _number(value: Any) -> float:
    numeric = isinstance(value, int | float) and abs(value) < _GREATEST
    return float(value) if numeric else float("nan")


def _table(rows: Sequence[Any], size: int) -> Floats:
    right = [row if isinstance(row, list) and len(row) == size else [None] * size for row in rows]
    flat = _floats([value for row in right for value in row])
    return flat.reshape(len(right), size)


def _plain(values: Floats) -> list[float]:
    return [distances.finite(value) or 0.0 for value in values]
