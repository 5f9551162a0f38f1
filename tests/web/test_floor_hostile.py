"""Bad days of the floor: what broken, mean and unlucky senders get, and what stays stored."""

import asyncio
import contextlib
import functools
import json
import re
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine, text
from starlette.types import Message
from tests.store.conftest import small_disk
from tests.support.floor import SECOND, at, clear, register, state, units
from tests.support.gate import gated
from tests.web.conftest import Floor, Site, problem, received, status_of, until

from andon.errors import Saturated
from andon.store.database import Database
from andon.web.api.taking import TakeBatch

__all__ = ["small_disk"]

LINES = "application/x-ndjson"
ROW = units(2, at(8)).json()


def raw(path: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """A raw POST."""
    head = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Content-Length: {len(body) if length is None else length}",
        *headers,
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def row(**more: object) -> bytes:
    """A good event but for some members."""
    return json.dumps(units(2, at(8)).body() | more).encode()


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (row(event_type="asleep"), "event_type: must be working, idle"),
        (row(worker_id="nobody"), "nobody"),
        (row(workstation_id="nowhere"), "nowhere"),
        (row(confidence=float("nan")), "confidence: must be a number from 0 to 1, not NaN"),
        (row(confidence=float("inf")), "not Infinity"),
        (ROW.replace(b"0.9", b"1e999"), "not Infinity"),
        (row(count=-1), "count: must be a whole number from 0 to 1000000, not -1"),
        (row(count=2.5), "not 2.5"),
        (row(count=None), "count: is missing"),
        (row(count=True), "not true"),
        (row(count=10**400), "not a huge number"),
        (row(timestamp="2026-03-02T08:00:00"), "must carry Z or a UTC offset"),
        (row(timestamp="2999-01-01T00:00:00Z"), "is in the future"),
        (row(timestamp="1970-01-01T00:00:00Z"), "clock is not set"),
        (row(worker_id="w" * 10_000_000), "must have at most 64 characters"),
        (row(worker_id="W\x001"), "must not hold characters that cannot be printed"),
        (ROW.replace(b"W1", b"W\x001"), "must not hold characters that cannot be printed"),
        (row(event_id="\ud800"), "must not hold characters that cannot be printed"),
        (ROW.replace(b"W1", b"\xff"), "not UTF-8"),
        (b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deeply"),
        (b"[]", "must be a JSON object"),
        (b"NaN", "must be a JSON object"),
        (b"{'single': 'quotes'}", "not JSON"),
    ],
)
def test_a_bad_row_costs_itself(floor: Floor, bad: bytes, said: str):
    """In a batch as in a stream: the good one is stored, the bad one explained in few words."""
    for body, kind in (
        (b"[" + bad + b",\n" + ROW + b"]", "application/json"),
        (bad + b"\n" + ROW, LINES),
    ):
        answer = floor.post("/events/batch", body, kind)
        assert answer.status_code in {200, 201}, answer.text
        found = answer.json()
        assert (found["total"], found["rejected"]) == (2, 1)
        assert found["errors"][0]["index"] == 0
        if kind != LINES or len(bad) < 65_536:
            assert said in found["errors"][0]["detail"]
        assert len(answer.content) < 1000
    assert floor.worker(at(8), at(9))["units"] == 2


def test_9999_good_events_and_one_bad(floor: Floor):
    """The good ones are stored, all of them, in one transaction."""
    told = [units(1, at(0) + n * SECOND).body() for n in range(9_999)]
    told.insert(5_000, told[0] | {"confidence": float("nan")})
    body = json.dumps(told).encode()
    answer = floor.post("/events/batch", body)
    assert answer.status_code == 201
    found = answer.json()
    assert (found["total"], found["ingested"], found["rejected"]) == (10_000, 9_999, 1)
    assert found["errors"] == [
        {"index": 5_000, "detail": "confidence: must be a number from 0 to 1, not NaN"}
    ]
    assert floor.metrics("factory", at(0), at(24))["production"] == 9_999


def test_a_batch_repeated_while_the_first_is_in_flight(floor: Floor):
    """Senders that give up waiting too early: everything counts once."""
    told = [units(1, at(0) + n * SECOND).body() for n in range(500)]
    body = json.dumps(told).encode()
    answers: list[dict] = []

    def send() -> None:
        answer = httpx.post(f"{floor.site.url}/events/batch", content=body, timeout=30)
        assert answer.status_code in {200, 201}
        answers.append(answer.json())

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6
    assert sum(answer["ingested"] for answer in answers) == 500
    assert sum(answer["duplicates"] for answer in answers) == 2500
    assert floor.metrics("factory", at(0), at(24))["production"] == 500
    assert floor.db.factory_totals.check() == []


def test_bodies_are_limited(floor: Floor):
    """413: one event of a megabyte; a batch that says it is too large is not even received."""
    problem(floor.post("/events", row(worker_id="w" * 10_000_000)), 413)
    limit = floor.site.platform.settings.max_batch_bytes
    answer = floor.site.send(raw("/events/batch", b"[", length=limit + 1))
    assert status_of(answer) == 413
    assert b"x-ndjson" in answer
    beyond = floor.site.platform.settings.max_stream_bytes + 1
    answer = floor.site.send(raw("/events/batch", b"{", f"Content-Type: {LINES}", length=beyond))
    assert status_of(answer) == 413


def test_a_batch_that_does_not_say_how_large_it_is(floor: Floor):
    """Chunked: refused when it has become too large."""
    limit = floor.site.platform.settings.max_batch_bytes

    def pieces() -> Iterator[bytes]:
        yield b"["
        for _ in range(limit // 1_000_000 + 1):
            yield b" " * 1_000_000

    answer = floor.client.post("/events/batch", content=pieces())
    problem(answer, 413, str(limit))
    assert floor.send(units(1, at(8)))["ingested"] == 1


def test_a_compressed_body_is_refused_in_words(floor: Floor):
    """415 instead of "not JSON"."""
    for path in ("/events", "/events/batch"):
        answer = floor.client.post(path, content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
        problem(answer, 415, "gzip")


def test_uploads_at_a_time_are_limited(floor: Floor, monkeypatch: pytest.MonkeyPatch):
    """503 with Retry-After, for streams and for the memory of batches."""
    monkeypatch.setattr("andon.web.api.taking._STREAMS_AT_A_TIME", 0)
    answer = floor.post("/events/batch", ROW, LINES)
    problem(answer, 503, "already being received")
    assert answer.headers["retry-after"]
    monkeypatch.setattr("andon.web.api.taking._LEAST_BUDGET", 100)
    monkeypatch.setattr("andon.web.api.taking._LARGEST_AT_A_TIME", 0)
    route = TakeBatch(floor.site.platform, "factory")

    async def receive() -> Message:
        return {"type": "http.request", "body": b" " * 60, "more_body": True}

    async def send(_: Message) -> None:
        pytest.fail("nothing is answered")

    for _ in range(2):
        # What was counted is given back, or the second try would fail earlier.
        with pytest.raises(Saturated, match="at once"):
            asyncio.run(route({"type": "http", "headers": []}, receive, send))
        assert route._used == 0


@pytest.mark.parametrize("kind", ["application/json", LINES])
def test_a_client_that_leaves_half_way(floor: Floor, kind: str):
    """A batch leaves nothing behind; of a stream stays what was committed, and nothing waits."""
    told = [units(1, at(0) + n * SECOND).json() for n in range(3_000)]
    body = b"[" + b",".join(told) + b"]" if kind != LINES else b"\n".join(told)
    before = _gone(floor)
    floor.site.send(
        raw(
            "/events/batch", body[: len(body) * 9 // 10], f"Content-Type: {kind}", length=len(body)
        ),
        close=True,
    )
    until(lambda: _gone(floor) > before and not floor.db.event_writer.waiting)
    made = floor.metrics("factory", at(0), at(24))["production"]
    assert made == 0 if kind != LINES else made in {1_000, 2_000}
    answer = floor.post("/events/batch", body, kind)
    assert answer.json()["duplicates"] == made
    assert floor.metrics("factory", at(0), at(24))["production"] == 3_000


def _gone(floor: Floor) -> float:
    """How many clients of batches left before their answer."""
    wanted = re.compile(r'andon_http_requests_total{.*route="/events/batch".*status="499"} (\S+)')
    found = wanted.search(floor.client.get("/metrics").text)
    return float(found[1]) if found else 0.0


def test_a_body_that_never_comes_is_given_up(floor: Floor, monkeypatch: pytest.MonkeyPatch):
    """408, and what of a stream was stored is said."""
    monkeypatch.setattr("andon.web.gate._GRACE_SECONDS", 0.2)
    monkeypatch.setattr("andon.web.gate._MIN_BYTES_PER_SECOND", 10**9)
    for path in ("/events", "/events/batch"):
        assert status_of(floor.site.send(raw(path, b"[", length=50))) == 408
    told = b"\n".join(units(1, at(0) + n * SECOND).json() for n in range(1_500))
    answer = floor.site.send(
        raw("/events/batch", told, f"Content-Type: {LINES}", length=len(told) + 50)
    )
    assert status_of(answer) == 408
    said = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert said["type"] == "/docs/errors#upload-interrupted"
    assert (said["status"], said["ingested"]) == (408, 1_000)
    assert "1000 events are new" in said["detail"]


def test_streams_are_limited_in_size(floor: Floor, monkeypatch: pytest.MonkeyPatch):
    """413 where the limit is reached; what came before is stored, and it says how much."""
    monkeypatch.setattr(floor.site.platform.events, "_max_stream", 1_000_000)
    told = b"\n".join(units(1, at(0) + n * SECOND).json() for n in range(10_000))

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(told), 50_000):
            yield told[start : start + 50_000]

    answer = floor.client.post("/events/batch", content=pieces(), headers={"Content-Type": LINES})
    said = problem(answer, 413, "exceeds 1000000 bytes", "safe")
    assert 1_000 <= said["ingested"] <= 7_000
    assert said["ingested"] == floor.metrics("factory", at(0), at(24))["production"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not wait long for another program's lock."""
    quick = functools.partial(Database, busy_timeout=0.2)
    monkeypatch.setattr("andon.platform.Database", quick)


def test_a_locked_database(tmp_path: Path, impatient: None):
    """503 with Retry-After and nothing stored; later the same batch is taken."""
    with opened(tmp_path / "home") as site:
        other = sqlite3.connect(site.home / "andon.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        body = [units(1, at(8)).body()]
        for path, sent in (("/events/batch", body), ("/events", body[0])):
            answer = site.client.post(path, json=sent)
            problem(answer, 503, "lock")
            assert int(answer.headers["retry-after"]) >= 1
        answer = site.client.post(
            "/events/batch", content=ROW, headers={"Content-Type": "application/x-ndjson"}
        )
        problem(answer, 503, "lock")
        assert site.client.get("/metrics/factory").json()["production"] == 0
        other.execute("ROLLBACK")
        other.close()
        assert site.client.post("/events/batch", json=body).json()["ingested"] == 1


def test_a_full_disk(small_disk: Path):
    """503 until there is room again; what was acknowledged stays, nothing counts twice."""
    with opened(small_disk / "home") as site:
        assert site.client.post("/events", content=ROW).status_code == 201
        filler = small_disk / "filler"
        with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        body = [units(1, at(0) + n * SECOND).body() for n in range(3_000)]
        answer = site.client.post("/events/batch", json=body)
        problem(answer, 503, "disk is full")
        filler.unlink()
        until(lambda: site.client.post("/events/batch", json=body).status_code < 300)
        found = site.client.get("/metrics/factory").json()
        assert (found["production"], found["events"]) == (3_002, 3_001)
        assert site.platform.db.factory_totals.check() == []


@pytest.mark.postgres
def test_a_database_that_restarts_in_mid_stream(migrated_schema: str, tmp_path: Path):
    """The stream stops with a 503 that counts; sent again, everything is there once."""
    told = [units(1, at(0) + n * SECOND).json() + b"\n" for n in range(4_000)]
    with (
        gated(migrated_schema, tmp_path) as gate,
        opened(tmp_path / "home", empty=True, database_url=gate.url) as site,
    ):

        def pieces() -> Iterator[bytes]:
            yield b"".join(told[:2_000])
            until(lambda: _production(site) >= 1_000)
            gate.shut()
            yield b"".join(told[2_000:])

        headers = {"Content-Type": LINES}
        answer = site.client.post("/events/batch", content=pieces(), headers=headers)
        said = problem(answer, 503, "safe")
        assert 1_000 <= said["ingested"] < 4_000
        gate.open()
        answer = site.client.post("/events/batch", content=b"".join(told), headers=headers)
        found = answer.json()
        assert found["ingested"] + found["duplicates"] == 4_000
        assert found["duplicates"] >= said["ingested"]
        assert _production(site) == 4_000
        clear(site.platform.db)


@pytest.mark.postgres
def test_a_table_that_somebody_locks(migrated_schema: str, tmp_path: Path):
    """PostgreSQL: the batch waits, and is stored once when the lock is gone."""
    engine = create_engine(migrated_schema)
    with opened(tmp_path / "home", empty=True, database_url=migrated_schema) as site:
        with engine.connect() as other, other.begin():
            other.execute(text("LOCK TABLE factory_events IN ACCESS EXCLUSIVE MODE"))
            answers: list[httpx.Response] = []
            body = [units(1, at(8)).body()]
            sending = threading.Thread(
                target=lambda: answers.append(site.client.post("/events/batch", json=body))
            )
            sending.start()
            until(lambda: site.platform.db.event_writer.waiting == 1)
        sending.join()
        assert answers[0].status_code == 201
        clear(site.platform.db)
    engine.dispose()


def test_unknown_people_are_registered_where_that_is_set(tmp_path: Path):
    """ANDON_FACTORY_AUTO_REGISTER."""
    with opened(tmp_path / "home", factory_auto_register=True) as site:
        body = state("working", at(8), worker="New", station="Corner").body()
        assert site.client.post("/events", json=body).status_code == 201
        assert site.client.get("/workers/New").status_code == 200
        assert site.client.get("/metrics/workstations/Corner").json()["working_seconds"] == 1800


def test_the_server_goes_on_after_nonsense(floor: Floor):
    """Whatever is thrown at the routes of the floor, no answer is a 500."""
    for path in ("/events", "/events/batch", "/events/x", "/events/rejected", "/metrics/workers/x"):
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
            for body in (b"", b"\x00", b"{}", b"[[]]"):
                answer = floor.client.request(method, path, content=body)
                assert answer.status_code < 500, (method, path, answer.text)
    with socket.create_connection(("127.0.0.1", floor.site.port), timeout=5) as connection:
        connection.sendall(
            raw("/events/batch", b"{}\n", f"Content-Type: {LINES}", "Expect: 100-continue")[:-3]
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(b"{}\n")
        assert status_of(received(connection)) == 400
    assert floor.send(units(1, at(8)))["ingested"] == 1


@contextlib.contextmanager
def opened(home: Path, *, empty: bool = False, **given: object) -> Iterator[Site]:
    """A server of a test's own, with the made-up floor; `empty`: its database is shared."""
    site = Site(home, **given)
    try:
        if empty:
            Floor(site).clear()
        else:
            register(site.platform.db)
        yield site
    finally:
        site.close()


def _production(site: Site) -> int:
    with site.platform.db.read() as connection:
        return connection.execute(
            text("SELECT coalesce(sum(count), 0) FROM factory_events")
        ).scalar_one()
