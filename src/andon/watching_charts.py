"""Charts of how a model does while it serves; drawn as `charts.py` says."""

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

from andon import charts
from andon.charts import Spec, specification

# Heights, pixels, axes included.
TIME_HEIGHT = 240
VOLUME_HEIGHT = 210
CONFIDENCE_HEIGHT = 210
SHAPE_HEIGHT = 210
_CATEGORY = 34
_CATEGORY_AXIS = 76
# Characters of a category beside its bar; the tooltip and the table have all of it.
_NAME = 18
# Of so many points or fewer a line shows little.
_FEW = 8
_DATES = {
    "hours": "%H:%M",
    "minutes": "%H:%M",
    "seconds": "%H:%M:%S",
    "date": "%-d %b",
    "day": "%-d %b",
    "week": "%-d %b",
    "month": "%-d %b",
    "year": "%Y",
}


class Slice(NamedTuple):
    """The answers between `start` and `end`.

    Attributes:
        start: Begin.
        end: End.
        answers: Answers, failed ones included.
        failed: Of these, failed.
        p50: Median answer time, milliseconds; None without an answer that succeeded.
        p95: 95th percentile of the same.
        confidence: Mean confidence, 0 to 1; None where nothing was found.
        lowest: 10th percentile of the same.
    """

    start: datetime
    end: datetime
    answers: int
    failed: int
    p50: float | None
    p95: float | None
    confidence: float | None
    lowest: float | None


def answer_times(
    rows: Sequence[Slice],
    usual: float | None,
    limit: float | None,
    start: datetime,
    end: datetime,
) -> Spec:
    """Answer time: the median as a line under a band up to the 95th percentile.

    Args:
        rows: In order of time.
        usual: The version's own baseline, milliseconds, or None.
        limit: Where it turns bad, milliseconds, or None.
        start: Left edge.
        end: Right edge.
    """
    values = [
        _slice(row) | {"part": part, "p50": round(row.p50, 3), "p95": round(row.p95 or row.p50, 3)}
        for part, row in _parts(rows)
        if row.p50 is not None
    ]
    y = _amount("Milliseconds")
    x = time_axis("at", start, end)
    tooltip = [
        {"field": "time", "title": "Time"},
        {"field": "p50", "title": "Median, ms", "format": ".1f"},
        {"field": "p95", "title": "95th percentile, ms", "format": ".1f"},
        {"field": "answers", "title": "Answers", "format": ",d"},
    ]
    return specification(
        values,
        height=TIME_HEIGHT,
        transform=[_when()],
        layer=[
            _band(x, y, "p50", "p95"),
            *_line("p50", x, y, tooltip, len(values)),
            *level(usual, "baseline", "--muted", y),
            *level(limit, "limit", "--stop", y),
        ],
    )


def volumes(rows: Sequence[Slice], start: datetime, end: datetime) -> Spec:
    """Answers, with those that failed on top."""
    values = []
    for row in rows:
        if not row.answers:
            continue
        good = row.answers - row.failed
        parts = (("answered", 0, good), ("failed or refused", good, row.answers))
        values += [
            _slice(row) | {"kind": kind, "low": low, "high": high, "failed": row.failed}
            for kind, low, high in parts
            if high > low
        ]
    return specification(
        values,
        height=VOLUME_HEIGHT,
        transform=[_when()],
        mark={"type": "bar", "stroke": "--surface", "strokeWidth": 1},
        encoding={
            "x": time_axis("start", start, end),
            "x2": {"field": "end"},
            "y": {
                "field": "high",
                "type": "quantitative",
                "axis": axis("Answers", tickMinStep=1, format=",d"),
            },
            "y2": {"field": "low"},
            "color": {
                "field": "kind",
                "type": "nominal",
                "scale": {
                    "domain": ["answered", "failed or refused"],
                    "range": ["--working", "--stop"],
                },
                "legend": {"title": None},
            },
            "tooltip": [
                {"field": "time", "title": "Time"},
                {"field": "answers", "title": "Answers", "format": ",d"},
                {"field": "failed", "title": "Failed or refused", "format": ",d"},
            ],
        },
    )


def confidences(rows: Sequence[Slice], usual: float | None, start: datetime, end: datetime) -> Spec:
    """Mean confidence over a band down to its 10th percentile.

    Args:
        rows: In order of time.
        usual: What is normal for the version, or None.
        start: Left edge.
        end: Right edge.
    """
    values = []
    for part, row in _parts(rows):
        if row.confidence is None:
            continue
        lowest = row.confidence if row.lowest is None else row.lowest
        values.append(
            _slice(row)
            | {"part": part, "mean": round(row.confidence, 4), "lowest": round(lowest, 4)}
        )
    y: Spec = {
        "type": "quantitative",
        "scale": {"domain": [0, 1], "nice": False},
        "axis": axis("Confidence", format=".1f", tickCount=5),
    }
    x = time_axis("at", start, end)
    tooltip = [
        {"field": "time", "title": "Time"},
        {"field": "mean", "title": "Mean", "format": ".2f"},
        {"field": "lowest", "title": "10th percentile", "format": ".2f"},
        {"field": "answers", "title": "Answers", "format": ",d"},
    ]
    return specification(
        values,
        height=CONFIDENCE_HEIGHT,
        transform=[_when()],
        layer=[
            _band(x, y, "lowest", "mean"),
            *_line("mean", x, y, tooltip, len(values)),
            *level(usual, "usual", "--muted", y),
        ],
    )


def shape(edges: Sequence[float], before: Sequence[float], now: Sequence[float]) -> Spec:
    """How a number is distributed: wide grey bars before, narrow blue ones inside them now.

    Bins are drawn equally wide, whatever they span: those of a long tail would hide the others.

    Args:
        edges: Of the bins, ascending.
        before: Share of each bin in the reference, 0 to 1; one more than there are edges, because
            the first is of what lies below the first edge, the last of what lies above the last.
        now: The same of the window.
    """
    names = [_number(edge) for edge in edges]
    texts = [
        f"below {names[0]}",
        *(f"{low} to {high}" for low, high in pairwise(names)),
        f"above {names[-1]}",
    ]
    last = len(edges)
    # The open bins at the ends take room only where something lies in them.
    first = 0 if before[0] or now[0] else 1
    final = last + 1 if before[last] or now[last] else last
    values = [
        {
            "kind": kind,
            "left": round(place - 1 + margin, 2),
            "right": round(place - margin, 2),
            "range": texts[place],
            "share": round(shares[place], 4),
        }
        for kind, shares, margin in (("before", before, 0.04), ("now", now, 0.28))
        for place in range(first, final)
    ]
    return specification(
        values,
        height=SHAPE_HEIGHT,
        mark={"type": "bar"},
        encoding={
            "x": {
                "field": "left",
                "type": "quantitative",
                "scale": {
                    "domain": {"expr": f"[{first - 1}, {final - 1}]"},
                    "nice": False,
                    "zero": False,
                },
                "axis": axis(
                    "",
                    values=list(range(last)),
                    grid=False,
                    labelOverlap=True,
                    labelExpr=f"{json.dumps(names)}[datum.value]",
                ),
            },
            "x2": {"field": "right"},
            "y": _share("share"),
            "y2": {"datum": 0},
            "color": _before_now(),
            "tooltip": [
                {"field": "kind", "title": "When"},
                {"field": "range", "title": "Between"},
                {"field": "share", "title": "Share", "format": ".1%"},
            ],
        },
    )


def categories(names: Sequence[str], before: Sequence[float], now: Sequence[float]) -> Spec:
    """How a choice is distributed: a thick grey bar before, a thin blue one over it now.

    Args:
        names: Of the categories, from the top.
        before: Share of each in the reference, 0 to 1.
        now: The same of the window.
    """
    told = _cut(names)
    values = [
        {"name": text, "category": name, "kind": kind, "share": round(share, 4)}
        for kind, shares in (("before", before), ("now", now))
        for text, name, share in zip(told, names, shares, strict=True)
    ]
    row: Spec = {
        "field": "name",
        "type": "nominal",
        "sort": None,
        "axis": {
            "title": None,
            "domain": False,
            "ticks": False,
            "labelColor": "--ink",
            "labelFontSize": 13,
            "labelLimit": 140,
        },
    }
    return specification(
        values,
        height=categories_height(len(names)),
        layer=[
            {
                "transform": [{"filter": f"datum.kind === '{kind}'"}],
                "mark": {"type": "bar", "cornerRadius": 1, "height": height},
                "encoding": {
                    "y": row,
                    "x": _share("share"),
                    "color": _before_now(),
                    "tooltip": [
                        {"field": "category", "title": "Category"},
                        {"field": "kind", "title": "When"},
                        {"field": "share", "title": "Share", "format": ".1%"},
                    ],
                },
            }
            for kind, height in (("before", 20), ("now", 9))
        ],
    )


def categories_height(names: int) -> int:
    """Height of a chart of so many categories, pixels."""
    return max(1, names) * _CATEGORY + _CATEGORY_AXIS


def _line(field: str, x: Spec, y: Spec, tooltip: list[Spec], points: int) -> list[Spec]:
    """A line that pauses break, and the points that carry the tooltips."""
    # Where there is hardly a line the points are what is seen.
    size = 20 if points > _FEW else 60
    place = {"x": x, "y": y | {"field": field}}
    return [
        {
            "mark": {"type": "line", "color": "--working", "strokeWidth": 1.75},
            "encoding": {**place, "detail": {"field": "part"}},
        },
        {
            "mark": {"type": "point", "color": "--working", "filled": True, "size": size},
            "encoding": {**place, "tooltip": tooltip},
        },
    ]


def level(value: float | None, text: str, color: str, y: Spec) -> list[Spec]:
    """A dashed line across the chart with its name, where there is such a number."""
    return [] if value is None else charts.level(round(value, 4), text, color, y)


def _band(x: Spec, y: Spec, low: str, high: str) -> Spec:
    """The room between two fields, one piece for each part of the time."""
    return {
        "mark": {"type": "area", "color": "--working", "opacity": 0.16},
        "encoding": {
            "x": x,
            "y": y | {"field": low},
            "y2": {"field": high},
            "detail": {"field": "part"},
        },
    }


def _before_now() -> Spec:
    return {
        "field": "kind",
        "type": "nominal",
        "scale": {"domain": ["before", "now"], "range": ["--absent", "--working"]},
        "legend": {"title": None},
    }


def _share(field: str) -> Spec:
    return {
        "field": field,
        "type": "quantitative",
        # The two lie over each other to be compared; they are no sum.
        "stack": None,
        "axis": axis("Share", format=".0%"),
    }


def _amount(title: str) -> Spec:
    return {"type": "quantitative", "axis": axis(title), "scale": {"zero": True}}


def axis(title: str, **more: Any) -> Spec:
    """An axis of numbers: a few lines, a title, nothing else."""
    return {"title": title or None, "tickCount": 4, "domain": False, "ticks": False, **more}


def time_axis(field: str, start: datetime, end: datetime) -> Spec:
    """The axis of time, from edge to edge."""
    return {
        "field": field,
        "type": "temporal",
        "scale": {
            "type": "utc",
            # An expression, because numbers here would be taken for field values.
            "domain": {"expr": f"[{millis(start)}, {millis(end)}]"},
            "nice": False,
        },
        "axis": {
            "title": None,
            "grid": False,
            "tickCount": 8,
            "labelOverlap": True,
            "labelFlush": True,
            "format": _DATES,
        },
    }


def _when() -> Spec:
    """The slice in words, for tooltips."""
    return {
        "calculate": "utcFormat(datum.start, '%-d %b, %H:%M:%S') + ' to ' + "
        "utcFormat(datum.end, '%H:%M:%S') + ' UTC'",
        "as": "time",
    }


def _slice(row: Slice) -> Spec:
    start, end = millis(row.start), millis(row.end)
    return {"start": start, "end": end, "at": start + (end - start) // 2, "answers": row.answers}


def _parts(rows: Sequence[Slice]) -> list[tuple[int, Slice]]:
    """Each row with the number of its line: a pause begins another one."""
    part, made = 0, []
    for place, row in enumerate(rows):
        if place and row.start > rows[place - 1].end:
            part += 1
        made.append((part, row))
    return made


def _cut(names: Sequence[str]) -> list[str]:
    """Names that fit beside bars, and still differ."""
    made: list[str] = []
    for name in names:
        text = name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
        made.append(f"{text} ({len(made) + 1})" if text in made else text)
    return made


def _number(value: float) -> str:
    """Three digits, without powers of ten where people would not write them."""
    text = f"{value:.3g}"
    return f"{value:.0f}" if "e" in text and 1 <= abs(value) < 1e6 else text


def millis(when: datetime) -> int:
    """Milliseconds since 1970 UTC, as JavaScript counts."""
    return round(when.timestamp() * 1000)
