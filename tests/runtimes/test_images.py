"""Decoding pictures and bringing them to size."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from andon.errors import TooLarge, UnsupportedMedia, UnusableUpload
from andon.runtimes.base import Picture, Resize
from andon.runtimes.geometry import mapping
from andon.runtimes.images import decode, to_input

PIXELS = 40_000_000


def scene(width=120, height=90) -> np.ndarray:
    """A smooth colour picture, so that JPEG loses little."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)]
    return np.stack(channels, axis=2).astype(np.uint8)


def encode(image, kind, **options) -> bytes:
    """A file's bytes."""
    stream = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, extra=b"") -> bytes:
    """A hand-made black grayscale PNG."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = bytes((width + 1) * height) if width * height < PIXELS else b""
    return b"".join([
        b"\x89PNG\r\n\x1a\n",
        chunk(b"IHDR", header),
        extra,
        chunk(b"IDAT", zlib.compress(rows)),
        chunk(b"IEND", b""),
    ])  # fmt: skip


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_a_picture_of_each_format_is_decoded_to_its_pixels(kind):
    """JPEG comes back nearly, PNG and BMP exactly."""
    options = {"quality": 98, "subsampling": 0} if kind == "JPEG" else {}
    decoded = decode(encode(scene(), kind, **options), max_pixels=PIXELS)
    assert (decoded.format, decoded.width, decoded.height) == (kind, 120, 90)
    assert decoded.pixels.shape == (90, 120, 3)
    assert decoded.pixels.flags.c_contiguous
    assert np.abs(decoded.pixels.astype(int) - scene()).max() <= (6 if kind == "JPEG" else 0)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_gray_is_the_usual_mix_of_red_green_and_blue(kind):
    """0.299, 0.587 and 0.114, whatever the format."""
    options = {"quality": 98, "subsampling": 0} if kind == "JPEG" else {}
    decoded = decode(encode(scene(), kind, **options), max_pixels=PIXELS, gray=True)
    expected = scene() @ np.array([0.299, 0.587, 0.114])
    assert decoded.pixels.shape == (90, 120)
    assert np.abs(decoded.pixels - expected).max() <= 3


def test_a_grayscale_file_stays_grayscale():
    """Nobody pays for three equal channels."""
    for kind in ("JPEG", "PNG", "BMP"):
        source = encode(Image.fromarray(scene()).convert("L"), kind)
        assert decode(source, max_pixels=PIXELS).pixels.ndim == 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_orientation_is_applied(kind, orientation):
    """All eight orientations come out upright, as Pillow's own transposition has them."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    source = encode(scene(), kind, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(source))))
    decoded = decode(source, max_pixels=PIXELS)
    assert decoded.pixels.shape == expected.shape
    assert (decoded.width, decoded.height) == (expected.shape[1], expected.shape[0])
    assert np.abs(decoded.pixels.astype(int) - expected).max() <= 2


def test_broken_exif_is_ignored():
    """A picture is not refused for its metadata."""
    for exif in (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"):
        source = encode(scene(), "JPEG", exif=exif)
        assert decode(source, max_pixels=PIXELS).width == 120


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA"])
def test_png_of_every_kind_becomes_gray_or_colour(mode):
    """Palettes, alpha and single bits are normalised."""
    decoded = decode(encode(Image.fromarray(scene()).convert(mode), "PNG"), max_pixels=PIXELS)
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.ndim == (2 if mode in {"1", "L", "LA"} else 3)


def test_png_of_16_bits_keeps_the_upper_8():
    """Bright stays bright instead of being clipped to white."""
    source = encode(Image.fromarray(np.full((4, 4), 0x80FF, np.uint16)), "PNG")
    assert decode(source, max_pixels=PIXELS).pixels.tolist() == [[0x80] * 4] * 4


def test_transparent_pixels_lie_over_black():
    """Whatever colour hides under them."""
    pixels = np.full((4, 4, 4), 200, np.uint8)
    pixels[:, :2, 3] = 0
    pixels[:, 2:, 3] = 255
    decoded = decode(encode(Image.fromarray(pixels), "PNG"), max_pixels=PIXELS)
    assert decoded.pixels[0, :, 0].tolist() == [0, 0, 200, 200]


def test_cmyk_jpeg_comes_out_in_its_colours():
    """Print files are inverted by Adobe's convention; they are not shown as negatives."""
    source = encode(Image.fromarray(scene()).convert("CMYK"), "JPEG", quality=95)
    decoded = decode(source, max_pixels=PIXELS)
    assert np.abs(decoded.pixels.astype(int) - scene()).mean() < 6


def test_progressive_jpeg_is_decoded():
    """They are common on the web."""
    source = encode(scene(), "JPEG", progressive=True)
    assert decode(source, max_pixels=PIXELS).pixels.shape == (90, 120, 3)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("JPEG", "RGB"),
        ("JPEG", "L"),
        ("JPEG", "CMYK"),
        ("PNG", "RGB"),
        ("PNG", "L"),
        ("BMP", "RGB"),
        ("BMP", "L"),
    ],
)
def test_a_truncated_file_is_refused_at_every_length(kind, mode):
    """Never half a picture: not without its last byte, and not without its second half."""
    whole = encode(Image.fromarray(scene()).convert(mode), kind)
    for length in {3, 10, 27, 60, len(whole) // 3, len(whole) // 2, len(whole) - 3, len(whole) - 1}:
        with pytest.raises(UnusableUpload, match="Invalid image"):
            decode(whole[:length], max_pixels=PIXELS)


def test_damaged_jpeg_data_is_refused():
    """The library alone would go on with grey blocks."""
    whole = bytearray(
        encode(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), "JPEG")
    )
    middle = len(whole) // 2
    whole[middle : middle + 60] = bytes(range(60, 120))
    with pytest.raises(UnusableUpload, match="damaged"):
        decode(bytes(whole), max_pixels=PIXELS)


def test_a_padding_byte_before_the_end_of_a_jpeg_is_forgiven():
    """Cheap cameras write it, and the picture is whole."""
    whole = encode(scene(), "JPEG")
    padded = whole[:-2] + b"\x00" + whole[-2:]
    plain = decode(whole, max_pixels=PIXELS)
    assert np.array_equal(decode(padded, max_pixels=PIXELS).pixels, plain.pixels)


def test_a_flipped_bit_in_png_data_is_refused():
    """The checksum of every chunk that matters is checked."""
    whole = bytearray(encode(scene(), "PNG"))
    whole[len(whole) // 2] ^= 4
    with pytest.raises(UnusableUpload, match="checksum"):
        decode(bytes(whole), max_pixels=PIXELS)


def test_an_empty_file_is_refused():
    """By name, for it is what a failed upload leaves."""
    with pytest.raises(UnusableUpload, match="empty"):
        decode(b"", max_pixels=PIXELS)


@pytest.mark.parametrize("content", [b"hello, world", b"PK\x03\x04" + bytes(60), bytes(100)])
def test_what_is_no_picture_is_refused(content):
    """By content, never by name."""
    with pytest.raises(UnusableUpload, match="Invalid image"):
        decode(content, max_pixels=PIXELS)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP"])
def test_other_picture_formats_are_named_in_the_refusal(kind):
    """People learn what to send instead."""
    with pytest.raises(UnsupportedMedia, match="(?i)" + kind):
        decode(encode(scene(), kind), max_pixels=PIXELS)


def test_dimensions_are_refused_before_anything_is_decoded():
    """A header that claims 3.6 gigapixels costs nothing."""
    with pytest.raises(TooLarge, match="60000x60000"):
        decode(png(60000, 60000), max_pixels=PIXELS)
    jpeg = bytearray(encode(scene(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 65000, 65000)
    with pytest.raises(TooLarge):
        decode(bytes(jpeg), max_pixels=PIXELS)
    bmp = bytearray(encode(scene(), "BMP"))
    bmp[18:26] = struct.pack("<ii", 50000, -50000)
    with pytest.raises(TooLarge):
        decode(bytes(bmp), max_pixels=PIXELS)


def test_the_pixel_limit_is_inclusive():
    """Exactly the limit is accepted."""
    source = encode(scene(100, 100), "PNG")
    assert decode(source, max_pixels=10_000).width == 100
    with pytest.raises(TooLarge):
        decode(source, max_pixels=9_999)


def test_compressed_text_in_a_png_is_not_inflated():
    """The chunk would grow a thousandfold; it is dropped before any library sees it."""
    bomb = zlib.compress(bytes(30_000_000))
    extra = chunk(b"zTXt", b"a\0\0" + bomb) + chunk(b"iCCP", b"a\0\0" + bomb)
    assert decode(png(10, 10, extra), max_pixels=PIXELS).width == 10


def test_of_an_animated_png_the_first_picture_is_taken():
    """The one every program shows that knows nothing of animation."""
    frames = [Image.new("L", (8, 8), shade) for shade in (10, 200)]
    source = encode(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert decode(source, max_pixels=PIXELS).pixels.max() == 10


def test_a_jpeg_of_a_thousand_scans_is_refused():
    """Each scan may visit every coefficient again for a few bytes."""
    whole = encode(scene(), "JPEG", progressive=True)
    start = whole.index(b"\xff\xda")
    end = whole.index(b"\xff\xda", start + 2)
    with pytest.raises(UnusableUpload, match="scans"):
        decode(whole[:start] + whole[start:end] * 200 + whole[end:], max_pixels=PIXELS)


def test_a_picture_of_the_input_size_is_not_copied():
    """Neither resized nor converted."""
    shown = Picture(scene(64, 64), 64, 64, "PNG")
    place = mapping(Resize.LETTERBOX, 64, 64, 64, 64)
    assert to_input(shown, place, channels=3) is shown.pixels


def test_shrinking_averages_areas():
    """A one-pixel checkerboard becomes even grey, not a pattern of its own."""
    board = np.indices((96, 96)).sum(axis=0) % 2 * 255
    shown = Picture(board.astype(np.uint8), 96, 96, "PNG")
    for side in (48, 32, 24):
        small = to_input(shown, mapping(Resize.STRETCH, 96, 96, side, side), channels=1)
        assert np.abs(small.astype(int) - 127).max() <= 15


def test_resizing_is_pinned():
    """Scores depend on the filter: a change of these numbers is a change of every model."""
    ramp = np.add.outer(np.arange(10) * 7, np.arange(14) ** 2).astype(np.uint8)
    shown = Picture(ramp, 14, 10, "PNG")
    shrunk = to_input(shown, mapping(Resize.STRETCH, 14, 10, 4, 4), channels=1)
    assert shrunk.tolist() == [
        [12, 34, 79, 140],
        [28, 50, 95, 156],
        [44, 66, 111, 172],
        [61, 83, 128, 189],
    ]
    grown = to_input(shown, mapping(Resize.LETTERBOX, 14, 10, 21, 21), channels=1, pad=9)
    assert grown[:, 0].tolist() == [
        9,
        9,
        9,
        0,
        4,
        8,
        13,
        18,
        22,
        27,
        32,
        36,
        41,
        46,
        50,
        55,
        60,
        63,
        9,
        9,
        9,
    ]


@pytest.mark.parametrize("resize", list(Resize))
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("gray", [False, True])
def test_every_picture_fills_the_input_in_every_mode(resize, channels, gray):
    """Whatever its channels and aspect, the result has the model's shape."""
    for width, height in ((1, 1), (300, 20), (20, 300), (64, 48), (63, 65)):
        pixels = np.full((height, width) if gray else (height, width, 3), 255, np.uint8)
        place = mapping(resize, width, height, 64, 48)
        drawn = to_input(Picture(pixels, width, height, "PNG"), place, channels=channels, pad=7)
        assert drawn.shape == ((48, 64) if channels == 1 else (48, 64, 3))
        left, top, right, bottom = place.content
        assert drawn[top:bottom, left:right].min() == 255
        outside = drawn.sum() - drawn[top:bottom, left:right].sum()
        hidden = drawn.size - drawn[top:bottom, left:right].size
        assert outside == 7 * hidden


@settings(deadline=None)
@given(
    st.sampled_from(["JPEG", "PNG", "BMP"]),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_whatever_is_changed_in_a_file_it_is_decoded_or_refused(kind, changes):
    """Never another error, and never more pixels than allowed."""
    content = bytearray(encode(scene(40, 30), kind))
    for place, value in changes:
        content[place % len(content)] = value
    try:
        decoded = decode(bytes(content), max_pixels=10_000)
    except (UnusableUpload, UnsupportedMedia, TooLarge):
        return
    assert decoded.width * decoded.height <= 10_000
    assert decoded.pixels.shape[:2] == (decoded.height, decoded.width)
    assert decoded.pixels.dtype == np.uint8
