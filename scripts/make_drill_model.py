"""Makes `src/andon/starter/drill.onnx` anew: the model of rows that `andon drill` feeds.

Run it as `.venv/bin/python -m scripts.make_drill_model` with the extra `train` installed. The rows
are made up: boards that leave a reflow oven, good or not, by what the oven measured.
"""

import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import andon
from andon.drill.rows import COLUMNS, TARGET, made_up

TARGET_FILE = Path(andon.__file__).parent / "starter" / "drill.onnx"
ROWS = 1_500


def main() -> None:
    """Train and put the file in its place."""
    with tempfile.TemporaryDirectory(prefix="andon-drill-") as folder:
        home = Path(folder)
        table = home / "oven.csv"
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*COLUMNS, TARGET])
            for row, bad in made_up(ROWS, seed=1):
                writer.writerow([row[name] for name in COLUMNS] + [int(bad)])
        subprocess.run(
            [  # as a person would
                *(sys.executable, "-m", "andon", "train", str(table), "--target", TARGET),
                *("--model", "drill", "--seed", "1", "--home", str(home)),
            ],
            check=True,
            env=os.environ | {"ANDON_MLFLOW_TRACKING_URI": "off"},
        )
        (made,) = (home / "models").rglob("model_v1.onnx")
        TARGET_FILE.write_bytes(made.read_bytes())
    print(f"{TARGET_FILE}: {TARGET_FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
