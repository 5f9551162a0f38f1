"""Factory events over HTTP: taking them in, the log of them, taking one back."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response
from starlette.routing import Route

from andon.events.intake import Report, Taken
from andon.platform import Platform
from andon.store.clock import now_micros
from andon.store.paging import Place
from andon.web import openapi
from andon.web.api.browsing import Cursor, Limit, log_reply
from andon.web.api.taking import NDJSON, TakeBatch, TakeOne
from andon.web.floor_shapes import (
    BatchProblem,
    EventPage,
    EventStored,
    LoggedEvent,
    RejectedPage,
    SentEvent,
)
from andon.web.parameters import NO_NUL, FromQuery, ToQuery, window_micros
from andon.web.shapes import reply
from andon.web.tables import FormatQuery

ONE = "/events"
BATCH = "/events/batch"

EventId = Annotated[
    str, Path(min_length=1, max_length=64, pattern=NO_NUL, description="`event_id` of an event.")
]
IdQuery = Annotated[str | None, Query(min_length=1, max_length=64, pattern=NO_NUL)]

_EXAMPLE = {
    "timestamp": "2026-11-20T08:15:30Z",
    "worker_id": "W1",
    "workstation_id": "S1",
    "event_type": "product_count",
    "confidence": 0.94,
    "count": 3,
}

_COLUMNS = (
    "event_id",
    "timestamp",
    "worker_id",
    "workstation_id",
    "event_type",
    "confidence",
    "count",
    "site_id",
    "camera_id",
    "model_version",
    "source",
    "received_at",
    "ends_at",
    "retracted_at",
)


def intake_routes(platform: Platform) -> list[Route]:
    """The routes that take events in; they come before those that describe them."""
    one = TakeOne(platform, "factory", _stored)
    batch = TakeBatch(platform, "factory")
    return [
        Route(path, endpoint, methods=["POST"], include_in_schema=False)
        for path, endpoint in ((ONE, one), (BATCH, batch))
    ]


def router(platform: Platform) -> APIRouter:
    """`/events…`."""
    routes = described()

    @routes.get(
        "/events",
        summary="Browse factory events",
        responses=openapi.answers(EventPage, 422, 503, about="Newest first.", table=True),
    )
    def list_events(
        request: Request,
        worker_id: IdQuery = None,
        workstation_id: IdQuery = None,
        event_type: Annotated[
            Literal["working", "idle", "absent", "product_count"] | None, Query()
        ] = None,
        site_id: IdQuery = None,
        camera_id: IdQuery = None,
        since: FromQuery = None,
        until: ToQuery = None,
        retracted: Annotated[bool, Query(description="With events that were taken back.")] = False,
        limit: Limit = None,
        cursor: Cursor = None,
        table_format: FormatQuery = None,
    ) -> Response:
        """Events by their own time, newest first; `next_cursor` leads to the next page.

        As CSV, the whole window; with `limit` or `cursor` a page, whose header `Link` leads on.
        """
        begin, end = window_micros(since, until)

        def page(before: Place | None, most: int) -> tuple[list[LoggedEvent], Place | None]:
            found, following = platform.db.factory.page(
                worker=worker_id,
                workstation=workstation_id,
                event_type=event_type,
                site=site_id,
                camera=camera_id,
                since=begin,
                until=end,
                before=before,
                limit=most,
                retracted=retracted,
            )
            return [LoggedEvent.of(event) for event in found], following

        def count() -> int:
            latest = now_micros()
            latest = latest if end is None else min(end, latest)
            sums = platform.db.factory_totals.sums(
                min(begin or 0, latest),
                latest,
                worker=worker_id,
                workstation=workstation_id,
            )
            return sum(one.events for one in sums)

        return log_reply(
            request,
            table_format,
            cursor,
            limit,
            page=page,
            count=count,
            shape=EventPage,
            filename="events.csv",
            columns=_COLUMNS,
        )

    @routes.get(
        "/events/rejected",
        summary="MQTT messages that could not be used",
        responses=openapi.answers(RejectedPage, 422, 503, about="Newest first."),
    )
    def list_rejected(
        limit: Annotated[int, Query(ge=1, le=500, description="Messages.")] = 100,
    ) -> Response:
        """By MQTT nobody waits for an answer: messages are put aside here, with the reason."""
        rejected = platform.db.rejected
        return reply(RejectedPage(rejected.recent(limit), rejected.count()))

    # Ids may hold slashes.
    @routes.get(
        "/events/{event_id:path}",
        summary="One factory event",
        responses=openapi.answers(LoggedEvent, 404, 422, 503, about="The event."),
    )
    def get_event(event_id: EventId) -> Response:
        """One event, also one that was taken back."""
        return reply(LoggedEvent.of(platform.db.factory.get(event_id)))

    @routes.delete(
        "/events/{event_id:path}",
        summary="Take an event back",
        responses=openapi.answers(LoggedEvent, 404, 422, 503, about="The event, taken back."),
    )
    def retract_event(event_id: EventId) -> Response:
        """It stays in the log and is not counted any more; a repeat of it changes nothing.

        To correct an event, take it back and send the right one under another `event_id`.
        """
        return reply(LoggedEvent.of(platform.db.factory.retract(event_id)))

    return routes


def described() -> APIRouter:
    """The intake for the OpenAPI document; never called, for `intake_routes` come first."""
    shown = APIRouter(tags=["floor"])

    @shown.post(
        ONE,
        summary="Send a factory event",
        operation_id="send_event",
        status_code=201,
        responses=openapi.answers(
            EventStored, 400, 408, 409, 413, 415, 422, 503, about="It was there already."
        )
        | openapi.created(EventStored, "Stored."),
        openapi_extra=openapi.json_body(SentEvent, _EXAMPLE),
    )
    async def send_event() -> None:
        """Store one event. It is on disk when the answer comes; sending it again is safe."""

    @shown.post(
        BATCH,
        summary="Send many factory events",
        operation_id="send_events",
        status_code=201,
        responses=openapi.answers(
            Report, 400, 408, 413, 415, 422, 503, about="All of them were there already."
        )
        | openapi.created(Report, "Some or all are stored.")
        | {400: openapi.problem(400, BatchProblem)},
        openapi_extra=openapi.batch_body(SentEvent, NDJSON, _EXAMPLE),
    )
    async def send_events() -> None:
        """Store the good ones and say what is wrong with the others.

        JSON is stored in one transaction. NDJSON is stored while it arrives, a thousand lines
        at a time, and may be as long as you like.
        """

    return shown


def _stored(taken: Taken) -> EventStored:
    return EventStored(taken.event_id, "duplicate" if taken.duplicate else "stored")
