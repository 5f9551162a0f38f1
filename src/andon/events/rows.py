"""Where one row of a JSON body ends and the next begins, whatever is inside them.

A body is read as a whole as long as all is well. Where it is not, it is cut into rows, so
that a row that is no JSON (NaN, half a character, a thousand brackets) costs itself and no other.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

import msgspec
from msgspec import Raw

from andon.errors import InvalidRequest, UnreadableEvents

Rows = Sequence[bytes | Raw]

_ENVELOPE = "events"
_BLANK = b" \t\r\n"
# How far a bracket may stand from its colon.
_NEAR = 64
_BOM = b"\xef\xbb\xbf"
# Strings whole, so that a bracket in a text is no bracket; objects without inner brackets
# (events are such) whole too, and runs of brackets in one piece, for speed.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT = rb'\{(?:[^"{}\[\]]++|%b)*+\}' % _STRING
_TOKEN = re.compile(rb'%b|%b|[\[{]+|[\]}]+|,|"' % (_FLAT, _STRING), re.DOTALL)
_ODD = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Envelope(msgspec.Struct):
    events: list[Raw]


_list = msgspec.json.Decoder(list[Raw])
_envelope = msgspec.json.Decoder(_Envelope)


def trimmed(data: bytes) -> bytes:
    """A body without the mark some programs begin a file with, and without blanks around it.

    Raises:
        UnreadableEvents: There is nothing in it.
    """
    data = data.removeprefix(_BOM).strip(_BLANK)
    if not data:
        raise UnreadableEvents("The body is empty.", hint="Send events as JSON.")
    return data


def cut(data: bytes) -> Rows:
    """The rows of a batch: an array, or the array `events` of an object.

    Args:
        data: What `trimmed` left.

    Raises:
        UnreadableEvents: It is no JSON, or its brackets do not match.
        InvalidRequest: It is JSON of another shape.
    """
    try:
        if data.startswith(b"["):
            return _list.decode(data)
        return _envelope.decode(data).events
    except _ODD as error:
        rows = _cut_by_brackets(data)
        if rows is not None:
            return rows
        raise _unusable(data, error) from None


def _cut_by_brackets(data: bytes) -> list[bytes] | None:
    """The rows, found by brackets and commas alone; None where those make no sense."""
    # The rows lie in the outermost array, or one level deeper, in an envelope.
    level = 1 if data.startswith(b"[") else 2
    depth, start, end = 0, -1, -1
    commas: list[int] = []
    label = b""
    for token in _TOKEN.finditer(data):
        text, at = token[0], token.start()
        if text.endswith(b'"'):
            if text == b'"':
                return None
            label = text if depth == 1 else label
        elif text == b",":
            if depth == level and start >= 0 > end:
                commas.append(at)
        elif text.startswith((b"[", b"{")):
            opened = depth + (0 if text.endswith(b"}") else len(text))
            if start < 0 and depth < level <= opened:
                start = _start(data, at, level - depth - 1, label)
            depth = opened
        else:
            closed = depth - len(text)
            if closed < level <= depth and start >= 0 > end:
                end = at + depth - level
            if closed <= 0:
                whole = closed == 0 and token.end() == len(data) and end >= 0
                return _slices(data, start, commas, end) if whole else None
            depth = closed
        if depth == 0:
            return None
    return None


def _start(data: bytes, at: int, further: int, label: bytes) -> int:
    """Where the rows begin, if the brackets at `at` open the array of them; else -1.

    Args:
        data: The body.
        at: Where the run of brackets begins.
        further: Which bracket of the run it would be.
        label: The last text before, in an envelope; empty without one.
    """
    place = at + further
    if data[place : place + 1] != b"[":
        return -1
    near = data[max(0, at - _NEAR) : at].rstrip(_BLANK)
    named = label == b'"events"' and further == 0 and near.endswith(b":")
    return place + 1 if named or data.startswith(b"[") else -1


def _slices(data: bytes, start: int, commas: list[int], end: int) -> list[bytes] | None:
    """The rows between the commas."""
    if data[end : end + 1] != b"]":
        return None
    edges = [start - 1, *commas, end]
    rows = [data[one + 1 : other].strip(_BLANK) for one, other in pairwise(edges)]
    return [] if rows == [b""] else rows


def _unusable(data: bytes, error: Exception) -> InvalidRequest | UnreadableEvents:
    if isinstance(error, msgspec.ValidationError):
        return InvalidRequest(
            "The body is not a batch of events: it must be an array of events, or an object "
            f"with the array `{_ENVELOPE}`.",
            hint="A single event goes to the address without /batch.",
            errors=[{"field": _ENVELOPE, "detail": "must be an array of events"}],
        )
    return unreadable(data, error)


def unreadable(data: bytes, error: Exception) -> UnreadableEvents:
    """Why a body cannot be read, for its sender."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in data[:4]:
        why = "it is UTF-16 or UTF-32"
    elif isinstance(error, UnicodeDecodeError):
        why = "it is not UTF-8"
    elif isinstance(error, RecursionError):
        why = "it is nested too deeply"
    else:
        why = str(error).removeprefix("JSON is malformed: ")[:200]
    return UnreadableEvents(f"The body is not JSON: {why}.", hint="Send events as JSON in UTF-8.")
