"""A version is proven before it serves: loaded, warmed and run on a sample picture or row.

What a file claims is checked by `runtimes`; proving shows that this machine can run it,
and how fast.
"""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from andon import typed
from andon.errors import AndonError, InvalidRequest, ModelRejected, Unavailable
from andon.runtimes import formats
from andon.runtimes.base import (
    LoadedModel,
    ModelDescription,
    ModelOptions,
    Picture,
    RuntimeConfig,
)
from andon.runtimes.images import noise_pixels
from andon.runtimes.tabular import TabularModel, trial_rows
from andon.settings import Settings

_SAMPLE_RUNS = 3
# Of a row: so short that the first runs are not like the others.
_SAMPLE_ROWS = 50
_MAX_DEFAULT_WORKERS = 4


class Proof(msgspec.Struct, frozen=True):
    """A model that was run, ready to serve.

    Attributes:
        loaded: The caller's to close, unless it is handed to a slot.
        description: What the model says of itself.
        proof: What was measured; kept with the version.
    """

    loaded: LoadedModel
    description: ModelDescription
    proof: dict[str, Any]


def cpus() -> int:
    """CPUs this process may use (a container or `taskset` may leave it fewer)."""
    return len(os.sched_getaffinity(0))


def runtime_config(settings: Settings, model_format: str) -> RuntimeConfig:
    """How much of the machine a loaded version of this format may use."""
    workers = settings.inference_workers or min(_MAX_DEFAULT_WORKERS, cpus())
    return RuntimeConfig(
        workers=settings.eim_processes if model_format == "eim" else workers,
        threads=settings.inference_threads or cpus(),
        message_timeout=settings.eim_timeout,
        start_timeout=settings.eim_start_timeout,
        memory_bytes=settings.eim_memory_bytes,
    )


def model_options(options: dict[str, Any] | None) -> ModelOptions:
    """What a person overrode at upload, checked.

    Raises:
        InvalidRequest: An unknown option or a value of the wrong kind.
    """
    try:
        return typed.convert(options or {}, ModelOptions)
    except msgspec.ValidationError as error:
        names = ", ".join(field.name for field in msgspec.structs.fields(ModelOptions))
        raise InvalidRequest(
            f"The model options cannot be used: {error}.",
            hint=f"Options are {names}.",
            errors=[{"field": "options", "detail": str(error)}],
        ) from None


def load(path: Path, options: dict[str, Any] | None, settings: Settings) -> LoadedModel:
    """Load a model file with the settings of this installation.

    Raises:
        ModelRejected: It cannot be loaded, whatever the reason was.
    """
    chosen = model_options(options)
    try:
        runtime = formats.recognise(path)
        return formats.load(path, chosen, runtime_config(settings, runtime.format))
    except Unavailable as error:
        # It crashed or hung while starting: that is what this file does.
        raise ModelRejected(
            f"The model cannot be loaded: {error.detail}", hint=error.hint
        ) from error
    except AndonError:
        raise
    # A runtime is other people's code reading a file that may hold anything: whatever it
    # raises means that this file does not load.
    except Exception as error:
        raise ModelRejected(
            f"The model cannot be loaded: {type(error).__name__}: {error}.",
            hint="Export the model again, or check that it is complete.",
        ) from error


def prove(path: Path, options: dict[str, Any] | None, settings: Settings) -> Proof:
    """Load a model file and run it on a sample picture, or on a typical row.

    Args:
        path: The file; an `.eim` must be executable.
        options: What a person overrode, by `ModelOptions` field.
        settings: Threads, processes and deadlines to prove it with.

    Returns:
        The proof. `proof` holds `loaded_ms`, `latency_ms` (median of a few runs) and
        `sample` ("640x640x3", "a row of 13 features").

    Raises:
        ModelRejected: It does not load, or does not answer.
    """
    started = time.perf_counter()
    loaded = load(path, options, settings)
    try:
        loaded_ms = (time.perf_counter() - started) * 1000
        description = loaded.description
        shown, runs = _sampled(loaded, settings)
    except BaseException as error:
        loaded.close()
        if not isinstance(error, Exception):
            raise
        why = error.detail if isinstance(error, AndonError) else f"{type(error).__name__}: {error}."
        raise ModelRejected(
            f"The model loads, but does not answer a sample: {why}",
            hint="Try the model outside Andon with a picture of the same size, or a typical row.",
        ) from error
    proof = {
        "loaded_ms": round(loaded_ms, 1),
        "latency_ms": round(statistics.median(runs), 2),
        "sample": shown,
    }
    return Proof(loaded, description, proof)


def _sampled(loaded: LoadedModel, settings: Settings) -> tuple[str, list[float]]:
    """What a model was run on, and the milliseconds of each run."""
    if isinstance(loaded, TabularModel):
        row = trial_rows(loaded.schema)[:1]
        return f"a row of {row.shape[1]} features", [
            _timed(lambda deadline: loaded.infer_rows(row, deadline=deadline), settings)
            for _ in range(_SAMPLE_ROWS)
        ]
    about = loaded.description
    picture = sample(about)
    return f"{about.width}x{about.height}x{about.channels}", [
        _timed(lambda deadline: loaded.infer(picture, deadline=deadline), settings)
        for _ in range(_SAMPLE_RUNS)
    ]


def sample(description: ModelDescription) -> Picture:
    """A picture of the model's input size: gradients and noise, the same every time.

    Plain gray would let a model skip the work that real pictures cause (suppression).
    """
    height, width = max(1, description.height), max(1, description.width)
    noise = noise_pixels((height, width, 3)) // 4
    across = np.linspace(0, 191, width, dtype=np.uint8)[None, :, None]
    pixels = noise + across
    if description.channels == 1:
        pixels = np.ascontiguousarray(pixels[:, :, 0])
    return Picture(pixels, width, height, "PNG")


def _timed(run: Callable[[float], Any], settings: Settings) -> float:
    """Milliseconds of one inference; it is told its deadline."""
    started = time.perf_counter()
    run(time.monotonic() + settings.request_timeout)
    return (time.perf_counter() - started) * 1000
