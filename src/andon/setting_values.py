"""Values of settings that are more than a number or a text: checked when they are read."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

# No path, no wildcard: who may come is named.
_ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


def _are_origins(value: str) -> str:
    for origin in _listed(value):
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(
                f"{origin!r} is not an origin; write scheme, name and port alone, such as "
                "https://app.example or http://localhost:3000"
            )
    return value


def _listed(value: str) -> list[str]:
    """The origins of a comma-separated list, in lower case."""
    names = (name.strip().lower().removesuffix("/") for name in value.split(","))
    return [name for name in names if name]


def _as_browsers_write(origin: str) -> str:
    """Without the port that goes without saying."""
    return origin.removesuffix(":443" if origin.startswith("https:") else ":80")


def _a_day_or_never(value: float) -> float:
    # What is watched now is measured from the rows of the last hours.
    if 0 < value < 1:
        raise ValueError("rows are kept for at least 1 day; 0 keeps them for ever")
    return value


def origins(value: str) -> frozenset[str]:
    """The origins of a comma-separated list, as browsers write them."""
    return frozenset(_as_browsers_write(origin) for origin in _listed(value))


Days = Annotated[float, Field(ge=0), AfterValidator(_a_day_or_never)]
"""How long rows are kept, days; 0: for ever."""

Origins = Annotated[str, AfterValidator(_are_origins)]
"""Origins of web pages (`https://app.example:8443`), comma-separated."""

Home = Annotated[Path, AfterValidator(lambda value: value.expanduser().absolute())]
"""A folder; `~` is whoever runs Andon."""
