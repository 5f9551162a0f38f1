"""Workers and workstations over HTTP: list, register, rename, retire.

Both are the same thing under two names, so their routes come from one function.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request
from starlette.responses import Response

from andon.platform import Platform
from andon.store.roster import Roster, RosterEntry
from andon.web import openapi
from andon.web.parameters import JsonRoute
from andon.web.shapes import reply
from andon.web.tables import FormatQuery, csv_reply, wants_csv
from andon.web.telemetry_shapes import Worker, Workstation

_MAX_PATH_ID = 1000

Shape = type[Worker] | type[Workstation]


def router(platform: Platform) -> APIRouter:
    """`/workers…` and `/workstations…`."""
    routes = APIRouter(tags=["floor"], route_class=JsonRoute)
    _reading(routes, platform.db.workers, Worker)
    _changing(routes, platform.db.workers, Worker)
    _reading(routes, platform.db.workstations, Workstation)
    _changing(routes, platform.db.workstations, Workstation)
    return routes


def _reading(routes: APIRouter, roster: Roster, shape: Shape) -> None:
    noun, path = roster.noun, f"/{roster.noun}s"
    key = f"{noun}_id"

    @routes.get(
        path,
        summary=f"List {noun}s",
        responses=openapi.answers(list[shape], 422, 503, about="By id.", table=True),  # type: ignore[valid-type]
    )
    def list_entries(
        request: Request,
        retired: Annotated[
            bool, Query(description="false leaves those out that are retired.")
        ] = True,
        table_format: FormatQuery = None,
    ) -> Response:
        """Everybody and everything that was ever registered, in the order people count."""
        entries = roster.list(include_retired=retired)
        if wants_csv(request, table_format):
            return csv_reply(
                f"{noun}s.csv", (key, "name", "created_at", "retired_at"), map(_cells, entries)
            )
        return reply([shape.of(entry) for entry in entries])

    @routes.get(
        f"{path}/{{{key}:path}}",
        summary=f"One {noun}",
        responses=openapi.answers(shape, 404, 422, 503, about=f"The {noun}."),
    )
    def get_entry(entry_id: Annotated[str, _in_path(key)]) -> Response:
        """What is known of one of them."""
        return reply(shape.of(roster.get(entry_id)))


def _changing(routes: APIRouter, roster: Roster, shape: Shape) -> None:
    noun, path = roster.noun, f"/{roster.noun}s"
    key = f"{noun}_id"
    one = f"{path}/{{{key}:path}}"
    example = "Ada" if shape is Worker else "Final assembly"

    @routes.post(
        path,
        summary=f"Register a {noun}",
        status_code=201,
        responses=openapi.problems(409, 422, 503)
        | openapi.created(shape, f"The {noun} is registered."),
    )
    def add_entry(
        entry_id: Annotated[
            str,
            Body(
                alias=key,
                description="1 to 64 printable characters, none of them a blank at an end.",
                examples=["W7" if shape is Worker else "S7"],
            ),
        ],
        name: Annotated[
            str, Body(description="For people; default the id.", examples=[example])
        ] = "",
    ) -> Response:
        """Take events of it from now on, late ones included."""
        return reply(shape.of(roster.add(entry_id, name)), 201)

    @routes.patch(
        one,
        summary=f"Rename a {noun}, retire it or bring it back",
        responses=openapi.answers(shape, 404, 422, 503, about="As it is now."),
    )
    def change_entry(
        entry_id: Annotated[str, _in_path(key)],
        name: Annotated[
            str | None, Body(description="For people; empty: the id.", examples=[example])
        ] = None,
        retired: Annotated[
            bool | None,
            Body(
                strict=True,
                description="true refuses events dated now or later.",
                examples=[False],
            ),
        ] = None,
    ) -> Response:
        """What is not named stays as it is. The id stays for ever: events carry it."""
        return reply(shape.of(roster.change(entry_id, name=name, retired=retired)))

    @routes.delete(
        one,
        summary=f"Retire a {noun}",
        responses=openapi.answers(shape, 404, 422, 503, about="As it is now."),
    )
    def retire_entry(entry_id: Annotated[str, _in_path(key)]) -> Response:
        """Refuse events dated now or later. What was counted stays; late events still count."""
        return reply(shape.of(roster.retire(entry_id)))


def _in_path(key: str) -> Any:
    return Path(alias=key, max_length=_MAX_PATH_ID, description="Its id.")


def _cells(entry: RosterEntry) -> tuple[Any, ...]:
    return entry.id, entry.name, entry.created_at, entry.retired_at
