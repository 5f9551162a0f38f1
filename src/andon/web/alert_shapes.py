"""What goes over the wire about alerts, and about who watches.

As in `shapes`: times are UTC, ISO 8601 with `Z`.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from andon import typed
from andon.agent.watch_parts import WatchStatus
from andon.store.records import Alert

Severity = Literal["info", "warning", "critical"]
AlertStatus = Literal["active", "acknowledged", "resolved"]
Person = Annotated[
    str,
    Meta(min_length=1, max_length=64, description="Who does it: a name.", examples=["Ada"]),
]


class AlertShown(msgspec.Struct, kw_only=True):
    """Something a person should know of. Raised once however often its cause is seen."""

    alert_id: Annotated[str, Meta(description="UUIDv7 of the alert.")]
    alert_type: Annotated[
        str,
        Meta(
            description="data_drift, performance_degradation, prediction_anomaly, "
            "low_confidence, data_quality; camera, rollback, agent or system.",
            examples=["data_drift"],
        ),
    ]
    severity: Severity
    status: AlertStatus
    title: Annotated[str, Meta(examples=["pcb: the data have moved"])]
    message: Annotated[str, Meta(description="Sentences with the numbers, a line each.")]
    model: Annotated[str | None, Meta(description="Registered model, where it is about one.")]
    model_version: int | None
    href: Annotated[str, Meta(description="Path of the page with the evidence.")]
    signals: Annotated[
        list[dict[str, Any]], Meta(description="What the detectors said, the worst first.")
    ]
    group_key: Annotated[
        str, Meta(description="Which cause: while one is open, the same key is the same alert.")
    ]
    occurrences: Annotated[int, Meta(description="Looks at which its cause was there.", ge=1)]
    created_at: datetime
    seen_at: Annotated[datetime, Meta(description="When its cause was last there.")]
    acknowledged_by: Annotated[str, Meta(description="Empty while nobody did.")]
    acknowledged_at: datetime | None
    resolved_by: Annotated[
        str, Meta(description="Empty while it is open; andon: its cause was gone.")
    ]
    resolution_notes: str
    resolved_at: datetime | None

    @classmethod
    def of(cls, alert: Alert) -> "AlertShown":
        """A record, for the wire."""
        return cls(
            alert_id=alert.alert_id,
            alert_type=alert.alert_type,
            severity=typed.convert(alert.severity, Severity),
            status=typed.convert(alert.status, AlertStatus),
            title=alert.title,
            message=alert.message,
            model=alert.model,
            model_version=alert.model_version,
            href=str(alert.evidence.get("href") or "/alerts"),
            signals=[one for one in alert.evidence.get("signals") or () if isinstance(one, dict)],
            group_key=alert.group_key,
            occurrences=alert.occurrences,
            created_at=alert.created_at,
            seen_at=alert.seen_at,
            acknowledged_by=alert.acknowledged_by,
            acknowledged_at=alert.acknowledged_at,
            resolved_by=alert.resolved_by,
            resolution_notes=alert.resolution_notes,
            resolved_at=alert.resolved_at,
        )


class AlertPage(msgspec.Struct):
    """Alerts, newest first."""

    items: list[AlertShown]
    next_cursor: Annotated[str | None, Meta(description="null on the last page.")]


class SentAcknowledgement(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Who takes an alert on."""

    by: Person


class SentResolution(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Who says that an alert is over, and what was done."""

    by: Person
    notes: Annotated[str, Meta(max_length=2000, description="What was done; kept with it.")] = ""


class WatchShown(msgspec.Struct, kw_only=True):
    """Who watches the models and acts, and how it goes."""

    enabled: Annotated[bool, Meta(description="Whether models are watched (ANDON_MONITOR).")]
    holder: Annotated[
        str,
        Meta(
            description="The process that watches, as host:process:number; empty: none does.",
            examples=["box-7:4711:9f2c41aa"],
        ),
    ]
    mine: Annotated[bool, Meta(description="Whether that is the server that answers.")]
    since: Annotated[datetime | None, Meta(description="Since when it does.")]
    last_look: Annotated[datetime | None, Meta(description="When every model was last looked at.")]
    next_look: Annotated[datetime | None, Meta(description="When that is due again, where `mine`.")]
    took_ms: Annotated[
        float | None, Meta(description="Milliseconds the last look of this server took.")
    ]
    problems: Annotated[
        dict[str, str], Meta(description="What goes wrong now, by stage; empty: nothing.")
    ]
    agent: Annotated[
        Literal["on", "dry-run", "off"],
        Meta(description="What the agent does about what is found (ANDON_AGENT)."),
    ]
    dry_run: Annotated[bool, Meta(description="Whether it only writes down what it would do.")]

    @classmethod
    def of(cls, status: WatchStatus) -> "WatchShown":
        """What the watch says of itself, for the wire."""
        return cls(
            enabled=status.enabled,
            holder=status.holder,
            mine=status.mine,
            since=status.since,
            last_look=status.last_look,
            next_look=status.next_look,
            took_ms=status.took_ms,
            problems=status.problems,
            agent=typed.convert(status.agent, Literal["on", "dry-run", "off"]),
            dry_run=status.dry_run,
        )


SHAPES = (AlertShown, AlertPage, SentAcknowledgement, SentResolution, WatchShown)
"""For the OpenAPI document."""
