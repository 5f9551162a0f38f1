"""How a version does over its newest answers, and when that is bad."""

import random
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from tests.monitoring.simulated import (
    SETTINGS,
    carded,
    failed,
    label,
    named,
    picture_answer,
    picture_version,
    quiet_rows,
    row_answer,
    rows_version,
    store,
    watch,
)

from andon.monitoring.baselines import LATENCY, WARM_UP, Baselines
from andon.monitoring.performance import PerformanceDetector, measure
from andon.monitoring.signals import Issue, Signal, State
from andon.store.clock import now
from andon.store.database import Database
from andon.store.records import ModelVersion

FULL = WARM_UP + SETTINGS.monitor_window


def look(db: Database, version: ModelVersion, **given: object) -> list[Signal]:
    """A look of a new detector, as after a restart."""
    return PerformanceDetector(db, SETTINGS).look(watch(version, **given))


def bad(signals: list[Signal]) -> set[str]:
    """Names of what is bad."""
    return {one.name for one in signals if one.state is State.BAD}


def test_no_traffic_is_no_fault(sqlite_db: Database) -> None:
    """Everything is unknown, and says since when."""
    version = rows_version(sqlite_db)
    signals = look(sqlite_db, version, since=now() - timedelta(hours=3))
    assert {one.state for one in signals} == {State.UNKNOWN}
    assert "no answers since" in named(signals, "error_rate").summary
    window = measure(sqlite_db, version, settings=SETTINGS)
    assert (window.count, window.error_rate, window.latency, window.since) == (0, None, None, None)


def test_a_batch_of_one_moment_is_no_rate_of_millions(sqlite_db: Database) -> None:
    """Rows of a batch are logged within a millisecond: a second is the least that is counted."""
    version = rows_version(sqlite_db)
    moment = now() - timedelta(minutes=5)
    store(sqlite_db, [row | {"at": moment} for row in quiet_rows(version, 50)])
    assert measure(sqlite_db, version, settings=SETTINGS).per_minute == pytest.approx(3000)


def test_a_quiet_version_is_well(sqlite_db: Database) -> None:
    """Nothing is bad, and the numbers are those of the log."""
    version = rows_version(sqlite_db)
    store(sqlite_db, quiet_rows(version, 250))
    signals = look(sqlite_db, version)
    assert bad(signals) == set()
    assert named(signals, "latency").state is State.OK
    assert named(signals, "confidence").state is State.OK
    window = measure(sqlite_db, version, settings=SETTINGS)
    assert window.count == 100
    assert window.per_minute == pytest.approx(60, rel=0.05)
    assert window.latency is not None
    assert 10 < window.latency.p50 < window.latency.p99 < 12.1
    assert window.accuracy is not None
    assert window.accuracy.estimated
    assert window.accuracy.name == "estimated_accuracy"
    assert sum(window.predictions.values()) == pytest.approx(1)


def test_failures_are_bad_and_refused_inputs_are_not(sqlite_db: Database) -> None:
    """A row that no version could answer is not this version's error."""
    version = rows_version(sqlite_db)
    store(sqlite_db, quiet_rows(version, 80))
    refused = failed(version, "The row is not valid: age must be a number.")
    store(sqlite_db, [dict(refused) for _ in range(20)])
    signal = named(look(sqlite_db, version), "error_rate")
    assert signal.state is State.OK
    assert signal.evidence["refused"] == 20
    store(sqlite_db, [failed(version) for _ in range(15)])
    signal = named(look(sqlite_db, version), "error_rate")
    assert (signal.state, signal.issue) == (State.BAD, Issue.PERFORMANCE)
    assert "The model runtime failed." in signal.summary


def test_three_failures_are_enough_where_nothing_works(sqlite_db: Database) -> None:
    """A broken version is not given ten chances."""
    version = rows_version(sqlite_db)
    store(sqlite_db, [failed(version) for _ in range(2)])
    assert named(look(sqlite_db, version), "error_rate").state is State.UNKNOWN
    store(sqlite_db, [failed(version)])
    assert named(look(sqlite_db, version), "error_rate").state is State.BAD


def test_latency_is_compared_with_the_first_full_window(sqlite_db: Database) -> None:
    """The warm-up and cached answers are left out of it, and it is kept."""
    version = rows_version(sqlite_db)
    store(sqlite_db, quiet_rows(version, WARM_UP, latency_ms=500.0))
    store(sqlite_db, quiet_rows(version, 50, latency_ms=0.1, cached=True))
    store(sqlite_db, quiet_rows(version, 99))
    assert "1 more answers" in named(look(sqlite_db, version), "latency").summary
    store(sqlite_db, quiet_rows(version, 1))
    assert named(look(sqlite_db, version), "latency").state is State.OK
    kept = sqlite_db.metrics.first(version.id, LATENCY)
    assert kept is not None
    assert kept.value == pytest.approx(11, abs=0.5)
    store(sqlite_db, quiet_rows(version, 100, seed=2, latency_ms=27.0))
    signal = named(look(sqlite_db, version), "latency")
    assert signal.state is State.BAD
    assert signal.baseline == kept.value
    assert sqlite_db.metrics.first(version.id, LATENCY) == kept


def test_a_new_version_is_not_normal_because_it_was_always_slow(sqlite_db: Database) -> None:
    """For a day its latency is held against what was usual for the version before."""
    before, after = rows_version(sqlite_db), rows_version(sqlite_db)
    store(sqlite_db, quiet_rows(before, FULL))
    look(sqlite_db, before)
    begin = now()
    slow = quiet_rows(after, FULL, latency_ms=25.0)
    store(sqlite_db, [row | {"at": begin + timedelta(milliseconds=5)} for row in slow])
    detector = PerformanceDetector(sqlite_db, SETTINGS)
    signals = detector.look(watch(after, previous=before, since=begin))
    assert named(signals, "latency").state is State.OK
    signal = named(signals, "latency_before")
    assert (signal.state, signal.severity) == (State.BAD, "warning")
    assert signal.baseline == pytest.approx(11, abs=0.5)
    assert "usual for v1 before it" in signal.summary
    lenient = watch(after, previous=before, since=begin, latency_factor=3.0)
    assert named(detector.look(lenient), "latency_before").state is State.OK
    for old in (
        watch(after, previous=before, since=begin - timedelta(hours=25)),
        watch(after, previous=None, since=begin),
    ):
        assert "latency_before" not in {one.name for one in detector.look(old)}


def test_the_baseline_survives_the_pruning_of_the_log(sqlite_db: Database) -> None:
    """It is among the measured numbers."""
    version = rows_version(sqlite_db)
    store(sqlite_db, quiet_rows(version, FULL))
    look(sqlite_db, version)
    sqlite_db.retention.delete_predictions(now() + timedelta(hours=1))
    sqlite_db.metrics.prune(now() + timedelta(hours=1))
    baseline = Baselines(sqlite_db, 100).get(version)
    assert baseline is not None
    assert baseline.described.confidence.count == 100


def test_accuracy_by_labels_goes_before_the_estimate(sqlite_db: Database) -> None:
    """Under the limit it is critical; the estimate is only told then."""
    version = rows_version(sqlite_db)
    keys = store(sqlite_db, quiet_rows(version, 120))
    rows = sqlite_db.predictions.page(limit=200)[0]
    wrong = {row.id: 1 - int(row.prediction or 0) for row in rows}
    label(sqlite_db, keys[:60], [wrong[key] for key in keys[:60]])
    signals = look(sqlite_db, version)
    signal = named(signals, "accuracy")
    assert (signal.state, signal.severity, signal.value) == (State.BAD, "critical", 0.0)
    assert named(signals, "estimated_accuracy").severity == "info"
    accuracy = measure(sqlite_db, version, settings=SETTINGS).accuracy
    assert accuracy is not None
    assert (accuracy.estimated, accuracy.labels) == (False, 60)


def test_too_few_labels_say_how_many_it_takes(sqlite_db: Database) -> None:
    """29 are not enough."""
    version = rows_version(sqlite_db)
    keys = store(sqlite_db, quiet_rows(version, 40))
    label(sqlite_db, keys[:29], [0] * 29)
    signal = named(look(sqlite_db, version), "accuracy")
    assert (signal.state, signal.count, signal.needed) == (State.UNKNOWN, 29, 30)


def test_far_under_the_held_out_accuracy_is_bad(sqlite_db: Database) -> None:
    """Though above the limit."""
    version = carded(rows_version(sqlite_db), 0.95)
    keys = store(sqlite_db, quiet_rows(version, 200))
    rows = {row.id: row for row in sqlite_db.predictions.page(limit=300)[0]}
    truths = [int(rows[key].prediction or 0) ^ (place % 4 == 0) for place, key in enumerate(keys)]
    label(sqlite_db, keys, truths)
    signal = named(look(sqlite_db, version), "accuracy")
    assert (signal.state, signal.severity) == (State.BAD, "warning")
    assert signal.value == pytest.approx(0.75)


def test_labels_of_an_earlier_time_do_not_count(sqlite_db: Database) -> None:
    """A version that serves again is judged by its answers since then."""
    version = rows_version(sqlite_db)
    keys = store(sqlite_db, quiet_rows(version, 60))
    label(sqlite_db, keys, [1] * 60)
    signals = look(sqlite_db, version, since=now() - timedelta(milliseconds=1))
    assert named(signals, "accuracy").state is State.UNKNOWN


def test_a_fall_of_confidence_is_named(sqlite_db: Database) -> None:
    """By more than the limit allows."""
    version = rows_version(sqlite_db)
    store(sqlite_db, quiet_rows(version, FULL))
    look(sqlite_db, version)
    draw = random.Random(3)
    store(sqlite_db, [row_answer(version, 0.4 + 0.25 * draw.random()) for _ in range(100)])
    signal = named(look(sqlite_db, version), "confidence")
    assert (signal.state, signal.issue) == (State.BAD, Issue.LOW_CONFIDENCE)


def test_a_model_that_is_stuck_is_named(sqlite_db: Database) -> None:
    """The same answer to different rows; the same answer to the same row is right."""
    version = rows_version(sqlite_db)
    store(sqlite_db, [row_answer(version, 0.7) for _ in range(100)])
    assert named(look(sqlite_db, version), "stuck").state is State.OK
    store(sqlite_db, [row_answer(version, 0.7, features={"age": age}) for age in range(100)])
    signal = named(look(sqlite_db, version), "stuck")
    assert (signal.state, signal.severity) == (State.BAD, "critical")


def boards(version: ModelVersion, count: int, seed: int, rate: float = 0.4) -> list[dict]:
    """Pictures of which a share has defects, mostly open ones."""
    draw = random.Random(seed)
    return [
        picture_answer(
            version,
            draw.choices(("open", "short"), (0.8, 0.2), k=1) if draw.random() < rate else (),
            image_hash=f"{seed:032d}{place:032d}",
        )
        for place in range(count)
    ]


@pytest.mark.parametrize(("found", "name"), [((), "detections"), (("open",) * 3, "detections")])
def test_detections_that_collapse_or_explode_are_named(
    sqlite_db: Database, found: tuple[str, ...], name: str
) -> None:
    """Beside the first full window."""
    version = picture_version(sqlite_db)
    store(sqlite_db, boards(version, FULL, 1))
    assert bad(look(sqlite_db, version)) == set()
    store(sqlite_db, [picture_answer(version, found) for _ in range(100)])
    signal = named(look(sqlite_db, version), name)
    assert (signal.state, signal.issue) == (State.BAD, Issue.ANOMALY)


def test_other_labels_than_usual_are_named(sqlite_db: Database) -> None:
    """By the total variation distance."""
    version = picture_version(sqlite_db)
    store(sqlite_db, boards(version, FULL, 1))
    look(sqlite_db, version)
    store(sqlite_db, boards(version, 100, 2))
    assert bad(look(sqlite_db, version)) == set()
    store(sqlite_db, [picture_answer(version, ("spur",)) for _ in range(100)])
    signal = named(look(sqlite_db, version), "label_mix")
    assert signal.state is State.BAD
    assert "'spur' moved most, from 0% to 100%" in signal.summary


def test_a_new_version_is_compared_with_the_one_before(sqlite_db: Database) -> None:
    """While it has no first full window of its own."""
    before, version = picture_version(sqlite_db), picture_version(sqlite_db)
    store(sqlite_db, boards(before, 200, 1))
    since = now()
    blind = [picture_answer(version, at=since + timedelta(seconds=s)) for s in range(1, 61)]
    store(sqlite_db, blind)
    signals = look(sqlite_db, version, previous=before, since=since)
    assert named(signals, "detections").state is State.BAD
    assert "of the version before" in named(signals, "detections").summary


def test_an_uncalibrated_estimate_is_never_critical(sqlite_db: Database) -> None:
    """A detector's confidence has not been checked against anything."""
    version = picture_version(sqlite_db)
    store(sqlite_db, [picture_answer(version, ("open",), 0.51) for _ in range(60)])
    signal = named(look(sqlite_db, version), "estimated_accuracy")
    assert (signal.state, signal.severity, signal.estimated) == (State.BAD, "info", True)
    assert "not calibrated" in signal.summary


_kinds = some.lists(some.sampled_from(["ok", "same", "failed", "refused", "cached"]), max_size=40)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(kinds=_kinds, ahead=some.booleans(), labelled=some.integers(0, 40))
def test_whatever_the_log_holds_every_signal_has_a_sentence(
    sqlite_db: Database, kinds: list[str], ahead: bool, labelled: int
) -> None:
    """One row, constant rows, wrong labels, a clock that was set back: nothing fails."""
    version = rows_version(sqlite_db)
    made = {
        "ok": lambda: quiet_rows(version, 1)[0],
        "same": lambda: row_answer(version, 0.5, features={"age": 1}),
        "failed": lambda: failed(version),
        "refused": lambda: failed(version, "The row is not valid: age."),
        "cached": lambda: row_answer(version, 0.9, cached=True),
    }
    keys = store(sqlite_db, [made[kind]() for kind in kinds])
    label(sqlite_db, keys[:labelled], [place % 3 for place in range(len(keys[:labelled]))])
    since = now() + timedelta(days=1) if ahead else None
    signals = look(sqlite_db, version, since=since)
    assert all(one.summary.endswith(".") and one.model == "heart" for one in signals)
    assert len({one.name for one in signals}) == len(signals)
    window = measure(sqlite_db, version, since=since, settings=SETTINGS)
    assert window.count == len(kinds)
    assert window.errors == kinds.count("failed")
    assert window.refused == kinds.count("refused")
    if window.error_rate is not None:
        assert 0 <= window.error_rate <= 1
