"""The Drift page in every state it can be in."""

import math
from types import SimpleNamespace

from msgspec.structs import replace
from tests.web.dashboard.scenes import LONG, minutes_ago, shell

from andon.monitoring.drift import report as r
from andon.store.records import DriftReport
from andon.web.dashboard import drift
from andon.web.dashboard import watching_contexts as w

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
MODELS = ("drowsiness", "heart-disease", "pcb")


def record(version: int = 3) -> SimpleNamespace:
    """As much of a version as sentences need."""
    return SimpleNamespace(version=version, model="pcb", id=version)


_BELL = [math.exp(-(((place - 10) / 4) ** 2)) for place in range(20)]


def _shares(values: list[float]) -> list[float]:
    total = sum(values)
    return [value / total for value in values]


def feature(name: str = "brightness", title: str = "Brightness", **given) -> r.FeatureDrift:
    """A number that moved."""
    edges = [round(place / 20, 3) for place in range(19)]
    values = {
        "name": name,
        "title": title,
        "group": "input",
        "kind": "number",
        "distance": 0.42,
        "measure": "Kolmogorov-Smirnov",
        "effect": 1.31,
        "tolerated": 0.1,
        "threshold": 0.25,
        "p_value": 1e-9,
        "adjusted_p": 1e-8,
        "drifted": True,
        "before": 0.481,
        "after": 0.309,
        "count": 100,
        "histogram": r.Histogram(
            edges=edges, reference=_shares(_BELL), window=_shares(_BELL[4:] + [0.02] * 4)
        ),
    }
    return r.FeatureDrift(**{**values, **given})


def calm(name: str, title: str, **given) -> r.FeatureDrift:
    """A number that is as before."""
    values = {
        "distance": 0.08,
        "effect": 0.11,
        "p_value": 0.4,
        "adjusted_p": 1.0,
        "drifted": False,
        "before": 0.2,
        "after": 0.21,
        "histogram": r.Histogram(
            edges=[round(place / 20, 3) for place in range(19)],
            reference=_shares(_BELL),
            window=_shares([value + 0.03 * (place % 3) for place, value in enumerate(_BELL)]),
        ),
    }
    return feature(name, title, **{**values, **given})


def mix(**given) -> r.FeatureDrift:
    """A category that moved."""
    names = ["open", "short", "mousebite", "spur", "copper", "pin-hole"]
    values = {
        "group": "output",
        "kind": "category",
        "measure": "total variation",
        "distance": 0.31,
        "effect": 0.27,
        "before": "open",
        "after": "short",
        "new_categories": ["scratch"],
        "histogram": r.Histogram(
            categories=names,
            reference=[0.34, 0.2, 0.18, 0.14, 0.1, 0.04],
            window=[0.1, 0.44, 0.16, 0.15, 0.09, 0.06],
        ),
    }
    return feature("labels", "Labels found", **{**values, **given})


def found(**given) -> r.Findings:
    """Pictures that became dark."""
    values = {
        "kind": "pictures",
        "model": "pcb",
        "version": 3,
        "verdict": "drift",
        "summary": "Brightness moved by 0.42 of 1 (drift from 0.25, mean 0.481 → 0.309). "
        "Labels found moved by 0.31 of 1 (drift from 0.25, mostly short instead of open).",
        "looked_at": minutes_ago(1),
        "score": 1.7,
        "drifted": ["brightness", "labels"],
        "features": [
            feature(),
            mix(),
            calm("contrast", "Contrast", suspected=True, distance=0.19),
            calm("sharpness", "Sharpness"),
            calm("color_red", "Red", distance=None, histogram=None, effect=None, p_value=None),
            calm(
                "cholesterol_in_milligrams", "Cholesterol", missing_before=0.02, missing_after=0.3
            ),
        ],
        "window": r.Side(source="answers", count=100, since=minutes_ago(47), until=minutes_ago(1)),
        "reference": r.Side(
            source="learned", count=500, since=minutes_ago(2900), until=minutes_ago(2100)
        ),
        "needed": 50,
        "left_out": {"dark": 3},
        "variance": r.Variance(value=0.064, threshold=0.15, count=812),
    }
    return r.Findings(**{**values, **given})


def stored(number: int = 1, verdict: str = "drift", **given) -> DriftReport:
    """A report in the database."""
    values = {
        "report_id": f"0199-{number:04}",
        "model": "pcb",
        "version": 3,
        "verdict": verdict,
        "drift_score": None if verdict == "unknown" else 1.7 if verdict == "drift" else 0.42,
        "drifted_features": ["brightness", "labels"] if verdict == "drift" else [],
        "report": {},
        "report_path": None,
        "created_at": minutes_ago(60 * number),
    }
    return DriftReport(**{**values, **given})


def camera(name: str = "line-1-top", **given) -> w.CameraLine:
    """A camera whose pictures are fine."""
    values = {
        "name": name,
        "tone": "good",
        "word": "Fine",
        "pictures": 50,
        "sick": 0.0,
        "problems": "",
        "last": minutes_ago(0.4),
        "href": "/inspect?id=0193",
        "picture": "/static/favicon.svg",
    }
    return w.CameraLine(**{**values, **given})


def reference(**given) -> w.ReferenceState:
    """One that was pinned."""
    values = {
        "pinned": True,
        "words": "A window of answers that was pinned by mia.",
        "facts": (("Answers", "500"), ("From", "19 Nov, 08:00 UTC"), ("To", "19 Nov, 20:00 UTC")),
        "set_at": minutes_ago(900),
        "start": "2026-11-20T08:00",
        "end": "2026-11-21T08:00",
    }
    return w.ReferenceState(**{**values, **given})


def drifting(told: r.Findings | None = None, **given) -> w.DriftPage:
    """The newest report, whatever it says."""
    told = told or found()
    values = {
        "shell": shell("drift", models=MODELS, title="Drift"),
        "version": 3,
        "rows": False,
        "verdict": drift.verdict(record(), told, minutes_ago(75)),
        "compared": drift.compared(told),
        "report": drift.report_line(stored()),
        "figures": tuple(drift.figures(told)),
        "features": tuple(drift.feature_line(one) for one in told.features),
        "cameras": (
            camera(
                "line-2-bottom",
                tone="stop",
                word="Sick",
                sick=0.62,
                problems="29 too dark, 2 blurred",
            ),
            camera("line-1-side", tone="none", word="Too few", pictures=4),
            camera(),
            camera("No camera named", picture=""),
        ),
        "reference": reference(),
        "reports": (
            drift.report_line(stored(1)),
            drift.report_line(stored(2)),
            *(drift.report_line(stored(number, "none")) for number in range(3, 9)),
            drift.report_line(stored(9, "unknown")),
        ),
        "older": "model=pcb&before=0199",
        "newer": "",
        "drawable": True,
    }
    return w.DriftPage(**{**values, **given})


def too_few() -> w.DriftPage:
    """Not enough data: a verdict of its own."""
    told = found(
        verdict="unknown",
        summary="pcb v3 has 12 answers since 10:02 UTC; it takes 50 to say.",
        score=None,
        drifted=[],
        features=[],
        window=r.Side(source="answers", count=12),
        reference=None,
        left_out={},
        variance=None,
    )
    return drifting(
        told,
        cameras=(),
        reference=reference(pinned=False, words="There is none yet.", facts=(), set_at=None),
        reports=(drift.report_line(stored(1, "unknown")),),
        older="",
    )


def never_looked() -> w.DriftPage:
    """A version that has just begun."""
    return drifting(
        verdict=drift.verdict(record(), None, None),
        compared=(),
        report=None,
        figures=(),
        features=(),
        cameras=(),
        reference=reference(pinned=False, facts=(), set_at=None),
        reports=(),
        older="",
        newer="/drift?model=pcb",
    )


def undrifted() -> w.DriftPage:
    """No version at all."""
    return drifting(
        version=None,
        verdict=w.Verdict(tone="none", text="No version serves yet"),
        compared=(),
        report=None,
        figures=(),
        features=(),
        cameras=(),
        reference=None,
        reports=(),
        older="",
    )


SCENES = {
    "drift, drift": drifting(),
    "drift, none": drifting(
        replace(found(), verdict="none", drifted=[], features=[calm("contrast", "Contrast")]),
        newer="/drift?model=pcb",
        rows=True,
        drawable=False,
    ),
    "drift, too few": too_few(),
    "drift, never looked": never_looked(),
    "drift, no model": undrifted(),
    "drift, hostile words": drifting(
        found(features=[feature(title=HOSTILE), mix(new_categories=[HOSTILE])]),
        cameras=(camera(HOSTILE), camera(LONG)),
        reference=reference(words=HOSTILE),
    ),
}
