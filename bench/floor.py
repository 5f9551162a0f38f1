"""The floor measured: taking events in, metrics over long histories, a long upload.

SQLite always; the ingest on PostgreSQL too where a server answers.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.table import Table
from sqlalchemy import URL, create_engine, make_url, text

from bench import history, ingest, streaming

SIZES = (100_000, 1_000_000, 10_000_000)
_LOCAL = "postgresql+psycopg://root@/test?host=/var/run/postgresql"
_ROOT = Path(__file__).resolve().parent.parent

_Row = tuple[str, str, str]


def measure(*, rounds: int, sizes: list[int], stream_events: int, windows: int) -> dict[str, Any]:
    """Everything, each part in a fresh home on a real disk that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="andon-bench-floor-", dir=disk()) as name:
        folder = Path(name)
        results: dict[str, Any] = {"sync_ms": _sync_ms(folder / "sync")}
        home = _home(folder, "ingest")
        results["sqlite"] = ingest.measure(home, home / "bare.db", rounds=rounds)
        with _postgres() as urls:
            if urls is not None:
                served, beside = urls
                results["postgresql"] = ingest.measure(
                    _home(folder, "postgres"),
                    beside,
                    # No aim hangs on it.
                    rounds=-(-rounds // 3),
                    database_url=served,
                )
        if stream_events:
            results["stream"] = streaming.measure(_home(folder, "stream"), events=stream_events)
        if sizes:
            results["history"] = history.measure(folder, sizes=sorted(sizes), windows=windows)
        return results


def _home(folder: Path, name: str) -> Path:
    home = folder / name
    home.mkdir()
    return home


def disk() -> Path:
    """A folder on a disk: the one for temporary files, unless that is memory."""
    folder = Path(tempfile.gettempdir())
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    around = [(point, kind) for point, kind in mounts if folder.is_relative_to(point)]
    _, kind = max(around, key=lambda mount: len(mount[0]))
    return _ROOT if kind in {"tmpfs", "ramfs"} else folder


def _sync_ms(path: Path) -> float:
    """What the disk takes to make 4 KiB durable: no commit can be quicker."""
    took: list[float] = []
    with path.open("wb", buffering=0) as file:
        for _ in range(100):
            file.write(bytes(4096))
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - begun)
    return statistics.median(took) * 1000


@contextmanager
def _postgres() -> Iterator[tuple[str, str] | None]:
    """URLs of two databases of our own for the block, or None where no server answers."""
    where = os.environ.get("ANDON_TEST_POSTGRES_URL", _LOCAL)
    url = make_url(where).set(drivername="postgresql+psycopg")
    names = [f"andon_bench_{uuid4().hex[:12]}" for _ in range(2)]
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            for name in names:
                connection.execute(text(f"CREATE DATABASE {name}"))
    except Exception as error:  # no driver, no server, no right: all the same here
        engine.dispose()
        print(f"No PostgreSQL at {url}: {str(error).splitlines()[0]}")
        yield None
        return
    try:
        served, beside = (_text(url.set(database=name)) for name in names)
        yield served, beside
    finally:
        with engine.connect() as connection:
            for name in names:
                connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        engine.dispose()


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def rows(results: dict[str, Any]) -> list[_Row]:
    """The figures for the table: measure, figure, aim."""
    found: list[_Row] = [("the disk makes 4 KiB durable", f"{results['sync_ms']:.2f} ms", "")]
    found += _ingest_rows(results["sqlite"], "", aims=True)
    if "postgresql" in results:
        found += _ingest_rows(results["postgresql"], "PostgreSQL: ", aims=False)
    if "stream" in results:
        found += _stream_rows(results["stream"])
    if "history" in results:
        found += _history_rows(results["history"])
    return found


def _ingest_rows(run: dict[str, Any], name: str, *, aims: bool) -> list[_Row]:
    batch, sustained, singles = run["batch_50"], run["sustained"], run["singles"]

    def aim(text_of_it: str) -> str:
        return text_of_it if aims else ""

    return [
        (f"{name}batch of 50 events, median", f"{batch['median_ms']:.2f} ms", aim("<= 8 ms")),
        (f"{name}batch of 50 events, 95 of 100", f"{batch['p95_ms']:.2f} ms", ""),
        (f"{name}bare transaction of those 50 rows", f"{batch['bare_median_ms']:.2f} ms", ""),
        (
            f"{name}batches of 500, clients: {sustained['clients']}",
            f"{sustained['rows_per_second']:,.0f} /s",
            "",
        ),
        (
            f"{name}bare executemany of those rows",
            f"{sustained['bare_rows_per_second']:,.0f} /s",
            "",
        ),
        (f"{name}ratio to bare executemany", f"{sustained['ratio']:.2f}", aim(">= 0.40")),
        (
            f"{name}single events, 32 clients",
            f"{singles['per_second']:,.0f} /s",
            aim(">= 1,500 /s"),
        ),
        (
            f"{name}single events, median and 99 of 100",
            f"{singles['p50_ms']:.1f}, {singles['p99_ms']:.1f} ms",
            "",
        ),
    ]


def _stream_rows(run: dict[str, Any]) -> list[_Row]:
    before, peak, after = (run[f"rss_{when}_mib"] for when in ("before", "peak", "after"))
    return [
        (
            f"NDJSON of {run['events']:,} events ({run['mib']:.0f} MiB)",
            f"{run['events_per_second']:,.0f} /s",
            "",
        ),
        ("its memory before, peak, after", f"{before:.0f}, {peak:.0f}, {after:.0f} MiB", ""),
        ("its growth of memory", f"{run['growth_mib']:.0f} MiB", "<= 64 MB"),
    ]


def _history_rows(run: dict[str, Any]) -> list[_Row]:
    sizes = sorted(run, key=int)
    smallest, greatest = run[sizes[0]], run[sizes[-1]]
    name = f"{int(sizes[-1]):,} events"
    growth = max(
        figures["median_ms"] / smallest["routes"][route]["median_ms"]
        for route, figures in greatest["routes"].items()
    )
    return [
        (
            f"30 days in {name}, slowest route, median",
            f"{greatest['slowest_median_ms']:.1f} ms",
            "<= 100 ms",
        ),
        (f"30 days in {name}, slowest answer", f"{greatest['worst_ms']:.1f} ms", "<= 100 ms"),
        (f"slowest growth since {int(sizes[0]):,} events", f"{growth:.2f} times", "<= 2"),
        (
            f"50 late events into {name}, median",
            f"{greatest['late_batch_median_ms']:.1f} ms",
            "",
        ),
    ]


def _short(route: str) -> str:
    """A route as the first column has room for it: "workers by hour"."""
    return route.removeprefix("/metrics/").replace("?bucket=", " by ")


def curve(run: dict[str, Any]) -> Table:
    """Milliseconds by route and length of the history: median, and worst."""
    sizes = sorted(run, key=int)
    table = Table(
        "30 days of /metrics/", *(f"{int(size):,}" for size in sizes), title="Metrics by history"
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for route in run[sizes[0]]["routes"]:
        figures = [run[size]["routes"][route] for size in sizes]
        table.add_row(
            _short(route),
            *(f"{one['median_ms']:.1f} ({one['worst_ms']:.1f}) ms" for one in figures),
        )
    for label, key, unit in (
        ("50 late events", "late_batch_median_ms", "ms"),
        ("file", "file_mib", "MiB"),
        ("rows of totals", "totals", ""),
        ("inserted in", "insert_seconds", "s"),
        ("totals made in", "rebuild_seconds", "s"),
    ):
        table.add_row(label, *(f"{run[size][key]:,.1f} {unit}".rstrip() for size in sizes))
    return table
