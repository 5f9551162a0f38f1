import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from andon import charts, model_charts
from andon.web.dashboard.rendering import STATIC_DIR

START = datetime(2026, 3, 2, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)
END = START + 4 * HOUR

SPECS = {
    "timeline": charts.timeline(
        [charts.Span("W1", "working", "S1", START, START + HOUR)], ["W1", "W2"], START, END
    ),
    "states": charts.states([charts.StateSums(START, START + HOUR, 3600, 1800, 900)], START, END),
    "units": charts.units([charts.Units(START, START + HOUR, 36)], START, END, "Units per hour"),
    "eyes": charts.eyes([charts.Eyes(START, START + HOUR, 0.3, 0.1, 50)], 0.2, START, END),
    "roc": model_charts.roc(
        [model_charts.Point(0, 0), model_charts.Point(0.1, 0.8), model_charts.Point(1, 1)],
        model_charts.Point(0.1, 0.8),
    ),
    "precision and recall": model_charts.precision_recall(
        [model_charts.Point(0, 1), model_charts.Point(1, 0.4)], None, 0.4
    ),
    "calibration": model_charts.calibration([model_charts.Bin(0.1, 0.2, 30)]),
    "importance": model_charts.importance([model_charts.Weight("age", 0.2, 0.05)], "F1"),
    "alerts": charts.alert_rate([charts.Alerts(START, START + HOUR, 50, 10)], 20, 50, START, END),
}
chart = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())


def values(spec: charts.Spec) -> list[dict]:
    """The rows of a specification."""
    return spec["data"]["values"]


def colours(part) -> set[str]:
    """Every colour name that is left in a specification, its data aside."""
    found: set[str] = set()
    charts.painted(part, lambda name: found.add(name) or name)
    return found


@chart
def test_a_specification_is_plain_json(spec):
    """Whatever draws it gets it as text."""
    assert json.loads(json.dumps(spec)) == spec
    assert spec["$schema"] == charts.SCHEMA


@chart
def test_every_colour_is_one_of_the_style_sheet(spec):
    """A chart wears the page's theme, and knows no colour of its own."""
    known = set(re.findall(r"(--[\w-]+): light-dark", (STATIC_DIR / "base.css").read_text("utf-8")))
    assert colours(spec) <= known
    assert not re.search(r'"#[0-9a-fA-F]{3,8}"', json.dumps(spec))


@chart
def test_painting_leaves_no_name_and_no_data_changed(spec):
    """Colours are put in everywhere but in what was measured."""
    painted = charts.painted(spec, lambda name: "red")
    assert colours(painted) == set()
    assert painted["data"] == spec["data"]


def test_a_worker_called_like_a_colour_stays_a_worker():
    """Names from outside are data."""
    spec = charts.timeline([charts.Span("--ink", "idle", "S1", START, END)], ["--ink"], START, END)
    painted = charts.painted(spec, lambda name: "red")
    assert values(painted)[0]["worker"] == "--ink"
    assert painted["encoding"]["y"]["scale"]["domain"] == ["--ink"]


def test_a_worker_without_reports_keeps_a_row():
    """Nothing is known of W2, and that is what the blank row says."""
    assert SPECS["timeline"]["encoding"]["y"]["scale"]["domain"] == ["W1", "W2"]
    assert {row["worker"] for row in values(SPECS["timeline"])} == {"W1"}
    assert charts.timeline_height(2) > charts.timeline_height(1)


def test_states_are_stacked_in_person_hours():
    """Each state begins where the one before ended."""
    rows = values(SPECS["states"])
    assert [(row["state"], row["low"], row["high"]) for row in rows] == [
        ("working", 0.0, 1.0),
        ("idle", 1.0, 1.5),
        ("absent", 1.5, 1.75),
    ]


def test_a_pause_breaks_the_line_of_the_eyes():
    """Nobody knows what the eyes did while nothing was measured."""
    rows = [
        charts.Eyes(START, START + HOUR, 0.3, 0.2, 9),
        charts.Eyes(START + HOUR, START + 2 * HOUR, 0.3, 0.2, 9),
        charts.Eyes(START + 3 * HOUR, END, 0.3, 0.2, 9),
    ]
    assert [row["part"] for row in values(charts.eyes(rows, 0.2, START, END))] == [0, 0, 1]


def test_a_rate_of_nothing_is_not_drawn():
    """Zero of zero is no rate of zero."""
    rows = [charts.Alerts(START, END, 0, 0), charts.Alerts(START, END, 8, 2)]
    assert [row["rate"] for row in values(charts.alert_rate(rows, 20, 50, START, END))] == [25.0]


def test_the_axis_of_time_is_the_window_in_utc():
    """Whatever was reported in it."""
    scale = SPECS["units"]["encoding"]["x"]["scale"]
    assert scale["type"] == "utc"
    millis = [int(edge.timestamp() * 1000) for edge in (START, END)]
    assert json.loads(scale["domain"]["expr"]) == millis


def test_a_curve_is_drawn_in_its_own_order():
    """Several points may share an x; the line goes through them as the curve does."""
    points = [(0, 0), (0, 0.5), (0.2, 0.5), (0.2, 0.9), (1, 1)]
    spec = model_charts.roc([model_charts.Point(*one) for one in points], None)
    assert [(row["x"], row["y"]) for row in values(spec)] == points
    orders = [
        one["encoding"].get("order") for one in spec["layer"] if one["mark"]["type"] == "line"
    ]
    assert {"field": "place", "type": "quantitative"} in orders


def test_the_weightiest_feature_is_on_top_as_given():
    """Bars keep the order of the rows, and every feature has room."""
    weights = [model_charts.Weight(name, size, 0.01) for name, size in (("b", 0.3), ("a", 0.1))]
    spec = model_charts.importance(weights, "F1")
    assert [row["feature"] for row in values(spec)] == ["b", "a"]
    assert spec["layer"][0]["encoding"]["y"]["sort"] is None
    assert model_charts.importance_height(13) > model_charts.importance_height(2)


def test_long_names_of_features_are_cut_where_they_differ():
    """Two bars never have one name, and a short name stays as it is."""
    long = [f"spindle_vibration_velocity_position_{place:02}_after_filter" for place in (1, 5)]
    first, second, short = model_charts.short_names([*long, "age"])
    assert "01" in first
    assert "05" in second
    assert len(first) <= 24
    assert short == "age"
    assert model_charts.short_names(["x" * 40]) == ["x" * 22 + "…"]
    assert len(set(model_charts.short_names(["a" * 60, "a" * 61, "a" * 62]))) == 3
