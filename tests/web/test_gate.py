"""What every request and every answer passes."""

import pytest
from tests.web.conftest import Site, board, problem

ROUTES = ["/health", "/api/models", "/api/stats", "/metrics", "/openapi.json", "/", "/models"]


@pytest.mark.parametrize("path", [*ROUTES, "/nothing", "/docs", "/static/base.css"])
def test_every_answer_carries_the_security_headers(site: Site, path):
    """Whatever it is, and whatever its status."""
    headers = site.client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    policy = headers["content-security-policy"]
    assert "object-src 'none'; base-uri 'none'; frame-ancestors 'none'" in policy
    assert ("unsafe-inline" in policy) == (path == "/docs")
    assert headers["cache-control"]
    assert "server" not in headers


@pytest.mark.parametrize("path", ROUTES)
def test_head_is_get_without_the_body(site: Site, path):
    """Same status and type; nothing after the head."""
    head, get = site.client.head(path), site.client.get(path)
    assert head.status_code == get.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == get.headers["content-type"]


@pytest.mark.parametrize("path", ["/health", "/api/models", "/api/models/1", "/output/result_x"])
def test_a_closing_slash_means_nothing(site: Site, path):
    """No redirect, the same answer."""
    slashed, plain = site.client.get(f"{path}/"), site.client.get(path)
    assert slashed.status_code == plain.status_code


def test_options_tell_the_methods_and_grant_nothing(site: Site):
    """No CORS headers: pages of other origins get no permission."""
    answer = site.client.options("/api/models/1", headers={"Origin": "http://evil.example"})
    assert answer.status_code == 204
    assert answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS"
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert site.client.options("/api/predict").headers["allow"] == "OPTIONS, POST"
    problem(site.client.options("/nothing"), 404)


def test_the_wrong_method_is_405_with_the_right_ones(site: Site):
    """All of the path's, not only the first route's."""
    answer = site.client.put("/api/models/1")
    problem(answer, 405, "PUT", "DELETE")
    assert answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS"
    problem(site.client.get("/api/predict"), 405)
    problem(site.client.delete("/health"), 405)
    problem(site.client.request("PROPFIND", "/api/models"), 405)


@pytest.mark.parametrize("path", ["/nothing", "/api/nothing", "/api", "/api/models/1/2/3", "/%00"])
def test_an_unknown_path_is_a_problem(site: Site, path):
    """RFC 9457 for everything, the framework's own refusals included."""
    body = problem(site.client.get(path), 404)
    assert body["title"] == "Not found"


def test_a_browser_gets_a_page_and_a_program_a_problem(site: Site):
    """For pages; the interface answers programs, whoever asks."""
    accept = {"Accept": "text/html,application/xhtml+xml"}
    page = site.client.get("/nothing", headers=accept)
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    problem(site.client.get("/api/nothing", headers=accept), 404)


def test_a_bug_is_answered_without_its_insides_and_logged(site: Site, monkeypatch, caplog):
    """500 with an incident id that is in the log."""

    def broken(*_args, **_more):
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(site.platform.db.predictions, "stats", broken)
    body = problem(site.client.get("/api/stats"), 500, "incident")
    assert "hunter2" not in str(body)
    incident = body["detail"].split("incident ")[1].split(")")[0]
    assert incident in caplog.text
    monkeypatch.setattr(site.platform.engine, "answer", broken)
    body = problem(site.predict(), 500, "incident")
    assert "hunter2" not in str(body)


STRANGE = [
    "%00",
    "%ff%fe",
    "%ed%a0%80",
    "9" * 5000,
    "-1",
    "1e309",
    "NaN",
    "0001-01-01T00:00:00%2B14:00",
    "9999-12-31T23:59:59-14:00",
    "1900-01-01T00:00:00Z",
    "2016-12-31T23:59:60Z",
    "a" * 4000,
    "'; DROP TABLE predictions; --",
    "%F0%9F%94%A5",
    "../../etc/passwd",
    "{}",
    "[]",
    "%0d%0aX: 1",
]


@pytest.mark.parametrize("value", STRANGE)
def test_no_value_makes_the_server_fail(site: Site, value):
    """In every path and every parameter: an answer below 500."""
    get = site.client.get
    for name in ("model", "version", "label", "source", "status", "subject", "since", "until"):
        assert get(f"/api/predictions?{name}={value}").status_code < 500, name
    for path in (
        f"/api/predictions?cursor={value}&limit={value}",
        f"/api/predictions/{value}",
        f"/api/predictions/{value}/image",
        f"/api/models/{value}",
        f"/api/models?model={value}",
        f"/api/events?limit={value}&model={value}",
        f"/api/stats?model={value}",
        f"/api/jobs/{value}",
        f"/api/jobs?status={value}&cursor={value}",
        f"/output/{value}",
        f"/output/result_{value}",
        f"/static/{value}",
        f"/docs/assets/{value}",
        f"/login?next={value}",
        f"/{value}",
        f"/?{value}={value}",
    ):
        assert get(path).status_code < 500, path
    files = {"image": ("b.png", board())}
    query = f"threshold={value}&async={value}&subject={value}&model={value}&{value}"
    assert site.client.post(f"/api/predict?{query}", files=files).status_code < 500


@pytest.mark.parametrize("reason", ["\\u0000", "\\ud800", "x\\ud800y", "\\u202e"])
def test_no_text_in_a_body_makes_the_server_fail(site: Site, reason):
    """NUL and halves of characters cannot be stored; they are refused, not tried."""
    headers = {"Content-Type": "application/json"}
    body = f'{{"reason": "{reason}"}}'.encode()
    answer = site.client.post("/api/rollback", content=body, headers=headers)
    assert answer.status_code in {409, 422}
    answer = site.client.post("/api/models/77/activate", content=body, headers=headers)
    assert answer.status_code in {404, 422}


def test_other_bodies_are_bounded(site: Site):
    """1 MB is more than any of them needs."""
    body = b'{"reason": "' + b"x" * 1_100_000 + b'"}'
    headers = {"Content-Type": "application/json"}
    problem(site.client.post("/api/rollback", content=body, headers=headers), 413)
    problem(site.client.post("/api/rollback", content=iter([body]), headers=headers), 413)
    problem(site.client.request("GET", "/api/models", content=body), 413)


def test_a_connection_goes_on_after_a_small_refused_body(site: Site):
    """Keep-alive survives a 404 with a body nobody read."""
    with site.client.stream("POST", "/nothing", content=b"x" * 1000) as first:
        first.read()
        assert first.status_code == 404
        assert "connection" not in first.headers
    assert site.predict(board()).status_code == 200
