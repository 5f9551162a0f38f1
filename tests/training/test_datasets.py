"""Folders with boxes: the three layouts, and what is said about broken ones."""

import json
from pathlib import Path

import pytest
from PIL import Image

from andon.training.datasets import DatasetError, TruthBox, load_boxes

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "deeppcb"


def picture(path: Path, size: tuple[int, int] = (200, 100)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, 255).save(path)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def deeppcb(root: Path, rows: str) -> Path:
    picture(root / "group1" / "00001" / "a_test.jpg")
    picture(root / "group1" / "00001" / "a_temp.jpg")
    write(root / "group1" / "00001_not" / "a.txt", rows)
    return root


def yolo(root: Path, rows: str, names: str = "names: [open, short]\n") -> Path:
    picture(root / "images" / "a.png")
    picture(root / "images" / "good.png")
    write(root / "labels" / "a.txt", rows)
    write(root / "data.yaml", names)
    return root


def coco(root: Path, **changes: object) -> Path:
    picture(root / "images" / "a.png")
    content = {
        "images": [{"id": 7, "file_name": "a.png"}],
        "categories": [{"id": 3, "name": "short"}, {"id": 1, "name": "open"}],
        "annotations": [{"image_id": 7, "category_id": 3, "bbox": [10, 20, 30, 40]}],
    }
    write(root / "annotations.json", json.dumps(content | changes))
    return root


@pytest.mark.parametrize("row", ["10 20 40 60 2", "10,20,40,60,2", "10, 20, 40, 60, 2\n\n"])
def test_deeppcb_is_read_with_spaces_and_with_commas(tmp_path: Path, row: str) -> None:
    """The authors' files have spaces, their description says commas."""
    dataset = load_boxes(deeppcb(tmp_path, row))
    assert dataset.format == "deeppcb"
    assert [image.path.name for image in dataset.images] == ["a_test.jpg"]
    assert dataset.images[0].boxes == (TruthBox("short", 10, 20, 30, 40),)
    assert dataset.images[0].group == "group1"


def test_deeppcb_follows_its_index(tmp_path: Path) -> None:
    """With an index.csv only what it lists is read."""
    deeppcb(tmp_path, "10 20 40 60 6")
    write(
        tmp_path / "index.csv",
        "image,template,annotation,group\n"
        "group1/00001/a_test.jpg,group1/00001/a_temp.jpg,group1/00001_not/a.txt,board-1\n",
    )
    dataset = load_boxes(tmp_path)
    assert dataset.images[0].group == "board-1"
    assert dataset.images[0].boxes[0].label == "pin-hole"


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("10 20 40 60", "expected x1 y1 x2 y2 type"),
        ("10 20 40 sixty 2", "expected numbers"),
        ("10 20 40 60 7", "type must be 1 to 6"),
        ("10 20 nan 60 2", "not finite"),
        ("40 20 10 60 2", "no area"),
    ],
)
def test_a_malformed_deeppcb_row_is_named(tmp_path: Path, row: str, complaint: str) -> None:
    """The message leads to the file and the line."""
    with pytest.raises(DatasetError, match=r"a\.txt, line 2") as caught:
        load_boxes(deeppcb(tmp_path, f"1 1 5 5 1\n{row}\n"))
    assert complaint in str(caught.value)


def test_an_index_must_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    """A data set from elsewhere must not make Andon read other files."""
    deeppcb(tmp_path / "set", "10 20 40 60 6")
    write(tmp_path / "secret.txt", "1 1 5 5 1")
    write(
        tmp_path / "set" / "index.csv",
        "image,annotation\ngroup1/00001/a_test.jpg,../secret.txt\n",
    )
    with pytest.raises(DatasetError, match=r"index\.csv, line 2.*leads out of the folder"):
        load_boxes(tmp_path / "set")


def test_an_index_without_its_columns_is_refused(tmp_path: Path) -> None:
    """The message says which column is missing."""
    deeppcb(tmp_path, "10 20 40 60 6")
    write(tmp_path / "index.csv", "image,labels\n")
    with pytest.raises(DatasetError, match="no column annotation"):
        load_boxes(tmp_path)


def test_yolo_boxes_become_pixels(tmp_path: Path) -> None:
    """Centres and sizes relative to the image become corners and sizes in pixels."""
    dataset = load_boxes(yolo(tmp_path, "1 0.5 0.5 0.1 0.4\n"))
    assert dataset.format == "yolo"
    assert dataset.images[0].boxes == (TruthBox("short", 90, 30, 20, 40),)


def test_an_image_without_a_yolo_label_file_is_good(tmp_path: Path) -> None:
    """YOLO writes no file for an image without boxes."""
    dataset = load_boxes(yolo(tmp_path, "1 0.5 0.5 0.1 0.4\n"))
    assert dataset.images[1].path.name == "good.png"
    assert dataset.images[1].boxes == ()


@pytest.mark.parametrize(
    "names",
    [
        "nc: 2\nnames: [open, short]  # two\n",
        "names: ['open', \"short\"]\n",
        "names: {0: open, 1: short}\n",
        "names:\n  - open\n  - short\nnc: 2\n",
        "path: .\nnames:\n  0: open\n  1: 'short'\n",
    ],
)
def test_names_are_read_from_every_usual_form_of_data_yaml(tmp_path: Path, names: str) -> None:
    """A list or a mapping, on one line or over several."""
    assert load_boxes(yolo(tmp_path, "0 0.5 0.5 0.1 0.4\n", names)).classes == ("open", "short")


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ("nc: 2\n", "no line 'names:'"),
        ("names:\n  0: open\n  2: short\n", "without a gap"),
        ("names: open\n", "list or a mapping"),
    ],
)
def test_unusable_names_are_refused(tmp_path: Path, names: str, complaint: str) -> None:
    """Guessing would give boxes the wrong class."""
    with pytest.raises(DatasetError, match=complaint):
        load_boxes(yolo(tmp_path, "0 0.5 0.5 0.1 0.4\n", names))


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("0 0.5 0.5 0.1", "expected class cx cy width height"),
        ("0.5 0.5 0.5 0.1 0.1", "whole number"),
        ("0 50 50 10 10", "relative to the image"),
        ("0 0.5 0.5 0 0.1", "relative to the image"),
    ],
)
def test_a_malformed_yolo_row_is_named(tmp_path: Path, row: str, complaint: str) -> None:
    """The message leads to the file and the line."""
    with pytest.raises(DatasetError, match=r"a\.txt, line 1") as caught:
        load_boxes(yolo(tmp_path, row))
    assert complaint in str(caught.value)


def test_a_yolo_class_without_a_name_is_refused(tmp_path: Path) -> None:
    """It would have no class to be compared with."""
    with pytest.raises(DatasetError, match="class 2 has no name"):
        load_boxes(yolo(tmp_path, "2 0.5 0.5 0.1 0.1"))


def test_coco_is_read(tmp_path: Path) -> None:
    """Boxes stay as they are; ids are resolved to names."""
    dataset = load_boxes(coco(tmp_path))
    assert dataset.format == "coco"
    assert dataset.classes == ("open", "short")
    assert dataset.images[0].boxes == (TruthBox("short", 10, 20, 30, 40),)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"annotations": [{"image_id": 8, "category_id": 3, "bbox": [1, 1, 1, 1]}]}, "id 8"),
        ({"annotations": [{"image_id": 7, "category_id": 9, "bbox": [1, 1, 1, 1]}]}, "id 9"),
        ({"annotations": [{"image_id": 7, "category_id": 3, "bbox": [1, 1]}]}, "bbox must be"),
        ({"annotations": [{"image_id": 7, "category_id": 3, "bbox": [1, 1, 0, 1]}]}, "no area"),
        ({"annotations": [{"image_id": "7", "category_id": 3}]}, "image_id must be a whole"),
        ({"images": [{"id": 7, "file_name": ""}]}, "file_name must be a text"),
        ({"images": [{"id": 7, "file_name": "../a.png"}]}, "leads out of the folder"),
        ({"images": [{"id": 7, "file_name": "b.png"}]}, "there is no file"),
        ({"images": ["a.png"]}, "list of objects"),
    ],
)
def test_a_malformed_coco_entry_is_named(
    tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    """The message names the file and the entry."""
    with pytest.raises(DatasetError, match=r"annotations\.json") as caught:
        load_boxes(coco(tmp_path, **changes))
    assert complaint in str(caught.value)


def test_a_folder_of_no_known_layout_is_refused(tmp_path: Path) -> None:
    """The message lists what would have been understood."""
    with pytest.raises(DatasetError, match="neither DeepPCB"):
        load_boxes(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """Named as given."""
    with pytest.raises(DatasetError, match="nowhere is not a folder"):
        load_boxes(tmp_path / "nowhere")


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    """The message lists the known ones."""
    with pytest.raises(DatasetError, match="deeppcb, yolo, coco"):
        load_boxes(tmp_path, "voc")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the DeepPCB images are not beside the checkout")
def test_the_real_data_set_is_read_in_full() -> None:
    """582 tested images with 3971 boxes of six classes, by index and by folder alike."""
    dataset = load_boxes(SHARED)
    assert len(dataset.images) == 582
    assert sum(len(image.boxes) for image in dataset.images) == 3971
    assert all(image.path.name.endswith("_test.jpg") for image in dataset.images)
