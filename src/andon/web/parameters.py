"""What several routes take: a model's name, free text, yes and no."""

import math
import re
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Annotated, Any

from fastapi import Path, Query, Request
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BeforeValidator
from starlette.responses import Response

from andon.errors import InvalidRequest, NotFound
from andon.platform import Platform
from andon.store.clock import micros

MAX_TEXT = 255
_MAX_NAME = 64
# PostgreSQL stores no NUL, and nobody means one.
NO_NUL = r"^[^\x00]*$"
UUID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"

ModelQuery = Annotated[
    str | None,
    Query(
        max_length=64,
        description="Registered model; the default model when not named.",
        examples=["pcb"],
    ),
]
VersionPath = Annotated[int, Path(ge=1, le=2**31 - 1, description="Version number.", examples=[3])]

# The offset, behind a time of day, whose plus sign was not written as %2B.
_LOST_PLUS = re.compile(r"(:[\d.]+) (\d\d:?\d\d)$")


def _written(moment: object) -> object:
    """Refuse bare numbers: seconds, milliseconds and minutes all look alike."""
    if not isinstance(moment, str):
        return moment
    if moment.replace(".", "", 1).lstrip("+-").isdigit():
        raise ValueError("must be a date and time such as 2026-01-31T12:00:00Z")
    return _LOST_PLUS.sub(r"\1+\2", moment)


def _placed(moment: datetime) -> datetime:
    """Refuse a time that could be any zone's, and a day without a time."""
    if moment.tzinfo is None:
        raise ValueError("must carry Z or a UTC offset, such as 2026-01-31T12:00:00Z")
    return moment


Moment = Annotated[datetime, BeforeValidator(_written), AfterValidator(_placed)]
FromQuery = Annotated[
    Moment | None,
    Query(alias="from", description="Begin here; with Z or a UTC offset."),
]
ToQuery = Annotated[
    Moment | None,
    Query(alias="to", description="End before this; with Z or a UTC offset."),
]

_YES = frozenset({"true", "1", "yes", "on"})
_NO = frozenset({"false", "0", "no", "off", ""})


class JsonRoute(APIRoute):
    """Takes a body as JSON whatever its Content-Type says: `curl -d` calls it a form."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The usual one, told that the body is JSON."""
        handle = super().get_route_handler()

        async def handle_as_json(request: Request) -> Response:
            headers = [
                (name, value) for name, value in request.scope["headers"] if name != b"content-type"
            ]
            headers.append((b"content-type", b"application/json"))
            return await handle(Request({**request.scope, "headers": headers}, request.receive))

        return handle_as_json


def known_model(platform: Platform, model: str | None) -> str:
    """The model a request means.

    Raises:
        NotFound: It names one that is not registered.
    """
    default = platform.settings.default_model
    if model is None or model == default:
        return default
    names = platform.db.models.names()
    if model not in names:
        raise NotFound(
            f"There is no model named {model[:64]!r}.",
            hint=f"Registered: {', '.join(names) or 'none'}.",
        )
    return model


def window_micros(since: datetime | None, until: datetime | None) -> tuple[int | None, int | None]:
    """A window as whole microseconds since 1970 UTC; there is nothing before 1970.

    Raises:
        InvalidRequest: It ends before it begins: nothing would look like "nothing happened".
    """
    if since is not None and until is not None and since >= until:
        detail = "must be before `to`"
        raise InvalidRequest(
            f"The request is not valid: from {detail}.",
            errors=[{"field": "from", "detail": detail}],
        )
    return (
        None if since is None else max(0, micros(since)),
        None if until is None else max(0, micros(until)),
    )


def yes_or_no(field: str, value: str | None, *, default: bool) -> bool:
    """A form field that is `true` or `false`, in any usual spelling.

    Raises:
        InvalidRequest: It is neither.
    """
    if value is None:
        return default
    word = value.strip().lower()
    if word in _YES:
        return True
    if word in _NO:
        return False
    raise invalid(field, "must be true or false")


def number(field: str, value: str | None) -> float | None:
    """A form field that is a number; None when absent or empty.

    Raises:
        InvalidRequest: It is no number, or not a finite one.
    """
    if value is None or not value.strip():
        return None
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise invalid(field, "must be a number")
    return found


def positive(field: str, value: str | None) -> int:
    """A form field that must be a version number.

    Raises:
        InvalidRequest: It is missing or not a positive whole number.
    """
    word = (value or "").strip().removeprefix("v")
    if not word.isascii() or not word.isdigit() or not 0 < len(word) <= 9 or int(word) < 1:
        raise invalid(field, "must be a version number, 1 or more")
    return int(word)


def short_text(field: str, value: str | None, *, limit: int = MAX_TEXT) -> str | None:
    """A form field of free text on one line; None when absent or empty.

    Raises:
        InvalidRequest: It is too long or holds characters that cannot be printed.
    """
    text = (value or "").strip()
    if not text:
        return None
    if len(text) > limit:
        raise invalid(field, f"must have at most {limit} characters")
    if not text.isprintable():
        raise invalid(field, "must not hold characters that cannot be printed")
    return text


def person(by: str) -> str:
    """Who does something, as a body says it in `by`.

    Raises:
        InvalidRequest: Nobody, or a name that cannot be shown.
    """
    name = short_text("by", by, limit=_MAX_NAME)
    if name is None:
        raise invalid("by", "must say who does it")
    return name


def invalid(field: str, detail: str) -> InvalidRequest:
    """One field that is not valid."""
    return InvalidRequest(
        f"The request is not valid: {field} {detail}.",
        errors=[{"field": field, "detail": detail}],
    )
