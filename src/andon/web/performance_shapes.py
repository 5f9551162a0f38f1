"""What goes over the wire of performance and trends, beside what `andon.monitoring` defines."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from andon.monitoring.history import Trends
from andon.monitoring.performance import PerformanceWindow
from andon.monitoring.signals import Signal
from andon.web.shapes import ModelName, VersionNumber


class PerformanceReply(msgspec.Struct, frozen=True, kw_only=True):
    """How one version does over its newest answers."""

    model: ModelName
    version: VersionNumber
    window: Annotated[str, Meta(description="As it was asked for.", examples=["100", "24h"])]
    measured_at: datetime
    performance: PerformanceWindow
    signals: Annotated[
        list[Signal],
        Meta(
            description="What the newest look of this server said of the version; empty where "
            "this server does not watch, or has not looked yet."
        ),
    ]


SHAPES = (PerformanceReply, Trends)
"""For the OpenAPI document."""
