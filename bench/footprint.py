"""What the core costs: disk, direct dependencies, start-up time, memory."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

from bench.processes import andon

ROOT = Path(__file__).resolve().parent.parent


def measure(home: Path, *, runs: int) -> dict[str, Any]:
    """Install the core alone into an empty environment, as an edge box would, and start it.

    Returns:
        `core_mib` (what the installation added on disk), `direct_dependencies`,
        `distributions`, and the medians of `start_seconds` (from spawning `andon serve` to
        ready) and `idle_rss_mib` (two seconds later).
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "env"
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        before = _mib(environment)
        python = environment / "bin" / "python"
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        lock = ["--constraint", str(ROOT / "requirements.lock")]
        subprocess.run([*pip, "install", "--no-compile", *lock, str(ROOT)], check=True)
        after = _mib(environment)
        listed = subprocess.run(
            [*pip, "freeze", "--all"], capture_output=True, text=True, check=True
        )
        subprocess.run([python, "-m", "compileall", "-q", environment], check=False)
        starts, resident = [], []
        for _ in range(runs):
            with andon(home, python=python) as server:
                time.sleep(2)
                starts.append(server.start_seconds)
                resident.append(server.rss_mib())
    return {
        "core_mib": after - before,
        "direct_dependencies": len(project["dependencies"]),
        "distributions": len(listed.stdout.split()) - 1,
        "start_seconds": statistics.median(starts),
        "idle_rss_mib": statistics.median(resident),
    }


def _mib(folder: Path) -> float:
    total = 0
    for root, _, names in os.walk(folder):
        total += sum((Path(root) / name).lstat().st_blocks * 512 for name in names)
    return total / 2**20
