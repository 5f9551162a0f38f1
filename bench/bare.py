"""The yardstick: a Python loop that decodes JPEGs and runs ONNX Runtime, nothing else.

Run as a process of its own, so that it has the machine the way a server would:
``python -m bench.bare MODEL FOLDER SECONDS THREADS`` prints one JSON line.
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
import simplejpeg


def loop(model: Path, folder: Path, seconds: float, threads: int) -> dict[str, float]:
    """Decode and infer the folder's pictures round-robin; pictures per second and median ms."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    pictures = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]

    def once(data: bytes) -> None:
        pixels = simplejpeg.decode_jpeg(data, colorspace="GRAY")[..., 0]
        values = np.multiply(pixels, np.float32(1 / 255), dtype=np.float32)
        session.run(None, {name: values[None, None]})

    for data in pictures[:5]:
        once(data)
    took: list[float] = []
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        begin = time.perf_counter()
        once(pictures[len(took) % len(pictures)])
        took.append(time.perf_counter() - begin)
    elapsed = time.perf_counter() - started
    return {"per_second": len(took) / elapsed, "median_ms": statistics.median(took) * 1000}


if __name__ == "__main__":
    model_file, pictures_folder, duration, thread_count = sys.argv[1:5]
    print(
        json.dumps(
            loop(
                Path(model_file),
                Path(pictures_folder),
                float(duration),
                int(thread_count) or (os.cpu_count() or 1),
            )
        )
    )
