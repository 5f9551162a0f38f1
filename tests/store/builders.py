"""Rows for the store's tests, and programs that run in a process of their own."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from andon.store.clock import now
from andon.store.database import Database
from andon.store.ids import uuid7
from andon.store.records import ModelVersion


def add_version(db: Database, model: str = "pcb", **values: Any) -> ModelVersion:
    """One more version of a model, with a content of its own."""
    given = {
        "filename": "model.onnx",
        "file_hash": uuid7().replace("-", "") * 2,
        "file_size": 10,
        "format": "onnx",
        "source": "upload",
    }
    return db.models.add(model, **{**given, **values})


def prediction(version: ModelVersion, **values: Any) -> dict[str, Any]:
    """A row of an answer with one detection."""
    given = {
        "id": uuid7(),
        "model_id": version.id,
        "source": "api",
        "role": "active",
        "status": "success",
        "image_name": "board.jpg",
        "image_hash": "ab" * 32,
        "image_format": "JPEG",
        "image_width": 640,
        "image_height": 480,
        "detections": [{"label": "short", "confidence": 0.9, "bbox": [1, 2, 3, 4]}],
        "confidence_scores": [0.9],
        "raw_scores": [0.9, 0.1],
        "detection_count": 1,
        "threshold": 0.5,
        "inference_time": 0.01,
        "latency_ms": 12.5,
        "created_at": now(),
    }
    return {**given, **values}


def log(db: Database, version: ModelVersion, count: int = 1, **values: Any) -> list[str]:
    """Log answers and wait until they are on disk; their ids, oldest first."""
    rows = [prediction(version, **values) for _ in range(count)]
    for future in [db.writer.write(row) for row in rows]:
        future.result(timeout=20)
    return [row["id"] for row in rows]


def start_program(code: str, *arguments: object) -> "subprocess.Popen[str]":
    """Run Python code in a process of its own, reading what it prints."""
    return subprocess.Popen(
        [sys.executable, "-u", "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # So that the code may use these builders as well.
        cwd=Path(__file__).parents[2],
    )


def run_program(code: str, *arguments: object) -> str:
    """Run Python code in a process of its own to its end; what it printed."""
    program = start_program(code, *arguments)
    output, errors = program.communicate(timeout=60)
    assert program.returncode == 0, errors
    return output
