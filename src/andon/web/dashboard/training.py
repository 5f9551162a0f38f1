"""The Training page and the page of one training."""

from collections.abc import Iterable
from datetime import datetime
from urllib.parse import quote, urlencode

import msgspec

from andon.platform import Platform
from andon.serving.stages import next_stages
from andon.store.records import ModelVersion
from andon.store.training_runs import UNFINISHED, TrainingRun
from andon.training import catalog
from andon.training.runs import INSTALL
from andon.web.dashboard import reading, rows, state, training_reading
from andon.web.dashboard.contexts import Shell
from andon.web.dashboard.rendering import drawable
from andon.web.dashboard.training_contexts import (
    Evaluation,
    Going,
    RecipeLine,
    RunLine,
    RunPage,
    Tone,
    TrainingPage,
)
from andon.web.dashboard.training_reading import Measured
from andon.web.dashboard.wording import by, exact, lasting, short

PAGE = 20
_OPTIONS = {
    "data": "Data",
    "target": "Target",
    "drop": "Left out",
    "seed": "Seed",
    "tuning_trials": "Tuning trials",
    "promote": "Promote at once",
}
_DEFAULTS: tuple[object, ...] = (None, "", [])
_SILENT = "It stopped without saying why; its log may tell."
_WAYS = {
    "api": "on this page or over HTTP",
    "cli": "in the terminal",
    "page": "on the Training page",
    "schedule": "by the schedule",
    "agent": "by Andon itself",
}


def page(platform: Platform, *, before: str = "") -> TrainingPage:
    """The context of the Training page.

    Args:
        platform: What everything is read from.
        before: Cursor of the page of runs; empty: the newest.
    """
    db = platform.db
    runs, following = db.training.page(before=before or None, limit=PAGE)
    # Lists come without their reports, of which the chosen algorithm and its F1 are wanted.
    runs = [db.training.get(one.id) if one.status == "succeeded" else one for one in runs]
    unfinished = db.training.unfinished()
    # The newest comes last, and stays; on older pages nothing is said of it.
    ended = {} if before else {one.model: one for one in reversed(runs)}
    return TrainingPage(
        shell=_shell(platform, "Training"),
        missing=missing(),
        going=tuple(going(one) for one in unfinished),
        recipes=tuple(_recipes(platform, unfinished, ended)),
        schedule=_schedule(platform),
        runs=tuple(_line(one) for one in runs),
        older=urlencode({"before": following}) if following else "",
        newer="/training" if before else "",
    )


def _shell(platform: Platform, title: str) -> Shell:
    model = reading.chosen_model(platform)
    return reading.shell(
        platform,
        page="training",
        title=title,
        model=model,
        lamp=state.judge(state.look(platform, model)),
        # The page is about all models at once.
        names=[],
    )


def missing() -> str:
    """The command that installs what training needs; empty where it is installed."""
    return "" if catalog.is_available() else INSTALL


def _schedule(platform: Platform) -> str:
    due = platform.schedule.next_due()
    if due is None:
        return "Nothing is trained by itself: ANDON_RETRAIN_CRON is empty."
    if missing():
        return ""
    if not platform.scheduled_recipes():
        return "Nothing is trained by itself before a recipe has made its first version."
    return f"Next by itself: {short(due)}."


def _recipes(
    platform: Platform, unfinished: Iterable[TrainingRun], ended: dict[str, TrainingRun]
) -> Iterable[RecipeLine]:
    """What can be trained: the recipes, then models that came from a file of somebody.

    `ended` has the newest training of each model, as far as the page lists it.
    """
    running = {one.model: one.id for one in unfinished}
    due = platform.schedule.next_due()
    known = catalog.recipes(platform.settings)
    planned = {one.name for one in platform.scheduled_recipes()}
    for one in known:
        yield _recipe(
            platform,
            one.name,
            title=one.title,
            description="" if one.source == "built-in" else f"Your own recipe: {one.source}",
            following=due if one.name in planned else None,
            running=running.get(one.name, ""),
            ended=ended,
        )
    others = platform.db.training.newest_succeeded().keys() - {one.name for one in known}
    for model in sorted(others & set(platform.db.models.names())):
        yield _recipe(
            platform,
            model,
            title=model,
            description="Trained from a file on this machine.",
            following=None,
            running=running.get(model, ""),
            ended=ended,
        )


def _recipe(
    platform: Platform,
    model: str,
    *,
    title: str,
    description: str,
    following: datetime | None,
    running: str,
    ended: dict[str, TrainingRun],
) -> RecipeLine:
    models = platform.db.models
    versions = models.list(model)
    active = next((one for one in versions if one.is_active), None)
    served = rows.row_version(platform, models.get(model, active.version)) if active else None
    newer = active.version if active else 0
    waits = (one.version for one in versions if one.status == "staging" and one.version > newer)
    newest = ended.get(model)
    last = versions[0] if versions else None
    # What is told of no serving version is told of the newest.
    told = active or last
    return RecipeLine(
        model=model,
        title=title,
        description=description,
        version=active.version if active else None,
        f1=served.f1 if served else None,
        synthetic=bool(served and served.synthetic),
        trained=told.upload_date if told else None,
        failed=newest.id if newest and newest.status == "failed" else "",
        refused=last.version if last and last.status == rows.REFUSED else None,
        waiting=next(waits, None),
        following=following,
        running=running,
    )


def going(run: TrainingRun) -> Going:
    """The progress of a training that waits or runs."""
    queued = run.status == "queued"
    return Going(
        id=run.id,
        model=run.model,
        queued=queued,
        stage=run.stage or ("Waiting for its turn" if queued else "Starting"),
        progress=max(0.0, min(1.0, run.progress)),
        since=run.started_at or run.created_at,
        by=_by(run),
        reason=run.reason,
        cancelling=run.cancelled,
    )


def _by(run: TrainingRun) -> str:
    """Who asked for a run, or which way it came."""
    if run.actor and run.actor not in _WAYS:
        return by(run.actor)
    return _WAYS.get(run.source, "")


def _seconds(run: TrainingRun) -> float | None:
    if run.started_at is None or run.finished_at is None:
        return None
    return float((run.finished_at - run.started_at).total_seconds())


def _line(run: TrainingRun) -> RunLine:
    found = training_reading.measured(run.report)
    return RunLine(
        id=run.id,
        model=run.model,
        when=run.created_at,
        by=_by(run),
        reason=run.reason,
        chosen=found.algorithm_name if found else "",
        f1=found.measure("f1") if found else None,
        gate=found.gate.passed if found and found.gate else None,
        version=run.version,
        seconds=_seconds(run),
        status=run.status,
    )


def run_page(platform: Platform, run_id: str) -> RunPage:
    """The context of one training's page.

    Raises:
        NotFound: There is no such training.
    """
    run = platform.db.training.get(run_id)
    found = training_reading.measured(run.report)
    record = _version(platform, run)
    outcome, following, href, tone = _outcome(
        run, found, record, startable=_startable(platform, run)
    )
    number = record.version if record else None
    log = f"/api/training/{run.id}/log"
    waits = record is not None and not record.damaged and "production" in next_stages(record)
    return RunPage(
        shell=_shell(platform, f"Training of {run.model}"),
        id=run.id,
        model=run.model,
        status=run.status,
        going=going(run) if run.status in UNFINISHED else None,
        tone=tone,
        outcome=outcome,
        error=(run.error or _SILENT) if run.status == "failed" else "",
        following=following,
        href=href,
        promotable=number if waits and run.status == "succeeded" else None,
        gate=found.gate.reasons if found and found.gate and not found.gate.passed else (),
        facts=_facts(run),
        evaluation=_evaluation(
            msgspec.structs.replace(found, comparison=None)
            if found and _is_again(run, found)
            else found,
            record,
        ),
        # Who was cancelled while it waited has said nothing.
        log="" if run.status == "cancelled" and run.started_at is None else log,
        report=f"/api/training/{run.id}/report" if run.report else "",
        drawable=drawable(),
    )


def _evaluation(found: Measured | None, record: ModelVersion | None) -> Evaluation | None:
    if found is None:
        return None
    title = f"v{record.version}" if record else "This training"
    names = rows.class_names(rows.schema_of(record))
    return training_reading.evaluation(found, title, names)


def _version(platform: Platform, run: TrainingRun) -> ModelVersion | None:
    """The version that came of a run, unless it was deleted."""
    if run.version is None:
        return None
    versions = platform.db.models.list(run.model)
    return next((one for one in versions if one.version == run.version), None)


def _facts(run: TrainingRun) -> tuple[tuple[str, str], ...]:
    seconds = _seconds(run)
    pairs = [("Asked for", exact(run.created_at))]
    if way := _by(run):
        pairs.append(("Came", way))
    if run.reason:
        pairs.append(("Reason", run.reason))
    if run.recipe != run.model:
        pairs.append(("Recipe", run.recipe))
    if run.started_at is not None:
        pairs.append(("Started", exact(run.started_at)))
    if seconds is not None:
        pairs.append(("Took", lasting(seconds)))
    for name, title in _OPTIONS.items():
        if (value := run.options.get(name)) not in _DEFAULTS:
            told = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            pairs.append((title, told))
    if run.tracking_id:
        pairs.append(("MLflow run", run.tracking_id))
    return tuple(pairs)


def _startable(platform: Platform, run: TrainingRun) -> bool:
    """Whether the Training page has a button that trains the model of a run."""
    if any(one.name == run.model for one in catalog.recipes(platform.settings)):
        return True
    return run.model in platform.db.training.newest_succeeded().keys() & set(
        platform.db.models.names()
    )


def _outcome(
    run: TrainingRun, found: Measured | None, record: ModelVersion | None, *, startable: bool
) -> tuple[str, str, str, Tone]:
    """What came of a run, the next step, where that is done, and what it means.

    `startable` says whether the Training page can start another.
    """
    here = f"/training#recipe-{quote(run.model)}"
    if run.status == "queued":
        return "It waits for its turn.", "", "", "none"
    if run.status == "running":
        return "It runs.", "", "", "none"
    if run.status == "cancelled":
        text = "It was cancelled before it was done. Nothing was registered, and nothing changed."
        return text, "Train again when you want to.", here if startable else "", "none"
    if run.status == "failed":
        text = "The training failed. Nothing was registered, and nothing changed."
        if startable:
            return text, "Mend what is named here, then train again.", here, "stop"
        again = f"andon train {run.recipe} --target {run.options.get('target', 'COLUMN')}"
        return text, f"Mend what is named here, then run `{again}` again.", "", "stop"
    return _succeeded(run, found, record)


def _is_again(run: TrainingRun, found: Measured | None) -> bool:
    """Whether a training made the very version that it was compared with."""
    against = found.comparison if found else None
    return against is not None and against.version == run.version


def _succeeded(
    run: TrainingRun, found: Measured | None, record: ModelVersion | None
) -> tuple[str, str, str, Tone]:
    told = training_reading.gate_sentence(found) if found else ""
    tail = f": {told}." if told else "."
    if run.version is None or record is None:
        name = f"Version {run.version}" if run.version is not None else "A version"
        return f"{name} was registered and has been deleted since{tail}", "", "", "none"
    href = f"/models/{record.version}?model={quote(run.model)}"
    name = f"Version {record.version}"
    if _is_again(run, found):
        text = f"Nothing new came of it: the same data and settings made {name.lower()} again"
        href = f"/models?model={quote(run.model)}"
        return f"{text}.", "Train again when there are new rows.", href, "none"
    if record.is_active:
        return (
            f"{name} serves{tail}",
            "Try it on a row.",
            f"/inspect?model={quote(run.model)}",
            ("good"),
        )
    if found is not None and found.gate is not None and not found.gate.passed:
        text = f"{name} was registered, but did not pass the gate{tail}"
        following = f"Train again with more or better rows; v{record.version} stays to compare."
        return text, following, href, "look"
    if record.status == "archived":
        return f"{name} was registered and is archived now{tail}", "", href, "none"
    text = f"{name} was registered and waits in staging{tail}"
    return text, f"Promote it, and v{record.version} answers from then on.", href, "good"
