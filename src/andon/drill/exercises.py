"""What a drill tries, one exercise after the other, each in a sandbox of its own."""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from andon.agent.policy import load
from andon.drill import sandbox
from andon.drill.faults import Fault
from andon.drill.rows import made_up
from andon.drill.sandbox import CAMERA, ROWS_MODEL, Sandbox
from andon.errors import AndonError
from andon.settings import Settings
from andon.store.clock import now
from andon.store.records import AgentAction, Alert, Event

_WARM_UP = 65
"""Boards that a version inspects before anything goes wrong: two windows and the warm-up."""

_SHARP = 220
"""Boards after which it is known how sharp a camera's pictures are."""

_PATIENCE = 40.0
"""Longest time that anything may take, seconds: forty looks."""

_CRASH_SECONDS = 5.0
"""A version that crashes or hangs must be out by then."""

_BY = "Fire drill"


class Step(msgspec.Struct, frozen=True):
    """One thing that had to happen.

    Attributes:
        text: What it was, as a sentence.
        ok: Whether it did.
        seconds: From the fault to it; None where it did not happen or has no time.
    """

    text: str
    ok: bool
    seconds: float | None = None


class Exercise(msgspec.Struct, frozen=True):
    """One exercise, done.

    Attributes:
        name: Short name.
        title: What went wrong on purpose, as a sentence.
        passed: Whether every step did what it must.
        steps: In order.
        answers: Boards or rows that were sent after the fault.
        failed: Of these, without an answer.
        took_seconds: All of it.
        note: What a reader must know to understand the steps; mostly empty.
    """

    name: str
    title: str
    passed: bool
    steps: list[Step]
    answers: int
    failed: int
    took_seconds: float
    note: str = ""


class _Course:
    """One exercise under way: keeps the traffic going and writes down what happens when."""

    def __init__(self, place: Sandbox, feed: Callable[[], str]) -> None:
        self.place = place
        self.db = place.platform.db
        self.steps: list[Step] = []
        self.answers = 0
        self.failed = 0
        self.note = ""
        self._feed = feed
        self._began = time.monotonic()
        self._since = now()

    def fault(self) -> None:
        """It goes wrong now: what was sent before does not count, and no alarm may have rung."""
        # What is wrong with Andon itself, such as its policy file, is no model's alarm.
        early = [one.title for one in self.db.alerts.open() if one.model]
        self.is_so(
            "No alarm while all was well."
            if not early
            else f"No alarm while all was well: {early[0]}.",
            ok=not early,
        )
        self.answers = self.failed = 0
        self._began = time.monotonic()
        self._since = now()

    def happens(self, text: str, look: Callable[[], object], within: float = _PATIENCE) -> bool:
        """Keep the traffic going until something is so; whether it came in time."""
        while True:
            seen = bool(look())
            passed = time.monotonic() - self._began
            if seen or passed > within:
                self.steps.append(Step(text, seen, round(passed, 1) if seen else None))
                return seen
            self.send()

    def is_so(self, text: str, *, ok: bool) -> None:
        """Write down what is so at the end."""
        self.steps.append(Step(text, ok))

    def send(self) -> None:
        """One more board or row."""
        self.answers += 1
        self.failed += bool(self._feed())

    def alert(self, *kinds: str) -> Alert | None:
        """An alert of one of these types since the beginning, or None."""
        alerts, _ = self.db.alerts.page(limit=50)
        return next((one for one in alerts if one.alert_type in kinds), None)

    def action(self, kind: str, *statuses: str) -> AgentAction | None:
        """The newest action of a type, in one of these states, or None."""
        actions, _ = self.db.actions.page(action_type=kind, limit=20)
        return next((one for one in actions if not statuses or one.status in statuses), None)

    def rollback(self) -> Event | None:
        """The newest rollback in the history, or None."""
        events, _ = self.db.events.page(model=self.place.model)
        return next((one for one in events if one.event_type == "ROLLBACK"), None)

    def in_time(self, seconds: float) -> None:
        """Write down whether the version was out in time: by the clock of the history."""
        event = self.rollback()
        took = None if event is None else (event.timestamp - self._since).total_seconds()
        self.steps.append(
            Step(
                f"It was out within {seconds:g} s.",
                took is not None and took <= seconds,
                None if took is None else round(took, 1),
            )
        )

    def serving(self) -> int | None:
        """The version that answers."""
        state = self.place.platform.engine.states().get(self.place.model)
        return None if state is None else state.serving

    def approve(self, kind: str) -> None:
        """Agree to an action where the policy wants people to, with as many as it wants."""
        waits = self.action(kind, "pending")
        if waits is None:
            return
        for number in range(len(waits.reviews), waits.approvals_needed):
            self.place.platform.agent.approve(waits.action_id, f"{_BY} {number + 1}", "Fire drill.")


def _rolled_back(course: _Course, good: int) -> None:
    """The alarm, the approval where one is wanted, the rollback."""

    def asked() -> object:
        course.approve("rollback_model")
        return course.serving() == good

    course.happens(
        "An alert was raised.",
        lambda: course.alert("performance_degradation", "prediction_anomaly", "rollback", "agent"),
    )
    if why := _left_to_people(course.place):
        _by_hand(course, good, why)
        return
    if not course.happens(f"v{good} serves again.", asked):
        course.note = _what_held_it(course)
    course.happens(
        "The rollback is recorded with its evidence.",
        lambda: course.action("rollback_model", "succeeded"),
    )
    event = course.rollback()
    course.is_so(
        "The history names the action that did it.", ok=event is not None and bool(event.action_id)
    )


def _left_to_people(place: Sandbox) -> str:
    """Why nobody goes back here but a person, by the policy that is tried; mostly empty."""
    policy, _ = place.platform.policy.current()
    if not policy.enabled:
        return "Your policy turns the agent off (enabled = false)"
    if policy.dry_run:
        return "Your policy only tries things out (dry_run = true)"
    if policy.model(place.model).rollback == "manual":
        return f'Your policy leaves going back to people (rollback = "manual" for {place.model})'
    return ""


def _by_hand(course: _Course, good: int, why: str) -> None:
    """What a person does where the policy leaves it to them."""
    course.note = (
        f"{why}: on the line the bad version goes on answering until somebody goes back. "
        "Here the drill did."
    )
    course.is_so(
        "Andon left it to people, as your policy says.",
        ok=course.serving() != good and course.rollback() is None,
    )
    place = course.place
    place.platform.deployments.rollback(place.model, "By hand, in a fire drill.", _BY)
    course.happens(f"v{good} serves again, by hand.", lambda: course.serving() == good)
    event = course.rollback()
    course.is_so("The history names who went back.", ok=event is not None and event.actor == _BY)


def _what_held_it(course: _Course) -> str:
    """What Andon said last, where it did not go back."""
    action = course.action("rollback_model")
    if action is not None:
        return f"The rollback was decided and is {action.status}. {action.error}".strip()
    alert = course.alert("agent")
    return "No rollback was decided." if alert is None else alert.message


def _bad_version(place: Sandbox, fault: Fault) -> _Course:
    course = _Course(place, place.board)
    good = place.deploy()
    for _ in range(_WARM_UP):
        course.send()
    place.deploy(fault)
    course.fault()
    _rolled_back(course, good.version)
    return course


def bad_model(place: Sandbox) -> _Course:
    """A new version finds nothing any more."""
    course = _bad_version(place, Fault.BLIND)
    course.is_so("No answer failed because of the switch.", ok=course.failed == 0)
    return course


def slow_model(place: Sandbox) -> _Course:
    """A version that was quick takes six times as long."""
    course = _Course(place, place.board)
    good = place.deploy()
    place.deploy()
    model = place.tamper()
    for _ in range(_WARM_UP):
        course.send()
    # A look learns what is usual for it.
    time.sleep(2 * place.platform.settings.monitor_interval)
    course.fault()
    model.fault = Fault.SLOW
    _rolled_back(course, good.version)
    course.is_so("No answer failed because of the switch.", ok=course.failed == 0)
    return course


def killed_runtime(place: Sandbox) -> _Course:
    """The runtime of a new version is killed with every picture."""
    return _crashed(place, Fault.CRASH)


def hung_runtime(place: Sandbox) -> _Course:
    """The runtime of a new version hangs."""
    return _crashed(place, Fault.HANG)


def _crashed(place: Sandbox, fault: Fault) -> _Course:
    course = _bad_version(place, fault)
    policy, _ = place.platform.policy.current()
    # Who waits for people waits for as long as they take.
    if not course.note and not policy.tight and policy.model(place.model).rollback == "auto":
        course.in_time(_CRASH_SECONDS)
    return course


def blurred_pictures(place: Sandbox) -> _Course:
    """A camera gets out of focus. The model is not to blame."""
    blurred = False
    course = _Course(place, lambda: place.board(blurred=blurred))
    version = place.deploy()
    # Until it is known how sharp its pictures are.
    for _ in range(_SHARP):
        course.send()
    time.sleep(2 * place.platform.settings.monitor_interval)
    course.fault()
    blurred = True
    course.happens(
        f"An alert names the camera {CAMERA}.",
        lambda: (found := course.alert("camera")) is not None and CAMERA in found.message,
    )
    course.is_so(
        "The model was not rolled back for it.",
        ok=course.serving() == version.version and course.action("rollback_model") is None,
    )
    return course


def drifting_rows(place: Sandbox) -> _Course:
    """The oven was repaired: its rows are others than those the model learned from."""
    platform = place.platform
    place.deploy_rows()
    usual = made_up(10_000, seed=2)
    drifted = made_up(10_000, seed=3, drifted=True)
    source = usual

    def feed() -> str:
        row, _ = next(source)
        try:
            platform.engine.answer_row_sync(row, model=ROWS_MODEL, source="drill")
        except AndonError as error:
            return str(error)
        # Rows take no time: as many as a fast line, not as many as the machine can.
        time.sleep(0.02)
        return ""

    course = _Course(place, feed)
    for _ in range(_WARM_UP * 2):
        course.send()
    course.fault()
    source = drifted
    course.happens("An alert says that the data drift.", lambda: course.alert("data_drift"))

    def reported() -> bool:
        report = course.db.drift_reports.newest(ROWS_MODEL)
        return report is not None and "peak_temperature" in report.drifted_features

    course.happens("The report names what moved: peak_temperature.", reported)
    return course


_ASKING = """\
# The policy of this exercise: people decide about every rollback, and two of them.
[agent]
second_person = ["high"]

[models.default]
rollback = "approve"

[models.{model}]
rollback = "approve"
"""


def approval(place: Sandbox) -> _Course:
    """A rollback waits for two people."""
    course = _Course(place, place.board)
    good = place.deploy()
    for _ in range(_WARM_UP):
        course.send()
    bad = place.deploy(Fault.BLIND)
    course.fault()
    if not course.happens(
        "The agent asks for the rollback.", lambda: course.action("rollback_model", "pending")
    ):
        return course
    course.is_so("Nothing changed meanwhile.", ok=course.serving() == bad.version)
    waits = course.action("rollback_model", "pending")
    assert waits is not None
    agent = place.platform.agent
    agent.approve(waits.action_id, "First person", "Fire drill.")
    again = _refused(lambda: agent.approve(waits.action_id, "first person", "Fire drill."))
    course.is_so("The same person cannot approve twice.", ok=again)
    course.is_so(
        "One person is not enough.",
        ok=course.db.actions.get(waits.action_id).status == "pending",
    )
    agent.approve(waits.action_id, "Second person", "Fire drill.")
    course.happens(f"v{good.version} serves again.", lambda: course.serving() == good.version)
    late = _refused(lambda: agent.approve(waits.action_id, "Third person", "Too late."))
    course.is_so("An approval that comes too late is refused.", ok=late)
    return course


EXERCISES: dict[str, Callable[[Sandbox], _Course]] = {
    "bad-model": bad_model,
    "slow-model": slow_model,
    "killed-runtime": killed_runtime,
    "hung-runtime": hung_runtime,
    "blurred-pictures": blurred_pictures,
    "drifting-rows": drifting_rows,
    "approval": approval,
}
"""By name, in the order in which they are done."""


def run(name: str, installation: Settings, folder: Path) -> Exercise:
    """Do one exercise in a sandbox below `folder`.

    Args:
        name: One of `EXERCISES`.
        installation: Whose settings and policy are tried.
        folder: Where the sandbox is made; it stays.
    """
    exercise = EXERCISES[name]
    home = folder / name
    policy = None
    if exercise is approval:
        policy = folder / "two-people.toml"
        policy.write_text(_ASKING.format(model=installation.default_model), encoding="utf-8")
    began = time.monotonic()
    try:
        with sandbox.opened(installation, home, policy=policy) as place:
            course = exercise(place)
    finally:
        if policy is not None:
            policy.unlink(missing_ok=True)
    return Exercise(
        name=name,
        title=(exercise.__doc__ or name).strip(),
        passed=all(step.ok for step in course.steps),
        steps=course.steps,
        answers=course.answers,
        failed=course.failed,
        took_seconds=round(time.monotonic() - began, 1),
        note=course.note,
    )


class DrillReport(msgspec.Struct, frozen=True):
    """A drill, done.

    Attributes:
        at: When it began, UTC, as in file names: "20261121-101500".
        passed: Whether every exercise did.
        policy: Which policy was tried: the path of the file, or "built in".
        notes: What a reader must know of all exercises.
    """

    at: str
    passed: bool
    policy: str
    exercises: list[Exercise]
    notes: list[str] = []


def notes_on(installation: Settings) -> list[str]:
    """What makes this installation differ from what a drill shows, in sentences."""
    notes = []
    if installation.policy.exists():
        try:
            load(installation.policy, installation)
        except AndonError as error:
            notes.append(
                f"{error} Until it is mended everything waits for people; so it does in the drill."
            )
    if installation.agent != "on":
        notes.append(
            f"ANDON_AGENT is {installation.agent} here: in the drill the agent acts, outside of it "
            "nothing is done by itself."
        )
    if not installation.monitor:
        notes.append("ANDON_MONITOR is off here: outside of the drill nobody looks at the models.")
    return notes


def drill(
    installation: Settings,
    folder: Path,
    names: list[str],
    done: Callable[[Exercise], None] = lambda _: None,
) -> DrillReport:
    """Do exercises one after the other.

    Args:
        installation: Whose settings and policy are tried; its data are not touched.
        folder: Where the sandboxes are made.
        names: Of the exercises.
        done: Told after each.
    """
    at = f"{now():%Y%m%d-%H%M%S}"
    found = []
    for name in dict.fromkeys(names):
        found.append(run(name, installation, folder))
        done(found[-1])
    policy = str(installation.policy) if installation.policy.exists() else "built in"
    passed = all(one.passed for one in found)
    return DrillReport(at, passed, policy, found, notes_on(installation))


def _refused(work: Callable[[], object]) -> bool:
    try:
        work()
    except AndonError:
        return True
    return False
