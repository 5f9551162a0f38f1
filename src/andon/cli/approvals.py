"""``andon approvals``: what waits for people, and what they say of it."""

from typing import TYPE_CHECKING

import typer

from andon.cli import output
from andon.cli.agent import ActionId, By, Comment, full_id, result_of, say_state
from andon.cli.opening import actor, opened
from andon.cli.options import Home, Json, OneModel

if TYPE_CHECKING:
    from andon.store.records import AgentAction

app = typer.Typer(
    no_args_is_help=True, help="Approve or reject what the agent asks for.", rich_markup_mode=None
)


@app.command("list", short_help="List what waits for people.")
def list_pending(home: Home = None, model: OneModel = None, as_json: Json = False) -> None:
    """List what waits for people, oldest first."""
    with opened(home) as platform:
        found = platform.db.actions.pending(model)
    if as_json:
        output.print_json(found)
        return
    if not found:
        output.say("Nothing waits for approval.")
        return
    output.table(
        ["action", "what", "model", "risk", "agreed", "until", "why"],
        [
            [
                one.action_id,
                one.action_type,
                one.model,
                one.risk_level,
                _agreed(one),
                output.moment(one.expires_at),
                one.reason,
            ]
            for one in found
        ],
    )


@app.command(short_help="Show one action with its evidence.")
def show(action_id: ActionId, home: Home = None, as_json: Json = False) -> None:
    """Show one action: why, with which numbers, who said what, what came of it."""
    with opened(home) as platform:
        found = platform.db.actions.get(full_id(platform, action_id))
    if as_json:
        output.print_json(found)
        return
    output.fields(
        {
            "action": found.action_id,
            "what": found.action_type,
            "model": found.model,
            "version": f"v{found.model_version}" if found.model_version else None,
            "risk": found.risk_level,
            "status": "dry run" if found.dry_run else found.status,
            "why": found.reason,
            "exactly": ", ".join(f"{k}={v}" for k, v in found.parameters.items()),
            "asked": output.moment(found.created_at),
            "until": output.moment(found.expires_at),
            "agreed": _agreed(found) if found.approvals_needed else "",
            "done": output.moment(found.executed_at),
            "result": result_of(found),
        }
    )
    for one in found.reviews:
        said = f": {one.comment}" if one.comment else ""
        output.say(f"{output.moment(one.at)}  {one.by}  {one.decision}{said}")
    for signal in found.evidence.get("signals", []):
        output.say(f"- {signal['summary']}")


@app.command(short_help="Agree to an action.")
def approve(action_id: ActionId, home: Home = None, by: By = None, comment: Comment = "",
            as_json: Json = False) -> None:  # fmt: skip
    """Agree to an action; the server that watches does it within a second or two."""
    with opened(home) as platform:
        action = platform.agent.approve(full_id(platform, action_id), by or actor(), comment)
    say_state(action, as_json=as_json)


@app.command(short_help="Refuse an action.")
def reject(action_id: ActionId, home: Home = None, by: By = None, comment: Comment = "",
           as_json: Json = False) -> None:  # fmt: skip
    """Refuse an action for good; the agent does not propose the same for a day."""
    with opened(home) as platform:
        action = platform.agent.reject(full_id(platform, action_id), by or actor(), comment)
    say_state(action, as_json=as_json)


def _agreed(action: "AgentAction") -> str:
    agreed = sum(one.decision == "approve" for one in action.reviews)
    return f"{agreed} of {action.approvals_needed}"
