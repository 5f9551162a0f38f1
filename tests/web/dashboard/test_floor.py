"""The Floor page over a real server, without a browser."""

import json
import re
from datetime import timedelta
from html import unescape

import pytest
from tests.store.test_rejected_messages import aged
from tests.support.floor import HOUR, MINUTE, Told, state, units
from tests.web.conftest import Floor
from tests.web.dashboard.test_pages import text
from tests.web.dashboard.test_templates import Page

from andon.store.clock import moment, now, now_micros
from andon.web.dashboard import floor as floor_page
from andon.web.dashboard import rendering


def ago(minutes: float) -> int:
    """So long before now, microseconds since 1970."""
    return now_micros() - round(minutes * MINUTE)


def a_shift() -> list[Told]:
    """The last two hours: W1 works with a pause, W2 is away, W3 says nothing."""
    return [
        state("working", ago(120)),
        state("idle", ago(100)),
        state("working", ago(90)),
        state("working", ago(65)),
        units(30, ago(80)),
        units(12, ago(70)),
        state("absent", ago(20), "W2", "S2"),
        state("idle", ago(2), "W1", "S3"),
    ]


def field(micros: int) -> str:
    """A time as the form sends it: whole minutes."""
    return moment(micros).strftime("%Y-%m-%dT%H:%M")


def rows(page: str, region: str) -> dict[str, list[str]]:
    """The rows of one of the page's tables, by the text of their heads."""
    table = re.search(rf'aria-labelledby="{region}">\s*<table.*?</table>', page, re.DOTALL)
    assert table, region
    found = {}
    for row in re.findall(r"<tr[^>]*>.*?</tr>", table[0], re.DOTALL)[1:]:
        cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        words = [
            re.sub(r"\s+", " ", unescape(re.sub("<[^>]+>", " ", one))).strip() for one in cells
        ]
        found[words[0]] = words[1:]
    return found


def specs(page: str) -> dict[str, dict]:
    """The charts of a page by the id of their figure."""
    figures = Page(page).all("figure")
    return {one["id"]: json.loads(one["data-chart"]) for one in figures if "data-chart" in one}


def test_a_floor_that_never_reported_says_how_to_begin(floor: Floor):
    """One next step, and no zero that nobody counted."""
    page = floor.client.get("/floor")
    assert page.status_code == 200
    assert "has not reported anything yet" in text(page)
    assert "andon simulate factory" in text(page)
    assert 'id="filters"' not in page.text


def test_the_numbers_are_those_of_the_api(floor: Floor):
    """Summary and tables, for the same window."""
    floor.send(*a_shift())
    since, until = ago(121) // MINUTE * MINUTE, ago(3) // MINUTE * MINUTE
    page = floor.client.get("/floor", params={"from": field(since), "to": field(until)})
    assert page.status_code == 200
    worker, station = floor.worker(since, until), floor.station(since, until)
    shown = rows(page.text, "workers-title")["W1"]
    assert shown[1:4] == [
        floor_page.hours(worker[name])
        for name in ("active_seconds", "idle_seconds", "absent_seconds")
    ]
    assert shown[5:] == [
        floor_page.percent(worker["utilization"]),
        "42",
        f"{worker['units_per_hour']:.1f}",
    ]
    assert rows(page.text, "stations-title")["S1"][1:] == [
        floor_page.hours(station["occupancy_seconds"]),
        floor_page.percent(station["utilization"]),
        "42",
        f"{station['throughput']:.1f}",
    ]
    factory = floor.metrics("factory", since, until)
    said = text(page)
    assert f"Utilization {floor_page.percent(factory['utilization'])}" in said
    assert f"Units per hour {factory['production_rate']:.1f}" in said


def test_charts_and_their_tables_have_the_same_numbers(floor: Floor):
    """Whoever cannot see the picture reads what it shows."""
    floor.send(*a_shift())
    page = floor.client.get("/floor").text
    charts = specs(page)
    spans = charts["states"]["data"]["values"]
    assert {(one["worker"], one["state"]) for one in spans} == {
        ("W1", "working"),
        ("W1", "idle"),
        ("W2", "absent"),
    }
    table = re.search(r'id="states".*?<tbody.*?</tbody>', page, re.DOTALL)
    assert table
    assert table[0].count('<th scope="row">') == len(spans)
    bars = charts["units"]["data"]["values"]
    assert sum(one["units"] for one in bars) == 42
    assert sum(int(cells[1]) for cells in rows(page, "units-title").values()) == 42


def test_what_nobody_reported_is_unknown_and_not_zero(floor: Floor):
    """W3 gets dashes, and the page says how much time is missing."""
    floor.send(*a_shift())
    page = floor.client.get("/floor")
    shown = rows(page.text, "workers-title")["W3"]
    assert shown[0] == "Unknown"
    assert shown[1:4] == ["–", "–", "–"]
    assert shown[5:] == ["–", "–", "–"]
    assert shown[4] == "2:00"
    assert "No report for" in text(page)
    assert "Reports begin" in text(page)


def test_who_is_where_now(floor: Floor):
    """The summary and the tables agree on the present."""
    floor.send(*a_shift())
    page = floor.client.get("/floor")
    assert re.search(r"Now Working ?0 Idle ?1 Absent ?1 Unknown ?1", text(page))
    workers = rows(page.text, "workers-title")
    assert workers["W1"][0] == "Idle at S3, began 2 min ago"
    assert workers["W2"][0] == "Absent at S2, began 20 min ago"
    assert rows(page.text, "stations-title")["S3"][0] == "W1"
    assert rows(page.text, "stations-title")["S2"][0] == "–"


def test_filters_choose_a_worker_and_a_station(floor: Floor):
    """And every link of the page keeps them."""
    floor.send(*a_shift())
    page = floor.client.get("/floor", params={"worker": "W1", "station": "S3", "period": "24h"})
    assert page.status_code == 200
    assert list(rows(page.text, "workers-title")) == ["W1"]
    assert list(rows(page.text, "stations-title")) == ["S3"]
    assert "/floor?worker=W1&amp;station=S3&amp;period=1h" in page.text
    assert re.search(r'<option value="W1" selected>', page.text)
    assert {one["state"] for one in specs(page.text)["states"]["data"]["values"]} == {"idle"}
    assert 'href="/floor">Clear' in page.text


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"period": "9h"}, "There is no period called 9h"),
        ({"from": "soon"}, "Times are written like"),
        ({"from": "2026-03-02T10:00", "to": "2026-03-02T08:00"}, "must begin before it ends"),
        ({"worker": "W9"}, "There is no worker W9"),
        ({"station": "S9"}, "There is no workstation S9"),
    ],
)
def test_an_address_that_makes_no_sense_is_told(floor: Floor, asked, words):
    """With what is shown instead, and a status that programs understand."""
    floor.send(*a_shift())
    page = floor.client.get("/floor", params=asked)
    assert page.status_code == 422
    assert words in text(page)
    assert "What you see is" in text(page)


def test_silence_is_told_with_what_to_look_at(floor: Floor):
    """The age of the last event decides, whatever period is shown."""
    floor.send(state("working", ago(14)))
    page = text(floor.client.get("/floor", params={"period": "7d"}))
    assert "Last event 14 min ago. Is it a break, or is a camera or the network down?" in page
    floor.send(state("working", ago(0.02), "W2"))
    assert "Is it a break" not in text(floor.client.get("/floor"))


def test_a_long_period_is_shown_as_sums(floor: Floor):
    """Hours up to three days, days beyond; the sums stay those of the events."""
    floor.send(*a_shift())
    for period, title in (("24h", "States by worker"), ("7d", "States by day")):
        page = floor.client.get("/floor", params={"period": period}).text
        assert f">{title}</h2>" in page
    start = field(now_micros() - 60 * HOUR)
    page = floor.client.get("/floor", params={"from": start}).text
    assert ">States by hour</h2>" in page
    bars = specs(page)["states"]["data"]["values"]
    worker = floor.worker(now_micros() - 60 * HOUR, now_micros())
    working = sum(one["hours"] for one in bars if one["state"] == "working") * 3600
    assert working == pytest.approx(worker["active_seconds"], abs=2)


@pytest.mark.parametrize("limit", ["TIMELINE_SPANS", "TIMELINE_WORKERS"])
def test_a_period_with_too_much_in_it_is_shown_as_sums(floor: Floor, monkeypatch, limit):
    """No browser has to draw what nobody could read."""
    floor.send(*a_shift())
    monkeypatch.setattr(floor_page, limit, 2)
    assert ">States by hour</h2>" in floor.client.get("/floor").text


def test_refused_messages_are_counted_and_linked(floor: Floor):
    """They are nobody's numbers, so the page says that they are missing."""
    floor.db.rejected.add("andon/main/events", b"nonsense", "This is not JSON.")
    assert "1 message over MQTT could not be used" in text(floor.client.get("/floor"))
    assert "could not be used" not in text(floor.client.get("/drivers"))
    floor.send(*a_shift())
    floor.db.rejected.add("andon/main/telemetry", b"nonsense", "This is not JSON.")
    page = floor.client.get("/floor")
    assert "2 messages over MQTT could not be used" in text(page)
    assert 'href="/floor/rejected"' in page.text
    assert "1 message over MQTT could not be used" in text(floor.client.get("/drivers"))
    aged(floor.db, timedelta(days=2))
    page = floor.client.get("/floor")
    assert "could not be used" not in text(page)
    assert 'href="/floor/rejected"' in page.text


def test_the_retired_stay_in_the_past(floor: Floor):
    """As long as the period has something of them; nobody waits for their reports."""
    floor.send(*a_shift())
    floor.db.workers.retire("W1", now())
    floor.db.workers.retire("W3", now() - timedelta(days=40))
    workers = rows(floor.client.get("/floor").text, "workers-title")
    assert "W1 Retired" in workers
    assert "W3" not in workers
    floor.db.workers.bring_back("W1")
    floor.db.workers.bring_back("W3")


def test_a_copy_that_was_never_built_shows_the_tables(floor: Floor, monkeypatch, tmp_path):
    """And says what is missing and how to get it."""
    floor.send(*a_shift())
    monkeypatch.setattr(rendering, "STATIC_DIR", tmp_path)
    page = floor.client.get("/floor")
    assert "pip install -e ." in text(page)
    assert "data-chart" not in page.text
    assert sum(int(cells[1]) for cells in rows(page.text, "units-title").values()) == 42


def test_the_table_for_a_spreadsheet_is_there(floor: Floor):
    """The link leads to the same window as CSV."""
    floor.send(*a_shift())
    page = floor.client.get("/floor").text
    href = re.search(r'href="(/metrics/workers\?[^"]+)"', page)
    assert href
    table = floor.client.get(unescape(href[1]))
    assert table.headers["content-type"].startswith("text/csv")
    assert "W1" in table.text
