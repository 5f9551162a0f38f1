"""``andon performance``: how a version does over its newest answers."""

from typing import TYPE_CHECKING, Annotated

import typer

from andon.cli import output
from andon.cli.opening import opened
from andon.cli.options import Home, Json, OneModel, Version
from andon.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from andon.monitoring.performance import PerformanceWindow
    from andon.monitoring.signals import Signal
    from andon.platform import Platform


def performance(
    model: OneModel = None,
    version: Version = None,
    window: Annotated[
        str,
        typer.Option(
            metavar="N|TIME",
            help="The newest so many answers, or those of the last 90m, 24h, 7d. Default: "
            "ANDON_MONITOR_WINDOW.",
        ),
    ] = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """How versions do: errors, latency, confidence, accuracy, and what is wrong.

    Accuracy is measured by feedback where there are enough labels; else it is estimated from
    confidence, and says so. Leaves with 1 where something is bad.
    """
    if version is not None and model is None:
        raise InvalidRequest("--version needs --model.", hint="Say whose version is meant.")
    with opened(home) as platform:
        found = [_seen(platform, *one, window) for one in _wanted(platform, model, version)]
    if as_json:
        output.print_json(
            [{"performance": measured, "signals": signals} for measured, signals in found]
        )
    elif not found:
        output.say("No version serves yet. Deploy one with andon models add FILE.")
    else:
        for measured, signals in found:
            _print(measured, signals)
    if any(signal.state == "bad" for _, signals in found for signal in signals):
        raise typer.Exit(1)


def _wanted(platform: "Platform", model: str | None, version: int | None) -> list[tuple[str, int]]:
    models = platform.db.models
    if model is None:
        return [(one.model, one.version) for one in models.all_active()]
    if version is not None:
        return [(model, version)]
    active = models.active(model)
    if active is None:
        raise NotFound(f"No version of model {model} is active.", hint="Name one with --version.")
    return [(model, active.version)]


def _seen(
    platform: "Platform", model: str, number: int, window: str
) -> "tuple[PerformanceWindow, list[Signal]]":
    # Come with NumPy.
    from andon.monitoring import performance as measuring  # noqa: PLC0415
    from andon.monitoring.labels import Window  # noqa: PLC0415
    from andon.monitoring.monitor import Monitor  # noqa: PLC0415

    db, settings = platform.db, platform.settings
    version = db.models.get(model, number)
    wanted = Window.parse(window or str(settings.monitor_window))
    measured = measuring.measure(
        db, version, limit=wanted.limit, since=wanted.since, settings=settings
    )
    monitor = Monitor(db, settings)
    limits = platform.policy.current()[0].limits(model)
    if version.is_active:
        return measured, monitor.look(model, limits)
    return measured, monitor.look_candidate(model, number, limits)


def _print(measured: "PerformanceWindow", signals: "list[Signal]") -> None:
    output.fields(dict(_fields(measured)))
    for signal in signals:
        output.say(f"  {signal.state.value:8}{signal.name:20}{signal.summary}")
    output.say()


def _fields(window: "PerformanceWindow") -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = [
        ("Version", f"{window.model} v{window.version}"),
        ("Answers", f"{window.count}, {window.errors} failed, {window.refused} refused"),
    ]
    if window.since is not None and window.until is not None:
        found.append(("From", f"{window.since:%Y-%m-%d %H:%M} to {window.until:%H:%M} UTC"))
        found.append(("Per minute", f"{window.per_minute:g}"))
    if window.latency is not None:
        usual = "" if window.baseline_ms is None else f", usual {window.baseline_ms:.3g}"
        latency = window.latency
        tail = f"{latency.p95:.3g} p95, {latency.p99:.3g} p99"
        found.append(("Latency ms", f"{latency.p50:.3g} median{usual}, {tail}"))
    if window.confidence is not None:
        found.append(("Confidence", f"{window.confidence.mean:.3f} mean"))
    if window.detections_per_image is not None:
        found.append(("Per picture", f"{window.detections_per_image:.2f} detections"))
    accuracy = window.accuracy
    if accuracy is not None and accuracy.value is not None:
        name = "Estimated" if accuracy.estimated else "Accuracy"
        found.append((name, f"{accuracy.value:.1%} ({accuracy.low:.1%} to {accuracy.high:.1%})"))
    elif accuracy is not None:
        found.append(("Accuracy", f"not known: {accuracy.labels} of {accuracy.needed} labels"))
    return found
