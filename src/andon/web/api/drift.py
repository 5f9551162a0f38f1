"""Drift over HTTP: the newest looks, reports and their pages, looks on demand, references."""

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from andon.errors import Conflict, NotFound
from andon.monitoring.drift import detector, reference, report
from andon.monitoring.drift.report import Findings
from andon.platform import Platform
from andon.store.records import DriftReport, ModelVersion
from andon.web import openapi
from andon.web.api.predictions import Cursor
from andon.web.bodies import decoded, read_body
from andon.web.drift_shapes import (
    DriftReference,
    DriftReportPage,
    DriftRun,
    DriftState,
    DriftSummary,
    ReferencePin,
)
from andon.web.parameters import UUID, ModelQuery, known_model, person
from andon.web.shapes import reply

STATE = "/api/drift"
REPORTS = "/api/drift/reports"
RUN = "/api/drift/run"
REFERENCE = "/api/drift/reference"
PAGE = "/drift/reports/{report_id}"

_BODY_BYTES = 16 * 1024
_UNREADABLE = "This report was written by another version of Andon and cannot be shown by this one."
_PIN_EXAMPLE = {
    "model": "pcb",
    "since": "2026-11-19T00:00:00Z",
    "until": "2026-11-20T00:00:00Z",
    "by": "alice",
}

ReportPath = Annotated[str, Path(pattern=UUID, description="Id of a report.")]
VersionQuery = Annotated[
    int | None, Query(ge=1, le=2**31 - 1, description="Default: the active one.")
]


def router(platform: Platform) -> APIRouter:
    """`/api/drift…` and `/drift/reports/{id}`."""
    routes = APIRouter(tags=["watching"])
    _reading(routes, platform)
    _looking(routes, platform)
    _references(routes, platform)
    return routes


def _reading(routes: APIRouter, platform: Platform) -> None:
    @routes.get(
        STATE,
        summary="The newest look at every model",
        responses=openapi.answers(
            DriftState, 404, 422, 503, about="One for each model that serves and was looked at."
        ),
    )
    def drift(model: ModelQuery = None) -> Response:
        """The newest drift report of each active version, or of one model's."""
        only = None if model is None else known_model(platform, model)
        reports = detector.reports_of(platform.db)
        found = [
            newest
            for version in platform.db.models.all_active()
            if only in {None, version.model}
            and (newest := reports.newest(version.model, version.version)) is not None
        ]
        return reply(DriftState([_summary(one) for one in found]))

    @routes.get(
        REPORTS,
        summary="List drift reports",
        responses=openapi.answers(DriftReportPage, 404, 422, 503, about="Newest first."),
    )
    def list_reports(
        model: ModelQuery = None,
        version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
        verdict: Annotated[Literal["drift", "none", "unknown"] | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Cursor = None,
    ) -> Response:
        """Reports of all models, or of one, without what was measured."""
        rows, following = detector.reports_of(platform.db).page(
            model=None if model is None else known_model(platform, model),
            version=version,
            verdict=verdict,
            before=cursor.lower() if cursor else None,
            limit=limit,
        )
        return reply(DriftReportPage([DriftSummary.of(row) for row in rows], following))

    @routes.get(
        REPORTS + "/{report_id}",
        summary="One drift report",
        responses=openapi.answers(DriftSummary, 404, 422, 503, about="Everything measured."),
    )
    def one_report(report_id: ReportPath) -> Response:
        """A report with every feature: distance, threshold, p-value, both distributions."""
        stored = detector.reports_of(platform.db).get(report_id.lower())
        return reply(DriftSummary.of(stored, _findings(stored)))

    @routes.get(PAGE, include_in_schema=False)
    def report_page(report_id: ReportPath) -> Response:
        """A report as a page that stands alone."""
        from andon.monitoring.drift import html  # noqa: PLC0415 - for who opens one

        stored = detector.reports_of(platform.db).get(report_id.lower())
        # Refuses one that cannot be read before the page is begun.
        _findings(stored)
        headers = {
            "Content-Security-Policy": html.POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
        }
        return Response(html.page(stored), media_type="text/html", headers=headers)


def _looking(routes: APIRouter, platform: Platform) -> None:
    @routes.post(
        RUN,
        summary="Look for drift now",
        status_code=201,
        responses=openapi.answers(DriftSummary, 400, 404, 408, 413, 422, 503)
        | openapi.created(DriftSummary, "The report, stored."),
        openapi_extra=openapi.json_body(DriftRun, {"model": "pcb", "limit": 100}),
    )
    async def run(request: Request) -> Response:
        """Compare the newest answers of a version with its reference, and keep the report.

        One window alone decides, so about one look in a hundred finds drift where there is none;
        the watch wants a second window to agree.
        """
        data = await read_body(request, _BODY_BYTES)
        asked = decoded(data or b"{}", DriftRun)

        def look() -> DriftSummary:
            version = _version(platform, asked.model, asked.version)
            return _summary(detector.run(platform.db, platform.settings, version, asked.limit))

        return reply(await run_in_threadpool(look), 201)


def _references(routes: APIRouter, platform: Platform) -> None:
    @routes.get(
        REFERENCE,
        summary="What a version is compared with",
        responses=openapi.answers(DriftReference, 404, 422, 503),
    )
    def shown(model: ModelQuery = None, version: VersionQuery = None) -> Response:
        """Training data, its first answers, a pinned time, or nothing yet."""
        return reply(_reference(platform, _version(platform, model, version), ""))

    @routes.put(
        REFERENCE,
        summary="Pin a reference",
        responses=openapi.answers(
            DriftReference, 400, 404, 408, 409, 413, 422, 503, about="It holds from now on."
        ),
        openapi_extra=openapi.json_body(ReferencePin, _PIN_EXAMPLE),
    )
    async def pin(request: Request) -> Response:
        """Compare a version from now on with what it answered in a time you know was good.

        409 where it gave too few answers then.
        """
        asked = decoded(await read_body(request, _BODY_BYTES), ReferencePin)
        by = person(asked.by)

        def keep() -> DriftReference:
            version = _version(platform, asked.model, asked.version)
            stored = reference.pin(
                platform.db, version, asked.since, asked.until, by,
                settings=platform.settings,
            )  # fmt: skip
            return DriftReference.of(version.model, version.version, stored, "Reference pinned")

        return reply(await run_in_threadpool(keep))

    @routes.delete(
        REFERENCE,
        summary="Unpin a reference",
        responses=openapi.answers(DriftReference, 404, 422, 503, about="It is forgotten."),
    )
    def unpin(model: ModelQuery = None, version: VersionQuery = None) -> Response:
        """Forget a pinned or learned reference.

        A version with statistics of its training is compared with these again, another learns
        anew from its first answers that are still in the log.
        """
        found = _version(platform, model, version)
        if not reference.references_of(platform.db).delete(found.id):
            raise NotFound(
                f"Version {found.version} of model {found.model} has no pinned or learned "
                "reference.",
                hint="GET /api/drift/reference says what it is compared with.",
            )
        return reply(_reference(platform, found, "Reference forgotten"))


def _version(platform: Platform, model: str | None, version: int | None) -> ModelVersion:
    """A version with its reference; the active one where none is named."""
    name = known_model(platform, model)
    if version is not None:
        return platform.db.models.get(name, version)
    active = platform.db.models.active(name)
    if active is None:
        raise NotFound(f"No version of model {name} is active.", hint="Name one with `version`.")
    return platform.db.models.get(name, active.version)


def _reference(platform: Platform, version: ModelVersion, message: str) -> DriftReference:
    stored = reference.references_of(platform.db).get(version.id)
    if stored is not None:
        return DriftReference.of(version.model, version.version, stored, message)
    rows = int((version.reference or {}).get("rows") or 0)
    trained = bool((version.reference or {}).get("features"))
    return DriftReference(
        model=version.model,
        version=version.version,
        source="training" if trained else "none",
        count=rows if trained else 0,
        message=message,
    )


def _summary(stored: DriftReport) -> DriftSummary:
    return DriftSummary.of(stored, _findings(stored))


def _findings(stored: DriftReport) -> Findings:
    try:
        return report.findings(stored.report)
    except msgspec.ValidationError as error:
        raise Conflict(_UNREADABLE, hint="Look anew: POST /api/drift/run.") from error
