"""Raw bytes from clients that are broken, slow or mean. The server goes on."""

import socket
import time

import pytest
from tests.web.conftest import Site, board, form, post, received, status_of, until


@pytest.fixture(autouse=True)
def goes_on(site: Site):
    """After every one of these, a good client is answered."""
    yield
    assert site.predict(board()).status_code == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nBad Header: x\r\n\r\n",
    ],
)
def test_what_is_no_http_is_answered_with_400(site: Site, raw):
    """A problem, and the connection is closed."""
    answer = site.send(raw)
    assert status_of(answer) == 400
    assert b"application/problem+json" in answer


def test_two_lengths_are_no_way_to_smuggle(site: Site):
    """Content-Length beside Transfer-Encoding."""
    raw = (
        b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n"
    )
    assert status_of(site.send(raw)) == 400


def test_a_request_without_a_host_is_refused(site: Site):
    """HTTP/1.0 clients and scanners."""
    assert status_of(site.send(b"GET /api/models HTTP/1.0\r\n\r\n")) == 403
    assert status_of(site.send(b"GET /api/models HTTP/1.1\r\n\r\n")) in {400, 403}


def test_headers_without_end_are_cut_off(site: Site):
    """431, long before they fill the memory."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        answer = b""
        try:
            for n in range(2000):
                connection.sendall(b"X-%d: %s\r\n" % (n, b"a" * 1000))
                time.sleep(0.0002)
        except OSError:
            pass
        else:
            pytest.fail("two megabytes of headers were taken")
        answer = received(connection)
    assert status_of(answer) in {431, 0}


def test_headers_that_never_come_are_given_up(site: Site, monkeypatch):
    """A connection that says nothing, and one that says half a header."""
    monkeypatch.setattr("andon.web.protocol.HEAD_SECONDS", 0.3)
    began = time.monotonic()
    assert site.send(b"") == b""
    assert status_of(site.send(b"GET /health HTTP/1.1\r\nHo")) in {0, 408}
    assert time.monotonic() - began < 4


def test_a_body_that_never_comes_is_given_up(site: Site, monkeypatch):
    """408, for the hot route, for uploads and for the rest."""
    monkeypatch.setattr("andon.web.gate._GRACE_SECONDS", 0.3)
    body = form(("image", "a.png", board()), ("model", "m.onnx", b"x" * 50))
    for path in ("/api/predict", "/api/models/upload", "/api/compare", "/api/rollback"):
        answer = site.send(post(path, body[:20], length=len(body)))
        assert status_of(answer) == 408, path
        assert b"problem+json" in answer
    assert site.incoming == []


@pytest.mark.parametrize("keep", [1, 60, 150, -30])
def test_a_truncated_form_is_400(site: Site, keep):
    """Half a picture is not answered with confidence."""
    body = form(("image", "a.png", board()))[:keep]
    assert status_of(site.send(post("/api/predict", body))) == 400


@pytest.mark.parametrize("path", ["/api/predict", "/api/models/upload", "/api/compare"])
@pytest.mark.parametrize("part", ["image", "model"])
def test_a_client_that_leaves_leaves_nothing_behind(site: Site, path, part):
    """No file in the intake, no row in the log, no error in the metrics."""
    name = "a.png" if part == "image" else "m.onnx"
    body = form((part, name, bytes(3_000_000)))
    before = site.client.get("/api/predictions?limit=1").json()["items"]
    site.send(post(path, body[:2_000_000], length=len(body)), close=True)
    until(lambda: 'status="499"' in site.client.get("/metrics").text)
    until(lambda: not site.incoming)
    assert site.client.get("/api/predictions?limit=1").json()["items"] == before


def test_an_announced_giant_is_refused_before_it_is_sent(site: Site):
    """413 by Content-Length; with Expect the body is never asked for."""
    giant = 10**12
    answer = site.send(post("/api/predict", b"", length=giant))
    assert status_of(answer) == 413
    assert b"connection: close" in answer
    answer = site.send(post("/api/models/upload", b"", "Expect: 100-continue", length=giant))
    assert status_of(answer) == 413
    assert b"100 Continue" not in answer


def test_expect_is_answered_where_the_body_is_wanted(site: Site):
    """Tools ask before it sends a megabyte."""
    body = form(("image", "a.png", board()))
    raw = post("/api/predict", body, "Expect: 100-continue")
    head, _, _ = raw.partition(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", site.port), timeout=5) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(body)
        assert status_of(received(connection)) == 200


def test_the_refusal_arrives_although_the_client_is_still_sending(site: Site):
    """Closing at once would reset the connection and lose the answer."""
    body = form(("image", "a.txt", bytes(4_000_000)))
    assert status_of(site.send(post("/api/predict", body))) == 400


def test_many_parts_and_strange_parts(site: Site):
    """Bounded, and named."""
    many = form(*((f"f{n}", None, b"x") for n in range(100)))
    assert status_of(site.send(post("/api/predict", many))) == 413
    unnamed = b"--XX\r\nContent-Type: image/png\r\n\r\nx\r\n--XX--\r\n"
    assert status_of(site.send(post("/api/predict", unnamed))) == 400
    nothing = b"--XX--\r\n"
    assert b"No image provided" in site.send(post("/api/predict", nothing))


@pytest.mark.parametrize("name", ["a\x00b.png", 'a".png', "a\\b.png", "a;b.png", "ä\u202e.png"])
def test_strange_names_are_cleaned(site: Site, name):
    """NUL, quotes, separators and direction overrides."""
    answer = site.send(post("/api/predict", form(("image", name, board()))))
    assert status_of(answer) in {200, 400}
    assert b"\x00" not in answer


def test_pipelined_requests_are_answered_in_order(site: Site):
    """Two requests in one packet."""
    one = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    two = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", site.port), timeout=5) as connection:
        connection.sendall(one + two)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.index(b"HTTP/1.1 200") < answer.index(b"HTTP/1.1 404")


@pytest.mark.slow
def test_connections_are_bounded(site: Site, monkeypatch):
    """Beyond the limit: 503 with Retry-After, at once."""
    monkeypatch.setattr("andon.web.protocol.MAX_CONNECTIONS", 20)
    idle = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(25)]
    try:
        answer = site.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status_of(answer) in {503, 0}
    finally:
        for connection in idle:
            connection.close()
    time.sleep(0.2)
