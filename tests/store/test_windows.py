"""Windows of the log: the newest answers of a version, with the columns asked for."""

from datetime import timedelta

from tests.store.builders import add_version, log

from andon.store import windows
from andon.store.clock import now
from andon.store.database import Database
from andon.store.feedback import Label
from andon.store.ids import uuid7
from andon.store.windows import Windows, time_of


def test_the_newest_come_first_with_their_columns(db: Database) -> None:
    """JSON is decoded; another version's answers are left out."""
    version, other = add_version(db), add_version(db)
    keys = log(db, version, 3, features={"age": 54, "thal": None})
    log(db, other, 2)
    rows = Windows(db).newest(version.id, 2, columns=("features", "raw_scores", "actual", "cached"))
    assert [row.id for row in rows] == keys[:0:-1]
    assert rows[0].features == {"age": 54, "thal": None}
    assert rows[0].raw_scores == [0.9, 0.1]
    assert (rows[0].actual, rows[0].cached) == (None, False)


def test_a_column_of_pictures_is_empty_for_rows(db: Database) -> None:
    """Missing JSON is None."""
    version = add_version(db)
    log(db, version, 1, image_stats={"brightness": 0.5})
    log(db, version, 1)
    found = Windows(db).newest(version.id, 5, columns=("image_stats", "detections"))
    assert [row.image_stats for row in found] == [None, {"brightness": 0.5}]
    assert found[0].detections[0]["label"] == "short"


def test_roles_and_failures_are_told_apart(db: Database) -> None:
    """Only answers that somebody got, unless more is asked for."""
    version = add_version(db)
    (served,) = log(db, version)
    (canary,) = log(db, version, role="canary")
    (shadow,) = log(db, version, role="shadow")
    (broken,) = log(db, version, status="error", error="It broke.")
    find = Windows(db).newest
    assert [row.id for row in find(version.id, 9, columns=())] == [canary, served]
    assert [row.id for row in find(version.id, 9, columns=(), roles=("shadow",))] == [shadow]
    every = find(version.id, 9, columns=("error",), status=None)
    assert [(row.id, row.error) for row in every] == [
        (broken, "It broke."),
        (canary, ""),
        (served, ""),
    ]
    assert Windows(db).count(version.id) == 3


def test_a_window_begins_and_ends_where_it_is_told(db: Database) -> None:
    """By time or by an answer; the first one is inside, the last one is not."""
    version = add_version(db)
    keys = log(db, version, 4)
    find = Windows(db).newest
    inside = find(version.id, 9, columns=(), since=keys[1], before=keys[3])
    assert [row.id for row in inside] == [keys[2], keys[1]]
    later = now() + timedelta(hours=1)
    assert find(version.id, 9, columns=(), since=later) == []
    assert len(find(version.id, 9, columns=(), before=later)) == 4
    assert Windows(db).count(version.id, keys[2]) == 2


def test_the_first_answers_leave_out_the_cache(db: Database) -> None:
    """Oldest first."""
    version = add_version(db)
    first = log(db, version, 2)
    log(db, version, 2, cached=True)
    last = log(db, version, 1)
    found = Windows(db).oldest(version.id, 9, columns=("latency_ms",), cached=False)
    assert [row.id for row in found] == first + last
    assert len(Windows(db).oldest(version.id, 9, columns=())) == 5


def test_looking_for_what_is_rare_stops_somewhere(db: Database, monkeypatch) -> None:
    """A million answers of another role are not all read at every look."""
    monkeypatch.setattr(windows, "_LOOKED_THROUGH", 3)
    version = add_version(db)
    log(db, version, 1, role="shadow")
    log(db, version, 50)
    assert Windows(db).newest(version.id, 1, columns=(), roles=("shadow",)) == []
    assert len(Windows(db).newest(version.id, 50, columns=())) == 50


def test_labels_come_in_the_order_in_which_they_arrived(db: Database) -> None:
    """Not in that of the answers."""
    version = add_version(db)
    keys = log(db, version, 3)
    for key in (keys[2], keys[0]):
        db.feedback.store([Label(key, "ok", now())])
    found = Windows(db).labelled(version.id, 10, columns=("confidence_scores",))
    assert [row.id for row in found] == [keys[2], keys[0]]
    assert (found[0].actual, found[0].confidence_scores) == ("ok", [0.9])


def test_an_id_tells_its_time() -> None:
    """To the millisecond; other ids tell nothing."""
    moment = time_of(uuid7())
    assert moment is not None
    assert abs((now() - moment).total_seconds()) < 60
    assert time_of("my-own-id") is None
