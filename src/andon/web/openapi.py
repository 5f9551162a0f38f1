"""The OpenAPI document: schemas from `shapes`, problems from `errors`, files by hand.

FastAPI describes the parameters; what is answered, and the routes that read their form
themselves, are described here, once, in the same words for all.
"""

import hashlib
from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from andon import __version__
from andon.web import (
    agent_shapes,
    alert_shapes,
    drift_shapes,
    feedback_shapes,
    floor_shapes,
    model_shapes,
    performance_shapes,
    row_shapes,
    shapes,
    telemetry_shapes,
    traffic_shapes,
    training_shapes,
)

_REF = "#/components/schemas/{name}"
_SHAPES = (
    shapes.PredictionAnswer,
    shapes.JobAccepted,
    shapes.PredictionPage,
    shapes.LoggedPrediction,
    shapes.Model,
    shapes.Deployed,
    shapes.Changed,
    shapes.RolledBack,
    shapes.DeploymentEvent,
    shapes.JobState,
    shapes.JobPage,
    shapes.Stats,
    shapes.Health,
    shapes.Alive,
    shapes.Ready,
    shapes.Compared,
    shapes.Problem,
    *row_shapes.SHAPES,
    *feedback_shapes.SHAPES,
    *model_shapes.SHAPES,
    *performance_shapes.SHAPES,
    *drift_shapes.SHAPES,
    *alert_shapes.SHAPES,
    *agent_shapes.SHAPES,
    *traffic_shapes.SHAPES,
    *training_shapes.SHAPES,
    *floor_shapes.SHAPES,
    *telemetry_shapes.SHAPES,
)

TAGS = [
    {"name": "inspection", "description": "Send a picture, get what the model finds in it."},
    {"name": "rows", "description": "Send rows of a table, get the class of each."},
    {
        "name": "feedback",
        "description": "What answers should have been, and how well versions do by it.",
    },
    {
        "name": "watching",
        "description": "How the models do: performance, drift, cameras, trends, and the alerts.",
    },
    {
        "name": "agent",
        "description": "What Andon decided to do about it, and what people say to that.",
    },
    {
        "name": "traffic",
        "description": "Who sees a candidate: canary, shadow, compare, and replays beforehand.",
    },
    {"name": "training", "description": "Train a model again, watch it, read how it was measured."},
    {"name": "predictions", "description": "The log of every answer, and its pictures."},
    {"name": "models", "description": "Versions: deploy, activate, roll back, delete."},
    {"name": "jobs", "description": "Pictures that are answered later."},
    {
        "name": "floor",
        "description": "Factory events, workers, workstations, and the numbers they make.",
    },
    {"name": "drivers", "description": "Eye telemetry and what it says."},
    {"name": "operations", "description": "Health, totals, metrics."},
]

_DESCRIPTION = """\
Andon serves models on the production line, watches them, and pulls the cord when they go wrong.

**Models.** A registered model (`pcb`) has versions 1, 2, 3 …; one is active. Routes without a
model name mean the default one; `?model=NAME` names another.

**Errors** are problem details (RFC 9457, `application/problem+json`). `detail` says what happened
to what and what to do next. `503` carries `Retry-After`.

**Access.** Bound to loopback, no credentials are needed. Elsewhere send the key in `X-API-Key`.
A closing slash in a path is accepted; every `GET` route answers `HEAD`.
"""

# Why a status comes, per status, where nothing more special is said at the route.
_WHY = {
    400: "The file or row cannot be used.",
    401: "The API key is missing or wrong.",
    403: "The Host or Origin is not accepted.",
    404: "It does not exist.",
    405: "The route does not take this method.",
    408: "The body came too slowly.",
    409: "Not possible in the present state.",
    413: "Larger than a limit allows.",
    415: "This content type or file kind is not taken.",
    422: "A field is missing, mistyped or out of range.",
    503: "Cannot be answered now; try again after `Retry-After` seconds.",
}


def answers(
    shape: type[msgspec.Struct] | Any,
    *problem_statuses: int,
    about: str = "Done.",
    table: bool = False,
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: its answer, and the problems it may give.

    Args:
        shape: A type of `shapes`, or `list[...]` of one.
        problem_statuses: Beyond 401 and 403, which the access rules may give anywhere.
        about: One sentence on the good answer.
        table: Whether it can also be had as CSV.
    """
    found: dict[int | str, dict[str, Any]] = {200: _good(shape, about)}
    if table:
        found[200]["content"]["text/csv"] = {"schema": {"type": "string"}}
    return found | problems(*problem_statuses)


def created(shape: type[msgspec.Struct], about: str) -> dict[int | str, dict[str, Any]]:
    """The answer of a route where something new was stored."""
    return {201: _good(shape, about)}


def _good(shape: Any, about: str) -> dict[str, Any]:
    return {"description": about, "content": {"application/json": {"schema": schema_of(shape)}}}


def files(*types: str, about: str) -> dict[int | str, dict[str, Any]]:
    """The good answer of a route that sends a file or a page."""
    body = {"schema": {"type": "string", "format": "binary"}}
    return {200: {"description": about, "content": dict.fromkeys(types, body)}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems a route may answer with, access ones included."""
    return {status: problem(status) for status in sorted({401, 403, *statuses})}


def problem(status: int, shape: type[msgspec.Struct] = shapes.Problem) -> dict[str, Any]:
    """One problem response; `shape` where it says more than others."""
    found: dict[str, Any] = {
        "description": f"{HTTPStatus(status).phrase}. {_WHY[status]}",
        "content": {"application/problem+json": {"schema": schema_of(shape)}},
    }
    if status == 503:
        found["headers"] = {
            "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
        }
    return found


def schema_of(shape: Any) -> dict[str, Any]:
    """A reference to a shape's schema."""
    return deepcopy(_schema_of(shape))


@cache
def _schema_of(shape: Any) -> dict[str, Any]:
    # Six hundred answers name sixty shapes, and finding out about one takes 0.2 ms.
    (schema,), _ = msgspec.json.schema_components([shape], ref_template=_REF)
    return schema


def form(
    file: dict[str, str],
    fields: dict[str, dict[str, Any]],
    *,
    required: tuple[str, ...] = (),
    example: str,
) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads a multipart form with one file.

    Args:
        file: Name and description of the file field.
        fields: The other fields: name to schema.
        required: Which of them must be there.
        example: A command that works.
    """
    ((name, about),) = file.items()
    properties = {
        name: {
            "type": "string",
            "contentMediaType": "application/octet-stream",
            "format": "binary",
            "description": about,
        }
    } | fields
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": [name, *required],
                        "properties": properties,
                    }
                }
            },
        },
        "x-codeSamples": [{"lang": "Shell", "label": "curl", "source": example}],
    }


def json_body(shape: type[msgspec.Struct], example: dict[str, Any]) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads one JSON object itself.

    Args:
        shape: Of the object.
        example: One that is taken as it stands: `/docs` sends it.
    """
    return _body({"application/json": {"schema": schema_of(shape), "example": example}})


def batch_body(
    shape: type[msgspec.Struct], line_types: Sequence[str], example: dict[str, Any]
) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads many objects itself.

    Args:
        shape: Of one.
        line_types: Content types of a body with one object per line.
        example: One object that is taken as it stands.
    """
    many = {"type": "array", "items": schema_of(shape), "minItems": 1}
    wrapped = {"type": "object", "required": ["events"], "properties": {"events": many}}
    lines = {
        "schema": {"type": "string", "description": "One JSON object per line, any number."},
        "example": msgspec.json.encode(example).decode(),
    }
    whole = {"schema": {"oneOf": [wrapped, many]}, "example": {"events": [example]}}
    return _body({"application/json": whole} | dict.fromkeys(line_types, lines))


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}


class Document:
    """The document of an application, built once, when it is first asked for."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._built: dict[str, Any] | None = None
        self._encoded = b""

    def build(self) -> dict[str, Any]:
        """The document as an object."""
        if self._built is None:
            self._built = self._build()
        return self._built

    def encoded(self) -> bytes:
        """The document as JSON."""
        if not self._encoded:
            self._encoded = msgspec.json.encode(self.build())
        return self._encoded

    def tag(self) -> str:
        """Names this document for caches."""
        return hashlib.sha256(self.encoded()).hexdigest()[:32]

    def _build(self) -> dict[str, Any]:
        document = get_openapi(
            title="Andon",
            version=__version__,
            description=_DESCRIPTION,
            routes=self._app.routes,
            tags=TAGS,
            license_info={"name": "MIT", "identifier": "MIT"},
        )
        _, components = msgspec.json.schema_components(list(_SHAPES), ref_template=_REF)
        known = document.setdefault("components", {})
        known.setdefault("schemas", {}).update(components)
        # What FastAPI describes for bodies it rejects is not what is answered here.
        for unused in ("HTTPValidationError", "ValidationError"):
            known["schemas"].pop(unused, None)
        known["securitySchemes"] = {
            "key": {
                "type": "apiKey",
                "in": "header",
                "name": "X-API-Key",
                "description": "Needed unless the server is bound to loopback.",
            }
        }
        # An empty requirement makes the key optional: on loopback there is none.
        document["security"] = [{"key": []}, {}]
        return document
