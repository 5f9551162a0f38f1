"""Single looks: what is said of odd windows, and that nothing ever breaks."""

import math
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.monitoring.drift.builders import picture, row, seen

from andon.monitoring.drift import looking, reference, report, tabular, vision
from andon.monitoring.drift.looking import Window
from andon.monitoring.drift.reference import Known
from andon.monitoring.drift.report import FeatureDrift, Findings, Side
from andon.store.records import ModelVersion

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
VERSION: Any = SimpleNamespace(model="pcb", version=3)
NUMBER = {
    "kind": "number",
    "missing": 0,
    "mean": 0.5,
    "std": 0.3,
    "edges": [0, 0.25, 0.5, 0.75, 1.0],
    "counts": [50, 50, 50, 50],
}
WORD = {"kind": "category", "missing": 0, "counts": {"red": 100, "green": 100}}


def known(features: dict[str, Any], count: int = 200, **more: Any) -> Known:
    return Known(side=Side(source="training", count=count), features=features, more=more)


def look(against: Known, rows: list[dict[str, Any]], kind: Any = "rows", **given: Any) -> Findings:
    begin = {"created_at": NOON, "id": "a", "prediction": None, "probability": None}
    window = Window(kind=kind, rows=seen([begin | one for one in rows]), needed=len(rows))
    version: ModelVersion = VERSION
    return looking.look(version, window, against, NOON, **given)


def one(found: Findings, name: str) -> FeatureDrift:
    return next(feature for feature in found.features if feature.name == name)


def given_features(count: int, **features: Any) -> list[dict[str, Any]]:
    return [{"features": dict(features)} for _ in range(count)]


def test_values_that_were_never_missing_and_all_are_is_drift():
    """By the test of missing values, which the summary names with both shares."""
    found = look(known({"x": NUMBER}), given_features(100, x=None))
    feature = one(found, "x")
    assert feature.drifted
    assert (feature.test, feature.missing_after) == (report.MISSING, 1.0)
    assert "x is missing in 100 % instead of 0 %" in found.summary


def test_values_that_were_always_missing_and_now_are_there_is_drift():
    """While values that stay missing are none."""
    statistics = {"kind": "number", "missing": 200}
    found = look(known({"x": statistics}), given_features(100, x=1.0))
    assert one(found, "x").drifted
    assert look(known({"x": statistics}), given_features(100, x=None)).verdict == "none"


def test_a_category_never_seen_is_named():
    """A third of them is drift; one in a hundred is not."""
    rows = given_features(70, c="red") + given_features(30, c="blue")
    found = look(known({"c": WORD}), rows)
    assert one(found, "c").new_categories == ["blue"]
    assert found.verdict == "drift"
    few = given_features(50, c="red") + given_features(49, c="green") + given_features(1, c="blue")
    assert look(known({"c": WORD}), few).verdict == "none"


def test_three_and_three_point_nought_are_one_category():
    """JSON keeps numbers as words: 3 and 3.0 are the reference's "3"."""
    statistics = {"kind": "category", "missing": 0, "counts": {"3": 100, "6": 100}}
    rows = given_features(50, c=3.0) + given_features(50, c=6)
    found = look(known({"c": statistics}), rows)
    assert (one(found, "c").distance, one(found, "c").new_categories) == (0.0, [])


def test_a_constant_that_stays_is_none_and_one_that_changes_is_drift():
    """Without a spread there is no effect to give, and nothing is divided by zero."""
    statistics = {
        "kind": "number", "missing": 0, "mean": 7.0, "std": 0.0, "edges": [7.0, 7.0],
        "counts": [200],
    }  # fmt: skip
    quiet = look(known({"x": statistics}), given_features(100, x=7.0))
    assert one(quiet, "x").distance == 0
    moved = look(known({"x": statistics}), given_features(100, x=7.1))
    assert one(moved, "x").drifted
    assert one(moved, "x").effect is None


def test_what_the_reference_does_not_know_is_left_out():
    """An older file: some features without statistics, some in a shape of their own."""
    odd = {"x": NUMBER, "y": {"kind": "number"}, "z": "?", "w": {"kind": "category"}}
    features = tabular.statistics({"features": odd, "prediction": {"counts": "?"}})
    found = look(known(features), given_features(100, x=0.1, y=2, z=3))
    assert {feature.name for feature in found.features} == {"x"}
    assert tabular.statistics({}) == {}
    assert tabular.statistics({"features": None, "prediction": None}) == {}


def test_an_ordinary_change_waits_for_the_next_window():
    """Significant, but not beyond doubt: suspected first, drift when it is seen again."""
    values = [0.1] * 60 + [0.4] * 15 + [0.6] * 15 + [0.9] * 10
    np.random.default_rng(4).shuffle(values)
    rows = [{"features": {"x": value}} for value in values]
    first = look(known({"x": NUMBER}), rows)
    assert (first.verdict, first.suspected, first.drifted) == ("none", ["x"], [])
    assert "the next window will tell" in first.summary
    second = look(known({"x": NUMBER}), rows, before=first.suspected)
    assert (second.verdict, second.drifted) == ("drift", ["x"])
    assert look(known({"x": NUMBER}), rows, on_demand=True).verdict == "drift"


def test_a_small_shift_is_no_drift_however_many_answers_show_it():
    """A tenth of the answers may change places: certain, and nothing to act on."""
    random = np.random.default_rng(5)
    values = np.clip(random.random(10_000) + 0.05, 0, 1)
    rows = [{"features": {"x": float(value)}} for value in values]
    found = look(known({"x": NUMBER | {"counts": [50_000] * 4}}), rows)
    assert found.verdict == "none"


def test_a_reference_that_says_nothing_is_unknown():
    """Rather than quiet."""
    assert look(known({}), given_features(30, x=1)).verdict == "unknown"


@pytest.mark.parametrize("change", [{"dark": 0.7}, {"blur": 0.5}])
def test_a_changed_camera_is_seen_through_the_daily_cycle(change: dict[str, float]):
    """The first window after the change names it, whatever the hour."""
    random = np.random.default_rng(6)
    learned = [picture(random, at, cycle=0.3) for at in range(1_500)]
    against = from_answers("pictures", learned)
    for hour in range(0, 24, 4):
        begin = 1_500 + hour * 62
        rows = [picture(random, begin + at, cycle=0.3, **change) for at in range(100)]
        found = look(against, rows, "pictures")
        assert found.verdict == "drift", found.summary
        assert {"brightness", "sharpness"} & set(found.drifted)


def test_quiet_days_raise_no_alarm():
    """Two days with their light: the suspicions of one window are not confirmed by the next."""
    random = np.random.default_rng(7)
    against = from_answers("pictures", [picture(random, at, cycle=0.3) for at in range(1_500)])
    suspected: list[str] = []
    for begin in range(1_500, 4_500, 100):
        rows = [picture(random, begin + at, cycle=0.3) for at in range(100)]
        found = look(against, rows, "pictures", before=suspected)
        assert found.verdict == "none", found.summary
        suspected = found.suspected


def test_quiet_days_of_rows_raise_no_alarm():
    """Sixty windows of a line that sways by 0.3 standard deviations, each suspecting the last."""
    random = np.random.default_rng(8)
    against = from_answers("rows", [row(random, at) for at in range(500)])
    suspected: list[str] = []
    for begin in range(500, 6_500, 100):
        shift = 0.3 * math.sin(2 * math.pi * begin / 1_500)
        rows = [row(random, begin + at, shift=shift) for at in range(100)]
        found = look(against, rows, before=suspected)
        assert found.verdict == "none", found.summary
        suspected = found.suspected


def from_answers(kind: str, answers: list[dict[str, Any]]) -> Known:
    blocks = [seen(answers[at : at + 100]) for at in range(0, len(answers), 100)]
    found = reference.statistics(kind, blocks)
    side = Side(source="learned", count=len(answers))
    more = {key: value for key, value in found.items() if key != "features"}
    return Known(side=side, features=found["features"], more=more)


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
)
FEATURES = st.one_of(st.none(), st.dictionaries(st.sampled_from("abc"), ODD, max_size=3))
SHARES = st.one_of(st.none(), st.lists(st.floats(0, 1), max_size=16), ODD)
STATS = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(("brightness", "contrast", "sharpness", "low", "high"), ODD),
            "color": st.one_of(st.none(), st.lists(st.floats(0, 1), min_size=3, max_size=3)),
            "hist": SHARES,
            "edges": SHARES,
        },
    ),
)
ROW = st.fixed_dictionaries(
    {
        "features": FEATURES,
        "prediction": st.one_of(st.none(), st.sampled_from(["0", "1"])),
        "probability": st.one_of(st.none(), st.floats()),
    }
)
PICTURE = st.fixed_dictionaries(
    {
        "image_stats": STATS,
        "camera_state": st.just("ok"),
        "image_width": st.one_of(st.none(), st.integers(0, 9)),
        "image_height": st.one_of(st.none(), st.integers(0, 9)),
        "raw_scores": st.one_of(st.none(), st.lists(st.floats(0, 1), max_size=4)),
        "detections": st.one_of(
            st.none(), st.lists(st.fixed_dictionaries({"label": ODD}), max_size=3)
        ),
    }
)


def sane(found: Findings) -> None:
    """As JSON it comes back the same: no NaN, which JSON has not."""
    plain = found.plain()
    text = msgspec.json.encode(plain)
    assert report.findings(msgspec.json.decode(text)) == found
    numbers = [value for feature in found.features for value in msgspec.structs.astuple(feature)]
    assert all(math.isfinite(value) for value in numbers if isinstance(value, float))


@settings(max_examples=40, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=25), st.lists(ROW, min_size=1, max_size=25))
def test_no_window_of_rows_breaks_a_look(before: list[dict[str, Any]], after: list[dict[str, Any]]):
    """Whatever types and gaps they have, learned or fixed: a verdict and finite numbers."""
    learned = from_answers("rows", before)
    msgspec.json.encode(learned)
    sane(look(learned, after))
    fixed = known({"a": NUMBER, "b": WORD, "c": {"kind": "number", "missing": 3}})
    sane(look(fixed, after))


@settings(max_examples=40, deadline=None)
@given(st.lists(PICTURE, min_size=1, max_size=25), st.lists(PICTURE, min_size=1, max_size=25))
def test_no_window_of_pictures_breaks_a_look(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
):
    """Whatever is missing in their numbers, also after the reference was stored and read."""
    half = max(1, len(before) // 2)
    blocks = [block for block in (seen(before[:half]), seen(before[half:])) if block]
    found = reference.statistics("pictures", blocks)
    more = {key: value for key, value in found.items() if key != "features"}
    learned = Known(side=Side(source="learned", count=9), features=found["features"], more=more)
    stored = msgspec.json.decode(msgspec.json.encode(learned), type=Known)
    sane(look(stored, after, "pictures"))


def test_sick_pictures_are_counted_apart():
    """By what was wrong with them; a picture nobody examined counts as healthy."""
    rows = seen([{"camera_state": state} for state in ("ok", None, "dark", "dark", "frozen")])
    healthy, sick = vision.healthy(rows)
    assert (len(healthy), sick) == (2, {"dark": 2, "frozen": 1})
