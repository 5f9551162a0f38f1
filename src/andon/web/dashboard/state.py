"""What the andon lamp shows: from facts about one model to a colour, a sentence and a step.

`judge` is plain logic over `Facts`; `look` gathers the facts. The order of the rules is the
order of urgency: what stops the line first, then what puts it at risk, then what needs a person,
then all is well. Every reason has the page where it is looked at or mended.
"""

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import msgspec

from andon.errors import AndonError
from andon.platform import Platform
from andon.serving.slots import SlotState
from andon.serving.watcher import REJECTED
from andon.settings import Settings
from andon.store.clock import now
from andon.store.deployment_events import EventType
from andon.store.records import AgentAction, Alert, Event, ModelVersion, Rollout
from andon.store.rejected_messages import LOOKED_AT, RejectedLately
from andon.web.dashboard import acting_reading
from andon.web.dashboard.contexts import Lamp, Reason, Step
from andon.web.dashboard.minutes import last_hour
from andon.web.dashboard.wording import brief, plural, size

# What was refused or went wrong matters for a day; after that it is history.
RECENT = timedelta(hours=24)
# Failures count towards the lamp over so many minutes, from such a share and number: one
# unreadable picture is no state of the line.
FAILURE_MINUTES = 15
FAILURE_SHARE = 0.05
FAILURES = 3
# Ends the name of the text that the watch folder puts beside a file it moved aside.
_REASON = ".reason.txt"
# So many alerts are told in full; the rest are counted.
ALERTS = 3
# The queue counts as full from this share, before the first request is turned away.
FULL_SHARE = 0.9


@dataclass(frozen=True)
class Aside:
    """A file that the watch folder moved aside: its name, why, and when."""

    name: str
    why: str
    when: datetime


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the lamp is judged by.

    Attributes:
        model: Registered model.
        state: What serves it, or None when the engine knows nothing of it.
        versions: Its versions, newest first.
        events: Its latest deployment events, newest first.
        waiting: Requests waiting or running.
        queue_size: Requests that may.
        free_bytes: Free disk, or None where it cannot be told.
        min_free_bytes: Below this, pictures are no longer kept.
        answered: Inspections in the last `FAILURE_MINUTES`, failed ones included.
        failed: Of these, failed.
        failing_since: Minute of the first of these failures, or None.
        aside: The file the watch folder moved aside last, or None.
        database: Why the database cannot be used; empty while it can.
        rows: Whether the model answers rows, not pictures.
        alerts: Open alerts about the model, or about no model.
        approvals: Actions that wait for a person, of the model or of none.
        rollout: What is being tried beside the active version, or None.
        watch: Why nobody watches; empty while somebody does.
        policy: What is wrong with the policy file; empty while nothing is.
        rejected: Messages of the floor in the last `FAILURE_MINUTES` that could not be used.
        moment: Now.
    """

    model: str
    state: SlotState | None = None
    versions: list[ModelVersion] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    waiting: int = 0
    queue_size: int = 1
    free_bytes: int | None = None
    min_free_bytes: int = 0
    answered: int = 0
    failed: int = 0
    failing_since: datetime | None = None
    aside: Aside | None = None
    database: str = ""
    rows: bool = False
    alerts: list[Alert] = field(default_factory=list)
    approvals: list[AgentAction] = field(default_factory=list)
    rollout: Rollout | None = None
    watch: str = ""
    policy: str = ""
    rejected: RejectedLately = field(default_factory=RejectedLately)
    moment: datetime

    @property
    def noun(self) -> str:
        """What is answered, for people."""
        return "row" if self.rows else "inspection"


def look(platform: Platform, model: str) -> Facts:
    """The facts as they are now. A database that fails becomes a fact, not an error."""
    settings = platform.settings
    try:
        free: int | None = shutil.disk_usage(settings.home).free
    except OSError:
        free = None
    moment = now()
    state = platform.engine.states().get(model)
    waiting = platform.engine.queue_size()
    try:
        versions = platform.db.models.list(model)
        events, _ = platform.db.events.page(model=model, limit=50)
        minutes = last_hour(platform, model)[-FAILURE_MINUTES:]
        alerts, approvals, rollout = _asked(platform, model)
        rejected = platform.db.rejected.lately(moment - timedelta(minutes=FAILURE_MINUTES))
    except AndonError as error:
        return Facts(model=model, state=state, database=str(error), moment=moment)
    return Facts(
        model=model,
        state=state,
        versions=versions,
        events=events,
        waiting=waiting,
        queue_size=settings.queue_size,
        free_bytes=free,
        min_free_bytes=settings.min_free_bytes,
        answered=sum(count for _, count, _, _ in minutes),
        failed=sum(errors for _, _, _, errors in minutes),
        failing_since=next((minute for minute, _, _, errors in minutes if errors), None),
        aside=_aside(settings),
        rows=bool(versions) and "rows" in versions[0].description,
        alerts=alerts,
        approvals=approvals,
        rollout=rollout,
        watch=acting_reading.unwatched(platform),
        policy=acting_reading.policy_state(platform)[0],
        rejected=rejected,
        moment=moment,
    )


def _asked(platform: Platform, model: str) -> tuple[list[Alert], list[AgentAction], Rollout | None]:
    """Open alerts, actions that wait for a person, and what is on trial."""
    db = platform.db
    moment = now()
    alerts = [one for one in db.alerts.open() if one.model in {None, model}]
    approvals = [
        one
        for one in db.actions.pending()
        if one.model in {None, model} and (one.expires_at is None or one.expires_at > moment)
    ]
    return alerts, approvals, db.rollouts.running(model)


def _aside(settings: Settings) -> Aside | None:
    """The newest file in the watch folder's `rejected/` that has its reason beside it."""
    folder = settings.deploy / REJECTED
    if not settings.watch or not folder.is_dir():
        return None
    try:
        told = [(path.stat().st_mtime, path) for path in folder.rglob(f"*{_REASON}")]
        changed, newest = max(told)
        text = newest.read_text("utf-8")
    except (OSError, ValueError):
        # None there, or tidied up this moment.
        return None
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    why = " ".join(lines.get(key, "").strip() for key in ("Why", "Next step"))
    return Aside(newest.name.removesuffix(_REASON), why, datetime.fromtimestamp(changed, UTC))


def judge(facts: Facts) -> Lamp:
    """The lamp these facts call for."""
    return msgspec.structs.replace(_judged(facts), count=len(facts.alerts) + len(facts.approvals))


def _judged(facts: Facts) -> Lamp:
    if facts.database:
        return Lamp(
            color="red",
            word="Stopped",
            headline="The database cannot be used",
            reasons=(Reason(text=facts.database),),
            step=Step(text="See what is wrong", href="/health"),
        )
    if facts.state is None or facts.state.version is None:
        return _without_model(facts)
    if facts.state.serving is None:
        return _stopped(facts, facts.state)
    grave = [one for one in facts.alerts if _at_risk(facts, facts.state, one)]
    if grave:
        return _risky(facts, facts.state, grave)
    return _running(facts, facts.state)


def _models(facts: Facts, fragment: str = "") -> str:
    return f"/models?model={quote(facts.model)}{fragment}"


def _without_model(facts: Facts) -> Lamp:
    # A floor is heard without any model.
    refused = [*_refused(facts), *_unheard(facts)]
    if facts.versions:
        newest = facts.versions[0]
        ready = next((one for one in facts.versions if one.status != "training"), None)
        told = (
            f"v{ready.version} is ready, but nobody has activated it."
            if ready
            else f"v{newest.version} was trained, but did not pass its gate."
        )
        return Lamp(
            color="yellow",
            word="No model",
            headline="No version serves yet",
            reasons=(
                Reason(text=told),
                *refused,
            ),
            step=Step(text="Choose a version", href=_models(facts)),
        )
    return Lamp(
        color="yellow",
        word="No model",
        headline="Waiting for a first model",
        reasons=(
            Reason(text="Nothing can be inspected until a model is deployed."),
            *refused,
        ),
        step=Step(text="Deploy a model", href=_models(facts, "#deploy")),
    )


def _stopped(facts: Facts, state: SlotState) -> Lamp:
    reason = state.problem or f"v{state.version} is active, but it is not loaded."
    since = next((event.timestamp for event in facts.events if _changes(event)), None)
    again = Step(text="Deploy the model again", href=_models(facts, "#deploy"))
    if facts.rows:
        again = Step(text="Choose another version", href=_models(facts))
    return Lamp(
        color="red",
        word="Stopped",
        headline="No row can be answered" if facts.rows else "The line is stopped",
        reasons=(Reason(text=reason),),
        since=since,
        step=again,
    )


def _at_risk(facts: Facts, state: SlotState, alert: Alert) -> bool:
    """Whether an alert says that what serves is bad."""
    about = alert.model == facts.model and alert.model_version in {None, state.serving}
    return alert.severity == "critical" and about


def _risky(facts: Facts, state: SlotState, grave: list[Alert]) -> Lamp:
    """What serves answers, and its answers are not to be trusted."""
    others = [one for one in facts.alerts if one not in grave]
    worries = [*_alerts(grave), *_approvals(facts), *_serving(facts, state), *_alerts(others)]
    step = Step(text="See the alerts", href="/alerts")
    if facts.approvals:
        step = Step(text="Decide what is done", href="/approvals")
    return Lamp(
        color="red",
        word="At risk",
        headline=f"v{state.serving} answers, but do not rely on it",
        reasons=tuple(worries),
        since=min(one.created_at for one in grave),
        step=step,
    )


def _running(facts: Facts, state: SlotState) -> Lamp:
    worries = [
        *_serving(facts, state),
        *_alerts(facts.alerts),
        *_approvals(facts),
        *_trial(facts),
        *_load(facts),
        *_disk(facts),
        *_failures(facts),
        *_unheard(facts),
        *_watched(facts),
        *(msgspec.structs.replace(one, href=_models(facts, "#history")) for one in _refused(facts)),
    ]
    if not worries:
        return _well(facts, state)
    first = worries[0]
    step = Step(text=_step(first.href), href=first.href)
    if facts.approvals and first.href.startswith("/alerts"):
        # What waits for a person is what the alert led to.
        step = Step(text="Decide what is done", href="/approvals")
    return Lamp(
        color="yellow",
        word="Look here",
        headline=f"v{state.serving} runs, but something needs you",
        reasons=tuple(worries),
        since=first.since,
        step=step,
    )


def _step(href: str) -> str:
    """What one does where a reason leads."""
    path = href.partition("?")[0].partition("#")[0]
    return next(text for begin, text in _STEPS.items() if path.startswith(begin))


_STEPS = {
    "/models/": "See how it does",
    "/models": "Look at the models",
    "/inspect": "See what failed",
    "/health": "See the checks",
    "/docs": "Read how to call Andon",
    "/alerts": "See the alerts",
    "/approvals": "Decide",
    "/activity": "See who watches",
    "/floor/rejected": "See what was refused",
}


def _alerts(alerts: list[Alert]) -> list[Reason]:
    """Open alerts as reasons, the gravest first; mere notes are none."""
    told = [one for one in alerts if one.severity != "info"]
    told.sort(key=lambda one: (acting_reading.GRAVITY.get(one.severity, 3), one.created_at))
    reasons = [
        Reason(
            text=one.message or one.title,
            lead=one.title if one.message else "",
            since=one.created_at,
            href=f"/alerts#alert-{quote(one.alert_id)}",
        )
        for one in told[:ALERTS]
    ]
    if len(told) > ALERTS:
        left = plural(len(told) - ALERTS, "more alert is", "more alerts are")
        reasons.append(Reason(text=f"{left} open.", href="/alerts"))
    return reasons


def _approvals(facts: Facts) -> list[Reason]:
    """What waits for a person."""
    if not facts.approvals:
        return []
    waiting = plural(len(facts.approvals), "action waits", "actions wait")
    since = min(one.created_at for one in facts.approvals)
    return [Reason(text=f"{waiting} for a decision.", since=since, href="/approvals")]


def _trial(facts: Facts) -> list[Reason]:
    """A version on trial that is judged worse."""
    trial = facts.rollout
    if trial is None or (trial.judgement or {}).get("verdict") != "worse":
        return []
    why = next(iter((trial.judgement or {}).get("reasons") or ()), "")
    text = f"v{trial.candidate} is on trial and judged worse than v{trial.baseline}. {why}".strip()
    href = f"/models/{trial.candidate}?model={quote(facts.model)}#traffic"
    return [Reason(text=text, since=trial.created_at, href=href)]


def _watched(facts: Facts) -> list[Reason]:
    """Nobody would notice if something went wrong, or the agent lacks its rules."""
    reasons = []
    if facts.watch:
        reasons.append(Reason(text=facts.watch, href="/activity"))
    if facts.policy:
        text = f"The policy file is broken: {facts.policy}"
        reasons.append(Reason(text=text, href="/activity"))
    return reasons


def _well(facts: Facts, state: SlotState) -> Lamp:
    active = next((one for one in facts.versions if one.version == state.serving), None)
    if active is not None and active.total_inferences == 0:
        return Lamp(
            color="green",
            word="Ready",
            headline=f"Ready for the first {'row' if facts.rows else 'board'}",
            reasons=(Reason(text=f"v{state.serving} serves and has not been asked yet."),),
            since=state.since,
            step=Step(
                text="Try a row" if facts.rows else "Inspect a picture",
                href=f"/inspect?model={quote(facts.model)}",
            ),
        )
    return Lamp(
        color="green",
        word="Running",
        headline="Rows are answered" if facts.rows else "The line is running",
        reasons=(Reason(text=f"v{state.serving} answers, and nothing needs you."),),
        since=state.since,
    )


def _changes(event: Event) -> bool:
    return event.event_type in {EventType.ACTIVATE, EventType.ROLLBACK}


def _serving(facts: Facts, state: SlotState) -> list[Reason]:
    """Something other than intended serves, or a stored file is damaged."""
    worries = []
    if state.problem or not state.loaded:
        text = state.problem or f"v{state.version} is active, but v{state.serving} answers."
        since = next((event.timestamp for event in facts.events if _changes(event)), None)
        worries.append(Reason(text=text, since=since, href=_models(facts)))
        return worries
    for version in facts.versions:
        if version.damaged:
            text = (
                f"The file of v{version.version} is damaged: {version.damaged} "
                f"v{state.serving} serves. Deploy v{version.version}'s file again, or delete it."
            )
            since = next(
                (
                    event.timestamp
                    for event in facts.events
                    if event.event_type == EventType.DAMAGED
                    and event.model_version == version.version
                ),
                None,
            )
            worries.append(Reason(text=text, since=since, href=_models(facts)))
    return worries


def _load(facts: Facts) -> list[Reason]:
    if facts.waiting < FULL_SHARE * facts.queue_size:
        return []
    text = (
        f"The queue is full: {facts.waiting} of {facts.queue_size} places are taken. "
        f"Further {'rows' if facts.rows else 'pictures'} are turned away until it empties. "
        "Send fewer at a time."
    )
    return [Reason(text=text, href="/docs")]


def _disk(facts: Facts) -> list[Reason]:
    if facts.free_bytes is None or facts.free_bytes >= facts.min_free_bytes:
        return []
    text = (
        f"The disk is almost full: {size(facts.free_bytes)} are free. Answers go on, but "
        "pictures are no longer kept. Free some space on this machine."
    )
    return [Reason(text=text, href="/health")]


def _failures(facts: Facts) -> list[Reason]:
    if facts.failed < max(FAILURES, FAILURE_SHARE * facts.answered):
        return []
    text = (
        f"{facts.failed} of {plural(facts.answered, facts.noun)} failed in the last "
        f"{FAILURE_MINUTES} minutes."
    )
    where = "#history" if facts.rows else "&only=failed#gallery"
    href = f"/inspect?model={quote(facts.model)}{where}"
    return [Reason(text=text, since=facts.failing_since, href=href)]


def _unheard(facts: Facts) -> list[Reason]:
    """The floor sends what cannot be used, so its numbers lack something."""
    found = facts.rejected
    if found.count < FAILURES:
        return []
    least = "At least " if found.count >= LOOKED_AT else ""
    text = (
        f"{least}{plural(found.count, 'MQTT message')} could not be used in the last "
        f"{FAILURE_MINUTES} minutes, the last one on {brief(found.topic, 80)}."
    )
    return [Reason(text=text, since=found.first, href="/floor/rejected")]


def _refused(facts: Facts) -> list[Reason]:
    """The newest refused file, unless something was deployed since or it is long ago."""
    deployed = next((event.timestamp for event in facts.events if _changes(event)), None)
    since = max(deployed or facts.moment - RECENT, facts.moment - RECENT)
    refused = next(
        (
            event
            for event in facts.events
            if event.event_type == EventType.REJECTED and event.timestamp > since
        ),
        None,
    )
    if refused is not None:
        text = f"A model file was refused. {refused.reason}"
        return [Reason(text=text, since=refused.timestamp)]
    # What is no model by its name is moved aside without ever becoming an event.
    if facts.aside is not None and facts.aside.when > since:
        text = f"{facts.aside.name} in the watch folder was refused. {facts.aside.why}"
        return [Reason(text=text, since=facts.aside.when)]
    return []
