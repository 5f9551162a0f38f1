"""A look into an ONNX file without running or fully parsing it.

ONNX files are protocol-buffer messages (`onnx.proto`, message `ModelProto`). A field is a
tag ``number << 3 | wire type`` and a value; submessages are length-prefixed, so weights are
skipped without being read. Field numbers below are those of `onnx.proto`.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

from andon.errors import ModelRejected

_EXPORT = "Export the model again, as one file with its weights inside."

# Real networks have thousands of fields; a file made of millions is made to keep us busy.
_MAX_FIELDS = 1_000_000
_MAX_DEPTH = 16

# ModelProto
_IR_VERSION, _GRAPH, _OPSET = 1, 7, 8
# GraphProto, NodeProto, AttributeProto, SparseTensorProto
_NODE, _INITIALIZER, _INPUT, _OUTPUT, _SPARSE = 1, 5, 11, 12, 15
_ATTRIBUTE = 5
_TENSOR, _SUBGRAPH, _TENSORS, _SUBGRAPHS = 5, 6, 10, 11
# TensorProto
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14


class _Malformed(Exception):
    """The bytes are no protocol-buffer message."""


class _Walk:
    """One pass over a file, counting what it touches."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.fields = 0

    def message(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """The fields of a message: number, and start and end of the value.

        A varint's value is answered as (number, value, -1).
        """
        at = start
        while at < end:
            self.fields += 1
            if self.fields > _MAX_FIELDS:
                raise _Malformed(f"more than {_MAX_FIELDS} fields")
            tag, at = self._varint(at, end)
            number, wire = tag >> 3, tag & 7
            if number == 0:
                raise _Malformed("a field has number 0")
            if wire == 0:
                value, at = self._varint(at, end)
                yield number, value, -1
                continue
            if wire == 2:
                size, at = self._varint(at, end)
            elif wire in {1, 5}:
                size = 8 if wire == 1 else 4
            else:
                raise _Malformed(f"a field has wire type {wire}")
            if at + size > end:
                raise _Malformed("a field reaches beyond the end; the file is truncated")
            yield number, at, at + size
            at += size

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= end:
                raise _Malformed("it ends inside a number; the file is truncated")
            byte = self.data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
        raise _Malformed("a number is longer than 64 bits")

    def graph(self, start: int, end: int, depth: int = 0) -> dict[int, int]:
        """Check a graph's tensors; how often each field occurs in it."""
        if depth > _MAX_DEPTH:
            raise _Malformed("graphs are nested too deeply")
        counts: dict[int, int] = {}
        for number, low, high in self.message(start, end):
            counts[number] = counts.get(number, 0) + 1
            if high < 0:
                continue
            if number == _INITIALIZER:
                self.tensor(low, high)
            elif number == _SPARSE:
                for part, inner, outer in self.message(low, high):
                    if part in {1, 2} and outer >= 0:
                        self.tensor(inner, outer)
            elif number == _NODE:
                self.node(low, high, depth)
        return counts

    def node(self, start: int, end: int, depth: int) -> None:
        """Check the tensors and graphs among a node's attributes."""
        for number, low, high in self.message(start, end):
            if number != _ATTRIBUTE or high < 0:
                continue
            for part, inner, outer in self.message(low, high):
                if outer < 0:
                    continue
                if part in {_TENSOR, _TENSORS}:
                    self.tensor(inner, outer)
                elif part in {_SUBGRAPH, _SUBGRAPHS}:
                    self.graph(inner, outer, depth + 1)

    def tensor(self, start: int, end: int) -> None:
        """Refuse a tensor whose data lies in another file."""
        for number, low, high in self.message(start, end):
            if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and high < 0 and low == 1):
                raise ModelRejected(
                    "The ONNX model keeps weights in another file, and Andon stores one file "
                    "per model.",
                    hint=_EXPORT,
                )


def looks_like_onnx(head: bytes) -> bool:
    """Whether a file's first bytes are those of an ONNX model: an IR version up front.

    Exporters write the fields in order: `ir_version` (1), then producer (2) or the graph.
    """
    return len(head) >= 3 and head[0] == 0x08 and 1 <= head[1] <= 0x7F and head[2] & 7 in {0, 2}


def check(path: Path) -> None:
    """Whether a file is an ONNX model complete in itself.

    Raises:
        ModelRejected: It is not, with the reason.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = _check(data)
    except ValueError:
        raise ModelRejected("The ONNX file is empty.", hint=_EXPORT) from None
    except (OSError, _Malformed) as error:
        raise ModelRejected(f"The file is no valid ONNX model: {error}.", hint=_EXPORT) from None
    if found:
        raise ModelRejected(f"The file is no valid ONNX model: it has no {found}.", hint=_EXPORT)


def _check(data: mmap.mmap) -> str:
    """What the model lacks, or ""."""
    walk = _Walk(data)
    missing = {_IR_VERSION: "IR version", _OPSET: "operator set", _GRAPH: "graph"}
    for number, low, high in walk.message(0, len(data)):
        if number == _GRAPH and high >= 0:
            counts = walk.graph(low, high)
            for part, name in ((_NODE, "nodes"), (_INPUT, "inputs"), (_OUTPUT, "outputs")):
                if not counts.get(part):
                    return name
        missing.pop(number, None)
    return next(iter(missing.values()), "")
