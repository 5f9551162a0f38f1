"""What a drill leaves: a page that a person reads and files."""

from pathlib import Path
from typing import Any

import msgspec

from andon.drill.exercises import DrillReport

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Fire drill {{ report.at }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.1rem; margin: 2rem 0 .25rem }
table { border-collapse: collapse; width: 100% }
td { border-top: 1px solid #8884; padding: .35rem .5rem .35rem 0; vertical-align: top }
td:last-child { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
td:first-child { width: 4rem; font-weight: 600 }
.no { color: #b3261e } .meta { opacity: .7 }
@media (prefers-color-scheme: dark) { .no { color: #ff8a80 } }
</style>
</head>
<body>
<h1>
{{ "Every alarm, approval and rollback worked" if report.passed else "Something did not work" }}
</h1>
<p class="meta">Fire drill of {{ report.at }} UTC, in a sandbox with made-up boards and rows.
Policy: {{ report.policy }}.</p>
{% for note in report.notes %}
<p class="no">{{ note }}</p>
{% endfor %}
{% for one in report.exercises %}
<h2 class="{{ '' if one.passed else 'no' }}">{{ one.title }}</h2>
<p class="meta">{{ one.answers }} sent after the fault, {{ one.failed }} without an answer.</p>
{% if one.note %}
<p>{{ one.note }}</p>
{% endif %}
<table>
{% for step in one.steps %}
<tr><td class="{{ '' if step.ok else 'no' }}">{{ "yes" if step.ok else "NO" }}</td>
<td>{{ step.text }}</td>
<td>{{ "" if step.seconds is none else "%.1f s" % step.seconds }}</td></tr>
{% endfor %}
</table>
{% endfor %}
</body>
</html>
"""


def write(report: DrillReport, folder: Path) -> Path:
    """Write a drill's report as JSON and as a page.

    Args:
        report: What was found.
        folder: Where to; made if missing.

    Returns:
        The page; the JSON has the same name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told, page = (folder / f"drill-{report.at}.{kind}" for kind in ("json", "html"))
    told.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    page.write_text(html(report), encoding="utf-8")
    return page


def html(report: DrillReport) -> str:
    """The page, on its own: no script, nothing from elsewhere."""
    from jinja2 import Environment  # noqa: PLC0415 - takes 3 MB

    made: Any = Environment(autoescape=True, trim_blocks=True)
    text: str = made.from_string(_PAGE).render(report=report)
    return text
