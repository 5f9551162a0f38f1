"""``kill -9`` of the process that acts, at every step: it neither repeats nor forgets."""

import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta

import pytest
from tests.agent.conftest import build
from tests.store.builders import add_version
from tests.support.forks import Forks

from andon.store.clock import now
from andon.store.database import Database

# An agent that dies at a place, without any clean-up.
_PROGRAM = """
import os, signal, sys
from datetime import timedelta
from pathlib import Path
from tests.agent.conftest import build, signal as bad
from andon.agent.diagnosis import diagnose
from andon.monitoring.signals import Issue
from andon.store.clock import now
from andon.store.database import Database

path, what, place = sys.argv[1:]
bench = build(Database(path), Path(path).parent / "home")

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def before(owner, name):
    setattr(owner, name, die)

def after(owner, name):
    real = getattr(owner, name)
    def call(*given, **more):
        real(*given, **more)
        die()
    setattr(owner, name, call)

actions = bench.db.actions
if place == "after-deciding":
    after(actions, "propose")
if place == "before-claiming":
    before(actions, "claim")
if place == "after-claiming":
    after(actions, "claim")
if place == "before-doing":
    before(bench.deployments, "rollback")
    object.__setattr__(bench.means, "retrain", die)
if place == "after-doing":
    after(bench.deployments, "rollback")
    after(bench.db.training, "create")
if place == "before-finishing":
    before(actions, "finish")
if place == "after-finishing":
    after(actions, "finish")
type(bench.means).why_not_retrain = lambda self, model: ""
issue, name = {
    "rollback": (Issue.PERFORMANCE, "error_rate"), "retrain": (Issue.DATA_DRIFT, "drift"),
}[what]
Path(path).with_name("up").touch()
bench.agent.handle(diagnose([bad(name, issue)]), now())
bench.agent.tick(now())
print("survived")
"""

_PLACES = [
    "after-deciding",
    "before-claiming",
    "after-claiming",
    "before-doing",
    "after-doing",
    "before-finishing",
    "after-finishing",
]
_POLICY = (
    '[models.default]\nretrain = "auto"\nrollback = "auto"\n'
    '[actions.generate_report]\nrisk = "high"\n'
)


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Where the processes that die come from."""
    with closing(Forks(tmp_path_factory.mktemp("forks"), "tests.agent.conftest")) as made:
        yield made


@pytest.fixture
def die_at(forks: Forks) -> Callable[..., None]:
    """Lets a process of its own die at a place."""

    def die(path, what: str, place: str) -> None:
        done = forks.run(_PROGRAM, path, what, place)
        assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr

    return die


@pytest.fixture
def place(sqlite_path):
    """Two versions that serve for long, on a database of their own."""
    db = Database(sqlite_path)
    (sqlite_path.parent / "home").mkdir()
    (sqlite_path.parent / "home" / "policy.toml").write_text(_POLICY)
    for number in (1, 2):
        add_version(db)
        db.models.set_active("pcb", number, actor="anna")
    yield sqlite_path, db
    db.close()


@pytest.mark.slow
@pytest.mark.parametrize("step", _PLACES)
def test_a_rollback_is_neither_repeated_nor_forgotten(place, die_at, step):
    """The next process finishes it; what serves was changed once."""
    path, db = place
    die_at(path, "rollback", step)
    bench = build(db, path.parent / "home")
    bench.agent.tick(now())
    bench.agent.tick(now() + timedelta(minutes=1))
    (action,) = bench.actions("rollback_model")
    assert action.status == "succeeded"
    assert bench.serving() == 1
    events, _ = db.events.page(model="pcb", event_type="ROLLBACK")
    assert [event.action_id for event in events] == [action.action_id]
    assert action.deployment_event_id == events[0].id


@pytest.mark.slow
@pytest.mark.parametrize("step", _PLACES)
def test_a_training_is_neither_begun_twice_nor_forgotten(place, die_at, step, monkeypatch):
    """Its run has the action's id."""
    path, db = place
    die_at(path, "retrain", step)
    bench = build(db, path.parent / "home")
    monkeypatch.setattr(type(bench.means), "why_not_retrain", lambda self, model: "")
    if step == "after-deciding":
        # It died between two decisions of one look: the next look makes the other one.
        from tests.agent.conftest import signal as bad

        from andon.agent.diagnosis import diagnose
        from andon.monitoring.signals import Issue

        for one in db.actions.pending():
            db.actions.review(one.action_id, "Anna", "reject", "", now())
        moment = now() + timedelta(hours=2)
        bench.agent.handle(diagnose([bad("drift", Issue.DATA_DRIFT)]), moment)
    bench.agent.tick(now() + timedelta(hours=2))
    bench.agent.tick(now() + timedelta(hours=3))
    (action,) = bench.actions("retrain_model")
    assert action.status == "succeeded"
    runs, _ = db.training.page()
    assert [run.id for run in runs] == [action.action_id]


@pytest.mark.slow
def test_killed_three_times_it_has_failed_and_people_know(place, die_at):
    """It may be what kills the process."""
    path, db = place
    for _ in range(3):
        die_at(path, "rollback", "before-doing")
    bench = build(db, path.parent / "home")
    bench.agent.tick(now() + timedelta(minutes=1))
    (action,) = bench.actions("rollback_model")
    assert (action.status, action.attempts) == ("failed", 3)
    assert bench.serving() == 2
    assert [one.severity for one in db.alerts.open("pcb")] == ["critical"]
