"""What goes over the wire of feedback, beside what `andon.monitoring` defines."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from andon.events.intake import RowError
from andon.monitoring.feedback import FeedbackReport, FeedbackStored, SentFeedback
from andon.monitoring.labels import LabelFigures
from andon.web.shapes import ModelName, VersionNumber


class FeedbackRemoved(msgspec.Struct):
    """A label that was taken back."""

    prediction_id: str
    message: Annotated[str, Meta(examples=["Feedback taken back"])]


class FeedbackSummary(LabelFigures, frozen=True, kw_only=True):
    """What the labels say about one version."""

    model: ModelName
    version: VersionNumber
    window: Annotated[str, Meta(description="As it was asked for.", examples=["1000", "7d"])]
    since: Annotated[datetime | None, Meta(description="Beginning of the window, if it has one.")]


class FeedbackProblem(msgspec.Struct, kw_only=True):
    """Problem details of a batch of which nothing could be stored, with the counters."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    total: int | UnsetType = UNSET
    stored: int | UnsetType = UNSET
    duplicates: int | UnsetType = UNSET
    superseded: int | UnsetType = UNSET
    rejected: int | UnsetType = UNSET
    errors: list[RowError] | UnsetType = UNSET
    errors_omitted: int | UnsetType = UNSET


SHAPES = (
    SentFeedback,
    FeedbackStored,
    FeedbackReport,
    FeedbackProblem,
    FeedbackRemoved,
    FeedbackSummary,
)
"""For the OpenAPI document."""
