"""The watch for drift: references, windows, verdicts, reports, and odd days."""

from datetime import timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.monitoring.drift import builders
from tests.monitoring.drift.builders import picture, row, watched, write
from tests.store.builders import add_version

from andon.errors import Conflict, InvalidRequest
from andon.monitoring.drift import reference
from andon.monitoring.drift.detector import DriftDetector, run
from andon.monitoring.drift.report import findings
from andon.monitoring.signals import Issue, Signal, State
from andon.store.database import Database
from andon.store.drift_reports import DriftReferences, DriftReports
from andon.store.records import ModelVersion

WINDOW = 50
SETTINGS = builders.settings(drift_window=WINDOW, drift_reference=200)
AT_ONCE = timedelta(0)


@pytest.fixture
def version(db: Database) -> ModelVersion:
    """A version that answers pictures and brings no statistics."""
    return add_version(db, description={"task": "object-detection"})


def taken(db: Database, version: ModelVersion, begin: int, count: int, **changes: Any) -> int:
    """Answers to pictures from number `begin` on; where the next begin."""
    random = np.random.default_rng(begin)
    write(db, version, [picture(random, begin + at, **changes) for at in range(count)])
    return begin + count


def by_name(signals: list[Signal]) -> dict[str, Signal]:
    return {signal.name: signal for signal in signals}


def test_a_version_without_traffic_says_what_lacks(db: Database, version: ModelVersion):
    """All three signals are unknown, with how much of the reference there is."""
    found = by_name(DriftDetector(db, SETTINGS).look(watched(version, 0)))
    assert set(found) == {"drift", "prediction_drift", "score_variance"}
    assert {signal.state for signal in found.values()} == {State.UNKNOWN}
    assert found["drift"].summary == "Learning the reference: 0 of 200 pictures, 0 of 24 h."


def test_the_reference_takes_its_time_and_its_pictures(db: Database, version: ModelVersion):
    """Two hundred pictures within hours are no day."""
    detector = DriftDetector(db, SETTINGS)
    end = taken(db, version, 0, 250)
    found = by_name(detector.look(watched(version, end)))
    assert found["drift"].summary == "Learning the reference: 200 of 200 pictures, 4 of 24 h."
    assert found["score_variance"].state is State.OK
    end = taken(db, version, builders.A_DAY, 10)
    known = reference.current(db, SETTINGS, version)
    assert isinstance(known, reference.Known)
    assert (known.side.source, known.side.count) == ("learned", 250)
    stored = DriftReferences(db).get(version.id)
    assert stored is not None
    assert stored.span["count"] == 250


def test_drift_is_named_and_ends_with_its_cause(db: Database, version: ModelVersion):
    """Darker pictures: the report says what moved; afterwards all is well again."""
    detector = DriftDetector(db, SETTINGS, span=AT_ONCE)
    end = taken(db, version, 0, 200)
    quiet = by_name(detector.look(watched(version, end)))["drift"]
    assert quiet.state is State.UNKNOWN
    assert quiet.summary.startswith("0 of 50 pictures")
    end = taken(db, version, end, WINDOW)
    assert by_name(detector.look(watched(version, end)))["drift"].state is State.OK
    end = taken(db, version, end, WINDOW, dark=0.6)
    bad = by_name(detector.look(watched(version, end)))["drift"]
    assert (bad.state, bad.issue) == (State.BAD, Issue.DATA_DRIFT)
    assert bad.value is not None
    assert bad.value > 1
    assert "brightness" in bad.evidence["features"]
    assert bad.report_id is not None
    report = findings(DriftReports(db).get(bad.report_id).report)
    assert report.verdict == "drift"
    assert report.summary.startswith("Drift in 50 pictures against its first 200 pictures")
    end = taken(db, version, end, WINDOW)
    assert by_name(detector.look(watched(version, end)))["drift"].state is State.OK


def test_between_two_windows_the_last_verdict_stands(db: Database, version: ModelVersion):
    """No answer is tested twice."""
    detector = DriftDetector(db, SETTINGS, span=AT_ONCE)
    end = taken(db, version, 0, 200 + WINDOW, dark=1.0)
    first = by_name(detector.look(watched(version, end)))["drift"]
    end = taken(db, version, end, WINDOW - 1, dark=0.5)
    assert by_name(detector.look(watched(version, end)))["drift"] == first
    end = taken(db, version, end, 1, dark=0.5)
    assert by_name(detector.look(watched(version, end)))["drift"].state is State.BAD


def test_pictures_of_sick_cameras_are_no_drift(db: Database, version: ModelVersion):
    """They are left out and counted; the verdict is that too few are left."""
    detector = DriftDetector(db, SETTINGS, span=AT_ONCE)
    end = taken(db, version, 0, 200 + WINDOW)
    assert by_name(detector.look(watched(version, end)))["drift"].state is State.OK
    end = taken(db, version, end, 4 * WINDOW, dark=0.02, camera_state="dark")
    found = by_name(detector.look(watched(version, end)))["drift"]
    assert found.state is State.UNKNOWN
    assert "Left out because the camera is sick: 200 dark." in found.summary
    assert found.evidence["left_out"] == {"dark": 200}
    report = run(db, SETTINGS, version, span=AT_ONCE)
    assert report.verdict == "unknown"


def test_a_restart_goes_on_where_the_watch_was(db: Database, version: ModelVersion):
    """Another process neither looks at the same answers again nor forgets a suspicion."""
    first = DriftDetector(db, SETTINGS, span=AT_ONCE)
    end = taken(db, version, 0, 200 + WINDOW, dark=1.0)
    before = by_name(first.look(watched(version, end)))["drift"]
    again = DriftDetector(db, SETTINGS, span=AT_ONCE)
    after = by_name(again.look(watched(version, end)))["drift"]
    assert msgspec.structs.replace(after, since=None) == msgspec.structs.replace(before, since=None)
    assert len(DriftReports(db).page()[0]) == 1


def test_the_same_verdict_is_kept_once_an_hour(db: Database, version: ModelVersion):
    """Of looks at 0, 48, 96 and 144 minutes, the first and the one at 96 are kept."""
    detector = DriftDetector(db, SETTINGS, span=AT_ONCE)
    end = taken(db, version, 0, 200)
    for _ in range(4):
        # These take 48 minutes.
        end = taken(db, version, end, WINDOW)
        detector.look(watched(version, end))
    kept = DriftReports(db).page()[0]
    assert [one.verdict for one in kept] == ["none", "none"]


def test_a_clock_that_jumped_back_stops_nothing(db: Database, version: ModelVersion):
    """Answers dated ahead are left aside until their time has come."""
    detector = DriftDetector(db, SETTINGS, span=AT_ONCE)
    end = taken(db, version, 0, 200 + WINDOW)
    ahead = taken(db, version, end + 3_000, WINDOW)
    assert by_name(detector.look(watched(version, ahead)))["drift"].state is State.OK
    end = taken(db, version, end, WINDOW, dark=0.5)
    assert by_name(detector.look(watched(version, end)))["drift"].state is State.BAD


def test_the_variance_of_unfiltered_scores_is_the_old_rule(db: Database, version: ModelVersion):
    """Half noughts, half ones: a variance of a quarter."""
    random = np.random.default_rng(0)
    rows = [picture(random, at) | {"raw_scores": [0.0, 1.0]} for at in range(WINDOW)]
    write(db, version, rows)
    found = by_name(DriftDetector(db, SETTINGS).look(watched(version, WINDOW)))["score_variance"]
    assert (found.state, found.value, found.threshold) == (State.BAD, 0.25, 0.15)


def test_a_reference_is_pinned_and_holds(db: Database, version: ModelVersion):
    """Looks compare with it and name who pinned it; a short or backward span is refused."""
    end = taken(db, version, 0, 120)
    since, until = builders.moment(0), builders.moment(end)
    stored = reference.pin(db, version, since, until, "alice", settings=SETTINGS)
    assert (stored.source, stored.actor, stored.span["count"]) == ("pinned", "alice", 120)
    taken(db, version, end, WINDOW, blur=0.3)
    report = run(db, SETTINGS, version)
    assert report.verdict == "drift"
    assert "sharpness" in report.drifted_features
    assert "pinned by alice" in report.report["summary"]
    with pytest.raises(Conflict):
        reference.pin(db, version, until, until + timedelta(minutes=1), "a", settings=SETTINGS)
    with pytest.raises(InvalidRequest):
        reference.pin(db, version, until, since, "alice", settings=SETTINGS)


def test_a_pinned_reference_is_taken_up_at_the_next_look(db: Database, version: ModelVersion):
    """A running detector forgets what it learned: dark pictures are normal from then on."""
    detector = DriftDetector(db, SETTINGS, span=AT_ONCE)
    end = taken(db, version, 0, 200)
    end = taken(db, version, end, 2 * WINDOW, dark=0.5)
    assert by_name(detector.look(watched(version, end)))["drift"].state is State.BAD
    since, until = builders.moment(200), builders.moment(end)
    reference.pin(db, version, since, until, "alice", settings=SETTINGS)
    found = by_name(detector.look(watched(version, end)))["drift"]
    assert found.state is State.OK


def test_rows_without_statistics_of_their_training_learn_from_answers(db: Database):
    """So does a model whose file is older than the statistics."""
    rows = add_version(db, "heart", description={"task": "tabular-classification"})
    random = np.random.default_rng(1)
    write(db, rows, [row(random, at) for at in range(200 + WINDOW)])
    detector = DriftDetector(db, SETTINGS, span=AT_ONCE)
    found = by_name(detector.look(watched(rows, 250)))
    assert set(found) == {"drift", "prediction_drift"}
    assert found["drift"].state is State.OK
    write(db, rows, [row(random, at, shift=3.0) for at in range(250, 250 + WINDOW)])
    found = by_name(detector.look(watched(rows, 300)))
    assert found["drift"].evidence["features"] == ["age"]
    assert found["prediction_drift"].state is State.BAD
    assert found["prediction_drift"].issue is Issue.ANOMALY


def test_one_answer_is_not_enough_and_says_so(db: Database, version: ModelVersion):
    """The verdict is unknown without a score, and a window below the least is refused."""
    taken(db, version, 0, 1)
    report = run(db, SETTINGS, version)
    assert (report.verdict, report.drift_score) == ("unknown", None)
    assert report.report["summary"] == "Learning the reference: 1 of 200 pictures, 0 of 24 h."
    with pytest.raises(InvalidRequest):
        run(db, SETTINGS, version, 5)
