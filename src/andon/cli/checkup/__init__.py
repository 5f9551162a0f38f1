"""What ``andon doctor`` looks at: one module per kind of trouble, one function per check.

A check looks and never mends: it opens the database read-only, starts nothing and writes at
most an empty file that it removes. It yields findings; each says what was found and, where
something is wrong, the next step.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from andon.cli.checkup import (
    floor,
    kept,
    machine,
    model_files,
    server,
    storage,
    training,
    variables,
    watching,
)
from andon.cli.checkup.finding import Finding, State

if TYPE_CHECKING:
    from andon.settings import Settings

__all__ = ["Finding", "State", "examine", "variables"]


def examine(settings: "Settings") -> Iterator[Finding]:
    """Every check, in the order in which trouble is best read: the cause before its effects."""
    yield from machine.examine(settings)
    yield from variables.examine(settings)
    yield from storage.examine(settings)
    yield from kept.examine(settings)
    yield from model_files.examine(settings)
    yield from floor.examine(settings)
    yield from training.examine(settings)
    yield from watching.examine(settings)
    yield from server.examine(settings)
