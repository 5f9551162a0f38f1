"""The report of an action: one page for people that needs no server, and the same as JSON."""

from datetime import datetime, timedelta
from typing import Any

import jinja2
import msgspec
import structlog

from andon.agent import files
from andon.agent.files import Made
from andon.agent.means import Means
from andon.errors import AndonError
from andon.store.clock import now
from andon.store.records import AgentAction, ModelVersion

log = structlog.get_logger("andon.agent")

_DAYS = timedelta(days=7)
_MOST = 50


class Written(msgspec.Struct, frozen=True):
    """A report, written.

    Attributes:
        summary: A sentence.
        files: The page and the JSON.
        drift_report: Id of the drift report that was made for it, or None.
    """

    summary: str
    files: tuple[Made, ...]
    drift_report: str | None


def write(means: Means, action: AgentAction, version: ModelVersion) -> Written:
    """Write the report of an action about a version.

    Raises:
        StorageFull: A file cannot be written.
    """
    facts = _facts(means, action, version)
    base = f"{action.action_id}-report"
    folder = means.settings.reports
    page = _TEMPLATE.render(facts).strip().encode()
    plain = msgspec.json.format(msgspec.json.encode(facts, enc_hook=str), indent=2)
    made = (
        files.put(folder, f"{base}.html", page, "text/html; charset=utf-8"),
        files.put(folder, f"{base}.json", plain, "application/json"),
    )
    drift = facts["drift"]
    bad = sum(one["state"] == "bad" for one in facts["signals"])
    return Written(
        f"The report on v{version.version} of {version.model} says what happened: "
        f"{bad} of {len(facts['signals'])} numbers are bad.",
        made,
        drift["report_id"] if drift else None,
    )


def _facts(means: Means, action: AgentAction, version: ModelVersion) -> dict[str, Any]:
    moment = now()
    model = version.model
    since = moment - _DAYS
    signals = [one for one in means.signals() if one.model == model]
    # Those the action was decided on, where none are newer.
    shown = [msgspec.to_builtins(one) for one in signals] or action.evidence.get("signals", [])
    actions = [one for one in means.db.actions.recent(model, None, since) if one != action]
    window = means.windows().get(model)
    return {
        "title": f"Report on {model} v{version.version}",
        "made_at": _time(moment),
        "action_id": action.action_id,
        "model": model,
        "version": version.version,
        "reason": action.reason,
        "finding": action.evidence.get("finding"),
        "facts": {
            "File": version.filename,
            "Serves": "yes" if version.is_active else "no",
            "Deployed": _time(version.deployed_date),
            "Answers so far": version.total_inferences,
            "Accuracy when trained": version.accuracy,
            "Mean confidence so far": round(version.avg_confidence, 4),
        },
        "signals": sorted(shown, key=lambda one: (one.get("state") != "bad", one.get("name", ""))),
        "window": None if window is None else msgspec.to_builtins(window, enc_hook=str),
        "drift": _drift(means, version),
        "events": [
            {
                "at": _time(event.timestamp),
                "what": f"{event.event_type} v{event.model_version}",
                "by": event.actor,
                "why": event.reason,
            }
            for event in means.db.events.page(model=model, limit=_MOST)[0]
            if event.timestamp >= since
        ],
        "actions": [
            {
                "at": _time(one.created_at),
                "what": one.action_type.replace("_", " "),
                "status": "dry run" if one.dry_run else one.status,
                "why": one.reason,
                "helped": _helped(one),
            }
            for one in actions[:_MOST]
        ],
        "alerts": [
            {
                "at": _time(one.created_at),
                "severity": one.severity,
                "title": one.title,
                "status": one.status,
                "message": one.message,
            }
            for one in means.db.alerts.page(model=model, limit=_MOST)[0]
            if one.created_at >= since or one.status != "resolved"
        ],
    }


def _drift(means: Means, version: ModelVersion) -> dict[str, Any] | None:
    """A look at drift now; None where it cannot be had."""
    try:
        found = means.drift_report(version)
    except AndonError as error:
        log.info(f"A report goes without drift: {error}", model=version.model)
        return None
    if found is None:
        return None
    return {
        "report_id": found.report_id,
        "verdict": found.verdict,
        "score": found.drift_score,
        "features": list(found.drifted_features),
        "href": f"/drift/reports/{found.report_id}",
    }


def _helped(action: AgentAction) -> str:
    said = (action.follow_up or {}).get("summary")
    return str(said) if said else ""


def _time(moment: datetime | None) -> str:
    return "–" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _number(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Nested values as names and texts."""
    if isinstance(value, dict):
        return [pair for key, one in value.items() for pair in _flat(one, f"{name} {key}".strip())]
    if isinstance(value, list):
        return [(name, ", ".join(_number(one) for one in value[:20]))] if value else []
    return [(name.replace("_", " "), _number(value))]


_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; }
th, td { border-bottom: 1px solid #8886; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.bad { font-weight: 700; color: #c0392b; } .muted { opacity: .75; }
@media print { body { margin: 0; max-width: none; } }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<p class="muted">Made {{ made_at }} by Andon, action {{ action_id }}.</p>

<h2>What happened</h2>
{% if finding %}<p><strong>{{ finding.issue | replace("_", " ") | capitalize }}</strong>,
{{ finding.severity }}{% if finding.since %}, in answers since {{ finding.since }}{% endif %}.</p>
<p>{{ finding.summary }}</p>{% endif %}
<p>{{ reason }}</p>
<table>
{% for name, value in facts.items() %}<tr><th scope="row">{{ name }}</th>
<td>{{ value | number }}</td></tr>
{% endfor %}</table>

<h2>The numbers</h2>
{% if signals %}
<table>
<thead><tr><th>What</th><th>Now</th><th>Turns bad at</th><th>Usual</th>
<th>It means</th></tr></thead>
<tbody>
{% for one in signals %}<tr>
<td class="{{ one.state }}">{{ one.name | replace("_", " ") }}{% if one.subject %}
 ({{ one.subject }}){% endif %}<br><span class="{{ one.state }}">{{ one.state }}</span></td>
<td class="number">{{ one.value | number }}{% if one.estimated %} (estimated){% endif %}</td>
<td class="number">{{ one.threshold | number }}</td>
<td class="number">{{ one.baseline | number }}</td>
<td>{{ one.summary }}</td></tr>
{% endfor %}</tbody>
</table>
{% else %}<p>No detector has said anything of this model yet.</p>{% endif %}

<h2>The window of answers</h2>
{% if window %}<table>
{% for name, value in window | flat %}<tr><th scope="row">{{ name }}</th>
<td class="number">{{ value }}</td></tr>
{% endfor %}</table>
{% else %}<p>Nothing has been measured over a window yet.</p>{% endif %}

<h2>Drift</h2>
{% if drift %}<p>Verdict: <strong>{{ drift.verdict }}</strong>
{%- if drift.score is not none %}, score
{{ drift.score | number }} (1 is the threshold){% endif %}.
{% if drift.features %}Moved most: {{ drift.features | join(", ") }}.{% endif %}
The distributions are side by side at <code>{{ drift.href }}</code> on the server.</p>
{% else %}<p>Nothing can be said about drift.</p>{% endif %}

<h2>Deployments of the last 7 days</h2>
{{ rows(events, ["at", "what", "by", "why"]) }}

<h2>Actions of the last 7 days</h2>
{{ rows(actions, ["at", "what", "status", "why", "helped"]) }}

<h2>Alerts</h2>
{{ rows(alerts, ["at", "severity", "title", "status", "message"]) }}
</body>
</html>
"""

_ROWS = """\
{% macro rows(found, names) %}{% if found %}<table>
<thead><tr>{% for name in names %}<th>{{ name | capitalize }}</th>{% endfor %}</tr></thead>
<tbody>{% for one in found %}
<tr>{% for name in names %}<td>{{ one[name] }}</td>{% endfor %}</tr>{% endfor %}
</tbody></table>{% else %}<p>None.</p>{% endif %}{% endmacro %}
"""

_environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
_environment.filters.update(number=_number, flat=_flat)
_TEMPLATE = _environment.from_string(_ROWS + _PAGE)
