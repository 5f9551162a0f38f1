"""A folder of pictures, inspected one after the other, with a report."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import structlog

from andon.errors import AndonError, NotFound
from andon.runtimes.images import decode
from andon.serving import annotate
from andon.serving.answers import Answer, InferenceResult
from andon.serving.engine import InferenceEngine, read_picture
from andon.serving.proving import cpus

log = structlog.get_logger("andon.batch")

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})

Progress = Callable[[Path, Answer | None], None]
"""Called after every picture with its path and answer (None: it failed)."""


def pictures_in(image_dir: Path) -> list[Path]:
    """The pictures of a folder, by name; its folders are not entered.

    Raises:
        NotFound: There is no such folder.
    """
    if not image_dir.is_dir():
        raise NotFound(f"There is no folder {image_dir}.", hint="Check the path.")
    return sorted(path for path in image_dir.iterdir() if path.suffix.lower() in SUFFIXES)


def batch_inference(
    image_dir: Path | str,
    output_dir: Path | str,
    engine: InferenceEngine | None = None,
    *,
    model: str | None = None,
    threshold: float | None = None,
    progress: Progress | None = None,
) -> tuple[list[InferenceResult], dict[str, Any]]:
    """Inspect every picture of a folder and save each with its boxes as ``result_<name>``.

    A picture that cannot be answered is logged and left out.

    Args:
        image_dir: Folder with pictures.
        output_dir: Where the drawings go; made if missing.
        engine: Answers; None is the one of this installation (`ANDON_HOME`).
        model: Registered model; None is the default model.
        threshold: Lowest confidence to answer; None is the version's own.
        progress: Told after every picture.

    Returns:
        The results in the order of names, and the report: `total_images` (answered),
        `failed`, `total_detections`, `avg_confidence` (mean over pictures of their mean
        confidence) and `avg_inference_time` (seconds).

    Raises:
        NotFound: There is no such folder.
        ModelNotLoaded: Nothing serves this model.
    """
    if engine is None:
        with InferenceEngine.installed() as own:
            return batch_inference(
                image_dir, output_dir, own, model=model, threshold=threshold, progress=progress
            )
    paths = pictures_in(Path(image_dir))
    # Fails once, here, and not once per picture.
    engine.fleet.hold(model or engine.settings.default_model, None).release()
    target = Path(output_dir)
    results: list[InferenceResult] = []
    failed = 0
    for path, future in _ahead(paths, lambda one: _inspect(engine, one, target, model, threshold)):
        answer: Answer | None = None
        try:
            answer = future.result()
        except (AndonError, OSError) as error:
            log.warning(f"Failed on {path.name}: {error}")
            failed += 1
        else:
            results.append(InferenceResult.of(answer))
        if progress is not None:
            progress(path, answer)
    return results, report(results, failed)


def report(results: list[InferenceResult], failed: int = 0) -> dict[str, Any]:
    """What a batch came to."""
    count = len(results)
    means = [
        sum(one.confidence_scores) / len(one.confidence_scores)
        for one in results
        if one.confidence_scores
    ]
    return {
        "total_images": count,
        "failed": failed,
        "total_detections": sum(len(one.detections) for one in results),
        "avg_confidence": sum(means) / count if count else 0.0,
        "avg_inference_time": sum(one.inference_time for one in results) / count if count else 0.0,
    }


def _inspect(
    engine: InferenceEngine, path: Path, target: Path, model: str | None, threshold: float | None
) -> Answer:
    """Answer one picture file and save the drawing."""
    data = read_picture(path, engine.settings.max_image_bytes)
    answer = engine.answer_sync(
        data, image_name=path.name, model=model, threshold=threshold, source="batch"
    )
    picture = decode(data, max_pixels=engine.settings.max_image_pixels)
    found = InferenceResult.of(answer).detections
    annotate.save(annotate.draw(picture, found), target / f"result_{path.name}")
    return answer


def _ahead(
    paths: list[Path], work: Callable[[Path], Answer]
) -> Iterator[tuple[Path, "Future[Answer]"]]:
    """Run `work` on a few pictures at a time; answers come in order, never all in memory."""
    threads = cpus() + 1
    with ThreadPoolExecutor(threads, thread_name_prefix="andon-batch") as pool:
        running: deque[tuple[Path, Future[Answer]]] = deque()
        for path in paths:
            running.append((path, pool.submit(work, path)))
            if len(running) > 2 * threads:
                yield running.popleft()
        yield from running
