"""Rows to train on: small made-up ones, and the 303 real ones of Cleveland."""

import hashlib
from pathlib import Path

import numpy as np
from tests.support.policy import absent

from andon.runtimes.rows import Feature, RowSchema
from andon.training.messages import DataReport, TrainRequest
from andon.training.tabular.fitting import Rows
from andon.training.tabular.prepared import Prepared
from andon.training.tabular.recipe import Recipe

HEART = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "heart"

_CATEGORIES = {
    "sex": (0, 1),
    "cp": (1, 2, 3, 4),
    "fbs": (0, 1),
    "restecg": (0, 1, 2),
    "exang": (0, 1),
    "slope": (1, 2, 3),
    "thal": (3, 6, 7),
}
_HEART = (
    "age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak",
    "slope", "ca", "thal",
)  # fmt: skip


def made_up(
    rows: int = 300, classes: int = 2, seed: int = 0, missing: float = 0.05, groups: int = 0
) -> Prepared:
    """Rows of which two numbers and a category tell the class, and a number tells nothing."""
    generator = np.random.default_rng(seed)
    numbers = generator.normal(size=(rows, 3)) * [1, 50, 1] + [0, 1000, 5]
    colour = generator.integers(3, size=rows)
    signal = numbers[:, 0] + (numbers[:, 1] - 1000) / 50 + np.array([-1.0, 0.0, 1.5])[colour]
    signal += generator.normal(scale=0.8, size=rows)
    limits = np.quantile(signal, np.linspace(0, 1, classes + 1)[1:-1])
    y = np.searchsorted(limits, signal).astype(np.int64)
    x = np.column_stack([numbers, colour]).astype(np.float32).astype(np.float64)
    x[generator.random(x.shape) < missing] = np.nan
    of_group = generator.integers(groups, size=rows) if groups else None
    units = np.arange(rows) if of_group is None else of_group
    values: tuple[int | str, ...] = (0, 1) if classes == 2 else tuple("abcdefgh"[:classes])
    schema = RowSchema(
        features=(
            Feature("width", "number"),
            Feature("weight", "number", unit="g"),
            Feature("noise", "number"),
            Feature("colour", "category", categories=("red", "green", "blue")),
        ),
        target="fault",
        classes=values,
        positive=1 if classes == 2 else None,
    )
    return Prepared(
        schema=schema,
        x=x,
        y=y,
        groups=of_group,
        slices={"colour": np.array(["red", "green", "blue"])[colour]},
        keys=[key(seed, int(unit)) for unit in units],
        origin="made up",
        digest="0" * 64,
    )


def key(*parts: object) -> str:
    """A key as preparation makes them."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def rows_of(data: Prepared) -> Rows:
    """The same as rows to learn from."""
    return Rows(data.x, data.y, data.groups)


def cleveland() -> Prepared:
    """The 303 rows, coded by hand here: no module under test reads them."""
    path = HEART / "processed.cleveland.data"
    if not path.exists():
        absent(f"{path} is not there: the real heart-disease rows are not part of the repository")
    lines = path.read_text(encoding="ascii").split()
    table = np.array(
        [[float("nan") if v == "?" else float(v) for v in line.split(",")] for line in lines]
    )
    x = table[:, :13].astype(np.float32).astype(np.float64)
    features: list[Feature] = []
    for column, name in enumerate(_HEART):
        categories = _CATEGORIES.get(name)
        if categories is None:
            features.append(Feature(name, "number"))
            continue
        codes = np.full(len(x), np.nan)
        for code, value in enumerate(categories):
            codes[x[:, column] == value] = code
        x[:, column] = codes
        features.append(Feature(name, "category", categories=categories))
    return Prepared(
        schema=RowSchema(tuple(features), target="num", classes=(0, 1), positive=1),
        x=x,
        y=(table[:, 13] > 0).astype(np.int64),
        groups=None,
        slices={"sex": np.where(x[:, 1] == 1, "male", "female")},
        keys=[key(line) for line in lines],
        origin="Cleveland",
        digest="1" * 64,
    )


def recipe(**changes: object) -> Recipe:
    """A quick recipe for the rows of `made_up`."""
    quick: dict[str, object] = {
        "name": "faults",
        "title": "Faults",
        "target": "fault",
        "folds": 3,
        "repeats": 1,
        "parameters": {"random-forest": {"n_estimators": 20}},
    }
    return Recipe(**(quick | changes))  # type: ignore[arg-type]


def request(**changes: object) -> TrainRequest:
    """A request for `recipe`."""
    plain: dict[str, object] = {"run_id": "r", "recipe": "faults", "model": "faults"}
    return TrainRequest(**(plain | changes))  # type: ignore[arg-type]


def report(data: Prepared) -> DataReport:
    """What checks would have found: nothing."""
    return DataReport(
        origin=data.origin, digest=data.digest, rows=len(data.y), columns=data.x.shape[1] + 1
    )
