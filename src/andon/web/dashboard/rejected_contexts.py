"""What the template about refused messages receives.

As in `contexts`: one struct per template and one per thing that it shows, each field with its
meaning. What strangers sent is text in here: readable, cut, never markup.
"""

from datetime import datetime
from typing import Annotated, ClassVar

import msgspec

from andon.web.dashboard.acting_contexts import Pager, Sieve
from andon.web.dashboard.contexts import Shell

# -- Parts ------------------------------------------------------------------------------


class RefusedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message that could not be used."""

    id: Annotated[int, "Its number in the log."]
    topic: Annotated[str, "Where it was published."]
    when: Annotated[datetime, "When it came, UTC."]
    what: Annotated[str, "What is wrong, in a few plain words."]
    reason: Annotated[str, "The same exactly, as it was kept."]
    step: Annotated[str, "What to do about it."]
    senders: Annotated[str, "Whom the events in it name; empty where that cannot be read."]
    payload: Annotated[str, "What was sent, as text; the beginning where it is long."]
    left_out: Annotated[int, "Characters of what was kept that are not shown."]


class RefusedTopic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic on which something came that could not be used."""

    name: Annotated[str, "The topic."]
    count: Annotated[int, "Messages in the last 24 hours."]
    since: Annotated[datetime, "The first one that is still kept."]
    now: Annotated[bool, "Whether one came in the last minutes."]
    newest: Annotated[RefusedMessage, "The last one."]
    href: Annotated[str, "Its messages alone."]


# -- Pages ------------------------------------------------------------------------------


class RefusedPage(msgspec.Struct, frozen=True, kw_only=True):
    """Messages that could not be used: whose, how many, why, and what to do."""

    template: ClassVar[str] = "rejected.html"

    shell: Annotated[Shell, "The frame."]
    today: Annotated[int, "Messages in the last 24 hours."]
    sources: Annotated[int, "Topics they came on."]
    lately: Annotated[str, "Messages in the last minutes, in words; empty where there are none."]
    minutes: Annotated[int, "How many minutes those are."]
    last: Annotated[datetime | None, "When the last one came; None where none is kept."]
    topics: Annotated[tuple[RefusedTopic, ...], "The one with the newest message first."]
    unlisted: Annotated[int, "Topics of the last 24 hours that are not listed."]
    messages: Annotated[tuple[RefusedMessage, ...], "Newest first, one page of them."]
    sieve: Annotated[Sieve, "The filter."]
    pager: Annotated[Pager, "The way through the messages."]
    kept: Annotated[int, "Messages that are kept."]
    most: Annotated[int, "How many are kept at most; the oldest make room."]
    broker: Annotated[str, "How it stands with the broker, a sentence without its full stop."]
    broker_since: Annotated[datetime | None, "Since when; None where no broker is set."]
    http: Annotated[int, "Events that were refused over HTTP since this server started."]


PAGES = (RefusedPage,)
