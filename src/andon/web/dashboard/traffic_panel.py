"""The traffic panel of Models and of a version's page: who answers, and how to try another."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from andon.platform import Platform
from andon.store.records import Job, ModelVersion, Rollout
from andon.web.dashboard.acting_words import share
from andon.web.dashboard.traffic_contexts import (
    Guard,
    ReplayLink,
    RolloutCard,
    Tone,
    TrafficPanel,
)
from andon.web.dashboard.wording import by, plural

_PAST = 5
_REPLAYS = 5
_VERDICTS: dict[str, tuple[str, Tone]] = {
    "better": ("Better", "good"),
    "worse": ("Worse", "stop"),
    "not_enough": ("Not enough evidence", "none"),
}
_GUARDS = {
    "errors": "Failed answers",
    "latency": "Slow answers",
    "accuracy": "Right answers",
    "disagreement": "Other answers",
}
_STATES: dict[str, tuple[str, Tone]] = {
    "worse": ("worse", "stop"),
    "fine": ("holds", "good"),
    "not_enough": ("cannot be told yet", "none"),
}


def panel(
    platform: Platform, model: str, record: ModelVersion | None = None, *, rows: bool = False
) -> TrafficPanel:
    """The panel.

    Args:
        platform: What everything is read from.
        model: Registered model.
        record: The version whose page it is on; None: on Models.
        rows: Whether the model answers rows.
    """
    rollouts = platform.db.rollouts
    running = rollouts.running(model)
    active = platform.db.models.active(model)
    known, _ = rollouts.page(model=model, limit=2 * _PAST)
    past = [
        one
        for one in known
        if one.status != "running" and (record is None or one.candidate == record.version)
    ]
    obstacle = _obstacle(record, active, running)
    usable = record is not None and not record.damaged and _is_other(record, active)
    return TrafficPanel(
        model=model,
        version=record.version if record else 0,
        active=active.version if active else 0,
        running=rollout(running) if running else None,
        past=tuple(rollout(one) for one in past[:_PAST]),
        startable=usable and running is None,
        obstacle=obstacle,
        replays=_replays(platform, record) if record is not None else (),
        replayable=usable,
        rows=rows,
    )


def _is_other(record: ModelVersion | None, active: ModelVersion | None) -> bool:
    """Whether a version could stand beside the one that serves."""
    return record is not None and active is not None and record.version != active.version


def _obstacle(
    record: ModelVersion | None, active: ModelVersion | None, running: Rollout | None
) -> str:
    """Why the version of a page cannot be tried now; empty where it can."""
    if record is not None and active is None:
        return "A version is tried beside one that serves: activate one first."
    if not _is_other(record, active) or record is None:
        return ""
    if record.damaged:
        return "The file of this version is damaged, so it cannot be tried."
    if running is not None and running.candidate != record.version:
        return f"v{running.candidate} is being tried. One version at a time: stop that first."
    return ""


def rollout(record: Rollout) -> RolloutCard:
    """A rollout with its newest judgement."""
    told = record.judgement or {}
    verdict, tone = _VERDICTS.get(str(told.get("verdict")), ("Not judged yet", "none"))
    percent = round(record.weight * 100)
    guards = [guard(one) for one in told.get("guardrails") or () if isinstance(one, Mapping)]
    return RolloutCard(
        id=record.id,
        mode=record.mode,
        text=_text(record, percent),
        model=record.model,
        candidate=record.candidate,
        baseline=record.baseline,
        weight=percent,
        actor=by(record.actor),
        reason=record.reason,
        since=record.created_at,
        verdict=verdict,
        tone=tone,
        reasons=tuple(str(one) for one in told.get("reasons") or ()),
        counts=_counts(told, record),
        guards=tuple(guards),
        outcome=record.outcome,
        ended=record.ended_at,
    )


def _text(record: Rollout, percent: int) -> str:
    candidate, baseline = f"v{record.candidate}", f"v{record.baseline}"
    past = record.status != "running"
    if record.mode == "canary":
        verb = "answered" if past else "answers"
        return f"{candidate} {verb} {percent} % of the subjects beside {baseline}"
    if record.mode == "shadow":
        verb = "ran" if past else "runs"
        return f"{candidate} {verb} in the shadow of {baseline}"
    return f"{candidate} and {baseline} {'answered' if past else 'answer'} every request"


def _counts(told: Mapping[str, Any], record: Rollout) -> str:
    candidate, active = told.get("answers_candidate"), told.get("answers_active")
    if not isinstance(candidate, int) or not isinstance(active, int):
        return ""
    return (
        f"{plural(candidate, 'answer')} of v{record.candidate}, "
        f"{plural(active, 'answer')} of v{record.baseline}"
    )


def guard(told: Mapping[str, Any]) -> Guard:
    """One guardrail of a judgement."""
    state, tone = _STATES.get(str(told.get("state")), ("cannot be told yet", "none"))
    name = str(told.get("name"))
    low, high = told.get("low"), told.get("high")
    known = isinstance(low, int | float) and isinstance(high, int | float)
    return Guard(
        name=_GUARDS.get(name, name.replace("_", " ").capitalize()),
        tone=tone,
        state=state,
        active=_share(told.get("value_active")),
        candidate=_share(told.get("value_candidate")),
        interval=f"{_points(low)} to {_points(high)}" if known else "–",
        text=str(told.get("summary") or ""),
    )


def _share(value: Any) -> str:
    return share(value) if isinstance(value, int | float) else "–"


def _points(value: Any) -> str:
    """A difference of shares in points, with a real minus sign."""
    text = f"{float(value) * 100:+.1f}".replace("-", "\u2212")
    return "0" if text[1:] == "0.0" else text


def _replays(platform: Platform, record: ModelVersion) -> tuple[ReplayLink, ...]:
    """The newest replays of a version, as far as they are among the newest jobs."""
    jobs, _ = platform.db.jobs.page(kind="replay", limit=50)
    mine = [
        one
        for one in jobs
        if (one.payload.get("model"), one.payload.get("version")) == (record.model, record.version)
    ]
    return tuple(
        ReplayLink(href=f"/replays/{quote(one.id)}", text=_replayed(one), when=one.created_at)
        for one in mine[:_REPLAYS]
    )


def _replayed(job: Job) -> str:
    if job.status == "succeeded" and isinstance(job.result, dict):
        flips = job.result.get("flipped")
        count = flips if isinstance(flips, int) else len(job.result.get("flips") or ())
        return f"{plural(count, 'answer flips', 'answers flip')}" if count else "No answer flips"
    return {"failed": "Failed", "running": "Running", "queued": "Waiting"}.get(
        job.status, job.status.capitalize()
    )
