"""Alerts over HTTP: pages of them, one, taking one on, saying that it is over."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from andon.platform import Platform
from andon.store.records import Alert
from andon.web import openapi
from andon.web.alert_shapes import AlertPage, AlertShown, SentAcknowledgement, SentResolution
from andon.web.api.predictions import Cursor, Limit
from andon.web.bodies import decoded, read_body
from andon.web.parameters import NO_NUL, UUID, invalid, person
from andon.web.shapes import reply

_MAX_BODY = 64 * 1024

AlertPath = Annotated[str, Path(pattern=UUID, description="`alert_id` of an alert.")]


def router(platform: Platform) -> APIRouter:
    """`/api/alerts…`."""
    routes = APIRouter(tags=["watching"])
    _reading(routes, platform)
    _changing(routes, platform)
    return routes


def _reading(routes: APIRouter, platform: Platform) -> None:
    @routes.get(
        "/api/alerts",
        summary="List alerts",
        responses=openapi.answers(AlertPage, 422, 503, about="Newest first."),
    )
    def list_alerts(
        status: Annotated[
            Literal["open", "active", "acknowledged", "resolved"] | None,
            Query(description="open: active and acknowledged. Default: all."),
        ] = None,
        severity: Annotated[Literal["info", "warning", "critical"] | None, Query()] = None,
        model: Annotated[
            str | None,
            Query(max_length=64, pattern=NO_NUL, description="About this model. Default: all."),
        ] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        """Every alert, newest first. Pass `next_cursor` on as `cursor` for the next page."""
        rows, following = platform.db.alerts.page(
            status=status,
            severity=severity,
            model=model,
            before=cursor.lower() if cursor else None,
            limit=limit,
        )
        return reply(AlertPage([AlertShown.of(row) for row in rows], following))

    @routes.get(
        "/api/alerts/{alert_id}",
        summary="One alert",
        responses=openapi.answers(AlertShown, 404, 422, 503, about="With its evidence."),
    )
    def get_alert(alert_id: AlertPath) -> Response:
        """One alert, whatever its status."""
        return reply(AlertShown.of(platform.db.alerts.get(alert_id.lower())))


def _changing(routes: APIRouter, platform: Platform) -> None:
    @routes.post(
        "/api/alerts/{alert_id}/acknowledge",
        summary="Take an alert on",
        responses=openapi.answers(
            AlertShown, 400, 404, 408, 409, 413, 422, 503, about="As it is now."
        ),
        openapi_extra=openapi.json_body(SentAcknowledgement, {"by": "Ada"}),
    )
    async def acknowledge(alert_id: AlertPath, request: Request) -> Response:
        """Say that somebody looks after it. The first who says so stays named.

        It is resolved when its cause is gone, or by hand. 409 where it is resolved already.
        """
        sent = decoded(await read_body(request, _MAX_BODY), SentAcknowledgement)
        by = person(sent.by)
        alert: Alert = await run_in_threadpool(platform.db.alerts.acknowledge, alert_id.lower(), by)
        return reply(AlertShown.of(alert))

    @routes.post(
        "/api/alerts/{alert_id}/resolve",
        summary="Say that an alert is over",
        responses=openapi.answers(
            AlertShown, 400, 404, 408, 409, 413, 422, 503, about="As it is now."
        ),
        openapi_extra=openapi.json_body(
            SentResolution, {"by": "Ada", "notes": "The lamp of camera 2 was replaced."}
        ),
    )
    async def resolve(alert_id: AlertPath, request: Request) -> Response:
        """Close it by hand; those who are told of alerts are told.

        While its cause is still there, no new one is raised for an hour, unless it gets worse; once
        the cause was gone, the next time is a new alert. 409 where it is resolved already.
        """
        sent = decoded(await read_body(request, _MAX_BODY), SentResolution)
        by = person(sent.by)
        if "\x00" in sent.notes:
            raise invalid("notes", "must not hold NUL characters")
        alert: Alert = await run_in_threadpool(
            platform.watch.alerting.resolve, alert_id.lower(), by, sent.notes.strip()
        )
        return reply(AlertShown.of(alert))
