"""`andon feedback`: one label, or a file of them, from a terminal."""

from pathlib import Path

import pytest
from tests.cli.conftest import Andon


@pytest.fixture
def prediction(serving: Andon, picture: Path) -> str:
    """The id of an answer to a picture with one spot."""
    (answer,) = serving("predict", picture, "--json").json
    found: str = answer["prediction_id"]
    return found


def test_one_answer_is_judged(andon: Andon, prediction: str) -> None:
    """The verdict is stored, and it is said whether the answer was right."""
    done = andon("feedback", prediction, "defect", "--note", "seen")
    assert done.code == 0, done.err
    assert done.out == "pcb v1 said defect; true is defect: right.\n"
    assert andon("feedback", prediction, "ok", "--json").json["correct"] is False


def test_a_file_is_taken_and_may_be_sent_again(
    andon: Andon, prediction: str, tmp_path: Path
) -> None:
    """Bad rows are named on standard error; the good ones are stored once."""
    table = tmp_path / "labels.csv"
    table.write_text(
        "prediction_id,actual,timestamp\n"
        f"{prediction},ok,2026-11-20T08:00:00Z\n"
        "nobody,ok,2026-11-20T08:00:00Z\n"
    )
    done = andon("feedback", table)
    assert done.code == 0, done.err
    assert done.out.startswith("2 labels: 1 stored, 0 there already, 0 older than what stands, 1")
    assert "Label 2: There is no prediction 'nobody'" in done.err
    again = andon("feedback", table, "--json").json
    assert (again["stored"], again["duplicates"]) == (0, 1)


def test_a_file_of_which_nothing_is_taken_fails(serving: Andon, tmp_path: Path) -> None:
    """A script sees it by the exit code."""
    lines = tmp_path / "labels.ndjson"
    lines.write_text('{"prediction_id": "nobody", "actual": "ok"}\n')
    assert serving("feedback", lines).code == 1


@pytest.mark.parametrize("words", [["labels.txt"], ["nobody", "ok"], ["none.csv"]])
def test_what_cannot_be_taken_is_one_line(serving: Andon, words: list[str]) -> None:
    """An unknown kind of file, an unknown id, a file that is not there."""
    done = serving("feedback", *words)
    assert done.code == 1
    assert done.err.startswith("Error: ")
