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

from andon.monitoring.concept import (
    BASELINE,
    LABELS_BETWEEN_ALARMS,
    OWN,
    ConceptDetector,
    run_length,
    scheme_for,
    usual_errors,
)
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
    """25 000 labels, whatever share of errors is usual; in steps of whole numbers a little more."""
    for usual in (0.02, 0.05, 0.10, 0.15, 0.25):
        scheme = scheme_for(usual)
        length = run_length(usual, scheme.up, scheme.down, scheme.limit)
        assert LABELS_BETWEEN_ALARMS <= length < 1.5 * LABELS_BETWEEN_ALARMS


def labelled(db: Database, version: ModelVersion, errors: list[int], seed: int = 1) -> None:
    """Answers with labels that arrive in their order; 1 is an error."""
    rows = quiet_rows(version, len(errors), seed)
    truths = [int(row["prediction"]) ^ error for row, error in zip(rows, errors, strict=True)]
    for key, truth in zip(store(db, rows), truths, strict=True):
        label(db, [key], [truth])


def look_after(db: Database, version: ModelVersion, errors: list[int]) -> Signal:
    """What is said after some more labels."""
    rows = quiet_rows(version, len(errors))
    truths = [int(row["prediction"]) ^ error for row, error in zip(rows, errors, strict=True)]
    label(db, store(db, rows), truths)
    return look(db, version)


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
    assert sqlite_db.metrics.first(version.id, BASELINE) is not None


def test_what_is_usual_gets_better_known_with_its_own_labels(sqlite_db: Database) -> None:
    """The held-out rows count with them, as so many as their standard error is worth."""
    # An error of 0.02 at a rate of 0.2 is that of 400 rows.
    assert usual_errors(np.r_[np.ones(40), np.zeros(360)], 0.8, 0.02) == pytest.approx(0.15)
    few = usual_errors(np.r_[np.ones(20), np.zeros(180)], 0.8, 0.02)
    assert few is not None
    assert few > (20 + 80) / 600
    version = carded(rows_version(sqlite_db), 0.85)
    begin = look_after(sqlite_db, version, [int(place % 10 == 0) for place in range(190)])
    assert begin.baseline == pytest.approx(0.15 + 0.0204, abs=0.001)
    look_after(sqlite_db, version, [int(place % 10 == 0) for place in range(30)])
    # It is learned at the end of a look.
    assert 0.10 < (look(sqlite_db, version).baseline or 0) < 0.15
    (kept,) = sqlite_db.metrics.recent(version.id, name=BASELINE)
    assert (kept.details or {})["labels"] == OWN[0]


def test_a_version_that_was_never_as_good_as_its_card_is_not_normal(sqlite_db: Database) -> None:
    """Its own labels are surely worse than its held-out rows: those stay the measure."""
    bad = np.r_[np.ones(70), np.zeros(130)]
    assert usual_errors(bad, 0.9, 0.02) is None
    version = carded(rows_version(sqlite_db), 0.9)
    assert look_after(sqlite_db, version, [int(place % 3 == 0) for place in range(210)]).state is (
        State.BAD
    )
    assert sqlite_db.metrics.recent(version.id, name=BASELINE) == []


def test_labels_beyond_those_of_a_look_are_learned_now_and_then(sqlite_db: Database) -> None:
    """The newest milestone needs more labels than are looked at."""
    version = carded(rows_version(sqlite_db), 0.9)
    look_after(sqlite_db, version, [int(place % 10 == 0) for place in range(OWN[-1])])
    detector = ConceptDetector(sqlite_db, SETTINGS)
    for _ in range(2):
        detector.look(watch(version))
    newest = sqlite_db.metrics.recent(version.id, name=BASELINE, limit=1)[0]
    assert newest.details == {"labels": OWN[-1]}


def test_a_clock_that_was_set_back_hides_nothing(sqlite_db: Database) -> None:
    """A beginning in the future is none."""
    version = rows_version(sqlite_db)
    labelled(sqlite_db, version, [0] * 40)
    watched = watch(version)
    later = watch(version, since=watched.moment.replace(year=watched.moment.year + 1))
    (signal,) = ConceptDetector(sqlite_db, SETTINGS).look(later)
    assert signal.count == 40
