"""Page contexts of Performance, Drift and Trends, in every state a page can be in."""

import math
from datetime import timedelta
from types import SimpleNamespace

from msgspec.structs import replace
from tests.web.dashboard import scenes_drift
from tests.web.dashboard.scenes import NOW, minutes_ago, shell
from tests.web.dashboard.scenes_drift import MODELS, record

from andon.monitoring.labels import Figure as Measured
from andon.monitoring.performance import Accuracy, Confidence, Latency, PerformanceWindow
from andon.monitoring.signals import Issue, Signal, State
from andon.store.records import Rollout
from andon.trend_charts import Day, Mark
from andon.web.dashboard import contexts as c
from andon.web.dashboard import performance, trends, watching_reading
from andon.web.dashboard import watching_contexts as w


def frame(**given) -> c.Shell:
    """A frame under Watch."""
    return shell("performance", **{"models": MODELS, **given})


# -- Performance ------------------------------------------------------------------------


def signal(name: str = "latency", **given) -> Signal:
    """A signal that says all is well."""
    values = {
        "name": name,
        "issue": Issue.PERFORMANCE,
        "state": State.OK,
        "summary": "The median latency of pcb v3 over 100 answers is 8.2 ms, 1 times its usual "
        "8.1 ms (limit 2 times).",
        "model": "pcb",
        "version": 3,
        "value": 8.2,
        "threshold": 16.2,
        "baseline": 8.1,
        "count": 100,
        "needed": 30,
        "since": minutes_ago(47),
        "until": minutes_ago(1),
    }
    return Signal(**{**values, **given})


def signals() -> list[Signal]:
    """A quiet day."""
    return [
        signal(
            "error_rate",
            value=0.01,
            threshold=0.05,
            baseline=None,
            summary="1 of the newest 100 answers of pcb v3 failed (at least 0.2%; limit 5.0%).",
        ),
        signal(),
        signal(
            "accuracy",
            state=State.UNKNOWN,
            value=None,
            threshold=0.7,
            baseline=0.912,
            count=12,
            summary="pcb v3 has 12 labelled answers; it takes 30 to measure its accuracy.",
        ),
        signal(
            "estimated_accuracy",
            value=0.87,
            threshold=0.7,
            baseline=None,
            estimated=True,
            summary="Without labels the accuracy of pcb v3 is estimated at 87.0% (82.1% to 91.0%) "
            "from the confidence of 98 answers, calibrated on held-out rows; the limit is 70%.",
        ),
        signal(
            "confidence",
            issue=Issue.LOW_CONFIDENCE,
            value=0.84,
            threshold=0.69,
            baseline=0.86,
            summary="The mean confidence of pcb v3 over 98 answers is 0.84; usual is 0.86 and bad "
            "is under 0.69.",
        ),
        signal(
            "detections",
            issue=Issue.ANOMALY,
            value=4.31,
            threshold=None,
            baseline=4.18,
            summary="pcb v3 finds 4.31 things in a picture, beside 4.18 in its first full window.",
        ),
    ]


def slow() -> list[Signal]:
    """The same day, with a version that became slow, and a drift that is told of."""
    return [
        *[one for one in signals() if one.name != "latency"],
        signal(
            state=State.BAD,
            severity="critical",
            value=21.1,
            summary="The median latency of pcb v3 over 100 answers is 21.1 ms, 2.6 times its usual "
            "8.1 ms (limit 2 times).",
        ),
        signal(
            "drift",
            issue=Issue.DATA_DRIFT,
            state=State.BAD,
            value=1.7,
            threshold=1.0,
            baseline=None,
            report_id="0199-0001",
            summary="Brightness moved by 0.42 of 1 (drift from 0.25, mean 0.48 → 0.31).",
        ),
    ]


def answers(count: int = 400, slow_from: int = 300) -> list[SimpleNamespace]:
    """Answers of the last hours, newest first; those after `slow_from` take long."""
    made = []
    for place in range(count):
        wave = math.sin(place / 17)
        took = 8 + wave + (place * 37 % 11) / 6
        made.append(
            SimpleNamespace(
                created_at=NOW - timedelta(seconds=(count - place) * 20),
                status="error" if place % 67 == 66 else "success",
                latency_ms=took * (2.6 if place >= slow_from else 1),
                confidence_scores=[0.84 + wave / 20, 0.7 + (place * 13 % 7) / 40],
                cached=False,
            )
        )
    return made[::-1]


def measured(**given) -> PerformanceWindow:
    """What was measured of a window."""
    values = {
        "model": "pcb",
        "version": 3,
        "count": 100,
        "errors": 1,
        "refused": 0,
        "error_rate": 0.01,
        "since": minutes_ago(47),
        "until": minutes_ago(1),
        "per_minute": 2.2,
        "latency": Latency(8.2, 11.4, 14.9, 8.5),
        "baseline_ms": 8.1,
        "confidence": Confidence(0.84, 0.61),
        "detections_per_image": 4.31,
        "labels": {"open": 1.2, "short": 0.9, "mousebite": 0.8, "spur": 0.7, "copper": 0.4},
        "predictions": {},
        "accuracy": accuracy(estimated=True),
    }
    return PerformanceWindow(**{**values, **given})


def accuracy(*, estimated: bool = False, **given) -> Accuracy:
    """Measured from 140 labels, or estimated."""
    figure = Measured(0.88, 0.82, 0.92, 140, 30)
    values = {
        "name": "estimated_accuracy" if estimated else "accuracy",
        "value": 0.87,
        "low": 0.821,
        "high": 0.91,
        "labels": 0 if estimated else 140,
        "answers": 98,
        "estimated": estimated,
        "calibrated": True,
        "needed": 30,
    }
    if not estimated:
        values |= {"precision": figure, "recall": figure, "f1": figure}
    return Accuracy(**{**values, **given})


def windows(current: str = "") -> tuple[c.Choice, ...]:
    """Windows to choose from."""
    texts = {"": "Last 100", "1000": "Last 1\u202f000", "1h": "1 h", "24h": "24 h", "7d": "7 days"}
    return tuple(
        c.Choice(text=text, href=f"/performance?window={key}", current=key == current)
        for key, text in texts.items()
    )


def performing(found: list[Signal] | None = None, **given) -> w.PerformancePage:
    """A version that does what it did."""
    told = signals() if found is None else found
    window = measured()
    since = {str(Issue.PERFORMANCE): minutes_ago(96)}
    values = {
        "shell": frame(title="Performance"),
        "version": 3,
        "active": True,
        "versions": (("3", "v3, serves"), ("2", "v2"), ("1", "v1")),
        "verdict": watching_reading.verdict(record(), told, since),
        "signals": watching_reading.signal_lines(told),
        "looked": minutes_ago(0.5),
        "window": "",
        "windows": windows(),
        "words": "the last 100 answers",
        "numbers": performance.numbers(window, of_rows=False),
        "figures": tuple(performance.figures(answers(), window, 2.0)),
        "labels": performance.labels(window, of_rows=False),
        "labels_title": "Detections by label",
        "candidate": None,
        "problem": "",
        "drawable": True,
    }
    return w.PerformancePage(**{**values, **given})


def rollout(**given) -> Rollout:
    """A canary that is being judged."""
    values = {
        "id": "0199-1",
        "model": "pcb",
        "mode": "canary",
        "candidate": 4,
        "candidate_id": 4,
        "baseline": 3,
        "baseline_id": 3,
        "weight": 0.1,
        "status": "running",
        "actor": "mia",
        "reason": "",
        "judgement": {
            "verdict": "not_enough",
            "reasons": ["212 answers of v4 are too few to tell a difference of 0.02."],
            "guardrails": [
                {
                    "name": "errors",
                    "state": "fine",
                    "value_active": 0.011,
                    "value_candidate": 0.009,
                    "summary": "v4 fails no more often than v3.",
                },
                {
                    "name": "latency",
                    "state": "not_enough",
                    "value_active": 0.05,
                    "value_candidate": None,
                    "summary": "Too few answers of v4 to tell.",
                },
            ],
        },
        "outcome": "",
        "created_at": minutes_ago(200),
        "updated_at": minutes_ago(1),
        "ended_at": None,
    }
    return Rollout(**{**values, **given})


def no_version() -> w.PerformancePage:
    """A model that has none."""
    return performing(
        [],
        version=None,
        active=False,
        versions=(),
        verdict=w.Verdict(tone="none", text="No version serves yet"),
        windows=(),
        looked=None,
        numbers=(),
        figures=(),
        labels=(),
    )


# -- Trends -----------------------------------------------------------------------------

START = NOW.replace(hour=0, minute=0, second=0) - timedelta(days=29)
END = START + timedelta(days=30)
MARKS = (
    Mark(START + timedelta(days=4, hours=9), "v2"),
    Mark(START + timedelta(days=17, hours=13), "v3"),
    Mark(START + timedelta(days=18, hours=2), "v4"),
)


def month(slower: float = 1.0) -> dict[str, list[Day]]:
    """Thirty days, two of them without answers; the last weeks `slower` times as slow."""
    made: dict[str, list[Day]] = {name: [] for name in ("accuracy", "latency", "volume")}
    made |= {name: [] for name in ("error_rate", "confidence", "drift")}
    for place in range(30):
        if place in {11, 12}:
            continue
        begin = START + timedelta(days=place)
        version = 1 if place < 5 else 2 if place < 18 else 4
        wave = math.sin(place / 3)
        right = 0.88 + wave / 40
        span = (right - 0.03, right + 0.03, place % 9 > 4, version)
        given = {
            "accuracy": (right, *span),
            "latency": ((8 + wave) * (slower if place > 17 else 1), None, None, False, version),
            "volume": (12 + 4 * wave, None, None, False, version),
            "error_rate": (0.01 + (0.004 if place % 5 else 0.0), None, None, False, version),
            "confidence": (0.84 + wave / 50, None, None, False, version),
            "drift": (0.5 + wave / 2 + (0.4 if place > 24 else 0), None, None, False, version),
        }
        for name, numbers in given.items():
            made[name].append(Day(begin, begin + timedelta(days=1), *numbers))
    return made


def trending(told: dict[str, list[Day]] | None = None, **given) -> w.TrendsPage:
    """A month."""
    told = month() if told is None else told
    values = {
        "shell": frame(title="Trends"),
        "verdict": trends.verdict(told, 30),
        "periods": tuple(
            c.Choice(text=text, href=f"/trends?days={key}", current=key == 30)
            for key, text in trends.PERIODS.items()
        ),
        "words": "the last 30 days",
        "problem": "",
        "marks": tuple((mark.text, mark.when) for mark in reversed(MARKS)),
        "figures": trends.figures(told, MARKS, START, END),
        "columns": tuple(trends._TITLES.values()) if told else (),
        "days": trends.lines(told),
        "drawable": True,
    }
    return w.TrendsPage(**{**values, **given})


SCENES = {
    "performance, fine": performing(),
    "performance, slow": performing(slow()),
    "performance, too few": performing(
        [
            replace(one, state=State.UNKNOWN, value=None, count=12, needed=30)
            for one in signals()[:2]
        ],
        numbers=(),
        figures=(),
        labels=(),
        versions=(("3", "v3, serves"),),
    ),
    "performance, no model": no_version(),
    "performance, a canary": performing(candidate=performance.candidate(rollout())),
    "performance, an old version": performing(
        active=False,
        window="1000",
        windows=windows("1000"),
        problem="There is no window called x. What you see is the last 100 answers.",
        numbers=performance.numbers(measured(accuracy=accuracy()), of_rows=False),
        drawable=False,
        candidate=performance.candidate(rollout(mode="shadow", judgement=None)),
    ),
    **scenes_drift.SCENES,
    "trends, steady": trending(),
    "trends, slower": trending(month(2.2)),
    "trends, nothing": trending(
        {}, marks=(), problem="There is no period of 3 days. What you see is the last 30 days."
    ),
    "trends, undrawn": trending(drawable=False),
}
