from typing import Any

import pytest
from structlog.testing import capture_logs

from andon.errors import Conflict
from andon.monitoring.signals import Issue, Signal, State
from andon.notify.alerting import MOST_OF_A_KIND, Alerting, group_key, grouped
from andon.notify.notifier import Notifier
from andon.settings import Settings
from andon.store.database import Database
from andon.store.outbox import Notification

FAILS: dict[str, Any] = {
    "alert_type": "performance_degradation",
    "severity": "warning",
    "title": "pcb: worse than it should be",
    "message": "12 % of the answers are errors.",
    "model": "pcb",
    "model_version": 3,
}


class Friend:
    """A channel that keeps what it is told."""

    name = "friend"
    seconds = 1.0

    def __init__(self) -> None:
        self.told: list[Notification] = []

    def deliver(self, notification: Notification) -> None:
        """Keep it."""
        self.told.append(notification)


class House:
    """Alerting on a real database, with a channel that works."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.friend = Friend()
        self.notifier = Notifier(db, Settings())
        self.notifier.add(self.friend)
        self.alerting = Alerting(db, self.notifier)

    def told(self) -> list[tuple[str, str]]:
        """Event and severity of everything that was told."""
        while self.notifier.deliver_once():
            pass
        return [(one.event, one.data["severity"]) for one in self.friend.told]


@pytest.fixture
def house(db: Database) -> House:
    return House(db)


def signal(state: State = State.BAD, **given: Any) -> Signal:
    about = {"name": "latency", "issue": Issue.PERFORMANCE, "model": "pcb", "summary": "Slow."}
    return Signal(state=state, **{**about, **given})


def test_an_alert_is_told_when_it_is_raised_when_it_gets_worse_and_when_it_is_over(house: House):
    """Not every time its cause is seen; good news is not as loud as bad news."""
    with capture_logs() as said:
        for severity in ("warning", "warning", "critical", "warning"):
            house.alerting.see("k", **{**FAILS, "severity": severity})
        house.alerting.quiet("k", "It was slow.", looks=1)
    assert house.told() == [
        ("alert", "warning"), ("alert", "critical"), ("alert_resolved", "info")
    ]  # fmt: skip
    assert house.friend.told[1].data["was"] == "warning"
    assert house.friend.told[2].data["automatically"]
    assert [one["log_level"] for one in said] == ["warning", "error", "info"]
    assert said[2]["event"] == "Alert resolved: pcb: worse than it should be: It was slow."


def test_what_was_resolved_by_hand_is_told_once_and_held_back(house: House):
    """The same cause raises nothing at once; people hear who resolved it and why."""
    alert, fresh = house.alerting.see("k", **FAILS)
    assert fresh
    house.alerting.resolve(alert.alert_id, "Ada", "New lamp")
    with pytest.raises(Conflict):
        house.alerting.resolve(alert.alert_id, "Ada")
    assert not house.alerting.see("k", **FAILS)[1]
    assert house.told() == [("alert", "warning"), ("alert_resolved", "info")]
    data = house.friend.told[1].data
    assert (data["resolved_by"], data["automatically"], data["message"]) == (
        "Ada", False, "New lamp"
    )  # fmt: skip


def test_one_look_says_what_it_changed(house: House):
    """What it raised, and at the second quiet look what it resolved; then nothing more."""
    seen = house.alerting.look([signal()])
    assert [one.group_key for one in seen.raised] == ["pcb:performance_degradation"]
    assert house.alerting.look([signal(State.OK)]).resolved == []
    seen = house.alerting.look([signal(State.OK)])
    assert [one.resolution_notes for one in seen.resolved] == ["The cause was gone: Slow."]
    assert house.alerting.look([signal(State.OK)]).resolved == []


def test_that_a_candidate_is_well_ends_no_alert_about_what_serves(house: House):
    """Neither does unknown; and the candidate's trouble counts for the open alert."""
    house.alerting.look([signal()])
    for _ in range(3):
        house.alerting.look([signal(State.OK, name="canary_errors"), signal(State.UNKNOWN)])
    assert len(house.db.alerts.open()) == 1
    house.alerting.look([signal(name="canary_latency"), signal(State.OK)])
    assert house.db.alerts.open()[0].occurrences == 2


def test_signals_belong_to_the_alert_of_their_model_camera_or_feed():
    """A sick camera takes the anomaly and drift of its model, not those of another model."""
    assert group_key(signal()) == "pcb:performance_degradation"
    assert group_key(signal(name="camera", subject="line-1")) == "pcb:camera:line-1"
    assert group_key(signal(name="stale_feed", model="", subject="main")) == "feed:main"
    other = signal(issue=Issue.DATA_DRIFT, model="heart")
    blurred = [
        signal(name="camera", issue=Issue.DATA_QUALITY, subject="1"),
        signal(issue=Issue.ANOMALY),
        signal(State.OK, issue=Issue.DATA_DRIFT),
        other,
    ]
    assert set(grouped(blurred)) == {"pcb:camera:1", "heart:data_drift"}


def test_a_part_of_andon_that_works_again_ends_its_alert(house: House):
    """After two looks at which nothing was wrong."""
    house.alerting.system("policy", "Line 3 is wrong.", title="The policy file cannot be used")
    assert [one.alert_type for one in house.db.alerts.open()] == ["system"]
    for _ in range(2):
        house.alerting.system("policy", "", title="The policy file cannot be used")
    assert house.db.alerts.open() == []


def test_made_up_names_of_cameras_flood_nobody(house: House):
    """However many there are: 25 alerts and one that they share, told once, and over in the end."""

    def cameras(first: int, state: State = State.BAD) -> list[Signal]:
        return [
            signal(state, name="camera", issue=Issue.DATA_QUALITY, subject=f"c{number}")
            for number in range(first, first + 400)
        ]

    for first in (0, 400, 800):
        house.alerting.look(cameras(first))
    keys = house.db.alerts.open_keys()
    assert len(keys) == MOST_OF_A_KIND + 1
    assert "pcb:cameras" in keys
    assert len(house.told()) == MOST_OF_A_KIND + 1
    shared = next(one for one in house.db.alerts.open() if one.group_key == "pcb:cameras")
    assert shared.occurrences == 3
    assert "made up" in shared.message
    for _ in range(2):
        house.alerting.look(cameras(0, State.OK))
    assert house.db.alerts.open_keys() == set()


def test_another_model_and_other_alerts_have_room_of_their_own(house: House):
    """The flood of one model hides nothing of the others."""
    flood = [signal(name="camera", subject=f"c{number}") for number in range(100)]
    house.alerting.look([*flood, signal(name="camera", model="other", subject="line-2")])
    house.alerting.look([*flood, signal(name="error_rate")])
    keys = house.db.alerts.open_keys()
    assert {"other:camera:line-2", "pcb:performance_degradation"} <= keys
