"""Messages of the Edge Impulse Linux protocol: framing, hello, features, results.

Requests are one JSON object and a newline; replies are JSON, a newline and a NUL byte, in
the order of the requests. The model counts braces without looking at strings, so nothing
but numbers and fixed keys is ever sent.
"""

import contextlib
import math
import socket
import time
from collections.abc import Mapping as AnyMapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from andon.errors import DeadlineExceeded, ModelRejected, RuntimeFailed
from andon.runtimes.base import Resize
from andon.runtimes.eim_workspace import valid_shm_name
from andon.runtimes.text import clean

LARGEST_REQUEST = 10 * 1024 * 1024
"""Bytes the older programs take; beyond, they exit."""

_LARGEST_REPLY = 16 * 1024 * 1024
_CHUNK = 65536
_LARGEST_SIDE = 8192
_SENSORS = {1: "a microphone", 2: "an accelerometer", 4: "9-axis motion", 5: "the environment"}
_RESIZE = {
    "squash": Resize.STRETCH,
    "fit-shortest": Resize.CROP,
    "fit-longest": Resize.LETTERBOX,
}
_VISUAL_ANOMALY = {3, 4, 6}
_EXPORT = "Build an image model with the deployment 'Linux' in Edge Impulse Studio."


class ErrorReply(Exception):
    """The model refused a message; the connection stays usable."""


class HungUp(RuntimeFailed):
    """The other end of the connection is gone; the program has ended or is about to."""


class Hello(msgspec.Struct, frozen=True):
    """What an image model says of itself.

    Attributes:
        name: Project name.
        kind: "object_detection", "fomo", "classification" or "visual-anomaly".
        labels: Class names.
        width: Input width, pixels.
        height: Input height, pixels.
        channels: 1 or 3.
        resize: How pictures are brought in; None where an older file does not say.
        scored: Whether a clustering anomaly score comes with every answer.
        tracking: Whether it keeps state from picture to picture.
        min_score: Lowest score it answers, where it says so (boxes, or anomaly cells).
        block: Id of the block whose `min_score` may be lowered, or None.
        shm: Name of the shared memory for features, or "".
        metadata: More to show to people.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    width: int
    height: int
    channels: int
    resize: Resize | None
    scored: bool
    tracking: bool
    min_score: float | None
    block: int | None
    shm: str
    metadata: dict[str, str]

    @property
    def features(self) -> int:
        """Numbers in one picture: one per pixel, whatever the channels."""
        return self.width * self.height


class Connection:
    """The one connection to a program.

    Args:
        stream: A connected Unix socket; owned from here on.
    """

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._id = 0
        self._rest = bytearray()
        self._torn = False

    def ask(self, body: bytes, deadline: float) -> dict[str, Any]:
        """Send a message and wait for its reply.

        Args:
            body: JSON members after the id, e.g. ``b'"hello":1'``.
            deadline: `time.monotonic()` value.

        Raises:
            DeadlineExceeded: No reply in time. Call `late` before asking again.
            RuntimeFailed: The connection broke, or the reply is none; it cannot go on.
            ErrorReply: The model refused.
        """
        self._id += 1
        self._send(b'{"id":%d,%b}\n' % (self._id, body), deadline)
        return self.late(deadline)

    def late(self, deadline: float) -> dict[str, Any]:
        """Wait for the reply to the last message, as `ask` does."""
        if self._torn:
            raise RuntimeFailed("The model stopped reading a message half-way.")
        return self._understand(self._receive(deadline))

    def hang_up(self) -> None:
        """End the conversation: whoever waits here gets an error, a sane program exits."""
        # The descriptor stays until `close`: closed under a waiting thread, its number
        # could by then mean another file.
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Free the socket, once nobody waits here any more."""
        self._stream.close()

    def _send(self, message: bytes, deadline: float) -> None:
        try:
            self._stream.settimeout(_left(deadline))
            self._stream.sendall(message)
        except TimeoutError:
            # Part of the message is in: whatever followed would be misread.
            self._torn = True
            raise DeadlineExceeded("The model did not take a message in time.") from None
        except OSError as error:
            raise HungUp(f"The model hung up ({error.strerror or error}).") from None

    def _receive(self, deadline: float) -> bytes:
        searched = 0
        while (end := self._rest.find(0, searched)) < 0:
            searched = len(self._rest)
            if searched > _LARGEST_REPLY:
                raise RuntimeFailed(f"The model's reply exceeds {_LARGEST_REPLY} bytes.")
            try:
                self._stream.settimeout(_left(deadline))
                chunk = self._stream.recv(_CHUNK)
            except TimeoutError:
                raise DeadlineExceeded("The model did not answer before the deadline.") from None
            except OSError as error:
                raise HungUp(f"The model hung up ({error.strerror or error}).") from None
            if not chunk:
                raise HungUp("The model hung up.")
            self._rest += chunk
        reply = bytes(self._rest[:end])
        del self._rest[: end + 1]
        return reply

    def _understand(self, text: bytes) -> dict[str, Any]:
        try:
            reply = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise RuntimeFailed("The model's reply is no JSON.") from None
        if not isinstance(reply, dict):
            raise RuntimeFailed("The model's reply is no JSON object.")
        # Replies come in order; some error replies carry no id.
        if reply.get("id", self._id) != self._id:
            raise RuntimeFailed("The model answered another message than the one that was sent.")
        if reply.get("success") is not True:
            raise ErrorReply(clean(str(reply.get("error", "no reason given")), 300))
        return reply


def _left(deadline: float) -> float:
    """Seconds left; a timeout of zero would mean non-blocking."""
    return max(0.001, deadline - time.monotonic())


def read_hello(reply: AnyMapping[str, Any]) -> Hello:
    """Check and understand the reply to hello.

    Raises:
        ModelRejected: Not an image model that Andon serves, or one that contradicts itself.
    """
    said = _object(reply, "model_parameters")
    project = _object(reply, "project")
    kind = str(said.get("model_type", "classification"))
    if kind == "freeform":
        raise ModelRejected(
            "The model answers freeform tensors, whose meaning is not in the file.", hint=_EXPORT
        )
    width, height = _whole(said, "image_input_width"), _whole(said, "image_input_height")
    if width < 1 or height < 1:
        sensor = _SENSORS.get(_whole(said, "sensor"), "something other than pictures")
        raise ModelRejected(f"The model is made for {sensor}, not for pictures.", hint=_EXPORT)
    frames = _whole(said, "image_input_frames") or 1
    channels = _whole(said, "image_channel_count")
    features = _whole(said, "input_features_count")
    if frames != 1:
        raise ModelRejected(f"The model wants {frames} pictures at a time.", hint=_EXPORT)
    if (
        features != width * height
        or max(width, height) > _LARGEST_SIDE
        or channels not in {1, 3}
        or kind not in {"classification", "object_detection", "constrained_object_detection"}
    ):
        raise ModelRejected(
            f"The model contradicts itself: '{clean(kind)}', {width}x{height} pixels, "
            f"{channels} channels, {features} features.",
            hint=_EXPORT,
        )
    anomaly = _whole(said, "has_anomaly")
    if kind == "classification" and anomaly in _VISUAL_ANOMALY:
        kind = "visual-anomaly"
    if kind == "constrained_object_detection":
        kind = "fomo"
    mode = said.get("image_resize_mode")
    if mode == "none":
        raise ModelRejected(
            "The model wants pictures at their own size, which Andon does not serve.",
            hint="Choose another resize mode for the impulse in Edge Impulse Studio.",
        )
    labels = said.get("labels")
    block, least = _threshold(said.get("thresholds"), kind)
    return Hello(
        name=clean(str(project.get("name") or "")) or "Edge Impulse model",
        kind=kind,
        labels=tuple(clean(str(label)) for label in labels) if isinstance(labels, list) else (),
        width=width,
        height=height,
        channels=channels,
        resize=_RESIZE.get(mode) if isinstance(mode, str) else None,
        scored=kind != "visual-anomaly" and anomaly in {1, 2, 5},
        tracking=said.get("has_object_tracking") is True,
        min_score=least,
        block=block if kind == "object_detection" else None,
        shm=_shared(reply, features),
        metadata=_metadata(project, said),
    )


def shared_names(reply: AnyMapping[str, Any]) -> list[str]:
    """Every shared memory the program says it made: it leaks when the program is killed."""
    outputs = reply.get("freeform_output_shm")
    blocks = [reply.get("features_shm"), *(outputs if isinstance(outputs, list) else ())]
    return [str(block["name"]) for block in blocks if _has_name(block)]


def features_of(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A picture on the model input as features: one number ``r << 16 | g << 8 | b`` per pixel.

    Args:
        pixels: uint8 (height, width, 3) or (height, width).

    Returns:
        float32, (height * width,). Exact: 24 bits fit.
    """
    assert pixels.dtype == np.uint8
    if pixels.ndim == 2:
        gray = pixels.reshape(-1).astype(np.float32)
        gray *= np.float32(0x010101)
        return gray
    weights = np.array([65536.0, 256.0, 1.0], np.float32)
    packed: NDArray[np.float32] = pixels.reshape(-1, 3).astype(np.float32) @ weights
    return packed


def classify_message(features: NDArray[np.float32]) -> bytes:
    """The members of a classify message that carries its features as JSON."""
    numbers = msgspec.json.encode(features.astype(np.uint32).tolist())
    return b'"classify":%b,"debug":false' % numbers


def number(value: Any) -> float:
    """A finite number of an answer.

    Raises:
        RuntimeFailed: It is none.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise RuntimeFailed("The model answered something that is no number where one belongs.")


def boxes_of(value: Any) -> tuple[list[str], list[float], NDArray[np.float32]]:
    """Boxes of an answer: labels, scores, and corners in model pixels (n, 4).

    Raises:
        RuntimeFailed: Not a list of boxes.
    """
    if not isinstance(value, list) or not all(isinstance(box, dict) for box in value):
        raise RuntimeFailed("The model's answer holds no list of boxes.")
    labels = [clean(str(box.get("label", ""))) for box in value]
    scores = [number(box.get("value")) for box in value]
    corners = np.array(
        [[number(box.get(side)) for side in ("x", "y", "width", "height")] for box in value],
        np.float32,
    ).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return labels, scores, corners


def _object(reply: AnyMapping[str, Any], key: str) -> dict[str, Any]:
    value = reply.get(key)
    return value if isinstance(value, dict) else {}


def _whole(said: dict[str, Any], key: str) -> int:
    value = said.get(key, 0)
    return int(value) if isinstance(value, (int, float)) and abs(value) < 1e9 else 0


def _threshold(value: Any, kind: str) -> tuple[int | None, float | None]:
    """The block that holds back weak boxes, and its bar."""
    wanted = "min_anomaly_score" if kind == "visual-anomaly" else "min_score"
    for block in value if isinstance(value, list) else ():
        if not isinstance(block, dict) or not isinstance(block.get(wanted), (int, float)):
            continue
        if kind == "visual-anomaly" or block.get("type") == "object_detection":
            identity = block.get("id")
            return identity if isinstance(identity, int) else None, float(block[wanted])
    return None, None


def _shared(reply: AnyMapping[str, Any], features: int) -> str:
    """Name of the shared memory for features where it is usable, else empty."""
    block = _object(reply, "features_shm")
    usable = (
        _has_name(block)
        and block.get("type") == "float32"
        and block.get("elements") == features
        and block.get("size_bytes") == features * 4
    )
    return str(block["name"]) if usable else ""


def _has_name(block: Any) -> bool:
    name = block.get("name") if isinstance(block, dict) else None
    return valid_shm_name(name)


def _metadata(project: dict[str, Any], said: dict[str, Any]) -> dict[str, str]:
    facts = {
        "project id": project.get("id"),
        "owner": project.get("owner"),
        "deploy version": project.get("deploy_version"),
        "impulse": project.get("impulse_name"),
        "engine": said.get("inferencing_engine"),
    }
    return {
        key: clean(str(value)) for key, value in facts.items() if value is not None and value != ""
    }
