from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.errors import Conflict, InvalidRequest, NotFound
from andon.store.clock import now
from andon.store.database import Database
from andon.store.roster import Roster, RosterEntry, checked_id, counting_order
from andon.store.tables import workers, workstations


@pytest.fixture
def roster(db: Database) -> Roster:
    """The workers; the workstations are the same with another table."""
    return Roster(db, workers)


def test_a_worker_is_registered(roster: Roster):
    """With a name for people, or the id where there is none."""
    before = now()
    added = roster.add("W1", "  Ada ")
    assert (added.id, added.name, added.retired_at) == ("W1", "Ada", None)
    assert before <= added.created_at <= now()
    assert roster.get("W1") == added
    assert roster.add("W2").name == "W2"
    assert roster.ids() == {"W1", "W2"}


def test_workers_and_workstations_are_apart(db: Database):
    """The same id may be one of each, and messages name the right one."""
    people, places = Roster(db, workers), Roster(db, workstations)
    people.add("X1")
    places.add("X1", "Press")
    assert (people.get("X1").name, places.get("X1").name) == ("X1", "Press")
    with pytest.raises(NotFound, match=r"no workstation S9.*POST /workstations/"):
        places.get("S9")


def test_an_id_is_registered_once(roster: Roster):
    """The second is told how to go on, also where the first is retired."""
    roster.add("W1", "Ada")
    with pytest.raises(Conflict, match="a worker W1 already"):
        roster.add("W1", "Bob")
    roster.retire("W1")
    with pytest.raises(Conflict, match=r"retired.*Bring it back"):
        roster.add("W1")
    assert roster.get("W1").name == "Ada"


def test_an_id_is_registered_once_by_many_at_a_time(roster: Roster):
    """One of them gets it."""

    def add(number: int) -> bool:
        try:
            return bool(roster.add("W1", str(number)))
        except Conflict:
            return False

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(add, range(6))) == 1


@pytest.mark.parametrize(
    "entry", ["", "x" * 65, " W1", "W1 ", "W\n1", "W\x00", "\ud800", "W\u2028"]
)
def test_ids_that_cannot_be_used_are_refused(roster: Roster, entry):
    """With the field's name, and nothing is stored."""
    with pytest.raises(InvalidRequest) as refused:
        roster.add(entry)
    assert refused.value.errors[0]["field"] == "worker_id"
    assert roster.list() == []


@pytest.mark.parametrize(
    "entry", ["W1", "x" * 64, "Wärter 7", "a/b", "../x", "'; DROP TABLE", "=1+1"]
)
def test_any_printable_id_is_taken_as_it_is(roster: Roster, entry):
    """Ids belong to the factory."""
    assert roster.add(entry).id == entry
    assert roster.get(entry).id == entry


@pytest.mark.parametrize("name", ["x" * 256, "a\x00b", "a\nb"])
def test_names_that_cannot_be_used_are_refused(roster: Roster, name):
    """At registration and later."""
    with pytest.raises(InvalidRequest) as refused:
        roster.add("W1", name)
    assert refused.value.errors[0]["field"] == "name"
    roster.add("W1", "Ada")
    with pytest.raises(InvalidRequest):
        roster.rename("W1", name)
    assert roster.get("W1").name == "Ada"


def test_a_worker_is_renamed(roster: Roster):
    """The id stays; an empty name falls back to it."""
    roster.add("W1", "Ada")
    assert roster.rename("W1", "Grace").name == "Grace"
    assert roster.rename("W1", " ").name == "W1"


def test_a_worker_is_retired_and_brought_back(roster: Roster):
    """Retiring again keeps the first time, unless another is given."""
    roster.add("W1")
    retired = roster.retire("W1")
    assert retired.retired_at is not None
    assert roster.retire("W1") == retired
    earlier = retired.retired_at - timedelta(days=1)
    assert roster.retire("W1", at=earlier).retired_at == earlier
    assert roster.bring_back("W1").retired_at is None
    assert roster.bring_back("W1") == roster.get("W1")


def test_several_things_change_at_once(roster: Roster):
    """Or nothing does."""
    roster.add("W1", "Ada")
    changed = roster.change("W1", name="Grace", retired=True)
    assert (changed.name, changed.retired_at is None) == ("Grace", False)
    assert roster.change("W1") == changed


@pytest.mark.parametrize("act", ["get", "retire", "bring_back"])
def test_the_unknown_are_not_found(roster: Roster, act):
    """Whatever was to be done with them."""
    with pytest.raises(NotFound, match="no worker W9"):
        getattr(roster, act)("W9")
    with pytest.raises(NotFound, match="no worker of this id"):
        getattr(roster, act)("x" * 10_000)


def test_the_retired_stay_in_the_list_unless_left_out(roster: Roster):
    """In the order people count."""
    for entry in ("W10", "W2", "w1", "Anna"):
        roster.add(entry)
    roster.retire("W2")
    assert [entry.id for entry in roster.list()] == ["Anna", "w1", "W2", "W10"]
    assert [entry.id for entry in roster.list(include_retired=False)] == ["Anna", "w1", "W10"]
    assert roster.ids() == {"W10", "W2", "w1", "Anna"}
    assert all(isinstance(entry, RosterEntry) for entry in roster.list())


@given(st.lists(st.text(max_size=20), unique=True))
def test_any_ids_can_be_sorted(ids):
    """Texts, numbers, digits of other scripts, all together."""
    found = sorted(ids, key=counting_order)
    assert sorted(found) == sorted(ids)


@given(st.text(min_size=1, max_size=64))
def test_an_id_is_taken_exactly_where_the_rule_says(entry):
    """Printable, without blanks around it."""
    if entry.isprintable() and entry == entry.strip():
        assert checked_id(entry, "worker") == entry
    else:
        with pytest.raises(InvalidRequest):
            checked_id(entry, "worker")
