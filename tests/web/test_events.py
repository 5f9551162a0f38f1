"""Factory events over HTTP: one, many, a stream; the log; taking one back."""

import csv
import io
import json
from typing import Any

import httpx
import pytest
from tests.support.floor import HOUR, SECOND, at, state, units
from tests.web.conftest import Floor, problem

from andon.errors import StorageFull
from andon.store import paging
from andon.store.ids import uuid7_of
from andon.web.api import browsing

LINES = "application/x-ndjson"


def test_one_event_is_stored_and_a_repeat_is_a_success(floor: Floor):
    """201 with the id it got; 200 the second time, with and without that id."""
    body = units(3, at(8)).body()
    answer = floor.client.post("/events/", json=body)
    assert answer.status_code == 201
    event_id = uuid7_of(at(8), f"{at(8)}\nW1\nS1\nproduct_count\nmain".encode())
    assert answer.json() == {"event_id": event_id, "status": "stored"}
    for again in (body, body | {"event_id": event_id}):
        answer = floor.client.post("/events", json=again)
        assert answer.status_code == 200
        assert answer.json() == {"event_id": event_id, "status": "duplicate"}
    assert floor.worker(at(8), at(9))["units"] == 3


def test_the_content_type_of_json_does_not_matter(floor: Floor):
    """As `curl -d` sends it."""
    for kind in (
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/json; charset=utf-8",
    ):
        assert floor.post("/events", state("idle", at(8)).json(), kind).status_code < 300
        batch = b"[" + state("idle", at(8)).json() + b"]"
        assert floor.post("/events/batch", batch, kind).status_code < 300


def test_one_bad_event_is_explained_by_field(floor: Floor):
    """422; nothing is stored."""
    body = state("working", at(8)).body() | {"confidence": 7, "worker_id": None}
    said = problem(floor.client.post("/events", json=body), 422, "confidence")
    assert said["errors"] == [
        {"field": "worker_id", "detail": "is missing"},
        {"field": "confidence", "detail": "must be a number from 0 to 1, not 7"},
    ]
    problem(floor.client.post("/events", json=[body]), 422, "/batch")
    problem(floor.post("/events", b"{"), 400, "not JSON")
    problem(floor.post("/events", b""), 400, "empty")
    assert floor.client.get("/events").json()["items"] == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (state("working", at(8), worker="W9"), "W9"),
        (state("working", at(8), station="S9"), "S9"),
    ],
)
def test_who_is_unknown_is_refused_with_the_way_out(floor: Floor, body, said):
    """400, and what to do: register them."""
    problem(floor.client.post("/events", json=body.body()), 400, said, "POST /work")
    answer = floor.client.post("/events/batch", json=[state("idle", at(8)).body(), body.body()])
    assert answer.status_code == 201
    ((error),) = answer.json()["errors"]
    assert error["index"] == 1
    assert said in error["detail"]


def test_an_id_names_one_event_only(floor: Floor):
    """409 alone, a rejected row in a batch; the first stands."""
    first = units(3, at(8), event_id="cam-1")
    floor.send(first)
    other = units(4, at(8), event_id="cam-1")
    problem(floor.client.post("/events", json=other.body()), 409, "cam-1")
    same = units(1, at(9), event_id="cam-2"), units(2, at(9), event_id="cam-2")
    answer = floor.client.post("/events/batch", json=[event.body() for event in (other, *same)])
    assert answer.status_code == 201
    body = answer.json()
    assert (body["ingested"], body["duplicates"], body["rejected"]) == (1, 0, 2)
    assert [error["index"] for error in body["errors"]] == [0, 2]
    assert floor.worker(at(8), at(10))["units"] == 4


def test_a_batch_counts_what_became_of_its_events(floor: Floor):
    """Exactly these members; 201, then 200 when nothing is new, 400 when nothing can be used."""
    good, bad = state("working", at(8)).body(), {"worker_id": "W1"}
    for shape in ([good, good, bad], {"events": [good, good, bad]}):
        answer = floor.client.post("/events/batch/", json=shape)
        body = answer.json()
        assert set(body) == {"total", "ingested", "duplicates", "rejected", "errors"}
        assert (body["total"], body["rejected"]) == (3, 1)
        assert body["ingested"] + body["duplicates"] == 2
        assert body["errors"][0]["index"] == 2
        assert body["errors"][0]["detail"].startswith("timestamp: is missing; workstation_id")
        assert answer.status_code == (201 if body["ingested"] else 200)
    said = problem(floor.client.post("/events/batch", json=[bad, bad]), 400, "None of the 2")
    assert (said["total"], said["ingested"], said["duplicates"], said["rejected"]) == (2, 0, 0, 2)
    assert [error["index"] for error in said["errors"]] == [0, 1]


def test_a_batch_must_hold_something(floor: Floor):
    """400 when it is empty or no JSON, 422 when it has another shape."""
    for body in (b"", b"[]", b'{"events": []}', b"[", b"\xff"):
        assert "ingested" not in problem(floor.post("/events/batch", body), 400)
    for body in (b"{}", b"7", b'{"event": [1]}'):
        problem(floor.post("/events/batch", body), 422, "array")
    problem(floor.post("/events/batch", b" \n\n", LINES), 400, "no event")


def test_the_reasons_are_bounded(floor: Floor):
    """The first hundred, and how many more there were."""
    for body, kind in (
        (json.dumps([{}] * 1250).encode(), "application/json"),
        (b"{}\n" * 1250, LINES),
    ):
        said = problem(floor.post("/events/batch", body, kind), 400)
        assert said["rejected"] == 1250
        assert [error["index"] for error in said["errors"]] == list(range(100))
        assert said["errors_omitted"] == 1150


@pytest.mark.parametrize("kind", [LINES, "application/ndjson", "application/jsonl; charset=utf-8"])
def test_lines_are_taken_as_they_are(floor: Floor, kind: str):
    """Blank lines are skipped; the index of an error is the line's number less one."""
    lines = [
        state("working", at(8)).json(),
        b"",
        b"oops\r",
        units(2, at(8, 1)).json() + b"\r",
        state("working", at(8)).json(),
    ]
    answer = floor.post("/events/batch", b"\n".join(lines), kind)
    assert answer.status_code == 201
    body = answer.json()
    assert (body["total"], body["ingested"], body["duplicates"], body["rejected"]) == (4, 2, 1, 1)
    assert body["errors"][0]["index"] == 2
    assert "not JSON" in body["errors"][0]["detail"]


def test_a_long_stream_is_stored_in_parts(floor: Floor):
    """Pieces cut anywhere, several transactions, one answer."""
    told = [units(1, at(0) + n * 20 * SECOND) for n in range(3500)]
    body = b"\n".join(event.json() for event in told)

    def pieces():
        for start in range(0, len(body), 7001):
            yield body[start : start + 7001]

    answer = floor.client.post("/events/batch", content=pieces(), headers={"Content-Type": LINES})
    assert answer.status_code == 201, answer.text
    assert answer.json() == {
        "total": 3500,
        "ingested": 3500,
        "duplicates": 0,
        "rejected": 0,
        "errors": [],
    }
    assert floor.metrics("factory", at(0), at(24))["production"] == 3500


def test_the_log_is_browsed_page_by_page(floor: Floor):
    """Newest first by the events' own time; every event once, whatever has the same time."""
    told = [state("idle", at(8) + (n // 4) * SECOND, worker=f"W{n % 3 + 1}") for n in range(24)]
    floor.send(*told)
    total = len(set(told))
    seen: list[dict] = []
    cursor = None
    while True:
        asked = {"limit": 5} | ({"cursor": cursor} if cursor else {})
        page = floor.client.get("/events/", params=asked).json()
        seen += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len({event["event_id"] for event in seen}) == total
    times = [event["timestamp"] for event in seen]
    assert times == sorted(times, reverse=True)


def test_the_log_is_filtered(floor: Floor):
    """By worker, station, type, site, camera and window."""
    floor.send(
        state("working", at(8), camera="c1"),
        state("idle", at(9), worker="W2", station="S2", site="north"),
        units(4, at(10), worker="W2"),
    )
    for query, count in {
        "": 3,
        "worker_id=W2": 2,
        "workstation_id=S1": 2,
        "event_type=idle": 1,
        "site_id=north": 1,
        "camera_id=c1": 1,
        "from=2026-03-02T09:00:00Z": 2,
        "to=2026-03-02T09:00:00Z": 1,
        "from=2026-03-02T08:00:00Z&to=2026-03-02T10:00:00Z&worker_id=W2": 1,
        "worker_id=nobody": 0,
    }.items():
        assert len(floor.client.get(f"/events?{query}").json()["items"]) == count, query
    for query in ("limit=0", "limit=501", "event_type=x", "cursor=x", "worker_id=%00", "from=now"):
        problem(floor.client.get(f"/events?{query}"), 422)


def test_an_event_is_shown_as_it_is_stored(floor: Floor):
    """One by id, with the end of its state as far as it is known."""
    body = state("working", at(8), camera="c1", event_id="a/b c").body() | {"model_version": 3}
    floor.client.post("/events", json=body | {"more": "is ignored"})
    floor.send(state("idle", at(8, 10)))
    answer = floor.client.get("/events/a%2Fb%20c")
    assert answer.status_code == 200
    shown = answer.json()
    assert shown.pop("received_at") > "2026"
    assert shown == {
        "event_id": "a/b c",
        "timestamp": "2026-03-02T08:00:00Z",
        "worker_id": "W1",
        "workstation_id": "S1",
        "event_type": "working",
        "confidence": 0.9,
        "count": 0,
        "site_id": "main",
        "camera_id": "c1",
        "model_version": "3",
        "source": "http",
        "ends_at": "2026-03-02T08:10:00Z",
        "retracted_at": None,
    }
    problem(floor.client.get("/events/nothing"), 404, "nothing")


def test_an_event_can_be_taken_back(floor: Floor):
    """It stays, is not counted, and is listed only when asked for."""
    floor.send(units(3, at(8), event_id="x"))
    answer = floor.client.delete("/events/x/")
    assert answer.status_code == 200
    assert answer.json()["retracted_at"]
    assert floor.client.get("/events").json()["items"] == []
    assert len(floor.client.get("/events?retracted=true").json()["items"]) == 1
    assert floor.client.get("/events/x").json()["retracted_at"]
    assert floor.worker(at(8), at(9))["units"] == 0
    problem(floor.client.delete("/events/y"), 404, "y")


def test_the_log_for_a_spreadsheet(floor: Floor):
    """CSV with the same filters; asked for a page, `Link` leads to the next one."""
    floor.send(*(state("idle", at(8) + n * HOUR, worker="W1") for n in range(3)))
    answer = floor.client.get("/events?format=csv&limit=2")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["timestamp"][11:16] for row in rows] == ["10:00", "09:00"]
    following = answer.headers["link"].removeprefix("<").partition(">")[0]
    rows = list(csv.DictReader(io.StringIO(floor.client.get(following).text)))
    assert [row["timestamp"][11:16] for row in rows] == ["08:00"]


def test_a_spreadsheet_gets_the_whole_window(floor: Floor, monkeypatch: pytest.MonkeyPatch):
    """However long it is, and however little of it the filters let through."""
    monkeypatch.setattr(browsing, "_ROWS_AT_A_TIME", 50)
    told = [units(1, at(8) + n * SECOND, camera=f"=c{n % 100}") for n in range(700)]
    floor.send(*told)

    def table(query: str = "") -> list[dict[str, str]]:
        answer = floor.client.get(f"/events?format=csv{query}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
        assert "events.csv" in answer.headers["content-disposition"]
        assert "link" not in answer.headers
        return list(csv.DictReader(io.StringIO(answer.text)))

    rows = table()
    assert len({row["event_id"] for row in rows}) == len(rows) == 700
    assert [row["timestamp"] for row in rows] == sorted(
        (row["timestamp"] for row in rows), reverse=True
    )
    assert rows[0]["camera_id"] == "'=c99"
    monkeypatch.setattr(paging, "EXAMINED", 60)
    assert len(table("&camera_id=%3Dc7")) == 7
    assert len(table("&from=2026-03-02T08:10:00Z")) == 100
    assert table("&site_id=nowhere") == []
    assert len(floor.client.get("/events?format=csv&limit=100").text.splitlines()) == 101


def test_a_window_too_long_for_a_spreadsheet_is_refused(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
):
    """Before anything is sent, and with the way out; never cut off in silence."""
    monkeypatch.setattr(browsing, "MOST_ROWS", 5)
    floor.send(*(units(1, at(8 + n % 2, n), worker=f"W{n % 2 + 1}") for n in range(8)))
    problem(floor.client.get("/events?format=csv"), 422, "8 rows", "Narrow the window")
    for query in ("worker_id=W1", "to=2026-03-02T09:00:00Z", "limit=5", "from=2999-01-01T00:00Z"):
        assert floor.client.get(f"/events?format=csv&{query}").status_code == 200, query


def test_a_spreadsheet_that_breaks_off_is_no_whole_answer(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
):
    """What fails later ends the connection before the end; what fails at once is a problem."""
    monkeypatch.setattr(browsing, "_ROWS_AT_A_TIME", 5)
    floor.send(*(units(1, at(8, n)) for n in range(12)))
    page = floor.db.factory.page

    def broken(**given: Any) -> Any:
        if given["before"] is not None:
            raise StorageFull("The disk is full.", hint="Make room.")
        return page(**given)

    monkeypatch.setattr(floor.db.factory, "page", broken)
    with pytest.raises(httpx.RemoteProtocolError):
        floor.client.get("/events?format=csv")
    monkeypatch.setattr(floor.db.factory, "page", lambda **_: broken(before=(1, 1)))
    problem(floor.client.get("/events?format=csv"), 503, "disk is full")


def test_one_bad_parameter_says_what_is_wrong_with_it(floor: Floor):
    """In `detail`, where everybody looks; several are listed in `errors`."""
    said = problem(floor.client.get("/events?from=2026-01-01T00:00:00"), 422, "from: must carry Z")
    assert said["errors"][0]["field"] == "from"
    problem(floor.client.get("/events?limit=0&cursor=x"), 422, "limit, cursor", "`errors`")


def test_an_event_cannot_have_the_name_of_an_address(floor: Floor):
    """Nobody could read it again."""
    for taken in ("rejected", "batch"):
        body = units(1, at(8), event_id=taken).body()
        problem(floor.client.post("/events", json=body), 422, "event_id", "an address here")
    assert floor.client.get("/events").json()["items"] == []


def test_refused_times_are_shown_with_z(floor: Floor):
    """Whichever way the event was read."""
    body = units(1, at(8)).body() | {"timestamp": "1999-12-31T23:59:59Z"}
    for more in ({}, {"confidence": 7}):
        answer = floor.client.post("/events", json=body | more)
        problem(answer, 422, "('1999-12-31T23:59:59Z')")


def test_messages_put_aside_are_shown(floor: Floor):
    """What MQTT brought and nobody could use, with the reason."""
    floor.db.rejected.add("andon/main/events", b"{\xff\x00", "The body is not JSON.")
    found = floor.client.get("/events/rejected").json()
    assert found["total"] == 1
    (message,) = found["items"]
    assert message["topic"] == "andon/main/events"
    assert message["reason"] == "The body is not JSON."
    assert message["received_at"].endswith("Z")


def test_no_route_redirects(floor: Floor):
    """A slash at the end means nothing, whatever the method."""
    body = state("idle", at(8)).body()
    for method, path, given in (
        ("POST", "/events/", {"json": body}),
        ("POST", "/events/batch/", {"json": [body]}),
        ("GET", "/events/", {}),
        ("GET", "/events/rejected/", {}),
        ("HEAD", "/events", {}),
    ):
        answer = floor.client.request(method, path, **given)
        assert answer.status_code in {200, 201}, (method, path)
    assert floor.client.options("/events").headers["allow"] == "GET, HEAD, OPTIONS, POST"
    problem(floor.client.put("/events", json=body), 405)


def test_what_happened_is_counted(floor: Floor):
    """For Prometheus, by outcome."""

    def counted(outcome: str) -> float:
        name = f'andon_events_total{{kind="factory",outcome="{outcome}",source="http"}} '
        (line,) = [
            line for line in floor.client.get("/metrics").text.splitlines() if line.startswith(name)
        ]
        return float(line.rpartition(" ")[2])

    before = [counted(outcome) for outcome in ("stored", "duplicate", "rejected")]
    good = state("idle", at(8)).body()
    floor.client.post("/events/batch", json=[good, good, {}])
    floor.client.post("/events", json=good)
    floor.client.post("/events", json={})
    after = [counted(outcome) for outcome in ("stored", "duplicate", "rejected")]
    assert [new - old for old, new in zip(before, after, strict=True)] == [1, 2, 2]
