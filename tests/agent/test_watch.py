import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from tests.store.builders import add_version

from andon.agent import watch as module
from andon.agent.policy import PolicyFile, default_text
from andon.agent.watch import LEASE, TRIP, Watch
from andon.errors import StorageFull
from andon.jobs.lease import Lease
from andon.monitoring.signals import Issue, Limits, Signal, State
from andon.notify.channels import NotDelivered
from andon.notify.notifier import Notifier
from andon.notify.watch_metrics import WatchMetrics
from andon.serving.tripwire import Trip
from andon.settings import Settings
from andon.store.clock import now
from andon.store.database import Database
from andon.store.outbox import Notification


class Said:
    """A monitor that says what the test wants."""

    def __init__(self) -> None:
        self.signals_of: dict[str, list[Signal] | Exception] = {}
        self.feeds: list[Signal] = []
        self.limits: list[Limits] = []

    def look(self, model: str, limits: Limits) -> list[Signal]:
        """What was set, or the error that was."""
        self.limits.append(limits)
        found = self.signals_of.get(model, [])
        if isinstance(found, Exception):
            raise found
        return found

    def look_candidate(self, *_: Any) -> list[Signal]:
        """Nothing."""
        return []

    def no_candidate(self, _model: str) -> None:
        """Nothing."""

    def look_feeds(self) -> list[Signal]:
        """What was set."""
        return self.feeds

    def windows(self) -> dict[str, Any]:
        """None: history has nothing to keep."""
        return {}

    def signals(self) -> list[Signal]:
        """Everything."""
        return [
            one for found in self.signals_of.values() if isinstance(found, list) for one in found
        ]

    def tell(self) -> None:
        """Nobody is beside it."""

    def let_go(self) -> None:
        """Nothing is kept."""


class Acted:
    """An agent that keeps what it is asked to do."""

    def __init__(self) -> None:
        self.handled: list[list[Any]] = []
        self.trips: list[tuple[str, int, str]] = []
        self.ticks = 0
        self.fails: Exception | None = None

    def handle(self, findings: Any, _moment: Any) -> None:
        """Keep them, unless told to fail."""
        if self.fails is not None:
            raise self.fails
        self.handled.append(list(findings))

    def handle_judgement(self, *_: Any) -> None:
        """Nothing."""

    def tick(self, _moment: Any) -> None:
        """Count."""
        self.ticks += 1

    def trip(self, model: str, version: int, trip: Any) -> None:
        """Keep it."""
        self.trips.append((model, version, trip.summary))


class Wire:
    """A tripwire that trips when the test wants."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[Trip], None]] = []

    def on_trip(self, callback: Callable[[Trip], None]) -> None:
        """Keep it."""
        self.callbacks.append(callback)

    def poll(self) -> list[Trip]:
        """Nothing hangs."""
        return []

    def trip(self, trip: Trip) -> None:
        """Tell it, as from a thread of the tripwire."""
        for callback in self.callbacks:
            callback(trip)


class House:
    """A watch with all it needs, on one database."""

    def __init__(self, db: Database, home: Path, *, alone: bool = True, **given: Any) -> None:
        self.db = db
        self.settings = Settings(home=home, **given)
        self.said, self.acted, self.wire = Said(), Acted(), Wire()
        self.registry = CollectorRegistry()
        self.metrics = WatchMetrics(db, self.registry)
        self.notifier = Notifier(db, self.settings)
        self.lease = Lease(db, LEASE, self.settings.lease_seconds, alone=alone)
        self.policy = PolicyFile(self.settings.policy, self.settings)
        self.watch = Watch(
            db,
            self.settings,
            monitor=self.said,
            agent=self.acted,
            policy=self.policy,
            notifier=self.notifier,
            lease=self.lease,
            tripwire=self.wire,
            metrics=self.metrics,
        )

    def titles(self) -> list[str]:
        """Of the open alerts, the newest first."""
        return [one.title for one in self.db.alerts.open()]

    def value(self, name: str, **labels: str) -> float | None:
        """One sample of Prometheus."""
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "andon.db")
    version = add_version(database)
    database.models.set_active("pcb", version.version)
    yield database
    database.close()


@pytest.fixture
def house(db: Database, tmp_path: Path) -> Iterator[House]:
    """One that holds the lease."""
    found = House(db, tmp_path)
    found.lease.start()
    yield found
    found.watch.stop()


def signal(name: str = "error_rate", state: State = State.BAD, **given: Any) -> Signal:
    about = {
        "issue": Issue.PERFORMANCE,
        "model": "pcb",
        "version": 1,
        "summary": f"{name} is {state}.",
    }
    return Signal(name=name, state=state, **{**about, **given})


def trip(db: Database, version: int = 1) -> Trip:
    found = db.models.get("pcb", version)
    return Trip("pcb", version, found.id, "crash", 5, 8, now(), f"v{version} crashed 5 times.")


def test_a_bad_signal_is_an_alert_a_notification_and_a_finding(house: House):
    """Grouped: the sentences of everything bad, the worst first, with the evidence."""
    house.said.signals_of["pcb"] = [
        signal("latency", severity="warning"),
        signal("error_rate", severity="critical", value=0.4),
        signal("confidence", State.UNKNOWN, issue=Issue.LOW_CONFIDENCE),
    ]
    with capture_logs() as said:
        assert house.watch.tick()
    (alert,) = house.db.alerts.open()
    assert (alert.group_key, alert.severity) == ("pcb:performance_degradation", "critical")
    assert alert.message == "error_rate is bad.\nlatency is bad."
    assert (alert.model, alert.model_version) == ("pcb", 1)
    assert alert.evidence["href"] == "/performance?model=pcb"
    assert [one["name"] for one in alert.evidence["signals"]] == ["error_rate", "latency"]
    assert sum(one["event"].startswith("Alert: pcb: worse") for one in said) == 1
    assert [one.issue for one in house.acted.handled[0]] == [Issue.PERFORMANCE]
    assert (
        house.value(
            "andon_alerts_raised_total", type="performance_degradation", severity="critical"
        )
        == 1
    )
    assert house.value("andon_watch_seconds_count") == 1
    assert house.watch.tick()
    assert house.db.alerts.open()[0].occurrences == 2


def test_an_alert_is_over_when_nothing_of_its_group_is_bad_and_something_is_good(house: House):
    """What cannot be told does neither."""
    house.said.signals_of["pcb"] = [signal("latency"), signal("error_rate", State.OK)]
    house.watch.tick()
    for state in (State.UNKNOWN, State.UNKNOWN, State.OK):
        house.said.signals_of["pcb"] = [signal("latency", state)]
        house.watch.tick()
    assert len(house.titles()) == 1
    with capture_logs() as said:
        house.watch.tick()
    assert house.titles() == []
    assert any(one["event"].startswith("Alert resolved: pcb: worse") for one in said)
    (alert,) = house.db.alerts.page()[0]
    assert alert.resolution_notes == "The cause was gone: latency is ok."


def test_a_sick_camera_is_an_alert_of_its_own_and_no_drift_of_the_model(house: House):
    """The drift it would explain raises nothing; errors and a silent feed still do."""
    house.said.signals_of["pcb"] = [
        signal("camera", issue=Issue.DATA_QUALITY, subject="line-2"),
        signal("drift", issue=Issue.DATA_DRIFT),
        signal("error_rate"),
    ]
    house.said.feeds = [signal("stale_feed", model="", version=None, subject="main/cam-1",
                               issue=Issue.DATA_QUALITY)]  # fmt: skip
    house.watch.tick()
    keys = {one.group_key: one.alert_type for one in house.db.alerts.open()}
    assert keys == {
        "pcb:camera:line-2": "camera",
        "pcb:performance_degradation": "performance_degradation",
        "feed:main/cam-1": "data_quality",
    }


def test_one_stage_that_fails_keeps_none_of_the_others(house: House):
    """It is logged once, shown, and an alert when it lasts; over as soon as it works again."""
    version = add_version(house.db, "heart")
    house.db.models.set_active("heart", version.version)
    house.said.signals_of = {"heart": KeyError("bug"), "pcb": [signal()]}
    house.acted.fails = StorageFull("No room.", hint="Make some.")
    with capture_logs() as said:
        for _ in range(3):
            assert house.watch.tick()
    assert sum("model heart" in one["event"] for one in said) == 1
    status = house.watch.status()
    assert status.problems == {"agent": "No room. Make some.", "model heart": "KeyError: 'bug'"}
    assert "No room." in status.problem
    found = {one.group_key: one for one in house.db.alerts.open()}
    assert set(found) == {"pcb:performance_degradation", "system:watch"}
    assert (
        found["system:watch"].message == "Agent: No room. Make some.\nModel heart: KeyError: 'bug'"
    )
    house.said.signals_of["heart"], house.acted.fails = [], None
    for _ in range(3):
        house.watch.tick()
    assert house.watch.status().problem == ""
    assert set(house.db.alerts.open_keys()) == {"pcb:performance_degradation"}


def test_a_database_that_takes_nothing_for_a_while_ends_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    """Every look says why, and the first one after it goes on as if nothing had been."""
    house.said.signals_of["pcb"] = [signal()]
    write = Database.write

    def full(self: Database) -> Any:
        raise StorageFull("attempt to write a readonly database")

    monkeypatch.setattr(Database, "write", full)
    for _ in range(3):
        assert house.watch.tick()
        house.watch.pulse()
    assert "readonly" in house.watch.status().problem
    assert house.titles() == []
    monkeypatch.setattr(Database, "write", write)
    house.watch.tick()
    assert house.titles() == ["pcb: worse than it should be"]
    assert house.watch.status().problem == ""


def test_a_broken_policy_file_and_a_dead_webhook_are_alerts(house: House):
    """About Andon itself; the numbers are still looked at."""
    house.settings.policy.write_text("this is no policy", encoding="utf-8")
    house.watch.tick()
    (alert,) = house.db.alerts.open()
    assert (alert.group_key, alert.alert_type) == ("system:policy", "system")
    house.settings.policy.write_text(default_text(), encoding="utf-8")
    house.notifier.add(Dead())
    house.notifier.tell("alert", {})
    house.notifier.deliver_once()
    house.watch.tick()
    house.watch.tick()
    assert house.titles() == ["Notifications do not arrive"]


class Dead:
    """A channel that never works."""

    name = "dead"
    seconds = 1.0

    def deliver(self, _: Notification) -> None:
        """Fail."""
        raise NotDelivered("nobody listens")


def test_a_trip_is_acted_on_at_once_where_this_process_watches(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    """An alert, and the agent: the next pulse is woken for it."""
    monkeypatch.setattr(module, "PULSE_SECONDS", 600.0)
    house.watch.start()
    until(lambda: house.acted.ticks > 0)
    house.wire.trip(trip(house.db))
    until(lambda: house.acted.trips)
    assert house.acted.trips == [("pcb", 1, "v1 crashed 5 times.")]
    (alert,) = [one for one in house.db.alerts.open() if one.group_key == f"pcb:v1{TRIP}"]
    assert (alert.severity, alert.title, alert.model_version) == ("critical", "pcb v1 fails", 1)


def test_a_trip_in_a_process_that_does_not_watch_is_acted_on_by_the_one_that_does(
    db: Database, tmp_path: Path
):
    """Through the alert; once, and not where the version serves no more."""
    holder = House(db, tmp_path, alone=False)
    other = House(db, tmp_path, alone=False)
    holder.lease.tend()
    other.lease.tend()
    assert (holder.lease.held(), other.lease.held()) == (True, False)
    other.wire.trip(trip(db))
    other.watch.pulse()
    assert other.acted.trips == []
    for _ in range(3):
        holder.watch.pulse()
    assert holder.acted.trips == [("pcb", 1, "v1 crashed 5 times.")]
    second = add_version(db)
    db.models.set_active("pcb", second.version)
    third = House(db, tmp_path, alone=False)
    holder.lease.stop()
    third.lease.tend()
    third.watch.pulse()
    assert third.acted.trips == []


def test_the_alert_of_a_trip_is_over_when_its_version_answers_no_more(house: House):
    """Or when it answers again."""
    house.wire.trip(trip(house.db))
    house.watch.pulse()
    house.watch.tick()
    house.watch.tick()
    assert house.titles() == ["pcb v1 fails"]
    second = add_version(house.db)
    house.db.models.set_active("pcb", second.version)
    house.watch.tick()
    house.watch.tick()
    assert house.titles() == []
    (alert,) = house.db.alerts.page()[0]
    assert alert.resolution_notes == "Nobody is answered by v1 of pcb any more."


def test_a_version_that_answers_again_ends_the_alert_of_its_trip(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    """Not at once: only when it has answered well for some minutes."""
    house.wire.trip(trip(house.db))
    house.watch.pulse()
    house.said.signals_of["pcb"] = [signal(state=State.OK)]
    house.watch.tick()
    house.watch.tick()
    assert house.titles() == ["pcb v1 fails"]
    later = now() + timedelta(minutes=5)
    monkeypatch.setattr(module, "now", lambda: later)
    house.watch.tick()
    house.watch.tick()
    assert house.titles() == []


def test_a_process_without_the_lease_looks_at_nothing_and_does_nothing(
    db: Database, tmp_path: Path
):
    """And knows who does, and when the last look was."""
    holder, other = House(db, tmp_path, alone=False), House(db, tmp_path, alone=False)
    holder.lease.tend()
    other.lease.tend()
    other.said.signals_of["pcb"] = [signal()]
    assert not other.watch.tick()
    other.watch.pulse()
    assert (other.acted.handled, other.acted.ticks, db.alerts.open()) == ([], 0, [])
    assert other.value("andon_watch_leader") == 0
    assert holder.watch.tick()
    holder.watch.pulse()
    assert holder.value("andon_watch_leader") == 1
    mine, theirs = holder.watch.status(), other.watch.status()
    assert (mine.mine, theirs.mine) == (True, False)
    assert mine.holder == theirs.holder == holder.lease.me
    assert mine.last_look == theirs.last_look
    assert mine.next_look is not None
    assert theirs.next_look is None


def test_a_takeover_is_told(db: Database, tmp_path: Path):
    """Somebody should look whether the other server still runs."""
    first, second = House(db, tmp_path, alone=False), House(db, tmp_path, alone=False)
    first.lease.tend()
    with db.write() as connection:
        connection.exec_driver_sql("UPDATE leases SET until = '2001-01-01T00:00:00.000000Z'")
    second.lease.tend()
    second.watch.pulse()
    second.watch.pulse()
    (alert,) = db.alerts.open()
    assert (alert.group_key, alert.occurrences) == ("system:lease", 1)
    assert first.lease.me in alert.message
    for _ in range(3):
        second.watch.tick()
    assert db.alerts.open() == []


def test_one_that_loses_the_lease_during_a_look_does_not_decide(house: House):
    """Another decides now."""

    def lose(_model: str, _limits: Limits) -> list[Signal]:
        house.lease.stop()
        return [signal()]

    house.said.look = lose  # type: ignore[method-assign]
    house.watch.tick()
    assert house.acted.handled == []
    assert house.titles() == ["pcb: worse than it should be"]


def test_alerts_about_models_that_serve_nothing_any_more_end(house: House):
    """Two quiet looks after the model's last version was switched off."""
    house.said.signals_of["pcb"] = [signal()]
    house.watch.tick()
    with house.db.write() as connection:
        connection.exec_driver_sql("UPDATE model_versions SET is_active = 0")
    house.watch.tick()
    house.watch.tick()
    assert house.titles() == []


def test_alerts_about_a_version_that_was_replaced_end(house: House):
    """Its successor has too few answers to clear them, and is not to blame."""
    house.said.signals_of["pcb"] = [signal()]
    house.watch.tick()
    second = add_version(house.db)
    house.db.models.set_active("pcb", second.version)
    house.said.signals_of["pcb"] = [signal(state=State.UNKNOWN, version=second.version)]
    house.watch.tick()
    house.watch.tick()
    assert house.titles() == []


def test_it_looks_as_often_as_the_settings_say_and_at_once_when_asked(db: Database, tmp_path: Path):
    """And stops within the look that is under way."""
    # Servers of other tests in this process have threads of these names, too.
    before = set(threading.enumerate())
    house = House(db, tmp_path, monitor_interval=0.2)
    house.watch.start()
    mine = [one for one in set(threading.enumerate()) - before if "andon-watch" in one.name]
    assert mine
    until(lambda: len(house.acted.handled) >= 3)
    house.watch.stop()
    assert not any(one.is_alive() for one in mine)
    slow = House(db, tmp_path, monitor_interval=3000)
    slow.watch.start()
    until(lambda: slow.watch.status().next_look is not None and slow.acted.handled)
    slow.watch.look_soon()
    until(lambda: len(slow.acted.handled) == 2)
    slow.watch.stop()


def test_with_watching_off_approved_actions_are_still_done(db: Database, tmp_path: Path):
    """Models are not looked at, and the status says so."""
    house = House(db, tmp_path, monitor=False)
    house.watch.start()
    until(lambda: house.acted.ticks > 0)
    assert house.acted.handled == []
    status = house.watch.status()
    assert (status.enabled, status.last_look, status.next_look) == (False, None, None)
    house.watch.stop()


def test_the_metrics_of_alerts_and_actions_are_read_at_a_scrape(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    """A scrape never fails because the database does."""
    house.said.signals_of["pcb"] = [signal(severity="critical")]
    house.watch.tick()
    assert house.value("andon_alerts_open", severity="critical") == 1
    assert house.value("andon_alerts_open", severity="info") == 0
    assert house.value("andon_notifications_waiting") == 0
    assert house.value("andon_agent_approvals_pending") == 0

    def away(self: Database) -> Any:
        raise StorageFull("away")

    fresh = WatchMetrics(house.db)
    monkeypatch.setattr(Database, "read", away)
    with capture_logs() as said:
        assert fresh.registry.get_sample_value("andon_alerts_open", {"severity": "info"}) is None
        assert fresh.registry.get_sample_value("andon_watch_leader") == 0
    assert len(said) == 1


def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    """Wait for something that a thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def test_a_server_alone_seldom_writes_that_it_looked(db: Database, tmp_path: Path) -> None:
    """A look that finds nothing leaves an SD card alone; the end says when the last one was."""
    house = House(db, tmp_path, alone=True)
    house.lease.start()
    assert house.watch.tick()
    first = db.schedules.get("watch")
    assert house.watch.tick()
    assert db.schedules.get("watch") == first
    last = house.watch.status().last_look
    house.watch.stop()
    noted = db.schedules.get("watch")
    assert first is not None
    assert noted is not None
    assert noted.last_due_at == last
    assert last is not None
    assert last > first.last_due_at
