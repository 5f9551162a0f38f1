import threading
from datetime import UTC, datetime, timedelta

import pytest

from andon.errors import Conflict, NotFound
from andon.store.agent_actions import AgentActions
from andon.store.database import Database
from andon.store.ids import uuid7

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


@pytest.fixture
def actions(db):
    """The queries under test."""
    return AgentActions(db)


def propose(actions, **given):
    """A rollback that waits for one person."""
    values = {
        "action_type": "rollback_model",
        "risk_level": "high",
        "reason": "It is bad.",
        "model": "pcb",
        "approvals_needed": 1,
        "expires_at": LATER,
        "at": NOON,
    }
    return actions.propose(**{**values, **given})


def test_what_is_proposed_is_kept_as_it_was_said(actions):
    """Every field, and the review as a struct."""
    made = propose(actions, parameters={"to_version": 3}, evidence={"signals": [1]}, alert_id="a")
    actions.review(made.action_id, "Anna", "approve", "Go on.", NOON)
    found = actions.get(made.action_id)
    assert (found.status, found.parameters, found.alert_id) == ("approved", {"to_version": 3}, "a")
    (review,) = found.reviews
    assert (review.by, review.decision, review.comment, review.at) == (
        "Anna", "approve", "Go on.", NOON,
    )  # fmt: skip


def test_the_same_id_is_proposed_once(actions):
    """A process that was killed after the insertion finds its action."""
    key = uuid7()
    first = propose(actions, action_id=key)
    assert propose(actions, action_id=key, reason="Another.") == first


def test_a_second_open_action_of_a_type_is_refused_and_the_first_is_named(actions):
    """For the same model; another model may have its own."""
    first = propose(actions)
    with pytest.raises(Conflict, match="waits for approval already") as caught:
        propose(actions)
    assert caught.value.members["action_id"] == first.action_id
    assert propose(actions, model="heart").status == "pending"
    assert propose(actions, action_type="retrain_model").status == "pending"
    actions.review(first.action_id, "Anna", "reject", "", NOON)
    assert propose(actions).status == "pending"


def test_two_at_once_make_one(where):
    """Also from two connections to PostgreSQL."""
    db = Database(where)
    made, refused = [], []
    start = threading.Barrier(6)

    def one() -> None:
        start.wait()
        try:
            made.append(propose(AgentActions(db)))
        except Conflict:
            refused.append(1)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    db.close()
    assert (len(made), len(refused)) == (1, 5)


def test_without_approvals_it_is_to_be_done_at_once(actions):
    """And so is a dry run, which nobody need agree to."""
    assert propose(actions, approvals_needed=0).status == "approved"
    dry = propose(actions, model="heart", dry_run=True)
    assert (dry.status, dry.requires_approval, dry.expires_at) == ("approved", True, None)


def test_two_different_people_where_two_are_needed(actions):
    """Another spelling of a name is the same person."""
    made = propose(actions, approvals_needed=2)
    assert actions.review(made.action_id, "Anna", "approve", "", NOON).status == "pending"
    with pytest.raises(Conflict, match="needs 2 different people"):
        actions.review(made.action_id, " ANNA ", "approve", "", NOON)
    assert actions.review(made.action_id, "Bert", "approve", "", NOON).status == "approved"


def test_approving_twice_says_who_did(actions):
    """As a clear sentence."""
    made = propose(actions)
    actions.review(made.action_id, "Anna", "approve", "", NOON)
    with pytest.raises(Conflict, match="was approved by Anna already"):
        actions.review(made.action_id, "anna", "approve", "", NOON)
    with pytest.raises(Conflict, match="it is approved"):
        actions.review(made.action_id, "Bert", "reject", "", NOON)


def test_one_rejection_ends_it_although_one_has_agreed(actions):
    """Also by the person who agreed before."""
    made = propose(actions, approvals_needed=2)
    actions.review(made.action_id, "Anna", "approve", "", NOON)
    assert actions.review(made.action_id, "Anna", "reject", "No.", NOON).status == "rejected"
    with pytest.raises(Conflict, match="rejected"):
        actions.review(made.action_id, "Bert", "approve", "", NOON)


def test_after_its_time_nobody_may_agree(actions):
    """Whether the agent has noticed yet or not."""
    made = propose(actions)
    with pytest.raises(Conflict, match="expired: nobody approved it before 2026-11-20 13:00 UTC"):
        actions.review(made.action_id, "Anna", "approve", "", LATER)
    assert actions.expire_due(LATER - timedelta(seconds=1)) == []
    assert [one.action_id for one in actions.expire_due(LATER)] == [made.action_id]
    assert actions.expire_due(LATER) == []
    with pytest.raises(Conflict, match="expired"):
        actions.review(made.action_id, "Anna", "approve", "", LATER)


def test_an_action_is_claimed_once_and_the_oldest_first(actions):
    """What waits is not claimed."""
    waits = propose(actions)
    one = propose(actions, action_type="generate_report", approvals_needed=0)
    two = propose(actions, action_type="validate_data", approvals_needed=0)
    claimed = actions.claim(at=NOON)
    assert (claimed.action_id, claimed.status, claimed.attempts) == (one.action_id, "running", 1)
    assert actions.claim(waits.action_id) is None
    assert actions.claim(two.action_id).action_id == two.action_id
    assert actions.claim() is None


def test_what_was_left_is_taken_up_by_one(actions):
    """Whoever read an older state gets nothing."""
    made = propose(actions, approvals_needed=0)
    actions.claim()
    assert actions.again(made.action_id, 1).attempts == 2
    assert actions.again(made.action_id, 1) is None
    assert [one.action_id for one in actions.unfinished()] == [made.action_id]


def test_what_has_ended_stays_as_it_ended(actions):
    """A late word of a process that was thought dead changes nothing."""
    made = propose(actions, approvals_needed=0)
    actions.claim()
    actions.note_error(made.action_id, "Once.")
    done = actions.finish(made.action_id, "succeeded", {"summary": "Done."}, follow_up_at=LATER)
    assert actions.finish(made.action_id, "failed", None, "Late.") == done
    assert [one.action_id for one in actions.due_follow_ups(LATER)] == [made.action_id]
    actions.set_follow_up(made.action_id, {"recovered": True})
    assert actions.due_follow_ups(LATER) == []
    assert actions.get(made.action_id).follow_up == {"recovered": True}


def test_pages_go_on_where_they_ended(actions):
    """Newest first, by status, model and type."""
    made = [propose(actions, model=f"m{number}").action_id for number in range(5)]
    first, cursor = actions.page(limit=3)
    rest, end = actions.page(limit=3, before=cursor)
    assert [one.action_id for one in first + rest] == made[::-1]
    assert end is None
    assert [one.model for one in actions.page(model="m2")[0]] == ["m2"]
    assert actions.page(status="running")[0] == []
    assert len(actions.page(status="open")[0]) == 5
    assert actions.counts() == {"pending": 5}
    assert [one.model for one in actions.pending("m1")] == ["m1"]
    assert len(actions.recent(None, "rollback_model", NOON)) == 5
    assert actions.recent(None, None, LATER) == []


def test_an_unknown_action_is_said(actions):
    """Also as a cursor."""
    for call in (actions.get, lambda key: actions.page(before=key)):
        with pytest.raises(NotFound, match="There is no action"):
            call(uuid7())
