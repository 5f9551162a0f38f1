import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.serving.boards import board, until
from tests.serving.conftest import Line
from tests.store.conftest import migrated_schema, postgres_server, postgres_url
from tests.support.tabular_models import CARD, HEART, ROW, heart, logistic, probability

from andon.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidRequest,
    ModelRejected,
    NotFound,
    RuntimeFailed,
    Saturated,
    UnsupportedMedia,
)
from andon.logs import logging_stop
from andon.runtimes.rows import SCHEMA_KEY, Feature, RowSchema
from andon.serving.row_answers import GivenRow, RowAnswer
from andon.serving.slots import Slot

__all__ = ["migrated_schema", "postgres_server", "postgres_url"]

MODEL = "heart-disease"


class Ward(Line):
    """An installation that answers rows, and short ways to ask."""

    def heart(self, name: str = "heart", **given: Any) -> Path:
        """A model file; another variant is another content."""
        return heart(self.home.parent / f"{name}.onnx", **given)

    def row(self, row: dict[str, Any] | None = None, **given: Any) -> RowAnswer:
        """Answer a row the way the web does."""
        return asyncio.run(self.engine.answer_row(ROW if row is None else row, **given))

    def logged(self) -> list[dict[str, Any]]:
        """The rows of the log, oldest first."""
        self.platform.db.writer.flush()
        with self.platform.db.read() as connection:
            found = connection.exec_driver_sql("SELECT * FROM predictions ORDER BY id")
            return [dict(row) for row in found.mappings()]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def ward(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ward]:
    """An installation with the heart model active, on SQLite and on PostgreSQL."""
    given = {}
    if request.param == "postgres":
        given["database_url"] = request.getfixturevalue("postgres_url")
    made = Ward(tmp_path / "home", **given)
    made.start()
    made.deploy(made.heart())
    yield made
    made.stop()
    logging_stop()


def as_json(value: Any) -> Any:
    """A JSON column, which SQLite hands out as text."""
    return json.loads(value) if isinstance(value, str) else value


def test_a_row_is_answered_and_in_the_log(ward):
    """Decision 13, and the features as they were given."""
    answer = ward.row(subject="P-7", request_id="r-1")
    p = probability(54, 1, 150, 1, 0, 0)
    assert (answer.prediction, answer.label) == (1, "disease")
    assert answer.probability == pytest.approx(p, abs=1e-6)
    assert answer.probabilities == pytest.approx({"0": 1 - p, "1": p}, abs=1e-6)
    assert (answer.model, answer.model_version, answer.threshold) == (MODEL, 1, 0.4)
    (row,) = ward.logged()
    assert row["id"] == answer.prediction_id
    assert as_json(row["features"]) == ROW
    assert (row["prediction"], row["subject"], row["request_id"]) == ("1", "P-7", "r-1")
    assert (row["status"], row["role"], row["source"]) == ("success", "active", "api")
    assert row["probability"] == answer.probability
    assert as_json(row["raw_scores"]) == [*answer.probabilities.values()]
    assert as_json(row["confidence_scores"]) == [answer.probability]
    assert ward.platform.db.models.get(MODEL, 1).total_inferences == 1


def test_the_threshold_of_the_file_decides(ward):
    """Not one half, and not the setting for pictures."""
    below = ward.row({**ROW, "thalach": 160})
    assert below.probability < 0.4
    assert (below.prediction, below.label) == (0, "no disease")


def test_rows_that_arrive_together_share_an_inference(ward, monkeypatch):
    """And each gets its own answer and its own row."""
    slot = ward.engine.slot(MODEL)
    slot.quick = True
    sizes: list[int] = []
    infer = slot.tabular.infer_rows

    def counted(matrix, *, deadline):
        sizes.append(len(matrix))
        return infer(matrix, deadline=deadline)

    monkeypatch.setattr(slot.tabular, "infer_rows", counted)

    async def together() -> list[RowAnswer]:
        asked = [ward.engine.answer_row({**ROW, "age": age}) for age in range(20, 60)]
        return await asyncio.gather(*asked)

    answers = asyncio.run(together())
    assert sizes == [40]
    assert [answer.probability for answer in answers] == pytest.approx(
        [probability(age, 1, 150, 1, 0, 0) for age in range(20, 60)], abs=1e-6
    )
    assert len({answer.prediction_id for answer in answers}) == 40
    assert len(ward.logged()) == 40
    assert slot.in_flight == ward.engine.queue_size() == 0


def test_a_slow_model_runs_on_threads(ward):
    """The event loop is left alone."""
    ward.engine.slot(MODEL).quick = False
    assert ward.row().prediction == 1
    assert ward.engine.queue_size() == 0
    until(lambda: ward.engine.slot(MODEL).in_flight == 0)


def test_a_row_that_does_not_fit_is_refused_and_noted(ward):
    """The log tells that it came, without what nobody has checked."""
    with pytest.raises(InvalidRequest, match="thalach is missing"):
        ward.row({key: value for key, value in ROW.items() if key != "thalach"})
    (row,) = ward.logged()
    assert (row["status"], row["features"]) == ("error", None)
    assert "thalach" in row["error"]
    assert ward.engine.queue_size() == 0
    assert ward.engine.slot(MODEL).in_flight == 0


def test_an_answer_can_be_explained(ward):
    """What each feature changes, largest first; typical ones change nothing."""
    answer = ward.row({**ROW, "oldpeak": 4.0, "ca": None}, explain=True)
    assert answer.explanation is not None
    first = answer.explanation[0]
    assert (first.feature, first.value, first.typical) == ("oldpeak", 4.0, 0.8)
    expected = probability(54, 1, 150, 4, np.nan, 0) - probability(54, 1, 150, 0.8, np.nan, 0)
    assert first.change == pytest.approx(expected, abs=1e-5)
    by_name = {effect.feature: effect for effect in answer.explanation}
    assert by_name["ca"].value is None
    assert by_name["sex"].change == 0
    assert ward.row().explanation is None


def test_a_batch_answers_what_it_can(ward):
    """One bad row never sinks the others, and each has its own place in the log."""
    rows = [GivenRow({**ROW, "age": age}, subject=f"P-{age}") for age in (30, 300, 50)]
    found = ward.engine.answer_rows_sync(rows)
    assert isinstance(found[0], RowAnswer)
    assert found[1] == [
        {"field": "age", "detail": "must be a whole number from 18 to 110 years, not 300"}
    ]
    assert isinstance(found[2], RowAnswer)
    logged = ward.logged()
    assert [row["subject"] for row in logged] == ["P-30", "P-50"]
    assert [row["id"] for row in logged] == [found[0].prediction_id, found[2].prediction_id]
    assert asyncio.run(ward.engine.answer_rows(rows[:1]))[0].probability == found[0].probability
    assert ward.platform.db.models.get(MODEL, 1).total_inferences == 3


def test_a_batch_of_bad_rows_ends_at_its_deadline(ward, monkeypatch):
    """Saying what is wrong with a row can take longer than answering it."""
    given = [GivenRow({"wrong": 1})] * 3
    assert all(isinstance(one, list) for one in ward.engine.answer_rows_sync(given))
    slot = ward.engine.fleet.hold(ward.engine.settings.default_tabular_model, None)
    try:
        with pytest.raises(DeadlineExceeded):
            ward.engine._work_chunk(slot, given, "active", "python", time.monotonic())
    finally:
        slot.release()


def test_a_row_that_breaks_the_model_does_not_sink_the_others(ward):
    """NaN out of the network is an error of that row alone."""
    schema = RowSchema((Feature("x", "number"),), "y", (0, 1), positive=1)
    metadata = {SCHEMA_KEY: msgspec.json.encode(schema).decode()}
    # The square root of what is below zero is no number.
    file = logistic(ward.home.parent / "fragile.onnx", weights=[[1e38]], metadata=metadata)
    ward.deploy(file, model="fragile")
    rows = [GivenRow({"x": 3e38 * sign}) for sign in (1.0, -1.0)] + [GivenRow({"x": 0.0})]
    found = ward.engine.answer_rows_sync(rows, model="fragile")
    assert isinstance(found[2], RowAnswer)
    slot = ward.engine.slot("fragile")
    infer = slot.tabular.infer_rows

    def poisoned(matrix, *, deadline):
        if (matrix > 1).any():
            raise RuntimeFailed("poison")
        return infer(matrix, deadline=deadline)

    slot.tabular.infer_rows = poisoned
    found = ward.engine.answer_rows_sync(
        [GivenRow({"x": float(value)}) for value in (0, 1, 2, 1, 0)], model="fragile"
    )
    assert [isinstance(one, RowAnswer) for one in found] == [True, True, False, True, True]

    async def together() -> list[Any]:
        asked = [ward.engine.answer_row({"x": x}, model="fragile") for x in (0, 2, 1)]
        return await asyncio.gather(*asked, return_exceptions=True)

    first, second, third = asyncio.run(together())
    assert isinstance(first, RowAnswer)
    assert isinstance(second, RuntimeFailed)
    assert isinstance(third, RowAnswer)


def test_the_same_answers_come_without_an_event_loop(ward):
    """Scripts ask synchronously."""
    assert ward.engine.answer_row_sync(ROW).probability == ward.row().probability
    assert [row["source"] for row in ward.logged()] == ["python", "api"]
    with pytest.raises(InvalidRequest):
        ward.engine.answer_row_sync({})
    assert ward.engine.queue_size() == 0


def test_pictures_and_rows_are_told_apart(ward):
    """Each model says what it takes."""
    ward.deploy("first", model="pcb")
    with pytest.raises(UnsupportedMedia, match="takes pictures"):
        ward.row(model="pcb")
    with pytest.raises(UnsupportedMedia, match="takes rows"):
        ward.ask(board(), model=MODEL)
    assert ward.engine.slot("pcb").in_flight == 0


def test_a_model_takes_pictures_or_rows_in_all_its_versions(ward):
    """A file under the wrong name would stop whoever asks that model."""
    with pytest.raises(Conflict, match="takes rows, and this file takes pictures"):
        ward.deploy("first", model=MODEL)
    with pytest.raises(Conflict, match="takes pictures, and this file takes rows"):
        ward.deploy(ward.heart("other", variant=0.5), model="pcb")
    assert ward.platform.db.models.active(MODEL).version == 1


def test_a_model_that_is_not_there_is_not_found(ward):
    """Named or not."""
    with pytest.raises(NotFound, match="nobody"):
        ward.row(model="nobody")
    ward.start(default_tabular_model="drowsiness")
    with pytest.raises(NotFound, match="No tabular model 'drowsiness'"):
        ward.row()
    assert ward.engine.queue_size() == 0


def test_a_version_can_be_named(ward):
    """As a guest beside the active one; its answers are marked."""
    ward.deploy(ward.heart("second", variant=1.0))
    assert ward.row().model_version == 2
    old = ward.row(version=1)
    assert old.model_version == 1
    assert [row["role"] for row in ward.logged()] == ["active", "compare"]


def test_a_version_knows_its_card_and_its_proof(ward):
    """What the file says of its training becomes part of the version."""
    version = ward.platform.db.models.get(MODEL, 1)
    assert version.card == CARD
    assert version.algorithm == "logistic-regression"
    assert version.description["task"] == "tabular-classification"
    assert version.description["rows"]["target"] == "num"
    assert version.proof["sample"] == "a row of 6 features"
    assert 0 < version.proof["latency_ms"] < 1000


def test_a_version_may_wait_for_its_gate(ward):
    """What its training held back is registered as such, and does not serve."""
    deployed = ward.deploy(
        ward.heart("held", variant=2.0), status="training", activate=False, source="training"
    )
    assert deployed.version.status == "training"
    assert ward.row().model_version == 1


def test_going_back_works_for_rows(ward):
    """Like for pictures."""
    first = ward.row().probability
    ward.deploy(ward.heart("second", variant=1.0))
    assert ward.row().probability > first
    ward.platform.deployments.rollback(MODEL)
    assert ward.row().probability == first
    ward.start()
    assert ward.row().model_version == 1


def test_a_switch_under_load_loses_no_row(ward):
    """Every row is answered by one of the two versions."""
    other = ward.deploy(ward.heart("second", variant=1.0), activate=False).version.version
    expected = {1: ward.row(version=1).probability, other: ward.row(version=other).probability}
    stop = threading.Event()
    answers: list[RowAnswer] = []

    async def client() -> None:
        while not stop.is_set():
            answers.append(await ward.engine.answer_row(ROW))

    async def clients() -> None:
        await asyncio.gather(*(client() for _ in range(8)))

    thread = threading.Thread(target=lambda: asyncio.run(clients()))
    thread.start()
    try:
        for turn in range(10):
            ward.platform.deployments.activate(MODEL, other if turn % 2 == 0 else 1)
    finally:
        stop.set()
        thread.join()
    assert len(answers) > 20
    assert all(answer.probability == expected[answer.model_version] for answer in answers)
    assert len(ward.logged()) == len(answers) + 2


def test_beyond_the_queue_rows_are_turned_away(ward):
    """Answering later beats answering nobody."""
    ward.start(queue_size=2)

    async def together() -> list[Any]:
        asked = [ward.engine.answer_row(ROW) for _ in range(5)]
        return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(together())
    assert sum(isinstance(one, RowAnswer) for one in found) == 2
    assert sum(isinstance(one, Saturated) for one in found) == 3
    assert ward.engine.queue_size() == 0


def test_a_caller_that_gives_up_leaves_nothing_behind(ward):
    """The row is logged, and its place is free again."""

    async def gone() -> None:
        task = asyncio.ensure_future(ward.engine.answer_row(ROW))
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(gone())
    until(lambda: ward.engine.queue_size() == 0)
    slot: Slot = ward.engine.slot(MODEL)
    until(lambda: slot.in_flight == 0)


def test_a_hostile_file_changes_nothing(ward):
    """The active version goes on."""
    path = ward.home.parent / "evil.onnx"
    path.write_bytes(b"\x80\x04\x95" + b"evil")
    with pytest.raises(ModelRejected, match="pickle"):
        ward.deploy(path, model=MODEL)
    with pytest.raises(ModelRejected, match="sum to 1"):
        ward.deploy(ward.heart("liar", scale=0.5))
    assert ward.row().model_version == 1


def test_three_classes_are_answered_by_the_most_probable(ward):
    """There is no threshold then, and the probability is of the class that is answered."""
    schema = msgspec.structs.replace(HEART, positive=None, classes=("a", "b"), class_labels=())
    ward.deploy(ward.heart("letters", schema=schema), model="letters")
    answer = ward.row(model="letters")
    assert (answer.prediction, answer.label, answer.threshold) == ("a", "a", None)
    assert answer.probability == max(answer.probabilities.values())
