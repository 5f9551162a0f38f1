"""Alerts and who watches, over HTTP; what `/health` makes of them."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.web.conftest import Site, problem, until

from andon.store.ids import uuid7
from andon.store.records import Alert
from andon.web.alert_shapes import AlertShown


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One server for the tests of this page; it looks at its models every hour."""
    made = Site(tmp_path_factory.mktemp("watched") / "home", monitor_interval=3600)
    yield made
    made.close()


@pytest.fixture
def site(watched: Site) -> Site:
    """The server, without any alert."""
    with watched.platform.db.write() as connection:
        connection.exec_driver_sql("DELETE FROM alerts")
    return watched


def raised(site: Site, key: str = "pcb:data_drift", **given: Any) -> Alert:
    about: dict[str, Any] = {
        "alert_type": "data_drift",
        "severity": "warning",
        "title": "pcb: the data have moved",
        "message": "Brightness moved.",
        "model": "pcb",
        "model_version": 3,
        "evidence": {"signals": [{"name": "drift", "value": 1.7}], "href": "/drift?model=pcb"},
    }
    return site.platform.db.alerts.see(key, **{**about, **given})[0]


def test_an_alert_is_shown_with_its_evidence(site: Site):
    """And where to look, under an id in any case; another id is not found."""
    alert = raised(site)
    body = site.client.get(f"/api/alerts/{alert.alert_id.upper()}").json()
    assert body["title"] == "pcb: the data have moved"
    assert (body["severity"], body["status"], body["occurrences"]) == ("warning", "active", 1)
    assert (body["model"], body["model_version"], body["href"]) == ("pcb", 3, "/drift?model=pcb")
    assert body["signals"] == [{"name": "drift", "value": 1.7}]
    assert set(body) == set(AlertShown.__struct_fields__)
    problem(site.client.get(f"/api/alerts/{uuid7()}"), 404, "There is no alert")
    problem(site.client.get("/api/alerts/x"), 422, "An id looks like 019aa4a1-")


def test_pages_are_filtered_and_go_on(site: Site):
    """By status, severity and model, newest first, with a cursor."""
    ids = [raised(site, f"k{number}").alert_id for number in range(5)]
    critical = raised(site, "worst", severity="critical", model="heart").alert_id
    site.platform.db.alerts.resolve(ids[0], "Ada")

    def listed(**query: Any) -> list[str]:
        answer = site.client.get("/api/alerts", params=query)
        assert answer.status_code == 200, answer.text
        return [one["alert_id"] for one in answer.json()["items"]]

    assert listed() == [critical, *ids[::-1]]
    assert listed(status="open", model="pcb") == ids[:0:-1]
    assert listed(status="resolved") == ids[:1]
    assert listed(severity="critical") == [critical]
    first = site.client.get("/api/alerts", params={"limit": 4}).json()
    assert listed(limit=4, cursor=first["next_cursor"]) == ids[1::-1]
    problem(site.client.get("/api/alerts", params={"status": "gone"}), 422)


def test_an_alert_is_taken_on_and_resolved(site: Site):
    """By somebody, with what was done; twice is said."""
    path = f"/api/alerts/{raised(site).alert_id}"
    taken = site.client.post(f"{path}/acknowledge", json={"by": " Ada "}).json()
    assert (taken["status"], taken["acknowledged_by"]) == ("acknowledged", "Ada")
    again = site.client.post(f"{path}/acknowledge", content=b'{"by": "Grace"}')
    assert again.json()["acknowledged_by"] == "Ada"
    done = site.client.post(f"{path}/resolve", json={"by": "Grace", "notes": "New lamp"}).json()
    assert (done["status"], done["resolved_by"]) == ("resolved", "Grace")
    assert done["resolution_notes"] == "New lamp"
    problem(site.client.post(f"{path}/resolve", json={"by": "Ada"}), 409, "resolved by Grace")
    problem(site.client.post(f"{path}/acknowledge", json={"by": "Ada"}), 409, "resolved by Grace")
    problem(site.client.post(f"/api/alerts/{uuid7()}/resolve", json={"by": "Ada"}), 404)


@pytest.mark.parametrize(
    "body", [{}, {"by": ""}, {"by": "  "}, {"by": "x" * 65}, {"by": "a\x07"}, {"by": 3},
             {"by": "Ada", "notes": "a\x00b"}, {"by": "Ada", "notes": "x" * 2001},
             {"by": "Ada", "more": 1}]
)  # fmt: skip
def test_who_does_it_must_be_said(site: Site, body: dict[str, Any]):
    """Without a usable name the alert stays as it was."""
    alert = raised(site)
    problem(site.client.post(f"/api/alerts/{alert.alert_id}/resolve", json=body), 422)
    problem(
        site.client.post(f"/api/alerts/{alert.alert_id}/resolve", content=b"{"), 400, "not valid"
    )
    assert site.platform.db.alerts.get(alert.alert_id).status == "active"


def test_a_critical_alert_degrades_health_until_it_is_resolved(site: Site):
    """And requests are answered all the same. How many is said, not what they are about."""
    until(lambda: site.platform.watch.status().last_look is not None)
    assert site.client.get("/health").json()["status"] == "no_model"
    raised(site)
    assert site.client.get("/health").json()["checks"]["alerts"]["ok"]
    alert = raised(site, "worst", severity="critical")
    body = site.client.get("/health").json()
    assert body["status"] == "degraded"
    assert body["checks"]["alerts"] == {
        "ok": False,
        "detail": "1 critical alert is open; /alerts shows what to do.",
    }
    assert body["checks"]["watch"]["ok"]
    assert site.client.get("/health/ready").status_code == 200
    site.client.post(f"/api/alerts/{alert.alert_id}/resolve", json={"by": "Ada"})
    assert site.client.get("/health").json()["status"] == "no_model"


def test_who_watches_is_told(site: Site):
    """The holder, the last look and the next, and that nothing fails."""
    until(lambda: site.client.get("/api/watch").json()["last_look"] is not None)
    body = site.client.get("/api/watch").json()
    assert body["enabled"]
    assert body["mine"]
    assert body["holder"]
    assert body["problems"] == {}
    assert body["took_ms"] > 0
    assert (body["agent"], body["dry_run"]) == ("on", False)
    assert body["since"] <= body["last_look"] < body["next_look"]


def test_health_says_when_nobody_watches(tmp_path, monkeypatch: pytest.MonkeyPatch):
    """Or what does not work in part, without the details."""
    made = Site(tmp_path / "home", monitor_interval=3600)
    try:
        watch = made.platform.watch
        watch._lease.stop()
        check = made.client.get("/health").json()["checks"]["watch"]
        assert check == {"ok": False, "detail": "No server watches the models."}
        watch._lease.start()
        assert made.client.get("/health").json()["checks"]["watch"]["ok"]
        watch._problems["model pcb"] = "KeyError: secret"
        check = made.client.get("/health").json()["checks"]["watch"]
        assert check["detail"] == "Watching does not work in part: model pcb."
        assert made.client.get("/health/ready").status_code == 200
    finally:
        made.close()
