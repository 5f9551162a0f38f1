"""Pictures as cameras take them: boards of two tones, photos, and what goes wrong."""

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageFilter

from andon.serving.cameras import CameraHealth, image_stats, look, sentences
from andon.settings import Settings

_RNG = np.random.default_rng(7)


def photo(size: int = 320) -> np.ndarray:
    """A board as a camera sees it: parts of several tones, soft light, noise."""
    y, x = np.mgrid[0:size, 0:size]
    picture = 90 + 40 * np.sin(x / 17)[..., None] * np.ones(3) + 20 * (y / size)[..., None]
    for _ in range(40):
        top, left = _RNG.integers(0, size - 30, 2)
        picture[top : top + 12, left : left + 25] = _RNG.integers(20, 235, 3)
    return np.clip(picture + _RNG.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)


def traces(size: int = 640, share: float = 0.3) -> np.ndarray:
    """A binarised board: white, with black lines."""
    picture = np.full((size, size), 255, np.uint8)
    while (picture == 0).mean() < share:
        at = int(_RNG.integers(0, size - 12))
        if _RNG.random() < 0.5:
            picture[at : at + 9] = 0
        else:
            picture[:, at : at + 9] = 0
    return picture


def blurred(picture: np.ndarray, radius: float) -> np.ndarray:
    """The same, out of focus."""
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))


@pytest.fixture
def health() -> CameraHealth:
    """With the usual limits."""
    return CameraHealth(Settings(_env_file=None))


def state(health: CameraHealth, picture: np.ndarray, camera: str | None = None) -> str:
    """What one picture counts as."""
    height, width = picture.shape[:2]
    return health.examine("pcb", camera, look(picture), width, height, "ab" * 32).state


@pytest.mark.parametrize("share", [0.005, 0.02, 0.3, 0.7, 0.97])
def test_a_board_of_two_tones_is_well(health, share):
    """However little of it is black or white."""
    assert state(health, traces(share=share)) == "ok"


def test_a_photo_is_well_and_a_dark_or_blown_out_one_is_not(health):
    """At four percent of its light or of its shadows; at a third something is to be seen."""
    picture = photo()
    assert state(health, picture) == "ok"
    assert state(health, (picture * 0.04).astype(np.uint8)) == "dark"
    assert state(health, (255 - (255 - picture) * 0.04).astype(np.uint8)) == "bright"
    # The edges of "a bit": still something to be seen.
    assert state(health, (picture * 0.3).astype(np.uint8)) == "ok"


def test_a_lamp_in_the_dark_is_no_light(health):
    """Less than a hundredth of a picture does not make it bright enough."""
    picture = np.full((480, 640, 3), 5, np.uint8)
    picture[100:130, 100:130] = 255
    assert state(health, picture) == "dark"


@pytest.mark.parametrize("picture", [photo(), traces(), traces(share=0.02)])
@pytest.mark.parametrize("contrast", [1.0, 0.4])
def test_sharpness_falls_with_blur_and_not_with_contrast(picture, contrast):
    """Within a quarter at any contrast; lower with every blur."""
    faded = (picture * contrast + 20).clip(0, 255).astype(np.uint8)
    sharp = image_stats(faded)["sharpness"]
    assert sharp == pytest.approx(image_stats(picture)["sharpness"], rel=0.25)
    falling = [image_stats(blurred(faded, radius))["sharpness"] for radius in (1, 2, 4)]
    assert sharp > 1.5 * falling[0]
    assert falling == sorted(falling, reverse=True)


def test_a_picture_is_blurred_only_against_what_was_learned(health):
    """A soft lens is no fault of its own, and a plain surface is never blurred."""
    soft = blurred(traces(), 3)
    assert state(health, soft) == "ok"
    health.set_limits("pcb", image_stats(traces())["sharpness"] / 2, None)
    assert state(health, soft) == "blurred"
    assert state(health, traces()) == "ok"
    # Nothing is to be seen on it, sharp or not.
    assert state(health, np.full((64, 64), 128, np.uint8)) == "ok"
    health.set_limits("pcb", None, None)
    assert state(health, soft) == "ok"


def test_the_size_counts_where_it_was_learned(health):
    """Another one is a state of its own."""
    health.set_limits("pcb", None, (640, 640))
    assert state(health, traces(640)) == "ok"
    assert state(health, traces(320)) == "size"


def test_a_camera_that_repeats_its_picture_is_frozen(health):
    """Equal to the bit, several times in a row, from a camera that is named."""
    still = photo()
    assert [state(health, still, "line-1") for _ in range(6)] == ["ok"] * 4 + ["frozen"] * 2
    assert state(health, photo(), "line-1") == "ok"
    assert [state(health, still, "line-1") for _ in range(4)] == ["ok"] * 4
    # Another camera looks at the same; and a client without a camera may repeat itself.
    assert state(health, still, "line-2") == "ok"
    assert {state(health, still) for _ in range(20)} == {"ok"}


def test_one_pixel_tells_two_pictures_apart():
    """Wherever it is: noise is enough for a camera to be alive."""
    picture = photo(640)
    known = look(picture).pixels
    for y, x in _RNG.integers(0, 640, (50, 2)):
        other = picture.copy()
        other[y, x, 1] ^= 1
        assert look(other).pixels != known
    assert look(picture.copy()).pixels == known


def test_a_turned_view_of_the_pixels_is_measured_as_well(health):
    """Upright pictures come as views of what was decoded."""
    picture = photo()
    turned = np.rot90(picture)
    assert look(turned) == look(np.ascontiguousarray(turned))


def test_cameras_without_end_take_no_memory_without_end(health):
    """Names come from outside: 1024 are remembered."""
    seen = look(traces(64))
    for number in range(3_000):
        health.examine("pcb", f"camera-{number}", seen, 64, 64, "ab" * 32)
    assert len(health._last) <= 1024


def test_the_numbers_are_what_they_are_called():
    """On a picture whose colour, luminance and one edge are known; gray ones have no colour."""
    half = np.zeros((200, 200, 3), np.uint8)
    half[:, 100:] = (255, 128, 0)
    stats = image_stats(half)
    assert stats["color"] == pytest.approx([0.5, 0.25, 0], abs=0.01)
    assert stats["brightness"] == pytest.approx(0.593 / 2, abs=0.01)
    assert (stats["low"], stats["high"]) == (0.0, pytest.approx(0.593, abs=0.005))
    assert sum(stats["hist"]) == pytest.approx(1)
    # One edge, from dark to light across: its gradient is horizontal.
    assert stats["edges"][0] + stats["edges"][-1] == pytest.approx(1)
    assert "color" not in image_stats(half[..., 0])
    upright = image_stats(np.ascontiguousarray(half.transpose(1, 0, 2)))
    assert stats["edges"] != upright["edges"]
    assert max(upright["edges"]) == max(upright["edges"][3:5])


@given(
    arrays.arrays(
        np.uint8,
        st.tuples(st.integers(1, 140), st.integers(1, 140)).flatmap(
            lambda side: st.sampled_from([side, (*side, 3)])
        ),
        elements=st.integers(0, 255),
        fill=st.integers(0, 255),
    )
)
def test_any_picture_can_be_measured(pixels):
    """Down to a single pixel; every number is finite and where it belongs."""
    stats = image_stats(pixels)
    for name in ("brightness", "contrast", "low", "high"):
        assert 0 <= stats[name] <= 1
    assert stats["low"] <= stats["high"]
    assert math.isfinite(stats["sharpness"])
    assert stats["sharpness"] >= 0
    assert len(stats["hist"]) == 16
    assert len(stats["edges"]) == 8
    assert ("color" in stats) is (pixels.ndim == 3)


def test_problems_are_said_in_sentences():
    """The one that explains most becomes the state; all are told."""
    said = sentences(["dark", "size"])
    assert said[0].startswith("The picture is too dark: ")
    assert all(one.endswith("; what the model says of it cannot be relied on.") for one in said)


def test_a_jpeg_of_a_sharp_board_is_sharp(health):
    """Boards are sent compressed."""
    out = io.BytesIO()
    Image.fromarray(traces()).save(out, "JPEG", quality=80)
    decoded = np.asarray(Image.open(out))
    health.set_limits("pcb", image_stats(traces())["sharpness"] / 2, None)
    assert state(health, decoded) == "ok"
