"""The eye telemetry in MLflow: one run per day, with a point of each metric per minute.

Only `andon.training.mlflow_child` imports this.
"""

import hashlib
import time
from typing import Any

import msgspec
from mlflow.entities import Metric, Param

from andon.training.mlflow_runs import ROLE, Runs
from andon.training.mlflow_tasks import TELEMETRY_EXPERIMENT, Day

_CHUNK = 1000  # metrics that one request may carry
_DAY = "andon.day"
_DIGEST = "andon.telemetry_digest"
_SECONDS = 86_400


def send(runs: Runs, days: tuple[Day, ...]) -> list[str]:
    """Log the days that MLflow does not have, or has with other numbers; which they were.

    A day that changed since (a device was late) gets a new run, and the old one is deleted.
    """
    if not days:
        return []
    experiment = runs.experiment(TELEMETRY_EXPERIMENT)
    sent = []
    for day in days:
        digest = hashlib.sha256(msgspec.json.encode(day)).hexdigest()
        there = runs.find(experiment, role="telemetry", day=day.day)
        if there is not None:
            if there.data.tags.get(_DIGEST) == digest:
                continue
            runs.forget(experiment, there.info.run_id)
        _log(runs, experiment, day, digest)
        sent.append(day.day)
    return sent


def _log(runs: Runs, experiment: str, day: Day, digest: str) -> None:
    client = runs.client
    run = client.create_run(
        experiment,
        start_time=day.start * 1000,
        run_name=f"telemetry-{day.day}",
        tags={ROLE: "telemetry", _DAY: day.day, "mlflow.source.name": "andon telemetry"},
    )
    run_id = run.info.run_id
    points = [
        Metric(name, value, (day.start + minute * 60) * 1000, minute)
        for minute, *sums in day.minutes
        for name, value in _metrics(*sums).items()
    ]
    for first in range(0, len(points), _CHUNK):
        client.log_batch(run_id, metrics=points[first : first + _CHUNK])
    parameters = _parameters(day)
    client.log_batch(run_id, params=[Param(name, str(one)) for name, one in parameters.items()])
    # Last: a run without it is written again.
    client.set_tag(run_id, _DIGEST, digest)
    client.set_terminated(run_id, "FINISHED", (day.start + _SECONDS) * 1000)


def _metrics(events: int, drowsy: int, ear_sum: int, duration_sum: int) -> dict[str, float]:
    """One minute; the names and units are those of GET /statistics."""
    return {
        "events": events,
        "drowsy": drowsy,
        "average_ear": ear_sum / events / 1e6,
        "average_duration_ms": duration_sum / events / 1e3,
        "drowsiness_rate": drowsy / events * 100,
    }


def _parameters(day: Day) -> dict[str, Any]:
    """The day as a whole."""
    sums = [sum(column) for column in zip(*(minute[1:] for minute in day.minutes), strict=True)]
    whole = _metrics(*sums)
    return {
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(day.start)),
        "minutes": len(day.minutes),
        "events": sums[0],
        "drowsy": sums[1],
        **{f"day_{name}": round(whole[name], 6) for name in list(whole)[2:]},
    }
