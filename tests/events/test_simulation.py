"""The simulator: the same seed gives the same, and what it gives could have been."""

import math
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.errors import UnusableUpload
from andon.events.drives import Drive, Frame, fatigue, measurements, read_trace, replay
from andon.events.reading import read_factory, read_telemetry
from andon.events.simulation import Shift, delivered, happened, roster
from andon.store.clock import micros

START = datetime(2026, 3, 2, 6, tzinfo=UTC)
LATER = micros(START + timedelta(days=30))

shifts = st.builds(
    Shift,
    st.just(START),
    workers=st.integers(1, 8),
    stations=st.integers(1, 8),
    hours=st.floats(0.1, 5),
    seed=st.integers(0, 2**32),
    outages=st.floats(0, 20),
    late=st.floats(0, 1),
    duplicates=st.floats(0, 1),
)

few = settings(max_examples=15, deadline=None)


@few
@given(shift=shifts)
def test_the_same_seed_gives_the_same_shift(shift):
    """To the microsecond and the id; the order of arrival too."""
    assert happened(shift) == happened(shift)
    assert list(delivered(shift)) == list(delivered(shift))


@few
@given(shift=shifts)
def test_another_seed_gives_another_shift(shift):
    """No event of one is in the other."""
    other = msgspec.structs.replace(shift, seed=shift.seed + 1)
    ids = {event["event_id"] for event in happened(shift)}
    assert ids.isdisjoint(event["event_id"] for event in happened(other))


@few
@given(shift=shifts)
def test_lateness_outages_and_repeats_change_no_event(shift):
    """What arrives is what happened: each at least once, nothing else, in order of arrival."""
    there = {event["event_id"]: event for event in happened(shift)}
    arrived = list(delivered(shift))
    assert {e["event_id"]: e for one in arrived for e in one.events} == there
    assert all(one.at < other.at for one, other in pairwise(arrived))
    assert all(
        event["timestamp"] < one.at + timedelta(seconds=1)
        for one in arrived
        for event in one.events
    )
    plain = msgspec.structs.replace(shift, late=0, duplicates=0, outages=0)
    assert happened(plain) == list(there.values())
    assert sum(len(one.events) for one in delivered(plain)) == len(there)


@few
@given(shift=shifts)
def test_every_event_is_one_the_server_takes(shift):
    """Each field is valid, ids do not repeat, and everybody in it is on the roster."""
    events = happened(shift)
    body = msgspec.json.encode(events)
    reading = read_factory(
        body, site="main", received=LATER, max_ahead=0, source="test", shape="batch"
    )
    assert reading.problems == []
    assert len({row.event_id for row in reading.rows}) == len(events)
    workers, stations = roster(shift)
    assert {event["worker_id"] for event in events} == set(workers)
    assert {event["workstation_id"] for event in events} <= set(stations)
    end = START + timedelta(hours=shift.hours, seconds=1)
    assert all(START <= event["timestamp"] < end for event in events)


@few
@given(seed=st.integers(0, 2**32))
def test_a_day_is_believable(seed):
    """Eight hours: breaks are taken, most of the time is work, units come at a human pace."""
    shift = Shift(START, workers=3, seed=seed)
    events = happened(shift)
    # A camera whose clock is ahead may date the last unit after the end of the shift.
    last = [event for event in events if event["event_type"] != "product_count"][-1]
    assert last["event_type"] == "absent"
    for worker in roster(shift)[0]:
        own = [event for event in events if event["worker_id"] == worker]
        states = [event for event in own if event["event_type"] != "product_count"]
        # Sorted by the camera's clock, so a repeat may stand a moment on the wrong side.
        spent: Counter[str] = Counter()
        for event, after in pairwise(states):
            lasts = (after["timestamp"] - event["timestamp"]).total_seconds()
            assert lasts < 1800
            spent[event["event_type"]] += lasts
        assert 4.5 * 3600 < spent["working"] < 7.2 * 3600
        assert 2700 < spent["absent"] < 2.5 * 3600
        assert spent["idle"] < 1.5 * 3600
        units = sum(event.get("count", 0) for event in own)
        assert 50 < units / (spent["working"] / 3600) < 160


def test_two_sometimes_share_a_station():
    """Workers change their place, also to one that is taken."""
    places: dict[str, set[str]] = {}
    for event in happened(Shift(START)):
        places.setdefault(event["worker_id"], set()).add(event["workstation_id"])
    assert max(map(len, places.values())) > 1
    assert sum(map(len, places.values())) > 6


@few
@given(seed=st.integers(0, 2**32), hour=st.integers(0, 23))
def test_drives_repeat_and_are_valid(seed, hour):
    """Same seed, same eyes; the server takes every measurement."""
    drive = Drive(START.replace(hour=hour), drivers=2, hours=0.02, seed=seed)
    items = list(measurements(drive))
    assert items == list(measurements(drive))
    assert len(items) == 2 * 720
    assert all(one["timestamp"] <= other["timestamp"] for one, other in pairwise(items))
    reading = read_telemetry(
        msgspec.json.encode(items),
        site="main",
        received=LATER,
        max_ahead=0,
        source="test",
        shape="batch",
    )
    assert reading.problems == []
    assert len({row.event_id for row in reading.rows}) == len(items)
    for item in items:
        assert item["is_drowsy"] == (item["duration_ms"] >= 500)


def test_the_night_makes_tired():
    """Four in the morning is worse than noon, and hours at the wheel add to it."""
    assert fatigue(1, 4, 1) > fatigue(1, 12, 1)
    assert fatigue(6, 12, 1) > fatigue(1, 12, 1)
    drowsy = {
        hour: sum(
            item["is_drowsy"]
            for item in measurements(Drive(START.replace(hour=hour), rate=2, hours=1.5))
        )
        for hour in (3, 13)
    }
    assert drowsy[3] > 3 * drowsy[13]


TRACE = "Frame,EAR_r,EAR_l\n0,0.3,0.28\n1,0.1,0.12\n2,0.1,0.1\n3,,0.1\n4,0.1,0.1\n6,0.3,0.3\n"


def test_a_trace_becomes_what_the_device_would_have_sent():
    """The mean of both eyes, the time closed so far; a frame without a face ends a closure."""
    frames = list(read_trace(TRACE.splitlines()))
    assert frames[0] == Frame(0, pytest.approx(0.29))
    assert frames[3] == Frame(3, None)
    sent = list(
        replay(
            frames, fps=10, start=START, threshold=0.2, drowsy_after=0.2,
            further={"driver_id": "D1"},
        )
    )  # fmt: skip
    assert [item["duration_ms"] for item in sent] == [0, 100, 200, 100, 0]
    assert [item["is_drowsy"] for item in sent] == [False, False, True, False, False]
    assert sent[-1]["timestamp"] == START + timedelta(seconds=0.6)
    assert sent[0]["driver_id"] == "D1"


def test_half_a_second_is_half_a_second_at_any_rate():
    """Fifteen frames at thirty per second are drowsy, fourteen are not."""
    frames = [Frame(number, 0.1) for number in range(7, 40)]
    sent = list(replay(frames, fps=30, start=START, threshold=0.2))
    assert [item["is_drowsy"] for item in sent] == [False] * 14 + [True] * 19


@given(ears=st.lists(st.one_of(st.none(), st.floats(0, 0.5)), max_size=60), fps=st.floats(1, 240))
def test_a_closure_is_as_long_as_its_frames(ears, fps):
    """Measured against the plain rule: count backwards to the last frame that was not closed."""
    frames = [Frame(number, ear) for number, ear in enumerate(ears)]
    sent = iter(replay(frames, fps=fps, start=START, threshold=0.2))
    for number, ear in enumerate(ears):
        if ear is None:
            continue
        closed = 0
        while closed <= number and (one := ears[number - closed]) is not None and one < 0.2:
            closed += 1
        assert next(sent)["duration_ms"] == pytest.approx(closed / fps * 1000, abs=0.001)
    assert list(sent) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column"),
        ("Frame,Left\n0,1\n", "EAR_r"),
        ("Frame,EAR\n0,closed\n", "Line 2"),
        ("Frame,EAR_r,EAR_l\n0,0.3\n", "Line 2"),
    ],
)
def test_a_file_that_is_no_trace_is_named(text, words):
    """What is missing, or which line."""
    with pytest.raises(UnusableUpload, match=words):
        list(read_trace(text.splitlines()))


def test_a_trace_with_one_column_counts_its_own_frames():
    """EAR alone is enough; a negative value is a closed eye."""
    noise = random.Random(1)
    values = [noise.uniform(-0.1, 0.4) for _ in range(50)]
    frames = list(read_trace(["ear", *map(str, values)]))
    assert [frame.number for frame in frames] == list(range(50))
    assert all(
        math.isclose(frame.ear or 0.0, max(0.0, value))
        for frame, value in zip(frames, values, strict=True)
    )
