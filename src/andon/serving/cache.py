"""Answers to pictures that were seen before, kept in memory.

Cached is what the model said, before any threshold, so that one entry serves every
threshold. The key holds the version, so that a switch needs no clearing.
"""

import threading

import msgspec
from cachetools import LRUCache

from andon.runtimes.base import Inference
from andon.serving.cameras import Look


class Known(msgspec.Struct, frozen=True):
    """What is known about one picture and one version.

    Attributes:
        inference: The model's raw answer.
        width: Picture width, pixels, upright.
        height: Picture height, pixels, upright.
        format: "JPEG", "PNG" or "BMP".
        look: What the picture itself is like; None where nobody looked.
    """

    inference: Inference
    width: int
    height: int
    format: str
    look: Look | None = None


class ResultCache:
    """The most recently used answers, by picture and version.

    Args:
        size: Entries; 0 keeps nothing.
    """

    def __init__(self, size: int) -> None:
        self._lock = threading.Lock()
        self._entries: LRUCache[tuple[str, int], Known] | None = (
            LRUCache(maxsize=size) if size > 0 else None
        )

    def get(self, image_hash: str, version_id: int) -> Known | None:
        """The answer of this version to this picture, or None."""
        if self._entries is None:
            return None
        with self._lock:
            found: Known | None = self._entries.get((image_hash, version_id))
        return found

    def put(self, image_hash: str, version_id: int, known: Known) -> None:
        """Remember an answer; the one unused for longest makes room."""
        if self._entries is not None:
            with self._lock:
                self._entries[image_hash, version_id] = known

    def clear(self) -> None:
        """Forget everything."""
        if self._entries is not None:
            with self._lock:
                self._entries.clear()

    def __len__(self) -> int:
        return 0 if self._entries is None else len(self._entries)
