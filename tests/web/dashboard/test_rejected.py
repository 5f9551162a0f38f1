"""The page of refused messages over a real server, without a browser."""

import json
import re
from datetime import timedelta
from html import unescape

import pytest
from tests.store.test_rejected_messages import aged
from tests.support.broker import publishing, running, until
from tests.support.floor import register
from tests.web.conftest import Floor, Site
from tests.web.dashboard.test_pages import HTML, text
from tests.web.dashboard.test_templates import Page

from andon.store.clock import now
from andon.web.dashboard import rejected
from andon.web.dashboard.refused_words import senders, told

TOPIC = "andon/main/events"
HOSTILE = "</code></pre><script>alert(1)</script><img src=x onerror=alert(2)>\"'{{ 7*7 }}\u202e\x00"
EVENT = {
    "timestamp": "2026-11-21T08:00:00Z",
    "worker_id": "W1",
    "workstation_id": "S1",
    "event_type": "working",
    "confidence": 0.9,
    "camera_id": "C7",
}


def said(floor: Floor, **query: str) -> str:
    """The words of the page."""
    answer = floor.client.get(rejected.PATH, params=query, headers=HTML)
    assert answer.status_code == 200
    return text(answer)


def test_a_floor_that_sends_well_is_told_so(floor: Floor):
    """All is well, and how it stands with the broker; no list, no filter."""
    page = floor.client.get(rejected.PATH)
    assert page.headers["cache-control"] == "no-store"
    assert "All is well: no message was ever refused." in text(page)
    assert "fetches from no MQTT broker" in text(page)
    assert 'id="sieve"' not in page.text


def test_a_sender_that_is_refused_can_be_found_and_mended(floor: Floor):
    """Which topic and camera, how many, since when, why, what was sent, and what to do."""
    payload = json.dumps(EVENT).encode()
    reason = "1 of 1 not stored. event 0: timestamp: is before the year 2000: the sender's clock"
    floor.db.rejected.add(TOPIC, payload, reason)
    floor.db.rejected.add(TOPIC, payload, reason)
    words = said(floor)
    for part in (
        "2 messages in 24 hours, on 1 topic",
        "2 messages could not be used in the last 15 minutes.",
        TOPIC,
        "camera C7",
        "The sender's clock is wrong.",
        reason,
        "To do: Set the sender's clock",
        '"event_type": "working"',
        "2 refused messages are kept",
    ):
        assert part in words, part


def test_what_is_over_calms_down(floor: Floor):
    """After a quarter of an hour nothing is yellow; after a day all is well, since then."""
    floor.db.rejected.add(TOPIC, b"x", "The body is not JSON.")
    aged(floor.db, timedelta(hours=2))
    words = said(floor)
    assert "Nothing was refused in the last 15 minutes. The last message came 2 h ago." in words
    assert "alert-yellow" not in floor.client.get(rejected.PATH).text
    aged(floor.db, timedelta(days=3))
    words = said(floor)
    assert "All is well: nothing has been refused for a day." in words
    assert "None in the last 24 hours" in words
    assert "came 3 days ago" in words
    assert "It holds no events in JSON." in words


def test_a_flood_is_told_as_far_as_it_was_counted(floor: Floor):
    """No more of the newest messages are looked at, so the number is the least it can be."""
    floor.db.rejected.add_all([(TOPIC, b"x", "The body is not JSON.")] * 1005)
    assert "At least 1 000 messages could not be used in the last 15 minutes" in said(floor)
    assert "At least 1 000 MQTT messages" in text(floor.client.get("/"))


def test_messages_are_filtered_by_topic_and_paged(floor: Floor):
    """Every address can be shared; a cursor that is none begins at the newest."""
    for number in range(rejected.PAGE + 3):
        floor.db.rejected.add(TOPIC, b"%d" % number, f"The body is number {number}.")
    floor.db.rejected.add("andon/a b/telemetry", b"x", "The body is not JSON.")
    page = rejected.page(floor.site.platform)
    assert [one.name for one in page.topics] == ["andon/a b/telemetry", TOPIC]
    assert len(page.messages) == rejected.PAGE
    answer = floor.client.get(page.pager.older.partition("#")[0])
    assert "number 3." in text(answer)
    assert "number 4." not in text(answer).partition("Messages")[2]
    assert unescape(answer.text).count(f'href="{rejected.PATH}#messages"') == 1
    only = rejected.page(floor.site.platform, topic=TOPIC)
    assert {one.topic for one in only.messages} == {TOPIC}
    assert only.pager.older.startswith(f"{rejected.PATH}?topic=andon%2Fmain%2Fevents&before=")
    assert only.sieve.choosers[0].chosen == TOPIC
    href = page.topics[0].href.partition("#")[0]
    assert "number" not in text(floor.client.get(href)).partition("Messages")[2]
    assert "No message is kept that matches" in said(floor, topic="andon/nowhere/events")
    for nonsense in ("nonsense", "-1", "0", "\u0663", "9" * 30, "\x00"):
        answer = floor.client.get(rejected.PATH, params={"before": nonsense})
        assert answer.status_code in {200, 422}, nonsense
    assert floor.client.get(rejected.PATH, params={"topic": "\x00"}).status_code in {200, 422}


def test_more_topics_than_anybody_reads_are_counted(floor: Floor):
    """Whoever may publish can make them up without end."""
    floor.db.rejected.add_all(
        (f"andon/s{number}/events", b"x", "The body is not JSON.")
        for number in range(rejected.TOPICS + 5)
    )
    assert "5 more topics; the messages below are of all of them." in said(floor)


def test_hostile_messages_are_text(floor: Floor):
    """Markup, templates, direction marks and control characters, wherever they stand."""
    floor.db.rejected.add(f"andon/{HOSTILE}/events", HOSTILE.encode() * 9, f"The body {HOSTILE}")
    named = json.dumps({"camera_id": HOSTILE[:60]}).encode()
    floor.db.rejected.add(f"andon/{HOSTILE}/events", named, f"1 of 1 not stored. {HOSTILE}")
    answer = floor.client.get(rejected.PATH)
    read = Page(answer.text)
    assert {one["src"] for one in read.all("script")} <= {
        "/static/theme.js",
        "/static/shell.js",
        "/static/rejected.js",
    }
    assert read.all("img") == []
    assert "{{ 7*7 }}" in read.words
    assert "\u202e" not in read.words
    assert "\\u202e" in read.words
    assert "camera </code></pre><script>" in read.words
    (kept,) = rejected.page(floor.site.platform).topics
    again = floor.client.get(unescape(kept.href).partition("#")[0])
    assert "2 messages" in text(again)
    assert len(rejected.page(floor.site.platform, topic=f"andon/{HOSTILE}/events").messages) == 2


def test_long_messages_are_cut_and_the_rest_is_counted(floor: Floor):
    """A page stays one, whatever was sent."""
    for _ in range(rejected.PAGE + 5):
        floor.db.rejected.add("t" * 5000, b"<" * 60_000, "r" * 5000)
    answer = floor.client.get(rejected.PATH)
    assert len(answer.content) < 400_000
    (first, *_) = rejected.page(floor.site.platform).messages
    assert (len(first.payload), len(first.topic), len(first.reason)) == (2000, 121, 401)
    assert first.left_out > 14_000
    assert re.search(r"14\u202f\d{3} more characters of it", answer.text)


def test_what_http_refuses_is_counted_and_explained(floor: Floor):
    """Its senders are told, so it is no message here; the number says that it happens."""
    before = rejected.page(floor.site.platform).http
    assert floor.post("/events", b'{"worker_id": 1}').status_code == 422
    assert rejected.page(floor.site.platform).http == before + 1
    assert "refused since this server started" in said(floor)
    assert "andon send rejected" in said(floor)


def test_the_page_is_for_those_who_may_come_in(closed: Site):
    """Like every page that shows what the floor sends."""
    answer = closed.client.get(rejected.PATH, headers=HTML, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login")


@pytest.mark.parametrize(
    ("payload", "names"),
    [
        ('{"camera_id": "C7", "worker_id": "W1"}', "camera C7"),
        ('[{"worker_id": "W1"}, {"worker_id": "W1"}, {"driver_id": "D"}]', "worker W1, driver D"),
        ('{"events": [{"device_id": 7}]}', "device 7"),
        (json.dumps([{"camera_id": f"C{n}"} for n in range(9)]), "camera C0, camera C1, camera C2"),
        ('{"camera_id": {"a": 1}}', ""),
        ('{"camera_id": ""}', ""),
        ('[1, null, "x"]', ""),
        ("7", ""),
        ("", ""),
        ("[" * 9000, ""),
        ('{"camera_id": "C7"… (7 bytes more)', ""),
    ],
)
def test_a_message_says_whom_it_is_of(payload, names):
    """By the device, else by whom it watches; nothing where it cannot be read."""
    assert senders(payload).partition(" and ")[0] == names


def test_a_reason_nobody_foresaw_stands_as_it_is():
    """With a step that is never wrong."""
    assert told("Something new.", "andon") == (
        "It could not be stored.",
        "Compare what was sent with what the API docs ask for, and mend the sender.",
    )


def test_every_refusal_by_mqtt_has_its_plain_words(tmp_path):
    """Published at a real broker: what the page says keeps step with what the intake says."""
    ahead = (now() + timedelta(days=9)).isoformat()
    sent = (
        ("andon/main/events", b"\xff\xd8\xff a picture", "It holds no events in JSON."),
        ("andon/main/events", b"[]", "It holds no events in JSON."),
        ("andon/main/events", b'"x"', "It holds no events in JSON."),
        ("andon/main/events", b" " * (1024**2 + 1), "The message is too large."),
        (f"andon/{'s' * 65}/events", b"{}", "The topic names no usable site."),
        ("andon/main/events", {**EVENT, "timestamp": ahead}, "The sender's clock is wrong."),
        (
            "andon/main/events",
            {**EVENT, "timestamp": "1970-01-01T00:00:00Z"},
            "The sender's clock is wrong.",
        ),
        (
            "andon/main/events",
            {**EVENT, "site_id": "other"},
            "The event names another site than its topic.",
        ),
        (
            "andon/main/events",
            {**EVENT, "worker_id": "W9"},
            "Nobody registered this worker or workstation.",
        ),
        (
            "andon/main/events",
            {**EVENT, "worker_id": "W2"},
            "The worker or workstation was retired before the event.",
        ),
        (
            "andon/main/events",
            {**EVENT, "event_id": "E1", "workstation_id": "S2"},
            "The id of the event belongs to another one.",
        ),
        (
            "andon/main/events",
            {**EVENT, "confidence": 7},
            "Fields of the event are missing or wrong.",
        ),
        ("andon/main/telemetry", b'{"x": 1}', "Fields of the event are missing or wrong."),
    )
    with running(tmp_path / "broker") as broker:
        site = Site(tmp_path / "home", mqtt_url=broker.url)
        try:
            db = site.platform.db
            register(db)
            db.workers.retire("W2", now() - timedelta(days=400))
            until(lambda: site.platform.mqtt.state().connected)
            assert f"Connected to the broker 127.0.0.1:{broker.port}" in text(
                site.client.get(rejected.PATH)
            )
            with publishing(broker) as publisher:
                publisher.send(TOPIC, json.dumps({**EVENT, "event_id": "E1"}).encode())
                until(lambda: db.factory.last() is not None)
                for number, (topic, body, _) in enumerate(sent, start=1):
                    data = body if isinstance(body, bytes) else json.dumps(body).encode()
                    publisher.send(topic, data)
                    until(lambda wanted=number: db.rejected.count() == wanted, f"message {number}")
            found = [one.what for one in rejected.page(site.platform).messages]
            assert found[::-1] == [what for _, _, what in sent]
        finally:
            site.close()
