import contextlib
import itertools
from datetime import UTC, datetime, timedelta

import pytest
from tests.store.builders import add_version, log

from andon.errors import InvalidRequest, NotFound
from andon.store.clock import now
from andon.store.database import Database


def test_an_answer_comes_back_as_it_was_logged(db: Database):
    """Every column, JSON and times included."""
    made = now()
    (logged,) = log(
        db,
        add_version(db),
        subject="board-7",
        request_id="r-1",
        prediction="short",
        probability=0.9,
        cached=True,
        actual={"label": "open"},
        created_at=made,
    )
    found = db.predictions.get(logged)
    assert (found.model, found.model_version, found.timestamp) == ("pcb", 1, made)
    assert found.detections == [{"label": "short", "confidence": 0.9, "bbox": [1, 2, 3, 4]}]
    assert (found.subject, found.request_id, found.cached) == ("board-7", "r-1", True)
    assert (found.actual, found.raw_scores) == ({"label": "open"}, [0.9, 0.1])
    assert found.timestamp.tzinfo is UTC


def test_nothing_is_nothing(db: Database):
    """What was not given is None, and lists are empty rather than missing."""
    (logged,) = log(
        db,
        add_version(db),
        status="error",
        error="decode failed",
        detections=None,
        confidence_scores=None,
        raw_scores=None,
        image_name=None,
        actual=None,
    )
    found = db.predictions.get(logged)
    assert (found.detections, found.confidence_scores, found.raw_scores) == ([], [], [])
    assert (found.image_name, found.actual, found.subject) == (None, None, None)


def test_an_unknown_answer_is_named(db: Database):
    """The id is in the sentence."""
    with pytest.raises(NotFound, match="no prediction 01"):
        db.predictions.get("01")


def test_pages_hold_everything_once(db: Database):
    """Following the cursor meets every answer, newest first, over several versions."""
    versions = [add_version(db), add_version(db), add_version(db)]
    logged = [log(db, versions[turn % 3])[0] for turn in range(11)]
    for wanted in ({}, {"model": "pcb"}):
        seen: list[str] = []
        cursor = None
        while True:
            found, cursor = db.predictions.page(**wanted, before=cursor, limit=4)
            seen += [one.id for one in found]
            if cursor is None:
                break
        assert seen == logged[::-1]


def test_a_page_that_is_just_full_is_the_last(db: Database):
    """No empty page follows."""
    log(db, add_version(db), 4)
    found, cursor = db.predictions.page(limit=4)
    assert (len(found), cursor) == (4, None)


def test_answers_are_filtered(db: Database):
    """Each filter alone, and together."""
    one, two, other = add_version(db), add_version(db), add_version(db, "other")
    (a,) = log(db, one, source="batch")
    (b,) = log(db, two, subject="board-7")
    (c,) = log(db, two, status="error", detections=None)
    (d,) = log(db, other, detections=[{"label": "open", "confidence": 0.6, "bbox": [0, 0, 1, 1]}])
    (e,) = log(db, other, detections=[], prediction="alert")

    def found(**wanted: object) -> list[str]:
        return [one.id for one in db.predictions.page(**wanted)[0]]

    assert found() == [e, d, c, b, a]
    assert found(model="pcb") == [c, b, a]
    assert found(model="pcb", version=2) == [c, b]
    assert found(version=1) == [e, d, a]
    assert found(source="batch") == [a]
    assert found(subject="board-7") == [b]
    assert found(status="error") == [c]
    assert found(label="short") == [b, a]
    assert found(label="open") == [d]
    assert found(label="alert") == [e]
    assert found(label="%") == []
    assert found(model="pcb", label="short", source="api") == [b]
    assert found(model="nobody") == []


def test_answers_are_filtered_by_time(db: Database):
    """`since` is included, `until` is not."""
    (before,) = log(db, add_version(db))
    between = datetime.fromtimestamp(int(before[:8] + before[9:13], 16) / 1000 + 0.001, UTC)
    while now() <= between + timedelta(milliseconds=1):
        pass
    (after,) = log(db, db.models.get("pcb", 1))
    assert [one.id for one in db.predictions.page(since=between)[0]] == [after]
    assert [one.id for one in db.predictions.page(until=between)[0]] == [before]


@pytest.mark.parametrize("cursor", ["", "x", "' OR 1=1", "a" * 10_000])
def test_a_strange_cursor_is_refused(db: Database, cursor: str):
    """A cursor is passed on as it was given."""
    with pytest.raises(InvalidRequest, match="cursor"):
        db.predictions.page(before=cursor)


def test_pages_of_a_model_come_along_indexes(sqlite_db: Database):
    """A page never sorts or scans the log, whatever it holds."""
    for _ in range(3):
        add_version(sqlite_db)
    statements: list[str] = []
    bare = sqlite_db.open_sqlite()
    with sqlite_db.read() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.set_trace_callback(statements.append)
    sqlite_db.predictions.page(model="pcb")
    query = next(one for one in statements if "UNION ALL" in one)
    plan = " ".join(row[3] for row in bare.execute(f"EXPLAIN QUERY PLAN {query}"))
    bare.close()
    assert plan.count("ix_predictions_model_id_id") == 3
    assert "SCAN predictions" not in plan


def test_answers_to_a_picture_are_found(db: Database):
    """By content, and the newest by name."""
    version = add_version(db)
    log(db, version, image_hash="a" * 64, image_name="one.jpg")
    (newest,) = log(db, version, image_hash="a" * 64, image_name="two.jpg")
    log(db, version, image_hash="b" * 64, image_name="three.jpg")
    assert [one.image_name for one in db.predictions.by_image("a" * 64)] == ["two.jpg", "one.jpg"]
    found = db.predictions.newest_by_name("two.jpg")
    assert found is not None
    assert found.id == newest
    assert db.predictions.newest_by_name("none.jpg") is None


def test_statistics_come_from_the_counters(db: Database):
    """S0-102: the active version and totals over all versions, failures not counted."""
    one, two = add_version(db), add_version(db)
    empty = db.predictions.stats("pcb")
    assert (empty["active_version"], empty["avg_confidence"]) == (None, 0.0)
    db.models.set_active("pcb", 2)
    log(db, one, 2)
    log(db, two, 1, detections=[], detection_count=0, confidence_scores=[])
    log(db, two, 5, status="error")
    log(db, two, 5, role="shadow")
    stats = db.predictions.stats("pcb")
    assert (stats["active_version"], stats["total_inferences"]) == (2, 3)
    assert stats["total_detections"] == 2
    assert stats["avg_confidence"] == pytest.approx(0.6)


def test_throughput_is_by_minute(db: Database):
    """Quiet minutes are there too, errors are counted and do not spoil the latency."""
    version = add_version(db)
    minute = timedelta(minutes=1)
    # In the middle of its minute: each row is logged a little later than the one before.
    middle = now().replace(second=30) - 2 * minute
    log(db, version, 2, created_at=middle, latency_ms=10.0)
    log(db, version, 1, created_at=middle, latency_ms=900.0, status="error")
    log(db, version, 1, created_at=now() - 60 * minute)
    log(db, add_version(db, "other"), 3, created_at=now() - minute)
    rows = db.predictions.throughput("pcb", 5)
    assert [count for _, count, _, _ in rows] in ([0, 0, 3, 0, 0], [0, 3, 0, 0, 0])
    start, _, latency, errors = max(rows, key=lambda row: row[1])
    assert (latency, errors, start.second, start.tzinfo) == (10.0, 1, 0, UTC)
    assert all(later[0] - earlier[0] == minute for earlier, later in itertools.pairwise(rows))


def test_latency_percentiles_are_measured_latencies(db: Database):
    """Nearest rank over the newest answers; zeros without any."""
    version = add_version(db)
    assert db.predictions.latency_percentiles("pcb")["p99"] == 0.0
    for latency in range(1, 101):
        db.writer.write(
            {
                "id": f"{latency:036d}",
                "model_id": version.id,
                "source": "api",
                "role": "active",
                "status": "success",
                "latency_ms": float(latency),
            }
        )
    db.writer.flush()
    found = db.predictions.latency_percentiles("pcb")
    assert found == {"count": 100.0, "p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0}
    assert db.predictions.latency_percentiles("pcb", limit=10)["p50"] == 95.0


@pytest.mark.parametrize("nasty", ["a\0b", "\ud800", "%", "' OR ''='", "x" * 100_000])
def test_nasty_filters_find_nothing(db: Database, nasty: str):
    """Whatever a stranger sends: no rows or a clear refusal, never a surprise."""
    log(db, add_version(db))
    for name in ("model", "source", "label", "subject", "status"):
        with contextlib.suppress(InvalidRequest):
            assert db.predictions.page(**{name: nasty}) == ([], None)


def test_a_number_beyond_every_version_is_not_found(db: Database):
    """Even one that no column can hold."""
    for number in (2**31, 2**63, 10**30, -1):
        with pytest.raises((NotFound, InvalidRequest)):
            db.models.get("pcb", number)
