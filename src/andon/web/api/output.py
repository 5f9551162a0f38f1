"""Annotated pictures: drawn when they are first asked for, then sent from a cache."""

import asyncio
import re

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from andon.errors import NotFound
from andon.platform import Platform
from andon.serving.annotate import annotated
from andon.store.records import Prediction
from andon.web import openapi, pictures

# A picture of 40 megapixels takes a few hundred megabytes while it is drawn on.
_DRAWN_AT_A_TIME = 2

_BY_ID = re.compile(r"result_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:_.*)?", re.DOTALL)


def router(platform: Platform) -> APIRouter:
    """`/output/{filename}`."""
    routes = APIRouter(tags=["predictions"])
    drawing = asyncio.Semaphore(_DRAWN_AT_A_TIME)

    @routes.get(
        "/output/{filename}",
        summary="The picture with its boxes drawn",
        response_class=Response,
        responses={
            **openapi.files(*pictures.TYPES[:2], about="The annotated picture."),
            **openapi.problems(404, 422, 503),
        },
    )
    async def output(request: Request, filename: str) -> Response:
        """The `image_url` of an answer. `result_NAME` is the newest answer to that name."""
        row, by_id = await run_in_threadpool(_meant, platform, filename)
        async with drawing:
            path = await run_in_threadpool(
                annotated, row, platform.pictures, platform.settings.output
            )
        return pictures.send(
            request, path, name=f"result_{row.image_name or path.name}", tag=row.id, forever=by_id
        )

    return routes


def _meant(platform: Platform, filename: str) -> tuple[Prediction, bool]:
    """Which answer a file name means, and whether it names it by id."""
    match = _BY_ID.fullmatch(filename)
    if match:
        return platform.db.predictions.get(match[1]), True
    name = filename.removeprefix("result_")
    possible = name != filename and name.isprintable()
    row = platform.db.predictions.newest_by_name(name) if possible else None
    if row is None:
        raise NotFound(
            f"There is no annotated picture {filename[:200]!r}.",
            hint="The image_url of an answer names one.",
        )
    return row, False
