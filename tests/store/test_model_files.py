from pathlib import Path

import pytest

from andon.store.model_files import ModelFiles, try_to_hold


@pytest.fixture
def files(tmp_path: Path) -> ModelFiles:
    """A folder of model files that is not there yet."""
    return ModelFiles(tmp_path / "models")


def _incoming(files: ModelFiles) -> Path:
    path = files.new_incoming()
    with files.creating():
        path.write_bytes(b"model")
    return path


def test_a_file_is_kept_under_model_and_version(files: ModelFiles):
    """S0-42: `model_v<N>`, in a folder per model, with the mode asked for."""
    received = _incoming(files)
    target = files.path("pcb", 3, ".eim")
    files.place(received, target, mode=0o755)
    assert target == files.folder / "pcb" / "model_v3.eim"
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"model", 0o755)
    assert not received.exists()


def test_stored_files_are_found(files: ModelFiles):
    """Strange names and folders are not taken for versions."""
    assert files.stored() == []
    folder = files.folder / "pcb"
    folder.mkdir(parents=True)
    strangers = ("notes.txt", "model_v0.onnx", "model_v01.onnx", "model_vx.onnx", ".hidden")
    for name in ("model_v1.onnx", "model_v12.eim", *strangers):
        (folder / name).touch()
    (folder / "model_v5.onnx").mkdir()
    (files.folder / ".incoming").mkdir()
    (files.folder / ".incoming" / "model_v1.onnx").touch()
    assert [(model, number) for model, number, _ in files.stored()] == [("pcb", 1), ("pcb", 12)]


def test_only_files_that_nobody_holds_are_swept(files: ModelFiles):
    """A file that is being received, in whatever process, is left alone."""
    assert files.sweep() == 0
    left, held = _incoming(files), _incoming(files)
    with held.open("rb") as file:
        assert try_to_hold(file.fileno())
        assert files.sweep() == 1
        assert (left.exists(), held.exists()) == (False, True)
    assert files.sweep() == 1
