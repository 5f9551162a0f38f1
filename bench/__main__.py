"""`python -m bench`: run the measurements, print a table, write JSON."""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import andon
from bench import floor, footprint, peer_race, pictures, row_race, rows, serving

STARTER = Path(andon.__file__).parent / "starter" / "pcb.onnx"
PARTS = ("footprint", "serving", "rows", "floor", "training", "watching")


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--json", type=Path, default=Path("bench-results.json"))
    parser.add_argument("--rounds", type=int, default=12, help="alternating rounds (median)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement")
    parser.add_argument("--clients", type=int, default=8, help="clients at saturation")
    parser.add_argument("--peers", type=Path, help="folder of the peers' environments: race them")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="these parts alone")
    parser.add_argument(
        "--events",
        nargs="*",
        type=int,
        default=floor.SIZES,
        help="lengths of the floor's histories",
    )
    parser.add_argument(
        "--stream-events", type=int, default=1_000_000, help="length of the NDJSON upload; 0: none"
    )
    parser.add_argument("--runs", type=int, default=20, help="runs of each planted change")
    parser.add_argument("--days", type=int, default=30, help="quiet days that are simulated")
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": _machine()}
    alone = {"footprint", "watching"}.intersection(options.only)
    if "serving" in options.only or (not options.peers and alone):
        _measure_serving(options, results)
    if options.peers and "rows" in options.only:
        results["row_peers"] = row_race.race(
            options.peers.absolute(), rounds=options.rounds, seconds=options.seconds
        )
    if not options.peers and "rows" in options.only:
        results["rows"] = rows.measure(rounds=options.rounds, seconds=options.seconds)
    if not options.peers and "floor" in options.only:
        results["floor"] = floor.measure(
            rounds=options.rounds,
            sizes=options.events,
            stream_events=options.stream_events,
            windows=options.rounds,
        )
    if not options.peers and "training" in options.only:
        # The learning libraries are loaded for this part alone.
        from bench import training  # noqa: PLC0415

        results["training"] = training.measure()
    if "watching" in options.only:
        # So are those for this one.
        from bench import watching  # noqa: PLC0415

        results["watching"] = watching.measure(
            runs=options.runs,
            days=options.days,
            peers=options.peers.absolute() if options.peers else None,
        )
    options.json.write_text(json.dumps(results, indent=2) + "\n")
    _print(results)


def _measure_serving(options: argparse.Namespace, results: dict[str, Any]) -> None:
    """Everything that serves the starter, or the race against its peers."""
    with tempfile.TemporaryDirectory(prefix="andon-bench-") as folder:
        home = Path(folder) / "home"
        home.mkdir()
        boards = pictures.write_boards(Path(folder) / "boards", 48)
        _prepare(home)
        if options.peers:
            results["peers"] = peer_race.race(
                STARTER,
                home,
                boards,
                options.peers.absolute(),
                rounds=options.rounds,
                seconds=options.seconds,
                clients=options.clients,
            )
            return
        # Before any load: the home of the others fills with what they upload.
        if "footprint" in options.only:
            results["footprint"] = footprint.measure(home, runs=5)
        if "serving" in options.only:
            results["serving"] = serving.throughput(
                STARTER,
                home,
                boards,
                rounds=options.rounds,
                seconds=options.seconds,
                clients=options.clients,
            )
            results["cache"] = serving.cache(home, boards, seconds=5)
            results["switches"] = serving.switches(home, boards, count=20)
        if "watching" in options.only:
            from bench import watching_cost  # noqa: PLC0415

            results["watched"] = watching_cost.throughput(
                home,
                boards,
                rounds=options.rounds,
                seconds=options.seconds,
                clients=options.clients,
            )


def _prepare(home: Path) -> None:
    """The starter twice (the second as another file), so that there is something to switch."""
    import onnx  # noqa: PLC0415 - a test dependency; only needed to make a second file

    second = home / "second.onnx"
    model = onnx.load(STARTER)
    model.doc_string = "the same network in another file"
    onnx.save(model, second)
    env = {**os.environ, "ANDON_HOME": str(home)}
    for path in (STARTER, second):
        command = [sys.executable, "-m", "andon", "models", "add", str(path)]
        subprocess.run(command, env=env, check=True, capture_output=True)


def _machine() -> dict[str, Any]:
    return {
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "onnxruntime": version("onnxruntime"),
        "andon": andon.__version__,
    }


def _print(results: dict[str, Any]) -> None:
    table = Table("measure", "figure", "aim", title="Andon, measured")
    table.columns[1].justify = "right"
    for measure, figure, aim in _rows(results):
        table.add_row(measure, figure, aim)
    console = Console()
    console.print(table)
    if "history" in results.get("floor", {}):
        console.print(floor.curve(results["floor"]["history"]))


def _rows(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    if "serving" in results:
        run = results["serving"]
        found += [
            ("bare decode + ONNX Runtime loop", f"{run['bare_per_second']:.1f} /s", ""),
            ("POST /api/predict at saturation", f"{run['served_per_second']:.1f} /s", ""),
            ("ratio to the bare loop", f"{run['throughput_ratio']:.3f}", ">= 0.95"),
            ("one client, median", f"{run['one_client_ms']:.2f} ms", ""),
            ("overhead on decode + inference", f"{run['overhead_ms']:.2f} ms", "<= 2 ms"),
            ("memory after the load", f"{run['rss_after_load_mib']:.0f} MiB", ""),
            ("known pictures (cache)", f"{results['cache']['cached_per_second']:.0f} /s", ""),
            (
                f"{results['switches']['switches']} switches: failed of answered",
                f"{results['switches']['failed']} of {results['switches']['answered']}",
                "0",
            ),
        ]
    if "footprint" in results:
        size = results["footprint"]
        found += [
            ("start to ready", f"{size['start_seconds']:.2f} s", "<= 2 s"),
            ("idle memory, RSS", f"{size['idle_rss_mib']:.0f} MiB", "<= 130"),
            ("core installation", f"{size['core_mib']:.0f} MiB", "<= 220"),
            ("direct dependencies", f"{size['direct_dependencies']}", "<= 25"),
        ]
    if "peers" in results:
        peers = results["peers"]
        found += [(name, f"{rate:.1f} /s", "") for name, rate in peers["per_second"].items()]
        found += [
            ("Andon / LitServe at its best", f"{peers['andon_vs_litserve']:.2f}", ">= 1"),
            ("Andon / MLServer at its best", f"{peers['andon_vs_mlserver']:.2f}", ">= 1"),
        ]
    if "rows" in results:
        found += rows.rows(results["rows"])
    if "row_peers" in results:
        found += row_race.table_rows(results["row_peers"])
    if "floor" in results:
        found += floor.rows(results["floor"])
    if "watched" in results:
        found.append(
            ("answers with watching on / off", f"{results['watched']['ratio']:.3f}", ">= 0.97")
        )
    if "watching" in results:
        from bench import watching  # noqa: PLC0415

        found += watching.rows(results["watching"])
    if "training" in results:
        from bench import training  # noqa: PLC0415

        found += training.rows(results["training"])
    return found


if __name__ == "__main__":
    main()
