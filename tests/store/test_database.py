"""The documented Python interface (S0-53 to S0-62, S0-172)."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from andon import Database
from andon.errors import Conflict, NotFound


def _result(version: int = 1) -> SimpleNamespace:
    return SimpleNamespace(
        model_version=version,
        image_name="board.jpg",
        timestamp="2025-11-06T10:30:00.123456",
        detections=[{"label": "scratch", "confidence": 0.95, "bbox": [150, 200, 50, 30]}],
        inference_time=0.125,
        confidence_scores=[0.95],
    )


def test_the_first_version_is_one(db: Database):
    """S0-53, S0-172: registering answers the number."""
    assert db.register_model("model.eim", "abc123", "first") == 1
    assert db.register_model("model.eim", "def456") == 2


def test_registering_the_same_content_twice_is_a_conflict(db: Database):
    """S0-49: a file hash is unique; the message names the version that has it."""
    db.register_model("model.eim", "abc123")
    with pytest.raises(Conflict, match="Version 1"):
        db.register_model("renamed.eim", "abc123")


def test_the_activated_model_is_active(db: Database):
    """S0-54, S0-55, S0-172: exactly one, and it says so."""
    first, second = db.register_model("a.eim", "a"), db.register_model("b.eim", "b")
    assert db.get_active_model() is None
    db.activate_model(first)
    db.activate_model(second)
    active = db.get_active_model()
    assert active is not None
    assert (active.version, active.is_active) == (second, True)
    assert [row.is_active for row in db.list_models()] == [True, False]


def test_activating_what_is_not_there_is_refused(db: Database):
    """The message names version and model."""
    with pytest.raises(NotFound, match="Version 7 of model pcb"):
        db.activate_model(7)


def test_an_inference_is_logged_and_counted(db: Database):
    """S0-57, S0-58: it comes back as it went in, and the totals know it."""
    db.register_model("model.eim", "abc123")
    made = db.log_inference(_result())
    (found,) = db.get_recent_inferences(1, 10)
    assert found.id == made
    assert found.detections == _result().detections
    assert found.inference_time == 0.125
    (model,) = db.list_models()
    assert (model.total_inferences, model.total_detections) == (1, 1)
    assert (model.avg_inference_time, model.avg_confidence) == (0.125, 0.95)


def test_an_inference_of_no_version_is_refused(db: Database):
    """An answer belongs to a version that is there."""
    with pytest.raises(NotFound):
        db.log_inference(_result(version=3))


def test_recent_inferences_are_the_newest(db: Database):
    """S0-58: at most as many as asked for, newest first."""
    db.register_model("model.eim", "abc123")
    made = [db.log_inference(_result()) for _ in range(5)]
    assert [found.id for found in db.get_recent_inferences(1, 3)] == made[:1:-1]


def test_metrics_are_recorded(db: Database):
    """S0-59: an object or a mapping, whatever it holds of the four."""
    db.register_model("model.eim", "abc123")
    db.log_metrics(SimpleNamespace(model_version=1, accuracy=0.9, avg_confidence=0.8))
    db.log_metrics({"model_version": 1, "accuracy": 0.7, "detection_count": 3})
    version = db.models.get("pcb", 1)
    assert [one.value for one in db.metrics.recent(version.id, name="accuracy")] == [0.7, 0.9]


def test_a_deployment_event_is_recorded(db: Database):
    """S0-60: version, kind and reason, in order."""
    db.register_model("model.eim", "abc123")
    db.log_deployment_event(1, "ACTIVATE", "manual")
    db.log_deployment_event(1, "ROLLBACK", "accuracy below 0.7", previous_version=2)
    events, _ = db.events.page(model="pcb")
    assert [(event.event_type, event.previous_version) for event in events] == [
        ("ROLLBACK", 2),
        ("ACTIVATE", None),
    ]
    with pytest.raises(NotFound):
        db.log_deployment_event(9, "ACTIVATE")


def test_threads_share_a_database(db: Database):
    """S0-61: nothing is lost or counted twice when eight threads write at once."""
    db.register_model("model.eim", "abc123")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: db.log_inference(_result()), range(80)))
    assert len(db.get_recent_inferences(1, 1000)) == 80
    assert db.list_models()[0].total_inferences == 80


def test_a_path_is_all_it_takes(tmp_path: Path):
    """S0-62: `Database(Path)`, as text too."""
    db = Database(tmp_path / "mlops.db")
    assert db.register_model("model.eim", "abc123", "notes") == 1
    db.close()
    again = Database(str(tmp_path / "mlops.db"))
    assert [row.notes for row in again.list_models()] == ["notes"]
    again.close()


def test_the_change_token_grows_with_an_activation_of_another_process(where: str):
    """A server polls it to notice what the command line did; answers do not move it."""
    ours, theirs = Database(where), Database(where)
    theirs.register_model("a.eim", "a")
    before = ours.data_version()
    theirs.log_inference(_result())
    assert ours.data_version() == before
    theirs.activate_model(1)
    assert ours.data_version() > before
    ours.close()
    theirs.close()
