"""The same detector behind LitServe and MLServer, each in an environment of its own.

`make bench-peers` makes the environments; the race runs the three servers in turn on the
same pictures, with the same client, and repeats the turns. Andon keeps its durable log on.
"""

import base64
import json
import statistics
from pathlib import Path
from typing import Any

from bench.load import drive, multipart, request
from bench.processes import andon, free_port, serving
from bench.serving import messages

HERE = Path(__file__).resolve().parent / "peers"
# Every peer gets its best of these on two cores: (worker processes, threads per inference).
SHAPES = ((1, 2), (2, 1))


def race(
    model: Path,
    home: Path,
    pictures: list[Path],
    environments: Path,
    *,
    rounds: int,
    seconds: float,
    clients: int,
) -> dict[str, Any]:
    """Answers per second of each server (median of rounds) and Andon's ratio to each."""
    figures: dict[str, list[float]] = {}
    for _ in range(rounds):
        with andon(home) as server:
            requests = messages(server.port, pictures)
            _run(figures, "andon", server.port, requests, clients, seconds)
        for workers, threads in SHAPES:
            with _litserve(environments, model, home, workers, threads) as server:
                requests = [
                    multipart(server.port, "/predict", path.name, path.read_bytes())
                    for path in pictures
                ]
                name = f"litserve {workers}x{threads}"
                _run(figures, name, server.port, requests, clients, seconds)
            with _mlserver(environments, model, home, workers, threads) as server:
                requests = [_v2(server.port, path) for path in pictures]
                name = f"mlserver {workers}x{threads}"
                _run(figures, name, server.port, requests, clients, seconds)
    rates = {name: statistics.median(values) for name, values in figures.items()}
    best = {
        peer: max(rate for name, rate in rates.items() if name.startswith(peer))
        for peer in ("litserve", "mlserver")
    }
    return {
        "per_second": rates,
        "andon_vs_litserve": rates["andon"] / best["litserve"],
        "andon_vs_mlserver": rates["andon"] / best["mlserver"],
    }


def _run(
    figures: dict[str, list[float]],
    name: str,
    port: int,
    requests: list[bytes],
    clients: int,
    seconds: float,
) -> None:
    drive(port, requests, clients=2, seconds=1.5)
    load = drive(port, requests, clients=clients, seconds=seconds)
    if load.failed or not load.ok:
        raise RuntimeError(f"{name}: the run is not usable: {load.statuses}")
    figures.setdefault(name, []).append(load.per_second)


def _litserve(environments: Path, model: Path, home: Path, workers: int, threads: int) -> Any:
    port = free_port()
    python = environments / "litserve" / "bin" / "python"
    command = [str(python), "litserve_app.py", str(model), str(port), str(workers), str(threads)]
    return serving(command, port=port, ready_path="/health", cwd=HERE, log=home / "litserve.log")


def _mlserver(environments: Path, model: Path, home: Path, workers: int, threads: int) -> Any:
    port = free_port()
    folder = home / f"mlserver_{workers}x{threads}"
    folder.mkdir(exist_ok=True)
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        # One worker runs inside the server process, MLServer's fastest shape for one.
        "parallel_workers": 0 if workers == 1 else workers,
        "debug": False,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(
        json.dumps({"name": "pcb", "implementation": "mlserver_app.Inspect"})
    )
    env = {
        "BENCH_MODEL": str(model),
        "BENCH_THREADS": str(threads),
        "PYTHONPATH": str(HERE),
    }
    command = [str(environments / "mlserver" / "bin" / "mlserver"), "start", str(folder)]
    return serving(
        command,
        port=port,
        ready_path="/v2/models/pcb/ready",
        env=env,
        cwd=folder,
        log=home / "mlserver.log",
    )


def _v2(port: int, picture: Path) -> bytes:
    text = base64.b64encode(picture.read_bytes()).decode()
    body = {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]}]}
    return request(port, "/v2/models/pcb/infer", json.dumps(body).encode(), "application/json")
