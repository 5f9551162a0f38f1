"""`/health` and the broker."""

from datetime import timedelta

from tests.support.broker import Broker, until
from tests.web.conftest import Site

from andon.store.clock import now


def test_a_broker_that_is_away_degrades_and_stops_no_request(tmp_path, monkeypatch):
    """Said without its address, for health is open to strangers; requests go on."""
    broker = Broker(tmp_path / "broker")
    site = Site(tmp_path / "home", mqtt_url=broker.url)
    try:
        check = site.client.get("/health").json()["checks"]["mqtt"]
        assert check == {"ok": True, "detail": ""}, "a start takes its moment"
        until(lambda: "cannot be reached" in site.platform.mqtt.state().why)
        monkeypatch.setattr("andon.events.mqtt.now", lambda: now() + timedelta(minutes=1))
        body = site.client.get("/health").json()
        assert body["status"] == "degraded"
        assert "cannot be reached" in body["checks"]["mqtt"]["detail"]
        assert str(broker.port) not in body["checks"]["mqtt"]["detail"]
        assert site.client.get("/health/ready").status_code == 200
        broker.start()
        until(lambda: site.client.get("/health").json()["status"] == "no_model")
        text = site.client.get("/metrics").text
        assert "andon_events_mqtt_connected 1.0" in text
        assert "andon_factory_units 0.0" in text
    finally:
        site.close()
        broker.stop()
