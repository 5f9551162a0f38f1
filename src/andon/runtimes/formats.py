"""Which runtime a model file needs, told by its content.

Names and suffixes are not asked: a file is what its first bytes say. Nothing is ever
unpickled, unzipped or run here.
"""

from pathlib import Path

from andon.errors import ModelRejected
from andon.runtimes import elf, onnx_file
from andon.runtimes.base import LoadedModel, ModelOptions, Runtime, RuntimeConfig
from andon.runtimes.eim import EimRuntime
from andon.runtimes.onnx import OnnxRuntime

FORMATS: dict[str, Runtime] = {"onnx": OnnxRuntime(), "eim": EimRuntime()}
"""Every runtime, by format name."""

_TAKEN = "Andon takes .onnx models and Edge Impulse Linux .eim models."
_YOLO = (
    "YOLO .pt files are converted with: yolo export model=FILE.pt format=onnx. "
    "Then upload the .onnx file."
)
_CLASSIFIER = "Export the model to ONNX with skl2onnx, or train it with `andon train`."
_HEAD = 4096

# First bytes of what people upload by mistake: offset, magic, what it is, what to do.
_OTHERS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x1f\x8b", "a gzip archive", _TAKEN),
    (0, b"BZh", "a bzip2 archive", _TAKEN),
    (0, b"\xfd7zXZ", "an xz archive", _TAKEN),
    (0, b"7z\xbc\xaf", "a 7-Zip archive", _TAKEN),
    (257, b"ustar", "a tar archive", _TAKEN),
    (0, b"\x89HDF", "an HDF5 file (Keras .h5)", "Convert it to ONNX with tf2onnx."),
    (4, b"TFL3", "a TensorFlow Lite model", "Convert it to ONNX with tf2onnx."),
    *(
        (0, magic, "compressed data such as joblib writes, which is never opened", _CLASSIFIER)
        for magic in (b"\x78\x01", b"\x78\x9c", b"\x78\xda")
    ),
    (0, b"\x93NUMPY", "a numpy array", _TAKEN),
    (0, b"GGUF", "a GGUF language model", _TAKEN),
    (0, b"\xcf\xfa\xed\xfe", "a macOS program", "Choose the deployment 'Linux' in the Studio."),
    (0, b"\xca\xfe\xba\xbe", "a macOS program", "Choose the deployment 'Linux' in the Studio."),
    (0, b"MZ", "a Windows program", "Choose the deployment 'Linux' in the Studio."),
    (0, b"#!", "a script", _TAKEN),
    (0, b"\xff\xd8\xff", "a JPEG picture", _TAKEN),
    (0, b"\x89PNG", "a PNG picture", _TAKEN),
    (0, b"%PDF", "a PDF document", _TAKEN),
)


def recognise(path: Path) -> Runtime:
    """The runtime for a model file, by its first bytes; `Runtime.check` looks closer.

    Raises:
        ModelRejected: No runtime takes it; says what the file looks like and what is taken.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            file.seek(0, 2)
            size = file.tell()
            file.seek(max(0, size - _HEAD))
            tail = file.read(_HEAD)
    except OSError as error:
        raise ModelRejected(f"The model file cannot be read: {error.strerror}.") from None
    if head[:4] == elf.MAGIC:
        return FORMATS["eim"]
    if onnx_file.looks_like_onnx(head):
        return FORMATS["onnx"]
    what, hint = _looks_like(head, tail)
    raise ModelRejected(f"The file is no model Andon can run: it is {what}.", hint=hint)


def load(path: Path, options: ModelOptions, config: RuntimeConfig) -> LoadedModel:
    """Recognise, check, load and warm a model file.

    Raises:
        ModelRejected: At any of these steps.
    """
    runtime = recognise(path)
    runtime.check(path)
    return runtime.load(path, options, config)


def _looks_like(head: bytes, tail: bytes) -> tuple[str, str]:
    """What a refused file is, and what to do about it."""
    if not head:
        return "empty", "Upload the complete file again."
    if head[:2] == b"PK":
        # Torch stores an archive with a pickle inside; its name stands in both directories.
        if b"data.pkl" in head or b"data.pkl" in tail:
            return "a PyTorch file (.pt)", _YOLO
        return "a zip archive", _TAKEN
    if head[:1] == b"\x80" and head[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}:
        return (
            "a Python pickle, which is never opened because it can run any program",
            f"Export the model to ONNX (for example with skl2onnx). {_YOLO}",
        )
    for offset, magic, what, hint in _OTHERS:
        if head[offset : offset + len(magic)] == magic:
            return what, hint
    text = head[:512].lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page, perhaps a login page that a download answered", _TAKEN
    if text.startswith((b"{", b"[")):
        return "JSON text", _TAKEN
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head[:512]):
        return "plain text", _TAKEN
    return "of unknown content", _TAKEN
