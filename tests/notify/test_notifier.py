import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs
from tests.support.hooks import HANG, Hooks

from andon.errors import StorageFull
from andon.notify import notifier as module
from andon.notify.channels import NotDelivered
from andon.notify.notifier import GIVEN_UP_AFTER, Notifier, usable
from andon.settings import Settings
from andon.store import outbox as outbox_module
from andon.store.clock import now
from andon.store.database import Database
from andon.store.outbox import Notification, Outbox
from andon.store.tables import notifications


class Friend:
    """A channel that keeps what it is told, or says why not."""

    def __init__(self, name: str = "friend") -> None:
        self.name = name
        self.seconds = 1.0
        self.told: list[Notification] = []
        self.fails: list[Exception] = []

    def deliver(self, notification: Notification) -> None:
        """Keep it, unless told to fail."""
        if self.fails:
            raise self.fails.pop(0)
        self.told.append(notification)


@pytest.fixture
def friend() -> Friend:
    return Friend()


@pytest.fixture
def outcomes() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def notifier(db: Database, friend: Friend, outcomes: list[tuple[str, str]]) -> Iterator[Notifier]:
    found = Notifier(db, Settings(), observe=lambda *tried: outcomes.append(tried))
    found.add(friend)
    yield found
    found.stop()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Moves the time that notifier and outbox see."""
    begin = now()

    def by(**ahead: float) -> None:
        for one in (module, outbox_module):
            monkeypatch.setattr(one, "now", lambda: begin + timedelta(**ahead))

    return by


def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    """Wait for something that a thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def test_without_a_channel_there_is_no_thread_and_no_outbox(sqlite_db: Database):
    """The log is told at once, and costs nothing."""
    notifier = Notifier(sqlite_db, Settings())
    before = threading.active_count()
    notifier.start()
    with capture_logs() as said:
        notifier.tell("alert", {"title": "pcb", "severity": "warning"})
    assert threading.active_count() == before
    assert [one["event"] for one in said] == ["Alert: pcb"]
    assert Outbox(sqlite_db).waiting() == 0
    notifier.stop()


def test_what_is_told_is_on_disk_before_it_is_delivered(
    db: Database, notifier: Notifier, friend: Friend
):
    """A crash in between loses nothing: another notifier delivers it."""
    notifier.tell("alert", {"n": 1})
    assert Outbox(db).waiting() == 1
    after = Notifier(db, Settings())
    after.add(friend)
    assert after.deliver_once() == 1
    assert [one.data for one in friend.told] == [{"n": 1}]
    assert after.deliver_once() == 0


def test_a_transaction_that_is_lost_takes_its_notification_along(db: Database, notifier: Notifier):
    """Nobody is told what did not happen."""
    with pytest.raises(RuntimeError), db.write() as connection:
        notifier.tell_with(connection, "alert", {})
        raise RuntimeError("killed")
    assert Outbox(db).waiting() == 0


def test_a_failure_is_tried_again_with_growing_pauses(
    db: Database,
    notifier: Notifier,
    friend: Friend,
    outcomes: list[Any],
    clock: Callable[..., None],
):
    """5 s, 10 s, 20 s, …; the same id every time; said once."""
    friend.fails = [NotDelivered("down")] * 3
    notifier.tell("alert", {"n": 1})
    begin = now()
    with capture_logs() as said:
        pauses = []
        for seconds in (1, 10, 30):
            clock(seconds=seconds)
            notifier.deliver_once()
            with db.read() as connection:
                row = connection.execute(select(notifications)).one()
            pauses.append(round((row.available_at - begin).total_seconds() - seconds))
        assert notifier.problem == "Friend failed: down."
        clock(seconds=100)
        assert notifier.deliver_once() == 1
    assert pauses == [5, 10, 20]
    assert [one.attempts for one in friend.told] == [4]
    assert notifier.problem == ""
    assert [one["event"] for one in said] == ["Friend failed: down", "Friend works again"]
    assert outcomes == [("friend", "failed")] * 3 + [("friend", "sent")]


def test_the_pause_is_a_quarter_of_an_hour_at_most_and_a_day_is_the_end(
    db: Database,
    notifier: Notifier,
    friend: Friend,
    outcomes: list[Any],
    clock: Callable[..., None],
):
    """Given up is said aloud, and the next one comes to its turn."""
    friend.fails = [NotDelivered("down")] * 200
    notifier.tell("alert", {"n": 1})
    notifier.tell("alert", {"n": 2})
    tries, seconds = 0, 1.0
    with capture_logs() as said:
        while Outbox(db).waiting() == 2:
            clock(seconds=seconds)
            assert notifier.deliver_once() == 0
            tries += 1
            seconds += 901.0
    assert GIVEN_UP_AFTER.total_seconds() <= seconds <= GIVEN_UP_AFTER.total_seconds() + 1900
    assert 90 < tries < 100
    assert outcomes[-1] == ("friend", "given_up")
    assert any("is given up, it could not be told for a day: down" in one["event"] for one in said)
    friend.fails = []
    assert notifier.deliver_once() == 1
    assert [one.data for one in friend.told] == [{"n": 2}]


def test_what_a_receiver_refuses_for_its_content_makes_way_at_once(
    db: Database, notifier: Notifier, friend: Friend, outcomes: list[Any]
):
    """It is given up without another try, and the next one is delivered."""
    friend.fails = [NotDelivered("answered 422", final=True)]
    notifier.tell("alert", {"n": 1})
    notifier.tell("alert", {"n": 2})
    assert notifier.deliver_once() == 0
    assert notifier.deliver_once() == 1
    assert [one.data for one in friend.told] == [{"n": 2}]
    assert outcomes == [("friend", "given_up"), ("friend", "sent")]


def test_a_channel_that_breaks_in_an_unforeseen_way_is_tried_again(
    notifier: Notifier, friend: Friend
):
    """An error of ours is a failed try like any other, and is named."""
    friend.fails = [KeyError("bug")]
    notifier.tell("alert", {})
    with capture_logs():
        assert notifier.deliver_once() == 0
    assert notifier.problem == "Friend failed: KeyError."


def test_a_target_that_hangs_delays_nothing_but_itself(db: Database, hooks: Hooks):
    """Another channel is told at once, and so is who tells."""
    hooks.always = HANG
    settings = Settings(webhook_url=hooks.url, webhook_timeout=20)
    notifier = Notifier(db, settings)
    friend = Friend()
    notifier.add(friend)
    notifier.start()
    try:
        begin = time.monotonic()
        for number in range(5):
            notifier.tell("alert", {"n": number})
        assert time.monotonic() - begin < 2
        until(lambda: len(friend.told) == 5)
        assert [one.data["n"] for one in friend.told] == list(range(5))
        assert len(hooks.got) <= 1
    finally:
        hooks.stop()
        notifier.stop()


def test_the_thread_delivers_in_order_and_at_once(sqlite_db: Database, hooks: Hooks):
    """Also what waited since before the start."""
    settings = Settings(webhook_url=hooks.url)
    Notifier(sqlite_db, settings).tell("alert", {"n": 0})
    notifier = Notifier(sqlite_db, settings)
    notifier.start()
    for number in range(1, 4):
        notifier.tell("alert", {"n": number})
    until(lambda: len(hooks.got) == 4)
    notifier.stop()
    assert [body["data"]["n"] for body in hooks.events] == [0, 1, 2, 3]
    assert Outbox(sqlite_db).waiting() == 0


def test_while_the_database_takes_nothing_it_is_kept_in_memory(
    db: Database, notifier: Notifier, friend: Friend, monkeypatch: pytest.MonkeyPatch
):
    """Telling never fails: what is told has happened already."""
    add = Outbox.add

    def full(*_: Any) -> str:
        raise StorageFull("The disk is full.")

    monkeypatch.setattr(Outbox, "add", full)
    with capture_logs() as said:
        notifier.tell("rollback", {"n": 1})
    assert "waits in memory" in said[-1]["event"]
    with pytest.raises(StorageFull):
        notifier.deliver_once()
    monkeypatch.setattr(Outbox, "add", add)
    assert notifier.deliver_once() == 1
    assert [one.data for one in friend.told] == [{"n": 1}]


def test_an_address_that_cannot_be_used_is_found_before_it_is_needed():
    """None and a good one are fine."""
    assert usable(Settings()) == ""
    assert usable(Settings(webhook_url="http://127.0.0.1:1/x")) == ""
    assert "no http or https address" in usable(Settings(webhook_url="mailto:me"))


def test_what_was_told_long_ago_is_forgotten(db: Database, notifier: Notifier, clock: Any):
    """After 31 days, not before."""
    notifier.tell("alert", {})
    notifier.deliver_once()
    assert notifier.prune() == 0
    clock(days=31)
    assert notifier.prune() == 1
