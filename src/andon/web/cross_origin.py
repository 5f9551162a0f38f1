"""Pages of other origins: which may call what from a browser (CORS, Fetch Standard section 3.2).

A web client that watches a driver runs in a page that Andon did not serve. The origins in
ANDON_ALLOWED_ORIGINS may send telemetry and events and read their numbers, nothing else:
models, settings and rosters stay out of every page's reach. Cookies never count there; where a
key is needed, the page sends it in a header.
"""

from starlette.responses import Response

from andon.settings import Settings
from andon.web.access import Head

PATHS = frozenset(
    {
        "/telemetry",
        "/telemetry/batch",
        "/telemetry/features",
        "/statistics",
        "/dashboard",
        "/events",
        "/events/batch",
    }
)
"""What pages of other origins may call, with `METHODS` alone."""
METHODS = frozenset({"GET", "HEAD", "POST"})

_ALLOWED_METHODS = ", ".join(sorted(METHODS))
_ALLOWED_HEADERS = "Authorization, Content-Type, X-API-Key"
# How long a browser need not ask again, seconds.
_REMEMBERED = "600"
_VARY = (b"vary", b"Origin")
_EXPOSED = (b"access-control-expose-headers", b"Link, Retry-After")


class CrossOrigin:
    """Decides about requests of pages that were not served here.

    Args:
        settings: `allowed_origins` names who may come.
    """

    def __init__(self, settings: Settings) -> None:
        self._origins = frozenset(origin.encode() for origin in settings.origins)

    def is_guest(self, path: str, method: str, head: Head) -> bool:
        """Whether a page of an allowed origin calls what such pages may call.

        Args:
            path: Without a closing slash.
            method: Of the request; for a preflight, the one it asks about is checked too.
            head: Of the request.
        """
        if not head.origin or path not in PATHS or head.origin.lower() not in self._origins:
            return False
        return method in METHODS or method == "OPTIONS"

    def preflight(self, method: str, head: Head) -> Response | None:
        """The answer to a browser that asks on behalf of a guest; None: it does not ask."""
        if method != "OPTIONS" or not head.request_method:
            return None
        return Response(
            status_code=204,
            headers={
                "Access-Control-Allow-Methods": _ALLOWED_METHODS,
                "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
                "Access-Control-Max-Age": _REMEMBERED,
            },
        )

    def headers(self, path: str, guest: bytes) -> list[tuple[bytes, bytes]]:
        """What an answer carries; `guest` is the origin let in, or empty.

        `Vary` comes with every answer that could have been another for another origin.
        """
        if path not in PATHS or not self._origins:
            return []
        if not guest:
            return [_VARY]
        return [_VARY, (b"access-control-allow-origin", guest), _EXPOSED]
