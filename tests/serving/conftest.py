"""An installation in a folder of its own, tiny real models, and boards to look at."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serving.boards import board, spot_model, until

from andon.logs import logging_stop
from andon.platform import Platform
from andon.serving.answers import Answer
from andon.serving.deployment import Deployed
from andon.settings import Settings


class Line:
    """An installation under test, and short ways to use it."""

    def __init__(self, home: Path, **given) -> None:
        self.home = home
        self.given = {"watch": False, "inference_threads": 1, **given}
        self.platform: Platform | None = None

    def start(self, *, serve: bool = True, **given) -> Platform:
        """Open the installation (again)."""
        self.stop()
        settings = Settings(home=self.home, _env_file=None, **{**self.given, **given})
        self.platform = Platform(settings)
        self.platform.start(serve=serve)
        return self.platform

    def stop(self) -> None:
        """Close it."""
        if self.platform is not None:
            self.platform.stop()
            self.platform = None

    @property
    def engine(self):
        """What answers."""
        return self.platform.engine

    @property
    def log(self) -> list[str]:
        """The lines of andon.log, without time and level."""
        lines = (self.home / "andon.log").read_text().splitlines()
        return [line.split(maxsplit=2)[2] for line in lines if not line.startswith(" ")]

    def file(self, name: str = "board", **given) -> Path:
        """A model file; another name is another content."""
        return spot_model(self.home.parent / f"{name}.onnx", name=name, **given)

    def deploy(self, file: Path | str, **given) -> Deployed:
        """Upload a model file (or a fresh one by name) and let it serve."""
        path = self.file(file) if isinstance(file, str) else file
        with self.platform.deployments.receive() as incoming:
            incoming.write(path.read_bytes())
            received = incoming.finish()
        return self.platform.deployments.deploy(
            received, **{"filename": path.name, "source": "upload", "actor": "test", **given}
        )

    def ask(self, data: bytes | None = None, **given) -> Answer:
        """Inspect a picture."""
        asked = {"image_name": "board.png", **given}
        return self.engine.answer_sync(board() if data is None else data, **asked)

    def ask_async(self, data: bytes | None = None, **given) -> Answer:
        """Inspect a picture the way the web does."""
        asked = {"image_name": "board.png", **given}
        return asyncio.run(self.engine.answer(board() if data is None else data, **asked))


@pytest.fixture
def line(tmp_path) -> Iterator[Line]:
    """An installation that serves, without a model."""
    before = set(threading.enumerate())
    made = Line(tmp_path / "home")
    made.start()
    yield made
    made.stop()
    logging_stop()
    # Threads of closed versions end, if not in this instant. Other servers of this process
    # (the web tests keep one) have theirs.
    until(
        lambda: (
            not any(one.name.startswith("andon-pcb") for one in set(threading.enumerate()) - before)
        )
    )


@pytest.fixture
def serving(line) -> Line:
    """The same, with version 1 of the default model active."""
    line.deploy("first")
    return line
