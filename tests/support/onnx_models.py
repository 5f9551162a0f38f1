"""Tiny real ONNX models that find bright spots, one builder per head.

Every detector looks at cells of 8x8 input pixels. A cell whose mean brightness in colour
channel k exceeds one half is an object of class k, its box the cell, its score
``2 * brightness - 1``; a fully white cell scores 1. So a white square drawn on black, aligned
to cells, must come back as exactly that square, through every resize mode.

All builders write a file and return its path. Common keywords:

- ``size``: input side, pixels, a multiple of 8, or (width, height).
- ``labels``: class names; class k looks at channel k (classes beyond the channels stay dark).
- ``channels``: 1 or 3. ``layout``: "nchw" or "nhwc". ``dtype``: "float32", "float16", "uint8".
- ``metadata``: entries to write; default: none. `ultralytics(...)` and `andon(...)` make some.
- ``dynamic``: leave the input's height and width open (the network works at ``size`` only).
- ``loops``: busy work, about 5 to 20 microseconds each, so that a run takes long.
- ``white_loops``: the same, only for pictures that are white all over.
- ``nan``: answer NaN as soon as any pixel is fully white.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CELL = 8

_TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "uint8": TensorProto.UINT8,
}


def ultralytics(labels=("spot",), *, size=64, task="detect", **more: str) -> dict[str, str]:
    """Metadata as an Ultralytics export writes it."""
    return {
        "description": "Ultralytics YOLO11n model trained on boards.yaml",
        "task": task,
        "stride": "32",
        "batch": "1",
        "imgsz": str([size, size]),
        "names": str(dict(enumerate(labels))),
        **more,
    }


def andon(labels=("spot",), **keys: str) -> dict[str, str]:
    """Metadata in Andon's own keys: ``andon(resize="crop", threshold="0.4")``."""
    return {
        "andon.labels": json.dumps(list(labels)),
        **{f"andon.{key}": value for key, value in keys.items()},
    }


class Net:
    """A graph under construction; methods return names of values."""

    def __init__(
        self,
        *,
        size=64,
        channels=3,
        layout="nchw",
        dtype="float32",
        dynamic=False,
        loops=0,
        white_loops=0,
        nan=False,
    ) -> None:
        self.width, self.height = (size, size) if isinstance(size, int) else size
        self.channels = channels
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.count = 0
        self.columns, self.rows = self.width // CELL, self.height // CELL
        self.cells = self.columns * self.rows
        width, height = ("width", "height") if dynamic else (self.width, self.height)
        shape = [1, channels, height, width] if layout == "nchw" else [1, height, width, channels]
        self.inputs = [helper.make_tensor_value_info("images", _TYPES[dtype], shape)]
        value = "images"
        if dtype != "float32":
            value = self.add("Cast", value, to=TensorProto.FLOAT)
        if dtype == "uint8":
            value = self.add("Div", value, self.constant(np.float32(255)))
        if layout == "nhwc":
            value = self.add("Transpose", value, perm=[0, 3, 1, 2])
        if loops:
            turns = self.constant(np.array(loops, np.int64))
            value = self.add("Add", value, self.busy(value, turns))
        if white_loops:
            bright = self.add("ReduceMean", value, keepdims=0)
            white = self.add("Floor", self.add("Add", bright, self.f(0.01)))
            turns = self.add("Mul", white, self.f(white_loops))
            turns = self.add("Cast", turns, to=TensorProto.INT64)
            value = self.add("Add", value, self.busy(value, turns))
        if nan:
            # 0/0 where a pixel is white, x*1 elsewhere.
            white = self.add("ReduceMax", value, keepdims=1)
            dark = self.add("Cast", self.add("Less", white, self.f(0.999)), to=TensorProto.FLOAT)
            value = self.add("Div", self.add("Mul", value, dark), dark)
        self.image = value

    def add(self, kind: str, *inputs: str, outputs=1, **attributes) -> Any:
        """A node; answers its output's name, or the list of names where there are several."""
        self.count += 1
        names = [f"v{self.count}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, array) -> str:
        """A constant tensor."""
        self.count += 1
        name = f"c{self.count}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def f(self, value: float) -> str:
        """A float scalar."""
        return self.constant(np.float32(value))

    def ints(self, *values: int) -> str:
        """A vector of int64, e.g. a shape."""
        return self.constant(np.array(values, np.int64))

    def busy(self, value: str, turns: str) -> str:
        """A zero that takes ``turns`` matrix products to compute."""
        start = self.add("ReduceMean", value, keepdims=0)
        state = self.add("Mul", self.constant(np.eye(32, dtype=np.float32)), start)
        body = helper.make_graph(
            [
                helper.make_node("Identity", ["go"], ["go_on"]),
                helper.make_node("MatMul", ["state", "state"], ["product"]),
                helper.make_node("Clip", ["product", "low", "high"], ["next"]),
            ],
            "body",
            [
                helper.make_tensor_value_info("turn", TensorProto.INT64, []),
                helper.make_tensor_value_info("go", TensorProto.BOOL, []),
                helper.make_tensor_value_info("state", TensorProto.FLOAT, [32, 32]),
            ],
            [
                helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
                helper.make_tensor_value_info("next", TensorProto.FLOAT, [32, 32]),
            ],
            [
                numpy_helper.from_array(np.float32(-1), "low"),
                numpy_helper.from_array(np.float32(1), "high"),
            ],
        )
        final = self.add(
            "Loop",
            turns,
            self.constant(np.array(True)),
            state,
            body=body,
        )
        return self.add("Mul", self.add("ReduceMean", final, keepdims=0), self.f(0))

    def scores(self, classes: int) -> str:
        """Score per class and cell: (classes, cells), 0 to 1."""
        means = self.add("AveragePool", self.image, kernel_shape=[CELL, CELL], strides=[CELL, CELL])
        flat = self.add("Reshape", means, self.ints(self.channels, self.cells))
        choose = self.constant(np.eye(classes, self.channels, dtype=np.float32))
        chosen = self.add("MatMul", choose, flat)
        stretched = self.add("Sub", self.add("Mul", chosen, self.f(2)), self.f(1))
        return self.add("Clip", stretched, self.f(0), self.f(1))

    def logits(self, scores: str) -> str:
        """Scores as logits: 0 to -10, 1 to 10."""
        return self.add("Mul", self.add("Sub", scores, self.f(0.5)), self.f(20))

    def centres(self, *, unit=False) -> np.ndarray:
        """Centre and size of every cell: (cells, 4), pixels, or shares of the input."""
        ys, xs = np.divmod(np.arange(self.cells), self.columns)
        half = CELL / 2
        sides = np.full(self.cells, CELL)
        boxes = np.stack([xs * CELL + half, ys * CELL + half, sides, sides], axis=1)
        if unit:
            boxes = boxes / np.array([self.width, self.height] * 2)
        return boxes.astype(np.float32)

    def corners(self) -> np.ndarray:
        """Corners of every cell: (cells, 4), pixels."""
        boxes = self.centres()
        return np.concatenate([boxes[:, :2] - CELL / 2, boxes[:, :2] + CELL / 2], axis=1)

    def best(self, classes: int, count: int) -> tuple[str, str, str]:
        """The strongest cells: scores (count,), classes (count,) int64, cells (count,)."""
        scores = self.scores(classes)
        strongest = self.add("ReduceMax", scores, axes=[0], keepdims=0)
        kinds = self.add("ArgMax", scores, axis=0, keepdims=0)
        values, cells = self.add("TopK", strongest, self.ints(count), outputs=2, axis=0)
        return values, self.add("Gather", kinds, cells, axis=0), cells

    def save(self, path, outputs: dict[str, str], metadata: dict[str, str] | None = None) -> Path:
        """Write the model; `outputs` maps public names to values."""
        nodes = [
            *self.nodes,
            *(helper.make_node("Identity", [value], [name]) for name, value in outputs.items()),
        ]
        infos = [helper.make_empty_tensor_value_info(name) for name in outputs]
        graph = helper.make_graph(nodes, "main_graph", self.inputs, infos, self.constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=9,
            producer_name="andon-tests",
        )
        model = onnx.shape_inference.infer_shapes(model)
        helper.set_model_props(model, metadata or {})
        path = Path(path)
        onnx.save(model, path)
        return path


def yolov8_spot(
    path,
    *,
    size=64,
    labels=("spot",),
    metadata=None,
    logits=False,
    transposed=False,
    unit=False,
    masks=False,
    **net,
) -> Path:
    """YOLOv8/11: ``[1, 4+nc, cells]``.

    Args:
        path: Where to write it.
        size: See the module.
        labels: See the module; written nowhere but in `metadata`.
        metadata: Metadata entries.
        logits: Answer logits instead of probabilities.
        transposed: Answer ``[1, cells, 4+nc]``.
        unit: Answer boxes as shares of the input.
        masks: Add 32 mask coefficients per cell and a second output of prototypes.
        **net: See the module.
    """
    build = Net(size=size, **net)
    scores = build.scores(len(labels))
    if logits:
        scores = build.logits(scores)
    parts = [build.constant(build.centres(unit=unit).T.copy()), scores]
    outputs = {}
    if masks:
        parts.append(build.constant(np.zeros((32, build.cells), np.float32)))
    table = build.add("Concat", *parts, axis=0)
    if transposed:
        table = build.add("Transpose", table, perm=[1, 0])
    outputs["output0"] = build.add("Unsqueeze", table, build.ints(0))
    if masks:
        outputs["output1"] = build.constant(np.zeros((1, 32, 16, 16), np.float32))
    return build.save(path, outputs, metadata)


def yolov5_spot(path, *, size=64, labels=("spot",), metadata=None, **net) -> Path:
    """YOLOv5/v7: ``[1, 3*cells, 5+nc]``; three anchors per cell, the first two of them wrong."""
    build = Net(size=size, **net)
    scores = build.add("Transpose", build.scores(len(labels)), perm=[1, 0])
    presence = build.add("ReduceMax", scores, axes=[1], keepdims=1)
    # Presence 0.04 for two of three anchors keeps them below every floor.
    weak = build.add("Mul", presence, build.f(0.04))
    parts = []
    for share in (weak, weak, presence):
        boxes = build.constant(build.centres())
        ones = build.add("Div", scores, build.add("Max", presence, build.f(1e-6)))
        parts.append(build.add("Concat", boxes, share, ones, axis=1))
    rows = build.add("Concat", *parts, axis=0)
    return build.save(path, {"output": build.add("Unsqueeze", rows, build.ints(0))}, metadata)


def end2end_spot(
    path, *, size=64, labels=("spot",), metadata=None, count=16, form="rows", **net
) -> Path:
    """Suppressed inside.

    Args:
        path: Where to write it.
        size: See the module.
        labels: See the module.
        metadata: Metadata entries.
        count: Rows answered.
        form: "rows" ``[1, count, 6]``; "flat" ``[count, 7]`` with batch, corners, class,
            score; "apart" boxes, scores, labels; "counted" num_dets, boxes, scores, classes.
        **net: See the module.
    """
    build = Net(size=size, **net)
    scores, kinds, cells = build.best(len(labels), count)
    boxes = build.add("Gather", build.constant(build.corners()), cells, axis=0)
    column = {
        name: build.add("Unsqueeze", value, build.ints(1))
        for name, value in (
            ("score", scores),
            ("class", build.add("Cast", kinds, to=TensorProto.FLOAT)),
        )
    }
    if form == "rows":
        rows = build.add("Concat", boxes, column["score"], column["class"], axis=1)
        outputs = {"output0": build.add("Unsqueeze", rows, build.ints(0))}
    elif form == "flat":
        batch = build.constant(np.zeros((count, 1), np.float32))
        rows = build.add("Concat", batch, boxes, column["class"], column["score"], axis=1)
        # Only rows above one half leave, so that their number depends on the picture.
        strong = build.add("NonZero", build.add("Greater", scores, build.f(0.5)))
        index = build.add("Squeeze", strong, build.ints(0))
        outputs = {"output": build.add("Gather", rows, index, axis=0)}
    elif form == "apart":
        outputs = {"labels": kinds, "boxes": boxes, "scores": scores}
    else:
        number = build.add("Cast", build.add("Ceil", scores), to=TensorProto.INT32)
        outputs = {
            "num_dets": build.add("ReduceSum", number, build.ints(0), keepdims=1),
            "det_boxes": build.add("Unsqueeze", boxes, build.ints(0)),
            "det_scores": build.add("Unsqueeze", scores, build.ints(0)),
            "det_classes": build.add(
                "Unsqueeze", build.add("Cast", kinds, to=TensorProto.INT32), build.ints(0)
            ),
        }
    return build.save(path, outputs, metadata)


def rtdetr_spot(
    path, *, size=96, labels=("spot",), metadata=None, joined=False, queries=20, **net
) -> Path:
    """RT-DETR: boxes ``[1, Q, 4]`` (shares) and logits ``[1, Q, nc]``.

    Args:
        path: Where to write it.
        size: See the module.
        labels: See the module.
        metadata: Metadata entries.
        joined: One output ``[1, Q, 4+nc]`` of probabilities, as Ultralytics exports it.
        queries: Q.
        **net: See the module.
    """
    build = Net(size=size, **net)
    scores = build.add("Transpose", build.scores(len(labels)), perm=[1, 0])
    strongest = build.add("ReduceMax", scores, axes=[1], keepdims=0)
    _, cells = build.add("TopK", strongest, build.ints(queries), outputs=2, axis=0)
    boxes = build.add("Gather", build.constant(build.centres(unit=True)), cells, axis=0)
    chosen = build.add("Gather", scores, cells, axis=0)
    if joined:
        # Never whole numbers, as a real network's scores never are.
        soft = build.add("Add", build.add("Mul", chosen, build.f(0.98)), build.f(0.01))
        rows = build.add("Concat", boxes, soft, axis=1)
        outputs = {"output0": build.add("Unsqueeze", rows, build.ints(0))}
    else:
        outputs = {
            "logits": build.add("Unsqueeze", build.logits(chosen), build.ints(0)),
            "pred_boxes": build.add("Unsqueeze", boxes, build.ints(0)),
        }
    return build.save(path, outputs, metadata)


def fomo_spot(
    path,
    *,
    size=64,
    labels=("spot",),
    metadata=None,
    channels_first=False,
    logits=False,
    **net,
) -> Path:
    """FOMO: ``[1, rows, columns, 1+nc]``, background first, softmax taken unless `logits`."""
    build = Net(size=size, **net)
    things = build.logits(build.scores(len(labels)))
    background = build.constant(np.zeros((1, build.cells), np.float32))
    cells = build.add("Concat", background, things, axis=0)
    if not logits:
        cells = build.add("Softmax", cells, axis=0)
    grid = build.add("Reshape", cells, build.ints(1, len(labels) + 1, build.rows, build.columns))
    if not channels_first:
        grid = build.add("Transpose", grid, perm=[0, 2, 3, 1])
    return build.save(path, {"heat": grid}, metadata)


def classifier(path, *, size=32, metadata=None, form="probabilities", **net) -> Path:
    """Classes "dark" and "bright" by mean brightness: ``[1, 2]``.

    Args:
        path: Where to write it.
        size: See the module.
        metadata: Metadata entries.
        form: "probabilities", "logits", "independent" (do not sum to 1) or "binary" (one
            number: how bright).
        **net: See the module.
    """
    build = Net(size=size, **net)
    bright = build.add(
        "Reshape", build.add("ReduceMean", build.image, keepdims=1), build.ints(1, 1)
    )
    dark = build.add("Sub", build.f(1), bright)
    both = build.add("Concat", dark, bright, axis=1)
    value = {
        "probabilities": both,
        "logits": build.add("Sub", build.add("Mul", both, build.f(20)), build.f(10)),
        "independent": build.add("Mul", both, build.f(0.9)),
        "binary": bright,
    }[form]
    return build.save(path, {"scores": value}, metadata)


def raw_maps(path, *, size=64, **net) -> Path:
    """A YOLO whose boxes are not decoded: three feature maps no one can read without anchors."""
    build = Net(size=size, **net)
    mean = build.add("ReduceMean", build.image, keepdims=1)
    return build.save(
        path,
        {
            f"map{index}": build.add(
                "Mul", build.constant(np.ones((1, 255, side, side), np.float32)), mean
            )
            for index, side in enumerate((8, 4, 2))
        },
    )


def external_weights(path, *, where="initializer") -> Path:
    """A model whose weights lie in a second file beside it (in a Constant node, if asked)."""
    path = Path(path)
    build = Net()
    tensor = numpy_helper.from_array(np.ones(1024, np.float32), "outside")
    if where == "initializer":
        build.constants.append(tensor)
        name = "outside"
    else:
        name = build.add("Constant", value=tensor)
    total = build.add("Mul", build.add("ReduceMean", build.image, keepdims=0), name)
    build.save(path, {"scores": build.add("Unsqueeze", total, build.ints(0))})
    model = onnx.load(path)
    onnx.save(
        model,
        path,
        save_as_external_data=True,
        location=f"{path.name}.data",
        size_threshold=0,
        convert_attribute=True,
    )
    return path
