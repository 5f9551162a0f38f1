"""The page of one replay: how far it is, and every answer that flips."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from andon.errors import NotFound
from andon.platform import Platform
from andon.runtimes.rows import RowSchema
from andon.serving.replay import KIND
from andon.store.records import Job
from andon.web.dashboard import acting_reading, reading, rows
from andon.web.dashboard.acting_contexts import Flip, Pager, ReplayPage
from andon.web.dashboard.approvals import shell
from andon.web.dashboard.traffic_contexts import Tone
from andon.web.dashboard.wording import count, exact, millis, plural, score, verdict

PAGE = 30
_STATUS: dict[str, tuple[str, Tone]] = {
    "queued": ("Waiting", "none"),
    "running": ("Running", "none"),
    "succeeded": ("Done", "good"),
    "failed": ("Failed", "stop"),
}
_KINDS = {
    "verdict": "Finds something where nothing was found, or nothing where something was",
    "labels": "Finds other defects",
    "boxes": "Finds them at other places",
    "class": "Answers another class",
    "failed": "Has no answer",
    "probability": "Same answer, surer or less sure",
}
_SHORT = {
    "verdict": "Other verdict",
    "labels": "Other defects",
    "boxes": "Other places",
    "class": "Other class",
    "failed": "No answer",
    "probability": "Same answer",
}


def page(platform: Platform, job_id: str, *, start: int = 0) -> ReplayPage:
    """The context of a replay's page.

    Args:
        platform: What everything is read from.
        job_id: The job.
        start: Flips to leave out from the beginning.

    Raises:
        NotFound: There is no such replay.
    """
    job = platform.db.jobs.get(job_id)
    if job.kind != KIND:
        raise NotFound(f"{job_id} is no replay.", hint="A version's page lists its replays.")
    result = dict(job.result) if isinstance(job.result, dict) else {}
    about = {**job.payload, **result}
    model = str(about.get("model") or "")
    flips = [
        one
        for name in ("flips", "moves")
        for one in result.get(name) or ()
        if isinstance(one, Mapping)
    ]
    start = max(0, min(start, len(flips) - 1)) if flips else 0
    newest = next(iter(platform.db.models.list(model)), None)
    schema = rows.schema_of(newest)
    labels = tuple(str(one) for one in newest.description.get("labels") or ()) if newest else ()
    told, tone = _STATUS.get(job.status, (job.status.capitalize(), "none"))
    done = progress(platform, job)
    return ReplayPage(
        shell=shell(platform, "models", f"Replay through {model} v{about.get('version')}", model),
        id=job.id,
        status=job.status,
        told=told,
        tone=tone,
        model=model,
        version=int(about.get("version") or 0),
        progress=done[0] / done[1] if done and done[1] else 0.0 if done else None,
        sentence=sentence(job, result, done),
        error=job.error if job.status == "failed" else "",
        facts=_facts(about, job),
        kinds=_kinds(result),
        flips=tuple(_flip(platform, one, labels, schema) for one in flips[start : start + PAGE]),
        flipped=int(result.get("flipped") or 0),
        rows=schema is not None,
        pager=Pager(
            older=f"/replays/{quote(job.id)}?start={start + PAGE}"
            if start + PAGE < len(flips)
            else "",
            newer=f"/replays/{quote(job.id)}" if start else "",
        ),
    )


def progress(platform: Platform, job: Job) -> tuple[int, int] | None:
    """Inputs done and inputs in all; zeros where that is not known, None when it has ended."""
    if job.status not in {"queued", "running"}:
        return None
    return platform.replays.progress(job.id) or (0, 0)


def sentence(job: Job, result: Mapping[str, Any], done: tuple[int, int] | None) -> str:
    """What came of a replay, or how far it is."""
    if job.status == "queued":
        return "It waits for its turn; what serves goes first."
    if job.status == "failed":
        return "The replay failed. Nothing was changed."
    if done is not None:
        of = f"{count(done[0])} of {plural(done[1], 'input')} done. " if done[1] else ""
        return f"{of}Stored inputs are run through the version; what serves goes first."
    replayed = int(result.get("replayed") or 0)
    flipped = int(result.get("flipped") or 0)
    missing = int(result.get("missing_pictures") or 0)
    lost = f"{plural(missing, 'picture is', 'pictures are')} no longer kept" if missing else ""
    if not replayed:
        return f"Nothing could be replayed: {lost or 'there was no stored input of that time'}."
    words = f"{plural(replayed, 'stored answer')} replayed: "
    words += plural(flipped, "flips", "flip") if flipped else "none flips"
    stopped = str(result.get("stopped") or "")
    return ". ".join(one for one in (words, lost, stopped.removesuffix(".")) if one) + "."


def _facts(about: Mapping[str, Any], job: Job) -> tuple[tuple[str, str], ...]:
    found = [("Model", str(about.get("model") or "–")), ("Version", f"v{about.get('version')}")]
    against = about.get("against")
    if against:
        found.append(("Compared with", f"v{against}" if isinstance(against, int) else str(against)))
    for name, key in (("From", "since"), ("Until", "until")):
        at = acting_reading.moment(about.get(key))
        if at is not None:
            found.append((name, exact(at)))
    for name, key in (
        ("Replayed", "replayed"),
        ("Same", "same"),
        ("Left out", "skipped"),
        ("No picture", "missing_pictures"),
    ):
        if isinstance(about.get(key), int):
            found.append((name, count(about[key])))
    found += _times(about.get("took"))
    found.append(("Asked for", exact(job.created_at)))
    if job.finished_at:
        found.append(("Ended", exact(job.finished_at)))
    return tuple(found)


def _times(took: Any) -> list[tuple[str, str]]:
    """How long both versions take, in the model."""
    if not isinstance(took, Mapping):
        return []
    named = (("Time in this version", "candidate_p50"), ("Time when answered", "active_p50"))
    return [(name, millis(took[key])) for name, key in named if took.get(key) is not None]


def _kinds(result: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """How many answers flip in which way, the most frequent first."""
    counted = sorted((result.get("by_kind") or {}).items(), key=lambda item: -int(item[1]))
    found = [(_KINDS.get(kind, kind), int(number)) for kind, number in counted if number]
    moved = int(result.get("moved") or 0)
    return (*found, (_KINDS["probability"], moved)) if moved else tuple(found)


def _flip(
    platform: Platform,
    flip: Mapping[str, Any],
    labels: tuple[str, ...],
    schema: RowSchema | None,
) -> Flip:
    """One answer that flips, with the picture where it is still kept."""
    prediction = str(flip.get("prediction_id") or "")
    kind = str(flip.get("kind") or "")
    before, after = dict(flip.get("before") or {}), dict(flip.get("after") or {})
    width, height = int(flip.get("image_width") or 0), int(flip.get("image_height") or 0)
    picture = ""
    if width and height:
        try:
            picture = reading.picture_url(platform, platform.db.predictions.get(prediction))
        except NotFound:
            picture = ""
    return Flip(
        id=prediction,
        href=f"/inspect?id={quote(prediction)}",
        name=str(flip.get("image_name") or flip.get("subject") or prediction),
        kind=_SHORT.get(kind, kind),
        before=said(before, schema),
        after=said(after, schema),
        picture=picture,
        width=width,
        height=height,
        boxes_before=reading.found(before.get("detections") or (), labels),
        boxes_after=reading.found(after.get("detections") or (), labels),
    )


def said(answer: Mapping[str, Any], schema: RowSchema | None = None) -> str:
    """An answer in words."""
    if answer.get("error"):
        return str(answer["error"])
    odds = answer.get("probability")
    if answer.get("prediction") is not None and not answer.get("detections"):
        words = rows.class_text(schema, answer["prediction"])
        return f"{words} {score(odds)}" if odds is not None else words
    return verdict(answer.get("detections") or (), float(answer.get("threshold") or 0.0))
