"""Charts: plain functions from rows to Vega-Lite specifications.

One specification serves whoever draws: the dashboard's pages in a browser, a report on paper.
It names colours as the style sheet does (``--working`` of `base.css`) and whoever draws puts
the values in: `static/charts.js` those of the page's theme, `painted` any others. Times are
drawn in UTC, as they are told everywhere.

The charts of the floor are here, those of models in `model_charts.py`.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

Spec = dict[str, Any]
"""A Vega-Lite specification: JSON as Python objects."""

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
STATES = ("working", "idle", "absent")
"""States of a worker, the busiest first: the order of colours, legends and stacks."""

_FONT = "system-ui, -apple-system, Segoe UI, Roboto, Noto Sans, Liberation Sans, sans-serif"
# A row of the timeline: the state is told by the bar's thickness too, not by colour alone.
_ROW = 30
_THICK = {"working": 20, "idle": 11, "absent": 4}
# Heights of charts, pixels, axes and legends included.
STACK_HEIGHT = 280
UNITS_HEIGHT = 220
EYES_HEIGHT = 170
RATE_HEIGHT = 210
_AXIS_AND_LEGEND = 68

_CONFIG: Spec = {
    "background": None,
    "font": _FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": "--muted",
        "titleColor": "--muted",
        "gridColor": "--line",
        "domainColor": "--control",
        "tickColor": "--control",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelPadding": 6,
    },
    "legend": {
        "labelColor": "--ink",
        "labelFontSize": 13,
        "orient": "top",
        "symbolType": "square",
        "symbolStrokeWidth": 0,
        "columnPadding": 18,
        "offset": 8,
    },
}


class Span(NamedTuple):
    """One state of one worker, from `start` to `end`."""

    worker: str
    state: str
    station: str
    start: datetime
    end: datetime


class StateSums(NamedTuple):
    """How long all workers together were in each state between `start` and `end`, seconds."""

    start: datetime
    end: datetime
    working: float
    idle: float
    absent: float


class Units(NamedTuple):
    """Units counted between `start` and `end`."""

    start: datetime
    end: datetime
    units: int


class Eyes(NamedTuple):
    """Eye aspect ratio between `start` and `end`: mean and lowest of `events` measurements."""

    start: datetime
    end: datetime
    mean: float
    lowest: float
    events: int


class Alerts(NamedTuple):
    """Measurements between `start` and `end`, and how many of them said drowsy."""

    start: datetime
    end: datetime
    events: int
    drowsy: int


def timeline(spans: Sequence[Span], workers: Sequence[str], start: datetime, end: datetime) -> Spec:
    """Who was in which state when: a row per worker, a bar per state, blank where unknown.

    Args:
        spans: Within the window.
        workers: Rows, from the top; those without any span too.
        start: Left edge.
        end: Right edge.
    """
    rows = [
        {
            "worker": span.worker,
            "state": span.state,
            "station": span.station,
            "start": _millis(span.start),
            "end": _millis(span.end),
        }
        for span in spans
    ]
    return specification(
        rows,
        height=timeline_height(len(workers)),
        transform=[
            {
                "calculate": "utcFormat(datum.start, '%-d %b, %H:%M:%S') + ' to ' + "
                "utcFormat(datum.end, '%H:%M:%S') + ' UTC'",
                "as": "time",
            }
        ],
        mark={"type": "bar", "cornerRadius": 1},
        encoding={
            "y": {
                "field": "worker",
                "type": "nominal",
                # Those without reports keep their row.
                "scale": {"domain": list(workers)},
                "axis": {
                    "title": None,
                    "domain": False,
                    "ticks": False,
                    "labelColor": "--ink",
                    "labelFontSize": 13,
                    "labelLimit": 120,
                    "grid": True,
                    "tickBand": "extent",
                },
            },
            "x": _time(start, end),
            "x2": {"field": "end"},
            "color": _state_color(),
            "size": {
                "condition": [
                    {"test": f"datum.state === '{state}'", "value": size}
                    for state, size in _THICK.items()
                ],
                "value": 1,
            },
            "tooltip": [
                {"field": "worker", "title": "Worker"},
                {"field": "state", "title": "State"},
                {"field": "station", "title": "Station"},
                {"field": "time", "title": "Time"},
            ],
        },
    )


def timeline_height(workers: int) -> int:
    """Height of a timeline of so many rows, pixels."""
    return max(1, workers) * _ROW + _AXIS_AND_LEGEND


def states(rows: Sequence[StateSums], start: datetime, end: datetime) -> Spec:
    """Person-hours by state, stacked, one bar per bucket."""
    values = []
    for row in rows:
        low = 0.0
        for state in STATES:
            high = low + getattr(row, state) / 3600
            values.append(
                {
                    "start": _millis(row.start),
                    "end": _millis(row.end),
                    "state": state,
                    "hours": round(high - low, 4),
                    # Stacked here: Vega-Lite does not stack bars that have two ends in time.
                    "low": round(low, 4),
                    "high": round(high, 4),
                }
            )
            low = high
    return specification(
        values,
        height=STACK_HEIGHT,
        transform=[_when()],
        mark=_block(),
        encoding={
            "x": _time(start, end),
            "x2": {"field": "end"},
            "y": _amount("high", "Person-hours"),
            "y2": {"field": "low"},
            "color": _state_color(),
            "tooltip": [
                {"field": "time", "title": "Time"},
                {"field": "state", "title": "State"},
                {"field": "hours", "title": "Person-hours", "format": ".2f"},
            ],
        },
    )


def units(rows: Sequence[Units], start: datetime, end: datetime, title: str) -> Spec:
    """Units, one bar per bucket; `title` says per what."""
    values = [
        {"start": _millis(row.start), "end": _millis(row.end), "units": row.units} for row in rows
    ]
    return specification(
        values,
        height=UNITS_HEIGHT,
        transform=[_when()],
        mark=_block(color="--working"),
        encoding={
            "x": _time(start, end),
            "x2": {"field": "end"},
            "y": _amount("units", title) | {"axis": _whole(title)},
            "y2": {"datum": 0},
            "tooltip": [
                {"field": "time", "title": "Time"},
                {"field": "units", "title": "Units", "format": ",d"},
            ],
        },
    )


def eyes(
    rows: Sequence[Eyes], threshold: float, start: datetime, end: datetime, top: float = 0.4
) -> Spec:
    """Eye aspect ratio of one driver: a line of means over a band down to the lowest.

    Args:
        rows: In order of time.
        threshold: Below it eyes count as closed; drawn as a line.
        start: Left edge.
        end: Right edge.
        top: Upper end of the scale, so that charts of several drivers can be compared.
    """
    values = []
    part = 0
    for place, row in enumerate(rows):
        # A pause breaks the line: nothing is known of the time between.
        if place and row.start > rows[place - 1].end:
            part += 1
        middle = _millis(row.start) + (_millis(row.end) - _millis(row.start)) // 2
        values.append(
            {
                "start": _millis(row.start),
                "end": _millis(row.end),
                "at": middle,
                "part": part,
                "mean": round(row.mean, 4),
                "lowest": round(row.lowest, 4),
                "events": row.events,
            }
        )
    x = {**_time(start, end), "field": "at"}
    y = {
        "type": "quantitative",
        "scale": {"domain": [0, round(top, 2)], "nice": False},
        "axis": {"title": "EAR", "tickCount": 4, "domain": False, "ticks": False},
    }
    tooltip = [
        {"field": "time", "title": "Time"},
        {"field": "mean", "title": "Mean EAR", "format": ".3f"},
        {"field": "lowest", "title": "Lowest EAR", "format": ".3f"},
        {"field": "events", "title": "Measurements", "format": ",d"},
    ]
    return specification(
        values,
        height=EYES_HEIGHT,
        transform=[_when()],
        layer=[
            {
                "mark": {"type": "area", "color": "--working", "opacity": 0.18},
                "encoding": {
                    "x": x,
                    "y": y | {"field": "lowest"},
                    "y2": {"field": "mean"},
                    "detail": {"field": "part"},
                },
            },
            {
                "mark": {"type": "line", "color": "--working", "strokeWidth": 1.75},
                "encoding": {"x": x, "y": y | {"field": "mean"}, "detail": {"field": "part"}},
            },
            {
                # Carries the tooltips, and shows a measurement that stands alone.
                "mark": {"type": "point", "color": "--working", "filled": True, "size": 14},
                "encoding": {"x": x, "y": y | {"field": "mean"}, "tooltip": tooltip},
            },
            *level(threshold, f"closed below {threshold:g}", "--stop", y),
        ],
    )


def alert_rate(
    rows: Sequence[Alerts], warning: float, critical: float, start: datetime, end: datetime
) -> Spec:
    """Share of measurements that said drowsy, percent, with the two limits."""
    values = [
        {
            "start": _millis(row.start),
            "end": _millis(row.end),
            "rate": round(100 * row.drowsy / row.events, 2),
            "drowsy": row.drowsy,
            "events": row.events,
        }
        for row in rows
        if row.events
    ]
    y = {
        "type": "quantitative",
        "scale": {"domain": [0, 100]},
        "axis": {"title": "Drowsy, %", "tickCount": 5, "domain": False, "ticks": False},
    }
    return specification(
        values,
        height=RATE_HEIGHT,
        transform=[_when()],
        layer=[
            {
                "mark": _block(color="--working"),
                "encoding": {
                    "x": _time(start, end),
                    "x2": {"field": "end"},
                    "y": y | {"field": "rate"},
                    "y2": {"datum": 0},
                    "tooltip": [
                        {"field": "time", "title": "Time"},
                        {"field": "rate", "title": "Drowsy, %", "format": ".1f"},
                        {"field": "drowsy", "title": "Drowsy measurements", "format": ",d"},
                        {"field": "events", "title": "Measurements", "format": ",d"},
                    ],
                },
            },
            *level(warning, f"warning {warning:g} %", "--look", y),
            *level(critical, f"critical {critical:g} %", "--stop", y),
        ],
    )


def painted(spec: Any, color_of: Callable[[str], str]) -> Any:
    """The specification with every colour name (``--working``) replaced; the data stay.

    Args:
        spec: As the functions above make it.
        color_of: From a name to a colour that CSS understands.
    """
    if isinstance(spec, dict):
        return {
            key: value if key in {"data", "domain"} else painted(value, color_of)
            for key, value in spec.items()
        }
    if isinstance(spec, list):
        return [painted(one, color_of) for one in spec]
    return color_of(spec) if isinstance(spec, str) and spec.startswith("--") else spec


def specification(values: list[dict[str, Any]], **parts: Any) -> Spec:
    """What every chart has in common, with these rows and parts."""
    return {
        "$schema": SCHEMA,
        "width": "container",
        "autosize": {"type": "fit", "contains": "padding", "resize": True},
        "padding": {"left": 2, "right": 12, "top": 4, "bottom": 4},
        "config": _CONFIG,
        "data": {"values": values},
        **parts,
    }


def _time(start: datetime, end: datetime) -> Spec:
    """The axis of time, from edge to edge."""
    return {
        "field": "start",
        "type": "temporal",
        "scale": {
            "type": "utc",
            # An expression, because numbers here would be taken for field values.
            "domain": {"expr": f"[{_millis(start)}, {_millis(end)}]"},
            "nice": False,
        },
        "axis": {
            "title": None,
            "grid": False,
            "tickCount": 8,
            "labelOverlap": True,
            "labelFlush": True,
            "format": {
                "hours": "%H:%M",
                "minutes": "%H:%M",
                "seconds": "%H:%M:%S",
                "date": "%-d %b",
                "day": "%-d %b",
                "month": "%-d %b",
                "week": "%-d %b",
            },
        },
    }


def _amount(field: str, title: str) -> Spec:
    return {
        "field": field,
        "type": "quantitative",
        "axis": {"title": title, "tickCount": 4, "domain": False, "ticks": False},
    }


def _whole(title: str) -> Spec:
    """An axis of whole numbers."""
    return {
        "title": title,
        "tickCount": 4,
        "tickMinStep": 1,
        "format": ",d",
        "domain": False,
        "ticks": False,
    }


def _block(**more: Any) -> Spec:
    """A bar from `start` to `end`, with a line of the ground between neighbours."""
    return {"type": "bar", "stroke": "--surface", "strokeWidth": 1, **more}


def _state_color() -> Spec:
    return {
        "field": "state",
        "type": "nominal",
        "scale": {"domain": list(STATES), "range": [f"--{state}" for state in STATES]},
        "legend": {"title": None},
    }


def level(value: float, text: str, color: str, y: Spec) -> list[Spec]:
    """A dashed line across the chart, and its name."""
    at = {**y, "datum": value}
    one: Spec = {"values": [{}]}
    words = {
        "type": "text",
        "text": text,
        "align": "right",
        "baseline": "bottom",
        "dy": -3,
        "fontSize": 12,
    }
    # The ground's colour around the letters keeps them readable over lines and bands.
    halo = {"stroke": "--surface", "strokeWidth": 4, "strokeJoin": "round"}
    place = {"y": at, "x": {"value": "width"}}
    return [
        {
            "data": one,
            "mark": {"type": "rule", "color": color, "strokeDash": [5, 4]},
            "encoding": {"y": at},
        },
        {"data": one, "mark": {**words, **halo}, "encoding": place},
        {"data": one, "mark": {**words, "color": color}, "encoding": place},
    ]


def _when() -> Spec:
    """The bucket in words, for tooltips."""
    return {
        "calculate": "utcFormat(datum.start, '%-d %b, %H:%M') + ' to ' + "
        "utcFormat(datum.end, '%H:%M') + ' UTC'",
        "as": "time",
    }


def _millis(when: datetime) -> int:
    """Milliseconds since 1970 UTC, as JavaScript counts."""
    return round(when.timestamp() * 1000)
