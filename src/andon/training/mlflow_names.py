"""What the things of a training are called in MLflow: as its recipe says."""

from pathlib import Path

from andon import typed
from andon.training import catalog
from andon.training.messages import REQUEST, TrainRequest
from andon.training.mlflow_tasks import Folder, Names, names
from andon.training.tabular.recipe import Places, Recipe


def of_recipe(recipe: Recipe, model: str) -> Names:
    """The names of a recipe that trains a model.

    A recipe's own name for the registered model is for its own model: two models of Andon's under
    one name in MLflow would take the versions from each other.
    """
    own = recipe.mlflow_model if model == recipe.name else ""
    return Names(recipe.experiment or recipe.name, own or model, recipe.run_names)


def of_folder(folder: Folder) -> Names:
    """The names that a training had, asked of its recipe as it is now.

    Where the recipe is gone or broken, those that go without saying.
    """
    training = folder.training
    try:
        request = typed.decode((Path(folder.path) / REQUEST).read_bytes(), TrainRequest)
        places = Places(Path(request.recipes), Path(request.data_folder))
        info = catalog.known(request.recipe, places)
        if info is not None and info.source == "built-in" and training.model == info.name:
            return names(training.model)
        # Of the user's own recipes, some are programs and some need what only trainings need.
        from andon.training.tabular import pages  # noqa: PLC0415

        return of_recipe(pages.find(request.recipe, places, request.target), training.model)
    except Exception:
        return training.names
