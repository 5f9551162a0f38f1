"""One row in, its answer out: the JSON side of `POST /predict`."""

from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive

from andon.errors import InvalidRequest, TooLarge
from andon.platform import Platform
from andon.web.bodies import plain_json
from andon.web.parameters import invalid, positive, short_text, yes_or_no
from andon.web.problems import ClientGone
from andon.web.row_shapes import RowPrediction
from andon.web.shapes import encode

_MAX_ROW_BYTES = 256 * 1024
_MEMBERS = frozenset({"features", "model", "version", "subject", "request_id", "explain"})
_LARGEST_VERSION = 2**31 - 1

_decode = msgspec.json.Decoder(dict[str, Any]).decode


async def answer_row(platform: Platform, receive: Receive, query: bytes) -> bytes:
    """Read a row, ask the engine, and encode the answer.

    Args:
        platform: Whose engine is asked.
        receive: The request's body.
        query: The query string: `model`, `version` and `explain` may stand there too.

    Raises:
        AndonError: As `InferenceEngine.answer_row`; or it is no JSON, or not of this shape.
    """
    wish = read_row(await read_body(receive, _MAX_ROW_BYTES, "The row"), query)
    return encode(RowPrediction.of(await platform.engine.answer_row(**wish)))


def read_row(raw: bytes, query: bytes = b"") -> dict[str, Any]:
    """What `InferenceEngine.answer_row` takes, from a body.

    An object with the member `features` (an object) or `model` says more than the row; any
    other object is the row itself, for the default model.

    Raises:
        UnusableUpload: It is no JSON.
        InvalidRequest: It is JSON of another shape.
    """
    try:
        body = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        body = plain_json(raw)
        if type(body) is not dict:
            raise InvalidRequest(f"The row is not valid: {error}.") from None
    wish = _options(query) if query else {}
    features = body.get("features")
    if type(features) is not dict and "model" not in body:
        wish["features"] = body
        return wish
    for name in body:
        if name == "async":
            raise invalid("async", "is for pictures; a row is answered at once")
        if name not in _MEMBERS:
            raise invalid(
                name[:64],
                "is no member of the request; the row's fields stand inside `features`",
            )
    if type(features) is not dict:
        raise invalid("features", "must be an object with the row's fields")
    for name, value in body.items():
        if value is not None:
            wish[name] = _member(name, value)
    return wish


def _member(name: str, value: Any) -> Any:
    """One member of the request, checked."""
    if name in {"subject", "request_id", "model"}:
        if not isinstance(value, str):
            raise invalid(name, "must be text")
        return short_text(name, value, limit=64 if name == "model" else 255)
    if name == "explain" and not isinstance(value, bool):
        raise invalid(name, "must be true or false")
    if name == "version" and not (type(value) is int and 1 <= value <= _LARGEST_VERSION):
        raise invalid(name, "must be a version number, 1 or more")
    return value


def _options(query: bytes) -> dict[str, Any]:
    """What the query string says.

    Raises:
        InvalidRequest: It asks for an answer later, or a value is not valid.
    """
    given = dict(parse_qsl(query.decode("latin-1")))
    if yes_or_no("async", given.get("async"), default=False):
        raise invalid("async", "is for pictures; a row is answered at once")
    return model_and_version(given) | {
        "explain": yes_or_no("explain", given.get("explain"), default=False)
    }


def model_and_version(given: dict[str, str]) -> dict[str, Any]:
    """The model and version that a query string names.

    Raises:
        InvalidRequest: They cannot be names of any.
    """
    version = given.get("version")
    return {
        "model": short_text("model", given.get("model"), limit=64),
        "version": None if version is None else positive("version", version),
    }


async def read_body(receive: Receive, limit: int, what: str) -> bytes:
    """A body, whole.

    Raises:
        TooLarge: It has more than `limit` bytes.
        ClientGone: It never became complete.
    """
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) <= limit:
            return body
    pieces: list[bytes] = []
    size = 0
    while True:
        if message["type"] != "http.request":
            raise ClientGone
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise TooLarge(f"{what} exceeds {limit} bytes.", hint="Send less at a time.")
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)
        message = await receive()
