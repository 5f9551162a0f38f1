import subprocess
import sys

import msgspec
import pytest

from andon import typed


class Inner(msgspec.Struct):
    """Held by the other."""

    a: int | None = None


class Outer(msgspec.Struct):
    """Holds others."""

    one: Inner
    many: list[Inner] = []


def test_plain_values_become_types_and_what_does_not_fit_is_refused():
    """Both ways in, with msgspec's own errors."""
    plain = {"one": {"a": 1}, "many": [{"a": 2}]}
    assert typed.convert(plain, Outer) == Outer(Inner(1), [Inner(2)])
    assert typed.decode(msgspec.json.encode(plain), Outer) == Outer(Inner(1), [Inner(2)])
    assert typed.convert({"a": "3"}, Inner, strict=False) == Inner(3)
    with pytest.raises(msgspec.ValidationError, match="one"):
        typed.convert({"one": 1}, Outer)
    with pytest.raises(msgspec.DecodeError):
        typed.decode(b"{", Outer)


_RACE = """
import sys, threading, types
from andon import typed

sys.setswitchinterval(1e-6)
SOURCE = '''
import msgspec
class Inner(msgspec.Struct):
    a: int | None = None
class Outer(msgspec.Struct):
    one: Inner
    many: list[Inner] = []
'''
for number in range(300):
    module = types.ModuleType(f"made_{number}")
    sys.modules[module.__name__] = module
    exec(SOURCE, module.__dict__)
    start = threading.Barrier(6)

    def first(kind=module.Outer, start=start):
        start.wait()
        typed.convert({"one": {"a": 1}, "many": [{"a": 2}]}, kind)
        typed.decode(b'{"one": {"a": 1}}', kind)

    threads = [threading.Thread(target=first) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("alive")
"""


def test_threads_that_use_a_type_first_at_once_live():
    """In a process of its own: where it goes wrong, that process ends."""
    done = subprocess.run(
        [sys.executable, "-c", _RACE], capture_output=True, text=True, check=False, timeout=100
    )
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
