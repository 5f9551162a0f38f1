"""The plant whose events the benchmark sends."""

import itertools
import json
from datetime import datetime

from andon.store.clock import micros
from bench import plant


def test_a_day_has_its_number_of_events_in_the_order_of_time():
    """The number of events says how long the history is."""
    for number in range(20_000, 20_000 + plant.DAYS):
        offsets = [moment.offset for moment in plant.day(number)]
        assert len(offsets) == plant.EVENTS_PER_DAY
        assert offsets == sorted(offsets)


def test_no_event_of_the_stream_repeats_another():
    """A duplicate would cost less than an event."""
    events = list(itertools.islice(plant.stream(20_000), 3 * plant.EVENTS_PER_DAY))
    lines = {plant.line(*event) for event in events}
    ids = [plant.row(*event)[0] for event in events]
    assert len(lines) == len(set(ids)) == len(events)
    assert ids == sorted(ids)


def test_a_line_and_a_row_are_the_same_event():
    """Andon and the bare database get the same."""
    for number, moment in itertools.islice(plant.stream(20_000), 500):
        sent = json.loads(plant.line(number, moment))
        row = dict(zip(plant.COLUMNS.split(", "), plant.row(number, moment), strict=True))
        assert micros(datetime.fromisoformat(sent.pop("timestamp"))) == row["timestamp"]
        assert sent == {name: row[name] for name in sent}


def test_a_state_ends_at_the_workers_next_state_or_at_the_longest_gap():
    """The rows have the ends that Andon would compute."""
    moments = plant.day(20_000)
    for moment in moments:
        if moment.kind == "product_count":
            assert moment.until is None
            continue
        later = (
            other.offset
            for other in moments[moment.place + 1 :]
            if other.worker == moment.worker and other.kind != "product_count"
        )
        longest = moment.offset + plant.MAX_GAP
        assert moment.until == min(next(later, longest), longest)


def test_lines_stop_at_the_number_asked_for_and_end_as_lines():
    """An upload has exactly the events it is said to have."""
    lines = list(plant.lines(20_000, plant.EVENTS_PER_DAY + 7))
    assert len(lines) == plant.EVENTS_PER_DAY + 7
    assert all(line.endswith(b"}\n") for line in lines)
    events = itertools.islice(plant.stream(20_000), len(lines))
    assert lines == [plant.line(*event) + b"\n" for event in events]
