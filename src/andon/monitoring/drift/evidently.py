"""A full Evidently page of a stored drift report, for whoever installed the extra `report`.

Evidently, with pandas, SciPy and Plotly, takes half a gigabyte and seconds to import: it runs in a
process of its own (`python -m andon.monitoring.drift.evidently`), which gets two tables as JSON and
leaves one page. A reference is kept as statistics, not as rows, so its table is drawn from these,
feature by feature; Evidently's drift tests look at one feature at a time as well.
"""

import importlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from andon import typed
from andon.errors import ConfigurationError, Unavailable
from andon.monitoring.drift.report import FeatureDrift, findings
from andon.store.drift_reports import DriftReports
from andon.store.records import DriftReport

SECONDS = 300.0
"""Longest time that a page may take."""

_ROWS = 1_000
_SEED = 20_26
_LAST_WORDS = 300


class Tables(msgspec.Struct):
    """What the other process gets.

    Attributes:
        reference: Values by feature.
        current: The same, of the window.
        categories: Names of the features that are categories.
    """

    reference: dict[str, list[Any]]
    current: dict[str, list[Any]]
    categories: list[str]


def evidently_report(
    reports: DriftReports,
    report_id: str,
    folder: Path,
    *,
    python: str = sys.executable,
    seconds: float = SECONDS,
) -> DriftReport:
    """Make the page, and note its name with the report.

    Args:
        reports: Where the report is kept.
        report_id: Which.
        folder: Where the page goes; made where it is not there.
        python: That the extra is installed for.
        seconds: Longest time it may take.

    Raises:
        NotFound: There is no such report.
        ConfigurationError: Evidently is not installed.
        Unavailable: There is nothing to compare in the report, or Evidently failed.
    """
    stored = reports.get(report_id)
    made = tables(findings(stored.report).features)
    if not made.current:
        raise Unavailable(
            f"Drift report {report_id} compared nothing, so there is nothing to make a page of.",
            hint="Look anew when there are enough answers: andon drift run.",
        )
    if python == sys.executable and importlib.util.find_spec("evidently") is None:
        raise _not_installed()
    folder.mkdir(parents=True, exist_ok=True)
    name = f"drift-{stored.report_id}.html"
    with tempfile.TemporaryDirectory(prefix="andon-drift-") as scratch:
        given, page = Path(scratch, "tables.json"), Path(scratch, "page.html")
        given.write_bytes(msgspec.json.encode(made))
        _run([python, "-m", __spec__.name, str(given), str(page)], seconds)
        # Written beside its place and moved, so that nobody reads half a page.
        begun = folder / f".{name}.new"
        begun.write_bytes(page.read_bytes())
        begun.replace(folder / name)
    reports.set_path(stored.report_id, name)
    return reports.get(stored.report_id)


def tables(features: list[FeatureDrift]) -> Tables:
    """Rows as the two distributions of every feature say, drawn with a fixed seed."""
    random = np.random.default_rng(_SEED)
    made = Tables({}, {}, [])
    for feature in features:
        histogram = feature.histogram
        if histogram is None:
            continue
        places = _places(histogram.reference), _places(histogram.window)
        if not all(map(len, places)):
            continue
        if histogram.categories is not None:
            names = histogram.categories
            before, now = ([names[place] for place in side] for side in places)
            made.categories.append(feature.title)
        else:
            edges = np.array(histogram.edges, dtype=np.float64)
            # What lies beyond an end is drawn as far out as the bin beside it is wide.
            outer = np.concatenate([[2 * edges[0] - edges[1]], edges, [2 * edges[-1] - edges[-2]]])
            before, now = (
                (outer[side] + random.random(len(side)) * np.diff(outer)[side]).tolist()
                for side in places
            )
        made.reference[feature.title], made.current[feature.title] = before, now
    return made


def _places(shares: list[float]) -> Any:
    """Which bin each row is of: as many rows as its share says, in an order that mixes them."""
    counts = np.floor(np.array(shares) * _ROWS + 0.5).astype(int)
    found = np.repeat(np.arange(len(counts)), counts)
    if not len(found):
        return found
    found = np.resize(found, _ROWS)
    np.random.default_rng(_SEED).shuffle(found)
    return found


def _run(command: list[str], seconds: float) -> None:
    # Evidently reports its use to its makers unless it is told not to.
    environment = os.environ | {"DO_NOT_TRACK": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, check=False, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(
            f"Evidently made no page within {seconds:g} s and was stopped.",
            hint="Try again when the machine is less busy.",
        ) from error
    if done.returncode == _MISSING:
        raise _not_installed()
    if done.returncode != 0:
        words = done.stderr.strip().splitlines()
        last = words[-1][:_LAST_WORDS] if words else f"exit code {done.returncode}"
        raise Unavailable(
            f"Evidently could not make a page: {last}.",
            hint="The report itself is complete: andon drift show --html FILE.",
        )


def _not_installed() -> ConfigurationError:
    return ConfigurationError(
        "The full report needs Evidently, which is not installed.",
        hint="Run `pip install 'andon[report]'`; `andon drift show --html FILE` needs nothing.",
    )


_MISSING = 3


def main(given: str, page: str) -> int:
    """The other process: tables to a page; 3 where Evidently is not installed."""
    try:
        # Half a gigabyte, in this process alone, and no type checker needs to have it.
        pandas: Any = importlib.import_module("pandas")
        core: Any = importlib.import_module("evidently")
        presets: Any = importlib.import_module("evidently.presets")
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the parent reads it
        return _MISSING
    made = typed.decode(Path(given).read_bytes(), Tables)
    numbers = [name for name in made.current if name not in made.categories]
    definition = core.DataDefinition(
        numerical_columns=numbers, categorical_columns=made.categories or None
    )
    reference, current = (
        core.Dataset.from_pandas(pandas.DataFrame(side), data_definition=definition)
        for side in (made.reference, made.current)
    )
    core.Report([presets.DataDriftPreset()]).run(current, reference).save_html(page)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
