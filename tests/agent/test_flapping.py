"""Never back and forth between bad versions, whatever comes: with real models that are loaded."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.serving.boards import spot_model

from andon.agent import agent as agent_module
from andon.agent import rollback, worker
from andon.agent.diagnosis import diagnose
from andon.monitoring.signals import Issue, Signal, State
from andon.platform import Platform
from andon.serving.tripwire import Trip
from andon.settings import Settings
from andon.store import agent_actions, deployment_events, model_versions, tables

BEGIN = datetime(2026, 11, 20, 12, tzinfo=UTC)
VERSIONS = 4
_POLICY = '[agent]\nactions_per_day = 1000\n[actions.rollback_model]\ncooldown = "0s"\n'

steps = st.lists(
    st.one_of(
        # A person lets a version serve.
        st.tuples(st.just("activate"), st.integers(1, VERSIONS)),
        # Time passes, or the clock is set: seconds.
        st.tuples(st.just("clock"), st.sampled_from([60, 3_700, 90_000, -3_600, -100_000])),
        # So many looks, or trips, at whatever serves.
        st.tuples(st.just("looks"), st.integers(1, 6)),
        st.tuples(st.just("trips"), st.integers(1, 3)),
    ),
    min_size=3,
    max_size=12,
)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory):
    """An installation with four real versions, all of which load."""
    home: Path = tmp_path_factory.mktemp("flapping")
    (home / "policy.toml").write_text(_POLICY, encoding="utf-8")
    platform = Platform(Settings(home=home, inference_threads=1, _env_file=None))
    platform.engine.start()
    for number in range(1, VERSIONS + 1):
        received = platform.deployments.receive()
        received.write(spot_model(home / "m.onnx", name=f"m{number}").read_bytes())
        platform.deployments.deploy(
            received.finish(), filename="m.onnx", source="cli", actor="anna"
        )
    yield platform
    platform.stop()


def bad(version: int) -> Signal:
    """Every answer fails."""
    return Signal(
        name="error_rate", issue=Issue.PERFORMANCE, state=State.BAD, summary="It fails.",
        model="pcb", version=version, severity="critical", value=1.0, threshold=0.05, count=100,
    )  # fmt: skip


def _seconds(clock: SimpleNamespace) -> float:
    return clock.now.timestamp()


@pytest.mark.slow
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(healthy=st.sets(st.integers(1, VERSIONS), max_size=2), steps=steps)
def test_a_version_that_was_left_is_not_gone_back_to(line, monkeypatch, healthy, steps):
    """Between two things a person does there are fewer rollbacks than versions, each to another.

    Whatever is bad, however often it is looked at, also where the clock is set meanwhile; what
    serves is what is loaded; and nothing is gone back from that is well.
    """
    clock = SimpleNamespace(now=BEGIN)
    for module in (agent_module, worker, agent_actions, model_versions, deployment_events):
        monkeypatch.setattr(module, "now", lambda: clock.now)
    monkeypatch.setattr(worker, "steady", lambda: _seconds(clock))
    agent, db = line.agent, line.db
    with db.write() as connection:
        for table in (tables.agent_actions, tables.alerts, tables.deployment_events):
            connection.execute(table.delete())
    for number in (1, 2, 3, 4, 1):
        line.deployments.activate("pcb", number, actor="anna")
    since = db.events.last_id()
    for what, value in [*steps, ("looks", 10)]:
        if what == "activate":
            line.deployments.activate("pcb", value, actor="anna")
            since = db.events.last_id()
        elif what == "clock":
            clock.now += timedelta(seconds=value)
        for _ in range(value if what in {"looks", "trips"} else 0):
            serving = db.models.active("pcb").version
            if what == "looks":
                found = [] if serving in healthy else diagnose([bad(serving)])
                agent.handle(found, clock.now)
            elif serving not in healthy:
                version = db.models.get("pcb", serving)
                trip = Trip("pcb", serving, version.id, "crash", 5, 5, clock.now, "It crashes.")
                agent.trip("pcb", serving, trip, clock.now)
            agent.tick(clock.now)
            clock.now += timedelta(seconds=1)
        rolled = [
            one
            for one in db.events.page(model="pcb", event_type="ROLLBACK", limit=100)[0]
            if one.id > since
        ]
        assert len(rolled) < VERSIONS
        assert len({one.model_version for one in rolled}) == len(rolled)
        left = {one.previous_version for one in rolled}
        assert not left & healthy
        assert db.models.active("pcb").version not in left
        assert line.engine.current_version == db.models.active("pcb").version


def test_a_hold_ends_where_the_clock_was_set_back_by_a_year(line):
    """A wrong year on a rollback does not keep the agent from acting for that year."""
    event = SimpleNamespace(
        event_type="ROLLBACK", actor="agent", timestamp=BEGIN + timedelta(days=365),
        model_version=1, previous_version=2,
    )  # fmt: skip
    assert rollback._hold(event, BEGIN) == ""
    assert "a person must decide" in rollback._hold(event, event.timestamp - timedelta(hours=1))
