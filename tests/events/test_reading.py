"""What arrives, read: good rows become rows of the store, bad ones say why."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.floor import MINUTE, at, state, units

from andon.errors import InvalidRequest, UnreadableEvents
from andon.events import readers
from andon.events.reading import (
    Reading,
    checked_id,
    read_factory,
    read_factory_lines,
    read_telemetry,
    read_telemetry_lines,
)

NOW = at(12)
GOOD = units(2, at(8), site="north").body()
EYES = {"ear_value": 0.31, "is_drowsy": False, "duration_ms": 120}
CONTEXT: dict[str, Any] = {
    "site": "main",
    "received": NOW,
    "max_ahead": 5 * MINUTE,
    "source": "test",
}
DEEP = b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def factory(body: Any, **more: Any) -> Reading:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_factory(data, **CONTEXT | more)


def telemetry(body: Any, **more: Any) -> Reading:
    return read_telemetry(json.dumps(body).encode(), **CONTEXT | more)


def details(found: Reading) -> list[tuple[int, str]]:
    return [(problem.index, problem.detail) for problem in found.problems]


def test_a_good_event_becomes_a_row():
    """Every member, in the store's units."""
    body = GOOD | {"event_id": "e-1", "camera_id": "c-1", "model_version": 7, "more": [1]}
    (row,) = factory([body]).rows
    assert row.event_id == "e-1"
    assert row.given
    assert row.timestamp == at(8)
    assert (row.worker_id, row.workstation_id, row.event_type) == ("W1", "S1", "product_count")
    assert (row.confidence, row.count, row.site_id) == (0.9, 2, "north")
    assert (row.camera_id, row.model_version) == ("c-1", "7")
    assert (row.source, row.received) == ("test", NOW)


def test_an_array_and_an_envelope_are_the_same():
    """A bare array, or an object with `events`; a byte order mark and blanks are no matter."""
    array = json.dumps([GOOD, GOOD]).encode()
    wanted = factory(array).rows
    assert len(wanted) == 2
    for body in (
        b'{"events": ' + array + b"}",
        b'{"more": {"events": [1]}, "events":' + array + b', "last": NaN}',
        b"\xef\xbb\xbf \r\n" + array + b"\n",
    ):
        assert factory(body).rows == wanted


def test_the_made_id_depends_on_what_identifies_the_event():
    """Time, worker, station, type and site; on nothing else."""
    (first,) = factory([GOOD]).rows
    for same in ({"count": 9}, {"confidence": 0.1}, {"camera_id": "x"}, {"model_version": 3}):
        assert factory([GOOD | same]).rows[0].event_id == first.event_id
    moved = {
        "timestamp": "2026-03-02T08:00:00.000001Z",
        "worker_id": "W2",
        "workstation_id": "S2",
        "event_type": "idle",
        "site_id": "main",
    }
    ids = {factory([GOOD | {name: value}]).rows[0].event_id for name, value in moved.items()}
    assert len(ids | {first.event_id}) == 6
    assert not first.given
    assert first.event_id[14] == "7"


def test_one_event_or_a_batch_where_either_may_come():
    """MQTT messages hold one event or many."""
    for body, total in ((GOOD, 1), ([GOOD], 1), ({"events": [GOOD, GOOD]}, 2), ({}, 1)):
        assert factory(body, shape="any").total == total
    assert factory(GOOD, shape="one").total == 1


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("timestamp", None, "is missing"),
        ("timestamp", 1_772_438_400, "must be a date and time such as 2026-01-31T12:00:00Z"),
        ("timestamp", "soon", "must be a date and time"),
        ("timestamp", "2026-02-30T08:00:00Z", "must be a date and time"),
        ("timestamp", "2026-03-02T08:00:00", "must carry Z or a UTC offset"),
        ("timestamp", "2026-03-02", "must carry Z or a UTC offset"),
        ("timestamp", "1999-12-31T23:59:59Z", "is before the year 2000"),
        ("timestamp", "0001-01-01T00:00:00+23:59", "is before the year 2000"),
        ("timestamp", "2026-03-02T12:05:01Z", "is in the future"),
        ("timestamp", "9999-12-31T23:59:59-23:59", "is in the future"),
        ("worker_id", None, "is missing"),
        ("worker_id", 5, "must be text, not 5"),
        ("worker_id", "", "must not be empty"),
        ("worker_id", "w" * 65, "must have at most 64 characters, not 65"),
        ("worker_id", "w" * 10_000_000, "must have at most 64 characters, not 10000000"),
        ("worker_id", "W\x001", "must not hold characters that cannot be printed"),
        ("event_id", "rejected", "must not be 'rejected', which is an address here"),
        ("event_id", "batch", "must not be 'batch', which is an address here"),
        ("worker_id", "W\n1", "must not hold characters that cannot be printed"),
        ("worker_id", "W\u202e1", "must not hold characters that cannot be printed"),
        ("worker_id", "\ud800", "must not hold characters that cannot be printed"),
        ("worker_id", " W1", "must not begin or end with a blank"),
        ("workstation_id", ["S1"], "must be text, not a list"),
        ("site_id", {}, "must be text, not an object"),
        ("camera_id", True, "must be text, not true"),
        ("event_id", "", "must not be empty"),
        ("model_version", 1.5, "must be text or a whole number, not 1.5"),
        ("model_version", "", "must not be empty"),
        ("event_type", None, "is missing"),
        ("event_type", "asleep", "must be working, idle, absent or product_count, not 'asleep'"),
        ("event_type", 3, "must be working, idle, absent or product_count, not 3"),
        ("confidence", None, "is missing"),
        ("confidence", -0.1, "must be a number from 0 to 1, not -0.1"),
        ("confidence", 1.01, "must be a number from 0 to 1, not 1.01"),
        ("confidence", "0.9", "must be a number from 0 to 1, not '0.9'"),
        ("confidence", True, "must be a number from 0 to 1, not true"),
        ("confidence", float("nan"), "must be a number from 0 to 1, not NaN"),
        ("confidence", float("-inf"), "must be a number from 0 to 1, not -Infinity"),
        ("confidence", 10**400, "must be a number from 0 to 1, not a huge number"),
        ("count", None, "is missing"),
        ("count", 2.5, "must be a whole number from 0 to 1000000, not 2.5"),
        ("count", -1, "must be a whole number from 0 to 1000000, not -1"),
        ("count", 1_000_001, "must be a whole number from 0 to 1000000, not 1000001"),
        ("count", 10**30, "must be a whole number from 0 to 1000000, not 1"),
        ("count", True, "must be a whole number from 0 to 1000000, not true"),
        ("count", "3", "must be a whole number from 0 to 1000000, not '3'"),
        ("count", float("inf"), "must be a whole number from 0 to 1000000, not Infinity"),
    ],
)
def test_a_bad_field_is_named_and_sinks_no_other_row(field: str, value: Any, said: str):
    """The reason names the field, what it must be and what it was."""
    found = factory([GOOD, GOOD | {field: value}, GOOD])
    assert found.places == [0, 2]
    ((index, detail),) = details(found)
    assert index == 1
    assert detail.startswith(f"{field}: {said}")
    assert len(detail) < 200
    assert found.problems[0].field == field


def test_numbers_no_float_can_hold():
    """1e999 is no JSON number that means anything; it costs its row."""
    row = json.dumps(GOOD).encode()
    bad = row.replace(b"0.9", b"1e999")
    found = factory(b"[" + bad + b"," + row + b"]")
    assert details(found) == [(0, "confidence: must be a number from 0 to 1, not Infinity")]


def test_every_wrong_field_is_named():
    """One look is enough to mend them all."""
    (problem,) = factory([{"confidence": 2, "count": 1}]).problems
    assert [error.field for error in problem.errors] == [
        "timestamp",
        "worker_id",
        "workstation_id",
        "event_type",
        "confidence",
    ]


def test_what_is_taken_with_good_will():
    """5.0 is a whole number, ISO 8601 has many spellings, null is absent, states have no count."""
    for more in (
        {"count": 2.0},
        {"timestamp": "2026-03-02T08:00Z"},
        {"timestamp": "20260302T090000+0100"},
        {"timestamp": "2026-03-02 08:00:00Z"},
        {"camera_id": None, "event_id": None, "model_version": None},
    ):
        (row,) = factory([GOOD | more]).rows
        assert row == factory([GOOD]).rows[0]
    for count in ("many", -5, [], 10**400):
        (row,) = factory([state("idle", at(8)).body() | {"count": count}]).rows
        assert row.count == 0


def test_the_edges_of_what_is_taken():
    """The limits themselves are inside."""
    for more in (
        {"confidence": 0},
        {"confidence": 1},
        {"count": 0},
        {"count": 1_000_000},
        {"worker_id": "w" * 64},
        {"timestamp": "2000-01-01T00:00:00Z"},
        {"timestamp": "2026-03-02T12:05:00Z"},
    ):
        assert len(factory([GOOD | more]).rows) == 1


def test_times_are_exact_to_the_microsecond():
    """No float is involved."""
    (row,) = factory([GOOD | {"timestamp": "2026-03-02T08:00:00.123457Z"}]).rows
    assert row.timestamp == at(8) + 123_457


def test_of_a_name_given_twice_the_last_counts():
    """As JSON readers do it."""
    data = json.dumps(GOOD).encode().replace(b"{", b'{"worker_id":"W9",', 1)
    assert factory(b"[" + data + b"]").rows[0].worker_id == "W1"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"[]", "is empty"),
        (b'{"events": []}', "is empty"),
        (b"[{", "is not JSON"),
        (b"garbage", "is not JSON"),
        (b'[{"a": 1}] and more', "is not JSON"),
        (b'[{"a": 1}', "is not JSON"),
        (b'[{"a": 1}}', "is not JSON"),
        (b'[{"a": "1}]', "is not JSON"),
        (b"\xff\xff\xff", "is not JSON"),
        ("[1]".encode("utf-16"), "UTF-16"),
        ("[1]".encode("utf-16-le"), "UTF-16"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_json_is_unreadable(body: bytes, said: str):
    """Nothing of it can be used."""
    with pytest.raises(UnreadableEvents, match=said):
        factory(body)


@pytest.mark.parametrize(
    "body", [b"{}", b"null", b"5", b'"x"', b'{"events": 5}', b'{"events": null}', b'{"event": []}']
)
def test_json_of_another_shape_is_refused(body: bytes):
    """With the shape that is wanted."""
    with pytest.raises(InvalidRequest, match="array") as refused:
        factory(body)
    assert refused.value.errors[0]["field"] == "events"


@pytest.mark.parametrize("body", [b"[]", b"5", b'{"events": []}', b"[{}]"])
def test_where_one_event_is_wanted_a_batch_is_refused(body: bytes):
    """It says where batches go."""
    with pytest.raises(InvalidRequest, match="/batch"):
        factory(body, shape="one")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b"NaN", "must be a JSON object, not NaN"),
        (b"5", "must be a JSON object, not 5"),
        (b"null", "must be a JSON object, not null"),
        (b"[{}]", "must be a JSON object, not a list"),
        (b'"{"', "must be a JSON object"),
        (b"", "is not JSON"),
        (b'{"a" 1}', "is not JSON"),
        (b'{"a": "\xff"}', "is not UTF-8"),
        (b'{"a": 1} {"b": 2}', "is not JSON"),
        (DEEP, "is nested too deeply"),
    ],
)
@pytest.mark.parametrize("envelope", [False, True])
def test_a_row_that_is_no_event_sinks_no_other(bad: bytes, said: str, envelope: bool):
    """Even where it is not JSON at all, as long as its brackets close."""
    row = json.dumps(GOOD | {"note": 'a "}" and ["'}).encode()
    body = b"[" + row + b"," + bad + b" ," + row + b"]"
    found = factory(b'{"a": [{}], "events" : ' + body + b"}" if envelope else body)
    assert found.places == [0, 2]
    ((index, detail),) = details(found)
    assert index == 1
    assert said in detail


def test_large_bodies_are_read_row_by_row(monkeypatch: pytest.MonkeyPatch):
    """With the same result."""
    bodies = [GOOD | {"count": n} for n in range(50)]
    bodies[20] = GOOD | {"count": -1}
    at_once = factory(bodies)
    monkeypatch.setattr(readers, "_AT_ONCE", 0)
    assert factory(bodies) == at_once
    assert at_once.places == [n for n in range(50) if n != 20]


def test_lines_are_read_one_by_one():
    """Blank lines do not count as events; a bad line costs itself."""
    row = json.dumps(GOOD).encode()
    lines = [row, b"", b" \r", row + b"\r", b"{", row + row, b"x" * 70_000, b"\xff", DEEP[:60_000]]
    found = read_factory_lines(lines, first=100, **CONTEXT)
    assert found.places == [100, 103]
    assert [problem.index for problem in found.problems] == [104, 105, 106, 107, 108]
    assert found.total == 7
    assert "longer than 65536 bytes" in found.problems[2].detail


def test_a_site_may_be_the_only_one():
    """A topic's site binds the events in it; where they name none, it is theirs."""
    with_none = {name: value for name, value in GOOD.items() if name != "site_id"}
    found = factory([GOOD, with_none, GOOD | {"site_id": "main"}], only_site=True)
    assert details(found) == [(0, "site_id: must be 'main', as its topic says")]
    assert {row.site_id for row in found.rows} == {"main"}


def test_ids_are_checked_the_same_everywhere():
    """`checked_id` is for names from elsewhere, such as topics."""
    assert checked_id("north hall") == "north hall"
    for bad in ("", " a", "a\n", "x" * 65):
        with pytest.raises(ValueError, match="must"):
            checked_id(bad)


def test_the_memory_of_checked_ids_is_bounded(monkeypatch: pytest.MonkeyPatch):
    """Somebody may send a new id with every event."""
    monkeypatch.setattr(readers, "_MOST_CHECKED", 10)
    readers._checked.clear()
    factory([GOOD | {"worker_id": f"W{n}"} for n in range(100)])
    assert len(readers._checked) <= 10


def test_a_measurement_becomes_a_row():
    """What is not said of it is unknown."""
    (row,) = telemetry([EYES]).rows
    assert (row.timestamp, row.received, row.given) == (NOW, NOW, False)
    assert (row.driver_id, row.device_id, row.site_id) == ("", "", "main")
    assert (row.ear_value, row.is_drowsy, row.duration_ms) == (0.31, False, 120.0)
    (row,) = telemetry(
        [EYES | {"driver_id": "D1", "device_id": "", "timestamp": "2026-03-02T08:00:00Z"}]
    ).rows
    assert (row.driver_id, row.device_id, row.timestamp) == ("D1", "", at(8))


def test_without_a_time_a_measurement_is_never_a_repeat():
    """With one, time, driver, device and site identify it."""
    ids = {row.event_id for row in telemetry([EYES] * 5).rows}
    assert len(ids) == 5
    timed = EYES | {"timestamp": "2026-03-02T08:00:00Z"}
    ids = {row.event_id for row in telemetry([timed, timed | {"ear_value": 0.1}]).rows}
    assert len(ids) == 1
    ids = {
        telemetry([timed | {name: "x"}]).rows[0].event_id
        for name in ("driver_id", "device_id", "site_id")
    }
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("ear_value", None, "is missing"),
        ("ear_value", float("nan"), "must be a number from 0 to 2, not NaN"),
        ("ear_value", 2.1, "must be a number from 0 to 2, not 2.1"),
        ("ear_value", False, "must be a number from 0 to 2, not false"),
        ("is_drowsy", 1, "must be true or false, not 1"),
        ("is_drowsy", None, "is missing"),
        ("duration_ms", -1, "must be a number from 0 to 86400000, not -1"),
        ("duration_ms", "5", "must be a number from 0 to 86400000, not '5'"),
        ("timestamp", "2026-03-02T08:00:00", "must carry Z or a UTC offset"),
        ("timestamp", "2026-03-02T13:00:00Z", "is in the future"),
        ("driver_id", 7, "must be text, not 7"),
        ("device_id", "d\x00", "must not hold characters that cannot be printed"),
        ("event_id", "x" * 65, "must have at most 64 characters"),
        ("site_id", "", "must not be empty"),
    ],
)
def test_a_bad_measurement_is_explained(field: str, value: Any, said: str):
    """As factory events are."""
    found = telemetry([EYES, EYES | {field: value}])
    assert found.places == [0]
    ((_, detail),) = details(found)
    assert detail.startswith(f"{field}: {said}")


def test_telemetry_by_line():
    """The same reader."""
    lines = [json.dumps(EYES).encode(), b"{}", b""]
    found = read_telemetry_lines(lines, **CONTEXT)
    assert found.places == [0]
    assert [problem.index for problem in found.problems] == [1]


_anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=70)
    | st.sampled_from(["W1", "working", "product_count", "2026-03-02T08:00:00Z", 0.5, 3]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_members = st.fixed_dictionaries({}, optional=dict.fromkeys([*GOOD, *EYES, "event_id"], _anything))


@settings(max_examples=60)
@given(st.lists(st.one_of(_members.map(lambda more: GOOD | EYES | more), _anything), min_size=1))
def test_whatever_comes_each_row_is_either_used_or_explained(bodies: list[Any]):
    """Nothing is lost, nothing is invented, and the fast path agrees with the slow one."""
    data = json.dumps(bodies).encode()
    for read, lines in (
        (read_factory, read_factory_lines),
        (read_telemetry, read_telemetry_lines),
    ):
        found = read(data, **CONTEXT)
        places = sorted([*found.places, *(problem.index for problem in found.problems)])
        assert places == list(range(len(bodies)))
        one_by_one = lines([json.dumps(body).encode() for body in bodies], **CONTEXT)
        assert one_by_one.places == found.places
        assert details(one_by_one) == details(found)


@given(st.binary(max_size=200))
def test_no_bytes_are_a_surprise(data: bytes):
    """Unreadable, of a wrong shape, or rows that are explained."""
    try:
        found = factory(b"[" + data + b"]")
    except (UnreadableEvents, InvalidRequest):
        return
    assert found.total
    assert not found.rows
