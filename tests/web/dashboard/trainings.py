"""Models of rows and trainings in a real server, without training anything."""

import sys
from pathlib import Path
from typing import Any

import msgspec
from tests.support.tabular_models import HEART, ROW, heart
from tests.web.conftest import Site
from tests.web.dashboard.reports import plain, report

from andon.runtimes.rows import CARD_KEY, REFERENCE_KEY, SCHEMA_KEY
from andon.store.training_runs import TrainingRun
from andon.training import messages
from andon.training.messages import TrainReport

MODEL = "heart-disease"

_CHILD = """
import json, pathlib, sys, time
run, kit = pathlib.Path(sys.argv[1]), pathlib.Path({kit!r})
def tell(**line):
    print(json.dumps(line), flush=True)
tell(event="stage", stage="Reading the data", progress=0.05)
print("Scores of the first fold", file=sys.stderr, flush=True)
tell(event="stage", stage="Cross-validating XGBoost", progress=0.42)
while not (kit / "go").exists():
    time.sleep(0.05)
for name in ("model.onnx", "report.json"):
    (run / name).write_bytes((kit / name).read_bytes())
"""
"""Stands in for a training: says where it is, waits for a file, then leaves what was made."""


def card(**given: Any) -> str:
    """What a file says of how it was measured."""
    told = plain(report(**given))
    return msgspec.json.encode(told).decode()


def model_file(folder: Path, variant: float = 0.0, **given: Any) -> bytes:
    """A tiny heart-disease model with a full card; another variant is another content."""
    metadata = {
        "andon.name": "Heart disease",
        SCHEMA_KEY: msgspec.json.encode(HEART).decode(),
        CARD_KEY: card(**given),
        REFERENCE_KEY: "{}",
    }
    path = heart(folder / f"heart-{variant}.onnx", variant=variant, metadata=metadata)
    return path.read_bytes()


def deploy(site: Site, variant: float = 0.0, **fields: Any) -> None:
    """Upload a variant; it serves unless told otherwise."""
    data = model_file(site.models, variant)
    answer = site.client.post(
        "/api/models/upload",
        files={"model": ("heart-disease.onnx", data)},
        data={"model_name": MODEL, **fields},
    )
    assert answer.status_code == 200, answer.text


def ask(site: Site, **changed: Any) -> dict[str, Any]:
    """The answer to a row."""
    body = {"model": MODEL, "features": {**ROW, **changed}}
    answer = site.client.post("/predict", json=body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def finished(site: Site, told: TrainReport | None = None, **given: Any) -> TrainingRun:
    """A training in the database that has ended with version 1 of the model."""
    db = site.platform.db
    run = db.training.create(
        model=MODEL, recipe=MODEL, options={}, source="api", worker="w", **given
    )
    version = db.models.get(MODEL, 1)
    db.training.finish(
        run.id, "w", report=plain(told or report()), version_id=version.id, stage="Registered v1."
    )
    return db.training.get(run.id)


def stand_in(site: Site, variant: float = 9.0) -> Path:
    """Let the server's trainings be done by the stand-in; a file `go` here lets one end."""
    kit = site.home.parent / "kit"
    kit.mkdir()
    data = model_file(site.models, variant)
    (kit / messages.MODEL).write_bytes(data)
    told = report(onnx_bytes=len(data), comparison=None)
    (kit / messages.REPORT).write_bytes(msgspec.json.encode(told))
    script = kit / "child.py"
    script.write_text(_CHILD.format(kit=str(kit)))
    site.platform.trainings.command = (sys.executable, str(script))
    return kit
