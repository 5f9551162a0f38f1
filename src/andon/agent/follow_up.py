"""Whether an action helped: the numbers it was about, looked at again."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from andon.errors import NotFound
from andon.monitoring.signals import Signal, State
from andon.store.database import Database
from andon.store.records import AgentAction

AGAIN = timedelta(minutes=15)
"""Between two looks while nothing can be said."""

PATIENCE = timedelta(hours=24)
"""After so long it stays open whether it helped."""


def look(
    db: Database, action: AgentAction, signals: Sequence[Signal], moment: datetime
) -> tuple[dict[str, Any], datetime | None]:
    """What can be said of an action now.

    Args:
        db: Trainings and versions.
        action: Succeeded, and due.
        signals: The newest of every detector.
        moment: Now.

    Returns:
        The follow-up, and when to look again; None where this is the last word.
    """
    if action.action_type == "retrain_model":
        return _training(db, action, moment)
    meant = {one["name"] for one in action.evidence.get("signals", [])}
    active = db.models.active(action.model) if action.model else None
    seen = [
        one
        for one in signals
        if one.model == (action.model or "")
        and one.name in meant
        and (active is None or one.version in {None, active.version})
    ]
    bad = [one for one in seen if one.state is State.BAD]
    good = [one for one in seen if one.state is State.OK]
    if bad:
        return _said(moment, False, f"It has not recovered: {bad[0].summary}", bad[0]), None
    if good and len(good) == len(seen):
        return _said(moment, True, f"It has recovered: {good[0].summary}", good[0]), None
    why = "too little has come since to say" if seen else "nothing measures it now"
    if not meant:
        return _said(moment, None, "There is no number to look at again."), None
    return _waiting(action, moment, f"Not known yet whether it helped: {why}.")


def _training(
    db: Database, action: AgentAction, moment: datetime
) -> tuple[dict[str, Any], datetime | None]:
    """What became of the training that was begun."""
    run_id = (action.execution_result or {}).get("run_id", action.action_id)
    try:
        run = db.training.get(run_id)
    except NotFound:
        return _said(moment, None, "The training is not in the database any more."), None
    if not run.finished:
        return _waiting(action, moment, f"The training is still {run.status}.", patient=True)
    if run.status != "succeeded":
        why = run.error or run.stage
        return _said(moment, False, f"The training {run.status}: {why}"), None
    if run.version is None:
        return _said(moment, False, f"No version came of the training: {run.stage}"), None
    active = db.models.active(run.model)
    if active is not None and active.version == run.version:
        return _said(moment, True, f"v{run.version} came of it and serves."), None
    return _said(
        moment, None, f"v{run.version} came of it. Try it: a canary, or let it serve."
    ), None


def _waiting(
    action: AgentAction, moment: datetime, summary: str, *, patient: bool = False
) -> tuple[dict[str, Any], datetime | None]:
    done = action.executed_at or action.created_at
    # Of a clock that was set back, the time since is not known.
    over = abs(moment - done) >= PATIENCE and not patient
    return _said(moment, None, summary), None if over else moment + AGAIN


def _said(
    moment: datetime, recovered: bool | None, summary: str, signal: Signal | None = None
) -> dict[str, Any]:
    return {
        "recovered": recovered,
        "summary": summary,
        "signal": None if signal is None else msgspec.to_builtins(signal),
        "at": moment.isoformat(),
    }
