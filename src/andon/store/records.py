"""What the repositories hand out: plain, frozen records, free of any session.

They are what every room above works with, and what JSON answers are made from.
"""

from datetime import datetime
from typing import Any

import msgspec


class ModelVersion(msgspec.Struct, frozen=True):
    """One version of a registered model.

    Attributes:
        accuracy: Measured accuracy, 0 to 1, or None while nothing was measured.
        avg_inference_time: Seconds, mean over `total_inferences`; 0 when there are none.
        damaged: Why the stored file cannot be used; empty while it can.
        proof: What proving the version measured (`latency_ms`, `loaded_ms`), or None.
        card: What was measured of a trained version, as its file says it. Tens of kilobytes:
            lists leave it out (None), like `reference`; `get` brings both.
        reference: What its training data looked like.
        algorithm: What was trained, such as "xgboost"; None where the file does not say.
        f1_score: Measured on the held-out rows, 0 to 1, like the three after it; or None.
    """

    id: int
    model: str
    version: int
    filename: str
    file_hash: str
    file_size: int
    format: str
    status: str
    is_active: bool
    source: str
    notes: str
    options: dict[str, Any]
    description: dict[str, Any]
    upload_date: datetime
    deployed_date: datetime | None
    deleted_date: datetime | None
    damaged: str
    proof: dict[str, Any] | None
    accuracy: float | None
    total_inferences: int
    total_detections: int
    avg_inference_time: float
    avg_confidence: float
    card: dict[str, Any] | None = None
    reference: dict[str, Any] | None = None
    algorithm: str | None = None
    f1_score: float | None = None
    precision: float | None = None
    recall: float | None = None
    roc_auc: float | None = None


class Prediction(msgspec.Struct, frozen=True):
    """One logged answer. `bbox` is x, y, width, height in pixels of the uploaded picture."""

    id: str
    model: str
    model_version: int
    source: str
    role: str
    status: str
    error: str
    subject: str | None
    request_id: str | None
    image_name: str | None
    image_hash: str | None
    image_format: str | None
    image_width: int | None
    image_height: int | None
    detections: list[dict[str, Any]]
    confidence_scores: list[float]
    raw_scores: list[float]
    prediction: str | None
    probability: float | None
    threshold: float | None
    cached: bool
    inference_time: float
    latency_ms: float
    actual: Any
    timestamp: datetime
    features: dict[str, Any] | None = None


class Event(msgspec.Struct, frozen=True):
    """A change of what serves."""

    id: int
    model: str
    model_version: int
    event_type: str
    timestamp: datetime
    reason: str
    previous_version: int | None
    actor: str


class Job(msgspec.Struct, frozen=True):
    """A queued piece of work and what became of it."""

    id: str
    kind: str
    status: str
    payload: dict[str, Any]
    result: Any
    error: str
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Metric(msgspec.Struct, frozen=True):
    """One measured number of one version at one time."""

    id: int
    version_id: int
    name: str
    value: float
    details: dict[str, Any] | None
    timestamp: datetime
