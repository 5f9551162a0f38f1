import math
import os
import threading
import time
from collections.abc import Callable

import onnxruntime

from andon.runtimes.watchdog import Watchdog


def until(condition: Callable[[], bool], patience: float = 20.0) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def test_a_run_past_its_deadline_is_stopped_and_others_go_on():
    """ONNX Runtime is told through the run's own options."""
    watchdog = Watchdog()
    late, patient = onnxruntime.RunOptions(), onnxruntime.RunOptions()
    watchdog.enter(patient, time.monotonic() + 3600)
    watchdog.enter(late, time.monotonic() + 0.05)
    until(lambda: late.terminate)
    assert not patient.terminate


def test_a_run_that_has_ended_is_left_alone():
    """Its options may be another run's by then."""
    watchdog = Watchdog()
    ended, late = onnxruntime.RunOptions(), onnxruntime.RunOptions()
    watchdog.leave(watchdog.enter(ended, time.monotonic() + 0.05))
    watchdog.enter(late, time.monotonic() + 0.1)
    until(lambda: late.terminate)
    assert not ended.terminate


def test_runs_are_watched_after_a_pause_in_which_nothing_ran():
    """The thread sleeps without an end then, and is woken."""
    watchdog = Watchdog()
    first = onnxruntime.RunOptions()
    ticket = watchdog.enter(first, time.monotonic() + 0.05)
    until(lambda: first.terminate)
    watchdog.leave(ticket)
    until(lambda: math.isinf(watchdog._wakes))
    second = onnxruntime.RunOptions()
    watchdog.enter(second, time.monotonic() + 0.05)
    until(lambda: second.terminate)


def test_many_runs_at_once_are_each_stopped_in_their_turn():
    """Deadlines come in any order."""
    watchdog = Watchdog()
    runs = [onnxruntime.RunOptions() for _ in range(40)]

    def enter(number: int) -> None:
        watchdog.enter(runs[number], time.monotonic() + 0.02 * (number * 7 % 40))

    threads = [threading.Thread(target=enter, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: all(run.terminate for run in runs))


def test_a_forked_child_watches_for_itself():
    """It inherits what was written down, and no thread that would look at it."""
    watchdog = Watchdog()
    watchdog.enter(onnxruntime.RunOptions(), time.monotonic() + 3600)
    child = os.fork()
    if child == 0:
        watchdog.reset()
        late = onnxruntime.RunOptions()
        watchdog.enter(late, time.monotonic() + 0.05)
        end = time.monotonic() + 20
        while not late.terminate and time.monotonic() < end:
            time.sleep(0.005)
        os._exit(0 if late.terminate else 1)
    assert os.waitpid(child, 0)[1] == 0
