"""What one process finds and the others on the same database know."""

from datetime import timedelta

from tests.store.builders import add_version, log

from andon.monitoring import shared as module
from andon.monitoring.monitor import Monitor
from andon.monitoring.shared import Shared
from andon.monitoring.signals import Limits
from andon.serving.cameras import CameraHealth
from andon.settings import Settings
from andon.store import clock
from andon.store.database import Database


def nothing(*_: object) -> None:
    """Nobody wants to know."""


def serving(db: Database) -> None:
    """A version with answers."""
    version = add_version(db)
    db.models.set_active("pcb", 1)
    log(db, version, 30)


def test_the_others_know_the_newest_signals_and_windows(db: Database, tmp_path):
    """Equal to the last number; and who took over goes by what it sees itself."""
    settings = Settings(home=tmp_path, _env_file=None)
    serving(db)
    holder = Monitor(db, settings, shared=Shared(db, 60.0, nothing))
    other = Monitor(db, settings, shared=Shared(db, 60.0, nothing))
    assert other.signals() == []
    assert other.windows() == {}
    holder.look("pcb", Limits())
    holder.tell()
    other = Monitor(db, settings, shared=Shared(db, 60.0, nothing))
    assert len(other.signals()) == len(holder.signals()) > 5
    assert {one.name: one.summary for one in other.signals()} == {
        one.name: one.summary for one in holder.signals()
    }
    assert other.windows() == holder.windows()
    log(db, db.models.get("pcb", 1), 5)
    other.look("pcb", Limits())
    assert other.windows()["pcb"].count == 35
    holder.let_go()
    other.tell()
    fresh = Monitor(db, settings, shared=Shared(db, 60.0, nothing))
    assert fresh.windows()["pcb"].count == 35


def test_what_was_found_long_ago_is_not_shown(db: Database, monkeypatch):
    """Also where the clock was set back; the limit goes with the time between two looks."""
    shared = Shared(db, 60.0, nothing)
    shared.tell({}, [])
    assert shared.newest().at is not None
    real = clock.now()
    for away in (timedelta(minutes=6), timedelta(minutes=-6)):
        monkeypatch.setattr(module.clock, "now", lambda away=away: real + away)
        assert Shared(db, 60.0, nothing).newest().at is None
        assert Shared(db, 600.0, nothing).newest().at is not None


def test_what_another_andon_wrote_is_no_error(db: Database):
    """Two versions of it run side by side while one is replaced by the other."""
    db.watch_state.put("newest", {"windows": {"pcb": {"odd": 1}}, "signals": "none"})
    assert Shared(db, 60.0, nothing).newest().signals == []


def test_usual_sharpness_reaches_every_process(db: Database, tmp_path):
    """Each is told once for each change, and a new process at once."""
    told: list[tuple[object, ...]] = []
    settings = Settings(home=tmp_path, _env_file=None)
    cameras = CameraHealth(settings)
    holder = Shared(db, 60.0, cameras.set_limits)
    other = Shared(db, 60.0, lambda *said: told.append(said))
    other.learn()
    assert told == []
    holder.camera_learned("pcb", 0.25, (640, 480))
    for _ in range(3):
        other.learn()
    assert told == [("pcb", 0.25, (640, 480))]
    holder.camera_learned("pcb", None, None)
    holder.camera_learned("p%", 0.5, None)
    other.learn()
    assert sorted(told[1:], key=str) == [("p%", 0.5, None), ("pcb", None, None)]


def test_one_row_is_kept_of_each_thing(db: Database):
    """The newest; names with signs of patterns are names."""
    state = db.watch_state
    state.put("camera:a_b", 1)
    state.put("camera:a_b", {"x": None})
    state.put("cameraXb", 3)
    found = state.get("camera:a_b")
    assert found is not None
    assert found.value == {"x": None}
    assert set(state.times("camera:")) == {"camera:a_b"}
    state.forget("camera:a_b")
    state.forget("camera:a_b")
    assert state.get("camera:a_b") is None
