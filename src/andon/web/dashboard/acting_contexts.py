"""What the templates about alerts, approvals, actions and replays receive.

As in `contexts`: one struct per template and one per thing that templates show, each field
with its meaning.
"""

from datetime import datetime
from typing import Annotated, ClassVar

import msgspec

from andon.web.dashboard.contexts import Chooser, EventLine, Found, Shell
from andon.web.dashboard.traffic_contexts import Tone

# -- Parts ------------------------------------------------------------------------------


class Cue(msgspec.Struct, frozen=True, kw_only=True):
    """One number that was watched, and what it said."""

    name: Annotated[str, "What is watched, in words."]
    tone: Annotated[Tone, "good: as it should be; look or stop: bad; none: cannot be told."]
    state: Annotated[str, "The same in a word or two."]
    text: Annotated[str, "One full sentence with the number and what it is compared with."]
    value: Annotated[str, "The number; a dash where unknown."]
    limit: Annotated[str, "Where it turns bad; a dash where that is not known."]
    usual: Annotated[str, "What is normal; a dash where that is not known."]
    since: Annotated[datetime | None, "Begin of the data it rests on."]
    count: Annotated[str, "How many answers it rests on."]
    href: Annotated[str, "The report with all the evidence; empty without one."] = ""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What one person said of an action."""

    by: Annotated[str, "Who."]
    agrees: Annotated[bool, "Whether they approved it."]
    comment: Annotated[str, "Why, in their words; may be empty."]
    when: Annotated[datetime, "UTC."]


class FileLink(msgspec.Struct, frozen=True, kw_only=True):
    """Something to download."""

    name: Annotated[str, "What it is, in words."]
    href: Annotated[str, "Where it is."]
    note: Annotated[str, "Size or kind; may be empty."] = ""


class Undo(msgspec.Struct, frozen=True, kw_only=True):
    """How to take something back with a button."""

    act: Annotated[str, "activate or threshold: what the button does."]
    button: Annotated[str, "Words of the button."]
    text: Annotated[str, "What will happen, one sentence."]
    model: Annotated[str, "Registered model."]
    version: Annotated[int, "Version that serves again, or whose threshold goes back."]
    action: Annotated[str, "Action that is taken back; empty where a version is activated."] = ""
    rows: Annotated[bool, "Whether the model answers rows."] = False


class ActionCard(msgspec.Struct, frozen=True, kw_only=True):
    """Something the agent wants to do, does or has done."""

    id: Annotated[str, "Action id."]
    href: Annotated[str, "Its page."]
    kind: Annotated[str, "Its type, in words."]
    icon: Annotated[str, "Name of its icon."]
    text: Annotated[str, "What would be done, or was done, in one sentence."]
    reason: Annotated[str, "Why, in a sentence; may be empty."]
    model: Annotated[str, "Registered model; empty where it is about none."]
    status: Annotated[str, "Its status as the log has it."]
    told: Annotated[str, "The status in a word or two."]
    tone: Annotated[Tone, "The status as a tone."]
    dry_run: Annotated[bool, "Whether it is written down only."]
    risk: Annotated[str, "low, medium or high."]
    source: Annotated[str, "Who had the idea, as a phrase."]
    changes: Annotated[str, "What it changes, a sentence."]
    undo: Annotated[str, "How to undo it, a sentence."]
    cues: Annotated[tuple[Cue, ...], "The numbers behind it, the bad ones first."]
    since: Annotated[datetime | None, "Since when the numbers have been so."]
    created: Annotated[datetime, "When it was decided, UTC."]
    expires: Annotated[datetime | None, "Until when it can be approved; None: for ever."]
    expiry: Annotated[str, "The same as a phrase; empty where it does not expire."]
    done: Annotated[datetime | None, "When it was done, or given up."]
    needed: Annotated[int, "People who must agree."]
    waits_for: Annotated[str, "Who is still to agree, a sentence; empty when nobody is."]
    said: Annotated[tuple[Said, ...], "What people said of it, oldest first."]
    result: Annotated[str, "What came of it, a sentence; empty before."]
    follow: Annotated[str, "Whether it helped, a sentence; empty where it is not looked at."]
    follow_tone: Annotated[Tone, "Whether it helped."]


class Watching(msgspec.Struct, frozen=True, kw_only=True):
    """Who watches, and what the agent may do."""

    tone: Annotated[Tone, "Whether somebody watches."]
    text: Annotated[str, "One sentence on that."]
    holder: Annotated[str, "Which process watches; empty where none does."]
    last: Annotated[datetime | None, "When it last looked."]
    following: Annotated[datetime | None, "When it looks next."]
    mode: Annotated[str, "What the agent does: on, dry-run or off."]
    mode_text: Annotated[str, "The same as a sentence."]
    problem: Annotated[str, "What is wrong with the policy file; empty when nothing is."]
    policy: Annotated[str, "Name of the policy file; empty where the built-in policy holds."]


class Pager(msgspec.Struct, frozen=True, kw_only=True):
    """The way through a long list."""

    older: Annotated[str, "Address of the next page; empty at the end."] = ""
    newer: Annotated[str, "Address of the first page; empty when this is it."] = ""


class Sieve(msgspec.Struct, frozen=True, kw_only=True):
    """The filters of a list."""

    path: Annotated[str, "The page."]
    choosers: Annotated[tuple[Chooser, ...], "What can be chosen."]
    reset: Annotated[str, "Address without any filter; empty when none is set."]


class AlertCard(msgspec.Struct, frozen=True, kw_only=True):
    """Something a person should know of."""

    id: Annotated[str, "Alert id."]
    severity: Annotated[str, "info, warning or critical."]
    severity_text: Annotated[str, "The same for people."]
    title: Annotated[str, "What it is, in a few words."]
    text: Annotated[str, "What was seen, with numbers."]
    about: Annotated[str, "Model and version, or what else it is about."]
    status: Annotated[str, "active, acknowledged or resolved."]
    since: Annotated[datetime, "When it was raised."]
    seen: Annotated[datetime, "When it was last seen."]
    times: Annotated[int, "Times it was seen while open."]
    step: Annotated[str, "The next step, as the text of a link."]
    href: Annotated[str, "Where to take it; empty where there is none."]
    acknowledged: Annotated[str, "Who looks after it; empty while nobody does."]
    acknowledged_at: Annotated[datetime | None, "Since when."]
    resolved: Annotated[str, "How it ended, as a phrase; empty while open."]
    resolved_at: Annotated[datetime | None, "When it ended."]
    notes: Annotated[str, "What was said when it ended; may be empty."]


class AlertGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Open alerts about one thing."""

    key: Annotated[str, "Of the element; unique on the page."]
    title: Annotated[str, "What they are about."]
    alerts: Annotated[tuple[AlertCard, ...], "The gravest first."]


class Flip(msgspec.Struct, frozen=True, kw_only=True):
    """One stored input that is answered differently."""

    id: Annotated[str, "Prediction id."]
    href: Annotated[str, "The page of the logged answer."]
    name: Annotated[str, "Name of the picture, or whom the row is about."]
    kind: Annotated[str, "What changed, in words."]
    before: Annotated[str, "The logged answer."]
    after: Annotated[str, "The candidate's answer."]
    picture: Annotated[str, "URL of the picture; empty for rows and where it is not kept."]
    width: Annotated[int, "Pixels."]
    height: Annotated[int, "Pixels."]
    boxes_before: Annotated[tuple[Found, ...], "What was found."]
    boxes_after: Annotated[tuple[Found, ...], "What the candidate finds."]


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """One number of both versions around a rollback."""

    name: Annotated[str, "What was measured."]
    old: Annotated[str, "Of the version before."]
    new: Annotated[str, "Of the version after."]


# -- Pages ------------------------------------------------------------------------------


class ApprovalsPage(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for a person, and what was decided."""

    template: ClassVar[str] = "approvals.html"

    shell: Annotated[Shell, "The frame."]
    waiting: Annotated[tuple[ActionCard, ...], "What waits, the most urgent first."]
    decided: Annotated[tuple[ActionCard, ...], "What was decided, newest first."]
    pager: Annotated[Pager, "The way through what was decided."]
    watching: Annotated[Watching, "Who watches, and what the agent may do."]
    alone: Annotated[tuple[str, ...], "What the agent does without asking, as sentences."]


class ActivityPage(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the agent did, and what came of it."""

    template: ClassVar[str] = "activity.html"

    shell: Annotated[Shell, "The frame."]
    sieve: Annotated[Sieve, "The filters."]
    actions: Annotated[tuple[ActionCard, ...], "Newest first."]
    pager: Annotated[Pager, "The way through them."]
    watching: Annotated[Watching, "Who watches, and what the agent may do."]
    used: Annotated[int, "Actions in the last 24 hours that count towards the budget."]
    budget: Annotated[int, "Actions the agent may take by itself in 24 hours; 0: not limited."]
    waiting: Annotated[int, "Actions that wait for a person."]
    askable: Annotated[tuple[tuple[str, str], ...], "What can be asked for: key and words."] = ()
    models: Annotated[tuple[str, ...], "Models it can be asked for; none: nothing to ask."] = ()


class ActionPage(msgspec.Struct, frozen=True, kw_only=True):
    """All the evidence of one action."""

    template: ClassVar[str] = "action.html"

    shell: Annotated[Shell, "The frame."]
    card: Annotated[ActionCard, "The action."]
    now: Annotated[tuple[Cue, ...], "The same numbers now, or when it was followed up."]
    now_title: Annotated[str, "When that is."]
    facts: Annotated[tuple[tuple[str, str], ...], "What it is exactly: name and value."]
    results: Annotated[tuple[tuple[str, str], ...], "What was done exactly: name and value."]
    windows: Annotated[tuple[Window, ...], "Numbers of both versions, for a change of what serves."]
    versions: Annotated[tuple[int, int] | None, "Version before and after, or None."]
    alert: Annotated[AlertCard | None, "The alert it answers, or None."]
    event: Annotated[EventLine | None, "The change of what serves it made, or None."]
    run: Annotated[str, "The training it began; empty without one."]
    files: Annotated[tuple[FileLink, ...], "What can be downloaded."]
    undo: Annotated[Undo | None, "How to take it back, or None where that cannot be."]
    watching: Annotated[Watching, "Who watches, and what the agent may do."]


class RollbackPage(msgspec.Struct, frozen=True, kw_only=True):
    """All the evidence of a change back that nobody proposed: by hand, or at once."""

    template: ClassVar[str] = "rollback.html"

    shell: Annotated[Shell, "The frame."]
    event: Annotated[EventLine, "What happened."]
    model: Annotated[str, "Registered model."]
    versions: Annotated[tuple[int, int] | None, "Version before and after, or None."]
    windows: Annotated[tuple[Window, ...], "Numbers of both versions."]
    alerts: Annotated[tuple[AlertCard, ...], "Alerts about the version before, newest first."]
    nearby: Annotated[tuple[EventLine, ...], "What else changed around it, newest first."]
    undo: Annotated[Undo | None, "How to take it back, or None where that cannot be."]


class AlertsPage(msgspec.Struct, frozen=True, kw_only=True):
    """What a person should know of, and what it was before."""

    template: ClassVar[str] = "alerts.html"

    shell: Annotated[Shell, "The frame."]
    groups: Annotated[tuple[AlertGroup, ...], "Open alerts by what they are about."]
    open: Annotated[int, "How many are open."]
    past: Annotated[tuple[AlertCard, ...], "Resolved alerts, newest first."]
    sieve: Annotated[Sieve, "The filters."]
    pager: Annotated[Pager, "The way through the resolved ones."]
    watching: Annotated[Watching, "Who watches, and what the agent may do."]


class ReplayPage(msgspec.Struct, frozen=True, kw_only=True):
    """What a version would have answered to stored inputs."""

    template: ClassVar[str] = "replay.html"

    shell: Annotated[Shell, "The frame."]
    id: Annotated[str, "Job id."]
    status: Annotated[str, "queued, running, succeeded or failed."]
    told: Annotated[str, "The status for people."]
    tone: Annotated[Tone, "The status as a tone."]
    model: Annotated[str, "Registered model."]
    version: Annotated[int, "Version that was tried."]
    progress: Annotated[float | None, "Share done, 0 to 1; None where that is not known."]
    sentence: Annotated[str, "What came of it, or how far it is."]
    error: Annotated[str, "Why it failed; empty otherwise."]
    facts: Annotated[tuple[tuple[str, str], ...], "Name and value."]
    kinds: Annotated[tuple[tuple[str, int], ...], "How many answers flip in which way."]
    flips: Annotated[tuple[Flip, ...], "Answers that flip, one page of them."]
    flipped: Annotated[int, "How many flip."]
    rows: Annotated[bool, "Whether the model answers rows."]
    pager: Annotated[Pager, "The way through them."]


PAGES = (
    ApprovalsPage,
    ActivityPage,
    ActionPage,
    RollbackPage,
    AlertsPage,
    ReplayPage,
)
