"""What goes over the wire of drift, beside what `andon.monitoring.drift` defines."""

from datetime import datetime
from typing import Annotated, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from andon import typed
from andon.monitoring.drift.report import Findings, Verdict
from andon.store.drift_reports import Reference
from andon.store.records import DriftReport
from andon.web.shapes import ModelName, VersionNumber

ReportId = Annotated[str, Meta(description="UUIDv7 of the report.")]


class DriftSummary(msgspec.Struct, kw_only=True):
    """One look at a window of answers."""

    report_id: ReportId
    model: ModelName
    version: VersionNumber
    verdict: Annotated[
        Verdict,
        Meta(description="unknown: not enough data; the summary says what lacks."),
    ]
    drift_detected: bool
    drift_score: Annotated[
        float | None,
        Meta(description="Of the feature that moved most, as a multiple of its threshold."),
    ]
    drifted_features: Annotated[list[str], Meta(description="The one that moved most first.")]
    summary: Annotated[str, Meta(description="One sentence or two, for people.")]
    created_at: datetime
    href: Annotated[str, Meta(description="The report as a page.")]
    report_path: Annotated[
        str | None, Meta(description="Name of a full Evidently page in the reports folder.")
    ]
    report: Annotated[Findings, Meta(description="Everything that was measured.")] | UnsetType = (
        UNSET
    )

    @classmethod
    def of(cls, stored: DriftReport, findings: Findings | None = None) -> "DriftSummary":
        """A stored report, for the wire."""
        return cls(
            report_id=stored.report_id,
            model=stored.model,
            version=stored.version,
            verdict=cast("Verdict", stored.verdict),
            drift_detected=stored.verdict == "drift",
            drift_score=stored.drift_score,
            drifted_features=stored.drifted_features,
            summary=str(stored.report.get("summary") or ""),
            created_at=stored.created_at,
            href=f"/drift/reports/{stored.report_id}",
            report_path=stored.report_path,
            report=UNSET if findings is None else findings,
        )


class DriftState(msgspec.Struct):
    """The newest look at each model that serves."""

    models: list[DriftSummary]


class DriftReportPage(msgspec.Struct):
    """Reports, newest first."""

    reports: list[DriftSummary]
    next_cursor: Annotated[str | None, Meta(description="`cursor` of the next page; null at end.")]


class DriftRun(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A look that somebody asks for."""

    model: Annotated[str, Meta(max_length=64)] | None = None
    version: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    limit: Annotated[int, Meta(ge=20, le=10_000, description="Newest answers.")] | None = None


class ReferencePin(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A time whose answers a version is compared with from now on."""

    since: Annotated[datetime, Meta(tz=True)]
    until: Annotated[datetime, Meta(tz=True, description="Not included.")]
    by: Annotated[str, Meta(min_length=1, max_length=64, description="Who wants it.")]
    model: Annotated[str, Meta(max_length=64)] | None = None
    version: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None


class DriftReference(msgspec.Struct, kw_only=True):
    """What a version is compared with."""

    model: ModelName
    version: VersionNumber
    source: Annotated[str, Meta(description="training, learned, pinned, or none.")]
    count: Annotated[int, Meta(description="Answers, or rows of the training.")]
    since: datetime | None = None
    until: datetime | None = None
    actor: str = ""
    message: str = ""

    @classmethod
    def of(cls, model: str, version: int, stored: Reference, message: str) -> "DriftReference":
        """A stored reference, for the wire."""
        span = typed.convert(stored.span, _Span)
        return cls(
            model=model,
            version=version,
            source=stored.source,
            count=span.count,
            since=span.since,
            until=span.until,
            actor=stored.actor,
            message=message,
        )


class _Span(msgspec.Struct):
    count: int = 0
    since: datetime | None = None
    until: datetime | None = None


SHAPES = (DriftSummary, DriftState, DriftReportPage, DriftRun, ReferencePin, DriftReference)
"""For the OpenAPI document."""
