# Where PyTorch is absent its classes are Any to mypy; subclassing them is the point here.
# mypy: disallow-subclassing-any=False
"""The starter detector's network: small, fully convolutional, anchor-free.

A grey image goes in; for every cell of 8 x 8 pixels six class scores and one box come out. Most of
the work is done at a stride of 8 and 16 pixels with dilated residual blocks, so that a cell sees
more than 150 pixels around it (whether a dot is a via or spurious copper is told by its
surroundings), while the first, large feature maps have few channels, which keeps the memory of a
server small.

Needs PyTorch (the `train` extra).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

STRIDE = 8
CLASS_COUNT = 6


def _conv(
    inputs: int, outputs: int, size: int, *, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    padding = dilation * (size // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _Block(nn.Module):
    """Bottleneck residual block: 1x1 down to half the channels, dilated 3x3 back up."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.down = _conv(channels, channels // 2, 1)
        self.up = nn.Sequential(
            nn.Conv2d(channels // 2, channels, 3, 1, dilation, dilation, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + cast("Tensor", self.up(self.down(x))))


class Detector(nn.Module):
    """Maps images [N, 1, H, W] (0..1) to raw maps [N, 4 + classes, H / 8, W / 8].

    Channels 0..3 are the logarithms of the distances (in units of the stride) from a cell's centre
    to the left, top, right and bottom of its box; the rest are class logits. H and W must be
    multiples of 16.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        w = width
        self.stem = nn.Sequential(
            _conv(1, w // 2, 5, stride=2),
            _conv(w // 2, w, 3, stride=2),
        )
        self.fine = nn.Sequential(_conv(w, 2 * w, 3, stride=2), _Block(2 * w), _Block(2 * w))
        self.coarse = nn.Sequential(
            _conv(2 * w, 3 * w, 3, stride=2),
            _Block(3 * w),
            _Block(3 * w, 2),
            _Block(3 * w, 3),
            _Block(3 * w, 1),
        )
        self.lift = nn.Sequential(nn.Conv2d(3 * w, 2 * w, 1, bias=False), nn.BatchNorm2d(2 * w))
        self.merge = nn.Sequential(_Block(2 * w), _Block(2 * w))
        self.head = nn.Conv2d(2 * w, 4 + CLASS_COUNT, 1)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.head.weight, std=0.01)
        bias = cast("Tensor", self.head.bias)
        nn.init.constant_(bias[:4], 0.7)  # boxes start at about 32 pixels
        nn.init.constant_(bias[4:], -4.6)  # scores start at 1 %: most cells hold no defect

    def forward(self, images: Tensor) -> Tensor:
        """Raw maps of a batch of images; see the class for shapes and units."""
        fine = cast("Tensor", self.fine(self.stem(images)))
        coarse = cast("Tensor", self.lift(self.coarse(fine)))
        up = nn.functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
        return cast("Tensor", self.head(self.merge(torch.relu(fine + up))))


def cell_centres(height: int, width: int) -> Tensor:
    """The centres [2, height, width] (x, y, in pixels) of the cells of a map."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float32),
        torch.arange(width, dtype=torch.float32),
        indexing="ij",
    )
    return (torch.stack([x, y]) + 0.5) * STRIDE


def decode_boxes(raw: Tensor) -> Tensor:
    """Corner boxes [N, 4, h, w] (x0, y0, x1, y1 in pixels) from raw maps."""
    centres = cell_centres(raw.shape[2], raw.shape[3]).to(raw.device)
    reach = raw[:, :4].clamp(-4.0, 4.0).exp() * STRIDE
    return torch.cat([centres - reach[:, :2], centres + reach[:, 2:]], dim=1)


class Exported(nn.Module):
    """The detector as it is shipped: output [N, 4 + classes, cells] in YOLOv8's layout.

    Rows are cx, cy, w, h in pixels of the input, then the class scores after the sigmoid. The
    logits are scaled and shifted first (one pair for each class), so that 0.5 is the threshold that
    balances precision and recall.
    """

    def __init__(self, detector: Detector, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.detector = detector
        self.register_buffer("scale", scale.reshape(1, CLASS_COUNT, 1, 1))
        self.register_buffer("shift", shift.reshape(1, CLASS_COUNT, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Boxes and scores of a batch of images; see the class for the layout."""
        raw = self.detector(images)
        corners = decode_boxes(raw)
        first, last = corners[:, :2], corners[:, 2:]
        scale, shift = cast("Tensor", self.scale), cast("Tensor", self.shift)
        scores = torch.sigmoid(raw[:, 4:] * scale + shift)
        return torch.cat([(first + last) / 2, last - first, scores], dim=1).flatten(2)
