"""Simulated logs: many answers at once, at times of one's choosing."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from tests.monitoring.conftest import heart_version
from tests.store.builders import add_version, prediction

from andon.monitoring.signals import Limits, Signal, Watched
from andon.settings import Settings
from andon.store.clock import now
from andon.store.database import Database
from andon.store.feedback import Label
from andon.store.ids import uuid7_of
from andon.store.records import ModelVersion

SETTINGS = Settings(_env_file=None)
LABELS = ("open", "short", "spur")

# When the newest answer of each database was given.
_clock: dict[str, datetime] = {}


def carded(version: ModelVersion, accuracy: float = 0.85, **given: Any) -> ModelVersion:
    """The version with a card that says how well it did on held-out rows."""
    figure = {"value": accuracy, "low": accuracy - 0.04, "high": accuracy + 0.04}
    card = {"held_out": {"metrics": {"accuracy": figure}}}
    return msgspec.structs.replace(version, **{"card": card, **given})


def rows_version(db: Database, **given: Any) -> ModelVersion:
    """A version of `heart`, which takes rows."""
    return carded(heart_version(db), **given)


def picture_version(db: Database, model: str = "pcb") -> ModelVersion:
    """A version of a detector."""
    about = {"task": "object-detection", "labels": list(LABELS)}
    return add_version(db, model, description=about)


def store(db: Database, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Put rows into the log, each a second after the one before unless it says when.

    The first one was given 50 minutes ago.
    """
    for place, row in enumerate(rows):
        _clock[db.name] = _clock.get(db.name, now() - timedelta(minutes=50)) + timedelta(seconds=1)
        moment = row.pop("at", None) or _clock[db.name]
        micros = int(moment.timestamp() * 1e6)
        key = f"{row['model_id']} {place} {random.random()}".encode()
        row |= {"id": uuid7_of(micros, key), "created_at": moment}
    for begin in range(0, len(rows), 500):
        for future in [db.writer.write(row) for row in rows[begin : begin + 500]]:
            future.result(timeout=20)
    return [row["id"] for row in rows]


def row_answer(version: ModelVersion, p: float, **given: Any) -> dict[str, Any]:
    """An answer of a tabular version with a probability of disease."""
    sure = max(p, 1 - p)
    row = prediction(
        version,
        features={"age": round(20 + 60 * p, 3), "sex": 1, "thalach": 150.0},
        prediction=str(int(p >= 0.5)),
        probability=p,
        raw_scores=[1 - p, p],
        confidence_scores=[sure],
        detections=None,
        detection_count=0,
        image_hash=None,
    )
    return row | given


def picture_answer(
    version: ModelVersion, labels: Sequence[str] = (), confidence: float = 0.9, **given: Any
) -> dict[str, Any]:
    """An answer of a detector that found these labels."""
    found = [{"label": one, "confidence": confidence, "bbox": [1, 2, 3, 4]} for one in labels]
    row = prediction(
        version,
        detections=found,
        confidence_scores=[confidence] * len(labels),
        raw_scores=[confidence] * len(labels) or [0.1],
        detection_count=len(labels),
        camera_state="ok",
    )
    return row | given


def failed(version: ModelVersion, error: str = "The model runtime failed.") -> dict[str, Any]:
    """A request that got no answer."""
    return row_answer(version, 0.5) | {
        "status": "error",
        "error": error,
        "prediction": None,
        "confidence_scores": [],
        "raw_scores": [],
    }


def quiet_rows(version: ModelVersion, count: int, seed: int = 1, **given: Any) -> list[Any]:
    """Answers of a sure and healthy tabular version."""
    draw = random.Random(seed)
    return [
        row_answer(
            version,
            (0.05 + 0.15 * draw.random()) if draw.random() < 0.6 else (0.8 + 0.15 * draw.random()),
            **{"latency_ms": 10 + 2 * draw.random(), **given},
        )
        for _ in range(count)
    ]


def label(db: Database, keys: Sequence[str], truths: Sequence[Any]) -> None:
    """Say what answers should have been."""
    moment = datetime(2026, 11, 20, 12, tzinfo=UTC)
    db.feedback.store([Label(key, truth, moment) for key, truth in zip(keys, truths, strict=True)])


def watch(
    version: ModelVersion,
    *,
    previous: ModelVersion | None = None,
    since: datetime | None = None,
    **limits: float,
) -> Watched:
    """A version to be looked at now."""
    return Watched(
        version=version,
        previous=previous,
        limits=Limits(**limits),
        moment=now(),
        since=since,
    )


def named(signals: Sequence[Signal], name: str) -> Signal:
    """The signal of a name."""
    (found,) = [one for one in signals if one.name == name]
    assert found.summary.endswith("."), found.summary
    return found
