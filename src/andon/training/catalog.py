"""Which recipes there are, for those who only name them: needs no library for training."""

import re
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import msgspec

from andon.errors import InvalidRequest, NotFound
from andon.registry.names import clean_model_name

SUFFIXES = (".yaml", ".yml", ".py")
"""Of the user's own recipes."""

_LOOKED_AT = 1 << 16
# `title: Heart` of a page, `title="Heart",` of a Python recipe.
_SAID = re.compile(
    r"^[ \t]*(title|retrain|base)[ \t]*[:=][ \t]*(\"[^\"\n]*\"|'[^'\n]*'|[^,#\n]*?)[ \t]*,?"
    r"[ \t]*(?:#.*)?$",
    re.MULTILINE,
)
# What to import, and what the package is called.
_NEEDED = {
    "lightgbm": "lightgbm",
    "onnx": "onnx",
    "optuna": "optuna",
    "pandera": "pandera",
    "polars": "polars",
    "yaml": "pyyaml",
    "sklearn": "scikit-learn",
    "xgboost": "xgboost-cpu",
}


class Folders(Protocol):
    """The part of the settings that is needed here."""

    @property
    def recipes(self) -> Path:
        """Folder of the user's own recipes."""


class RecipeInfo(msgspec.Struct, frozen=True):
    """A recipe, as far as it is known without opening it.

    Attributes:
        name: Of the recipe, and of the model it trains.
        title: For people.
        source: "built-in", or the path of the user's file.
        retrain: Whether the weekly schedule trains it.
        telemetry: Whether it may read the stored telemetry.
    """

    name: str
    title: str
    source: str = "built-in"
    retrain: bool = True
    telemetry: bool = False


BUILT_IN = (
    RecipeInfo("heart-disease", "Heart disease"),
    RecipeInfo("drowsiness", "Driver drowsiness", telemetry=True),
)


def recipes(settings: Folders) -> list[RecipeInfo]:
    """The built-in recipes and the user's own, by name.

    A user's file of a built-in name stands before the built-in one. Files whose name cannot be a
    model's are left out; of two files of one name the first by suffix counts.
    """
    found = {info.name: info for info in BUILT_IN}
    for path in _own(settings.recipes):
        name = path.stem.lower()
        if name not in found or found[name].source == "built-in":
            found[name] = _described(name, path)
    return sorted(found.values(), key=lambda info: info.name)


def known(name: str, settings: Folders) -> RecipeInfo | None:
    """The recipe of this name, or None. Never a path: only what stands in the recipes folder."""
    wanted = name.strip().lower()
    return next((info for info in recipes(settings) if info.name == wanted), None)


def find(name: str, settings: Folders) -> RecipeInfo:
    """The recipe of this name.

    Raises:
        NotFound: There is none; the known ones are listed.
    """
    found = known(name, settings)
    if found is None:
        names = [info.name for info in recipes(settings)]
        near = get_close_matches(name, names, 1)
        raise NotFound(
            f"There is no recipe {name!r}.",
            hint=f"Did you mean {near[0]!r}?" if near else f"Known ones are {', '.join(names)}.",
        )
    return found


def missing_packages() -> list[str]:
    """What training needs and is not installed; empty where it can train."""
    return [package for module, package in _NEEDED.items() if find_spec(module) is None]


def is_available() -> bool:
    """Whether everything is installed that training needs."""
    return not missing_packages()


def _own(folder: Path) -> list[Path]:
    """The user's recipe files, by name and in the order of `SUFFIXES`."""
    try:
        files = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
    except OSError:
        return []
    return sorted(
        (path for path in files if path.is_file() and _can_be_named(path.stem)),
        key=lambda path: (path.stem.lower(), SUFFIXES.index(path.suffix.lower())),
    )


def _described(name: str, path: Path) -> RecipeInfo:
    """What a file says of itself on lines of their own; the training reads it properly."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_LOOKED_AT)
    except OSError:
        text = ""
    said = {key: value.strip("\"'") for key, value in _SAID.findall(text)}
    title = said.get("title") or name.replace("-", " ").replace("_", " ").capitalize()
    return RecipeInfo(
        name,
        title,
        str(path),
        retrain=said.get("retrain", "true").lower() not in {"false", "no", "off"},
        telemetry=said.get("base") == "drowsiness",
    )


def _can_be_named(stem: str) -> bool:
    try:
        return clean_model_name(stem) == stem.lower()
    except InvalidRequest:
        return False
