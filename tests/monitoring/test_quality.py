"""Whether the data that come in are sound."""

from typing import Any

import pytest
from tests.monitoring.simulated import (
    SETTINGS,
    failed,
    named,
    picture_answer,
    picture_version,
    row_answer,
    rows_version,
    store,
    watch,
)

from andon.errors import AndonError
from andon.monitoring.quality import QualityDetector, validate
from andon.monitoring.refusals import is_refusal
from andon.monitoring.signals import Issue, Signal, State
from andon.runtimes.images import decode
from andon.runtimes.rows import invalid_row
from andon.store.database import Database
from andon.store.records import ModelVersion

REFERENCE: dict[str, Any] = {
    "rows": 200,
    "features": {
        "age": {"kind": "integer", "missing": 0, "min": 20, "max": 80},
        "oldpeak": {"kind": "number", "missing": 0, "min": 0.0, "max": 6.0},
        "ca": {"kind": "integer", "missing": 20, "min": 0, "max": 3},
        "thal": {"kind": "category", "missing": 0, "counts": {"normal": 150, "fixed": 50}},
    },
}


def sound(place: int) -> dict[str, Any]:
    """A row like those of the training."""
    thal = "normal" if place % 4 else "fixed"
    more = {"sex": 1, "thalach": 150}
    return {"age": 20 + place % 60, "oldpeak": place / 50, "ca": place % 3, "thal": thal} | more


def look(db: Database, version: ModelVersion, rows: list[dict[str, Any]]) -> list[Signal]:
    """What is said of these rows."""
    store(db, [row_answer(version, 0.3, features=row) for row in rows])
    return QualityDetector(db, SETTINGS).look(watch(version))


@pytest.fixture
def version(sqlite_db: Database) -> ModelVersion:
    """A version that brings statistics of its training data."""
    return rows_version(sqlite_db, reference=REFERENCE)


def test_sound_rows_are_sound(sqlite_db: Database, version: ModelVersion) -> None:
    """Every check says so."""
    signals = look(sqlite_db, version, [sound(place) for place in range(100)])
    assert {one.state for one in signals} == {State.OK}
    assert {one.issue for one in signals} == {Issue.DATA_QUALITY}


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("missing", {"ca": None}, "ca (50%)"),
        ("out_of_range", {"oldpeak": 60.0}, "oldpeak (50% beyond 0 to 6)"),
        ("new_category", {"thal": "reversible"}, "thal (reversible)"),
    ],
)
def test_what_is_wrong_with_rows_is_named(
    sqlite_db: Database, version: ModelVersion, name: str, change: dict[str, Any], told: str
) -> None:
    """With the feature, and nothing else is called wrong."""
    rows = [sound(place) | (change if place % 2 else {}) for place in range(100)]
    signals = look(sqlite_db, version, rows)
    assert [one.name for one in signals if one.state is State.BAD] == [name]
    assert told in named(signals, name).summary


def test_a_category_sent_as_a_decimal_is_no_new_one(sqlite_db: Database) -> None:
    """The model takes 1.0 for the category 1, and so do the checks; 7.0 is new all the same."""
    features = {"sex": {"kind": "category", "missing": 0, "counts": {"0": 90, "1": 110}}}
    version = rows_version(sqlite_db, reference={"rows": 200, "features": features})
    assert {"name": "sex", "categories": [0, 1]}.items() <= next(
        one for one in version.description["rows"]["features"] if one["name"] == "sex"
    ).items()
    rows = [sound(place) | {"sex": float(place % 2)} for place in range(100)]
    assert named(look(sqlite_db, version, rows), "new_category").state is State.OK
    rows = [sound(place) | {"sex": 7.0} for place in range(100)]
    assert "sex (7.0)" in named(look(sqlite_db, version, rows), "new_category").summary


def test_a_sender_that_repeats_itself_is_named(sqlite_db: Database, version: ModelVersion) -> None:
    """As something to know."""
    signal = named(
        look(sqlite_db, version, [sound(place % 20) for place in range(100)]), "duplicates"
    )
    assert (signal.state, signal.severity) == (State.BAD, "info")


def test_one_odd_row_is_nothing(sqlite_db: Database, version: ModelVersion) -> None:
    """Chance explains it."""
    rows = [sound(place) for place in range(99)] + [sound(1) | {"age": 500, "thal": "odd"}]
    assert {one.state for one in look(sqlite_db, version, rows)} == {State.OK}


def test_few_rows_and_no_rows_are_not_judged(sqlite_db: Database, version: ModelVersion) -> None:
    """It says how many it takes."""
    assert {one.state for one in look(sqlite_db, version, [])} == {State.UNKNOWN}
    signals = look(sqlite_db, version, [sound(1)])
    assert {(one.state, one.needed) for one in signals} == {(State.UNKNOWN, 30)}


def test_rows_that_are_refused_are_named_with_the_reason(
    sqlite_db: Database, version: ModelVersion
) -> None:
    """A failure of the version is none of them."""
    error = str(invalid_row([{"field": "age", "detail": "must be a number"}]))
    store(sqlite_db, [failed(version, error) for _ in range(40)])
    store(sqlite_db, [failed(version) for _ in range(20)])
    signals = look(sqlite_db, version, [sound(place) for place in range(40)])
    signal = named(signals, "refused")
    assert signal.state is State.BAD
    assert "40 of 80" in signal.summary
    assert "age must be a number" in signal.summary


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\nshort", b"\xff\xd8\xff"])
def test_the_sentences_of_refused_pictures_are_known(data: bytes) -> None:
    """Whatever is wrong with them."""
    with pytest.raises(AndonError) as caught:
        decode(data, max_pixels=1_000_000)
    assert is_refusal(str(caught.value))
    assert not is_refusal("The model runtime failed.")


def test_a_validation_is_a_report(sqlite_db: Database, version: ModelVersion) -> None:
    """Plain JSON, for the action."""
    store(sqlite_db, [row_answer(version, 0.3, features=sound(place)) for place in range(60)])
    report = validate(sqlite_db, version, 1_000)
    assert (report["passed"], report["inputs"]) == (True, 60)
    assert [one["name"] for one in report["checks"]] == [
        "refused", "missing", "out_of_range", "new_category", "duplicates",
    ]  # fmt: skip
    assert report["measured"]["features"][0]["name"] == "age"
    nothing = validate(sqlite_db, rows_version(sqlite_db), 1_000)
    assert nothing["passed"] is None


def test_pictures_are_counted_by_state_and_size(sqlite_db: Database) -> None:
    """Instead of features."""
    boards = picture_version(sqlite_db)
    store(sqlite_db, [picture_answer(boards, image_hash=f"{place:064d}") for place in range(40)])
    store(sqlite_db, [picture_answer(boards, camera_state="dark", image_hash="f" * 64)])
    report = validate(sqlite_db, boards, 100)
    assert report["measured"]["states"] == {"ok": 40, "dark": 1}
    assert report["measured"]["sizes"] == {"640x480": 41}
    assert report["passed"] is True
