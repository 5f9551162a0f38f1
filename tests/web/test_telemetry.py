import csv
import json

import pytest
from tests.web.conftest import Floor, problem

from andon.store.clock import moment, now_micros
from andon.web.api import browsing

SAMPLE = {"ear_value": 0.18, "is_drowsy": True, "duration_ms": 1500}


def ago(*, hours: float = 0, minutes: float = 0) -> str:
    """So long before now, as measurements carry it."""
    return moment(now_micros() - int((hours * 60 + minutes) * 60_000_000)).isoformat()


def send(floor: Floor, status: int = 201, **more) -> dict:
    """Send one measurement."""
    answer = floor.client.post("/telemetry", json=SAMPLE | more)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_the_documented_client_works(floor: Floor):
    """`{ear_value, is_drowsy, duration_ms}` and nothing else, as the web client sends it."""
    before = now_micros()
    sent = send(floor)
    assert sent.keys() == {"status", "event_id"}
    assert sent["status"] == "logged"
    (kept,) = floor.client.get("/telemetry").json()["items"]
    assert kept["event_id"] == sent["event_id"]
    assert (kept["ear_value"], kept["is_drowsy"], kept["duration_ms"]) == (0.18, True, 1500.0)
    assert (kept["driver_id"], kept["device_id"], kept["site_id"]) == ("", "", "main")
    assert moment(before).isoformat() <= kept["timestamp"].replace("Z", "+00:00")
    assert kept["received_at"].endswith("Z")


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "x"])
def test_the_content_type_does_not_matter(floor: Floor, kind):
    """A beacon of a browser cannot set it."""
    headers = {} if kind is None else {"Content-Type": kind}
    answer = floor.client.post("/telemetry/", content=json.dumps(SAMPLE), headers=headers)
    assert (answer.status_code, answer.history) == (201, [])


def test_a_measurement_without_a_time_is_never_a_repeat(floor: Floor):
    """Two equal ones are two."""
    assert send(floor)["event_id"] != send(floor)["event_id"]
    assert floor.client.get("/statistics").json()["total_events"] == 2


def test_a_repeat_is_a_success_reported_as_duplicate(floor: Floor):
    """By its id, by its time and place, or under the id it was given by us."""
    own = send(floor, event_id="mine")
    assert own["event_id"] == "mine"
    assert send(floor, 200, event_id="mine") == own | {"duplicate": True}
    timed = {"timestamp": ago(minutes=5), "driver_id": "D1"}
    made = send(floor, **timed)
    assert send(floor, 200, **timed)["duplicate"] is True
    assert send(floor, 200, **timed, event_id=made["event_id"])["duplicate"] is True
    assert floor.client.get("/statistics").json()["total_events"] == 2


def test_an_id_is_for_one_measurement(floor: Floor):
    """409, and the first stands."""
    send(floor, event_id="mine")
    answer = floor.client.post("/telemetry", json=SAMPLE | {"event_id": "mine", "ear_value": 0.3})
    problem(answer, 409, "mine", "another measurement")
    assert floor.client.get("/telemetry").json()["items"][0]["ear_value"] == 0.18


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ear_value", None),
        ("ear_value", "0.2"),
        ("ear_value", True),
        ("ear_value", -0.01),
        ("ear_value", 2.01),
        ("ear_value", 10**400),
        ("ear_value", float("nan")),
        ("ear_value", float("inf")),
        ("is_drowsy", None),
        ("is_drowsy", 1),
        ("is_drowsy", "true"),
        ("duration_ms", None),
        ("duration_ms", -1),
        ("duration_ms", 86_400_001),
        ("duration_ms", [1]),
        ("timestamp", "2026-11-21T08:00:00"),
        ("timestamp", "1999-12-31T23:59:59Z"),
        ("timestamp", "2999-01-01T00:00:00Z"),
        ("timestamp", 1_763_712_000),
        ("timestamp", "today"),
        ("event_id", ""),
        ("event_id", "x" * 65),
        ("driver_id", "x" * 10_000_0),
        ("driver_id", " D1"),
        ("device_id", "a\x00b"),
        ("site_id", ""),
        ("site_id", 7),
    ],
)
def test_a_wrong_field_is_named(floor: Floor, field, value):
    """422 with the field, whatever is wrong with it, and nothing is stored."""
    content = json.dumps({**SAMPLE, field: value})
    body = problem(floor.client.post("/telemetry", content=content), 422, field)
    assert field in [error["field"] for error in body["errors"]]
    assert floor.client.get("/statistics").json()["total_events"] == 0


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (b"[]", 422),
        (b"7", 422),
        (b"null", 422),
        (json.dumps({"events": [SAMPLE]}).encode(), 422),
    ],
    ids=["empty", "cut", "no UTF-8", "deep", "array", "number", "null", "batch"],
)
def test_what_is_no_measurement_is_refused(floor: Floor, content, status):
    """What cannot be read, and what is something else."""
    problem(floor.client.post("/telemetry", content=content), status)


def test_fields_that_are_not_known_are_ignored_and_null_is_absent(floor: Floor):
    """Clients grow fields."""
    send(floor, app_version="1.2", driver_id=None, timestamp=None, event_id=None)
    assert floor.client.get("/telemetry").json()["items"][0]["driver_id"] == ""


def batch(*rows: dict) -> list[dict]:
    """Measurements a second apart."""
    now = now_micros() // 1_000_000 * 1_000_000
    times = (moment(now - 1_000_000 * number).isoformat() for number in range(len(rows)))
    return [SAMPLE | {"timestamp": time} | row for time, row in zip(times, rows, strict=True)]


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_batch_is_taken_as_object_or_array(floor: Floor, wrapped):
    """A bad row costs itself; repeats are successes."""
    rows = batch({}, {"ear_value": "x"}, {"driver_id": "D1"})
    body = {"events": rows} if wrapped else rows
    answer = floor.client.post("/telemetry/batch", json=body)
    assert answer.status_code == 201
    report = answer.json()
    assert (report["total"], report["ingested"], report["rejected"]) == (3, 2, 1)
    assert [error["index"] for error in report["errors"]] == [1]
    assert "ear_value" in report["errors"][0]["detail"]
    again = floor.client.post("/telemetry/batch", json=[rows[0], rows[2]])
    assert again.status_code == 200
    assert again.json() == {
        "total": 2, "ingested": 0, "duplicates": 2, "rejected": 0, "errors": []
    }  # fmt: skip


def test_a_stream_of_lines_is_taken(floor: Floor):
    """NDJSON, blank lines and a bad one among them."""
    lines = [json.dumps(row) for row in batch(*[{"device_id": f"cam-{n}"} for n in range(1500)])]
    content = "\n".join([*lines[:700], "", "{", *lines[700:]])
    headers = {"Content-Type": "application/x-ndjson"}
    answer = floor.client.post("/telemetry/batch", content=content, headers=headers)
    assert answer.status_code == 201
    report = answer.json()
    assert (report["total"], report["ingested"]) == (1501, 1500)
    assert [error["index"] for error in report["errors"]] == [701]
    assert floor.client.get("/statistics").json()["total_events"] == 1500


def test_a_batch_of_which_nothing_can_be_stored_is_an_error(floor: Floor):
    """400 with the counters."""
    answer = floor.client.post("/telemetry/batch", json=[{}, 7])
    body = problem(answer, 400)
    assert (body["total"], body["rejected"], body["ingested"]) == (2, 2, 0)
    problem(floor.client.post("/telemetry/batch", json=[]), 400)


def test_measurements_are_browsed(floor: Floor):
    """Newest first, by page and by filter."""
    rows = batch(*[{"driver_id": f"D{n % 2}", "is_drowsy": n % 3 == 0} for n in range(7)])
    floor.client.post("/telemetry/batch", json=rows)
    seen, cursor = [], None
    while True:
        page = floor.client.get("/telemetry", params={"limit": 3} | cursor_of(cursor)).json()
        seen += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [one["timestamp"] for one in seen] == [
        row["timestamp"].replace("+00:00", "Z") for row in rows
    ]

    def count(**wanted) -> int:
        return len(floor.client.get("/telemetry", params=wanted).json()["items"])

    assert count(driver_id="D0") == 4
    assert count(driver_id="") == 0
    assert count(is_drowsy="true") == 3
    assert count(driver_id="D0", is_drowsy="false") == 2
    assert count(**{"from": rows[2]["timestamp"]}) == 3
    assert count(to=rows[2]["timestamp"]) == 4
    assert count(site_id="main", device_id="cam") == 0
    problem(floor.client.get("/telemetry?cursor=x"), 422, "cursor")
    problem(floor.client.get("/telemetry?limit=501"), 422, "limit")
    problem(floor.client.get("/telemetry?from=2026-01-01T00:00:00"), 422, "from")


def cursor_of(cursor: str | None) -> dict[str, str]:
    """As a parameter."""
    return {} if cursor is None else {"cursor": cursor}


def test_measurements_are_a_spreadsheet_too(floor: Floor):
    """The same columns as the JSON; the next page is in the Link header."""
    floor.client.post("/telemetry/batch", json=batch({"driver_id": "=1+1"}, {}, {}))
    answer = floor.client.get("/telemetry?format=csv&limit=2")
    rows = list(csv.DictReader(answer.text.splitlines()))
    assert rows[0].keys() == floor.client.get("/telemetry").json()["items"][0].keys()
    assert rows[0]["driver_id"] == "'=1+1"
    assert (rows[0]["ear_value"], rows[0]["is_drowsy"]) == ("0.18", "true")
    following = floor.client.get(answer.links["next"]["url"])
    assert len(following.text.splitlines()) == 2
    assert "next" not in following.links


def test_a_spreadsheet_gets_all_measurements(floor: Floor, monkeypatch: pytest.MonkeyPatch):
    """Of the window; or it is refused before anything is sent."""
    monkeypatch.setattr(browsing, "_ROWS_AT_A_TIME", 50)
    floor.client.post(
        "/telemetry/batch", json=batch(*[{"driver_id": f"D{n % 2}"} for n in range(300)])
    )
    answer = floor.client.get("/telemetry?format=csv")
    assert len(answer.text.splitlines()) == 301
    assert "link" not in answer.headers
    assert len(floor.client.get("/telemetry?format=csv&driver_id=D1").text.splitlines()) == 151
    monkeypatch.setattr(browsing, "MOST_ROWS", 200)
    problem(floor.client.get("/telemetry?format=csv"), 422, "300 rows", "Narrow the window")
    assert floor.client.get("/telemetry?format=csv&driver_id=D1").status_code == 200


def test_the_statistics_are_the_documented_ones(floor: Floor):
    """Exactly these members; 12 of 45 are 26.67 percent."""
    nothing = floor.client.get("/statistics").json()
    assert nothing == {
        "total_events": 0,
        "drowsy_events": 0,
        "average_ear": None,
        "average_duration_ms": None,
        "drowsiness_rate": 0.0,
    }
    rows = batch(*[{"is_drowsy": n < 12, "ear_value": 0.25} for n in range(45)])
    floor.client.post("/telemetry/batch", json=rows)
    assert floor.client.get("/statistics/").json() == {
        "total_events": 45,
        "drowsy_events": 12,
        "average_ear": 0.25,
        "average_duration_ms": 1500.0,
        "drowsiness_rate": 26.67,
    }
    newest = {"from": rows[4]["timestamp"]}
    assert floor.client.get("/statistics", params=newest).json()["total_events"] == 5
    assert floor.client.get("/statistics", params={"driver_id": "D1"}).json()["total_events"] == 0


def test_the_dashboard_is_the_documented_one(floor: Floor):
    """JSON whoever asks, with a time ending in Z."""
    rows = batch(*[{"is_drowsy": n < 12} for n in range(45)])
    floor.client.post("/telemetry/batch", json=rows)
    send(floor, timestamp=ago(hours=2))
    answer = floor.client.get("/dashboard", headers={"Accept": "text/html"})
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    assert found.pop("timestamp").endswith("Z")
    assert found.pop("last_event_at") == rows[0]["timestamp"].replace("+00:00", "Z")
    assert found == {
        "overall": {"total_events": 46, "drowsy_events": 13},
        "last_hour": {"events_count": 45, "drowsy_count": 12, "alert_rate": 26.67},
        "status": "warning",
        "stale": False,
    }


def test_a_dashboard_without_fresh_data_says_so(floor: Floor):
    """Normal alone would be a guess."""
    assert floor.client.get("/dashboard").json()["last_event_at"] is None
    send(floor, timestamp=ago(minutes=61))
    found = floor.client.get("/dashboard").json()
    assert (found["status"], found["stale"]) == ("normal", True)
    assert found["last_event_at"] is not None


def drive(floor: Floor) -> tuple[int, list[dict]]:
    """Two minutes of a driver, twenty points a second, ending now; when it began."""
    begin = (now_micros() // 60_000_000 - 2) * 60_000_000
    rows = []
    for number in range(2400):
        closed = number % 100 in range(10, 14)
        rows.append(
            {
                "timestamp": moment(begin + number * 50_000).isoformat(),
                "driver_id": "D1",
                "ear_value": 0.06 if closed else 0.3,
                "is_drowsy": closed,
                "duration_ms": 100 if closed else 0,
            }
        )
    assert floor.client.post("/telemetry/batch", json=rows).status_code == 201
    return begin, rows


def test_features_are_answered_by_driver_and_minute(floor: Floor):
    """Of the last hour, where nobody says otherwise."""
    begin, _ = drive(floor)
    found = floor.client.get("/telemetry/features").json()
    assert found.keys() == {"from", "to", "bucket", "threshold", "drivers"}
    assert (found["bucket"], found["threshold"]) == ("minute", 0.2)
    (driver,) = found["drivers"]
    assert driver["driver_id"] == "D1"
    assert driver["interval_seconds"] == pytest.approx(0.05)
    first, second = driver["items"]
    assert first["start"] == moment(begin).isoformat().replace("+00:00", "Z")
    assert (first["points"], first["blinks"], first["drowsy_events"]) == (1200, 12, 48)
    assert second["blink_rate"] == pytest.approx(12, rel=0.01)
    assert first["perclos"] == pytest.approx(0.04)
    hours = floor.client.get("/telemetry/features?bucket=hour&driver_id=D1").json()
    assert sum(item["points"] for item in hours["drivers"][0]["items"]) == 2400
    assert floor.client.get("/telemetry/features?driver_id=D9").json()["drivers"] == []
    problem(floor.client.get("/telemetry/features?bucket=day"), 422, "bucket")


def test_features_are_a_spreadsheet_too(floor: Floor):
    """One row per driver and bucket; what is unknown is empty."""
    drive(floor)
    send(floor, driver_id="D2", timestamp=ago(minutes=3))
    rows = list(
        csv.DictReader(floor.client.get("/telemetry/features?format=csv").text.splitlines())
    )
    assert [row["driver_id"] for row in rows] == ["D1", "D1", "D2"]
    assert float(rows[0]["blink_rate"]) == pytest.approx(12)
    assert rows[2]["perclos"] == rows[2]["blinks"] == rows[2]["ear_variance"] == ""
