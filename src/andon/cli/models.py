"""``andon models``: versions of a model, and which of them serves."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from andon.cli import output
from andon.cli.opening import actor, opened
from andon.cli.options import Home, Json, Model, OneModel, Reason
from andon.errors import ConfigurationError, InvalidRequest, NotFound

if TYPE_CHECKING:
    from andon.store.records import ModelVersion

app = typer.Typer(
    help="List, add, promote, activate, roll back, compare and delete versions of a model.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_CHUNK = 1 << 20
_MOST_SHOWN = 5


def _number(text: str) -> int:
    """``3`` or ``v3``, as people write versions."""
    digits = text.strip().lower().removeprefix("v")
    if not digits.isdecimal() or int(digits) < 1:
        raise typer.BadParameter(f"{text!r} is not a version; write 3 or v3.")
    return int(digits)


Number = Annotated[int, typer.Argument(metavar="VERSION", parser=_number, help="Version: 3 or v3.")]


@app.command("list", short_help="List versions.")
def list_versions(home: Home = None, model: OneModel = None, as_json: Json = False) -> None:
    """List the versions of every model, or of one, newest first."""
    with opened(home) as platform:
        registered = sorted(platform.db.models.names())
        # The default model may be asked for before its first version, as over HTTP.
        if model not in {None, platform.settings.default_model, *registered}:
            raise NotFound(
                f"There is no model named {model!r}.",
                hint=f"Registered: {', '.join(registered) or 'none'}.",
            )
        names = [model] if model else registered
        versions = [version for name in names for version in platform.db.models.list(name)]
    if as_json:
        output.print_json(versions)
    elif versions:
        output.table(
            ["model", "version", "status", "file", "size", "uploaded", "inferences", "notes"],
            [_row(version) for version in versions],
            numbers="size, inferences",
        )
    else:
        output.say("No versions yet. Add one: andon models add FILE (or: andon demo).")


@app.command(short_help="Show one version.")
def show(version: Number, home: Home = None, model: Model = None, as_json: Json = False) -> None:
    """Show one version: what it is, where it came from, how it has done."""
    with opened(home) as platform:
        name = model or platform.settings.default_model
        record = platform.db.models.get(name, version)
        path = platform.registry.get_model_path(version, name)
        run = platform.db.models.training_run(record.id)
        report = None if run is None else platform.db.training.get(run).report
    if as_json:
        output.print_json(record)
        return
    about = record.description
    inputs = f"{about.get('width')} × {about.get('height')} × {about.get('channels')}"
    output.fields(
        {
            "model": record.model,
            "version": f"v{record.version}",
            "status": record.status + (" (active)" if record.is_active else ""),
            "damaged": record.damaged,
            "file": path,
            "uploaded as": record.filename,
            "sha-256": record.file_hash,
            "size": output.size(record.file_size),
            "format": record.format,
            "task": about.get("task"),
            "labels": ", ".join(about.get("labels", [])),
            "input": inputs if about.get("width") else None,
            "resize": about.get("resize") if about.get("width") else None,
            "head": about.get("head"),
            "warnings": " ".join(about.get("warnings", [])),
            "source": record.source,
            "uploaded": output.moment(record.upload_date),
            "deployed": output.moment(record.deployed_date),
            "inferences": record.total_inferences,
            "detections": record.total_detections,
            "mean inference": output.milliseconds(record.avg_inference_time)
            if record.total_inferences
            else None,
            "algorithm": record.algorithm,
            "notes": record.notes,
        }
    )
    if record.card:
        _show_card(record.card, (report or {}).get("gate") or {})


@app.command(short_help="Check, prove and register a model file.")
def add(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", exists=True, dir_okay=False, readable=True, help=".onnx or .eim file."
        ),
    ],
    home: Home = None,
    model: Model = None,
    notes: Annotated[str, typer.Option(metavar="TEXT", help="What is new in it.")] = "",
    activate: Annotated[
        bool, typer.Option("--activate/--no-activate", help="Let it serve once it is proven.")
    ] = True,
    labels: Annotated[str, typer.Option(metavar="A,B,C", help="Class names in class order.")] = "",
    task: Annotated[
        str,
        typer.Option(
            metavar="TASK",
            help="object-detection, image-classification or anomaly-detection.",
        ),
    ] = "",
    head: Annotated[
        str,
        typer.Option(
            metavar="HEAD",
            help="Output layout: yolov5, yolov8, end2end, rtdetr, fomo or classification.",
        ),
    ] = "",
    resize: Annotated[str, typer.Option(metavar="HOW", help="stretch, letterbox or crop.")] = "",
    size: Annotated[
        str, typer.Option(metavar="WxH", help="Input size in pixels, e.g. 640x640.")
    ] = "",
    layout: Annotated[str, typer.Option(metavar="LAYOUT", help="nchw or nhwc.")] = "",
    scale: Annotated[
        str, typer.Option(metavar="SCALE", help="Pixel values: unit, byte, signed or imagenet.")
    ] = "",
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="0..1",
            min=0,
            max=1,
            help="Confidence threshold of this model.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check, prove and register a model file, and let it serve.

    What the file is, its input and its output are recognised; the options from --labels to
    --threshold override that where a file says too little.
    """
    options = _options(
        task=task,
        head=head,
        labels=[label.strip() for label in labels.split(",") if label.strip()],
        resize=resize,
        layout=layout,
        scale=scale,
        threshold=threshold,
        **_size(size),
    )
    with opened(home) as platform:
        incoming = platform.registry.receive(platform.settings.max_model_bytes)
        with incoming:
            with file.open("rb") as source:
                while chunk := source.read(_CHUNK):
                    incoming.write(chunk)
            received = incoming.finish()
            deployed = platform.deployments.deploy(
                received,
                filename=file.name,
                model=model,
                notes=notes,
                options=options,
                source="cli",
                actor=actor(),
                activate=activate,
            )
    version = deployed.version
    if as_json:
        output.print_json({"version": version, "duplicate": deployed.duplicate})
        return
    what = "was already registered" if deployed.duplicate else "registered"
    output.say(f"Model {version.model} v{version.version} ({file.name}) {what}.")
    for warning in version.description.get("warnings", []):
        output.say(f"Note: {warning}")
    if version.is_active and "rows" in version.description:
        output.say("It serves now. It answers rows: POST /predict.")
    elif version.is_active:
        output.say(f"It serves now. Try: andon predict IMAGE --model {version.model}")
    else:
        which = f"{version.version} -m {version.model}"
        output.say(f"Let it serve: andon models activate {which}")
        output.say(f"Or try it on a tenth first: andon traffic canary {which}")


@app.command(short_help="Let a version serve.")
def activate(
    version: Number,
    home: Home = None,
    model: Model = None,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Prove a version and let it serve in place of the active one."""
    with opened(home) as platform:
        name = model or platform.settings.default_model
        platform.deployments.activate(name, version, reason, actor())
        record = platform.db.models.get(name, version)
    if as_json:
        output.print_json(record)
    else:
        output.say(f"Model {name} v{version} serves now.")


@app.command(short_help="Put a version into production.")
def promote(
    version: Number,
    home: Home = None,
    model: Model = None,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Prove a version and put it into production: it serves in place of the active one.

    A version that did not pass the gate of its training goes by `stage` first.
    """
    _move(version, "production", home, model, reason, as_json=as_json)


@app.command(short_help="Take a version back to staging.")
def stage(
    version: Number,
    home: Home = None,
    model: Model = None,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Move a version to staging, from the archive or from a training that missed its gate."""
    _move(version, "staging", home, model, reason, as_json=as_json)


@app.command(short_help="Put a version aside.")
def archive(
    version: Number,
    home: Home = None,
    model: Model = None,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Put a version aside that is not to serve. It is kept, and can be staged again."""
    _move(version, "archived", home, model, reason, as_json=as_json)


@app.command(short_help="Compare two versions on the same rows.")
def compare(
    version_a: Number,
    version_b: Number,
    home: Home = None,
    model: Model = None,
    rows: Annotated[
        Path | None,
        typer.Option(
            "--rows",
            metavar="FILE.csv",
            exists=True,
            dir_okay=False,
            help="Rows to compare on. Default: the newest stored ones with feedback.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="Column of the true class. Default: actual, else the model's target.",
            show_default=False,
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Ask two versions of a tabular model about the same rows, and show what differs.

    Nothing is logged as a prediction, and no totals change.
    """
    with opened(home) as platform:
        # Comes with NumPy and the engine.
        from andon.monitoring import comparison  # noqa: PLC0415
        from andon.monitoring.classes import row_schema  # noqa: PLC0415

        name = model or platform.settings.default_model
        versions = [platform.db.models.get(name, one) for one in (version_a, version_b)]
        schemas = [schema for one in versions if (schema := row_schema(one)) is not None]
        if rows is None or not schemas:
            given: Any = comparison.stored_rows(platform.db, name)
        else:
            given = comparison.csv_rows(rows.read_bytes(), schemas, target)
        found = comparison.compare_rows(platform.engine.fleet, name, version_a, version_b, given)
    if as_json:
        output.print_json(found)
        return
    output.table(
        ["metric", f"v{version_a}", f"v{version_b}", "difference", "95 % interval"],
        [
            [
                metric,
                f"{one.a:.3f}" if one else None,
                f"{one.b:.3f}" if one else None,
                f"{one.difference:+.3f}" if one else None,
                f"{one.low:+.3f} to {one.high:+.3f}" if one else None,
            ]
            for metric, one in found.metrics.items()
        ],
        numbers=f"v{version_a}, v{version_b}, difference",
    )
    output.say(f"{found.rows} rows, {found.labelled} labelled, {found.flips_total} answered apart.")
    if found.errors:
        output.note(f"{found.skipped} rows were skipped. The first: {found.errors[0].detail}")
    output.say(found.verdict)


@app.command(short_help="Go back to the version before.")
def rollback(
    home: Home = None, model: Model = None, reason: Reason = "", as_json: Json = False
) -> None:
    """Go back to the version that served before the active one."""
    with opened(home) as platform:
        name = model or platform.settings.default_model
        before = platform.db.models.active(name)
        platform.rollback(name, reason, actor())
        after = platform.db.models.active(name)
    if as_json:
        output.print_json({"version": after, "previous_version": before})
    elif after is not None and before is not None:
        output.say(f"Model {name} v{after.version} serves now, in place of v{before.version}.")


@app.command(short_help="Delete a version and its file.")
def delete(
    version: Number,
    home: Home = None,
    model: Model = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a version and its file. Its predictions stay in the log."""
    with opened(home) as platform:
        name = model or platform.settings.default_model
        record = platform.db.models.get(name, version)
        if not yes and not typer.confirm(
            f"Delete {name} v{version} ({record.filename})?", err=True
        ):
            raise ConfigurationError("Nothing was deleted.", hint="Scripts answer with --yes.")
        platform.deployments.delete(name, version)
    output.say(f"Model {name} v{version} deleted.")


def _move(
    version: int,
    stage: str,
    home: Path | None,
    model: str | None,
    reason: str,
    *,
    as_json: bool,
) -> None:
    with opened(home) as platform:
        # Comes with the engine.
        from andon.serving.stages import move  # noqa: PLC0415

        name = model or platform.settings.default_model
        before, after = move(
            platform.db, platform.deployments, name, version, stage, reason, actor()
        )
    if as_json:
        output.print_json(after)
    elif after.is_active:
        output.say(f"Model {name} v{version} serves now.")
    elif before == after.status:
        output.say(f"Model {name} v{version} is at stage {before} already.")
    else:
        output.say(f"Model {name} v{version}: {before} → {after.status}.")


def _show_card(card: dict[str, Any], gate: dict[str, Any]) -> None:
    """What was measured of a trained version, and what its training made of that."""
    metrics = (card.get("held_out") or {}).get("metrics") or {}
    if metrics:
        output.say()
        output.table(
            ["held-out rows", "value", "95 % interval"],
            [[name, f"{one['value']:.3f}", _interval(one)] for name, one in metrics.items()],
            numbers="value",
        )
    data = card.get("data") or {}
    important = [str(one.get("feature")) for one in (card.get("importance") or [])[:_MOST_SHOWN]]
    output.say()
    output.fields(
        {
            "trained on": data.get("origin"),
            "rows": data.get("rows"),
            "made up": "yes" if data.get("synthetic") else None,
            "matters most": ", ".join(important),
            "gate": ("passed" if gate.get("passed") else "not passed") if gate else None,
            "why": " ".join(gate.get("reasons") or ()),
        }
    )


def _interval(figure: dict[str, Any]) -> str | None:
    low, high = figure.get("low"), figure.get("high")
    return None if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _row(version: "ModelVersion") -> list[object]:
    status = "damaged" if version.damaged else version.status
    return [
        version.model,
        f"v{version.version}",
        status + (" *" if version.is_active else ""),
        version.filename,
        output.size(version.file_size),
        output.moment(version.upload_date),
        version.total_inferences,
        version.notes,
    ]


def _size(text: str) -> dict[str, int]:
    """``640x480`` as width and height, pixels."""
    if not text:
        return {}
    width, cross, height = text.lower().replace("×", "x").partition("x")
    if not cross or not width.isdecimal() or not height.isdecimal():
        raise InvalidRequest(f"--size {text} is not a size.", hint="Write it as 640x640.")
    return {"width": int(width), "height": int(height)}


def _options(**given: Any) -> dict[str, Any] | None:
    """What was given of a model's options; None when nothing was."""
    return {name: value for name, value in given.items() if value not in ("", None, [])} or None
