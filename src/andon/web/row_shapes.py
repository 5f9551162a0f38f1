"""What goes over the wire about rows: asked of a tabular model, and answered."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from andon import typed
from andon.runtimes.rows import Value
from andon.serving.explain import Effect
from andon.serving.row_answers import RowAnswer
from andon.web.shapes import Milliseconds, ModelName, Score, VersionNumber

Probability = Annotated[float, Meta(description="0 to 1.", examples=[0.83])]
Label = Annotated[str, Meta(description="The class for people.", examples=["disease"])]
ByClass = Annotated[dict[str, float], Meta(description="Probability by class.")]
Threshold = Annotated[
    Score | None,
    Meta(
        description="Probability from which the class looked for is answered; null with three or "
        "more classes."
    ),
]
Subject = (
    Annotated[
        str, Meta(max_length=255, description="Whom or what the row describes; kept in the log.")
    ]
    | None
)
RequestId = Annotated[str, Meta(max_length=255, description="Your own id, kept in the log.")] | None
Features = Annotated[
    dict[str, Any], Meta(description="Value by name, as the model's schema has it.")
]


class SentRow(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One row for a tabular model. The bare `features` object alone is taken as well."""

    features: Features
    model: (
        Annotated[str, Meta(max_length=64, description="Registered model; default: the setting's.")]
        | None
    ) = None
    version: (
        Annotated[int, Meta(ge=1, le=2**31 - 1, description="Instead of the active one.")] | None
    ) = None
    subject: Subject = None
    request_id: RequestId = None
    explain: Annotated[bool, Meta(description="Say which features moved the answer.")] = False


class SentRows(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Many rows for a tabular model. The list of rows alone is taken as well."""

    rows: Annotated[
        list[Features],
        Meta(description="Rows; or objects with `features`, `subject` and `request_id`."),
    ]
    model: str | None = None
    version: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None


class ComparedRowSide(msgspec.Struct, kw_only=True):
    """What one version said to the row."""

    version: VersionNumber
    prediction: Value
    probability: Probability


class RowSides(msgspec.Struct, kw_only=True):
    """Two versions on one row: `model_a` is the active one."""

    model_a: ComparedRowSide
    model_b: ComparedRowSide


class RowPrediction(msgspec.Struct, kw_only=True):
    """The answer to one row. It is in the log by the time it is sent."""

    prediction: Annotated[Value, Meta(description="The class, as in the training data.")]
    probability: Annotated[
        float,
        Meta(
            description="Of the class that a yes-or-no model looks for, whatever is answered; "
            "else of the class that is answered. 0 to 1.",
            examples=[0.83],
        ),
    ]
    model: ModelName
    model_version: VersionNumber
    latency_ms: Milliseconds
    prediction_id: Annotated[str, Meta(description="UUIDv7 of the log row, for feedback.")]
    label: Label
    probabilities: ByClass
    threshold: Threshold
    timestamp: datetime
    explanation: (
        Annotated[
            list[Effect],
            Meta(
                description="With `explain`: by feature, how much higher `probability` is than it "
                "would be with the typical value instead; largest first."
            ),
        ]
        | UnsetType
    ) = UNSET
    comparison: (
        Annotated[RowSides, Meta(description="While the traffic is compared.")] | UnsetType
    ) = UNSET

    @classmethod
    def of(cls, answer: RowAnswer) -> "RowPrediction":
        """The engine's answer, for the wire."""
        return cls(
            prediction=answer.prediction,
            probability=answer.probability,
            model=answer.model,
            model_version=answer.model_version,
            latency_ms=answer.latency_ms,
            prediction_id=answer.prediction_id,
            label=answer.label,
            probabilities=answer.probabilities,
            threshold=answer.threshold,
            timestamp=answer.timestamp,
            explanation=UNSET if answer.explanation is None else answer.explanation,
            comparison=UNSET
            if answer.comparison is None
            else typed.convert(answer.comparison, RowSides),
        )


class RowResult(msgspec.Struct, kw_only=True):
    """One answered row of a batch."""

    index: Annotated[int, Meta(description="Place in the batch, from 0.")]
    prediction: Value
    label: Label
    probability: Probability
    probabilities: ByClass
    prediction_id: Annotated[str, Meta(description="UUIDv7 of the log row.")]
    model_version: (
        Annotated[VersionNumber, Meta(description="Where another version answered this row.")]
        | UnsetType
    ) = UNSET


class RowProblem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Why one row of a batch was not answered: one entry per field."""

    index: Annotated[int, Meta(description="Place in the batch, from 0.")]
    field: Annotated[str, Meta(description="The field; left out where it is the whole row.")] = ""
    detail: str


class BatchAnswer(msgspec.Struct, kw_only=True):
    """What became of rows that were sent together."""

    model: ModelName
    model_version: VersionNumber
    threshold: Threshold
    total: int
    answered: int
    rejected: int
    results: Annotated[list[RowResult], Meta(description="In the order of the rows.")]
    errors: Annotated[list[RowProblem], Meta(description="The first thousand.")]
    errors_omitted: Annotated[int, Meta(description="Left out; unset where none.")] | UnsetType = (
        UNSET
    )


SHAPES = (SentRow, SentRows, RowPrediction, BatchAnswer)
