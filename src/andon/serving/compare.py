"""Two versions on one picture, side by side."""

from pathlib import Path
from typing import Any

from andon.serving.answers import InferenceResult, side_by_side
from andon.serving.engine import InferenceEngine, read_picture


def compare(
    engine: InferenceEngine,
    data: bytes,
    image_name: str,
    model: str | None,
    version_a: int,
    version_b: int,
    threshold: float | None = None,
) -> dict[str, Any]:
    """Ask two versions of a model about one picture.

    Both answers are logged with the role "compare" (the active version's with "active");
    only active answers count in a version's totals.

    Args:
        engine: Answers; loads a version that is not active.
        data: JPEG, PNG or BMP file.
        image_name: What the caller calls it.
        model: Registered model; None is the default model.
        version_a: One version.
        version_b: The other.
        threshold: Lowest confidence to answer; None is each version's own.

    Returns:
        `comparison`: per version (`model_a`, `model_b`) its `version`, the number of
        `detections`, `avg_confidence` (0 where there are none) and `inference_time`
        (seconds). `result_a` and `result_b`: the full `Answer`s.

    Raises:
        AndonError: As `InferenceEngine.answer`.
    """
    answers = [
        engine.answer_sync(
            data,
            image_name=image_name,
            model=model,
            version=version,
            threshold=threshold,
            source="compare",
        )
        for version in (version_a, version_b)
    ]
    return {
        "comparison": side_by_side(*answers),
        "result_a": answers[0],
        "result_b": answers[1],
    }


class ABTestingEngine:
    """Compares two versions of the default model on picture files.

    Args:
        model_a_version: One version.
        model_b_version: The other.
        engine: Answers.
    """

    def __init__(
        self, model_a_version: int, model_b_version: int, *, engine: InferenceEngine
    ) -> None:
        self.model_a_version = model_a_version
        self.model_b_version = model_b_version
        self._engine = engine

    def compare(
        self, image_path: Path | str
    ) -> tuple[InferenceResult, InferenceResult, dict[str, Any]]:
        """Both results and their comparison (see `compare`)."""
        path = Path(image_path)
        data = read_picture(path, self._engine.settings.max_image_bytes)
        found = compare(
            self._engine, data, path.name, None, self.model_a_version, self.model_b_version
        )
        return (
            InferenceResult.of(found["result_a"]),
            InferenceResult.of(found["result_b"]),
            found["comparison"],
        )
