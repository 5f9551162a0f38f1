"""What signals, answers and reports become on the pages about watching."""

from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.web.dashboard.scenes import NOW, minutes_ago
from tests.web.dashboard.scenes_drift import calm, found, record, stored
from tests.web.dashboard.scenes_watching import (
    accuracy,
    answers,
    measured,
    month,
    rollout,
    signal,
    signals,
    slow,
)

from andon.monitoring.signals import Issue, State
from andon.web.dashboard import drift, performance, trends
from andon.web.dashboard import watching_reading as w


def verdict(*told):
    """The verdict on v3."""
    return w.verdict(record(), told, {})


def test_a_quiet_version_does_what_it_did():
    """And the numbers that wait for labels do not keep it from saying so."""
    said = w.verdict(record(), signals(), {})
    assert (said.tone, said.text) == ("good", "v3 does what it did")
    assert said.detail.endswith("1 more cannot be told yet.")


def test_the_worst_signal_is_the_verdict_and_the_next_ones_follow():
    """A critical one goes before a warning, whatever the order."""
    since = {str(Issue.PERFORMANCE): minutes_ago(9), str(Issue.DATA_DRIFT): minutes_ago(90)}
    said = w.verdict(record(), slow()[::-1], since)
    assert said.tone == "stop"
    assert said.text == "v3 takes 2.6 times as long as usual"
    assert said.since == minutes_ago(9)
    assert "Brightness moved" in said.detail


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"name": "error_rate", "value": 0.125}, "v3 fails on 12 % of what it is asked"),
        ({"name": "accuracy", "value": 0.61}, "v3 is right in 61 % of its answers"),
        (
            {"name": "estimated_accuracy", "value": 0.61, "estimated": True},
            "v3 is right in an estimated 61 % of its answers",
        ),
        (
            {"name": "confidence", "value": 0.5, "baseline": 0.8},
            "v3 is less sure than it was: 0.50 instead of 0.80",
        ),
        (
            {"name": "drift", "issue": Issue.DATA_DRIFT, "value": 2.0},
            "v3 is asked other things than it was made for",
        ),
        ({"name": "stuck", "value": 60.0}, "v3 gives the same answer to everything"),
        (
            {"name": "latency_before", "value": 90.0, "baseline": 30.0},
            "v3 takes 3.0 times as long as the version before",
        ),
        (
            {"name": "detections", "value": 0.1, "baseline": 4.6},
            "v3 finds 0.10 things in a picture instead of 4.60",
        ),
        (
            {"name": "camera", "value": 1.0, "subject": "line-2", "issue": Issue.DATA_QUALITY},
            "Camera line-2 is sick: 100 % of its pictures cannot be used",
        ),
        ({"name": "refused", "value": 0.24}, "24 % of what v3 is sent is refused"),
        (
            {"name": "missing", "issue": Issue.DATA_QUALITY},
            "What v3 is sent has faults: missing values",
        ),
        ({"name": "else", "summary": "It is odd."}, "It is odd"),
    ],
)
def test_each_trouble_has_its_sentence(given, text):
    """With its number, and called an estimate where it is one."""
    assert verdict(signal(state=State.BAD, **given)).text == text


def test_what_the_heading_says_is_not_said_again_below_it():
    """Where a number has no sentence of its own the heading is its summary."""
    said = verdict(signal("odd", state=State.BAD, summary="It is odd."))
    assert (said.text, said.detail) == ("It is odd", "")


def test_too_few_answers_are_a_verdict_with_what_lacks():
    """Not good, not bad: how many there are, and how many it takes."""
    waiting = signal(state=State.UNKNOWN, count=12, needed=30, summary="12 so far.")
    said = verdict(waiting, signal("confidence", state=State.UNKNOWN, count=12, needed=20))
    assert (said.tone, said.text) == ("none", "Too few answers to say: 12 of 30")
    assert verdict().text == "Nobody has looked at v3 yet"


def test_one_fine_number_does_not_make_a_good_version():
    """While more of them wait for answers than are known."""
    waiting = [
        signal(name, state=State.UNKNOWN, count=40, needed=100) for name in ("stuck", "confidence")
    ]
    said = verdict(signal("error_rate"), *waiting)
    assert said.tone == "none"
    assert said.detail.startswith("Nothing is wrong so far.")


def test_signals_stand_worst_first_and_each_once():
    """Bad, then unknown, then fine; a camera has its name in the row's."""
    lines = w.signal_lines([*slow(), *slow()])
    assert [line.tone for line in lines][:3] == ["stop", "look", "none"]
    assert len({line.key for line in lines}) == len(lines)
    assert lines[1].href == "/drift/reports/0199-0001"
    (camera,) = w.signal_lines([signal("camera", subject="line-2", value=0.4)])
    assert (camera.name, camera.number) == ("Camera: line-2", "40 %")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("latency", 8.24, "8.2 ms"),
        ("error_rate", 0.0042, "0.4 %"),
        ("error_rate", 0.0, "0 %"),
        ("stale_feed", 7200.0, "2 h 00 min"),
        ("stuck", 60.0, "60"),
        ("drift", 1.7, "1.70"),
        ("latency", None, ""),
    ],
)
def test_a_number_has_the_unit_of_its_signal(name, value, text):
    """Nobody has to guess."""
    assert w.told(name, value) == text


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.sampled_from([0.1, 0.5, 0.95]))
def test_percentiles_are_those_of_numpy(values, part):
    """One definition of a percentile in the whole house."""
    assert w.quantile(values, part) == pytest.approx(np.quantile(values, part), abs=1e-6)


@given(st.lists(st.integers(0, 7 * 86_400), min_size=1, max_size=60))
def test_every_answer_is_in_one_slice_and_slices_follow_each_other(seconds):
    """Whatever the window, there are not too many of them."""
    rows = [replace_time(answers(1)[0], NOW - timedelta(seconds=one)) for one in sorted(seconds)]
    start, end = rows[-1].created_at, rows[0].created_at
    slices = w.sliced(rows, start, end)
    assert sum(one.answers for one in slices) == len(rows)
    assert len(slices) <= w.SLICES + 1
    for one, other in pairwise(slices):
        assert one.end <= other.start


def replace_time(row, moment):
    """The same answer at another time."""
    row.created_at = moment
    return row


def test_a_slice_tells_failures_from_answers():
    """Failed ones count as volume and have no time."""
    told = w.sliced(answers(200)[:3], NOW - timedelta(hours=20), NOW)
    assert sum(one.answers for one in told) == 3
    assert all(one.p50 is not None for one in told)
    failed = [row for row in answers(400) if row.status == "error"]
    alone = w.sliced(failed[:1], NOW - timedelta(hours=1), NOW)[0]
    assert (alone.answers, alone.failed, alone.p50, alone.confidence) == (1, 1, None, None)


def test_an_answer_from_the_cache_has_no_time_of_its_own():
    """The chart tells how long the version takes, not how long the cache does."""
    row = answers(10)[0]
    row.cached = True
    (one,) = w.sliced([row], NOW - timedelta(hours=1), NOW)
    assert (one.answers, one.p50) == (1, None)


# -- Performance ------------------------------------------------------------------------


def test_an_estimated_accuracy_is_marked_and_says_on_what_it_rests():
    """With its interval; a measured one says how many labels."""
    *_, guess = performance.numbers(measured(), of_rows=False)
    assert guess.estimated
    assert guess.note == "82 % to 91 %, without labels"
    known = performance.numbers(measured(accuracy=accuracy()), of_rows=False)
    by_name = {one.name: one for one in known}
    assert by_name["Accuracy"].note == "82 % to 91 %, from 140 labels"
    assert not by_name["Accuracy"].estimated
    assert by_name["F1"].value == "0.88"


def test_an_accuracy_nobody_can_tell_says_what_it_takes():
    """A dash, and no number that looks like one."""
    few = accuracy(value=None, low=None, high=None, labels=3, precision=None, recall=None, f1=None)
    *_, said = performance.numbers(measured(accuracy=few), of_rows=False)
    assert (said.value, said.note) == ("–", "3 of 30 labels needed")


def test_a_window_in_which_all_failed_has_no_times():
    """Volume and errors stay."""
    bad = measured(errors=100, error_rate=1.0, latency=None, confidence=None, accuracy=None)
    names = [one.name for one in performance.numbers(bad, of_rows=True)]
    assert names == ["Asked", "Errors", "Accuracy"]


def test_what_was_refused_is_neither_an_answer_nor_left_out():
    """The volume says what became of all that was asked, and no time is drawn where none was."""
    refused = [row for row in answers(400) if row.status == "error"]
    found = measured(count=6, errors=0, refused=6, latency=None)
    (volume,) = performance.figures(refused, found, 2.0)
    assert (volume.id, volume.summary) == ("volume", "6 asked, 0 failed, 6 refused.")


@pytest.mark.parametrize("text", ["0", "-3", "1e3", "99999999", "²", "x" * 64, "5 000"])
def test_an_impossible_window_is_told_and_replaced(text):
    """The usual one is shown."""
    asked = performance.window_of(text, 100)
    assert asked.problem.startswith("There is no window called")
    assert (asked.key, asked.limit) == ("", 100)


def test_a_judgement_becomes_a_sentence():
    """Better, worse, or not enough evidence: never silence."""
    assert performance.candidate(rollout()).verdict.startswith("There is not enough evidence yet.")
    better = performance.candidate(rollout(judgement={"verdict": "better", "reasons": []}))
    assert (better.tone, better.verdict) == ("good", "v4 is better.")
    assert performance.candidate(rollout(judgement=None)).verdict == "Nothing was judged yet."


# -- Drift ------------------------------------------------------------------------------


def test_the_verdict_on_drift_stands_since_the_first_report_that_says_so():
    """Of those in a row."""
    reports = [stored(1), stored(2), stored(3), stored(4, "none"), stored(5)]
    assert drift.since(reports) == stored(3).created_at
    assert drift.since([]) is None


def test_one_feature_and_many_have_their_own_grammar():
    """Has, have, and how many others."""
    alone = replace(found(), features=found().features[:1])
    assert (
        drift.verdict(record(), alone, None).text == "Brightness has moved away from what v3 knows"
    )
    assert "and 1 other have moved" in drift.verdict(record(), found(), None).text


def test_not_enough_data_is_no_drift_and_no_absence_of_it():
    """A verdict of its own, with how many lack."""
    few = found(verdict="unknown", features=[], window=replace(found().window, count=12))
    said = drift.verdict(record(), few, NOW)
    assert (said.tone, said.text) == ("none", "Too few answers to say: 12 of 50")
    assert said.since is None


def test_a_suspicion_is_told_but_is_no_drift():
    """The next window decides."""
    line = drift.feature_line(calm("contrast", "Contrast", suspected=True))
    assert (line.tone, line.word) == ("good", "Watched closely")


def test_rare_categories_are_drawn_together():
    """And still add up to one."""
    names = [f"c{place}" for place in range(40)]
    shares = [1 / 40] * 40
    kept, before, after = drift.shortened(names, shares, shares)
    assert len(kept) == 12
    assert sum(before) == pytest.approx(1)
    assert sum(after) == pytest.approx(1)


# -- Trends -----------------------------------------------------------------------------


def test_a_steady_month_is_called_steady_and_a_slow_one_is_told():
    """The first days against the last ones."""
    assert trends.verdict(month(), 30).text == "Steady over 30 days"
    slower = trends.verdict(month(2.2), 30)
    assert slower.tone == "look"
    assert slower.text.startswith("Answers take 2.")


def test_an_estimate_is_not_compared_with_a_measurement():
    """The step from one to the other is no trend."""
    days = month()["volume"]
    told = {
        "volume": days,
        "accuracy": [
            one._replace(value=0.9 if place < 3 else 0.6, estimated=place < 3)
            for place, one in enumerate(days)
        ],
    }
    assert trends.verdict(told, 30).tone == "good"


def test_three_days_are_no_trend():
    """Nothing is called steady that nobody has seen move."""
    few = {name: days[:3] for name, days in month().items()}
    assert trends.verdict(few, 7).text == "Too few days to tell a trend"
