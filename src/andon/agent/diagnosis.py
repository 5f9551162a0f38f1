"""From signals to findings: which of the five troubles a model has, with the evidence.

Several signals of one trouble are one finding. A sick camera is never the model's fault: while
one is, what pictures look like and how sure the model is of them is put down to the camera.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from andon.monitoring.signals import Issue, Signal, State

CAMERA = "camera"
"""Name of the signals about cameras."""

# What a sick camera makes look bad by itself; an error or a slow answer it does not.
_OF_PICTURES = frozenset({Issue.DATA_DRIFT, Issue.ANOMALY, Issue.LOW_CONFIDENCE})
_RANK = {"info": 0, "warning": 1, "critical": 2}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One trouble.

    Attributes:
        issue: Which of the five.
        model: Registered model; empty for feeds of events.
        version: The version it was seen on.
        severity: The worst of its signals: "info", "warning" or "critical".
        signals: What is bad, the worst first; with those a sick camera explains.
        summary: A sentence or a few.
        since: Begin of the data it rests on, or None.
        subject: A camera or a feed, where it is about one.
        camera: Whether a sick camera is the cause: nothing is done to the model.
    """

    issue: Issue
    model: str
    version: int | None
    severity: str
    signals: tuple[Signal, ...]
    summary: str
    since: datetime | None = None
    subject: str = ""
    camera: bool = False

    @property
    def group_key(self) -> str:
        """Of the alert about it."""
        if self.camera:
            return f"{self.model}:camera:{self.subject}"
        if not self.model:
            return f"feed:{self.subject}"
        return f"{self.model}:{self.issue}"

    def names(self) -> set[str]:
        """Names of its signals."""
        return {signal.name for signal in self.signals}

    def evidence(self) -> dict[str, Any]:
        """For the record: the finding and its signals as plain values."""
        return {
            "signals": [msgspec.to_builtins(signal) for signal in self.signals],
            "finding": {
                "issue": str(self.issue),
                "severity": self.severity,
                "summary": self.summary,
                "since": None if self.since is None else self.since.isoformat(),
                "subject": self.subject,
                "camera": self.camera,
            },
        }


def diagnose(signals: Iterable[Signal]) -> list[Finding]:
    """The findings in what the detectors say, the gravest first.

    Signals that are well or unknown make none.
    """
    bad = [signal for signal in signals if signal.state is State.BAD]
    sick = {signal.model for signal in bad if signal.name == CAMERA}
    groups: dict[tuple[str, int | None, str, str], list[Signal]] = {}
    explained: dict[str, list[Signal]] = {}
    for signal in bad:
        if signal.name == CAMERA:
            key = (signal.model, signal.version, CAMERA, signal.subject)
        elif signal.model in sick and signal.issue in _OF_PICTURES:
            explained.setdefault(signal.model, []).append(signal)
            continue
        else:
            part = signal.subject if not signal.model else ""
            key = (signal.model, signal.version, str(signal.issue), part)
        groups.setdefault(key, []).append(signal)
    findings = [
        _finding(found, explained.get(model, ()) if kind == CAMERA else (), camera=kind == CAMERA)
        for (model, _, kind, _), found in groups.items()
    ]
    return sorted(
        findings, key=lambda one: (-_RANK.get(one.severity, 1), one.model, one.issue, one.subject)
    )


def _finding(found: Sequence[Signal], explained: Sequence[Signal], *, camera: bool) -> Finding:
    ordered = sorted(found, key=lambda one: (-_RANK.get(one.severity, 1), one.name))
    first = ordered[0]
    sentences = [one.summary for one in ordered]
    if explained:
        names = ", ".join(sorted({one.name for one in explained}))
        sentences.append(f"What else is off ({names}) is put down to the camera.")
    begins = [one.since for one in ordered if one.since is not None]
    return Finding(
        issue=Issue.DATA_QUALITY if camera else first.issue,
        model=first.model,
        version=first.version,
        severity=first.severity,
        signals=(*ordered, *explained),
        summary=" ".join(sentences),
        since=min(begins, default=None),
        subject=first.subject if camera or not first.model else "",
        camera=camera,
    )
