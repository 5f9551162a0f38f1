"""`store.feedback`: late, twice or out of order, the same labels stand."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from tests.store.builders import add_version, log, prediction, start_program

from andon.errors import NotFound
from andon.store.database import Database
from andon.store.feedback import Feedback, Label, Outcome, delete_feedback
from andon.store.records import ModelVersion
from andon.store.tables import feedback, predictions

BEGAN = datetime(2026, 11, 20, 8, tzinfo=UTC)


def label(prediction_id: str, actual: Any, minute: int = 0, **more: str) -> Label:
    """A label said at a minute."""
    return Label(prediction_id, actual, BEGAN + timedelta(minutes=minute), **more)


def standing(db: Database) -> dict[str, tuple[Any, datetime, str]]:
    """Every label that stands; `predictions.actual` must say the same."""
    with db.read() as connection:
        kept = {
            row.prediction_id: (row.actual, row.timestamp, row.note)
            for row in connection.execute(select(feedback))
        }
        actuals = {
            row.id: row.actual
            for row in connection.execute(
                select(predictions).where(predictions.c.actual.is_not(None))
            )
        }
    assert actuals == {key: actual for key, (actual, _, _) in kept.items()}
    return kept


def rows(db: Database, version: ModelVersion, count: int, **values: Any) -> list[str]:
    """Answers to rows, logged."""
    given = {"features": {"x": 1}, "prediction": "1", "raw_scores": [0.2, 0.8], "detections": None}
    return log(db, version, count, **{**given, **values})


def test_a_label_stands_beside_its_answer(db: Database) -> None:
    """Both tables say it, as the JSON value it is."""
    keys = log(db, add_version(db), 5)
    actuals = [0, False, "ok", ["hole", "short"], 1.5]
    outcomes = db.feedback.store(
        [label(key, actual) for key, actual in zip(keys, actuals, strict=True)]
    )
    assert set(outcomes) == {Outcome.STORED}
    assert [standing(db)[key][0] for key in keys] == actuals
    assert db.predictions.get(keys[1]).actual is False


def test_a_repeat_changes_nothing(db: Database) -> None:
    """The same label again is a duplicate, alone or in one batch."""
    (key,) = log(db, add_version(db))
    said = label(key, 1, note="seen", source="http", actor="ann")
    assert db.feedback.store([said, said]) == [Outcome.STORED, Outcome.DUPLICATE]
    assert db.feedback.store([said]) == [Outcome.DUPLICATE]
    assert db.feedback.get(key) == said


def test_the_same_label_of_somebody_else_is_a_repeat(db: Database) -> None:
    """It is no older one; who is kept does not hang on the order."""
    (key,) = log(db, add_version(db))
    first, other = label(key, 1, source="http"), label(key, 1, source="cli", actor="ann")
    assert db.feedback.store([first]) == [Outcome.STORED]
    assert db.feedback.store([other, first]) == [Outcome.DUPLICATE] * 2
    assert db.feedback.get(key) == first


def test_a_later_label_replaces_an_earlier_one_whatever_came_first(db: Database) -> None:
    """`timestamp` decides, not the order of arrival."""
    (key,) = log(db, add_version(db))
    assert db.feedback.store([label(key, 1, 5)]) == [Outcome.STORED]
    assert db.feedback.store([label(key, 0, 3)]) == [Outcome.SUPERSEDED]
    assert db.predictions.get(key).actual == 1
    assert db.feedback.store([label(key, 0, 7)]) == [Outcome.STORED]
    assert db.predictions.get(key).actual == 0


def test_labels_of_unknown_answers_are_named_and_sink_no_others(db: Database) -> None:
    """They are UNKNOWN; nothing is kept of them."""
    (key,) = log(db, add_version(db))
    outcomes = db.feedback.store([label("nobody", 1), label(key, 1)])
    assert outcomes == [Outcome.UNKNOWN, Outcome.STORED]
    assert list(standing(db)) == [key]
    assert db.feedback.get("nobody") is None


_said = st.tuples(st.integers(0, 2), st.sampled_from([0, 1, "ok", ["a"], True]), st.integers(0, 3))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    said=st.lists(_said, min_size=1, max_size=8),
    order=st.randoms(use_true_random=False),
    sizes=st.lists(st.integers(1, 4), min_size=16, max_size=16),
)
def test_order_batches_and_repetition_do_not_matter(
    db: Database, said: list[tuple[int, Any, int]], order: Any, sizes: list[int]
) -> None:
    """Any permutation, batching and repetition of labels leaves the same rows."""
    version = add_version(db)
    once, again = log(db, version, 3), log(db, version, 3)
    db.feedback.store([label(once[place], actual, at) for place, actual, at in said])
    mixed = [*said, *said[: len(said) // 2]]
    order.shuffle(mixed)
    for size in sizes:
        part, mixed = mixed[:size], mixed[size:]
        db.feedback.store([label(again[place], actual, at) for place, actual, at in part])
    found = standing(db)
    assert [found.get(key) for key in once] == [found.get(key) for key in again]


def test_two_writers_at_once_end_with_the_latest(db: Database) -> None:
    """Labels of the same answers from several threads, in opposite orders."""
    keys = log(db, add_version(db), 20)

    def send(minutes: list[int]) -> None:
        for minute in minutes:
            db.feedback.store([label(key, minute, minute) for key in keys[:: (-1) ** minute]])

    threads = [threading.Thread(target=send, args=([2, 9, 1, 5][turn:],)) for turn in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {actual for actual, _, _ in standing(db).values()} == {9}


def test_a_stored_label_survives_a_kill(where: str) -> None:
    """It is on disk when `store` returns: `kill -9` right after it loses nothing."""
    db = Database(where)
    try:
        (key,) = log(db, add_version(db))
        program = start_program(
            """
            import os, signal, sys
            from datetime import UTC, datetime
            from andon.store.database import Database
            from andon.store.feedback import Feedback, Label

            db = Database(sys.argv[1])
            Feedback(db).store([Label(sys.argv[2], 1, datetime(2026, 11, 20, tzinfo=UTC))])
            os.kill(os.getpid(), signal.SIGKILL)
            """,
            where,
            key,
        )
        program.communicate(timeout=60)
        assert program.returncode == -9
        assert db.predictions.get(key).actual == 1
    finally:
        db.close()


def test_a_label_can_be_taken_back(db: Database) -> None:
    """The answer has none then, and taking it back twice is an error."""
    (key,) = log(db, add_version(db))
    db.feedback.store([label(key, 1)])
    db.feedback.remove(key)
    assert standing(db) == {}
    assert db.predictions.get(key).actual is None
    with pytest.raises(NotFound, match="no feedback"):
        db.feedback.remove(key)


def test_labels_go_with_the_answers_that_are_pruned(db: Database) -> None:
    """In the transaction that deletes them."""
    first, second = log(db, add_version(db), 2)
    db.feedback.store([label(first, 1), label(second, 0)])
    with db.write() as connection:
        connection.execute(predictions.delete().where(predictions.c.id == first))
        delete_feedback(connection, [first])
    assert list(standing(db)) == [second]


def test_an_answer_is_found_by_the_callers_own_id(db: Database) -> None:
    """All answers that have it, oldest first."""
    version = add_version(db)
    keys = log(db, version, 2, request_id="board-7")
    log(db, version, 1, request_id="board-8")
    assert db.feedback.by_request(["board-7", "none"]) == {"board-7": keys}
    assert db.feedback.by_request([]) == {}


def test_the_newest_labelled_answers_are_read(db: Database) -> None:
    """Of one version, newest first, with what figures need."""
    version, other = add_version(db), add_version(db)
    keys = rows(db, version, 4)
    rows(db, other, 1)
    db.feedback.store([label(key, 0) for key in keys[1:]])
    found = db.feedback.labelled(version.id, limit=2)
    assert [row.id for row in found] == [keys[3], keys[2]]
    assert found[0].prediction == "1"
    assert found[0].raw_scores == [0.2, 0.8]
    assert found[0].actual == 0
    assert db.feedback.answered(version.id) == 4
    assert db.feedback.answered(version.id, since=keys[2]) == 2
    soon = datetime.now(UTC) + timedelta(hours=1)
    assert db.feedback.labelled(version.id, since=soon) == []
    assert db.feedback.answered(version.id, since=soon) == 0


def test_labelled_rows_of_several_versions_are_merged_by_age(db: Database) -> None:
    """Newest first, pictures left out."""
    version, other = add_version(db), add_version(db)
    keys = [rows(db, one, 1)[0] for one in (version, other, version)]
    pictures = log(db, version, 1)
    db.feedback.store([label(key, 1) for key in [*keys, *pictures]])
    found = db.feedback.rows([version.id, other.id], limit=2)
    assert [row.id for row in found] == [keys[2], keys[1]]
    assert found[0].features == {"x": 1}


@pytest.mark.slow
def test_labels_are_found_among_many_answers(sqlite_db: Database) -> None:
    """The partial index is used: the log is not read for the labels in it."""
    version = add_version(sqlite_db)
    with sqlite_db.write() as connection:
        connection.execute(
            predictions.insert(), [prediction(version, image_name=None) for _ in range(2_000)]
        )
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT id, raw_scores FROM predictions "
            "WHERE model_id = 1 AND actual IS NOT NULL ORDER BY id DESC LIMIT 10"
        ).all()
    assert "ix_predictions_labelled" in str(plan)
    assert isinstance(sqlite_db.feedback, Feedback)
