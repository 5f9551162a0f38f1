"""`andon alerts` on an installation without a running server."""

from pathlib import Path

import pytest
from tests.cli.conftest import Andon

from andon.store.database import Database
from andon.store.records import Alert


@pytest.fixture
def alerts(home: Path) -> list[Alert]:
    """A warning and a critical alert."""
    home.mkdir()
    db = Database(home / "andon.db")
    made = [
        db.alerts.see(
            f"{model}:data_drift",
            alert_type="data_drift",
            severity=severity,
            title=f"{model}: the data have moved",
            message="Brightness moved.\nSharpness, too.",
            model=model,
            model_version=3,
            evidence={"signals": [], "href": f"/drift?model={model}"},
        )[0]
        for model, severity in (("pcb", "warning"), ("heart", "critical"))
    ]
    db.close()
    return made


def test_open_alerts_are_listed_newest_first(andon: Andon, alerts: list[Alert]) -> None:
    """With the end of the id, which is what the other commands take."""
    lines = andon("alerts", "list").out.splitlines()
    assert lines[0].split() == ["ALERT", "SEVERITY", "STATUS", "SINCE", "SEEN", "WHAT"]
    assert lines[1].startswith(alerts[1].alert_id[-8:])
    assert lines[1].endswith("heart: the data have moved")
    assert len(lines) == 3
    found = andon("alerts", "list", "--severity", "critical", "--json").json
    assert [one["alert_id"] for one in found] == [alerts[1].alert_id]
    assert andon("alerts", "list", "--model", "none").out == "No alert is open.\n"
    assert "--limit N shows" in andon("alerts", "list", "--limit", "1").err


def test_one_alert_is_shown_taken_on_and_resolved(andon: Andon, alerts: list[Alert]) -> None:
    """By the end of its id; who resolved it is kept, and named when it is tried again."""
    end = alerts[0].alert_id[-8:]
    shown = andon("alerts", "show", end).out
    assert "pcb: the data have moved" in shown
    assert "Sharpness, too." in shown
    assert andon("alerts", "ack", end, "--by", "Ada").out == (
        "Ada looks after it: pcb: the data have moved\n"
    )
    done = andon("alerts", "resolve", end, "--by", "Ada", "--notes", "Lamp", "--json").json
    assert (done["status"], done["resolved_by"], done["resolution_notes"]) == (
        "resolved", "Ada", "Lamp"
    )  # fmt: skip
    again = andon("alerts", "resolve", end)
    assert again.code == 1
    assert "was resolved by Ada at" in again.err
    assert len(andon("alerts", "list").out.splitlines()) == 2
    assert len(andon("alerts", "list", "--all").out.splitlines()) == 3


def test_an_id_that_names_none_or_several_is_said(andon: Andon, alerts: list[Alert]) -> None:
    """Also a name that is too long; without `--by` it is the user of the terminal."""
    assert "There is no alert nothing." in andon("alerts", "show", "nothing").err
    assert andon("alerts", "ack", alerts[0].alert_id, "--by", "x" * 65).code == 1
    assert andon("alerts", "ack", alerts[0].alert_id).code == 0


def test_an_installation_without_alerts_says_so(andon: Andon) -> None:
    """A sentence instead of an empty table."""
    assert andon("alerts", "list", "--all").out == "No alert was ever raised.\n"
