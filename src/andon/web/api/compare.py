"""Two versions on one picture."""

import asyncio

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from andon.platform import Platform
from andon.registry.names import clean_filename
from andon.serving.compare import compare
from andon.web import openapi
from andon.web.api.predict import Budget, picture_limits, the_picture
from andon.web.multipart import read_form
from andon.web.parameters import known_model, number, positive
from andon.web.shapes import Compared, reply

PATH = "/api/compare"

# A version that does not serve is loaded for it; the line goes first.
_COMPARED_AT_A_TIME = 2


def router(platform: Platform, budget: Budget) -> APIRouter:
    """`/api/compare`."""
    routes = APIRouter(tags=["inspection"])
    limits = picture_limits(platform)
    comparing = asyncio.Semaphore(_COMPARED_AT_A_TIME)

    @routes.post(
        PATH,
        summary="Ask two versions about one picture",
        responses=openapi.answers(
            Compared, 400, 404, 408, 413, 415, 422, 503, about="Both answers, side by side."
        ),
        openapi_extra=openapi.form(
            {"image": "JPEG, PNG or BMP. The field may also be called `file`."},
            {
                "a": {"type": "integer", "minimum": 1, "description": "A version."},
                "b": {"type": "integer", "minimum": 1, "description": "Another version."},
                "model": {"type": "string", "maxLength": 64, "description": "Registered model."},
                "threshold": {"type": "number", "minimum": 0},
            },
            required=("a", "b"),
            example='curl -F "image=@board.jpg" -F a=1 -F b=2 http://127.0.0.1:8080/api/compare',
        ),
    )
    async def compare_versions(request: Request) -> Response:
        """Run one picture through two versions. A version that does not serve is loaded for it."""
        taken = 0

        def count(size: int) -> None:
            nonlocal taken
            budget.take(size)
            taken += size

        try:
            form = await read_form(
                request.receive,
                request.headers.get("content-type", "").encode("latin-1"),
                limits,
                received=count,
            )
            picture = the_picture(form)
            fields = dict(request.query_params) | form.fields
            version_a = positive("a", fields.get("a"))
            version_b = positive("b", fields.get("b"))
            threshold = number("threshold", fields.get("threshold"))
            model = await run_in_threadpool(known_model, platform, fields.get("model") or None)
            async with comparing:
                result = await run_in_threadpool(
                    compare,
                    platform.engine,
                    picture.data,
                    clean_filename(picture.filename),
                    model,
                    version_a,
                    version_b,
                    threshold,
                )
        finally:
            budget.give_back(taken)
        return reply(Compared.of(result))

    return routes
