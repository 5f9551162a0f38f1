"""What the watching costs: a look over rows, a look over pictures, and the answers beside it."""

import gc
import shutil
import statistics
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from andon.monitoring.signals import Limits, Watched
from andon.store.clock import now
from andon.store.records import ModelVersion
from bench import streams
from bench.load import drive
from bench.processes import andon
from bench.serving import messages
from bench.streams import Inspector
from bench.watching import Watching

_MINUTE = timedelta(minutes=1)


def looks(
    watching: Watching, template: ModelVersion, model: Any, inspector: Inspector
) -> dict[str, float]:
    """Median milliseconds of one whole look: reading the log, every detector, the report."""
    rows = streams.drawn([streams.hospital("cleveland", model)], 12_000, seed=3, per_hour=60)
    boards = [path for paths in streams.groups().values() for path in paths[::4]]
    pictures = streams.drawn([inspector.material(boards)], 6_000, seed=3, per_hour=60)
    return {
        "rows_1000_ms": _look(watching, template, list(rows), 1000),
        "pictures_500_ms": _look(watching, None, list(pictures), 500),
    }


def _look(
    watching: Watching, template: ModelVersion | None, stream: list[Any], window: int
) -> float:
    settings = watching.settings.model_copy(
        update={"monitor_window": window, "drift_window": window, "drift_reference_hours": 0.0}
    )
    version = watching.version(template)
    begin = now() - len(stream) * _MINUTE
    detectors = watching.detectors(settings)
    took = []
    # What the scenarios left in memory is none of the detectors' business.
    gc.freeze()
    for number in range(0, len(stream), window):
        watching.write(version, stream[number : number + window], number, begin, _MINUTE, labels=0)
        watched = Watched(
            version=version,
            previous=None,
            limits=Limits(),
            moment=begin + (number + window) * _MINUTE,
            since=begin,
        )
        began = time.perf_counter()
        for detector in detectors:
            detector.look(watched)
        took.append((time.perf_counter() - began) * 1000)
    # The first looks learn the reference.
    return statistics.median(took[2:] or took)


def throughput(
    home: Path, pictures: list[Path], *, rounds: int, seconds: float, clients: int
) -> dict[str, Any]:
    """`POST /api/predict` at saturation with the watching on and off, in alternating rounds.

    Both servers run all the time, each on a copy of the home; the idle one costs next to nothing.
    """
    on_home, off_home = home.with_name("watched"), home.with_name("unwatched")
    for copy in (on_home, off_home):
        shutil.copytree(home, copy)
    ratios, on_rates, off_rates = [], [], []
    with (
        andon(on_home, monitor="true", monitor_interval="2") as on,
        andon(off_home, monitor="false") as off,
    ):
        sent = {server.port: messages(server.port, pictures) for server in (on, off)}
        for server in (on, off):
            drive(server.port, sent[server.port], clients=2, seconds=1.5)
        for number in range(rounds):
            rates = {}
            for server in (on, off) if number % 2 else (off, on):
                load = drive(server.port, sent[server.port], clients=clients, seconds=seconds)
                rates[server.port] = load.per_second
            on_rates.append(rates[on.port])
            off_rates.append(rates[off.port])
            ratios.append(rates[on.port] / rates[off.port])
    return {
        "on_per_second": statistics.median(on_rates),
        "off_per_second": statistics.median(off_rates),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
    }
