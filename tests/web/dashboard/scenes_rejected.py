"""Page contexts of refused messages, in every state."""

from typing import Any

from tests.web.dashboard import scenes
from tests.web.dashboard.scenes import LONG, minutes_ago, shell

from andon.web.dashboard import rejected_contexts as r
from andon.web.dashboard.acting_contexts import Pager, Sieve
from andon.web.dashboard.contexts import Chooser
from andon.web.dashboard.rejected import PAGE, PATH, TOPICS

TOPIC = "andon/main/events"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def message(number: int = 1, **given: Any) -> r.RefusedMessage:
    """A camera whose clock was never set."""
    values: dict[str, Any] = {
        "id": number,
        "topic": TOPIC,
        "when": minutes_ago(number * 7),
        "what": "The sender's clock is wrong.",
        "reason": "1 of 1 not stored. event 0: timestamp: is before the year 2000",
        "step": "Set the sender's clock, best by NTP.",
        "senders": "camera C7",
        "payload": '{"timestamp": "1970-01-01T00:00:07Z",\n "camera_id": "C7"}',
        "left_out": 0,
    }
    return r.RefusedMessage(**{**values, **given})


def topic(number: int = 1, **given: Any) -> r.RefusedTopic:
    """A topic with some messages."""
    values: dict[str, Any] = {
        "name": f"andon/site-{number}/events",
        "count": 12 * number,
        "since": minutes_ago(600 + number),
        "now": number % 2 == 1,
        "newest": message(number),
        "href": f"{PATH}?topic=andon%2Fsite-{number}%2Fevents#messages",
    }
    return r.RefusedTopic(**{**values, **given})


def sieve(*names: str, chosen: str = "") -> Sieve:
    """The filter by topic."""
    chooser = Chooser(
        name="topic",
        label="Topic",
        everything="Every topic",
        options=tuple((name, name) for name in names),
        chosen=chosen,
    )
    return Sieve(path=PATH, choosers=(chooser,), reset=PATH if chosen else "")


def refused(**given: Any) -> r.RefusedPage:
    """One camera sends what cannot be used, now."""
    values: dict[str, Any] = {
        "shell": shell("rejected", title="Refused messages"),
        "today": 12,
        "sources": 1,
        "lately": "2 messages",
        "minutes": 15,
        "last": minutes_ago(7),
        "topics": (topic(),),
        "unlisted": 0,
        "messages": (message(),),
        "sieve": sieve(TOPIC),
        "pager": Pager(),
        "kept": 12,
        "most": 10_000,
        "broker": "Connected to the broker 127.0.0.1:1883",
        "broker_since": minutes_ago(4000),
        "http": 0,
    }
    return r.RefusedPage(**{**values, **given})


_NONE: dict[str, Any] = {
    "today": 0,
    "sources": 0,
    "lately": "",
    "last": None,
    "topics": (),
    "messages": (),
    "kept": 0,
}

SCENES = {
    "refused, none ever": refused(**_NONE),
    "refused, no broker": refused(
        **_NONE, broker="This server fetches from no MQTT broker", broker_since=None, http=3
    ),
    "refused, none for a day": refused(
        today=0, sources=0, lately="", last=minutes_ago(3000), topics=()
    ),
    "refused, one": refused(today=1, kept=1, http=1),
    "refused, over": refused(lately="", topics=(topic(2),)),
    "refused, many": refused(
        topics=tuple(topic(number) for number in range(1, TOPICS + 1)),
        sources=TOPICS + 20,
        unlisted=20,
        messages=tuple(message(number, left_out=number % 2) for number in range(1, PAGE + 1)),
        pager=Pager(older=f"{PATH}?before=7#messages", newer=f"{PATH}#messages"),
    ),
    "refused, filter without a match": refused(messages=(), sieve=sieve(TOPIC, chosen=TOPIC)),
    "refused, an empty payload": refused(messages=(message(payload="", senders=""),)),
    "refused, hostile words": refused(
        topics=(
            topic(
                name=HOSTILE,
                newest=message(payload=HOSTILE, reason=HOSTILE, senders=HOSTILE, topic=HOSTILE),
            ),
        ),
        messages=(message(payload=HOSTILE * 20, reason=HOSTILE, senders=HOSTILE, topic=HOSTILE),),
        sieve=sieve(HOSTILE, chosen=HOSTILE),
        broker=HOSTILE,
    ),
    "refused, long words": refused(
        topics=(topic(name=LONG, newest=message(reason=LONG, senders=LONG)),),
        messages=(message(topic=LONG, reason=LONG, payload=LONG * 10),),
        shell=scenes.shell("rejected", "yellow"),
    ),
}
