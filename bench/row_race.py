"""The same tabular model behind LitServe and MLServer, each in an environment of its own.

`make bench-peers` makes the environments; the race runs the three servers in turn with the
same row from the same connections. Andon checks the row and keeps its durable log on; the
others keep none.
"""

import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from bench import rows
from bench.floor import disk
from bench.processes import andon, free_port, serving

HERE = Path(__file__).resolve().parent / "peers"


def race(environments: Path, *, rounds: int, seconds: float) -> dict[str, Any]:
    """Answers per second of each server (median of rounds) and Andon's ratio to each."""
    figures: dict[str, list[float]] = {}
    (row,) = rows.made_up(1)
    values = list(row.values())
    v2 = {
        "inputs": [
            {"name": "features", "shape": [1, len(values)], "datatype": "FP32", "data": values}
        ]
    }
    with tempfile.TemporaryDirectory(prefix="andon-bench-rows-", dir=disk()) as name:
        folder = Path(name)
        home = folder / "home"
        home.mkdir()
        model = rows.write_model(folder / "heart.onnx")
        rows.add_model(home, model)

        def run(peer: str, port: int, path: str, body: Any) -> None:
            rows.per_second(port, path, body, folder, 1)
            rate = rows.per_second(port, path, body, folder, seconds)
            figures.setdefault(peer, []).append(rate)

        for _ in range(rounds):
            with andon(home) as server:
                run("andon", server.port, "/predict", row)
            with _mlserver(environments, model, folder) as server:
                run("mlserver", server.port, "/v2/models/heart/infer", v2)
            with _litserve(environments, model, folder) as server:
                run("litserve", server.port, "/predict", row)
    rates = {peer: statistics.median(found) for peer, found in figures.items()}
    return {
        "per_second": rates,
        "andon_vs_litserve": rates["andon"] / rates["litserve"],
        "andon_vs_mlserver": rates["andon"] / rates["mlserver"],
    }


def table_rows(run: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The figures for the table: measure, figure, aim."""
    return [
        *((f"rows: {peer}", f"{rate:,.0f} /s", "") for peer, rate in run["per_second"].items()),
        ("rows: Andon / LitServe", f"{run['andon_vs_litserve']:.2f}", ">= 2"),
        ("rows: Andon / MLServer", f"{run['andon_vs_mlserver']:.2f}", ">= 2"),
    ]


def _litserve(environments: Path, model: Path, folder: Path) -> Any:
    port = free_port()
    python = environments / "litserve" / "bin" / "python"
    command = [str(python), "litserve_rows_app.py", str(model), str(port)]
    log = folder / "litserve.log"
    return serving(command, port=port, ready_path="/health", cwd=HERE, log=log)


def _mlserver(environments: Path, model: Path, folder: Path) -> Any:
    port = free_port()
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        # Inside the server process, its fastest shape: its answers cost less than a hop.
        "parallel_workers": 0,
        "debug": False,
    }
    place = folder / "mlserver"
    place.mkdir(exist_ok=True)
    (place / "settings.json").write_text(json.dumps(settings))
    (place / "model-settings.json").write_text(
        json.dumps({"name": "heart", "implementation": "mlserver_rows_app.Score"})
    )
    return serving(
        [str(environments / "mlserver" / "bin" / "mlserver"), "start", str(place)],
        port=port,
        ready_path="/v2/models/heart/ready",
        env={"BENCH_MODEL": str(model), "PYTHONPATH": str(HERE)},
        cwd=place,
        log=folder / "mlserver.log",
    )
