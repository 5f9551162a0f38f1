"""Sends picture files to browsers: right type, shown in place, cached, never by a caller's path."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from andon.errors import NotFound

_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".bmp": "image/bmp"}
_DAY = 86_400

TYPES = ("image/jpeg", "image/png", "image/bmp")


def send(request: Request, path: Path, *, name: str, tag: str, forever: bool) -> Response:
    """A picture, or 304 when the browser has it.

    Args:
        request: What was asked.
        path: The file; chosen here, never by the caller.
        name: What to call it when it is saved.
        tag: Names the content for caches; changes when the content does.
        forever: Whether this address will always mean this content.

    Raises:
        NotFound: The file was swept a moment ago.
    """
    caching = f"private, max-age={_DAY}, immutable" if forever else "private, no-cache"
    headers = {"ETag": f'"{tag}"', "Cache-Control": caching}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    try:
        status = path.stat()
    except FileNotFoundError:
        raise NotFound(
            "The picture is no longer kept.", hint="Pictures are deleted after some days."
        ) from None
    return FileResponse(
        path,
        headers=headers,
        media_type=_TYPES.get(path.suffix.lower(), "application/octet-stream"),
        filename=name,
        stat_result=status,
        content_disposition_type="inline",
    )
