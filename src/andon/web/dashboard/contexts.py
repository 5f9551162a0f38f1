"""What every template receives, field by field.

One dataclass per template (``template`` names it) and one per thing that templates show.
Each field carries its meaning as the second part of its ``Annotated`` type; tests hold
templates and contexts together in both directions. Nothing here reads the platform: the
page modules do.
"""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

Color = Literal["green", "yellow", "red"]


def as_variables(context: Any) -> dict[str, Any]:
    """The top-level template variables of a page context, one per field."""
    return {entry.name: getattr(context, entry.name) for entry in fields(context)}


# -- Parts ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Step:
    """The one thing to do next."""

    text: Annotated[str, "What to do, as the text of a link."]
    href: Annotated[str, "Where to do it."]


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One sentence on why the lamp shows what it shows."""

    text: Annotated[str, "A full sentence naming the object."]
    since: Annotated[datetime | None, "When it began, or None where that is not known."] = None


@dataclass(frozen=True, kw_only=True)
class Lamp:
    """The state of the line, as on an andon."""

    color: Annotated[Color, "green: runs; yellow: runs, but look; red: stopped."]
    word: Annotated[str, "The state in one or two words, for the page head."]
    headline: Annotated[str, "The state in one sentence."]
    reasons: Annotated[tuple[Reason, ...], "Why, most important first."] = ()
    since: Annotated[datetime | None, "Since when it is so."] = None
    step: Annotated[Step | None, "The one next step, or None where nothing is to be done."] = None


@dataclass(frozen=True, kw_only=True)
class Shell:
    """What the frame around every page shows."""

    page: Annotated[str, "Which navigation entry is current: overview, inspect, models or none."]
    title: Annotated[str, "Title of the page."]
    model: Annotated[str, "Registered model the page is about."]
    models: Annotated[tuple[str, ...], "All registered models; a chooser appears beyond one."]
    lamp: Annotated[Lamp | None, "State of the line; None where it is not to be shown."]
    release: Annotated[str, "Version of Andon."]
    sign_out: Annotated[bool, "Whether the viewer signed in and can sign out."] = False


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One minute of the throughput strip, in the strip's own units (600 wide, 100 high)."""

    x: Annotated[float, "Left edge."]
    y: Annotated[float, "Top of the part that succeeded."]
    height: Annotated[float, "Height of the part that succeeded."]
    failed_y: Annotated[float, "Top of the part that failed, above the other."]
    failed_height: Annotated[float, "Height of the part that failed."]
    minute: Annotated[datetime, "Start of the minute, UTC."]
    count: Annotated[int, "Inspections in this minute, failed ones included."]
    failed: Annotated[int, "Inspections that failed."]
    latency_ms: Annotated[float, "Mean latency of the minute, milliseconds; 0 without inspections."]


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Inspections per minute over the last hour."""

    bars: Annotated[tuple[Bar, ...], "One bar per minute, oldest first."]
    total: Annotated[int, "Inspections in the whole hour."]
    failed: Annotated[int, "Of these, failed."]
    peak: Annotated[int, "Most inspections in one minute."]
    peak_minute: Annotated[datetime | None, "That minute, or None in an idle hour."]
    top: Annotated[int, "What the top edge of the strip stands for, inspections per minute."]
    summary: Annotated[str, "The strip in one sentence, for people who do not see it."]


@dataclass(frozen=True, kw_only=True)
class Found:
    """One detection as a page shows it."""

    number: Annotated[int, "Number on the picture and in the list, from 1."]
    label: Annotated[str, "Class name."]
    confidence: Annotated[float, "Score, 0 to 1."]
    x: Annotated[int, "Left edge, pixels of the picture."]
    y: Annotated[int, "Top edge, pixels of the picture."]
    width: Annotated[int, "Pixels."]
    height: Annotated[int, "Pixels."]
    color: Annotated[int, "Which of the label colours and line patterns, from 0."]


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """One logged inspection."""

    id: Annotated[str, "Prediction id."]
    name: Annotated[str, "Name of the picture as uploaded."]
    version: Annotated[int, "Version that answered."]
    when: Annotated[datetime, "When it was answered, UTC."]
    ok: Annotated[bool, "False: it failed, `verdict` says why."]
    count: Annotated[int, "Detections at or above the line's threshold."]
    verdict: Annotated[str, "The result in words."]
    picture: Annotated[str, "URL of the uploaded picture; empty when it is not kept."]
    width: Annotated[int, "Pixels of the picture; 0 when unknown."]
    height: Annotated[int, "Pixels of the picture; 0 when unknown."]
    found: Annotated[tuple[Found, ...], "What is drawn over it."]
    href: Annotated[str, "The page that shows it."]


@dataclass(frozen=True, kw_only=True)
class EventLine:
    """One deployment event."""

    kind: Annotated[str, "activate, rollback, rejected, delete or other; chooses the icon."]
    text: Annotated[str, "What happened, as a sentence."]
    reason: Annotated[str, "Why, in the words of whoever did it; may be empty."]
    actor: Annotated[str, "Who did it, or which way it came, as a phrase; may be empty."]
    when: Annotated[datetime, "UTC."]


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a model."""

    number: Annotated[int, "Version number."]
    model: Annotated[str, "Registered model."]
    name: Annotated[str, "The model's own name."]
    filename: Annotated[str, "Name of the file as uploaded."]
    format: Annotated[str, "onnx or eim."]
    size: Annotated[int, "Bytes."]
    hash: Annotated[str, "SHA-256, hexadecimal."]
    notes: Annotated[str, "What the person who uploaded it wrote; may be empty."]
    source: Annotated[str, "How it came: upload, watch, cli, starter and so on."]
    status: Annotated[str, "training, staging, production or archived."]
    active: Annotated[bool, "Whether this version serves."]
    loaded: Annotated[bool, "Whether it is loaded in this process."]
    damaged: Annotated[str, "Why its file cannot be used; empty while it can."]
    uploaded: Annotated[datetime, "When it was registered, UTC."]
    deployed: Annotated[datetime | None, "When it last became active, UTC."]
    inspections: Annotated[int, "Inspections answered."]
    detections: Annotated[int, "Detections in them."]
    latency_ms: Annotated[float | None, "Mean inference time, milliseconds; None before the first."]
    confidence: Annotated[
        float | None, "Mean over inspections of their mean confidence; None before a detection."
    ]
    proof_ms: Annotated[float | None, "Latency measured while proving, milliseconds."]
    threshold: Annotated[float, "Confidence from which the line counts a detection, 0 to 1."]
    labels: Annotated[tuple[str, ...], "Class names, in class order."]


# -- Pages ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class OverviewPage:
    """Is the line running, and how."""

    template: ClassVar[str] = "overview.html"

    shell: Annotated[Shell, "The frame."]
    lamp: Annotated[Lamp, "State of the line."]
    active: Annotated[Version | None, "The version that serves, or None."]
    strip: Annotated[Strip, "Throughput of the last hour."]
    inspections: Annotated[int, "Inspections ever answered."]
    detections: Annotated[int, "Detections in them."]
    confidence: Annotated[float | None, "Mean confidence of detections, 0 to 1."]
    latency_p50: Annotated[float | None, "Median latency of recent inspections, milliseconds."]
    latency_p95: Annotated[float | None, "95th percentile of the same, milliseconds."]
    waiting: Annotated[int, "Requests waiting or running now."]
    queue_size: Annotated[int, "Requests that may wait or run."]
    jobs: Annotated[int, "Jobs that wait in the durable queue."]
    latest: Annotated[tuple[Inspection, ...], "Latest inspections, newest first."]
    events: Annotated[tuple[EventLine, ...], "Latest deployment events, newest first."]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The inspection that the Inspect page opens with."""

    inspection: Annotated[Inspection, "What was inspected."]
    image: Annotated[str, "URL of the uploaded picture; empty when it was not kept."]
    width: Annotated[int, "Pixels."]
    height: Annotated[int, "Pixels."]
    found: Annotated[tuple[Found, ...], "Detections at or above the line's threshold."]
    classes: Annotated[
        tuple[tuple[str, float], ...], "Class scores (classification), highest first."
    ]
    anomaly: Annotated[float | None, "Anomaly score, or None."]
    latency_ms: Annotated[float, "Milliseconds from request to answer."]
    inference_ms: Annotated[float, "Milliseconds inside the model."]
    cached: Annotated[bool, "Whether the answer came from the cache."]
    threshold: Annotated[float, "Threshold that was asked for."]


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Past inspections."""

    items: Annotated[tuple[Inspection, ...], "Newest first."]
    older: Annotated[str, "Query string of the next page; empty at the end."]
    newer: Annotated[str, "Query string of the first page; empty when this is it."]
    label: Annotated[str, "Only inspections with this label; empty: all."]
    labels: Annotated[tuple[str, ...], "Labels to choose from."]
    only: Annotated[str, "all, found (with detections), none (without) or failed."]
    filtered: Annotated[bool, "Whether any filter is set."]


@dataclass(frozen=True, kw_only=True)
class InspectPage:
    """Put a picture in, see what was found, look back."""

    template: ClassVar[str] = "inspect.html"

    shell: Annotated[Shell, "The frame."]
    active: Annotated[Version | None, "The version that answers, or None."]
    shown: Annotated[Shown | None, "The inspection named by the address, or None."]
    missing: Annotated[str, "Why the inspection named by the address cannot be shown; else empty."]
    gallery: Annotated[Gallery, "Past inspections."]
    floor: Annotated[float, "Lowest threshold the slider offers, 0 to 1."]
    max_bytes: Annotated[int, "Largest picture accepted, bytes."]
    samples: Annotated[bool, "Whether sample boards can be drawn."]


@dataclass(frozen=True, kw_only=True)
class ModelsPage:
    """Which versions there are, which one serves, and how to change that."""

    template: ClassVar[str] = "models.html"

    shell: Annotated[Shell, "The frame."]
    active: Annotated[Version | None, "The version that serves, or None."]
    versions: Annotated[
        tuple[Version, ...], "All versions, the active one first, then newest first."
    ]
    previous: Annotated[Version | None, "The version a roll back would go to, or None."]
    pair: Annotated[
        tuple[int, int] | None, "Versions offered for comparison first; None below two."
    ]
    events: Annotated[tuple[EventLine, ...], "Deployment events, newest first."]
    max_bytes: Annotated[int, "Largest model file accepted, bytes."]
    watch_folder: Annotated[str, "Folder that deploys what is dropped into it; empty when off."]


@dataclass(frozen=True, kw_only=True)
class VersionPage:
    """Everything known about one version."""

    template: ClassVar[str] = "version.html"

    shell: Annotated[Shell, "The frame."]
    version: Annotated[Version, "The version."]
    task: Annotated[str, "What it answers, in words."]
    facts: Annotated[tuple[tuple[str, str], ...], "Input, resizing, head: name and value."]
    metadata: Annotated[tuple[tuple[str, str], ...], "What else the file says of itself."]
    options: Annotated[tuple[tuple[str, str], ...], "What was overridden at upload."]
    warnings: Annotated[tuple[str, ...], "Sentences to read before trusting it."]
    card: Annotated[str, "The model card as HTML; empty when there is none."]
    events: Annotated[tuple[EventLine, ...], "Deployment events of this version, newest first."]


@dataclass(frozen=True, kw_only=True)
class ErrorPage:
    """Something could not be done."""

    template: ClassVar[str] = "error.html"

    shell: Annotated[Shell, "The frame."]
    status: Annotated[int, "HTTP status."]
    heading: Annotated[str, "What happened, in a few words."]
    detail: Annotated[str, "What happened, to what, and the next step."]
    step: Annotated[Step, "A way on."]
    request_id: Annotated[str, "What to quote when asking for help; may be empty."]


@dataclass(frozen=True, kw_only=True)
class LoginPage:
    """Show a key, get in."""

    template: ClassVar[str] = "login.html"

    shell: Annotated[Shell, "The frame."]
    error: Annotated[str, "Why the last try failed; empty on the first."]
    next: Annotated[str, "Path to go to afterwards."]


PAGES = (OverviewPage, InspectPage, ModelsPage, VersionPage, ErrorPage, LoginPage)
