"""What a user writes to serve the starter detector elsewhere: decode, run, suppress.

Only numpy, simplejpeg and ONNX Runtime: it is imported inside the peers' environments.
"""

from typing import Any

import numpy as np
import onnxruntime as ort
import simplejpeg

LABELS = ("open", "short", "mousebite", "spur", "copper", "pin-hole")


class Detector:
    """The starter detector behind a plain call."""

    def __init__(self, model: str, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def __call__(self, data: bytes) -> list[dict[str, Any]]:
        """Boxes x, y, width, height at confidence 0.5 and above, after suppression."""
        pixels = simplejpeg.decode_jpeg(data, colorspace="GRAY")[..., 0]
        values = pixels.astype(np.float32) / 255
        output = self.session.run(None, {self.input: values[None, None]})[0][0]
        best = output[4:].max(axis=0)
        rows = np.flatnonzero(best >= 0.5)
        rows = rows[np.argsort(-best[rows])]
        kept: list[dict[str, Any]] = []
        for row in rows:
            cx, cy, width, height = (float(value) for value in output[:4, row])
            label = LABELS[int(output[4:, row].argmax())]
            box = [cx - width / 2, cy - height / 2, width, height]
            if all(item["label"] != label or _iou(item["bbox"], box) < 0.45 for item in kept):
                kept.append({"label": label, "confidence": float(best[row]), "bbox": box})
        return kept


def _iou(a: list[float], b: list[float]) -> float:
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if wide <= 0 or high <= 0:
        return 0.0
    return wide * high / (a[2] * a[3] + b[2] * b[3] - wide * high)
