"""The OpenAPI document and the pages that show it."""

import json
import re
from typing import Any

import pytest
from tests.support.floor import register
from tests.web.conftest import Site, problem


@pytest.fixture(scope="module")
def document(site: Site) -> dict[str, Any]:
    """The OpenAPI document."""
    body: dict[str, Any] = site.client.get("/openapi.json").json()
    return body


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_both_addresses_give_the_same_document(site: Site):
    """Decision 40; with an ETag, for it is large."""
    answer = site.client.get("/openapi.json")
    assert answer.content == site.client.get("/swagger.json").content
    etag = {"If-None-Match": answer.headers["etag"]}
    assert site.client.get("/openapi.json", headers=etag).status_code == 304


def test_every_route_of_the_interface_is_described(site: Site, document):
    """Pages and documentation are left out, nothing else is."""
    hidden = ("/docs", "/redoc", "/openapi.json", "/swagger.json", "/login", "/logout", "/static")
    described = {(path, method.upper()) for path, method, _ in operations(document)}
    for route in site.server.config.app.routes:
        api = route.path.startswith(("/api/", "/health", "/metrics", "/output", "/predict"))
        if api and not route.path.startswith(hidden):
            for method in route.methods - {"HEAD"}:
                assert (route.path_format, method) in described


def test_every_reference_resolves_and_every_operation_is_explained(document):
    """A summary, a description, a tag, an id of its own, and no framework leftovers."""
    for reference in re.findall(r"'\$ref': '#/([^']+)'", str(document)):
        place: Any = document
        for step in reference.split("/"):
            place = place[step]
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["description"], where
        assert operation["tags"], where
        assert {"200", "201", "202"} & operation["responses"].keys(), where
    assert "HTTPValidationError" not in str(document)


@pytest.mark.parametrize("path", ["/events", "/events/batch", "/telemetry", "/telemetry/batch"])
def test_what_the_documentation_sends_is_taken(fresh: Site, document, path):
    """The examples are what `/docs` fills in: they are stored as they stand."""
    register(fresh.platform.db)
    contents = document["paths"][path]["post"]["requestBody"]["content"]
    for content_type, content in contents.items():
        example = content["example"]
        body = example if isinstance(example, str) else json.dumps(example)
        answer = fresh.client.post(path, content=body, headers={"Content-Type": content_type})
        assert answer.status_code in {200, 201}, answer.text


def test_problems_are_described_as_problems(document):
    """Every refusal has the one shape; 503 names Retry-After."""
    for path, method, operation in operations(document):
        for status, response in operation["responses"].items():
            if status.startswith("2") or path == "/health/ready":
                continue
            assert response["content"].keys() == {"application/problem+json"}, (
                path,
                method,
                status,
            )
            assert status != "503" or "Retry-After" in response["headers"]


def test_answers_have_the_described_shape(site: Site, document):
    """Every property that is answered is described, every required one is answered."""
    schemas = document["components"]["schemas"]

    def check(name: str, body: dict[str, Any]) -> None:
        schema = schemas[name]
        assert set(schema["required"]) <= body.keys() <= set(schema["properties"]), name

    prediction = site.predict().json()
    check("PredictionAnswer", prediction)
    check("JobAccepted", site.predict(**{"async": "true"}).json())
    check("Model", site.client.get("/api/models").json()[0])
    check("ModelDetail", site.client.get("/api/models/1").json())
    check("Stats", site.client.get("/api/stats").json())
    check("Health", site.client.get("/health").json())
    check("Ready", site.client.get("/health/ready").json())
    check("Alive", site.client.get("/health/live").json())
    page = site.client.get("/api/predictions").json()
    check("PredictionPage", page)
    check("LoggedPrediction", page["items"][0])
    check("JobState", site.client.get("/api/jobs").json()["items"][0])
    check("DeploymentEvent", site.client.get("/api/events").json()[0])
    check("Problem", problem(site.client.get("/api/models/99"), 404))


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_pages_need_nothing_from_outside(site: Site, path):
    """Every script and style sheet is served from here, and is there."""
    page = site.client.get(path)
    assert page.status_code == 200
    assert "http:" not in page.text
    assert "https:" not in page.text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert loaded
    for address in loaded:
        asset = site.client.get(address)
        assert asset.status_code == 200
        assert asset.headers["content-type"].split(";")[0] in {"text/javascript", "text/css"}
        assert len(asset.content) > 100
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe-eval" not in policy


def test_redoc_does_not_ask_its_makers_for_their_mark(site: Site):
    """The one picture it would fetch is left out of the script; the rest of it is as it came."""
    script = site.client.get("/docs/assets/redoc.standalone.js")
    assert script.headers["cache-control"] == "private, max-age=3600"
    assert "cdn.redoc.ly" not in script.text
    assert 'src:"data:,"' in script.text


def test_every_problem_type_leads_to_its_explanation(site: Site):
    """`type` is an address that can be opened."""
    page = site.client.get("/docs/errors").text
    for answer in (
        site.client.get("/nothing"),
        site.client.put("/api/models"),
        site.client.get("/api/predictions?limit=0"),
        site.client.post("/api/predict", content=b"x"),
        site.predict(b"x"),
    ):
        path, _, anchor = answer.json()["type"].partition("#")
        assert path == "/docs/errors"
        assert f'id="{anchor}"' in page
