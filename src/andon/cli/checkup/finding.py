"""What a check says."""

from enum import StrEnum

import msgspec


class State(StrEnum):
    """How serious a finding is: `FAIL` keeps Andon from working, `WARN` will bite one day."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        check: What was looked at, two or three words.
        state: How serious it is.
        detail: What was found, a full sentence.
        advice: What to do about it; empty when all is well.
    """

    check: str
    state: State
    detail: str
    advice: str = ""


def ok(check: str, detail: str) -> Finding:
    """All is well."""
    return Finding(check, State.OK, detail)


def warn(check: str, detail: str, advice: str) -> Finding:
    """Works now, will bite one day."""
    return Finding(check, State.WARN, detail, advice)


def fail(check: str, detail: str, advice: str) -> Finding:
    """Does not work."""
    return Finding(check, State.FAIL, detail, advice)
