"""What the templates of Performance, Drift and Trends receive, field by field.

The same rules as in `contexts.py`, which has the parts that every page shares.
"""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

import msgspec

from andon.web.dashboard.contexts import Choice, Figure, Shell, Step

# -- Parts ------------------------------------------------------------------------------

Tone = Literal["good", "look", "stop", "none"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a page says before anything else."""

    tone: Annotated[Tone, "good: fine; look: look at it; stop: bad; none: it cannot be told."]
    text: Annotated[str, "The verdict as one sentence, without its full stop."]
    detail: Annotated[str, "A sentence with the numbers behind it; may be empty."] = ""
    since: Annotated[datetime | None, "Since when it is so, or None where nobody knows."] = None
    step: Annotated[Step | None, "The one next step, or None where nothing is to be done."] = None


class SignalLine(msgspec.Struct, frozen=True, kw_only=True):
    """One number that is watched."""

    key: Annotated[str, "Name and subject; unique on the page."]
    name: Annotated[str, "What is watched, for people."]
    tone: Annotated[Tone, "good: fine; look or stop: bad; none: it cannot be told."]
    word: Annotated[str, "The state in a word or two."]
    number: Annotated[str, "The number with its unit, or a dash."]
    threshold: Annotated[str, "The limit beyond which it can be bad, or empty."]
    baseline: Annotated[str, "What is normal, or empty."]
    estimated: Annotated[bool, "Whether it is an estimate without labels."]
    since: Annotated[datetime | None, "Begin of the data it rests on, or None."]
    summary: Annotated[str, "One full sentence."]
    href: Annotated[str, "Where the evidence is; empty where there is no more of it."]


class Number(msgspec.Struct, frozen=True, kw_only=True):
    """One figure with what it is compared with."""

    name: Annotated[str, "What it is."]
    value: Annotated[str, "The number with its unit, or a dash."]
    note: Annotated[str, "What it is compared with, or its interval; may be empty."] = ""
    estimated: Annotated[bool, "Whether it is an estimate without labels."] = False
    tone: Annotated[Tone, "What it means."] = "none"


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """One number of the version that serves and of the candidate beside it."""

    name: Annotated[str, "What is compared."]
    active: Annotated[str, "Number of the version that serves."]
    candidate: Annotated[str, "Number of the candidate."]
    tone: Annotated[Tone, "What the difference means."]
    summary: Annotated[str, "One full sentence; may be empty."]


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate beside the version that serves."""

    mode: Annotated[str, "canary, shadow or compare."]
    version: Annotated[int, "Version of the candidate."]
    against: Annotated[int, "Version that serves."]
    words: Annotated[str, "Which share of what it answers, as a sentence."]
    tone: Annotated[Tone, "What the newest judgement means."]
    verdict: Annotated[str, "The newest judgement, as a sentence."]
    lines: Annotated[tuple[Beside, ...], "The numbers beside each other."]
    since: Annotated[datetime, "When it began, UTC."]
    href: Annotated[str, "Where its traffic is changed."]


class FeatureLine(msgspec.Struct, frozen=True, kw_only=True):
    """One thing whose distribution is compared."""

    name: Annotated[str, "Its name, for people."]
    kind: Annotated[str, "number, category or score, in a word."]
    tone: Annotated[Tone, "good: as before; look: moved; none: it cannot be told."]
    word: Annotated[str, "The state in a word or two."]
    distance: Annotated[str, "How far it moved, as a share of the answers, 0 to 1; or a dash."]
    threshold: Annotated[str, "From which distance that counts; or a dash."]
    effect: Annotated[str, "How large that is, in its own terms; or a dash."]
    p_value: Annotated[str, "How likely so much is by chance, corrected; or a dash."]
    missing: Annotated[str, "Share missing before and now; or a dash."]
    novel: Annotated[str, "Categories that were never there before; may be empty."]


class CameraLine(msgspec.Struct, frozen=True, kw_only=True):
    """One camera, over its latest pictures."""

    name: Annotated[str, "Camera."]
    tone: Annotated[Tone, "good: its pictures are fine; look or stop: they are not."]
    word: Annotated[str, "The state in a word or two."]
    pictures: Annotated[int, "Pictures looked at."]
    sick: Annotated[float, "Share of them with something wrong, 0 to 1."]
    problems: Annotated[str, "What is wrong with how many, in words; may be empty."]
    last: Annotated[datetime, "When its last picture was answered, UTC."]
    href: Annotated[str, "The page that shows that picture."]
    picture: Annotated[str, "URL of that picture; empty where it is not kept."]


class ReferenceState(msgspec.Struct, frozen=True, kw_only=True):
    """What the answers of now are compared with."""

    pinned: Annotated[bool, "Whether a person pinned it."]
    words: Annotated[str, "Where it comes from, as a sentence."]
    facts: Annotated[tuple[tuple[str, str], ...], "Name and value of what is known of it."]
    set_at: Annotated[datetime | None, "When it was learned or pinned, UTC; or None."]
    start: Annotated[str, "Begin to propose for pinning, as a form field has it, UTC."]
    end: Annotated[str, "End to propose."]


class ReportLine(msgspec.Struct, frozen=True, kw_only=True):
    """One stored look at a window."""

    id: Annotated[str, "Report."]
    when: Annotated[datetime, "When it was made, UTC."]
    version: Annotated[int, "Version whose answers were looked at."]
    tone: Annotated[Tone, "good: no drift; look: drift; none: it cannot be told."]
    word: Annotated[str, "The verdict in a word or two."]
    score: Annotated[str, "How far what moved most has moved, in thresholds; or a dash."]
    drifted: Annotated[str, "What moved, in words; may be empty."]
    href: Annotated[str, "The whole report as a page."]


class DayLine(msgspec.Struct, frozen=True, kw_only=True):
    """One day in numbers."""

    day: Annotated[str, "The day, for people."]
    versions: Annotated[str, "Versions that answered."]
    cells: Annotated[tuple[str, ...], "One text per column."]


# -- Pages ------------------------------------------------------------------------------


class PerformancePage(msgspec.Struct, frozen=True, kw_only=True):
    """Does a version do what it did."""

    template: ClassVar[str] = "performance.html"

    shell: Annotated[Shell, "The frame."]
    version: Annotated[int | None, "Version the page is about; None: there is none."]
    active: Annotated[bool, "Whether that version serves."]
    versions: Annotated[tuple[tuple[str, str], ...], "Versions to choose: number and words."]
    verdict: Annotated[Verdict, "What the signals say together."]
    signals: Annotated[tuple[SignalLine, ...], "What is watched, the worst first."]
    looked: Annotated[datetime | None, "When the signals were last looked at, UTC; or None."]
    window: Annotated[str, "The window as the address has it; empty for the usual one."]
    windows: Annotated[tuple[Choice, ...], "Windows to choose from."]
    words: Annotated[str, "The window in words."]
    numbers: Annotated[tuple[Number, ...], "The figures of the window; none without answers."]
    figures: Annotated[tuple[Figure, ...], "Answer time, volume and confidence over time."]
    labels: Annotated[
        tuple[tuple[str, str, float], ...],
        "Label or answer, its number for people, and its share of the greatest, 0 to 1.",
    ]
    labels_title: Annotated[str, "What the labels are counted by."]
    candidate: Annotated[Candidate | None, "What runs beside it, or None."]
    problem: Annotated[str, "What is wrong with the address, and what is shown; else empty."]
    drawable: Annotated[bool, "Whether charts can be drawn."]


class DriftPage(msgspec.Struct, frozen=True, kw_only=True):
    """Is what is asked still what the model was made for."""

    template: ClassVar[str] = "drift.html"

    shell: Annotated[Shell, "The frame."]
    version: Annotated[int | None, "Version that serves; None: there is none."]
    rows: Annotated[bool, "Whether the model answers rows, not pictures."]
    verdict: Annotated[Verdict, "What the newest report says."]
    compared: Annotated[tuple[tuple[str, str], ...], "What was compared with what."]
    report: Annotated[ReportLine | None, "The newest report, or None."]
    figures: Annotated[tuple[Figure, ...], "What moved most: before and now."]
    features: Annotated[tuple[FeatureLine, ...], "Everything compared, what moved most first."]
    cameras: Annotated[tuple[CameraLine, ...], "Cameras, the sickest first."]
    reference: Annotated[ReferenceState | None, "What it is compared with, or None."]
    reports: Annotated[tuple[ReportLine, ...], "Stored reports, newest first."]
    older: Annotated[str, "Query of the next page of reports; empty on the last."]
    newer: Annotated[str, "Query of the first page; empty on it."]
    drawable: Annotated[bool, "Whether charts can be drawn."]


class TrendsPage(msgspec.Struct, frozen=True, kw_only=True):
    """How a model did over weeks."""

    template: ClassVar[str] = "trends.html"

    shell: Annotated[Shell, "The frame."]
    verdict: Annotated[Verdict, "What became better or worse."]
    periods: Annotated[tuple[Choice, ...], "Periods to choose from."]
    words: Annotated[str, "The period in words."]
    problem: Annotated[str, "What is wrong with the address, and what is shown; else empty."]
    marks: Annotated[tuple[tuple[str, datetime], ...], "Versions that began to serve, and when."]
    figures: Annotated[tuple[Figure, ...], "One chart per number."]
    columns: Annotated[tuple[str, ...], "Heads of the table of days, beyond day and version."]
    days: Annotated[tuple[DayLine, ...], "Days with answers, newest first."]
    drawable: Annotated[bool, "Whether charts can be drawn."]


PAGES = (PerformancePage, DriftPage, TrendsPage)
