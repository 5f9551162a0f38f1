import io

import pytest
from PIL import Image
from tests.serving.boards import board

from andon.errors import NotFound
from andon.runtimes.images import decode
from andon.serving import annotate


def drawn(data: bytes, *found, size: int = 64):
    """A board with boxes on it."""
    detections = [{"label": label, "confidence": 0.9, "bbox": bbox} for label, bbox in found]
    return annotate.draw(decode(data, max_pixels=1 << 30), detections)


def test_a_box_is_drawn_around_what_was_found():
    """The line lies outside the box, so that what is in it stays visible."""
    data = board(160, 240, size=640)
    image = drawn(data, ("open", [160, 240, 80, 80]))
    plain = Image.open(io.BytesIO(data)).convert("RGB")
    inside = (160, 240, 240, 320)
    assert image.crop(inside).tobytes() == plain.crop(inside).tobytes()
    assert image.getpixel((200, 239)) == (16, 16, 16)
    assert image.getpixel((200, 237)) == annotate.colour("open")


def test_a_label_keeps_its_colour_and_others_differ():
    """The six classic defects can be told apart."""
    labels = ["open", "short", "mousebite", "spur", "copper", "pin-hole"]
    assert annotate.colour("open") == annotate.colour("open")
    assert len({annotate.colour(label) for label in labels}) == 6


@pytest.mark.parametrize("bbox", [[0, 0, 64, 64], [60, 0, 4, 4], [0, 60, 4, 4], [0, 0, 1, 1]])
def test_boxes_at_the_edge_do_no_harm(bbox):
    """The picture keeps its size."""
    assert drawn(board(), ("a very long label indeed", bbox)).size == (64, 64)


def test_a_gray_picture_is_drawn_in_colour():
    """Boxes have colours whatever the picture has."""
    out = io.BytesIO()
    Image.new("L", (64, 64), 255).save(out, "PNG")
    assert drawn(out.getvalue(), ("open", [8, 8, 8, 8])).mode == "RGB"


@pytest.mark.parametrize(("kind", "suffix"), [("JPEG", ".jpg"), ("PNG", ".png"), ("BMP", ".png")])
def test_the_annotated_picture_is_made_once_and_cached(serving, tmp_path, kind, suffix):
    """From the kept picture and the log, as a JPEG or PNG."""
    answer = serving.ask(board(kind=kind))
    row = serving.platform.db.predictions.get(answer.prediction_id)
    path = annotate.annotated(row, serving.platform.pictures, tmp_path / "out")
    assert path.name == f"{answer.prediction_id}{suffix}"
    made = path.stat().st_mtime_ns
    again = annotate.annotated(row, serving.platform.pictures, tmp_path / "out")
    assert again.stat().st_mtime_ns == made
    assert [one.name for one in (tmp_path / "out").iterdir()] == [path.name]


def test_without_the_picture_there_is_nothing_to_draw(serving, tmp_path):
    """Not found, with the reason."""
    row = serving.platform.db.predictions.get(serving.ask(keep=False).prediction_id)
    with pytest.raises(NotFound, match="not kept"):
        annotate.annotated(row, serving.platform.pictures, tmp_path)


def test_a_picture_damaged_on_disk_is_told(serving, tmp_path):
    """No crash, no half picture."""
    row = serving.platform.db.predictions.get(serving.ask().prediction_id)
    serving.platform.pictures.get(row.image_hash, "PNG").write_bytes(b"rust")
    with pytest.raises(NotFound, match="cannot be read"):
        annotate.annotated(row, serving.platform.pictures, tmp_path)
