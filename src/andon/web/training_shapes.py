"""What goes over the wire about trainings: what is asked for, runs, recipes, schedules.

As in `shapes`: times are UTC, ISO 8601 with `Z`; durations are seconds. What a training measured
is described in `andon.training.messages`.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from andon.store.training_runs import TrainingRun
from andon.training.messages import DataReport, TrainReport

RunStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]
RunId = Annotated[str, Meta(description="UUIDv7 of the training.")]
Progress = Annotated[float, Meta(description="Share that is done, 0 to 1.", examples=[0.42])]


class SentRetraining(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What to train. Without `model` and `recipe`: the default tabular model."""

    model: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=64,
                description="Registered model; the recipe it comes from is found.",
                examples=["heart-disease"],
            ),
        ]
        | None
    ) = None
    recipe: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=64,
                description="Name of a recipe that this installation has; no path.",
                examples=["heart-disease"],
            ),
        ]
        | None
    ) = None
    reason: Annotated[str, Meta(max_length=1000, description="Why; kept with the run.")] = ""
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1, description="Default: the recipe's.")] | None = (
        None
    )
    tuning_trials: (
        Annotated[
            int,
            Meta(ge=0, le=1000, description="Settings tried per candidate. Default: the recipe's."),
        ]
        | None
    ) = None
    promote: (
        Annotated[
            bool,
            Meta(
                description="Whether the version serves at once if it passes the gate. "
                "Default: what the recipe says."
            ),
        ]
        | None
    ) = None


class RetrainingAccepted(msgspec.Struct, kw_only=True):
    """A training that is queued; ask `status_url` how it goes."""

    message: Annotated[str, Meta(examples=["Training of heart-disease queued"])]
    job_id: Annotated[str, Meta(description="UUIDv7 of the job, for `/api/jobs/{job_id}`.")]
    run_id: RunId
    model: Annotated[str, Meta(description="Registered model.", examples=["heart-disease"])]
    status_url: Annotated[str, Meta(description="Path of the run.")]


class TrainingState(msgspec.Struct, kw_only=True):
    """One training, as it is now."""

    id: RunId
    model: Annotated[str, Meta(description="Registered model.", examples=["heart-disease"])]
    recipe: Annotated[str, Meta(description="What the training is.", examples=["heart-disease"])]
    status: RunStatus
    stage: Annotated[
        str,
        Meta(description="What it does, or what became of it.", examples=["Tuning xgboost"]),
    ]
    progress: Progress
    source: Annotated[str, Meta(description="How it was asked for.", examples=["schedule"])]
    actor: Annotated[str, Meta(description="Who asked; may be empty.")]
    reason: Annotated[str, Meta(description="Why; may be empty.")]
    error: Annotated[str, Meta(description="Why it failed; empty otherwise.")]
    cancelled: Annotated[bool, Meta(description="Whether it was asked to stop.")]
    version: Annotated[int | None, Meta(description="The version that came of it.")]
    tracking_id: Annotated[str | None, Meta(description="Of the run in MLflow.")]
    options: Annotated[dict[str, Any], Meta(description="What was asked for.")]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    report: Annotated[
        TrainReport | UnsetType | None,
        Meta(description="Everything that was measured; not in lists."),
    ] = UNSET
    data_report: Annotated[
        DataReport | UnsetType | None,
        Meta(description="What the checks of the data found; not in lists."),
    ] = UNSET

    @classmethod
    def of(cls, run: TrainingRun, **more: Any) -> "TrainingState":
        """A run, for the wire.

        Args:
            run: As stored.
            more: `report` and `data_report`, where one run was asked for.
        """
        names = [name for name in cls.__struct_fields__ if name not in {"report", "data_report"}]
        return cls(**{name: getattr(run, name) for name in names}, **more)


class TrainingPage(msgspec.Struct):
    """A page of trainings, newest first."""

    trainings: list[TrainingState]
    next_cursor: Annotated[
        str | None, Meta(description="`cursor` of the next page; null on the last.")
    ]


class RecipeShown(msgspec.Struct, kw_only=True):
    """A training that this installation knows."""

    name: Annotated[
        str, Meta(description="Also of the registered model.", examples=["heart-disease"])
    ]
    title: Annotated[str, Meta(description="For people.", examples=["Heart disease"])]
    source: Annotated[str, Meta(description="built-in, or the name of the user's file.")]
    scheduled: Annotated[bool, Meta(description="Whether the schedule trains it again.")]
    active_version: Annotated[int | None, Meta(description="The version that serves, if any.")]
    running: Annotated[str | None, Meta(description="Id of its unfinished training, if any.")]


class ScheduleShown(msgspec.Struct, kw_only=True):
    """What is done again and again."""

    name: Annotated[str, Meta(examples=["retrain"])]
    cron: Annotated[
        str, Meta(description="Cron expression, UTC; empty: never.", examples=["0 2 * * 0"])
    ]
    next_due_at: datetime | None
    last_due_at: Annotated[
        datetime | None,
        Meta(description="The due time that was last acted on, or when it was set up."),
    ]
    models: Annotated[list[str], Meta(description="Models that are trained again then.")]


SHAPES = (
    SentRetraining,
    RetrainingAccepted,
    TrainingState,
    TrainingPage,
    TrainReport,
    RecipeShown,
    ScheduleShown,
)
