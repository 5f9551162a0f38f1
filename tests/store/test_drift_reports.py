"""Drift reports and references in the database."""

from datetime import timedelta

import pytest
from tests.store.builders import add_version

from andon.errors import NotFound
from andon.store.clock import now
from andon.store.database import Database
from andon.store.drift_reports import DriftReferences, DriftReports


def test_a_report_comes_back_as_it_was_kept(db: Database):
    """With its model and version, and later the name of its page."""
    reports = DriftReports(db)
    version = add_version(db)
    kept = reports.add(version.id, "drift", 1.5, ["age"], {"summary": "It moved."})
    assert reports.get(kept.report_id) == kept
    assert (kept.model, kept.version, kept.drifted_features) == ("pcb", 1, ["age"])
    reports.set_path(kept.report_id, "report.html")
    assert reports.get(kept.report_id).report_path == "report.html"
    with pytest.raises(NotFound):
        reports.get("nothing")


def test_pages_go_on_where_the_one_before_ended(db: Database):
    """Newest first, by model and verdict; and the newest of a version."""
    reports = DriftReports(db)
    version = add_version(db)
    other = add_version(db, "heart")
    keys = [reports.add(version.id, "none", 0.1, [], {}).report_id for _ in range(5)]
    reports.add(other.id, "unknown", None, [], {})
    first, cursor = reports.page("pcb", limit=3)
    second, end = reports.page("pcb", limit=3, before=cursor)
    assert [one.report_id for one in first + second] == keys[::-1]
    assert end is None
    assert [one.model for one in reports.page(verdict="unknown")[0]] == ["heart"]
    newest = reports.newest("pcb", 1)
    assert newest is not None
    assert newest.report_id == keys[-1]
    assert reports.newest("pcb", 2) is None


def test_old_reports_are_deleted_but_the_newest_of_a_version_stays(db: Database):
    """So that there is always something to show."""
    reports = DriftReports(db)
    version = add_version(db)
    long_ago = now() - timedelta(days=200)
    reports.add(version.id, "none", 0.1, [], {}, long_ago)
    last = reports.add(version.id, "none", 0.1, [], {}, long_ago)
    assert reports.prune(now() - timedelta(days=90)) == 1
    assert [one.report_id for one in reports.page()[0]] == [last.report_id]


def test_a_reference_is_replaced_and_forgotten(db: Database):
    """There is one per version, and forgetting it twice is told."""
    references = DriftReferences(db)
    version = add_version(db)
    assert references.get(version.id) is None
    references.put(version.id, "learned", {"count": 500}, {"features": {}})
    kept = references.put(version.id, "pinned", {"count": 60}, {"features": {"a": {}}}, "alice")
    assert references.get(version.id) == kept
    assert references.delete(version.id)
    assert not references.delete(version.id)
