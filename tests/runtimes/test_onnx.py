"""Running ONNX models of every head, end to end: a drawn spot must come back as its box."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tests.runtimes.contract import check_runtime, gray, picture, soon
from tests.support import onnx_models as onnx

from andon.errors import DeadlineExceeded, ModelRejected, RuntimeFailed
from andon.runtimes.base import ModelOptions, Resize, RuntimeConfig, Task
from andon.runtimes.onnx import OnnxRuntime
from andon.runtimes.onnx_sessions import Sessions

COLOURS = ("red", "green")
GREEN = (0, 255, 0)

DETECTORS = {
    "yolov8": (onnx.yolov8_spot, {}, "yolov8"),
    "yolov8 with logits": (onnx.yolov8_spot, {"logits": True}, "yolov8"),
    "yolov8 transposed": (onnx.yolov8_spot, {"transposed": True}, "yolov8"),
    "yolov8 in shares": (onnx.yolov8_spot, {"unit": True}, "yolov8"),
    "yolov8, channels last": (onnx.yolov8_spot, {"layout": "nhwc"}, "yolov8"),
    "yolov8 in float16": (onnx.yolov8_spot, {"dtype": "float16"}, "yolov8"),
    "yolov8 of bytes": (onnx.yolov8_spot, {"dtype": "uint8"}, "yolov8"),
    "yolov8, not square": (onnx.yolov8_spot, {"size": (96, 64)}, "yolov8"),
    "yolov5": (onnx.yolov5_spot, {}, "yolov5"),
    "final rows": (onnx.end2end_spot, {}, "end2end"),
    "final rows of seven": (onnx.end2end_spot, {"form": "flat"}, "end2end"),
    "final boxes apart": (onnx.end2end_spot, {"form": "apart"}, "end2end"),
    "final boxes counted": (onnx.end2end_spot, {"form": "counted"}, "end2end"),
    "rt-detr": (onnx.rtdetr_spot, {}, "rtdetr"),
    "rt-detr joined": (onnx.rtdetr_spot, {"joined": True}, "rtdetr"),
    "fomo": (onnx.fomo_spot, {}, "fomo"),
    "fomo, channels first": (onnx.fomo_spot, {"channels_first": True}, "fomo"),
    "fomo with logits": (onnx.fomo_spot, {"logits": True}, "fomo"),
}


def load(path, options=None, **config):
    """A loaded model."""
    return OnnxRuntime().load(path, options or ModelOptions(), RuntimeConfig(**config))


@pytest.fixture
def file(tmp_path):
    """Where the model goes."""
    return tmp_path / "model.onnx"


@pytest.mark.parametrize("name", DETECTORS)
def test_every_head_finds_the_spot_where_it_was_drawn(file, name):
    """Recognised from the file alone, with the labels it names, in whole pixels."""
    build, options, head = DETECTORS[name]
    build(file, labels=COLOURS, metadata=onnx.andon(COLOURS, resize="stretch"), **options)
    model = load(file)
    described = model.description
    assert (described.head, described.labels) == (head, COLOURS)
    # One cell of the model, four times enlarged.
    shown = picture(described.width * 4, described.height * 4, [(64, 96, 32, 32)], GREEN)
    (found,) = model.infer(shown, deadline=soon()).detections
    assert (found.label, found.bbox) == ("green", (64, 96, 32, 32))
    assert found.confidence > 0.95
    assert model.infer(picture(), deadline=soon()).detections == ()


@pytest.mark.parametrize("name", DETECTORS)
def test_every_head_keeps_the_contract(file, name):
    """Any picture, any size, closed twice."""
    build, options, _ = DETECTORS[name]
    build(file, labels=COLOURS, **options)
    check_runtime(load(file), "onnx")


@pytest.mark.parametrize("form", ["probabilities", "logits", "independent", "binary"])
def test_classifiers_answer_scores_by_class(file, form):
    """Whatever the last layer of the network is."""
    onnx.classifier(file, form=form, metadata=onnx.andon(("dark", "bright")))
    model = load(file)
    dark = model.infer(picture(), deadline=soon())
    bright = model.infer(picture(spots=[(0, 0, 256, 256)]), deadline=soon())
    assert model.description.task is Task.CLASSIFICATION
    assert dark.classes["dark"] > 0.85
    assert dark.classes["bright"] < 0.15
    assert bright.classes["bright"] > 0.85
    assert bright.classes["dark"] < 0.15
    assert bright.scores == (max(bright.classes.values()),)
    check_runtime(model, "onnx")


@pytest.mark.parametrize(
    ("resize", "width", "height", "spot"),
    [
        (Resize.STRETCH, 512, 128, (256, 32, 64, 16)),
        (Resize.LETTERBOX, 512, 256, (128, 64, 64, 64)),
        (Resize.LETTERBOX, 128, 256, (32, 64, 32, 32)),
        (Resize.CROP, 512, 256, (160, 64, 32, 32)),
        (Resize.CROP, 64, 128, (16, 40, 16, 16)),
    ],
)
def test_boxes_come_back_through_every_resize_mode(file, resize, width, height, spot):
    """In pixels of the picture, exactly, where the spot covers whole cells."""
    onnx.yolov8_spot(file, labels=("spot",), channels=1, metadata=onnx.andon(resize=resize.value))
    found = load(file).infer(picture(width, height, [spot]), deadline=soon()).detections
    assert found
    left = min(box.bbox[0] for box in found)
    top = min(box.bbox[1] for box in found)
    right = max(box.bbox[0] + box.bbox[2] for box in found)
    bottom = max(box.bbox[1] + box.bbox[3] for box in found)
    assert (left, top, right - left, bottom - top) == spot


def test_ultralytics_metadata_is_understood(file):
    """Labels, letterboxing and the name come from the export; nothing is left to guess."""
    onnx.yolov8_spot(file, labels=COLOURS, metadata=onnx.ultralytics(COLOURS))
    described = load(file).description
    assert described.labels == COLOURS
    assert described.resize is Resize.LETTERBOX
    assert described.name == "Ultralytics YOLO11n model trained on boards.yaml"
    assert described.warnings == ()


def test_andons_own_metadata_is_understood(file):
    """Name, threshold and resize mode travel inside the file."""
    metadata = onnx.andon(resize="crop", threshold="0.35", name="Bare boards", scale="unit")
    onnx.yolov8_spot(file, metadata=metadata)
    described = load(file).description
    assert (described.name, described.threshold) == ("Bare boards", 0.35)
    assert described.resize is Resize.CROP
    assert any("blind area" in warning for warning in described.warnings)


def test_options_win_over_the_file(file):
    """What a person says counts."""
    onnx.yolov8_spot(file, labels=COLOURS, metadata=onnx.ultralytics(COLOURS))
    options = ModelOptions(labels=("rot", "grün"), resize=Resize.STRETCH, threshold=0.2)
    described = load(file, options).description
    assert (described.labels, described.threshold) == (("rot", "grün"), 0.2)
    assert described.resize is Resize.STRETCH


def test_a_file_that_says_nothing_gets_warnings_and_invented_labels(file):
    """A guess is never silent."""
    onnx.yolov8_spot(file, labels=COLOURS)
    described = load(file).description
    assert described.labels == ("class_0", "class_1")
    assert any("'scale'" in warning for warning in described.warnings)
    assert any("'labels'" in warning for warning in described.warnings)


def test_a_segmentation_model_serves_its_boxes(file):
    """Masks are ignored, and the description says so."""
    metadata = onnx.ultralytics(COLOURS, task="segment")
    onnx.yolov8_spot(file, labels=COLOURS, masks=True, metadata=metadata)
    model = load(file)
    found = model.infer(picture(spots=[(64, 64, 32, 32)], colour=GREEN), deadline=soon())
    assert [box.label for box in found.detections] == ["green"]
    assert any("masks" in warning for warning in model.description.warnings)


def test_an_open_input_size_is_taken_from_the_metadata_or_the_options(file):
    """Or assumed to be 640, with a warning."""
    onnx.yolov8_spot(file, dynamic=True, metadata=onnx.ultralytics(size=64))
    assert load(file).description.width == 64
    onnx.yolov8_spot(file, dynamic=True)
    assert load(file, ModelOptions(width=64, height=64)).description.height == 64
    onnx.classifier(file, size=640, dynamic=True)
    described = load(file).description
    assert (described.width, described.height) == (640, 640)
    assert any("640" in warning for warning in described.warnings)


def test_touching_cells_of_a_heat_map_become_one_box(file):
    """Corners touch too; other classes and gaps stay apart."""
    onnx.fomo_spot(file, labels=COLOURS, metadata=onnx.andon(COLOURS, resize="stretch"))
    shown = picture(64, 64, [(8, 8, 8, 8), (16, 16, 8, 16)], GREEN)
    shown.pixels[8:16, 16:24] = (255, 0, 0)
    shown.pixels[48:56, 48:56] = GREEN
    found = load(file).infer(shown, deadline=soon()).detections
    assert sorted((box.label, box.bbox) for box in found) == [
        ("green", (8, 8, 16, 24)),
        ("green", (48, 48, 8, 8)),
        ("red", (16, 8, 8, 8)),
    ]


def test_a_gray_picture_and_its_colour_twin_get_the_same_answer(file):
    """By models of one channel and of three."""
    for channels in (1, 3):
        onnx.yolov8_spot(file, channels=channels)
        model = load(file)
        shown = picture(128, 96, [(32, 32, 32, 32)], (200, 200, 200))
        colour = model.infer(shown, deadline=soon())
        plain = model.infer(gray(shown), deadline=soon())
        assert [box.bbox for box in colour.detections] == [box.bbox for box in plain.detections]
        assert colour.scores == pytest.approx(plain.scores, abs=0.02)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    ("scale", "dark", "bright"),
    [("unit", 0, 1), ("byte", 0, 255), ("signed", -1, 1), ("imagenet", -1.986, 2.439)],
)
def test_pixels_are_scaled_as_the_option_says(file, layout, dtype, scale, dark, bright):
    """The network's mean brightness is what the scale makes of black and of white."""
    net = onnx.Net(size=16, layout=layout, dtype=dtype)
    mean = net.add("Reshape", net.add("ReduceMean", net.image, keepdims=0), net.ints(1, 1))
    # Kept small, so that it counts as a probability whatever the scale.
    net.save(file, {"out": net.add("Add", net.add("Mul", mean, net.f(1e-3)), net.f(0.5))})
    model = load(file, ModelOptions(scale=scale))
    for shown, expected in ((picture(), dark), (picture(spots=[(0, 0, 256, 256)]), bright)):
        answer = model.infer(shown, deadline=soon()).classes["class_1"]
        assert (answer - 0.5) * 1e3 == pytest.approx(expected, abs=0.02 * max(1, abs(expected)))


def test_letterboxing_after_another_aspect_leaves_nothing_of_it(file):
    """Input memory is used again; old pixels must not shine through the padding."""
    onnx.yolov8_spot(file, channels=1, metadata=onnx.andon(resize="letterbox"))
    model = load(file)
    wide, tall = picture(256, 64), picture(64, 256, [(0, 0, 64, 256)])
    assert model.infer(tall, deadline=soon()).detections
    assert model.infer(wide, deadline=soon()).detections == ()


def test_the_score_floor_cuts(file):
    """Below it nothing leaves; at it everything does."""
    onnx.yolov8_spot(file, channels=1)
    shown = picture(64, 64, [(8, 8, 8, 8)], (180, 180, 180))
    (found,) = load(file, score_floor=0.3).infer(shown, deadline=soon()).detections
    assert found.confidence == pytest.approx(2 * 180 / 255 - 1, abs=1e-3)
    assert load(file, score_floor=0.5).infer(shown, deadline=soon()).detections == ()


def test_many_threads_get_their_own_answers(file):
    """Shared sessions, separate input memory."""
    onnx.yolov8_spot(file, channels=1)
    model = load(file, workers=4)
    wrong: list[object] = []

    def work(cell: int) -> None:
        shown = picture(64, 64, [(cell * 8, cell * 8, 8, 8)])
        for _ in range(40):
            found = model.infer(shown, deadline=soon()).detections
            if [box.bbox for box in found] != [(cell * 8, cell * 8, 8, 8)]:
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(cell,)) for cell in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_run_that_passes_its_deadline_is_stopped(file):
    """The caller is answered, and the next call works."""
    onnx.yolov8_spot(file, white_loops=10_000_000)
    model = load(file)
    white = picture(spots=[(0, 0, 256, 256)])
    # Uninterrupted it would take minutes.
    with pytest.raises(DeadlineExceeded):
        model.infer(white, deadline=soon(0.1))
    with pytest.raises(DeadlineExceeded):
        model.infer(picture(), deadline=soon(-1))
    assert model.infer(picture(), deadline=soon()).detections == ()


def test_a_model_that_answers_nan_fails_the_request_and_not_the_next(file):
    """No confident nonsense."""
    onnx.yolov8_spot(file, nan=True)
    model = load(file)
    with pytest.raises(RuntimeFailed, match="NaN"):
        model.infer(picture(spots=[(0, 0, 256, 256)]), deadline=soon())
    assert model.infer(picture(), deadline=soon()).detections == ()


def test_raw_feature_maps_are_refused_with_their_shapes(file):
    """And with the option that could help."""
    with pytest.raises(ModelRejected, match=r"255, 8, 8.*'head'"):
        load(onnx.raw_maps(file))


def test_options_that_contradict_the_file_are_refused(file):
    """Each by name."""
    onnx.yolov8_spot(file)
    for options, name in (
        (ModelOptions(width=32), "width"),
        (ModelOptions(head="nonsense"), "nonsense"),
        (ModelOptions(head="classification"), "classification"),
        (ModelOptions(scale="loud"), "loud"),
        (ModelOptions(layout="hwcn"), "hwcn"),
        (ModelOptions(task=Task.CLASSIFICATION), "task"),
    ):
        with pytest.raises(ModelRejected, match=name):
            load(file, options)


def test_inputs_that_are_no_picture_are_refused(file):
    """Batches, and channels nobody photographs."""
    net = onnx.Net(size=16)
    net.inputs[0].type.tensor_type.shape.dim[0].dim_value = 8
    mean = net.add("ReduceMean", net.image, keepdims=0)
    with pytest.raises(ModelRejected, match="batches of 8"):
        load(net.save(file, {"out": mean}))
    five = onnx.Net(size=16, channels=5)
    mean = five.add("ReduceMean", five.image, keepdims=0)
    with pytest.raises(ModelRejected, match="5 channels"):
        load(five.save(file, {"out": mean}))


def test_a_model_of_an_unknown_operator_is_refused_with_the_reason(file):
    """In one sentence, without paths of this machine."""
    net = onnx.Net(size=16)
    net.save(file, {"out": net.add("NoSuchOperator", net.image)})
    with pytest.raises(ModelRejected, match="NoSuchOperator") as refused:
        load(file)
    assert str(file.parent) not in str(refused.value)


def test_labels_with_control_characters_are_shown_without_them(file):
    """They reach terminals and logs."""
    labels = ("a\x1b[31mb", "x" * 500)
    onnx.yolov8_spot(file, labels=labels, metadata=onnx.andon(labels))
    described = load(file).description
    assert described.labels[0] == "a [31mb"
    assert len(described.labels[1]) == 100


def test_equal_labels_are_told_apart(file):
    """Scores are kept by label."""
    onnx.classifier(file, metadata=onnx.andon(("crane", "crane")))
    assert load(file).description.labels == ("crane", "crane #1")


def test_hostile_metadata_is_ignored(file):
    """Deep, huge or senseless literals count as absent."""
    for names in ("[" * 50_000, "{0: ", "{'a': 1}", "9" * 150_000, "__import__('os')"):
        metadata = {"names": names, "stride": "32", "task": "detect", "imgsz": names}
        onnx.yolov8_spot(file, metadata=metadata)
        assert load(file).description.labels == ("class_0",)


def test_closing_while_requests_run_breaks_none_of_them(file):
    """A version that is replaced finishes what it has."""
    onnx.yolov8_spot(file, loops=200)
    model = load(file)
    answers: list[int] = []

    def work() -> None:
        try:
            while True:
                answers.append(len(model.infer(picture(), deadline=soon()).detections))
        except RuntimeFailed:
            return

    thread = threading.Thread(target=work)
    thread.start()
    while len(answers) < 3:
        time.sleep(0.001)
    model.close()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert set(answers) == {0}


def test_metadata_of_the_wrong_number_of_classes_warns(file):
    """Names may be wrong, and a person must look."""
    onnx.yolov8_spot(file, labels=COLOURS, metadata=onnx.andon(("only",)))
    described = load(file).description
    assert described.labels == ("only", "class_1")
    assert any("1 labels are known but" in warning for warning in described.warnings)


def test_the_answer_carries_plain_numbers(file):
    """They go into JSON and a database, not numpy's."""
    onnx.yolov8_spot(file, channels=1)
    answer = load(file).infer(picture(spots=[(64, 64, 32, 32)]), deadline=soon())
    assert type(answer.detections[0].confidence) is float
    assert not any(isinstance(side, np.generic) for side in answer.detections[0].bbox)


def test_a_crowd_gets_a_session_of_one_thread_each(tmp_path):
    """Once as many pictures are in flight as cores, a second session shares the work."""
    path = tmp_path / "spot.onnx"
    onnx.yolov8_spot(path)
    sessions = Sessions(path, RuntimeConfig(workers=2, threads=2))
    # Its version gets registered: the file moves away under it.
    path.rename(tmp_path / "elsewhere.onnx")
    deadline = time.monotonic() + 10
    with sessions.hold() as first:
        assert first is sessions.wide
        while time.monotonic() < deadline:
            with sessions.hold() as second:
                pass
            if second is not sessions.wide:
                break
        assert second.get_session_options().intra_op_num_threads == 1
    with sessions.hold() as alone:
        assert alone is sessions.wide
    sessions.close()


def test_one_worker_never_opens_a_second_session(tmp_path):
    """A model that runs one picture at a time has no crowd to serve."""
    path = tmp_path / "spot.onnx"
    onnx.yolov8_spot(path)
    sessions = Sessions(path, RuntimeConfig(workers=1, threads=2))
    before = threading.active_count()
    with sessions.hold(), sessions.hold() as second:
        assert second is sessions.wide
        assert threading.active_count() == before
    sessions.close()


def test_a_model_that_is_not_understood_leaves_no_file_open(tmp_path):
    """A refused model does not cost a file descriptor."""
    path = tmp_path / "maps.onnx"
    onnx.raw_maps(path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(ModelRejected):
        OnnxRuntime().load(path, ModelOptions(), RuntimeConfig())
    assert len(list(Path("/proc/self/fd").iterdir())) == before
