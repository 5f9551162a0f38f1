import re

import pytest

from andon.web.dashboard.rendering import STATIC_DIR

# Foreground, ground, and the ratio WCAG 2.2 AA wants: 4.5 for text, 3 for lines of controls.
PAIRS = [
    ("ink", "ground", 7.0),
    ("ink", "surface", 7.0),
    ("ink", "raised", 7.0),
    ("ink", "look-ground", 7.0),
    ("ink", "stop-ground", 7.0),
    ("muted", "ground", 4.5),
    ("muted", "surface", 4.5),
    ("muted", "raised", 4.5),
    ("accent", "ground", 4.5),
    ("accent", "surface", 4.5),
    ("on-accent", "accent", 4.5),
    ("good", "surface", 4.5),
    ("good", "good-ground", 4.5),
    ("look", "look-ground", 4.5),
    ("stop", "surface", 4.5),
    ("stop", "stop-ground", 4.5),
    ("control", "surface", 3.0),
    ("control", "ground", 3.0),
    ("working", "surface", 3.0),
    ("idle", "surface", 3.0),
    ("absent", "surface", 3.0),
    ("look", "surface", 4.5),
]


def colours() -> dict[str, tuple[str, str]]:
    """Every colour of the style sheet: light and dark."""
    text = (STATIC_DIR / "base.css").read_text("utf-8")
    found = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", text)
    return {name: (light, dark) for name, light, dark in found}


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb` (WCAG 2.2)."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio, 1 to 21 (WCAG 2.2)."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "back", "least"), PAIRS)
def test_colours_keep_their_distance(front, back, least, theme):
    """Text and controls stand out from what they stand on, in both themes."""
    known = colours()
    assert contrast(known[front][theme], known[back][theme]) >= least


def test_white_reads_on_every_ink():
    """Labels over pictures are white on the ink of their class."""
    text = (STATIC_DIR / "base.css").read_text("utf-8")
    inks = re.findall(r"\.ink-\d \{ --ink-color: (#\w{6})", text)
    assert len(inks) == len(set(inks)) == 8
    for ink in inks:
        assert contrast(ink, "#ffffff") >= 4.5, ink


def test_inks_differ_in_pattern_too():
    """Nobody needs to tell colours apart."""
    text = (STATIC_DIR / "base.css").read_text("utf-8")
    dashes = re.findall(r"\.ink-\d \{.*--dash: ([\w ]+);", text)
    assert len(set(dashes)) == 8
