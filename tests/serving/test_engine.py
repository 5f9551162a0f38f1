import asyncio
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.serving.boards import board, spot_model, until

from andon import Database, InferenceEngine, ModelRegistry
from andon.errors import (
    DeadlineExceeded,
    InvalidRequest,
    ModelNotLoaded,
    NotFound,
    Saturated,
    TooLarge,
    UnusableUpload,
)


def test_it_answers_with_boxes_in_pixels_of_the_picture(serving):
    """A spot is found where it is, at the picture's own scale."""
    answer = serving.ask_async(board(32, 48, size=128))
    assert [found.label for found in answer.detections] == ["spot"]
    assert (answer.image_width, answer.image_height) == (128, 128)
    assert answer.model_version == 1


def test_an_answer_is_in_the_log_when_it_is_given(serving):
    """The row says what the answer says."""
    answer = serving.ask_async(board(), subject="board 7", request_id="r-1")
    row = serving.platform.db.predictions.get(answer.prediction_id)
    assert (row.subject, row.request_id, row.status, row.role) == (
        "board 7",
        "r-1",
        "success",
        "active",
    )
    assert row.detections == [{"label": "spot", "confidence": 1.0, "bbox": [16, 24, 8, 8]}]
    assert row.confidence_scores == answer.confidence_scores
    assert row.timestamp == answer.timestamp


def test_its_totals_count_every_answer(serving):
    """A version's running totals follow its log."""
    for _ in range(3):
        serving.ask()
    version = serving.platform.db.models.get("pcb", 1)
    assert (version.total_inferences, version.total_detections) == (3, 3)


def test_the_picture_is_kept_for_the_annotated_view(serving):
    """What was received is what is kept."""
    data = board()
    row = serving.platform.db.predictions.get(serving.ask(data).prediction_id)
    assert serving.platform.pictures.get(row.image_hash, "PNG").read_bytes() == data


def test_a_picture_is_not_kept_when_nobody_wants_it(serving):
    """`keep=False` leaves no file."""
    row = serving.platform.db.predictions.get(serving.ask(keep=False).prediction_id)
    assert serving.platform.pictures.get(row.image_hash, "PNG") is None


def test_a_picture_that_cannot_be_kept_costs_no_answer(serving, monkeypatch):
    """Whatever goes wrong with it: the row is written, and the answer comes."""

    def broken(*_args, **_options):
        raise MemoryError

    monkeypatch.setattr(serving.platform.pictures, "put", broken)
    answer = serving.ask()
    assert serving.platform.db.predictions.get(answer.prediction_id).status == "success"


def test_identical_pictures_are_answered_from_memory(serving):
    """The second answer is marked as cached and says the same."""
    first, second = serving.ask(), serving.ask()
    assert (first.cached, second.cached) == (False, True)
    assert first.detections == second.detections
    assert first.prediction_id != second.prediction_id


def test_one_memory_serves_every_threshold(serving):
    """Another threshold needs no second inference."""
    serving.ask(threshold=0.1)
    high = serving.ask(threshold=1.0)
    assert high.cached
    assert len(high.detections) == 1


def test_another_version_does_not_answer_from_the_memory_of_the_first(serving):
    """The cache's key holds the version."""
    serving.ask()
    serving.deploy("second")
    assert not serving.ask().cached


def test_the_threshold_decides_what_is_answered(line):
    """Detections below it are left out, and it is told."""
    line.deploy("faint", options={"threshold": 0.9})
    assert line.ask().threshold == 0.9
    assert line.ask(threshold=0.25).threshold == 0.25


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan"), float("inf")])
def test_a_threshold_that_is_no_share_is_refused(serving, threshold):
    """Nothing runs for it."""
    with pytest.raises(InvalidRequest):
        serving.ask(threshold=threshold)
    assert serving.engine.slot().in_flight == 0


@pytest.mark.parametrize("data", [b"", b"no picture", board()[:100]])
def test_what_is_no_picture_is_refused_and_logged(serving, data):
    """The caller is told, and the log has an error row."""
    with pytest.raises(UnusableUpload):
        serving.ask_async(data)
    serving.platform.db.writer.flush()
    rows, _ = serving.platform.db.predictions.page(status="error")
    assert len(rows) == 1
    assert rows[0].error


def test_a_picture_beyond_the_pixel_limit_is_not_decoded(line):
    """Its header is enough to refuse it."""
    line.start(max_image_pixels=1000)
    line.deploy("first")
    with pytest.raises(TooLarge):
        line.ask()


def test_without_an_active_version_it_says_so(line):
    """A known model without a version is unavailable; an unknown one is not found."""
    with pytest.raises(ModelNotLoaded, match="not properly initialized"):
        line.ask_async()
    with pytest.raises(NotFound):
        line.ask_async(model="unheard-of")
    assert "No active model found in database model=pcb" in line.log


def test_a_version_can_be_asked_by_number(serving):
    """A version that is not active answers, without counting as the active one."""
    serving.deploy("second")
    old, new = serving.ask(version=1), serving.ask(version=2)
    assert (old.model_version, new.model_version) == (1, 2)
    assert serving.platform.db.predictions.get(old.prediction_id).role == "compare"
    assert serving.platform.db.models.get("pcb", 1).total_inferences == 0
    with pytest.raises(NotFound):
        serving.ask(version=3)


def test_guests_give_their_memory_back(serving, monkeypatch):
    """At most two versions stay loaded beside the active one, and not for ever."""
    for name in ("second", "third", "fourth"):
        serving.deploy(name)
    for version in (1, 2, 3):
        serving.ask(version=version)
    assert len(serving.engine.fleet._guests) == 2
    monkeypatch.setattr("andon.serving.fleet.GUEST_IDLE", -1.0)
    serving.engine.refresh()
    assert not serving.engine.fleet._guests


def test_models_serve_beside_each_other(serving):
    """Another model's versions have their own numbers."""
    serving.deploy(serving.file("other", labels=("dot",)), model="solder")
    assert serving.ask(model="solder").detections[0].label == "dot"
    assert serving.ask().detections[0].label == "spot"
    assert set(serving.engine.states()) == {"pcb", "solder"}


class Slow:
    """A loaded model that takes its time, between the engine and a real one."""

    def __init__(self, inner, seconds: float) -> None:
        self.inner = inner
        self.seconds = seconds
        self.description = inner.description
        self.capacity = 1
        self.closed = False
        self.used_after_close = False

    def infer(self, picture, *, deadline):
        """The inner model's answer, later."""
        time.sleep(self.seconds)
        self.used_after_close |= self.closed
        return self.inner.infer(picture, deadline=deadline)

    def close(self):
        """Remember it."""
        self.closed = True
        self.inner.close()


def slow_down(line, seconds: float) -> Slow:
    """Let the active version take its time."""
    version = line.platform.db.models.active("pcb")
    slow = Slow(line.engine.fleet.load(version), seconds)
    line.engine.swap(version, slow)
    return slow


def test_too_many_waiting_pictures_are_turned_away(line):
    """Beyond the queue's size the answer is Saturated, with a time to come back."""
    line.start(queue_size=4)
    line.deploy("first")
    slow_down(line, 0.2)

    async def crowd():
        asked = (line.engine.answer(board(seed=n), image_name="b.png") for n in range(12))
        return await asyncio.gather(*asked, return_exceptions=True)

    answers = asyncio.run(crowd())
    turned_away = [one for one in answers if isinstance(one, Saturated)]
    assert len(turned_away) == 8
    assert turned_away[0].headers()["Retry-After"]
    assert line.engine.queue_size() == 0


@pytest.mark.slow
def test_two_hundred_at_once_are_all_answered(line):
    """Nobody is lost and nobody hangs; every answer is in the log."""
    line.deploy("first")

    async def crowd():
        asked = (line.engine.answer(board(seed=n), image_name=f"{n}.png") for n in range(200))
        return await asyncio.gather(*asked)

    answers = asyncio.run(asyncio.wait_for(crowd(), 60))
    assert len({one.prediction_id for one in answers}) == 200
    assert all(one.detections for one in answers)
    assert line.platform.db.models.get("pcb", 1).total_inferences == 200


def test_a_picture_that_waited_too_long_is_not_run(line):
    """Its caller gets DeadlineExceeded in time; the model never sees it."""
    line.start(request_timeout=0.3)
    line.deploy("first")
    slow = slow_down(line, 0.25)

    async def queue():
        asked = [line.engine.answer(board(seed=n), image_name="b.png") for n in range(8)]
        return await asyncio.gather(*asked, return_exceptions=True)

    started = time.monotonic()
    answers = asyncio.run(queue())
    assert time.monotonic() - started < 2
    late = [one for one in answers if isinstance(one, DeadlineExceeded)]
    assert len(late) >= 5
    until(lambda: line.engine.slot().in_flight == 0)
    assert not slow.closed


def test_a_caller_that_goes_away_leaves_nothing_behind(serving):
    """A cancelled request frees its place and its slot."""
    slow_down(serving, 0.2)

    async def leave():
        asked = [
            asyncio.create_task(serving.engine.answer(board(seed=n), image_name="b.png"))
            for n in range(6)
        ]
        await asyncio.sleep(0.05)
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    asyncio.run(leave())
    until(lambda: serving.engine.slot().in_flight == 0)
    assert serving.engine.queue_size() == 0
    assert serving.ask_async().detections


def test_a_caller_that_goes_away_while_a_version_loads_holds_nothing(serving):
    """The guest is let go when it is loaded, so that it can be closed later."""
    serving.deploy("second")
    load = serving.engine.fleet.load

    def load_slowly(version):
        time.sleep(0.2)
        return load(version)

    serving.engine.fleet.load = load_slowly

    async def leave():
        asked = asyncio.create_task(serving.engine.answer(board(), image_name="b.png", version=1))
        await asyncio.sleep(0.05)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        await asyncio.sleep(0.4)

    asyncio.run(leave())
    (guest,) = serving.engine.fleet._guests.values()
    assert guest.in_flight == 0
    assert serving.engine.queue_size() == 0


@pytest.mark.slow
def test_twenty_switches_under_load_fail_no_request(serving):
    """Requests in flight finish on the version they began on, which is closed only then."""
    serving.deploy("second")
    loaded: list[Slow] = []
    load = serving.engine.fleet.load

    def load_slowly(version):
        loaded.append(Slow(load(version), 0.002))
        return loaded[-1]

    serving.engine.fleet.load = load_slowly
    stop = threading.Event()
    failures: list[BaseException] = []
    versions: list[int] = []

    async def client(number: int) -> None:
        count = 0
        while not stop.is_set():
            count += 1
            try:
                answer = await serving.engine.answer(
                    board(seed=number * 500 + count), image_name="b.png"
                )
                versions.append(answer.model_version)
            except Exception as error:
                failures.append(error)

    async def clients() -> None:
        await asyncio.gather(*(client(number) for number in range(8)))

    thread = threading.Thread(target=asyncio.run, args=(clients(),))
    thread.start()
    for turn in range(20):
        serving.platform.deployments.activate("pcb", 1 + turn % 2, "switching", "test")
        time.sleep(0.02)
    stop.set()
    thread.join()
    assert failures == []
    assert set(versions) == {1, 2}
    until(lambda: all(one.closed for one in loaded[:-1]))
    assert not any(one.used_after_close for one in loaded)


def test_a_switch_waits_for_requests_on_the_old_version(serving):
    """The old version is closed after its last request and not before."""
    slow = slow_down(serving, 0.4)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(serving.ask)
        until(lambda: serving.engine.slot().in_flight == 1)
        serving.deploy("second")
        assert not slow.closed
        assert serving.ask().model_version == 2
        assert running.result().model_version == 1
    until(lambda: slow.closed)
    assert not slow.used_after_close


def test_it_works_on_a_bare_database_and_registry(tmp_path):
    """The Python interface of the documents, as their examples write it."""
    db = Database(tmp_path / "mlops.db")
    registry = ModelRegistry(db, tmp_path / "models")
    model = spot_model(tmp_path / "model.onnx")
    version = registry.register_model(model, notes="Manual registration")
    assert version == 1
    assert registry.activate_model(version)
    assert db.get_active_model().version == 1
    assert db.get_active_model().is_active

    engine = InferenceEngine(db, registry)
    assert engine.runner is None
    assert engine.model_info == {}
    assert engine.current_version is None
    assert engine.load_model(version, registry.get_model_path(version))
    assert engine.current_version == 1
    assert engine.model_info["labels"] == ["spot"]

    picture = tmp_path / "test.jpg"
    picture.write_bytes(board(kind="JPEG"))
    result = engine.predict(picture, confidence_threshold=0.5)
    assert result.model_version == 1
    assert result.image_name == "test.jpg"
    found = result.detections[0]
    assert found["label"] == "spot"
    assert found["bbox"] == [16, 24, 8, 8]
    assert result.confidence_scores == [found["confidence"]]
    assert result.inference_time > 0
    assert len(db.get_recent_inferences(1, 10)) == 1

    drawn = tmp_path / "out" / "result_test.jpg"
    assert engine.visualize_detections(picture, result, drawn) == drawn
    assert drawn.read_bytes()[:3] == b"\xff\xd8\xff"
    engine.stop()
    db.close()


def test_a_bare_engine_loads_the_active_version_when_it_is_first_asked(tmp_path):
    """Nobody has to call `load_model`."""
    db = Database(tmp_path / "mlops.db")
    registry = ModelRegistry(db, tmp_path / "models")
    registry.activate_model(registry.register_model(spot_model(tmp_path / "model.onnx")))
    engine = InferenceEngine(db, registry)
    picture = tmp_path / "test.png"
    picture.write_bytes(board())
    assert engine.predict(picture).model_version == 1
    engine.stop()
    db.close()


def test_loading_an_unknown_or_broken_version_answers_false(serving):
    """What serves goes on serving."""
    assert not serving.engine.load_model(9)
    broken = serving.home / "broken.onnx"
    broken.write_bytes(b"no model")
    assert not serving.engine.load_model(1, broken)
    assert serving.ask().model_version == 1
    assert any(line.startswith("Failed to load model v1") for line in serving.log)


def test_predicting_a_missing_file_says_so(serving, tmp_path):
    """Not found, with the path."""
    with pytest.raises(NotFound, match=r"absent\.jpg"):
        serving.engine.predict(tmp_path / "absent.jpg")


def test_the_engine_can_describe_a_file_without_serving_it(serving):
    """Describing loads and closes; nothing else changes."""
    assert serving.engine.describe(serving.file("other")).name == "other"
    assert serving.engine.states()["pcb"].version == 1


def test_importing_it_stays_light():
    """No web framework, no pandas, no torch comes along."""
    code = (
        "import sys, andon.serving.engine, andon.platform; "
        "print([m for m in ('fastapi', 'starlette', 'pandas', 'torch', 'onnx', 'alembic')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
