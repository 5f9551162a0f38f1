"""Bodies of JSON, NDJSON or CSV that a route reads itself, up to a limit of its own."""

import re
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from andon.errors import TooLarge, UnsupportedMedia, UnusableUpload
from andon.web.parameters import invalid
from andon.web.problems import ClientGone

Shape = TypeVar("Shape")

_FIELD = re.compile(r" - at `\$\.?(.*?)`$")


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
        return msgspec.convert(plain, shape)
    except msgspec.ValidationError as error:
        said = str(error)
        field = _FIELD.search(said)
        named = re.search(r"(?:missing required|unknown) field `(\w+)`", said)
        name = named[1] if named else field[1] if field and field[1] else "body"
        raise invalid(name, f"is not right: {_FIELD.sub('', said)[:200].rstrip('.')}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnusableUpload(
            f"The body is not valid JSON: {error}.", hint="Send one JSON object."
        ) from None
