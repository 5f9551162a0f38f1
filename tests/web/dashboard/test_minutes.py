from datetime import UTC, datetime, timedelta

import pytest

from andon.web.dashboard import minutes

START = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)


class Line:
    """A platform of which only the minutes are asked."""

    def __init__(self) -> None:
        self.db = self.predictions = self
        self.at = START
        self.rows: list[datetime] = []
        self.asked: list[int] = []

    def throughput(self, model: str, count: int) -> list[minutes.Minute]:
        """What the log holds."""
        self.asked.append(count)
        this = self.at.replace(second=0)
        starts = [this - timedelta(minutes=back) for back in reversed(range(count))]
        end = timedelta(minutes=1)
        return [
            (start, sum(start <= row < start + end for row in self.rows), 8.0, 0)
            for start in starts
        ]


@pytest.fixture
def line(monkeypatch) -> Line:
    """A line whose clock the test sets."""
    made = Line()
    monkeypatch.setattr(minutes, "now", lambda: made.at)
    return made


def total(line: Line) -> int:
    """Inspections in the last hour."""
    return sum(minute[1] for minute in minutes.last_hour(line, "pcb"))


def test_the_hour_is_counted_once_and_then_its_end(line):
    """The second look asks for the minutes that may still change."""
    line.rows = [START - timedelta(minutes=back) for back in range(60)]
    assert total(line) == 60
    line.at += timedelta(seconds=4)
    line.rows.append(line.at)
    assert total(line) == 61
    assert line.asked == [60, 2]


def test_minutes_that_passed_unseen_are_counted(line):
    """After a pause exactly the gap is asked for; after hours the whole hour."""
    line.rows = [START]
    assert total(line) == 1
    line.at += timedelta(minutes=30)
    line.rows.append(line.at - timedelta(minutes=10))
    assert total(line) == 2
    line.at += timedelta(hours=5)
    assert total(line) == 0
    assert line.asked == [60, 32, 60]


def test_a_clock_that_is_set_back_starts_over(line):
    """Minutes of the future are forgotten."""
    assert total(line) == 0
    line.at -= timedelta(days=1)
    line.rows = [line.at]
    assert total(line) == 1
    assert line.asked == [60, 60]


def test_the_hour_has_sixty_minutes_in_order(line):
    """Quiet minutes are there, and the present one is last."""
    hour = minutes.last_hour(line, "pcb")
    assert len(hour) == 60
    assert hour[-1][0] == START.replace(second=0)
    assert [minute[0] for minute in hour] == sorted(minute[0] for minute in hour)
