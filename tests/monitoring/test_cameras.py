"""Which camera is sick, and what is usual for a model's pictures."""

from typing import Any

from tests.monitoring.simulated import (
    named,
    picture_answer,
    picture_version,
    rows_version,
    store,
    watch,
)

from andon.monitoring.cameras import CameraDetector
from andon.monitoring.signals import State
from andon.store.database import Database
from andon.store.drift_reports import DriftReferences


def seen(version: Any, camera: str | None, states: list[str]) -> list[dict[str, Any]]:
    """Pictures of a camera with these states."""
    return [picture_answer(version, camera=camera, camera_state=state) for state in states]


def test_a_sick_camera_is_told_from_a_healthy_one(sqlite_db: Database) -> None:
    """By its last twenty pictures."""
    version = picture_version(sqlite_db)
    store(sqlite_db, seen(version, "left", ["ok"] * 30 + ["blurred"] * 9 + ["dark"] * 2))
    store(sqlite_db, seen(version, "right", ["dark"] * 30 + ["ok"] * 20))
    signals = CameraDetector(sqlite_db).look(watch(version))
    left, right = sorted(signals, key=lambda one: one.subject)
    assert (left.name, left.subject, left.state, left.value) == ("camera", "left", State.BAD, 0.55)
    assert "9 blurred, 2 too dark" in left.summary
    assert right.state is State.OK


def test_few_pictures_and_no_camera_are_not_judged(sqlite_db: Database) -> None:
    """Four pictures do not make a sick camera; rows have none."""
    version = picture_version(sqlite_db)
    assert CameraDetector(sqlite_db).look(watch(version)) == []
    store(sqlite_db, seen(version, None, ["dark"] * 4))
    assert named(CameraDetector(sqlite_db).look(watch(version)), "camera").state is State.UNKNOWN
    store(sqlite_db, seen(version, None, ["dark"]))
    assert named(CameraDetector(sqlite_db).look(watch(version)), "camera").state is State.BAD
    assert CameraDetector(sqlite_db).look(watch(rows_version(sqlite_db))) == []


def test_what_is_usual_is_learned_from_the_first_pictures(sqlite_db: Database) -> None:
    """Once there are two hundred, and told once."""
    version = picture_version(sqlite_db)
    told: list[Any] = []
    detector = CameraDetector(sqlite_db, lambda *given: told.append(given))
    sharp = [picture_answer(version, image_stats={"sharpness": 0.5}) for _ in range(199)]
    store(sqlite_db, sharp)
    detector.look(watch(version))
    assert told == []
    store(sqlite_db, [picture_answer(version, image_stats={"sharpness": 0.1}, image_width=320)])
    for _ in range(2):
        detector.look(watch(version))
    assert told == [("pcb", 0.15, (640, 480))]


def test_sizes_that_differ_are_no_usual_size(sqlite_db: Database) -> None:
    """And the drift reference goes before the first pictures."""
    version = picture_version(sqlite_db)
    pictures = [
        picture_answer(version, image_stats={"sharpness": 0.5}, image_width=600 + place % 10)
        for place in range(200)
    ]
    store(sqlite_db, pictures)
    features = {"sharpness": {"quantiles": {"0.5": 2.0}}}
    DriftReferences(sqlite_db).put(version.id, "pinned", {}, {"features": features}, "me")
    told: list[Any] = []
    CameraDetector(sqlite_db, lambda *given: told.append(given)).look(watch(version))
    assert told == [("pcb", 0.6, None)]
