"""Recipes by name: the built-in ones, the user's pages of YAML and Python, or made for a table.

A Python recipe is a program and runs with the rights of Andon. It is only ever taken from the
recipes folder, or from a path somebody typed; nothing is ever taken from an upload.
"""

import difflib
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import yaml

from andon import typed
from andon.errors import InvalidRequest, NotFound, UnusableUpload
from andon.registry.names import clean_model_name
from andon.runtimes.row_card import CONTROL
from andon.runtimes.rows import Feature
from andon.training import catalog
from andon.training.tabular import drowsiness, heart_disease, reading
from andon.training.tabular.recipe import Gate, Places, Recipe, SliceRule

BUILT_IN = {recipe.name: recipe for recipe in (heart_disease.RECIPE, drowsiness.RECIPE)}

_PAGES = (".yaml", ".yml")
_MAX_PAGE = 1024 * 1024
_MOST_NODES = 100_000
# Only Andon and Python recipes set these.
_NOT_ON_A_PAGE = {"source", "reader"}
_BASE = "base"
_PLACE = re.compile(r"^features\.\[(\d+)\](.*)$")
_AT = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<where>.*)`)?$")


class RecipeError(UnusableUpload):
    """A recipe that cannot be used as it is; the message names the file and the key."""


def find(name: str, places: Places, target: str = "") -> Recipe:
    """The recipe of a name, or of a file: a page of YAML or Python, or a table.

    Args:
        name: "heart-disease", the name of a file in the recipes folder without its suffix, or
            a path.
        places: Where to look.
        target: Column to learn, of a table; stands before the one of a page.

    Raises:
        NotFound: There is no such recipe and no such file.
        UnusableUpload: The file cannot be used.
    """
    path = Path(name)
    info = catalog.known(name, places)
    if info is not None:
        found = BUILT_IN[info.name] if info.source == "built-in" else load(Path(info.source))
    elif path.suffix.lower() in catalog.SUFFIXES and path.is_file():
        found = load(path)
    elif path.exists():
        return from_table(path, target)
    else:
        listed = ", ".join(info.name for info in catalog.recipes(places))
        raise NotFound(
            f"There is no recipe and no file {name!r}.",
            hint=f"Recipes are {listed}; or name a CSV or Parquet file with its --target.",
        )
    return msgspec.structs.replace(found, target=target) if target else found


def from_table(path: Path, target: str) -> Recipe:
    """The recipe of a table nobody wrote a page for.

    Raises:
        InvalidRequest: No target was named, or there is no such column; the columns are listed.
        UnusableUpload: The file is no table.
    """
    names = reading.columns(reading.files_of(path)[0])
    listed = ", ".join(names[:100]) + (", …" if len(names) > 100 else "")
    if not target:
        raise InvalidRequest(
            f"Which column of {path.name} is to be learned? It has {listed}.",
            hint=f"Name it: andon train {path.name} --target {names[-1]}",
        )
    if target not in names:
        near = difflib.get_close_matches(target, names, 1)
        raise InvalidRequest(
            f"{path.name} has no column {target!r}. It has {listed}.",
            hint=f"Did you mean {near[0]!r}?" if near else "Name one of them with --target.",
        )
    return Recipe(
        name=_slug(path),
        title=path.stem,
        target=target,
        data=(str(path.absolute()),),
        retrain=False,
    )


def load(path: Path) -> Recipe:
    """The recipe of a user's file, a page of YAML or Python.

    Raises:
        RecipeError: It cannot be used; the message names the file and the key.
    """
    try:
        name = clean_model_name(path.stem)
    except InvalidRequest as error:
        raise RecipeError(
            f"A recipe is called like its file, and {path.name} cannot be a model's name.",
            hint=error.hint,
        ) from error
    if path.suffix.lower() in _PAGES:
        return from_page(_page(path), path, name)
    return _from_module(path, name)


def from_page(page: Mapping[str, Any], path: Path, name: str) -> Recipe:
    """The recipe that a page's keys and values say.

    Args:
        page: As YAML reads it.
        path: Of the page: paths of data start from its folder, and messages name it.
        name: Of the recipe.
    """
    given = dict(page)
    base = _base(given.pop(_BASE, None), path)
    _check_keys(given, _fields(Recipe) - _NOT_ON_A_PAGE | {_BASE}, path, "")
    if given.setdefault("name", name) != name:
        raise RecipeError(
            f"{path.name}: the name is {given['name']!r}; a recipe is called like its file.",
            hint=f"Leave `name` out, or call the file {given['name']}{path.suffix}.",
        )
    for key in ("drop", "trusted", "candidates", "data"):
        if isinstance(given.get(key), str):
            given[key] = [given[key]]
    if "features" in given:
        given["features"] = _features(given["features"], path)
    if isinstance(given.get("class_labels"), dict):
        labels = given["class_labels"].items()
        given["class_labels"] = {_text(key): str(label) for key, label in labels}
    for key, kind in (("gate", Gate), *_slice_rules(given.get("slices"))):
        value = given.get(key) if key == "gate" else given["slices"][key]
        if isinstance(value, dict):
            _check_keys(value, _fields(kind), path, key if key == "gate" else f"slices.{key}")
    if base is None:
        given.setdefault("title", name.replace("-", " ").replace("_", " ").capitalize())
        if "target" not in given:
            raise RecipeError(
                f"{path.name}: there is no `target`.", hint="Name the column that is to be learned."
            )
    values = {} if base is None else {key: getattr(base, key) for key in _fields(Recipe)}
    recipe = Recipe(**(values | _converted(given, path)))
    _check_features(recipe, path)
    return msgspec.structs.replace(recipe, data=tuple(_from(path, data) for data in recipe.data))


def _base(name: Any, path: Path) -> Recipe | None:
    if name is None:
        return None
    if not isinstance(name, str) or name not in BUILT_IN:
        raise RecipeError(
            f"{path.name}, base: there is no built-in recipe {name!r}.",
            hint=f"There are {', '.join(BUILT_IN)}.",
        )
    return BUILT_IN[name]


def _converted(given: dict[str, Any], path: Path) -> dict[str, Any]:
    """The values in the types of `Recipe`, each key for itself, so that a message names it."""
    kinds = Recipe.__annotations__
    converted = {}
    for key, value in given.items():
        try:
            converted[key] = typed.convert(value, kinds[key])
        except msgspec.ValidationError as error:
            found = _AT.match(str(error))
            where = f"{key}.{found['where']}" if found and found["where"] else key
            what = found["what"] if found else str(error)
            if key == "features" and (place := _PLACE.match(where)):
                where = f"features.{value[int(place[1])].get('name', '?')}{place[2]}"
            if what.startswith("Invalid enum value") and (choices := _choices(kinds[key])):
                what += f"; there are {', '.join(choices)}"
            raise RecipeError(
                f"{path.name}, {where}: {what}.", hint="docs/training.md lists what a page may say."
            ) from None
    return converted


def _choices(kind: Any) -> tuple[str, ...]:
    """The texts that a type is a choice of; none where it is another type."""
    if kind is Feature:
        kind = Feature.__annotations__["kind"]
    if get_origin(kind) is Literal:
        return tuple(map(str, get_args(kind)))
    return next((found for part in get_args(kind) if (found := _choices(part))), ())


def _features(listed: Any, path: Path) -> list[dict[str, Any]]:
    """Declared features, from a list with names or from a mapping by name."""
    if isinstance(listed, dict):
        listed = [{"name": name, **(body or {})} for name, body in listed.items()]
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise RecipeError(
            f"{path.name}, features: expected a column's name and what it is, one each.",
            hint="Write `features:` and under it `age: {unit: years, minimum: 0}`.",
        )
    complete = []
    for item in listed:
        _check_keys(item, _fields(Feature), path, f"features.{item.get('name', '?')}")
        kind = "category" if item.get("categories") else "number"
        complete.append({"kind": kind, **item})
    return complete


def _check_features(recipe: Recipe, path: Path) -> None:
    """Refuse declarations that contradict themselves."""
    if any(map(CONTROL.search, recipe.class_labels.values())):
        raise RecipeError(f"{path.name}, class_labels: one holds characters that cannot be shown.")
    for feature in recipe.features:
        where = f"{path.name}, features.{feature.name}"
        described = (feature.unit, *feature.labels, " ".join(feature.description.split()))
        if any(map(CONTROL.search, described)):
            raise RecipeError(f"{where}: a text holds characters that cannot be shown.")
        if feature.labels and len(feature.labels) != len(feature.categories):
            raise RecipeError(
                f"{where}: {len(feature.labels)} labels for {len(feature.categories)} categories.",
                hint="Write one label for each category, in the same order.",
            )
        low, high = feature.minimum, feature.maximum
        if low is not None and high is not None and low > high:
            raise RecipeError(f"{where}: the minimum {low:g} is over the maximum {high:g}.")


def _slice_rules(slices: Any) -> list[tuple[str, type]]:
    return [(name, SliceRule) for name in slices] if isinstance(slices, dict) else []


def _check_keys(given: Mapping[Any, Any], allowed: set[str], path: Path, inside: str) -> None:
    for key in given:
        if key not in allowed:
            near = difflib.get_close_matches(str(key), allowed, 1)
            where = f"{path.name}, {inside}" if inside else path.name
            raise RecipeError(
                f"{where}: there is no key {str(key)!r}.",
                hint=f"Did you mean `{near[0]}`?"
                if near
                else f"Known keys are {', '.join(sorted(allowed))}.",
            )


def _page(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_PAGE:
            raise RecipeError(f"{path.name} is too long for a recipe.")
        page = yaml.safe_load(path.read_text("utf-8-sig"))
    except RecursionError:
        raise RecipeError(f"{path.name} is nested too deep for a recipe.") from None
    except (OSError, UnicodeError) as error:
        raise RecipeError(f"{path.name} cannot be read: {error}.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it is no YAML"
        raise RecipeError(
            f"{path.name}{line}: {problem}.", hint="Look at the indentation and the colons there."
        ) from error
    if _is_endless(page):
        raise RecipeError(
            f"{path.name} holds more than {_MOST_NODES} values, aliases counted each time.",
            hint="Write out what its aliases (*) stand for.",
        )
    if not isinstance(page, dict):
        raise RecipeError(
            f"{path.name} is no recipe: expected keys and values.",
            hint="Start with `target: COLUMN` and `data: FILE`.",
        )
    return page


def _is_endless(page: Any) -> bool:
    """Whether aliases make a page of a few lines hold thousands of millions of values."""
    count, left = 0, [page]
    while left:
        one = left.pop()
        count += 1
        if count > _MOST_NODES:
            return True
        if isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list):
            left += one
    return False


def _from_module(path: Path, name: str) -> Recipe:
    """The recipe of a Python file, which is run for it."""
    spec = importlib.util.spec_from_file_location(f"andon_recipe_{abs(hash(name))}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise RecipeError(
            f"{path.name} fails: {type(error).__name__}: {error}.",
            hint=f"Run it alone: python {path.name}",
        ) from error
    recipe = getattr(module, "RECIPE", None)
    if not isinstance(recipe, Recipe):
        raise RecipeError(
            f"{path.name} has no RECIPE.",
            hint="Write `RECIPE = Recipe(...)`, of andon.training.tabular.recipe.",
        )
    if recipe.name != name:
        raise RecipeError(
            f"{path.name}: the name is {recipe.name!r}; a recipe is called like its file.",
            hint=f'Write `name="{name}"`.',
        )
    _check_features(recipe, path)
    return msgspec.structs.replace(
        recipe,
        reader=getattr(module, "read", None),
        data=tuple(_from(path, data) for data in recipe.data),
    )


def _from(page: Path, data: str) -> str:
    """A path of data, from the folder of the page that names it."""
    return str((page.parent / Path(data).expanduser()).resolve())


def _fields(kind: type) -> set[str]:
    return {field.name for field in msgspec.structs.fields(kind)}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _slug(path: Path) -> str:
    """A model's name from a file's: "My Data (2).csv" is my-data-2."""
    slug = re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower())
    slug = re.sub(r"\.{2,}", ".", slug)[:64].strip("._-")
    return slug or "table"
