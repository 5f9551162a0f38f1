import pytest
from tests.serving.boards import board

from andon.errors import ModelNotLoaded, NotFound
from andon.serving.batch import batch_inference
from andon.serving.compare import ABTestingEngine, compare


@pytest.fixture
def folder(tmp_path):
    """Three boards, one of them damaged, and a file that is no picture."""
    made = tmp_path / "pictures"
    made.mkdir()
    (made / "a.jpg").write_bytes(board(8, 8, kind="JPEG"))
    (made / "b.JPG").write_bytes(board(40, 40, kind="JPEG"))
    (made / "c.jpg").write_bytes(board(kind="JPEG")[:200])
    (made / "notes.txt").write_text("no picture")
    return made


def test_a_folder_is_inspected_and_drawn(serving, folder, tmp_path):
    """Results in the order of names, a drawing each, and a report."""
    told = []
    results, report = batch_inference(
        folder, tmp_path / "out", serving.engine, progress=lambda path, answer: told.append(path)
    )
    assert [one.image_name for one in results] == ["a.jpg", "b.JPG"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "result_a.jpg",
        "result_b.JPG",
    ]
    assert report["total_images"] == 2
    assert report["failed"] == 1
    assert report["total_detections"] == 2
    assert report["avg_confidence"] == pytest.approx(1.0, abs=0.05)
    assert report["avg_inference_time"] > 0
    assert len(told) == 3
    assert any(line.startswith("Failed on c.jpg") for line in serving.log)


def test_an_empty_folder_has_an_empty_report(serving, tmp_path):
    """Zeros, not a division by zero."""
    (tmp_path / "empty").mkdir()
    results, report = batch_inference(tmp_path / "empty", tmp_path / "out", serving.engine)
    assert results == []
    assert report["avg_confidence"] == 0.0


def test_a_missing_folder_or_model_is_said_once(line, tmp_path):
    """And not once per picture."""
    with pytest.raises(NotFound):
        batch_inference(tmp_path / "absent", tmp_path / "out", line.engine)
    with pytest.raises(ModelNotLoaded):
        batch_inference(tmp_path, tmp_path / "out", line.engine)


def test_two_versions_are_compared_on_one_picture(serving):
    """The documented shape, and both answers in full."""
    serving.deploy("second")
    found = compare(serving.engine, board(), "b.png", None, 1, 2)
    assert found["comparison"]["model_a"]["version"] == 1
    assert set(found["comparison"]["model_b"]) == {
        "version",
        "detections",
        "avg_confidence",
        "inference_time",
    }
    assert found["comparison"]["model_b"]["detections"] == 1
    assert found["result_a"].model_version == 1


def test_comparing_does_not_change_what_serves(serving):
    """Nor does a version that is not active count."""
    serving.deploy("second")
    compare(serving.engine, board(), "b.png", None, 1, 2)
    assert serving.ask().model_version == 2
    assert serving.platform.db.models.get("pcb", 1).total_inferences == 0


def test_comparing_with_a_version_that_does_not_exist_says_so(serving):
    """Not found."""
    with pytest.raises(NotFound):
        compare(serving.engine, board(), "b.png", None, 1, 9)


def test_the_documented_class_compares_files(serving, tmp_path):
    """`compare(path)` answers both results and the comparison."""
    serving.deploy("second")
    picture = tmp_path / "b.png"
    picture.write_bytes(board())
    first, second, comparison = ABTestingEngine(1, 2, engine=serving.engine).compare(picture)
    assert (first.model_version, second.model_version) == (1, 2)
    assert comparison["model_a"]["avg_confidence"] == pytest.approx(1.0)
