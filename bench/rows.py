"""Rows measured: one client, sixteen connections, ten thousand at once; beside a bare call.

Every answered row is in the log on disk, as it is for users. The connections are wrk's where
it is installed: it takes less of the processor time that it measures.
"""

import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime as ort

from andon.runtimes.rows import INPUT, OUTPUT, SCHEMA_KEY, Feature, RowSchema
from bench.floor import disk
from bench.load import Load, drive, drive_alone, request
from bench.processes import Server, andon

CONNECTIONS = 16
BATCH = 10_000
MODEL = "heart-disease"
_SEED = 5
_BATCHES = 5

# The thirteen fields of the UCI heart disease data: name, least, most.
_FIELDS = (
    ("age", 20, 90),
    ("sex", 0, 1),
    ("cp", 1, 4),
    ("trestbps", 80, 220),
    ("chol", 100, 600),
    ("fbs", 0, 1),
    ("restecg", 0, 2),
    ("thalach", 60, 220),
    ("exang", 0, 1),
    ("oldpeak", 0, 7),
    ("slope", 1, 3),
    ("ca", 0, 3),
    ("thal", 3, 7),
)


def measure(*, rounds: int, seconds: float) -> dict[str, Any]:
    """Everything, in a fresh home on a real disk that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="andon-bench-rows-", dir=disk()) as name:
        folder = Path(name)
        home = folder / "home"
        home.mkdir()
        model = write_model(folder / "heart.onnx")
        add_model(home, model)
        with andon(home) as server:
            return _measure(server, model, folder, rounds, seconds)


def _measure(
    server: Server, model: Path, folder: Path, rounds: int, seconds: float
) -> dict[str, Any]:
    messages = [row_request(server.port, row) for row in made_up(200)]
    drive(server.port, messages, clients=2, seconds=1)
    bare, alone, crowd = [], [], []
    for _ in range(rounds):
        bare.append(_bare_ms(model, seconds / 4))
        load = drive_alone(server.port, messages, seconds=seconds)
        _require_all(load)
        alone.append(statistics.median(load.latencies) * 1000)
        crowd.append(per_second(server.port, "/predict", made_up(1)[0], folder, seconds))
    batch = request(
        server.port, "/predict/batch", json.dumps(made_up(BATCH)).encode(), "application/json"
    )
    took = []
    for _ in range(_BATCHES):
        load = drive_alone(server.port, [batch], seconds=0.01)
        _require_all(load)
        took.append(load.latencies[0])
    return {
        "bare_ms": statistics.median(bare),
        "one_client_ms": statistics.median(alone),
        "per_second": statistics.median(crowd),
        "generator": "wrk" if shutil.which("wrk") else "own",
        "batch_seconds": statistics.median(took),
        "rss_mib": server.rss_mib(),
    }


def rows(run: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The figures for the table: measure, figure, aim."""
    return [
        ("a row by a bare ONNX Runtime call", f"{run['bare_ms']:.3f} ms", ""),
        ("POST /predict with a row, one client, median", f"{run['one_client_ms']:.2f} ms", "<= 1"),
        (
            f"the same, {CONNECTIONS} connections ({run['generator']})",
            f"{run['per_second']:,.0f} /s",
            ">= 4,000 /s",
        ),
        (
            f"POST /predict/batch, {BATCH:,} rows",
            f"{run['batch_seconds']:.2f} s",
            "<= 0.5 s",
        ),
        ("memory after rows", f"{run['rss_mib']:.0f} MiB", ""),
    ]


def add_model(home: Path, model: Path) -> None:
    """Make it the active version of the default tabular model of a home."""
    command = [sys.executable, "-m", "andon", "models", "add", str(model), "--model", MODEL]
    env = {**os.environ, "ANDON_HOME": str(home)}
    subprocess.run(command, env=env, check=True, capture_output=True)


def made_up(count: int) -> list[dict[str, float]]:
    """Rows, the same every time."""
    chance = random.Random(_SEED)
    return [{name: chance.randint(low, high) for name, low, high in _FIELDS} for _ in range(count)]


def row_request(port: int, row: dict[str, float]) -> bytes:
    """A complete HTTP/1.1 request with one row."""
    return request(port, "/predict", json.dumps(row).encode(), "application/json")


def per_second(port: int, path: str, body: Any, folder: Path, seconds: float) -> float:
    """Answered requests per second from `CONNECTIONS` connections that send one JSON body."""
    content = json.dumps(body)
    wrk = shutil.which("wrk")
    if wrk is None:
        load = drive(
            port,
            [request(port, path, content.encode(), "application/json")],
            clients=CONNECTIONS,
            seconds=seconds,
        )
        _require_all(load)
        return load.per_second
    script = folder / "row.lua"
    script.write_text(
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f"wrk.body = [==[{content}]==]\n"
    )
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}", "-s", str(script)]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True
    )
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if found is None or "Non-2xx" in done.stdout:
        raise RuntimeError(f"the run is not usable: {done.stdout}")
    return float(found[1])


def _bare_ms(model: Path, seconds: float) -> float:
    """Median of one row through ONNX Runtime alone, milliseconds."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    row = np.array([list(made_up(1)[0].values())], np.float32)
    took: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        session.run([OUTPUT], {INPUT: row})
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


def _require_all(load: Load) -> None:
    if load.failed or not load.ok:
        raise RuntimeError(f"the run is not usable: {load.statuses}")


def write_model(path: Path) -> Path:
    """A logistic regression over the thirteen fields, as a training would leave it."""
    from onnx import TensorProto, helper, numpy_helper, save  # noqa: PLC0415 - a test dependency

    schema = RowSchema(
        features=tuple(
            Feature(name, "number", low, high, typical=(low + high) / 2)
            for name, low, high in _FIELDS
        ),
        target="num",
        classes=(0, 1),
        class_labels=("no disease", "disease"),
        positive=1,
    )
    spread = np.array([high - low for _, low, high in _FIELDS], np.float32)
    middle = np.array([(high + low) / 2 for _, low, high in _FIELDS], np.float32)
    constants = {
        "middle": middle,
        "weights": (np.linspace(-1, 2, len(_FIELDS), dtype=np.float32) / spread)[:, None],
        "one": np.array(1, np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Sub", [INPUT, "middle"], ["centred"]),
            helper.make_node("MatMul", ["centred", "weights"], ["sum"]),
            helper.make_node("Sigmoid", ["sum"], ["yes"]),
            helper.make_node("Sub", ["one", "yes"], ["no"]),
            helper.make_node("Concat", ["no", "yes"], [OUTPUT], axis=1),
        ],
        "heart",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, len(_FIELDS)])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    helper.set_model_props(model, {SCHEMA_KEY: msgspec.json.encode(schema).decode()})
    save(model, path)
    return path
