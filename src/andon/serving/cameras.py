"""Whether a picture is one that a model can say something about, and its camera well.

What is measured comes from the decoded pixels: tones from at most 127 x 127 of them, evenly
spread over the whole picture; sharpness and edges from 64 patches of 16 x 16 neighbouring
pixels, for both vanish when pixels are left out. It takes a fifth of a millisecond, on the thread
that has just decoded the picture.

Dark and blown out are judged by the brightest and the darkest hundredth, so that boards of two
tones alone, black and white, are well. Blur cannot be told from a picture of something smooth:
a picture counts as blurred only against what was learned (`CameraHealth.set_limits`).
"""

import math
import threading
import zlib
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from andon.settings import Settings

Pixels = NDArray[np.uint8]

OK = "ok"
MAX_CAMERA = 64
"""Characters of a camera's id."""

_SENTENCES = {
    "dark": "The picture is too dark: even its brightest parts are almost black",
    "bright": "The picture is blown out: even its darkest parts are almost white",
    "frozen": "The camera has sent the same picture again and again: it may be frozen",
    "size": "The picture has another size than this model's pictures have",
    "blurred": "The picture is blurred: it is much less sharp than this model's pictures are",
}
"""In the order in which one of several problems becomes the state."""

_SO = "; what the model says of it cannot be relied on."

# Tones are read from one pixel in so many that this many stay, at least, along a side.
_SAMPLES = 64
# Patches along a side, and their side, pixels; and the side of the one where these show too little.
_PATCHES = 8
_PATCH = 16
_LARGE_PATCH = 768
# Edge pixels that are too few to tell anything.
_FEW_EDGES = 64
# And about so many are enough.
_MANY_EDGES = 2048
# Of 255, both ways together: the difference of neighbours from which it is an edge, not noise.
_LEAST_STEP = 24
# ITU-R BT.601 in 256ths: luminance from red, green and blue.
_RED, _GREEN, _BLUE = 77, 150, 29
_TONES = np.arange(256)
# Of 180 degrees, eight sectors.
_SECTORS = 8
_TAN = math.tan(math.pi / _SECTORS)
# A picture of less contrast shows nothing that could be sharp.
_LEAST_CONTRAST = 0.02
# 0.4 % of black on white; light grey to white alone comes to 0.03 at most.
_CONTRAST_OF_WHITE = 0.05
# Cameras whose last picture is remembered.
_CAMERAS = 1024
_DIGITS = 4


class Look(msgspec.Struct, frozen=True):
    """What a picture is like.

    Attributes:
        stats: As `image_stats`.
        pixels: The same for the same pixels, and hardly ever for others; None where it was not
            asked for.
    """

    stats: dict[str, Any]
    pixels: int | None


class Health(msgspec.Struct, frozen=True):
    """What was found of a picture and its camera.

    Attributes:
        state: "ok", or the first problem.
        problems: "dark", "bright", "frozen", "size", "blurred"; empty when it is well.
        stats: For the log: what was measured, with the problems.
    """

    state: str
    problems: tuple[str, ...]
    stats: dict[str, Any]

    @property
    def sentences(self) -> tuple[str, ...]:
        """The problems for people."""
        return sentences(self.problems) if self.problems else ()


def sentences(problems: Iterable[str]) -> tuple[str, ...]:
    """Problems by name as sentences."""
    return tuple(_SENTENCES[name] + _SO for name in problems if name in _SENTENCES)


def image_stats(pixels: Pixels) -> dict[str, Any]:
    """Measure a picture.

    Args:
        pixels: Shape (height, width, 3) RGB or (height, width) gray.

    Returns:
        `brightness` and `contrast`: mean and standard deviation of the luminance, 0 to 1.
        `low` and `high`: its 1st and 99th percentile. `hist`: shares of 16 equal steps of it.
        `color`: mean red, green and blue, 0 to 1; absent for gray.
        `sharpness`: at edges (in the green, of a coloured picture), the absolute Laplacian (4
        times a pixel less its neighbours) over the gradient (central differences), so that
        neither contrast nor the number of edges changes it; about 1 where an edge is a step,
        falling with the width of the blur; 0 without edges. `edges`: shares of eight directions
        of the gradient (22.5 degrees each, from the horizontal), weighted by its magnitude;
        zeros without any.
    """
    return _stats(pixels, _sample(pixels))


def _stats(pixels: Pixels, sample: Pixels) -> dict[str, Any]:
    count = sample.shape[0] * sample.shape[1]
    tones, color = _tones(sample)
    mean = float(tones @ _TONES) / count
    spread = math.sqrt(max(0.0, float(tones @ (_TONES * _TONES)) / count - mean * mean))
    so_far = tones.cumsum()
    stats = {
        "brightness": round(mean / 255, _DIGITS),
        "contrast": round(spread / 255, _DIGITS),
        "low": round(int(so_far.searchsorted(0.01 * count)) / 255, _DIGITS),
        "high": round(int(so_far.searchsorted(0.99 * count)) / 255, _DIGITS),
        "hist": [
            round(share, _DIGITS) for share in (tones.reshape(16, 16).sum(1) / count).tolist()
        ],
    }
    if color:
        stats["color"] = [round(value / (255 * count), _DIGITS) for value in color]
    # Green is most of what luminance is, and what sensors see most sharply.
    tone = pixels if pixels.ndim == 2 else pixels[..., 1]
    sharpness, edges, seen = _detail(_signed(_patches(tone, _PATCHES, _PATCH)))
    if seen < _FEW_EDGES:
        # Hardly anything is to be seen in the patches: look at everything, up to a limit. At
        # every other pixel: a step shows in two neighbouring ones, so none is missed.
        sharpness, edges, _ = _detail(_patches(tone, 1, _LARGE_PATCH), every=2)
    return stats | {"sharpness": sharpness, "edges": edges}


def look(pixels: Pixels, *, named: bool = True) -> Look:
    """Measure a picture; and make what tells it from others, where its camera is `named`."""
    sample = _sample(pixels)
    return Look(_stats(pixels, sample), _fingerprint(pixels, sample) if named else None)


class CameraHealth:
    """Judges pictures, and remembers each camera's last one.

    Args:
        settings: The limits of dark, bright and frozen.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        # By model and camera: the last picture, and how often it came in a row.
        self._last: LRUCache[tuple[str, str], tuple[int, int]] = LRUCache(maxsize=_CAMERAS)
        self._limits: dict[str, tuple[float | None, tuple[int, int] | None]] = {}

    def set_limits(
        self, model: str, sharpness_floor: float | None, size: tuple[int, int] | None
    ) -> None:
        """Say what was learned of a model's pictures; None: nothing.

        Args:
            model: Registered model's name.
            sharpness_floor: Pictures below are blurred.
            size: Width and height, pixels; pictures of another size have the wrong one.
        """
        self._limits[model] = (sharpness_floor, size)

    def check(
        self,
        model: str,
        camera: str | None,
        stats: dict[str, Any],
        width: int,
        height: int,
        image_hash: str,
        pixel_hash: int | None,
    ) -> tuple[str, tuple[str, ...]]:
        """Judge one picture; call it once per picture, for the camera's are counted.

        Args:
            model: Registered model's name.
            camera: Its camera; None is no camera: a client may repeat a picture.
            stats: From `image_stats`.
            width: Pixels.
            height: Pixels.
            image_hash: SHA-256 of the file, where there is no `pixel_hash`.
            pixel_hash: The same for the same pixels.

        Returns:
            The state, and all problems.
        """
        found = {
            "dark": stats["high"] < self._settings.camera_dark,
            # A white board with a few thin black tracks is none: there is contrast.
            "bright": stats["low"] > self._settings.camera_bright
            and stats["contrast"] < _CONTRAST_OF_WHITE,
            "frozen": camera is not None
            and self._again(model, camera, pixel_hash, image_hash)
            >= self._settings.camera_frozen_after,
        }
        floor, size = self._limits.get(model, (None, None))
        found["size"] = size is not None and size != (width, height)
        found["blurred"] = (
            floor is not None
            and stats["contrast"] >= _LEAST_CONTRAST
            and not (found["dark"] or found["bright"])
            and stats["sharpness"] < floor
        )
        problems = tuple(name for name in _SENTENCES if found[name])
        return (problems[0] if problems else OK), problems

    def examine(
        self,
        model: str,
        camera: str | None,
        seen: Look,
        width: int,
        height: int,
        image_hash: str,
    ) -> Health:
        """The same, as it is answered and logged."""
        state, problems = self.check(
            model, camera, seen.stats, width, height, image_hash, seen.pixels
        )
        return Health(state, problems, {**seen.stats, "problems": list(problems)})

    def _again(self, model: str, camera: str, pixel_hash: int | None, image_hash: str) -> int:
        """How often in a row a camera has sent this picture, this time included."""
        key = int(image_hash[:16], 16) if pixel_hash is None else pixel_hash
        with self._lock:
            last, times = self._last.get((model, camera), (None, 0))
            times = times + 1 if last == key else 1
            self._last[model, camera] = (key, times)
        return times


def _sample(pixels: Pixels) -> Pixels:
    """Pixels evenly spread over the picture, side by side in memory."""
    height, width = pixels.shape[:2]
    return np.ascontiguousarray(pixels[:: max(1, height // _SAMPLES), :: max(1, width // _SAMPLES)])


def _tones(sample: Pixels) -> tuple[NDArray[np.intp], list[int]]:
    """How many pixels have each luminance; and of a coloured picture the sums of its colours."""
    if sample.ndim == 2:
        return np.bincount(sample.ravel(), minlength=256), []
    # One plane behind the other: what follows runs along contiguous memory.
    planes = sample.reshape(-1, 3).T.astype(np.uint16, order="C")
    mixed = planes[0] * _RED
    mixed += planes[1] * _GREEN
    mixed += planes[2] * _BLUE
    mixed >>= 8
    return np.bincount(mixed, minlength=256), planes.sum(1).tolist()


def _patches(tone: Pixels, count: int, largest: int) -> Pixels:
    """Patches of neighbours, `count` along each side, as (y, x, down, across).

    The same place of all patches stands together in the last two: copied so, what compares
    neighbours runs along contiguous memory.

    Their sides are `largest` at most; a small picture is one patch, whole.
    """
    height, width = tone.shape
    down, across = (count if side >= count * _PATCH else 1 for side in (height, width))
    grid = tone[: down * (height // down), : across * (width // across)].reshape(
        down, height // down, across, width // across
    )
    # A long narrow picture has one patch across, and is not measured along all of its length.
    tall, wide = (min(side, largest) for side in (height // down, width // across))
    top, left = (height // down - tall) // 2, (width // across - wide) // 2
    patches = grid[:, top : top + tall, :, left : left + wide]
    return patches.transpose(1, 3, 0, 2)


def _signed(tone: NDArray[Any]) -> NDArray[np.int16]:
    """With room for differences."""
    return tone if tone.dtype == np.int16 else tone.astype(np.int16, order="C")


def _detail(tone: NDArray[Any], every: int = 1) -> tuple[float, list[float], int]:
    """Sharpness and directions of the edges in patches, and how many of `every` pixel."""
    inside, first, last = slice(1, -1, every), slice(None, -2, every), slice(2, None, every)
    middle = tone[inside, inside]
    up, under = _signed(tone[first, inside]), _signed(tone[last, inside])
    before, behind = _signed(tone[inside, first]), _signed(tone[inside, last])
    across, down = behind - before, under - up
    flat, steep = np.abs(across), np.abs(down)
    (places,) = np.nonzero((flat + steep).ravel() > _LEAST_STEP)
    if not places.size:
        return 0.0, [0.0] * _SECTORS, 0
    seen = places.size
    # A busy picture shows edges everywhere; some thousands of them tell as much.
    places = places[:: seen // _MANY_EDGES + 1]
    curve = _signed(middle) * 4
    for neighbour in (up, under, before, behind):
        curve -= neighbour
    right = across.ravel()[places].astype(np.float32)
    fall = down.ravel()[places].astype(np.float32)
    slope = np.hypot(right, fall)
    total = float(slope.sum())
    sharpness = float(np.abs(curve.ravel()[places]).sum()) / total
    level, sheer = np.abs(right), np.abs(fall)
    # Sectors of a quarter turn by slope; the other quarter's run the other way round.
    sector = (sheer > level * _TAN).astype(np.intp)
    sector += sheer > level
    sector += sheer * _TAN > level
    sector = np.where(right * fall < 0, _SECTORS - 1 - sector, sector)
    shares = np.bincount(sector, slope, _SECTORS) / total
    return (
        round(sharpness, _DIGITS),
        [round(share, _DIGITS) for share in shares.tolist()],
        seen,
    )


def _fingerprint(pixels: Pixels, sample: Pixels) -> int:
    """Tells a picture from others: a checksum of every tenth pixel or so, and the sum of all.

    A frozen camera's frames are equal to the bit, a living one's differ everywhere, by noise.
    """
    crc = zlib.crc32(sample.data)
    flat = pixels.reshape(-1) if pixels.flags.c_contiguous else pixels.ravel()
    whole = flat[: flat.size // 8 * 8].view(np.uint64)
    total = int(np.add.reduce(whole)) + int(flat[flat.size // 8 * 8 :].sum())
    return hash((crc, total, *pixels.shape[:2]))
