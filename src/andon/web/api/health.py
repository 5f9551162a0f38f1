"""Whether the server is well: for people, load balancers and start-up scripts."""

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from datetime import timedelta

from fastapi import APIRouter
from starlette.responses import Response

from andon import typed
from andon.errors import AndonError
from andon.platform import Platform
from andon.store.clock import now
from andon.web import openapi
from andon.web.shapes import Alive, Check, Health, Ready, reply

# A database that does not answer in this time is not well, whatever it says later.
_CHECK_SECONDS = 2.0

# Requests can be answered all the same.
_NOT_FOR_REQUESTS = {"disk", "mqtt", "watch", "alerts"}

# Nobody has looked for so many intervals, and at least for so long: nobody watches.
_INTERVALS = 3
_UNWATCHED = timedelta(seconds=90)

_GOOD = Check(ok=True, detail="")


def router(platform: Platform) -> APIRouter:
    """`/health`, `/health/live`, `/health/ready`."""
    routes = APIRouter(tags=["operations"])

    @routes.get(
        "/health",
        summary="How the server is",
        responses={200: openapi.answers(Health, about="The state, whatever it is.")[200]},
    )
    async def health() -> Response:
        """Always 200 while the process answers; `status` and `checks` say how it is.

        `healthy`: operational with an active model, whichever it is. `no_model`: none is active.
        `degraded`: an active model is not loaded, a critical alert is open, nobody watches, or
        something it depends on fails.
        `active_model` is about the default model.
        """
        checks = await look(platform)
        active, queued = await _totals(platform)
        if not all(check.ok for check in checks.values()):
            status = "degraded"
        else:
            status = "healthy" if platform.engine.states() else "no_model"
        return reply(
            Health(
                status=typed.convert(status, Health.__annotations__["status"]),
                active_model=active,
                redis_available=False,
                queue_size=queued,
                timestamp=now(),
                checks=checks,
            )
        )

    @routes.get(
        "/health/live",
        summary="Whether the process answers",
        responses={200: openapi.answers(Alive, about="It does.")[200]},
    )
    async def live() -> Response:
        """For a supervisor that restarts what no longer answers."""
        return reply(Alive())

    @routes.get(
        "/health/ready",
        summary="Whether requests should be sent here",
        responses={
            200: openapi.answers(Ready, about="Yes.")[200],
            503: openapi.answers(Ready, about="Not now; `reason` says why.")[200],
        },
    )
    async def ready() -> Response:
        """Yes while the database answers and every active model is loaded.

        A server without any model is ready too: it can be given one.
        """
        checks = await look(platform)
        reasons = [
            check.detail
            for name, check in checks.items()
            if not check.ok and name not in _NOT_FOR_REQUESTS
        ]
        state = Ready(ready=not reasons, reason=" ".join(reasons))
        return reply(state, 200 if state.ready else 503)

    return routes


async def look(platform: Platform) -> dict[str, Check]:
    """Every check, by name; a check that hangs has failed."""
    looks: dict[str, Callable[[], str]] = {
        "database": lambda: _database(platform),
        "models": lambda: _models(platform),
        "disk": lambda: _disk(platform),
        "watch": lambda: _watch(platform),
        "alerts": lambda: _alerts(platform),
    }
    mqtt = platform.mqtt
    if mqtt is not None:
        looks["mqtt"] = mqtt.trouble
    found = await asyncio.gather(*(_looked(name, do) for name, do in looks.items()))
    return dict(zip(looks, found, strict=True))


async def _looked(name: str, do: Callable[[], str]) -> Check:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            detail = await asyncio.to_thread(do)
    except TimeoutError:
        detail = f"The {name} check did not finish within {_CHECK_SECONDS:.0f} s."
    return Check(ok=False, detail=detail) if detail else _GOOD


def _database(platform: Platform) -> str:
    try:
        platform.db.check()
    except AndonError as error:
        # Its title, not its detail: health is open to strangers, paths are not.
        return f"{error.title}. The log tells more."
    except Exception as error:
        return f"The database does not answer ({type(error).__name__})."
    return ""


def _models(platform: Platform) -> str:
    states = platform.engine.states().values()
    down = [s for s in states if s.version is not None and not s.loaded]
    return " ".join(
        f"Model {s.model} v{s.version} is active but not loaded"
        + (f"; v{s.serving} answers instead." if s.serving else ".")
        for s in down
    )


def _disk(platform: Platform) -> str:
    settings = platform.settings
    free = shutil.disk_usage(settings.home).free
    if free >= settings.min_free_bytes:
        return ""
    return f"{free // 1024**2} MB of disk are free; pictures are no longer kept."


def _watch(platform: Platform) -> str:
    status = platform.watch.status()
    if not status.enabled:
        return ""
    if not status.holder:
        return "No server watches the models."
    if status.problem:
        # Which, not what: health is open to strangers, and problems name paths and hosts.
        return f"Watching does not work in part: {', '.join(sorted(status.problems))}."
    longest = max(_UNWATCHED, timedelta(seconds=_INTERVALS * platform.settings.monitor_interval))
    begin = max((one for one in (status.last_look, status.since) if one is not None), default=None)
    if begin is not None and now() - begin > longest:
        return f"Nobody has looked at the models since {begin:%Y-%m-%d %H:%M:%S} UTC."
    return ""


def _alerts(platform: Platform) -> str:
    try:
        counts = platform.db.alerts.counts()
    except AndonError:
        # The database check says it.
        return ""
    critical = sum(
        count
        for (severity, status), count in counts.items()
        if severity == "critical" and status != "resolved"
    )
    if not critical:
        return ""
    are = "1 critical alert is" if critical == 1 else f"{critical} critical alerts are"
    return f"{are} open; /alerts shows what to do."


async def _totals(platform: Platform) -> tuple[int | None, int]:
    """The default model's active version, and how many jobs wait."""
    state = platform.engine.states().get(platform.settings.default_model)
    queued = 0
    # The database check says what is wrong; here it must not cost the whole answer.
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_CHECK_SECONDS):
            queued = await asyncio.to_thread(platform.jobs.size)
    return (state.version if state else None), queued
