"""What is asked of the engine, what it answers, and the log row of that.

A picture's raw `Inference` becomes an `Answer` by a threshold; the same step makes the row
of the `predictions` table.
"""

import math
from datetime import datetime
from typing import Any

import msgspec

from andon import typed
from andon.errors import AndonError, InvalidRequest
from andon.runtimes.base import Detection, ModelDescription, Task
from andon.serving.cache import Known
from andon.serving.cameras import Health, sentences
from andon.settings import Settings
from andon.store.records import ModelVersion, Prediction
from andon.store.tables import iso

_NAME_LENGTH = 255


class Ask(msgspec.Struct, frozen=True):
    """One picture on its way to an answer.

    Attributes:
        data: The file as it was received.
        image_name: Name the caller gave; shown, never used as a path.
        threshold: Lowest confidence to answer, or None for the version's own.
        keep: Whether the picture is kept for the annotated view.
        prediction_id: Id fixed beforehand (jobs), or None for a new one.
        arrived: `time.perf_counter()` when the request came in.
        deadline: `time.monotonic()` by which the answer must be there.
        camera: Id of the camera that took it, or None where the caller says none.
    """

    data: bytes
    image_name: str
    threshold: float | None
    subject: str | None
    request_id: str | None
    source: str
    keep: bool
    prediction_id: str | None
    arrived: float
    deadline: float
    camera: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """What the caller gets; it is in the log already.

    Attributes:
        detections: At or above `threshold`, highest confidence first.
        inference_time: What the model took for this picture, seconds, with resizing and
            reading its output. Of a cached answer: what it took when it was computed.
        latency_ms: From arrival to the finished answer, milliseconds, waiting for a free
            worker included, waiting for the log row's commit not.
        classes: Score by class name (classification), else empty.
        anomaly: Highest cell score (visual anomaly), else None.
        cached: The model was not run: it has answered the same bytes before.
        image_url: Where the picture with its boxes drawn can be fetched.
        image_width: Pixels, upright.
        image_height: Pixels, upright.
        camera: Id of the camera that took the picture, as the caller says it.
        camera_state: "ok", "dark", "bright", "blurred", "frozen" or "size"; None where nobody
            looked (`ANDON_MONITOR` is off).
        camera_problems: What is wrong with the picture, in sentences.
        comparison: What the active version (`model_a`) and a candidate (`model_b`) said, where
            the traffic is compared.
    """

    prediction_id: str
    model: str
    model_version: int
    image_name: str
    timestamp: datetime
    detections: tuple[Detection, ...]
    inference_time: float
    latency_ms: float
    threshold: float
    classes: dict[str, float]
    anomaly: float | None
    cached: bool
    image_url: str
    image_width: int
    image_height: int
    task: str
    camera: str | None = None
    camera_state: str | None = None
    camera_problems: tuple[str, ...] = ()
    comparison: dict[str, Any] | None = None

    @property
    def reliable(self) -> bool:
        """Whether the picture is one that the model can say something about."""
        return not self.camera_problems

    @property
    def confidence_scores(self) -> list[float]:
        """Confidence of every answered detection, or of the best class."""
        if self.detections or not self.classes:
            return [found.confidence for found in self.detections]
        return [max(self.classes.values())]


class InferenceResult(msgspec.Struct):
    """The answer in the shape of the Python interface (`InferenceEngine.predict`).

    Attributes:
        timestamp: ISO 8601, UTC.
        detections: `{"label", "confidence", "bbox": [x, y, width, height]}` in pixels.
        inference_time: Seconds.
        prediction_id: The row in the log.
    """

    model_version: int
    image_name: str
    timestamp: str
    detections: list[dict[str, Any]]
    inference_time: float
    confidence_scores: list[float]
    prediction_id: str = ""

    @classmethod
    def of(cls, answer: Answer) -> "InferenceResult":
        """The same answer, in this shape."""
        return cls(
            model_version=answer.model_version,
            image_name=answer.image_name,
            timestamp=iso(answer.timestamp),
            detections=[_plain(found) for found in answer.detections],
            inference_time=answer.inference_time,
            confidence_scores=answer.confidence_scores,
            prediction_id=answer.prediction_id,
        )


def image_url(prediction_id: str, image_name: str) -> str:
    """Path of the annotated picture.

    The id is in it because lines send every picture under the same name: a name alone
    would show somebody else's board.
    """
    return f"/output/result_{prediction_id}_{image_name}"


def default_threshold(
    version: ModelVersion, description: ModelDescription, settings: Settings
) -> float:
    """The threshold of a version where the request names none.

    What was set for the version since wins, then what a person said at upload, then a
    threshold somebody set for the installation, then what the model file recommends, then the
    installation's default.
    """
    if version.threshold is not None:
        return version.threshold
    chosen = version.options.get("threshold")
    if chosen is not None:
        return float(chosen)
    if "confidence_threshold" not in settings.model_fields_set and description.threshold:
        return description.threshold
    return settings.confidence_threshold


def check_threshold(value: float | None, task: Task | None = None) -> float | None:
    """Refuse a threshold no score can be compared with.

    Raises:
        InvalidRequest: Not a number, negative, or above 1 where scores are probabilities.
    """
    if value is None:
        return None
    top = math.inf if task is Task.ANOMALY else 1.0
    if not math.isfinite(value) or not 0 <= value <= top:
        raise InvalidRequest(
            f"A confidence threshold of {value} cannot be used.",
            hint="Give a number from 0 to 1.",
            errors=[{"field": "threshold", "detail": "must be from 0 to 1"}],
        )
    return value


def settle(
    ask: Ask,
    known: Known,
    *,
    version: ModelVersion,
    description: ModelDescription,
    threshold: float,
    prediction_id: str,
    now: datetime,
    latency_ms: float,
    cached: bool,
    health: Health | None = None,
) -> Answer:
    """The answer that follows from what the model said; `health` is the picture's."""
    inference = known.inference
    seconds = inference.preprocess_ms + inference.inference_ms + inference.postprocess_ms
    name = ask.image_name[:_NAME_LENGTH]
    return Answer(
        prediction_id=prediction_id,
        model=version.model,
        model_version=version.version,
        image_name=name,
        timestamp=now,
        detections=tuple(found for found in inference.detections if found.confidence >= threshold),
        inference_time=round(seconds / 1000, 6),
        latency_ms=round(latency_ms, 3),
        threshold=threshold,
        classes=inference.classes,
        anomaly=inference.anomaly,
        cached=cached,
        image_url=image_url(prediction_id, name),
        image_width=known.width,
        image_height=known.height,
        task=description.task.value,
        camera=ask.camera,
        camera_state=None if health is None else health.state,
        camera_problems=() if health is None else health.sentences,
    )


def success_row(
    ask: Ask,
    answer: Answer,
    known: Known,
    *,
    model_id: int,
    image_hash: str,
    role: str,
    health: Health | None = None,
) -> dict[str, Any]:
    """The `predictions` row of an answer: column name to value.

    `role` is "active"; "canary" or "shadow" for a candidate's; "compare" for an answer that
    was asked of a version that is not active.
    """
    scores = answer.confidence_scores
    best = max(answer.classes, key=answer.classes.__getitem__) if answer.classes else None
    return {
        "id": answer.prediction_id,
        "model_id": model_id,
        "source": ask.source,
        "role": role,
        "status": "success",
        "error": "",
        "subject": ask.subject,
        "request_id": ask.request_id,
        "image_name": answer.image_name,
        "image_hash": image_hash,
        "image_format": known.format,
        "image_width": known.width,
        "image_height": known.height,
        "features": None,
        "detections": [_plain(found) for found in answer.detections],
        "confidence_scores": scores,
        # For statistics; full precision would double the size of a row.
        "raw_scores": [round(score, 4) for score in known.inference.scores],
        "detection_count": len(answer.detections),
        "prediction": best,
        "probability": answer.classes[best] if best is not None else answer.anomaly,
        "threshold": answer.threshold,
        "cached": answer.cached,
        "inference_time": answer.inference_time,
        "latency_ms": answer.latency_ms,
        "actual": None,
        "camera": ask.camera,
        "camera_state": answer.camera_state,
        "image_stats": None if health is None else health.stats,
        "created_at": answer.timestamp,
    }


def failure_row(
    ask: Ask,
    error: BaseException,
    *,
    model_id: int,
    prediction_id: str,
    now: datetime,
    latency_ms: float,
    role: str = "active",
) -> dict[str, Any]:
    """The `predictions` row of a request that could not be answered."""
    reason = str(error) if isinstance(error, AndonError) else f"{type(error).__name__}: {error}"
    return {
        "id": prediction_id,
        "model_id": model_id,
        "source": ask.source,
        "role": role,
        "status": "error",
        "error": reason[:1000],
        "subject": ask.subject,
        "request_id": ask.request_id,
        "image_name": ask.image_name[:_NAME_LENGTH],
        "image_hash": None,
        "image_format": None,
        "image_width": None,
        "image_height": None,
        "features": None,
        "detections": [],
        "confidence_scores": [],
        "raw_scores": [],
        "detection_count": 0,
        "prediction": None,
        "probability": None,
        "threshold": ask.threshold,
        "cached": False,
        "inference_time": 0.0,
        "latency_ms": round(latency_ms, 3),
        "actual": None,
        "camera": ask.camera,
        "camera_state": None,
        "image_stats": None,
        "created_at": now,
    }


def answer_of(row: Prediction, *, task: str = Task.DETECTION.value) -> Answer:
    """The answer that a logged prediction was; class scores other than the best are gone."""
    best = {row.prediction: row.probability or 0.0} if row.prediction else {}
    name = row.image_name or ""
    return Answer(
        prediction_id=row.id,
        model=row.model,
        model_version=row.model_version,
        image_name=name,
        timestamp=row.timestamp,
        detections=tuple(typed.convert(row.detections, list[Detection])),
        inference_time=row.inference_time,
        latency_ms=row.latency_ms,
        threshold=row.threshold or 0.0,
        classes=best,
        anomaly=row.probability if not best else None,
        cached=row.cached,
        image_url=image_url(row.id, name),
        image_width=row.image_width or 0,
        image_height=row.image_height or 0,
        task=task,
        camera=row.camera,
        camera_state=row.camera_state,
        camera_problems=sentences((row.image_stats or {}).get("problems") or []),
    )


def side_by_side(active: Answer, candidate: Answer) -> dict[str, Any]:
    """Two answers to one picture, in the shape of `POST /api/compare`."""
    return {"model_a": _summary(active), "model_b": _summary(candidate)}


def _summary(answer: Answer) -> dict[str, Any]:
    scores = answer.confidence_scores
    return {
        "version": answer.model_version,
        "detections": len(answer.detections),
        "avg_confidence": sum(scores) / len(scores) if scores else 0.0,
        "inference_time": answer.inference_time,
    }


def _plain(found: Detection) -> dict[str, Any]:
    return {"label": found.label, "confidence": found.confidence, "bbox": list(found.bbox)}
