"""What drift was found, a row per look, and what it was measured from, a row per version."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, delete, insert, select, update

from andon.errors import NotFound
from andon.store.clock import now
from andon.store.connections import Connections
from andon.store.ids import uuid7
from andon.store.records import DriftReport
from andon.store.tables import drift_references, drift_reports, model_versions

_columns = drift_reports.c


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What drift of a version is measured from.

    Attributes:
        source: "learned" from its first answers, or "pinned" by a person.
        span: `{"since": …, "until": …, "count": …}` of the answers.
        statistics: See `andon.monitoring.drift.reference`.
        actor: Who pinned it; empty where it was learned.
    """

    source: str
    span: dict[str, Any]
    statistics: dict[str, Any]
    actor: str
    created_at: datetime


class DriftReports:
    """The queries of `drift_reports`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def add(
        self,
        version_id: int,
        verdict: str,
        score: float | None,
        features: list[str],
        report: dict[str, Any],
        at: datetime | None = None,
    ) -> DriftReport:
        """Keep one look; durable on return.

        Args:
            version_id: Row id of the version.
            verdict: "drift", "none" or "unknown".
            score: Of the feature that moved most, as a multiple of its threshold.
            features: Names of those that drifted, the one that moved most first.
            report: Everything that was measured, as JSON.
            at: When; default now.
        """
        key = uuid7()
        values = {
            "report_id": key,
            "model_id": version_id,
            "verdict": verdict,
            "drift_detected": verdict == "drift",
            "drift_score": score,
            "drifted_features": features,
            "report": report,
            "created_at": at or now(),
        }
        with self._connections.write() as connection:
            connection.execute(insert(drift_reports).values(values))
        return self.get(key)

    def get(self, report_id: str) -> DriftReport:
        """One report with all its evidence.

        Raises:
            NotFound: There is none with this id.
        """
        with self._connections.read() as connection:
            row = connection.execute(_select().where(_columns.report_id == report_id)).first()
        if row is None:
            raise NotFound(
                f"There is no drift report {report_id[:64]}.",
                hint="Old ones are deleted (ANDON_KEEP_REPORTS_DAYS); `andon drift reports` and "
                "GET /api/drift/reports list those there are.",
            )
        return _record(row)

    def page(
        self,
        model: str | None = None,
        version: int | None = None,
        verdict: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> tuple[list[DriftReport], str | None]:
        """Reports, newest first, and what to give as `before` for the next page (None: the last).

        Args:
            model: Of this model only.
            version: Of this version only.
            verdict: Of this verdict only.
            before: `report_id` that the page starts behind; one that is gone starts anew.
            limit: At most this many.
        """
        wanted = _wanted(model, version)
        if verdict is not None:
            wanted.append(_columns.verdict == verdict)
        with self._connections.read() as connection:
            if before is not None:
                query = select(_columns.id).where(_columns.report_id == before)
                place = connection.scalar(query)
                if place is not None:
                    wanted.append(_columns.id < place)
            query = _select().where(*wanted).order_by(_columns.id.desc()).limit(limit + 1)
            rows = connection.execute(query).all()
        found = [_record(row) for row in rows[:limit]]
        return found, found[-1].report_id if len(rows) > limit else None

    def newest(self, model: str, version: int | None = None) -> DriftReport | None:
        """The newest report of a model, or of one of its versions."""
        query = _select().where(*_wanted(model, version)).order_by(_columns.id.desc()).limit(1)
        with self._connections.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else _record(row)

    def set_path(self, report_id: str, name: str | None) -> None:
        """Note the page of a full report: a name in the reports folder."""
        with self._connections.write() as connection:
            connection.execute(
                update(drift_reports)
                .where(_columns.report_id == report_id)
                .values(report_path=name)
            )

    def prune(self, before: datetime) -> int:
        """Delete reports from before a moment, the newest of each version excepted; how many."""
        newest = select(_columns.id).order_by(_columns.id.desc())
        with self._connections.write() as connection:
            versions = connection.scalars(select(_columns.model_id).distinct()).all()
            kept = [
                connection.scalar(newest.where(_columns.model_id == version).limit(1))
                for version in versions
            ]
            return connection.execute(
                delete(drift_reports).where(_columns.created_at < before, _columns.id.not_in(kept))
            ).rowcount


class DriftReferences:
    """The queries of `drift_references`: at most one for each version."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def get(self, version_id: int) -> Reference | None:
        """What drift of a version is measured from, or None where nothing was learned or pinned."""
        query = select(drift_references).where(drift_references.c.model_id == version_id)
        with self._connections.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        return Reference(
            source=row.source,
            span=row.span,
            statistics=row.statistics,
            actor=row.actor,
            created_at=row.created_at,
        )

    def put(
        self,
        version_id: int,
        source: str,
        span: dict[str, Any],
        statistics: dict[str, Any],
        actor: str = "",
    ) -> Reference:
        """Measure a version's drift from this from now on; what was before is replaced."""
        made = Reference(
            source=source, span=span, statistics=statistics, actor=actor, created_at=now()
        )
        values = msgspec.structs.asdict(made)
        with self._connections.write() as connection:
            changed = connection.execute(
                update(drift_references)
                .where(drift_references.c.model_id == version_id)
                .values(values)
            ).rowcount
            if not changed:
                connection.execute(insert(drift_references).values(model_id=version_id, **values))
        return made

    def delete(self, version_id: int) -> bool:
        """Forget it; False where there was none."""
        with self._connections.write() as connection:
            gone = connection.execute(
                delete(drift_references).where(drift_references.c.model_id == version_id)
            ).rowcount
        return bool(gone)


def _select() -> Select[Any]:
    return select(drift_reports, model_versions.c.model_name, model_versions.c.version).join(
        model_versions, model_versions.c.id == _columns.model_id
    )


def _wanted(model: str | None, version: int | None) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if model is not None:
        wanted.append(model_versions.c.model_name == model)
    if version is not None:
        wanted.append(model_versions.c.version == version)
    return wanted


def _record(row: Any) -> DriftReport:
    return DriftReport(
        report_id=row.report_id,
        model=row.model_name,
        version=row.version,
        verdict=row.verdict,
        drift_score=row.drift_score,
        drifted_features=row.drifted_features,
        report=row.report,
        report_path=row.report_path,
        created_at=row.created_at,
    )
