"""One replay under way: each input to the candidate, and the two answers compared."""

import hashlib
import time
from collections import Counter, OrderedDict
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np

from andon import typed
from andon.errors import AndonError, InvalidRequest
from andon.runtimes.base import ModelDescription, Task
from andon.runtimes.images import decode
from andon.runtimes.rows import text_of
from andon.serving.answers import default_threshold
from andon.serving.engine import InferenceEngine
from andon.serving.flips import Found, Said, flip, moved, said_of
from andon.serving.slots import Slot
from andon.settings import Settings
from andon.store.pictures import Pictures
from andon.store.records import ModelVersion

KEPT_FLIPS = 500
"""Flips that are kept with a replay; all are counted."""

# Failures in a row after which the candidate is not asked any more.
_HOPELESS = 20
_REMEMBERED = 256


class ReplayAsk(msgspec.Struct, frozen=True, kw_only=True):
    """What to replay.

    Attributes:
        model: Registered model.
        version: The candidate.
        against: The version whose answers are compared: the active one.
        since: Inputs from then on.
        until: Inputs before then.
        limit: The newest so many.
    """

    model: str
    version: int
    against: int
    since: datetime
    until: datetime
    limit: int


class Flipped(msgspec.Struct, frozen=True, kw_only=True):
    """One input that the two versions answer otherwise.

    Attributes:
        prediction_id: Of the answer in the log.
        timestamp: When that was given.
        kind: How they differ; "probability" where the same answer is more or less sure.
        before: What the active version said.
        after: What the candidate says.
        image_name: Of a picture: as the caller called it.
        picture_url: The picture as it came.
        image_url: The picture with the boxes of the answer in the log.
        image_width: Pixels.
        image_height: Pixels.
        features: Of a row.
        actual: What it should have been, where that is known.
        subject: What the caller said it is about.
    """

    prediction_id: str
    timestamp: datetime
    kind: str
    before: Said
    after: Said
    image_name: str | None = None
    picture_url: str | None = None
    image_url: str | None = None
    image_width: int | None = None
    image_height: int | None = None
    features: dict[str, Any] | None = None
    actual: Any = None
    subject: str | None = None


class Took(msgspec.Struct, frozen=True, kw_only=True):
    """The models' own time for the same inputs, milliseconds; None without any."""

    active_p50: float | None
    active_p95: float | None
    candidate_p50: float | None
    candidate_p95: float | None


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a replay.

    Attributes:
        replayed: Inputs that the candidate was asked about.
        same: Of them, those that both answer alike.
        flipped: Of them, those that they answer otherwise, failures of the candidate among them.
        by_kind: The same by kind.
        failed: Inputs that the candidate has no answer to.
        moved: Rows with the same answer whose probability changed by more than 0.1.
        missing_pictures: Inputs whose picture is not kept any more.
        skipped: Inputs that could not be replayed for another reason: the row does not fit the
            candidate's fields, the kept picture is damaged.
        flips: The first 500, newest first.
        moves: The first 500 of the rows that moved.
        took: The models' own time.
        stopped: Why it ended early; empty where it did not.
    """

    model: str
    version: int
    against: int
    since: datetime
    until: datetime
    replayed: int
    same: int
    flipped: int
    by_kind: dict[str, int]
    failed: int
    moved: int
    missing_pictures: int
    skipped: int
    flips: list[Flipped]
    moves: list[Flipped]
    took: Took
    stopped: str = ""


class ReplayRun:
    """One replay under way."""

    def __init__(
        self,
        engine: InferenceEngine,
        pictures: Pictures,
        settings: Settings,
        asked: ReplayAsk,
        against: ModelVersion,
    ) -> None:
        self._engine = engine
        self._pictures = pictures
        self._settings = settings
        self._asked = asked
        self._usual = _usual_threshold(against, settings)
        self._answers: OrderedDict[tuple[str, float | None], tuple[Said, float]] = OrderedDict()
        self._kinds: Counter[str] = Counter()
        self._flips: list[Flipped] = []
        self._moves: list[Flipped] = []
        self._times: tuple[list[float], list[float]] = [], []
        self._replayed = self._moved = self._missing = self._skipped = 0
        self._in_a_row = 0

    @property
    def hopeless(self) -> bool:
        """Whether the candidate has failed so often in a row that asking on is of no use."""
        return self._in_a_row >= _HOPELESS

    def take(self, row: Any) -> None:
        """One answer of the log, and what the candidate says to the same."""
        picture = row.image_hash is not None
        if not picture and row.features is None:
            self._skipped += 1
            return
        if picture and self._pictures.get(row.image_hash, row.image_format or "") is None:
            self._missing += 1
            return
        slot = self._engine.fleet.hold(self._asked.model, self._asked.version)
        try:
            found = self._picture(slot, row) if picture else _row(slot, row, self._settings)
        finally:
            slot.release()
        if found is None:
            self._skipped += 1
            return
        after, milliseconds = found
        self._replayed += 1
        self._in_a_row = self._in_a_row + 1 if after.error else 0
        if not after.error:
            self._times[1].append(milliseconds)
            if not row.cached:
                self._times[0].append(row.inference_time * 1000)
        before = said_of(row)
        kind = flip(before, after)
        if kind is not None:
            self._kinds[kind] += 1
            if len(self._flips) < KEPT_FLIPS:
                self._flips.append(_flipped(row, kind, before, after))
        elif not picture and moved(before, after):
            self._moved += 1
            if len(self._moves) < KEPT_FLIPS:
                self._moves.append(_flipped(row, "probability", before, after))

    def result(self) -> Replayed:
        """What came of it."""
        flipped = self._kinds.total()
        stopped = ""
        if self.hopeless:
            stopped = (
                f"v{self._asked.version} failed {_HOPELESS} times in a row; it was not asked any "
                "more."
            )
        return Replayed(
            model=self._asked.model,
            version=self._asked.version,
            against=self._asked.against,
            since=self._asked.since,
            until=self._asked.until,
            replayed=self._replayed,
            same=self._replayed - flipped,
            flipped=flipped,
            by_kind=dict(self._kinds),
            failed=self._kinds["failed"],
            moved=self._moved,
            missing_pictures=self._missing,
            skipped=self._skipped,
            flips=self._flips,
            moves=self._moves,
            took=Took(
                active_p50=_percentile(self._times[0], 50),
                active_p95=_percentile(self._times[0], 95),
                candidate_p50=_percentile(self._times[1], 50),
                candidate_p95=_percentile(self._times[1], 95),
            ),
            stopped=stopped,
        )

    def _picture(self, slot: Slot, row: Any) -> tuple[Said, float] | None:
        """What the candidate says to a kept picture, and its time; None where that is damaged."""
        # Whoever asked with a threshold of their own would ask the candidate with the same.
        own = row.threshold is not None and row.threshold != self._usual
        threshold = row.threshold if own else slot.threshold
        key = (row.image_hash, threshold)
        known = self._answers.get(key)
        if known is None:
            data = self._kept(row)
            if data is None or hashlib.sha256(data).hexdigest() != row.image_hash:
                return None
            known = self._ask(slot, data, threshold)
            self._answers[key] = known
            if len(self._answers) > _REMEMBERED:
                self._answers.popitem(last=False)
        return known

    def _kept(self, row: Any) -> bytes | None:
        """The picture of an answer, or None when it is not kept any more."""
        path = self._pictures.get(row.image_hash, row.image_format or "")
        try:
            return None if path is None else path.read_bytes()
        except FileNotFoundError:  # swept this moment
            return None

    def _ask(self, slot: Slot, data: bytes, threshold: float) -> tuple[Said, float]:
        deadline = time.monotonic() + self._settings.request_timeout
        try:
            picture = decode(data, max_pixels=self._settings.max_image_pixels, gray=slot.gray)
            inference = slot.model.infer(picture, deadline=deadline)
        except AndonError as error:
            return Said(error=str(error), threshold=threshold), 0.0
        classes = inference.classes
        best = max(classes, key=classes.__getitem__) if classes else None
        said = Said(
            detections=tuple(
                Found(one.label, one.confidence, one.bbox)
                for one in inference.detections
                if one.confidence >= threshold
            ),
            prediction=best,
            probability=classes[best] if best is not None else inference.anomaly,
            threshold=threshold,
        )
        took = inference.preprocess_ms + inference.inference_ms + inference.postprocess_ms
        return said, took


def _row(slot: Slot, row: Any, settings: Settings) -> tuple[Said, float] | None:
    """What the candidate says to a logged row, and its time; None where it does not fit."""
    model, judge = slot.tabular, slot.judge
    if model is None or judge is None:
        return None
    try:
        values = model.encoder.encode(row.features)
    except InvalidRequest:
        return None
    began = time.perf_counter()
    try:
        matrix = np.array([values], np.float32)
        found = model.infer_rows(matrix, deadline=time.monotonic() + settings.request_timeout)
    except AndonError as error:
        return Said(error=str(error)), 0.0
    took = (time.perf_counter() - began) * 1000
    probabilities = found[0].tolist()
    chosen, shown = judge.choose(probabilities)
    schema = model.schema
    return (
        Said(
            prediction=text_of(schema.classes[chosen])[:255],
            probability=round(probabilities[shown], 6),
            threshold=slot.threshold if schema.positive is not None else None,
        ),
        took,
    )


def _flipped(row: Any, kind: str, before: Said, after: Said) -> Flipped:
    picture = row.image_hash is not None
    name = f"/output/result_{row.id}_{row.image_name or ''}"
    return Flipped(
        prediction_id=row.id,
        timestamp=row.created_at,
        kind=kind,
        before=before,
        after=after,
        image_name=row.image_name,
        picture_url=f"/api/predictions/{row.id}/image" if picture else None,
        image_url=quote(name) if picture else None,
        image_width=row.image_width,
        image_height=row.image_height,
        features=row.features,
        actual=row.actual,
        subject=row.subject,
    )


def _usual_threshold(version: ModelVersion, settings: Settings) -> float | None:
    """The threshold of a version where the request names none; None of rows."""
    description = typed.convert(version.description, ModelDescription)
    if description.task is Task.TABULAR:
        return None
    if version.threshold is not None:
        return version.threshold
    return default_threshold(version, description, settings)


def _percentile(values: list[float], percent: int) -> float | None:
    """Nearest rank: always a time that was really measured."""
    if not values:
        return None
    return round(sorted(values)[-(-len(values) * percent // 100) - 1], 3)
