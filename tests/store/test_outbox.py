from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from andon.store import outbox as module
from andon.store.clock import now
from andon.store.database import Database
from andon.store.outbox import Outbox


@pytest.fixture
def outbox(db: Database) -> Outbox:
    return Outbox(db)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Moves the time that the outbox sees."""
    begin = now()

    def by(**ahead: float) -> None:
        monkeypatch.setattr(module, "now", lambda: begin + timedelta(**ahead))

    return by


def test_what_was_told_waits_no_more(outbox: Outbox):
    """With what it says, in the order in which things happened."""
    first = outbox.add(None, "webhook", "alert", {"n": 1})
    outbox.add(None, "webhook", "alert", {"n": 2})
    assert outbox.waiting() == 2
    (taken,) = outbox.due()
    assert (taken.id, taken.event, taken.data, taken.attempts) == (first, "alert", {"n": 1}, 1)
    outbox.sent(taken.id)
    assert [one.data for one in outbox.due()] == [{"n": 2}]


def test_the_later_ones_of_a_channel_wait_behind_one_that_failed(outbox: Outbox, clock: Any):
    """Order is kept per channel, and channels do not wait for each other."""
    outbox.add(None, "webhook", "alert", {"n": 1})
    outbox.add(None, "webhook", "alert", {"n": 2})
    (taken,) = outbox.due()
    outbox.failed(taken.id, "refused", now() + timedelta(seconds=30))
    other = outbox.add(None, "mail", "alert", {"n": 3})
    assert [one.id for one in outbox.due()] == [other]
    clock(seconds=31)
    again = outbox.due(channels=["webhook"])
    assert [(one.id, one.attempts) for one in again] == [(taken.id, 2)]


def test_what_is_given_up_makes_way(outbox: Outbox):
    """One is due per channel at a time; the next follows when the first is given up."""
    for number in (1, 2):
        outbox.add(None, "webhook", "alert", {"n": number})
    (taken,) = outbox.due()
    assert outbox.oldest_waiting() == (taken.created_at, "")
    outbox.failed(taken.id, "no", None)
    assert [one.data for one in outbox.due()] == [{"n": 2}]
    assert outbox.waiting() == 1


def test_what_a_process_took_before_it_died_is_due_again(outbox: Outbox, clock: Any):
    """When the time it was held for is over, as the second attempt."""
    outbox.add(None, "webhook", "alert", {})
    assert len(outbox.due(hold=60)) == 1
    assert outbox.due(hold=60) == []
    clock(seconds=61)
    assert [one.attempts for one in outbox.due()] == [2]


def test_a_clock_that_was_set_back_silences_no_channel(outbox: Outbox, clock: Any):
    """A next try that lies hours ahead is due now."""
    outbox.add(None, "webhook", "alert", {})
    (taken,) = outbox.due()
    outbox.failed(taken.id, "no", now() + timedelta(minutes=15))
    clock(hours=-5)
    assert [one.id for one in outbox.due()] == [taken.id]


def test_of_many_who_ask_at_once_one_gets_it(outbox: Outbox):
    """Twelve questions in six threads take it once."""
    outbox.add(None, "webhook", "alert", {})
    with ThreadPoolExecutor(6) as pool:
        taken = [one for part in pool.map(lambda _: outbox.due(), range(12)) for one in part]
    assert len(taken) == 1


def test_only_what_is_over_is_forgotten(outbox: Outbox):
    """Sent long enough ago; what waits stays."""
    for number in range(3):
        outbox.add(None, "webhook", "alert", {"n": number})
    (taken,) = outbox.due()
    outbox.sent(taken.id)
    assert outbox.prune(now() - timedelta(days=1)) == 0
    assert outbox.prune(now() + timedelta(days=1)) == 1
    assert outbox.waiting() == 2
