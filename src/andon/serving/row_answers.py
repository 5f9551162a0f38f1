"""What is asked about a row, what is answered, and the log row of that."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from andon.errors import AndonError
from andon.runtimes.rows import RowSchema, Value, text_of
from andon.serving.explain import Effect
from andon.store.records import ModelVersion

_LONGEST_PREDICTION = 255
_DIGITS = 6


class GivenRow(msgspec.Struct, frozen=True):
    """One row as a caller gives it.

    Attributes:
        features: Value by name, as JSON has it.
        subject: Whom or what it describes, for the log.
        request_id: The caller's id, for the log.
    """

    features: Mapping[str, Any]
    subject: str | None = None
    request_id: str | None = None


class RowAsk(msgspec.Struct, frozen=True):
    """A row on its way to an answer.

    Attributes:
        given: As the caller gave it.
        values: The same as the model's input.
        source: Who asks: "api", "batch", "python".
        role: "active", "canary", "shadow", or "compare" for a version that is not active.
        explain: Whether the answer says which features moved it.
        prediction_id: UUIDv7 of its row in the log.
        arrived: `time.perf_counter()` when the request came in.
        deadline: `time.monotonic()` by which the answer must be there.
    """

    given: GivenRow
    values: list[float]
    source: str
    role: str
    explain: bool
    prediction_id: str
    arrived: float
    deadline: float


class RowAnswer(msgspec.Struct, frozen=True):
    """What the caller gets; it is in the log already.

    Attributes:
        prediction: The class, as it stands in the training data.
        label: The class for people.
        probability: Of the class that a yes-or-no model looks for (whatever is answered);
            with three or more classes, of the one that is answered.
        probabilities: By class, as text, in class order.
        threshold: Probability from which the class looked for is answered; None with three or
            more classes.
        latency_ms: From arrival to the finished answer, milliseconds; waiting for the log
            row's commit not included.
        explanation: What each feature changes, largest first; None unless asked for.
        comparison: What the active version (`model_a`) and a candidate (`model_b`) said, where
            the traffic is compared.
    """

    prediction: Value
    label: str
    probability: float
    probabilities: dict[str, float]
    threshold: float | None
    model: str
    model_version: int
    prediction_id: str
    timestamp: datetime
    latency_ms: float
    explanation: list[Effect] | None = None
    comparison: dict[str, Any] | None = None


class Judge:
    """How the probabilities of one version become answers and log rows.

    Args:
        version: The version's record; a threshold that was set for it goes before the file's.
        schema: Of its rows.
    """

    def __init__(self, version: ModelVersion, schema: RowSchema) -> None:
        self._model_id = version.id
        self._model = version.model
        self._version = version.version
        self._classes = schema.classes
        self._texts = [text_of(value) for value in schema.classes]
        self._stored = [text[:_LONGEST_PREDICTION] for text in self._texts]
        self._labels = schema.class_labels or tuple(self._texts)
        self._positive = schema.positive
        threshold = schema.threshold if version.threshold is None else version.threshold
        self._threshold = threshold if schema.positive is not None else None

    def choose(self, probabilities: list[float]) -> tuple[int, int]:
        """The index of the class that is answered, and of the one whose probability is."""
        positive = self._positive
        if positive is None:
            best = probabilities.index(max(probabilities))
            return best, best
        assert self._threshold is not None
        found = positive if probabilities[positive] >= self._threshold else 1 - positive
        return found, positive

    def settle(
        self,
        ask: RowAsk,
        probabilities: list[float],
        *,
        now: datetime,
        latency_ms: float,
        explanation: list[Effect] | None = None,
    ) -> RowAnswer:
        """The answer that follows from what the model said."""
        found, shown = self.choose(probabilities)
        rounded = [round(value, _DIGITS) for value in probabilities]
        return RowAnswer(
            self._classes[found],
            self._labels[found],
            rounded[shown],
            dict(zip(self._texts, rounded, strict=True)),
            self._threshold,
            self._model,
            self._version,
            ask.prediction_id,
            now,
            round(latency_ms, 3),
            explanation,
        )

    def log_row(self, ask: RowAsk, answer: RowAnswer, seconds: float) -> dict[str, Any]:
        """The `predictions` row of an answer: column name to value; the rest is default.

        `seconds` is what the model took for it.
        """
        scores = list(answer.probabilities.values())
        found = self._classes.index(answer.prediction)
        given = ask.given
        return {
            "id": ask.prediction_id,
            "model_id": self._model_id,
            "source": ask.source,
            "role": ask.role,
            "status": "success",
            "subject": given.subject,
            "request_id": given.request_id,
            "features": given.features,
            "confidence_scores": [scores[found]],
            "raw_scores": scores,
            "prediction": self._stored[found],
            "probability": answer.probability,
            "threshold": self._threshold,
            "inference_time": seconds,
            "latency_ms": answer.latency_ms,
            "camera": None,
            "camera_state": None,
            "image_stats": None,
            "created_at": answer.timestamp,
        }


def failure_row(
    given: GivenRow,
    error: BaseException,
    *,
    model_id: int,
    source: str,
    prediction_id: str,
    now: datetime,
    latency_ms: float,
    role: str = "active",
) -> dict[str, Any]:
    """The `predictions` row of a row that could not be answered.

    Its features are left out: nobody has checked what they hold.
    """
    reason = str(error) if isinstance(error, AndonError) else f"{type(error).__name__}: {error}"
    return {
        "id": prediction_id,
        "model_id": model_id,
        "source": source,
        "role": role,
        "status": "error",
        "error": reason[:1000].replace("\x00", ""),
        "subject": given.subject,
        "request_id": given.request_id,
        "camera": None,
        "camera_state": None,
        "image_stats": None,
        "latency_ms": round(latency_ms, 3),
        "created_at": now,
    }
