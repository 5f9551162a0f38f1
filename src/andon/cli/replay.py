"""``andon replay``: yesterday's inputs through a version that does not serve yet."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any

import typer

from andon import typed
from andon.cli import output
from andon.cli.opening import opened
from andon.cli.options import Home, Json, Model

if TYPE_CHECKING:
    from andon.serving.replay_run import Flipped, Replayed

_MOST_SHOWN = 20
_KINDS = {
    "verdict": "defects and none",
    "labels": "other labels",
    "boxes": "other places",
    "class": "another class",
    "failed": "no answer",
}
# Of the thread that replays: a server beside it goes first.
_NICE = 10


def replay(
    version: Annotated[
        int, typer.Option("--version", "-v", metavar="N", min=1, help="The version to try.")
    ],
    home: Home = None,
    model: Model = None,
    since: Annotated[
        str,
        typer.Option(metavar="TIME", help="Inputs from then on: 24h, 7d, or 2026-01-31T12:00:00Z."),
    ] = "24h",
    until: Annotated[
        str, typer.Option(metavar="TIME", help="Inputs before then, the same. Default: now.")
    ] = "",
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=10_000, help="The newest so many inputs.")
    ] = 1_000,
    as_json: Json = False,
) -> None:
    """Put what the active version answered to another version, and list what flips.

    Pictures are taken from those that are kept, rows from the log. Nothing is logged as an
    answer, and what serves is not touched. Works with or without a running server.
    """
    with opened(home) as platform:
        # ONNX Runtime comes with it.
        from andon.serving.replay import moment_of  # noqa: PLC0415
        from andon.serving.replay_run import Replayed  # noqa: PLC0415
        from andon.web.parameters import known_model  # noqa: PLC0415 - FastAPI comes with it

        asked = platform.replays.ask(
            known_model(platform, model),
            version,
            moment_of("since", since),
            moment_of("until", until),
            limit,
        )
        job = _behind(lambda tell: platform.replays.run_here(asked, tell), limit)
    if as_json:
        output.print_json({"job_id": job.id, **job.result})
        return

    _summary(typed.convert(job.result, Replayed), job.id)


def _behind(work: "Callable[[Any], Any]", limit: int) -> Any:
    """Run the work on a thread that lets others go first, with a progress bar."""
    with output.progress("Replaying", limit) as step:
        told = 0

        def tell(done: int, total: int) -> None:
            nonlocal told
            # There may be fewer inputs than asked for: the bar ends full all the same.
            wanted = done * limit // max(1, total)
            while told < wanted:
                told += 1
                step()

        with ThreadPoolExecutor(1, "andon-replay", initializer=_go_behind) as pool:
            return pool.submit(work, tell).result()


def _go_behind() -> None:
    """On Linux a priority is the thread's own."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _summary(found: "Replayed", job_id: str) -> None:
    if not found.replayed:
        output.say(_nothing(found))
        return
    output.say(
        f"{_many(found.replayed, 'input')} of {found.model} v{found.against} through "
        f"v{found.version}: "
        f"{found.same} answered alike, {found.flipped} otherwise."
    )
    kinds = {_KINDS[kind]: number for kind, number in sorted(found.by_kind.items())}
    took = found.took
    times = None
    if took.candidate_p50 is not None:
        before = "–" if took.active_p50 is None else f"{took.active_p50:.1f} ms"
        times = f"{took.candidate_p50:.1f} ms at the median, before {before}"
    output.fields(
        {
            **{f"  {what}": str(number) for what, number in kinds.items()},
            "probability moved": str(found.moved) if found.moved else "",
            "picture not kept any more": str(found.missing_pictures or ""),
            "could not be replayed": str(found.skipped or ""),
            "model's time": times,
            "stopped": found.stopped,
        }
    )
    if found.flips:
        output.say()
        output.table(
            ["answer", "time", "flip", f"v{found.against}", f"v{found.version}", "input"],
            [_row(one) for one in found.flips[:_MOST_SHOWN]],
        )
        if found.flipped > _MOST_SHOWN:
            output.say(f"… and {found.flipped - _MOST_SHOWN} more.")
    output.say()
    output.say(f"Side by side: /replays/{job_id} on the dashboard.")


def _nothing(found: "Replayed") -> str:
    if found.missing_pictures:
        return (
            f"Nothing could be replayed: {_many(found.missing_pictures, 'picture')} of that time "
            "not kept any more (ANDON_KEEP_UPLOADS_DAYS)."
        )
    if found.skipped:
        what = _many(found.skipped, "input")
        return f"Nothing could be replayed: {what} that v{found.version} cannot be asked about."
    return f"{found.model} v{found.against} answered nothing in that time."


def _many(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _row(one: "Flipped") -> list[object]:
    return [
        one.prediction_id,
        output.moment(one.timestamp),
        _KINDS.get(one.kind, one.kind),
        _said(one.before),
        _said(one.after),
        one.image_name or one.subject,
    ]


def _said(said: Any) -> str:
    """An answer in a few words."""
    if said.error:
        return str(said.error)[:60]
    if said.prediction is not None:
        sure = "" if said.probability is None else f" ({said.probability:.2f})"
        return f"{said.prediction}{sure}"
    labels = [found.label for found in said.detections]
    return ", ".join(labels[:4]) + (" …" if len(labels) > 4 else "") if labels else "none"
