import threading
from datetime import UTC, datetime

from andon.store.database import Database

DUE = datetime(2026, 11, 22, 2, tzinfo=UTC)
LATER = datetime(2026, 11, 29, 2, tzinfo=UTC)


def test_a_schedule_is_set_up_once(db):
    """Of two processes the second finds it there."""
    assert db.schedules.get("retrain") is None
    assert db.schedules.set_up("retrain", "0 2 * * 0", DUE)
    assert not db.schedules.set_up("retrain", "1 1 * * *", LATER)
    state = db.schedules.get("retrain")
    assert (state.cron, state.last_due_at) == ("0 2 * * 0", DUE)


def test_of_many_that_go_on_one_does(where):
    """Compare and set, by the database."""
    databases = [Database(where), Database(where)]
    databases[0].schedules.set_up("retrain", "0 2 * * 0", DUE)
    state = databases[0].schedules.get("retrain")
    won = []
    barrier = threading.Barrier(6)

    def advance(db):
        barrier.wait()
        won.append(db.schedules.advance(state, state.cron, LATER))

    threads = [threading.Thread(target=advance, args=(databases[n % 2],)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 5 + [True]
    assert databases[0].schedules.get("retrain").last_due_at == LATER
    for db in databases:
        db.close()
