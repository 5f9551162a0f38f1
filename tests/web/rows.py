"""A server with heart models, and answers to rows in its log."""

from typing import Any

import httpx
from tests.store.builders import prediction
from tests.support import tabular_models
from tests.web.conftest import Site

MODEL = "heart"
ROW = tabular_models.ROW


def upload_heart(site: Site, variant: float = 0.0, *, activate: bool = True) -> httpx.Response:
    """Deploy a heart model over HTTP; another variant is another version."""
    path = tabular_models.heart(site.models / f"heart{variant}.onnx", variant=variant)
    files = {"model": (path.name, path.read_bytes())}
    fields = {"model_name": MODEL, "activate": str(activate).lower()}
    return site.client.post("/api/models/upload", files=files, data=fields)


def log_rows(site: Site, probabilities: list[float], version: int = 1, **values: Any) -> list[str]:
    """Log an answer to a row for each probability of disease; their ids."""
    db = site.platform.db
    found = db.models.get(MODEL, version)
    rows = [
        prediction(
            found,
            features=ROW,
            prediction=str(int(p >= tabular_models.HEART.threshold)),
            probability=p,
            raw_scores=[round(1 - p, 6), p],
            detections=None,
            detection_count=0,
            **values,
        )
        for p in probabilities
    ]
    for future in [db.writer.write(row) for row in rows]:
        future.result(timeout=20)
    return [row["id"] for row in rows]
