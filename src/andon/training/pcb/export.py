"""From a trained network to the shipped ONNX file: calibrated scores, metadata, size check."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from andon.training.pcb.boards import CLASSES, generate_board
from andon.training.pcb.network import CLASS_COUNT, STRIDE, Detector, Exported

SIDE = 640
OPSET = 17
LARGEST_FILE = 3 * 1024 * 1024
_DISTINCT = 12.0  # pixels: peaks nearer to each other than this report the same defect


def calibrate(detector: Detector, *, seed: int, boards: int = 160) -> tuple[float, ...]:
    """For each class the logit at which precision and recall balance best (highest F1).

    Measured on freshly generated boards, every fifth of them good. A score counts as right where a
    defect of its class has its middle within `_DISTINCT` pixels; a defect counts once.
    """
    found: list[list[tuple[float, bool]]] = [[] for _ in range(CLASS_COUNT)]
    truths = [0] * CLASS_COUNT
    detector.eval()
    for index in range(boards):
        board = generate_board(seed * 1_000_000 + index, defects=0 if index % 5 == 4 else None)
        image = torch.from_numpy(board.image.astype(np.float32) / 255)[None, None]
        with torch.no_grad():
            logits = detector(image)[0, 4:].numpy()
        for kind, label in enumerate(CLASSES):
            middles = [
                (b.x + b.width / 2, b.y + b.height / 2) for b in board.boxes if b.label == label
            ]
            truths[kind] += len(middles)
            found[kind] += _peaks(logits[kind], middles)
    return tuple(_best_logit(f, t) for f, t in zip(found, truths, strict=True))


def _peaks(
    logits: NDArray[np.float32], middles: list[tuple[float, float]]
) -> list[tuple[float, bool]]:
    """Local maxima of a score map, each with whether it stands on one of the defects."""
    padded = np.pad(logits, 2, constant_values=-np.inf)
    h, w = logits.shape
    around = np.max([padded[i : i + h, j : j + w] for i in range(5) for j in range(5)], axis=0)
    rows, columns = np.nonzero((logits >= around) & (logits > -5))
    left = list(middles)
    result: list[tuple[float, bool]] = []
    for index in np.argsort(-logits[rows, columns], kind="stable"):
        row, column = int(rows[index]), int(columns[index])
        x, y = (column + 0.5) * STRIDE, (row + 0.5) * STRIDE
        near = [m for m in left if abs(m[0] - x) <= _DISTINCT and abs(m[1] - y) <= _DISTINCT]
        if near:
            left.remove(near[0])
        result.append((float(logits[row, column]), bool(near)))
    return result


def _best_logit(found: list[tuple[float, bool]], truths: int) -> float:
    if not found or not truths:
        return 0.0
    ordered = sorted(found, key=lambda item: -item[0])
    right = np.cumsum([hit for _, hit in ordered])
    f1 = 2 * right / (np.arange(1, len(ordered) + 1) + truths)
    # F1 is flat around its best and jumps with every single board: take the middle of the stretch
    # that comes within a hundredth of it.
    good = np.flatnonzero(f1 >= f1.max() - 0.01)
    return float((ordered[good[0]][0] + ordered[good[-1]][0]) / 2)


def export(
    detector: Detector,
    thresholds: tuple[float, ...],
    path: Path,
    *,
    version: str,
    date: str,
    description: str,
) -> None:
    """Write the detector to `path`; `thresholds` are the logits that shall become a score of 0.5.

    Raises ValueError if the file would be larger than 3 MB.
    """
    shipped = Exported(detector, torch.ones(CLASS_COUNT), -torch.tensor(thresholds)).eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # The exporter by tracing is called legacy, but it folds batch normalisation and needs no
        # further packages.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            shipped,
            (torch.zeros(1, 1, SIDE, SIDE),),
            str(path),
            input_names=["images"],
            output_names=["output0"],
            opset_version=OPSET,
            dynamo=False,
            dynamic_axes={"images": {0: "batch"}, "output0": {0: "batch"}},
        )
    model = onnx.load(str(path))
    properties = {
        "description": description,
        "author": "Andon",
        "license": "MIT",
        "version": version,
        "date": date,
        "task": "detect",
        "names": repr(dict(enumerate(CLASSES))),
        "stride": str(STRIDE),
        "imgsz": json.dumps([SIDE, SIDE]),
        "channels": "1",
        "andon.name": "pcb",
        "andon.resize": "letterbox",
        "andon.pad": "255",  # bare laminate around boards of another shape
        "andon.threshold": "0.5",
    }
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    if len(data) > LARGEST_FILE:
        raise ValueError(f"the model takes {len(data)} bytes, more than {LARGEST_FILE}")
    path.write_bytes(data)
