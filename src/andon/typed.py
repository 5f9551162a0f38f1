"""Plain values and JSON as types, from any thread.

msgspec learns what it must know of a type when the type is first used. Two threads that are first
together, with a type that holds others, end the process (msgspec 0.22.0: one of them reads what
the other has not finished). So a type is learned here under a lock, once.
"""

import threading
from typing import Any, TypeVar, overload

import msgspec

T = TypeVar("T")

_learned: set[Any] = set()
_learning = threading.Lock()


@overload
def convert(
    value: Any, kind: type[T], *, strict: bool = True, from_attributes: bool = False
) -> T: ...
@overload
def convert(
    value: Any, kind: Any, *, strict: bool = True, from_attributes: bool = False
) -> Any: ...
def convert(value: Any, kind: Any, *, strict: bool = True, from_attributes: bool = False) -> Any:
    """`msgspec.convert`: a plain value as a value of a type.

    Args:
        value: Made of dictionaries, lists, texts and numbers.
        kind: A type that can be written down: a Struct, a `Literal`, `list[...]` of such.
        strict: Whether texts are no numbers.
        from_attributes: Whether any object may be read by its attributes.

    Raises:
        msgspec.ValidationError: It does not fit.
    """
    _learn(kind)
    return msgspec.convert(value, kind, strict=strict, from_attributes=from_attributes)


@overload
def decode(content: bytes | str, kind: type[T]) -> T: ...
@overload
def decode(content: bytes | str, kind: Any) -> Any: ...
def decode(content: bytes | str, kind: Any) -> Any:
    """`msgspec.json.decode` with a type.

    Raises:
        msgspec.DecodeError: It is no JSON, or does not fit (`msgspec.ValidationError`).
    """
    _learn(kind)
    return msgspec.json.decode(content, type=kind)


def _learn(kind: Any) -> None:
    if kind not in _learned:
        with _learning:
            msgspec.json.Decoder(kind)
            _learned.add(kind)
