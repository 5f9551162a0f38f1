import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from andon.store.database import Database
from andon.store.rejected_messages import MAX_PAYLOAD, RejectedMessages


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
