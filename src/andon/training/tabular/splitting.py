"""Which rows are held out, and the folds of a cross-validation.

A row is held out by the hash of its key, so the same rows are held out next week, in whatever
order they come. New rows move the limit a little; it is kept in the model's card, so that two
versions can be compared on exactly the rows that neither has seen.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import (
    StratifiedGroupKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
)

from andon.errors import UnusableUpload

Labels = NDArray[np.int64]
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class HeldOut:
    """Which rows are held out, and up to where in hash space.

    Attributes:
        mask: bool [n].
        position: Of each row's key in hash space, 0 to 1 [n].
        limits: Of each class: rows up to this position are held out.
    """

    mask: NDArray[np.bool_]
    position: NDArray[np.float64]
    limits: tuple[float, ...]


def hold_out(keys: list[str], y: Labels, share: float, *, grouped: bool = False) -> HeldOut:
    """Of every class the `share` of rows whose keys come first in hash space.

    With groups (rows of a group have the same key) one limit serves all classes, the one that
    comes nearest to `share`: a group is held out as a whole. Rows of one key stay together.

    Raises:
        UnusableUpload: A class cannot stand on both sides.
    """
    position = np.array([_position(key) for key in keys], dtype=np.float64)
    classes = int(y.max()) + 1
    if grouped:
        limits = np.full(classes, _limit(position, y, share))
    else:
        limits = np.full(classes, -1.0)
        for label in np.unique(y):
            limits[label] = _limit(position[y == label], y[y == label], share)
    return HeldOut(position <= limits[y], position, tuple(float(limit) for limit in limits))


def _limit(position: NDArray[np.float64], y: Labels, share: float) -> float:
    """The limit nearest to `share` of the rows that leaves every class on both sides."""
    places, counts = np.unique(position, return_counts=True)
    distance = np.abs(np.cumsum(counts) / len(position) - share)
    labels = np.unique(y)
    for place in places[np.argsort(distance, kind="stable")]:
        held = position <= place
        if all(held[y == label].any() and not held[y == label].all() for label in labels):
            return float(place)
    raise UnusableUpload(
        "The rows cannot be divided so that every class is both learned and checked: a class has "
        "a single row, or rows that are all alike or of one group.",
        hint="Collect more rows of every class, or of more groups.",
    )


def folds(
    y: Labels, groups: NDArray[np.int64] | None, count: int, seed: int
) -> list[tuple[Rows, Rows]]:
    """`count` times (rows to learn from, rows to check), stratified, groups kept whole.

    Fewer folds where a class has fewer rows (or there are fewer groups) than `count`.

    Raises:
        UnusableUpload: A class has a single row, or all rows are of one group.
    """
    smallest = int(np.bincount(y)[np.unique(y)].min())
    if groups is not None:
        smallest = min(smallest, len(np.unique(groups)))
    if smallest < 2:
        raise UnusableUpload(
            "There are too few rows of a class, or too few groups, to cross-validate.",
            hint="At least two are needed; collect more.",
        )
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(n_splits=min(count, smallest), shuffle=True, random_state=seed)
    return list(splitter.split(np.zeros((len(y), 1)), y, groups))


def sample(y: Labels, most: int, seed: int) -> Rows:
    """At most `most` rows, in order, every class with its share."""
    if len(y) <= most:
        return np.arange(len(y))
    splitter = StratifiedShuffleSplit(n_splits=1, train_size=most, random_state=seed)
    chosen, _ = next(splitter.split(np.zeros((len(y), 1)), y))
    return np.sort(chosen)


def _position(key: str) -> float:
    """Where a key stands in hash space, 0 to 1."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
