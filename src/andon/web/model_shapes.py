"""What goes over the wire of one version and its life, beside `shapes.Model`."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from andon import typed
from andon.monitoring.comparison import RowComparison
from andon.monitoring.labels import LabelFigures
from andon.store.deployment_events import EventType
from andon.store.model_versions import split_stage_reason
from andon.store.records import Event, ModelVersion
from andon.store.training_runs import TrainingRun
from andon.web.shapes import Model, VersionNumber

Stage = Literal["training", "staging", "production", "archived"]


class StageChange(msgspec.Struct, kw_only=True):
    """Something that happened to a version."""

    timestamp: datetime
    event_type: Annotated[str, Meta(examples=["STAGE", "ACTIVATE", "ROLLBACK"])]
    stage: Annotated[
        Stage | None, Meta(description="What it was from then on; null where that stayed.")
    ]
    reason: str
    actor: str

    @classmethod
    def of(cls, event: Event, version: int) -> "StageChange":
        """A deployment event, as one of the two versions it concerns sees it."""
        stage: Stage | None = None
        reason = event.reason
        if event.event_type == EventType.STAGE:
            said, reason = split_stage_reason(event.reason)
            stage = typed.convert(said, Stage)
        elif event.event_type in {EventType.ACTIVATE, EventType.ROLLBACK}:
            stage = "production"
            if event.model_version != version:
                stage = "archived"
                reason = f"v{event.model_version} took over. {event.reason}".strip()
        elif event.event_type == EventType.DELETE:
            stage = "archived"
        return cls(
            timestamp=event.timestamp,
            event_type=event.event_type,
            stage=stage,
            reason=reason,
            actor=event.actor,
        )


class ModelDetail(Model, kw_only=True):
    """All that is known of one version."""

    algorithm: Annotated[str | None, Meta(description="What was trained.")]
    f1_score: Annotated[float | None, Meta(description="On the held-out rows, 0 to 1.")]
    precision: float | None
    recall: float | None
    roc_auc: float | None
    next_stages: Annotated[list[Stage], Meta(description="Where it may be moved from here.")]
    history: Annotated[list[StageChange], Meta(description="Oldest first.")]
    training_run: Annotated[str | None, Meta(description="Id of the training it came from.")]
    rows: Annotated[
        dict[str, Any] | None,
        Meta(description="Schema of its rows: features, classes, threshold; null of pictures."),
    ]
    card: Annotated[
        dict[str, Any] | None,
        Meta(
            description="How it was trained and measured: metrics with intervals, importance, "
            "slices, data; null where the file does not say."
        ),
    ]
    gate: Annotated[
        dict[str, Any] | None,
        Meta(description="Whether it was good enough in its training (`passed`, `reasons`)."),
    ]
    comparison: Annotated[
        dict[str, Any] | None,
        Meta(description="With the version that served then, on the same held-out rows."),
    ]
    live: Annotated[LabelFigures, Meta(description="Figures from feedback on its newest answers.")]

    @classmethod
    def whole(
        cls,
        version: ModelVersion,
        *,
        loaded: bool,
        next_stages: list[str],
        history: list[Event],
        training: TrainingRun | None,
        live: LabelFigures,
    ) -> "ModelDetail":
        """The stored version and what belongs to it, for the wire."""
        report = (training.report if training else None) or {}
        return cls(
            **msgspec.structs.asdict(Model.of(version, loaded=loaded)),
            algorithm=version.algorithm,
            f1_score=version.f1_score,
            precision=version.precision,
            recall=version.recall,
            roc_auc=version.roc_auc,
            next_stages=typed.convert(next_stages, list[Stage]),
            history=[StageChange.of(event, version.version) for event in history],
            training_run=None if training is None else training.id,
            rows=version.description.get("rows") or None,
            card=version.card,
            gate=report.get("gate"),
            comparison=report.get("comparison"),
            live=live,
        )


class SentStage(msgspec.Struct, forbid_unknown_fields=True):
    """Where a version is to be moved, and why."""

    stage: Annotated[
        Literal["staging", "production", "archived"],
        Meta(description="production proves it and lets it serve.", examples=["production"]),
    ]
    reason: Annotated[str, Meta(max_length=500, description="Shown in the history.")] = ""


class StageSet(msgspec.Struct, kw_only=True):
    """The stage of a version, as it is now."""

    message: Annotated[str, Meta(examples=["Model v3 moved to archived"])]
    model: str
    version: VersionNumber
    stage: Stage
    previous_stage: Stage


class SentComparison(msgspec.Struct, forbid_unknown_fields=True):
    """Two versions, and the rows to compare them on."""

    a: VersionNumber
    b: VersionNumber
    model: Annotated[str, Meta(max_length=64)] | None = None
    source: Annotated[
        Literal["labelled", "rows"] | None,
        Meta(
            description="labelled: the newest 5,000 rows with feedback, of any version. "
            "Default: rows where there are some."
        ),
    ] = None
    rows: (
        Annotated[
            list[dict[str, Any]],
            Meta(
                max_length=5000,
                description="Features by name, with the true class under `actual` if known.",
            ),
        ]
        | None
    ) = None


SHAPES = (ModelDetail, SentStage, StageSet, SentComparison, RowComparison)
"""For the OpenAPI document."""
