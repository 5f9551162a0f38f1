"""Bodies of JSON, NDJSON or CSV that a route reads itself, up to a limit of its own."""

import json
import re
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from starlette.requests import ClientDisconnect, Request

from andon import typed
from andon.errors import TooLarge, UnsupportedMedia, UnusableUpload
from andon.web.parameters import invalid
from andon.web.problems import ClientGone

Shape = TypeVar("Shape")

_FIELD = re.compile(r" - at `\$\.?(.*?)`$")
_NOT_A_NUMBER = re.compile(rb"[\[:,]\s*-?(?:NaN|Infinity)\b")
_BOUND = re.compile(
    r"Expected `(int|float|str|array|object)`(?: of length)? (>=|<=|>|<) (-?\d+(?:\.\d+)?)"
)
_ENDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
_COUNTED = {"str": "character", "array": "item", "object": "field"}
_NAMED = re.compile(r"(missing required|unknown) field `([^`]+)`")


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body.

    Args:
        request: Its body has not been read.
        limit: Bytes at most.

    Raises:
        TooLarge: It is larger.
        UnsupportedMedia: It is compressed.
        ClientGone: It never became complete.
    """
    encoding = request.headers.get("content-encoding", "").lower()
    if encoding not in {"", "identity"}:
        raise UnsupportedMedia(
            f"A body with Content-Encoding {encoding[:40]!r} is not taken.",
            hint="Send it uncompressed.",
        )
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > limit:
                raise TooLarge(f"The body exceeds {limit} bytes.", hint="Send it in parts.")
            pieces.append(piece)
    except ClientDisconnect:
        raise ClientGone from None
    return b"".join(pieces)


def decoded(data: bytes, shape: type[Shape]) -> Shape:
    """A JSON body as its shape.

    Raises:
        UnusableUpload: It is no JSON.
        InvalidRequest: It has another shape; `errors` names the field.
    """
    try:
        plain: Any = msgspec.json.decode(data)
        return typed.convert(plain, shape)
    except msgspec.ValidationError as error:
        said = str(error)
        field = _FIELD.search(said)
        named = _NAMED.search(said)
        if named:
            what = "is missing" if named[1] == "missing required" else "is not known here"
            raise invalid(named[2], what) from None
        name = field[1] if field and field[1] else "body"
        what = _FIELD.sub("", said)[:200].rstrip(".")
        raise invalid(name, _for_people(what) + _choices(shape, name)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnusableUpload(
            f"The body is not valid JSON: {error}.", hint="Send one JSON object."
        ) from None


def plain_json(data: bytes) -> Any:
    """What a body of rows holds; a number that is too large is infinity, which no field may be.

    Raises:
        UnusableUpload: It is no JSON.
    """
    try:
        try:
            return msgspec.json.decode(data)
        except msgspec.ValidationError:
            # msgspec refuses such a number without saying where; the row's check names it.
            found = json.loads(data)
            # Half of a character pair, which only this reader lets through: nobody can send it on.
            msgspec.json.encode(found)
            return found
    except (ValueError, RecursionError) as error:
        hint = ""
        if _NOT_A_NUMBER.search(data):
            hint = "JSON has no NaN and no Infinity: a missing value is null."
        raise UnusableUpload(f"The body is not JSON: {error}.", hint=hint) from None


def _for_people(said: str) -> str:
    """What msgspec says of a value, without the names of Python's types."""
    bound = _BOUND.fullmatch(said)
    if bound is None:
        return f"is not right: {said}"
    kind, end, number = bound.groups()
    if kind in _COUNTED:
        least = "at least" if end == ">=" else "at most"
        return f"must have {least} {number} {_COUNTED[kind]}{'' if number == '1' else 's'}"
    return f"must be {_ENDS[end]} {float(number):g}"


def _choices(shape: type, name: str) -> str:
    """What a field may be, where that is one of a few texts."""
    hint = get_type_hints(shape, include_extras=False).get(name)
    if get_origin(hint) is not Literal:
        return ""
    return f"; it may be {', '.join(map(str, get_args(hint)))}"
