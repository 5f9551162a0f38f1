import itertools
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.store.builders import add_version, log, start_program

from andon.errors import Conflict, ModelDamaged, NotFound
from andon.store.clock import now
from andon.store.database import Database
from andon.store.model_versions import split_stage_reason
from andon.store.tables import training_runs


def test_each_model_counts_its_own_versions(db: Database):
    """Version 1 of one model says nothing about another."""
    numbers = [add_version(db, model).version for model in ("pcb", "pcb", "drowsiness", "pcb")]
    assert numbers == [1, 2, 1, 3]
    assert db.models.names() == ["drowsiness", "pcb"]


def test_a_version_comes_back_as_it_was_added(db: Database):
    """Every field, dicts included."""
    made = add_version(
        db, notes="N", options={"head": "yolov8"}, description={"labels": ["a"], "task": "x"}
    )
    assert db.models.get("pcb", 1) == made == db.models.by_id(made.id)
    assert (made.status, made.is_active, made.damaged) == ("staging", False, "")
    assert made.options == {"head": "yolov8"}
    assert made.description == {"labels": ["a"], "task": "x"}
    assert made.proof is None


def test_versions_are_listed_newest_first(db: Database):
    """Of one model, or of all."""
    for model in ("pcb", "other", "pcb"):
        add_version(db, model)
    assert [row.version for row in db.models.list("pcb")] == [2, 1]
    assert [row.model for row in db.models.list()] == ["pcb", "other", "pcb"]


def test_the_same_content_is_one_version_per_model(db: Database):
    """Another model may have it too."""
    add_version(db, file_hash="a" * 64)
    with pytest.raises(Conflict, match="same content"):
        add_version(db, file_hash="a" * 64)
    assert add_version(db, "other", file_hash="a" * 64).version == 1
    found = db.models.by_hash("pcb", "a" * 64)
    assert found is not None
    assert found.version == 1
    assert db.models.by_hash("pcb", "b" * 64) is None


def test_a_file_that_cannot_be_placed_leaves_no_row(db: Database):
    """Row and file come together or not at all; the number is used again."""

    def no_room(number: int) -> None:
        raise OSError(28, f"no room for {number}")

    with pytest.raises(OSError, match="no room for 1"):
        add_version(db, place=no_room)
    assert db.models.list() == []
    assert add_version(db).version == 1


def test_activation_archives_the_old_one_and_writes_history(db: Database):
    """State and history change together."""
    add_version(db)
    add_version(db)
    db.models.set_active("pcb", 1)
    event = db.models.set_active("pcb", 2, reason="better", actor="ann")
    assert (event.model_version, event.previous_version) == (2, 1)
    assert (event.reason, event.actor, event.event_type) == ("better", "ann", "ACTIVATE")
    one, two = db.models.get("pcb", 1), db.models.get("pcb", 2)
    assert (one.status, one.is_active) == ("archived", False)
    assert (two.status, two.is_active) == ("production", True)
    assert two.deployed_date == event.timestamp
    assert [row.version for row in db.models.all_active()] == [2]


def test_activating_the_active_version_changes_nothing(db: Database):
    """No second event, no new deployment date."""
    add_version(db)
    first = db.models.set_active("pcb", 1)
    before = db.models.get("pcb", 1)
    assert db.models.set_active("pcb", 1) == first
    assert db.models.get("pcb", 1) == before


def test_models_are_active_side_by_side(db: Database):
    """Exactly one per model, not one in all."""
    add_version(db, "pcb")
    add_version(db, "other")
    db.models.set_active("pcb", 1)
    db.models.set_active("other", 1)
    assert [row.model for row in db.models.all_active()] == ["other", "pcb"]


def test_a_damaged_version_is_not_activated(db: Database):
    """The reason is told; when it is mended it may be."""
    made = add_version(db)
    db.models.mark_damaged(made.id, "the file is missing.")
    with pytest.raises(ModelDamaged, match="the file is missing"):
        db.models.set_active("pcb", 1)
    db.models.mark_damaged(made.id, "")
    assert db.models.set_active("pcb", 1).model_version == 1


def test_a_deleted_version_is_gone_but_not_forgotten(db: Database):
    """Its number is not used again, its content may come back, its row answers by id."""
    made = add_version(db, file_hash="a" * 64)
    db.models.delete("pcb", 1)
    with pytest.raises(NotFound, match="was deleted"):
        db.models.get("pcb", 1)
    with pytest.raises(NotFound):
        db.models.delete("pcb", 1)
    with pytest.raises(NotFound):
        db.models.set_active("pcb", 1)
    assert db.models.list("pcb") == []
    assert db.models.by_id(made.id).deleted_date is not None
    assert [row.version for row in db.models.all_ever()] == [1]
    assert add_version(db, file_hash="a" * 64).version == 2


def test_the_active_version_is_not_deleted(db: Database):
    """S0-110: it serves."""
    add_version(db)
    db.models.set_active("pcb", 1)
    with pytest.raises(Conflict, match="active"):
        db.models.delete("pcb", 1)


def test_proof_and_description_are_kept(db: Database):
    """What a load and a sample run said, until the next."""
    made = add_version(db)
    db.models.set_proof(made.id, {"latency_ms": 3.5})
    db.models.set_description(made.id, {"name": "PCB"})
    found = db.models.by_id(made.id)
    assert (found.proof, found.description) == ({"latency_ms": 3.5}, {"name": "PCB"})
    db.models.set_proof(made.id, None)
    assert db.models.by_id(made.id).proof is None


def test_totals_are_those_of_all_versions(db: Database):
    """Deleted ones answered too."""
    one, two = add_version(db), add_version(db)
    log(db, one, 2)
    log(db, two, 1, confidence_scores=[0.3], inference_time=0.04)
    db.models.delete("pcb", 1)
    totals = db.models.totals("pcb")
    assert (totals["total_inferences"], totals["total_detections"]) == (3, 3)
    assert totals["avg_confidence"] == pytest.approx(0.7)
    assert totals["avg_inference_time"] == pytest.approx(0.02)
    assert db.models.totals("nobody")["avg_confidence"] == 0.0


def test_an_unknown_version_is_named(db: Database):
    """Model and number are in the sentence."""
    with pytest.raises(NotFound, match="Version 4 of model pcb does not exist"):
        db.models.get("pcb", 4)
    with pytest.raises(NotFound, match="id 99"):
        db.models.by_id(99)
    assert db.models.active("pcb") is None


def _serve(db: Database, *steps: str) -> None:
    """Run steps like "a2" (activate), "r1" (roll back to)."""
    for step in steps:
        kind = "ACTIVATE" if step[0] == "a" else "ROLLBACK"
        db.models.set_active("pcb", int(step[1:]), event_type=kind)


@pytest.mark.parametrize(
    ("steps", "back_to"),
    [
        ([], None),
        (["a1"], None),
        (["a1", "a2"], 1),
        (["a1", "a2", "a3"], 2),
        (["a1", "a2", "a3", "r2"], 1),
        (["a1", "a2", "a3", "r2", "r1"], None),
        (["a1", "a2", "r1"], None),
        (["a1", "a2", "r1", "a3"], 1),
        (["a1", "a2", "a1"], 2),
        (["a2", "a1", "a1"], 2),
    ],
)
def test_going_back_goes_to_what_served_before(db: Database, steps: list[str], back_to: int | None):
    """A rollback undoes an activation, so going back never leads to what was given up."""
    for _ in range(3):
        add_version(db)
    _serve(db, *steps)
    previous = db.models.previous("pcb")
    assert (previous.version if previous else None) == back_to


def test_going_back_skips_what_cannot_serve(db: Database):
    """Damaged and deleted versions are no way back."""
    rows = [add_version(db) for _ in range(4)]
    _serve(db, "a1", "a2", "a3", "a4")
    db.models.mark_damaged(rows[2].id, "bad")
    db.models.delete("pcb", 2)
    previous = db.models.previous("pcb")
    assert previous is not None
    assert previous.version == 1


def test_notes_in_the_history_are_no_way_back(db: Database):
    """A rejected file or a note served nothing."""
    add_version(db)
    add_version(db)
    _serve(db, "a1")
    db.events.add("pcb", 2, "REJECTED", reason="too slow")
    assert db.models.previous("pcb") is None


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(1, 4), max_size=12), st.integers(0, 99))
def test_rolling_back_always_ends(sqlite_db: Database, activated: list[int], salt: int):
    """However versions were activated, going back again and again comes to an end, and
    never stays where it is.
    """
    model = f"m{salt}-{next(_numbers)}"
    for _ in range(4):
        add_version(sqlite_db, model)
    for version in activated:
        sqlite_db.models.set_active(model, version)
    for _ in range(len(activated) + 1):
        active, previous = sqlite_db.models.active(model), sqlite_db.models.previous(model)
        if previous is None:
            return
        assert active is not None
        assert previous.version != active.version
        sqlite_db.models.set_active(model, previous.version, event_type="ROLLBACK")
    pytest.fail("it went round in a circle")


_numbers = itertools.count()

_ACTIVATE = """
import sys
from andon.store.database import Database
db = Database(sys.argv[1])
print("ready"); sys.stdin.readline()
for turn in range(20):
    db.models.set_active("pcb", int(sys.argv[2]) if turn % 2 else 3)
db.close()
"""


def test_processes_that_activate_at_once_leave_one_active(where: str):
    """Whoever comes last wins, and the history is one chain."""
    db = Database(where)
    for _ in range(3):
        add_version(db)
    programs = [start_program(_ACTIVATE, where, version) for version in (1, 2)]
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("\n")
        program.stdin.flush()
    for program in programs:
        _, errors = program.communicate(timeout=60)
        assert program.returncode == 0, errors
    events, _ = db.events.page(model="pcb", limit=1000)
    assert len(db.models.all_active()) == 1
    assert db.models.all_active()[0].version == events[0].model_version
    for newer, older in itertools.pairwise(events):
        assert newer.previous_version == older.model_version
    db.close()


CARD = {
    "algorithm": "xgboost",
    "hyperparameters": {"max_depth": 3},
    "features": [{"name": "age", "kind": "integer"}, {"name": "chol", "kind": "number"}],
    "held_out": {
        "metrics": {
            "accuracy": {"value": 0.85, "low": 0.8, "high": 0.9},
            "f1": {"value": 0.83},
            "precision": {"value": 0.82},
            "recall": {"value": 0.84},
            "roc_auc": {"value": 0.91},
        }
    },
}


def test_a_card_fills_the_columns(db: Database):
    """What was measured stands in columns; the whole card comes with one version, not in lists."""
    made = add_version(db, card=CARD, reference={"rows": 242}, status="training")
    found = db.models.get("pcb", 1)
    assert found == made == db.models.by_id(made.id)
    assert (found.card, found.reference, found.status) == (CARD, {"rows": 242}, "training")
    assert (found.algorithm, found.accuracy, found.f1_score) == ("xgboost", 0.85, 0.83)
    assert (found.precision, found.recall, found.roc_auc) == (0.82, 0.84, 0.91)
    (listed,) = db.models.list("pcb")
    assert (listed.card, listed.reference, listed.f1_score) == (None, None, 0.83)
    with db.read() as connection:
        row = connection.exec_driver_sql(
            "SELECT hyperparameters, feature_names FROM model_versions"
        ).one()
    kept = [json.loads(value) if isinstance(value, str) else value for value in row]
    assert kept == [{"max_depth": 3}, ["age", "chol"]]


@pytest.mark.parametrize("card", [{}, {"held_out": None}, {"held_out": {"metrics": {"f1": None}}}])
def test_a_card_that_says_little_fills_little(db: Database, card: dict):
    """Nothing is made up."""
    made = add_version(db, card=card)
    assert (made.accuracy, made.f1_score, made.algorithm) == (None, None, None)


def test_a_version_moves_between_the_stages_it_may(db: Database):
    """Each move is an event with its reason; what serves is not touched by any."""
    add_version(db)
    add_version(db, status="training")
    db.models.set_active("pcb", 1)
    event = db.models.set_stage("pcb", 2, "staging", "good: enough", "ann")
    assert event is not None
    assert (event.event_type, event.actor, event.model_version) == ("STAGE", "ann", 2)
    assert split_stage_reason(event.reason) == ("staging", "good: enough")
    assert db.models.set_stage("pcb", 2, "staging") is None
    event = db.models.set_stage("pcb", 2, "archived")
    assert event is not None
    assert split_stage_reason(event.reason) == ("archived", "")
    assert db.models.get("pcb", 2).status == "archived"
    assert db.models.previous("pcb") is None
    active = db.models.active("pcb")
    assert active is not None
    assert active.version == 1


@pytest.mark.parametrize(
    ("version", "stage", "said"),
    [
        (1, "archived", "serves and cannot be moved"),
        (1, "staging", "serves and cannot be moved"),
        (2, "production", "at stage staging and cannot be moved to production"),
        (2, "training", "may go to archived"),
    ],
)
def test_a_move_that_is_not_allowed_says_why(db: Database, version: int, stage: str, said: str):
    """Nothing changes then."""
    add_version(db)
    add_version(db)
    db.models.set_active("pcb", 1)
    before = db.models.list("pcb")
    with pytest.raises(Conflict, match=said):
        db.models.set_stage("pcb", version, stage)
    assert db.models.list("pcb") == before
    with pytest.raises(NotFound):
        db.models.set_stage("pcb", 3, "archived")


def test_the_history_of_a_version_holds_what_replaced_it(db: Database):
    """Oldest first; events of other versions and models are left out."""
    for model in ("pcb", "pcb", "pcb", "other"):
        add_version(db, model)
    for model, version in (("pcb", 1), ("other", 1), ("pcb", 2), ("pcb", 3)):
        db.models.set_active(model, version)
    db.models.set_stage("pcb", 1, "staging")
    events = db.events.of_version("pcb", 1)
    assert [(event.event_type, event.model_version) for event in events] == [
        ("ACTIVATE", 1),
        ("ACTIVATE", 2),
        ("STAGE", 1),
    ]


def test_a_version_knows_the_training_it_came_from(db: Database):
    """None where it was uploaded."""
    made, uploaded = add_version(db), add_version(db)
    with db.write() as connection:
        connection.execute(
            training_runs.insert().values(
                id="run-1",
                model_name="pcb",
                recipe="pcb",
                options={},
                status="succeeded",
                source="cli",
                model_id=made.id,
                created_at=now(),
            )
        )
    assert db.models.training_run(made.id) == "run-1"
    assert db.models.training_run(uploaded.id) is None
