"""`andon mlflow`: what is there, what is sent, and MLflow's own pages."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from tests.cli.conftest import Andon
from tests.support import trained

from andon import Database
from andon.store.ids import uuid7
from andon.training import mlflow_mirror

pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")


@pytest.fixture(autouse=True)
def the_local_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """No address is set, also where the tests' surroundings set one."""
    monkeypatch.setenv("ANDON_MLFLOW_TRACKING_URI", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def has_trained(home: Path) -> str:
    """A training that has ended in this home; its id."""
    home.mkdir(parents=True, exist_ok=True)
    run_id = uuid7()
    trained.folder(home / "training" / run_id, name="heart")
    db = Database(home / "andon.db")
    version = db.models.add(
        "heart", filename="m.onnx", file_hash="ab" * 32, file_size=9, format="onnx", source="upload"
    )
    db.training.create(
        model="heart", recipe="heart", options={}, source="cli", run_id=run_id, worker="w"
    )
    db.training.finish(run_id, "w", report={}, version_id=version.id, stage="Done.")
    db.close()
    return run_id


@pytest.mark.slow
def test_sync_sends_what_was_trained_before(andon: Andon, home: Path) -> None:
    """A training from before stands in the local store afterwards."""
    run_id = has_trained(home)
    sent = andon("mlflow", "sync", "--json")
    assert sent.code == 0, sent.err
    assert sent.json["trainings"] == [run_id]
    assert (home / "mlflow" / "mlflow.db").exists()


def test_status_tells_what_is_there(
    andon: Andon, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address, the experiments, the aliases."""
    there = {
        "experiments": {"heart": 3},
        "models": {"heart": {"versions": 2, "aliases": {"production": "1", "staging": "2"}}},
    }
    monkeypatch.setattr(mlflow_mirror, "look", lambda settings: there)
    done = andon("mlflow", "status")
    lines = [line.split() for line in done.out.splitlines()]
    assert ["On:", f"sqlite:///{home}/mlflow/mlflow.db"] in lines
    assert ["heart", "3"] in lines
    assert ["heart", "2", "production", "v1,", "staging", "v2"] in lines
    assert andon("mlflow", "status", "--json").json["experiments"] == {"heart": 3}


def test_sync_says_how_much_it_sent(andon: Andon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts, aliases, and what could not be used."""
    sent = {
        "trainings": ["a", "b"],
        "unusable": ["c: no report"],
        "models": {"heart": {"added": [1], "aliases": {"production": 1}}},
        "days": [],
    }
    monkeypatch.setattr(mlflow_mirror.Mirror, "send", lambda self: sent)
    done = andon("mlflow", "sync")
    assert "Sent: 2 trainings, 1 versions, 0 days of telemetry." in done.out
    assert "heart: production v1" in done.out
    assert "Not sent: c: no report" in done.err


def test_status_says_why_it_is_off(andon: Andon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off is a state, not an error."""
    monkeypatch.setenv("ANDON_MLFLOW_TRACKING_URI", "off")
    done = andon("mlflow", "status")
    assert (done.code, done.out) == (0, "Off: ANDON_MLFLOW_TRACKING_URI is off.\n")
    assert andon("mlflow", "status", "--json").json["on"] is False


@pytest.mark.parametrize("command", ["ui", "sync"])
def test_without_the_extra_the_way_to_install_it_is_shown(
    command: str, andon: Andon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line and the command, not a traceback."""
    monkeypatch.setattr(mlflow_mirror, "find_spec", lambda name: None)
    done = andon("mlflow", command)
    assert done.code == 1
    assert "pip install 'andon[mlflow]'" in done.err


def test_ui_of_a_server_that_runs_is_its_address(
    andon: Andon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the password in it."""
    monkeypatch.setenv("ANDON_MLFLOW_TRACKING_URI", "https://me:s3cret-word@mlflow.example")
    done = andon("mlflow", "ui")
    assert done.out == "MLflow runs already. Open https://***@mlflow.example\n"


def test_a_taken_port_is_told_at_once(andon: Andon) -> None:
    """Before MLflow has been started for nothing."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = andon("mlflow", "ui", "--port", taken.getsockname()[1])
    assert done.code == 1
    assert "already in use" in done.err
    assert "--port" in done.err


@pytest.mark.slow
def test_ui_opens_mlflows_pages_and_leaves_nothing_behind(home: Path) -> None:
    """The address answers; SIGTERM, as Ctrl+C, ends the server and its children."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "andon.cli.main", "mlflow", "ui", "--port", str(port)]
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "ANDON_HOME": str(home)},
    )
    try:
        assert running.stdout is not None
        lines = []
        for line in running.stdout:
            lines.append(line.strip())
            if line.startswith("Stop"):
                break
        assert f"Open http://127.0.0.1:{port}" in lines
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as page:
            assert b"MLflow" in page.read()
    finally:
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=60)
    assert running.returncode == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
