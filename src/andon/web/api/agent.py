"""The agent over HTTP: how it stands, and the policy it goes by."""

from pathlib import Path

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from andon.agent.agent import AgentStatus
from andon.agent.policy import described
from andon.platform import Platform
from andon.web import openapi
from andon.web.agent_shapes import AgentPolicyShown
from andon.web.shapes import reply


def router(platform: Platform) -> APIRouter:
    """`/api/agent` and `/api/agent/policy`."""
    routes = APIRouter(tags=["agent"])

    @routes.get(
        "/api/agent",
        summary="How the agent stands",
        responses=openapi.answers(AgentStatus, 503, about="As it is now."),
    )
    def get_agent() -> Response:
        """Whether it acts, what waits, and how much of the day's budget is used."""
        status = platform.agent.status()
        # Where the folder lies is nobody's business.
        name = Path(status.policy_path).name
        return reply(msgspec.structs.replace(status, policy_path=name))

    @routes.get(
        "/api/agent/policy",
        summary="The policy in force",
        responses=openapi.answers(AgentPolicyShown, 503, about="As it holds now."),
    )
    def get_policy() -> Response:
        """What the agent may do by itself, for every action and every registered model.

        The file is read again when it changes. One that cannot be used loosens nothing:
        `problem` names every fault with its line.
        """
        policy, problem = platform.policy.current()
        return reply(
            AgentPolicyShown(
                path=Path(policy.path).name if policy.path else "",
                problem=problem,
                tight=policy.tight,
                **described(policy, platform.db.models.names()),
            )
        )

    return routes
