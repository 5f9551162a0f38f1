"""Models that go wrong on purpose, around one that does not."""

import threading
import time
from enum import StrEnum

import msgspec

from andon.errors import DeadlineExceeded, RuntimeFailed
from andon.runtimes.base import Inference, LoadedModel, ModelDescription, Picture

# Of the model alone: decoding and logging take their time beside it, and twice the whole is bad.
_SLOWER = 6.0


class Fault(StrEnum):
    """How a model goes wrong."""

    BLIND = "blind"
    SLOW = "slow"
    CRASH = "crash"
    HANG = "hang"


class FaultyModel:
    """Answers like another model, but for its fault.

    Args:
        model: What answers; closed with this one.
        fault: What is wrong with it: "blind" finds nothing, "slow" takes six times as long,
            "crash" fails every time, "hang" does not answer until the deadline. None: nothing
            yet; it can be set while it answers.
    """

    def __init__(self, model: LoadedModel, fault: Fault | None) -> None:
        self._model = model
        self.fault = fault
        self._closed = threading.Event()

    @property
    def description(self) -> ModelDescription:
        """What the model says of itself."""
        return self._model.description

    @property
    def capacity(self) -> int:
        """Calls to `infer` that can make progress at a time."""
        return self._model.capacity

    def infer(self, picture: Picture, *, deadline: float) -> Inference:
        """Answer one picture, wrongly.

        Raises:
            DeadlineExceeded: It hangs.
            RuntimeFailed: It crashes.
        """
        if self.fault is Fault.CRASH:
            raise RuntimeFailed("The runtime was killed (fire drill).", hint="Nothing: a drill.")
        if self.fault is Fault.HANG:
            self._closed.wait(max(0.0, deadline - time.monotonic()))
            raise DeadlineExceeded("The runtime hangs (fire drill).", hint="Nothing: a drill.")
        began = time.perf_counter()
        said = self._model.infer(picture, deadline=deadline)
        if self.fault is None:
            return said
        if self.fault is Fault.SLOW:
            extra = (time.perf_counter() - began) * (_SLOWER - 1)
            time.sleep(extra)
            return msgspec.structs.replace(said, inference_ms=said.inference_ms + extra * 1000)
        return msgspec.structs.replace(said, detections=(), scores=())

    def close(self) -> None:
        """Free everything, and let go of whoever waits."""
        self._closed.set()
        self._model.close()
