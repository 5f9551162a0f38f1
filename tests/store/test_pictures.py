import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.errors import StorageFull
from andon.store.pictures import Pictures

_DATA = b"not really a picture"
_SHA = hashlib.sha256(_DATA).hexdigest()


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    """A store in a folder that is not there yet."""
    return Pictures(tmp_path / "uploads")


def _files(pictures: Pictures) -> list[str]:
    found = (path for path in pictures.folder.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(pictures.folder)) for path in found)


def test_a_picture_is_kept_by_its_content(pictures: Pictures):
    """Once, however often it comes."""
    assert pictures.get(_SHA, "JPEG") is None
    assert pictures.put(_SHA, _DATA, "JPEG")
    assert pictures.put(_SHA, _DATA, "JPEG")
    assert _files(pictures) == [f"{_SHA[:2]}/{_SHA}.jpg"]
    found = pictures.get(_SHA, "JPEG")
    assert found is not None
    assert found.read_bytes() == _DATA


@pytest.mark.parametrize(("format_", "suffix"), [("JPEG", "jpg"), ("PNG", "png"), ("BMP", "bmp")])
def test_a_picture_keeps_its_format(pictures: Pictures, format_: str, suffix: str):
    """The suffix tells a browser what it is."""
    pictures.put(_SHA, _DATA, format_)
    found = pictures.get(_SHA, format_)
    assert found is not None
    assert found.name == f"{_SHA}.{suffix}"


@given(st.text(max_size=80) | st.sampled_from(["../" * 21 + "x", "A" * 64, "0" * 63, "0" * 65]))
def test_nothing_but_a_hash_names_a_picture(name: str):
    """No text leads out of the folder."""
    if len(name) == 64 and set(name) <= set("0123456789abcdef"):
        return
    pictures = Pictures(Path("/nowhere"))
    assert pictures.get(name, "JPEG") is None
    with pytest.raises(ValueError, match="no picture"):
        pictures.put(name, b"", "JPEG")


def test_a_format_that_is_not_taken_has_no_picture(pictures: Pictures):
    """GIF and nonsense alike."""
    assert pictures.get(_SHA, "GIF") is None
    assert pictures.get(_SHA, "") is None


def test_no_picture_is_kept_when_the_disk_is_nearly_full(tmp_path: Path):
    """An answer must not fail for a picture; where it must be kept, that is said."""
    pictures = Pictures(tmp_path / "uploads", min_free_bytes=1 << 60)
    assert not pictures.put(_SHA, _DATA, "JPEG")
    assert pictures.get(_SHA, "JPEG") is None
    with pytest.raises(StorageFull, match="min_free_bytes"):
        pictures.put(_SHA, _DATA, "JPEG", durable=True)
    assert _files(pictures) == []


def test_the_disk_is_asked_for_its_room_seldom_and_always_when_it_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Not for every picture; but none is refused on what was read before."""
    asked: list[Path] = []
    real = os.statvfs

    def watch(folder: Path) -> os.statvfs_result:
        asked.append(folder)
        return real(folder)

    monkeypatch.setattr(os, "statvfs", watch)
    monkeypatch.setattr("andon.store.pictures._ROOM_SECONDS", 3600.0)
    pictures = Pictures(tmp_path, min_free_bytes=0)
    for number in range(5):
        _put(pictures, number, days=0)
    assert len(asked) == 1
    pictures.min_free_bytes = 1 << 60
    assert not pictures.put(_SHA, _DATA, "JPEG")
    pictures.min_free_bytes = 0
    assert pictures.put(_SHA, _DATA, "JPEG")
    assert len(asked) == 2


def test_a_full_disk_leaves_nothing_half_written(small_disk: Path):
    """The temporary file is gone; a picture that fits is kept."""
    pictures = Pictures(small_disk / "uploads")
    big = b"x" * (9 << 20)
    big_sha = hashlib.sha256(big).hexdigest()
    pictures.min_free_bytes = -(1 << 60)
    assert not pictures.put(big_sha, big, "JPEG")
    with pytest.raises(StorageFull, match="No space left"):
        pictures.put(big_sha, big, "JPEG", durable=True)
    assert _files(pictures) == []
    assert pictures.put(_SHA, _DATA, "JPEG")


def test_a_durable_picture_is_flushed_with_its_folder(
    pictures: Pictures, monkeypatch: pytest.MonkeyPatch
):
    """Also when it was kept before, without flushing."""
    flushed: list[str] = []
    real = os.fsync

    def watch(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    pictures.put(_SHA, _DATA, "JPEG")
    assert flushed == []
    pictures.put(_SHA, _DATA, "JPEG", durable=True)
    assert f"{_SHA}.jpg" in flushed
    assert _SHA[:2] in flushed
    flushed.clear()
    other = hashlib.sha256(b"other").hexdigest()
    pictures.put(other, b"other", "PNG", durable=True)
    assert len(flushed) == 3


def test_threads_keep_the_same_picture_at_once(pictures: Pictures):
    """Nobody sees half of it, nothing is left over."""
    data = os.urandom(1 << 20)
    sha = hashlib.sha256(data).hexdigest()
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: pictures.put(sha, data, "PNG"), range(16)))
    assert _files(pictures) == [f"{sha[:2]}/{sha}.png"]


def _put(pictures: Pictures, number: int, *, days: float, size: int = 1000) -> str:
    data = number.to_bytes(4, "big") * (size // 4)
    sha = hashlib.sha256(data).hexdigest()
    pictures.put(sha, data, "JPEG")
    path = pictures.get(sha, "JPEG")
    assert path is not None
    os.utime(path, (time.time() - days * 86_400,) * 2)
    return sha


def test_old_pictures_are_swept(pictures: Pictures):
    """After so many days; younger ones stay."""
    old, young = _put(pictures, 1, days=8), _put(pictures, 2, days=6)
    assert pictures.sweep(keep_days=7, max_bytes=0) == 1
    assert pictures.get(old, "JPEG") is None
    assert pictures.get(young, "JPEG") is not None


def test_the_oldest_pictures_go_beyond_the_size_limit(pictures: Pictures):
    """No more than needed."""
    kept = [_put(pictures, number, days=number) for number in range(5)]
    assert pictures.sweep(keep_days=30, max_bytes=3000) == 2
    assert [pictures.get(sha, "JPEG") is not None for sha in kept] == [True] * 3 + [False] * 2


def test_a_picture_that_comes_again_is_young_again(pictures: Pictures):
    """What is still in use is not swept."""
    sha = _put(pictures, 1, days=8)
    pictures.put(sha, b"\0\0\0\1" * 250, "JPEG")
    assert pictures.sweep(keep_days=7, max_bytes=0) == 0


def test_leftovers_of_a_crash_are_swept(pictures: Pictures):
    """When they are too old to be in progress."""
    _put(pictures, 1, days=0)
    leftover, fresh = pictures.folder / ".incoming" / "a", pictures.folder / ".incoming" / "b"
    leftover.write_bytes(b"half")
    fresh.write_bytes(b"half")
    os.utime(leftover, (time.time() - 7200,) * 2)
    assert pictures.sweep(keep_days=7, max_bytes=0) == 0
    assert not leftover.exists()
    assert fresh.exists()


def test_sweeping_nothing_is_fine(pictures: Pictures):
    """Before the first picture there is no folder."""
    assert pictures.sweep(keep_days=7, max_bytes=1) == 0
