"""The log of answers: reading it by page, by picture and by minute.

Writing goes through `writer`, which commits many rows at once; old ones are deleted in
`retention`.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    DateTime,
    Select,
    Text,
    case,
    cast,
    func,
    literal,
    select,
    text,
    union_all,
)

from andon.errors import InvalidRequest, NotFound
from andon.store.clock import now
from andon.store.connections import Connections
from andon.store.ids import uuid7_floor
from andon.store.model_versions import sum_totals
from andon.store.records import Prediction
from andon.store.tables import model_versions, predictions

# How far back a picture is looked for by name alone: there is no index on names.
_NAMES_AT_ONCE = 20_000
# SQLite joins at most 500 SELECTs; beyond this a plain scan is as good anyway.
_MOST_UNIONS = 200
_UUID_LENGTH = 36

_columns = predictions.c
_joined = predictions.join(model_versions, model_versions.c.id == _columns.model_id)


class Predictions:
    """The queries of `predictions`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def get(self, prediction_id: str) -> Prediction:
        """One logged answer.

        Raises:
            NotFound: There is none with this id, or it was pruned.
        """
        with self._connections.read() as connection:
            row = connection.execute(_select().where(_columns.id == prediction_id)).first()
        if row is None:
            raise NotFound(
                f"There is no prediction {prediction_id}.",
                hint="Old ones are deleted (ANDON_KEEP_PREDICTIONS_DAYS); /api/predictions "
                "lists those there are.",
            )
        return _record(row)

    def page(
        self,
        *,
        model: str | None = None,
        version: int | None = None,
        source: str | None = None,
        label: str | None = None,
        subject: str | None = None,
        status: str | None = None,
        role: str | None = None,
        camera: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> tuple[list[Prediction], str | None]:
        """Answers newest first, and the cursor of the next page (None on the last).

        Args:
            model: Registered model's name.
            version: Version number; of any model when `model` is None.
            source: How the picture came: "api", "batch", …
            label: A class that was detected, or the predicted class.
            subject: Whom or what the caller said the picture shows.
            status: "success" or "error".
            role: "active", "canary", "shadow" or "compare".
            camera: The camera, as the caller said it.
            since: Not older than this.
            until: Older than this.
            before: Cursor of the page before.
            limit: Rows at most.

        Raises:
            InvalidRequest: `before` is no cursor.
        """
        if before is not None and len(before) != _UUID_LENGTH:
            raise InvalidRequest(
                f"The cursor {before[:50]!r} is none that Andon gave out.",
                hint="Pass on next_cursor of the page before as it is.",
            )
        wanted: list[ColumnElement[bool]] = []
        given = {
            "source": source,
            "subject": subject,
            "status": status,
            "role": role,
            "camera": camera,
        }
        for column, value in given.items():
            if value is not None:
                wanted.append(_columns[column] == value)
        if label is not None:
            wanted.append(self._has_label(label))
        if since is not None:
            wanted.append(_columns.id >= uuid7_floor(since))
        if until is not None:
            wanted.append(_columns.id < uuid7_floor(until))
        if before is not None:
            wanted.append(_columns.id < before)
        with self._connections.read() as connection:
            versions = _version_ids(connection, model, version)
            ids = _newest_ids(versions, wanted, limit + 1)
            query = _select().where(_columns.id.in_(ids)).order_by(_columns.id.desc())
            rows = connection.execute(query).all()
        found = [_record(row) for row in rows[:limit]]
        return found, found[-1].id if len(rows) > limit else None

    def recent(self, model: str, version: int, limit: int = 100) -> list[Prediction]:
        """The newest answers of one version, newest first."""
        return self.page(model=model, version=version, limit=limit)[0]

    def by_image(self, image_hash: str, limit: int = 100) -> list[Prediction]:
        """The answers to one picture (SHA-256 of the uploaded bytes), newest first."""
        query = (
            _select()
            .where(_columns.image_hash == image_hash)
            .order_by(_columns.id.desc())
            .limit(limit)
        )
        with self._connections.read() as connection:
            return [_record(row) for row in connection.execute(query)]

    def newest_by_name(self, image_name: str) -> Prediction | None:
        """The newest answer to a picture of this name among the newest 20 000 answers."""
        newest = select(_columns.id).order_by(_columns.id.desc()).limit(_NAMES_AT_ONCE).subquery()
        oldest = select(func.min(newest.c.id)).scalar_subquery()
        query = (
            _select()
            .where(_columns.image_name == image_name, _columns.id >= oldest)
            .order_by(_columns.id.desc())
            .limit(1)
        )
        with self._connections.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else _record(row)

    def stats(self, model: str) -> dict[str, Any]:
        """Totals of all versions from their counters, never a scan of the log.

        Returns:
            `active_version` (None without one), `total_inferences`, `total_detections`,
            `avg_confidence` (0 to 1) and `avg_inference_time` (seconds).
        """
        with self._connections.read() as connection:
            return sum_totals(connection, model)

    def throughput(self, model: str, minutes: int = 60) -> list[tuple[datetime, int, float, int]]:
        """What happened in each of the last minutes, oldest first, quiet ones included.

        Returns:
            The minute's start, answers given (errors included), their mean latency in
            milliseconds (of successful ones, 0 without any), errors.
        """
        last = now().replace(second=0, microsecond=0)
        first = last - timedelta(minutes=minutes - 1)
        failed = _columns.status != "success"
        minute = self._minute()
        query = (
            select(
                minute,
                func.count(),
                func.avg(case((~failed, _columns.latency_ms))),
                func.sum(case((failed, 1), else_=0)),
            )
            .select_from(_joined)
            .where(model_versions.c.model_name == model, _columns.created_at >= first)
            .group_by(minute)
        )
        with self._connections.read() as connection:
            rows = connection.execute(query).all()
        seen = {str(row[0]): row for row in rows}
        answer = []
        for step in range(minutes):
            start = first + timedelta(minutes=step)
            _, count, latency, errors = seen.get(start.strftime("%Y-%m-%dT%H:%M"), (0, 0, 0, 0))
            answer.append((start, int(count), float(latency or 0.0), int(errors)))
        return answer

    def latency_percentiles(self, model: str, limit: int = 1000) -> dict[str, float]:
        """Percentiles of the latency of the newest successful answers, milliseconds.

        Returns:
            `p50`, `p90`, `p95`, `p99` and `count`; zeros without answers.
        """
        with self._connections.read() as connection:
            versions = _version_ids(connection, model, None)
            ids = _newest_ids(versions, [_columns.status == "success"], limit)
            query = select(_columns.latency_ms).where(_columns.id.in_(ids))
            values = sorted(connection.scalars(query))
        answer = {"count": float(len(values))}
        for percent in (50, 90, 95, 99):
            # Nearest rank: always a latency that was really measured.
            rank = max(0, -(-len(values) * percent // 100) - 1)
            answer[f"p{percent}"] = float(values[rank]) if values else 0.0
        return answer

    def _has_label(self, label: str) -> ColumnElement[bool]:
        if self._connections.path is None:
            from sqlalchemy.dialects.postgresql import JSONB  # noqa: PLC0415 - as in `tables.Json`

            found: ColumnElement[bool] = _columns.detections.cast(JSONB).contains(
                cast(literal([{"label": label}], JSONB), JSONB)
            )
            return found | (_columns.prediction == label)
        inside = text(
            "EXISTS (SELECT 1 FROM json_each(predictions.detections) AS found "
            "WHERE json_extract(found.value, '$.label') = :label)"
        ).bindparams(label=label)
        return (_columns.prediction == label) | inside

    def _minute(self) -> ColumnElement[str]:
        if self._connections.path is None:
            utc = func.timezone("UTC", _columns.created_at, type_=DateTime)
            return func.to_char(utc, 'YYYY-MM-DD"T"HH24:MI')
        return func.substr(cast(_columns.created_at, Text), 1, 16)


def _select() -> Select[Any]:
    return select(predictions, model_versions.c.model_name, model_versions.c.version).select_from(
        _joined
    )


def _version_ids(
    connection: Connection, model: str | None, version: int | None
) -> list[int] | None:
    """The row ids of the versions meant, or None for all."""
    if model is None and version is None:
        return None
    query = select(model_versions.c.id)
    if model is not None:
        query = query.where(model_versions.c.model_name == model)
    if version is not None:
        query = query.where(model_versions.c.version == version)
    return list(connection.scalars(query))


def _newest_ids(
    versions: list[int] | None, wanted: list[ColumnElement[bool]], limit: int
) -> Select[Any]:
    """The newest matching ids.

    Several versions are asked one by one along their index and merged: one condition on all
    of them would make SQLite sort the whole log for every page.
    """
    newest = select(_columns.id).where(*wanted).order_by(_columns.id.desc()).limit(limit)
    if versions is None:
        return newest
    if len(versions) <= 1 or len(versions) > _MOST_UNIONS:
        return newest.where(_columns.model_id.in_(versions))
    each = [
        select(newest.where(_columns.model_id == version).subquery().c.id) for version in versions
    ]
    merged = union_all(*each).subquery()
    return select(merged.c.id).order_by(merged.c.id.desc()).limit(limit)


def _record(row: Any) -> Prediction:
    created: datetime = row.created_at
    return Prediction(
        id=row.id,
        model=row.model_name,
        model_version=row.version,
        source=row.source,
        role=row.role,
        status=row.status,
        error=row.error,
        subject=row.subject,
        request_id=row.request_id,
        image_name=row.image_name,
        image_hash=row.image_hash,
        image_format=row.image_format,
        image_width=row.image_width,
        image_height=row.image_height,
        detections=row.detections or [],
        confidence_scores=row.confidence_scores or [],
        raw_scores=row.raw_scores or [],
        prediction=row.prediction,
        probability=row.probability,
        threshold=row.threshold,
        cached=row.cached,
        inference_time=row.inference_time,
        latency_ms=row.latency_ms,
        actual=row.actual,
        features=row.features,
        timestamp=created.astimezone(UTC),
        camera=row.camera,
        camera_state=row.camera_state,
        image_stats=row.image_stats,
    )
