from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from andon.store import leases as module
from andon.store.clock import now
from andon.store.database import Database
from andon.store.leases import Leases


@pytest.fixture
def leases(db: Database) -> Leases:
    return Leases(db)


def test_a_lease_belongs_to_one_until_it_runs_out(leases: Leases, db: Database):
    """And its token grows with every change of hands."""
    first = leases.take("watch", "a", 30)
    assert first is not None
    assert (first.holder, first.token, first.until > first.taken_at) == ("a", 1, True)
    assert leases.take("watch", "b", 30) is None
    assert leases.take("other", "b", 30) is not None
    expire(db)
    second = leases.take("watch", "b", 30)
    assert second is not None
    assert (second.holder, second.token) == ("b", 2)
    assert leases.get("watch") == second
    assert leases.get("nothing") is None


def test_only_its_holder_renews_it(leases: Leases, db: Database):
    """With its token; once another took it, the old token renews nothing."""
    first = leases.take("watch", "a", 1)
    assert first is not None
    assert leases.renew("watch", "a", 1, 60)
    renewed = leases.get("watch")
    assert renewed is not None
    assert renewed.until > first.until
    assert not leases.renew("watch", "b", 1, 60)
    expire(db)
    leases.take("watch", "b", 60)
    assert not leases.renew("watch", "a", 1, 60)


def test_one_that_ran_out_and_that_nobody_took_is_still_its_own(leases: Leases, db: Database):
    """A short pause does not change hands."""
    leases.take("watch", "a", 1)
    expire(db)
    assert leases.renew("watch", "a", 1, 60)


def test_what_is_given_back_is_free_at_once(leases: Leases):
    """Only its holder can, and the next token is higher."""
    leases.take("watch", "a", 60)
    leases.release("watch", "b", 1)
    assert leases.take("watch", "b", 60) is None
    leases.release("watch", "a", 1)
    taken = leases.take("watch", "b", 60)
    assert taken is not None
    assert taken.token == 2


def test_one_of_many_gets_it(leases: Leases):
    """Of sixteen that ask in eight threads."""
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda who: leases.take("watch", f"p{who}", 60), range(16)))
    assert sum(one is not None for one in taken) == 1


def test_a_holder_that_is_known_to_be_silent_loses_it(leases: Leases):
    """Where the clock was set back, its lease would else last for hours."""
    leases.take("watch", "a", 3600)
    seen = leases.get("watch")
    leases.renew("watch", "a", 1, 3700)
    assert leases.take("watch", "b", 30, silent=seen) is None
    taken = leases.take("watch", "b", 30, silent=leases.get("watch"))
    assert taken is not None


def test_the_databases_clock_decides(postgres_db: Database, monkeypatch: pytest.MonkeyPatch):
    """That of this machine may be hours off."""
    leases = Leases(postgres_db)
    leases.take("watch", "a", 60)
    monkeypatch.setattr(module, "now", lambda: now().replace(year=2099))
    assert leases.take("watch", "b", 60) is None
    assert leases.clock().year < 2099


def expire(db: Database) -> None:
    """Let every lease have run out."""
    past = "'2001-01-01T00:00:00.000000Z'"
    with db.write() as connection:
        connection.execute(text(f"UPDATE leases SET until = {past}"))
