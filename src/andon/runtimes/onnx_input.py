"""What an ONNX network wants to be fed, and how a picture is packed for it."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from andon.errors import ModelRejected
from andon.runtimes.base import ModelOptions, Picture
from andon.runtimes.geometry import Mapping
from andon.runtimes.images import fit

SCALES = ("unit", "byte", "signed", "imagenet")
"""Values of `ModelOptions.scale`."""

_DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
_DEFAULT_SIZE = 640
_DEFAULT_CLASSIFIER_SIZE = 224
_LARGEST = 8192

# Means and deviations of ImageNet's channels, of pixels between 0 and 1; the usual
# published values, and their averages for one channel.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


class InputSpec(msgspec.Struct, frozen=True):
    """The picture input of a network.

    Attributes:
        name: Its name.
        width: Pixels.
        height: Pixels.
        channels: 1 or 3.
        layout: "nchw" or "nhwc".
        dtype: numpy type of the numbers.
        scale: One of `SCALES`.
        sizes: Name of a second input that wants the picture's width and height, or "".
        warnings: Sentences on what was guessed.
    """

    name: str
    width: int
    height: int
    channels: int
    layout: str
    dtype: Any
    scale: str
    sizes: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the tensor."""
        if self.layout == "nchw":
            return (1, self.channels, self.height, self.width)
        return (1, self.height, self.width, self.channels)


class FileFacts(msgspec.Struct, frozen=True):
    """What the file's metadata says of the input; None or "" where it is silent."""

    size: tuple[int, int] | None = None
    channels: int | None = None
    scale: str = ""
    classifier: bool = False
    silent: bool = True


def describe(inputs: list[Any], facts: FileFacts, options: ModelOptions) -> InputSpec:
    """The picture input among a session's inputs.

    Args:
        inputs: `onnxruntime.NodeArg` objects: name, type, shape.
        facts: What the file says.
        options: What a person says; wins.

    Raises:
        ModelRejected: No input takes one picture, or an option contradicts the file.
    """
    pictures = [node for node in inputs if len(node.shape) == 4]
    others = [node for node in inputs if len(node.shape) != 4]
    seen = "; ".join(f"'{node.name}' {node.type} {node.shape}" for node in inputs)
    if len(pictures) != 1 or len(others) > 1 or any(not _takes_sizes(node) for node in others):
        raise ModelRejected(
            f"The model does not take one picture: its inputs are {seen}.",
            hint="Export a vision model with one input of shape [1, channels, height, width].",
        )
    node = pictures[0]
    if node.type not in _DTYPES:
        raise ModelRejected(
            f"The input {seen} wants numbers of a type that pictures are not given in.",
            hint="Export it with a float32, float16 or uint8 input.",
        )
    if isinstance(node.shape[0], int) and node.shape[0] > 1:
        raise ModelRejected(
            f"The model takes batches of {node.shape[0]} pictures; Andon asks one at a time.",
            hint="Export it with batch=1 or a dynamic batch axis.",
        )
    warnings: list[str] = []
    layout, channels = _layout(node.shape, facts, options, warnings)
    rows, columns = (2, 3) if layout == "nchw" else (1, 2)
    hint = facts.size or (None, None)
    width = _size("width", node.shape[columns], options.width, hint[0], facts, warnings)
    height = _size("height", node.shape[rows], options.height, hint[1], facts, warnings)
    dtype = _DTYPES[node.type]
    scale = options.scale or facts.scale
    if not scale:
        scale = "byte" if dtype is np.uint8 else "unit"
        if facts.silent and dtype is not np.uint8:
            warnings.append(
                "The file does not say how pixel values are scaled; 0 to 1 is assumed. If scores "
                "look wrong, set the option 'scale'."
            )
    if scale not in SCALES:
        raise ModelRejected(
            f"There is no scale called '{scale}'.", hint=f"Use one of {', '.join(SCALES)}."
        )
    if dtype is np.uint8 and scale != "byte":
        raise ModelRejected(
            f"The model takes whole bytes, which cannot be scaled as '{scale}'.",
            hint="Leave the option 'scale' out.",
        )
    sizes = others[0].name if others else ""
    return InputSpec(
        node.name, width, height, channels, layout, dtype, scale, sizes, tuple(warnings)
    )


def _takes_sizes(node: Any) -> bool:
    """Whether an input is RT-DETR's `orig_target_sizes`: whole numbers, [N, 2]."""
    return bool(node.type == "tensor(int64)" and len(node.shape) == 2 and node.shape[1] == 2)


def _layout(
    shape: list[Any], facts: FileFacts, options: ModelOptions, warnings: list[str]
) -> tuple[str, int]:
    """Axis order and number of channels."""
    if options.layout is not None and options.layout not in {"nchw", "nhwc"}:
        raise ModelRejected(
            f"There is no layout called '{options.layout}'.", hint="Use nchw or nhwc."
        )
    layout = options.layout
    if layout is None and shape[1] in {1, 3}:
        layout = "nchw"
    if layout is None and shape[3] in {1, 3}:
        layout = "nhwc"
    declared = shape[3] if layout == "nhwc" else shape[1]
    if not isinstance(declared, int) or declared < 1:
        channels = facts.channels or 3
        if layout is None:
            layout = "nchw"
        if facts.channels is None:
            warnings.append(
                f"The file leaves the number of channels open; {layout} with {channels} is assumed."
            )
    else:
        channels = declared
    if layout is None or channels not in {1, 3}:
        raise ModelRejected(
            f"The input of shape {shape} has {channels} channels; pictures have 1 or 3.",
            hint="Set the option 'layout' to nhwc if the channels come last.",
        )
    return layout, channels


def _size(
    name: str,
    declared: Any,
    wanted: int | None,
    hinted: int | None,
    facts: FileFacts,
    warnings: list[str],
) -> int:
    """One side of the input, pixels."""
    if isinstance(declared, int) and declared > 0:
        if wanted is not None and wanted != declared:
            raise ModelRejected(
                f"The option '{name}' is {wanted}, but the model takes {declared} pixels.",
                hint=f"Leave the option '{name}' out.",
            )
        size = declared
    elif wanted or hinted:
        size = wanted or hinted or 0
    else:
        size = _DEFAULT_CLASSIFIER_SIZE if facts.classifier else _DEFAULT_SIZE
        warnings.append(
            f"The file leaves the input {name} open; {size} pixels are assumed. Set the option "
            f"'{name}' to the training size."
        )
    if not 1 <= size <= _LARGEST:
        raise ModelRejected(
            f"The input {name} of {size} pixels is outside 1 to {_LARGEST}.",
            hint="Export the model with its training size.",
        )
    return size


class Packer:
    """Turns pictures into input tensors, in memory that is used again.

    Args:
        spec: The input.
        pad: Pixel value, 0 to 255, where no picture lies.
    """

    def __init__(self, spec: InputSpec, *, pad: int) -> None:
        self.spec = spec
        ones = np.ones(spec.channels, np.float32)
        self._factor = ones / np.float32(255)
        self._shift: NDArray[np.float32] | None = None
        if spec.scale == "byte":
            self._factor = ones
        elif spec.scale == "signed":
            self._factor = ones / np.float32(127.5)
            self._shift = -ones
        elif spec.scale == "imagenet":
            mean = _MEAN if spec.channels == 3 else (sum(_MEAN) / 3,)
            deviation = _DEVIATION if spec.channels == 3 else (sum(_DEVIATION) / 3,)
            self._factor = np.array([1 / (255 * part) for part in deviation], np.float32)
            shift = [-part / width for part, width in zip(mean, deviation, strict=True)]
            self._shift = np.array(shift, np.float32)
        if spec.layout == "nchw":
            self._factor = self._factor[:, None, None]
            self._shift = None if self._shift is None else self._shift[:, None, None]
        padding = self._factor * np.float32(pad)
        self._padding = padding if self._shift is None else padding + self._shift
        self._plain = spec.scale == "byte" and spec.dtype is np.uint8

    def tensor(self) -> NDArray[Any]:
        """A new input tensor, all padding."""
        tensor = np.empty(self.spec.shape, self.spec.dtype)
        tensor[0] = self._padding
        return tensor

    def pack(self, picture: Picture, place: Mapping, tensor: NDArray[Any], *, clean: bool) -> None:
        """Draw a picture into a tensor.

        Args:
            picture: Colour or grayscale; becomes what the network wants.
            place: Where it lies.
            tensor: From `tensor`; written to.
            clean: Whether everything outside `place.content` is padding already.
        """
        drawn: NDArray[Any] = fit(picture.pixels, place, gray=self.spec.channels == 1)
        left, top, right, bottom = place.content
        if not clean:
            tensor[0] = self._padding
        if self.spec.layout == "nchw":
            target = tensor[0, :, top:bottom, left:right]
            drawn = drawn[None] if drawn.ndim == 2 else drawn.transpose(2, 0, 1)
        else:
            target = tensor[0, top:bottom, left:right]
            drawn = drawn[:, :, None] if drawn.ndim == 2 else drawn
        if self._plain:
            target[...] = drawn
            return
        np.multiply(drawn, self._factor, out=target, casting="unsafe")
        if self._shift is not None:
            np.add(target, self._shift, out=target, casting="unsafe")
