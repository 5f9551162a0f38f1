"""A drift report as one page that needs nothing else: to read, to print, to send to somebody.

No script, nothing loaded; the bars are SVG, the one style is allowed by its hash (`POLICY`).
"""

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from andon.monitoring.drift import measuring, report
from andon.monitoring.drift.reference import describe_side
from andon.monitoring.drift.report import FeatureDrift, Findings, Histogram, Side
from andon.store.records import DriftReport

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5b6570; --line: #d8dde2;
  --paper: #ffffff; --panel: #f6f7f9; --before: #8a97a5; --now: #1f6feb; --bad: #c4320a;
  --good: #1a7f37; --unsure: #8a6100; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa5b1; --line: #343a41;
  --paper: #14171a; --panel: #1c2025; --before: #6b7785; --now: #58a6ff; --bad: #ff8f6b;
  --good: #57ab5a; --unsure: #d4a72c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.5rem; line-height: 1.3; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
h3 { font-size: 1rem; margin: 0 0 .25rem; }
p { margin: .25rem 0; max-width: 46rem; }
.soft { color: var(--soft); }
.verdict { border-left: .4rem solid var(--soft); padding: .25rem 0 .25rem 1rem; }
.verdict.drift { border-color: var(--bad); }
.verdict.none { border-color: var(--good); }
.verdict.unknown { border-color: var(--unsure); }
.charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); }
.chart { background: var(--panel); border: 1px solid var(--line); border-radius: .4rem;
  padding: .75rem; break-inside: avoid; }
.chart svg { width: 100%; height: auto; display: block; margin-top: .5rem; }
.bad { color: var(--bad); font-weight: 600; }
.unsure { color: var(--unsure); font-weight: 600; }
.before { fill: var(--before); } .now { fill: var(--now); }
.axis { stroke: var(--line); } text { fill: var(--soft); font: 10px system-ui, sans-serif; }
.key { display: inline-block; width: .7rem; height: .7rem; }
.key.before { background: var(--before); } .key.now { background: var(--now); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line);
  vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media print { main { max-width: none; padding: 0; } body { font-size: 11pt; } }
"""

_INSIDE = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; "
    "style-src 'sha256-" + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode() + "'"
)
POLICY = f"{_INSIDE}; frame-ancestors 'none'"
"""The Content-Security-Policy to send with a page."""

_MOST_CHARTS = 12
_WIDTH, _HEIGHT, _FOOT = 260, 90, 16
_MOST_BARS = 24
_LONGEST_NAME = 14
_HEADS = {"drift": "Drift", "none": "No drift", "unknown": "Not enough data"}
_SOURCES = {
    "training": "training data",
    "learned": "learned from the first answers",
    "pinned": "pinned",
}


def page(stored: DriftReport) -> str:
    """The page of a stored report.

    Raises:
        msgspec.ValidationError: The report has a shape unknown here.
    """
    found = report.findings(stored.report)
    title = f"{_HEADS[found.verdict]}: {found.model} v{found.version}"
    body = [
        f'<div class="verdict {found.verdict}"><h1>{escape(title)}</h1>',
        f"<p>{escape(found.summary)}</p></div>",
        _about(found),
        _moved(found.features),
        _variance(found),
        _table(found.features),
        _compared(found, stored),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        # A page that somebody keeps or sends has no header any more.
        f'<meta http-equiv="Content-Security-Policy" content="{_INSIDE}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _about(found: Findings) -> str:
    said = []
    if found.on_demand:
        said.append(
            "Somebody asked for this look: one window alone decided, and about one such look in a "
            "hundred finds drift where there is none."
        )
    if found.left_out:
        sick = ", ".join(f"{count} {state}" for state, count in sorted(found.left_out.items()))
        said.append(f"Pictures left out because their camera was sick: {sick}.")
    said += found.notes
    return "".join(f'<p class="soft">{escape(line)}</p>' for line in said)


def _moved(features: Sequence[FeatureDrift]) -> str:
    drawn = [feature for feature in features if feature.histogram is not None]
    if not drawn:
        return ""
    charts = "".join(_chart(feature) for feature in drawn[:_MOST_CHARTS])
    rest = len(drawn) - _MOST_CHARTS
    more = f'<p class="soft">{rest} more are in the table below.</p>' if rest > 0 else ""
    return (
        "<h2>What moved most</h2>"
        '<p class="soft"><span class="key before"></span> reference '
        '<span class="key now"></span> this window</p>'
        f'<div class="charts">{charts}</div>{more}'
    )


def _chart(feature: FeatureDrift) -> str:
    histogram = feature.histogram
    assert histogram is not None
    state = ""
    if feature.drifted:
        state = ' <span class="bad">drift</span>'
    elif feature.suspected:
        state = ' <span class="unsure">perhaps</span>'
    moved = f"{report.moved(feature)}."
    return (
        f'<section class="chart"><h3>{escape(feature.title)}{state}</h3>'
        f'<p class="soft">{escape(moved)}</p>{_svg(histogram, moved)}</section>'
    )


def _svg(histogram: Histogram, label: str) -> str:
    """Bars of the two side by side, bin by bin."""
    count = min(len(histogram.reference), _MOST_BARS)
    top = max([*histogram.reference[:count], *histogram.window[:count], 1e-9])
    step = _WIDTH / max(1, count)
    bars = []
    for index in range(count):
        pair = (("before", histogram.reference[index]), ("now", histogram.window[index]))
        for side, (name, share) in enumerate(pair):
            height = _HEIGHT * share / top
            x = index * step + side * step * 0.45 + step * 0.05
            bars.append(
                f'<rect class="{name}" x="{x:.1f}" y="{_HEIGHT - height:.1f}" '
                f'width="{step * 0.42:.1f}" height="{height:.1f}"/>'
            )
    names = _names(histogram, count, step)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + _FOOT}" role="img" aria-label="{escape(label)}">'
        + "".join(bars)
        + f'<line class="axis" x1="0" y1="{_HEIGHT}" x2="{_WIDTH}" y2="{_HEIGHT}"/>{names}</svg>'
    )


def _names(histogram: Histogram, count: int, step: float) -> str:
    base = _HEIGHT + 12
    if histogram.categories is not None:
        every = max(1, -(-count * 44 // _WIDTH))
        return "".join(
            f'<text x="{(index + 0.5) * step:.1f}" y="{base}" text-anchor="middle">'
            f"{escape(_cut(histogram.categories[index]))}</text>"
            for index in range(0, count, every)
        )
    edges = histogram.edges or []
    if len(edges) < 2:
        return ""
    return (
        f'<text x="{step:.1f}" y="{base}" text-anchor="start">{edges[0]:.4g}</text>'
        f'<text x="{_WIDTH - step:.1f}" y="{base}" text-anchor="end">{edges[-1]:.4g}</text>'
    )


def _variance(found: Findings) -> str:
    rule = found.variance
    if rule is None or rule.value is None:
        return ""
    usual = "" if rule.baseline is None else f" In the reference it was {rule.baseline:.3g}."
    beyond = "over" if rule.exceeded else "within"
    return (
        "<h2>Variance of the scores</h2>"
        f"<p>The variance of {rule.count:,} scores, also of those under the threshold, is "
        f"{rule.value:.3g}: {beyond} the threshold of {rule.threshold:.3g}.{usual}</p>"
    )


def _table(features: Sequence[FeatureDrift]) -> str:
    if not features:
        return ""
    heads = (
        ("feature", ""), ("verdict", ""), ("distance", "number"), ("drift from", "number"),
        ("of", ""), ("effect", "number"), ("p, adjusted", "number"), ("before", "number"),
        ("now", "number"), ("missing", "number"), ("answers", "number"),
    )  # fmt: skip
    head = "".join(f'<th scope="col" class="{kind}">{escape(name)}</th>' for name, kind in heads)
    rows = "".join(f"<tr>{_row(feature)}</tr>" for feature in features)
    return (
        "<h2>All features</h2>"
        '<p class="soft">A distance is a share of the answers: 0 where both look alike, 1 where '
        "they have nothing in common. Drift begins beyond what is tolerated and what chance can "
        f"add; the p-values are adjusted for all features together, and {measuring.ORDINARY:g} is "
        "the level. The effect of a number is how far it moved on the whole, in standard "
        "deviations of the reference.</p>"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        "</div>"
    )


def _row(feature: FeatureDrift) -> str:
    verdict = "–"
    if feature.drifted:
        verdict = '<span class="bad">drift</span>'
    elif feature.suspected:
        verdict = '<span class="unsure">perhaps</span>'
    elif feature.distance is not None:
        verdict = "none"
    missing = f"{100 * feature.missing_before:.3g} → {100 * feature.missing_after:.3g} %"
    cells = (
        (report.shown(feature.distance), "number"),
        (report.shown(feature.threshold), "number"),
        (f"{feature.test}, {feature.measure}" if feature.measure else "–", ""),
        (report.shown(feature.effect), "number"),
        (report.shown(feature.adjusted_p), "number"),
        (report.shown(feature.before), "number"),
        (report.shown(feature.after), "number"),
        (missing, "number"),
        (f"{feature.count:,}", "number"),
    )
    return f'<th scope="row">{escape(feature.title)}</th><td>{verdict}</td>' + "".join(
        f'<td class="{kind}">{escape(text)}</td>' for text, kind in cells
    )


def _compared(found: Findings, stored: DriftReport) -> str:
    window = f"{found.window.count:,} {found.kind}{_times(found.window)}"
    against = describe_side(found.reference, found.kind)
    source = _SOURCES.get(found.reference.source, "") if found.reference else ""
    lines = {
        "Window": window,
        "Reference": f"{against} ({source})" if source else against,
        "Model": f"{found.model} v{found.version}",
        "Looked at": _moment(found.looked_at),
        "Report": stored.report_id,
    }
    entries = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in lines.items())
    return f"<h2>What was compared</h2><dl>{entries}</dl>"


def _times(side: Side) -> str:
    if side.since is None or side.until is None:
        return ""
    return f", {_moment(side.since)} to {_moment(side.until)}"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
