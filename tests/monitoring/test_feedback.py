"""`monitoring.feedback`: labels are read, understood and stored; bad ones are named."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from tests.monitoring.conftest import answered, heart_version
from tests.store.builders import add_version, log
from tests.support.tabular_models import HEART

from andon.errors import AndonError, Conflict, InvalidRequest, NotFound, UnusableUpload
from andon.monitoring.feedback import FeedbackIntake, SentFeedback, read, read_one
from andon.runtimes.base import plain
from andon.store.database import Database


@pytest.fixture
def intake(sqlite_db: Database) -> FeedbackIntake:
    """Takes labels for the answers of a fresh database."""
    return FeedbackIntake(sqlite_db, max_ahead=300.0)


def one(prediction_id: str, actual: Any, **more: Any) -> SentFeedback:
    """A label as it is sent."""
    return SentFeedback(prediction_id=prediction_id, actual=actual, **more)


@pytest.mark.parametrize("said", [1, 1.0, True, "1", "1.0", "disease", " Disease "])
def test_a_class_may_be_said_in_any_usual_way(
    intake: FeedbackIntake, sqlite_db: Database, said: Any
) -> None:
    """As its value, its text or its label; the value is what is kept."""
    (key,) = answered(sqlite_db, heart_version(sqlite_db), [(0.9, None)])
    done = intake.take_one(one(key, said), source="http")
    assert (done.status, done.actual, done.prediction, done.correct) == (
        "stored", 1, "disease", True,
    )  # fmt: skip
    assert sqlite_db.predictions.get(key).actual == 1


@pytest.mark.parametrize("said", [2, "ill", [1], "", 0.5])
def test_what_is_no_class_is_refused_with_those_there_are(
    intake: FeedbackIntake, sqlite_db: Database, said: Any
) -> None:
    """The error names the field and the classes."""
    (key,) = answered(sqlite_db, heart_version(sqlite_db), [(0.9, None)])
    with pytest.raises(InvalidRequest, match=r"0 \(no disease\), 1 \(disease\)") as caught:
        intake.take_one(one(key, said), source="http")
    assert caught.value.errors[0]["field"] == "actual"


def test_a_detector_takes_a_verdict_or_labels(intake: FeedbackIntake, sqlite_db: Database) -> None:
    """So "ok", "defect", or labels it knows, as a list or joined by semicolons."""
    about = {"task": "object-detection", "labels": ["hole", "short"]}
    (key,) = log(sqlite_db, add_version(sqlite_db, description=about))
    kept = {
        "OK": "ok", "defect": "defect", "short;hole": ["hole", "short"], "hole": ["hole"],
    }  # fmt: skip
    for said, wanted in kept.items():
        assert intake.take_one(one(key, said), source="http").actual == wanted
    assert not intake.take_one(one(key, []), source="http").correct
    with pytest.raises(InvalidRequest, match="hole, short"):
        intake.take_one(one(key, ["scratch"]), source="http")


def test_a_request_id_means_the_answer_the_caller_got(
    intake: FeedbackIntake, sqlite_db: Database
) -> None:
    """A candidate that was asked as well has the same request id."""
    version = add_version(sqlite_db)
    log(sqlite_db, version, request_id="r1", role="shadow")
    (given,) = log(sqlite_db, version, request_id="r1")
    log(sqlite_db, version, request_id="r1", role="canary", status="error")
    done = intake.take_one(SentFeedback(request_id="r1", actual="ok"), source="http")
    assert (done.status, done.prediction_id) == ("stored", given)


def test_a_request_id_names_its_only_answer(intake: FeedbackIntake, sqlite_db: Database) -> None:
    """None is 404, several are 409, and one of the two ids must be there."""
    version = add_version(sqlite_db)
    (key,) = log(sqlite_db, version, request_id="r1")
    log(sqlite_db, version, 2, request_id="r2")
    done = intake.take_one(SentFeedback(request_id="r1", actual="ok"), source="http")
    assert done.prediction_id == key
    with pytest.raises(NotFound, match="request id 'r3'"):
        intake.take_one(SentFeedback(request_id="r3", actual="ok"), source="http")
    with pytest.raises(Conflict, match="2 predictions"):
        intake.take_one(SentFeedback(request_id="r2", actual="ok"), source="http")
    for ids in ({}, {"prediction_id": key, "request_id": "r1"}):
        with pytest.raises(InvalidRequest, match="not both"):
            intake.take_one(SentFeedback(**ids, actual="ok"), source="http")


def test_unknown_and_failed_answers_take_no_label(
    intake: FeedbackIntake, sqlite_db: Database
) -> None:
    """Nothing can be judged there; strange ids are just unknown."""
    (failed,) = log(sqlite_db, add_version(sqlite_db), status="error", error="x")
    with pytest.raises(Conflict, match="ended in an error"):
        intake.take_one(one(failed, "ok"), source="http")
    for key in ("nobody", "\x00", "x" * 200):
        with pytest.raises(NotFound, match="no prediction"):
            intake.take_one(one(key, "ok"), source="http")


def test_a_label_from_the_future_is_refused(intake: FeedbackIntake, sqlite_db: Database) -> None:
    """It would stand whatever came later; a few minutes are forgiven to clocks."""
    (key,) = log(sqlite_db, add_version(sqlite_db))
    soon = datetime.now(UTC) + timedelta(minutes=2)
    assert intake.take_one(one(key, "ok", timestamp=soon), source="http").status == "stored"
    with pytest.raises(InvalidRequest, match="future"):
        intake.take_one(one(key, "ok", timestamp=soon + timedelta(hours=1)), source="http")


def test_a_label_from_before_all_clocks_is_refused(
    intake: FeedbackIntake, sqlite_db: Database
) -> None:
    """A time that no clock meant is a mistake."""
    (key,) = log(sqlite_db, add_version(sqlite_db))
    long_ago = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))
    with pytest.raises(InvalidRequest, match="before 2000"):
        intake.take_one(one(key, "ok", timestamp=long_ago), source="http")


def test_classes_that_are_text_may_be_said_as_numbers(
    intake: FeedbackIntake, sqlite_db: Database
) -> None:
    """A CSV knows no difference between 1 and "1"; what is kept is the class."""
    schema = msgspec.structs.replace(HEART, classes=("1", "2"), class_labels=())
    about = {"task": "tabular-classification", "rows": plain(schema)}
    version = add_version(sqlite_db, "heart", description=about)
    (key,) = log(sqlite_db, version, prediction="1")
    for said in (2, "2", " 2 "):
        done = intake.take_one(one(key, said), source="http")
        assert (done.actual, done.correct) == ("2", False)


def test_a_superseded_label_answers_what_stands(
    intake: FeedbackIntake, sqlite_db: Database
) -> None:
    """Whoever sent it sees that a later one is there."""
    (key,) = log(sqlite_db, add_version(sqlite_db))
    moment = datetime(2026, 11, 20, tzinfo=UTC)
    intake.take_one(one(key, "ok", timestamp=moment), source="http")
    late = one(key, "defect", timestamp=moment - timedelta(days=1))
    done = intake.take_one(late, source="http")
    assert (done.status, done.actual) == ("superseded", "ok")


def test_a_bad_label_sinks_no_others(intake: FeedbackIntake, sqlite_db: Database) -> None:
    """Every kind of bad row is counted and named by its place."""
    keys = answered(sqlite_db, heart_version(sqlite_db), [(0.9, None)] * 3)
    body = msgspec.json.encode(
        [
            {"prediction_id": keys[0], "actual": 1, "timestamp": "2026-11-20T08:00:00Z"},
            {"prediction_id": keys[1], "actual": 7},
            {"prediction_id": "nobody", "actual": 1},
            {"prediction_id": keys[1], "actual": None},
            {"prediction_id": keys[1]},
            "text",
            {"prediction_id": keys[2], "actual": 0, "timestamp": "2026-11-20T08:00:00"},
            {"prediction_id": keys[0], "actual": 1, "timestamp": "2026-11-20T08:00:00Z"},
            {"prediction_id": keys[0], "actual": 0, "timestamp": "2026-11-19T08:00:00Z"},
            {"prediction_id": keys[2], "actual": "no disease", "note": "seen"},
        ]
    )
    report = intake.take(read(body, "json"), source="http", actor="ann")
    assert (report.total, report.stored, report.duplicates, report.superseded) == (10, 2, 1, 1)
    assert [error.index for error in report.errors] == [1, 2, 3, 4, 5, 6]
    assert report.rejected == 6
    stands = sqlite_db.feedback.get(keys[2])
    assert stands is not None
    assert (stands.note, stands.actor, stands.source) == ("seen", "ann", "http")


def test_many_errors_are_cut_and_counted(intake: FeedbackIntake) -> None:
    """A hundred reasons are enough."""
    report = intake.take([one("nobody", 1)] * 130, source="http")
    assert (len(report.errors), report.errors_omitted) == (100, 30)


def test_csv_and_lines_are_read_like_json(intake: FeedbackIntake, sqlite_db: Database) -> None:
    """The same labels in three forms are the same labels."""
    keys = answered(sqlite_db, heart_version(sqlite_db), [(0.9, None)] * 2)
    table = f"""\ufeffactual,Prediction_ID,timestamp,who\r
disease,{keys[0]},2026-11-20T08:00:00+01:00,x\r
\r
0,{keys[1]},,\r
"""
    first = intake.take(read(table.encode(), "csv"), source="cli")
    assert (first.total, first.stored) == (2, 2)
    lines = [
        {"prediction_id": keys[0], "actual": 1, "timestamp": "2026-11-20T07:00:00Z"},
        {"prediction_id": keys[1], "actual": 0},
    ]
    sent = b"\n".join(msgspec.json.encode(line) for line in lines) + b"\n\nbroken"
    second = intake.take(read(sent, "ndjson"), source="cli")
    assert (second.duplicates, second.stored, second.rejected) == (1, 1, 1)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_table_may_have_another_separator(separator: str) -> None:
    """As spreadsheets of some countries write it."""
    table = f"prediction_id{separator}actual\np{separator}1\n"
    assert read(table.encode(), "csv") == [one("p", "1")]


@pytest.mark.parametrize(
    ("data", "form", "said"),
    [
        (b"{", "json", "not valid JSON"),
        (b"\xff", "json", "not valid JSON"),
        (b"{}", "json", "must be a list"),
        (b"[]", "json", "no feedback"),
        (b"\n\n", "ndjson", "no feedback"),
        (b"a,b\n1,2\n", "csv", "prediction_id and actual"),
        (b"", "csv", "prediction_id and actual"),
        (b"prediction_id,actual\n", "csv", "no feedback"),
        (b"prediction_id,actual\n\xff\xfe,1\n", "csv", "not UTF-8"),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, form: Any, said: str) -> None:
    """Nothing of it is taken."""
    with pytest.raises(AndonError, match=said) as caught:
        read(data, form)
    assert caught.value.status in {400, 422}


def test_one_label_is_read_or_named() -> None:
    """A field that is wrong is named."""
    assert read_one(b'{"prediction_id": "p", "actual": false}').actual is False
    with pytest.raises(InvalidRequest) as caught:
        read_one(b'{"prediction_id": "p"}')
    assert caught.value.errors == [{"field": "actual", "detail": "is missing"}]
    with pytest.raises(InvalidRequest, match="timestamp must end with Z or a UTC offset"):
        read_one(b'{"prediction_id": "p", "actual": 1, "timestamp": "2026-11-20T08:00:00"}')
    with pytest.raises(InvalidRequest) as caught:
        read_one(b'{"prediction_id": 4, "actual": 1}')
    assert caught.value.errors[0]["field"] == "prediction_id"
    with pytest.raises(UnusableUpload):
        read_one(b"nothing")
