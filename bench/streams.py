"""What the watching is tried on: answers as a log holds them, from real rows and real boards.

A stream is a list of answers in order; each is a row of `predictions` without id, version and
time. Where a stream changes, its later answers come from elsewhere: other hospitals, blurred
boards, a slower model. Everything is drawn with seeds.
"""

import csv
import io
import math
import random
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from andon.runtimes.base import ModelOptions, Picture, RuntimeConfig
from andon.runtimes.images import decode
from andon.runtimes.onnx import OnnxRuntime
from andon.runtimes.tabular import TabularModel
from andon.serving.cameras import image_stats
from andon.training.messages import TrainRequest
from andon.training.tabular import loading

DATA = Path(__file__).parents[2] / "shared" / "data"
HEART = DATA / "heart"
BOARDS = DATA / "deeppcb"

Answer = dict[str, Any]
"""One answer, column of `predictions` to value."""

_DAY = 24
_THRESHOLD = 0.5
_LATENCY_MS = 12.0


class Material(msgspec.Struct):
    """Answers to draw from, each with what a label would say of it.

    Attributes:
        answers: As the log has them.
        right: Whether the answer is what it should be; None where nobody knows.
        pull: How much an answer belongs to the day (positive) or the night (negative), for daily
            cycles: about -2 to 2.
    """

    answers: list[Answer]
    right: list[bool | None]
    pull: list[float]


# -- Rows -------------------------------------------------------------------------------


def hospital(name: str, model: TabularModel) -> Material:
    """The rows of one hospital, answered by a model.

    Args:
        name: "cleveland", "hungarian" or "va".
        model: Trained on Cleveland.
    """
    request = TrainRequest(
        run_id="bench",
        recipe="heart-disease",
        model="heart-disease",
        data=(str(HEART / f"processed.{name}.data"),),
    )
    _, _, prepared = loading.load(request, lambda _: None)
    features = [_features(prepared.schema.features, values) for values in prepared.x]
    encoded = np.array([model.encoder.encode(row) for row in features], np.float32)
    probabilities = model.infer_rows(encoded, deadline=math.inf)
    threshold = model.schema.threshold or _THRESHOLD
    age = prepared.x[:, [one.name for one in prepared.schema.features].index("age")]
    answers: list[Answer] = []
    right: list[bool | None] = []
    for row, p, truth in zip(features, probabilities, prepared.y, strict=True):
        said = int(p[1] >= threshold)
        answers.append(
            {
                "features": row,
                "prediction": str(said),
                "probability": round(float(p[1]), 6),
                "raw_scores": [round(float(one), 6) for one in p],
                "confidence_scores": [round(float(p[said]), 6)],
                "threshold": threshold,
                "inference_time": 0.0001,
            }
        )
        right.append(said == int(truth))
    return Material(answers, right, ((age - age.mean()) / age.std()).tolist())


def _features(features: Any, values: NDArray[np.float64]) -> dict[str, Any]:
    """Encoded values as the caller would send them."""
    row: dict[str, Any] = {}
    for feature, value in zip(features, values, strict=True):
        if math.isnan(value):
            row[feature.name] = None
        elif feature.kind == "category":
            row[feature.name] = feature.categories[int(value)]
        else:
            row[feature.name] = int(value) if feature.kind == "integer" else float(value)
    return row


# -- Boards -----------------------------------------------------------------------------

CHANGES: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    "as taken": lambda image, _: image,
    "blurred": lambda image, _: image.filter(ImageFilter.GaussianBlur(2.5)),
    "darkened": lambda image, _: ImageEnhance.Brightness(image).enhance(0.55),
    "noised": lambda image, seed: _noised(image, seed),  # noqa: PLW0108 - defined below
    # The light of the hall over a day.
    "morning": lambda image, _: ImageEnhance.Brightness(image).enhance(0.97),
    "night": lambda image, _: ImageEnhance.Brightness(image).enhance(0.94),
}


def _noised(image: Image.Image, seed: int) -> Image.Image:
    pixels = np.asarray(image, np.float32)
    noise = np.random.default_rng(seed).normal(0, 30, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


@lru_cache
def groups() -> dict[str, list[Path]]:
    """The real boards by group: tested ones and templates alternate."""
    found: dict[str, list[Path]] = {}
    with (BOARDS / "index.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["group"], []).extend(
                [BOARDS / row["image"], BOARDS / row["template"]]
            )
    return found


class Inspector:
    """Answers boards with the starter detector, each picture once."""

    def __init__(self) -> None:
        shipped = resources.files("andon.starter").joinpath("pcb.onnx")
        with resources.as_file(shipped) as path:
            self._model = OnnxRuntime().load(path, ModelOptions(), RuntimeConfig(threads=2))
        self._gray = self._model.description.channels == 1
        self._known: dict[tuple[Path, str], Answer] = {}

    def material(self, boards: list[Path], change: str = "as taken") -> Material:
        """Boards as the camera delivers them after a change, with the detector's answers."""
        answers = [self._answer(path, change) for path in boards]
        # At night the line runs what is simple.
        pull = [1.0 if answer["detection_count"] else -1.0 for answer in answers]
        return Material(answers, [None] * len(answers), pull)

    def _answer(self, path: Path, change: str) -> Answer:
        key = (path, change)
        if key not in self._known:
            self._known[key] = self._look(path, change)
        return self._known[key]

    def _look(self, path: Path, change: str) -> Answer:
        with Image.open(path) as image:
            changed = CHANGES[change](image.convert("L"), sum(path.name.encode()))
        file = io.BytesIO()
        changed.save(file, "JPEG", quality=95)
        picture: Picture = decode(file.getvalue(), max_pixels=10_000_000, gray=self._gray)
        said = self._model.infer(picture, deadline=math.inf)
        found = [one for one in said.detections if one.confidence >= _THRESHOLD]
        return {
            "image_name": path.name,
            "image_width": picture.width,
            "image_height": picture.height,
            "image_format": "JPEG",
            "image_stats": image_stats(picture.pixels),
            "camera": "line-1",
            "camera_state": "ok",
            "detections": [msgspec.to_builtins(one) for one in found],
            "detection_count": len(found),
            "confidence_scores": [round(one.confidence, 4) for one in found],
            "raw_scores": [round(score, 4) for score in said.scores],
            "threshold": _THRESHOLD,
            "inference_time": _LATENCY_MS / 1000,
        }


# -- Drawing ----------------------------------------------------------------------------


def drawn(
    materials: list[Material],
    count: int,
    *,
    seed: int,
    per_hour: float,
    begin: int = 0,
    swing: float = 0.0,
    slower: float = 1.0,
    spoiled: float = 0.0,
) -> Iterator[tuple[Answer, bool | None]]:
    """Answers in order, with replacement, each with whether it is right.

    Args:
        materials: By light: one is taken all day; of several the hour decides.
        count: Answers.
        seed: The same seed, the same answers.
        per_hour: Answers an hour, for the time of day.
        begin: Number of the first, for the time of day.
        swing: How strongly the hour decides which answers come: 0.3 moves a feature's mean by
            about 0.3 of its standard deviation from day to night.
        slower: Factor on the latency, which is log-normal around 12 ms and moves by 10 percent
            over the day.
        spoiled: Share of the right answers that are made wrong.
    """
    draw = random.Random(seed)
    weights: dict[tuple[int, int], list[float]] = {}
    for number in range(begin, begin + count):
        hour = int(number / per_hour) % _DAY
        phase = math.sin(2 * math.pi * hour / _DAY)
        place = 0 if len(materials) == 1 else round((1 - phase) / 2 * (len(materials) - 1))
        material = materials[place]
        if swing:
            key = (place, hour)
            if key not in weights:
                sums, total = [], 0.0
                for pull in material.pull:
                    total += math.exp(swing * phase * pull)
                    sums.append(total)
                weights[key] = sums
            (index,) = draw.choices(range(len(material.answers)), cum_weights=weights[key])
        else:
            index = draw.randrange(len(material.answers))
        answer = dict(material.answers[index])
        right = material.right[index]
        if right and draw.random() < spoiled:
            right = False
        answer["latency_ms"] = round(
            _LATENCY_MS * (1 + 0.1 * phase) * slower * math.exp(draw.gauss(0, 0.15)), 3
        )
        yield answer, right
