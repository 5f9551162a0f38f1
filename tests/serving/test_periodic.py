"""Small things done again and again on one thread."""

import threading

from andon.errors import Unavailable
from andon.serving.periodic import Periodic

_WAIT = 10.0


def test_one_that_fails_keeps_no_other_from_its_turn():
    """Whatever the first raises, the second is called in the same round, and in the next."""
    twice = threading.Event()
    calls = []

    def fail() -> None:
        calls.append("fail")
        raise ValueError if len(calls) > 2 else Unavailable("Not now.")

    def work() -> None:
        calls.append("work")
        if calls.count("work") == 2:
            twice.set()

    periodic = Periodic("test", 0.01, fail, work, at_once=True)
    periodic.start()
    assert twice.wait(_WAIT)
    periodic.stop()
    assert calls[:4] == ["fail", "work", "fail", "work"]


def test_the_first_round_waits_unless_told_otherwise():
    """Without `at_once`, nothing is called before the first interval is over."""
    calls = []
    periodic = Periodic("test", 60.0, lambda: calls.append(1))
    periodic.start()
    periodic.stop()
    assert calls == []
