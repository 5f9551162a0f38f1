"""Telling what a model file is by its content."""

import io
import pickle
import struct
import tarfile
import zipfile

import pytest
from tests.support import onnx_models as onnx
from tests.support.fake_eim import build_fake_eim

from andon.errors import ModelRejected
from andon.runtimes import elf, formats
from andon.runtimes.base import ModelOptions, RuntimeConfig
from andon.runtimes.formats import recognise


class Trap:
    """Unpickling it would show."""

    sprung = False

    def __reduce__(self):
        """Run on load."""
        return (setattr, (Trap, "sprung", True))


def zipped(*names: str) -> bytes:
    """A zip archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return stream.getvalue()


def tarred() -> bytes:
    """A tar archive."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model"))
    return stream.getvalue()


REFUSED = {
    "a pickle": (pickle.dumps({"weights": [1, 2]}), "pickle"),
    "an old pickle": (pickle.dumps({"weights": [1, 2]}, protocol=2), "pickle"),
    "a PyTorch file": (zipped("model/data.pkl", "model/data/0"), "yolo export"),
    "a zip archive": (zipped("notes.txt"), "zip"),
    "a tar archive": (tarred(), "tar"),
    "a gzip archive": (b"\x1f\x8b\x08" + bytes(60), "gzip"),
    "a web page": (b"\n<!DOCTYPE html><html><title>Log in</title>", "web page"),
    "an empty file": (b"", "empty"),
    "a script": (b"#!/bin/sh\nexit 0\n", "script"),
    "JSON": (b'{"model": 1}', "JSON"),
    "text": (b"version https://git-lfs.github.com/spec/v1\n", "text"),
    "a Keras file": (b"\x89HDF\r\n\x1a\n" + bytes(60), "HDF5"),
    "a TensorFlow Lite model": (b"\x1c\x00\x00\x00TFL3" + bytes(60), "TensorFlow Lite"),
    "a macOS program": (b"\xcf\xfa\xed\xfe" + bytes(60), "macOS"),
    "a Windows program": (b"MZ" + bytes(60), "Windows"),
    "a picture": (b"\xff\xd8\xff\xe0" + bytes(60), "JPEG"),
    "noise": (bytes(range(200, 256)) * 9, "unknown"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_model_is_named_and_refused(tmp_path, name):
    """With what Andon takes, or how to convert it; whatever the suffix claims."""
    content, words = REFUSED[name]
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelRejected, match=words) as refused:
        recognise(path)
    assert refused.value.hint


def test_nothing_is_ever_unpickled(tmp_path):
    """Opening a pickle runs what is in it."""
    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ModelRejected):
        formats.load(path, ModelOptions(), RuntimeConfig())
    assert not Trap.sprung


def test_formats_are_told_by_content_and_not_by_name(tmp_path):
    """An ONNX model called .eim is an ONNX model."""
    assert recognise(onnx.yolov8_spot(tmp_path / "a.eim")).format == "onnx"
    assert recognise(build_fake_eim(tmp_path / "b.onnx")).format == "eim"


def test_every_format_has_its_name_and_suffix():
    """They are what the registry stores."""
    for name, runtime in formats.FORMATS.items():
        assert (runtime.format, runtime.suffix) == (name, f".{name}")


def test_a_model_is_loaded_whatever_its_format(tmp_path):
    """Recognise, check, load in one call."""
    for path in (onnx.yolov8_spot(tmp_path / "a"), build_fake_eim(tmp_path / "b")):
        model = formats.load(path, ModelOptions(), RuntimeConfig())
        assert model.description.width > 0
        model.close()


def test_a_missing_file_is_refused(tmp_path):
    """As a model, not as a crash."""
    with pytest.raises(ModelRejected):
        recognise(tmp_path / "nothing")


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_program_for_another_machine_is_refused_with_both_names(tmp_path, monkeypatch, machine):
    """The message says which deployment to choose."""
    path = build_fake_eim(tmp_path / "m.eim", machine=machine)
    other = {"x86_64": "aarch64", "aarch64": "x86_64"}[machine]
    monkeypatch.setattr("platform.machine", lambda: other)
    with pytest.raises(ModelRejected, match=f"built for {machine}, this machine is {other}"):
        elf.check(path)
    monkeypatch.setattr("platform.machine", lambda: machine)
    elf.check(path)


def test_a_truncated_program_is_refused_wherever_it_ends(tmp_path):
    """It would start and die by SIGSEGV."""
    path = build_fake_eim(tmp_path / "m.eim")
    whole = path.read_bytes()
    for length in (4, 10, 19, 20, 40, 63, 64, 100, 119, 130):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelRejected, match="truncated"):
            elf.check(path)


def test_a_program_whose_sections_are_cut_off_is_refused(tmp_path):
    """The table of sections stands at the very end of linked programs."""
    path = build_fake_eim(tmp_path / "m.eim")
    content = bytearray(path.read_bytes())
    struct.pack_into("<Q", content, 40, len(content))
    struct.pack_into("<H", content, 60, 12)
    path.write_bytes(content)
    with pytest.raises(ModelRejected, match="truncated"):
        elf.check(path)


def test_an_object_file_is_no_program(tmp_path):
    """Nor is a core dump."""
    path = build_fake_eim(tmp_path / "m.eim")
    content = bytearray(path.read_bytes())
    content[16] = 1
    path.write_bytes(content)
    with pytest.raises(ModelRejected, match="not a program"):
        elf.check(path)


def test_programs_of_32_bits_are_refused(tmp_path):
    """By the name of their machine."""
    path = build_fake_eim(tmp_path / "m.eim")
    content = bytearray(path.read_bytes())
    content[4] = 1
    content[18:20] = (40).to_bytes(2, "little")
    path.write_bytes(content)
    with pytest.raises(ModelRejected, match="32-bit ARM"):
        elf.check(path)
