"""The Drivers page over a real server, without a browser."""

import pytest
from tests.support.floor import MINUTE
from tests.web.conftest import Floor
from tests.web.dashboard.test_floor import ago, field, rows, specs
from tests.web.dashboard.test_pages import text

from andon.store.clock import moment
from andon.store.tables import drowsiness_totals
from andon.web.dashboard import drivers as drivers_page


@pytest.fixture
def cabs(floor: Floor) -> Floor:
    """A server without any measurement."""
    with floor.db.write() as connection:
        connection.execute(drowsiness_totals.delete())
    return floor


def measured(
    cabs: Floor, driver: str, ears: list[float], *, minutes: float = 10, every: int = 1_000_000
) -> None:
    """Send a measurement every so many microseconds, the first one so many minutes ago."""
    start = ago(minutes)
    rows_ = [
        {
            "timestamp": moment(start + place * every).isoformat(),
            "driver_id": driver,
            "ear_value": ear,
            "is_drowsy": ear < 0.2,
            "duration_ms": 0,
        }
        for place, ear in enumerate(ears)
    ]
    answer = cabs.client.post("/telemetry/batch", json=rows_)
    assert answer.json()["rejected"] == 0, answer.text


def test_nobody_measured_says_how_to_begin(cabs: Floor):
    """One next step."""
    page = cabs.client.get("/drivers")
    assert page.status_code == 200
    assert "No driver has been measured yet" in text(page)
    assert "andon simulate drowsiness" in text(page)


@pytest.mark.parametrize(("closed", "status"), [(0, "normal"), (20, "warning"), (60, "critical")])
def test_the_status_is_the_one_of_the_api(cabs: Floor, closed, status):
    """In a word, with the numbers behind it."""
    measured(cabs, "D1", [0.1] * closed + [0.3] * (100 - closed))
    told = cabs.client.get("/dashboard").json()
    assert told["status"] == status
    page = text(cabs.client.get("/drivers"))
    assert f"Last hour, every driver {status.capitalize()}" in page
    assert f"{told['last_hour']['alert_rate']:.2f} % of 100 measurements drowsy" in page


def test_charts_tables_and_api_have_the_same_numbers(cabs: Floor):
    """Each driver's eyes, and everybody's alerts."""
    measured(cabs, "D1", [0.3, 0.1, 0.3, 0.3])
    measured(cabs, "D2", [0.25] * 6)
    measured(cabs, "", [0.28] * 2)
    page = cabs.client.get("/drivers").text
    table = rows(page, "drivers-title")
    assert table["D1"][1:5] == ["25.0 %", "4", "0.250", "0.100"]
    assert table["Unknown driver"][2] == "2"
    charts = specs(page)
    assert set(charts) == {"alerts", "eyes-0", "eyes-1", "eyes-2"}
    assert sum(one["events"] for one in charts["alerts"]["data"]["values"]) == 12
    overall = cabs.client.get("/statistics").json()
    assert (
        sum(one["drowsy"] for one in charts["alerts"]["data"]["values"])
        == (overall["drowsy_events"])
    )
    assert sum(int(cells[0]) for cells in rows(page, "alerts-title").values()) == 12


def test_a_driver_and_a_period_can_be_chosen(cabs: Floor):
    """The unknown driver too."""
    measured(cabs, "D1", [0.3] * 4)
    measured(cabs, "D2", [0.3] * 4, minutes=90)
    measured(cabs, "", [0.3] * 3)
    page = cabs.client.get("/drivers", params={"driver": "D1"})
    assert list(rows(page.text, "drivers-title")) == ["D1"]
    assert "D1: eye aspect ratio" in text(page)
    page = cabs.client.get("/drivers", params={"driver": drivers_page.UNNAMED})
    assert list(rows(page.text, "drivers-title")) == ["Unknown driver"]
    window = {"from": field(ago(120)), "to": field(ago(60) // MINUTE * MINUTE)}
    assert list(rows(cabs.client.get("/drivers", params=window).text, "drivers-title")) == ["D2"]
    wrong = cabs.client.get("/drivers", params={"driver": "D9"})
    assert (wrong.status_code, "There is no driver D9" in text(wrong)) == (422, True)


def test_what_cannot_be_told_is_a_dash(cabs: Floor):
    """Four points say nothing about PERCLOS or blinks."""
    measured(cabs, "D1", [0.3] * 4)
    assert rows(cabs.client.get("/drivers").text, "drivers-title")["D1"][5:] == ["–", "–"]


def test_perclos_is_told_where_there_is_enough(cabs: Floor, monkeypatch):
    """A minute with a quarter of it closed; a page with too many drivers says why not."""
    measured(cabs, "D1", [0.3, 0.3, 0.3, 0.02] * 15)
    page = cabs.client.get("/drivers")
    assert rows(page.text, "drivers-title")["D1"][5] in {"24 %", "25 %", "26 %"}
    monkeypatch.setattr(drivers_page, "EYES_DRIVERS", 1)
    measured(cabs, "D2", [0.3])
    page = cabs.client.get("/drivers")
    assert rows(page.text, "drivers-title")["D1"][5] == "–"
    assert "are told of at most 1 driver: choose one" in text(page)


def test_blinks_are_told_at_ten_points_a_second(cabs: Floor):
    """What `andon simulate drowsiness` sends: here a blink every four seconds."""
    measured(cabs, "D1", ([0.3] * 20 + [0.05] * 2 + [0.3] * 18) * 10, every=100_000)
    assert rows(cabs.client.get("/drivers").text, "drivers-title")["D1"][6] in {"15.0", "15.1"}


def test_an_empty_period_and_silence_are_told(cabs: Floor):
    """Unknown is not normal."""
    measured(cabs, "D1", [0.3] * 4, minutes=180)
    page = cabs.client.get("/drivers", params={"period": "1h"})
    said = text(page)
    assert "Last hour, every driver Not known" in said
    assert "Nobody was measured in this period." in said
    assert "Is nobody driving" in said


def test_many_drivers_have_charts_for_the_most_measured(cabs: Floor, monkeypatch):
    """The others are one choice away."""
    monkeypatch.setattr(drivers_page, "CHARTS", 2)
    for number, points in enumerate((2, 5, 4)):
        measured(cabs, f"D{number}", [0.3] * points)
    page = cabs.client.get("/drivers")
    assert set(specs(page.text)) == {"alerts", "eyes-1", "eyes-2"}
    assert "1 more driver: choose one above" in text(page)
