"""Throughput, overhead and switching of `POST /api/predict`, against the bare loop."""

import asyncio
import json
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench.load import Load, drive, drive_alone, drive_async, multipart
from bench.processes import Server, andon


def bare(model: Path, folder: Path, seconds: float, threads: int = 0) -> dict[str, float]:
    """The bare loop in a process of its own (`bench.bare`)."""
    command = [sys.executable, "-m", "bench.bare", str(model), str(folder), str(seconds)]
    done = subprocess.run([*command, str(threads)], capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def messages(port: int, pictures: list[Path], path: str = "/api/predict") -> list[bytes]:
    """One upload request per picture."""
    return [multipart(port, path, picture.name, picture.read_bytes()) for picture in pictures]


def throughput(
    model: Path, home: Path, pictures: list[Path], *, rounds: int, seconds: float, clients: int
) -> dict[str, Any]:
    """Answers per second at saturation and overhead at one client, in alternating rounds.

    The machine's speed drifts; every round measures both sides, the ratio is taken round by
    round and the median of the rounds is reported.
    """
    folder = pictures[0].parent
    ratios, overheads, served, loops = [], [], [], []
    waits: list[float] = []
    with andon(home) as server:
        requests = messages(server.port, pictures)
        drive(server.port, requests, clients=2, seconds=1.5)
        for _ in range(rounds):
            yardstick = bare(model, folder, seconds)
            load = drive(server.port, requests, clients=clients, seconds=seconds)
            _require_all(load)
            ratios.append(load.per_second / yardstick["per_second"])
            served.append(load.per_second)
            loops.append(yardstick["per_second"])
            alone = drive_alone(server.port, requests, seconds=seconds)
            _require_all(alone)
            waits.append(statistics.median(alone.latencies) * 1000)
            overheads.append(waits[-1] - yardstick["median_ms"])
        memory = server.rss_mib()
    return {
        "bare_per_second": statistics.median(loops),
        "served_per_second": statistics.median(served),
        "throughput_ratio": statistics.median(ratios),
        "throughput_ratios": ratios,
        "one_client_ms": statistics.median(waits),
        "overhead_ms": statistics.median(overheads),
        "overheads_ms": overheads,
        "rss_after_load_mib": memory,
        "clients": clients,
    }


def cache(home: Path, pictures: list[Path], *, seconds: float) -> dict[str, float]:
    """Answers per second when the pictures are known already (the result cache)."""
    with andon(home) as server:
        requests = messages(server.port, pictures)
        drive(server.port, requests, clients=1, seconds=3, fresh=False)
        load = drive(server.port, requests, clients=8, seconds=seconds, fresh=False)
        _require_all(load)
        return {
            "cached_per_second": load.per_second,
            "cached_median_ms": statistics.median(load.latencies) * 1000,
        }


def switches(home: Path, pictures: list[Path], *, count: int) -> dict[str, Any]:
    """Switch between two versions under load; how many requests failed."""
    with andon(home) as server:
        return asyncio.run(_switches(server, pictures, count))


async def _switches(server: Server, pictures: list[Path], count: int) -> dict[str, Any]:
    requests = messages(server.port, pictures)
    seconds = count * 0.75 + 2
    driving = asyncio.create_task(drive_async(server.port, requests, clients=8, seconds=seconds))
    await asyncio.sleep(1)
    took: list[float] = []
    for number in range(count):
        started = time.perf_counter()
        await asyncio.to_thread(_activate, server.port, 2 - number % 2)
        took.append(time.perf_counter() - started)
        await asyncio.sleep(max(0.0, 0.75 - took[-1]))
    load = await driving
    return {
        "switches": count,
        "answered": load.ok,
        "failed": load.failed,
        "switch_median_ms": statistics.median(took) * 1000,
    }


def _activate(port: int, version: int) -> None:
    url = f"http://127.0.0.1:{port}/api/models/{version}/activate"
    call = urllib.request.Request(url, data=b"{}", method="POST")
    call.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(call) as answer:
        answer.read()


def _require_all(load: Load) -> None:
    if load.failed or not load.ok:
        raise RuntimeError(f"the load run is not usable: {load.statuses}")
