"""What the detector is trained to do: targets for every cell, and the loss against them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from andon.training.pcb.network import CLASS_COUNT, STRIDE, decode_boxes

_GAMMA = 1.5


@dataclass(frozen=True)
class Targets:
    """For a batch of maps h x w: which cells should say what.

    `classes` [N, 6, h, w] is 1 where a cell should report a class; `judged` [N, 1, h, w] is 0 where
    it may say anything (the rim of a defect); `boxes` [N, 4, h, w] holds corners in pixels, valid
    where `positive` [N, h, w] is true.
    """

    classes: Tensor
    judged: Tensor
    boxes: Tensor
    positive: Tensor


def make_targets(truths: list[NDArray[np.float32]], side: int) -> Targets:
    """Targets for images of `side` x `side` pixels; `truths` as `samples.draw_batch` returns them.

    The cells around the middle of a box report it (a quarter of its width and height to each side,
    at least 6 pixels), a rim around them is free, and where boxes overlap the smaller one wins.
    """
    cells = side // STRIDE
    count = len(truths)
    classes = np.zeros((count, CLASS_COUNT, cells, cells), dtype=np.float32)
    judged = np.ones((count, 1, cells, cells), dtype=np.float32)
    boxes = np.zeros((count, 4, cells, cells), dtype=np.float32)
    positive = np.zeros((count, cells, cells), dtype=bool)
    for n, found in enumerate(truths):
        areas = (found[:, 3] - found[:, 1]) * (found[:, 4] - found[:, 2])
        for label, x0, y0, x1, y1 in found[np.argsort(-areas)]:
            cx, cy, w, h = (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0
            if label < 0:
                judged[n, 0, _span(cy, h / 2, cells), _span(cx, w / 2, cells)] = 0
                continue
            rim = _span(cy, max(11.0, 0.4 * h), cells), _span(cx, max(11.0, 0.4 * w), cells)
            judged[n, 0][rim] = 0
            core = _span(cy, max(6.0, 0.25 * h), cells), _span(cx, max(6.0, 0.25 * w), cells)
            judged[n, 0][core] = 1
            classes[n, :, core[0], core[1]] = 0
            classes[n, int(label), core[0], core[1]] = 1
            boxes[n, :, core[0], core[1]] = np.asarray([x0, y0, x1, y1])[:, None, None]
            positive[n][core] = True
    return Targets(
        torch.from_numpy(classes),
        torch.from_numpy(judged),
        torch.from_numpy(boxes),
        torch.from_numpy(positive),
    )


def detection_loss(raw: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """Focal loss of the class scores and (1 - generalised IoU) of the boxes, per positive cell.

    Focal loss: Lin et al., arXiv:1708.02002; generalised IoU: Rezatofighi et al., arXiv:1902.09630.
    """
    logits = raw[:, 4:]
    positives = targets.positive.sum().clamp(min=1)
    entropy = functional.binary_cross_entropy_with_logits(logits, targets.classes, reduction="none")
    wrongness = (torch.sigmoid(logits) - targets.classes).abs().clamp(min=1e-6) ** _GAMMA
    classification = (entropy * wrongness * targets.judged).sum() / positives

    mask = targets.positive
    guess = decode_boxes(raw).permute(0, 2, 3, 1)[mask]
    truth = targets.boxes.permute(0, 2, 3, 1)[mask]
    return classification, (1 - _generalised_iou(guess, truth)).sum() / positives


def _generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0)
    hull = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    inter, around = shared.prod(1), hull.prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - inter
    return inter / union.clamp(min=1e-6) - (around - union) / around.clamp(min=1e-6)


def _span(centre: float, reach: float, cells: int) -> slice:
    """The cells whose middle lies within `reach` pixels of `centre`; at least the nearest one."""
    first = int(np.ceil((centre - reach) / STRIDE - 0.5))
    last = int(np.floor((centre + reach) / STRIDE - 0.5))
    if last < first:
        first = last = int(centre // STRIDE)
    return slice(min(max(first, 0), cells - 1), min(max(last, 0), cells - 1) + 1)
