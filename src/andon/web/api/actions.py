"""Actions of the agent over HTTP: looking, agreeing, refusing, asking, undoing, files."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response

from andon.agent import files
from andon.platform import Platform
from andon.web import openapi
from andon.web.agent_shapes import ActionPage, ActionState, ActionStatus, ActionType
from andon.web.agent_shapes import SentAction as Sent
from andon.web.agent_shapes import SentReview as Review
from andon.web.api.predictions import Cursor, Limit
from andon.web.bodies import decoded, read_body
from andon.web.parameters import NO_NUL, UUID, invalid
from andon.web.shapes import reply

_MAX_BODY = 64 * 1024

ActionPath = Annotated[str, Path(pattern=UUID, description="`action_id` of an action.")]
NamePath = Annotated[str, Path(min_length=1, max_length=120, pattern=NO_NUL)]


def router(platform: Platform) -> APIRouter:
    """`/api/actions…`."""
    routes = APIRouter(tags=["agent"])
    _looking(routes, platform)
    _saying(routes, platform)
    return routes


def _looking(routes: APIRouter, platform: Platform) -> None:
    @routes.get(
        "/api/actions",
        summary="List actions",
        responses=openapi.answers(ActionPage, 404, 422, 503, about="Newest first."),
    )
    def list_actions(
        status: Annotated[
            ActionStatus | None, Query(description="`pending`: what waits for people.")
        ] = None,
        model: Annotated[str | None, Query(min_length=1, max_length=64, pattern=NO_NUL)] = None,
        action_type: Annotated[ActionType | None, Query()] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        """What the agent decided and what people asked for, newest first."""
        rows, following = platform.db.actions.page(
            status=status,
            model=model,
            action_type=action_type,
            before=cursor.lower() if cursor else None,
            limit=limit,
        )
        return reply(ActionPage([ActionState.of(row) for row in rows], following))

    @routes.get(
        "/api/actions/{action_id}",
        summary="One action",
        responses=openapi.answers(ActionState, 404, 422, 503, about="As it is now."),
    )
    def get_action(action_id: ActionPath) -> Response:
        """Why, what, who agreed, what came of it, and whether it helped."""
        return reply(ActionState.of(platform.db.actions.get(action_id.lower())))

    @routes.get(
        "/api/actions/{action_id}/files/{name}",
        summary="A file of an action",
        responses=openapi.files("application/zip", "text/html", about="The file.")
        | openapi.problems(404, 422, 503),
    )
    def get_file(action_id: ActionPath, name: NamePath) -> Response:
        """A report or diagnostics, to keep: `execution_result.files` names them."""
        action = platform.db.actions.get(action_id.lower())
        path, kind = files.find(platform.settings.reports, action, name)
        # Kept, not shown: a page that came from data must not run under this address.
        return FileResponse(path, media_type=kind, filename=name)


def _saying(routes: APIRouter, platform: Platform) -> None:
    @routes.post(
        "/api/actions",
        summary="Ask for an action",
        status_code=202,
        responses=openapi.problems(400, 404, 408, 409, 413, 415, 422, 503)
        | _accepted("Written down. Approved where one person is enough, else it waits."),
        openapi_extra=openapi.json_body(
            Sent, {"action_type": "collect_diagnostics", "by": "Anna", "model": "pcb"}
        ),
    )
    async def ask(request: Request) -> Response:
        """Have the agent do something. Who asks agrees to it; high risk may need one more.

        It is done within a second or two by the server that watches; ask
        `/api/actions/{action_id}` what came of it.
        """
        sent = decoded(await read_body(request, _MAX_BODY), Sent)
        _no_nul("reason", sent.reason)
        action = await run_in_threadpool(
            platform.agent.propose,
            sent.action_type,
            by=sent.by,
            model=sent.model,
            version=sent.version,
            parameters=sent.parameters,
            reason=sent.reason,
        )
        return reply(ActionState.of(action), 202)

    def word(path: str, summary: str, say: Any, about: str) -> None:
        async def said(action_id: ActionPath, request: Request) -> Response:
            sent = decoded(await read_body(request, _MAX_BODY), Review)
            _no_nul("comment", sent.comment)
            action = await run_in_threadpool(say, action_id.lower(), sent.by, sent.comment)
            return reply(ActionState.of(action))

        said.__doc__ = about
        routes.add_api_route(
            f"/api/actions/{{action_id}}/{path}",
            said,
            methods=["POST"],
            summary=summary,
            operation_id=f"{path}_action",
            responses=openapi.answers(
                ActionState, 400, 404, 408, 409, 413, 415, 422, 503, about="As it is now."
            ),
            openapi_extra=openapi.json_body(Review, {"by": "Anna", "comment": "Seen at line 2."}),
        )

    word(
        "approve",
        "Approve an action",
        platform.agent.approve,
        "Agree to an action; it is done within a second or two.\n\n"
        "409 where it does not wait any more, has expired, or this person has agreed already.",
    )
    word(
        "reject",
        "Reject an action",
        platform.agent.reject,
        "Refuse an action for good; the agent does not propose the same for a day.",
    )
    word(
        "undo",
        "Undo an action",
        platform.agent.undo,
        "Take a moved threshold back; the answer is the action that does it.\n\n"
        "409 where it cannot be taken back, or was changed since.",
    )


def _no_nul(field: str, text: str) -> None:
    if "\x00" in text:
        raise invalid(field, "must not hold NUL characters")


def _accepted(about: str) -> dict[int | str, dict[str, Any]]:
    return {202: openapi.answers(ActionState, about=about)[200]}
