"""Statistics of the training rows, kept in the model file to recognise drift later."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from andon.runtimes.rows import Feature, RowSchema
from andon.training.tabular import scoring
from andon.training.tabular.schema import text

Array = NDArray[np.float64]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 10
_DIGITS = 6


def describe(schema: RowSchema, x: Array, p: Array) -> dict[str, Any]:
    """What `andon.reference` holds, described in docs/model-card.md.

    Args:
        schema: Of the rows.
        x: Rows [n, features] that the model learned from.
        p: Its probabilities [n, classes] for rows like them that it has not learned from.
    """
    answered = scoring.answers(p, schema.positive, schema.threshold)
    said = p.max(axis=1) if schema.positive is None else p[:, schema.positive]
    counts, edges = np.histogram(said, bins=np.linspace(0, 1, 11))
    return {
        "rows": len(x),
        "features": {
            feature.name: _feature(feature, x[:, column])
            for column, feature in enumerate(schema.features)
        },
        "prediction": {
            "edges": [round(float(edge), 1) for edge in edges],
            "counts": [int(count) for count in counts],
            "classes": {
                text(value): int((answered == index).sum())
                for index, value in enumerate(schema.classes)
            },
        },
    }


def _feature(feature: Feature, column: Array) -> dict[str, Any]:
    known = column[~np.isnan(column)]
    begin = {"kind": feature.kind, "missing": int(len(column) - len(known))}
    if feature.kind == "category":
        return begin | {
            "counts": {
                text(value): int((known == code).sum())
                for code, value in enumerate(feature.categories)
            }
        }
    if not known.size:
        return begin
    # Bins with about as many rows each: a shift shows wherever it happens.
    edges = np.unique([_short(q) for q in np.quantile(known, np.linspace(0, 1, BINS + 1))])
    if len(edges) == 1:
        edges = np.repeat(edges, 2)
    counts, _ = np.histogram(np.clip(known, edges[0], edges[-1]), bins=edges)
    return begin | {
        "mean": _short(known.mean()),
        "std": _short(known.std()),
        "min": _short(known.min()),
        "max": _short(known.max()),
        "quantiles": {str(q): _short(np.quantile(known, q)) for q in QUANTILES},
        "edges": edges.tolist(),
        "counts": counts.tolist(),
    }


def _short(value: Any) -> float:
    return float(f"{float(value):.{_DIGITS}g}")
