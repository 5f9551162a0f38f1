from datetime import UTC, datetime, timedelta

import pytest

from andon import Database
from andon.errors import ConfigurationError, StorageFull
from andon.jobs import schedule
from andon.jobs.schedule import Schedule

SUNDAY = datetime(2026, 11, 22, 2, tzinfo=UTC)
WEEKLY = "0 2 * * 0"


@pytest.fixture
def db(tmp_path):
    """A database of its own."""
    database = Database(tmp_path / "andon.db")
    yield database
    database.close()


@pytest.fixture
def clock(monkeypatch):
    """Sets the time that schedules see."""

    def at(moment: datetime) -> None:
        monkeypatch.setattr(schedule, "now", lambda: moment)

    at(SUNDAY - timedelta(days=1))
    return at


def made(db, done: list, cron: str = WEEKLY) -> Schedule:
    """A schedule that notes its due times."""
    return Schedule(db, "retrain", cron, done.append, setting="ANDON_RETRAIN_CRON")


def test_the_first_start_makes_up_for_nothing(db, clock):
    """Nothing was missed before there was a schedule."""
    done: list[datetime] = []
    weekly = made(db, done)
    assert not weekly.tick()
    assert weekly.next_due() == SUNDAY
    for early in (timedelta(seconds=1), timedelta(milliseconds=300)):
        clock(SUNDAY - early)
        assert not weekly.tick()
    assert done == []


@pytest.mark.parametrize("late", [timedelta(0), timedelta(microseconds=5), timedelta(seconds=14)])
def test_it_acts_when_it_is_due_and_once(db, clock, late):
    """On the second, or at the next tick."""
    done: list[datetime] = []
    weekly = made(db, done)
    weekly.tick()
    clock(SUNDAY + late)
    assert weekly.tick()
    assert not weekly.tick()
    assert done == [SUNDAY]
    assert weekly.state().last_due_at == SUNDAY


def test_missed_times_are_made_up_for_once(db, clock):
    """A box that was off for a month trains once, not four times."""
    done: list[datetime] = []
    made(db, done).tick()
    clock(SUNDAY + timedelta(days=22))
    after_start = made(db, done)
    assert after_start.tick()
    assert not after_start.tick()
    assert done == [SUNDAY + timedelta(days=21)]


def test_of_two_servers_one_goes_on(db, clock):
    """The other one finds it done."""
    done: list[datetime] = []
    first, second = made(db, done), made(db, done)
    first.tick()
    clock(SUNDAY)
    assert [first.tick(), second.tick()] == [True, False]
    assert done == [SUNDAY]


def test_a_clock_that_is_set_back_repeats_nothing(db, clock):
    """Ten seconds or an hour: the due time was acted on."""
    done: list[datetime] = []
    weekly = made(db, done)
    weekly.tick()
    clock(SUNDAY)
    weekly.tick()
    for back in (timedelta(seconds=10), timedelta(minutes=59)):
        clock(SUNDAY - back)
        assert not weekly.tick()
    clock(SUNDAY + timedelta(seconds=1))
    assert not weekly.tick()
    assert done == [SUNDAY]


def test_a_clock_that_was_years_ahead_does_not_stop_it(db, clock):
    """The next right time counts again."""
    done: list[datetime] = []
    weekly = made(db, done)
    clock(SUNDAY + timedelta(days=7000))
    weekly.tick()
    clock(SUNDAY - timedelta(hours=5))
    assert not weekly.tick()
    clock(SUNDAY)
    assert weekly.tick()
    assert done == [SUNDAY]


def test_another_expression_makes_up_for_nothing(db, clock):
    """Its times were not missed: nobody had asked for them."""
    done: list[datetime] = []
    made(db, done).tick()
    clock(SUNDAY + timedelta(days=3))
    daily = made(db, done, "30 4 * * *")
    assert not daily.tick()
    clock(SUNDAY + timedelta(days=4, hours=4))
    assert daily.tick()
    assert done == [SUNDAY + timedelta(days=4, hours=2, minutes=30)]


def test_work_that_fails_is_tried_again(db, clock):
    """A full disk at two in the morning costs no week."""
    tries = []

    def work(due):
        tries.append(due)
        if len(tries) == 1:
            raise StorageFull("The disk is full.")

    weekly = Schedule(db, "retrain", WEEKLY, work, setting="ANDON_RETRAIN_CRON")
    weekly.tick()
    clock(SUNDAY)
    with pytest.raises(StorageFull):
        weekly.tick()
    assert weekly.tick()
    assert tries == [SUNDAY, SUNDAY]


def test_no_expression_means_never(db, clock):
    """Nothing is due, and nothing is written."""
    never = made(db, [], "  ")
    never.check()
    clock(SUNDAY)
    assert not never.tick()
    assert (never.next_due(), never.state()) == (None, None)


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("61 2 * * 0", ("minute", "'61'")),
        ("0 25 * * 0", ("hour", "'25'")),
        ("0 2 * * 8", ("day-of-week", "'8'")),
        ("0 2 30 2 *", ("day-of-month", "'30'")),
        ("0 2 * 13 *", ("month", "'13'")),
        ("every sunday", ("2 fields",)),
        ("0 0 2 * * 0", ("6 fields",)),
        ("@weekly", ("1 fields",)),
    ],
)
def test_a_bad_expression_is_refused_by_its_field(db, cron, words):
    """With the setting's name, and an example."""
    with pytest.raises(ConfigurationError) as refused:
        made(db, [], cron).check()
    assert "ANDON_RETRAIN_CRON" in refused.value.detail
    assert "0 2 * * 0" in refused.value.hint
    for word in words:
        assert word in refused.value.detail
