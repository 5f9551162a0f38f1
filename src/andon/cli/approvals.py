"""``andon approvals``: what waits for people, and what they say of it."""

from typing import TYPE_CHECKING

import typer

from andon.cli import output
from andon.cli.agent import ActionId, By, Comment, result_of, say_state
from andon.cli.opening import actor, opened
from andon.cli.options import Home, Json, OneModel

if TYPE_CHECKING:
    from andon.store.records import AgentAction

app = typer.Typer(no_args_is_help=True, help="Approve or reject what the agent asks for.")


@app.command("list")
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
        ["Action", "What", "Model", "Risk", "Agreed", "Until", "Why"],
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


@app.command()
def show(action_id: ActionId, home: Home = None, as_json: Json = False) -> None:
    """Show one action: why, with which numbers, who said what, what came of it."""
    with opened(home) as platform:
        found = platform.db.actions.get(action_id.lower())
    if as_json:
        output.print_json(found)
        return
    output.fields(
        {
            "Action": found.action_id,
            "What": found.action_type,
            "Model": found.model,
            "Version": found.model_version,
            "Risk": found.risk_level,
            "Status": "dry run" if found.dry_run else found.status,
            "Why": found.reason,
            "Exactly": ", ".join(f"{k}={v}" for k, v in found.parameters.items()),
            "Asked": output.moment(found.created_at),
            "Until": output.moment(found.expires_at),
            "Agreed": _agreed(found) if found.approvals_needed else "",
            "Done": output.moment(found.executed_at),
            "Result": result_of(found),
        }
    )
    for one in found.reviews:
        said = f": {one.comment}" if one.comment else ""
        output.say(f"{output.moment(one.at)}  {one.by}  {one.decision}{said}")
    for signal in found.evidence.get("signals", []):
        output.say(f"- {signal['summary']}")


@app.command()
def approve(action_id: ActionId, home: Home = None, by: By = None, comment: Comment = "",
            as_json: Json = False) -> None:  # fmt: skip
    """Agree to an action; the server that watches does it within a second or two."""
    with opened(home) as platform:
        action = platform.agent.approve(action_id.lower(), by or actor(), comment)
    say_state(action, as_json=as_json)


@app.command()
def reject(action_id: ActionId, home: Home = None, by: By = None, comment: Comment = "",
           as_json: Json = False) -> None:  # fmt: skip
    """Refuse an action for good; the agent does not propose the same for a day."""
    with opened(home) as platform:
        action = platform.agent.reject(action_id.lower(), by or actor(), comment)
    say_state(action, as_json=as_json)


def _agreed(action: "AgentAction") -> str:
    agreed = sum(one.decision == "approve" for one in action.reviews)
    return f"{agreed} of {action.approvals_needed}"
