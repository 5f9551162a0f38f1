"""Thresholds that are moved while a version serves, and going back to a version by its number."""

import pytest
from tests.serving.boards import until
from tests.serving.conftest import Line
from tests.serving.test_rows import MODEL, Ward, ward
from tests.store.conftest import migrated_schema, postgres_server, postgres_url

from andon.errors import Conflict, InvalidRequest, NotFound
from andon.platform import Platform
from andon.settings import Settings

__all__ = ["migrated_schema", "postgres_server", "postgres_url", "ward"]


def events(line: Line, model: str = "pcb") -> list[tuple[str, int, str, str, str | None]]:
    """The history, newest first."""
    found, _ = line.platform.db.events.page(model=model)
    return [
        (one.event_type, one.model_version, one.reason, one.actor, one.action_id) for one in found
    ]


def test_a_threshold_moves_without_a_reload(serving):
    """The same slot answers with it, a request's own one wins, and the history says from where."""
    slot = serving.engine.slot()
    before = serving.ask().threshold
    record = serving.platform.deployments.set_threshold(
        "pcb", 1, 0.99, "false alarms", "mia", action_id="a-1"
    )
    assert record.threshold == 0.99
    assert serving.ask().threshold == 0.99
    assert serving.ask(threshold=0.2).threshold == 0.2
    assert serving.engine.slot() is slot
    assert events(serving)[0] == (
        "THRESHOLD", 1, "its own → 0.99: false alarms", "mia", "a-1",
    )  # fmt: skip
    serving.platform.deployments.set_threshold("pcb", 1, None, "undone", "mia")
    assert serving.ask().threshold == before
    assert events(serving)[0][2] == "0.99 → its own: undone"
    # Nothing changes, so nothing is written down.
    serving.platform.deployments.set_threshold("pcb", 1, None, "again", "mia")
    assert events(serving)[0][2] == "0.99 → its own: undone"


def test_a_threshold_outlives_a_restart_and_a_switch(serving):
    """It belongs to its version, not to the model."""
    serving.platform.deployments.set_threshold("pcb", 1, 0.7, "", "mia")
    serving.deploy("second")
    assert serving.ask().threshold != 0.7
    serving.platform.deployments.rollback("pcb")
    assert serving.ask().threshold == 0.7
    serving.start()
    assert serving.ask().threshold == 0.7


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_threshold_has_bounds(serving, value):
    """And belongs to a version there is."""
    with pytest.raises(InvalidRequest, match="cannot be used"):
        serving.platform.deployments.set_threshold("pcb", 1, value)
    with pytest.raises(NotFound):
        serving.platform.deployments.set_threshold("pcb", 9, 0.5)


def test_another_process_follows_a_threshold(serving):
    """Set in a terminal; the server takes it over within a second or two."""
    terminal = Platform(Settings(home=serving.home, _env_file=None, watch=False))
    terminal.start(serve=False)
    try:
        terminal.deployments.set_threshold("pcb", 1, 0.8, "", "mia")
    finally:
        terminal.stop()
    until(lambda: serving.ask().threshold == 0.8)


def test_a_candidates_threshold_moves_too(serving):
    """Its next answer has it."""
    serving.deploy("second", activate=False)
    serving.engine.traffic.start("pcb", "canary", 2, 1.0)
    serving.platform.deployments.set_threshold("pcb", 2, 0.8, "", "mia")
    answer = serving.ask()
    assert (answer.model_version, answer.threshold) == (2, 0.8)


def test_the_threshold_of_rows_decides_the_class(ward: Ward):
    """For a yes-or-no model: the probability from which the class looked for is answered."""
    probability = ward.row().probability
    ward.platform.deployments.set_threshold(MODEL, 1, min(1.0, probability + 0.01), "", "mia")
    assert ward.row().prediction == 0
    ward.platform.deployments.set_threshold(MODEL, 1, probability - 0.01, "", "mia")
    answer = ward.row()
    assert (answer.prediction, answer.threshold) == (1, probability - 0.01)
    assert {row["threshold"] for row in ward.logged()[-1:]} == {probability - 0.01}
    ward.platform.deployments.set_threshold(MODEL, 1, None, "", "mia")
    assert ward.row().threshold == 0.4


def test_a_rollback_may_name_its_version(serving):
    """One further back than the last; the active one and one there is not are refused."""
    serving.deploy("second")
    serving.deploy("third")
    record = serving.platform.deployments.rollback(
        "pcb", "v2 was bad too", "andon", to=1, action_id="a-7"
    )
    assert record.version == 1
    assert serving.ask().model_version == 1
    assert events(serving)[0] == ("ROLLBACK", 1, "v2 was bad too", "andon", "a-7")
    with pytest.raises(Conflict, match="serves already"):
        serving.platform.deployments.rollback("pcb", to=1)
    with pytest.raises(NotFound):
        serving.platform.deployments.rollback("pcb", to=9)
    assert serving.ask().model_version == 1
