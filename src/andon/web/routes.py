"""What paths exist and which methods they take, for OPTIONS, `Allow` and metric labels."""

import re
from collections.abc import Iterable

from starlette.routing import BaseRoute, Mount, Route

# For metrics: a path nobody serves must not become a label of its own.
UNMATCHED = "unmatched"


class RouteTable:
    """The routes of the application, by what they match. Filled once they are all known."""

    def __init__(self) -> None:
        self._routes: list[tuple[re.Pattern[str], str, frozenset[str]]] = []

    def fill(self, routes: Iterable[BaseRoute]) -> None:
        """Learn the routes."""
        for route in routes:
            if isinstance(route, Route):
                methods = frozenset(route.methods or {"GET"})
                self._routes.append((route.path_regex, route.path_format, methods))
            elif isinstance(route, Mount):
                self._routes.append((route.path_regex, route.path, frozenset({"GET"})))

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
