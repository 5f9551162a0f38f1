"""A version with a past: answers in the log, numbers of weeks, reports of drift."""

import math
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, update
from tests.web.conftest import Site
from tests.web.dashboard.scenes_drift import found

from andon.monitoring.drift.report import Findings, findings
from andon.platform import Platform
from andon.store.clock import now
from andon.store.ids import uuid7_of
from andon.store.records import DriftReport, ModelVersion
from andon.store.tables import model_versions, predictions


def active(site: Site, model: str = "pcb") -> ModelVersion:
    """The version that serves, as if it had for ten days."""
    db = site.platform.db
    with db.write() as connection:
        connection.execute(
            update(model_versions)
            .where(model_versions.c.model_name == model, model_versions.c.is_active)
            .values(deployed_at=now() - timedelta(days=10))
        )
    version = db.models.active(model)
    assert version is not None
    return version


def answers(
    platform: Platform,
    version: ModelVersion,
    count: int,
    *,
    every: timedelta = timedelta(seconds=20),
    until: datetime | None = None,
    slow_from: int | None = None,
    **given: Any,
) -> None:
    """Log so many answers, the newest `every` ago.

    Args:
        platform: Where to.
        version: Who answered.
        count: How many.
        every: Time between two.
        until: The end; default now.
        slow_from: The answer from which on all take two and a half times as long.
        given: Further columns, the same for all.
    """
    end = until or now()
    rows = []
    for place in range(count):
        moment = end - (count - place) * every
        micros = round(moment.timestamp() * 1_000_000)
        wave = math.sin(place / 17)
        slow = slow_from is not None and place >= slow_from
        rows.append(
            {
                "id": uuid7_of(micros, f"{version.id}-{place}".encode()),
                "model_id": version.id,
                "source": "api",
                "role": "active",
                "status": "success",
                "error": "",
                "confidence_scores": [0.85 + wave / 20],
                "raw_scores": [0.85 + wave / 20, 0.1],
                "detections": [{"label": "spot", "confidence": 0.85, "bbox": [1, 2, 3, 4]}],
                "detection_count": 1,
                "cached": False,
                "inference_time": 0.008,
                "latency_ms": (8 + wave) * (2.6 if slow else 1),
                "created_at": moment,
                **given,
            }
        )
    with platform.db.write() as connection:
        connection.execute(insert(predictions), rows)


def numbers(platform: Platform, version: ModelVersion, days: int, **changed: float) -> None:
    """What monitoring wrote down on each of the last days.

    Args:
        platform: Where to.
        version: Of which version.
        days: How many, the last of them today.
        changed: Numbers that are others, by name.
    """
    usual = {
        "estimated_accuracy": 0.87,
        "error_rate": 0.01,
        "latency_p50_ms": 8.1,
        "latency_p95_ms": 11.0,
        "confidence": 0.84,
        "answers_per_minute": 3.0,
        "drift_score": 0.4,
    }
    for day in range(days):
        at = now() - timedelta(days=days - 1 - day, minutes=1)
        platform.db.metrics.add(version.id, {**usual, **changed}, at=at)


def report(platform: Platform, version: ModelVersion, **given: Any) -> DriftReport:
    """Keep a report of drift."""
    told: Findings = found(**given)
    names = [one.name for one in told.features if one.drifted]
    kept = platform.db.drift_reports.add(version.id, told.verdict, told.score, names, told.plain())
    assert findings(kept.report) == told
    return kept
