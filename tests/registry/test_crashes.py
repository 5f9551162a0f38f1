"""Registry and folder after a process was killed, or somebody touched the files."""

import os
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from andon.registry.intake import Received
from andon.registry.registry import ModelRegistry
from andon.store.database import Database

# Registers a file, killed by itself at the step that is named.
_DIE = """
import os, signal, sys
from andon.registry.registry import ModelRegistry
from andon.store.database import Database
from andon.store.model_files import ModelFiles

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

home, source, step = sys.argv[1:]
db = Database(home + "/andon.db")
registry = ModelRegistry(db, home + "/models")
if step == "receiving":
    with registry.receive() as incoming:
        incoming.write(b"half")
        die()
elif step == "before the file":
    ModelFiles.place = die
elif step == "after the file":
    place = ModelFiles.place
    ModelFiles.place = lambda *args, **options: (place(*args, **options), die())
elif step == "after the row":
    registry.register_model(source)
    die()
registry.register_model(source)
"""


def _die_at(step: str, home: Path, source: Path) -> None:
    code = textwrap.dedent(_DIE)
    done = subprocess.run(
        [sys.executable, "-c", code, home, source, step], capture_output=True, check=False
    )
    assert done.returncode == -9, done.stderr.decode()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A model file to register."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"onnx")
    return path


@pytest.mark.parametrize(
    ("step", "versions", "mended"),
    [
        ("receiving", 0, "half-received"),
        ("before the file", 0, "half-received"),
        ("after the file", 0, "belongs to no version"),
        ("after the row", 1, ""),
    ],
)
def test_a_registration_killed_anywhere_is_mended(
    registry: ModelRegistry, tmp_path: Path, source: Path, step: str, versions: int, mended: str
):
    """Either the version is there with its file, or there is no trace of it; then it works."""
    _die_at(step, tmp_path, source)
    sentences = registry.reconcile()
    assert len(registry.db.models.list()) == versions
    assert mended in " ".join(sentences)
    assert bool(mended) == bool(sentences)
    assert len(registry.files.stored()) == versions
    assert registry.register_model(source) == 1
    registry.verify(registry.db.models.get("pcb", 1))
    assert registry.reconcile() == []


def test_a_number_left_by_a_crash_is_used_again(
    registry: ModelRegistry, tmp_path: Path, source: Path
):
    """Without reconciling first: the leftover is simply replaced."""
    _die_at("after the file", tmp_path, source)
    source.write_bytes(b"another")
    assert registry.register_model(source) == 1
    assert registry.get_model_path(1).read_bytes() == b"another"


def test_a_row_whose_file_is_gone_is_marked(registry: ModelRegistry, source: Path):
    """Said once; the row stays, for the file may come back."""
    registry.register_model(source)
    registry.get_model_path(1).unlink()
    (sentence,) = registry.reconcile()
    assert "version 1 of model pcb as damaged" in sentence
    assert "is missing" in registry.db.models.get("pcb", 1).damaged
    assert registry.reconcile() == []


def test_a_lost_mode_is_mended(registry: ModelRegistry, source: Path):
    """S0-139: whatever a copy or a backup did to it."""
    source.write_bytes(b"\x7fELF")
    registry.register_model(source)
    registry.get_model_path(1).chmod(0o600)
    assert "mode back" in registry.reconcile()[0]
    assert registry.get_model_path(1).stat().st_mode & 0o777 == 0o755


def test_a_file_nobody_knows_is_moved_aside(registry: ModelRegistry, source: Path):
    """It may be all that is left after an old database was restored."""
    registry.register_model(source)
    stranger = registry.files.path("pcb", 7, ".onnx")
    stranger.write_bytes(b"precious")
    wrong_suffix = registry.files.path("pcb", 1, ".eim")
    wrong_suffix.write_bytes(b"what")
    assert len(registry.reconcile()) == 2
    aside = sorted(path.read_bytes() for path in (registry.files.folder / ".orphans").iterdir())
    assert aside == [b"precious", b"what"]
    assert registry.get_model_path(1).exists()


def test_the_file_of_a_deleted_version_is_deleted(registry: ModelRegistry, source: Path):
    """A kill between row and file is finished."""
    registry.register_model(source)
    path = registry.get_model_path(1)
    registry.db.models.delete("pcb", 1)
    assert "deleted version 1" in registry.reconcile()[0]
    assert not path.exists()


def test_reconciling_does_not_disturb_a_registration(
    registry: ModelRegistry, receive: Callable[[bytes], Received], tmp_path: Path
):
    """Another process that starts meanwhile takes nothing for a leftover."""
    other_db = Database(tmp_path / "andon.db")
    other = ModelRegistry(other_db, registry.files.folder)
    stop = time.monotonic() + 1.5

    def keep_reconciling() -> list[str]:
        said = []
        while time.monotonic() < stop:
            said += other.reconcile()
        return said

    with ThreadPoolExecutor(1) as pool:
        reconciling = pool.submit(keep_reconciling)
        count = 0
        while time.monotonic() < stop:
            registry.add(receive(os.urandom(64)), filename="a.onnx", format="onnx")
            count += 1
        assert reconciling.result() == []
    assert len(registry.files.stored()) == count
    for version in registry.db.models.list():
        registry.verify(version)
    other_db.close()


def test_a_file_whose_row_could_not_be_committed_is_taken_back(
    registry: ModelRegistry, receive: Callable[[bytes], Received], monkeypatch: pytest.MonkeyPatch
):
    """On a full disk the file must not stay and keep it full."""

    def fail_to_commit(dialect: object, connection: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    registry.db.models.ensure_model("pcb", "")
    with monkeypatch.context() as patch:
        patch.setattr(registry.db.engine.dialect, "do_commit", partial(fail_to_commit, None))
        with pytest.raises(Exception, match="disk I/O"):
            registry.add(receive(b"onnx"), filename="a.onnx", format="onnx")
    assert registry.files.stored() == []
    assert registry.add(receive(b"onnx"), filename="a.onnx", format="onnx").version == 1
