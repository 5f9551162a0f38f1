"""The full page by Evidently: what it is given, and what is said where it is not there."""

import sys
from pathlib import Path

import numpy as np
import pytest
from tests.monitoring.drift.builders import row, write
from tests.monitoring.drift.test_looking import NUMBER, WORD, known, look
from tests.store.builders import add_version

from andon.errors import ConfigurationError, Unavailable
from andon.monitoring.drift import evidently
from andon.monitoring.drift.detector import run
from andon.settings import Settings
from andon.store.database import Database
from andon.store.drift_reports import DriftReports

SETTINGS = Settings(_env_file=None, drift_window=50)
REFERENCE = {"rows": 200, "features": {"oldpeak": NUMBER, "sex": WORD}}


@pytest.fixture
def report_id(db: Database) -> str:
    """Of a look at some rows."""
    about = {"task": "tabular-classification"}
    add_version(db, "heart", description=about, reference=REFERENCE)
    version = db.models.get("heart", 1)
    random = np.random.default_rng(1)
    write(db, version, [row(random, at) for at in range(50)])
    return run(db, SETTINGS, version).report_id


def test_the_tables_look_like_the_distributions():
    """Values are drawn from the histograms in their shares, before and after."""
    rows = [{"features": {"x": 0.1, "c": "red"}}] * 75 + [
        {"features": {"x": 2.0, "c": "blue"}}
    ] * 25
    made = evidently.tables(look(known({"x": NUMBER, "c": WORD}), rows).features)
    assert made.categories == ["c"]
    assert made.current["c"].count("blue") == 250
    assert made.reference["c"].count("red") == 500
    assert np.mean(np.array(made.current["x"]) > 1) == pytest.approx(0.25)
    assert np.mean(np.array(made.reference["x"]) < 0.5) == pytest.approx(0.5)


def test_without_the_extra_the_error_names_it(
    db: Database, report_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Instead of an ImportError."""
    monkeypatch.setattr(evidently.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"andon\[report\]"):
        evidently.evidently_report(DriftReports(db), report_id, tmp_path)


def test_what_the_other_process_says_is_the_reason(db: Database, report_id: str, tmp_path: Path):
    """A program in its place that fails, that finds nothing installed, that never ends."""
    for code, error in (("exit 1", Unavailable), ("exit 3", ConfigurationError)):
        with pytest.raises(error):
            evidently.evidently_report(
                DriftReports(db), report_id, tmp_path, python=_program(tmp_path, code)
            )
    with pytest.raises(Unavailable, match="within"):
        evidently.evidently_report(
            DriftReports(db),
            report_id,
            tmp_path,
            python=_program(tmp_path, "exec sleep 30"),
            seconds=0.3,
        )
    assert list(tmp_path.glob("*.html*")) == []


def test_the_page_is_kept_and_noted(db: Database, report_id: str, tmp_path: Path):
    """The file lies in the reports' folder, and the report's row has its name."""
    folder = tmp_path / "reports"
    writes = _program(tmp_path, 'echo "<html></html>" > "$4"')
    stored = evidently.evidently_report(DriftReports(db), report_id, folder, python=writes)
    assert stored.report_path == f"drift-{report_id}.html"
    assert (folder / stored.report_path).read_text() == "<html></html>\n"


def test_a_report_that_compared_nothing_makes_no_page(db: Database, tmp_path: Path):
    """A report without features says so before anything is started."""
    version = add_version(db)
    empty = run(db, SETTINGS, version)
    with pytest.raises(Unavailable, match="compared nothing"):
        evidently.evidently_report(
            DriftReports(db), empty.report_id, tmp_path, python=sys.executable
        )


def test_evidently_itself_makes_a_page(db: Database, report_id: str, tmp_path: Path):
    """Where the extra is installed."""
    pytest.importorskip("evidently")
    stored = evidently.evidently_report(DriftReports(db), report_id, tmp_path)
    assert stored.report_path is not None
    assert "oldpeak" in (tmp_path / stored.report_path).read_text(encoding="utf-8")


def _program(folder: Path, code: str) -> str:
    path = folder / "program.sh"
    path.write_text(f"#!/bin/sh\n{code}\n")
    path.chmod(0o755)
    return str(path)
