"""Asynchronous predictions: the durable job, and running it.

The picture is on disk before the job's row is. The prediction's id is fixed when the job
is queued: a job that runs twice finds its first answer in the log.
"""

import hashlib
import time
from collections.abc import Callable
from typing import Any

import msgspec

from andon.errors import NotFound, Saturated, UnusableUpload
from andon.runtimes.images import decode
from andon.serving.answers import Answer, answer_of, check_threshold
from andon.serving.engine import InferenceEngine
from andon.store.ids import uuid7
from andon.store.records import Job

KIND = "predict"

_PATIENCE = 60.0
"""Seconds a job waits for a place among the pictures of callers who wait."""

_PAUSE = 0.25


class PredictJobs:
    """Makes and runs jobs of kind "predict".

    Args:
        engine: Answers, and knows where pictures are kept.
    """

    def __init__(self, engine: InferenceEngine) -> None:
        self._engine = engine

    def payload(
        self,
        data: bytes,
        *,
        image_name: str,
        model: str | None = None,
        version: int | None = None,
        threshold: float | None = None,
        subject: str | None = None,
        request_id: str | None = None,
        camera: str | None = None,
    ) -> dict[str, Any]:
        """What a job must hold; the picture is on disk, flushed, when this returns.

        Raises:
            UnusableUpload, UnsupportedMedia, TooLarge: It is no picture that can be used.
            InvalidRequest: The threshold cannot be used.
            StorageFull: The picture cannot be kept.
        """
        check_threshold(threshold)
        # Decoded to refuse it now, while there is somebody to tell.
        picture = decode(data, max_pixels=self._engine.settings.max_image_pixels)
        image_hash = hashlib.sha256(data).hexdigest()
        self._engine.pictures.put(image_hash, data, picture.format, durable=True)
        return {
            "prediction_id": uuid7(),
            "image_hash": image_hash,
            "image_format": picture.format,
            "image_name": image_name,
            "model": model,
            "version": version,
            "threshold": threshold,
            "subject": subject,
            "request_id": request_id,
            "camera": camera,
        }

    def run(self, job: Job) -> dict[str, Any]:
        """Answer a job's picture; the answer as JSON values is the job's result.

        Raises:
            AndonError: As `InferenceEngine.answer`.
        """
        asked = job.payload
        answered = self._answered(asked["prediction_id"])
        if answered is not None:
            return answered
        kept = self._engine.pictures.get(asked["image_hash"], asked["image_format"])
        if kept is None:
            raise UnusableUpload(
                f"The picture of job {job.id} is gone.",
                hint="It waited longer than ANDON_KEEP_UPLOADS_DAYS; send it again.",
            )
        data = kept.read_bytes()
        if hashlib.sha256(data).hexdigest() != asked["image_hash"]:
            raise UnusableUpload(
                f"The picture of job {job.id} was damaged on disk.", hint="Send it again."
            )
        answer = self._patiently(
            lambda: self._engine.answer_sync(
                data,
                image_name=asked["image_name"],
                model=asked["model"],
                version=asked["version"],
                threshold=asked["threshold"],
                subject=asked["subject"],
                request_id=asked["request_id"],
                source="job",
                prediction_id=asked["prediction_id"],
                # Jobs that were queued before there were cameras have none.
                camera=asked.get("camera"),
            )
        )
        result: dict[str, Any] = msgspec.to_builtins(answer)
        return result

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        """Ask until there is room: nobody holds a connection open for a job."""
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                return ask()
            except Saturated:
                if time.monotonic() >= until:
                    raise
                time.sleep(_PAUSE)

    def _answered(self, prediction_id: str) -> dict[str, Any] | None:
        """The answer an earlier run of the same job has logged, or None."""
        try:
            row = self._engine.db.predictions.get(prediction_id)
        except NotFound:
            return None
        result: dict[str, Any] = msgspec.to_builtins(answer_of(row))
        return result
