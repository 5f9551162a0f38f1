"""`andon models promote|stage|archive|compare|show` on tabular versions."""

from pathlib import Path

import pytest
from tests.cli.conftest import Andon
from tests.support import tabular_models

MODEL = ("--model", "heart")


@pytest.fixture
def heart(andon: Andon, tmp_path: Path) -> Andon:
    """Runs ``andon …`` where version 1 of heart is active and version 2 is staged."""
    for number, more in ((1, ()), (2, ("--no-activate",))):
        path = tabular_models.heart(tmp_path / f"h{number}.onnx", variant=float(number))
        done = andon("models", "add", path, *MODEL, *more)
        assert done.code == 0, done.err
    return andon


def test_a_version_is_promoted_staged_and_archived(heart: Andon) -> None:
    """Each says what became of it; the reasons are in the history."""
    done = heart("models", "promote", "v2", *MODEL, "--reason", "better")
    assert done.out == "Model heart v2 serves now.\n", done.err
    assert heart("models", "stage", 1, *MODEL).out == "Model heart v1: archived → staging.\n"
    assert (
        heart("models", "stage", 1, *MODEL).out == "Model heart v1 is at stage staging already.\n"
    )
    assert heart("models", "archive", 1, *MODEL, "--json").json["status"] == "archived"


def test_what_serves_cannot_be_archived(heart: Andon) -> None:
    """One line, and the way out."""
    done = heart("models", "archive", 1, *MODEL)
    assert done.code == 1
    assert "serves and cannot be moved" in done.err
    assert "roll back" in done.err


def test_show_prints_what_was_measured(heart: Andon) -> None:
    """The figures of the card, and the whole of it as JSON."""
    shown = heart("models", "show", 1, *MODEL).out
    assert "logistic-regression" in shown
    assert "0.830" in shown
    assert heart("models", "show", 1, *MODEL, "--json").json["f1_score"] == 0.83


def test_a_model_of_rows_is_not_offered_pictures(andon: Andon, tmp_path: Path) -> None:
    """What to try next works with it, and the doctor knows that one serves."""
    done = andon("models", "add", tabular_models.heart(tmp_path / "heart.onnx"))
    assert "It serves now. It answers rows: POST /predict." in done.out
    assert "Active: heart-disease v1." in andon("doctor").out


def test_two_versions_are_compared_on_a_file(heart: Andon, tmp_path: Path) -> None:
    """A table of figures, how many rows, and a sentence."""
    names = list(tabular_models.ROW)
    lines = [",".join([*names, "sick"])]
    for age in range(20, 90):
        row = {**tabular_models.ROW, "age": age}
        lines.append(",".join([*map(str, row.values()), str(int(age > 55))]))
    table = tmp_path / "rows.csv"
    table.write_text("\n".join([*lines, "old,1,150,1,0,normal,1"]) + "\n")
    done = heart("models", "compare", 1, 2, *MODEL, "--rows", table, "--target", "sick")
    assert done.code == 0, done.err
    assert "METRIC" in done.out
    assert "70 rows, 70 labelled" in done.out
    assert "1 rows were skipped" in done.err
    assert heart("models", "compare", 1, 2, *MODEL, "--json").json["rows"] == 0
