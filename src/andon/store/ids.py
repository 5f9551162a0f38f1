"""Identifiers that outsiders see: UUIDs of version 7 (RFC 9562, section 5.7) as text.

They start with the time, so sorting them is sorting by age, inserting them appends to an
index, and a moment can be turned into the smallest id of that moment.
"""

import hashlib
import os
import threading
import time
from datetime import datetime

MAX_ID = 64
"""Characters of an id that somebody outside chose."""

_RANDOM_BITS = 74
_MAX_MS = (1 << 48) - 1
# The two bits of the variant in front of two random bits, by the hexadecimal digit these are
# taken from.
_VARIANTS = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))

# A system call per id would be a twentieth of a row's way through the server.
_DRAWN_AT_ONCE = 1024
_ENTROPY_BYTES = 10

_lock = threading.Lock()
_last = 0
_pool = b""
_pool_at = 0


def uuid7() -> str:
    """A new id, greater than every id this process handed out before.

    Within one millisecond, and while the clock stands still or runs backwards, the random
    part grows by a random step (RFC 9562, section 6.2, method 2). The random part comes from
    the operating system. Safe in threads, and after a fork, which takes nothing of it along.
    """
    global _last, _pool, _pool_at
    milliseconds = time.time_ns() // 1_000_000
    with _lock:
        if _pool_at == len(_pool):
            _pool, _pool_at = os.urandom(_DRAWN_AT_ONCE * _ENTROPY_BYTES), 0
        entropy = int.from_bytes(_pool[_pool_at : _pool_at + _ENTROPY_BYTES], "big")
        _pool_at += _ENTROPY_BYTES
        value = milliseconds << _RANDOM_BITS | entropy >> (80 - _RANDOM_BITS)
        if milliseconds <= _last >> _RANDOM_BITS:
            value = _last + 1 + (entropy & 0xFFFF_FFFF)
        _last = value
    return _text(value)


def _after_fork() -> None:
    """Two processes must not use the same random numbers; and nobody holds the lock here."""
    global _lock, _pool, _pool_at
    _lock = threading.Lock()
    _pool, _pool_at = b"", 0


os.register_at_fork(after_in_child=_after_fork)


def uuid7_floor(moment: datetime) -> str:
    """The smallest id of the millisecond of `moment`: ``id >= floor`` means "since then".

    Args:
        moment: An aware time; before 1970 counts as 1970.

    Raises:
        ValueError: `moment` carries no UTC offset, so it names no moment.
    """
    if moment.tzinfo is None:
        raise ValueError("a time without a zone names no moment; give it a UTC offset")
    milliseconds = min(max(int(moment.timestamp() * 1000), 0), _MAX_MS)
    return _text(milliseconds << _RANDOM_BITS)


def uuid7_of(micros: int, key: bytes) -> str:
    """The id of something that has none of its own: the same for the same time and key.

    Its time is that of the thing, and its 74 random bits are BLAKE2b of `key`, so it sorts
    among other ids by age, and a repeat of the thing finds the first one.

    Args:
        micros: Microseconds since 1970 UTC, not negative.
        key: Everything that tells the thing from others; should include its exact time.
    """
    time_part = f"{micros // 1000:012x}"
    digits = hashlib.blake2b(key, digest_size=10).hexdigest()
    return (
        f"{time_part[:8]}-{time_part[8:]}-7{digits[:3]}-"
        f"{_VARIANTS[digits[3]]}{digits[4:7]}-{digits[7:19]}"
    )


def _text(value: int) -> str:
    """Lay 48 bits of time and 74 random bits around version and variant."""
    time_part = value >> _RANDOM_BITS & _MAX_MS
    random_a = value >> 62 & 0xFFF
    random_b = value & ((1 << 62) - 1)
    number = time_part << 80 | 0x7 << 76 | random_a << 64 | 0b10 << 62 | random_b
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def id_problem(value: str) -> str:
    """What is wrong with an id that somebody outside chose; empty when nothing is."""
    if not value:
        return "must not be empty"
    if len(value) > MAX_ID:
        return f"must have at most {MAX_ID} characters, not {len(value)}"
    if not value.isprintable():
        return "must not hold characters that cannot be printed"
    if value != value.strip():
        return "must not begin or end with a blank"
    return ""
