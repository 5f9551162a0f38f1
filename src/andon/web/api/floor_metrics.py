"""What people act on: the numbers of workers, workstations and the factory.

`/metrics` itself stays Prometheus' text; these are under it because the floor's programs have
always asked there.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from andon.events import factory
from andon.events.factory import Window
from andon.platform import Platform
from andon.store.clock import now_micros
from andon.web import openapi
from andon.web.floor_shapes import (
    WorkerAnswer,
    WorkersAnswer,
    WorkstationAnswer,
    WorkstationsAnswer,
    members,
)
from andon.web.parameters import NO_NUL, FromQuery, ToQuery, window_micros
from andon.web.shapes import reply
from andon.web.tables import FormatQuery, csv_reply, wants_csv

BucketQuery = Annotated[
    Literal["hour", "day"] | None,
    Query(description="With a series by hour or by UTC day, empty ones included."),
]
WorkerPath = Annotated[
    str, Path(min_length=1, max_length=64, pattern=NO_NUL, description="Worker.", examples=["W1"])
]
WorkstationPath = Annotated[
    str,
    Path(min_length=1, max_length=64, pattern=NO_NUL, description="Workstation.", examples=["S1"]),
]

_NOT_IN_TABLES = {"series", "since", "until", "bucket"}
# What a series of each consists of.
_POINTS: dict[type[msgspec.Struct], type[msgspec.Struct]] = {
    factory.WorkerMetrics: factory.WorkerPoint,
    factory.WorkstationMetrics: factory.WorkstationPoint,
    factory.FactoryMetrics: factory.FactoryPoint,
}


def router(platform: Platform) -> APIRouter:
    """`/metrics/…`."""
    routes = APIRouter(tags=["floor"])
    db = platform.db

    def asked(since: Any, until: Any) -> Window:
        return factory.window(db, *window_micros(since, until), now_micros())

    @routes.get(
        "/metrics/workers",
        summary="Numbers of all workers",
        responses=_responses(WorkersAnswer, 422, 503),
    )
    def all_workers(
        request: Request,
        since: FromQuery = None,
        until: ToQuery = None,
        bucket: BucketQuery = None,
        table_format: FormatQuery = None,
    ) -> Response:
        """Active, idle and absent time, utilization, units; workers without data have zeros."""
        window = asked(since, until)
        found = factory.workers(db, window, bucket=bucket)
        if wants_csv(request, table_format):
            return _table("workers.csv", factory.WorkerMetrics, found, bucket)
        return reply(members(factory.span(window, bucket)) | {"workers": found})

    @routes.get(
        "/metrics/workers/{worker_id:path}",
        summary="Numbers of a worker",
        responses=_responses(WorkerAnswer, 404, 422, 503),
    )
    def one_worker(
        request: Request,
        worker_id: WorkerPath,
        since: FromQuery = None,
        until: ToQuery = None,
        bucket: BucketQuery = None,
        table_format: FormatQuery = None,
    ) -> Response:
        """The same of one worker."""
        window = asked(since, until)
        found = factory.workers(db, window, bucket=bucket, worker=worker_id)
        if wants_csv(request, table_format):
            return _table("worker.csv", factory.WorkerMetrics, found, bucket)
        return reply(members(factory.span(window, bucket), found[0]))

    @routes.get(
        "/metrics/workstations",
        summary="Numbers of all workstations",
        responses=_responses(WorkstationsAnswer, 422, 503),
    )
    def all_workstations(
        request: Request,
        since: FromQuery = None,
        until: ToQuery = None,
        bucket: BucketQuery = None,
        table_format: FormatQuery = None,
    ) -> Response:
        """Occupancy, utilization, units, throughput; those without data have zeros."""
        window = asked(since, until)
        found = factory.workstations(db, window, bucket=bucket)
        if wants_csv(request, table_format):
            return _table("workstations.csv", factory.WorkstationMetrics, found, bucket)
        return reply(members(factory.span(window, bucket)) | {"workstations": found})

    @routes.get(
        "/metrics/workstations/{workstation_id:path}",
        summary="Numbers of a workstation",
        responses=_responses(WorkstationAnswer, 404, 422, 503),
    )
    def one_workstation(
        request: Request,
        workstation_id: WorkstationPath,
        since: FromQuery = None,
        until: ToQuery = None,
        bucket: BucketQuery = None,
        table_format: FormatQuery = None,
    ) -> Response:
        """The same of one workstation."""
        window = asked(since, until)
        found = factory.workstations(db, window, bucket=bucket, workstation=workstation_id)
        if wants_csv(request, table_format):
            return _table("workstation.csv", factory.WorkstationMetrics, found, bucket)
        return reply(members(factory.span(window, bucket), found[0]))

    @routes.get(
        "/metrics/factory",
        summary="Numbers of the factory",
        responses=_responses(factory.FactoryMetrics, 422, 503),
    )
    def whole_factory(
        request: Request,
        since: FromQuery = None,
        until: ToQuery = None,
        bucket: BucketQuery = None,
        table_format: FormatQuery = None,
    ) -> Response:
        """Productive time, production, rate, utilization; the workers' numbers add up to them."""
        found = factory.factory(db, asked(since, until), bucket=bucket)
        if wants_csv(request, table_format):
            return _table("factory.csv", factory.FactoryMetrics, [found], bucket)
        return reply(found)

    return routes


def _responses(shape: Any, *statuses: int) -> dict[int | str, dict[str, Any]]:
    return openapi.answers(shape, *statuses, about="The numbers.", table=True)


def _table(
    name: str, shape: type[msgspec.Struct], found: Sequence[Any], bucket: str | None
) -> Response:
    """The numbers as rows: one each, or one per bucket of each; without any, the header alone."""
    heads = _columns(shape)
    if bucket is None:
        return csv_reply(name, heads, ([getattr(one, c) for c in heads] for one in found))
    who = [c for c in heads if c.endswith("_id") or c == "name"]
    points = _columns(_POINTS[shape])

    def rows() -> Iterable[list[Any]]:
        for one in found:
            for point in one.series:
                yield [*(getattr(one, c) for c in who), *(getattr(point, c) for c in points)]

    return csv_reply(name, [*who, *points], rows())


def _columns(struct: type[msgspec.Struct]) -> list[str]:
    """The members that fit into cells, in the order of the JSON."""
    names = [member.name for member in msgspec.structs.fields(struct)]
    return [name for name in names if name not in _NOT_IN_TABLES]
