"""The page of refused messages: whose they are, how many, why, and what to do about it.

By MQTT nobody waits for an answer, so what cannot be used is kept aside; this is where a person
sees it. Everything in a message comes from strangers: it is shown as text, readable and cut.
"""

from datetime import datetime, timedelta
from urllib.parse import urlencode

from andon.platform import Platform
from andon.store.clock import now
from andon.store.rejected_messages import (
    KEPT,
    LOOKED_AT,
    RejectedLately,
    RejectedMessage,
    RejectedTopic,
)
from andon.web.dashboard import refused_words
from andon.web.dashboard.acting_contexts import Pager, Sieve
from andon.web.dashboard.approvals import shell
from andon.web.dashboard.contexts import Chooser
from andon.web.dashboard.rejected_contexts import RefusedMessage, RefusedPage, RefusedTopic
from andon.web.dashboard.state import FAILURE_MINUTES, RECENT
from andon.web.dashboard.wording import brief, plural, visible

PATH = "/floor/rejected"
PAGE = 20
# A sender that was refused within this time still is.
LATELY = timedelta(minutes=FAILURE_MINUTES)
# Topics are made up by whoever publishes, and without end.
TOPICS = 10
# Of what was kept of a payload, so many characters are shown; of a name and a reason so many.
PAYLOAD = 2_000
_TOPIC, _REASON = 120, 400
# The longest cursor that is a number every database knows.
_DIGITS = 18


def page(platform: Platform, *, topic: str = "", before: str = "") -> RefusedPage:
    """The context of the page.

    Args:
        platform: What everything is read from.
        topic: Only messages of this topic; empty: all.
        before: Cursor; empty: the newest. One that is none counts as empty.
    """
    rejected = platform.db.rejected
    prefix = platform.settings.mqtt_topic_prefix
    at = now()
    cursor = int(before) if before.isascii() and before.isdigit() and before[_DIGITS:] == "" else 0
    found, following = rejected.page(topic=topic or None, before=cursor or None, limit=PAGE)
    topics = rejected.topics(at - RECENT, TOPICS)
    today, sources = rejected.tally(at - RECENT)
    lately = rejected.lately(at - LATELY)
    newest = rejected.recent(1)
    broker, since = _broker(platform)
    query = {"topic": topic} if topic else {}
    return RefusedPage(
        shell=shell(platform, "rejected", "Refused messages"),
        today=today,
        sources=sources,
        lately=lately_words(lately),
        minutes=FAILURE_MINUTES,
        last=newest[0].received_at if newest else None,
        topics=tuple(_topic(one, prefix, at) for one in topics),
        unlisted=max(0, sources - len(topics)),
        messages=tuple(_message(one, prefix) for one in found),
        sieve=_sieve(topics, topic),
        pager=Pager(
            older=f"{PATH}?{urlencode({**query, 'before': following})}#messages"
            if following
            else "",
            newer=f"{address(topic)}#messages" if cursor else "",
        ),
        kept=rejected.count(),
        most=KEPT,
        broker=broker,
        broker_since=since,
        http=_over_http(platform),
    )


def lately_words(found: RejectedLately) -> str:
    """``7 messages``, ``At least 1 000 messages``; empty where there are none."""
    words = plural(found.count, "message") if found.count else ""
    return f"At least {words}" if found.count >= LOOKED_AT else words


def address(topic: str = "") -> str:
    """The page with the messages of one topic, or with all."""
    return f"{PATH}?{urlencode({'topic': topic})}" if topic else PATH


def _topic(one: RejectedTopic, prefix: str, at: datetime) -> RefusedTopic:
    return RefusedTopic(
        name=brief(one.topic, _TOPIC),
        count=one.count,
        since=one.first,
        now=at - one.newest.received_at < LATELY,
        newest=_message(one.newest, prefix),
        href=f"{address(one.topic)}#messages",
    )


def _message(one: RejectedMessage, prefix: str) -> RefusedMessage:
    what, step = refused_words.told(one.reason, prefix)
    return RefusedMessage(
        id=one.id,
        topic=brief(one.topic, _TOPIC),
        when=one.received_at,
        what=what,
        reason=brief(one.reason, _REASON),
        step=step,
        senders=refused_words.senders(one.payload),
        payload=visible(one.payload[:PAYLOAD]),
        left_out=max(0, len(one.payload) - PAYLOAD),
    )


def _sieve(topics: list[RejectedTopic], chosen: str) -> Sieve:
    """The filter by topic: what came in the last 24 hours, and what is chosen."""
    names = [one.topic for one in topics]
    if chosen and chosen not in names:
        names.append(chosen)
    return Sieve(
        path=PATH,
        choosers=(
            Chooser(
                name="topic",
                label="Topic",
                everything="Every topic",
                options=tuple((name, brief(name, 80)) for name in names),
                chosen=chosen,
            ),
        ),
        reset=PATH if chosen else "",
    )


def _broker(platform: Platform) -> tuple[str, datetime | None]:
    """How it stands with the broker, and since when."""
    if platform.mqtt is None:
        return "This server fetches from no MQTT broker", None
    state = platform.mqtt.state()
    if state.held_up:
        return f"Events from the broker {state.broker} wait: {state.held_up.rstrip('.')}", None
    if state.connected:
        return f"Connected to the broker {state.broker}", state.since
    why = state.why.rstrip(".")
    return f"Not connected to the broker {state.broker}: {brief(why, _TOPIC)}", state.since


def _over_http(platform: Platform) -> int:
    """Events that were refused over HTTP; their senders were told."""
    return round(
        sum(
            sample.value
            for family in platform.event_metrics.events.collect()
            for sample in family.samples
            if sample.name == "andon_events_total"
            and sample.labels["source"] == "http"
            and sample.labels["outcome"] == "rejected"
        )
    )
