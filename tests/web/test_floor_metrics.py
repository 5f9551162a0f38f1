"""What the numbers mean, case by case, through HTTP; docs/metrics.md says the same in words."""

import csv
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import floor as plain
from tests.support.floor import DAY, HOUR, SECOND, at, state, units
from tests.web.conftest import Floor, Site, problem

from andon.store.clock import moment, now_micros
from andon.store.tables import iso


def test_active_and_idle_time_units_and_rates(floor: Floor):
    """The formulas, once, on numbers that can be done in the head."""
    floor.send(
        state("working", at(8)),
        units(10, at(8, 10)),
        state("idle", at(8, 15)),
        units(5, at(8, 20)),
        state("absent", at(8, 20)),
        state("working", at(8, 30), worker="W2", station="S2"),
        state("absent", at(8, 45), worker="W2", station="S2"),
    )
    one = floor.worker(at(8), at(9))
    assert one["active_seconds"] == 900
    assert one["idle_seconds"] == 300
    assert one["absent_seconds"] == 1800
    assert one["utilization"] == 0.75
    assert one["units"] == 15
    assert one["units_per_hour"] == 60
    assert one["events"] == 5
    station = floor.station(at(8), at(9))
    assert station["occupancy_seconds"] == 1200
    assert station["working_seconds"] == 900
    assert station["utilization"] == 0.75
    assert station["throughput"] == 45
    factory = floor.metrics("factory", at(8), at(9))
    assert factory["productive_seconds"] == 1800
    assert factory["production"] == 15
    assert factory["production_rate"] == 30
    assert factory["utilization"] == (0.75 + 1) / 2
    assert factory["workers"] == 2


def test_nothing_gives_zeros(floor: Floor):
    """Registered workers and stations without data are there; no denominator breaks anything."""
    found = floor.metrics("workers", at(8), at(9))["workers"]
    assert [one["worker_id"] for one in found] == ["W1", "W2", "W3"]
    assert {one["utilization"] for one in found} == {0}
    assert {one["units_per_hour"] for one in found} == {0}
    assert {
        one["throughput"] for one in floor.metrics("workstations", at(8), at(9))["workstations"]
    } == {0}
    factory = floor.client.get("/metrics/factory").json()
    assert factory["production_rate"] == factory["utilization"] == factory["workers"] == 0


def test_a_count_neither_opens_nor_closes_a_state(floor: Floor):
    """Units in the middle of a state change nothing about it, wherever they were counted."""
    floor.send(state("working", at(8)), units(3, at(8, 5), station="S2"), state("idle", at(8, 10)))
    assert floor.worker(at(8), at(8, 10))["active_seconds"] == 600
    assert floor.station(at(8), at(8, 10), "S2")["units"] == 3
    assert floor.station(at(8), at(8, 10), "S2")["occupancy_seconds"] == 0


def test_the_count_of_a_state_is_no_unit(floor: Floor):
    """The usual sample sends `working` with `count: 1`."""
    floor.send(state("working", at(8), count=1))
    assert floor.worker(at(8), at(9))["units"] == 0
    assert floor.client.get("/events").json()["items"][0]["count"] == 0


def test_offsets_are_the_same_moment(floor: Floor):
    """09:00+01:00 is 08:00Z: the same event, and so a repeat of it."""
    body = state("working", at(8)).body()
    for written in ("2026-03-02T08:00:00Z", "2026-03-02T09:00:00+01:00", "2026-03-02T02:30-05:30"):
        assert floor.client.post("/events", json=body | {"timestamp": written}).status_code < 300
    assert floor.worker(at(8), at(9))["events"] == 1
    window = {"from": "2026-03-02T09:00:00+01:00", "to": "2026-03-02T10:00:00+01:00"}
    answer = floor.client.get("/metrics/workers/W1", params=window).json()
    assert (answer["from"], answer["to"]) == ("2026-03-02T08:00:00Z", "2026-03-02T09:00:00Z")
    assert answer["active_seconds"] == 1800
    # A plus sign that was not escaped arrives as a blank.
    raw = "/metrics/workers/W1?from=2026-03-02T09:00:00+01:00&to=2026-03-02T10:00:00+01:00"
    assert floor.client.get(raw).json() == answer


@pytest.mark.parametrize(
    "path", ["/metrics/factory", "/events", "/telemetry", "/telemetry/features", "/statistics"]
)
def test_a_window_that_ends_before_it_begins_is_refused(floor: Floor, path):
    """Nothing would look like "nothing happened"; an empty window is a mistake as well."""
    for end in ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"):
        window = {"from": "2026-03-02T00:00:00Z", "to": end}
        problem(floor.client.get(path, params=window), 422, "from must be before `to`")


def test_days_have_24_hours_whatever_clocks_on_walls_do(floor: Floor):
    """On 29 March 2026 Europe goes from 02:00 to 03:00 local time; UTC does not."""
    for tenth in range(6 * 24 + 1):
        hour, minute = divmod(tenth * 10, 60)
        day, hour = divmod(hour, 24)
        written = f"2026-03-{29 + day}T{hour:02d}:{minute:02d}:00Z"
        body = state("working", 0).body() | {"timestamp": written}
        assert floor.client.post("/events", json=body).status_code == 201
    asked = {"from": "2026-03-29T00:00:00Z", "to": "2026-03-30T00:00:00Z", "bucket": "hour"}
    found = floor.client.get("/metrics/workers/W1", params=asked).json()
    assert found["active_seconds"] == 86_400
    assert [point["active_seconds"] for point in found["series"]] == [3600] * 24
    local = {"from": "2026-03-29T01:30:00+01:00", "to": "2026-03-29T03:30:00+02:00"}
    assert floor.client.get("/metrics/workers/W1", params=local).json()["active_seconds"] == 3600


def test_a_state_over_hours_and_midnight_is_divided(floor: Floor):
    """Each hour and each day gets the part that lies in it."""
    floor.send(
        state("working", at(23, 45)),
        state("idle", at(0, 10, day=1)),
        state("absent", at(0, 20, day=1)),
    )
    hours = floor.metrics("workers/W1", at(23), at(1, day=1), bucket="hour")["series"]
    assert [point["active_seconds"] for point in hours] == [900, 600]
    assert [point["idle_seconds"] for point in hours] == [0, 600]
    days = floor.metrics("workers/W1", at(0), at(0, day=2), bucket="day")["series"]
    assert [point["start"] for point in days] == ["2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z"]
    assert [point["active_seconds"] for point in days] == [900, 600]


def test_a_long_gap_counts_only_up_to_the_limit(floor: Floor):
    """Half an hour after the last word nobody knows any more."""
    floor.send(state("working", at(8)), state("working", at(12)), state("absent", at(12, 5)))
    assert floor.worker(at(8), at(12))["active_seconds"] == 1800
    assert floor.worker(at(8, 30), at(12))["active_seconds"] == 0
    assert floor.worker(at(8), at(13))["active_seconds"] == 1800 + 300


def test_the_open_state_ends_with_the_window(floor: Floor):
    """And never after now, however far ahead the window reaches."""
    floor.send(state("working", at(8)))
    assert floor.worker(at(8), at(8, 12))["active_seconds"] == 720
    began = now_micros() - 5 * 60 * SECOND
    floor.send(state("working", began, worker="W2"))
    found = floor.worker(began, began + DAY, "W2")
    assert 300 <= found["active_seconds"] < 400
    assert found["to"] <= iso(moment(now_micros()))


def test_two_workers_at_one_station(floor: Floor):
    """Occupancy is person-time: two people for an hour are two hours."""
    for worker in ("W1", "W2"):
        floor.send(
            state("working", at(8), worker),
            units(6, at(8, 10), worker),
            state("absent", at(8, 30), worker),
        )
    station = floor.station(at(8), at(9))
    assert station["occupancy_seconds"] == 3600
    assert station["throughput"] == 12
    assert floor.worker(at(8), at(9))["active_seconds"] == 1800


def test_a_worker_who_changes_station(floor: Floor):
    """Time belongs to the station of the event that opened the state."""
    floor.send(
        state("working", at(8), station="S1"),
        state("working", at(8, 10), station="S2"),
        state("idle", at(8, 25), station="S3"),
        state("absent", at(8, 30), station="S1"),
    )
    found = [floor.station(at(8), at(8, 30), station) for station in ("S1", "S2", "S3")]
    assert [one["occupancy_seconds"] for one in found] == [600, 900, 300]
    assert floor.worker(at(8), at(8, 30))["active_seconds"] == 1500


def test_a_state_opened_before_the_window_counts_inside_it(floor: Floor):
    """Also when it was opened before midnight, and its event is no event of the window."""
    floor.send(state("working", at(7, 50)), state("idle", at(8, 5)))
    found = floor.worker(at(8), at(9))
    assert found["active_seconds"] == 300
    assert found["events"] == 1


def test_simultaneous_states(floor: Floor):
    """Absent, idle, working: the later in this order wins, whichever came first."""
    for told in (
        [state("working", at(8)), state("idle", at(8)), state("absent", at(8))],
        [state("absent", at(9)), state("working", at(9)), state("idle", at(9))],
    ):
        for event in told:
            floor.send(event)
    floor.send(state("absent", at(8, 10)), state("absent", at(9, 10)))
    for hour in (8, 9):
        found = floor.worker(at(hour), at(hour, 10))
        assert (found["active_seconds"], found["idle_seconds"], found["absent_seconds"]) == (
            600,
            0,
            0,
        )
        assert found["events"] == 3


def test_a_late_event_divides_the_state_it_falls_into(floor: Floor):
    """Sent hours later, it counts as if it had come in time."""
    floor.send(state("working", at(8)), state("absent", at(8, 20)))
    assert floor.worker(at(8), at(9))["active_seconds"] == 1200
    floor.send(state("idle", at(8, 5)))
    found = floor.worker(at(8), at(9))
    assert (found["active_seconds"], found["idle_seconds"]) == (300, 900)


def test_a_correction(floor: Floor):
    """Take the wrong event back, send the right one; a repeat of the wrong one changes nothing."""
    wrong, right = units(500, at(8, 5), event_id="c-1"), units(5, at(8, 5), event_id="c-1-right")
    floor.send(state("working", at(8)), wrong, state("idle", at(8, 10)))
    assert floor.client.delete("/events/c-1").json()["retracted_at"]
    floor.send(right)
    assert floor.send(wrong)["duplicates"] == 1
    assert floor.client.delete("/events/c-1").status_code == 200
    assert floor.worker(at(8), at(9))["units"] == 5
    # A state that is taken back leaves its time to the one before.
    idle = floor.client.get("/events?event_type=idle").json()["items"][0]
    floor.client.delete(f"/events/{idle['event_id']}/")
    assert floor.worker(at(8), at(9))["idle_seconds"] == 0
    assert floor.worker(at(8), at(9))["active_seconds"] == 1800
    assert floor.db.factory_totals.check() == []


def test_of_two_reports_of_one_count_the_greater_stands(floor: Floor):
    """In whatever order they come; with an id of their own the first stands."""
    for counts in ((3, 7), (7, 3)):
        floor.clear()
        for count in counts:
            floor.send(units(count, at(8)))
        assert floor.worker(at(8), at(9))["units"] == 7


def test_retired_people_keep_their_past(floor: Floor):
    """What was counted stays; late events of their time are taken, later ones are not."""
    floor.send(state("working", at(8)))
    floor.client.patch("/workers/W1", json={"retired": True})
    floor.send(state("idle", at(8, 10)))
    found = floor.worker(at(8), at(9))
    assert (found["active_seconds"], found["idle_seconds"]) == (600, 1800)
    assert found["retired_at"]
    answer = floor.client.post("/events", json=state("working", now_micros() + SECOND).body())
    problem(answer, 400, "retired")


def test_who_is_unknown_has_no_numbers(floor: Floor):
    """404, for a worker and for a station."""
    problem(floor.client.get("/metrics/workers/W9"), 404, "W9")
    problem(floor.client.get("/metrics/workstations/S9"), 404, "S9")


def test_the_levels_add_up(floor: Floor):
    """Workers, stations and the factory are sums of the same microseconds and units."""
    floor.send(
        state("working", at(8) + 1),
        state("idle", at(8, 7) + 333_333, station="S2"),
        state("working", at(8, 3) + 7, worker="W2", station="S2"),
        units(7, at(8, 4), worker="W2"),
        units(9, at(8, 5)),
    )
    window = (at(8, 1) + 1, at(8, 40) + 12_345)
    workers = floor.metrics("workers", *window)["workers"]
    stations = floor.metrics("workstations", *window)["workstations"]
    factory = floor.metrics("factory", *window)
    active = sum(round(one["active_seconds"] * SECOND) for one in workers)
    assert active == sum(round(one["working_seconds"] * SECOND) for one in stations)
    assert active == round(factory["productive_seconds"] * SECOND)
    assert sum(one["units"] for one in workers) == sum(one["units"] for one in stations) == 16
    assert factory["production"] == 16


def test_a_window_must_make_sense(floor: Floor):
    """422 that names the parameter; no `from` means the beginning of the data."""
    floor.send(state("working", at(8)))
    for query in (
        "from=2026-03-02T09:00:00Z&to=2026-03-02T08:00:00Z",
        "from=2026-03-02T09:00:00Z&to=2026-03-02T09:00:00Z",
        "from=2999-01-01T00:00:00Z",
        "from=yesterday",
        "from=1772409600",
        "from=2026-03-02T09:00:00",
    ):
        body = problem(floor.client.get(f"/metrics/factory?{query}"), 422)
        assert [error["field"] for error in body["errors"]] == ["from"]
    problem(floor.client.get("/metrics/factory?bucket=week"), 422)
    assert floor.client.get("/metrics/factory").json()["from"] == "2026-03-02T08:00:00Z"
    before = floor.client.get("/metrics/factory?to=2020-01-01T00:00:00Z").json()
    assert before["productive_seconds"] == 0
    old = floor.client.get("/metrics/factory?from=0001-01-01T00:00:00Z").json()
    assert old["productive_seconds"] == 1800


def test_a_series_has_every_bucket(floor: Floor):
    """Zeros included, and the first and the last hold what lies in the window."""
    floor.send(state("working", at(8, 50)), state("idle", at(9, 10)), state("absent", at(9, 15)))
    for what in ("workers", "workstations"):
        found = floor.metrics(what, at(7, 30), at(11), bucket="hour")[what]
        assert {len(one["series"]) for one in found} == {4}
    series = floor.metrics("factory", at(7, 30), at(9, 5), bucket="hour")["series"]
    assert [point["start"][11:16] for point in series] == ["07:00", "08:00", "09:00"]
    assert [point["productive_seconds"] for point in series] == [0, 600, 300]
    assert [point["workers"] for point in series] == [0, 1, 1]


def test_a_series_has_an_end(floor: Floor):
    """More than 2,000 buckets are refused with what to do."""
    assert (
        len(floor.metrics("factory", at(0), at(0) + 2000 * HOUR, bucket="hour")["series"]) == 2000
    )
    asked = {"from": iso(moment(at(0))), "to": iso(moment(at(0) + 2001 * HOUR)), "bucket": "hour"}
    body = problem(floor.client.get("/metrics/factory", params=asked), 422, "bucket=day")
    assert body["errors"][0]["field"] == "bucket"
    many = [f"P{n}" for n in range(60)]
    with floor.db.write() as connection:
        for worker in many:
            connection.exec_driver_sql(
                f"INSERT INTO workers (id, name, created_at) VALUES ('{worker}', '{worker}', "
                "'2026-01-01T00:00:00.000000Z')"
            )
    asked["to"] = iso(moment(at(0) + 2000 * HOUR))
    problem(floor.client.get("/metrics/workers", params=asked), 422, "at a time")
    assert floor.client.get("/metrics/workers/P7", params=asked).status_code == 200


@pytest.mark.parametrize(
    "what", ["workers", "workstations", "factory", "workers/W1", "workstations/S1"]
)
def test_the_same_with_and_without_a_closing_slash(floor: Floor, what: str):
    """Never by redirect."""
    floor.send(state("working", at(8)))
    window = {"from": "2026-03-02T08:00:00Z", "to": "2026-03-02T09:00:00Z"}
    plain_, slashed = (
        floor.client.get(f"/metrics/{what}{end}", params=window) for end in ("", "/")
    )
    assert plain_.status_code == slashed.status_code == 200
    assert plain_.content == slashed.content


def test_metrics_itself_is_for_prometheus(floor: Floor):
    """With and without a slash, beside the numbers under it."""
    floor.send(state("working", at(8)))
    for path in ("/metrics", "/metrics/"):
        answer = floor.client.get(path)
        assert answer.headers["content-type"].startswith("text/plain")
        assert 'andon_events_total{kind="factory",outcome="stored",source="http"}' in answer.text


def test_numbers_for_a_spreadsheet(floor: Floor):
    """One row each, or one per bucket of each; the same numbers."""
    floor.send(state("working", at(8)), state("idle", at(8, 10)))
    window = {"from": "2026-03-02T08:00:00Z", "to": "2026-03-02T10:00:00Z"}
    rows = _csv(floor, "workers", window)
    assert [row["worker_id"] for row in rows] == ["W1", "W2", "W3"]
    assert float(rows[0]["active_seconds"]) == 600
    rows = _csv(floor, "workstations/S1", window | {"bucket": "hour"})
    assert [(row["workstation_id"], row["start"]) for row in rows] == [
        ("S1", "2026-03-02T08:00:00.000000Z"),
        ("S1", "2026-03-02T09:00:00.000000Z"),
    ]
    (row,) = _csv(floor, "factory", window)
    assert float(row["productive_seconds"]) == 600
    accepted = floor.client.get("/metrics/factory", headers={"Accept": "text/csv"})
    assert accepted.headers["content-type"].startswith("text/csv")


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), told=plain.histories(max_size=25), window=plain.windows())
def test_any_order_any_batches_any_repeats(floor: Floor, data, told, window):
    """Random histories, delivered anyhow, give what the plain reference says."""
    floor.clear()
    for batch in data.draw(plain.deliveries(told)):
        if not batch:
            continue
        if data.draw(st.booleans(), label="as lines"):
            lines = b"\n".join(event.json() for event in batch)
            answer = floor.post("/events/batch", lines, "application/x-ndjson")
            assert answer.status_code in {200, 201}, answer.text
            assert not answer.json()["rejected"]
        else:
            floor.send(*batch)
    since, until = window
    expected = plain.metrics(told, since, until)
    for one in floor.metrics("workers", since, until)["workers"]:
        want = expected["workers"].get(one["worker_id"])
        names = {"active": "active_seconds", "idle": "idle_seconds", "absent": "absent_seconds"}
        _agree(one, want, names | _same("utilization", "units", "units_per_hour"))
    for one in floor.metrics("workstations", since, until)["workstations"]:
        want = expected["workstations"].get(one["workstation_id"])
        names = {"occupancy": "occupancy_seconds", "working": "working_seconds"}
        _agree(one, want, names | _same("utilization", "units", "throughput"))
    names = {"productive": "productive_seconds"}
    _agree(
        floor.metrics("factory", since, until),
        expected["factory"],
        names | _same("production", "production_rate", "utilization"),
    )


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def _agree(found: dict, expected: dict | None, names: dict[str, str]) -> None:
    for theirs, ours in names.items():
        want = 0 if expected is None else expected[theirs]
        assert found[ours] == pytest.approx(want, rel=1e-12, abs=1e-9), (theirs, found, expected)


@pytest.mark.parametrize("bucket", [{}, {"bucket": "hour"}])
@pytest.mark.parametrize("what", ["workers", "workstations", "factory"])
def test_a_table_without_rows_has_its_header(fresh: Site, what, bucket):
    """A spreadsheet that is bound to the columns keeps them before the first event."""
    answer = fresh.client.get(f"/metrics/{what}", params=bucket | {"format": "csv"})
    head = answer.text.splitlines()[0].split(",")
    assert "utilization" in head
    assert ("start" in head) is bool(bucket)


def _csv(floor: Floor, what: str, asked: dict[str, str]) -> list[dict[str, str]]:
    answer = floor.client.get(f"/metrics/{what}", params=asked | {"format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv"), answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))
