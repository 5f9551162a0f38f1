"""``andon traffic``: try a version beside the one that serves, and see how it does."""

import math
from typing import TYPE_CHECKING, Annotated

import typer

from andon.cli import output
from andon.cli.models import Number
from andon.cli.opening import actor, opened
from andon.cli.options import Home, Json, Model, OneModel

if TYPE_CHECKING:
    from pathlib import Path

    from andon.monitoring.judging import Judgement
    from andon.platform import Platform
    from andon.store.records import Rollout

app = typer.Typer(
    help="Try a version beside the one that serves: who answers, how it does, stop it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def _share(text: str | float) -> float:
    """``0.1`` or ``10%``, as people write shares; the default is a number already."""
    plain = str(text).strip()
    percent = plain.endswith("%")
    try:
        share = float(plain.rstrip("% ")) / (100 if percent else 1)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        more = f" For {plain} percent write {plain}%." if 1 < share <= 100 and not percent else ""
        raise typer.BadParameter(f"{plain!r} is no share: write 0.1 or 10%.{more}")
    return share


Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept with the rollout.")]
Weight = Annotated[
    float,
    typer.Option(
        "--weight",
        "-w",
        metavar="SHARE",
        parser=_share,
        help="Share of the subjects: 0.1 or 10%. Given again for the version that is tried, it "
        "changes.",
    ),
]
Seen = Annotated[
    float,
    typer.Option(
        "--weight",
        "-w",
        metavar="SHARE",
        parser=_share,
        help="Share of the requests it sees: 0.5 or 50%.",
    ),
]

_WORDS = {
    "better": "better: it may take over",
    "worse": "worse",
    "not_enough": "not enough evidence",
}


@app.command(short_help="Who answers, and how the candidate does.")
def show(home: Home = None, model: OneModel = None, as_json: Json = False) -> None:
    """Show who answers for every model, or for one: the active version, a candidate, its verdict.

    The verdict is that of the server's last look. `andon traffic judge` looks now.
    """
    with opened(home) as platform:
        # FastAPI comes with it.
        from andon.web.api.traffic import traffic_state  # noqa: PLC0415

        running = {rollout.model: rollout for rollout in platform.db.rollouts.all_running()}
        names = [_known(platform, model)] if model else sorted(platform.db.models.names())
        states = [traffic_state(platform, name, running.get(name)) for name in names]
    if as_json:
        output.print_json(states)
        return
    if not states:
        output.say("No models yet. Add one: andon models add FILE (or: andon demo).")
        return
    rows = []
    for state in states:
        judgement = state.rollout.judgement if state.rollout is not None else None
        rows.append(
            [
                state.model,
                f"v{state.active}" if state.active else None,
                state.mode,
                f"v{state.candidate}" if state.candidate else None,
                f"{state.weight:.0%}" if state.weight is not None else None,
                _WORDS[judgement.verdict] if judgement is not None else None,
            ]
        )
    output.table(
        ["model", "active", "mode", "candidate", "share", "verdict"], rows, numbers="share"
    )
    for state in states:
        judgement = state.rollout.judgement if state.rollout is not None else None
        if state.suspended:
            output.say(f"{state.model} v{state.candidate} gets nothing now: {state.suspended}")
        if judgement is not None:
            output.say()
            output.say(f"{state.model} v{state.candidate}: {_WORDS[judgement.verdict]}.")
        for reason in judgement.reasons if judgement is not None else ():
            output.say(f"  {reason}")


@app.command(short_help="Let a version answer a share.")
def canary(
    version: Number,
    home: Home = None,
    model: Model = None,
    weight: Weight = 0.1,
    reason: Why = "",
    as_json: Json = False,
) -> None:
    """Let a version answer a share of the subjects; the same subject gets the same version.

    It is loaded first. A running server follows within a second or two, and judges it.
    """
    _try("canary", version, home, model, weight, reason, as_json=as_json)


@app.command(short_help="Let a version answer unseen.")
def shadow(
    version: Number,
    home: Home = None,
    model: Model = None,
    weight: Seen = 1.0,
    reason: Why = "",
    as_json: Json = False,
) -> None:
    """Let a version answer with what the machine has to spare; nobody sees its answers."""
    _try("shadow", version, home, model, weight, reason, as_json=as_json)


@app.command(short_help="Let both versions answer.")
def compare(
    version: Number,
    home: Home = None,
    model: Model = None,
    weight: Seen = 1.0,
    reason: Why = "",
    as_json: Json = False,
) -> None:
    """Let both versions answer each request; the active one's answer is given."""
    _try("compare", version, home, model, weight, reason, as_json=as_json)


@app.command(short_help="Stop trying.")
def stop(home: Home = None, model: Model = None, reason: Why = "", as_json: Json = False) -> None:
    """Let the active version answer alone again. Requests on the candidate finish."""
    with opened(home) as platform:
        name = _known(platform, model)
        done = platform.engine.traffic.stop(name, "stopped", reason or f"Stopped by {actor()}")
    _tell(done, as_json=as_json)


@app.command(short_help="Judge the candidate now.")
def judge(home: Home = None, model: Model = None, as_json: Json = False) -> None:
    """Look at the log and say whether the candidate is better, worse, or not to be told yet.

    Looking often does no harm: the bounds hold at all looks at once. Nothing is changed.
    """
    with opened(home) as platform:
        # Comes with NumPy.
        from andon.errors import Conflict  # noqa: PLC0415
        from andon.monitoring.judging import Judge  # noqa: PLC0415

        name = _known(platform, model)
        running = platform.db.rollouts.running(name)
        if running is None:
            raise Conflict(
                f"No version of model {name} is being tried.",
                hint="`andon traffic canary VERSION` starts that.",
            )
        judgement = Judge(platform.db, platform.settings).judge(running)
    if as_json:
        # FastAPI comes with it.
        from andon.web.traffic_shapes import JudgementShown  # noqa: PLC0415

        output.print_json(JudgementShown.of(judgement))
        return
    output.say(f"{name} v{running.candidate}: {_WORDS[judgement.verdict]}.")
    for reason in judgement.reasons:
        output.say(reason)
    _guardrails(judgement)


@app.command(short_help="What was tried before.")
def history(home: Home = None, model: OneModel = None, as_json: Json = False) -> None:
    """List the versions that were tried, newest first, and what came of it."""
    with opened(home) as platform:
        # FastAPI comes with it.
        from andon.web.traffic_shapes import RolloutShown  # noqa: PLC0415

        name = _known(platform, model) if model else None
        rollouts, _ = platform.db.rollouts.page(name)
        if as_json:
            output.print_json([RolloutShown.of(rollout) for rollout in rollouts])
            return
    if not rollouts:
        output.say("Nothing was tried yet. Begin: andon traffic canary VERSION.")
        return
    output.table(
        ["begun", "model", "version", "mode", "share", "status", "outcome"],
        [
            [
                output.moment(rollout.created_at),
                rollout.model,
                f"v{rollout.candidate} against v{rollout.baseline}",
                rollout.mode,
                f"{rollout.weight:.0%}",
                rollout.status,
                rollout.outcome or rollout.reason,
            ]
            for rollout in rollouts
        ],
        numbers="share",
    )


def _try(
    mode: str,
    version: int,
    home: "Path | None",
    model: str | None,
    weight: float,
    reason: str,
    *,
    as_json: bool,
) -> None:
    with opened(home) as platform:
        name = _known(platform, model)
        traffic = platform.engine.traffic
        running = platform.db.rollouts.running(name)
        if running is not None and (running.mode, running.candidate) == (mode, version):
            done = traffic.set_weight(name, weight)
        else:
            done = traffic.start(name, mode, version, weight, actor=actor(), reason=reason)
    _tell(done, as_json=as_json)


def _known(platform: "Platform", model: str | None) -> str:
    # FastAPI comes with it.
    from andon.web.parameters import known_model  # noqa: PLC0415

    return known_model(platform, model)


def _tell(rollout: "Rollout", *, as_json: bool) -> None:
    if as_json:
        # FastAPI comes with it.
        from andon.web.traffic_shapes import RolloutShown  # noqa: PLC0415

        output.print_json(RolloutShown.of(rollout))
        return
    does = {
        "canary": f"answers {rollout.weight:.0%} of the subjects",
        "shadow": f"answers {rollout.weight:.0%} of the requests unseen",
        "compare": f"is compared on {rollout.weight:.0%} of the requests",
    }[rollout.mode]
    if rollout.status == "running":
        output.say(
            f"{rollout.model} v{rollout.candidate} {does}, beside v{rollout.baseline}. "
            "How it does: andon traffic show."
        )
    else:
        output.say(f"The {rollout.mode} of {rollout.model} v{rollout.candidate} is over.")


def _guardrails(judgement: "Judgement") -> None:
    rows = [
        [
            one.name,
            one.state.replace("_", " "),
            _percent(one.value_active),
            _percent(one.value_candidate),
            f"{one.low * 100:+.1f} … {one.high * 100:+.1f}",
            one.answers_candidate,
            one.needed,
        ]
        for one in judgement.guardrails
    ]
    output.table(
        ["guardrail", "state", "active", "candidate", "difference", "seen", "needed"],
        rows,
        numbers="active, candidate, difference, seen, needed",
    )


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share * 100:.2f} %"
