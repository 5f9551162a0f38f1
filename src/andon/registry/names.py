"""What a model or a file may be called, so that a name is never more than a name.

Names come from strangers: they end up in paths, pages, logs and headers.
"""

import re
import unicodedata

from andon.errors import InvalidRequest

_MODEL_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")

_LONGEST = 120
# Files are also kept under longer names ("result_<id>_<name>"): file systems stop at 255 bytes.
_MOST_BYTES = 180
_LONGEST_SUFFIX = 16
# Separators, what shells and Windows give a meaning, and what would end an HTTP header.
_FORBIDDEN = re.compile(r'[<>:"|?*\\/%;]')
_RESERVED = {"con", "prn", "aux", "nul"} | {
    f"{device}{digit}" for device in ("com", "lpt") for digit in "0123456789"
}


def clean_model_name(name: str) -> str:
    """The name of a registered model in its one spelling: lower case, no outer spaces.

    Raises:
        InvalidRequest: It is not 1 to 64 letters, digits, ``-``, ``_`` or ``.``, starting and
            ending with a letter or digit.
    """
    cleaned = name.strip().lower()
    if _MODEL_NAME.fullmatch(cleaned) is None or ".." in cleaned:
        shown = name if len(name) <= 70 else name[:70] + "…"
        raise InvalidRequest(
            f"A model cannot be called {shown!r}.",
            hint="Use 1 to 64 letters, digits, '-', '_' or '.', starting and ending with a "
            "letter or digit, such as heart-disease.",
        )
    return cleaned


def clean_filename(name: str) -> str:
    """A harmless file name made from any text: the last part of a path, printable, short.

    The suffix survives shortening. Cleaning a clean name changes nothing.

    Returns:
        1 to 120 characters, at most 180 bytes in UTF-8, not starting with a dot; "unnamed"
        where nothing is left.
    """
    # A lone surrogate (an undecodable byte) could be neither stored nor sent.
    text = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode("utf-8"))
    base = re.split(r"[\\/]", text)[-1]
    # Control and format characters: line ends, NUL, and those that turn text around.
    printable = "".join(letter if letter.isprintable() else "_" for letter in base)
    cleaned = _trimmed(_FORBIDDEN.sub("_", printable))
    stem, dot, suffix = cleaned.rpartition(".")
    if not dot or len(suffix) > _LONGEST_SUFFIX or not suffix:
        stem, suffix = cleaned, ""
    tail = f".{suffix}" if suffix else ""
    if stem.partition(".")[0].strip().lower() in _RESERVED:
        stem = f"_{stem}"
    while len(stem) + len(tail) > _LONGEST or len((stem + tail).encode()) > _MOST_BYTES:
        stem = stem[:-1]
    return _trimmed(stem + tail) or "unnamed"


def _trimmed(name: str) -> str:
    """Without outer spaces and dots: they hide files, or vanish on some systems."""
    return name.strip(" .\u3000")
