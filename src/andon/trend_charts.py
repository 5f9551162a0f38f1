"""Charts of how a model did over weeks; drawn as `charts.py` says."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from andon.charts import Spec, specification
from andon.watching_charts import axis, level, millis, time_axis

# Height, pixels, axes included.
TREND_HEIGHT = 240
# Versions whose rules would lie closer together, as a share of the chart, have one label.
_APART = 0.05
_NEAR = 0.15


class Day(NamedTuple):
    """A number of one day.

    Attributes:
        start: Begin of the day, UTC.
        end: End of it.
        value: The number.
        low: Lower bound of its interval, or None.
        high: Upper bound, or None.
        estimated: Whether it is an estimate without labels.
        version: Version it belongs to.
    """

    start: datetime
    end: datetime
    value: float
    low: float | None = None
    high: float | None = None
    estimated: bool = False
    version: int = 0


class Mark(NamedTuple):
    """A moment worth a rule across the chart: a version began to serve."""

    when: datetime
    text: str


def trend(
    days: Sequence[Day],
    marks: Sequence[Mark],
    start: datetime,
    end: datetime,
    title: str,
    *,
    top: float,
    percent: bool = False,
    bars: bool = False,
    limit: float | None = None,
) -> Spec:
    """A number by day, with the versions that began to serve as rules.

    Estimates are hollow points on a dashed line, so that nobody takes them for measurements.

    Args:
        days: In order of time; days without the number are left out.
        marks: When which version began to serve.
        start: Left edge.
        end: Right edge.
        title: What the numbers are, with their unit.
        top: Upper end of the scale, which begins at zero: a quiet month looks quiet.
        percent: Whether the numbers are shares; the axis then has percent.
        bars: Whether they are counts.
        limit: Where it turns bad, or None.
    """
    fine = ".1%" if percent else ",d" if bars else ".3~g"
    values = [
        _day(one) | {"part": part, "kind": "estimated" if one.estimated else "measured"}
        for part, one in _runs(days)
    ]
    tooltip: list[Spec] = [
        {"field": "time", "title": "Day"},
        {"field": "value", "title": title, "format": fine},
    ]
    if any(one.low is not None for one in days):
        tooltip += [
            {"field": "low", "title": "At least", "format": fine},
            {"field": "high", "title": "At most", "format": fine},
        ]
    if any(one.estimated for one in days):
        tooltip.append({"field": "kind", "title": "How"})
    tooltip.append({"field": "version", "title": "Version"})
    y: Spec = {
        "type": "quantitative",
        "axis": axis(title, format=".1~%" if percent else ",.6~g"),
        "scale": {"domain": [0, round(top, 4)], "nice": False},
    }
    drawn = (
        _trend_bars(y, tooltip, start, end) if bars else _trend_line(days, y, tooltip, start, end)
    )
    return specification(
        values,
        height=TREND_HEIGHT,
        transform=[
            {"calculate": "utcFormat(datum.start, '%-d %b %Y')", "as": "time"},
        ],
        layer=[
            *drawn,
            *level(limit, "limit", "--stop", y),
            *_rules(marks, start, end),
        ],
    )


def grouped(marks: Sequence[Mark], start: datetime, end: datetime) -> list[Mark]:
    """Marks whose labels do not lie over each other: of close ones, the first and the last."""
    least = (end - start) * _APART
    together: list[list[Mark]] = []
    for mark in sorted(marks):
        if together and mark.when - together[-1][0].when < least:
            together[-1].append(mark)
        else:
            together.append([mark])
    return [
        Mark(
            group[0].when, f"{group[0].text}–{group[-1].text}" if len(group) > 1 else group[0].text
        )
        for group in together
    ]


def _trend_bars(y: Spec, tooltip: list[Spec], start: datetime, end: datetime) -> list[Spec]:
    return [
        {
            "mark": {"type": "bar", "color": "--working", "stroke": "--surface", "strokeWidth": 1},
            "encoding": {
                "x": time_axis("start", start, end),
                "x2": {"field": "end"},
                "y": y | {"field": "value"},
                "y2": {"datum": 0},
                "tooltip": tooltip,
            },
        }
    ]


def _trend_line(
    days: Sequence[Day], y: Spec, tooltip: list[Spec], start: datetime, end: datetime
) -> list[Spec]:
    x = time_axis("at", start, end)
    place: Spec = {"x": x, "y": y | {"field": "value"}}
    measured = "datum.kind === 'measured'"
    layers: list[Spec] = []
    if any(one.low is not None for one in days):
        layers.append(
            {
                "mark": {"type": "rule", "color": "--working", "opacity": 0.35, "strokeWidth": 3},
                "encoding": {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}},
            }
        )
    kinds = {one.estimated for one in days}
    tests = ((False, measured, [1, 0]), (True, f"!({measured})", [4, 3]))
    layers += [
        {
            "transform": [{"filter": test}],
            "mark": {
                "type": "line",
                "color": "--working",
                "strokeWidth": 1.75,
                "strokeDash": dash,
            },
            "encoding": {**place, "detail": {"field": "part"}},
        }
        for kind, test, dash in tests
        if kind in kinds
    ]
    layers.append(
        {
            "mark": {"type": "point", "filled": True, "size": 34, "opacity": 1, "strokeWidth": 1.5},
            "encoding": {
                **place,
                "stroke": {"value": "--working"},
                "fill": {
                    "condition": {"test": measured, "value": "--working"},
                    "value": "--surface",
                },
                "tooltip": tooltip,
            },
        }
    )
    return layers


def _rules(marks: Sequence[Mark], start: datetime, end: datetime) -> list[Spec]:
    """A rule per version, and the labels of those that have room for one."""
    inside = [mark for mark in marks if start <= mark.when <= end]
    if not inside:
        return []
    shared = grouped(inside, start, end)
    x = time_axis("at", start, end)
    words = {
        "type": "text",
        "baseline": "top",
        "y": 2,
        "fontSize": 12,
        "fontWeight": 600,
    }
    halo = {"stroke": "--surface", "strokeWidth": 4, "strokeJoin": "round"}
    place: Spec = {"x": x, "text": {"field": "text"}}
    # At the right edge a label stands before its rule, where there is room.
    edge = end - (end - start) * _NEAR
    sides: list[tuple[list[Spec], Spec]] = [
        (_labels(one for one in shared if one.when < edge), {"align": "left", "dx": 4}),
        (_labels(one for one in shared if one.when >= edge), {"align": "right", "dx": -4}),
    ]
    return [
        {
            "data": {"values": _labels(inside)},
            "mark": {"type": "rule", "color": "--control", "strokeWidth": 1},
            "encoding": {"x": x},
        },
        *(
            {"data": {"values": rows}, "mark": {**words, **side, **look}, "encoding": place}
            for rows, side in sides
            if rows
            for look in (halo, {"color": "--ink"})
        ),
    ]


def _labels(marks: Iterable[Mark]) -> list[Spec]:
    return [{"at": millis(mark.when), "text": mark.text} for mark in marks]


def _day(one: Day) -> Spec:
    start, end = millis(one.start), millis(one.end)
    told: Spec = {
        "start": start,
        "end": end,
        "at": start + (end - start) // 2,
        "value": round(one.value, 5),
        "version": f"v{one.version}" if one.version else "",
    }
    if one.low is not None and one.high is not None:
        told |= {"low": round(one.low, 5), "high": round(one.high, 5)}
    return told


def _runs(days: Sequence[Day]) -> list[tuple[int, Day]]:
    """Each day with the number of its line.

    A day left out, or the step from an estimate to a measurement, begins another one.
    """
    part, made = 0, []
    for place, one in enumerate(days):
        last = days[place - 1] if place else one
        if one.start - last.end > timedelta(hours=1) or one.estimated != last.estimated:
            part += 1
        made.append((part, one))
    return made
