"""What paths exist and which methods they take, for OPTIONS, `Allow` and metric labels.

And which paths are answered by plain ASGI applications, which need nothing of the framework.
"""

import inspect
import re
from collections.abc import Iterable

from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

# For metrics: a path nobody serves must not become a label of its own.
UNMATCHED = "unmatched"


class RouteTable:
    """The routes of the application, by what they match. Filled once they are all known."""

    def __init__(self) -> None:
        self._routes: list[tuple[re.Pattern[str], str, frozenset[str]]] = []
        self._plain: dict[tuple[str, str], ASGIApp] = {}

    def fill(self, routes: Iterable[BaseRoute]) -> None:
        """Learn the routes."""
        for route in routes:
            if isinstance(route, Route):
                methods = frozenset(route.methods or {"GET"})
                self._routes.append((route.path_regex, route.path_format, methods))
                if not inspect.isroutine(route.endpoint) and not route.param_convertors:
                    for method in methods:
                        self._plain.setdefault((method, route.path), route.app)
            elif isinstance(route, Mount):
                self._routes.append((route.path_regex, route.path, frozenset({"GET"})))

    def plain(self, method: str, path: str) -> ASGIApp | None:
        """The ASGI application behind a path without parameters; None where there is none."""
        return self._plain.get((method, path))

    def allowed(self, path: str) -> list[str]:
        """The methods of a path, in the order of the alphabet; empty: it does not exist."""
        methods: set[str] = set()
        for pattern, _, taken in self._routes:
            if pattern.match(path):
                methods |= taken
        if not methods:
            return []
        if "GET" in methods:
            methods.add("HEAD")
        return sorted(methods | {"OPTIONS"})

    def template(self, path: str) -> str:
        """The route's own spelling of a path: `/api/models/{version}`."""
        for pattern, template, _ in self._routes:
            if pattern.match(path):
                return template
        return UNMATCHED
