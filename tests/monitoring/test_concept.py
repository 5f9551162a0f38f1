"""A version that begins to be wrong more often is named, and a steady one is left alone."""

import numpy as np
import pytest
from tests.monitoring.simulated import (
    SETTINGS,
    carded,
    label,
    named,
    quiet_rows,
    rows_version,
    store,
    watch,
)

from andon.monitoring.concept import ConceptDetector, run_length, scheme_for
from andon.monitoring.signals import Signal, State
from andon.store.database import Database
from andon.store.records import ModelVersion


def delays(usual: float, runs: int, seed: int) -> list[int]:
    """Labels from a rise of ten points to its alarm; one more than two windows where none came."""
    draw = np.random.default_rng(seed)
    scheme, two = scheme_for(usual), 2 * SETTINGS.label_window
    found = []
    for _ in range(runs):
        total, delay = 0, two + 1
        errors = np.r_[draw.random(300) < usual, draw.random(two) < usual + 0.10]
        for place, error in enumerate(errors):
            total = total + scheme.up if error else max(0, total - scheme.down)
            if total >= scheme.limit and place >= 300:
                delay = place - 299
                break
        found.append(delay)
    return found


@pytest.mark.parametrize("usual", [0.05, 0.10, 0.15])
def test_ten_points_are_named_within_two_windows(usual: float) -> None:
    """In 95 of 100 runs."""
    found = delays(usual, 300, 7)
    assert np.mean([one <= 2 * SETTINGS.label_window for one in found]) >= 0.95


@pytest.mark.parametrize("usual", [0.05, 0.15, 0.3])
def test_false_alarms_are_as_rare_as_the_chain_says(usual: float) -> None:
    """A short threshold is simulated: the mean time to its alarm agrees with the chain's."""
    scheme, draw = scheme_for(usual), np.random.default_rng(3)
    limit = scheme.up * 2
    times = []
    for _ in range(300):
        total = count = 0
        while total < limit:
            total = max(0, total + (scheme.up if draw.random() < usual else -scheme.down))
            count += 1
        times.append(count)
    expected = run_length(usual, scheme.up, scheme.down, limit)
    assert np.mean(times) == pytest.approx(expected, rel=0.2)


def test_the_time_between_false_alarms_is_what_was_asked_for() -> None:
    """50 000 labels, or 25 000 of a version that is often wrong."""
    for usual, between in ((0.02, 50_000), (0.15, 50_000), (0.25, 25_000)):
        scheme = scheme_for(usual)
        length = run_length(usual, scheme.up, scheme.down, scheme.limit)
        assert between <= length < 1.5 * between


def labelled(db: Database, version: ModelVersion, errors: list[int], seed: int = 1) -> None:
    """Answers with labels that arrive in their order; 1 is an error."""
    rows = quiet_rows(version, len(errors), seed)
    truths = [int(row["prediction"]) ^ error for row, error in zip(rows, errors, strict=True)]
    for key, truth in zip(store(db, rows), truths, strict=True):
        label(db, [key], [truth])


def look(db: Database, version: ModelVersion) -> Signal:
    """What a new detector says, as after a restart."""
    return named(ConceptDetector(db, SETTINGS).look(watch(version)), "concept")


def test_a_drop_is_found_again_after_a_restart(sqlite_db: Database) -> None:
    """The sum comes out of the log, in the order in which labels came."""
    version = carded(rows_version(sqlite_db), 0.9)
    labelled(sqlite_db, version, [0] * 60)
    assert look(sqlite_db, version).state is State.OK
    labelled(sqlite_db, version, [0, 1, 0] * 40)
    first, second = look(sqlite_db, version), look(sqlite_db, version)
    assert first == second
    assert first.state is State.BAD
    assert first.since is not None


def test_too_few_labels_and_no_usual_rate_say_so(sqlite_db: Database) -> None:
    """How many it takes."""
    version = rows_version(sqlite_db, card=None)
    labelled(sqlite_db, version, [0] * 20)
    assert look(sqlite_db, version).needed == 30
    labelled(sqlite_db, version, [0] * 20)
    signal = look(sqlite_db, version)
    assert (signal.state, signal.needed) == (State.UNKNOWN, SETTINGS.label_window)


def test_without_held_out_rows_the_first_window_is_usual(sqlite_db: Database) -> None:
    """It is kept."""
    version = rows_version(sqlite_db, card=None)
    errors = [int(place % 10 == 0) for place in range(SETTINGS.label_window)]
    rows = quiet_rows(version, len(errors))
    truths = [int(row["prediction"]) ^ error for row, error in zip(rows, errors, strict=True)]
    label(sqlite_db, store(sqlite_db, rows), truths)
    signal = look(sqlite_db, version)
    assert signal.state is State.OK
    assert signal.baseline == pytest.approx(0.1 + np.sqrt(0.01 / 200), abs=0.03)
    assert sqlite_db.metrics.first(version.id, "baseline_error_rate") is not None


def test_a_clock_that_was_set_back_hides_nothing(sqlite_db: Database) -> None:
    """A beginning in the future is none."""
    version = rows_version(sqlite_db)
    labelled(sqlite_db, version, [0] * 40)
    watched = watch(version)
    later = watch(version, since=watched.moment.replace(year=watched.moment.year + 1))
    (signal,) = ConceptDetector(sqlite_db, SETTINGS).look(later)
    assert signal.count == 40
