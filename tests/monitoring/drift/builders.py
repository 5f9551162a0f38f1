"""Answers for drift: rows and pictures like those of a line, on the days one wants."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np

from andon.monitoring.signals import Limits, Watched
from andon.settings import Settings
from andon.store.clock import micros
from andon.store.database import Database
from andon.store.ids import uuid7_of
from andon.store.records import ModelVersion

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
A_DAY = 1_500
"""Pictures that the simulated line takes in a day."""

LABELS = ("open", "short", "mousebite", "spur")


def settings(**given: Any) -> Settings:
    """Settings of a test."""
    return Settings(_env_file=None, **given)


def moment(place: float) -> datetime:
    """When the simulated line takes its picture number `place`."""
    return BEGIN + timedelta(days=place / A_DAY)


def picture(
    random: np.random.Generator, place: int, *, cycle: float = 0.0, **changes: Any
) -> dict[str, Any]:
    """One answer to a picture.

    Args:
        random: Where its numbers come from.
        place: Which picture of the line it is.
        cycle: How far brightness goes over the day, in standard deviations.
        changes: `dark` (factor of brightness), `blur` (factor of sharpness), `camera_state`.
    """
    day = float(np.sin(2 * np.pi * place / A_DAY))
    dark = changes.get("dark", 1.0)
    brightness = random.normal(0.55 + 0.05 * cycle * day, 0.05) * dark
    tones = random.dirichlet(np.ones(16) * 40)
    if dark != 1.0:
        tones = np.concatenate([tones[4:], np.zeros(4)]) + 1e-3
    labels = [label for label in LABELS if random.random() < 0.5 + 0.3 * cycle * day * 0.5]
    scores = [*random.beta(8, 2, len(labels)), *random.beta(1, 8, 5)]
    at = moment(place)
    return {
        "id": uuid7_of(micros(at), str(place).encode()),
        "created_at": at,
        "camera": "line-1",
        "camera_state": changes.get("camera_state", "ok"),
        "image_width": 640,
        "image_height": 480,
        "raw_scores": [round(float(score), 4) for score in scores],
        "detections": [
            {"label": label, "confidence": 0.9, "bbox": [1, 2, 3, 4]} for label in labels
        ],
        "detection_count": len(labels),
        "image_stats": {
            "brightness": float(np.clip(brightness, 0, 1)),
            "contrast": float(random.normal(0.3, 0.03)) * dark,
            "sharpness": float(random.normal(1.0, 0.08)) * changes.get("blur", 1.0),
            "low": 0.02,
            "high": 0.98 * dark,
            "color": [float(random.normal(0.5, 0.05)) * dark for _ in range(3)],
            "hist": (tones / tones.sum()).tolist(),
            "edges": random.dirichlet(np.ones(8) * 40).tolist(),
            "problems": [],
        },
    }


def row(
    random: np.random.Generator, place: int, *, shift: float = 0.0, **features: Any
) -> dict[str, Any]:
    """One answer to a row of two numbers and a category."""
    age, oldpeak = random.normal(54 + 9 * shift, 9), random.exponential(1.0)
    probability = float(1 / (1 + np.exp(-(age - 54) / 9 - oldpeak + 1)))
    at = moment(place)
    return {
        "id": uuid7_of(micros(at), str(place).encode()),
        "created_at": at,
        "image_name": None,
        "image_hash": None,
        "features": {
            "age": float(age),
            "oldpeak": float(oldpeak),
            "sex": int(random.random() < 0.7),
            **features,
        },
        "prediction": str(int(probability > 0.5)),
        "probability": probability,
        "raw_scores": [1 - probability, probability],
        "detections": None,
        "detection_count": 0,
    }


def seen(rows: Sequence[dict[str, Any]]) -> list[Any]:
    """As the log hands them out."""
    return [SimpleNamespace(**{"image_stats": None, "features": None, **row}) for row in rows]


def write(db: Database, version: ModelVersion, rows: Sequence[dict[str, Any]]) -> None:
    """Log answers and wait until they are on disk."""
    begin = {
        "model_id": version.id,
        "source": "api",
        "role": "active",
        "status": "success",
        "image_name": "board.jpg",
        "image_hash": "ab" * 32,
        "inference_time": 0.01,
        "latency_ms": 12.5,
    }
    for future in [db.writer.write(begin | row) for row in rows]:
        future.result(timeout=20)


def watched(version: ModelVersion, place: float) -> Watched:
    """The version at the time of a picture."""
    return Watched(
        version=version, previous=None, limits=Limits(), moment=moment(place), since=None
    )
