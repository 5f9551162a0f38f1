"""Who may use the server."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.web.conftest import KEY, Site, board, problem

from andon.errors import ConfigurationError, Forbidden
from andon.settings import Settings
from andon.web.access import Access, Head, check_key
from andon.web.cross_origin import CrossOrigin


def access(**given) -> Access:
    return Access(Settings(_env_file=None, **given))


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8080", "127.0.0.1:8080", "127.0.0.1", "[::1]:8080", "LOCALHOST:1"],
)
def test_loopback_names_are_accepted(host):
    """With any port: a tunnel may use another."""
    access().check_origin("GET", Head(host=host.encode()))


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "", "127.0.0.1.evil.example", "192.168.1.5", "[::2]"],
)
def test_other_names_are_refused_on_loopback(host):
    """A page that rebinds its own name to 127.0.0.1 sends its name."""
    with pytest.raises(Forbidden, match="not a name of this server"):
        access().check_origin("GET", Head(host=host.encode()))


def test_a_proxys_name_can_be_allowed():
    """As Host and as Origin."""
    open_to = access(allowed_hosts="line-7.example, other")
    open_to.check_origin("GET", Head(host=b"line-7.example"))
    head = Head(host=b"localhost:8080", origin=b"https://line-7.example")
    open_to.check_origin("POST", head)


def test_without_credentials_elsewhere_addresses_are_accepted_and_names_are_not():
    """ANDON_AUTH=off on a network: rebinding needs a name, so addresses are safe."""
    off = access(host="0.0.0.0", auth="off")
    off.check_origin("GET", Head(host=b"192.168.1.5:8080"))
    with pytest.raises(Forbidden):
        off.check_origin("GET", Head(host=b"evil.example"))


@pytest.mark.parametrize(
    "origin",
    [
        b"http://evil.example",
        b"null",
        b"http://localhost:3000",
        b"http://localhost",
        b"file://",
        b"http://localhost:99999999",
        b"chrome-extension://abc",
    ],
)
def test_pages_of_other_origins_cannot_change_anything(origin):
    """Another port of this machine is another origin too."""
    head = Head(host=b"localhost:8080", origin=origin)
    access().check_origin("GET", head)
    for method in ("POST", "DELETE", "PUT"):
        with pytest.raises(Forbidden, match="comes from"):
            access().check_origin(method, head)


def test_our_own_pages_can():
    """The browser sends the origin with every POST."""
    access().check_origin("POST", Head(host=b"localhost:8080", origin=b"http://localhost:8080"))
    access().check_origin("POST", Head(host=b"[::1]:8080", origin=b"http://[::1]:8080"))
    access().check_origin("POST", Head(host=b"localhost", origin=b"http://localhost:80"))


def test_cross_site_requests_are_refused_by_the_browsers_own_word():
    """Sec-Fetch-Site cannot be set by a page."""
    head = Head(host=b"localhost", fetch_site=b"cross-site")
    with pytest.raises(Forbidden, match="another site"):
        access().check_origin("POST", head)
    access().check_origin("GET", head)


@pytest.mark.parametrize("key", ["", "changeme", "Secret", "short-key-15chr", "x" * 30])
@pytest.mark.parametrize("given", [{"host": "0.0.0.0"}, {"auth": "required"}])
def test_a_key_that_protects_nothing_stops_the_start(key, given):
    """Missing, a placeholder or too short."""
    with pytest.raises(ConfigurationError, match="ANDON_API_KEY"):
        check_key(Settings(_env_file=None, api_key=key, **given))
    check_key(Settings(_env_file=None, api_key=KEY, **given))


def test_documented_placeholder_keys_are_known():
    """The one of the compose files that people copy."""
    key = "your-secret-api-key-change-in-production"
    with pytest.raises(ConfigurationError, match="placeholder"):
        check_key(Settings(_env_file=None, host="0.0.0.0", api_key=key))


def test_on_loopback_no_key_is_needed():
    """And none has to be set; auth=off is the owner's word elsewhere."""
    check_key(Settings(_env_file=None))
    check_key(Settings(_env_file=None, host="0.0.0.0", auth="off"))


# -- Pages of other origins -----------------------------------------------------------

APP = "https://app.example"


def test_allowed_origins_are_compared_as_browsers_write_them():
    """Lower case, without the port that goes without saying."""
    listed = " HTTPS://App.Example:443/, http://localhost:3000,, http://[::1]:80 "
    settings = Settings(_env_file=None, allowed_origins=listed)
    assert settings.origins == {APP, "http://localhost:3000", "http://[::1]"}
    assert Settings(_env_file=None).origins == frozenset()


@pytest.mark.parametrize(
    "listed",
    ["*", "null", "app.example", "https://app.example/page", "https://*.example", "file://",
     "https://user@app.example", "chrome-extension://abc", f"{APP} {APP}"],
)  # fmt: skip
def test_what_is_no_origin_cannot_be_allowed(listed):
    """A wildcard would let every page in."""
    with pytest.raises(ValueError, match="is not an origin"):
        Settings(_env_file=None, allowed_origins=listed)


@pytest.mark.parametrize(
    ("path", "method", "origin", "guest"),
    [
        ("/telemetry", "POST", APP, True),
        ("/telemetry", "POST", APP.upper(), True),
        ("/dashboard", "GET", APP, True),
        ("/telemetry", "OPTIONS", APP, True),
        ("/telemetry", "DELETE", APP, False),
        ("/telemetry", "POST", "", False),
        ("/telemetry", "POST", "null", False),
        ("/telemetry", "POST", "http://app.example", False),
        ("/telemetry", "POST", "https://app.example:8443", False),
        ("/telemetry", "POST", "https://app.example.evil.example", False),
        ("/telemetry", "POST", "https://evil-app.example", False),
        ("/api/models/upload", "POST", APP, False),
        ("/workers", "POST", APP, False),
        ("/events/batch", "POST", APP, True),
        ("/events/1", "DELETE", APP, False),
    ],
)
def test_a_guest_is_a_listed_origin_at_a_few_addresses(path, method, origin, guest):
    """Uploading a program, or retiring a worker, is nothing for a page of others."""
    cross_origin = CrossOrigin(Settings(_env_file=None, allowed_origins=APP))
    assert cross_origin.is_guest(path, method, Head(origin=origin.encode())) is guest
    nobody = CrossOrigin(Settings(_env_file=None))
    assert not nobody.is_guest(path, method, Head(origin=origin.encode()))


# -- Over HTTP ------------------------------------------------------------------------


def test_a_rebinding_page_gets_a_problem(site: Site):
    """403, and nothing of the data."""
    answer = site.client.get("/api/models", headers={"Host": "evil.example"})
    problem(answer, 403, "evil.example", "ANDON_ALLOWED_HOSTS")


def test_a_foreign_page_cannot_post(site: Site):
    """Not even with a form, which browsers send without asking."""
    files = {"image": ("a.png", board())}
    headers = {"Origin": "http://evil.example"}
    problem(site.client.post("/api/predict", files=files, headers=headers), 403, "evil.example")


OPEN = {"/health", "/health/live", "/health/ready", "/login", "/favicon.ico"}


def test_the_stranger_gets_nothing_from_any_route(closed: Site):
    """Without the key every route but health and the way in is 401, whatever the method."""
    app = closed.server.config.app
    asked = 0
    for route in app.routes:
        path = route.path_format.replace("{version}", "1").replace("{filename}", "result_a.png")
        path = path.replace("{name}", "x").replace("{prediction_id}", "1").replace("{job_id}", "1")
        for method in getattr(route, "methods", None) or ():
            answer = closed.client.request(method, path)
            if path in OPEN:
                assert answer.status_code != 401 or path == "/login", path
            elif method == "HEAD":
                assert answer.status_code == 401
            else:
                problem(answer, 401)
                assert answer.headers["www-authenticate"]
                asked += 1
    assert asked > 25


def test_paths_that_do_not_exist_are_not_told_to_the_stranger(closed: Site):
    """401 comes before 404 and 405."""
    problem(closed.client.get("/nothing"), 401)
    problem(closed.client.put("/api/models"), 401)
    problem(closed.client.options("/api/models"), 401)
    problem(closed.client.get("/api/models/"), 401)


def test_health_is_open_and_tells_no_paths(closed: Site):
    """A load balancer has no key."""
    for path in ("/health", "/health/live", "/health/ready"):
        answer = closed.client.get(path)
        assert answer.status_code == 200
        assert str(closed.home) not in answer.text


@pytest.mark.parametrize(
    "headers",
    [{"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {KEY}"}],
)
def test_the_key_opens(closed: Site, headers):
    """As X-API-Key, or as a bearer token, which is what Prometheus can send."""
    assert closed.client.get("/api/models", headers=headers).status_code == 200
    assert closed.client.get("/metrics", headers=headers).status_code == 200


@pytest.mark.parametrize("key", ["", "wrong", KEY[:-1], KEY + "x", KEY.upper(), "é"])
def test_another_key_does_not(closed: Site, key):
    """Nor a part of it, nor the same letters in another case."""
    headers = {"X-API-Key": key.encode()}
    problem(closed.client.get("/api/models", headers=headers), 401)


def test_a_browser_is_sent_to_the_sign_in_page_and_back(closed: Site):
    """The way in for people: the form, the cookie, the page they wanted, the way out."""
    client = closed.client
    page = {"Accept": "text/html"}
    answer = client.get("/models", headers=page)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=/models"
    answer = client.get(answer.headers["location"], headers=page)
    assert answer.status_code == 200
    assert 'name="key"' in answer.text
    assert 'value="/models"' in answer.text

    answer = client.post("/login", data={"key": "wrong", "next": "/models"})
    assert answer.status_code == 401
    assert 'value="/models"' in answer.text
    assert not client.cookies

    answer = client.post("/login", data={"key": KEY, "next": "/models"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/models")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert KEY not in cookie
    assert client.get("/models", headers=page).status_code == 200
    assert client.get("/api/models").status_code == 200

    stolen = {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}
    answer = client.post("/logout")
    assert answer.status_code == 303
    assert not client.cookies
    problem(client.get("/api/models", headers=stolen), 401)


def test_a_foreign_page_cannot_use_the_session(closed: Site):
    """The cookie is SameSite; should a browser send it all the same, the origin is checked."""
    closed.client.post("/login", data={"key": KEY})
    assert closed.client.get("/api/models").status_code == 200
    headers = {"Origin": "http://evil.example"}
    problem(closed.client.post("/api/rollback", json={}, headers=headers), 403)


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:1", "/\r\nX: 1"],
)
def test_sign_in_leads_nowhere_else(closed: Site, target):
    """`next` is a path on this server or nothing."""
    answer = closed.client.post("/login", data={"key": KEY, "next": target})
    assert answer.headers["location"] == "/"


def test_where_no_key_is_needed_the_sign_in_page_leads_on(site: Site):
    """There is nothing to ask."""
    assert site.client.get("/login?next=/models").headers["location"] == "/models"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server that a page of another origin may send telemetry to."""
    made = Site(tmp_path_factory.mktemp("shared") / "home", allowed_origins=APP)
    yield made
    made.close()


SAMPLE = {"ear_value": 0.18, "is_drowsy": True, "duration_ms": 900}


def varies(answer: httpx.Response) -> bool:
    """Whether caches know that another origin gets another answer."""
    return "origin" in answer.headers.get("vary", "").lower()


def permissions(answer: httpx.Response) -> dict[str, str]:
    """The headers that permit something to a page."""
    prefix = "access-control-"
    return {name: value for name, value in answer.headers.items() if name.startswith(prefix)}


def test_a_page_of_an_allowed_origin_can_send_telemetry(shared: Site):
    """The browser asks first, then sends; errors can be read as well."""
    asks = {"Origin": APP, "Access-Control-Request-Method": "POST"}
    allowed = shared.client.options("/telemetry", headers=asks)
    assert allowed.status_code == 204
    found = permissions(allowed)
    assert found["access-control-allow-origin"] == APP
    assert "POST" in found["access-control-allow-methods"]
    assert "DELETE" not in found["access-control-allow-methods"]
    assert "Content-Type" in found["access-control-allow-headers"]

    page = {"Origin": APP, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    sent = shared.client.post("/telemetry/", json=SAMPLE, headers=page)
    wrong = shared.client.post("/telemetry", json={}, headers=page)
    read = shared.client.get("/dashboard", headers=page)
    assert (sent.status_code, wrong.status_code, read.status_code) == (201, 422, 200)
    for answer in (allowed, sent, wrong, read):
        assert answer.headers["access-control-allow-origin"] == APP
        assert varies(answer)
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://app.example", "http://localhost:3000"]
)
def test_a_page_of_another_origin_cannot(shared: Site, origin):
    """It is refused, is told nothing, and caches keep the answers apart."""
    page = {"Origin": origin}
    asks = page | {"Access-Control-Request-Method": "POST"}
    asked = shared.client.options("/telemetry", headers=asks)
    sent = shared.client.post("/telemetry", json=SAMPLE, headers=page)
    read = shared.client.get("/dashboard", headers=page)
    problem(sent, 403, origin)
    for answer in (asked, sent, read):
        assert permissions(answer) == {}
        assert varies(answer)


def test_a_page_of_an_allowed_origin_can_do_nothing_else(shared: Site):
    """Models, rosters and everything else stay out of its reach."""
    page = {"Origin": APP}
    for method, path in (
        ("POST", "/api/models/upload"),
        ("POST", "/api/rollback"),
        ("POST", "/api/predict"),
        ("POST", "/workers"),
        ("DELETE", "/events/x"),
        ("DELETE", "/telemetry"),
    ):
        refused = shared.client.request(method, path, headers=page)
        problem(refused, 403, APP)
        assert permissions(refused) == {}
    read = shared.client.get("/api/models", headers=page)
    assert permissions(read) == {}
    asks = page | {"Access-Control-Request-Method": "POST"}
    assert permissions(shared.client.options("/workers", headers=asks)) == {}


def test_without_allowed_origins_nothing_is_said_about_them(site: Site):
    """The default: no page but ours."""
    page = {"Origin": APP, "Access-Control-Request-Method": "POST"}
    assert permissions(site.client.options("/telemetry", headers=page)) == {}
    problem(site.client.post("/telemetry", json=SAMPLE, headers=page), 403, APP)


def test_the_host_is_checked_for_guests_too(shared: Site):
    """A page that rebinds its name is a guest nowhere."""
    page = {"Origin": APP, "Host": "app.example"}
    problem(shared.client.post("/telemetry", json=SAMPLE, headers=page), 403, "not a name")


def test_where_a_key_is_needed_a_guest_sends_it_and_no_cookie_counts(tmp_path: Path):
    """The preflight carries no key; a session of our own pages is worth nothing there."""
    site = Site(tmp_path / "home", auth="required", api_key=KEY, allowed_origins=APP)
    try:
        page = {"Origin": APP}
        asks = page | {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-api-key",
        }
        allowed = site.client.options("/telemetry", headers=asks)
        assert allowed.status_code == 204
        assert "X-API-Key" in permissions(allowed)["access-control-allow-headers"]
        problem(site.client.options("/telemetry", headers=page), 401)

        refused = site.client.post("/telemetry", json=SAMPLE, headers=page)
        problem(refused, 401)
        assert refused.headers["access-control-allow-origin"] == APP
        with_key = page | {"X-API-Key": KEY}
        assert site.client.post("/telemetry", json=SAMPLE, headers=with_key).status_code == 201

        site.client.post("/login", data={"key": KEY})
        assert site.client.get("/statistics").status_code == 200
        problem(site.client.get("/statistics", headers=page), 401)
        problem(site.client.post("/telemetry", json=SAMPLE, headers=page), 401)
    finally:
        site.close()
