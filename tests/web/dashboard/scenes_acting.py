"""Page contexts of alerts, approvals, actions, rollbacks and replays, in every state."""

from datetime import timedelta
from typing import Any

from msgspec.structs import replace
from tests.web.dashboard import scenes
from tests.web.dashboard.acting_records import (
    ALL_ACTIONS,
    CAMERA,
    CRITICAL,
    FEED,
    FINE,
    RESOLVED,
    action,
    alert,
    done,
    review,
    rollout,
    signal,
)
from tests.web.dashboard.scenes import (
    NOW,
    events,
    found,
    inspection,
    minutes_ago,
    serving,
    shell,
    version,
)

from andon.store.records import AgentAction
from andon.web.dashboard import acting_contexts as a
from andon.web.dashboard import acting_reading, alerts, traffic_panel
from andon.web.dashboard import contexts as c
from andon.web.dashboard import traffic_contexts as t
from andon.web.dashboard.acting_words import KINDS, STATUS
from andon.web.dashboard.activity import PAGE

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def panel(**given: Any) -> t.TrafficPanel:
    """v8's page, nothing on trial."""
    values: dict[str, Any] = {
        "model": "pcb",
        "version": 8,
        "active": 7,
        "running": None,
        "past": (
            traffic_panel.rollout(
                rollout(
                    id="0193-c000",
                    mode="shadow",
                    status="stopped",
                    outcome="mia stopped it: seen enough.",
                    ended_at=minutes_ago(200),
                )
            ),
        ),
        "startable": True,
        "obstacle": "",
        "replays": (
            t.ReplayLink(href="/replays/0193-d001", text="3 answers flip", when=minutes_ago(80)),
        ),
        "replayable": True,
        "rows": False,
    }
    return t.TrafficPanel(**{**values, **given})


RUNNING = panel(running=traffic_panel.rollout(rollout()), startable=False, past=(), replays=())


def watching(**given: Any) -> a.Watching:
    """This server watches, and the agent acts."""
    values: dict[str, Any] = {
        "tone": "good",
        "text": "This server watches.",
        "holder": "box-3:4711",
        "last": minutes_ago(0.4),
        "following": NOW + timedelta(seconds=36),
        "mode": "on",
        "mode_text": "The agent acts by the policy, and asks where the policy says so.",
        "problem": "",
        "policy": "policy.toml",
    }
    return a.Watching(**{**values, **given})


NOBODY = watching(
    tone="look",
    text="Nobody has looked at the models since 12 min ago. Check that a server runs.",
    holder="",
    following=None,
    problem="policy.toml, line 7: `riks` is not known; did you mean `risk`?",
    mode="dry-run",
    mode_text="Dry run: the agent writes down what it would do, and does nothing.",
)


def sieve(path: str, chosen: str = "") -> a.Sieve:
    """The filters of a list."""
    return a.Sieve(
        path=path,
        choosers=(
            c.Chooser(
                name="status",
                label="Status",
                everything="Every status",
                options=tuple((key, words) for key, (words, _) in STATUS.items()),
                chosen=chosen,
            ),
            c.Chooser(
                name="type",
                label="Type",
                everything="Every type",
                options=tuple(KINDS.items()),
                chosen="",
            ),
        ),
        reset=path if chosen else "",
    )


def cards(*records: AgentAction) -> tuple[a.ActionCard, ...]:
    """Actions as pages show them."""
    return tuple(acting_reading.action(one, NOW) for one in records)


def approvals(**given: Any) -> a.ApprovalsPage:
    """Two wait, some were decided."""
    values: dict[str, Any] = {
        "shell": shell("approvals"),
        "waiting": cards(*ALL_ACTIONS[:2]),
        "decided": cards(*ALL_ACTIONS[2:4], *ALL_ACTIONS[5:8]),
        "pager": a.Pager(older="/approvals?before=0193#decided"),
        "watching": watching(),
        "alone": ("Tell people", "Collect diagnostics", "Roll back pcb"),
    }
    return a.ApprovalsPage(**{**values, **given})


def activity(**given: Any) -> a.ActivityPage:
    """Some of everything."""
    values: dict[str, Any] = {
        "shell": shell("activity"),
        "sieve": sieve("/activity"),
        "actions": cards(*ALL_ACTIONS),
        "pager": a.Pager(older="/activity?before=0193", newer="/activity"),
        "watching": watching(),
        "used": 4,
        "budget": 20,
        "waiting": 2,
    }
    return a.ActivityPage(**{**values, **given})


WINDOWS = (
    a.Window(name="Answers", old="200", new="48"),
    a.Window(name="Failed", old="12 %", new="0 %"),
    a.Window(name="Time to answer, half are faster", old="22 ms", new="21 ms"),
)


def page_of(record: AgentAction, **given: Any) -> a.ActionPage:
    """An action's page."""
    card = acting_reading.action(record, NOW)
    values: dict[str, Any] = {
        "shell": shell("activity", title=card.text),
        "card": card,
        "now": (),
        "now_title": "",
        "facts": (("Model", "pcb"), ("Version", "v7"), ("Id", record.action_id)),
        "results": (),
        "windows": (),
        "versions": None,
        "alert": None,
        "event": None,
        "run": "",
        "files": (),
        "undo": None,
        "watching": watching(),
    }
    return a.ActionPage(**{**values, **given})


UNDO = a.Undo(
    act="activate",
    button="Activate v7 again",
    text="v7 is loaded and checked, then it answers instead of v6, which is kept.",
    model="pcb",
    version=7,
)
FULL = page_of(
    ALL_ACTIONS[2],
    now=acting_reading.cues([signal(state="ok", value=0.003), FINE]),
    now_title="When it was followed up, 21 Nov 2026 13:40:00 UTC",
    results=(("Event", "12"),),
    windows=WINDOWS,
    versions=(7, 6),
    alert=acting_reading.alert(RESOLVED[1]),
    event=c.EventLine(
        kind="rollback",
        text="Rolled back from v7 to v6",
        reason="12 % of its answers failed",
        actor="by Andon itself",
        when=minutes_ago(3),
    ),
    run="0193-e001",
    files=(a.FileLink(name="bundle.zip", href="/api/actions/1/files/bundle.zip", note="214 kB"),),
    undo=UNDO,
)


def rollback(**given: Any) -> a.RollbackPage:
    """A roll back by hand."""
    values: dict[str, Any] = {
        "shell": shell("models", title="Rolled back from v7 to v6"),
        "event": events()[1],
        "model": "pcb",
        "versions": (7, 6),
        "windows": WINDOWS,
        "alerts": (acting_reading.alert(CRITICAL), acting_reading.alert(RESOLVED[0])),
        "nearby": events(2),
        "undo": UNDO,
    }
    return a.RollbackPage(**{**values, **given})


def alerts_page(**given: Any) -> a.AlertsPage:
    """Three are open."""
    values: dict[str, Any] = {
        "shell": shell("alerts", "red"),
        "groups": alerts.groups([FEED, CAMERA, alert(1), CRITICAL]),
        "open": 4,
        "past": tuple(acting_reading.alert(one) for one in RESOLVED),
        "sieve": sieve("/alerts"),
        "pager": a.Pager(older="/alerts?before=0193#past"),
        "watching": watching(),
    }
    return a.AlertsPage(**{**values, **given})


def flip(number: int = 1, **given: Any) -> a.Flip:
    """A board on which the candidate finds other defects."""
    values: dict[str, Any] = {
        "id": f"0193-f{number:03}",
        "href": f"/inspect?id=0193-f{number:03}",
        "name": f"board-{number:04}.png",
        "kind": "Other defects",
        "before": "2 defects: open 0.95, short 0.94",
        "after": "3 defects: open 0.95, short 0.94, spur 0.71",
        "picture": f"/api/predictions/{number}/image" if number % 3 else "",
        "width": 640,
        "height": 480,
        "boxes_before": found(2),
        "boxes_after": found(3),
    }
    return a.Flip(**{**values, **given})


def replay(**given: Any) -> a.ReplayPage:
    """One that is done."""
    values: dict[str, Any] = {
        "shell": shell("models", title="Replay"),
        "id": "0193-d001",
        "status": "succeeded",
        "told": "Done",
        "tone": "good",
        "model": "pcb",
        "version": 8,
        "progress": None,
        "sentence": "500 stored answers replayed: 3 flip.",
        "error": "",
        "facts": (("Model", "pcb"), ("Version", "v8"), ("Replayed", "500")),
        "kinds": (("Finds other defects", 3),),
        "flips": tuple(flip(number) for number in (1, 2, 3)),
        "flipped": 3,
        "rows": False,
        "pager": a.Pager(older="/replays/0193-d001?start=30"),
    }
    return a.ReplayPage(**{**values, **given})


def version_page(**given: Any) -> c.VersionPage:
    """The page of v8, which can be tried."""
    values: dict[str, Any] = {
        "shell": shell("models"),
        "version": version(8),
        "task": "finds and locates defects",
        "facts": (("Input", "640 × 640 pixels, colour"),),
        "metadata": (),
        "options": (),
        "warnings": (),
        "card": "",
        "events": (),
        "traffic": panel(),
    }
    return c.VersionPage(**{**values, **given})


ROW_FLIP = flip(
    1,
    name="patient-12",
    kind="Other class",
    before="disease 0.61",
    after="healthy 0.48",
    picture="",
)
_NONE: dict[str, Any] = {"flips": (), "flipped": 0, "kinds": (), "pager": a.Pager()}

SICK = inspection(
    2,
    name="night.png",
    camera="line-2-top",
    sick="The picture is too dark; what the model says of it cannot be relied on.",
    verdict="Not judged: the picture is too dark",
)
BLURRED = inspection(
    1,
    camera="line-2-side",
    sick="The picture is blurred; what the model says of it cannot be relied on.",
)
RISK = c.Lamp(
    color="red",
    word="At risk",
    headline="v7 answers, but do not rely on it",
    reasons=(
        c.Reason(text=CRITICAL.message, since=CRITICAL.created_at, href="/alerts#alert-1"),
        c.Reason(text="2 actions wait for a decision.", since=minutes_ago(2), href="/approvals"),
    ),
    since=CRITICAL.created_at,
    step=c.Step(text="Decide what is done", href="/approvals"),
    count=3,
)
_INSPECT = scenes.inspect(shown=scenes.shown())
_OVERVIEW = scenes.SCENES["overview, running"]

SCENES: dict[str, Any] = {
    "overview, at risk": replace(
        _OVERVIEW,
        lamp=RISK,
        shell=shell(lamp=RISK),
        latest=(SICK, BLURRED, *_OVERVIEW.latest),
    ),
    "inspect, sick camera": replace(
        _INSPECT,
        shown=replace(_INSPECT.shown, inspection=SICK, found=()),
        gallery=replace(_INSPECT.gallery, items=(SICK, BLURRED), only="camera"),
    ),
    "approvals": approvals(),
    "approvals, nothing": approvals(waiting=(), decided=(), pager=a.Pager()),
    "approvals, nobody watches": approvals(watching=NOBODY, alone=()),
    "approvals, off": approvals(
        waiting=(), watching=watching(mode="off", mode_text="The agent is off."), alone=()
    ),
    "approvals, hostile": approvals(
        waiting=cards(action(1, reason=HOSTILE, model=HOSTILE, reviews=[review(HOSTILE)]))
    ),
    "activity": activity(),
    "activity, nothing": activity(actions=(), pager=a.Pager(), waiting=0, used=0, budget=0),
    "activity, filtered": activity(actions=(), sieve=sieve("/activity", "failed"), used=20),
    "activity, long": activity(actions=cards(*(done(number) for number in range(2, PAGE)))),
    "action, done": FULL,
    "alerts": alerts_page(),
    "alerts, nothing": alerts_page(groups=(), open=0, past=(), pager=a.Pager()),
    "alerts, filtered": alerts_page(past=(), sieve=sieve("/alerts", "failed"), watching=NOBODY),
    "rollback": rollback(),
    "rollback, bare": rollback(versions=None, windows=(), alerts=(), nearby=(), undo=None),
    "replay": replay(),
    "replay, rows": replay(rows=True, flips=(ROW_FLIP,)),
    "replay, none": replay(**_NONE, sentence="500 stored answers replayed: none flips."),
    "replay, queued": replay(**_NONE, status="queued", told="Waiting", tone="none", progress=0.0),
    "replay, running": replay(**_NONE, status="running", told="Running", progress=0.42),
    "replay, failed": replay(
        **_NONE, status="failed", told="Failed", tone="stop", error="v8 could not be loaded."
    ),
    "version, to try": version_page(),
    "version, on trial": version_page(traffic=RUNNING),
    "version, in the way": version_page(
        traffic=panel(startable=False, obstacle="v9 is being tried. One at a time."),
    ),
    "version, serves": version_page(
        version=serving(7),
        traffic=panel(version=7, startable=False, replayable=False, past=(), replays=()),
    ),
    **{f"action, {one.status} {one.action_id}": page_of(one) for one in ALL_ACTIONS},
}
