"""``andon agent``: how the agent stands, its policy, its actions, asking for one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from andon.cli import output
from andon.cli.opening import actor, load_settings, opened
from andon.cli.options import Home, Json, OneModel, Reason
from andon.errors import Conflict, InvalidRequest

if TYPE_CHECKING:
    from andon.platform import Platform
    from andon.store.records import AgentAction

# A name that no model can have: what holds for one without a table of its own.
_ANY = "*"
# Characters of an id: what is enough of its end, and all of it.
_LEAST, _WHOLE = 4, 36
_SEARCHED = 500

app = typer.Typer(
    no_args_is_help=True,
    help="See what the agent does, and ask for something.",
    rich_markup_mode=None,
)

By = Annotated[
    str | None,
    typer.Option(
        "--by", metavar="NAME", help="Who says it. Default: your login name.", show_default=False
    ),
]
ActionId = Annotated[
    str, typer.Argument(metavar="ACTION", help="Id of the action, or its last 8 characters.")
]
Comment = Annotated[str, typer.Option("--comment", metavar="TEXT", help="For people.")]


@app.command(short_help="Whether the agent acts, and what waits.")
def status(home: Home = None, as_json: Json = False) -> None:
    """Say whether the agent acts, what waits, and how much of its budget is used."""
    with opened(home) as platform:
        found = platform.agent.status()
    if as_json:
        output.print_json(found)
        return
    output.fields(
        {
            "agent": found.mode,
            "policy": found.policy_path or "built in",
            "problem": found.problem,
            "waiting for people": str(found.pending),
            "under way": str(found.running),
            "used in 24 hours": f"{found.used} of {found.budget} actions",
        }
    )


@app.command(short_help="Show, write or check the policy.")
def policy(
    home: Home = None,
    write: Annotated[
        bool, typer.Option("--write", help="Put the built-in policy down as a file to edit.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only say what is wrong with the file.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the policy in force: what the agent may do by itself."""
    if write:
        _write(home)
        return
    with opened(home) as platform:
        # Comes with the agent.
        from andon.agent.policy import DEFAULT, described, load  # noqa: PLC0415

        settings = platform.settings
        names = platform.db.models.names()
        if check:
            known = {*names, settings.default_model, settings.default_tabular_model, DEFAULT}
            if not settings.policy.exists():
                output.say(f"There is no {settings.policy}: the built-in policy holds.")
                return
            load(settings.policy, settings, {*known, "pcb"})
            output.say(f"{settings.policy} is fine.")
            return
        found, problem = platform.policy.current()
        shown = described(found, {*names, settings.default_model})
    if as_json:
        output.print_json({"path": found.path, "problem": problem, "tight": found.tight, **shown})
        return
    if problem:
        output.note(problem)
    agent = shown["agent"]
    output.fields(
        {
            "file": found.path or "built in",
            "acts": ("as a dry run" if agent["dry_run"] else "yes") if agent["enabled"] else "no",
            "actions per day": agent["actions_per_day"],
            "approval expires": f"after {output.span(agent['approval_expires'])}",
            "second person": ", ".join(agent["second_person"]) or "for no risk",
            "follow-up": f"after {output.span(agent['follow_up_after'])}",
        }
    )
    output.say()
    output.table(
        ["action", "risk", "approvals", "cool-down"],
        [
            [kind, one["risk"], one["approvals"], output.span(one["cooldown"]) or "none"]
            for kind, one in shown["actions"].items()
        ],
        numbers="approvals",
    )
    output.say()
    rest = described(found, [_ANY])["models"][_ANY]
    output.table(
        ["model", "rollback", "promote", "retrain"],
        [
            [name, one["rollback"], one["promote"], one["retrain"]]
            for name, one in [*shown["models"].items(), ("any other", rest)]
        ],
    )


@app.command(short_help="List what was decided and asked for.")
def actions(
    home: Home = None,
    model: OneModel = None,
    state: Annotated[
        str | None,
        typer.Option(
            "--status",
            metavar="STATUS",
            help="pending, approved, running, succeeded, failed, rejected or expired.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=500)] = 20,
    as_json: Json = False,
) -> None:
    """List what the agent decided and what people asked for, newest first."""
    with opened(home) as platform:
        found, _ = platform.db.actions.page(status=state, model=model, limit=limit)
    if as_json:
        output.print_json(found)
        return
    if not found:
        output.say(
            "Nothing was decided or asked for yet."
            if state is None and model is None
            else "No such action."
        )
        return
    output.table(
        ["action", "at", "what", "model", "status", "result"],
        [
            [
                one.action_id,
                output.moment(one.created_at),
                one.action_type,
                one.model,
                "dry run" if one.dry_run else one.status,
                result_of(one),
            ]
            for one in found
        ],
    )


@app.command(short_help="Ask for an action.")
def ask(
    what: Annotated[
        str,
        typer.Argument(
            metavar="TYPE",
            help="rollback_model, retrain_model, promote_model, adjust_threshold, validate_data, "
            "generate_report, collect_diagnostics or send_alert.",
        ),
    ],
    home: Home = None,
    model: OneModel = None,
    version: Annotated[
        int | None,
        typer.Option(
            "--version",
            "-v",
            metavar="N",
            min=1,
            help="Default: the active one.",
            show_default=False,
        ),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="What exactly, such as to_version=3 or to_threshold=0.6. Repeatable.",
            show_default=False,
        ),
    ] = None,
    reason: Reason = "",
    by: By = None,
    as_json: Json = False,
) -> None:
    """Ask for an action. Who asks agrees to it; the server that watches does it."""
    parameters = dict(_parameter(one) for one in given or [])
    with opened(home) as platform:
        action = platform.agent.propose(
            what, by=by or actor(), model=model, version=version, parameters=parameters,
            reason=reason,
        )  # fmt: skip
    say_state(action, as_json=as_json)


@app.command(short_help="Take a moved threshold back.")
def undo(action_id: ActionId, home: Home = None, by: By = None, comment: Comment = "",
         as_json: Json = False) -> None:  # fmt: skip
    """Take a moved threshold back."""
    with opened(home) as platform:
        action = platform.agent.undo(full_id(platform, action_id), by or actor(), comment)
    say_state(action, as_json=as_json)


def say_state(action: "AgentAction", *, as_json: bool) -> None:
    """Say how an action stands after somebody spoke."""
    if as_json:
        output.print_json(action)
        return
    what = f"{action.action_type}{f' for {action.model}' if action.model else ''}"
    if action.status == "approved":
        output.say(
            f"{what} is approved; the server that watches does it. Action {action.action_id}"
        )
    elif action.status == "pending":
        left = action.approvals_needed - sum(one.decision == "approve" for one in action.reviews)
        people = "one more person" if left == 1 else f"{left} more people"
        output.say(f"{what} waits for {people}. Action {action.action_id}")
    else:
        output.say(f"{what} is {action.status}. Action {action.action_id}")


def full_id(platform: "Platform", which: str) -> str:
    """The id that somebody means: all of it, or its end as people copy it from a list.

    Raises:
        InvalidRequest: Several of the newest actions end like this.
    """
    wanted = which.strip().lower()
    if not _LEAST <= len(wanted) < _WHOLE:
        return wanted
    newest, _ = platform.db.actions.page(limit=_SEARCHED)
    ends = [one.action_id for one in newest if one.action_id.endswith(wanted)]
    if len(ends) > 1:
        raise InvalidRequest(f"More than one action ends in {wanted}.", hint="Give more of the id.")
    return ends[0] if ends else wanted


def result_of(action: "AgentAction") -> str:
    """What came of an action, in a sentence."""
    followed = (action.follow_up or {}).get("summary")
    said = (action.execution_result or {}).get("summary") or action.error
    return " ".join(str(one) for one in (said, followed) if one)


def _write(home: Path | None) -> None:
    # Comes with the agent.
    from andon.agent.policy import default_text  # noqa: PLC0415

    path = load_settings(home).policy
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(default_text())
    except FileExistsError:
        raise Conflict(
            f"There is a policy file already: {path}.",
            hint="Edit it, or move it away first.",
        ) from None
    output.say(f"Wrote {path}. Edit it; it is read again at once.")


def _parameter(text: str) -> tuple[str, Any]:
    name, found, value = text.partition("=")
    if not found or not name:
        raise InvalidRequest(
            f"{text!r} is no NAME=VALUE.", hint="Write it like --set to_version=3."
        )
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, value
