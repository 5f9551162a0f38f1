"""Received bytes to pixels, and pixels to a model's input size.

What a file is, is decided by its first bytes, never by its name. Nothing is decoded
before the dimensions in its header are known to be acceptable, and nothing damaged is
passed on: half a picture would be answered with confidence.

Decoding releases the interpreter lock, in both libraries.
"""

import io
import re
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from andon.errors import TooLarge, UnsupportedMedia, UnusableUpload
from andon.runtimes.base import Picture
from andon.runtimes.geometry import Mapping

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[np.uint8]

_PNG = b"\x89PNG\r\n\x1a\n"
_TAKEN = "Send the picture as JPEG, PNG or BMP."

# A progressive JPEG may revisit every coefficient with a few bytes per scan, so a small
# file can cost hours. Encoders write about ten scans.
_MAX_SCANS = 100

# Cheap cameras pad the data before the end marker; libjpeg warns, the picture is whole.
_HARMLESS = re.compile(r"Corrupt JPEG data: ([1-8]) extraneous bytes before marker 0xd9")

# Pillow spends memory on text, profiles and animation frames; only these reach it.
_PNG_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})

# Pictures in formats people do send: named in the refusal.
_OTHER_FORMATS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypheix", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypavif", "AVIF"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"%PDF", "PDF"),
    (0, b"<svg", "SVG"),
)


def decode(data: bytes, *, max_pixels: int, gray: bool = False) -> Picture:
    """Decode a JPEG, PNG or BMP file, upright.

    Transparent pixels are laid over black, which is what most programs store beneath
    them and what padding is. Of an animated file the first picture is taken. Samples of
    16 bits keep their upper 8. A file that is grayscale stays so.

    Args:
        data: The whole file.
        max_pixels: Largest width times height that is decoded.
        gray: Whether to answer grayscale whatever the file holds (0.299, 0.587, 0.114).

    Returns:
        The picture; `pixels` is C-contiguous.

    Raises:
        UnusableUpload: Empty, of unknown content, truncated or damaged.
        UnsupportedMedia: A picture, but in a format that is not taken here.
        TooLarge: More than `max_pixels` pixels.
    """
    if data[:3] == b"\xff\xd8\xff":
        return _decode_jpeg(data, max_pixels, gray)
    if data[:8] == _PNG:
        return _decode_png(data, max_pixels, gray)
    if data[:2] == b"BM":
        return _decode_bmp(data, max_pixels, gray)
    raise _not_taken(data)


def fit(pixels: Pixels, place: Mapping, *, gray: bool) -> Pixels:
    """The picture's visible part at the size it has on the model input.

    Shrinking averages areas: whole factors by block means, the rest (less than 2) with an
    antialiased triangle. This is pinned by a test, for scores depend on it. A picture
    that has the size already is returned as it is.

    Args:
        pixels: uint8, (height, width, 3) or (height, width).
        place: Where the picture lies; its `content` gives the size, its `seen` the part.
        gray: Whether to answer one channel. Three are never made of one: see `pack`.

    Returns:
        uint8, (h, w) or (h, w, 3) with h and w of `place.content`.
    """
    if place.identity and (pixels.ndim == 2 or not gray):
        return pixels
    image = _pillow().fromarray(pixels)
    if gray and pixels.ndim == 3:
        image = image.convert("L")
    if not place.identity:
        left, top, right, bottom = place.content
        image = image.resize(
            (right - left, bottom - top),
            _pillow().Resampling.BILINEAR,
            box=place.seen,
            reducing_gap=1.0,
        )
    return np.asarray(image)


def to_input(picture: Picture, place: Mapping, *, channels: int, pad: int = 0) -> Pixels:
    """A picture drawn on the model input, as uint8.

    Args:
        picture: Colour or grayscale.
        place: Where it lies, from `geometry.mapping` for this picture's size.
        channels: 1 or 3.
        pad: Value of pixels that show no picture, 0 to 255.

    Returns:
        (model_height, model_width) for one channel, else (model_height, model_width, 3).
    """
    drawn = fit(picture.pixels, place, gray=channels == 1)
    if channels == 3 and drawn.ndim == 2:
        drawn = np.repeat(drawn[:, :, None], 3, axis=2)
    if drawn.shape[:2] == (place.model_height, place.model_width):
        return drawn
    left, top, right, bottom = place.content
    canvas = np.full((place.model_height, place.model_width, *drawn.shape[2:]), pad, np.uint8)
    canvas[top:bottom, left:right] = drawn
    return canvas


def _not_taken(data: bytes) -> UnusableUpload | UnsupportedMedia:
    """The refusal of content that is no JPEG, PNG or BMP."""
    if not data:
        return UnusableUpload("Invalid image: the file is empty.", hint=_TAKEN)
    for offset, magic, name in _OTHER_FORMATS:
        if data[offset : offset + len(magic)] == magic:
            return UnsupportedMedia(f"Invalid image: the file is {name}.", hint=_TAKEN)
    return UnusableUpload("Invalid image: the content is no picture.", hint=_TAKEN)


def _damaged(kind: str, reason: object) -> UnusableUpload:
    text = " ".join(str(reason).split())[:200].rstrip(".")
    return UnusableUpload(
        f"Invalid image: the {kind} data is damaged or incomplete ({text}).",
        hint="Send the complete file.",
    )


def _admit(width: int, height: int, max_pixels: int, kind: str) -> None:
    """Refuse a picture by the dimensions its header claims."""
    if width < 1 or height < 1:
        raise _damaged(kind, f"its header says {width}x{height} pixels")
    if width * height > max_pixels:
        raise TooLarge(
            f"Picture of {width}x{height} pixels exceeds the limit of {max_pixels} pixels.",
            hint="Send a smaller picture.",
        )


def _decode_jpeg(data: bytes, max_pixels: int, gray: bool) -> Picture:
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise _damaged("JPEG", error) from None
    _admit(width, height, max_pixels, "JPEG")
    scans = data.count(b"\xff\xda")
    if scans > _MAX_SCANS:
        raise _damaged("JPEG", f"{scans} scans, where encoders write about ten")
    if space in {"CMYK", "YCCK"}:
        # simplejpeg ignores how Adobe inverts these; Pillow does not. Strictness is
        # borrowed from simplejpeg all the same, for Pillow hides damage.
        _jpeg_pixels(data, "CMYK")
        pixels = _pillow_pixels(data, "JPEG", gray)
    else:
        pixels = _jpeg_pixels(data, "GRAY" if gray or space == "Gray" else "RGB")
        if pixels.ndim == 3 and pixels.shape[2] == 1:
            pixels = pixels[:, :, 0]
    return _upright(pixels, _jpeg_orientation(data), "JPEG")


def _jpeg_pixels(data: bytes, space: str) -> Pixels:
    """Decode strictly; (height, width, channels)."""
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(data, space)
    except ValueError as error:
        if not _HARMLESS.search(str(error)):
            raise _damaged("JPEG", error) from None
        pixels = simplejpeg.decode_jpeg(data, space, strict=False)
    return pixels


def _decode_png(data: bytes, max_pixels: int, gray: bool) -> Picture:
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise _damaged("PNG", "no header")
    width, height = struct.unpack_from(">II", data, 16)
    _admit(width, height, max_pixels, "PNG")
    slim, exif = _slim_png(data)
    return _upright(_pillow_pixels(slim, "PNG", gray), _tiff_orientation(exif), "PNG")


def _slim_png(data: bytes) -> tuple[bytes, bytes]:
    """The chunks that make the picture, checked, and the EXIF block.

    Raises:
        UnusableUpload: A chunk is cut off or its checksum is wrong, or the end is missing.
    """
    view = memoryview(data)
    kept: list[bytes | memoryview] = [view[:8]]
    exif = b""
    at = 8
    dropped = False
    kind = b""
    while kind != b"IEND":
        if at + 12 > len(data):
            raise _damaged("PNG", "the end is missing")
        (size,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        end = at + 12 + size
        if end > len(data):
            raise _damaged("PNG", "the end is missing")
        if kind in _PNG_CHUNKS:
            (crc,) = struct.unpack_from(">I", data, end - 4)
            if zlib.crc32(view[at + 4 : end - 4]) != crc:
                raise _damaged("PNG", f"wrong checksum of chunk {kind.decode('ascii')}")
            kept.append(view[at:end])
        else:
            dropped = True
            if kind == b"eXIf" and size <= 65536:
                exif = data[at + 8 : end - 4]
        at = end
    return (b"".join(kept) if dropped else data), exif


def _decode_bmp(data: bytes, max_pixels: int, gray: bool) -> Picture:
    if len(data) < 26:
        raise _damaged("BMP", "no header")
    if struct.unpack_from("<I", data, 14)[0] == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    # A negative height says that rows run from the top.
    _admit(width, abs(height), max_pixels, "BMP")
    return _upright(_pillow_pixels(data, "BMP", gray), 1, "BMP")


def _pillow_pixels(data: bytes, kind: str, gray: bool) -> Pixels:
    """Decode with Pillow, one format allowed; (height, width) or (height, width, 3)."""
    library = _pillow()
    try:
        with library.open(io.BytesIO(data), formats=(kind,)) as image:
            image.load()
            return _normalised(image, gray)
    except library.DecompressionBombError as error:
        raise TooLarge(f"Invalid image: {error}", hint="Send a smaller picture.") from None
    except Exception as error:
        # Pillow lets SyntaxError, OSError, struct.error and others out for bad data.
        raise _damaged(kind, error) from None


def _pillow() -> Any:
    """`PIL.Image`, loaded when the first picture needs it.

    It takes 2 MB that a camera sending JPEGs of the right size never asks for.
    """
    from PIL import Image  # noqa: PLC0415

    return Image


def _normalised(image: "Image.Image", gray: bool) -> Pixels:
    """Whatever mode Pillow decoded, as 8-bit grayscale or RGB."""
    if image.mode.startswith("I"):
        wide = np.asarray(image)
        return np.ascontiguousarray((wide >> 8).astype(np.uint8))
    if image.mode in {"LA", "La", "RGBA", "RGBa", "PA"} or "transparency" in image.info:
        colour = image.convert("RGBA")
        ground = _pillow().new("RGBA", colour.size, (0, 0, 0, 255))
        flat = _pillow().alpha_composite(ground, colour)
        gray = gray or image.mode in {"L", "LA", "La"}
        return np.array(flat.convert("L" if gray else "RGB"))
    if gray or image.mode in {"1", "L"}:
        return np.array(image.convert("L"))
    return np.array(image.convert("RGB"))


def _upright(pixels: Pixels, orientation: int, kind: str) -> Picture:
    """Turn and mirror as EXIF says (1 to 8)."""
    if orientation in {5, 6, 7, 8}:
        pixels = pixels.swapaxes(0, 1)
    # After the swap: 5 is done, 6 needs its columns mirrored, 8 its rows, 7 both.
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation != 1:
        pixels = np.ascontiguousarray(pixels)
    return Picture(pixels, pixels.shape[1], pixels.shape[0], kind)


def _jpeg_orientation(data: bytes) -> int:
    """The EXIF orientation in a JPEG's header segments; 1 where there is none."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # Fill byte.
            at += 1
            continue
        if marker == 0xDA:  # Picture data starts: no segment that matters follows.
            break
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\x00\x00":
            return _tiff_orientation(data[at + 10 : at + 2 + size])
        at += 2 + max(2, size)
    return 1


def _tiff_orientation(block: bytes) -> int:
    """Tag 0x0112 of the first directory of an EXIF block; 1 where it says nothing usable."""
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(block[:4])
    if order is None or len(block) < 10:
        return 1
    (start,) = struct.unpack_from(f"{order}I", block, 4)
    if start + 2 > len(block):
        return 1
    (entries,) = struct.unpack_from(f"{order}H", block, start)
    for index in range(entries):
        at = start + 2 + 12 * index
        if at + 12 > len(block):
            break
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", block, at)
        if tag == 0x0112:
            return value if kind == 3 and 1 <= value <= 8 else 1
    return 1


def noise_pixels(shape: tuple[int, ...]) -> Pixels:
    """Evenly spread values 0 to 255, the same every time: a picture to try a model on.

    The counter is scrambled by MurmurHash3's finaliser (Appleby, 2011). `numpy.random` would
    do it too, and would cost an idle server 4 MB.
    """
    values = np.arange(np.prod(shape), dtype=np.uint32)
    for factor, shift in ((0x85EBCA6B, 13), (0xC2B2AE35, 16)):
        values ^= values >> np.uint32(16)
        values *= np.uint32(factor)
        values ^= values >> np.uint32(shift)
    return (values & np.uint32(255)).astype(np.uint8).reshape(shape)
