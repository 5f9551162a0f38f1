from datetime import UTC, datetime, timedelta

from andon.web.dashboard.overview import strip

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def minutes(counts: dict[int, tuple[int, int]]) -> list[tuple[datetime, int, float, int]]:
    """An hour, quiet but for these minutes: count and failures."""
    return [
        (START + timedelta(minutes=place), *_of(counts.get(place, (0, 0)))) for place in range(60)
    ]


def _of(pair: tuple[int, int]) -> tuple[int, float, int]:
    return pair[0], 8.0, pair[1]


def test_a_bar_is_as_high_as_its_minute():
    """The bars share one scale, and failures stand on top of what succeeded."""
    made = strip(minutes({10: (10, 0), 20: (5, 5)}))
    assert made.top == 10
    assert (made.bars[10].y, made.bars[10].height) == (0, 100)
    assert made.bars[20].height == 0
    assert (made.bars[20].failed_y, made.bars[20].failed_height) == (50, 50)
    assert made.bars[0].height == 0
    assert [bar.x for bar in made.bars[:3]] == [0, 10, 20]


def test_the_scale_ends_at_a_round_number():
    """A wandering peak does not make the scale wander."""
    tops = [strip(minutes({1: (peak, 0)})).top for peak in (0, 5, 6, 19, 21, 51, 140, 999)]
    assert tops == [5, 5, 10, 20, 50, 100, 200, 1000]


def test_the_strip_can_be_told_in_a_sentence():
    """People who do not see it hear total, peak and failures."""
    made = strip(minutes({10: (10, 0), 20: (5, 5)}))
    assert made.summary == (
        "15 inspections in the last hour, at most 10 in one minute, at 12:10 UTC; 5 failed."
    )
    assert strip(minutes({})).summary == "No inspections in the last hour."
    assert strip([]).total == 0
