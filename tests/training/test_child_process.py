import json
import os
import sys
import time
from pathlib import Path

import pytest
from tests.support import fake_training

from andon.training import child_process, messages
from andon.training.child_process import ChildProcess, Log, environment


def run(how: str, tmp_path: Path, look=lambda: "", memory=0):
    """Run a fake training; how it ended, its messages, and its log."""
    place = tmp_path / "run"
    place.mkdir()
    (place / "request.json").write_text("{}")
    (tmp_path / "report.json").write_text("{}")
    (tmp_path / "model.onnx").write_text("model")
    said: list[messages.Line] = []
    log = Log(place / "log.txt")
    command = [sys.executable, fake_training.__file__, how, str(tmp_path), str(place)]
    with ChildProcess(command, folder=place, env=environment(1), memory_bytes=memory) as child:
        ended = child.listen(said.append, log, look)
    log.close()
    return ended, said, (place / "log.txt").read_text()


def gone(pid: int) -> bool:
    """Whether a process ends within seconds: the kernel takes a moment."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in {"Z", "X"}:
            return True
        time.sleep(0.05)
    return False


def test_it_passes_on_messages_and_keeps_the_log(tmp_path):
    """Messages come in order; the log is for people."""
    ended, said, log = run("good", tmp_path)
    assert (ended.code, ended.stopped) == (0, "")
    kinds = [type(message).__name__ for message in said]
    assert kinds == ["Stage", "Checked", "Say", "Scored", "Stage"]
    assert "[ 10%] Reading the data" in log
    assert "Model Metrics:" in log
    assert "seed None" in log


def test_what_is_no_message_goes_to_the_log_only(tmp_path):
    """Hostile lines break nothing, and cannot play with a terminal."""
    ended, said, log = run("garbage", tmp_path)
    assert ended.code == 0
    assert [type(message).__name__ for message in said][:2] == ["Stage", "Stage"]
    assert "\x1b" not in log
    assert "\x00" not in log
    assert max(map(len, log.splitlines())) < 5000


def test_the_log_is_bounded(tmp_path):
    """A training that says too much fills no disk."""
    ended, _, log = run("flood", tmp_path)
    assert ended.code == 1
    assert len(log) <= child_process.MAX_LOG + 100
    assert log.endswith("The log ends here: it holds 10 MiB.\n")


def test_a_line_without_an_end_is_cut(tmp_path):
    """Memory is bounded, and the lines after it are read."""
    ended, _, log = run("endless", tmp_path)
    assert ended.tail[-1] == "last words"
    assert len(log) < 20_000


@pytest.mark.parametrize("how", ["hang", "deaf"])
def test_it_can_be_ended(how, tmp_path, monkeypatch):
    """Also where it ignores the first signal."""
    monkeypatch.setattr(child_process, "_TERM_WAIT", 0.3)
    started = time.monotonic()
    # The signal must find it ready to ignore it.
    ended, _, _ = run(how, tmp_path, lambda: "enough" if time.monotonic() > started + 1 else "")
    assert ended.stopped == "enough"
    assert ended.code < 0
    assert time.monotonic() - started < 5


def test_nothing_that_it_started_lives_on(tmp_path):
    """The whole group goes with it."""
    place = tmp_path / "run" / "grandchild"
    ended, _, _ = run("family", tmp_path, lambda: "enough" if place.exists() else "")
    assert ended.stopped == "enough"
    # It may have been looked at between being made and being filled.
    assert not place.read_text() or gone(int(place.read_text()))


def test_an_end_is_noticed_although_a_child_holds_the_output(tmp_path):
    """A process left behind is ended too, and does not keep anybody waiting."""
    started = time.monotonic()
    ended, _, _ = run("orphan", tmp_path)
    assert ended.code == 0
    assert time.monotonic() - started < 5
    assert gone(int((tmp_path / "grandchild").read_text()))


def test_its_memory_is_limited(tmp_path):
    """It fails, and nothing else on this machine does."""
    ended, _, _ = run("hog", tmp_path, memory=512 * 1024**2)
    assert ended.code == 1
    assert "MemoryError" in ended.tail[-1]


def test_it_knows_nothing_of_our_secrets(tmp_path, monkeypatch):
    """Keys and passwords stay here; threads, priority and memory are limited."""
    monkeypatch.setenv("ANDON_API_KEY", "a-key-that-is-a-secret")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:secret@h/d")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    run("surroundings", tmp_path, memory=1 << 32)
    found = json.loads((tmp_path / "surroundings.json").read_text())
    assert "secret" not in json.dumps(found)
    assert found["environment"]["OMP_NUM_THREADS"] == "1"
    assert found["nice"] == min(19, os.nice(0) + 10)
    assert (found["memory"], found["group"]) == (1 << 32, True)


def test_credentials_of_mlflow_are_passed_on_where_it_is_used(monkeypatch):
    """The training talks to it."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token")
    assert "MLFLOW_TRACKING_TOKEN" not in environment(1)
    assert environment(1, ["MLFLOW_"])["MLFLOW_TRACKING_TOKEN"] == "token"


def test_leaving_the_block_ends_it(tmp_path):
    """Ctrl-C in whoever listens leaves nothing behind."""
    (tmp_path / "request.json").write_text("{}")
    command = [sys.executable, fake_training.__file__, "hang", str(tmp_path), str(tmp_path)]
    env = environment(1)
    with (
        pytest.raises(KeyboardInterrupt),
        ChildProcess(command, folder=tmp_path, env=env, memory_bytes=0) as child,
    ):
        raise KeyboardInterrupt
    assert gone(child.pid)


def test_a_command_that_is_not_there_is_told(tmp_path):
    """The reason stands in the log."""
    log = Log(tmp_path / "log.txt")
    missing = [str(tmp_path / "gone")]
    with ChildProcess(missing, folder=tmp_path, env=environment(1), memory_bytes=0) as child:
        ended = child.listen(lambda _: None, log, lambda: "")
    log.close()
    assert ended.code == 126
    assert "cannot start" in ended.tail[-1]
