"""The edge client: nothing recorded is lost, nothing is counted twice, on any bad day."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.policy import absent
from tests.support.receiver import DEAF, HTML, LOST, PROBLEM, Answer, Receiver

from andon.client import Sender, sender, spool
from andon.errors import ConfigurationError, DatabaseDamaged, InvalidRequest, StorageFull

MORNING = datetime(2026, 11, 21, 6, tzinfo=UTC)
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server that takes everything, until it is told otherwise."""
    running = Receiver()
    yield running
    running.stop()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between tries that no test has to wait for."""
    monkeypatch.setattr(sender, "_FIRST_PAUSE", 0.002)


@pytest.fixture
def open_sender(tmp_path: Path, quick: None) -> Iterator[Callable[..., Sender]]:
    """Opens senders on the spool of this test; closed at the end."""
    opened: list[Sender] = []

    def opener(server: str, **options: Any) -> Sender:
        one = Sender(server, spool=tmp_path / "spool.db", **options)
        opened.append(one)
        return one

    yield opener
    for one in opened:
        one.close(timeout=0)


def record(camera: Sender, count: int, first: int = 0) -> list[str]:
    """Record units, a minute apart; their ids."""
    return [
        camera.event(
            worker_id="W1",
            workstation_id="S1",
            event_type="product_count",
            confidence=0.9,
            count=number,
            timestamp=MORNING + timedelta(minutes=number),
        )
        for number in range(first, first + count)
    ]


def record_many(camera: Sender, count: int) -> None:
    """The same with one sync."""
    camera.add_all(
        "factory", [{"event_id": f"e{number}", "count": number} for number in range(count)]
    )


def test_importing_it_is_light() -> None:
    """A Raspberry Pi at the camera loads neither the server nor what only the server needs."""
    code = (
        "import sys, andon.client, andon.client.files\n"
        "heavy = {'numpy', 'sqlalchemy', 'pydantic', 'fastapi', 'structlog', 'rich', 'typer'}\n"
        "rooms = {'andon.settings', 'andon.store.database', 'andon.events', 'andon.web'}\n"
        "print(*sorted((heavy | rooms) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_an_event_is_delivered_as_it_was_recorded(
    receiver: Receiver, open_sender: Callable[..., Sender]
) -> None:
    """Its time, its id and the sender's site; telemetry goes its own way."""
    camera = open_sender(receiver.address, site="hall-2", api_key="a-key-of-many-letters")
    made = camera.event(
        worker_id="W1",
        workstation_id="S2",
        event_type="working",
        confidence=0.5,
        timestamp=MORNING.astimezone(tz=None),
        camera_id="north",
    )
    camera.telemetry(ear_value=0.21, is_drowsy=False, duration_ms=0, driver_id="D1")
    assert camera.flush(10)
    seen, measured = receiver.items
    assert seen == {
        "event_id": made,
        "timestamp": "2026-11-21T06:00:00Z",
        "worker_id": "W1",
        "workstation_id": "S2",
        "event_type": "working",
        "confidence": 0.5,
        "camera_id": "north",
        "site_id": "hall-2",
    }
    assert measured["timestamp"].endswith("Z")
    assert {path for _, path, _, _ in receiver.requests} == {"/events/batch", "/telemetry/batch"}
    assert receiver.requests[0][3]["X-API-Key"] == "a-key-of-many-letters"
    status = camera.status()
    assert (status.recorded, status.sent, status.stored, status.waiting) == (2, 2, 2, 0)


def test_what_happens_while_the_server_is_away_arrives_later_in_order(
    receiver: Receiver, open_sender: Callable[..., Sender]
) -> None:
    """Hours offline, then a new process, then the server: everything, once, with its time."""
    receiver.stop()
    camera = open_sender(receiver.address)
    ids = record(camera, 10)
    while not camera.status().problem:
        assert not camera.flush(0.05)
    assert "cannot be reached" in camera.status().problem
    camera.close()
    again = open_sender(receiver.address)
    ids += record(again, 10, first=10)
    back = Receiver(receiver.port)
    try:
        assert again.flush(10)
        assert [item["event_id"] for item in back.items] == ids
        assert [item["count"] for item in back.items] == list(range(20))
        assert back.items[-1]["timestamp"] == "2026-11-21T06:19:00Z"
        assert again.status().problem == ""
    finally:
        back.stop()


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    faults=st.lists(
        st.sampled_from(
            [
                LOST,
                DEAF,
                Answer(503),
                Answer(500, b"<html>", HTML),
                Answer(429),
                Answer(413),
                Answer(502, b"<html>", HTML),
                Answer(200, b"<html>log in</html>", HTML),
                Answer(200, b"{}", "application/json"),
            ]
        ),
        max_size=8,
    ),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    batch=st.integers(1, 50),
)
def test_whatever_fails_every_event_arrives_once(
    quick: None, faults: list[Answer | str], sizes: list[int], batch: int
) -> None:
    """Any series of lost answers, refused connections and errors, any sizes of batches."""
    receiver = Receiver()
    receiver.script.extend(faults)
    with tempfile.TemporaryDirectory() as folder:
        camera = Sender(receiver.address, spool=f"{folder}/spool.db", batch=batch, max_backoff=0.01)
        try:
            ids: list[str] = []
            for size in sizes:
                new = [f"e{len(ids) + number}" for number in range(size)]
                camera.add_all("factory", [{"event_id": one} for one in new])
                ids += new
            # A page of somebody else ends a flush: only a person can know what that is.
            while not camera.flush(10):
                pass
            # A 413 to a single event sets that one aside.
            assert set(receiver.stored) == set(ids) - {
                one.item["event_id"] for one in camera.rejected()
            }
            while camera.retry_rejected():
                camera.flush(10)
            assert set(receiver.stored) == set(ids)
            assert len(receiver.items) == len(ids)
        finally:
            camera.close(timeout=0)
            receiver.stop()


def test_an_answer_that_is_lost_doubles_nothing(
    receiver: Receiver, open_sender: Callable[..., Sender]
) -> None:
    """The server had the batch: the repeat is told to be one."""
    receiver.script.append(LOST)
    camera = open_sender(receiver.address)
    camera.add_all("factory", [{"event_id": f"e{n}"} for n in range(50)])
    assert camera.flush(10)
    assert len(receiver.items) == 50
    status = camera.status()
    assert (status.stored, status.duplicates, status.waiting) == (0, 50, 0)


def test_refused_events_stand_aside_and_can_be_sent_again(
    receiver: Receiver, open_sender: Callable[..., Sender]
) -> None:
    """The others arrive; the reason is kept, and a second try is possible when it is mended."""
    receiver.refuse = lambda row: "Worker W9 is not registered." if row["count"] == 3 else ""
    camera = open_sender(receiver.address)
    ids = record(camera, 5)
    assert camera.flush(10)
    assert len(receiver.items) == 4
    (refused,) = camera.rejected()
    assert refused.reason == "Worker W9 is not registered."
    assert refused.item["event_id"] == ids[3]
    assert camera.status().refused == 1
    receiver.refuse = lambda _: ""
    assert camera.retry_rejected() == 1
    assert camera.flush(10)
    assert set(receiver.stored) == set(ids)
    assert camera.rejected() == []


def test_more_refused_than_the_answer_names_are_found_all_the_same(
    receiver: Receiver, open_sender: Callable[..., Sender]
) -> None:
    """An answer names a hundred; the rest is asked again, and counted as what it was."""
    receiver.named = 10
    receiver.refuse = lambda row: "odd" if row["count"] % 2 else ""
    camera = open_sender(NOWHERE)
    record_many(camera, 120)
    camera.close(timeout=0)
    camera = open_sender(receiver.address)
    assert camera.flush(10)
    assert len(camera.rejected(1000)) == 60
    status = camera.status()
    assert (status.stored, status.duplicates, status.refused) == (60, 0, 60)


def test_only_the_newest_refused_events_are_kept(tmp_path: Path) -> None:
    """A sender that is refused for ever does not fill the card."""
    kept = spool.Spool(tmp_path / "spool.db", max_rejected=3)
    kept.add("factory", [b'{"n":%d}' % number for number in range(10)])
    found = kept.head(100, 10_000)
    assert found is not None
    kept.settle("factory", [], [(item, "no") for item in found[1]])
    assert [one.item["n"] for one in kept.rejected()] == [9, 8, 7]
    assert kept.waiting == 0
    kept.close()


def test_the_server_says_when_to_come_back(
    receiver: Receiver, open_sender: Callable[..., Sender]
) -> None:
    """Retry-After is waited for, even by a flush."""
    receiver.script.append(Answer(503, headers=(("Retry-After", "1"),)))
    camera = open_sender(receiver.address)
    record(camera, 1)
    while not camera.status().problem:
        assert not camera.flush(0.05)
    assert "cannot take events now (503)" in camera.status().problem
    assert camera.flush(30)
    (first, *_), (second, *_) = receiver.requests
    assert second - first >= 1


def test_a_batch_that_is_too_large_is_halved(
    receiver: Receiver, open_sender: Callable[..., Sender]
) -> None:
    """And later batches stay as small."""
    receiver.largest = 30
    camera = open_sender(NOWHERE)
    record_many(camera, 200)
    camera.close(timeout=0)
    camera = open_sender(receiver.address, batch=100)
    assert camera.flush(10)
    sizes = [size for _, _, size, _ in receiver.requests]
    assert sizes == [100, 50, *[25] * 8]


def test_one_event_that_the_server_chokes_on_is_found(
    receiver: Receiver, open_sender: Callable[..., Sender]
) -> None:
    """A batch refused as a whole, by Andon itself, is halved down to the one to blame."""
    usual = receiver._take

    def choking(rows: list[dict[str, Any]]) -> Answer:
        if any(row["count"] == 77 for row in rows):
            return Answer(422, b'{"detail": "Field count: no."}', PROBLEM)
        return usual(rows)

    receiver._take = choking  # type: ignore[method-assign]
    camera = open_sender(NOWHERE)
    record_many(camera, 100)
    camera.close(timeout=0)
    camera = open_sender(receiver.address)
    assert camera.flush(10)
    assert len(receiver.items) == 99
    assert [one.reason for one in camera.rejected()] == ["Field count: no."]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(401, b'{"detail": "The key is unknown."}'), "API key. The key is unknown."),
        (Answer(403, b"", HTML), "API key"),
        (Answer(302, headers=(("Location", "http://evil.example/"),)), "http://evil.example/"),
        (Answer(404, b"<html>", HTML), "/events/batch"),
        (Answer(400, b"<html>plain HTTP to an HTTPS port", HTML), "not Andon"),
        (Answer(200, b"<html>Welcome to the hotel", HTML), "not Andon"),
        (Answer(200, b'{"total": 7, "ingested": 7, "duplicates": 0, "rejected": 0}'), "not Andon"),
    ],
)
def test_what_only_a_person_can_mend_keeps_everything_and_says_so(
    receiver: Receiver, open_sender: Callable[..., Sender], answer: Answer, words: str
) -> None:
    """A wrong key, a redirect, a portal's page, somebody else's errors: no event is given up."""
    receiver.always = answer
    camera = open_sender(receiver.address)
    record(camera, 3)
    assert not camera.flush(60)
    assert camera.pending() == 3
    assert words in camera.status().problem
    receiver.always = None
    while not camera.flush(10):
        pass
    assert len(receiver.items) == 3


def test_a_full_spool_refuses_or_drops_as_was_chosen(
    tmp_path: Path, open_sender: Callable[..., Sender]
) -> None:
    """By default what was recorded stays; otherwise the oldest go, and are counted."""
    camera = open_sender(NOWHERE, max_bytes=2000)
    with pytest.raises(StorageFull, match="events wait") as caught:
        record(camera, 50)
    assert "max_bytes" in caught.value.hint
    kept = camera.pending()
    assert 5 < kept < 15
    camera.close(timeout=0)
    camera = open_sender(NOWHERE, max_bytes=2000, when_full="drop_oldest")
    record(camera, 50, first=100)
    status = camera.status()
    assert status.dropped == kept + 50 - status.waiting
    camera.close(timeout=0)
    with sqlite3.connect(tmp_path / "spool.db") as db:
        (newest,) = db.execute("SELECT body FROM waiting ORDER BY id DESC LIMIT 1").fetchone()
    assert json.loads(newest)["count"] == 149
    assert open_sender(NOWHERE).status().dropped == status.dropped


def test_a_spool_serves_one_process(open_sender: Callable[..., Sender]) -> None:
    """The second is told who has it; when the first is gone, it may."""
    first = open_sender(NOWHERE)
    with pytest.raises(ConfigurationError, match=f"in use by another process .{os.getpid()}"):
        open_sender(NOWHERE)
    first.close()
    open_sender(NOWHERE)


@pytest.mark.parametrize("content", [b"not a database at all, but long enough", b"SQLite format 3"])
def test_a_file_that_is_no_spool_is_left_alone(tmp_path: Path, content: bytes) -> None:
    """Damaged or somebody else's: said, and not touched."""
    path = tmp_path / "spool.db"
    path.write_bytes(content * 100)
    with pytest.raises(DatabaseDamaged, match="spool"):
        Sender(NOWHERE, spool=path)
    assert path.read_bytes() == content * 100


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    """Tables of others are not ours to write beside."""
    path = tmp_path / "photos.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE photos (name TEXT)")
    with pytest.raises(DatabaseDamaged, match="another program"):
        Sender(NOWHERE, spool=path)


@pytest.mark.parametrize("size", ["8m"])
def test_a_full_disk_is_said_and_what_was_recorded_survives(
    tmp_path: Path, size: str, receiver: Receiver, quick: None
) -> None:
    """Recording fails while there is no room, and goes on when there is; nothing is lost."""
    disk = tmp_path / "card"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("a small file system needs root")
    try:
        camera = Sender(NOWHERE, spool=disk / "spool.db")
        ids = record(camera, 3)
        ballast = disk / "ballast"
        with pytest.raises(OSError, match="No space"), ballast.open("wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
        with pytest.raises(StorageFull, match="cannot be written"):
            while True:
                ids += record(camera, 1, first=len(ids))
        ballast.unlink()
        ids += record(camera, 1, first=len(ids))
        camera.close(timeout=0)
        with Sender(receiver.address, spool=disk / "spool.db") as camera:
            assert camera.flush(30)
        assert list(receiver.stored) == ids
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


CAMERA = """
import sys
from andon.client import Sender
camera = Sender(sys.argv[1], spool=sys.argv[2])
while True:
    made = camera.event(worker_id="W1", workstation_id="S1", event_type="working")
    print(made, flush=True)
"""


def test_kill_9_of_the_camera_loses_nothing_recorded(
    receiver: Receiver, tmp_path: Path, open_sender: Callable[..., Sender]
) -> None:
    """Every id that `event` returned is at the server after the next start, once."""
    command = [sys.executable, "-c", CAMERA, receiver.address, str(tmp_path / "spool.db")]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    ids = [program.stdout.readline().strip() for _ in range(300)]
    program.send_signal(signal.SIGKILL)
    ids += program.stdout.read().split()[:-1]
    program.stdout.close()
    program.wait()
    camera = open_sender(receiver.address)
    assert camera.flush(30)
    assert set(ids) <= set(receiver.stored)
    assert len(receiver.stored) <= len(ids) + 2


def test_lingering_events_are_counted_and_written_at_the_end(
    receiver: Receiver, open_sender: Callable[..., Sender]
) -> None:
    """With `linger`, recording waits in memory; closing writes it."""
    camera = open_sender(NOWHERE, linger=3600)
    ids = record(camera, 20)
    assert camera.pending() == 20
    camera.close(timeout=0)
    camera = open_sender(receiver.address, linger=0.01)
    ids += record(camera, 20, first=20)
    assert camera.flush(10)
    assert list(receiver.stored) == ids


def test_closing_does_not_wait_for_a_silent_server(
    open_sender: Callable[..., Sender], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that takes the connection and never answers is hung up on; everything is kept."""
    monkeypatch.setattr(sender, "_GRACE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        camera = open_sender(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=3600)
        record(camera, 1)
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(10) == b"POST /even"
            camera.close(timeout=0)
    assert open_sender(NOWHERE).pending() == 1


def test_a_closed_sender_records_nothing(open_sender: Callable[..., Sender]) -> None:
    """Instead of losing it silently."""
    for linger in (0, 3600):
        camera = open_sender(NOWHERE, linger=linger)
        camera.close(timeout=0)
        camera.close(timeout=0)
        with pytest.raises(ConfigurationError, match="closed"):
            record(camera, 1)


def test_many_threads_may_record(receiver: Receiver, open_sender: Callable[..., Sender]) -> None:
    """One sender for all cameras of a program."""
    camera = open_sender(receiver.address)
    threads = [threading.Thread(target=record, args=(camera, 25, 100 * n)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert camera.flush(10)
    assert len(receiver.items) == 100


def test_what_cannot_be_an_event_is_refused_at_once(open_sender: Callable[..., Sender]) -> None:
    """A time without a zone, objects JSON does not know, a megabyte."""
    camera = open_sender(NOWHERE)
    with pytest.raises(InvalidRequest, match="no UTC offset"):
        camera.telemetry(
            ear_value=0.2, is_drowsy=False, duration_ms=0, timestamp=datetime(2026, 1, 1)
        )
    with pytest.raises(InvalidRequest, match="JSON"):
        camera.add_all("factory", [{"worker_id": object()}])
    with pytest.raises(InvalidRequest, match="too large"):
        camera.add_all("factory", [{"worker_id": "W" * 70_000}])
    with pytest.raises(InvalidRequest, match="no kind"):
        camera.add_all("weather", [{}])  # type: ignore[arg-type]
    assert camera.pending() == 0


def test_numbers_of_numpy_are_numbers(
    receiver: Receiver, open_sender: Callable[..., Sender]
) -> None:
    """Detectors hand out float32 and bool_."""
    camera = open_sender(receiver.address)
    camera.telemetry(
        ear_value=np.float32(0.25), is_drowsy=np.bool_(True), duration_ms=np.int64(600)
    )
    assert camera.flush(10)
    (item,) = receiver.items
    assert (item["ear_value"], item["is_drowsy"], item["duration_ms"]) == (0.25, True, 600)


@pytest.mark.parametrize(
    "server", ["andon.local", "ftp://andon.local", "http://", "http://a:99999", "http://u:p@a"]
)
def test_an_address_that_is_none_is_refused(tmp_path: Path, server: str) -> None:
    """Before anything is recorded."""
    with pytest.raises(ConfigurationError):
        Sender(server, spool=tmp_path / "spool.db")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that no authority has signed, and its key, in one file."""
    if shutil.which("openssl") is None:
        absent("openssl is not installed: it makes the certificate of this test.")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", f"{path}.crt"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def test_https_is_verified(certificate: Path, open_sender: Callable[..., Sender]) -> None:
    """A certificate nobody signed is refused, unless it is named as one to trust."""
    server = Receiver(tls=str(certificate))
    try:
        camera = open_sender(server.address)
        record(camera, 1)
        assert not camera.flush(0.2)
        while not camera.status().problem:
            camera.flush(0.2)
        assert "certificate is not trusted" in camera.status().problem
        camera.close(timeout=0)
        assert server.items == []
        camera = open_sender(server.address, ca_file=Path(f"{certificate}.crt"))
        assert camera.flush(10)
        assert len(server.items) == 1
    finally:
        server.stop()
