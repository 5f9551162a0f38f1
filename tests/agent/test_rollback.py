from datetime import timedelta

import pytest
from tests.agent.conftest import NOON

from andon.agent.rollback import find_target, healthy_target


@pytest.fixture
def four(bench):
    """Four versions that served one after the other."""
    bench.versions(count=4)
    return bench


def back(bench, to: int, actor: str = "agent") -> None:
    """A rollback."""
    bench.db.models.set_active("pcb", to, event_type="ROLLBACK", actor=actor)


def test_it_is_the_version_that_served_before(four):
    """As people expect."""
    assert healthy_target(four.db, "pcb").version == 3


def test_a_version_that_was_left_by_a_rollback_is_passed_over(four):
    """It is said why."""
    back(four, 3)
    four.activate("pcb", 4, actor="agent")
    back(four, 3)
    target = find_target(four.db, "pcb")
    assert target.version.version == 2
    assert "left by a rollback" in target.passed[0].why


def test_a_person_who_activates_it_gives_it_another_chance(four):
    """It was mended, or the trouble was another."""
    back(four, 3)
    four.activate("pcb", 4)
    four.activate("pcb", 2)
    assert healthy_target(four.db, "pcb").version == 4


def test_deleted_and_damaged_ones_are_passed_over(four):
    """And those that did not load."""
    four.db.models.delete("pcb", 3)
    four.db.models.mark_damaged(four.db.models.get("pcb", 2).id, "Its bytes have changed.")
    target = find_target(four.db, "pcb", without=frozenset({1}))
    assert target.version is None
    assert [one.version for one in target.passed] == [3, 2, 1]


def test_after_a_rollback_of_the_agent_a_person_decides(four):
    """For a day; a person's own rollback holds nobody."""
    four.moment = NOON
    back(four, 3)
    held = find_target(four.db, "pcb", moment=NOON + timedelta(hours=2))
    assert "a person must decide" in held.hold
    assert find_target(four.db, "pcb", moment=NOON + timedelta(hours=24)).hold == ""
    four.activate("pcb", 4)
    back(four, 3, actor="anna")
    assert find_target(four.db, "pcb", moment=NOON).hold == ""


def test_without_any_version_there_is_nothing(bench):
    """No error either."""
    target = find_target(bench.db, "pcb", moment=NOON)
    assert (target.active, target.version, target.passed) == (None, None, ())
