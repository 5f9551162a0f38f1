"""What goes over the wire about the agent: its policy, its actions, what people say of them.

As in `shapes`: times are UTC, ISO 8601 with `Z`; durations are seconds.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from andon import typed
from andon.agent.agent import AgentStatus
from andon.store.records import AgentAction, Review

ActionType = Literal[
    "retrain_model",
    "rollback_model",
    "promote_model",
    "send_alert",
    "adjust_threshold",
    "collect_diagnostics",
    "validate_data",
    "generate_report",
]
ActionStatus = Literal[
    "pending", "approved", "running", "succeeded", "failed", "rejected", "expired"
]
By = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        description="Who says it. Names that differ in case alone are one person.",
        examples=["Anna"],
    ),
]
Comment = Annotated[str, Meta(max_length=2000, description="For people; kept with the action.")]


class SentReview(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What one person says of an action."""

    by: By
    comment: Comment = ""


class SentAction(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An action that a person asks for; who asks agrees to it."""

    action_type: ActionType
    by: By
    model: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=64,
                description="Registered model. Default: the default one.",
                examples=["pcb"],
            ),
        ]
        | None
    ) = None
    version: (
        Annotated[int, Meta(ge=1, le=2**31 - 1, description="Default: the active one.")] | None
    ) = None
    parameters: Annotated[
        dict[str, Any],
        Meta(
            description="rollback_model: `to_version`. adjust_threshold: `to_threshold`. "
            "send_alert: `message`, `title`, `severity`. Others take none."
        ),
    ] = {}
    reason: Annotated[str, Meta(max_length=1000, description="Why; kept with the action.")] = ""


class ActionState(msgspec.Struct, kw_only=True):
    """One action, as it is now."""

    action_id: Annotated[str, Meta(description="UUIDv7.")]
    action_type: ActionType
    risk_level: Literal["low", "medium", "high"]
    requires_approval: bool
    status: ActionStatus
    dry_run: Annotated[bool, Meta(description="Written down, and not done.")]
    model: Annotated[str | None, Meta(description="Registered model.", examples=["pcb"])]
    model_version: Annotated[int | None, Meta(description="The version that it is about.")]
    issue_type: Annotated[
        str | None, Meta(description="What it is about; null where a person asked for it.")
    ]
    source: Literal["agent", "person"]
    reason: Annotated[str, Meta(description="Why, in a sentence or two.")]
    parameters: Annotated[dict[str, Any], Meta(description="What to do exactly.")]
    evidence: Annotated[
        dict[str, Any], Meta(description="`signals` at the time it was decided, and the finding.")
    ]
    alert_id: Annotated[str | None, Meta(description="The alert it belongs to.")]
    deployment_event_id: Annotated[int | None, Meta(description="Of the deployment it made.")]
    approvals_needed: Annotated[int, Meta(description="People who must agree; 0: nobody.")]
    reviews: Annotated[list[Review], Meta(description="What people said, oldest first.")]
    created_at: datetime
    expires_at: Annotated[datetime | None, Meta(description="Nobody may agree after this.")]
    started_at: datetime | None
    executed_at: datetime | None
    execution_result: Annotated[
        dict[str, Any] | None,
        Meta(description="`summary` is a sentence; `files` can be downloaded."),
    ]
    error: Annotated[str, Meta(description="Why it failed; empty otherwise.")]
    attempts: Annotated[int, Meta(description="Times it was begun.")]
    follow_up_at: Annotated[datetime | None, Meta(description="When it is seen if it helped.")]
    follow_up: Annotated[
        dict[str, Any] | None,
        Meta(description="`recovered` (null: not known), `summary`, `signal`, `at`."),
    ]

    @classmethod
    def of(cls, action: AgentAction) -> "ActionState":
        """An action, for the wire."""
        return typed.convert(action, cls, from_attributes=True)


class ActionPage(msgspec.Struct):
    """A page of actions, newest first."""

    actions: list[ActionState]
    next_cursor: Annotated[
        str | None, Meta(description="`cursor` of the next page; null on the last.")
    ]


class AgentPolicyShown(msgspec.Struct, kw_only=True):
    """The policy in force."""

    path: Annotated[str, Meta(description="Name of the file; empty: what is built in.")]
    problem: Annotated[
        str,
        Meta(
            description="What is wrong with the file; while something is, nothing that changes "
            "something runs by itself."
        ),
    ]
    tight: Annotated[bool, Meta(description="Whether that holds now.")]
    agent: Annotated[dict[str, Any], Meta(description="Durations in seconds.")]
    actions: Annotated[dict[str, Any], Meta(description="Risk, cooldown, approvals by type.")]
    models: Annotated[dict[str, Any], Meta(description="What holds for each model.")]


SHAPES = (SentReview, SentAction, ActionState, ActionPage, AgentPolicyShown, AgentStatus)
