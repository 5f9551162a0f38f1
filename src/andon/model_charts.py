"""Charts of what a trained model can do; drawn as `charts.py` says."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from andon.charts import Spec, specification

# Heights, pixels, axes included.
CURVE_HEIGHT = 300
_ROW = 26
_AXIS = 52
# A calibration bin's dot: its area grows with its rows, between these, square pixels.
_SMALLEST, _LARGEST = 40, 420
# Characters of a feature's name beside its bar; the tooltip and the table have all of it.
_NAME = 24


class Point(NamedTuple):
    """A point of a curve; both axes are 0 to 1."""

    x: float
    y: float


class Bin(NamedTuple):
    """Rows whose predicted probabilities lie together: what was said, and what came true."""

    predicted: float
    observed: float
    rows: int


class Weight(NamedTuple):
    """How much the metric loses when a feature is shuffled: mean and standard deviation."""

    feature: str
    mean: float
    std: float


def roc(points: Sequence[Point], chosen: Point | None) -> Spec:
    """Share of the positive rows found, over the share of the others called positive.

    Args:
        points: In order of the curve.
        chosen: Where the model's own threshold lies, marked; None where it is not known.
    """
    return _curve(
        points,
        chosen,
        x="False positive rate",
        y="True positive rate",
        guide=[{"x": 0.0, "y": 0.0}, {"x": 1.0, "y": 1.0}],
    )


def precision_recall(points: Sequence[Point], chosen: Point | None, share: float | None) -> Spec:
    """Precision over recall; `share` of positive rows is what guessing would reach."""
    guide = [] if share is None else [{"x": 0.0, "y": share}, {"x": 1.0, "y": share}]
    return _curve(points, chosen, x="Recall", y="Precision", guide=guide)


def calibration(bins: Sequence[Bin]) -> Spec:
    """What came true over what was said; on the diagonal probabilities mean what they say."""
    values = [
        {"x": round(one.predicted, 4), "y": round(one.observed, 4), "rows": one.rows}
        for one in bins
    ]
    return specification(
        values,
        height=CURVE_HEIGHT,
        layer=[
            _guide([{"x": 0.0, "y": 0.0}, {"x": 1.0, "y": 1.0}]),
            {
                "mark": {"type": "point", "color": "--working", "filled": True, "opacity": 0.9},
                "encoding": {
                    "x": _share("x", "Predicted"),
                    "y": _share("y", "Observed"),
                    "size": {
                        "field": "rows",
                        "type": "quantitative",
                        "scale": {"range": [_SMALLEST, _LARGEST]},
                        "legend": None,
                    },
                    "tooltip": [
                        {"field": "x", "title": "Predicted", "format": ".2f"},
                        {"field": "y", "title": "Observed", "format": ".2f"},
                        {"field": "rows", "title": "Rows", "format": ",d"},
                    ],
                },
            },
        ],
    )


def importance(weights: Sequence[Weight], metric: str) -> Spec:
    """A bar per feature, the weightiest on top, with the spread as a line."""
    names = short_names([one.feature for one in weights])
    values = [
        {
            "name": name,
            "feature": one.feature,
            "mean": round(one.mean, 5),
            "std": round(one.std, 5),
            "low": round(one.mean - one.std, 5),
            "high": round(one.mean + one.std, 5),
        }
        for name, one in zip(names, weights, strict=True)
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
            "labelLimit": 180,
        },
    }
    amount: Spec = {
        "type": "quantitative",
        "axis": {
            "title": f"Loss of {metric} when shuffled",
            "tickCount": 5,
            "domain": False,
            "ticks": False,
        },
    }
    return specification(
        values,
        height=importance_height(len(weights)),
        layer=[
            {
                "mark": {"type": "bar", "color": "--working", "height": 14, "cornerRadius": 2},
                "encoding": {
                    "y": row,
                    "x": amount | {"field": "mean"},
                    "tooltip": [
                        {"field": "feature", "title": "Feature"},
                        {"field": "mean", "title": "Mean", "format": ".3f"},
                        {"field": "std", "title": "Standard deviation", "format": ".3f"},
                    ],
                },
            },
            {
                "mark": {"type": "rule", "color": "--ink", "strokeWidth": 1.5},
                "encoding": {"y": row, "x": amount | {"field": "low"}, "x2": {"field": "high"}},
            },
        ],
    )


def short_names(names: Sequence[str]) -> list[str]:
    """Names that fit beside bars and still differ: of long ones, where they part from the next."""
    made: list[str] = []

    def shared(one: str, other: str) -> int:
        pairs = enumerate(zip(one, other, strict=False))
        return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))

    for name in names:
        text = name
        if len(name) > _NAME:
            room = _NAME - 2
            parts = max((shared(name, one) for one in names if one != name), default=0)
            start = max(0, min(parts - room // 2, len(name) - room))
            text = "…" * (start > 0) + name[start : start + room]
            text += "…" * (start + room < len(name))
        # Two bars with one name would be drawn as one.
        made.append(f"{text} ({len(made) + 1})" if text in made else text)
    return made


def importance_height(features: int) -> int:
    """Height of a chart of so many features, pixels."""
    return max(1, features) * _ROW + _AXIS


def _curve(
    points: Sequence[Point],
    chosen: Point | None,
    *,
    x: str,
    y: str,
    guide: list[dict[str, Any]],
) -> Spec:
    values = [
        {"place": place, "x": round(one.x, 4), "y": round(one.y, 4)}
        for place, one in enumerate(points)
    ]
    tooltip = [
        {"field": "x", "title": x, "format": ".2f"},
        {"field": "y", "title": y, "format": ".2f"},
    ]
    both: Spec = {"x": _share("x", x), "y": _share("y", y)}
    layer: list[Spec] = [
        {
            "mark": {"type": "line", "color": "--working", "strokeWidth": 2},
            # In the curve's own order: several points may share an x.
            "encoding": {**both, "order": {"field": "place", "type": "quantitative"}},
        },
        {
            # Nothing to see: what the pointer finds.
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 0},
            "encoding": {**both, "tooltip": tooltip},
        },
    ]
    if guide:
        layer.insert(0, _guide(guide))
    if chosen is not None:
        mark = {"x": round(chosen.x, 4), "y": round(chosen.y, 4)}
        layer.append(
            {
                "data": {"values": [mark]},
                "mark": {
                    "type": "point",
                    "filled": True,
                    "size": 110,
                    "color": "--ink",
                    "stroke": "--surface",
                    "strokeWidth": 2,
                    "opacity": 1,
                },
                "encoding": {**both, "tooltip": tooltip},
            }
        )
    return specification(values, height=CURVE_HEIGHT, layer=layer)


def _guide(values: list[dict[str, Any]]) -> Spec:
    """What guessing, or a perfect probability, would look like."""
    return {
        "data": {"values": values},
        "mark": {"type": "line", "color": "--muted", "strokeDash": [5, 4], "strokeWidth": 1},
        "encoding": {
            "x": {"field": "x", "type": "quantitative"},
            "y": {"field": "y", "type": "quantitative"},
        },
    }


def _share(field: str, title: str) -> Spec:
    """An axis from 0 to 1."""
    return {
        "field": field,
        "type": "quantitative",
        "scale": {"domain": [0, 1], "nice": False},
        "axis": {"title": title, "tickCount": 5, "domain": False, "ticks": False, "format": ".1f"},
    }
