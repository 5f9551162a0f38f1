from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from andon.store import rejected_messages
from andon.store.clock import now
from andon.store.database import Database
from andon.store.rejected_messages import MAX_PAYLOAD, RejectedLately, RejectedMessages


def test_a_message_is_kept_with_its_reason(db: Database):
    """So that somebody can look."""
    rejected = RejectedMessages(db)
    assert (rejected.recent(), rejected.count()) == ([], 0)
    rejected.add("andon/main/events", b'{"worker_id": 7}', "worker_id must be text.")
    (kept,) = rejected.recent()
    assert (kept.topic, kept.payload) == ("andon/main/events", '{"worker_id": 7}')
    assert kept.reason == "worker_id must be text."
    assert kept.received_at.tzinfo is not None


def test_the_newest_stay(db: Database):
    """Newest first; the oldest make room, one by one or many at once."""
    rejected = RejectedMessages(db, keep=5)
    for number in range(4):
        rejected.add("t", b"%d" % number, "no")
    rejected.add_all(("t", b"%d" % number, "no") for number in range(4, 7))
    assert [message.payload for message in rejected.recent()] == ["6", "5", "4", "3", "2"]
    assert [message.payload for message in rejected.recent(2)] == ["6", "5"]
    rejected.add_all(("t", b"%d" % number, "no") for number in range(100))
    assert rejected.count() == 5
    assert rejected.recent(1)[0].payload == "99"
    rejected.add_all([])
    assert rejected.count() == 5


@pytest.mark.parametrize(
    ("payload", "seen"),
    [
        (b"", ""),
        (b"\x00\x01", "\\x00\x01"),
        (b"\xff\xfe{", "\\xff\\xfe{"),
        ("grün".encode(), "grün"),
        (b"a" * (MAX_PAYLOAD + 7), "a" * MAX_PAYLOAD + "… (7 bytes more)"),
    ],
    ids=["empty", "nul", "no text", "text", "long"],
)
def test_any_payload_can_be_kept_and_read(db: Database, payload, seen):
    """As text, on every database."""
    rejected = RejectedMessages(db)
    rejected.add("t", payload, "no")
    assert rejected.recent()[0].payload == seen


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(topic=st.text(), payload=st.binary(), reason=st.text())
def test_no_message_is_too_strange(db: Database, topic, payload, reason):
    """A message that cannot even be kept aside would come again for ever."""
    rejected = RejectedMessages(db)
    before = rejected.count()
    rejected.add(topic, payload, reason)
    assert rejected.count() == before + 1


def test_messages_are_paged_newest_first(db: Database):
    """By a cursor, of all topics or of one; the last page says that it is the last."""
    rejected = RejectedMessages(db)
    for number in range(7):
        rejected.add("a" if number % 2 else "b", b"%d" % number, "no")
    first, following = rejected.page(limit=4)
    assert [one.payload for one in first] == ["6", "5", "4", "3"]
    assert following == first[-1].id
    rest, end = rejected.page(before=following, limit=4)
    assert ([one.payload for one in rest], end) == (["2", "1", "0"], None)
    only, end = rejected.page(topic="a", limit=3)
    assert ([one.payload for one in only], end) == (["5", "3", "1"], None)
    assert rejected.page(topic="nothing") == ([], None)
    assert rejected.page(topic="a\x00\ud800") == ([], None)


def test_topics_say_how_many_since_when_and_the_last(db: Database):
    """The topic whose message came last comes first; what is long ago is none of today's."""
    rejected = RejectedMessages(db)
    rejected.add("old", b"x", "no")
    rejected.add("busy", b"first", "no")
    aged(db, timedelta(days=3))
    since = now() - timedelta(hours=1)
    assert rejected.topics(since) == []
    assert rejected.tally(since) == (0, 0)
    rejected.add("busy", b"again", "no")
    rejected.add("busy", b"last", "still no")
    rejected.add("new", b"x", "no")
    new, busy = rejected.topics(since)
    assert (new.topic, new.count, new.first) == ("new", 1, new.newest.received_at)
    assert (busy.topic, busy.count, busy.newest.payload) == ("busy", 2, "last")
    assert busy.first < since
    assert rejected.tally(since) == (3, 2)
    assert rejected.topics(since, limit=1) == [new]


def test_what_came_lately_is_told_of_the_newest(db: Database, monkeypatch):
    """How many, since when and where; nothing where the last one is long ago."""
    rejected = RejectedMessages(db)
    since = now() - timedelta(minutes=15)
    assert rejected.lately(since) == RejectedLately()
    rejected.add("t", b"x", "no")
    aged(db, timedelta(hours=1))
    assert rejected.lately(since) == RejectedLately()
    rejected.add_all([("t", b"x", "no"), ("u", b"y", "no"), ("v", b"z", "no")])
    found = rejected.lately(since)
    assert (found.count, found.topic) == (3, "v")
    assert found.first == rejected.recent(1)[0].received_at
    monkeypatch.setattr(rejected_messages, "LOOKED_AT", 2)
    assert rejected.lately(since).count == 2


def aged(db: Database, by: timedelta) -> None:
    """As if everything kept had come so much earlier."""
    table = rejected_messages.rejected_messages
    with db.write() as connection:
        connection.execute(update(table).values(received_at=now() - by))
