"""The front of the room: whatever way events come, they are read, stored and counted."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from tests.support.floor import HOUR, MINUTE, SECOND, at, register, state, stored_sums, units

from andon.errors import (
    Conflict,
    EventsRejected,
    InvalidRequest,
    StorageFull,
    TooLarge,
    UnreadableEvents,
    UploadInterrupted,
)
from andon.events.counting import EventMetrics
from andon.events.intake import EventIntake, Report
from andon.settings import Settings
from andon.store.database import Database

DAY = (at(0), at(24))


@pytest.fixture
def intake(db: Database, tmp_path: Path) -> EventIntake:
    """An intake over a floor with W1 to W3 and S1 to S3."""
    register(db)
    return EventIntake(db, Settings(home=tmp_path, _env_file=None), EventMetrics())


def made(intake: EventIntake, told: list[Any], **more: Any) -> Report:
    """Take a batch."""
    data = json.dumps([event.body() for event in told]).encode()
    return intake.take_sync("factory", data, source="test", **more)


def stream(intake: EventIntake, *chunks: bytes) -> Report:
    """Take a stream."""

    async def pieces() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def take() -> Report:
        return await intake.take_stream("factory", pieces(), source="test")

    return asyncio.run(take())


def lines(count: int, start: int = 0) -> bytes:
    """So many events, one a second."""
    return b"".join(
        units(1, at(0) + n * SECOND).json() + b"\n" for n in range(start, start + count)
    )


def test_a_batch_is_taken_and_counted(intake: EventIntake, db: Database):
    """What is new, what is a repeat, what is neither; in a program without an event loop."""
    good = [state("working", at(8)), state("idle", at(8, 10))]
    report = made(intake, [*good, good[0], state("idle", at(9), worker="W9")])
    assert (report.total, report.ingested, report.duplicates, report.rejected) == (4, 2, 1, 1)
    assert "W9" in report.errors[0].detail
    assert report.accepted
    assert stored_sums(db, at(8), at(8, 10))["W1", "S1"]["working"] == 10 * MINUTE
    value = intake._metrics.registry.get_sample_value
    for outcome, count in (("stored", 2), ("duplicate", 1), ("rejected", 1)):
        labels = {"kind": "factory", "source": "test", "outcome": outcome}
        assert value("andon_events_total", labels) == count
    assert value("andon_events_lag_seconds_count", {"kind": "factory", "source": "test"}) == 2


def test_nothing_readable_is_a_rejection_too(intake: EventIntake):
    """A report without anything stored; a body that cannot be read is an error, and counted."""
    report = intake.take_sync("factory", b"[{}]", source="test")
    assert not report.accepted
    assert report.rejected == 1
    with pytest.raises(UnreadableEvents):
        intake.take_sync("factory", b"[", source="test")
    with pytest.raises(UnreadableEvents):
        asyncio.run(intake.take("factory", b"[", source="test"))


def test_one_event_is_taken_or_its_reason_raised(intake: EventIntake):
    """By kind of reason, for a sender that waits for the answer."""

    def take(**more: Any) -> Any:
        data = json.dumps(units(1, at(8), event_id="e").body() | more).encode()
        return asyncio.run(intake.take_one("factory", data, source="test"))

    assert take() == ("e", False)
    assert take() == ("e", True)
    with pytest.raises(Conflict, match="e"):
        take(count=2)
    with pytest.raises(EventsRejected, match="W9"):
        take(worker_id="W9", event_id="f")
    with pytest.raises(InvalidRequest) as wrong:
        take(count=-1)
    assert wrong.value.errors[0]["field"] == "count"


def test_telemetry_comes_the_same_way(intake: EventIntake, db: Database):
    """One, a batch, a repeat."""
    eyes = {
        "ear_value": 0.3,
        "is_drowsy": False,
        "duration_ms": 5,
        "timestamp": "2026-03-02T08:00:00Z",
    }
    data = json.dumps([eyes, eyes, eyes | {"ear_value": -1}]).encode()
    report = intake.take_sync("telemetry", data, source="test")
    assert (report.ingested, report.duplicates, report.rejected) == (1, 1, 1)
    assert asyncio.run(
        intake.take_one("telemetry", json.dumps(eyes).encode(), source="test")
    ).duplicate


def test_large_bodies_are_read_beside_the_event_loop(intake: EventIntake, monkeypatch):
    """Small ones in it: a thread would cost more."""
    seen: list[bool] = []
    read = intake.read

    def watched(*args: Any, **more: Any) -> Any:
        seen.append(threading.current_thread() is threading.main_thread())
        return read(*args, **more)

    monkeypatch.setattr(intake, "read", watched)
    for count in (1, 1_000):
        data = b"[" + lines(count).strip().replace(b"\n", b",") + b"]"
        asyncio.run(intake.take("factory", data, source="test"))
    assert seen == [True, False]


def test_a_reading_without_rows_needs_no_database(intake: EventIntake, db: Database):
    """What cannot be stored anyway is answered at once."""
    reading = intake.read("factory", b"[{}]", source="test", shape="any")
    db.close()
    future = intake.submit("factory", reading)
    assert future.done()
    assert future.result().rejected == 1


def test_the_callers_error_reaches_the_future(intake: EventIntake, monkeypatch):
    """A batch that cannot be written fails where its sender waits."""
    reading = intake.read("factory", lines(1), source="test", shape="any")
    failed: Future[Any] = Future()
    failed.set_exception(StorageFull("The disk is full."))
    monkeypatch.setattr(intake._writer, "submit", lambda *_, **__: failed)
    with pytest.raises(StorageFull):
        intake.submit("factory", reading).result(5)


def test_a_stream_is_cut_anywhere(intake: EventIntake, db: Database):
    """Lines over the borders of chunks, blank lines, an unfinished last line, a mark at first."""
    whole = b"\xef\xbb\xbf" + lines(1200).replace(b"\n", b"\r\n\n") + units(1, at(23)).json()
    report = stream(intake, *(whole[n : n + 997] for n in range(0, len(whole), 997)))
    assert (report.total, report.ingested, report.rejected) == (1201, 1201, 0)
    assert stored_sums(db, *DAY)["W1", "S1"]["units"] == 1201


def test_a_line_without_end_costs_itself(intake: EventIntake):
    """Its memory is bounded, and what follows is read."""
    report = stream(intake, lines(1), *[b"x" * 50_000] * 50, b"\n", lines(1, 1))
    assert (report.ingested, report.rejected) == (2, 1)
    assert report.errors[0].index == 1
    assert "longer than 65536" in report.errors[0].detail


def test_an_empty_stream_is_no_upload(intake: EventIntake):
    """Nor one of blank lines."""
    for chunks in ((), (b"",), (b"\n\n \r\n",)):
        with pytest.raises(UnreadableEvents):
            stream(intake, *chunks)


def test_errors_of_a_stream_are_numbered_through(intake: EventIntake):
    """By line, over all its parts."""
    report = stream(intake, lines(1500), b"oops\n", lines(600, 1500), b"{}")
    assert [error.index for error in report.errors] == [1500, 2101]


def test_while_the_database_is_slow_the_sender_waits(intake: EventIntake, monkeypatch):
    """At most two parts are being stored, and no more is read meanwhile."""
    taken: list[int] = []
    submit = intake._writer.submit_async

    async def take() -> Report:
        slots, go_on = asyncio.Semaphore(0), asyncio.Event()

        async def slow(*args: Any, **more: Any) -> Any:
            slots.release()
            await go_on.wait()
            return await submit(*args, **more)

        async def pieces() -> AsyncIterator[bytes]:
            for n in range(10):
                taken.append(n)
                yield lines(1_000, n * 1_000)

        monkeypatch.setattr(intake._writer, "submit_async", slow)
        task = asyncio.create_task(intake.take_stream("factory", pieces(), source="test"))
        for _ in range(2):
            await slots.acquire()
        # That nothing more happens can only be waited for.
        await asyncio.sleep(0.05)
        assert slots.locked()
        assert len(taken) == 3
        go_on.set()
        return await task

    assert asyncio.run(take()).ingested == 10_000


def test_what_a_broken_stream_had_stored_is_told(intake: EventIntake, db: Database, monkeypatch):
    """Also what was under way; sent again, nothing counts twice."""
    submit = intake._writer.submit_async
    calls = 0

    async def failing(*args: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise StorageFull("The disk is full.", hint="Free some space.")
        return await submit(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(intake._writer, "submit_async", failing)
        with pytest.raises(UploadInterrupted, match=r"disk is full\. Before that") as stopped:
            stream(intake, lines(6_000))
    problem = stopped.value.problem()
    assert problem["status"] == 503
    assert stopped.value.headers() == {"Retry-After": "1"}
    stored = stored_sums(db, *DAY)["W1", "S1"]["units"]
    assert problem["ingested"] == stored
    assert 2_000 <= stored < 6_000
    report = stream(intake, lines(6_000))
    assert (report.ingested, report.duplicates) == (6_000 - stored, stored)


def test_a_stream_that_fails_at_once_says_why(intake: EventIntake, monkeypatch):
    """Nothing was stored, so the error is the error itself."""

    async def failing(*_: Any, **__: Any) -> Any:
        raise StorageFull("The disk is full.")

    monkeypatch.setattr(intake._writer, "submit_async", failing)
    with pytest.raises(StorageFull):
        stream(intake, lines(10))
    monkeypatch.setattr(intake, "_max_stream", 100)
    with pytest.raises(TooLarge):
        stream(intake, lines(10))


def test_the_site_of_a_topic_binds(intake: EventIntake, db: Database):
    """Events that name another are refused, those that name none belong to it."""
    body = state("working", at(8)).body()
    del body["site_id"]
    data = json.dumps(
        [body, body | {"site_id": "main", "timestamp": "2026-03-02T09:00:00Z"}]
    ).encode()
    report = intake.take_sync("factory", data, source="mqtt", site="north")
    assert (report.ingested, report.rejected) == (1, 1)
    page, _ = db.factory.page(limit=5)
    assert [event.site_id for event in page] == ["north"]


def test_hours_offline_then_all_at_once(intake: EventIntake, db: Database):
    """A camera that comes back brings its past in any order, and the sums are right."""
    made(intake, [state("working", at(8)), state("working", at(14))])
    made(intake, [state("idle", at(8) + n * HOUR) for n in (5, 3, 1, 4, 2)])
    found = stored_sums(db, at(8), at(14))["W1", "S1"]
    assert found["working"] == 30 * MINUTE
    assert found["idle"] == 5 * 30 * MINUTE
    assert db.factory_totals.check() == []
