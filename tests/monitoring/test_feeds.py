"""Feeds that fall silent are named, and a planned stop is one thing."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from tests.monitoring.simulated import SETTINGS, picture_answer, picture_version, store
from tests.support import floor
from tests.support.floor import Told

from andon.monitoring.feeds import FeedDetector
from andon.monitoring.signals import Signal, State
from andon.store.clock import micros
from andon.store.database import Database

BEGIN = datetime(2026, 11, 20, 6, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def report(
    db: Database, cameras: Sequence[str | None], minutes: range, kind: str = "working"
) -> None:
    """An event of each camera in each of these minutes after BEGIN, received at once."""
    rows = []
    for minute in minutes:
        for camera in cameras:
            at = micros(BEGIN + minute * MINUTE)
            told = Told(at, "W1", "S1", kind, event_id=f"{camera}-{minute}", camera=camera)
            row = told.row()
            row.received = at
            rows.append(row)
    with db.write() as connection:
        db.factory.ingest(connection, rows)


def look(db: Database, minutes: float) -> list[Signal]:
    """What a new detector says so many minutes after BEGIN, as after a restart."""
    return FeedDetector(db, SETTINGS).look_feeds(BEGIN + minutes * MINUTE)


def states(signals: list[Signal]) -> dict[str, State]:
    """State by feed."""
    assert all(one.summary.endswith(".") and one.name == "stale_feed" for one in signals)
    return {one.subject: one.state for one in signals}


def test_a_camera_that_fell_silent_is_stale(sqlite_db: Database) -> None:
    """After ten times its usual gap, and not before ten minutes."""
    floor.register(sqlite_db)
    report(sqlite_db, ["c1", "c2"], range(30))
    report(sqlite_db, ["c2"], range(30, 60))
    assert states(look(sqlite_db, 38)) == {"camera c1": State.OK, "camera c2": State.OK}
    found = look(sqlite_db, 60)
    assert states(found) == {"camera c1": State.BAD, "camera c2": State.OK}
    assert "since 2026-11-20 06:29 UTC" in found[0].summary


def test_a_planned_stop_is_one_signal(sqlite_db: Database) -> None:
    """Everything fell silent at once."""
    floor.register(sqlite_db)
    report(sqlite_db, ["c1", "c2", "c3"], range(30))
    (found,) = look(sqlite_db, 90)
    assert (found.state, found.severity, found.subject) == (State.BAD, "info", "site main")
    assert found.evidence["feeds"] == ["camera c1", "camera c2", "camera c3"]


def test_what_reported_a_few_times_is_no_feed(sqlite_db: Database) -> None:
    """Nor is one that sends when somebody asks it to."""
    floor.register(sqlite_db)
    report(sqlite_db, ["c1"], range(5))
    assert look(sqlite_db, 60) == []


def test_a_burst_by_hand_is_no_feed(sqlite_db: Database) -> None:
    """Many pictures within minutes say nothing of a rhythm."""
    version = picture_version(sqlite_db)
    burst = [
        picture_answer(version, camera="hand", at=BEGIN + place * MINUTE / 10)
        for place in range(100)
    ]
    store(sqlite_db, burst)
    assert look(sqlite_db, 60) == []


def test_a_worker_who_left_is_not_missed(sqlite_db: Database) -> None:
    """Absence was reported; without it the silence is told."""
    floor.register(sqlite_db)
    report(sqlite_db, [None], range(30))
    assert states(look(sqlite_db, 60)) == {"worker W1": State.BAD}
    report(sqlite_db, [None], range(30, 31), "absent")
    assert look(sqlite_db, 60) == []


def test_what_comes_back_is_well_again(sqlite_db: Database) -> None:
    """The same detector goes on from where it was; a clock that was set back hurts nothing."""
    floor.register(sqlite_db)
    report(sqlite_db, ["c1"], range(30))
    detector = FeedDetector(sqlite_db, SETTINGS)
    assert states(detector.look_feeds(BEGIN + 60 * MINUTE)) == {"camera c1": State.BAD}
    report(sqlite_db, ["c1"], range(60, 62))
    assert states(detector.look_feeds(BEGIN + 62 * MINUTE)) == {"camera c1": State.OK}
    assert states(detector.look_feeds(BEGIN)) == {"camera c1": State.OK}


def test_the_cameras_of_pictures_are_feeds(sqlite_db: Database) -> None:
    """Those that clients send, not those of a folder."""
    version = picture_version(sqlite_db)
    times = [BEGIN + place * MINUTE for place in range(30)]
    store(sqlite_db, [picture_answer(version, camera="top", at=at) for at in times])
    folder = [picture_answer(version, camera="disk", source="batch", at=at) for at in times]
    store(sqlite_db, folder)
    assert states(look(sqlite_db, 35)) == {"pictures of top": State.OK}
    assert states(look(sqlite_db, 60)) == {"pictures of top": State.BAD}


def test_made_up_names_do_not_fill_memory(
    sqlite_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The feeds that were silent longest are forgotten."""
    monkeypatch.setattr("andon.monitoring.feeds._MOST_FEEDS", 3)
    floor.register(sqlite_db)
    report(sqlite_db, ["real"], range(30))
    report(sqlite_db, [f"made-up-{number}" for number in range(20)], range(3))
    detector = FeedDetector(sqlite_db, SETTINGS)
    detector.look_feeds(BEGIN + 31 * MINUTE)
    assert len(detector._feeds) == 3
    assert "camera real" in detector._feeds
