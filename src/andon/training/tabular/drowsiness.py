"""The recipe `drowsiness`: a minute of a driver's eyes, and whether the driver was drowsy.

The features of one minute of one driver:

* ``ear``: mean eye aspect ratio;
* ``variance``: unbiased variance of the eye aspect ratio, which rises with blinks and closures;
* ``duration``: mean duration for which the eyes had been closed, milliseconds, as devices send it;
* ``time``: hour of the day at the middle of the minute, UTC, 0 to 24.

A minute is drowsy where the device said so of at least half of its measurements. Where too few
such minutes are stored, rows are made up (`generate_synthetic_data`), and it is said.
"""

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from andon.events.drowsiness import BUCKETS, MAX_POINTS, describe
from andon.runtimes.rows import Feature
from andon.store.database import Database
from andon.training.messages import Finding
from andon.training.tabular.recipe import Places, Recipe
from andon.training.tabular.table import Table

TARGET = "drowsy"
DRIVER = "driver"
SYNTHETIC_ROWS = 2_000
LEAST_MEASUREMENTS = 5
"""Of a minute; fewer say too little of its variance."""
LEAST_GROUPS = 5
"""Drivers that must be told apart; with fewer, the days of a driver are told apart instead."""
DAYS = 60
"""Of telemetry that are looked at, the newest ones."""

# As far as telemetry takes them.
FEATURES = (
    Feature("ear", "number", minimum=0, maximum=2, description="Mean eye aspect ratio"),
    Feature(
        "variance",
        "number",
        minimum=0,
        maximum=1,
        nullable=True,
        description="Variance of the eye aspect ratio",
    ),
    Feature(
        "duration",
        "number",
        minimum=0,
        maximum=86_400_000,
        unit="ms",
        description="Mean duration for which the eyes had been closed",
    ),
    Feature("time", "number", minimum=0, maximum=24, unit="h", description="Hour of the day, UTC"),
)

RECIPE = Recipe(
    name="drowsiness",
    title="Driver drowsiness",
    description="Whether a driver was drowsy in a minute, from four figures of the eyes.",
    target=TARGET,
    positive=1,
    class_labels={"0": "alert", "1": "drowsy"},
    features=FEATURES,
    group=DRIVER,
    candidates=("random-forest", "logistic-regression", "xgboost", "lightgbm"),
    parameters={"random-forest": {"n_estimators": 100, "max_depth": 10}},
    seed=42,
    min_rows=300,
    min_rows_per_class=30,
    # The device's own rule looks at the same eyes: it is known, and told.
    trusted=("ear", "variance", "duration"),
    promote="approve",
    experiment="drowsiness_detection",
    mlflow_model="drowsiness_detector",
    run_names={"random-forest": "random_forest_baseline"},
    source="drowsiness",
)

_DAY = 86_400_000_000
_MINUTE = BUCKETS["minute"]
_SYNTHETIC = (
    "These rows are made up: a model trained on them shows that the way works, and says nothing "
    "about real drivers."
)
_BY_DEVICE = (
    "The labels are what the devices said, mostly by a threshold on the same eyes: a model learns "
    "their rule, mistakes included."
)


def read(recipe: Recipe, places: Places, tell: Callable[[str], None], seed: int) -> Table:
    """Minutes of stored telemetry where there are enough, else made-up ones.

    Enough are the recipe's `min_rows`, and its `min_rows_per_class` of both classes.

    Raises:
        AndonError: The database cannot be read.
    """
    stored, groups = _stored(places.database_url)
    classes = stored[TARGET].value_counts()["count"].to_list()
    enough = (
        stored.height >= recipe.min_rows
        and len(classes) == 2
        and min(classes) >= recipe.min_rows_per_class
        and groups >= LEAST_GROUPS
    )
    if enough:
        tell(f"Reading {stored.height} minutes of stored telemetry...")
        return Table(
            frame=stored,
            origin="stored telemetry",
            digest=_digest(stored),
            notes=(_BY_DEVICE,),
        )
    tell("Generating synthetic training data...")
    x, y = generate_synthetic_data(SYNTHETIC_ROWS, seed)
    frame = pl.DataFrame(x, schema=[feature.name for feature in FEATURES]).with_columns(
        pl.Series(TARGET, y)
    )
    why = (
        f"Stored telemetry holds {stored.height} labelled minutes of {groups} drivers (or days of "
        f"one); needed are {recipe.min_rows}, {recipe.min_rows_per_class} of each class, of "
        f"{LEAST_GROUPS} drivers."
    )
    return Table(
        frame=frame,
        origin=f"synthetic rows, seed {seed}",
        digest=_digest(frame),
        synthetic=True,
        notes=(_SYNTHETIC, why),
        findings=(Finding("synthetic", "warning", detail=_SYNTHETIC, hint=why, rows=len(y)),),
    )


def generate_synthetic_data(
    n_samples: int = SYNTHETIC_ROWS, seed: int = 42
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Made-up minutes of drivers, whose classes overlap as those of real drivers do.

    Two in five minutes are drowsy. Then the mean EAR is lower (0.23 ± 0.035 instead of
    0.295 ± 0.03), its variance about twice as large, closures last longer (a median of 460 ms
    instead of 180 ms), and night hours are more frequent. One label in fifty is wrong, as where
    somebody pressed the wrong button.

    Args:
        n_samples: Rows.
        seed: The same seed gives the same rows.

    Returns:
        x [n, 4]: ear, variance, duration (ms), time (h); y [n]: 1 where drowsy.
    """
    random = np.random.default_rng(seed)
    drowsy = random.random(n_samples) < 0.4
    ear = np.where(
        drowsy, random.normal(0.23, 0.035, n_samples), random.normal(0.295, 0.03, n_samples)
    ).clip(0.05, 0.45)
    variance = np.exp(
        np.where(drowsy, np.log(0.0024), np.log(0.0012)) + random.normal(0, 0.45, n_samples)
    ).clip(0, 0.05)
    duration = np.exp(
        np.where(drowsy, np.log(460), np.log(180)) + random.normal(0, 0.35, n_samples)
    ).clip(0, 10_000)
    night = random.random(n_samples) < np.where(drowsy, 0.55, 0.2)
    hour = np.where(
        night, random.normal(2.5, 2.5, n_samples) % 24, random.uniform(6, 22, n_samples)
    )
    label = drowsy ^ (random.random(n_samples) < 0.02)
    x = np.stack([ear.round(4), variance.round(6), duration.round(1), hour.round(2)], axis=1)
    return x, label.astype(np.int64)


def _stored(url: str) -> tuple[pl.DataFrame, int]:
    """Labelled minutes of the newest days, and how many groups they are of."""
    names = [feature.name for feature in FEATURES]
    schema = dict.fromkeys(names, pl.Float64) | {
        TARGET: pl.Int64(),
        DRIVER: pl.String(),
        "day": pl.Int64(),
    }
    rows: list[tuple[object, ...]] = []
    if url:
        db = Database(url)
        try:
            rows = list(_minutes(db))
        finally:
            db.close()
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    if frame[DRIVER].n_unique() < LEAST_GROUPS:
        days = pl.concat_str(DRIVER, "day", separator=" ")
        frame = frame.with_columns(days.alias(DRIVER))
    return frame.drop("day"), frame[DRIVER].n_unique()


def _minutes(db: Database) -> Iterator[tuple[object, ...]]:
    """The features, label, driver and day of each minute, by day and driver."""
    first, last = db.telemetry.first(), db.telemetry.last()
    if first is None or last is None:
        return
    for day in range(max(first // _DAY, last // _DAY - DAYS + 1), last // _DAY + 1):
        since, until = day * _DAY, (day + 1) * _DAY
        for driver in db.telemetry.drivers(since, until):
            stream = db.telemetry.measurements(since, until, driver.driver_id, MAX_POINTS)
            if not stream.timestamps:
                continue
            for stretch in describe(driver.driver_id, stream, _MINUTE, 0.2).stretches:
                points = stretch.features.points
                if points < LEAST_MEASUREMENTS:
                    continue
                yield (
                    stretch.features.ear_mean,
                    stretch.features.ear_variance,
                    stretch.average_duration_ms,
                    stretch.hour_of_day,
                    int(stretch.drowsy_events * 2 >= points),
                    driver.driver_id,
                    day,
                )


def _digest(frame: pl.DataFrame) -> str:
    return hashlib.sha256(frame.write_csv().encode()).hexdigest()
