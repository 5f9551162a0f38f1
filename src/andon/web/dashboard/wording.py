"""Times, sizes and verdicts in plain words, the same on every page.

`static/words.js` says them in the same words, so that nothing jumps when it takes over.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from andon.store.clock import now

MINUTE, HOUR, DAY = 60, 3600, 86400


def exact(when: datetime) -> str:
    """``21 Nov 2026 01:15:03 UTC``."""
    return when.astimezone(UTC).strftime("%-d %b %Y %H:%M:%S UTC")


def machine(when: datetime) -> str:
    """ISO 8601 with `Z`, for ``<time datetime>``."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(when: datetime) -> str:
    """``01:15``, UTC."""
    return when.astimezone(UTC).strftime("%H:%M")


def short(when: datetime) -> str:
    """``01:15 UTC`` of today, ``20 Nov, 01:15 UTC`` of another day."""
    moment = when.astimezone(UTC)
    today = moment.date() == now().date()
    return moment.strftime("%H:%M UTC" if today else "%-d %b, %H:%M UTC")


def ago(when: datetime, moment: datetime | None = None) -> str:
    """How long ago: ``just now``, ``3 min ago``, ``2 h ago``, ``4 days ago``, then the date."""
    seconds = ((moment or now()) - when).total_seconds()
    if seconds < 10:
        return "just now"
    if seconds < MINUTE:
        return f"{int(seconds // 10) * 10} s ago"
    if seconds < HOUR:
        return f"{int(seconds // MINUTE)} min ago"
    if seconds < DAY:
        return f"{int(seconds // HOUR)} h ago"
    days = int(seconds // DAY)
    if days < 8:
        return f"{days} day ago" if days == 1 else f"{days} days ago"
    return when.astimezone(UTC).strftime("%-d %b %Y")


def count(value: int) -> str:
    """``12 345`` with thin spaces, which no reader takes for a decimal mark."""
    return f"{value:,}".replace(",", "\u202f")


def size(value: int) -> str:
    """Bytes in the largest fitting unit: ``2.8 MB``, by 1024 as limits are set."""
    if value < 1024:
        return f"{value} bytes"
    amount = value / 1024
    for unit in ("kB", "MB"):
        if amount < 1024:
            return f"{amount:.1f}".removesuffix(".0") + f" {unit}"
        amount /= 1024
    return f"{amount:.1f}".removesuffix(".0") + " GB"


def millis(value: float | None) -> str:
    """Milliseconds, or a dash where nothing was measured yet."""
    if value is None:
        return "–"
    if value < 10:
        return f"{value:.1f} ms"
    if value < 10_000:
        return f"{value:.0f} ms"
    return f"{value / 1000:.0f} s"


def percent(share: float | None) -> str:
    """``82 %`` of a share from 0 to 1, or a dash where it is unknown."""
    return "–" if share is None else f"{share * 100:.0f} %"


def hours(seconds: float | None) -> str:
    """``7:05``: hours and minutes, or a dash where unknown."""
    if seconds is None:
        return "–"
    minutes = int(seconds / MINUTE + 0.5)
    return f"{minutes // 60}:{minutes % 60:02}"


def lasting(seconds: float) -> str:
    """How long: ``45 s``, ``12 min``, ``3 h 05 min``, ``2 d 4 h``."""
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    minutes = int(seconds / MINUTE + 0.5)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    whole = minutes // 60
    return f"{whole // 24} d {whole % 24} h"


def by(actor: str) -> str:
    """``by mia``, ``by root, in the terminal``; empty where nobody is named."""
    name = actor.removeprefix("cli:")
    return f"by {name}, in the terminal" if name != actor else f"by {actor}" if actor else ""


def number(value: float) -> str:
    """``86 400 000``, ``0.25``, ``−10``: as many digits as it has, no powers of ten."""
    text = count(int(value)) if float(value).is_integer() else f"{value:.12g}"
    return text.replace("-", "\u2212", 1) if text.startswith("-") else text


def decimal(value: float | None, digits: int = 1) -> str:
    """A number with so many decimals, or a dash where unknown."""
    return "–" if value is None else f"{value:.{digits}f}"


def whole(value: int | None) -> str:
    """A count with thin spaces, or a dash where unknown."""
    return "–" if value is None else count(value)


def score(value: float | None) -> str:
    """A confidence with two digits, or a dash."""
    return "–" if value is None else f"{value:.2f}"


def interval(one: Any, *, signed: bool = False) -> str:
    """``0.84 (0.77–0.90)``, or a dash; with signs where it is a difference.

    Args:
        one: Anything with `value`, `low` and `high`, each of which may be None; or None.
        signed: Whether it is a difference.
    """
    if one is None or one.value is None:
        return "–"

    def told(value: float) -> str:
        if not signed:
            return score(value)
        # A real minus sign is as wide as the plus sign; nothing is neither.
        text = f"{value:+.2f}".replace("-", "\u2212")
        return "0.00" if text[1:] == "0.00" else text

    if one.low is None or one.high is None:
        return told(one.value)
    return f"{told(one.value)} ({told(one.low)}{' to ' if signed else '–'}{told(one.high)})"


# Categories of characters that one does not see, or that change how others are seen.
_UNSEEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})


def visible(text: str) -> str:
    """Text of strangers as it is: what steers the screen or turns the line round is written out.

    Line ends and tabs stay.
    """
    return "".join(
        one.encode("unicode_escape").decode()
        if one not in "\n\t" and unicodedata.category(one) in _UNSEEN
        else one
        for one in text.replace("\r\n", "\n")
    )


def brief(text: str, most: int) -> str:
    """Text of strangers on one line: visible, and no longer than `most` characters and a dot."""
    # Cut before and behind: writing out makes it longer.
    short = visible(text[: most + 1]).replace("\n", " ")
    return short if len(short) <= most else f"{short[:most]}…"


# What a camera's state says of a picture; `static/words.js` has the same sentences.
_SICK = {
    "dark": "the picture is too dark",
    "bright": "the picture is blown out",
    "blurred": "the picture is blurred",
    "frozen": "the camera keeps sending the same picture",
    "size": "the picture has another size than usual",
}


def unjudged(state: str | None) -> str:
    """``Not judged: the picture is too dark``; empty where the camera is well or not known."""
    return f"Not judged: {_SICK[state]}" if state in _SICK else ""


def sick(state: str | None) -> str:
    """What a camera's state means for what was found; empty where it is well or not known."""
    if state not in _SICK:
        return ""
    words = _SICK[state]
    return f"{words[0].upper()}{words[1:]}; what the model says of it cannot be relied on."


def plural(number: int, one: str, many: str = "") -> str:
    """``1 defect``, ``2 defects``."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def at_least(detections: Iterable[Mapping[str, Any]], threshold: float) -> list[Mapping[str, Any]]:
    """The detections that count at this threshold, most confident first."""
    kept = [entry for entry in detections if float(entry["confidence"]) >= threshold]
    return sorted(kept, key=lambda entry: -float(entry["confidence"]))


def verdict(detections: Iterable[Mapping[str, Any]], threshold: float) -> str:
    """``2 defects: short 0.93, spur 0.71`` or ``Nothing found above 0.50``."""
    kept = at_least(detections, threshold)
    if not kept:
        return f"Nothing found above {threshold:.2f}"
    named = ", ".join(f"{entry['label']} {float(entry['confidence']):.2f}" for entry in kept[:3])
    rest = f" and {len(kept) - 3} more" if len(kept) > 3 else ""
    return f"{plural(len(kept), 'defect')}: {named}{rest}"
