"""Any order, any batches, any repetition, by HTTP and MQTT together: the same numbers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.broker import Publisher, publishing, running, until
from tests.support.floor import (
    DAY,
    HOUR,
    MONDAY,
    STATIONS,
    WORKERS,
    Told,
    deliveries,
    histories,
    metrics,
    windows,
)
from tests.web.conftest import Floor, Site

HTTP = ("single", "array", "object", "lines")
MQTT = ("message", "messages", "together")


class Plant:
    """A server with its broker: everything by which an event can arrive."""

    def __init__(self, site: Site, camera: Publisher) -> None:
        self.floor = Floor(site)
        self.site = site
        self.camera = camera

    def deliver(self, way: str, batch: list[Told]) -> None:
        """Send a batch in one of the ways; by MQTT without waiting for its end."""
        client = self.floor.client
        bodies = [event.body() for event in batch]
        if way == "single":
            answers = [client.post("/events/", json=body) for body in bodies]
        elif way == "array":
            answers = [client.post("/events/batch", json=bodies)]
        elif way == "object":
            answers = [client.post("/events/batch", json={"events": bodies})]
        elif way == "lines":
            text = "\n".join(json.dumps(body) for body in bodies)
            answers = [self.floor.post("/events/batch", text.encode(), "application/x-ndjson")]
        else:
            self._publish(way, batch)
            return
        assert {answer.status_code for answer in answers} <= {200, 201}, answers[0].text

    def received_by_mqtt(self) -> float:
        """How many events came through the broker, whatever became of them."""
        sample = self.site.platform.collector.get_sample_value
        labels = {"kind": "factory", "source": "mqtt"}
        return sum(
            sample("andon_events_total", {**labels, "outcome": outcome}) or 0
            for outcome in ("stored", "duplicate", "rejected")
        )

    def _publish(self, way: str, batch: list[Told]) -> None:
        for site in sorted({event.site for event in batch}):
            bodies = [event.body() for event in batch if event.site == site]
            topic = f"andon/{site}/events"
            if way == "message":
                for body in bodies:
                    self.camera.later(topic, json.dumps(body).encode())
            else:
                whole = bodies if way == "messages" else {"events": bodies}
                self.camera.later(topic, json.dumps(whole).encode())


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def plant(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Plant]:
    """A running server on either database, connected to a broker."""
    folder = tmp_path_factory.mktemp("plant")
    given: dict[str, Any] = {}
    if request.param == "postgres":
        given["database_url"] = request.getfixturevalue("migrated_schema")
    with running(folder / "broker") as broker, publishing(broker) as camera:
        site = Site(folder / "home", mqtt_url=broker.url, **given)
        try:
            until(lambda: site.platform.mqtt.state().connected)
            yield Plant(site, camera)
        finally:
            site.close()


@settings(
    # On either database, so there are twice as many.
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_any_delivery_gives_the_numbers_of_the_definitions(plant: Plant, data: st.DataObject):
    """Random histories, permuted, cut, repeated, late, by every way at once."""
    told = data.draw(histories(max_size=25).filter(bool))
    batches = [batch for batch in data.draw(deliveries(told)) if batch]
    # Whole batches come again, as from a sender that did not hear the answer.
    again = data.draw(st.lists(st.sampled_from(batches), max_size=3))
    plant.floor.clear()
    published = 0
    before = plant.received_by_mqtt()
    for batch in [*batches, *again]:
        way = data.draw(st.sampled_from([*HTTP, *MQTT]))
        plant.deliver(way, batch)
        published += len(batch) if way in MQTT else 0
    until(lambda: plant.received_by_mqtt() - before == published)
    whole = (MONDAY - HOUR, MONDAY + 3 * DAY)
    for since, end in (whole, data.draw(windows())):
        compare(plant.floor, told, since, end)
    assert plant.floor.db.factory_totals.check() == []
    assert plant.floor.db.rejected.count() == 0


def compare(floor: Floor, told: list[Told], since: int, end: int) -> None:
    """The server's numbers of a window against the plain reference."""
    should = metrics(told, since, end)
    whole = floor.metrics("factory", since, end)
    assert whole["production"] == should["factory"]["production"]
    for name, reference in (
        ("productive_seconds", "productive"),
        ("production_rate", "production_rate"),
        ("utilization", "utilization"),
    ):
        assert whole[name] == pytest.approx(should["factory"][reference], rel=1e-9), name
    shown = {one["worker_id"]: one for one in floor.metrics("workers", since, end)["workers"]}
    assert shown.keys() == set(WORKERS)
    for worker, numbers in should["workers"].items():
        assert shown[worker]["units"] == numbers["units"]
        for name in ("active", "idle", "absent"):
            assert shown[worker][f"{name}_seconds"] == pytest.approx(numbers[name], rel=1e-9)
        assert shown[worker]["utilization"] == pytest.approx(numbers["utilization"], rel=1e-9)
    shown = {
        one["workstation_id"]: one
        for one in floor.metrics("workstations", since, end)["workstations"]
    }
    assert shown.keys() == set(STATIONS)
    for station, numbers in should["workstations"].items():
        assert shown[station]["units"] == numbers["units"]
        assert shown[station]["occupancy_seconds"] == pytest.approx(numbers["occupancy"], rel=1e-9)
        assert shown[station]["throughput"] == pytest.approx(numbers["throughput"], rel=1e-9)


def test_a_batch_that_is_repeated_while_the_first_is_in_flight_counts_once(plant: Plant):
    """The same events at the same moment by both ways."""
    told = [Told(MONDAY + number, "W1", "S1", "product_count", 1) for number in range(500)]
    plant.floor.clear()
    before = plant.received_by_mqtt()
    for _ in range(3):
        plant.deliver("messages", told)
    plant.deliver("array", told)
    plant.deliver("lines", told)
    until(lambda: plant.received_by_mqtt() - before == 1500)
    assert plant.floor.metrics("factory", MONDAY, MONDAY + DAY)["production"] == 500
