"""What the core costs: disk, direct dependencies, start-up time, memory."""

import os
import shutil
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


def start_and_memory(home: Path, *, runs: int) -> dict[str, float]:
    """Seconds from spawning `andon serve` to ready, and its memory once idle, medians."""
    starts, resident, proportional = [], [], []
    with andon(home):
        pass  # the first start compiles bytecode
    for _ in range(runs):
        with andon(home) as server:
            time.sleep(2)
            starts.append(server.start_seconds)
            resident.append(server.rss_mib())
            proportional.append(server.memory_mib())
    return {
        "start_seconds": statistics.median(starts),
        "idle_rss_mib": statistics.median(resident),
        "idle_pss_mib": statistics.median(proportional),
    }


def installation() -> dict[str, Any]:
    """MiB that a core installation adds to an empty environment; direct dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "env"
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        before = _mib(environment)
        pip = [environment / "bin" / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--no-compile", str(ROOT)], check=True)
        after = _mib(environment)
        lines = subprocess.run(
            [environment / "bin" / "python", "-m", "pip", "list", "--format=freeze"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    return {
        "core_mib": after - before,
        "direct_dependencies": len(project["dependencies"]),
        "distributions": len(lines) - 1,
    }


def _mib(folder: Path) -> float:
    total = 0
    for root, _, names in os.walk(folder):
        total += sum((Path(root) / name).lstat().st_blocks * 512 for name in names)
    return total / 2**20
