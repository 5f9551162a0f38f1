"""Recipes: built-in, pages of YAML, Python, and tables without any."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from andon.errors import InvalidRequest, NotFound, UnusableUpload
from andon.training.tabular import checks, pages, prepared, schema, sources
from andon.training.tabular.pages import RecipeError
from andon.training.tabular.recipe import Gate, Places, Recipe, SliceRule

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Folders of a home that was never used."""
    (tmp_path / "recipes").mkdir()
    return Places(tmp_path / "recipes", tmp_path / "data")


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    """A small table."""
    path = tmp_path / "My Data (2).csv"
    rows = "".join(f"{n * 0.37 % 5:.2f},{'abc'[n % 3]},{n % 2}\n" for n in range(80))
    path.write_text(f"size,kind,y\n{rows}")
    return path


def page(places: Places, text: str, name: str = "casting.yaml") -> Path:
    path = places.recipes / name
    path.write_text(text)
    return path


def read(recipe: Recipe, places: Places, **more: Any) -> Any:
    return sources.read(recipe, places, lambda _: None, **more)


def test_built_in_recipes_are_found_by_name(places: Places) -> None:
    """Two ship."""
    assert pages.find("heart-disease", places).title == "Heart disease"
    assert pages.find("drowsiness", places).target == "drowsy"


def test_a_table_needs_no_recipe(places: Places, csv: Path) -> None:
    """The file and its target are enough; the model is called like the file."""
    recipe = pages.find(str(csv), places, "y")
    assert (recipe.name, recipe.title, recipe.target) == ("my-data-2", "My Data (2)", "y")
    table = read(recipe, places)
    found = schema.infer(recipe, table)
    assert checks.check(recipe, table, found).ok
    assert prepared.prepare(recipe, table, found).x.shape == (80, 2)


def test_a_table_without_a_target_lists_its_columns(places: Places, csv: Path) -> None:
    """So that one can be named."""
    with pytest.raises(InvalidRequest, match=r"It has size, kind, y.*--target y"):
        pages.find(str(csv), places)
    with pytest.raises(InvalidRequest, match="Did you mean 'size'"):
        pages.find(str(csv), places, "sizes")


def test_an_unknown_name_lists_the_recipes(places: Places) -> None:
    """And says what else could be named."""
    with pytest.raises(NotFound, match=r"no recipe and no file 'hart'.*drowsiness, heart-disease"):
        pages.find("hart", places)


def test_a_page_says_everything(places: Places, csv: Path) -> None:
    """Every field of a recipe; paths start from the page's folder."""
    page(
        places,
        f"""
title: Casting
data: "../{csv.name}"
target: y
positive: 1
class_labels: {{0: good, 1: scrap}}
features:
  size: {{unit: mm, minimum: 0, maximum: 5}}
  kind: {{categories: [a, b, c, d]}}
slices: {{kind: kind, size: {{column: size, edges: [2, 4]}}}}
candidates: random-forest
gate: {{metric: roc_auc, minimum: 0.8}}
folds: 3
promote: auto
retrain: false
""",
    )
    recipe = pages.find("casting", places)
    assert recipe.data == (str(csv),)
    assert recipe.class_labels == {"0": "good", "1": "scrap"}
    assert recipe.gate == Gate("roc_auc", 0.8)
    assert recipe.slices["size"] == SliceRule("size", (2.0, 4.0))
    assert (recipe.candidates, recipe.promote, recipe.retrain) == (
        ("random-forest",),
        "auto",
        False,
    )
    size, kind = schema.infer(recipe, read(recipe, places)).features
    assert (size.kind, size.unit, size.maximum) == ("number", "mm", 5.0)
    assert (kind.kind, kind.categories) == ("category", ("a", "b", "c", "d"))


def test_the_example_page_loads() -> None:
    """The commented page in the repository is a recipe."""
    recipe = pages.load(ROOT / "examples" / "recipe.yaml")
    assert (recipe.name, recipe.target, recipe.group) == ("recipe", "scrapped", "batch")
    assert recipe.min_rows == Recipe(name="x", title="x", target="y").min_rows
    assert recipe.features[2].labels[0] == "06:00 to 14:00"


def test_a_page_may_build_on_a_built_in_recipe(places: Places) -> None:
    """Only what differs is written."""
    page(places, "base: drowsiness\nmin_rows: 5000\n", "drowsiness.yaml")
    recipe = pages.find("drowsiness", places)
    built_in = pages.BUILT_IN["drowsiness"]
    assert recipe.min_rows == 5000
    assert (recipe.features, recipe.source) == (built_in.features, "drowsiness")


BOMB = ", ".join(
    f"{number}: &{'abcdefghijk'[number]} [{', '.join(['*' + 'abcdefghijk'[number - 1]] * 9)}]"
    for number in range(1, 10)
)
"""Aliases of aliases: some thousand million values in half a page."""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("target: y\ntagret: x\n", r"casting\.yaml: there is no key 'tagret'.*`target`"),
        ("target: y\nsource: heart-disease\n", r"no key 'source'"),
        ("target: y\nreader: os.system\n", r"no key 'reader'"),
        ("title: x\n", r"there is no `target`"),
        ("target: y\nfolds: many\n", r"casting\.yaml, folds: Expected `int`"),
        ("target: y\npromote: now\n", r"casting\.yaml, promote: Invalid enum value 'now'"),
        ("target: y\ngate: {minimun: 1}\n", r"casting\.yaml, gate: .*`minimum`"),
        ("target: y\nslices: {s: {edge: [1]}}\n", r"slices\.s: .*`edges`"),
        ("target: y\nfeatures: {a: {unti: mm}}\n", r"features\.a: .*`unit`"),
        ("target: y\nfeatures: {a: {minimum: low}}\n", r"features\.a\.minimum: Expected"),
        ("target: y\nfeatures: a\n", r"casting\.yaml, features"),
        ("target: y\nfeatures: {a: {categories: [x, y], labels: [X]}}\n", r"1 labels for 2"),
        ("target: y\nfeatures: {a: {minimum: 2, maximum: 1}}\n", r"2 is over the maximum 1"),
        ("target: y\nslices: {s: {column: a, edges: [2, 1]}}\n", r"slices.*edges must rise"),
        ("target: y\nhold_out: 5\n", r"casting\.yaml, hold_out: Expected `float` <= 0.5"),
        ("target: y\nmetric: f2\n", r"casting\.yaml, metric: .*'f2'; there are accuracy,"),
        ("target: [y\n", r"casting\.yaml, line 2"),
        ("- target\n", r"no recipe: expected keys"),
        ("target: !!python/object/apply:os.system ['true']\n", r"casting\.yaml, line 1"),
        ("target: y\nname: other\n", r"called like its file"),
        ("base: nothing\n", r"no built-in recipe 'nothing'"),
        ("base: [nothing]\n", r"no built-in recipe"),
        ("target: y\ndata: " + "[" * 5000, r"nested too deep"),
        ("target: y\nname: &a [*a]\n", r"aliases counted each time"),
        ("target: y\nclass_labels: {0: &a [1, 2], " + BOMB + "}\n", r"more than 100000 values"),
        ('target: y\nclass_labels: {0: "\\e[31mno"}\n', r"class_labels: .* cannot be shown"),
        ('target: y\nfeatures: {a: {unit: "\\a"}}\n', r"features\.a: .* cannot be shown"),
    ],
)
def test_a_page_that_is_wrong_is_refused_with_its_key(
    places: Places, text: str, complaint: str
) -> None:
    """The message names the file and the key, and the nearest name."""
    page(places, text)
    with pytest.raises(RecipeError, match=complaint):
        pages.find("casting", places)


def test_a_python_recipe_reads_as_it_likes(places: Places, tmp_path: Path) -> None:
    """RECIPE says what, read() says how."""
    (tmp_path / "rows.json").write_text('[{"x": 1.5, "y": "no"}, {"x": 2.5, "y": "yes"}]')
    page(
        places,
        """
import polars as pl
from andon.training.tabular.recipe import Recipe
RECIPE = Recipe(name="glue", title="Glue", target="y", data=("../rows.json",))
def read(path):
    return pl.read_json(path)
""",
        "glue.py",
    )
    recipe = pages.find("glue", places)
    table = read(recipe, places)
    assert table.frame.rows() == [(1.5, "no"), (2.5, "yes")]
    assert table.origin == "rows.json"
    assert len(table.digest) == 64


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1 / 0\n", r"glue\.py fails: ZeroDivisionError"),
        ("RECIPE = 1\n", r"glue\.py has no RECIPE"),
        (
            (
                "from andon.training.tabular.recipe import Recipe\n"
                "RECIPE = Recipe(name='other', title='', target='y')\n"
            ),
            r"called like its file",
        ),
    ],
)
def test_a_python_recipe_that_fails_is_told(places: Places, text: str, complaint: str) -> None:
    """The message names the file and what went wrong."""
    page(places, text, "glue.py")
    with pytest.raises(RecipeError, match=complaint):
        pages.find("glue", places)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [("raise KeyError('a')", "fails on rows.json: KeyError"), ("return []", "answers list")],
)
def test_a_reader_that_fails_is_told(
    places: Places, tmp_path: Path, body: str, complaint: str
) -> None:
    """With the file it failed on."""
    (tmp_path / "rows.json").write_text("[]")
    page(
        places,
        "from andon.training.tabular.recipe import Recipe\n"
        "RECIPE = Recipe(name='glue', title='', target='y', data=('../rows.json',))\n"
        f"def read(path):\n    {body}\n",
        "glue.py",
    )
    with pytest.raises(UnusableUpload, match=complaint):
        read(pages.find("glue", places), places)


def test_data_named_by_the_caller_stand_before_the_recipes(places: Places, csv: Path) -> None:
    """`--data` of the command line."""
    page(places, "target: y\ndata: nowhere.csv\n")
    recipe = pages.find("casting", places)
    assert read(recipe, places, data=(str(csv),)).frame.height == 80
    with pytest.raises(UnusableUpload, match=r"nowhere\.csv"):
        read(recipe, places)


def test_a_recipe_without_data_says_so(places: Places) -> None:
    """There is nothing to read."""
    page(places, "target: y\n")
    with pytest.raises(InvalidRequest, match="names no data"):
        read(pages.find("casting", places), places)


def test_a_built_in_recipe_takes_a_table_of_ones_own(places: Places, tmp_path: Path) -> None:
    """Drowsiness from a file instead of the database."""
    pl.DataFrame({"ear": [0.2, 0.3], "drowsy": [1, 0]}).write_parquet(tmp_path / "t.parquet")
    recipe = pages.find("drowsiness", places)
    table = read(recipe, places, data=(str(tmp_path / "t.parquet"),))
    assert table.frame.height == 2
    assert not table.synthetic


def test_a_declared_feature_that_is_wrong_is_named(places: Places) -> None:
    """By its name, not its place; with the kinds there are."""
    page(places, "target: y\nfeatures:\n  x: {kind: numbr}\n")
    with pytest.raises(RecipeError, match=r"features\.x\.kind: .*are number, integer, category"):
        pages.find("casting", places)
