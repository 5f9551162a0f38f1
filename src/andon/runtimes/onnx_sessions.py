"""The ONNX Runtime sessions of one model: one for a picture alone, one for a crowd.

A session that spreads each inference over all cores answers a lone picture soonest. With as
many pictures in flight as there are cores, one core each gets more done, for no core waits
for the slowest share of another (measured with the starter detector on two cores: 6 % more
answers a second). The second session is opened when the crowd first comes; a box with one
camera never pays for it.
"""

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnxruntime
import structlog

from andon.errors import ModelRejected
from andon.runtimes.base import RuntimeConfig
from andon.runtimes.text import clean

log = structlog.get_logger("andon.runtimes")

# Errors are raised; ONNX Runtime's own lines on the console would only repeat them.
FATAL_ONLY = 4

# Weights are held once per session. Beyond this file size the memory is worth more.
_LARGEST_TWICE = 64 * 1024 * 1024


class Sessions:
    """Opens a model file; hands out the session that suits the load. Thread-safe.

    Args:
        path: The model. It may be renamed or deleted afterwards.
        config: Threads of a lone inference, and how many run at a time.

    Raises:
        ModelRejected: ONNX Runtime cannot load it.
    """

    def __init__(self, path: Path, config: RuntimeConfig) -> None:
        self.wide = _open(path, config.threads, path)
        self._crowd = config.threads
        # Kept open: the file is renamed when its version is registered.
        self._file = os.open(path, os.O_RDONLY)
        small = os.fstat(self._file).st_size <= _LARGEST_TWICE
        self._wanted = small and 1 < config.threads <= config.workers
        self._narrow: onnxruntime.InferenceSession | None = None
        self._lock = threading.Lock()
        self._running = 0
        self._closed = False

    @contextmanager
    def hold(self) -> Iterator[onnxruntime.InferenceSession]:
        """The session for one inference."""
        with self._lock:
            self._running += 1
            crowded = self._running >= self._crowd
            if crowded and self._wanted:
                self._wanted = False
                threading.Thread(
                    target=self._open_narrow, name="andon-onnx-narrow", daemon=True
                ).start()
        try:
            yield (self._narrow if crowded else None) or self.wide
        finally:
            with self._lock:
                self._running -= 1

    def close(self) -> None:
        """Let go of the sessions; inferences that run finish first."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._narrow = None
            os.close(self._file)

    def _open_narrow(self) -> None:
        """Behind the requests: they go on with the session there is."""
        with self._lock:
            if self._closed:
                return
            file = os.dup(self._file)
        try:
            with os.fdopen(file, "rb") as model:
                model.seek(0)
                narrow = _open(model.read(), 1)
        except (ModelRejected, OSError) as error:
            log.warning(f"No second session for many pictures at a time: {error}")
            return
        with self._lock:
            if not self._closed:
                self._narrow = narrow


def reason(error: Exception, path: Path | None = None) -> str:
    """ONNX Runtime's reason in one line, without its code numbers and our paths."""
    text = str(error)
    if path is not None:
        text = text.replace(str(path), path.name)
    text = text.rsplit("[ONNXRuntimeError] : ", maxsplit=1)[-1]
    return clean(" ".join(text.split()), 300).rstrip(".")


@functools.cache
def _share_memory() -> None:
    """One arena for all sessions of the process, grown by what is asked for.

    By default every session has its own, which doubles at each growth: measured on the starter
    detector, 5 MB more at rest and no faster.
    """
    info = onnxruntime.OrtMemoryInfo(
        "Cpu",
        onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR,
        0,
        onnxruntime.OrtMemType.DEFAULT,
    )
    arena = onnxruntime.OrtArenaCfg(
        {
            "max_mem": 0,
            "arena_extend_strategy": 1,  # kSameAsRequested
            "initial_chunk_size_bytes": 1 << 20,
            "max_dead_bytes_per_chunk": 1 << 18,
        }
    )
    onnxruntime.create_and_register_allocator(info, arena)


def _open(model: Any, threads: int, path: Path | None = None) -> onnxruntime.InferenceSession:
    """A session on a file (path) or its bytes."""
    _share_memory()
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = FATAL_ONLY
    # Planned memory keeps 7 to 10 MB more and was not measurably faster; the arena is kept,
    # for without it every run asks the system for its memory again.
    options.enable_mem_pattern = False
    # Threads spin between the parts of one inference: sleeping there was measured to cost a lone
    # picture a millisecond. After it they sleep: decoding and others need the cores.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelRejected(
            f"ONNX Runtime {onnxruntime.__version__} cannot load the model: {reason(error, path)}.",
            hint="Export it again, for an operator set that this version knows.",
        ) from None
