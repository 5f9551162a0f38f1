import os
import threading
import time
from datetime import timedelta

import pytest
from pydantic import ValidationError
from tests.serving.boards import board, until
from tests.store.builders import log

from andon.errors import StorageFull
from andon.serving import housekeeping
from andon.serving.periodic import Periodic
from andon.settings import Settings
from andon.store.clock import now


@pytest.fixture(autouse=True)
def look_again(monkeypatch):
    """The server looked through all rows when it started; the next full look is a day away."""
    monkeypatch.setattr("andon.store.retention._AGAIN", 0.0)


def age(path, days: float) -> None:
    """Make a file look older."""
    moment = time.time() - days * 86400
    os.utime(path, (moment, moment))


def test_old_pictures_and_drawings_are_deleted(serving):
    """Each by its own number of days; young ones stay."""
    row = serving.platform.db.predictions.get(serving.ask().prediction_id)
    young = serving.platform.db.predictions.get(serving.ask(board(8, 8)).prediction_id)
    pictures, settings = serving.platform.pictures, serving.platform.settings
    age(pictures.get(row.image_hash, "PNG"), 8)
    for name, days in (("old.png", 31), ("new.png", 29)):
        (settings.output / name).write_bytes(b"x")
        age(settings.output / name, days)
    assert housekeeping.sweep(pictures, settings) == 2
    assert pictures.get(row.image_hash, "PNG") is None
    assert pictures.get(young.image_hash, "PNG") is not None
    assert [path.name for path in settings.output.iterdir()] == ["new.png"]


def test_a_folder_that_is_not_there_is_nothing_to_sweep(tmp_path):
    """No error, no folder."""
    assert housekeeping.sweep_folder(tmp_path / "absent", 1) == 0


def test_a_periodic_task_survives_its_own_failures():
    """What it raises is logged; the next call comes."""
    calls = []

    def work():
        calls.append(1)
        if len(calls) == 1:
            raise StorageFull("The disk is full.")
        if len(calls) == 2:
            raise RuntimeError("a bug")

    task = Periodic("test", 0.01, work, at_once=True)
    task.start()
    until(lambda: len(calls) >= 4)
    task.stop()


def old_answers(serving, count: int, days: float = 100) -> list[str]:
    """Answers that were given long ago; their ids."""
    db = serving.platform.db
    return log(db, db.models.get("pcb", 1), count, created_at=now() - timedelta(days=days))


def sweep_of(serving, may=lambda: True, **given) -> housekeeping.RowSweep:
    """What deletes rows, with other settings."""
    settings = Settings(home=serving.home, _env_file=None, **given)
    return housekeeping.RowSweep(serving.platform.db, settings, may)


def test_old_rows_are_deleted_counted_and_told(serving):
    """The totals stay; one line in the log, numbers for Prometheus."""
    old_answers(serving, 30)
    young = serving.ask().prediction_id
    serving.platform._sweep()
    found, _ = serving.platform.db.predictions.page()
    assert [one.id for one in found] == [young]
    assert serving.platform.db.models.get("pcb", 1).total_inferences == 31
    assert sum(line.startswith("Old rows were deleted") for line in serving.log) == 1
    assert any("predictions=30" in line for line in serving.log)
    value = serving.platform.collector.get_sample_value
    assert value("andon_rows_deleted_total", {"kind": "predictions"}) == 30
    assert value("andon_database_size_bytes") > 100_000
    serving.platform._sweep()
    assert sum(line.startswith("Old rows were deleted") for line in serving.log) == 1


def test_a_server_that_does_not_lead_deletes_nothing(serving):
    """Of several on one database one does, the one that watches."""
    old_answers(serving, 3)
    assert sweep_of(serving, may=lambda: False).run() == {}
    assert sweep_of(serving).run() == {"predictions": 3}


def test_a_server_that_stops_leaves_the_rest_for_later(serving, monkeypatch):
    """It asks after each transaction, and in each pause."""
    monkeypatch.setattr("andon.store.steps.AT_ONCE", 4)
    old_answers(serving, 30)
    # Yes when it begins, no in the first pause.
    answers = iter([True])
    assert sweep_of(serving, may=lambda: next(answers, False)).run() == {"predictions": 4}
    assert sweep_of(serving).run() == {"predictions": 26}


def test_never_means_never(serving):
    """Nothing is deleted of what is kept for ever."""
    old_answers(serving, 3, days=4000)
    kept = dict.fromkeys(
        (f"keep_{name}_days" for name in ("predictions", "telemetry", "jobs", "alerts")), 0
    )
    assert sweep_of(serving, **kept).run() == {}


@pytest.mark.parametrize("days", [0.5, -1, "soon", float("nan")])
def test_rows_are_kept_for_a_day_at_least(days):
    """What is watched now is measured from them: less is refused when the server starts."""
    with pytest.raises(ValidationError, match="keep_predictions_days"):
        Settings(_env_file=None, keep_predictions_days=days)


def test_answers_go_on_while_old_ones_are_deleted(serving, monkeypatch):
    """Every one that was given is in the log afterwards, and none failed."""
    monkeypatch.setattr("andon.store.steps.AT_ONCE", 20)
    old_answers(serving, 600)
    sweep = sweep_of(serving)
    deleting = threading.Thread(target=sweep.run)
    deleting.start()
    given = []
    while deleting.is_alive() or len(given) < 20:
        given.append(serving.ask(board(seed=len(given) + 1)).prediction_id)
    deleting.join()
    found, _ = serving.platform.db.predictions.page(limit=10_000)
    assert {one.id for one in found} == set(given)
    assert serving.platform.db.models.get("pcb", 1).total_inferences == 600 + len(given)
