"""A process that kills itself in the middle of something, without any clean-up.

    python -m tests.serving.crashing HOME ACTION WHEN MODULE:NAME [ARGUMENT]

WHEN is "before" or "after" a call of NAME. ACTION is "deploy" (ARGUMENT is a model file),
"activate" (a version) or "jobs" (a number of jobs; dies in the second call).
"""

import importlib
import os
import signal
import sys
import time
from pathlib import Path

from tests.serving.boards import board

from andon.jobs import queue
from andon.platform import Platform
from andon.settings import Settings


def arm(when: str, where: str, call: int = 1) -> None:
    """Let the process die before or after the n-th call of a function."""
    module, _, name = where.partition(":")
    holder = importlib.import_module(module)
    *owners, last = name.split(".")
    for owner in owners:
        holder = getattr(holder, owner)
    real = getattr(holder, last)
    calls = 0

    def armed(*args, **given):
        nonlocal calls
        calls += 1
        if calls == call and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **given)
        if calls == call and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(holder, last, armed)


def main(home: str, action: str, when: str, where: str, argument: str) -> None:
    """Do it, and die on the way."""
    settings = Settings(home=Path(home), _env_file=None, watch=False, inference_threads=1)
    # Long, so that who waited for it to end would be found waiting.
    queue.LEASE = 600.0
    platform = Platform(settings)
    platform.start()
    if action == "jobs":
        arm(when, where, call=2)
        for number in range(int(argument)):
            platform.predict_later(board(seed=number + 1), image_name=f"{number}.png")
            sys.stdout.write("accepted\n")
            sys.stdout.flush()
        time.sleep(30)
        return
    arm(when, where)
    if action == "activate":
        platform.deployments.activate(None, int(argument), "", "test")
        return
    with platform.deployments.receive() as incoming:
        data = Path(argument).read_bytes()
        incoming.write(data[: len(data) // 2])
        incoming.write(data[len(data) // 2 :])
        received = incoming.finish()
    platform.deployments.deploy(received, filename="new.onnx", source="upload", actor="test")


if __name__ == "__main__":
    main(*sys.argv[1:])
