"""What every template receives, field by field.

One struct per template (``template`` names it) and one per thing that templates show.
Each field carries its meaning as the second part of its ``Annotated`` type; tests hold
templates and contexts together in both directions. Nothing here reads the platform: the
page modules do.
"""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from andon.web.dashboard.traffic_contexts import TrafficPanel

Color = Literal["green", "yellow", "red"]


def as_variables(context: Any) -> dict[str, Any]:
    """The top-level template variables of a page context, one per field."""
    return {name: getattr(context, name) for name in context.__struct_fields__}


# -- Parts ------------------------------------------------------------------------------


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """The one thing to do next."""

    text: Annotated[str, "What to do, as the text of a link."]
    href: Annotated[str, "Where to do it."]


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence on why the lamp shows what it shows."""

    text: Annotated[str, "A full sentence naming the object."]
    lead: Annotated[str, "A few words to stand over the sentence; empty: it stands alone."] = ""
    since: Annotated[datetime | None, "When it began, or None where that is not known."] = None
    href: Annotated[str, "Where it is looked at or mended; empty where there is no such page."] = ""


class Lamp(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the line, as on an andon."""

    color: Annotated[Color, "green: runs; yellow: runs, but look; red: stopped."]
    word: Annotated[str, "The state in one or two words, for the page head."]
    headline: Annotated[str, "The state in one sentence."]
    reasons: Annotated[tuple[Reason, ...], "Why, most important first."] = ()
    since: Annotated[datetime | None, "Since when it is so."] = None
    step: Annotated[Step | None, "The one next step, or None where nothing is to be done."] = None
    count: Annotated[int, "Open alerts and actions that wait for a person, for the page head."] = 0


class Shell(msgspec.Struct, frozen=True, kw_only=True):
    """What the frame around every page shows."""

    page: Annotated[
        str,
        "Which page it is: overview, inspect, models, performance, drift, trends, alerts, "
        "approvals, activity, training, floor, rejected, drivers, error or none.",
    ]
    title: Annotated[str, "Title of the page."]
    model: Annotated[str, "Registered model the page is about."]
    models: Annotated[tuple[str, ...], "All registered models; a chooser appears beyond one."]
    lamp: Annotated[Lamp | None, "State of the line; None where it is not to be shown."]
    release: Annotated[str, "Version of Andon."]
    marks: Annotated[
        dict[str, str], "Gravest open alert of each model that has one: critical or warning."
    ] = {}
    alerts: Annotated[int, "Open alerts of all models, beside the link to them."] = 0
    approvals: Annotated[int, "Actions that wait for a person, beside the link to them."] = 0
    sign_out: Annotated[bool, "Whether the viewer signed in and can sign out."] = False


class Bar(msgspec.Struct, frozen=True, kw_only=True):
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


class Strip(msgspec.Struct, frozen=True, kw_only=True):
    """Inspections per minute over the last hour."""

    bars: Annotated[tuple[Bar, ...], "One bar per minute, oldest first."]
    total: Annotated[int, "Inspections in the whole hour."]
    failed: Annotated[int, "Of these, failed."]
    peak: Annotated[int, "Most inspections in one minute."]
    peak_minute: Annotated[datetime | None, "That minute, or None in an idle hour."]
    top: Annotated[int, "What the top edge of the strip stands for, inspections per minute."]
    summary: Annotated[str, "The strip in one sentence, for people who do not see it."]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One detection as a page shows it."""

    number: Annotated[int, "Number on the picture and in the list, from 1."]
    label: Annotated[str, "Class name."]
    confidence: Annotated[float, "Score, 0 to 1."]
    x: Annotated[int, "Left edge, pixels of the picture."]
    y: Annotated[int, "Top edge, pixels of the picture."]
    width: Annotated[int, "Pixels."]
    height: Annotated[int, "Pixels."]
    color: Annotated[int, "Which of the label colours and line patterns, from 0."]


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
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
    camera: Annotated[str, "The camera it came from; empty where nobody said."] = ""
    sick: Annotated[str, "What is wrong with its picture, a sentence; empty when nothing is."] = ""


class EventLine(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment event."""

    kind: Annotated[str, "activate, rollback, rejected, delete, stage or other; chooses the icon."]
    text: Annotated[str, "What happened, as a sentence."]
    reason: Annotated[str, "Why, in the words of whoever did it; may be empty."]
    actor: Annotated[str, "Who did it, or which way it came, as a phrase; may be empty."]
    when: Annotated[datetime, "UTC."]
    href: Annotated[str, "The page with all its evidence; empty where there is none."] = ""


class Version(msgspec.Struct, frozen=True, kw_only=True):
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


# -- Parts of the floor's pages ---------------------------------------------------------

Level = Literal["good", "look", "stop", "none"]


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One of several periods, as a link."""

    text: Annotated[str, "What the link says."]
    href: Annotated[str, "The page with this choice."]
    current: Annotated[bool, "Whether it is the choice now."]


class Chooser(msgspec.Struct, frozen=True, kw_only=True):
    """One filter of a page: everything, or one of these."""

    name: Annotated[str, "Name of the parameter."]
    label: Annotated[str, "What is chosen."]
    everything: Annotated[str, "The words for no choice."]
    options: Annotated[tuple[tuple[str, str], ...], "Value and words of each option."]
    chosen: Annotated[str, "The value chosen; empty for everything."]


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """What a page of the floor is about: whom, where and when."""

    path: Annotated[str, "The page."]
    period: Annotated[str, "Key of the period chosen; empty for an own one."]
    periods: Annotated[tuple[Choice, ...], "Periods to choose from."]
    choosers: Annotated[tuple[Chooser, ...], "Further filters."]
    start: Annotated[str, "Begin of an own period as a form field has it, UTC; else empty."]
    end: Annotated[str, "Its end."]
    words: Annotated[str, "The period in words, to follow a colon or stand alone."]
    problem: Annotated[str, "What is wrong with the address, and what is shown; else empty."]
    reset: Annotated[str, "Address without any filter; empty when none is set."]


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """Since when nothing has been reported."""

    level: Annotated[Level, "good: lately; look: not for a while; none: never."]
    last: Annotated[datetime | None, "Time of the newest event, or None."]
    hint: Annotated[str, "What to look at; empty when there is nothing to do."] = ""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A chart, and the same numbers as a table."""

    id: Annotated[str, "Of the element; unique on the page."]
    title: Annotated[str, "What it shows."]
    spec: Annotated[dict[str, Any], "Vega-Lite specification, as `andon.charts` makes it."]
    height: Annotated[int, "Room to keep for it, pixels."]
    summary: Annotated[str, "What it says, in a sentence."]
    columns: Annotated[tuple[str, ...], "Heads of the table; the first column names its row."]
    rows: Annotated[tuple[tuple[str, ...], ...], "The table."]
    omitted: Annotated[int, "Rows that the table leaves out, from its beginning."] = 0


class WorkerLine(msgspec.Struct, frozen=True, kw_only=True):
    """One worker in a period. None is unknown: nothing was reported."""

    id: Annotated[str, "Worker."]
    name: Annotated[str, "For people; the id where there is none."]
    retired: Annotated[bool, "Whether no later events are taken."]
    state: Annotated[str, "working, idle or absent now; empty where unknown."]
    since: Annotated[datetime | None, "Since when."]
    station: Annotated[str, "Where now; empty where unknown."]
    active: Annotated[float | None, "Seconds working."]
    idle: Annotated[float | None, "Seconds idle."]
    absent: Annotated[float | None, "Seconds absent."]
    silent: Annotated[float | None, "Seconds of the period without any state."]
    utilization: Annotated[float | None, "Working of working and idle, 0 to 1."]
    units: Annotated[int | None, "Units."]
    rate: Annotated[float | None, "Units per hour of work."]
    href: Annotated[str, "The page about this worker alone."]


class StationLine(msgspec.Struct, frozen=True, kw_only=True):
    """One workstation in a period. None is unknown: nothing was reported."""

    id: Annotated[str, "Workstation."]
    name: Annotated[str, "For people; the id where there is none."]
    retired: Annotated[bool, "Whether no later events are taken."]
    present: Annotated[tuple[str, ...], "Workers there now."]
    occupancy: Annotated[float | None, "Person-seconds working or idle."]
    utilization: Annotated[float | None, "Working of occupancy, 0 to 1."]
    units: Annotated[int | None, "Units."]
    throughput: Annotated[float | None, "Units per hour of occupancy."]
    href: Annotated[str, "The page about this station alone."]


class Present(msgspec.Struct, frozen=True, kw_only=True):
    """How many workers are in which state now."""

    working: Annotated[int, "Workers at work."]
    idle: Annotated[int, "Workers who wait."]
    absent: Annotated[int, "Workers away."]
    unknown: Annotated[int, "Workers of whom nothing is known now."]


class DriverLine(msgspec.Struct, frozen=True, kw_only=True):
    """One driver in a period. None cannot be told from what was measured."""

    id: Annotated[str, "Driver; empty where the sender did not say."]
    name: Annotated[str, "For people."]
    last: Annotated[datetime, "Time of the newest measurement."]
    events: Annotated[int, "Measurements."]
    drowsy: Annotated[int, "Of these, drowsy."]
    rate: Annotated[float, "Share of drowsy ones, percent."]
    level: Annotated[Level, "What that share means by the limits."]
    mean: Annotated[float, "Mean eye aspect ratio."]
    lowest: Annotated[float, "Lowest eye aspect ratio."]
    perclos: Annotated[float | None, "Share of the last minutes with closed eyes, 0 to 1."]
    blinks: Annotated[float | None, "Blinks per minute, in the last minutes."]
    href: Annotated[str, "The page about this driver alone."]


class EyeEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement."""

    id: Annotated[str, "Event id."]
    when: Annotated[datetime, "When it was measured, UTC."]
    driver: Annotated[str, "Driver, for people."]
    device: Annotated[str, "Device; may be empty."]
    ear: Annotated[float, "Eye aspect ratio."]
    drowsy: Annotated[bool, "Whether the device called it drowsy."]
    seconds: Annotated[float, "How long the eyes had been closed, seconds."]


# -- Pages ------------------------------------------------------------------------------


class OverviewPage(msgspec.Struct, frozen=True, kw_only=True):
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


class Shown(msgspec.Struct, frozen=True, kw_only=True):
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


class Gallery(msgspec.Struct, frozen=True, kw_only=True):
    """Past inspections."""

    items: Annotated[tuple[Inspection, ...], "Newest first."]
    older: Annotated[str, "Query string of the next page; empty at the end."]
    newer: Annotated[str, "Query string of the first page; empty when this is it."]
    label: Annotated[str, "Only inspections with this label; empty: all."]
    labels: Annotated[tuple[str, ...], "Labels to choose from."]
    only: Annotated[
        str, "all, found (with detections), none (without), camera (not judged) or failed."
    ]
    filtered: Annotated[bool, "Whether any filter is set."]


class InspectPage(msgspec.Struct, frozen=True, kw_only=True):
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


class ModelsPage(msgspec.Struct, frozen=True, kw_only=True):
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
    traffic: Annotated[TrafficPanel | None, "Who answers; None where that is not told."] = None


class VersionPage(msgspec.Struct, frozen=True, kw_only=True):
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
    traffic: Annotated[TrafficPanel | None, "Who answers; None where that is not told."] = None


class FloorPage(msgspec.Struct, frozen=True, kw_only=True):
    """Who works, waits and is away, what comes of it, and since when that is known."""

    template: ClassVar[str] = "floor.html"

    shell: Annotated[Shell, "The frame."]
    filters: Annotated[Filters, "Whom, where and when."]
    freshness: Annotated[Freshness, "Whether reports still come."]
    present: Annotated[Present, "The states now."]
    utilization: Annotated[float | None, "Mean over workers with data, 0 to 1; None without."]
    active: Annotated[float | None, "Productive seconds; None without data."]
    units: Annotated[int | None, "Units; None without data."]
    rate: Annotated[float | None, "Units per productive hour; None without."]
    workers: Annotated[tuple[WorkerLine, ...], "Workers."]
    stations: Annotated[tuple[StationLine, ...], "Workstations."]
    figures: Annotated[tuple[Figure, ...], "States over time, units over time."]
    notes: Annotated[tuple[str, ...], "What makes the numbers partial."]
    rejected: Annotated[int, "Messages by MQTT of the last 24 hours that could not be used."]
    table_href: Annotated[str, "The workers' numbers for a spreadsheet."]
    drawable: Annotated[bool, "Whether the library that draws charts is installed."]


class DriversPage(msgspec.Struct, frozen=True, kw_only=True):
    """Whose eyes close, how often, and since when that is known."""

    template: ClassVar[str] = "drivers.html"

    shell: Annotated[Shell, "The frame."]
    filters: Annotated[Filters, "Whom and when."]
    freshness: Annotated[Freshness, "Whether measurements still come."]
    level: Annotated[Level, "The state of the last hour; none without measurements."]
    headline: Annotated[str, "The state in a few words."]
    sentence: Annotated[str, "The numbers behind it."]
    events: Annotated[int, "Measurements in the period."]
    drowsy: Annotated[int, "Of these, drowsy."]
    rate: Annotated[float | None, "Share of drowsy ones, percent; None without measurements."]
    mean: Annotated[float | None, "Mean eye aspect ratio; None without measurements."]
    threshold: Annotated[float, "Eye aspect ratio below which eyes count as closed."]
    drivers: Annotated[tuple[DriverLine, ...], "Who was measured in the period."]
    eyes_minutes: Annotated[int, "PERCLOS and blinks are of so many last minutes."]
    eyes_drivers: Annotated[int, "Drivers beyond which they are not told; 0 when they are."]
    figures: Annotated[tuple[Figure, ...], "Alert rate, and the eyes of each driver."]
    unshown: Annotated[int, "Drivers without a chart of their own, for there are too many."]
    latest: Annotated[tuple[EyeEvent, ...], "Latest measurements, newest first."]
    rejected: Annotated[int, "Messages by MQTT of the last 24 hours that could not be used."]
    drawable: Annotated[bool, "Whether the library that draws charts is installed."]


class ErrorPage(msgspec.Struct, frozen=True, kw_only=True):
    """Something could not be done."""

    template: ClassVar[str] = "error.html"

    shell: Annotated[Shell, "The frame."]
    status: Annotated[int, "HTTP status."]
    heading: Annotated[str, "What happened, in a few words."]
    detail: Annotated[str, "What happened, to what, and the next step."]
    step: Annotated[Step, "A way on."]
    request_id: Annotated[str, "What to quote when asking for help; may be empty."]


class LoginPage(msgspec.Struct, frozen=True, kw_only=True):
    """Show a key, get in."""

    template: ClassVar[str] = "login.html"

    shell: Annotated[Shell, "The frame."]
    error: Annotated[str, "Why the last try failed; empty on the first."]
    next: Annotated[str, "Path to go to afterwards."]


PAGES = (
    OverviewPage,
    InspectPage,
    ModelsPage,
    VersionPage,
    FloorPage,
    DriversPage,
    ErrorPage,
    LoginPage,
)
