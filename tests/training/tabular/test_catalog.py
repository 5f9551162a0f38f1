"""Which recipes there are, without the libraries that training needs."""

import subprocess
import sys
from pathlib import Path

import pytest

from andon.errors import NotFound
from andon.settings import Settings
from andon.training import catalog
from andon.training.tabular.pages import BUILT_IN


def test_the_built_in_recipes_are_listed(tmp_path: Path) -> None:
    """As the recipes themselves say, whether or not the folder is there."""
    listed = catalog.recipes(Settings(home=tmp_path))
    assert [info.name for info in listed] == ["drowsiness", "heart-disease"]
    for info in listed:
        recipe = BUILT_IN[info.name]
        assert (info.title, info.retrain) == (recipe.title, recipe.retrain)
        assert info.telemetry == (recipe.source == "drowsiness")


def test_the_users_files_are_listed(tmp_path: Path) -> None:
    """With their title and whether they are part of the schedule; other files are not."""
    settings = Settings(home=tmp_path)
    settings.recipes.mkdir()
    pages = {
        "casting.yaml": 'title: "Casting scrap"\ntarget: y\nretrain: false  # by hand\n',
        "press.yml": "target: y\n",
        "glue.py": 'RECIPE = Recipe(\n    name="glue",\n    title="Glue",\n    retrain=False,\n)\n',
        "night.yaml": "base: drowsiness\n",
        "notes.txt": "x",
        "No name.yaml": "x",
        "press.py": "later by suffix",
    }
    for name, text in pages.items():
        (settings.recipes / name).write_text(text)
    listed = {info.name: info for info in catalog.recipes(settings) if info.source != "built-in"}
    assert {name: (info.title, info.retrain) for name, info in listed.items()} == {
        "casting": ("Casting scrap", False),
        "glue": ("Glue", False),
        "night": ("Night", True),
        "press": ("Press", True),
    }
    assert listed["press"].source.endswith("press.yml")
    assert listed["night"].telemetry


def test_a_file_stands_before_the_built_in_recipe_of_its_name(tmp_path: Path) -> None:
    """So that a page can change one."""
    settings = Settings(home=tmp_path)
    settings.recipes.mkdir()
    (settings.recipes / "drowsiness.yaml").write_text("base: drowsiness\n")
    assert catalog.find("drowsiness", settings).source.endswith("drowsiness.yaml")


def test_a_recipe_is_found_by_name_and_never_by_path(tmp_path: Path) -> None:
    """A caller over the network can name no file."""
    settings = Settings(home=tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit")
    assert catalog.known("Heart-Disease", settings) is not None
    assert catalog.known(str(tmp_path / "evil.py"), settings) is None
    assert catalog.known("../evil", settings) is None
    with pytest.raises(NotFound, match="Did you mean 'heart-disease'"):
        catalog.find("heart-diseases", settings)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of the package, to be installed."""
    assert catalog.missing_packages() == []
    assert catalog.is_available()
    monkeypatch.setattr(catalog, "find_spec", lambda name: None if name == "yaml" else object())
    assert catalog.missing_packages() == ["pyyaml"]
    assert not catalog.is_available()


def test_the_catalog_is_light() -> None:
    """Importing it brings no library for training into the server."""
    heavy = "{'polars', 'sklearn', 'yaml', 'pandera', 'xgboost', 'lightgbm'}"
    program = f"import sys, andon.training.catalog; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
