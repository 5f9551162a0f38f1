"""Factory events through HTTP, against the same rows through the bare driver."""

import itertools
import statistics
import time
from collections.abc import Sequence
from operator import truediv
from pathlib import Path
from typing import Any

from andon.store.database import Database
from bench import plant
from bench.bare_rows import BareRows, bare_rows
from bench.load import Load, drive_all, request
from bench.processes import andon

CLIENTS = (1, 2, 4)
# Of one measurement: batches of 50, batches of 500, single events.
SHORT_BATCHES, LONG_BATCHES, SINGLES = 20, 40, 3_000
# How many years back the first event lies.
_YEARS = 6


class Feed:
    """Events of the plant that were not sent yet, as requests and as rows."""

    def __init__(self, port: int) -> None:
        self._port = port
        first = time.time_ns() // 1000 // plant.DAY - 365 * _YEARS
        self._events = plant.stream(first)

    def singles(self, count: int) -> list[bytes]:
        """Requests of one event each."""
        taken = itertools.islice(self._events, count)
        return [self._request("/events/", plant.line(*event)) for event in taken]

    def batches(self, count: int, size: int) -> tuple[list[bytes], list[list[plant.Row]]]:
        """Requests of `size` events each, and the rows of each."""
        requests, rows = [], []
        for _ in range(count):
            events = list(itertools.islice(self._events, size))
            body = b'{"events":[' + b",".join(plant.line(*event) for event in events) + b"]}"
            requests.append(self._request("/events/batch", body))
            rows.append([plant.row(*event) for event in events])
        return requests, rows

    def _request(self, path: str, body: bytes) -> bytes:
        return request(self._port, path, body, "application/json")


def measure(home: Path, beside: Path | str, *, rounds: int, **settings: str) -> dict[str, Any]:
    """Batches of 50, sustained batches of 500 and single events, in alternating rounds.

    Args:
        home: An empty folder on a real disk for the server.
        beside: Path or URL of an empty database of the same kind for the bare rows.
        rounds: The machine's speed drifts: every round measures both sides, ratios are taken
            round by round, and the median of the rounds is reported.
        settings: Of the server, such as `database_url`.
    """
    register(settings.get("database_url") or home / "andon.db")
    with andon(home, **settings) as server, bare_rows(beside) as bare:
        feed = Feed(server.port)
        _warm_up(server.port, feed, bare)
        return {
            "batch_50": _batches_of_50(server.port, feed, bare, rounds),
            "sustained": _sustained(server.port, feed, bare, rounds),
            "singles": _singles(server.port, feed, rounds),
            "rss_mib": server.rss_mib(),
        }


def register(where: Path | str) -> None:
    """Create the database at a path or URL, with the workers and stations of the plant."""
    db = Database(where)
    try:
        for worker in plant.WORKERS:
            db.workers.add(worker)
        for station in plant.STATIONS:
            db.workstations.add(station)
    finally:
        db.close()


def _warm_up(port: int, feed: Feed, bare: BareRows) -> None:
    for size in (50, 500):
        requests, rows = feed.batches(10, size)
        _require_stored(drive_all(port, requests, clients=2))
        _insert(bare, rows)
    _require_stored(drive_all(port, feed.singles(500), clients=32))


def _batches_of_50(port: int, feed: Feed, bare: BareRows, rounds: int) -> dict[str, float]:
    """One client that waits for each answer; beside it the bare transactions."""
    took: list[float] = []
    bare_took: list[float] = []
    for _ in range(rounds):
        requests, rows = feed.batches(SHORT_BATCHES, 50)
        load = drive_all(port, requests, clients=1)
        _require_stored(load)
        took += load.latencies
        bare_took += _insert(bare, rows)
    return {
        "median_ms": statistics.median(took) * 1000,
        "p95_ms": percentile(took, 95) * 1000,
        "bare_median_ms": statistics.median(bare_took) * 1000,
        "batches": len(took),
    }


def _sustained(port: int, feed: Feed, bare: BareRows, rounds: int) -> dict[str, Any]:
    """Rows per second in batches of 500, by the number of clients."""
    size, count = 500, LONG_BATCHES
    rates: dict[int, list[float]] = {clients: [] for clients in CLIENTS}
    bare_rates: dict[int, list[float]] = {clients: [] for clients in CLIENTS}
    for number in range(rounds):
        for clients in CLIENTS:
            requests, rows = feed.batches(count, size)
            # Who goes first alternates.
            before = sum(_insert(bare, rows)) if number % 2 else 0.0
            load = drive_all(port, requests, clients=clients)
            _require_stored(load)
            alone = before or sum(_insert(bare, rows))
            rates[clients].append(size * count / load.seconds)
            bare_rates[clients].append(size * count / alone)
    by_clients = {
        clients: {
            "rows_per_second": statistics.median(rates[clients]),
            "bare_rows_per_second": statistics.median(bare_rates[clients]),
            "ratio": statistics.median(map(truediv, rates[clients], bare_rates[clients])),
        }
        for clients in CLIENTS
    }
    best = max(by_clients, key=lambda clients: by_clients[clients]["ratio"])
    return {
        **by_clients[best],
        "clients": best,
        "ratios": list(map(truediv, rates[best], bare_rates[best])),
        "by_clients": by_clients,
    }


def _singles(port: int, feed: Feed, rounds: int) -> dict[str, float]:
    """One event per request, 32 clients."""
    rates: list[float] = []
    took: list[float] = []
    for _ in range(rounds):
        load = drive_all(port, feed.singles(SINGLES), clients=32)
        _require_stored(load)
        rates.append(load.per_second)
        took += load.latencies
    return {
        "per_second": statistics.median(rates),
        "p50_ms": percentile(took, 50) * 1000,
        "p99_ms": percentile(took, 99) * 1000,
    }


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that `percent` of the values do not exceed."""
    return sorted(values)[min(len(values) * percent // 100, len(values) - 1)]


def _insert(bare: BareRows, batches: list[list[plant.Row]]) -> list[float]:
    """Insert batch by batch; the seconds of each transaction."""
    took: list[float] = []
    for rows in batches:
        begun = time.perf_counter()
        bare.insert(rows)
        took.append(time.perf_counter() - begun)
    return took


def _require_stored(load: Load) -> None:
    if set(load.statuses) != {201}:
        raise RuntimeError(f"the load run is not usable: {load.statuses}")
