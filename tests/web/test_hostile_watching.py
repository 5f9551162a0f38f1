"""Bad words to everything that watches and acts: no 500, always a problem, nothing gets through."""

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.store.conftest import _schema
from tests.web.conftest import Site, board, problem, until

from andon.monitoring.signals import Issue, Signal, State
from andon.store.ids import uuid7

NOBODY = uuid7()

# What breaks things: limits of integers and of dates, texts that databases, logs and pages choke
# on, and values of the wrong kind.
_NUMBERS = [0, -1, 1, 2, 1e-320, 1.5, 20, 2**31 - 1, 2**31, 2**63, 2**64, 10**40, 1e308, -1e308]
_TEXTS = [
    "", " ", "\x00", "a\x00b", "\x1b[31m", "two\nlines", "\u202ereversed", "x" * 64, "x" * 5000,
    "<script>alert(1)</script>", "'; DROP TABLE alerts; --", "../../etc/passwd", "%00", "pcb",
    "first", "24h", "99999999999d", "1h", "1e9d", "\u0661h", "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "1969-12-31T23:59:59Z",
    "2026-01-01T00:00:00", "2026-01-01T00:00:00Z", "now", "NaN", "canary", "shadow", "compare",
    "send_alert", "adjust_threshold", "rollback_model", "validate_data", "critical",
]  # fmt: skip
_ODD = st.one_of(
    st.sampled_from(_NUMBERS),
    st.sampled_from(_TEXTS),
    st.sampled_from([None, True, False, [], {}, [[[]]], {"a": {"b": None}}, ["x"] * 50]),
    st.text(max_size=20),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
)
_BODIES: dict[tuple[str, str], tuple[str, ...]] = {
    ("POST", "/api/actions"): (
        "action_type", "by", "model", "version", "parameters", "reason",
    ),
    ("POST", f"/api/actions/{NOBODY}/approve"): ("by", "comment"),
    ("POST", f"/api/actions/{NOBODY}/reject"): ("by", "comment"),
    ("POST", f"/api/actions/{NOBODY}/undo"): ("by", "comment"),
    ("POST", f"/api/alerts/{NOBODY}/acknowledge"): ("by",),
    ("POST", f"/api/alerts/{NOBODY}/resolve"): ("by", "notes"),
    ("POST", "/api/drift/run"): ("model", "version", "limit"),
    ("PUT", "/api/drift/reference"): ("since", "until", "by", "model", "version"),
    ("PUT", "/api/traffic"): ("model", "mode", "version", "weight", "reason"),
    ("PATCH", "/api/traffic"): ("model", "weight"),
    ("POST", "/api/replays"): ("model", "version", "since", "until", "limit"),
}  # fmt: skip
_QUERIES: dict[tuple[str, str], tuple[str, ...]] = {
    ("GET", "/api/performance"): ("model", "version", "window"),
    ("GET", "/api/trends"): ("model", "metric", "days"),
    ("GET", "/api/drift"): ("model",),
    ("GET", "/api/drift/reports"): ("model", "version", "verdict", "limit", "cursor"),
    ("GET", "/api/drift/reference"): ("model", "version"),
    ("DELETE", "/api/drift/reference"): ("model", "version"),
    ("GET", "/api/alerts"): ("status", "severity", "model", "limit", "cursor"),
    ("GET", "/api/actions"): ("status", "model", "action_type", "limit", "cursor"),
    ("GET", "/api/traffic"): ("model",),
    ("DELETE", "/api/traffic"): ("model", "reason"),
    ("GET", "/api/rollouts"): ("model", "limit", "cursor"),
    ("GET", "/api/replays"): ("status", "limit", "cursor"),
    ("GET", "/performance"): ("model", "version", "window"),
    ("GET", "/drift"): ("model", "before"),
    ("GET", "/trends"): ("model", "days"),
    ("GET", "/approvals"): ("before",),
    ("GET", "/activity"): ("status", "kind", "model", "before"),
    ("GET", "/alerts"): ("severity", "model", "before"),
}
_PLACES = (
    "/api/alerts/{}", "/api/actions/{}", "/api/actions/{}/files/x",
    f"/api/actions/{NOBODY}/files/{{}}",
    "/api/drift/reports/{}", "/drift/reports/{}", "/api/rollouts/{}", "/api/replays/{}",
    "/actions/{}", "/rollbacks/{}", "/replays/{}",
)  # fmt: skip


@pytest.fixture(scope="module")
def own_schema(postgres_server: str) -> Iterator[str]:
    """A schema that no other test has left anything in."""
    yield from _schema(postgres_server, migrate=True)


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def watched(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A server that watches, with an active version and one beside it."""
    given: dict[str, Any] = {"monitor_interval": 3600.0}
    if request.param == "postgres":
        given["database_url"] = request.getfixturevalue("own_schema")
    made = Site(tmp_path_factory.mktemp("hostile") / "home", **given)
    try:
        assert made.upload("first").status_code == 200
        assert made.upload("second", activate="false").status_code == 200
        assert made.predict(board()).status_code == 200
        yield made
    finally:
        made.close()


def sane(answer: httpx.Response) -> None:
    """No fault of the server; what is refused is a problem, or a page where a page was asked."""
    assert answer.status_code < 500, (answer.request.url, answer.request.content, answer.text)
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        body = answer.json()
        assert {"type", "title", "status", "detail", "instance"} <= body.keys()
    assert len(answer.content) < 1_000_000


_FEW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@_FEW
@given(data=st.data())
def test_no_body_makes_a_fault(watched: Site, data: st.DataObject):
    """Members missing, unknown and of every kind, to every route that takes JSON."""
    (method, path), names = data.draw(st.sampled_from(sorted(_BODIES.items())))
    usual = {
        "action_type": "send_alert", "by": "Ada", "mode": "canary", "version": 2, "weight": 0.1,
        "since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z", "model": "pcb",
        "parameters": {"message": "m"}, "limit": 20, "reason": "r", "comment": "c", "notes": "n",
    }  # fmt: skip
    body = {name: usual[name] for name in names}
    for name in data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)):
        body[name] = data.draw(_ODD)
    if isinstance(body.get("parameters"), dict):
        inner = st.sampled_from(["message", "title", "severity", "to_version", "to_threshold"])
        # A new one: what was drawn may be drawn again, and must not hold itself by then.
        body["parameters"] = body["parameters"] | data.draw(
            st.dictionaries(inner, _ODD, max_size=2)
        )
    answer = watched.client.request(method, path, content=json.dumps(body))
    sane(answer)


@_FEW
@given(data=st.data())
def test_no_query_makes_a_fault(watched: Site, data: st.DataObject):
    """Of the API and of the pages."""
    (method, path), names = data.draw(st.sampled_from(sorted(_QUERIES.items())))
    query = data.draw(st.dictionaries(st.sampled_from(names), _ODD.map(str), max_size=3))
    answer = watched.client.request(method, path, params=query)
    sane(answer)


@_FEW
@given(place=st.sampled_from(_PLACES), name=_ODD.map(str))
def test_no_id_makes_a_fault(watched: Site, place: str, name: str):
    """Ids that are none, paths that lead elsewhere, numbers that fit nowhere."""
    quoted = httpx.QueryParams({"x": name[:200]}).__str__()[2:].replace("+", "%20")
    sane(watched.client.get(place.format(quoted)))


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"null", b"[]", b"\x00", b"\xff\xfe", b'{"by":"\\ud800"}', b'{"by":NaN}',
        b'{"version":1e999}', b'{"version":' + b"9" * 5000 + b"}", b'{"by":"x","by":"y"}',
        b"[" * 10_000, b'{"parameters":' + b'{"a":' * 5000 + b"1" + b"}" * 5001,
        b'{"' + b"k" * 10_000 + b'":1}',
    ],
)  # fmt: skip
def test_no_bytes_make_a_fault(watched: Site, raw: bytes):
    """What is no JSON, is too deep, or says a name twice."""
    for method, path in _BODIES:
        sane(watched.client.request(method, path, content=raw))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("message", "a\x00b"), ("message", ["a"]), ("message", "x" * 1001), ("message", "\x1b[31m"),
        ("title", "\x1b[31mred"), ("title", "a\nb"), ("title", 5), ("title", "\u202eback"),
    ],
)  # fmt: skip
def test_an_alert_of_a_person_is_one_that_can_be_shown(watched: Site, name: str, said: object):
    """It goes to databases, logs, terminals and webhooks: what they obey is refused."""
    body = {"action_type": "send_alert", "by": "Ada", "parameters": {"message": "m", name: said}}
    problem(watched.client.post("/api/actions", json=body), 422, f"parameters.{name}")


def test_a_time_at_the_end_of_the_calendar_is_a_time(watched: Site):
    """The day before the first day overflowed."""
    body = {"version": 2, "until": "0001-01-01T00:00:00Z"}
    assert watched.client.post("/api/replays", json=body).status_code == 202


def test_replays_wait_in_a_short_line(watched: Site, monkeypatch: pytest.MonkeyPatch):
    """Each may take minutes, and trainings wait in the same line."""
    monkeypatch.setattr("andon.web.api.replays._MOST_WAITING", 0)
    answer = watched.client.post("/api/replays", json={"version": 2})
    problem(answer, 503, "replays are waiting")
    assert answer.headers["retry-after"] == "60"


def test_who_pins_a_reference_has_a_name_that_can_be_shown(watched: Site):
    """As everybody who does something."""
    span = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"}
    for by in ("\x00", "a\nb", "\x1b[31m", " "):
        problem(watched.client.put("/api/drift/reference", json={**span, "by": by}), 422, "by")


def test_folders_of_the_machine_are_not_told(watched: Site):
    """The name of the policy file is, without the way to it."""
    policy = watched.platform.settings.policy
    policy.write_text("[agent]\n")
    try:
        for path in ("/api/agent", "/api/agent/policy", "/api/watch", "/health", "/activity"):
            assert str(watched.home) not in watched.client.get(path).text, path
    finally:
        policy.unlink()


class Page(HTMLParser):
    """Finds what would run in a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.runs: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One tag."""
        given = dict(attrs)
        if tag in {"iframe", "object", "embed", "b"} or (tag == "script" and "src" not in given):
            self.runs.append(f"<{tag}>")
        for name, value in attrs:
            away = name in {"href", "src", "action"} and (value or "").strip()[:11] == "javascript:"
            if name.startswith("on") or name == "style" or away:
                self.runs.append(f"{tag} {name}={value}")


def test_nothing_from_outside_runs_in_a_page(watched: Site):
    """Names, notes, reasons, evidence, links: shown as text wherever they appear."""
    evil = "<script>alert(1)</script>\"'><b onmouseover=alert(2)>"
    platform, client = watched.platform, watched.client
    db = platform.db
    assert watched.predict(name="<b>.png", subject=evil, camera=evil).status_code == 200
    odd = [
        Signal(name=name, issue=Issue.DATA_DRIFT, state=State.BAD, summary=evil, model=model,
               version=1, subject=evil)
        for name, model in (("camera", "pcb"), ("drift", "pcb"), ("stale_feed", ""))
    ]  # fmt: skip
    platform.watch.alerting.look(odd)
    evidence: dict[str, Any] = {"href": "javascript:alert(1)", "signals": [{"summary": evil}]}
    alert, _ = db.alerts.see(
        "evil", alert_type="agent", severity="critical", title=evil, message=evil,
        evidence=evidence,
    )  # fmt: skip
    client.post(f"/api/alerts/{alert.alert_id}/acknowledge", json={"by": evil})
    signals = [{"name": evil, "summary": evil, "state": "bad", "value": 1, "subject": evil}]
    finding = {"issue": evil, "summary": evil, "severity": evil, "subject": evil, "since": evil}
    made = [
        db.actions.propose(
            action_type=kind, risk_level="high", reason=evil, model="pcb", model_version=1,
            evidence={"finding": finding, "signals": signals}, approvals_needed=needed,
            parameters={"from_version": 2, "to_version": 1, "message": evil, "title": evil},
        )
        for kind, needed in (("rollback_model", 2), ("retrain_model", 0))
    ]  # fmt: skip
    client.post(f"/api/actions/{made[0].action_id}/approve", json={"by": evil, "comment": evil})
    platform.db.actions.claim(made[1].action_id)
    files = [{"name": evil, "href": "javascript:alert(1)", "bytes": 1, "kind": evil}]
    db.actions.finish(
        made[1].action_id, "failed", {"summary": evil, "href": "javascript:alert(1)",
                                      "files": files}, error=evil
    )  # fmt: skip
    body = {"mode": "shadow", "version": 2, "reason": evil}
    assert client.put("/api/traffic", json=body).status_code == 200
    replay = client.post("/api/replays", json={"version": 2}).json()["job_id"]
    until(lambda: client.get(f"/api/replays/{replay}").json()["status"] in {"succeeded", "failed"})
    report = client.post("/api/drift/run", json={"model": "pcb"}).json()["report_id"]
    paths = [
        "/", "/alerts", "/approvals", "/activity", "/drift", "/performance", "/trends", "/models",
        "/models/2", "/inspect", f"/replays/{replay}", f"/drift/reports/{report}",
        *(f"/actions/{action.action_id}" for action in made),
    ]  # fmt: skip
    for path in paths:
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert Page(answer.text).runs == [], path
        assert "script-src" in answer.headers["content-security-policy"] or path.startswith(
            "/drift/reports"
        )
    client.delete("/api/traffic")


def test_one_person_in_other_letters_is_no_second_person(watched: Site):
    """Case, blanks and full-width letters make no other name."""
    action = watched.platform.db.actions.propose(
        action_type="promote_model", risk_level="high", reason="r", model="other",
        approvals_needed=2,
    )  # fmt: skip
    path = f"/api/actions/{action.action_id}/approve"
    assert watched.client.post(path, json={"by": "Anna Li"}).json()["status"] == "pending"
    for by in ("ANNA LI", " Anna  Li ", "\uff21\uff4e\uff4e\uff41 Li"):
        problem(watched.client.post(path, json={"by": by}), 409, "different people")
