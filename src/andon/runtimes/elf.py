"""A look into an ELF executable: is it whole, and is it for this machine?

Layout: System V ABI, "Object Files". Only 64-bit little-endian files are taken; all the
machines Andon runs on are that.
"""

import platform
import struct
from pathlib import Path
from typing import BinaryIO

from andon.errors import ModelRejected

MAGIC = b"\x7fELF"

_NAMES = {3: "32-bit x86", 40: "32-bit ARM", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
_ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_EXECUTABLE, _SHARED = 2, 3
_NO_BITS = 8
_AGAIN = "Upload the complete file again."


def machine() -> str:
    """This machine's architecture, by the name Linux gives it."""
    name = platform.machine().lower()
    return _ALIASES.get(name, name)


def check(path: Path) -> None:
    """Whether a file is a complete executable for this machine.

    Raises:
        ModelRejected: It is not; the message names both architectures, or what is missing.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            _check(file, size)
    except OSError as error:
        raise ModelRejected(f"The file cannot be read: {error.strerror}.") from None


def _check(file: BinaryIO, size: int) -> None:
    head = file.read(_HEADER.size)
    if head[:4] != MAGIC:
        raise ModelRejected(
            "The file is no Linux executable, which an .eim model is.",
            hint="In Edge Impulse Studio choose the deployment 'Linux', not a C++ library.",
        )
    if len(head) < 20:
        raise _truncated()
    (number,) = struct.unpack_from("<H", head, 18)
    here = machine()
    built = _NAMES.get(number, f"machine number {number}")
    if head[4] != 2 or head[5] != 1 or built != here:
        raise ModelRejected(
            f"The model is built for {built}, this machine is {here}.",
            hint=f"In Edge Impulse Studio choose the deployment 'Linux ({here})'.",
        )
    if len(head) < _HEADER.size:
        raise _truncated()
    fields = _HEADER.unpack(head)
    kind, programs, sections = fields[1], fields[5], fields[6]
    program_size, program_count, section_size, section_count = fields[9:13]
    if kind not in {_EXECUTABLE, _SHARED}:
        raise ModelRejected(
            "The file is an object or core file, not a program.",
            hint="Upload the .eim file that Edge Impulse Studio built.",
        )
    if program_count == 0 or program_size != _PROGRAM.size:
        raise _truncated()
    for entry in _table(file, size, programs, program_count, _PROGRAM):
        if entry[2] + entry[5] > size:
            raise _truncated()
    if section_count and section_size == _SECTION.size:
        for entry in _table(file, size, sections, section_count, _SECTION):
            if entry[1] != _NO_BITS and entry[4] + entry[5] > size:
                raise _truncated()


def _table(
    file: BinaryIO, size: int, start: int, count: int, layout: struct.Struct
) -> list[tuple[int, ...]]:
    """A table of headers; refused where it reaches beyond the file's end."""
    length = count * layout.size
    if start + length > size:
        raise _truncated()
    file.seek(start)
    return list(layout.iter_unpack(file.read(length)))


def _truncated() -> ModelRejected:
    return ModelRejected("The executable is truncated: a part lies beyond its end.", hint=_AGAIN)
