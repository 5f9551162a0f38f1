"""A training's report as a real one looks, with numbers that fit together."""

from typing import Any

import msgspec

from andon.runtimes.rows import Feature, RowSchema
from andon.training import messages as m

SCHEMA = RowSchema(
    features=(
        Feature(
            name="age",
            kind="integer",
            minimum=0,
            maximum=120,
            typical=56,
            unit="years",
            description="Age",
        ),
        Feature(
            name="sex",
            kind="category",
            categories=(0, 1),
            labels=("female", "male"),
            typical=1,
            description="Sex",
        ),
        Feature(
            name="oldpeak",
            kind="number",
            minimum=-5,
            maximum=10,
            typical=0.8,
            unit="mm",
            description="ST depression by exercise",
        ),
        Feature(
            name="thal",
            kind="category",
            categories=(3, 6, 7),
            labels=("normal", "fixed defect", "reversible defect"),
            nullable=True,
            typical=3,
            description="Thallium test",
        ),
        Feature(
            name="chol",
            kind="number",
            minimum=80,
            maximum=700,
            nullable=True,
            typical=241,
            unit="mg/dl",
            description="Serum cholesterol",
        ),
    ),
    target="disease",
    classes=(0, 1),
    class_labels=("no disease", "disease"),
    positive=1,
    threshold=0.45,
)


def _candidates() -> tuple[m.Candidate, ...]:
    told = (
        ("baseline", "Most frequent class", 0.0, 0.5, 0.54, 0.0),
        ("logistic-regression", "Logistic regression", 0.815, 0.905, 0.83, 0.84),
        ("random-forest", "Random forest", 0.802, 0.898, 0.82, 0.83),
        ("xgboost", "XGBoost", 0.798, 0.891, 0.81, 0.81),
    )
    fitted = tuple(
        m.Candidate(
            name=name,
            algorithm=algorithm,
            cross_validation={
                "f1": m.Spread(f1, 0.041, (f1,) * 3),
                "roc_auc": m.Spread(auc, 0.028),
                "accuracy": m.Spread(accuracy, 0.035),
            },
            held_out={"f1": held},
            seconds=1.3,
            baseline=name == "baseline",
            chosen=name == "logistic-regression",
        )
        for name, algorithm, f1, auc, accuracy, held in told
    )
    failed = m.Candidate(name="lightgbm", algorithm="LightGBM", error="too few rows in a leaf")
    return (*fitted, failed)


def report(**given: Any) -> m.TrainReport:
    """A training of heart-disease that passed its gate."""
    interval = m.Interval
    values: dict[str, Any] = {
        "recipe": "heart-disease",
        "title": "Heart disease",
        "model": "heart-disease",
        "data": m.DataUsed(
            origin="processed.cleveland.data",
            digest="a74b7efa" * 8,
            rows=303,
            held_out=61,
            findings=(
                m.Finding("duplicates", "info", "", "No row stands there twice.", "", 0),
                m.Finding(
                    "missing",
                    "warning",
                    "ca",
                    "4 of 303 values are missing.",
                    "They are filled with the median.",
                    4,
                ),
            ),
            classes={"0": 164, "1": 139},
            notes=("Not a medical device.",),
        ),
        "seed": 42,
        "candidates": _candidates(),
        "chosen": "logistic-regression",
        "algorithm": "Logistic regression",
        "held_out": m.HeldOut(
            metrics={
                "accuracy": interval(0.852, 0.754, 0.934),
                "precision": interval(0.828, 0.68, 0.96),
                "recall": interval(0.857, 0.72, 0.97),
                "f1": interval(0.842, 0.77, 0.9),
                "roc_auc": interval(0.921, 0.85, 0.98),
                "pr_auc": interval(0.91, 0.82, 0.97),
                "brier": interval(0.11, 0.08, 0.15),
                "log_loss": interval(0.36, 0.27, 0.46),
                "ece": interval(0.07),
            },
            classes=("no disease", "disease"),
            confusion=((28, 5), (4, 24)),
            roc=((0.0, 0.0), (0.03, 0.5), (0.15, 0.86), (0.4, 0.96), (1.0, 1.0)),
            pr=((0.0, 1.0), (0.5, 0.93), (0.86, 0.83), (1.0, 0.46)),
            calibration=(m.Bin(0.08, 0.05, 20), m.Bin(0.45, 0.5, 12), m.Bin(0.9, 0.88, 29)),
            threshold=0.45,
        ),
        "slices": (
            m.SliceScore(
                slice="sex",
                value="male",
                rows=42,
                positives=23,
                accuracy=0.83,
                precision=0.84,
                recall=0.87,
                f1=0.85,
                f1_low=0.74,
                f1_high=0.94,
                roc_auc=0.9,
            ),
            m.SliceScore(slice="sex", value="female", rows=7, positives=2),
        ),
        "importance": (
            m.Importance("thal", 0.08, 0.02),
            m.Importance("oldpeak", 0.05, 0.015),
            m.Importance("sex", 0.02, 0.01),
            m.Importance("age", 0.004, 0.006),
            m.Importance("chol", -0.002, 0.004),
        ),
        "comparison": m.Comparison(
            version=3,
            rows=61,
            new={"f1": 0.842, "roc_auc": 0.921},
            active={"f1": 0.82, "roc_auc": 0.915},
            differences={
                "f1": interval(0.022, -0.031, 0.071),
                "roc_auc": interval(0.006, -0.02, 0.03),
            },
        ),
        "gate": m.GateResult(passed=True),
        "agreement": m.Agreement(rows=61, max_difference=3.4e-7, limit=1e-5),
        "hyperparameters": {"C": 0.3, "penalty": "l2"},
        "features": SCHEMA.features,
        "classes": SCHEMA.classes,
        "versions": {"andon": "0.2.0", "scikit-learn": "1.9.0"},
        "seconds": 41.2,
        "onnx_bytes": 4_120,
    }
    return m.TrainReport(**{**values, **given})


def plain(told: Any) -> dict[str, Any]:
    """A report as the database has it."""
    made: dict[str, Any] = msgspec.to_builtins(told)
    return made
