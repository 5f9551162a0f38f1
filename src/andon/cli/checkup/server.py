"""The port: free, ours, or somebody else's."""

import http.client
import json
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

from andon.cli.checkup.finding import Finding, fail, ok, warn

if TYPE_CHECKING:
    from andon.settings import Settings

_TIMEOUT = 3.0  # seconds


def examine(settings: "Settings") -> Iterator[Finding]:
    """Who listens on the port, and how the server there feels."""
    if settings.port == 0:
        yield ok("port", "A free port is picked at start.")
        return
    host = "127.0.0.1" if settings.host in {"0.0.0.0", "localhost"} else settings.host  # noqa: S104 - compared, not bound
    where = f"{host}:{settings.port}"
    health = _health(host, settings.port)
    if health is not None:
        yield from _server(where, health)
    elif _taken(host, settings.port):
        yield fail(
            "port",
            f"Another program listens on {where}.",
            f"Find it (sudo ss -ltnp 'sport = :{settings.port}') or set ANDON_PORT.",
        )
    else:
        yield ok("port", f"{where} is free; no server is running.")


def _server(where: str, health: dict[str, object]) -> Iterator[Finding]:
    status = health["status"]
    if status == "healthy":
        yield ok("server", f"Andon answers on {where} and is healthy.")
    else:
        yield warn(
            "server",
            f"Andon answers on {where} and says: {status}.",
            f"curl http://{where}/health says more; so does the log.",
        )


def _health(host: str, port: int) -> dict[str, object] | None:
    """What Andon's /health answers there; None when no Andon does."""
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
    try:
        connection.request("GET", "/health")
        answer = json.loads(connection.getresponse().read(1 << 16))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    ours = isinstance(answer, dict) and {"status", "active_model"} <= answer.keys()
    return answer if ours else None


def _taken(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_TIMEOUT):
            return True
    except OSError:
        return False
