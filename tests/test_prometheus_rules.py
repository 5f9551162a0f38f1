"""The alerting rules: accepted by promtool, right on known days, about families that exist."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from tests.support.policy import absent

from andon.platform import Platform
from andon.settings import Settings
from andon.web.metrics import HttpMetrics

FOLDER = Path(__file__).parents[1] / "docs" / "prometheus"
RULES = (FOLDER / "andon.rules.yml").read_text(encoding="utf-8")
TESTS = (FOLDER / "andon.rules.test.yml").read_text(encoding="utf-8")

_ALERT = re.compile(r"^ +- alert: (\w+)$", re.MULTILINE)
_FAMILY = re.compile(r"\b(?:andon|pcb)_[a-z_]+")


def promtool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run it in the folder of the rules."""
    if shutil.which("promtool") is None:
        absent("no promtool here: apt-get install prometheus")
    return subprocess.run(
        ["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False
    )


def families(tmp_path: Path) -> set[str]:
    """Every family that a server with a broker has."""
    platform = Platform(Settings(home=tmp_path, _env_file=None))
    try:
        platform.event_metrics.mqtt()
        text = (generate_latest(platform.collector) + HttpMetrics().text()).decode()
    finally:
        platform.stop()
    found = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        found.add(name)
        if kind == "histogram":
            found |= {f"{name}_bucket", f"{name}_count", f"{name}_sum"}
    return found


@pytest.mark.parametrize(
    "what", [("check", "rules", "andon.rules.yml"), ("test", "rules", "andon.rules.test.yml")]
)
def test_promtool_has_nothing_to_say(what: tuple[str, ...]):
    """The syntax is right, and on known days exactly the right alerts fire."""
    done = promtool(*what)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_family_in_the_rules_exists(tmp_path: Path):
    """A misspelt name would make an alert that can never fire."""
    known = families(tmp_path)
    expressions = re.findall(r"^ +expr: (.*(?:\n {10,}.*)*)", RULES, re.MULTILINE)
    named = {name for text in expressions for name in _FAMILY.findall(text)}
    assert len(named) > 30
    assert sorted(named - known) == []
    assert sorted(set(_FAMILY.findall(TESTS)) - known) == []


def test_every_alert_has_a_next_step_and_a_test():
    """What to do stands in the alert, for whoever is woken by it."""
    alerts = _ALERT.findall(RULES)
    assert len(alerts) == len(set(alerts)) > 30
    for field in ("summary", "next_step"):
        assert len(re.findall(rf'^ +{field}: ".+"$', RULES, re.MULTILINE)) == len(alerts)
    assert len(
        re.findall(r"^ +labels: \{severity: (?:warning|critical)\}$", RULES, re.MULTILINE)
    ) == (len(alerts))
    assert [name for name in alerts if f'alertname="{name}"' not in TESTS] == []


def test_every_family_of_watching_is_documented(tmp_path: Path):
    """By its name, where people look for it."""
    page = (FOLDER.parent / "prometheus.md").read_text(encoding="utf-8")
    about = ("andon_alerts_", "andon_notifications_", "andon_watch_", "andon_agent_")
    ours = {
        name
        for name in families(tmp_path)
        if name.startswith(about) and not name.endswith(("_bucket", "_count", "_sum"))
    }
    assert len(ours) == 9
    assert [name for name in sorted(ours) if f"`{name}`" not in page] == []
