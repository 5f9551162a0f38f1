import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from andon.errors import Conflict, NotFound
from andon.store import alerts
from andon.store.alerts import ANDON, Alerts, key_of
from andon.store.clock import now
from andon.store.database import Database
from andon.store.outbox import Outbox

DRIFT: dict[str, Any] = {
    "alert_type": "data_drift",
    "severity": "warning",
    "title": "pcb: the data have moved",
    "message": "Brightness moved by 0.4.",
    "model": "pcb",
    "model_version": 3,
}


@pytest.fixture
def kept(db: Database) -> Alerts:
    return Alerts(db)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Moves the time that alerts see."""
    begin = now()

    def by(**ahead: float) -> None:
        monkeypatch.setattr(alerts, "now", lambda: begin + timedelta(**ahead))

    return by


def test_a_cause_that_is_seen_again_is_the_same_alert(kept: Alerts):
    """Counted, with the newest words; the title and the moment it began stay."""
    first, raised = kept.see("pcb:data_drift", **DRIFT)
    assert raised
    assert (first.status, first.occurrences, first.evidence) == ("active", 1, {})
    newer = {**DRIFT, "message": "It moved by 0.6.", "model_version": 4, "title": "Other"}
    again, raised = kept.see("pcb:data_drift", **newer, evidence={"href": "/drift"})
    assert not raised
    assert again.alert_id == first.alert_id
    assert (again.occurrences, again.message) == (2, "It moved by 0.6.")
    assert (again.title, again.created_at, again.model_version) == (
        DRIFT["title"],
        first.created_at,
        4,
    )
    assert again.evidence == {"href": "/drift"}
    assert again.seen_at >= first.seen_at
    assert kept.open() == [again] == [kept.get(first.alert_id)]


def test_the_severity_of_an_open_alert_only_grows(kept: Alerts):
    """And one that was acknowledged as less is active again when it gets worse."""
    first, _ = kept.see("k", **DRIFT)
    kept.acknowledge(first.alert_id, "Ada")
    less, _ = kept.see("k", **{**DRIFT, "severity": "info"})
    assert (less.severity, less.status) == ("warning", "acknowledged")
    worse, raised = kept.see("k", **{**DRIFT, "severity": "critical"})
    assert not raised
    assert (worse.severity, worse.status, worse.acknowledged_by) == ("critical", "active", "")


def test_two_quiet_looks_in_a_row_resolve_an_alert(kept: Alerts):
    """One look is not enough, and one in between that sees it begins anew."""
    first, _ = kept.see("k", **DRIFT)
    assert kept.quiet("k") is None
    kept.see("k", **DRIFT)
    assert kept.quiet("k") is None
    done = kept.quiet("k", notes="Back at 0.01.")
    assert done is not None
    assert (done.alert_id, done.status, done.resolved_by) == (first.alert_id, "resolved", ANDON)
    assert (done.resolution_notes, done.resolved_at is not None) == ("Back at 0.01.", True)
    assert kept.quiet("k") is None
    assert kept.open() == []


def test_a_cause_that_comes_back_after_it_was_gone_is_raised_anew(kept: Alerts):
    """As another alert that counts from one."""
    first, _ = kept.see("k", **DRIFT)
    kept.quiet("k", looks=1)
    second, raised = kept.see("k", **DRIFT)
    assert raised
    assert second.alert_id != first.alert_id
    assert second.occurrences == 1


def test_what_was_resolved_by_hand_is_not_raised_again_while_its_cause_stays(kept: Alerts):
    """The resolved alert is answered, so that nobody is told twice."""
    first, _ = kept.see("k", **DRIFT)
    kept.resolve(first.alert_id, "Ada", "New lamp ordered")
    same, raised = kept.see("k", **DRIFT)
    assert not raised
    assert (same.alert_id, same.status, same.resolved_by) == (first.alert_id, "resolved", "Ada")
    assert kept.open_keys() == set()
    assert kept.awaited_keys() == {"k"}


def test_what_was_resolved_by_hand_is_raised_again_once_it_was_quiet(kept: Alerts):
    """One look without the cause is enough."""
    first, _ = kept.see("k", **DRIFT)
    kept.resolve(first.alert_id, "Ada")
    assert kept.quiet("k") is None
    assert kept.awaited_keys() == set()
    _, raised = kept.see("k", **DRIFT)
    assert raised


def test_what_was_resolved_by_hand_is_raised_again_after_an_hour(kept: Alerts, clock: Any):
    """And not a minute before, while its cause stays."""
    first, _ = kept.see("k", **DRIFT)
    kept.resolve(first.alert_id, "Ada")
    clock(minutes=59)
    assert not kept.see("k", **DRIFT)[1]
    clock(minutes=61)
    assert kept.awaited_keys() == set()
    assert kept.see("k", **DRIFT)[1]


def test_a_clock_that_was_set_back_by_a_day_silences_nothing(kept: Alerts, clock: Any):
    """A resolution that lies in the future holds nothing back."""
    first, _ = kept.see("k", **DRIFT)
    kept.resolve(first.alert_id, "Ada")
    clock(hours=-24)
    assert kept.see("k", **DRIFT)[1]


def test_what_was_resolved_by_hand_is_raised_again_when_it_gets_worse(kept: Alerts):
    """At once, when the severity has grown."""
    first, _ = kept.see("k", **DRIFT)
    kept.resolve(first.alert_id, "Ada")
    assert kept.see("k", **{**DRIFT, "severity": "critical"})[1]


def test_the_first_who_acknowledges_is_named(kept: Alerts):
    """A second one changes nothing."""
    first, _ = kept.see("k", **DRIFT)
    taken = kept.acknowledge(first.alert_id, "Ada")
    assert (taken.status, taken.acknowledged_by) == ("acknowledged", "Ada")
    assert kept.acknowledge(first.alert_id, "Grace") == taken


def test_nothing_is_done_to_a_resolved_alert_or_to_none(kept: Alerts):
    """The error says who resolved it and when."""
    first, _ = kept.see("k", **DRIFT)
    kept.resolve(first.alert_id, "Ada")
    with pytest.raises(Conflict, match="was resolved by Ada at"):
        kept.resolve(first.alert_id, "Grace")
    with pytest.raises(Conflict, match="was resolved by Ada"):
        kept.acknowledge(first.alert_id, "Grace")
    with pytest.raises(NotFound, match="There is no alert nothing"):
        kept.get("nothing")
    with pytest.raises(NotFound):
        kept.acknowledge("nothing", "Ada")


def test_pages_are_newest_first_and_filtered(kept: Alerts):
    """Through all pages: every alert once."""
    made = [
        kept.see(f"k{number}", **{**DRIFT, "severity": severity, "model": model})[0].alert_id
        for number, (severity, model) in enumerate(
            [
                ("info", "pcb"),
                ("critical", "pcb"),
                ("warning", None),
                ("warning", "heart"),
                ("info", "pcb"),
            ]
        )
    ]
    kept.acknowledge(made[1], "Ada")
    kept.resolve(made[0], "Ada")
    found, cursor = [], None
    while True:
        rows, cursor = kept.page(limit=2, before=cursor)
        found += [row.alert_id for row in rows]
        if cursor is None:
            break
    assert found == made[::-1]
    ids = lambda **given: [row.alert_id for row in kept.page(**given)[0]]  # noqa: E731
    assert ids(status="open") == made[:0:-1]
    assert ids(status="acknowledged") == [made[1]]
    assert ids(severity="info", model="pcb") == [made[4], made[0]]
    assert [row.alert_id for row in kept.open("heart")] == [made[3]]
    assert kept.counts() == {
        ("info", "resolved"): 1, ("info", "active"): 1, ("critical", "acknowledged"): 1,
        ("warning", "active"): 2,
    }  # fmt: skip


def test_one_of_many_processes_raises_it(db: Database, kept: Alerts):
    """However many see it at once: one row, and every one of them counted."""
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda _: kept.see("k", **DRIFT), range(24)))
    assert sum(raised for _, raised in seen) == 1
    assert {alert.alert_id for alert, _ in seen} == {kept.open()[0].alert_id}
    assert kept.open()[0].occurrences == 24


def test_an_alert_and_its_notification_are_kept_together_or_not_at_all(db: Database, kept: Alerts):
    """A crash between the two would lose either; they are one transaction."""
    outbox = Outbox(db)

    def tell(connection: Any, alert: Any) -> None:
        outbox.add(connection, "webhook", "alert", {"alert_id": alert.alert_id})
        if alert.group_key == "crash":
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        kept.see("crash", **DRIFT, tell=tell)
    assert (kept.open(), outbox.waiting()) == ([], 0)
    kept.see("k", **DRIFT, tell=tell)
    kept.see("k", **DRIFT, tell=tell)
    assert outbox.waiting() == 1
    kept.quiet("k", looks=1, tell=tell)
    assert outbox.waiting() == 2


def test_odd_characters_and_long_texts_from_outside_are_taken(kept: Alerts):
    """A camera may be called anything, and a number may be none."""
    odd = {"signals": [{"subject": "a\x00b\ud800", "value": float("nan"), "more": (1, 2)}]}
    long = {**DRIFT, "title": "t" * 300, "message": "m\x00" * 9000}
    alert, _ = kept.see("k" * 400, **long, evidence=odd)
    assert alert.evidence["signals"][0] == {"subject": "ab?", "value": None, "more": [1, 2]}
    assert (len(alert.title), len(alert.message)) == (255, 9000)
    assert alert.group_key == key_of("k" * 400)
    assert key_of("k" * 400) != key_of("k" * 401)
    assert not kept.see("k" * 400, **long)[1]


class Life(RuleBasedStateMachine):
    """Any order of seeing, quiet looks, acknowledging and resolving, against a plain model."""

    keys = Bundle("keys")
    template: Path

    @initialize()
    def open_database(self) -> None:
        """A database of its own, and a model of it."""
        self.folder = mkdtemp()
        self.db = Database(Path(shutil.copy(self.template, Path(self.folder) / "andon.db")))
        self.kept = Alerts(self.db)
        # By key: id, status, quiet looks, and whether it holds its cause back.
        self.known: dict[str, dict[str, Any]] = {}
        self.ids: list[str] = []

    @rule(target=keys, key=st.sampled_from(["a", "b"]))
    def a_key(self, key: str) -> str:
        """One of few, so that they meet."""
        return key

    @rule(key=keys)
    def see(self, key: str) -> None:
        """Raised where none is open and none holds the cause back."""
        alert, raised = self.kept.see(key, **DRIFT)
        before = self.known.get(key)
        expected = before is None or (before["status"] == "resolved" and not before["holds"])
        assert raised == expected
        if raised:
            assert alert.alert_id not in self.ids
            self.ids.append(alert.alert_id)
            self.known[key] = {"id": alert.alert_id, "status": "active", "quiet": 0, "holds": False}
        else:
            assert alert.alert_id == self.known[key]["id"]
            self.known[key]["quiet"] = 0

    @rule(key=keys)
    def quiet(self, key: str) -> None:
        """The second in a row resolves."""
        found = self.kept.quiet(key)
        known = self.known.get(key)
        if known is None or known["status"] == "resolved":
            assert found is None
            if known is not None:
                known["holds"] = False
            return
        known["quiet"] += 1
        assert (found is not None) == (known["quiet"] >= 2)
        if found is not None:
            known.update(status="resolved", holds=False)

    @rule(key=keys)
    def acknowledge(self, key: str) -> None:
        """Refused once it is resolved."""
        known = self.known.get(key)
        if known is None:
            return
        if known["status"] == "resolved":
            with pytest.raises(Conflict):
                self.kept.acknowledge(known["id"], "Ada")
            return
        known["status"] = self.kept.acknowledge(known["id"], "Ada").status
        assert known["status"] == "acknowledged"

    @rule(key=keys)
    def resolve(self, key: str) -> None:
        """By hand: holds the cause back."""
        known = self.known.get(key)
        if known is None:
            return
        if known["status"] == "resolved":
            with pytest.raises(Conflict):
                self.kept.resolve(known["id"], "Ada")
            return
        self.kept.resolve(known["id"], "Ada")
        known.update(status="resolved", holds=True)

    @invariant()
    def one_is_open_per_key_at_most(self) -> None:
        """And it has the status the model says."""
        if not hasattr(self, "kept"):
            return
        rows = self.kept.open()
        expected = {key for key, known in self.known.items() if known["status"] != "resolved"}
        assert sorted(row.group_key for row in rows) == sorted(expected)
        assert {row.group_key: row.status for row in rows} == {
            key: self.known[key]["status"] for key in expected
        }

    def teardown(self) -> None:
        """Close and remove it."""
        if hasattr(self, "db"):
            self.db.close()
            shutil.rmtree(self.folder)


def test_whatever_happens_in_whatever_order_an_alert_is_raised_once(migrated_file: Path):
    """A state machine of see, quiet, acknowledge and resolve."""
    Life.template = migrated_file
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=12,
            stateful_step_count=16,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
