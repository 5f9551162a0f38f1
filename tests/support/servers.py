"""Real servers in processes of their own, several on one database where a test wants that."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

_PROGRAM = """
import json, sys
from pathlib import Path
from andon.platform import Platform
from andon.settings import Settings
from andon.web.server import run

given = json.loads(sys.argv[1])
settings = Settings(port=0, watch=False, inference_threads=1, _env_file=None, **given)
run(Platform(settings), lambda address: print(address, flush=True))
"""


class Server:
    """One server.

    Args:
        home: Its home.
        settings: Fields of `Settings`.
    """

    def __init__(self, home: Path, **settings: Any) -> None:
        self.home = home
        self.log = home / "server.txt"
        home.mkdir(parents=True, exist_ok=True)
        given = json.dumps({"home": str(home), **settings})
        with self.log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, given],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={name: text for name, text in os.environ.items() if "ANDON" not in name},
            )
        self.address = ""
        self.client = httpx.Client(timeout=30)

    def ready(self) -> "Server":
        """Wait until it answers."""
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address, self.log.read_text()[-3000:]
        self.client.base_url = httpx.URL(self.address)
        return self

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        return self.client.get(path).raise_for_status().json()

    def watches(self) -> bool:
        """Whether it is the one that watches."""
        return bool(self.get("/api/watch")["mine"])

    def deploy(self, path: Path, **fields: str) -> dict[str, Any]:
        """Upload a model file, which serves from then on."""
        with path.open("rb") as file:
            answer = self.client.post(
                "/api/models/upload", files={"model": (path.name, file)}, data=fields
            )
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def predict(self, board: bytes, **fields: str) -> httpx.Response:
        """Ask about a picture."""
        return self.client.post(
            "/api/predict", files={"image": ("board.png", board, "image/png")}, data=fields
        )

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self) -> None:
        """Kill it, whatever it does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.client.close()


@contextmanager
def servers(folder: Path, count: int = 1, **settings: Any) -> Iterator[list[Server]]:
    """So many servers; several share the database and the models, and nothing else."""
    started: list[Server] = []
    try:
        if count > 1:
            settings.setdefault("models_dir", str(folder / "models"))
        started += [Server(folder / f"home{number}", **settings) for number in range(1, count + 1)]
        for one in started:
            one.ready()
        yield started
    finally:
        for one in started:
            one.end()


def until(look: Callable[[], Any], seconds: float = 40.0, pause: float = 0.05) -> float:
    """Wait until something is so; how long that took, seconds."""
    began = time.monotonic()
    while not look():
        assert time.monotonic() - began < seconds, f"not within {seconds:g} s"
        time.sleep(pause)
    return time.monotonic() - began
