"""Whether the floor's metrics stay flat while the history grows.

Histories of different lengths are made beside each other, served by one server each, and
asked in turn for the same kind of window. The rows are made in SQL, past the product; its own
`rebuild` then closes the states and makes the totals.
"""

import http.client
import json
import random
import sqlite3
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from andon.store.clock import moment
from andon.store.database import Database
from bench import plant
from bench.ingest import register
from bench.load import drive_all, request
from bench.processes import Server, andon
from bench.reference import Sums, sums

ROUTES = (
    "/metrics/workers",
    "/metrics/workers/W7",
    "/metrics/workstations",
    "/metrics/factory",
)
BUCKETS = ("", "day", "hour")
WINDOW = 30 * plant.DAY


@dataclass
class History:
    """A served history.

    Attributes:
        events: How many it holds.
        first: Its first day, since 1970.
        last: The day after its last.
    """

    events: int
    first: int
    last: int
    path: Path
    server: Server
    built: dict[str, float]

    def windows(self, count: int) -> list[tuple[int, int]]:
        """Random 30 days inside the history; none begins on an hour."""
        source = random.Random(self.events)
        earliest = self.first * plant.DAY
        latest = self.last * plant.DAY - WINDOW
        starts = [source.randrange(earliest, max(latest, earliest + 1)) for _ in range(count)]
        return [(start, start + WINDOW) for start in starts]


def measure(folder: Path, *, sizes: list[int], windows: int) -> dict[str, Any]:
    """The figures by number of events; routes with `windows` random windows each."""
    with ExitStack() as stack:
        histories = []
        for size in sizes:
            home = folder / f"history-{size}"
            home.mkdir()
            built = build(home / "andon.db", size)
            server = stack.enter_context(andon(home))
            histories.append(_history(home / "andon.db", size, server, built))
        took = _ask(histories, windows)
        return {
            str(history.events): {
                **history.built,
                "routes": took[history.events],
                **_worst(took[history.events]),
                **_late(history),
            }
            for history in histories
        }


def build(path: Path, events: int) -> dict[str, float]:
    """Make a database with a history that ends yesterday; seconds and size of it."""
    register(path)
    begun = time.perf_counter()
    _insert(path, events)
    inserted = time.perf_counter()
    db = Database(path)
    try:
        db.factory_totals.rebuild()
        rebuilt = time.perf_counter()
        with db.read() as connection:
            totals = connection.exec_driver_sql("SELECT count(*) FROM factory_totals").scalar()
    finally:
        db.close()
    return {
        "insert_seconds": inserted - begun,
        "rebuild_seconds": rebuilt - inserted,
        "file_mib": path.stat().st_size / 2**20,
        "totals": float(totals or 0),
    }


def days(events: int) -> int:
    """How many days of the plant hold that many events."""
    return -(-events // plant.EVENTS_PER_DAY)


def _history(path: Path, events: int, server: Server, built: dict[str, float]) -> History:
    last = time.time_ns() // 1000 // plant.DAY
    return History(events, last - days(events), last, path, server, built)


def _insert(path: Path, events: int) -> None:
    last = time.time_ns() // 1000 // plant.DAY
    connection = sqlite3.connect(path, isolation_level=None)
    # The file is worth nothing until it is complete.
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-400000"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(
        "CREATE TEMP TABLE moments (day, place, offset, worker, station, kind, confidence, "
        "count, PRIMARY KEY (day, place)) WITHOUT ROWID"
    )
    connection.executemany(
        "INSERT INTO moments VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(number, *one[:7]) for number in range(plant.DAYS) for one in plant.day(number)],
    )
    connection.execute("BEGIN")
    connection.execute(_HISTORY, {"first": last - days(events), "last": last, "events": events})
    connection.execute("COMMIT")
    connection.close()


_HISTORY = f"""
    WITH RECURSIVE days (day) AS (
        SELECT :first UNION ALL SELECT day + 1 FROM days WHERE day + 1 < :last
    )
    INSERT INTO factory_events ({plant.COLUMNS})
    SELECT
        printf(
            '%08x-%04x-7000-8000-%012x',
            (days.day * {plant.DAY} + offset) / 1000 >> 16,
            (days.day * {plant.DAY} + offset) / 1000 & 65535,
            days.day * {plant.EVENTS_PER_DAY} + place
        ),
        days.day * {plant.DAY} + offset,
        worker, station, kind, confidence, count,
        '{plant.SITE}', 'cam-' || station, '7', 'bench', (days.day + 1) * {plant.DAY}, NULL
    FROM days CROSS JOIN moments ON moments.day = days.day % {plant.DAYS}
    LIMIT :events
"""


def _ask(histories: list[History], count: int) -> dict[int, dict[str, dict[str, float]]]:
    """Median and worst milliseconds by history and route; the histories take turns."""
    took: dict[int, dict[str, list[float]]] = {history.events: {} for history in histories}
    windows = {history.events: history.windows(count) for history in histories}
    with ExitStack() as stack:
        clients = {
            history.events: stack.enter_context(_client(history.server.port))
            for history in histories
        }
        # Once for each server unmeasured: what is loaded at the first call only.
        for client in clients.values():
            _get(client, "/metrics/factory")
        for number in range(count):
            for bucket in BUCKETS:
                for route in ROUTES:
                    for events, client in clients.items():
                        path = _path(route, *windows[events][number], bucket)
                        begun = time.perf_counter()
                        _get(client, path)
                        seconds = time.perf_counter() - begun
                        name = f"{route}?bucket={bucket}" if bucket else route
                        took[events].setdefault(name, []).append(seconds * 1000)
        for history in histories:
            for window in windows[history.events][:2]:
                _compare(history, clients[history.events], *window)
    return {
        events: {
            name: {"median_ms": statistics.median(found), "worst_ms": max(found)}
            for name, found in routes.items()
        }
        for events, routes in took.items()
    }


def _worst(routes: dict[str, dict[str, float]]) -> dict[str, Any]:
    """The route with the greatest median, and the slowest answer of all."""
    slowest = max(routes, key=lambda name: routes[name]["median_ms"])
    return {
        "slowest_route": slowest,
        "slowest_median_ms": routes[slowest]["median_ms"],
        "worst_ms": max(figures["worst_ms"] for figures in routes.values()),
    }


def _late(history: History) -> dict[str, float]:
    """Batches of 50 late events, each into an hour of its own anywhere in the history.

    Raises:
        RuntimeError: The metrics are not those of the events afterwards.
    """
    source = random.Random(history.events + 1)
    sent: list[int] = []
    requests = []
    for _ in range(10):
        events = []
        for _ in range(50):
            number = source.randrange(history.first, history.last)
            like = source.choice(plant.day(number))
            # A time that the plant does not use: between two of its events.
            offset = like.offset - 1 - source.randrange(1_000)
            late = plant.at(like, offset)
            events.append(plant.line(number, late))
            sent.append(number * plant.DAY + offset)
        body = b'{"events":[' + b",".join(events) + b"]}"
        requests.append(request(history.server.port, "/events/batch", body, "application/json"))
    load = drive_all(history.server.port, requests, clients=1)
    if set(load.statuses) != {201}:
        raise RuntimeError(f"late events were refused: {load.statuses}")
    with _client(history.server.port) as client:
        for time_of_one in sent[:5]:
            _compare(history, client, time_of_one - plant.HOUR, time_of_one + plant.DAY)
    return {
        "late_batch_median_ms": statistics.median(load.latencies) * 1000,
        "late_batch_worst_ms": max(load.latencies) * 1000,
    }


@contextmanager
def _client(port: int) -> Iterator[http.client.HTTPConnection]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        yield client
    finally:
        client.close()


def _get(client: http.client.HTTPConnection, path: str) -> bytes:
    client.request("GET", path)
    answer = client.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{path} answered {answer.status}: {body[:500]!r}")
    return body


def _path(route: str, since: int, until: int, bucket: str = "") -> str:
    path = f"{route}?from={_iso(since)}&to={_iso(until)}"
    return f"{path}&bucket={bucket}" if bucket else path


def _iso(micros: int) -> str:
    return f"{moment(micros):%Y-%m-%dT%H:%M:%S.%fZ}"


def _compare(history: History, client: http.client.HTTPConnection, since: int, until: int) -> None:
    """Hold the served metrics of a window against a recomputation from the events.

    Raises:
        RuntimeError: They differ.
    """
    expected = sums(history.path, since, until)
    for kind in ("worker", "workstation"):
        answer = json.loads(_get(client, _path(f"/metrics/{kind}s", since, until)))
        served = {
            row[f"{kind}_id"]: _served(row) for row in answer[f"{kind}s"] if any(_served(row))
        }
        if served != expected[kind]:
            raise RuntimeError(
                f"/metrics/{kind}s of {_iso(since)} to {_iso(until)} differ in a history of "
                f"{history.events} events: served {served}, expected {expected[kind]}"
            )


def _served(row: dict[str, Any]) -> Sums:
    """Microseconds of the three states, and units, as `sums` gives them."""
    return (
        # A worker is active, a station is worked at.
        round(row["active_seconds" if "active_seconds" in row else "working_seconds"] * 1e6),
        round(row["idle_seconds"] * 1e6),
        round(row["absent_seconds"] * 1e6),
        row["units"],
    )
