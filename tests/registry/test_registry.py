"""The documented interface (S0-64 to S0-73, S0-173) and what it rests on."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from andon import Database, ModelRegistry
from andon.errors import Conflict, ModelDamaged, NotFound, UnusableUpload
from andon.registry.intake import Received

_ELF = b"\x7fELF\x02\x01\x01" + b"\0" * 100


@pytest.fixture
def eim(tmp_path: Path) -> Path:
    """A file that begins like a program."""
    path = tmp_path / "new_model.eim"
    path.write_bytes(_ELF)
    return path


def _onnx(tmp_path: Path, content: bytes = b"onnx") -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    return path


def test_a_model_is_copied_into_the_registry(registry: ModelRegistry, eim: Path):
    """S0-67 to S0-71: version 1, executable, under its number; the source stays."""
    assert registry.register_model(eim, notes="first") == 1
    path = registry.get_model_path(1)
    assert path == registry.files.folder / "pcb" / "model_v1.eim"
    assert path.read_bytes() == eim.read_bytes() == _ELF
    assert path.stat().st_mode & 0o777 == 0o755
    stored = registry.db.models.get("pcb", 1)
    assert (stored.filename, stored.notes, stored.format) == ("new_model.eim", "first", "eim")
    assert (stored.file_hash, stored.file_size) == (hashlib.sha256(_ELF).hexdigest(), len(_ELF))


def test_an_onnx_model_is_data(registry: ModelRegistry, tmp_path: Path):
    """Readable, not executable."""
    registry.register_model(_onnx(tmp_path))
    path = registry.get_model_path(1)
    assert (path.name, path.stat().st_mode & 0o777) == ("model_v1.onnx", 0o644)


def test_the_same_content_is_the_same_version(registry: ModelRegistry, eim: Path, tmp_path: Path):
    """S0-65: whatever the file is called; nothing is left over."""
    renamed = tmp_path / "other.eim"
    renamed.write_bytes(_ELF)
    assert registry.register_model(eim) == registry.register_model(renamed) == 1
    assert list(registry.files.incoming.iterdir()) == []
    found = registry.find(None, hashlib.sha256(_ELF).hexdigest())
    assert found is not None
    assert found.version == 1


def test_models_have_folders_of_their_own(registry: ModelRegistry, eim: Path, tmp_path: Path):
    """Each counts its versions."""
    registry.register_model(eim)
    assert registry.register_model(_onnx(tmp_path), model="Heart-Disease") == 1
    assert registry.get_model_path(1, "heart-disease").parent.name == "heart-disease"


def test_a_version_is_activated(registry: ModelRegistry, eim: Path, tmp_path: Path):
    """S0-70: the old one is not active any more, the history knows why."""
    registry.register_model(eim)
    registry.register_model(_onnx(tmp_path))
    assert registry.activate_model(1) is True
    assert registry.activate_model(2, reason="better", actor="ann") is True
    assert [row.is_active for row in registry.db.models.list("pcb")] == [True, False]
    event = registry.db.events.page()[0][0]
    assert (event.event_type, event.previous_version, event.reason) == ("ACTIVATE", 1, "better")


def test_what_is_not_there_is_named(registry: ModelRegistry, tmp_path: Path):
    """Versions and files alike."""
    with pytest.raises(NotFound, match="Version 9"):
        registry.get_model_path(9)
    with pytest.raises(NotFound, match="Version 9"):
        registry.activate_model(9)
    with pytest.raises(UnusableUpload, match=r"nothing\.eim cannot be read"):
        registry.register_model(tmp_path / "nothing.eim")
    with pytest.raises(UnusableUpload, match="empty"):
        registry.register_model(_onnx(tmp_path, b""))
    assert registry.db.models.list() == []


def test_a_hash_depends_on_the_content_alone(registry: ModelRegistry, eim: Path, tmp_path: Path):
    """S0-72, S0-173: the same file, the same hash, each time."""
    copy = tmp_path / "copy"
    copy.write_bytes(_ELF)
    assert registry.compute_hash(eim) == registry.compute_hash(str(eim))
    assert registry.compute_hash(copy) == hashlib.sha256(_ELF).hexdigest()


def test_a_safe_copy_is_whole_and_executable(registry: ModelRegistry, eim: Path, tmp_path: Path):
    """S0-73: the destination is replaced at once; a failure leaves it as it was."""
    target = tmp_path / "copied.eim"
    target.write_bytes(b"old")
    with pytest.raises(FileNotFoundError):
        registry.safe_copy_file(tmp_path / "nothing", target)
    assert target.read_bytes() == b"old"
    registry.safe_copy_file(eim, target)
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (_ELF, 0o755)
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_received_file_becomes_a_version(
    registry: ModelRegistry, receive: Callable[[bytes], Received]
):
    """With all that is known of it, under a harmless name."""
    received = receive(b"onnx")
    made = registry.add(
        received,
        filename="../../evil\0name.onnx",
        format="onnx",
        suffix=".onnx",
        model="pcb",
        notes="n",
        options={"head": "yolov8"},
        description={"task": "object-detection"},
        source="watch",
    )
    assert made.filename == "evil_name.onnx"
    assert (made.options, made.source) == ({"head": "yolov8"}, "watch")
    assert registry.path_of(made).read_bytes() == b"onnx"
    assert not received.path.exists()


def test_a_received_duplicate_is_refused_and_deleted(
    registry: ModelRegistry, receive: Callable[[bytes], Received]
):
    """`find` asks first; whoever does not, is told."""
    registry.add(receive(b"onnx"), filename="a.onnx", format="onnx")
    again = receive(b"onnx")
    with pytest.raises(Conflict, match="Version 1"):
        registry.add(again, filename="b.onnx", format="onnx")
    assert not again.path.exists()
    assert [path.name for path in (registry.files.folder / "pcb").iterdir()] == ["model_v1.onnx"]


def test_a_suffix_follows_from_the_format(
    registry: ModelRegistry, receive: Callable[[bytes], Received]
):
    """A file is found again by its format alone."""
    received = receive(b"onnx")
    with pytest.raises(ValueError, match=r"\.onnx"):
        registry.add(received, filename="a", format="onnx", suffix=".eim")
    received.discard()


def test_a_sound_file_is_verified(registry: ModelRegistry, eim: Path):
    """And gets its mode back (S0-139)."""
    registry.register_model(eim)
    path = registry.get_model_path(1)
    path.chmod(0o600)
    assert registry.verify(registry.db.models.get("pcb", 1)) == path
    assert path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(_ELF[:-1]), "bytes instead of"),
        (lambda path: path.write_bytes(_ELF[:-1] + b"x"), "was changed"),
        (lambda path: (path.unlink(), path.mkdir()), "not a file"),
    ],
    ids=["missing", "cut", "changed", "folder"],
)
def test_a_damaged_file_is_refused_and_remembered(
    registry: ModelRegistry, eim: Path, damage: Callable[[Path], object], why: str
):
    """The reason names the file; the version cannot be activated until it is mended."""
    registry.register_model(eim)
    path = registry.get_model_path(1)
    damage(path)
    with pytest.raises(ModelDamaged, match=why):
        registry.verify(registry.db.models.get("pcb", 1))
    assert why in registry.db.models.get("pcb", 1).damaged
    with pytest.raises(ModelDamaged, match=why):
        registry.activate_model(1)
    if path.is_dir():
        path.rmdir()
    path.write_bytes(_ELF)
    registry.verify(registry.db.models.get("pcb", 1))
    assert registry.db.models.get("pcb", 1).damaged == ""
    assert registry.activate_model(1)


def test_a_deleted_version_takes_its_file_along(registry: ModelRegistry, eim: Path):
    """The active one is not deleted (S0-110), and its file stays."""
    registry.register_model(eim)
    path = registry.get_model_path(1)
    registry.activate_model(1)
    with pytest.raises(Conflict, match="active"):
        registry.delete(None, 1)
    assert path.exists()
    registry.register_model(_onnx(path.parent))
    registry.activate_model(2)
    registry.delete(None, 1)
    assert not path.exists()
    with pytest.raises(NotFound):
        registry.delete(None, 1)


def test_documented_examples_work(tmp_path: Path, eim: Path):
    """S0-138: manual registration in Python, as it was written down."""
    db = Database(tmp_path / "mlops.db")
    registry = ModelRegistry(db, tmp_path / "registry")
    version = registry.register_model(eim, notes="Manual registration")
    registry.activate_model(version)
    active = db.get_active_model()
    assert active is not None
    assert (active.version, active.is_active) == (version, True)
    db.close()
