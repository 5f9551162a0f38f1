"""`andon serve` and `andon demo`: from nothing to a server with something to see."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import Andon

from andon.cli import train_starter

ANDON = [sys.executable, "-m", "andon.cli.main"]


class Serving:
    """A server in a process of its own, on a free port."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            [*ANDON, "serve", "--port", "0", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.lines: list[str] = []

    def address(self) -> str:
        """Where it answers, read from its first lines."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if line.split()[:1] == ["Stop"]:
                break
        (address,) = [line.split()[1] for line in self.lines if line.split()[:1] == ["Open"]]
        return address

    def stop(self, number: int = signal.SIGINT) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(number)
        self.process.communicate(timeout=60)
        return self.process.returncode


def ended(running: Serving) -> None:
    """Kill a server if a test left it running."""
    if running.process.poll() is None:
        running.process.kill()
        running.process.communicate()


@pytest.fixture
def server(home: Path) -> Iterator[Serving]:
    """A server on the home of this test."""
    running = Serving()
    yield running
    ended(running)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Serving, str, Path]]:
    """A server for the tests that leave it as it is, its address, and its home."""
    home = tmp_path_factory.mktemp("house") / "home"
    running = Serving("--home", str(home))
    yield running, running.address(), home
    ended(running)


def get(address: str) -> dict[str, object]:
    """The JSON at an address."""
    with urllib.request.urlopen(address, timeout=30) as answer:
        document: dict[str, object] = json.load(answer)
        return document


def test_the_first_lines_say_what_to_open_and_try(house: tuple[Serving, str, Path]) -> None:
    """The address answers, and the home, a command to try and how to stop are named."""
    server, address, home = house
    assert get(f"{address}/health")["status"] == "no_model"
    said = "".join(server.lines)
    assert said.startswith("Andon ")
    assert f"curl -F image=@board.jpg {address}/api/predict" in said
    assert str(home) in said
    assert "andon demo" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_server_stops_in_good_order(server: Serving, number: int) -> None:
    """Ctrl+C and SIGTERM both leave with 0."""
    server.address()
    assert server.stop(number) == 0


def test_a_running_server_notices_what_the_terminal_activates(
    server: Serving, andon: Andon, detector: Path
) -> None:
    """`andon models add` beside a server is served by it within seconds."""
    address = server.address()
    assert andon("models", "add", detector).code == 0
    deadline = time.monotonic() + 30
    while get(f"{address}/health")["status"] != "healthy" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert get(f"{address}/health")["active_model"] == 1


def test_a_second_server_on_the_same_home_is_refused(
    house: tuple[Serving, str, Path], andon: Andon
) -> None:
    """Two servers would fight over one folder."""
    done = andon("serve", "--port", 0, "--home", house[2])
    assert done.code == 1
    assert "Another Andon server" in done.err


def test_a_taken_port_is_one_line(
    house: tuple[Serving, str, Path], andon: Andon, tmp_path: Path
) -> None:
    """The error says what to do, before anything was started."""
    port = house[1].rpartition(":")[2]
    done = andon("serve", "--port", port, "--home", tmp_path / "second")
    assert done.code == 1
    assert "already in use" in done.err


def test_an_open_address_without_a_key_is_refused(andon: Andon) -> None:
    """Anything but loopback needs a key."""
    done = andon("serve", "--host", "0.0.0.0")
    assert done.code == 1
    assert "needs an API key" in done.err


def test_demo_brings_a_detector_and_boards(andon: Andon, home: Path) -> None:
    """The starter detector is active, boards are logged and left to try."""
    done = andon("demo", "--boards", 4)
    assert done.code == 0, done.err
    assert done.out.startswith("Registered pcb v1: ")
    assert "Inspected 4 generated boards" in done.out
    (version,) = andon("models", "list", "--json").json
    assert (version["source"], version["is_active"]) == ("starter", True)
    assert version["total_inferences"] == 4
    assert len(list((home / "samples").glob("*.png"))) == 4


def test_demo_if_empty_leaves_a_used_home_alone(andon: Andon) -> None:
    """The second `make run` inspects nothing again."""
    andon("demo", "--boards", 2)
    assert andon("demo", "--boards", 2, "--if-empty").out == ""
    (version,) = andon("models", "list", "--json").json
    assert version["total_inferences"] == 2


def test_demo_uses_the_model_that_is_there(serving: Andon) -> None:
    """Somebody's own model is not replaced by the starter."""
    assert serving("demo", "--boards", 1).code == 0
    (version,) = serving("models", "list", "--json").json
    assert version["filename"] == "spots.onnx"


def test_the_same_seed_gives_the_same_boards(andon: Andon, tmp_path: Path) -> None:
    """Two homes, one seed, equal pictures."""
    boards = []
    for name in ("a", "b"):
        andon("demo", "--boards", 1, "--seed", 5, "--home", tmp_path / name)
        boards.append((tmp_path / name / "samples" / "sample-board-001.png").read_bytes())
    assert boards[0] == boards[1]


def test_doctor_tells_people_and_scripts(serving: Andon, monkeypatch: pytest.MonkeyPatch) -> None:
    """All well: code 0, a line per check; JSON holds the same."""
    monkeypatch.setenv("ANDON_PORT", "0")
    done = serving("doctor")
    assert done.code == 0, done.out
    assert "active model  Active: pcb v1." in done.out
    answer = serving("doctor", "--json").json
    assert answer["ok"]
    assert {finding["check"] for finding in answer["findings"]} >= {"database", "model files"}


def test_doctor_fails_when_something_does(serving: Andon, home: Path) -> None:
    """A damaged active model: code 1, and what to do stands under it."""
    (home / "models" / "pcb" / "model_v1.onnx").write_bytes(b"damaged")
    done = serving("doctor")
    assert done.code == 1
    assert "SHA-256 differs" in done.out
    assert "→ The disk may be failing." in done.out


def test_training_without_its_extra_says_how_to_install_it(
    andon: Andon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No PyTorch is one line and the command, not a traceback."""
    monkeypatch.setattr(train_starter, "find_spec", lambda name: None)
    done = andon("train-starter")
    assert done.code == 1
    assert "pip install 'andon[vision]'" in done.err


def test_a_killed_server_leaves_a_home_that_starts_again(home: Path) -> None:
    """After `kill -9` the next server is not refused."""
    first = Serving()
    first.address()
    first.stop(signal.SIGKILL)
    second = Serving()
    assert get(f"{second.address()}/health/live")
    assert second.stop() == 0


def test_a_key_is_asked_for_where_one_is_required(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ANDON_AUTH=required the line to try carries the key's variable, not the key."""
    secret = "k9-Zx7-Qw3-Lm5-Tt1"
    monkeypatch.setenv("ANDON_AUTH", "required")
    monkeypatch.setenv("ANDON_API_KEY", secret)
    running = Serving()
    address = running.address()
    try:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            get(f"{address}/api/models")
        said = "".join(running.lines)
        assert '-H "X-API-Key: $ANDON_API_KEY"' in said
        assert secret not in said
    finally:
        running.stop()
    assert os.environ["ANDON_API_KEY"] == secret
