"""From a request to checked rows: the part of a training that may refuse its data.

It imports no library that learns: a refusal does not wait for them.
"""

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from andon.errors import AndonError, InvalidRequest, ModelRejected, UnusableUpload
from andon.runtimes.rows import RowSchema, check_schema
from andon.training import messages
from andon.training.messages import DataReport, Say, Stage, TrainRequest
from andon.training.tabular import checks, pages, prepared, schema, sources
from andon.training.tabular.prepared import Prepared
from andon.training.tabular.recipe import Places, Recipe
from andon.training.tabular.table import Table

Tell = Callable[[messages.Line], None]


class DataRefused(AndonError):
    """The checks found an error in the data; `report` has all findings."""

    def __init__(self, detail: str, *, hint: str, report: DataReport) -> None:
        super().__init__(detail, hint=hint)
        self.report = report


def load(request: TrainRequest, tell: Tell) -> tuple[Recipe, DataReport, Prepared]:
    """The recipe of a request, and its rows, read and checked.

    Raises:
        DataRefused: The checks found an error in the data.
        AndonError: There is no such recipe, or the data cannot be read.
    """
    places = Places(
        recipes=Path(request.recipes),
        data=Path(request.data_folder),
        database_url=request.database_url,
    )
    recipe = pages.find(request.recipe, places, request.target)
    tell(Stage("Reading the data", 0.01))
    table = sources.read(
        recipe,
        places,
        lambda text: tell(Say(text)),
        data=request.data,
        seed=request.seed,
    )
    recipe = _without(request.drop, recipe, table)
    tell(Stage("Checking the data", 0.05))
    rows = schema.infer(recipe, table)
    found = checks.check(recipe, table, rows)
    tell(messages.Checked(found))
    if not found.ok:
        first = next(one for one in found.findings if one.severity == "error")
        raise DataRefused(first.detail, hint=first.hint, report=found)
    _check_usable(rows)
    return recipe, found, prepared.prepare(recipe, table, rows)


def _without(columns: Sequence[str], recipe: Recipe, table: Table) -> Recipe:
    """The recipe, with these columns left out as well.

    Raises:
        InvalidRequest: One of them is not there, or is the one to learn.
    """
    names = table.frame.columns
    listed = ", ".join(names[:100]) + (", …" if len(names) > 100 else "")
    for column in columns:
        if column == recipe.target:
            raise InvalidRequest(
                f"{column!r} is the column to learn and cannot be left out.",
                hint="Leave out another, or name another --target.",
            )
        if column not in names:
            near = difflib.get_close_matches(column, names, 1)
            raise InvalidRequest(
                f"There is no column {column!r} to leave out. There are {listed}.",
                hint=f"Did you mean {near[0]!r}?" if near else "Name one of them with --drop.",
            )
    return msgspec.structs.replace(recipe, drop=(*recipe.drop, *columns))


def _check_usable(rows: RowSchema) -> None:
    """Refuse now what the registry would refuse when everything is trained.

    Raises:
        UnusableUpload: A name or a value could not be shown or stored.
    """
    try:
        check_schema(rows)
    except ModelRejected as error:
        raise UnusableUpload(
            f"A model of these data could not be registered. {error.detail}",
            hint="Change the names or values in the data, or leave the column out: --drop COLUMN.",
        ) from None
