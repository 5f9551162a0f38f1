"""``kill -9`` of a real server in every phase of a training, and of the training itself."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support import trainings

from andon import Database

ROOT = Path(__file__).parents[2]

# A server without its web: what trains is the same. `pause` waits at a place for ever.
_SERVER = """
import sys, time
from pathlib import Path
from tests.support import trainings
from andon.platform import Platform
from andon.settings import Settings
from andon.training import catalog
home, how, pause = sys.argv[1:4]
catalog.missing_packages = list
platform = Platform(Settings(home=home, _env_file=None, watch=False))
platform.trainings.command = trainings.command(how, Path(home) / "outcome")
def stay(*_, **__):
    Path(home, "paused").touch()
    time.sleep(600)
if pause == "before-registering":
    platform.trainings._register = stay
if pause == "before-finishing":
    platform.db.training.finish = stay
platform.start()
Path(home, "up").touch()
if sys.argv[4:] == ["ask"]:
    print(platform.retrain(source="api", actor="test").id, flush=True)
sys.stdin.read()
platform.stop()
"""


class Installation:
    """A home whose servers come and go."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.server: subprocess.Popen[str] | None = None
        home.mkdir()
        trainings.prepare(home / "outcome")
        self.db = Database(home / "andon.db")

    def start(self, how: str, pause: str = "-", *ask: str) -> None:
        """A server, up."""
        for name in ("up", "paused"):
            (self.home / name).unlink(missing_ok=True)
        self.server = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(self.home), how, pause, *ask],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.until((self.home / "up").exists)

    def kill(self) -> None:
        """As a power cut would."""
        assert self.server is not None
        self.server.kill()
        self.server.communicate()
        self.server = None

    def stop(self) -> None:
        """As an operator would."""
        assert self.server is not None
        self.server.communicate("")
        self.server = None

    def run(self):
        """The only run."""
        ((run,), _) = self.db.training.page()
        return self.db.training.get(run.id)

    def until(self, what) -> None:
        """Wait for it."""
        deadline = time.monotonic() + 30
        while not what():
            assert time.monotonic() < deadline, self.run()
            time.sleep(0.05)

    def said(self, text: str) -> bool:
        """Whether the training has said it."""
        return any(text in log.read_text() for log in (self.home / "training").glob("*/log.txt"))

    def children(self) -> list[int]:
        """Fake trainings of this home that run."""
        found = []
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = place.read_bytes()
            except OSError:
                continue
            if b"fake_training" in words and str(self.home).encode() in words:
                found.append(int(place.parent.name))
        return found

    def versions(self) -> list[int]:
        """Registered ones."""
        return [version.version for version in self.db.models.list("heart-disease")]


@pytest.fixture
def place(tmp_path):
    """An installation without a server yet."""
    made = Installation(tmp_path / "home")
    yield made
    if made.server is not None:
        made.kill()
    made.db.close()


@pytest.mark.slow
def test_killed_while_it_trains_it_is_taken_up_once_more(place):
    """The training dies with its server; the next one begins it again."""
    place.start("once", "-", "ask")
    place.until(lambda: place.said("Hanging"))
    place.kill()
    place.until(lambda: not place.children())
    place.start("once")
    place.until(lambda: place.run().finished)
    assert (place.run().status, place.run().version) == ("succeeded", 1)
    assert place.versions() == [1]


@pytest.mark.slow
def test_killed_twice_it_is_failed(place):
    """It may be what kills the server."""
    place.start("hang", "-", "ask")
    place.until(lambda: place.said("Hanging"))
    place.kill()
    log = next((place.home / "training").glob("*/log.txt"))
    place.start("hang")
    place.until(lambda: log.read_text().count("Hanging") == 2)
    place.kill()
    place.start("hang")
    place.until(lambda: place.run().finished)
    assert place.run().status == "failed"
    assert place.versions() == []
    assert not place.children()


@pytest.mark.slow
@pytest.mark.parametrize("pause", ["before-registering", "before-finishing"])
def test_killed_around_the_registration_there_is_one_version(place, pause):
    """Neither half of one nor two of them; what was trained is not trained again."""
    place.start("good", pause, "ask")
    place.until((place.home / "paused").exists)
    place.kill()
    place.start("crash")
    place.until(lambda: place.run().finished)
    assert (place.run().status, place.run().version) == ("succeeded", 1)
    assert place.versions() == [1]


@pytest.mark.slow
def test_killed_while_it_waits_it_still_comes_to_its_turn(place):
    """It is in the database when it is accepted."""
    place.start("good")
    place.kill()
    place.db.training.create(
        model="heart-disease", recipe="heart-disease", options={"recipe": "x"}, source="api"
    )
    place.start("good")
    place.until(lambda: place.run().finished)
    assert place.run().status == "succeeded"


@pytest.mark.slow
def test_a_server_that_stops_loses_no_attempt(place):
    """The training is ended at once, and begun again by the next start, however often."""
    place.start("hang", "-", "ask")
    place.until(lambda: place.said("Hanging"))
    log = next((place.home / "training").glob("*/log.txt"))
    for count in (2, 3):
        place.stop()
        assert not place.children()
        assert place.run().status == "queued"
        place.start("hang")
        place.until(lambda count=count: log.read_text().count("Hanging") == count)
    place.stop()
    place.start("good")
    place.until(lambda: place.run().finished)
    assert place.versions() == [1]


@pytest.mark.slow
def test_a_training_that_is_killed_fails_alone(place):
    """The server goes on, and the next one can start."""
    place.start("hang", "-", "ask")
    place.until(lambda: place.said("Hanging"))
    for pid in place.children():
        os.kill(pid, signal.SIGKILL)
    place.until(lambda: place.run().finished)
    assert "killed it" in place.run().error
    assert place.versions() == []
    assert place.server.poll() is None
