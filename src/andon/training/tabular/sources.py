"""The rows of a recipe, wherever they come from."""

from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from andon.errors import AndonError, InvalidRequest, UnusableUpload
from andon.training.tabular import drowsiness, heart_disease, reading
from andon.training.tabular.recipe import Places, Recipe
from andon.training.tabular.table import Table


def read(
    recipe: Recipe,
    places: Places,
    tell: Callable[[str], None],
    *,
    data: Sequence[str] = (),
    seed: int | None = None,
) -> Table:
    """The rows of a recipe.

    Args:
        recipe: What is to be trained.
        places: Where to look.
        tell: Takes lines for the terminal.
        data: Files or folders to read instead of the recipe's own.
        seed: Of generated rows; None: the recipe's.

    Raises:
        AndonError: They cannot be had.
    """
    paths = [Path(path).expanduser() for path in data or recipe.data]
    if recipe.reader is not None:
        return _by_reader(recipe, paths)
    if recipe.source == heart_disease.RECIPE.source:
        return heart_disease.read(paths, places.data, tell)
    if recipe.source == drowsiness.RECIPE.source and not paths:
        return drowsiness.read(recipe, places, tell, recipe.seed if seed is None else seed)
    if not paths:
        raise InvalidRequest(
            f"The recipe {recipe.name!r} names no data.",
            hint="Add `data: FILE` to it, or name a file with --data FILE.",
        )
    return reading.read(paths)


def _by_reader(recipe: Recipe, paths: list[Path]) -> Table:
    """What the `read(path)` of a Python recipe makes of each path."""
    assert recipe.reader is not None
    if not paths:
        raise InvalidRequest(
            f"The recipe {recipe.name!r} names no data.",
            hint="Add `data=(FILE,)` to its RECIPE, or name a file with --data FILE.",
        )
    frames = []
    for path in paths:
        try:
            frame = recipe.reader(path)
        except AndonError:
            raise
        except Exception as error:
            raise UnusableUpload(
                f"read() of the recipe {recipe.name!r} fails on {path.name}: "
                f"{type(error).__name__}: {error}.",
                hint="Mend the recipe or the file.",
            ) from error
        if not isinstance(frame, pl.DataFrame):
            raise UnusableUpload(
                f"read() of the recipe {recipe.name!r} answers {type(frame).__name__}, not a "
                "polars.DataFrame.",
                hint="Return a polars.DataFrame with the target as a column.",
            )
        frames.append(frame)
    files = [file for path in paths for file in _all_files(path)]
    table = reading.usual(reading.joined(frames))
    return Table(
        frame=table[0],
        origin=", ".join(path.name for path in paths),
        digest=reading.combined([reading.digest(file) for file in files]),
        findings=tuple(table[1]),
    )


def _all_files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path]
