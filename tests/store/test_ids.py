import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.store import ids
from andon.store.clock import now
from andon.store.ids import uuid7, uuid7_floor, uuid7_of

_moments = st.datetimes(
    min_value=datetime(1971, 1, 1),
    max_value=datetime(2200, 1, 1),
    timezones=st.just(UTC),
)


def test_an_id_is_a_uuid_of_version_7():
    """Python's own parser agrees on version, variant and spelling."""
    made = uuid7()
    parsed = uuid.UUID(made)
    assert (parsed.version, parsed.variant, str(parsed)) == (7, uuid.RFC_4122, made)


def test_the_time_of_an_id_is_now():
    """The first 48 bits are the milliseconds since 1970."""
    milliseconds = uuid.UUID(uuid7()).int >> 80
    assert abs(milliseconds / 1000 - now().timestamp()) < 5


def test_ids_grow_within_a_process():
    """Sorting ids as text is sorting by age, also within one millisecond."""
    made = [uuid7() for _ in range(20_000)]
    assert made == sorted(set(made))


def test_ids_of_many_threads_are_all_different():
    """Threads never hand out the same id, and each sees its own grow."""
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda _: [uuid7() for _ in range(2_000)], range(8)))
    assert all(part == sorted(part) for part in parts)
    assert len({one for part in parts for one in part}) == 16_000


@given(st.lists(st.integers(min_value=0, max_value=2**47), min_size=1, max_size=50))
def test_ids_grow_whatever_the_clock_does(milliseconds: list[int]):
    """A clock that stands still or is set back does not make an id smaller."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "_last", 0)
        clock = iter(milliseconds)
        patch.setattr(ids.time, "time_ns", lambda: next(clock) * 1_000_000)
        made = [uuid7() for _ in milliseconds]
    assert made == sorted(set(made))


def test_a_forked_process_makes_other_ids():
    """A child that inherited the state does not repeat its parent's ids."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, uuid7().encode())
        os._exit(0)
    ours = uuid7()
    os.waitpid(child, 0)
    theirs = os.read(reading, 36).decode()
    os.close(reading)
    os.close(writing)
    assert ours[19:] != theirs[19:]


@given(_moments, _moments)
def test_floors_are_ordered_like_their_moments(one: datetime, other: datetime):
    """A filter on ids is a filter on time, to the millisecond."""
    if abs(one - other) >= timedelta(milliseconds=1):
        assert (uuid7_floor(one) < uuid7_floor(other)) == (one < other)


def test_the_floor_of_a_moment_is_below_the_ids_made_since():
    """An id made after a moment is not smaller than its floor."""
    floor = uuid7_floor(now())
    assert floor <= uuid7() < uuid7_floor(now() + timedelta(seconds=1))


def test_a_time_without_a_zone_has_no_floor():
    """A guess about the zone would be wrong silently."""
    with pytest.raises(ValueError, match="zone"):
        uuid7_floor(datetime(2026, 1, 1))


@given(st.integers(0, 2**47 * 1000), st.binary(max_size=40))
def test_a_made_id_is_a_uuid_of_version_7(micros: int, key: bytes):
    """With the time of the thing, and the same for the same thing."""
    made = uuid7_of(micros, key)
    parsed = uuid.UUID(made)
    assert (parsed.version, parsed.variant, str(parsed)) == (7, uuid.RFC_4122, made)
    assert parsed.int >> 80 == micros // 1000
    assert uuid7_of(micros, key) == made


def test_made_ids_of_different_things_differ():
    """Seventy-four bits of a hash tell them apart, also within one millisecond."""
    made = {uuid7_of(micros % 1000, str(micros).encode()) for micros in range(20_000)}
    assert len(made) == 20_000
    bits = [sum(uuid.UUID(one).int >> bit & 1 for one in made) for bit in range(62)]
    assert all(9_000 < count < 11_000 for count in bits)
