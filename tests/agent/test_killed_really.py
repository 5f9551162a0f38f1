"""``kill -9`` between deciding and doing, for every kind of action, with all the real parts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from andon.agent.policy import ACTIONS

_SIGKILL = -9
_EXPECTED = {
    "rollback_model": {"active": 1, "events": {"ROLLBACK": 1}},
    "promote_model": {"active": 3, "events": {"ACTIVATE": 1}, "rollout": "promoted"},
    "adjust_threshold": {"threshold": 0.35, "events": {"THRESHOLD": 1}},
    "retrain_model": {"runs": ["queued"], "jobs": ["train"]},
    "send_alert": {"alerts": ["Look at the line."]},
    "collect_diagnostics": {"files": ["diagnostics.zip"]},
    "generate_report": {"files": ["report.html", "report.json"]},
    "validate_data": {},
}
_UNTOUCHED = {
    "active": 2, "events": {}, "rollout": "running", "threshold": None, "runs": [], "alerts": [],
    "files": [],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("place", ["after-claiming", "half-way", "before-finishing"])
def test_no_action_is_repeated_or_forgotten(place: str, tmp_path: Path) -> None:
    """Whatever its process was at, the next one leaves exactly what one action leaves."""
    program = subprocess.run(
        [sys.executable, "-m", "tests.agent.killing", str(tmp_path), place, *ACTIONS],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    found = [json.loads(line) for line in program.stdout.splitlines()]
    assert [one["kind"] for one in found] == list(ACTIONS), program.stderr[-3000:]
    for one in found:
        kind = one["kind"]
        assert one["ended"] == _SIGKILL, (kind, program.stderr[-3000:])
        assert one["actions"] == [["succeeded", ""]], kind
        wanted = {**_UNTOUCHED, **_EXPECTED[kind]}
        assert {name: one[name] for name in wanted} == wanted, kind
