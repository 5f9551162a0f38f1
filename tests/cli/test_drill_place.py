"""Where a drill makes its sandboxes: in a folder of its own, and nothing else is deleted."""

import fcntl
import os
import shutil

import pytest

from andon.cli.drill import MARK
from andon.drill import sandbox
from andon.drill.exercises import DrillReport, Exercise
from andon.settings import Settings


@pytest.fixture
def drilled(monkeypatch):
    """Drills that only make their sandbox; where."""
    made = []

    def drill(_settings, folder, chosen, _tell):
        for name in chosen:
            place = folder / name
            place.mkdir()
            (place / sandbox.MARK).touch()
            made.append(place)
        one = Exercise("x", "X.", passed=True, steps=[], answers=0, failed=0, took_seconds=0.0)
        return DrillReport(at="20261121-101500", passed=True, policy="built in", exercises=[one])

    monkeypatch.setattr("andon.drill.exercises.drill", drill)
    return made


def test_the_mark_is_the_same_for_who_makes_and_who_deletes():
    """The command must start without what the exercises need."""
    assert MARK == sandbox.MARK


def test_only_sandboxes_are_deleted(andon, home, drilled):
    """What somebody keeps in a folder of this name stays, also what a link leads to."""
    mine = home / "drills" / "mine"
    mine.mkdir(parents=True)
    (mine / "photo.txt").write_text("mine")
    killed = home / "drills" / "killed"
    killed.mkdir()
    (killed / MARK).touch()
    (home / "elsewhere").mkdir()
    (home / "elsewhere" / MARK).touch()
    (home / "drills" / "link").symlink_to(home / "elsewhere")
    assert andon("drill", "bad-model").code == 0
    assert (mine / "photo.txt").read_text() == "mine"
    assert (home / "elsewhere" / MARK).exists()
    assert not killed.exists()
    assert drilled
    assert not drilled[0].exists()
    for path in ("mine", "link"):
        found = home / "drills" / path
        found.unlink() if found.is_symlink() else shutil.rmtree(found)
    assert andon("drill", "bad-model").code == 0
    assert not (home / "drills").exists()


def test_a_link_in_its_place_is_refused(andon, home, drilled):
    """Nothing is made or deleted where it leads."""
    (home / "elsewhere" / "killed").mkdir(parents=True)
    (home / "elsewhere" / "killed" / MARK).touch()
    (home / "drills").symlink_to(home / "elsewhere")
    done = andon("drill", "bad-model")
    assert done.code == 1
    assert "no folder of its own" in done.err
    assert (home / "elsewhere" / "killed" / MARK).exists()
    assert drilled == []


def test_a_second_drill_waits_for_the_first(andon, home, drilled):
    """It would delete its sandboxes under it."""
    (home / "drills").mkdir(parents=True)
    held = os.open(home / "drills", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        done = andon("drill", "bad-model")
    finally:
        os.close(held)
    assert done.code == 1
    assert "Another drill" in done.err
    assert drilled == []


def test_no_setting_of_the_installation_leads_out_of_the_sandbox(tmp_path, monkeypatch):
    """Folders, database, log, webhook, broker: whatever is set, in whichever way."""
    outside = tmp_path / "outside"
    for name in ("MODELS_DIR", "UPLOADS_DIR", "REPORTS_DIR", "DEPLOY_DIR", "TRAINING_DIR"):
        monkeypatch.setenv(f"ANDON_{name}", str(outside))
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{outside}/real.db")
    monkeypatch.setenv("ANDON_LOG_FILE", str(outside / "real.log"))
    monkeypatch.setenv("WEBHOOK_URL", "https://hook.example/x")
    monkeypatch.setenv("ANDON_MQTT_URL", "mqtt://broker.example")
    real = Settings(home=tmp_path / "home", _env_file=None)
    made = sandbox.settings_of(real, tmp_path / "box", policy=None)
    inside = str(tmp_path / "box")
    for name in ("models", "deploy", "uploads", "output", "training", "recipes", "data",
                 "reports", "log"):  # fmt: skip
        assert str(getattr(made, name)).startswith(inside), name
    assert str(outside) not in repr(made)
    assert made.url == f"sqlite:///{inside}/andon.db"
    assert not made.webhook_url.get_secret_value()
    assert not made.mqtt_url.get_secret_value()
