"""Versions of models over HTTP: list, deploy, move between stages, compare, delete."""

import asyncio
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from andon import typed
from andon.errors import Conflict, InvalidRequest, UnsupportedMedia, UnusableUpload
from andon.monitoring import labels
from andon.monitoring.comparison import RowComparison, compare_rows, stored_rows
from andon.platform import Platform
from andon.registry.names import clean_filename, clean_model_name
from andon.serving.stages import move, next_stages
from andon.store.records import ModelVersion
from andon.web import openapi, problems
from andon.web.bodies import decoded, read_body
from andon.web.model_shapes import ModelDetail, SentComparison, SentStage, StageSet
from andon.web.multipart import OVERHEAD_BYTES, Form, FormLimits, Upload, read_form
from andon.web.parameters import NO_NUL, ModelQuery, VersionPath, invalid, known_model, yes_or_no
from andon.web.shapes import Changed, Deployed, DeploymentEvent, Model, RolledBack, reply

UPLOAD = "/api/models/upload"
COMPARE = "/api/models/compare"

_SUFFIXES = (".eim", ".onnx")
_TYPES = frozenset({"", "application/octet-stream", "application/onnx", "application/x-onnx"})
_MAX_NOTES = 2000
_MAX_REASON = 500

# Proving a model takes the machine for seconds; more of them at a time would only be slower.
_PROVED_AT_A_TIME = 2
# As in `compare`: a version that does not serve is loaded for it.
_COMPARED_AT_A_TIME = 2
_STAGE_BYTES = 16 * 1024


class Reason(BaseModel):
    """Why something is done; it is kept with the deployment event."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(
        default="", max_length=_MAX_REASON, pattern=NO_NUL, description="Shown in the history."
    )


class Rollback(BaseModel):
    """Which model goes back, and why."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(
        default=None, max_length=64, description="Default: the default model."
    )
    reason: str = Field(
        default="", max_length=_MAX_REASON, pattern=NO_NUL, description="Shown in the history."
    )


def router(platform: Platform) -> APIRouter:
    """`/api/models…`, `/api/rollback`, `/api/events`."""
    routes = APIRouter(tags=["models"])
    _reading(routes, platform)
    _upload(routes, platform)
    _changing(routes, platform)
    _stages(routes, platform)
    _comparing(routes, platform)
    return routes


def _reading(routes: APIRouter, platform: Platform) -> None:
    @routes.get(
        "/api/models",
        summary="List versions",
        responses=openapi.answers(list[Model], 404, 422, about="Newest version first."),
    )
    def list_models(model: ModelQuery = None) -> Response:
        """Every version of a model that was not deleted."""
        versions = platform.db.models.list(known_model(platform, model))
        return reply([_shown(platform, version) for version in versions])

    @routes.get(
        "/api/models/{version:int}",
        summary="One version",
        responses=openapi.answers(ModelDetail, 404, 422, about="The version."),
    )
    def get_model(version: VersionPath, model: ModelQuery = None) -> Response:
        """What is known of one version: how it was made and measured, and how it does now."""
        found = platform.db.models.get(known_model(platform, model), version)
        run = platform.db.models.training_run(found.id)
        return reply(
            ModelDetail.whole(
                found,
                loaded=_loaded(platform, found),
                next_stages=next_stages(found),
                history=platform.db.events.of_version(found.model, version),
                training=None if run is None else platform.db.training.get(run),
                live=labels.measure(platform.db, found),
            )
        )

    @routes.get(
        "/api/events",
        summary="Deployment history",
        responses=openapi.answers(list[DeploymentEvent], 404, 422, about="Newest first."),
    )
    def events(
        model: ModelQuery = None,
        limit: Annotated[int, Query(ge=1, le=500, description="At most so many.")] = 50,
    ) -> Response:
        """Which version was activated, rolled back or deleted when, by whom and why."""
        found, _ = platform.db.events.page(model=known_model(platform, model), limit=limit)
        return reply([DeploymentEvent.of(event) for event in found])


def _upload(routes: APIRouter, platform: Platform) -> None:
    limits = FormLimits(
        file_fields=frozenset({"model", "file"}),
        max_file_bytes=platform.settings.max_model_bytes,
        file_kind="model file",
        check=_check_file,
    )
    proving = asyncio.Semaphore(_PROVED_AT_A_TIME)

    @routes.post(
        UPLOAD,
        summary="Deploy a model file",
        responses=openapi.answers(
            Deployed, 400, 408, 409, 413, 415, 422, 503, about="Registered, and active."
        ),
        openapi_extra=openapi.form(
            {"model": "An .onnx or .eim file. What it is, is decided by its content."},
            {
                "notes": {"type": "string", "maxLength": _MAX_NOTES},
                "model_name": {
                    "type": "string",
                    "maxLength": 64,
                    "description": "Registered model to add it to. Default: the default model.",
                },
                "options": {
                    "type": "string",
                    "description": "JSON object that overrides what is recognised: task, head, "
                    "labels, resize, width, height, layout, scale, threshold.",
                    "examples": ['{"threshold": 0.4}'],
                },
                "activate": {
                    "type": "boolean",
                    "default": True,
                    "description": "false: register and prove it, but leave serving as it is.",
                },
            },
            example='curl -F "model=@detector.onnx" -F "notes=Production model v3" '
            "http://127.0.0.1:8080/api/models/upload",
        ),
    )
    async def upload(request: Request) -> Response:
        """Register a model file, prove it on this machine, and switch to it.

        It is loaded, warmed and run on a sample first. Where that fails the answer is 400 with
        the reason, and what was active goes on serving. A file that is registered already is
        answered with its version and activated.
        """
        incoming = platform.deployments.receive()
        with incoming:
            form = await read_form(
                request.receive,
                request.headers.get("content-type", "").encode("latin-1"),
                limits,
                spill=incoming.write,
            )
            wish = _wish(form)
            if form.file is None:
                raise UnusableUpload("No file provided.", hint="Send it in the form field `model`.")
            if not form.file.size:
                raise UnusableUpload("The model file is empty.", hint="Send the complete file.")
            filename = clean_filename(form.file.filename)
            async with proving:
                deployed = await run_in_threadpool(
                    lambda: platform.deployments.deploy(
                        incoming.finish(),
                        filename=filename,
                        model=wish.model,
                        notes=wish.notes,
                        options=wish.options,
                        source="upload",
                        actor="api",
                        activate=wish.activate,
                    )
                )
        version = deployed.version
        done = "deployed" if wish.activate else "registered"
        return reply(
            Deployed(
                message=f"Model v{version.version} {done}",
                version=version.version,
                model=version.model,
                duplicate=deployed.duplicate,
                warnings=list(version.description.get("warnings", ())),
            )
        )


def _changing(routes: APIRouter, platform: Platform) -> None:
    @routes.post(
        "/api/models/{version:int}/activate",
        summary="Activate a version",
        responses=openapi.answers(Changed, 400, 404, 409, 422, 503, about="It serves now."),
    )
    def activate(
        version: VersionPath,
        model: ModelQuery = None,
        why: Annotated[Reason | None, Body()] = None,
    ) -> Response:
        """Prove a version again, then switch to it. Requests in flight finish on the old one."""
        reason = why.reason if why else ""
        done = platform.deployments.activate(
            known_model(platform, model), version, reason or "Activated over HTTP", "api"
        )
        return reply(Changed(message=f"Model v{done.version} activated", version=done.version))

    @routes.delete(
        "/api/models/{version:int}",
        summary="Delete a version",
        responses=openapi.answers(Changed, 400, 404, 422, 503, about="It is gone."),
    )
    def delete(request: Request, version: VersionPath, model: ModelQuery = None) -> Response:
        """Delete a version and its file. Its log rows stay. The active one cannot be deleted."""
        try:
            platform.deployments.delete(known_model(platform, model), version)
        except Conflict as error:
            # 400, not 409: what this route has always promised.
            return problems.respond(error, request.scope, status=400)
        return reply(Changed(message=f"Model v{version} deleted", version=version))

    @routes.post(
        "/api/rollback",
        summary="Roll back",
        responses=openapi.answers(
            RolledBack, 404, 409, 422, 503, about="The version before serves again."
        ),
    )
    def rollback(wish: Annotated[Rollback | None, Body()] = None) -> Response:
        """Go back to the version that served before. 409 when there is none."""
        wish = wish or Rollback()
        model = known_model(platform, wish.model)
        left, now_active = platform.rollback(model, wish.reason or "Rolled back over HTTP", "api")
        return reply(
            RolledBack(
                message=f"Model rolled back from v{left} to v{now_active.version}",
                version=now_active.version,
                previous_version=left,
                model=model,
            )
        )


def _stages(routes: APIRouter, platform: Platform) -> None:
    @routes.post(
        "/api/models/{version:int}/stage",
        summary="Move a version to another stage",
        responses=openapi.answers(StageSet, 400, 404, 409, 413, 422, 503, about="It is there now."),
        openapi_extra=openapi.json_body(SentStage, {"stage": "staging", "reason": "Looks good"}),
    )
    async def set_stage(
        request: Request, version: VersionPath, model: ModelQuery = None
    ) -> Response:
        """Move a version between staging, production and archived; the reason is kept.

        `production` proves it and switches to it, as activating does. 409 where there is no
        way: the version that serves stays until another one does, and one that did not pass
        the gate of its training goes by staging.
        """
        wish = decoded(await read_body(request, _STAGE_BYTES), SentStage)
        if "\x00" in wish.reason:
            raise invalid("reason", "must not hold NUL characters")

        def change() -> StageSet:
            name = known_model(platform, model)
            before, after = move(
                platform.db, platform.deployments, name, version, wish.stage, wish.reason, "api"
            )
            return typed.convert(
                {
                    "message": f"Model v{version} moved to {after.status}",
                    "model": name,
                    "version": version,
                    "stage": after.status,
                    "previous_stage": before,
                },
                StageSet,
            )

        return reply(await run_in_threadpool(change))


def _comparing(routes: APIRouter, platform: Platform) -> None:
    comparing = asyncio.Semaphore(_COMPARED_AT_A_TIME)

    @routes.post(
        COMPARE,
        summary="Compare two versions on the same rows",
        responses=openapi.answers(
            RowComparison, 400, 404, 408, 409, 413, 415, 422, 503, about="Both, side by side."
        ),
        openapi_extra=openapi.json_body(SentComparison, {"model": "heart-disease", "a": 1, "b": 2}),
    )
    async def compare_versions_on_rows(request: Request) -> Response:
        """Ask two versions of a tabular model about the same rows.

        About the newest rows with feedback, or rows that are sent. Nothing is logged as a
        prediction, and no totals change. Intervals are of 95 %; those of differences come from
        a paired bootstrap.
        """
        data = await read_body(request, comparison_limit(platform))
        wish = decoded(data, SentComparison)
        if wish.rows and wish.source == "labelled":
            raise invalid("source", "must be rows where rows are sent")
        if not wish.rows and wish.source == "rows":
            raise invalid("rows", "must hold at least one row")

        def compare() -> RowComparison:
            name = known_model(platform, wish.model)
            return compare_rows(
                platform.engine.fleet,
                name,
                wish.a,
                wish.b,
                wish.rows or stored_rows(platform.db, name),
                timeout=platform.settings.request_timeout,
            )

        async with comparing:
            return reply(await run_in_threadpool(compare))


class _Wish(msgspec.Struct):
    """What the fields around an uploaded model say."""

    model: str | None
    notes: str
    options: dict[str, Any]
    activate: bool


def _wish(form: Form) -> _Wish:
    name = form.fields.get("model_name", "").strip()
    notes = form.fields.get("notes", "").strip()
    if len(notes) > _MAX_NOTES:
        raise invalid("notes", f"must have at most {_MAX_NOTES} characters")
    if "\x00" in notes:
        raise invalid("notes", "must not hold NUL characters")
    try:
        options = typed.decode(form.fields.get("options", "").strip() or "{}", dict[str, Any])
    except msgspec.DecodeError as error:
        raise InvalidRequest(
            f"The options are not valid: {error}.",
            errors=[{"field": "options", "detail": str(error)}],
        ) from None
    return _Wish(
        model=clean_model_name(name) if name else None,
        notes=notes,
        options=options,
        activate=yes_or_no("activate", form.fields.get("activate"), default=True),
    )


def _check_file(upload: Upload) -> None:
    """Refuse by name and declared type, before the content is received."""
    if not upload.filename.lower().endswith(_SUFFIXES):
        raise UnusableUpload(
            f"Invalid file type: {clean_filename(upload.filename)!r} is no model file.",
            hint="Send a file that ends in .eim or .onnx.",
        )
    if upload.content_type.partition("/")[0] in {"image", "text", "video", "audio"}:
        raise UnsupportedMedia(
            f"A model file cannot be {upload.content_type[:60]}.",
            hint="Declare it as application/octet-stream.",
        )


def _shown(platform: Platform, version: ModelVersion) -> Model:
    return Model.of(version, loaded=_loaded(platform, version))


def _loaded(platform: Platform, version: ModelVersion) -> bool:
    slot = platform.engine.states().get(version.model)
    return slot is not None and slot.serving == version.version


def body_limit(platform: Platform) -> int:
    """Largest body of an upload, bytes."""
    return platform.settings.max_model_bytes + OVERHEAD_BYTES


def comparison_limit(platform: Platform) -> int:
    """Largest body of a comparison on rows, bytes."""
    return platform.settings.max_batch_bytes
