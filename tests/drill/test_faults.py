import threading
import time
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from andon.drill.faults import Fault, FaultyModel
from andon.errors import DeadlineExceeded, RuntimeFailed


class Answer(msgspec.Struct):
    """What a model says of a picture."""

    inference_ms: float = 1.0
    detections: tuple[str, ...] = ("hole",)
    scores: tuple[float, ...] = (0.9,)


class Well:
    """A model with nothing wrong."""

    description: Any = SimpleNamespace(task="detection")
    capacity = 3
    closed = False

    def infer(self, picture: Any, *, deadline: float) -> Any:
        """Find one hole."""
        return Answer()

    def close(self) -> None:
        """Note it."""
        self.closed = True


def asked(model: FaultyModel) -> Any:
    return model.infer(None, deadline=time.monotonic() + 0.05)  # type: ignore[arg-type]


def test_without_a_fault_it_is_the_model_itself():
    """Its answers, what it says of itself, and how many calls it takes at a time."""
    inner = Well()
    model = FaultyModel(inner, None)
    assert asked(model) == Answer()
    assert (model.description, model.capacity) == (inner.description, 3)
    model.close()
    assert inner.closed


def test_each_fault_is_what_it_is_called():
    """Finding nothing, taking longer, failing at once, or at the deadline."""
    model = FaultyModel(Well(), Fault.BLIND)
    assert (asked(model).detections, asked(model).scores) == ((), ())
    model.fault = Fault.SLOW
    slow = asked(model)
    assert slow.detections == ("hole",)
    assert slow.inference_ms > 1.0
    model.fault = Fault.CRASH
    with pytest.raises(RuntimeFailed, match="fire drill"):
        asked(model)
    model.fault = Fault.HANG
    with pytest.raises(DeadlineExceeded, match="fire drill"):
        asked(model)


def test_closing_lets_go_of_whoever_waits_for_one_that_hangs():
    """Long before the deadline, so that a rollback need not wait for it."""
    model = FaultyModel(Well(), Fault.HANG)
    failed: list[Exception] = []

    def wait() -> None:
        try:
            model.infer(None, deadline=time.monotonic() + 600)  # type: ignore[arg-type]
        except DeadlineExceeded as error:
            failed.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    model.close()
    thread.join(30)
    assert len(failed) == 1
