"""Rows as they were read, before anything is learned from them."""

from dataclasses import dataclass

import polars as pl

from andon.training.messages import Finding


@dataclass(frozen=True)
class Table:
    """Rows of a recipe's source.

    Attributes:
        frame: One column per name; numbers, whole numbers, booleans or texts, null for missing.
        origin: Where they came from, for people.
        digest: SHA-256 of the content, hexadecimal.
        synthetic: Whether they were made up.
        notes: What a reader of the figures should know.
        findings: What reading found; part of the data report.
    """

    frame: pl.DataFrame
    origin: str
    digest: str
    synthetic: bool = False
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def counted(number: int, noun: str = "row") -> str:
    """A number with its noun: 1 row, 2 rows."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
