"""A home with models, pictures, and a way to run a command as a person does."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image, ImageDraw
from tests.support import onnx_models

from andon.cli.main import main
from andon.logs import logging_stop


class Done(NamedTuple):
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be JSON alone."""
        return json.loads(self.out)


Andon = Callable[..., Done]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home that the commands of this test use."""
    folder = tmp_path / "home"
    monkeypatch.setenv("ANDON_HOME", str(folder))
    return folder


@pytest.fixture
def andon(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Andon]:
    """Runs ``andon …`` in this process, through the same door as the program."""

    def run(*words: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["andon", *map(str, words)])
        code: Any = 0
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code or 0
        written = capsys.readouterr()
        return Done(code, written.out, written.err)

    yield run
    logging_stop()


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    """A model that finds white squares on black, labelled "spot"."""
    return onnx_models.yolov8_spot(tmp_path / "spots.onnx", metadata=onnx_models.andon())


@pytest.fixture
def other_detector(tmp_path: Path) -> Path:
    """The same, calling them "blot"."""
    labels = ("blot",)
    metadata = onnx_models.andon(labels)
    return onnx_models.yolov8_spot(tmp_path / "blots.onnx", labels=labels, metadata=metadata)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture with one white square, at 16, 24 and 8 wide and high."""
    path = tmp_path / "board.png"
    image = Image.new("RGB", (64, 64))
    ImageDraw.Draw(image).rectangle((16, 24, 23, 31), fill="white")
    image.save(path)
    return path


@pytest.fixture(scope="session")
def _first_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("first") / "home"


@pytest.fixture
def serving(andon: Andon, detector: Path, home: Path, _first_home: Path) -> Andon:
    """Runs ``andon …`` where version 1 of pcb is active.

    The first test adds it; the others get a copy of what that left, for adding takes a moment.
    """
    if _first_home.exists():
        shutil.copytree(_first_home, home)
    else:
        assert andon("models", "add", detector).code == 0
        shutil.copytree(home, _first_home)
    return andon
