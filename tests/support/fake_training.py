"""A training process that does as it is told: well or badly. Imports nothing of Andon.

``python fake_training.py HOW OUTCOME RUNDIR``: HOW names a function below, OUTCOME is a folder
with the ``report.json`` and ``model.onnx`` that a good training leaves.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path


def say(**line: object) -> None:
    """One line of the protocol."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def good(outcome: Path, place: Path) -> int:
    """Trains, as it should."""
    request = json.loads((place / "request.json").read_text())
    say(event="stage", stage="Reading the data", progress=0.1)
    report = {"origin": "memory", "digest": "00", "rows": 10, "columns": 2}
    (place / "data_report.json").write_text(json.dumps(report))
    say(event="data", report=report)
    say(event="say", text="Model Metrics:")
    say(event="candidate", candidate={"name": "logistic-regression", "seconds": 0.1})
    say(event="stage", stage="Measuring", progress=0.9)
    sys.stderr.write(f"seed {request.get('seed')}\n")
    if not request.get("check_only"):
        for name in ("model.onnx", "report.json"):
            shutil.copy(outcome / name, place / name)
    return 0


def slow(outcome: Path, place: Path) -> int:
    """Trains for a second."""
    say(event="stage", stage="Taking its time", progress=0.5)
    time.sleep(1)
    return good(outcome, place)


def hang(_outcome: Path, _place: Path) -> int:
    """Never ends by itself."""
    say(event="stage", stage="Hanging", progress=0.5)
    time.sleep(600)
    return 0


def deaf(outcome: Path, place: Path) -> int:
    """Never ends, and ignores SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return hang(outcome, place)


def once(outcome: Path, place: Path) -> int:
    """Hangs at the first attempt, works at the second."""
    mark = outcome / "tried"
    if mark.exists():
        return good(outcome, place)
    mark.touch()
    return hang(outcome, place)


def garbage(outcome: Path, place: Path) -> int:
    """Says what is no message between the messages, and then does its work."""
    out = sys.stdout.buffer
    for line in (
        b"\x00\xff\xfe not text\n",
        b'{"event":"stage"}\n',
        b'{"event":"unknown","progress":1}\n',
        b'{"event":"stage","stage":"x","progress":"much"}\n',
        b"[" * 100_000 + b"\n",
        b"{" * 100_000 + b"\n",
        b'{"event":"say","text":"' + b"x" * 3_000_000 + b'"}\n',
        b"\x1b[31mred\x1b[0m\rover\n",
        b'{"event":"stage","stage":"Beyond","progress":7}\n',
    ):
        out.write(line)
    out.flush()
    return good(outcome, place)


def flood(_outcome: Path, _place: Path) -> int:
    """Says far too much."""
    line = b"y" * 999 + b"\n"
    for _ in range(14_000):
        sys.stdout.buffer.write(line)
    return 1


def endless(_outcome: Path, _place: Path) -> int:
    """One line without an end."""
    for _ in range(300):
        sys.stdout.buffer.write(b"z" * 10_000)
    sys.stdout.buffer.write(b"\nlast words\n")
    return 1


def crash(_outcome: Path, _place: Path) -> int:
    """Ends with a traceback."""
    raise RuntimeError("out of luck")


def kill(_outcome: Path, _place: Path) -> int:
    """Is killed."""
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def refuse(_outcome: Path, _place: Path) -> int:
    """Refuses its data."""
    say(event="refused", error="The target has one class.", hint="Bring rows of both.")
    return 3


def nothing(_outcome: Path, _place: Path) -> int:
    """Ends well without having left anything."""
    return 0


def cut(outcome: Path, place: Path) -> int:
    """Leaves half of a model."""
    good(outcome, place)
    model = place / "model.onnx"
    os.truncate(model, model.stat().st_size // 2)
    return 0


def link(outcome: Path, place: Path) -> int:
    """Leaves a link instead of a model."""
    shutil.copy(outcome / "report.json", place / "report.json")
    (place / "model.onnx").symlink_to(outcome / "model.onnx")
    return 0


def hog(_outcome: Path, _place: Path) -> int:
    """Takes more memory than there is for it."""
    blocks = [bytearray(64 * 1024 * 1024) for _ in range(100)]
    return len(blocks)


def family(_outcome: Path, place: Path) -> int:
    """Starts a process that would live on, and hangs."""
    command = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]
    child = subprocess.Popen(command)
    (place / "grandchild").write_text(str(child.pid))
    say(event="stage", stage="Started", progress=0.1)
    time.sleep(600)
    return 0


def orphan(outcome: Path, place: Path) -> int:
    """Ends well and leaves a process behind that holds its output."""
    command = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"]
    child = subprocess.Popen(command)
    (outcome / "grandchild").write_text(str(child.pid))
    return good(outcome, place)


def surroundings(outcome: Path, _place: Path) -> int:
    """Tells what it finds around itself."""
    found = {
        "environment": dict(os.environ),
        "nice": os.nice(0),
        "memory": resource.getrlimit(resource.RLIMIT_AS)[0],
        "group": os.getpgid(0) == os.getpid(),
        "arguments": Path("/proc/self/cmdline").read_bytes().decode(),
    }
    (outcome / "surroundings.json").write_text(json.dumps(found))
    return 1


def full(_outcome: Path, place: Path) -> int:
    """Writes until the disk is full, as saving a model would."""
    with (place / "model.onnx.part").open("wb") as file:
        for _ in range(100):
            file.write(b"0" * 1024 * 1024)
    return 0


if __name__ == "__main__":
    how, outcome_folder, run_folder = sys.argv[1:]
    sys.exit(globals()[how](Path(outcome_folder), Path(run_folder)))
