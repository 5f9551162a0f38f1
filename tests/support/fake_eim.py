"""A stand-in for an Edge Impulse Linux model: a real ELF program that speaks the protocol.

`build_fake_eim(path, **config)` writes one file that is a complete executable for this
machine (x86_64 or aarch64): a few hand-assembled instructions that execute Python on the
file itself, and a zip with the program appended, which Python runs. So everything that
looks at, copies, limits, starts or kills an `.eim` treats it as one.

The model finds bright spots, like those of `onnx_models`: in every cell of 8x8 input
pixels class k looks at colour channel k, a cell brighter than one half is an object with
score ``2 * brightness - 1``, touching cells of one class become one box.

- FOMO and object detection answer those boxes; detection lists a threshold that can be
  lowered, and holds back boxes below it.
- Classification: label 0 gets ``1 - mean brightness``, label 1 the mean, others 0.
- Visual anomaly: cells score ``10 * brightness``.

A *trigger* picture, magenta (255, 0, 255) at its top left model pixel, makes a fake with
``on="magenta"`` misbehave, so that a test chooses the moment.
"""

import json
import platform
import stat
import struct
import sys
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

MAGENTA = (255, 0, 255)

MISBEHAVIOURS = (
    "slow-hello",  # answers hello after `seconds`
    "slow",  # answers a picture after `seconds`
    "hang",  # never answers a picture
    "crash",  # dies by SIGSEGV instead of answering
    "garbage",  # answers something that is no JSON
    "half-reply",  # sends half an answer and exits 1
    "wrong-id",  # answers under another id
    "error-reply",  # refuses, and goes on
    "huge-reply",  # answers without end
    "nan",  # answers null where scores belong, as C++ JSON writes NaN
    "exit-at-start",  # prints a reason to stderr and exits 1
    "never-listens",  # runs, and opens no socket
    "flood",  # prints megabytes before every answer
    "ignores-term",  # ignores SIGTERM and the end of its connection
    "lies",  # says another number of features than it has pixels
    "no-hello",  # refuses hello
    "child",  # starts a child of its own that outlives it
)


@dataclass
class FakeEim:
    """What a fake is.

    Attributes:
        model_type: As in hello: "constrained_object_detection" (FOMO), "object_detection",
            "classification", "freeform".
        size: Input side, pixels, a multiple of 8, or (width, height).
        labels: Class names.
        channels: 1 or 3.
        resize: "squash", "fit-shortest", "fit-longest", "none".
        shm: Whether it offers shared memory.
        shm_tag: Part of the shared memory's name, to find it among those of other tests.
        generation: 2026, or 2023: no shared memory, thresholds, resize mode.
        min_score: Its threshold for boxes (or anomaly cells, then in cell scores).
        has_anomaly: As in hello: 0 none, 1 K-means, 3 visual.
        name: Project name.
        sensor: As in hello; 1 makes it an audio model.
        misbehave: One of `MISBEHAVIOURS`, or "".
        on: When: "" from the start, "magenta" for trigger pictures, or a number: from that
            picture on (the warm-up is number 1).
        once: A file. While it does not exist the fake misbehaves and makes it; afterwards,
            restarted, it behaves.
        seconds: For the slow ones.
    """

    model_type: str = "constrained_object_detection"
    size: int | tuple[int, int] = 96
    labels: tuple[str, ...] = ("spot",)
    channels: int = 3
    resize: str = "squash"
    shm: bool = True
    shm_tag: str = ""
    generation: int = 2026
    min_score: float = 0.5
    has_anomaly: int = 0
    name: str = "Fake Boards"
    sensor: int = 3
    misbehave: str = ""
    on: str = ""
    once: str = ""
    seconds: float = 1.0


def build_fake_eim(path, *, machine: str = "", **config) -> Path:
    """Write a fake `.eim`.

    Args:
        path: Where; the executable bit is set.
        machine: "x86_64" or "aarch64"; default: this machine.
        **config: Fields of `FakeEim`.

    Returns:
        The path.
    """
    fake = FakeEim(**config)
    assert not fake.misbehave or fake.misbehave in MISBEHAVIOURS
    path = Path(path)
    path.write_bytes(_program(machine or platform.machine(), sys.executable))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__main__.py", Path(__file__).with_name("fake_eim_main.py").read_text())
        archive.writestr("config.json", json.dumps(asdict(fake)))
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return path


_BASE = 0x400000
_HEADERS = 64 + 56


def _program(machine: str, interpreter: str) -> bytes:
    """An ELF executable that is ``execve(interpreter, [interpreter, "-IS", argv[0], argv[1]])``."""
    strings = interpreter.encode() + b"\0" + b"-IS\0"
    build = {"x86_64": _x86_64, "aarch64": _aarch64}[machine]
    number = {"x86_64": 62, "aarch64": 183}[machine]
    # The code's length does not depend on the addresses in it.
    length = len(build(0, 0, 0))
    start = _BASE + _HEADERS
    path_at = start + length
    flag_at = path_at + len(interpreter.encode()) + 1
    body = build(start, path_at, flag_at) + strings
    size = _HEADERS + len(body)
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", identity, 2, number, 1, start, 64, 0, 0, 64, 56, 1, 64, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)
    return header + segment + body


def _x86_64(_start: int, path: int, flag: int) -> bytes:
    def word(value: int) -> bytes:
        return struct.pack("<I", value)

    return b"".join([
        b"\x4c\x8b\x44\x24\x08",  # mov r8, [rsp+8]           argv[0]
        b"\x4c\x8b\x4c\x24\x10",  # mov r9, [rsp+16]          argv[1]
        b"\x48\x8b\x04\x24",  # mov rax, [rsp]                argc
        b"\x48\x8d\x54\xc4\x10",  # lea rdx, [rsp+rax*8+16]   envp
        b"\x6a\x00",  # push 0
        b"\x41\x51",  # push r9
        b"\x41\x50",  # push r8
        b"\x68" + word(flag),  # push flag
        b"\x68" + word(path),  # push path
        b"\x48\x89\xe6",  # mov rsi, rsp
        b"\xbf" + word(path),  # mov edi, path
        b"\xb8" + word(59),  # mov eax, execve
        b"\x0f\x05",  # syscall
        b"\xbf" + word(127),  # mov edi, 127
        b"\xb8" + word(60),  # mov eax, exit
        b"\x0f\x05",  # syscall
    ])  # fmt: skip


def _aarch64(start: int, path: int, flag: int) -> bytes:
    def adr(register: int, target: int, index: int) -> int:
        distance = target - (start + 4 * index)
        return 0x10000000 | (distance & 3) << 29 | (distance >> 2 & 0x7FFFF) << 5 | register

    code = [
        0xF94003E3,  # ldr x3, [sp]           argc
        0xF94007E4,  # ldr x4, [sp, #8]       argv[0]
        0xF9400BE5,  # ldr x5, [sp, #16]      argv[1]
        0x8B236FE2,  # add x2, sp, x3, uxtx #3
        0x91004042,  # add x2, x2, #16        envp
        adr(0, path, 5),  # adr x0, path
        adr(6, flag, 6),  # adr x6, flag
        0xD100C3FF,  # sub sp, sp, #48
        0xA9001BE0,  # stp x0, x6, [sp]
        0xA90117E4,  # stp x4, x5, [sp, #16]
        0xF90013FF,  # str xzr, [sp, #32]
        0x910003E1,  # mov x1, sp
        0xD2801BA8,  # mov x8, execve
        0xD4000001,  # svc #0
        0xD2800FE0,  # mov x0, #127
        0xD2800BA8,  # mov x8, exit
        0xD4000001,  # svc #0
    ]
    return struct.pack(f"<{len(code)}I", *code)
