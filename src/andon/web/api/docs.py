"""The interface's own documentation: the OpenAPI document, two ways to read it, and errors.

Nothing comes from the internet: the scripts of both pages lie in the `fastapi-offline`
package, and the one picture that Redoc would fetch from its makers is left out. Both build style
elements while they run, so these two pages, and only they, may.
"""

import html
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, HTMLResponse, Response

from andon.errors import AndonError
from andon.web import problems
from andon.web.openapi import Document

_TYPES = {"js": "text/javascript", "css": "text/css", "png": "image/png"}
_OURS = Path(__file__).parent.parent / "assets"
_HOUR = 3600
_REDOC = "redoc.standalone.js"
# Redoc's mark, which it takes from the internet whatever it is told. A picture that is none makes
# it leave the mark out, without a request that the policy must stop.
_MARK, _NO_MARK = b"https://cdn.redoc.ly/redoc/logo-mini.svg", b"data:,"
_RELAXED = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; script-src 'self'; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
    "Cache-Control": "no-cache",
}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Andon · {title}</title>
{head}
</head>
<body>
{body}
</body>
</html>
"""


def router(document: Document) -> APIRouter:
    """`/docs`, `/redoc`, `/openapi.json`, `/swagger.json` and what they need."""
    routes = APIRouter(include_in_schema=False)
    assets = _assets()

    @routes.get("/openapi.json")
    @routes.get("/swagger.json")
    def openapi_document(request: Request) -> Response:
        body = document.encoded()
        tag = f'"{document.tag()}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type="application/json")

    @routes.get("/docs")
    async def swagger() -> Response:
        return _page(
            "API",
            '<link rel="stylesheet" href="/docs/assets/swagger-ui.css">',
            '<div id="swagger-ui"></div>\n'
            '<script src="/docs/assets/swagger-ui-bundle.js"></script>\n'
            '<script src="/docs/assets/swagger-start.js"></script>',
        )

    @routes.get("/redoc")
    async def redoc() -> Response:
        return _page(
            "API reference",
            # It fills the window; the browser's own margin would frame it.
            "<style>body { margin: 0; }</style>",
            '<div id="redoc"></div>\n'
            f'<script src="/docs/assets/{_REDOC}"></script>\n'
            '<script src="/docs/assets/redoc-start.js"></script>',
        )

    @routes.get("/docs/errors")
    async def errors() -> Response:
        return _page("Errors", "", _errors())

    @routes.get("/docs/assets/{name}")
    def asset(name: str) -> Response:
        path = assets.get(name)
        if path is None:
            raise problems.not_found(f"/docs/assets/{name}")
        kind = _TYPES[path.suffix[1:]]
        headers = {"Cache-Control": f"private, max-age={_HOUR}"}
        if name == _REDOC:
            text = path.read_bytes().replace(_MARK, _NO_MARK)
            return Response(text, media_type=kind, headers=headers)
        return FileResponse(path, media_type=kind, headers=headers)

    return routes


def _assets() -> dict[str, Path]:
    """The files the pages may load, by name; fixed at start, so no name can lead elsewhere."""
    # Found without importing it: the package patches nothing, but costs start-up time.
    spec = find_spec("fastapi_offline")
    folders = [_OURS]
    if spec is not None and spec.submodule_search_locations:
        folders.append(Path(spec.submodule_search_locations[0]) / "static")
    return {
        path.name: path
        for folder in folders
        for path in sorted(folder.iterdir())
        if path.suffix[1:] in _TYPES
    }


def _page(title: str, head: str, body: str) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(title=title, head=head, body=body), headers=_RELAXED)


def _errors() -> str:
    """Every kind of problem: where the `type` of a problem leads."""
    rows = "\n".join(
        f'<section id="{kind.slug}"><h2>{kind.status} · {html.escape(kind.title)}</h2>'
        f"<p>{html.escape(_first_line(kind))}</p></section>"
        for kind in sorted(set(_kinds(AndonError)), key=lambda kind: (kind.status, kind.slug))
    )
    return (
        "<main><h1>Errors</h1>\n<p>Every error is a problem detail (RFC 9457): its "
        "<code>type</code> leads here, its <code>detail</code> says what happened to what and "
        "what to do next.</p>\n"
        f"{rows}</main>"
    )


def _kinds(kind: type[AndonError]) -> Iterator[type[AndonError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from _kinds(narrower)


def _first_line(kind: type[AndonError]) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]
