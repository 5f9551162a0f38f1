"""What a training is: its data, their schema, the candidates, what chooses and what gates.

A recipe comes with Andon, or is a file of the user: a page of YAML with the fields of `Recipe`, or
a Python module with `RECIPE` and maybe `read(path)`. `pages` reads them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from andon.runtimes.rows import Feature, Value

Metric = Literal["accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc"]
"""What a recipe may choose and gate by: of each, more is better."""


@dataclass(frozen=True)
class Places:
    """Where a training may look.

    Attributes:
        recipes: Folder of the user's recipes.
        data: Folder of data sets; downloads are kept there.
        database_url: Where stored telemetry is; "" for none.
    """

    recipes: Path
    data: Path
    database_url: str = ""


class Gate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a model must reach before it may serve.

    Attributes:
        metric: On the held-out rows.
        minimum: Of that metric.
        not_worse: Whether it must also not be worse than the version that serves.
    """

    metric: Metric = "f1"
    minimum: Annotated[float, Meta(ge=0, le=1)] = 0.75
    not_worse: bool = True


class SliceRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column of numbers cut into parts, for figures of each part.

    Attributes:
        column: Which.
        edges: Rising; a part begins at an edge: 45 and 65 give "under 45", "45 to 65" and
            "65 and over".
        labels: Of the parts, one more than edges; empty: made from the edges.
    """

    column: str
    edges: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse edges and labels that do not go together.

        Raises:
            ValueError: Edges do not rise, or there is not one label more than edges.
        """
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError("edges must rise")
        if self.labels and len(self.labels) != len(self.edges) + 1:
            raise ValueError("there must be one label more than edges")


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What a training is.

    Attributes:
        name: Of the registered model.
        title: For people.
        description: For people.
        target: Column to learn.
        positive: Its value that a yes-or-no model looks for; None: 1, true, or the last in order.
        class_labels: What the classes mean, by the text of the value.
        features: Declared ones; they override what the data suggest. Other columns are inferred.
        drop: Columns that are no features.
        group: Column; rows of one group never stand on both sides of a split.
        slices: Figures are reported per part: by name, a column, or how to cut it.
        candidates: Names of the algorithms to try.
        parameters: Fixed parameters of candidates, by the candidate's name.
        metric: Chooses among the candidates, cross-validated.
        gate: What the chosen one must reach.
        folds: Of the cross-validation.
        repeats: Of the cross-validation.
        tuning_trials: Budget of the search for each candidate; 0: no search.
        seed: Of everything that draws.
        hold_out: Share of the rows that no candidate sees, 0 to 1.
        min_rows: Fewer are refused.
        min_rows_per_class: Fewer are refused.
        drop_duplicates: Whether rows that are alike in every column count once.
        trusted: Columns that may predict the target almost perfectly: a warning, no error.
        promote: Whether a version that passed serves at once ("auto") or waits for a person.
        retrain: Whether it is part of the weekly schedule.
        experiment: Name of the MLflow experiment; "": `name`.
        mlflow_model: Name of the model registered in MLflow; "": `name`.
        run_names: Names of the MLflow runs, by the candidate's name; others keep theirs.
        data: Files or folders to read.
        source: Who reads them: a built-in recipe's name; "": tables of CSV or Parquet.
        reader: `read(path)` of a Python recipe.
    """

    name: str
    title: str
    description: str = ""
    target: str
    positive: Value | None = None
    class_labels: dict[str, str] = {}
    features: tuple[Feature, ...] = ()
    drop: tuple[str, ...] = ()
    group: str | None = None
    slices: dict[str, str | SliceRule] = {}
    candidates: tuple[str, ...] = ("logistic-regression", "random-forest", "xgboost", "lightgbm")
    parameters: dict[str, dict[str, Any]] = {}
    metric: Metric = "f1"
    gate: Gate = Gate()
    folds: Annotated[int, Meta(ge=2, le=20)] = 5
    repeats: Annotated[int, Meta(ge=1, le=20)] = 2
    tuning_trials: Annotated[int, Meta(ge=0, le=10_000)] = 0
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 42
    hold_out: Annotated[float, Meta(ge=0.05, le=0.5)] = 0.2
    min_rows: Annotated[int, Meta(ge=10)] = 50
    min_rows_per_class: Annotated[int, Meta(ge=2)] = 10
    drop_duplicates: bool = False
    trusted: tuple[str, ...] = ()
    promote: Literal["auto", "approve", "manual"] = "approve"
    retrain: bool = True
    experiment: str = ""
    mlflow_model: str = ""
    run_names: dict[str, str] = {}
    data: tuple[str, ...] = ()
    source: str = ""
    reader: Callable[[Path], Any] | None = None
