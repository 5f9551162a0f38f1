"""One action with all its evidence, and one change back that nobody proposed."""

import contextlib
import statistics
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec

from andon.errors import AndonError, NotFound
from andon.platform import Platform
from andon.store.deployment_events import EventType
from andon.store.records import AgentAction, Alert, Event
from andon.web.dashboard import acting_reading, reading, rows
from andon.web.dashboard.acting_contexts import (
    ActionPage,
    Cue,
    FileLink,
    RollbackPage,
    Undo,
    Window,
)
from andon.web.dashboard.acting_words import share
from andon.web.dashboard.approvals import shell
from andon.web.dashboard.wording import count, decimal, exact, millis, score, short, size

# Answers of each version that are looked at around a change.
WINDOW = 200
NEARBY = timedelta(hours=6)
_EVENTS = 200
# Of parameters and results: what the page says elsewhere, and what only the agent needs.
_INSIDE = frozenset(
    {
        "summary",
        "message",
        "files",
        "run_id",
        "href",
        "undo",
        "can_undo",
        "dry_run",
        "from_set",
        "to_set",
        "before_set",
        "after_set",
        "automatic",
        "asked_by",
    }
)
_COLUMNS = (
    "status",
    "latency_ms",
    "cached",
    "confidence_scores",
    "detection_count",
    "probability",
    "created_at",
)


def page(platform: Platform, action_id: str) -> ActionPage:
    """The context of an action's page.

    Raises:
        NotFound: There is no such action.
    """
    record = platform.db.actions.get(action_id)
    card = acting_reading.action(record)
    event = _event(platform, record)
    versions = _versions(record, event)
    now, title = _now(platform, record)
    found = _alert(platform, record.alert_id)
    return ActionPage(
        shell=shell(platform, "activity", card.text, record.model or ""),
        card=card,
        now=now,
        now_title=title,
        facts=_facts(record),
        results=_results(record),
        windows=_windows(platform, record.model, versions, event.timestamp) if event else (),
        versions=versions,
        alert=acting_reading.alert(found) if found else None,
        event=reading.event(event) if event else None,
        run=str((record.execution_result or {}).get("run_id") or ""),
        files=_files(record),
        undo=_undo(platform, record, event),
        watching=acting_reading.watching(platform),
    )


def rollback_page(platform: Platform, event_id: int) -> RollbackPage:
    """The context of the page of one change of what serves.

    Raises:
        NotFound: There is no such change.
    """
    event = find_event(platform, event_id)
    versions = _of_event(event)
    around, _ = platform.db.events.page(model=event.model, limit=_EVENTS)
    past, _ = platform.db.alerts.page(model=event.model, limit=50)
    told = reading.event(event)
    return RollbackPage(
        shell=shell(platform, "models", told.text, event.model),
        event=msgspec.structs.replace(told, href=""),
        model=event.model,
        versions=versions,
        windows=_windows(platform, event.model, versions, event.timestamp),
        alerts=tuple(acting_reading.alert(one) for one in past if _is_about(one, event, versions)),
        nearby=tuple(
            reading.event(one)
            for one in around
            if one.id != event.id and abs(one.timestamp - event.timestamp) <= NEARBY
        ),
        undo=_undo_change(platform, event),
    )


def find_event(platform: Platform, event_id: int) -> Event:
    """A change of what serves, by its id.

    Raises:
        NotFound: There is none, or it changed nothing that serves.
    """
    found, _ = platform.db.events.page(before=event_id + 1, limit=1)
    changes = {EventType.ROLLBACK, EventType.ACTIVATE}
    if not found or found[0].id != event_id or found[0].event_type not in changes:
        raise NotFound(
            f"There is no change of what serves with the number {event_id}.",
            hint="The history on Models lists what there is.",
        )
    return found[0]


def _is_about(alert: Alert, event: Event, versions: tuple[int, int] | None) -> bool:
    """Whether an alert is about the version that was taken back, near that time."""
    if versions is None or alert.model_version != versions[0]:
        return False
    ended = alert.resolved_at or alert.seen_at
    return alert.created_at - NEARBY <= event.timestamp <= ended + NEARBY


# -- Parts ------------------------------------------------------------------------------


def _event(platform: Platform, record: AgentAction) -> Event | None:
    """The change of what serves, or of a threshold, that an action made."""
    found: Event | None = platform.db.actions.event_of(record.action_id)
    if found is None and record.deployment_event_id:
        events, _ = platform.db.events.page(before=record.deployment_event_id + 1, limit=1)
        found = next((one for one in events if one.id == record.deployment_event_id), None)
    return found


def _versions(record: AgentAction, event: Event | None) -> tuple[int, int] | None:
    if event is not None:
        return _of_event(event)
    target = record.parameters.get("to_version")
    if record.model_version and isinstance(target, int) and target != record.model_version:
        return record.model_version, target
    return None


def _of_event(event: Event) -> tuple[int, int] | None:
    previous = event.previous_version
    if not previous or previous == event.model_version:
        return None
    return previous, event.model_version


def _now(platform: Platform, record: AgentAction) -> tuple[tuple[Cue, ...], str]:
    """The numbers behind an action as they are now: those of the same names."""
    then = acting_reading.signals_of(record.evidence)
    followed = (record.follow_up or {}).get("signal")
    if isinstance(followed, Mapping):
        at = acting_reading.moment((record.follow_up or {}).get("at"))
        title = f"When it was followed up, {exact(at)}" if at else "When it was followed up"
        return acting_reading.cues([followed]), title
    wanted = {(one.get("name"), one.get("subject") or "") for one in then}
    signals: dict[tuple[str, str], Any] = {}
    for one in platform.monitor.signals():
        key = (one.name, one.subject)
        if one.model == (record.model or "") and key in wanted:
            # Of what serves; what is tried beside it comes later.
            signals.setdefault(key, msgspec.to_builtins(one))
    found = acting_reading.cues(signals.values())
    return found, "The same, now" if found else ""


def _alert(platform: Platform, alert_id: str | None) -> Alert | None:
    if not alert_id:
        return None
    with contextlib.suppress(NotFound):
        found: Alert = platform.db.alerts.get(alert_id)
        return found
    return None


def _facts(record: AgentAction) -> tuple[tuple[str, str], ...]:
    pairs = [
        ("Model", record.model or "–"),
        ("Version", f"v{record.model_version}" if record.model_version else "–"),
        ("Proposed" if record.requires_approval else "Decided", exact(record.created_at)),
    ]
    if record.started_at:
        pairs.append(("Begun", exact(record.started_at)))
    if record.executed_at:
        pairs.append(("Done", exact(record.executed_at)))
    if record.attempts > 1:
        pairs.append(("Attempts", count(record.attempts)))
    pairs += [
        (name_of(key), told(value))
        for key, value in record.parameters.items()
        if key not in _INSIDE and value not in (None, "", [], {})
    ]
    if who := record.parameters.get("asked_by"):
        pairs.append(("Asked for by", str(who)))
    return (*pairs, ("Id", record.action_id))


def _results(record: AgentAction) -> tuple[tuple[str, str], ...]:
    """What was done, name by name, without what the page says elsewhere."""
    found = record.execution_result or {}
    return tuple(
        (name_of(key), told(value))
        for key, value in found.items()
        if key not in _INSIDE and value not in (None, "", [], {})
    )


def name_of(key: str) -> str:
    """``To version`` of ``to_version``."""
    return key.replace("_", " ").strip().capitalize()


def told(value: Any) -> str:
    """A value of JSON for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(told(one) for one in value) or "–"
    if isinstance(value, dict):
        return "; ".join(f"{name_of(str(key))}: {told(one)}" for key, one in value.items()) or "–"
    return "–" if value is None else str(value)


def _files(record: AgentAction) -> tuple[FileLink, ...]:
    """What an action left for download; its result names the files, perhaps with their size."""
    found = (record.execution_result or {}).get("files") or ()
    links = []
    for one in found:
        name, note = str(one), ""
        if isinstance(one, Mapping):
            name = str(one.get("name") or "")
            bytes_ = one.get("size") or one.get("bytes")
            note = size(bytes_) if isinstance(bytes_, int) else ""
        if name:
            href = f"/api/actions/{quote(record.action_id)}/files/{quote(name)}"
            links.append(FileLink(name=name, href=href, note=note))
    return tuple(links)


# -- Numbers of both versions -----------------------------------------------------------


def _windows(
    platform: Platform, model: str | None, versions: tuple[int, int] | None, at: datetime
) -> tuple[Window, ...]:
    """The newest answers of the version before the change, and the first of the one after."""
    if model is None or versions is None:
        return ()
    sides = []
    for version, since, before in ((versions[0], None, at), (versions[1], at, None)):
        try:
            record = platform.db.models.get(model, version)
        except NotFound:
            sides.append(_measured([]))
            continue
        found = platform.db.windows.newest(
            record.id, WINDOW, columns=_COLUMNS, status=None, since=since, before=before
        )
        sides.append(_measured(found))
    old, new = sides
    if old["Answers"] == new["Answers"] == "0":
        return ()
    return tuple(
        Window(name=name, old=old[name], new=new[name])
        for name in old
        if not (old[name] == new[name] == "–")
    )


def _measured(found: Sequence[Any]) -> dict[str, str]:
    """Some answers in numbers, newest first."""
    good = [one for one in found if one.status == "success"]
    times = sorted(one.latency_ms for one in good if not one.cached)
    scores = [score_ for one in good for score_ in one.confidence_scores or ()]
    counts = [one.detection_count for one in good if one.probability is None]
    odds = [one.probability for one in good if one.probability is not None]
    return {
        "Answers": count(len(found)),
        "Failed": share(1 - len(good) / len(found)) if found else "–",
        "Time to answer, half are faster": millis(statistics.median(times)) if times else "–",
        "Time to answer, 95 % are faster": millis(times[int(0.95 * (len(times) - 1))])
        if times
        else "–",
        "Mean confidence": score(statistics.fmean(scores)) if scores else "–",
        "Detections per picture": decimal(statistics.fmean(counts), 2) if counts else "–",
        "Mean probability": score(statistics.fmean(odds)) if odds else "–",
        "First answer": short(found[-1].created_at) if found else "–",
        "Last answer": short(found[0].created_at) if found else "–",
    }


# -- Taking it back ---------------------------------------------------------------------


def _undo(platform: Platform, record: AgentAction, event: Event | None) -> Undo | None:
    """The button that takes an action back, where there is one."""
    if record.status != "succeeded" or record.dry_run or event is None or not record.model:
        return None
    if event.event_type == EventType.THRESHOLD:
        return _undo_threshold(platform, record)
    return _undo_change(platform, event)


def _undo_change(platform: Platform, event: Event) -> Undo | None:
    """Let the version from before serve again; None where it cannot, or does."""
    versions = _of_event(event)
    if versions is None:
        return None
    before, _ = versions
    try:
        record = platform.db.models.get(event.model, before)
        active = platform.db.models.active(event.model)
    except AndonError:
        return None
    if record.damaged or active is None or active.version == before:
        return None
    return Undo(
        act="activate",
        button=f"Activate v{before} again",
        text=f"v{before} is loaded and checked, then it answers instead of v{active.version}, "
        "which is kept.",
        model=event.model,
        version=before,
        rows=rows.is_rows(platform, event.model),
    )


def _undo_threshold(platform: Platform, record: AgentAction) -> Undo | None:
    """Put a threshold back where it was; None where it has been moved again since."""
    found = record.execution_result or {}
    before, after = found.get("before"), found.get("after")
    if not record.model or not record.model_version or not found.get("can_undo"):
        return None
    try:
        version = platform.db.models.get(record.model, record.model_version)
    except NotFound:
        return None
    if version.threshold != found.get("after_set"):
        return None
    return Undo(
        act="threshold",
        button=f"Put the threshold back to {score(before)}",
        text=f"v{version.version} counts from {score(before)} again, instead of {score(after)}.",
        model=record.model,
        version=version.version,
        action=record.action_id,
    )
