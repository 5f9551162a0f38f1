"""Errors as RFC 9457 problem details, one shape for every route.

Everything that goes wrong over HTTP passes through `reply_to`: Andon's own errors, what
the framework raises (unknown route, wrong method, a parameter that does not validate) and
bugs. A bug is logged with an incident id and answered without its insides.
"""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import msgspec
import structlog
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from andon.errors import AndonError, Forbidden, InvalidRequest, NotFound
from andon.web.dashboard.pages import render_problem
from andon.web.parameters import UUID

CONTENT_TYPE = "application/problem+json"

_FOR_PROGRAMS = ("/api/", "/health", "/metrics", "/openapi.json", "/swagger.json")

_log = structlog.get_logger(__name__)


class MethodNotAllowed(AndonError):
    """The route exists and does not take this method; `Allow` says which it takes."""

    status = 405
    slug = "method-not-allowed"
    title = "Method not allowed"

    def __init__(self, method: str, path: str, allowed: Sequence[str]) -> None:
        super().__init__(f"{path} does not take {method}.", hint=f"Use {' or '.join(allowed)}.")
        self.allowed = allowed

    def headers(self) -> dict[str, str]:
        """RFC 9110 wants the methods that work."""
        return {"Allow": ", ".join(self.allowed)}


class RequestTimeout(AndonError):
    """The request's body arrived too slowly and was given up."""

    status = 408
    slug = "request-timeout"
    title = "Request timeout"

    def headers(self) -> dict[str, str]:
        """The rest of the body is not read, so the connection cannot be used again."""
        return {"Connection": "close"}


class ClientGone(Exception):
    """The client closed the connection before its request was complete. Nobody to answer."""


def respond(error: AndonError, scope: Scope, *, status: int | None = None) -> Response:
    """The problem details of an error, or a page that says the same where a person looks.

    Args:
        error: What went wrong.
        scope: Of the request.
        status: Overrides the error's own, where a route promises another.
    """
    body = error.problem()
    body["instance"] = scope["path"]
    if status is not None:
        body["status"] = status
    if is_for_people(scope):
        return _page(error, scope, body)
    return _details(error, body)


def _page(error: AndonError, scope: Scope, body: dict[str, Any]) -> Response:
    """The error as a page; as it is for programs where the page itself is what fails."""
    try:
        page = render_problem(Request(scope), body)
    except Exception as broken:
        _log.error("The error page cannot be shown", exc_info=broken)
        return _details(error, body)
    page.headers.update(error.headers())
    return page


def _details(error: AndonError, body: dict[str, Any]) -> Response:
    return Response(
        msgspec.json.encode(body),
        status_code=body["status"],
        headers=error.headers(),
        media_type=CONTENT_TYPE,
    )


def not_found(path: str) -> NotFound:
    """A path that no route answers."""
    return NotFound(f"There is nothing at {path[:200]}.", hint="/docs lists every route.")


def from_framework(error: HTTPException, path: str) -> AndonError:
    """What Starlette or FastAPI raised, as an error of Andon."""
    if error.status_code == NotFound.status:
        return not_found(path)
    if error.status_code == Forbidden.status:
        return Forbidden(str(error.detail))
    return InvalidRequest(
        f"{str(error.detail).rstrip('.')}.", hint="See /docs for what the route takes."
    )


def _said(message: str) -> str:
    """What is wrong, without how it was found out."""
    return message.removeprefix("Value error, ").rstrip(".")


def _of_id(entry: Any) -> str:
    """What is wrong with an id that is none: a pattern tells people nothing."""
    if (entry.get("ctx") or {}).get("pattern") != UUID:
        return ""
    return "An id looks like 019aa4a1-7c00-7000-8000-000000000000"


def from_validation(error: RequestValidationError) -> InvalidRequest:
    """Parameters that did not validate, one entry per field."""
    errors = [
        {"field": _field(entry["loc"]), "detail": _of_id(entry) or _said(entry["msg"])}
        for entry in error.errors()
    ]
    if len(errors) == 1:
        ((field, said),) = (entry.values() for entry in errors)
        return InvalidRequest(f"The request is not valid: {field}: {said}.", errors=errors)
    named = ", ".join(dict.fromkeys(entry["field"] for entry in errors))
    return InvalidRequest(
        f"The request is not valid: {named}.", hint="See `errors`.", errors=errors
    )


def bug(error: Exception, scope: Scope) -> Response:
    """Log an error nobody expected, and answer it without its insides."""
    incident = uuid4().hex[:12]
    _log.error(
        "Request failed unexpectedly",
        incident=incident,
        method=scope["method"],
        path=scope["path"],
        exc_info=error,
    )
    return respond(
        AndonError(
            f"Andon could not answer this request because of a fault in it (incident {incident}).",
            hint="The log tells more under that incident.",
        ),
        scope,
    )


def is_for_people(scope: Scope) -> bool:
    """Whether a browser asks for a page, not a program for an answer."""
    if scope["method"] not in {"GET", "HEAD"} or scope["path"].startswith(_FOR_PROGRAMS):
        return False
    return any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])


def _field(location: Sequence[Any]) -> str:
    """`("query", "limit")` is `limit` for a reader; `("body", "a", 0)` is `a.0`."""
    return ".".join(str(part) for part in location[1:]) or str(location[0])
