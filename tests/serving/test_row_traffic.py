"""Canaries, shadows and comparisons of rows, and the log's columns, on both databases."""

import asyncio
import threading

import msgspec
import pytest
from tests.serving.boards import until
from tests.serving.test_rows import MODEL, Ward, ward
from tests.store.conftest import migrated_schema, postgres_server, postgres_url
from tests.support.tabular_models import HEART, ROW

from andon.errors import InvalidRequest, RuntimeFailed
from andon.runtimes.rows import Feature
from andon.serving.row_answers import GivenRow, RowAnswer

__all__ = ["migrated_schema", "postgres_server", "postgres_url", "ward"]

_SUBJECTS = [f"P-{number}" for number in range(40)]


@pytest.fixture
def trying(ward: Ward) -> Ward:
    """Version 1 active, version 2 beside it, not tried yet; nobody watches them."""
    ward.given["monitor"] = False
    ward.start()
    ward.deploy(ward.heart("other", variant=0.5), activate=False)
    return ward


def roles(ward: Ward) -> list[tuple[str, str, str]]:
    """Role and status of each row of the log, and for whom, in no order."""
    return sorted((row["role"], row["status"], row["subject"] or "") for row in ward.logged())


def broken(ward: Ward, error: Exception, gate: threading.Event | None = None) -> None:
    """Make the candidate fail."""
    slot = ward.engine.traffic.split(MODEL).slot

    def infer_rows(matrix, *, deadline):
        if gate is not None:
            gate.wait(20)
        raise error

    slot.tabular.infer_rows = infer_rows


def test_rows_are_split_by_subject_one_by_one_and_in_batches(trying):
    """One row, a batch and a thread give a subject the same version, and the log its role."""
    trying.engine.traffic.start(MODEL, "canary", 2, 0.5)
    single = {one: trying.row(subject=one).model_version for one in _SUBJECTS}
    assert set(single.values()) == {1, 2}
    given = [GivenRow(ROW, subject) for subject in _SUBJECTS]
    batch = asyncio.run(trying.engine.answer_rows(given))
    assert [one.model_version for one in batch] == [single[subject] for subject in _SUBJECTS]
    thread = {one: trying.engine.answer_row_sync(ROW, subject=one) for one in _SUBJECTS[:10]}
    assert {one: thread[one].model_version for one in thread} == {
        one: single[one] for one in thread
    }
    for role, status, subject in roles(trying):
        assert (role, status) == ("canary" if single[subject] == 2 else "active", "success")


def test_a_batch_keeps_its_order_and_its_bad_rows(trying):
    """Though its rows go to two versions and every fifth cannot be read."""
    trying.engine.traffic.start(MODEL, "canary", 2, 0.5)
    given = [
        GivenRow({**ROW, "age": 20 + place} if place % 5 else {}, f"P-{place}")
        for place in range(40)
    ]
    found = asyncio.run(trying.engine.answer_rows(given))
    assert [place for place, one in enumerate(found) if not isinstance(one, RowAnswer)] == [
        place for place in range(40) if place % 5 == 0
    ]
    assert {one.model_version for one in found if isinstance(one, RowAnswer)} == {1, 2}


def test_no_row_fails_because_of_a_canary(trying):
    """The active version answers instead, the failure is logged, and the split is suspended."""
    trying.engine.traffic.start(MODEL, "canary", 2, 1.0)
    broken(trying, RuntimeFailed("It fell over."))
    assert trying.row(subject="a").model_version == 1
    assert trying.engine.answer_row_sync(ROW, subject="b").model_version == 1
    given = [GivenRow(ROW, subject) for subject in ("c", "d")]
    assert [one.model_version for one in asyncio.run(trying.engine.answer_rows(given))] == [1, 1]
    assert [row for row in roles(trying) if row[0] == "active"] == [
        ("active", "success", subject) for subject in "abcd"
    ]
    assert ("canary", "error", "a") in roles(trying)
    assert trying.engine.traffic.split(MODEL).suspended
    until(lambda: trying.engine.queue_size() == 0)


def test_a_canary_that_takes_other_rows_is_to_blame_for_it(trying):
    """The active version takes the row: so it is right. A row that neither takes is wrong."""
    schema = msgspec.structs.replace(
        HEART, features=(*HEART.features[:-1], Feature("ward", "number", 0, 9, typical=1))
    )
    trying.deploy(trying.heart("narrow", schema=schema), activate=False)
    trying.engine.traffic.start(MODEL, "canary", 3, 1.0)
    assert trying.row(subject="a").model_version == 1
    assert roles(trying) == [("active", "success", "a"), ("canary", "error", "a")]
    with pytest.raises(InvalidRequest):
        trying.row({"age": "old"}, subject="b")
    assert [one for one in roles(trying) if one[2] == "b"] == [("active", "error", "b")]


def test_a_shadow_of_rows_is_logged_and_never_answers(trying):
    """Single rows and batches; its answers count for no total."""
    trying.engine.traffic.start(MODEL, "shadow", 2)
    assert trying.row(subject="a").model_version == 1
    given = [GivenRow(ROW, subject) for subject in ("b", "c")]
    assert {one.model_version for one in asyncio.run(trying.engine.answer_rows(given))} == {1}
    until(lambda: len(trying.logged()) == 6)
    assert roles(trying) == [
        (role, "success", subject) for role in ("active", "shadow") for subject in "abc"
    ]
    assert trying.platform.db.models.get(MODEL, 2).total_inferences == 0


def test_a_comparison_of_rows_shows_both(trying):
    """The active version's answer, with both probabilities beside it."""
    trying.engine.traffic.start(MODEL, "compare", 2)
    answer = trying.row(subject="a")
    sides = answer.comparison
    assert [sides[side]["version"] for side in ("model_a", "model_b")] == [1, 2]
    assert sides["model_a"]["probability"] == answer.probability
    assert sides["model_b"]["probability"] > answer.probability
    until(lambda: len(trying.logged()) == 2)
    assert roles(trying) == [("active", "success", "a"), ("compare", "success", "a")]


def test_rows_have_no_camera(ward):
    """All three columns stay empty."""
    ward.row()
    (row,) = ward.logged()
    assert (row["camera"], row["camera_state"], row["image_stats"]) == (None, None, None)
