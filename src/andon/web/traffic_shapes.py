"""What goes over the wire about candidates: traffic, rollouts, judgements, replays.

As in `shapes`: times are UTC, ISO 8601 with `Z`; shares are 0 to 1.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from andon import typed
from andon.monitoring.guardrails import Guardrail
from andon.monitoring.judging import Judgement, judgement_of
from andon.serving.flips import Found, Said
from andon.serving.replay_run import Flipped, ReplayAsk, Replayed, Took
from andon.store.records import Job, Rollout
from andon.web.shapes import ModelName, VersionNumber

Mode = Literal["canary", "shadow", "compare"]
Share = Annotated[float, Meta(ge=0, le=1, description="0 to 1.", examples=[0.1])]
Why = Annotated[str, Meta(max_length=500, description="Shown in the history.")]
NamedModel = Annotated[str, Meta(min_length=1, max_length=64, description="Registered model.")]
RolloutId = Annotated[str, Meta(description="UUIDv7 of the rollout.")]


class SentTraffic(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which version is tried beside the active one, and how."""

    model: NamedModel | None = None
    mode: Mode
    version: VersionNumber
    weight: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="Share of the subjects. Default: 0.1 of a canary, all of the others.",
            ),
        ]
        | None
    ) = None
    reason: Why = ""


class SentWeight(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Another share for the rollout that runs."""

    model: NamedModel | None = None
    weight: Share


class JudgementShown(msgspec.Struct, kw_only=True):
    """What is known about a candidate. Bounds hold at all looks at once."""

    verdict: Annotated[
        Literal["better", "worse", "not_enough"],
        Meta(
            description="better: no worse in errors, latency and accuracy, so it may take over. "
            "not_enough: neither can be said yet."
        ),
    ]
    reasons: Annotated[list[str], Meta(description="Sentences, the most important first.")]
    guardrails: list[Guardrail]
    answers_active: Annotated[int, Meta(description="Since the rollout began, failed ones too.")]
    answers_candidate: int
    labels_active: int
    labels_candidate: int
    since: datetime
    at: Annotated[datetime, Meta(description="When it was looked at.")]
    looks: Annotated[int, Meta(description="How often it was; that changes nothing.")]
    alpha: Annotated[float, Meta(description="Chance that any of this is ever wrong.")]

    @classmethod
    def of(cls, found: Judgement) -> "JudgementShown":
        """A judgement without what it was counted from, for the wire."""
        return cls(**{name: getattr(found, name) for name in cls.__struct_fields__})


class RolloutShown(msgspec.Struct, kw_only=True):
    """A candidate beside the active version, and what came of it."""

    id: RolloutId
    model: ModelName
    mode: Mode
    candidate: VersionNumber
    baseline: Annotated[int, Meta(description="The version that was active when it began.")]
    weight: Share
    status: Literal["running", "promoted", "reverted", "stopped"]
    actor: Annotated[str, Meta(description="Who began it.")]
    reason: str
    outcome: Annotated[str, Meta(description="Why it ended; empty while it runs.")]
    judgement: Annotated[JudgementShown | None, Meta(description="null before the first look.")]
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, rollout: Rollout) -> "RolloutShown":
        """A stored rollout, for the wire."""
        judgement = judgement_of(rollout)
        return cls(
            judgement=None if judgement is None else JudgementShown.of(judgement),
            mode=typed.convert(rollout.mode, Mode),
            status=typed.convert(
                rollout.status, Literal["running", "promoted", "reverted", "stopped"]
            ),
            id=rollout.id,
            model=rollout.model,
            candidate=rollout.candidate,
            baseline=rollout.baseline,
            weight=rollout.weight,
            actor=rollout.actor,
            reason=rollout.reason,
            outcome=rollout.outcome,
            created_at=rollout.created_at,
            updated_at=rollout.updated_at,
            ended_at=rollout.ended_at,
        )


class TrafficState(msgspec.Struct, kw_only=True):
    """Who answers for one model."""

    model: ModelName
    active: Annotated[int | None, Meta(description="The version that serves; null without one.")]
    mode: Annotated[
        Literal["active", "canary", "shadow", "compare"],
        Meta(description="active: no other version is tried."),
    ]
    candidate: Annotated[int | None, Meta(description="The version that is tried.")]
    weight: Annotated[float | None, Meta(description="Share of the subjects it is asked about.")]
    suspended: Annotated[
        str, Meta(description="Why this server asks it nothing for now; empty while it does.")
    ]
    rollout: RolloutShown | None


class RolloutPage(msgspec.Struct):
    """Rollouts, newest first."""

    items: list[RolloutShown]
    next_cursor: Annotated[str | None, Meta(description="`cursor` of the next page, or null.")]


class SentReplay(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which stored inputs go through which version."""

    model: NamedModel | None = None
    version: VersionNumber
    since: (
        Annotated[
            str,
            Meta(
                max_length=40,
                description="24h, 7d, or a time with Z. Default: 24 hours before `until`.",
                examples=["24h"],
            ),
        ]
        | None
    ) = None
    until: (
        Annotated[str, Meta(max_length=40, description="The same. Default: now.", examples=["1h"])]
        | None
    ) = None
    limit: (
        Annotated[
            int, Meta(ge=1, le=10_000, description="The newest so many inputs. Default: 1,000.")
        ]
        | None
    ) = None


class ReplayAccepted(msgspec.Struct, kw_only=True):
    """A replay that is queued; ask `status_url` how it goes."""

    message: Annotated[str, Meta(examples=["Replay through v7 queued"])]
    job_id: Annotated[str, Meta(description="UUIDv7 of the job.")]
    status_url: Annotated[str, Meta(description="Path of the replay.")]
    page_url: Annotated[str, Meta(description="Its page, with the flips side by side.")]


class ReplayState(msgspec.Struct, kw_only=True):
    """One replay, as it is now."""

    job_id: Annotated[str, Meta(description="UUIDv7 of the job.")]
    status: Literal["queued", "running", "succeeded", "failed"]
    model: ModelName
    version: Annotated[int, Meta(description="The candidate.")]
    against: Annotated[int, Meta(description="Whose answers it is compared with.")]
    since: datetime
    until: datetime
    limit: int
    done: Annotated[
        int | None, Meta(description="Inputs so far; null where this server does not run it.")
    ]
    total: Annotated[int | None, Meta(description="Inputs in all; null as above.")]
    error: Annotated[str, Meta(description="Why it failed; empty otherwise.")]
    result: Annotated[
        Replayed | None,
        Meta(description="null until it succeeded. In lists without the flips themselves."),
    ]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(
        cls, job: Job, progress: tuple[int, int] | None = None, *, whole: bool = True
    ) -> "ReplayState":
        """A stored job of kind "replay", for the wire.

        Args:
            job: As stored.
            progress: How far it is.
            whole: With the flips.
        """
        asked = typed.convert(job.payload, ReplayAsk)
        result = None
        if job.status == "succeeded" and job.result is not None:
            result = typed.convert(job.result, Replayed)
            if not whole:
                result = msgspec.structs.replace(result, flips=[], moves=[])
        done, total = progress or (None, None)
        return cls(
            job_id=job.id,
            status=typed.convert(job.status, Literal["queued", "running", "succeeded", "failed"]),
            model=asked.model,
            version=asked.version,
            against=asked.against,
            since=asked.since,
            until=asked.until,
            limit=asked.limit,
            done=done,
            total=total,
            error=job.error,
            result=result,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
        )


class ReplayPage(msgspec.Struct):
    """Replays, newest first."""

    items: list[ReplayState]
    next_cursor: Annotated[str | None, Meta(description="`cursor` of the next page, or null.")]


SHAPES: tuple[Any, ...] = (
    SentTraffic,
    SentWeight,
    Guardrail,
    JudgementShown,
    RolloutShown,
    TrafficState,
    RolloutPage,
    SentReplay,
    ReplayAccepted,
    Found,
    Said,
    Flipped,
    Took,
    Replayed,
    ReplayState,
    ReplayPage,
)
"""For the OpenAPI document."""
