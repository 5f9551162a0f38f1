"""What the detectors say: a number with a threshold and its evidence.

Every detector of this room has one method, `look`, from a `Watched` version to signals. It says
something about what it watches each time, also that all is well or that it cannot tell: an alert
is raised by a bad signal and cleared by a good one, and silence does neither.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from andon.store.records import ModelVersion


class Issue(StrEnum):
    """The five kinds of trouble that are told apart."""

    DATA_DRIFT = "data_drift"
    PERFORMANCE = "performance_degradation"
    ANOMALY = "prediction_anomaly"
    LOW_CONFIDENCE = "low_confidence"
    DATA_QUALITY = "data_quality"


class State(StrEnum):
    """What a signal says."""

    OK = "ok"
    BAD = "bad"
    UNKNOWN = "unknown"


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """One number that is watched.

    Attributes:
        name: What is watched: "error_rate", "latency", "latency_before", "accuracy",
            "estimated_accuracy", "confidence", "detections", "label_mix", "drift",
            "score_variance", "concept", "camera", "missing", "stale_feed", …
        issue: The trouble it would be.
        state: "unknown" where there is not enough data to say; the summary says how much lacks.
        summary: One full sentence with the number and what it is compared with.
        model: Registered model; empty for what belongs to none (feeds of events).
        version: Version, or None.
        severity: What a bad one is worth: "info", "warning" or "critical".
        value: The number; None where unknown.
        threshold: Where it turns bad.
        baseline: What is normal, where that is known.
        count: Answers (rows, events) it rests on.
        needed: How many it takes.
        since: Begin of the data it rests on.
        until: End of it.
        subject: What of the model it is about, where that is a part: a camera, a feed.
        estimated: Whether the number is an estimate without labels.
        report_id: A stored drift report with all the evidence.
        evidence: More numbers, by name.
    """

    name: str
    issue: Issue
    state: State
    summary: str
    model: str = ""
    version: int | None = None
    severity: str = "warning"
    value: float | None = None
    threshold: float | None = None
    baseline: float | None = None
    count: int = 0
    needed: int = 0
    since: datetime | None = None
    until: datetime | None = None
    subject: str = ""
    estimated: bool = False
    report_id: str | None = None
    evidence: dict[str, Any] = {}


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model's numbers turn bad; from the policy file.

    Attributes:
        accuracy: Measured or estimated, 0 to 1.
        latency_factor: Multiple of the version's own baseline.
        error_rate: Share of the answers that failed.
        confidence_drop: Fall of the mean confidence, absolute.
    """

    accuracy: float = 0.7
    latency_factor: float = 2.0
    error_rate: float = 0.05
    confidence_drop: float = 0.15


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What a detector looks at.

    Attributes:
        version: With card and reference.
        previous: The version that served before, or None.
        limits: Where its numbers turn bad.
        moment: Now, UTC.
        since: When the version began to serve; None for a candidate that never has.
    """

    version: ModelVersion
    previous: ModelVersion | None
    limits: Limits
    moment: datetime
    since: datetime | None
