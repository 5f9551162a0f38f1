"""Charts of what monitoring measured: answer times, distributions, weeks."""

import json
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon import charts, trend_charts, watching_charts
from andon.trend_charts import Day, Mark
from andon.watching_charts import Slice
from andon.web.dashboard.rendering import STATIC_DIR

START = datetime(2026, 3, 2, 6, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
END = START + 10 * MINUTE
MONTH = START + 30 * DAY


def piece(minute: int = 0, **given) -> Slice:
    """A minute with ten answers."""
    values = {
        "start": START + minute * MINUTE,
        "end": START + (minute + 1) * MINUTE,
        "answers": 10,
        "failed": 1,
        "p50": 8.0,
        "p95": 12.0,
        "confidence": 0.8,
        "lowest": 0.6,
    }
    return Slice(**{**values, **given})


def day(place: int = 0, value: float = 0.9, **given) -> Day:
    """A day's number."""
    begin = START + place * DAY
    return Day(begin, begin + DAY, value, **given)


MARKS = (Mark(START + 5 * DAY, "v2"), Mark(START + 20 * DAY, "v3"))
SPECS = {
    "answer times": watching_charts.answer_times([piece(), piece(1)], 8.0, 16.0, START, END),
    "answer times, no baseline": watching_charts.answer_times([piece()], None, None, START, END),
    "volumes": watching_charts.volumes([piece(), piece(1, failed=0)], START, END),
    "confidences": watching_charts.confidences([piece(), piece(1)], 0.8, START, END),
    "shape": watching_charts.shape([0.0, 1.0, 2.0], [0.1, 0.4, 0.4, 0.1], [0, 0.9, 0.1, 0]),
    "categories": watching_charts.categories(["open", "short"], [0.5, 0.5], [0.1, 0.9]),
    "trend": trend_charts.trend(
        [day(0, low=0.8, high=0.95), day(1, estimated=True), day(4)],
        MARKS,
        START,
        MONTH,
        "Accuracy",
        top=1.0,
        percent=True,
    ),
    "trend, bars": trend_charts.trend(
        [day(value=12)], (), START, MONTH, "Answers", top=20.0, bars=True, limit=5.0
    ),
}
chart = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())


def values(spec: charts.Spec) -> list[dict]:
    """The rows of a specification."""
    return spec["data"]["values"]


def texts(spec: charts.Spec) -> list[str]:
    """What is written at lines across a chart."""
    marks = [layer["mark"] for layer in spec["layer"]]
    return [mark["text"] for mark in marks if isinstance(mark, dict) and "text" in mark]


@chart
def test_a_specification_is_plain_json(spec):
    """Whatever draws it gets it as text."""
    assert json.loads(json.dumps(spec, allow_nan=False)) == spec
    assert spec["$schema"] == charts.SCHEMA


@chart
def test_every_colour_is_one_of_the_style_sheet(spec):
    """A chart wears the page's theme, and knows no colour of its own."""
    known = set(re.findall(r"(--[\w-]+): light-dark", (STATIC_DIR / "base.css").read_text("utf-8")))
    found: set[str] = set()
    charts.painted(spec, lambda name: found.add(name) or name)
    assert found <= known
    assert not re.search(r'"#[0-9a-fA-F]{3,8}"', json.dumps(spec))


def test_a_pause_breaks_the_line():
    """Nothing is known of the time between."""
    spec = watching_charts.answer_times([piece(0), piece(1), piece(5)], None, None, START, END)
    assert [row["part"] for row in values(spec)] == [0, 0, 1]


def test_a_minute_in_which_everything_failed_has_no_answer_time():
    """And counts as volume all the same."""
    bad = piece(failed=10, p50=None, p95=None, confidence=None, lowest=None)
    assert values(watching_charts.answer_times([bad], 8.0, 16.0, START, END)) == []
    assert values(watching_charts.confidences([bad], None, START, END)) == []
    (row,) = values(watching_charts.volumes([bad], START, END))
    assert (row["kind"], row["low"], row["high"]) == ("failed or refused", 0, 10)


def test_the_baseline_and_the_limit_are_lines_with_a_name():
    """Each only where it is known."""
    both = watching_charts.answer_times([piece()], 8.0, 16.0, START, END)
    assert set(texts(both)) == {"baseline", "limit"}
    assert texts(watching_charts.answer_times([piece()], None, None, START, END)) == []


def test_failed_answers_stand_on_those_that_succeeded():
    """A stack, so that the height is the volume."""
    good, bad = values(watching_charts.volumes([piece()], START, END))
    assert (good["low"], good["high"]) == (0, 9)
    assert (bad["low"], bad["high"]) == (9, 10)


def test_what_lies_beyond_the_edges_has_a_bar_only_where_there_is_some():
    """The open bins are named for what they hold."""
    spec = watching_charts.shape([0.0, 1.0, 2.0], [0.0, 0.5, 0.5, 0.0], [0.0, 0.2, 0.7, 0.1])
    ranges = [row["range"] for row in values(spec) if row["kind"] == "now"]
    assert ranges == ["0 to 1", "1 to 2", "above 2"]
    assert spec["encoding"]["x"]["scale"]["domain"] == {"expr": "[0, 3]"}


@given(
    shares=st.lists(st.floats(0, 1), min_size=3, max_size=22),
    first=st.floats(-1e6, 1e6),
    width=st.floats(1e-3, 1e6),
)
def test_bars_before_and_now_never_overlap_their_neighbours(shares, first, width):
    """Whatever the edges, each bin has its own room, and the narrow bar lies in the wide one."""
    edges = [first + place * width for place in range(len(shares) - 1)]
    spec = watching_charts.shape(edges, shares, shares[::-1])
    json.dumps(spec, allow_nan=False)
    rows = values(spec)
    half = len(rows) // 2
    before, now = rows[:half], rows[half:]
    for wide, narrow in zip(before, now, strict=True):
        assert wide["left"] < narrow["left"] < narrow["right"] < wide["right"]
    for one, other in pairwise(before):
        assert one["right"] < other["left"]


def test_long_categories_are_cut_and_still_differ():
    """The tooltip has the whole name."""
    names = ["a-category-with-a-long-name-1", "a-category-with-a-long-name-2"]
    rows = values(watching_charts.categories(names, [0.5, 0.5], [1.0, 0.0]))
    assert len({row["name"] for row in rows}) == 2
    assert {row["category"] for row in rows} == set(names)


def test_an_estimate_is_never_on_the_line_of_measurements():
    """It has a dashed line of its own, and hollow points."""
    days = [day(0), day(1, estimated=True), day(2, estimated=True), day(3)]
    spec = trend_charts.trend(days, (), START, MONTH, "Accuracy", top=1.0)
    assert [row["part"] for row in values(spec)] == [0, 1, 1, 2]
    assert [row["kind"] for row in values(spec)][:2] == ["measured", "estimated"]
    dashes = [layer["mark"]["strokeDash"] for layer in spec["layer"] if "filter" in str(layer)]
    assert len(dashes) == 2
    assert dashes[0] != dashes[1]


def test_a_day_without_answers_breaks_the_line():
    """A trend does not invent a weekend."""
    spec = trend_charts.trend([day(0), day(3)], (), START, MONTH, "ms", top=1.0)
    assert [row["part"] for row in values(spec)] == [0, 1]


def test_versions_outside_the_period_are_not_marked():
    """A rule at the edge would say that one began there."""
    marks = (Mark(START - DAY, "v1"), Mark(START + DAY, "v2"))
    spec = trend_charts.trend([day()], marks, START, MONTH, "ms", top=1.0)
    told = [
        row["text"]
        for layer in spec["layer"]
        for row in layer.get("data", {}).get("values", [])
        if "text" in row
    ]
    assert set(told) == {"v2"}


@given(st.lists(st.integers(0, 30 * 24 * 60), max_size=40))
def test_labels_of_versions_never_lie_over_each_other(minutes):
    """Close ones share a label, and each version stays marked."""
    marks = [Mark(START + minute * MINUTE, f"v{place}") for place, minute in enumerate(minutes)]
    grouped = trend_charts.grouped(marks, START, MONTH)
    for one, other in pairwise(grouped):
        assert other.when - one.when >= (MONTH - START) * 0.05
    assert bool(grouped) is bool(marks)
