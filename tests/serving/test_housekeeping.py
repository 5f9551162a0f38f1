import os
import time

from tests.serving.boards import board, until

from andon.errors import StorageFull
from andon.serving import housekeeping
from andon.serving.periodic import Periodic


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
