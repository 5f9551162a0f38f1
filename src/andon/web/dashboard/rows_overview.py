"""The Overview of a model of rows: does it answer, and how."""

from andon.platform import Platform
from andon.web.dashboard import reading, rows, state
from andon.web.dashboard.minutes import last_hour
from andon.web.dashboard.overview import EVENTS, LATEST, strip
from andon.web.dashboard.training_contexts import RowOverviewPage


def page(platform: Platform, model: str) -> RowOverviewPage:
    """The context of the Overview for one model of rows."""
    db = platform.db
    facts = state.look(platform, model)
    latency = db.predictions.latency_percentiles(model)
    latest, _ = db.predictions.page(model=model, limit=LATEST)
    record = next((one for one in facts.versions if one.is_active), None)
    if record is not None:
        # With its card, which lists leave out.
        record = db.models.get(model, record.version)
    schema = rows.schema_of(record)
    measured = latency["count"] > 0
    classes = schema.classes if schema else ()
    return RowOverviewPage(
        shell=reading.shell(
            platform,
            page="overview",
            title="Overview",
            model=model,
            lamp=state.judge(facts),
            names=db.models.names(),
        ),
        one=rows.row_version(platform, record) if record else None,
        answers=tuple(rows.class_text(schema, value) for value in classes),
        threshold=schema.threshold if schema and schema.positive is not None else None,
        strip=strip(last_hour(platform, model), "row"),
        total=db.predictions.stats(model)["total_inferences"],
        live=rows.live(platform, record),
        latency_p50=latency["p50"] if measured else None,
        latency_p95=latency["p95"] if measured else None,
        waiting=facts.waiting,
        queue_size=platform.settings.queue_size,
        jobs=platform.jobs.size(),
        positive=rows.positive_text(schema),
        latest=tuple(rows.line(row, schema) for row in latest),
        events=tuple(reading.event(one) for one in facts.events[:EVENTS]),
    )
