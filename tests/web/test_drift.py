"""Drift over HTTP: looks on demand, reports and their pages, references."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from tests.monitoring.drift import builders
from tests.monitoring.drift.builders import picture, write
from tests.store.builders import add_version

from andon.errors import AndonError
from andon.logs import logging_stop
from andon.monitoring.drift import html
from andon.platform import Platform
from andon.settings import Settings
from andon.web.api import drift


class Client:
    """Calls an application without a server."""

    def __init__(self, app: FastAPI) -> None:
        self._transport = httpx.ASGITransport(app)

    def __call__(self, method: str, url: str, **given: Any) -> httpx.Response:
        """One request and its answer."""

        async def send() -> httpx.Response:
            async with httpx.AsyncClient(
                transport=self._transport, base_url="http://testserver"
            ) as client:
                return await client.request(method, url, **given)

        return asyncio.run(send())


class Served:
    """The routes of drift over an installation whose pictures became dark."""

    def __init__(self, home: Path) -> None:
        self.platform = Platform(
            Settings(home=home, _env_file=None, drift_window=50, drift_reference=200)
        )
        self.platform.start(serve=False)
        db = self.platform.db
        self.version = add_version(db, description={"task": "object-detection"})
        db.models.set_active("pcb", 1)
        random = np.random.default_rng(1)
        write(db, self.version, [picture(random, at) for at in range(1_600)])
        write(db, self.version, [picture(random, 1_600 + at, dark=0.6) for at in range(50)])
        app = FastAPI()
        app.include_router(drift.router(self.platform))
        app.add_exception_handler(AndonError, _problem)
        self.call = Client(app)

    def run(self, **body: Any) -> httpx.Response:
        """A look on demand."""
        return self.call("POST", drift.RUN, json=body)


async def _problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AndonError)
    return JSONResponse(error.problem(), status_code=error.status)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("drift") / "home")
    yield made
    made.platform.stop()
    logging_stop()


def test_a_look_on_demand_is_answered_kept_and_listed(served: Served):
    """Whole at its own address and as the newest; short in the list."""
    made = served.run(model="pcb")
    assert made.status_code == 201, made.text
    body = made.json()
    assert (body["verdict"], body["drift_detected"]) == ("drift", True)
    assert "brightness" in body["drifted_features"]
    assert body["report"]["reference"]["source"] == "learned"
    one = served.call("GET", f"{drift.REPORTS}/{body['report_id']}").json()
    assert one == body
    newest = served.call("GET", drift.STATE).json()["models"]
    assert [report["report_id"] for report in newest] == [body["report_id"]]
    listed = served.call("GET", drift.REPORTS, params={"verdict": "drift"}).json()
    assert "report" not in listed["reports"][0]
    assert listed["next_cursor"] is None


def test_a_report_is_a_page_that_stands_alone(served: Served):
    """With a policy of its own that lets nothing load; an unknown one is not found."""
    href = served.run().json()["href"]
    page = served.call("GET", href)
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"] == html.POLICY
    assert "Drift: pcb v1" in page.text
    assert (
        served.call("GET", f"/drift/reports/{'0' * 8}-0000-7000-8000-{'0' * 12}").status_code == 404
    )


def test_a_look_that_cannot_be_says_why(served: Served):
    """Too few answers, no such model, no such version."""
    assert served.run(limit=5).status_code == 422
    assert served.run(model="nothing").status_code == 404
    assert served.run(version=9).status_code == 404
    assert served.call("GET", drift.STATE, params={"model": "nothing"}).status_code == 404


def test_a_reference_is_pinned_shown_and_forgotten(served: Served):
    """Backwards, by nobody or over an empty span it is refused."""
    asked = {
        "since": builders.moment(100).isoformat(),
        "until": builders.moment(300).isoformat(),
        "by": "alice",
    }
    pinned = served.call("PUT", drift.REFERENCE, json=asked)
    assert pinned.status_code == 200, pinned.text
    assert (pinned.json()["source"], pinned.json()["count"]) == ("pinned", 200)
    assert served.call("GET", drift.REFERENCE).json()["actor"] == "alice"
    assert "pinned by alice" in served.run().json()["summary"]
    assert served.call("DELETE", drift.REFERENCE).json()["source"] == "none"
    assert served.call("DELETE", drift.REFERENCE).status_code == 404
    backwards = asked | {"until": asked["since"]}
    assert served.call("PUT", drift.REFERENCE, json=backwards).status_code == 422
    nobody = asked | {"by": ""}
    assert served.call("PUT", drift.REFERENCE, json=nobody).status_code == 422
    empty = asked | {"since": "2020-01-01T00:00:00Z", "until": "2020-01-02T00:00:00Z"}
    assert served.call("PUT", drift.REFERENCE, json=empty).status_code == 409
