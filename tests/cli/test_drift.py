"""`andon drift`: look, show, list, pin and unpin from a terminal."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from tests.monitoring.drift import builders
from tests.monitoring.drift.builders import picture, write
from tests.store.builders import add_version
from typer.testing import CliRunner

from andon.cli.drift import app
from andon.errors import AndonError
from andon.store.database import Database


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation whose last pictures are blurred."""
    monkeypatch.setenv("ANDON_DRIFT_WINDOW", "50")
    monkeypatch.setenv("ANDON_DRIFT_REFERENCE", "200")
    folder = tmp_path / "home"
    folder.mkdir()
    db = Database(folder / "andon.db")
    version = add_version(db, description={"task": "object-detection"})
    db.models.set_active("pcb", 1)
    random = np.random.default_rng(1)
    write(db, version, [picture(random, at * 6) for at in range(300)])
    write(db, version, [picture(random, 1_800 + at, blur=0.4) for at in range(50)])
    db.close()
    return folder


def said(*arguments: object) -> str:
    """What a command prints; it must succeed."""
    done = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_look_is_told_kept_and_written_as_a_page(home: Path, tmp_path: Path):
    """`run` prints it and writes the page; `show` and `reports` find the same report again."""
    page = tmp_path / "drift.html"
    told = said("run", "--home", home, "--html", page)
    assert told.startswith("Drift in 50 pictures against its first")
    assert "sharpness" in told
    assert "Drift: pcb v1" in page.read_text(encoding="utf-8")
    assert said("show", "--home", home) == told.replace(f"page                {page}\n", "")
    listed = json.loads(said("reports", "--home", home, "--json"))
    assert [one["verdict"] for one in listed] == ["drift"]
    assert "sharpness" in said("reports", "--home", home)
    shown = json.loads(said("show", listed[0]["report_id"], "--home", home, "--json"))
    assert shown["report"]["summary"] in told


def test_a_reference_is_pinned_and_forgotten(home: Path):
    """`run` then says who pinned it; forgetting twice and a date that is none are told."""
    since, until = builders.moment(0).isoformat(), builders.moment(1_200).isoformat()
    assert "compared with 200 answers" in said("pin", since, until, "--home", home)
    assert "pinned by cli:" in said("run", "--home", home)
    assert "is forgotten" in said("unpin", "--home", home)
    assert "has no pinned or learned reference" in said("unpin", "--home", home)
    with pytest.raises(AndonError):
        said("pin", "yesterday", until, "--home", home)


def test_nothing_to_show_says_what_to_do(home: Path):
    """An empty list is a sentence, and `show` names the command that looks."""
    assert "No reports yet" in said("reports", "--home", home)
    with pytest.raises(AndonError, match="andon drift run"):
        said("show", "--home", home)


def test_a_full_page_says_what_it_needs(home: Path):
    """Without a report it says how to get one; without Evidently, what to install."""
    with pytest.raises(AndonError) as refused:
        said("full", "--home", home)
    assert "andon drift run" in refused.value.hint
    said("run", "--home", home)
    if importlib.util.find_spec("evidently") is None:
        with pytest.raises(AndonError, match="Evidently") as refused:
            said("full", "--home", home)
        assert "andon[report]" in refused.value.hint
    else:
        page = Path(json.loads(said("full", "--home", home, "--json"))["page"])
        assert "brightness" in page.read_text(encoding="utf-8").lower()
