"""`andon predict`, `batch`, `compare` and `evaluate`: pictures are inspected from a terminal."""

import json
from pathlib import Path

import pytest
from PIL import Image
from tests.cli.conftest import Andon


def test_predict_says_what_it_found_and_where(serving: Andon, picture: Path) -> None:
    """One line for the picture, one per thing found."""
    done = serving("predict", picture)
    assert done.code == 0, done.err
    first, second = done.out.splitlines()
    assert first.startswith(f"{picture}: 1 found (pcb v1, ")
    assert second.split() == ["1.00", "spot", "x", "16", "y", "24", "w", "8", "h", "8"]


def test_predict_answers_a_script_in_json(serving: Andon, picture: Path) -> None:
    """`--json` is a list of answers, and each is in the log."""
    (answer,) = serving("predict", picture, "--json").json
    assert answer["detections"][0]["bbox"] == [16, 24, 8, 8]
    assert answer["prediction_id"]
    assert serving("models", "show", 1, "--json").json["total_inferences"] == 1


def test_predict_draws_boxes(serving: Andon, picture: Path, tmp_path: Path) -> None:
    """`--annotate` writes result_<name> with the boxes drawn, in the picture's size."""
    folder = tmp_path / "drawn"
    assert serving("predict", picture, "--annotate", folder).code == 0
    drawn = Image.open(folder / "result_board.png")
    assert drawn.size == (64, 64)
    assert drawn.convert("RGB").tobytes() != Image.open(picture).convert("RGB").tobytes()


def test_predict_goes_on_after_a_bad_picture(serving: Andon, picture: Path, tmp_path: Path) -> None:
    """A picture that cannot be read is reported; the others are answered; the code is 1."""
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    done = serving("predict", bad, picture)
    assert done.code == 1
    assert "Failed on bad.png: " in done.err
    assert "board.png: 1 found" in done.out


def test_predict_respects_the_threshold(serving: Andon, tmp_path: Path) -> None:
    """A gray square of score 0.5 is found below it and not above."""
    path = tmp_path / "gray.png"
    image = Image.new("RGB", (64, 64))
    image.paste((192, 192, 192), (16, 24, 24, 32))
    image.save(path)
    assert "1 found" in serving("predict", path, "--threshold", "0.3").out
    assert "nothing found" in serving("predict", path, "--threshold", "0.9").out


def test_predict_asks_a_version_that_is_not_active(
    serving: Andon, other_detector: Path, picture: Path
) -> None:
    """`--version 2` answers with version 2."""
    serving("models", "add", other_detector, "--no-activate")
    (answer,) = serving("predict", picture, "--version", 2, "--json").json
    assert answer["model_version"] == 2
    assert answer["detections"][0]["label"] == "blot"


def test_predict_without_a_model_says_what_to_do(andon: Andon, picture: Path) -> None:
    """No active version is a failure of the picture, with the reason."""
    done = andon("predict", picture)
    assert done.code == 1
    assert "Failed on board.png: " in done.err


def test_a_picture_that_is_not_there_is_a_wrong_command_line(andon: Andon) -> None:
    """The path is named."""
    done = andon("predict", "nowhere.png")
    assert done.code == 2
    assert "nowhere.png" in done.err


@pytest.fixture
def folder(tmp_path: Path, picture: Path) -> Path:
    """Pictures of several kinds, a broken one, and what is none."""
    path = tmp_path / "in"
    path.mkdir()
    image = Image.open(picture)
    for name in ("a.png", "b.JPG", "c.jpeg", "d.bmp"):
        image.save(path / name)
    (path / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    (path / "notes.txt").write_text("not for us")
    return path


def test_batch_inspects_a_folder_and_writes_a_report(
    serving: Andon, folder: Path, tmp_path: Path
) -> None:
    """Every picture is drawn; a broken one is listed and skipped; the report is JSON."""
    out = tmp_path / "out"
    done = serving("batch", folder, out)
    assert done.code == 1
    assert "Failed on broken.jpg: " in done.err
    drawn = {path.name for path in out.glob("result_*")}
    assert drawn == {"result_a.png", "result_b.JPG", "result_c.jpeg", "result_d.bmp"}
    document = json.loads((out / "report.json").read_text("utf-8"))
    assert document["failed"] == ["broken.jpg"]
    report = document["report"]
    assert (report["total_images"], report["total_detections"]) == (4, 4)
    assert report["avg_confidence"] == pytest.approx(1.0, abs=0.05)
    assert report["avg_inference_time"] > 0


def test_batch_answers_a_script_in_json(serving: Andon, folder: Path, tmp_path: Path) -> None:
    """`--json` prints what report.json holds."""
    (folder / "broken.jpg").unlink()
    done = serving("batch", folder, tmp_path / "out", "--json")
    assert done.code == 0
    assert done.json == json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))


def test_batch_of_an_empty_folder_writes_nothing(serving: Andon, tmp_path: Path) -> None:
    """There is nothing to report."""
    (tmp_path / "in").mkdir()
    done = serving("batch", tmp_path / "in", tmp_path / "out")
    assert done.code == 0
    assert done.out.startswith("There are no JPEG, PNG or BMP files")
    assert not (tmp_path / "out").exists()


def test_batch_without_a_model_is_one_error(andon: Andon, folder: Path, tmp_path: Path) -> None:
    """It fails once, not once per picture."""
    done = andon("batch", folder, tmp_path / "out")
    assert done.code == 1
    assert done.err.count("Error: ") == 1
    assert "Failed on" not in done.err


def test_compare_shows_both_versions(serving: Andon, other_detector: Path, picture: Path) -> None:
    """A row per version; JSON has the comparison and both answers."""
    serving("models", "add", other_detector, "--no-activate")
    lines = serving("compare", 1, "v2", picture).out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["v1", "1"], ["v2", "1"]]
    answer = serving("compare", 1, 2, picture, "--json").json
    assert answer["comparison"]["model_b"]["version"] == 2
    assert answer["result_a"]["detections"][0]["label"] == "spot"


def test_compare_with_a_version_that_is_not_there_is_an_error(
    serving: Andon, picture: Path
) -> None:
    """The missing version is named."""
    done = serving("compare", 1, 9, picture)
    assert done.code == 1
    assert "Version 9" in done.err


@pytest.fixture
def labelled(tmp_path: Path, picture: Path) -> Path:
    """A folder in YOLO's layout: one picture with its box."""
    path = tmp_path / "set"
    (path / "images").mkdir(parents=True)
    (path / "labels").mkdir()
    Image.open(picture).save(path / "images" / "a.png")
    (path / "labels" / "a.txt").write_text("0 0.3125 0.4375 0.125 0.125\n")
    (path / "classes.txt").write_text("spot\n")
    return path


@pytest.mark.parametrize("what", ["active", "1", "v1"])
def test_evaluate_measures_a_version(serving: Andon, labelled: Path, what: str) -> None:
    """A detector that finds the one box scores a mean average precision of 1."""
    answer = serving("evaluate", what, labelled, "--json").json
    assert answer["mean_average_precision"] == 1.0
    assert answer["format"] == "yolo"


def test_evaluate_measures_a_file(andon: Andon, detector: Path, labelled: Path) -> None:
    """A file needs no registration, and the table is for people."""
    done = andon("evaluate", detector, labelled)
    assert done.code == 0, done.err
    assert "mAP 1.000" in done.out


def test_evaluate_changes_nothing(serving: Andon, labelled: Path) -> None:
    """Nothing is logged."""
    serving("evaluate", "active", labelled)
    assert serving("models", "show", 1, "--json").json["total_inferences"] == 0


def test_evaluate_says_what_it_could_not_find(serving: Andon, labelled: Path) -> None:
    """Neither a file nor a version is an error with the choices."""
    done = serving("evaluate", "newest", labelled)
    assert done.code == 1
    assert "neither a file nor a version" in done.err


def test_evaluate_refuses_a_folder_without_boxes(serving: Andon, tmp_path: Path) -> None:
    """The layouts that are known are named."""
    (tmp_path / "set").mkdir()
    done = serving("evaluate", "active", tmp_path / "set")
    assert done.code == 1
    assert "DeepPCB" in done.err
