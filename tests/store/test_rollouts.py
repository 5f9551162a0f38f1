from pathlib import Path

import pytest
from tests.store.builders import add_version, start_program

from andon.errors import Conflict, InvalidRequest, NotFound
from andon.store.database import Database
from andon.store.rollouts import Rollouts


@pytest.fixture
def rollouts(db) -> Rollouts:
    """Rollouts of a model with three versions, the first active."""
    for _ in range(3):
        add_version(db)
    db.models.set_active("pcb", 1)
    return Rollouts(db)


def test_a_rollout_says_who_tries_what_beside_what(rollouts):
    """Candidate, baseline, weight, actor and reason, by every way of reading it."""
    started = rollouts.start("pcb", "canary", 2, 0.1, "mia", "new lamps")
    assert rollouts.running("pcb") == started == rollouts.get(started.id)
    assert rollouts.all_running() == [started]
    assert (started.mode, started.candidate, started.baseline) == ("canary", 2, 1)
    assert (started.weight, started.actor, started.reason) == (0.1, "mia", "new lamps")
    assert (started.status, started.ended_at, started.judgement) == ("running", None, None)


def test_only_one_runs_per_model(rollouts, db):
    """A second is refused, also in another mode; other models have their own."""
    rollouts.start("pcb", "canary", 2, 0.1, "", "")
    with pytest.raises(Conflict, match="trying version 2 as canary already"):
        rollouts.start("pcb", "shadow", 3, 1.0, "", "")
    add_version(db, "other")
    add_version(db, "other")
    db.models.set_active("other", 1)
    rollouts.start("other", "shadow", 2, 1.0, "", "")
    assert [one.model for one in rollouts.all_running()] == ["other", "pcb"]


def test_what_cannot_be_tried_is_refused(rollouts, db):
    """The active version, none, a share above 1, an unknown mode, nothing to compare with."""
    with pytest.raises(Conflict, match="answers already"):
        rollouts.start("pcb", "canary", 1, 0.1, "", "")
    with pytest.raises(NotFound, match="Version 9"):
        rollouts.start("pcb", "canary", 9, 0.1, "", "")
    with pytest.raises(InvalidRequest, match="A share of"):
        rollouts.start("pcb", "canary", 2, 1.5, "", "")
    with pytest.raises(InvalidRequest, match="no way to try"):
        rollouts.start("pcb", "loud", 2, 0.1, "", "")
    add_version(db, "idle")
    with pytest.raises(Conflict, match="No version of model idle is active"):
        rollouts.start("idle", "canary", 1, 0.1, "", "")
    assert rollouts.all_running() == []


def test_ending_twice_is_ending_once(rollouts):
    """Another end and another weight are refused, and the next rollout may start."""
    started = rollouts.start("pcb", "canary", 2, 0.1, "", "")
    ended = rollouts.end(started.id, "reverted", "It crashed.")
    assert (ended.status, ended.outcome) == ("reverted", "It crashed.")
    assert ended.ended_at is not None
    assert rollouts.end(started.id, "reverted", "Once more.") == ended
    with pytest.raises(Conflict, match="has ended already: reverted"):
        rollouts.end(started.id, "promoted", "")
    with pytest.raises(Conflict, match="has ended"):
        rollouts.set_weight(started.id, 0.5)
    assert rollouts.running("pcb") is None
    assert rollouts.start("pcb", "canary", 2, 0.1, "", "").id != started.id


def test_every_change_changes_the_token(rollouts):
    """Start, weight, judgement and end; and nothing else does."""
    seen = {rollouts.last_change()}
    started = rollouts.start("pcb", "canary", 2, 0.1, "", "")
    seen.add(rollouts.last_change())
    rollouts.set_weight(started.id, 0.3)
    seen.add(rollouts.last_change())
    rollouts.set_judgement(started.id, {"verdict": "not_enough"})
    seen.add(rollouts.last_change())
    rollouts.end(started.id, "stopped", "")
    seen.add(rollouts.last_change())
    assert len(seen) == 5
    assert rollouts.last_change() == rollouts.last_change()
    assert rollouts.get(started.id).judgement == {"verdict": "not_enough"}


def test_the_pages_have_every_rollout_once(rollouts):
    """Newest first, over two pages."""
    made = []
    for _ in range(5):
        started = rollouts.start("pcb", "shadow", 3, 1.0, "", "")
        made.append(rollouts.end(started.id, "stopped", ""))
    first, cursor = rollouts.page("pcb", limit=3)
    rest, end = rollouts.page("pcb", before=cursor, limit=3)
    assert [one.id for one in first + rest] == [one.id for one in made[::-1]]
    assert end is None
    with pytest.raises(NotFound):
        rollouts.get("none")


def test_two_processes_that_start_at_once_start_one(where):
    """The database decides, not the order in which they looked."""
    db = Database(Path(where) if "://" not in where else where)
    for _ in range(3):
        add_version(db)
    db.models.set_active("pcb", 1)
    code = """
        import sys
        from andon.errors import Conflict
        from andon.store.database import Database
        from andon.store.rollouts import Rollouts

        db = Database(sys.argv[1])
        print("ready")
        sys.stdin.readline()
        try:
            Rollouts(db).start("pcb", "canary", int(sys.argv[2]), 0.1, "", "")
            print("started")
        except Conflict:
            print("refused")
        db.close()
    """
    programs = [start_program(code, where, candidate) for candidate in (2, 3)]
    for program in programs:
        assert program.stdout.readline() == "ready\n"
    for program in programs:
        program.stdin.write("go\n")
        program.stdin.flush()
    said = sorted(program.communicate(timeout=60)[0].strip() for program in programs)
    assert said == ["refused", "started"]
    assert len(Rollouts(db).all_running()) == 1
    db.close()
