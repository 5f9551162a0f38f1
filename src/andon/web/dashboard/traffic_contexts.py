"""What pages show of versions on trial: parts of the pages of models and versions."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

Tone = Literal["good", "look", "stop", "none"]


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a candidate is judged by."""

    name: Annotated[str, "What is compared, in words."]
    tone: Annotated[Tone, "good: holds; stop: does not; none: cannot be told yet."]
    state: Annotated[str, "The same in a word or two."]
    active: Annotated[str, "Value of the active version."]
    candidate: Annotated[str, "Value of the candidate."]
    interval: Annotated[str, "Where the difference lies."]
    text: Annotated[str, "One sentence."]


class RolloutCard(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate beside the active version."""

    id: Annotated[str, "Rollout id."]
    mode: Annotated[str, "canary, shadow or compare."]
    text: Annotated[str, "What happens, in one sentence."]
    model: Annotated[str, "Registered model."]
    candidate: Annotated[int, "Version on trial."]
    baseline: Annotated[int, "Version it is compared with."]
    weight: Annotated[int, "Share of the subjects that the candidate answers, percent."]
    actor: Annotated[str, "Who began it, as a phrase; may be empty."]
    reason: Annotated[str, "Why; may be empty."]
    since: Annotated[datetime, "When it began."]
    verdict: Annotated[str, "What is known of the candidate, in a few words."]
    tone: Annotated[Tone, "The same as a tone."]
    reasons: Annotated[tuple[str, ...], "Why, as sentences."]
    counts: Annotated[str, "How many answers it rests on."]
    guards: Annotated[tuple[Guard, ...], "What it is judged by."]
    outcome: Annotated[str, "How it ended; empty while it runs."]
    ended: Annotated[datetime | None, "When it ended."]


class ReplayLink(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier replay of a version."""

    href: Annotated[str, "Its page."]
    text: Annotated[str, "What came of it."]
    when: Annotated[datetime, "When it was asked for."]


class TrafficPanel(msgspec.Struct, frozen=True, kw_only=True):
    """Which versions answer, and how to try another."""

    model: Annotated[str, "Registered model."]
    version: Annotated[int, "Version the page is about; 0 for all of them."]
    active: Annotated[int, "Version that serves; 0 without one."]
    running: Annotated[RolloutCard | None, "What runs now, or None."]
    past: Annotated[tuple[RolloutCard, ...], "What ran before, newest first."]
    startable: Annotated[bool, "Whether this version can be tried now."]
    obstacle: Annotated[str, "Why it cannot; empty where it can or the page offers nothing."]
    replays: Annotated[tuple[ReplayLink, ...], "Replays of this version, newest first."]
    replayable: Annotated[bool, "Whether stored inputs can be run through this version."]
    rows: Annotated[bool, "Whether the model answers rows."]
