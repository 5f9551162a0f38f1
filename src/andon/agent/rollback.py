"""Which version to go back to, and when not to: no going back and forth between bad versions."""

from datetime import datetime, timedelta

import msgspec

from andon.store.database import Database
from andon.store.deployment_events import serving_history
from andon.store.records import Event, ModelVersion

ACTOR = "agent"
"""How deployment events name the agent; one that people approved has their names behind it."""

HOLD = timedelta(hours=24)
"""After a rollback a person decides on the next one for so long."""


class PassedOver(msgspec.Struct, frozen=True):
    """A version that served before and is not gone back to."""

    version: int
    why: str


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model could go back to.

    Attributes:
        active: What serves now, or None.
        since: Since when.
        version: The last version that was healthy; None where there is none.
        passed: Versions that served later and are not taken, the newest first.
        hold: Why a person must decide; empty where the agent may.
    """

    active: ModelVersion | None
    since: datetime | None
    version: ModelVersion | None
    passed: tuple[PassedOver, ...] = ()
    hold: str = ""


def healthy_target(db: Database, model: str) -> ModelVersion | None:
    """The last version that served and was healthy, or None; see `find_target`."""
    return find_target(db, model).version


def find_target(
    db: Database,
    model: str,
    *,
    moment: datetime | None = None,
    without: frozenset[int] = frozenset(),
) -> Target:
    """Look for the version to go back to.

    It is the one that served last and was not itself left by a rollback (since a person last
    let it serve), is not deleted and not damaged.

    Args:
        db: Versions and the history.
        model: Registered model.
        moment: Now; without it nothing is said about holding.
        without: Versions that were tried and did not load.
    """
    history, versions = _known(db, model)
    active = next((one for one in versions.values() if one.is_active), None)
    left = _left_by_rollback(history)
    passed = []
    found = None
    for number in _served(history):
        if active is not None and number == active.version:
            continue
        why = _unfit(number, versions, left, without)
        if not why:
            found = versions[number]
            break
        passed.append(PassedOver(number, why))
    begun = history[-1] if history else None
    return Target(
        active=active,
        since=None if begun is None else begun.timestamp,
        version=found,
        passed=tuple(passed),
        hold="" if begun is None or moment is None else _hold(begun, moment),
    )


def _known(db: Database, model: str) -> tuple[list[Event], dict[int, ModelVersion]]:
    """The history and the versions of one moment.

    Read apart, a change in between would show the version that was just left as one to go back to.
    """
    history = _history(db, model)
    while True:
        versions = {version.version: version for version in db.models.list(model)}
        again = _history(db, model)
        if len(again) == len(history):
            return history, versions
        history = again


def _history(db: Database, model: str) -> list[Event]:
    with db.read() as connection:
        return serving_history(connection, model)


def by_agent(actor: str) -> bool:
    """Whether the history says that the agent did it."""
    return actor == ACTOR or actor.startswith(f"{ACTOR},")


def _served(history: list[Event]) -> list[int]:
    """Versions by when they last began to serve, the newest first."""
    numbers: dict[int, None] = {}
    for event in reversed(history):
        numbers.setdefault(event.model_version)
    return list(numbers)


def _left_by_rollback(history: list[Event]) -> set[int]:
    left: set[int] = set()
    for event in history:
        if event.actor != ACTOR:
            # A person let it serve, or agreed to it: it is given another chance.
            left.discard(event.model_version)
        if event.event_type == "ROLLBACK" and event.previous_version is not None:
            left.add(event.previous_version)
    return left


def _unfit(
    number: int, versions: dict[int, ModelVersion], left: set[int], without: frozenset[int]
) -> str:
    version = versions.get(number)
    if version is None:
        return "It was deleted."
    if version.damaged:
        return f"Its file is damaged: {version.damaged}"
    if number in left:
        return "It was left by a rollback itself, and no person has let it serve since."
    if number in without:
        return "It does not load."
    return ""


def _hold(begun: Event, moment: datetime) -> str:
    """Two bad versions in a row are no accident of one version: somebody has to look."""
    if begun.event_type != "ROLLBACK" or not by_agent(begun.actor):
        return ""
    # A clock that was set back by more than that says nothing.
    if abs(moment - begun.timestamp) >= HOLD:
        return ""
    return (
        f"v{begun.model_version} serves since the rollback from v{begun.previous_version} at "
        f"{begun.timestamp:%Y-%m-%d %H:%M} UTC and is bad as well: a person must decide."
    )
