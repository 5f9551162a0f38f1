"""Clocks that jump, two who approve at once, actions that two processes do, notes that get lost."""

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text
from tests.agent.conftest import NOON, Bench, build, signal
from tests.store.builders import add_version

from andon.agent.diagnosis import diagnose
from andon.agent.policy import PolicyFile
from andon.errors import AndonError, Conflict, StorageFull
from andon.monitoring.signals import Issue
from andon.settings import Settings
from andon.store.clock import now
from andon.store.database import Database

_REPORTS = Issue.DATA_DRIFT


def at_once(*works: Callable[[], Any]) -> list[str]:
    """Do things on threads at the same moment; "ok" or the kind of error of each."""
    begin = threading.Barrier(len(works))
    said: list[str] = []

    def one(work: Callable[[], Any]) -> None:
        begin.wait()
        try:
            work()
        except AndonError as error:
            said.append(type(error).__name__)
        else:
            said.append("ok")

    threads = [threading.Thread(target=one, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def waiting(db: Database, people: int, **more: Any) -> str:
    """An action that waits for people; its id."""
    return db.actions.propose(
        action_type="rollback_model", risk_level="high", reason="", model="pcb",
        approvals_needed=people, **more,
    ).action_id  # fmt: skip


def test_eight_who_approve_at_once_are_counted_one_by_one(db: Database):
    """Two are enough: two agree, six come too late."""
    action = waiting(db, 2)
    names = [f"Person {number}" for number in range(8)]
    said = at_once(*[lambda by=by: db.actions.review(action, by, "approve") for by in names])
    assert Counter(said) == {"ok": 2, "Conflict": 6}
    found = db.actions.get(action)
    assert (found.status, len({one.by for one in found.reviews})) == ("approved", 2)


def test_one_who_clicks_eight_times_at_once_is_one(db: Database):
    """Also where the name is written otherwise."""
    action = waiting(db, 2)
    names = ["Anna", "anna", " ANNA ", "Anna"] * 2
    said = at_once(*[lambda by=by: db.actions.review(action, by, "approve") for by in names])
    assert Counter(said) == {"ok": 1, "Conflict": 7}
    assert db.actions.get(action).status == "pending"


def test_an_approval_at_the_very_moment_of_the_end_comes_too_late(db: Database):
    """One microsecond before is in time; whichever of approving and expiring is first, one is."""
    action = waiting(db, 1, expires_at=NOON)
    with pytest.raises(Conflict, match="expired"):
        db.actions.review(action, "Anna", "approve", at=NOON)
    just = NOON - timedelta(microseconds=1)
    said = at_once(
        lambda: db.actions.review(action, "Anna", "approve", at=just),
        lambda: db.actions.expire_due(NOON),
    )
    assert "ok" in said
    assert db.actions.get(action).status == ("approved" if len(set(said)) == 1 else "expired")


def test_six_who_claim_at_once_get_it_once(db: Database):
    """Of six processes one does it."""
    db.actions.propose(action_type="send_alert", risk_level="low", reason="")
    got: list[Any] = []
    at_once(*[lambda: got.append(db.actions.claim()) for _ in range(6)])
    assert sum(one is not None for one in got) == 1


def test_who_was_believed_dead_changes_nothing_any_more(db: Database, tmp_path):
    """It slept in the middle of a rollback; another did it; then it wakes up and goes on."""
    for number in (1, 2):
        add_version(db)
        db.models.set_active("pcb", number, actor="anna")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "policy.toml").write_text('[models.pcb]\nrollback = "auto"\n')
    sleeper, other = build(db, tmp_path / "home"), build(db, tmp_path / "home")
    real = sleeper.deployments.rollback

    def sleep(*given: Any, **more: Any) -> Any:
        other.agent.tick(now() + timedelta(minutes=1))
        db.models.set_active("pcb", 2, actor="anna")
        return real(*given, **more)

    sleeper.deployments.rollback = sleep
    sleeper.agent.handle(diagnose([signal()]), now())
    sleeper.agent.tick(now())
    (action,) = db.actions.page(action_type="rollback_model")[0]
    assert (action.status, action.attempts) == ("succeeded", 2)
    assert db.models.active("pcb").version == 2
    assert len(db.events.page(event_type="ROLLBACK")[0]) == 1
    assert not [one for one in db.alerts.open() if "failed" in one.title]
    assert not sleeper.told.named("action_done")
    assert len(other.told.named("action_done")) == 1


def test_a_version_that_a_person_chose_meanwhile_is_left_alone(db: Database):
    """Between the look at what serves and the change of it."""
    for number in (1, 2, 3):
        add_version(db)
        db.models.set_active("pcb", number, actor="anna")
    with pytest.raises(Conflict, match="V3 of model pcb serves now, not v2"):
        db.models.set_active("pcb", 1, event_type="ROLLBACK", instead_of=2)
    assert db.models.active("pcb").version == 3


def test_one_hour_with_a_wrong_year_does_not_hold_the_agent_back(bench: Bench):
    """Budget, cool-downs and follow-ups count what lies about as far ahead as it would behind."""
    bench.versions()
    bench.policy('[agent]\nactions_per_day = 4\n[models.pcb]\nrollback = "auto"\n')
    bench.later(days=365)
    for _ in range(3):
        bench.handle(*diagnose([signal("drift", _REPORTS)]))
        bench.tick()
        bench.later(hours=7)
    status = bench.agent.status()
    assert status.used > 0
    bench.moment = NOON
    assert bench.agent.status().used == 0
    made = bench.handle(*diagnose([signal()]))
    assert [one.action_type for one in made] == ["rollback_model"]
    bench.tick()
    assert bench.serving() == 1
    bench.later(minutes=20)
    bench.tick()
    assert not [one for one in bench.actions() if one.follow_up_at and one.follow_up_at.year > 2026]


def test_a_clock_set_back_by_an_hour_gives_no_second_budget(bench: Bench):
    """What was done lies ahead then, and counts all the same."""
    bench.versions()
    bench.handle(*diagnose([signal()]))
    bench.tick()
    used = bench.agent.status().used
    bench.later(hours=-1)
    assert bench.agent.status().used == used > 0


def test_a_retry_waits_also_where_the_clock_is_set_back(bench: Bench, monkeypatch):
    """Else its three attempts are over in three seconds."""
    from andon.agent import worker

    monkeypatch.setattr(worker, "steady", lambda: 100.0)
    bench.versions()
    bench.policy('[models.pcb]\nrollback = "auto"\n')
    bench.deployments.full = True
    bench.handle(*diagnose([signal()]))
    for _ in range(4):
        bench.tick()
        bench.later(hours=-1)
    (action,) = bench.actions("rollback_model")
    assert (action.status, action.attempts) == ("running", 1)


def test_recovering_twice_does_nothing_twice(bench: Bench):
    """A process that takes over what was left looks again a second later."""
    bench.versions()
    bench.policy('[models.pcb]\nrollback = "auto"\n')
    bench.handle(*diagnose([signal()]))
    assert bench.db.actions.claim() is not None
    for _ in range(3):
        bench.agent._worker.recover(bench.moment)
        bench.tick()
    assert bench.deployments.calls == ["rollback pcb 1"]
    assert len(bench.told.named("action_done")) == 1


def test_an_action_and_the_question_to_people_are_one_transaction(bench: Bench, monkeypatch):
    """A crash between the two would leave an action that nobody knows of."""
    bench.versions()
    bench.policy('[models.pcb]\nrollback = "approve"\n')

    def full(*_: object) -> None:
        raise StorageFull("The database takes nothing.")

    monkeypatch.setattr(bench.told, "tell_with", full)
    with pytest.raises(StorageFull):
        bench.handle(*diagnose([signal()]))
    assert bench.actions("rollback_model") == []
    monkeypatch.undo()


def test_a_policy_file_that_may_be_read_again_holds_again(tmp_path, monkeypatch):
    """Nothing of it but who may read it has changed."""
    settings = Settings(home=tmp_path, _env_file=None)
    settings.policy.write_text('[models.pcb]\npromote = "auto"\n', encoding="utf-8")
    policy = PolicyFile(settings.policy, settings)
    assert policy.current()[0].mode("promote_model", "pcb") == "auto"
    from andon.agent import policy as module

    def refused(_path: object) -> str:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(module, "_text", refused)
        settings.policy.chmod(0o000)
        assert policy.current()[0].mode("promote_model", "pcb") == "approve"
    assert policy.current() == (policy.current()[0], "")
    assert policy.current()[0].mode("promote_model", "pcb") == "auto"


@pytest.mark.postgres
def test_a_database_that_may_only_be_read_is_said_and_passes(postgres_server: str):
    """For real, on a database of its own; the message holds nothing of what was to be written."""
    url = make_url(postgres_server).set(drivername="postgresql+psycopg")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    name = f"andon_test_readonly_{threading.get_native_id()}"

    def said(command: str) -> None:
        with engine.connect() as connection:
            connection.execute(text(command))

    said(f"CREATE DATABASE {name}")
    try:
        db = Database(url.set(database=name).render_as_string(hide_password=False))
        said(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        db.engine.dispose()
        with pytest.raises(StorageFull, match="may only be read") as caught:
            db.alerts.see(
                "pcb:secret", alert_type="system", severity="warning", title="t", message="secret"
            )
        assert "secret" not in str(caught.value)
        assert db.alerts.open() == []
        said(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
        db.engine.dispose()
        db.alerts.see("pcb:x", alert_type="system", severity="warning", title="t", message="m")
        assert len(db.alerts.open()) == 1
        db.close()
    finally:
        said(f"DROP DATABASE {name} WITH (FORCE)")
        engine.dispose()
