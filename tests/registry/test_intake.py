import hashlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from andon.errors import StorageFull, TooLarge, UnusableUpload
from andon.registry.intake import Received
from andon.registry.registry import ModelRegistry, mode_of


def _incoming(registry: ModelRegistry) -> list[Path]:
    return list(registry.files.incoming.iterdir())


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.binary(max_size=3000), max_size=20))
def test_what_is_received_is_what_was_sent(registry: ModelRegistry, chunks: list[bytes]):
    """Size, hash and content, however it was cut into pieces."""
    whole = b"".join(chunks)
    with registry.receive() as incoming:
        for chunk in chunks:
            incoming.write(memoryview(chunk))
        assert incoming.size == len(whole)
        if not whole:
            with pytest.raises(UnusableUpload, match="empty"):
                incoming.finish()
            return
        with incoming.finish() as received:
            assert received.path.read_bytes() == whole
            assert received.size == len(whole)
            assert received.sha256 == hashlib.sha256(whole).hexdigest()
    assert _incoming(registry) == []


def test_a_file_that_is_given_up_is_gone(registry: ModelRegistry):
    """A client that breaks off leaves nothing behind."""
    with pytest.raises(ConnectionError), registry.receive() as incoming:
        incoming.write(b"half")
        assert len(_incoming(registry)) == 1
        raise ConnectionError
    assert _incoming(registry) == []


def test_a_file_that_is_too_large_is_gone_as_soon_as_it_is(registry: ModelRegistry):
    """The limit holds while streaming; a file of just that size is fine."""
    with registry.receive(10) as incoming:
        incoming.write(b"x" * 10)
        incoming.finish().discard()
    with registry.receive(10) as incoming:
        incoming.write(b"x" * 10)
        with pytest.raises(TooLarge, match="larger than"):
            incoming.write(b"x")
        assert _incoming(registry) == []


def test_a_received_file_is_kept_until_it_is_discarded(receive: Callable[[bytes], Received]):
    """Twice is fine."""
    received = receive(b"model")
    assert received.path.exists()
    assert received.path.stat().st_mode & 0o777 == 0o600
    received.discard()
    received.discard()
    assert not received.path.exists()


def test_a_received_program_can_be_run(receive: Callable[[bytes], Received]):
    """Nobody has it open for writing any more, though it is held."""
    received = receive(b"#!/bin/sh\necho ran\n")
    received.path.chmod(mode_of("eim"))
    done = subprocess.run([received.path], capture_output=True, text=True, check=True)
    assert done.stdout == "ran\n"
    received.discard()


def test_a_file_in_use_is_not_swept(registry: ModelRegistry, receive: Callable[[bytes], Received]):
    """While it is received and until it is a version; what a crash left is."""
    received = receive(b"model")
    with registry.receive() as incoming:
        incoming.write(b"half")
        (registry.files.incoming / "leftover").write_bytes(b"half")
        assert registry.reconcile() == ["Deleted 1 half-received model file."]
        assert len(_incoming(registry)) == 2
    received.release()
    assert registry.reconcile() == ["Deleted 1 half-received model file."]
    assert not received.path.exists()


def test_no_descriptor_is_left_open(registry: ModelRegistry, receive: Callable[[bytes], Received]):
    """However a file ends, nothing leaks."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        receive(b"a").discard()
        registry.receive().abort()
        with pytest.raises(TooLarge), registry.receive(1) as incoming:
            incoming.write(b"xx")
        with pytest.raises(UnusableUpload), registry.receive() as incoming:
            incoming.finish()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_full_disk_is_reported_and_leaves_nothing(small_disk: Path, registry: ModelRegistry):
    """The half that fitted is gone, and with it the trouble."""
    on_small_disk = ModelRegistry(registry.db, small_disk / "models")
    with on_small_disk.receive() as incoming, pytest.raises(StorageFull, match="No space left"):
        for _ in range(10):
            incoming.write(b"x" * (1 << 20))
    assert list((small_disk / "models" / ".incoming").iterdir()) == []
    with on_small_disk.receive() as incoming:
        incoming.write(b"fits")
        incoming.finish().discard()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB of its own, so that a disk can really be full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a small file system needs root: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
