"""Eye telemetry over HTTP: taking it in, browsing it, and what it says about drivers."""

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query, Request
from msgspec import UNSET
from starlette.responses import Response
from starlette.routing import Route

from andon.events import drowsiness
from andon.events.intake import Report, Taken
from andon.platform import Platform
from andon.store.clock import micros, now
from andon.store.paging import Place
from andon.web import openapi
from andon.web.api.browsing import Cursor, Limit, log_reply
from andon.web.api.taking import NDJSON, TakeBatch, TakeOne
from andon.web.floor_shapes import BatchProblem
from andon.web.parameters import NO_NUL, FromQuery, ToQuery, window_micros
from andon.web.shapes import reply
from andon.web.tables import FormatQuery, csv_reply, wants_csv
from andon.web.telemetry_shapes import (
    EyeFeatures,
    SentMeasurement,
    TelemetryDashboard,
    TelemetryEvent,
    TelemetryFeatures,
    TelemetryLogged,
    TelemetryPage,
    TelemetryStatistics,
)

ONE = "/telemetry"
BATCH = "/telemetry/batch"

_EXAMPLE = {"ear_value": 0.28, "is_drowsy": False, "duration_ms": 120}

# How far back features go where nobody says, microseconds.
_USUAL = {"minute": drowsiness.HOUR, "hour": 24 * drowsiness.HOUR}

IdQuery = Annotated[str | None, Query(min_length=1, max_length=64, pattern=NO_NUL)]
DriverQuery = Annotated[
    str | None,
    Query(
        max_length=64,
        pattern=NO_NUL,
        description="Only this driver; empty (`driver_id=`) for measurements that name none.",
    ),
]


def intake_routes(platform: Platform) -> list[Route]:
    """The routes that take telemetry in; they come before those that describe them."""
    one = TakeOne(platform, "telemetry", _logged)
    batch = TakeBatch(platform, "telemetry")
    return [
        Route(path, endpoint, methods=["POST"], include_in_schema=False)
        for path, endpoint in ((ONE, one), (BATCH, batch))
    ]


def router(platform: Platform) -> APIRouter:
    """`/telemetry…`, `/statistics` and `/dashboard`."""
    routes = described()
    _browsing(routes, platform)
    _summing(routes, platform)
    return routes


def _browsing(routes: APIRouter, platform: Platform) -> None:
    @routes.get(
        ONE,
        summary="Browse measurements",
        responses=openapi.answers(TelemetryPage, 422, 503, about="Newest first.", table=True),
    )
    def list_measurements(
        request: Request,
        driver_id: DriverQuery = None,
        device_id: IdQuery = None,
        site_id: IdQuery = None,
        is_drowsy: Annotated[
            bool | None, Query(description="Only those the device called drowsy, or not.")
        ] = None,
        since: FromQuery = None,
        until: ToQuery = None,
        limit: Limit = None,
        cursor: Cursor = None,
        table_format: FormatQuery = None,
    ) -> Response:
        """Measurements by their own time, newest first; `next_cursor` leads to the next page.

        As CSV, the whole window; with `limit` or `cursor` a page, whose header `Link` leads on.
        """
        begin, end = window_micros(since, until)

        def page(before: Place | None, most: int) -> tuple[list[TelemetryEvent], Place | None]:
            found, following = platform.db.telemetry.page(
                driver=driver_id,
                device=device_id,
                site=site_id,
                drowsy=is_drowsy,
                since=begin,
                until=end,
                before=before,
                limit=most,
            )
            return [TelemetryEvent.of(event) for event in found], following

        return log_reply(
            request,
            table_format,
            cursor,
            limit,
            page=page,
            count=lambda: platform.db.telemetry.window(begin, end, driver_id).events,
            shape=TelemetryPage,
            filename="telemetry.csv",
            columns=TelemetryEvent.__struct_fields__,
        )

    @routes.get(
        "/telemetry/features",
        summary="What drivers' eyes did",
        responses=openapi.answers(
            TelemetryFeatures, 422, 503, about="By driver and bucket.", table=True
        ),
    )
    def eye_features(
        request: Request,
        driver_id: DriverQuery = None,
        bucket: Annotated[Literal["minute", "hour"], Query()] = "minute",
        since: FromQuery = None,
        until: ToQuery = None,
        table_format: FormatQuery = None,
    ) -> Response:
        """Eye aspect ratio, its variance, closures, blink rate and PERCLOS of each driver.

        Without `from`, the last hour (by minute) or day (by hour). Made of every measurement, so
        the window holds 300,000 at most.
        """
        begin, end = window_micros(since, until)
        end = micros(now()) if end is None else end
        begin = end - _USUAL[bucket] if begin is None else begin
        threshold = platform.settings.ear_threshold
        found = drowsiness.features(
            platform.db,
            since=begin,
            until=end,
            bucket=bucket,
            threshold=threshold,
            driver=driver_id,
        )
        answer = TelemetryFeatures.of(found, begin, end, bucket, threshold)
        if not wants_csv(request, table_format):
            return reply(answer)
        columns = ("driver_id", *EyeFeatures.__struct_fields__)
        rows = (
            (driver.driver_id, *msgspec.structs.astuple(item))
            for driver in answer.drivers
            for item in driver.items
        )
        return csv_reply("features.csv", columns, rows)


def _summing(routes: APIRouter, platform: Platform) -> None:
    @routes.get(
        "/statistics",
        summary="Totals of the telemetry",
        responses=openapi.answers(TelemetryStatistics, 422, 503, about="Totals."),
    )
    def statistics(
        driver_id: DriverQuery = None, since: FromQuery = None, until: ToQuery = None
    ) -> Response:
        """Measurements, how many of them drowsy, and means; of everything, or of a window."""
        begin, end = window_micros(since, until)
        found = drowsiness.statistics(platform.db, since=begin, until=end, driver=driver_id)
        return reply(TelemetryStatistics.of(found))

    @routes.get(
        "/dashboard",
        summary="How the drivers are",
        responses=openapi.answers(TelemetryDashboard, 503, about="Now."),
    )
    def dashboard() -> Response:
        """Totals, the last hour, and whether its alert rate calls for attention.

        JSON for programs, whatever they accept; the page for people is `/drivers`.
        """
        at = now()
        found = drowsiness.dashboard(platform.db, platform.settings, micros(at))
        return reply(TelemetryDashboard.of(found, at))


def described() -> APIRouter:
    """The intake for the OpenAPI document; never called, for `intake_routes` come first."""
    shown = APIRouter(tags=["drivers"])

    @shown.post(
        ONE,
        summary="Send a measurement",
        operation_id="send_measurement",
        status_code=201,
        responses=openapi.answers(
            TelemetryLogged, 400, 408, 409, 413, 415, 422, 503, about="It was there already."
        )
        | openapi.created(TelemetryLogged, "Stored."),
        openapi_extra=openapi.json_body(SentMeasurement, _EXAMPLE),
    )
    async def send_measurement() -> None:
        """Store one measurement of a driver's eyes; JSON whatever the Content-Type says.

        Without a `timestamp` it was measured now, and is never taken for a repeat.
        """

    @shown.post(
        BATCH,
        summary="Send many measurements",
        operation_id="send_measurements",
        status_code=201,
        responses=openapi.answers(
            Report, 400, 408, 413, 415, 422, 503, about="All of them were there already."
        )
        | openapi.created(Report, "Some or all are stored.")
        | {400: openapi.problem(400, BatchProblem)},
        openapi_extra=openapi.batch_body(SentMeasurement, NDJSON, _EXAMPLE),
    )
    async def send_measurements() -> None:
        """Store the good ones and say what is wrong with the others.

        JSON is stored in one transaction. NDJSON is stored while it arrives, a thousand lines
        at a time, and may be as long as you like.
        """

    return shown


def _logged(taken: Taken) -> TelemetryLogged:
    return TelemetryLogged(event_id=taken.event_id, duplicate=taken.duplicate or UNSET)
