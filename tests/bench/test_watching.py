"""The benchmark of the watching: streams are what they say, and a planted change is named."""

import statistics
from pathlib import Path

from bench.streams import Answer, Material, drawn
from bench.watching import PER_HOUR, Watching

SCORES = (0.71, 0.4, 0.67, 0.35, 0.63)


def answer(score: float) -> Answer:
    """An answer to a picture with one detection or none."""
    found = score > 0.5
    box = {"label": "open", "confidence": score, "bbox": [1, 2, 3, 4]}
    return {
        "image_name": f"{score}.jpg",
        "image_width": 640,
        "image_height": 480,
        "image_stats": {
            "brightness": 0.5 + score / 50,
            "contrast": 0.3,
            "sharpness": 1.0 + score / 10,
            "low": 0.1,
            "high": 0.9,
            "hist": [1 / 16] * 16,
            "edges": [1 / 8] * 8,
            "problems": [],
        },
        "camera": "line-1",
        "detections": [box] if found else [],
        "detection_count": int(found),
        "confidence_scores": [score] if found else [],
        "raw_scores": [score],
        "threshold": 0.5,
        "inference_time": 0.012,
    }


MATERIAL = Material(
    [answer(score) for score in SCORES],
    [True] * len(SCORES),
    [1.0 if score > 0.5 else -1.0 for score in SCORES],
)


def test_a_stream_is_what_it_says():
    """The same seed gives the same answers; slower and more often wrong by as much as asked."""
    usual = list(drawn([MATERIAL], 2_000, seed=1, per_hour=PER_HOUR))
    assert usual == list(drawn([MATERIAL], 2_000, seed=1, per_hour=PER_HOUR))
    worse = list(drawn([MATERIAL], 2_000, seed=2, per_hour=PER_HOUR, slower=2.5, spoiled=0.2))
    ratio = [statistics.median(one["latency_ms"] for one, _ in stream) for stream in (worse, usual)]
    assert 2.3 < ratio[0] / ratio[1] < 2.7
    assert all(right for _, right in usual)
    assert 0.17 < sum(not right for _, right in worse) / len(worse) < 0.23


def test_a_slower_model_is_named_and_a_quiet_one_is_not(tmp_path: Path):
    """One short run over a log of its own."""
    watching = Watching(tmp_path)
    quiet = 160
    stream = [
        *drawn([MATERIAL], quiet, seed=3, per_hour=PER_HOUR),
        *drawn([MATERIAL], 100, seed=4, per_hour=PER_HOUR, begin=quiet, slower=2.5),
    ]
    found = watching.run(
        watching.version(None), iter(stream), quiet, PER_HOUR,
        labels=0, expected=("performance_degradation",), most=100,
    )  # fmt: skip
    watching.db.close()
    assert found["false_alarms"] == []
    assert found["named"] == ["performance_degradation"]
    assert 40 <= found["delay"] <= 80
