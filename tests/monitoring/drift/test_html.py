"""The page of a report: what stands first, what may not be in it."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from tests.monitoring.drift.builders import picture
from tests.monitoring.drift.test_looking import NOON, NUMBER, from_answers, known, look

from andon.monitoring.drift import html
from andon.monitoring.drift.report import Findings
from andon.store.records import DriftReport


def stored(found: Findings) -> DriftReport:
    return DriftReport(
        report_id="019aa4a1-7c00-7000-8000-000000000000",
        model=found.model,
        version=found.version,
        verdict=found.verdict,
        drift_score=found.score,
        drifted_features=found.drifted,
        report=found.plain(),
        report_path=None,
        created_at=NOON,
    )


@pytest.fixture(scope="module")
def drifted() -> str:
    """The page of pictures that became dark."""
    random = np.random.default_rng(1)
    against = from_answers("pictures", [picture(random, at) for at in range(500)])
    rows = [picture(random, 500 + at, dark=0.6) for at in range(100)]
    return html.page(stored(look(against, rows, "pictures")))


class Balanced(HTMLParser):
    """Fails where a tag is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        """One more is open."""
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        """Closed at once."""

    def handle_endtag(self, tag: str) -> None:
        """It must be the last one opened."""
        assert self.open.pop() == tag


def test_the_verdict_stands_first_and_the_bars_follow(drifted: str):
    """Then every feature, then what was compared; and every tag is closed."""
    assert drifted.index("Drift: pcb v3") < drifted.index("What moved most")
    assert drifted.index("What moved most") < drifted.index("<svg")
    assert (
        drifted.index("<svg") < drifted.index("All features") < drifted.index("What was compared")
    )
    parser = Balanced()
    parser.feed(drifted)
    assert parser.open == []


def test_nothing_runs_and_nothing_is_loaded(drifted: str):
    """No script, address or inline style; the one style sheet is the policy's by its hash."""
    assert not re.search(r"<script|javascript:|https?://|\son\w+=|style=|url\(", drifted)
    style = re.search(r"<style>(.*?)</style>", drifted, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in html.POLICY


def test_names_from_outside_are_text():
    """Features and categories that look like HTML are shown as written."""
    name = '<img src=x onerror="alert(1)">'
    rows = [{"features": {name: 9.0, "c": name}}] * 50
    word = {"kind": "category", "missing": 0, "counts": {"red": 100}}
    page = html.page(stored(look(known({name: NUMBER, "c": word}), rows)))
    assert "<img" not in page
    assert "&lt;img" in page


def test_a_page_says_when_there_was_not_enough():
    """And draws nothing."""
    page = html.page(stored(look(known({}), [{"features": {}}] * 20)))
    assert "Not enough data: pcb v3" in page
    assert "<svg" not in page
