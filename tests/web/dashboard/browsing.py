"""What the browser tests share: pictures, files, and what a person does on a page."""

import io

import numpy as np
from PIL import Image

# Brightness of a spot and the score the tiny model gives it: 2 x brightness - 1.
BRIGHT, GREY, FAINT = 255, 204, 166
SPOTS = {(16, 24): BRIGHT, (40, 8): GREY, (48, 48): FAINT}


def picture(spots: dict[tuple[int, int], int] | None = None) -> bytes:
    """A black board of 64x64 with spots of 8x8."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    for (x, y), brightness in (SPOTS if spots is None else spots).items():
        pixels[y : y + 8, x : x + 8] = brightness
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def file(name: str, data: bytes, kind: str = "application/octet-stream") -> dict[str, object]:
    """A file as a person picks it."""
    return {"name": name, "mimeType": kind, "buffer": data}


def png(name: str = "board.png", data: bytes | None = None) -> dict[str, object]:
    """A picture as a person picks it."""
    return file(name, picture() if data is None else data, "image/png")


def deploy(page, site, name: str, notes: str = "") -> str:
    """Deploy a model through the form; what the page says in the end."""
    page.set_input_files("#model-file", file(f"{name}.onnx", site.model_file(name)))
    page.fill("#model-notes", notes)
    page.click("#deploy-button")
    page.wait_for_selector("#deploy-again:visible")
    said = page.inner_text("#deploy-said")
    page.click("#deploy-again")
    return said


def served(page) -> str:
    """The version whose card says that it serves."""
    return page.inner_text(".version.is-active h3")


def overflow(page) -> list[str]:
    """What sticks out of the window sideways."""
    return page.evaluate(
        """() => document.documentElement.scrollWidth <= document.documentElement.clientWidth ? []
        : [...document.querySelectorAll("body *")]
          .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
          .map((one) => `${one.tagName}.${one.getAttribute("class")}`)"""
    )


def tab_to(page, selector: str, presses: int = 80) -> None:
    """Press Tab until the element has the focus, as somebody without a mouse does."""
    for _ in range(presses):
        page.keyboard.press("Tab")
        if page.evaluate("(one) => document.activeElement?.matches(one)", selector):
            return
    raise AssertionError(f"{selector} cannot be reached with Tab")


def boxes(page, frame: str = "#stage") -> list[list[float]]:
    """The drawn boxes in pixels of the picture, measured on the screen."""
    return page.evaluate(
        """(inside) => {
          const image = document.querySelector(`${inside} img`);
          const frame = image.getBoundingClientRect();
          const scale = frame.width / image.naturalWidth;
          return [...document.querySelectorAll(`${inside} .edge`)].map((edge) => {
            const box = edge.getBBox();
            const matrix = edge.getScreenCTM();
            const x = (box.x * matrix.a + matrix.e - frame.x) / scale;
            const y = (box.y * matrix.d + matrix.f - frame.y) / scale;
            return [x, y, box.width * matrix.a / scale, box.height * matrix.d / scale]
              .map((value) => Math.round(value * 10) / 10);
          });
        }""",
        frame,
    )


def slide(page, value: float) -> None:
    """Move the threshold slider."""
    page.evaluate(
        """(value) => {
          const slider = document.getElementById("threshold");
          slider.value = value;
          slider.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        value,
    )
