"""What is wrong with a refused message, and what to do about it, in plain words.

The log keeps the sentences of `events.mqtt` and `events.intake` for whom they refuse. What is
told here goes by how they begin; a test keeps the two in step. Where none fits, the sentence
itself stands, and the step is a general one.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from andon.web.dashboard.wording import visible

# Of the names in one message, so many are told.
_NAMES = 3
_LONGEST_NAME = 64
# Who sent an event: the device itself, or else whom it watches.
_DEVICES = (("camera", "camera_id"), ("device", "device_id"))
_WATCHED = (("worker", "worker_id"), ("driver", "driver_id"), ("workstation", "workstation_id"))
# The reason of a message of which some events could be read, and the first of these reasons.
_EVENTS = re.compile(r"(\d+) of (\d+) not stored\. event \d+: (.*)", re.DOTALL)

_GENERAL = "Compare what was sent with what the API docs ask for, and mend the sender."
_WHOLE = (
    (
        r"The site in the topic ",
        "The topic names no usable site.",
        (
            "Publish to {prefix}/SITE/events or {prefix}/SITE/telemetry, where SITE has 1 to 64 "
            "printable characters."
        ),
    ),
    (
        r"The message has \d+ bytes",
        "The message is too large.",
        "Send fewer events in one message.",
    ),
    (
        r"The (body|batch) is |It cannot be read ",
        "It holds no events in JSON.",
        (
            "See what else publishes on this topic. Events are JSON in UTF-8: one, an array, or "
            "an object with the array events."
        ),
    ),
)
_ONE = (
    (
        r"timestamp: is (in the future|before the year 2000)",
        "The sender's clock is wrong.",
        (
            "Set the sender's clock, best by NTP. Where it still has its events, let it send them "
            "again."
        ),
    ),
    (
        r"site_id: must be .*as its topic says",
        "The event names another site than its topic.",
        "Publish on the topic of the event's site, or leave site_id out of the event.",
    ),
    (
        r"The (worker|workstation) .* is not known\.",
        "Nobody registered this worker or workstation.",
        (
            "Register it with POST /workers/ or POST /workstations/, or set "
            "ANDON_FACTORY_AUTO_REGISTER=true. Then send the message again."
        ),
    ),
    (
        r"The (worker|workstation) .* was retired",
        "The worker or workstation was retired before the event.",
        "Bring it back with PATCH, as the reason says, or mend the event.",
    ),
    (
        r"(The event_id|event_id) .* was already used",
        "The id of the event belongs to another one.",
        "Give every event an id of its own. Repeats are sent unchanged.",
    ),
    (
        r"\w+: ",
        "Fields of the event are missing or wrong.",
        "Mend these fields in the sender, and send the events again.",
    ),
)


def told(reason: str, prefix: str) -> tuple[str, str]:
    """What is wrong, in a few words, and what to do about it.

    Args:
        reason: As it was kept.
        prefix: What topics begin with here.
    """
    events = _EVENTS.match(reason)
    rules, text = (_ONE, events[3]) if events else (_WHOLE, reason)
    for pattern, what, step in rules:
        if re.match(pattern, text, re.DOTALL):
            return what, step.format(prefix=prefix)
    return "It could not be stored.", _GENERAL


def senders(payload: str) -> str:
    """Whom the events of a payload name: ``camera C7, worker W1``; empty where none is read."""
    try:
        body = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return ""
    events = list(_events(body))
    found = _named(events, _DEVICES) or _named(events, _WATCHED)
    more = len(found) - _NAMES
    return ", ".join(found[:_NAMES]) + (f" and {more} more" if more > 0 else "")


def _events(body: Any) -> Iterator[dict[str, Any]]:
    """The objects in a body, in whichever of the three shapes it has."""
    if isinstance(body, dict) and isinstance(body.get("events"), list):
        body = body["events"]
    for one in body if isinstance(body, list) else [body]:
        if isinstance(one, dict):
            yield one


def _named(events: list[dict[str, Any]], fields: tuple[tuple[str, str], ...]) -> list[str]:
    """Each name once, in the order of the fields."""
    names = {
        f"{word} {visible(str(event[field])[:_LONGEST_NAME])}": None
        for word, field in fields
        for event in events
        if isinstance(event.get(field), str | int) and event[field] != ""
    }
    return list(names)
