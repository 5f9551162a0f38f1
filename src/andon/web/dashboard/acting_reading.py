"""Alerts, actions and signals as the pages show them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from andon.agent.watch_parts import WatchStatus
from andon.platform import Platform
from andon.settings import Settings
from andon.store.clock import now
from andon.store.records import AgentAction, Alert
from andon.web.dashboard.acting_contexts import (
    ActionCard,
    AlertCard,
    Cue,
    Said,
    Watching,
)
from andon.web.dashboard.acting_words import (
    CHANGES,
    ICONS,
    KINDS,
    STATUS,
    UNDO,
    figure,
    headline,
    mode_text,
    outcome,
    watched,
)
from andon.web.dashboard.traffic_contexts import Tone
from andon.web.dashboard.wording import by, lasting, plural, short

_ORDER = {"bad": 0, "unknown": 1, "ok": 2}
SEVERITIES = {"critical": "Critical", "warning": "Warning", "info": "Note"}
GRAVITY = {"critical": 0, "warning": 1, "info": 2}


# -- Signals ----------------------------------------------------------------------------


def cues(signals: Iterable[Mapping[str, Any] | object]) -> tuple[Cue, ...]:
    """Signals as rows, the bad ones first."""
    told = [dict(one) for one in signals if isinstance(one, Mapping)]
    told.sort(key=lambda one: _ORDER.get(str(one.get("state")), 1))
    return tuple(cue(one) for one in told)


def cue(signal: Mapping[str, Any]) -> Cue:
    """One signal, as it is kept in evidence."""
    name = str(signal.get("name") or "")
    state = str(signal.get("state") or "unknown")
    severity = str(signal.get("severity") or "warning")
    tone: Tone = "good" if state == "ok" else "none"
    word = "as it should be" if state == "ok" else "cannot be told"
    if state == "bad":
        tone = "stop" if severity == "critical" else "look"
        word = "critical" if severity == "critical" else "out of bounds"
    title = watched(name, bool(signal.get("estimated")))
    subject = str(signal.get("subject") or "")
    report = signal.get("report_id")
    number = int(signal.get("count") or 0)
    return Cue(
        name=f"{title}, {subject}" if subject else title,
        tone=tone,
        state=word,
        text=str(signal.get("summary") or ""),
        value=figure(name, signal.get("value")),
        limit=figure(name, signal.get("threshold")),
        usual=figure(name, signal.get("baseline")),
        since=moment(signal.get("since")),
        count=plural(number, "answer") if number else "–",
        href=f"/drift/reports/{quote(str(report))}" if report else "",
    )


def signals_of(evidence: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The signals that some evidence holds."""
    return [one for one in evidence.get("signals") or () if isinstance(one, Mapping)]


def moment(value: Any) -> datetime | None:
    """A time as JSON has it; None where there is none."""
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(str(value)) if value else None
    except ValueError:
        return None


# -- Actions ----------------------------------------------------------------------------


def action(record: AgentAction, at: datetime | None = None) -> ActionCard:
    """An action of the agent.

    Args:
        record: What is known of it.
        at: The time to tell its expiry at; None: now.
    """
    at = at or now()
    signals = signals_of(record.evidence)
    begins = [
        begin
        for one in signals
        if one.get("state") == "bad" and (begin := moment(one.get("since"))) is not None
    ]
    told, tone = STATUS.get(record.status, (record.status, "none"))
    if record.status == "pending" and _is_over(record, at):
        told, tone = STATUS["expired"]
    if record.dry_run and record.status == "succeeded":
        told, tone = "Not done: dry run", "none"
    follow, follow_tone = _follow_up(record, at)
    return ActionCard(
        id=record.action_id,
        href=f"/actions/{quote(record.action_id)}",
        kind=KINDS.get(record.action_type, record.action_type.replace("_", " ").capitalize()),
        icon=ICONS.get(record.action_type, "other"),
        text=headline(record),
        reason=record.reason,
        model=record.model or "",
        status=record.status,
        told=told,
        tone=tone,
        dry_run=record.dry_run,
        risk=record.risk_level,
        source=_source(record),
        changes=CHANGES.get(record.action_type, ""),
        undo=UNDO.get(record.action_type, "Nothing changes, so there is nothing to undo."),
        cues=cues(signals),
        since=min(begins, default=None),
        created=record.created_at,
        expires=record.expires_at,
        expiry=_expiry(record, at),
        done=record.executed_at,
        needed=record.approvals_needed,
        waits_for=_waits_for(record, at),
        said=tuple(
            Said(by=one.by, agrees=agrees(one.decision), comment=one.comment, when=one.at)
            for one in record.reviews
        ),
        result=_result(record),
        follow=follow,
        follow_tone=follow_tone,
    )


def _source(record: AgentAction) -> str:
    if record.source != "agent":
        return "asked for by a person"
    return "proposed by the agent" if record.requires_approval else "by the agent itself"


def _result(record: AgentAction) -> str:
    """What came of it; empty where the reason says the same already."""
    found = outcome(record)
    return "" if found and found in record.reason else found


def agrees(decision: str) -> bool:
    """Whether a decision is a yes."""
    return decision.startswith("approve")


def _is_over(record: AgentAction, at: datetime) -> bool:
    return record.expires_at is not None and record.expires_at <= at


def _expiry(record: AgentAction, at: datetime) -> str:
    if record.status != "pending" or record.expires_at is None:
        return ""
    left = (record.expires_at - at).total_seconds()
    return f"expires in {lasting(left)}" if left > 0 else "has expired"


def _waits_for(record: AgentAction, at: datetime) -> str:
    """Who is still to agree."""
    if record.status != "pending" or _is_over(record, at):
        return ""
    yes = [one.by for one in record.reviews if agrees(one.decision)]
    missing = max(1, record.approvals_needed - len(yes))
    if not yes:
        return "One person decides." if missing == 1 else f"{missing} people have to agree."
    others = "one more person" if missing == 1 else f"{missing} more people"
    return f"{_listed(yes)} agreed; {others} must agree, under another name."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# What a follow-up begins with and the page says in words of its own.
_OPENINGS = ("It has recovered: ", "It has not recovered: ", "Not known yet whether it helped: ")


def _follow_up(record: AgentAction, at: datetime) -> tuple[str, Tone]:
    """Whether it helped."""
    found = record.follow_up
    if found is not None:
        recovered = found.get("recovered")
        summary = str(found.get("summary") or "")
        for opening in _OPENINGS:
            summary = summary.removeprefix(opening)
        if recovered is True:
            return _joined("Helped", summary), "good"
        if recovered is False:
            return _joined("Did not help", summary), "look"
        return _joined("It cannot be told whether it helped", summary), "none"
    if record.status != "succeeded" or record.dry_run or record.follow_up_at is None:
        return "", "none"
    left = (record.follow_up_at - at).total_seconds()
    if left <= 0:
        return "Too early to say whether it helped; it is looked at next.", "none"
    return f"Too early to say whether it helped; it is looked at in {lasting(left)}.", "none"


def _joined(words: str, summary: str) -> str:
    return f"{words}: {summary}" if summary else f"{words}."


# -- Alerts -----------------------------------------------------------------------------


def alert(record: Alert) -> AlertCard:
    """An alert."""
    about = record.model or ""
    if record.model and record.model_version:
        about = f"{record.model} v{record.model_version}"
    step, href = next_step(record)
    ended = ""
    if record.status == "resolved":
        gone = record.resolved_by == "andon"
        ended = "The cause is gone" if gone else f"Resolved {by(record.resolved_by)}".strip()
    return AlertCard(
        id=record.alert_id,
        severity=record.severity,
        severity_text=SEVERITIES.get(record.severity, record.severity.capitalize()),
        title=record.title,
        text=record.message,
        about=about or subject_of(record),
        status=record.status,
        since=record.created_at,
        seen=record.seen_at,
        times=record.occurrences,
        step=step,
        href=href,
        acknowledged=record.acknowledged_by,
        acknowledged_at=record.acknowledged_at,
        resolved=ended,
        resolved_at=record.resolved_at,
        notes=record.resolution_notes,
    )


def subject_of(record: Alert) -> str:
    """What an alert without a model is about."""
    kind, _, rest = record.group_key.partition(":")
    if kind == "feed" and rest.startswith(_PICTURES):
        return f"Camera {rest.removeprefix(_PICTURES)}"
    return f"Events of {rest}" if kind == "feed" and rest else "Andon itself"


_NUMBERS = ("See the numbers", "/performance?model={model}")
# What a feed of pictures is called, before the name of its camera.
_PICTURES = "pictures of "
_STEPS = {
    "data_drift": ("See what moved", "/drift?model={model}"),
    "performance_degradation": _NUMBERS,
    "prediction_anomaly": _NUMBERS,
    "low_confidence": _NUMBERS,
    "data_quality": _NUMBERS,
    "camera": ("See its pictures", "/inspect?model={model}&only=camera#gallery"),
    "rollback": ("See what happened", "/models?model={model}#history"),
    "agent": ("See what the agent did", "/activity"),
    "system": ("See the checks", "/health"),
}


def next_step(record: Alert) -> tuple[str, str]:
    """What to do about an alert, and where."""
    text, pattern = _STEPS.get(record.alert_type, _NUMBERS)
    if pattern == _NUMBERS[1] and record.model_version:
        # Another version may serve by now.
        pattern += f"&version={record.model_version}"
    if record.group_key.startswith("feed:"):
        camera = record.group_key.startswith(f"feed:{_PICTURES}")
        text, pattern = "See what arrives", "/inspect" if camera else "/floor"
    named = str(record.evidence.get("href") or "")
    # Only a path of this server is followed.
    if named.startswith("/") and not named.startswith(("//", "/\\")):
        return text, named
    if "{model}" in pattern and not record.model:
        return "See the checks", "/health"
    return text, pattern.format(model=quote(record.model or ""))


# -- Who watches ------------------------------------------------------------------------

# A look that is late by so many intervals did not happen.
LATE = 3
# Seconds that a takeover by another server takes at most.
_PATIENCE = 30.0


def watching(platform: Platform) -> Watching:
    """Who watches, and what the agent may do."""
    settings = platform.settings
    problem, policy = policy_state(platform)
    sentence = unwatched(platform)
    status = platform.watch.status()
    mode = agent_mode(platform)
    return Watching(
        tone="look" if sentence else "good" if settings.monitor else "none",
        text=sentence or _watched_by(settings, status),
        holder=status.holder,
        last=status.last_look,
        following=status.next_look,
        mode=mode,
        mode_text=mode_text(mode),
        problem=problem,
        policy=policy,
    )


def agent_mode(platform: Platform) -> str:
    """What the agent does by settings and policy file: on, dry-run or off."""
    policy, _ = platform.policy.current()
    return "off" if not policy.enabled else "dry-run" if policy.dry_run else "on"


def _watched_by(settings: Settings, status: WatchStatus) -> str:
    if not settings.monitor:
        return "Watching is off (ANDON_MONITOR): models answer, and nobody looks at the numbers."
    if status.mine:
        return "This server watches."
    return "Another server watches." if status.holder else "The first look is on its way."


def unwatched(platform: Platform) -> str:
    """Why nobody watches, a sentence; empty while somebody does, or where it is switched off."""
    settings = platform.settings
    if not settings.monitor:
        return ""
    status = platform.watch.status()
    if status.problem:
        return f"Watching has a problem: {status.problem}"
    if status.last_look is None:
        return ""
    # Who has just taken over has not had the time to look.
    last = max(status.last_look, status.since or status.last_look)
    if (now() - last).total_seconds() <= max(LATE * settings.monitor_interval, _PATIENCE):
        return ""
    since = short(status.last_look)
    return f"Nobody has looked at the models since {since}. Check that a server runs."


def policy_state(platform: Platform) -> tuple[str, str]:
    """What is wrong with the policy file, and its name; each empty where there is none."""
    policy, problem = platform.policy.current()
    return problem, Path(policy.path).name if policy.path else ""
