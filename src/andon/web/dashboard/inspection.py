"""The Inspect page: one inspection opened, the gallery of past ones, sample boards."""

import io
import time
from typing import Any
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from andon.errors import AndonError, NotFound
from andon.platform import Platform
from andon.runtimes.images import decode
from andon.store.records import ModelVersion, Prediction
from andon.web.dashboard import reading, state
from andon.web.dashboard.contexts import Gallery, InspectPage, Shown
from andon.web.dashboard.wording import at_least, unjudged

# What a slider can reach down to; runtimes drop candidates below it.
FLOOR = 0.05
PAGE = 24
# A filter that few inspections pass looks at so many before it gives up for this page.
LOOK_AT_MOST = 2_000
_STEP = 200
FILTERS = ("all", "found", "none", "camera", "failed")


def page(
    platform: Platform,
    model: str,
    *,
    shown_id: str = "",
    before: str = "",
    label: str = "",
    only: str = "all",
) -> InspectPage:
    """The context of the Inspect page.

    Args:
        platform: What everything is read from.
        model: Registered model.
        shown_id: Inspection to open; empty: none.
        before: Cursor of the gallery page; empty: the newest.
        label: Only inspections with this label.
        only: One of `FILTERS`.
    """
    row, missing = _opened(platform, shown_id)
    if row is not None:
        model = row.model
    lamp = state.judge(state.look(platform, model))
    record = platform.db.models.active(model)
    active = reading.version(platform, record) if record else None
    labels = active.labels if active else ()
    only = only if only in FILTERS else "all"
    return InspectPage(
        shell=reading.shell(
            platform,
            page="inspect",
            title=f"{row.image_name} · Inspect" if row else "Inspect",
            model=model,
            lamp=lamp,
            names=platform.db.models.names(),
        ),
        active=active if active and active.loaded else _answering(platform, model),
        shown=_shown(platform, row, labels) if row else None,
        missing=missing,
        gallery=gallery(platform, model, before=before, label=label, only=only, labels=labels),
        floor=FLOOR,
        max_bytes=platform.settings.max_image_bytes,
        samples=model == platform.settings.default_model and "mousebite" in labels,
    )


def _answering(platform: Platform, model: str) -> Any:
    """The version that really answers when the active one does not, or None."""
    slot = platform.engine.slot(model)
    return reading.version(platform, slot.version) if slot is not None else None


def _opened(platform: Platform, shown_id: str) -> tuple[Prediction | None, str]:
    if not shown_id:
        return None, ""
    try:
        row = platform.db.predictions.get(shown_id.lower())
    except NotFound:
        return None, (
            "This inspection is not in the log. It may have been removed, or the link is cut short."
        )
    if row.status != "success":
        return None, f"{row.image_name or 'This picture'} could not be inspected. {row.error}"
    return row, ""


def _shown(platform: Platform, row: Prediction, labels: tuple[str, ...]) -> Shown:
    best = row.prediction is not None and row.probability is not None
    return Shown(
        inspection=reading.inspection(platform, row, labels),
        image=reading.picture_url(platform, row),
        width=row.image_width or 0,
        height=row.image_height or 0,
        found=reading.found(row.detections, labels),
        classes=((row.prediction or "", row.probability or 0.0),) if best else (),
        anomaly=row.probability if row.prediction is None else None,
        latency_ms=row.latency_ms,
        inference_ms=row.inference_time * 1000,
        cached=row.cached,
        threshold=row.threshold or 0.0,
    )


def gallery(
    platform: Platform,
    model: str,
    *,
    before: str,
    label: str,
    only: str,
    labels: tuple[str, ...] = (),
) -> Gallery:
    """One page of past inspections, newest first."""
    status = "error" if only == "failed" else "success" if only != "all" else None
    rows: list[Prediction] = []
    cursor: str | None = before or None
    looked = 0
    more = True
    while more and len(rows) < PAGE and looked < LOOK_AT_MOST:
        limit = PAGE - len(rows) if only in {"all", "failed"} else _STEP
        batch, following = platform.db.predictions.page(
            model=model, label=label or None, status=status, before=cursor, limit=limit
        )
        for row in batch:
            looked += 1
            cursor = row.id
            if _passes(row, only):
                rows.append(row)
                if len(rows) == PAGE:
                    break
        more = following is not None or (bool(batch) and cursor != batch[-1].id)
    fixed = {"model": model, "label": label, "only": only if only != "all" else ""}
    query = {key: value for key, value in fixed.items() if value}
    return Gallery(
        items=tuple(reading.inspection(platform, row, labels) for row in rows),
        older=urlencode({**query, "before": cursor}) if more and cursor else "",
        newer=urlencode(query) if before else "",
        label=label,
        labels=labels if not label or label in labels else (*labels, label),
        only=only,
        filtered=bool(label) or only != "all",
    )


def _passes(row: Prediction, only: str) -> bool:
    if only == "found":
        return bool(row.detections)
    if only == "none":
        # A picture that could not be judged is not one without defects.
        return not row.detections and not unjudged(row.camera_state)
    if only == "camera":
        return bool(unjudged(row.camera_state))
    return True


class OutOfReach(Exception):
    """What a model saw below the threshold cannot be told any more; the message says why."""


def fainter(platform: Platform, row: Prediction) -> list[dict[str, Any]]:
    """Everything the model saw in a logged picture, down to `FLOOR`, without logging anything.

    The slider needs what lies below the line's threshold. Asking the line again with a lower
    threshold would put faint finds into the log, and with them into every number drawn from it.

    Raises:
        OutOfReach: Its picture or its version is not at hand any more.
    """
    if not row.image_hash or not row.image_format:
        raise OutOfReach("This inspection has no picture.")
    try:
        record = platform.db.models.get(row.model, row.model_version)
    except NotFound as error:
        raise OutOfReach(f"v{row.model_version} was deleted.") from error
    known = platform.engine.cache.get(row.image_hash, record.id)
    inference = known.inference if known else _again(platform, row, record)
    seen = [
        {"label": one.label, "confidence": one.confidence, "bbox": list(one.bbox)}
        for one in inference.detections
    ]
    return [dict(one) for one in at_least(seen, FLOOR)]


def _again(platform: Platform, row: Prediction, record: ModelVersion) -> Any:
    """Run the kept picture through its version once more, if that version is loaded."""
    slot = platform.engine.fleet.hold_loaded(record.model, record.version)
    if slot is None:
        raise OutOfReach(f"v{record.version} is not loaded.")
    path = platform.pictures.get(row.image_hash or "", row.image_format or "")
    if path is None:
        slot.release()
        raise OutOfReach("The picture is no longer kept.")
    settings = platform.settings
    deadline = time.monotonic() + settings.request_timeout

    def work() -> Any:
        picture = decode(path.read_bytes(), max_pixels=settings.max_image_pixels, gray=slot.gray)
        return slot.model.infer(picture, deadline=deadline)

    try:
        return slot.submit(work).result(settings.request_timeout)
    except (OSError, TimeoutError, AndonError) as error:
        raise OutOfReach(f"The picture could not be looked at again: {error}") from error


def sample_board(seed: int) -> bytes:
    """A generated board with some defects, as a PNG."""
    from andon.training.pcb.boards import generate_board  # noqa: PLC0415 - starting needs none

    return _png(generate_board(seed).image)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image  # noqa: PLC0415 - only for the sample, so only when asked for

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
