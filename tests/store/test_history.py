"""Deployment events and measured numbers."""

from datetime import timedelta

from tests.store.builders import add_version

from andon.store.clock import now
from andon.store.database import Database


def test_events_are_paged_newest_first(db: Database):
    """By model and by kind, each once."""
    add_version(db)
    made = [db.events.add("pcb", 1, kind).id for kind in ("A", "B", "A", "A", "A")]
    db.events.add("other", 0, "REJECTED", reason="no model", actor="ann")
    first, cursor = db.events.page(model="pcb", limit=3)
    rest, end = db.events.page(model="pcb", limit=3, before=cursor)
    assert [event.id for event in first + rest] == made[::-1]
    assert end is None
    assert [event.id for event in db.events.page(event_type="B")[0]] == [made[1]]
    rejected = db.events.page(limit=1)[0][0]
    assert (rejected.model_version, rejected.reason, rejected.actor) == (0, "no model", "ann")


def test_the_last_event_is_known(db: Database):
    """Zero on a fresh database, then growing."""
    assert db.events.last_id() == 0
    first = db.events.add("pcb", 0, "REJECTED")
    assert db.events.last_id() == first.id


def test_numbers_measured_together_share_their_time(db: Database):
    """By name and since when, newest first, details kept."""
    version = add_version(db)
    earlier = now() - timedelta(hours=2)
    db.metrics.add(version.id, {"accuracy": 0.5, "recall": 0.4}, at=earlier)
    db.metrics.add(version.id, {"accuracy": 0.9}, details={"window": 100})
    db.metrics.add(version.id, {})
    assert [one.value for one in db.metrics.recent(version.id, name="accuracy")] == [0.9, 0.5]
    recent = db.metrics.recent(version.id, since=now() - timedelta(hours=1))
    assert [(one.name, one.details) for one in recent] == [("accuracy", {"window": 100})]
    old = db.metrics.recent(version.id)[1:]
    assert {one.timestamp for one in old} == {earlier}
