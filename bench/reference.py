"""The floor's sums computed plainly from the events, to hold served metrics against.

Written from the definitions, without the product's code: a state lasts until the worker's
next one, at most the longest gap, and its time belongs to the station of its event.
"""

import sqlite3
from collections import defaultdict
from pathlib import Path

from bench import plant

# Microseconds working, idle and absent, and units.
Sums = tuple[int, int, int, int]

_KINDS = ("working", "idle", "absent", "product_count")
# Of several states at one instant the last in this order stands.
_RANK = {"absent": 0, "idle": 1, "working": 2}
_SELECT = """
    SELECT timestamp, event_type, workstation_id, site_id, event_id, worker_id, count
    FROM factory_events
    WHERE timestamp >= ? AND timestamp < ? AND retracted IS NULL
"""


def sums(path: Path, since: int, until: int) -> dict[str, dict[str, Sums]]:
    """What lies in [since, until), microseconds since 1970, by worker and by workstation.

    Those without anything are left out.
    """
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        found = connection.execute(_SELECT, (since - plant.MAX_GAP, until)).fetchall()
    finally:
        connection.close()
    totals: dict[str, dict[str, list[int]]] = {
        "worker": defaultdict(lambda: [0] * 4),
        "workstation": defaultdict(lambda: [0] * 4),
    }

    def add(worker: str, station: str, kind: str, amount: int) -> None:
        if amount > 0:
            totals["worker"][worker][_KINDS.index(kind)] += amount
            totals["workstation"][station][_KINDS.index(kind)] += amount

    states = defaultdict(list)
    for time, kind, station, site, event_id, worker, count in found:
        if kind != "product_count":
            states[worker].append((time, _RANK[kind], station, site, event_id, kind))
        elif time >= since:
            add(worker, station, kind, count)
    for worker, opened in states.items():
        opened.sort()
        ends = [state[0] for state in opened[1:]] + [until]
        for (start, _, station, _, _, kind), following in zip(opened, ends, strict=True):
            end = min(following, start + plant.MAX_GAP, until)
            add(worker, station, kind, end - max(start, since))
    return {
        by: {name: (row[0], row[1], row[2], row[3]) for name, row in rows.items()}
        for by, rows in totals.items()
    }
