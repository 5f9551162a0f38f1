"""Whatever comes in whatever order: nothing risky without approvals, nothing twice, no flapping."""

import contextlib
import itertools
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.agent.conftest import NOON, build, signal

from andon.agent.diagnosis import diagnose
from andon.errors import AndonError
from andon.monitoring.signals import Issue
from andon.store.database import Database

_PEOPLE = ("Anna", "anna", "Bert")
_STEPS = st.one_of(
    st.tuples(st.just("find"), st.sampled_from(list(Issue)), st.sampled_from(["pcb", "heart"])),
    st.tuples(st.just("approve"), st.sampled_from(_PEOPLE), st.integers(0, 3)),
    st.tuples(st.just("reject"), st.sampled_from(_PEOPLE), st.integers(0, 3)),
    st.tuples(st.just("pass"), st.sampled_from([1, 30, 70, 300, 1500]), st.none()),
    st.tuples(st.just("activate"), st.sampled_from(["pcb", "heart"]), st.integers(1, 3)),
    st.tuples(st.just("restart"), st.none(), st.none()),
)
_POLICIES = st.sampled_from(
    [
        "",
        '[agent]\nsecond_person = ["high"]\nactions_per_day = 6\n',
        '[models.default]\nrollback = "auto"\nretrain = "auto"\n[agent]\nactions_per_day = 3\n',
        "[agent]\ndry_run = true\n",
        "[agent\n",
    ]
)


@pytest.fixture
def numbers():
    """Names for databases."""
    return itertools.count()


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(_STEPS, max_size=14), policy=_POLICIES)
def test_the_rules_hold_in_any_order(migrated_file, tmp_path, clock, numbers, steps, policy):
    """Approvals, one at a time, cool-downs, budget, and no way back to a version given up."""
    path = tmp_path / f"{next(numbers)}.db"
    path.write_bytes(migrated_file.read_bytes())
    clock.now = NOON
    db = Database(path)
    try:
        bench = build(db, tmp_path / f"{path.stem}-home")
        type(bench.means).why_not_retrain = lambda self, model: ""
        if policy:
            bench.policy(policy)
        for model in ("pcb", "heart"):
            bench.versions(model, count=3)
        for step in steps:
            _do(bench, clock, *step)
            bench.agent.tick(clock.now)
        _check(bench)
    finally:
        db.close()


def _do(bench, clock, what, first, second) -> None:
    if what == "find":
        name = "error_rate" if first is Issue.PERFORMANCE else "x"
        version = bench.serving(second)
        found = diagnose([signal(name, first, model=second, version=version)])
        bench.agent.handle(found, clock.now)
    elif what in {"approve", "reject"}:
        waiting = bench.db.actions.pending()
        if waiting:
            action = waiting[second % len(waiting)]
            with contextlib.suppress(AndonError):
                getattr(bench.agent, what)(action.action_id, first)
    elif what == "pass":
        clock.now += timedelta(minutes=first)
    elif what == "activate":
        bench.activate(first, second)
    else:
        bench.agent = type(bench.agent)(bench.means, background=False)


def _check(bench) -> None:
    policy, _ = bench.means.policy.current()
    actions = bench.actions()
    events = bench.db.events.page(limit=500)[0][::-1]
    rolled = [event for event in events if event.event_type == "ROLLBACK"]
    runs, _ = bench.db.training.page()
    # Nothing that was decided is done twice, and nothing is done that was not decided.
    assert len({event.action_id for event in rolled}) == len(rolled)
    assert {event.action_id for event in rolled} | {run.id for run in runs} <= {
        one.action_id for one in actions if one.status == "succeeded" and not one.dry_run
    }
    for one in actions:
        if one.status in {"approved", "running", "succeeded"} and not one.dry_run:
            agreed = {word.by.casefold() for word in one.reviews if word.decision == "approve"}
            assert len(agreed) >= one.approvals_needed, one
            if one.risk_level != "low" and policy.mode(one.action_type, one.model) != "auto":
                assert agreed, one
    counted = [one for one in actions if one.action_type != "send_alert"]
    for one in counted:
        day = [
            other
            for other in counted
            if one.created_at <= other.created_at < one.created_at + timedelta(hours=24)
            and other.status not in {"rejected", "expired"}
        ]
        assert len(day) <= policy.actions_per_day
    for model, kind in {(one.model, one.action_type) for one in counted}:
        if kind == "rollback_model":
            continue
        done = [
            one.executed_at
            for one in counted
            if (one.model, one.action_type) == (model, kind) and one.status == "succeeded"
        ]
        cooldown = policy.action(kind).cooldown
        assert all(b - a >= cooldown for a, b in itertools.pairwise(sorted(done)))
    for model in ("pcb", "heart"):
        _never_back([event for event in events if event.model == model])


def _never_back(events) -> None:
    """A rollback never leads to a version that was rolled back from, unless a person chose it."""
    left: set[int] = set()
    for event in events:
        if event.event_type == "ROLLBACK":
            assert event.model_version not in left, events
            left.add(event.previous_version)
        else:
            left.discard(event.model_version)
