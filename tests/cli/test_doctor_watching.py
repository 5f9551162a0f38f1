"""`andon doctor` and watching: policy, webhook, who watches, what waits to be told."""

from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.hooks import Hooks

from andon.cli.checkup import State, watching
from andon.cli.checkup.finding import Finding
from andon.settings import Settings
from andon.store.clock import now
from andon.store.database import Database


def found(settings: Settings) -> dict[str, Finding]:
    """The findings by what was looked at."""
    return {finding.check: finding for finding in watching.examine(settings)}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An installation whose database is there."""
    Database(tmp_path / "andon.db").close()
    return tmp_path


def test_a_new_installation_is_fine(tmp_path: Path, home: Path) -> None:
    """Without a database, and with an empty one."""
    assert {one.state for one in found(Settings(home=tmp_path / "none")).values()} == {State.OK}
    findings = found(Settings(home=home))
    assert {one.state for one in findings.values()} == {State.OK}
    assert set(findings) == {"policy", "watching"}


def test_a_policy_file_that_cannot_be_used_is_named(home: Path) -> None:
    """With the line that is wrong, or that the file of the settings is missing."""
    settings = Settings(home=home)
    settings.policy.write_text("this is no policy")
    policy = found(settings)["policy"]
    assert policy.state is State.FAIL
    assert "Line 1" in policy.detail
    missing = found(Settings(home=home, policy_file=home / "other.toml"))["policy"]
    assert missing.state is State.FAIL
    assert "is not there" in missing.detail


def test_a_webhook_is_tried_without_sending_anything(home: Path) -> None:
    """A closed port is a warning that keeps the address's secret; no web address is a failure."""
    hooks = Hooks()
    settings = Settings(home=home, webhook_url=hooks.url, webhook_timeout=2)
    assert found(settings)["webhook"].state is State.OK
    hooks.stop()
    assert hooks.got == []
    away = found(settings)["webhook"]
    assert away.state is State.WARN
    assert "Connection refused" in away.detail
    assert "secret-path" not in away.detail
    assert found(Settings(home=home, webhook_url="mailto:me"))["webhook"].state is State.FAIL


def test_it_says_when_the_models_were_last_looked_at(home: Path) -> None:
    """A holder that looks at nothing is worth a warning; a server that is off is none."""
    db = Database(home / "andon.db")
    settings = Settings(home=home)
    db.schedules.set_up("watch", "60 s", now())
    assert "were last looked at" in found(settings)["watching"].detail
    state = db.schedules.get("watch")
    assert state is not None
    db.schedules.advance(state, "60 s", now() - timedelta(hours=1))
    assert found(settings)["watching"].state is State.OK
    db.leases.take("watch", "box:1", 60)
    stuck = found(settings)["watching"]
    assert stuck.state is State.WARN
    assert "box:1 holds the lease, and has not looked" in stuck.detail
    assert found(Settings(home=home, monitor=False))["watching"].state is State.WARN
    db.close()


def test_notifications_that_wait_or_were_given_up_are_told(home: Path) -> None:
    """Only those that wait for long, with the receiver's last words, and those nobody will get."""
    db = Database(home / "andon.db")
    first = db.outbox.add(None, "webhook", "alert", {})
    second = db.outbox.add(None, "webhook", "alert", {})
    assert "notifications" not in found(Settings(home=home))
    db.outbox.failed(first, "answered 500", now())
    with db.write() as connection:
        connection.exec_driver_sql("UPDATE notifications SET created_at = '2026-01-01T00:00:00Z'")
    waiting = found(Settings(home=home))["notifications"]
    assert waiting.state is State.WARN
    assert "2 notifications are not told yet" in waiting.detail
    assert "answered 500" in waiting.detail
    db.outbox.failed(first, "no", None)
    db.outbox.sent(second)
    with db.write() as connection:
        connection.exec_driver_sql(
            f"UPDATE notifications SET created_at = '{now():%Y-%m-%dT%H:%M:%S.000000Z}'"
        )
    assert "1 notification is given up" in found(Settings(home=home))["notifications"].detail
    db.close()


def test_a_critical_alert_is_named(home: Path) -> None:
    """With the command that shows it."""
    db = Database(home / "andon.db")
    alert, _ = db.alerts.see(
        "k", alert_type="camera", severity="critical", title="pcb: camera 1 is sick", message="."
    )
    finding = found(Settings(home=home))["alerts"]
    assert finding.detail == "A critical alert is open: pcb: camera 1 is sick."
    assert finding.advice == f"andon alerts show {alert.alert_id[-8:]}"
    db.close()
