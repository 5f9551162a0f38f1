"""What goes over the wire: one type per JSON answer.

The OpenAPI document takes its schemas from here, so a field that is not documented cannot
be answered. Times are UTC, ISO 8601 with `Z`; durations are seconds unless the name says
`_ms`; `bbox` is `[x, y, width, height]` in whole pixels of the uploaded picture.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Meta, UnsetType, field
from starlette.responses import Response

from andon import typed
from andon.runtimes.base import Detection
from andon.serving.answers import Answer, image_url
from andon.serving.predict_jobs import KIND
from andon.store.records import Event, Job, ModelVersion, Prediction

_encoder = msgspec.json.Encoder()

Score = Annotated[float, Meta(description="0 to 1.", examples=[0.94])]
Seconds = Annotated[float, Meta(description="Seconds.", examples=[0.021])]
Milliseconds = Annotated[float, Meta(description="Milliseconds.", examples=[23.4])]
VersionNumber = Annotated[int, Meta(description="Version number; shown to people as v3.", ge=1)]
ModelName = Annotated[str, Meta(description="Registered model.", examples=["pcb"])]


class ComparedSide(msgspec.Struct, kw_only=True):
    """What one version said to the picture."""

    version: VersionNumber
    detections: Annotated[int, Meta(description="How many.")]
    avg_confidence: Annotated[float, Meta(description="Mean confidence; 0 without detections.")]
    inference_time: Seconds


class Comparison(msgspec.Struct, kw_only=True):
    """Two versions on one picture: `model_a` is the active one."""

    model_a: ComparedSide
    model_b: ComparedSide


class PredictionAnswer(msgspec.Struct, kw_only=True):
    """The answer to one picture. It is in the log by the time it is sent."""

    model_version: VersionNumber
    image_name: Annotated[
        str, Meta(description="Name of the file, cleaned.", examples=["board.jpg"])
    ]
    timestamp: datetime
    detections: Annotated[
        tuple[Detection, ...],
        Meta(description="At or above the threshold, highest confidence first."),
    ]
    inference_time: Seconds
    image_url: Annotated[str, Meta(description="The picture with its boxes drawn.")]
    is_async: bool = field(name="async", default=False)
    prediction_id: Annotated[str, Meta(description="UUIDv7 of the log row.")]
    model: ModelName
    task: str
    threshold: Score
    image_width: Annotated[int, Meta(description="Pixels, upright.")]
    image_height: Annotated[int, Meta(description="Pixels, upright.")]
    cached: Annotated[bool, Meta(description="The same bytes were answered before.")]
    latency_ms: Milliseconds
    classes: (
        Annotated[dict[str, float], Meta(description="Score by class, of a classification.")]
        | UnsetType
    ) = UNSET
    anomaly: (
        Annotated[float, Meta(description="Highest cell score, of an anomaly model.")] | UnsetType
    ) = UNSET
    camera: (
        Annotated[str, Meta(description="The camera, where the request names it.")] | UnsetType
    ) = UNSET
    camera_state: (
        Annotated[
            str,
            Meta(
                description="ok, dark, bright, frozen, size or blurred: what the picture itself "
                "is like.",
                examples=["ok"],
            ),
        ]
        | UnsetType
    ) = UNSET
    camera_problems: (
        Annotated[list[str], Meta(description="What is wrong with the picture, in sentences.")]
        | UnsetType
    ) = UNSET
    reliable: Annotated[
        bool,
        Meta(
            description="false where something is wrong with the picture: no detections are then "
            "not no defects."
        ),
    ] = True
    comparison: (
        Annotated[Comparison, Meta(description="While the traffic is compared.")] | UnsetType
    ) = UNSET

    @classmethod
    def of(cls, answer: Answer) -> "PredictionAnswer":
        """The engine's answer, for the wire."""
        return cls(
            model_version=answer.model_version,
            image_name=answer.image_name,
            timestamp=answer.timestamp,
            detections=answer.detections,
            inference_time=answer.inference_time,
            image_url=quote(answer.image_url),
            prediction_id=answer.prediction_id,
            model=answer.model,
            task=answer.task,
            threshold=answer.threshold,
            image_width=answer.image_width,
            image_height=answer.image_height,
            cached=answer.cached,
            latency_ms=answer.latency_ms,
            classes=answer.classes or UNSET,
            anomaly=UNSET if answer.anomaly is None else answer.anomaly,
            camera=UNSET if answer.camera is None else answer.camera,
            camera_state=UNSET if answer.camera_state is None else answer.camera_state,
            camera_problems=list(answer.camera_problems) or UNSET,
            reliable=answer.reliable,
            comparison=UNSET
            if answer.comparison is None
            else typed.convert(answer.comparison, Comparison),
        )


class JobAccepted(msgspec.Struct, kw_only=True):
    """A picture that is answered later; ask `/api/jobs/{job_id}` for the result."""

    message: Annotated[str, Meta(examples=["Job queued for async processing"])]
    is_async: Literal[True] = field(name="async", default=True)
    queue_size: Annotated[int, Meta(description="Jobs waiting, this one included.")]
    job_id: Annotated[str, Meta(description="UUIDv7 of the job.")]
    prediction_id: Annotated[str, Meta(description="Id the answer will have in the log.")]


class LoggedPrediction(msgspec.Struct, kw_only=True):
    """One row of the prediction log."""

    prediction_id: str
    model: ModelName
    model_version: VersionNumber
    timestamp: datetime
    status: Literal["success", "error"]
    error: Annotated[str, Meta(description="Why there is no answer; empty on success.")]
    source: Annotated[str, Meta(description="Where it came from: api, job, cli, …")]
    role: Annotated[
        str,
        Meta(
            description="active; canary or shadow for a candidate's; compare for a version that "
            "was named or is compared."
        ),
    ]
    subject: Annotated[str | None, Meta(description="What was inspected, as the caller names it.")]
    request_id: Annotated[str | None, Meta(description="The caller's own id.")]
    image_name: str | None
    image_hash: Annotated[str | None, Meta(description="SHA-256 of the uploaded file.")]
    image_width: int | None
    image_height: int | None
    detections: list[Detection]
    confidence_scores: list[float]
    features: Annotated[
        dict[str, Any] | None, Meta(description="Of a row, as it was given; null of a picture.")
    ]
    prediction: Annotated[
        str | None,
        Meta(description="Best class of a classification; of a row, the class answered."),
    ]
    probability: float | None
    actual: Annotated[
        Any, Meta(description="What it should have been, by feedback; null: unknown.")
    ]
    threshold: float | None
    cached: bool
    inference_time: Seconds
    latency_ms: Milliseconds
    image_url: Annotated[str | None, Meta(description="With boxes drawn; null without picture.")]
    picture_url: Annotated[str | None, Meta(description="As uploaded; null without picture.")]
    camera: Annotated[str | None, Meta(description="The camera, where the request named it.")]
    camera_state: Annotated[
        str | None,
        Meta(description="ok, dark, bright, frozen, size or blurred; null where nobody looked."),
    ]
    image_stats: Annotated[
        dict[str, Any] | None, Meta(description="What was measured of the picture itself.")
    ]

    @classmethod
    def of(cls, row: Prediction) -> "LoggedPrediction":
        """The stored row, for the wire."""
        picture = row.image_hash is not None and row.status == "success"
        return cls(
            prediction_id=row.id,
            model=row.model,
            model_version=row.model_version,
            timestamp=row.timestamp,
            status="error" if row.status == "error" else "success",
            error=row.error,
            source=row.source,
            role=row.role,
            subject=row.subject,
            request_id=row.request_id,
            image_name=row.image_name,
            image_hash=row.image_hash,
            image_width=row.image_width,
            image_height=row.image_height,
            detections=typed.convert(row.detections, list[Detection]),
            confidence_scores=row.confidence_scores,
            features=row.features,
            prediction=row.prediction,
            probability=row.probability,
            actual=row.actual,
            threshold=row.threshold,
            cached=row.cached,
            inference_time=row.inference_time,
            latency_ms=row.latency_ms,
            image_url=quote(image_url(row.id, row.image_name or "")) if picture else None,
            picture_url=f"/api/predictions/{row.id}/image" if picture else None,
            camera=row.camera,
            camera_state=row.camera_state,
            image_stats=row.image_stats,
        )


class PredictionPage(msgspec.Struct):
    """A page of the log, newest first."""

    items: list[LoggedPrediction]
    next_cursor: Annotated[str | None, Meta(description="`cursor` of the next page, or null.")]
    kept_since: Annotated[
        datetime | None,
        Meta(description="Older answers without a label were deleted; null: none ever was."),
    ]


class Model(msgspec.Struct, kw_only=True):
    """One version of a registered model."""

    version: VersionNumber
    filename: str
    file_hash: Annotated[str, Meta(description="SHA-256, hexadecimal.")]
    upload_date: datetime
    deployed_date: Annotated[datetime | None, Meta(description="When it last became active.")]
    is_active: bool
    accuracy: Annotated[float, Meta(description="Measured, 0 to 1; 0 while nothing was measured.")]
    avg_inference_time: Seconds
    total_inferences: int
    total_detections: int
    notes: str
    model: ModelName
    status: Literal["training", "staging", "production", "archived"]
    format: Literal["onnx", "eim"]
    source: Annotated[str, Meta(description="How it came: upload, watch, cli, starter, …")]
    file_size: Annotated[int, Meta(description="Bytes.")]
    damaged: Annotated[str, Meta(description="Why its file cannot be used; empty while it can.")]
    loaded: Annotated[bool, Meta(description="Whether this server has it in memory.")]
    avg_confidence: Score
    description: Annotated[
        dict[str, Any], Meta(description="What the file says of itself: task, labels, input.")
    ]
    options: Annotated[dict[str, Any], Meta(description="What was overridden at upload.")]
    proof: Annotated[
        dict[str, Any] | None, Meta(description="What proving it measured before it served.")
    ]
    threshold: Annotated[float | None, Meta(description="Set since; null: the one it came with.")]

    @classmethod
    def of(cls, version: ModelVersion, *, loaded: bool) -> "Model":
        """The stored version, for the wire."""
        return cls(
            version=version.version,
            filename=version.filename,
            file_hash=version.file_hash,
            upload_date=version.upload_date,
            deployed_date=version.deployed_date,
            is_active=version.is_active,
            accuracy=version.accuracy or 0.0,
            avg_inference_time=version.avg_inference_time,
            total_inferences=version.total_inferences,
            total_detections=version.total_detections,
            notes=version.notes,
            model=version.model,
            status=typed.convert(
                version.status, Literal["training", "staging", "production", "archived"]
            ),
            format="eim" if version.format == "eim" else "onnx",
            source=version.source,
            file_size=version.file_size,
            damaged=version.damaged,
            loaded=loaded,
            avg_confidence=version.avg_confidence,
            description=version.description,
            options=version.options,
            proof=version.proof,
            threshold=version.threshold,
        )


class Deployed(msgspec.Struct, kw_only=True):
    """What an upload led to."""

    message: Annotated[str, Meta(examples=["Model v3 deployed"])]
    version: VersionNumber
    model: ModelName
    duplicate: Annotated[bool, Meta(description="The same file was registered before.")]
    warnings: Annotated[
        list[str], Meta(description="What a person should read before trusting it.")
    ]


class Changed(msgspec.Struct, kw_only=True):
    """What was done to a version."""

    message: Annotated[str, Meta(examples=["Model v2 activated"])]
    version: VersionNumber


class RolledBack(msgspec.Struct, kw_only=True):
    """Which version serves again, and which one it replaced."""

    message: Annotated[str, Meta(examples=["Model rolled back from v3 to v2"])]
    version: VersionNumber
    previous_version: VersionNumber
    model: ModelName


class DeploymentEvent(msgspec.Struct, kw_only=True):
    """A change of what serves."""

    id: int
    model: ModelName
    model_version: int
    event_type: Annotated[str, Meta(examples=["ACTIVATE", "ROLLBACK"])]
    timestamp: datetime
    reason: str
    previous_version: int | None
    actor: str
    action_id: Annotated[str | None, Meta(description="The agent's action, if it was one.")]

    @classmethod
    def of(cls, event: Event) -> "DeploymentEvent":
        """The stored event, for the wire."""
        return cls(
            id=event.id,
            model=event.model,
            model_version=event.model_version,
            event_type=event.event_type,
            timestamp=event.timestamp,
            reason=event.reason,
            previous_version=event.previous_version,
            actor=event.actor,
            action_id=event.action_id,
        )


class JobState(msgspec.Struct, kw_only=True):
    """A queued piece of work and what became of it."""

    job_id: str
    kind: str
    status: Annotated[str, Meta(description="queued, running, succeeded or failed.")]
    result: Annotated[
        Any, Meta(description="The answer as `/api/predict` gives it, once it succeeded; or null.")
    ]
    error: Annotated[str, Meta(description="Why it failed, or the last attempt did.")]
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, job: Job) -> "JobState":
        """The stored job, for the wire."""
        return cls(
            job_id=job.id,
            kind=job.kind,
            status=job.status,
            result=_result(job),
            error=job.error,
            attempts=job.attempts,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
        )


def _result(job: Job) -> Any:
    """A stored result as its route would have answered it."""
    if job.result is None or job.kind != KIND:
        return job.result
    return PredictionAnswer.of(typed.convert(job.result, Answer))


class JobPage(msgspec.Struct):
    """Jobs, newest first."""

    items: list[JobState]
    next_cursor: Annotated[str | None, Meta(description="`cursor` of the next page, or null.")]


class Stats(msgspec.Struct, kw_only=True):
    """Totals of a model over all its versions."""

    active_version: Annotated[int | None, Meta(description="null when none is active.")]
    total_inferences: int
    total_detections: int
    avg_confidence: Score
    queue_size: Annotated[int, Meta(description="Jobs waiting.")]


class Check(msgspec.Struct, kw_only=True):
    """One thing that was looked at."""

    ok: bool
    detail: Annotated[str, Meta(description="What is wrong; empty when nothing is.")]


class Health(msgspec.Struct, kw_only=True):
    """How the server is. The HTTP status is 200 in every state."""

    status: Annotated[
        Literal["healthy", "no_model", "degraded"],
        Meta(description="no_model: none is active. degraded: a check fails."),
    ]
    active_model: Annotated[int | None, Meta(description="Active version, or null.")]
    redis_available: bool
    queue_size: Annotated[int, Meta(description="Jobs waiting.")]
    timestamp: datetime
    checks: dict[str, Check]


class Alive(msgspec.Struct):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(msgspec.Struct):
    """Whether requests should be sent here."""

    ready: bool
    reason: Annotated[str, Meta(description="Why not; empty when ready.")]


class Compared(msgspec.Struct, kw_only=True):
    """Two versions on one picture: the numbers side by side, and both whole answers."""

    model_a: ComparedSide
    model_b: ComparedSide
    detections_a: tuple[Detection, ...]
    detections_b: tuple[Detection, ...]
    result_a: PredictionAnswer
    result_b: PredictionAnswer

    @classmethod
    def of(cls, found: dict[str, Any]) -> "Compared":
        """What `serving.compare` found, for the wire."""
        answer_a, answer_b = found["result_a"], found["result_b"]
        sides = found["comparison"]
        return cls(
            model_a=typed.convert(sides["model_a"], ComparedSide),
            model_b=typed.convert(sides["model_b"], ComparedSide),
            detections_a=answer_a.detections,
            detections_b=answer_b.detections,
            result_a=PredictionAnswer.of(answer_a),
            result_b=PredictionAnswer.of(answer_b),
        )


class FieldError(msgspec.Struct):
    """What is wrong with one field."""

    field: str
    detail: str


class Problem(msgspec.Struct, kw_only=True):
    """Problem details (RFC 9457): what happened, to what, what to do next."""

    type: Annotated[
        str,
        Meta(
            description="Which kind; the address explains it.", examples=["/docs/errors#conflict"]
        ),
    ]
    title: str
    status: int
    detail: str
    instance: Annotated[str, Meta(description="Path of the request.")]
    errors: Annotated[list[FieldError], Meta(description="Per field, with 422.")] | UnsetType = (
        UNSET
    )


def reply(value: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(_encoder.encode(value), status_code=status, media_type="application/json")


def encode(value: Any) -> bytes:
    """JSON for the wire."""
    return _encoder.encode(value)
