"""Traffic over HTTP: which version is tried beside the active one, and how that goes."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from andon.platform import Platform
from andon.store.records import Rollout
from andon.web import openapi
from andon.web.api.predictions import Cursor, Limit
from andon.web.bodies import decoded, read_body
from andon.web.parameters import NO_NUL, UUID, ModelQuery, invalid, known_model
from andon.web.shapes import reply
from andon.web.traffic_shapes import (
    RolloutPage,
    RolloutShown,
    SentTraffic,
    SentWeight,
    TrafficState,
)

PATH = "/api/traffic"

_MAX_BODY = 16 * 1024
_ACTOR = "api"
_EXAMPLE = {"mode": "canary", "version": 7, "weight": 0.1, "reason": "Monthly A/B"}

RolloutPath = Annotated[str, Path(pattern=UUID, description="`id` of a rollout.")]


def router(platform: Platform) -> APIRouter:
    """`/api/traffic` and `/api/rollouts…`."""
    routes = APIRouter(tags=["traffic"])
    _changing(routes, platform)
    _reading(routes, platform)
    return routes


def _changing(routes: APIRouter, platform: Platform) -> None:
    @routes.put(
        PATH,
        summary="Try a version beside the active one",
        responses=openapi.answers(
            RolloutShown, 400, 404, 408, 409, 413, 415, 422, 503, about="It is tried from now on."
        ),
        openapi_extra=openapi.json_body(SentTraffic, _EXAMPLE),
    )
    async def try_version(request: Request) -> Response:
        """Let a candidate take part: as canary, shadow, or for comparison.

        It is loaded first; one that cannot be changes nothing. Said again about the version
        that is tried already in this way it changes the weight. 409 where another one is.
        """
        wish = decoded(await read_body(request, _MAX_BODY), SentTraffic)
        if "\x00" in wish.reason:
            raise invalid("reason", "must not hold NUL characters")
        return reply(RolloutShown.of(await run_in_threadpool(_try, platform, wish)))

    @routes.patch(
        PATH,
        summary="Change the share of a candidate",
        responses=openapi.answers(
            RolloutShown, 400, 404, 408, 409, 413, 415, 422, 503, about="It is in force."
        ),
        openapi_extra=openapi.json_body(SentWeight, {"weight": 0.25}),
    )
    async def change_weight(request: Request) -> Response:
        """Whoever was answered by the candidate at a smaller share is so at a greater one."""
        wish = decoded(await read_body(request, _MAX_BODY), SentWeight)

        def change() -> Rollout:
            name = known_model(platform, wish.model)
            return platform.engine.traffic.set_weight(name, wish.weight)

        return reply(RolloutShown.of(await run_in_threadpool(change)))

    @routes.delete(
        PATH,
        summary="Stop trying a version",
        responses=openapi.answers(RolloutShown, 404, 409, 422, 503, about="It is over."),
    )
    def stop(
        model: ModelQuery = None,
        reason: Annotated[
            str, Query(max_length=500, pattern=NO_NUL, description="Shown in the history.")
        ] = "",
    ) -> Response:
        """The active version answers alone again; requests on the candidate finish."""
        name = known_model(platform, model)
        outcome = reason or "Stopped over HTTP"
        return reply(RolloutShown.of(platform.engine.traffic.stop(name, "stopped", outcome)))


def _reading(routes: APIRouter, platform: Platform) -> None:
    @routes.get(
        PATH,
        summary="Who answers",
        responses=openapi.answers(list[TrafficState], 404, 422, 503, about="By model."),
    )
    def traffic(
        model: Annotated[
            str | None, Query(max_length=64, description="This model alone. Default: all.")
        ] = None,
    ) -> Response:
        """Every model: the active version, the one that is tried, and what is known of it."""
        if model is not None:
            names = [known_model(platform, model)]
        else:
            names = sorted(platform.db.models.names())
        running = {rollout.model: rollout for rollout in platform.db.rollouts.all_running()}
        return reply([traffic_state(platform, name, running.get(name)) for name in names])

    @routes.get(
        "/api/rollouts",
        summary="List rollouts",
        responses=openapi.answers(RolloutPage, 404, 422, 503, about="Newest first."),
    )
    def rollouts(
        model: Annotated[
            str | None, Query(max_length=64, description="Of this model. Default: of all.")
        ] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        """Versions that were tried, and what came of it."""
        name = None if model is None else known_model(platform, model)
        found, following = platform.db.rollouts.page(
            name, before=cursor.lower() if cursor else None, limit=limit
        )
        return reply(RolloutPage([RolloutShown.of(rollout) for rollout in found], following))

    @routes.get(
        "/api/rollouts/{rollout_id}",
        summary="One rollout",
        responses=openapi.answers(RolloutShown, 404, 422, 503, about="With its last judgement."),
    )
    def rollout(rollout_id: RolloutPath) -> Response:
        """One version that is or was tried."""
        return reply(RolloutShown.of(platform.db.rollouts.get(rollout_id.lower())))


def traffic_state(platform: Platform, model: str, rollout: Rollout | None) -> TrafficState:
    """Who answers for one model.

    Args:
        platform: Whose.
        model: Registered model.
        rollout: The one that runs, or None.
    """
    active = platform.db.models.active(model)
    split = platform.engine.traffic.split(model)
    mine = split is not None and rollout is not None and split.rollout.id == rollout.id
    shown = None if rollout is None else RolloutShown.of(rollout)
    return TrafficState(
        model=model,
        active=None if active is None else active.version,
        mode="active" if shown is None else shown.mode,
        candidate=None if shown is None else shown.candidate,
        weight=None if shown is None else shown.weight,
        suspended=split.suspended if mine and split is not None else "",
        rollout=shown,
    )


def _try(platform: Platform, wish: SentTraffic) -> Rollout:
    """Begin, or change the weight of the same."""
    name = known_model(platform, wish.model)
    traffic = platform.engine.traffic
    running = platform.db.rollouts.running(name)
    if running is not None and (running.mode, running.candidate) == (wish.mode, wish.version):
        return running if wish.weight is None else traffic.set_weight(name, wish.weight)
    return traffic.start(
        name,
        wish.mode,
        wish.version,
        wish.weight,
        actor=_ACTOR,
        reason=wish.reason or "Begun over HTTP",
    )
