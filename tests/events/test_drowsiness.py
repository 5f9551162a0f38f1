from pathlib import Path

import pytest
from tests.store.test_drowsiness_events import DAY, HOUR, MINUTE, SECOND, START, ingest, row

from andon.errors import InvalidRequest
from andon.events import drowsiness
from andon.settings import Settings
from andon.store.database import Database

NOW = START + 2 * DAY


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """As they come."""
    return Settings(home=tmp_path, _env_file=None)


def measured(db: Database, drowsy: int, others: int, at: int = NOW - MINUTE) -> None:
    """So many drowsy measurements and so many others, at a time."""
    rows = [row(at + number, is_drowsy=number < drowsy) for number in range(drowsy + others)]
    ingest(db, rows)


def test_statistics_are_the_documented_ones(db: Database):
    """456 of 1234 are 36.95 percent."""
    measured(db, 456, 778)
    found = drowsiness.statistics(db)
    assert (found.total_events, found.drowsy_events) == (1234, 456)
    assert found.drowsiness_rate == 36.95
    assert found.average_ear == 0.3
    assert found.average_duration_ms == 0.0


def test_statistics_round_to_what_can_be_read(db: Database):
    """EAR to four decimals, for its second is where eyes close; the rest to two."""
    ingest(db, [row(START + n, ear_value=0.1 + n / 7, duration_ms=n / 3) for n in range(3)])
    found = drowsiness.statistics(db)
    assert found.average_ear == round(0.1 + 1 / 7, 4)
    assert found.average_duration_ms == 0.33


def test_without_measurements_means_are_unknown(db: Database):
    """A mean EAR of 0 would be closed eyes; a rate of nothing is 0."""
    found = drowsiness.statistics(db)
    assert (found.total_events, found.drowsiness_rate) == (0, 0.0)
    assert (found.average_ear, found.average_duration_ms) == (None, None)


def test_statistics_can_be_of_a_window_and_a_driver(db: Database):
    """From is part of it, to is not."""
    ingest(db, [row(START), row(START + HOUR), row(START + HOUR, driver_id="D2")])
    assert drowsiness.statistics(db, since=START + 1).total_events == 2
    assert drowsiness.statistics(db, until=START + HOUR).total_events == 1
    assert drowsiness.statistics(db, driver="D2").total_events == 1
    assert drowsiness.statistics(db, driver="D9").total_events == 0


def test_the_dashboard_shows_everything_and_the_last_hour(db: Database, settings: Settings):
    """12 of 45 are 26.67 percent: a warning."""
    measured(db, 12, 33)
    measured(db, 5, 5, at=NOW - DAY)
    found = drowsiness.dashboard(db, settings, NOW)
    assert (found.overall.events, found.overall.drowsy) == (55, 17)
    assert (found.last_hour.events_count, found.last_hour.drowsy_count) == (45, 12)
    assert (found.last_hour.alert_rate, found.status) == (26.67, "warning")
    assert (found.stale, found.last_event) == (False, NOW - MINUTE + 44)


@pytest.mark.parametrize(
    ("drowsy", "others", "status"),
    [(0, 1, "normal"), (19, 81, "normal"), (20, 80, "warning"), (49, 51, "warning"),
     (50, 50, "critical"), (1, 0, "critical")],
)  # fmt: skip
def test_the_status_follows_the_alert_rate(db, settings, drowsy, others, status):
    """Warning from 20 %, critical from 50 %."""
    measured(db, drowsy, others)
    assert drowsiness.dashboard(db, settings, NOW).status == status


def test_the_limits_of_the_status_are_settings(tmp_path: Path):
    """For drivers who are watched more closely."""
    own = {"drowsiness_warning_rate": 5, "drowsiness_critical_rate": 10}
    settings = Settings(home=tmp_path, _env_file=None, **own)
    found = [drowsiness.status_of(rate, settings) for rate in (4.99, 5.0, 10.0)]
    assert found == ["normal", "warning", "critical"]


def test_an_hour_without_measurements_is_stale(db: Database, settings: Settings):
    """Normal would be a guess; the last hour begins exactly one hour ago."""
    nothing = drowsiness.dashboard(db, settings, NOW)
    assert (nothing.status, nothing.stale, nothing.last_event) == ("normal", True, None)
    measured(db, 1, 0, at=NOW - HOUR - 1)
    old = drowsiness.dashboard(db, settings, NOW)
    assert (old.status, old.stale, old.last_event) == ("normal", True, NOW - HOUR - 1)
    measured(db, 1, 0, at=NOW - HOUR)
    assert not drowsiness.dashboard(db, settings, NOW).stale


def test_a_device_whose_clock_is_ahead_is_part_of_the_last_hour(db: Database, settings: Settings):
    """What it sends is the newest there is."""
    measured(db, 1, 0, at=NOW + MINUTE)
    assert drowsiness.dashboard(db, settings, NOW).status == "critical"


def drive(db: Database, driver: str, at: int, seconds: int, *, shut: int = 4) -> None:
    """Twenty points a second, the eyes shut for `shut` of them every five seconds."""
    rows = []
    for number in range(seconds * 20):
        place = number % 100
        closed = 10 <= place < 10 + shut
        rows.append(
            row(
                at + number * SECOND // 20,
                driver_id=driver,
                ear_value=0.06 if closed else 0.3,
                is_drowsy=closed,
                duration_ms=50.0 * (place - 9) if closed else 0.0,
            )
        )
    ingest(db, rows)


def test_features_are_made_by_driver_and_minute(db: Database):
    """Twelve blinks of 200 ms a minute, 4 % of the time."""
    drive(db, "D1", START + HOUR, 120)
    drive(db, "D2", START + HOUR + 30 * SECOND, 60, shut=20)
    found = drowsiness.features(db, since=START, until=START + DAY, bucket="minute", threshold=0.2)
    assert [driver.driver_id for driver in found] == ["D1", "D2"]
    first = found[0]
    assert (first.open_ear, first.interval) == (pytest.approx(0.3), pytest.approx(0.05))
    assert first.closed_below == pytest.approx(0.108)
    assert [stretch.start for stretch in first.stretches] == [START + HOUR, START + HOUR + MINUTE]
    minute = first.stretches[0]
    assert minute.hour_of_day == pytest.approx(1 + 0.5 / 60)
    assert minute.drowsy_events == 48
    assert minute.average_duration_ms == pytest.approx((50 + 100 + 150 + 200) / 100)
    assert (minute.features.points, minute.features.blinks) == (1200, 12)
    assert minute.features.blink_rate == pytest.approx(12)
    assert minute.features.perclos == pytest.approx(0.04)
    # Half a minute on either side of a full one.
    slow = [stretch.features for stretch in found[1].stretches]
    assert [features.points for features in slow] == [600, 600]
    assert [features.blinks for features in slow] == [0, 0]
    assert slow[0].closure_seconds_max == pytest.approx(1.0)
    assert slow[0].perclos == pytest.approx(0.2)


def test_features_are_those_of_the_window_and_the_driver(db: Database):
    """By hour too; a window without measurements has none."""
    drive(db, "D1", START + HOUR - 30 * SECOND, 60)
    drive(db, "", START, 5)

    def found(since, until, driver=None):
        return drowsiness.features(
            db, since=since, until=until, bucket="hour", threshold=0.2, driver=driver
        )

    hours = found(START, START + DAY, "D1")
    assert [stretch.start for stretch in hours[0].stretches] == [START, START + HOUR]
    assert sum(stretch.features.points for stretch in hours[0].stretches) == 1200
    assert [driver.driver_id for driver in found(START, START + DAY)] == ["", "D1"]
    assert [driver.driver_id for driver in found(START, START + DAY, "")] == [""]
    assert found(START + DAY, START + 2 * DAY) == []
    assert found(START, START + DAY, "D9") == []


def test_too_many_points_are_refused(db: Database, monkeypatch: pytest.MonkeyPatch):
    """With the way out."""
    monkeypatch.setattr(drowsiness, "MAX_POINTS", 99)
    drive(db, "D1", START, 5)
    with pytest.raises(InvalidRequest, match="shorter period"):
        drowsiness.features(db, since=START, until=NOW, bucket="minute", threshold=0.2)
