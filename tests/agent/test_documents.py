"""What the agent writes: diagnostics without secrets, reports that people read, thresholds."""

import json
import zipfile
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr
from tests.agent.conftest import build, signal
from tests.monitoring.conftest import answered, heart_version
from tests.support.tabular_models import HEART

from andon.agent import bundle, files, thresholds
from andon.agent.diagnosis import diagnose
from andon.agent.policy import built_in
from andon.errors import NotFound
from andon.monitoring.signals import Issue

_SECRETS = {
    "api_key": "planted-api-key",
    "webhook": "https://hook.example/planted-hook-token",
    "mqtt": "planted-mqtt-password",
    "postgres": "planted p@ss/word",
    "environment": "planted-environment-token",
    "bearer": "planted-bearer",
    "user": "planted-user-as-token",
}


def ask(bench, kind, **given):
    """Have it done; the action as it ended."""
    action = bench.agent.propose(kind, by="Anna", **given)
    bench.tick()
    return bench.db.actions.get(action.action_id)


def path_of(bench, action, number=0):
    """A file it made."""
    name = action.execution_result["files"][number]["name"]
    return files.find(bench.settings.reports, action, name)[0]


def test_diagnostics_hold_everything_but_secrets(bench, monkeypatch):
    """Planted in the settings, the environment, the log, the metrics and a signal."""
    password = "planted%20p%40ss%2Fword"
    settings = bench.settings.model_copy(
        update={
            "api_key": SecretStr(_SECRETS["api_key"]),
            "webhook_url": SecretStr(_SECRETS["webhook"]),
            "mqtt_url": SecretStr(f"mqtt://box:{_SECRETS['mqtt']}@broker"),
            "mlflow_tracking_uri": f"https://{_SECRETS['user']}@mlflow.example",
            "database_url": f"postgresql://andon:{password}@db/andon",
        }
    )
    monkeypatch.setenv("SOME_SERVICE_TOKEN", _SECRETS["environment"])
    lines = [f"line {number}" for number in range(3000)]
    lines += [f"key is {secret}" for secret in _SECRETS.values()]
    lines += [f"postgresql://andon:{password}@db/andon", "Authorization: Bearer planted-bearer"]
    lines += ['{"password": "planted-unknown"}', "X-API-Key=planted-unknown&x=1"]
    settings.log.write_text("\n".join(lines).replace("key is planted-bearer", ""))
    bench.versions()
    bench.signals = [signal(summary=f"It failed: {_SECRETS['mqtt']}")]
    for name, value in {
        "settings": settings,
        "metrics": f"andon_x 1 # {_SECRETS['api_key']}".encode,
        "health": lambda: {"status": "degraded", "why": _SECRETS["environment"]},
    }.items():
        object.__setattr__(bench.means, name, value)
    bench.settings = settings
    action = ask(bench, "collect_diagnostics")
    assert action.status == "succeeded", action.error
    with zipfile.ZipFile(path_of(bench, action)) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert {
        "versions.json", "settings.json", "tables.json", "machine.json", "threads.txt",
        "signals.json", "health.json", "metrics.txt", "andon.log", "models.json",
    } <= parts.keys()  # fmt: skip
    whole = "\n".join(parts.values())
    for secret in [*_SECRETS.values(), password, "planted-unknown"]:
        assert secret not in whole, secret
    assert "could not be collected" not in whole
    assert len(parts["andon.log"].splitlines()) == bundle.LINES
    assert json.loads(parts["tables.json"])["model_versions"] == 2
    assert json.loads(parts["settings.json"])["api_key"] == "***"
    assert json.loads(parts["health.json"])["status"] == "degraded"
    assert "MainThread" in parts["threads.txt"]


def test_a_part_that_fails_says_so_and_the_rest_is_there(bench):
    """What is broken is what is looked for."""
    bench.versions()

    def broken():
        raise RuntimeError("No health.")

    object.__setattr__(bench.means, "health", broken)
    action = ask(bench, "collect_diagnostics")
    with zipfile.ZipFile(path_of(bench, action)) as archive:
        assert b"could not be collected" in archive.read("health.json")
        assert json.loads(archive.read("models.json"))


def test_a_report_is_a_page_that_stands_alone(bench):
    """Readable without the server, with every number; strange names stay text."""
    bench.versions()
    bench.activate("pcb", 1)
    bench.activate("pcb", 2)
    odd = signal("drift", Issue.DATA_DRIFT, summary="<script>alert(1)</script> moved by 0.31.")
    bench.signals = [odd]
    (made,) = bench.handle(*diagnose([odd]))
    bench.tick()
    action = bench.db.actions.get(made.action_id)
    assert action.status == "succeeded", action.error
    page = path_of(bench, action).read_text()
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; moved by 0.31." in page
    assert "Report on pcb v2" in page
    assert "ACTIVATE v2" in page
    assert "//" not in page
    # Kept or sent on, it has no header that says so.
    assert "default-src 'none'" in page
    facts = json.loads(path_of(bench, action, 1).read_text())
    assert facts["signals"][0]["name"] == "drift"
    assert action.execution_result["files"][0]["href"].startswith(f"/api/actions/{made.action_id}/")


def test_made_again_after_a_crash_it_is_the_same_file(bench):
    """No second one is left behind."""
    bench.versions()
    action = ask(bench, "generate_report")
    bench.agent._worker._executor.do(action)
    assert len(list(bench.settings.reports.iterdir())) == 2


def test_only_files_of_the_action_are_handed_out(bench):
    """No path from outside is ever opened."""
    bench.versions()
    action = ask(bench, "generate_report")
    other = ask(bench, "validate_data")
    (bench.settings.reports / "secret.txt").write_text("x")
    name = action.execution_result["files"][0]["name"]
    for found, wanted in [
        (action, "secret.txt"),
        (action, "../andon.db"),
        (action, f"../reports/{name}"),
        (other, name),
    ]:
        with pytest.raises(NotFound):
            files.find(bench.settings.reports, found, wanted)


def test_old_files_of_actions_are_deleted_and_others_stay(bench):
    """Evidently's pages lie in the same folder."""
    bench.versions()
    ask(bench, "generate_report")
    (bench.settings.reports / "other.html").write_text("x")
    assert files.sweep(bench.settings.reports, datetime(2000, 1, 1, tzinfo=UTC)) == 0
    assert files.sweep(bench.settings.reports, datetime(2999, 1, 1, tzinfo=UTC)) == 2
    assert [one.name for one in bench.settings.reports.iterdir()] == ["other.html"]


def test_validation_keeps_what_was_found(bench):
    """With its summary on the action."""
    bench.versions()
    action = ask(bench, "validate_data")
    assert action.execution_result["summary"] == "v2: all is well."
    assert action.execution_result["validation"]["faults"] == []


def test_an_alert_by_hand_is_raised_and_told(bench):
    """Linked to its action."""
    bench.versions()
    action = ask(bench, "send_alert", parameters={"message": "Look at line 2.", "severity": "info"})
    (alert,) = bench.db.alerts.open()
    assert (action.alert_id, alert.severity) == (alert.alert_id, "info")


@pytest.fixture
def heart(sqlite_db, tmp_path):
    """A model of rows with two classes."""
    bench = build(sqlite_db, tmp_path / "home")
    version = heart_version(sqlite_db)
    sqlite_db.models.set_active("heart", 1, actor="anna")
    return bench, version


def test_a_threshold_moves_where_labels_say_it_helps(heart):
    """One step, never beyond the bounds; without labels not at all."""
    bench, version = heart
    policy = built_in(bench.settings).model("heart")
    version = bench.db.models.get("heart", 1)
    assert thresholds.better_step(bench.db, version, policy, bench.settings) is None
    # Some of the ill are missed by a little.
    pairs = [(HEART.threshold - 0.03, 1)] * 20 + [(0.9, 1)] * 20 + [(0.1, 0)] * 40
    answered(bench.db, version, pairs)
    step = thresholds.better_step(bench.db, version, policy, bench.settings)
    assert (step.before, step.after) == (HEART.threshold, round(HEART.threshold - 0.05, 4))
    assert step.f1_after == 1.0 > step.f1_before
    assert "80 labelled answers" in step.summary


def test_a_threshold_stays_where_both_steps_are_worse(heart):
    """And where it would leave the bounds."""
    bench, version = heart
    version = bench.db.models.get("heart", 1)
    answered(bench.db, version, [(0.9, 1)] * 30 + [(0.1, 0)] * 30)
    policy = built_in(bench.settings).model("heart")
    assert thresholds.better_step(bench.db, version, policy, bench.settings) is None


@pytest.mark.parametrize(
    "text",
    [
        "my_api_key = PLANTED",
        "AWS_SECRET_ACCESS_KEY=PLANTED",
        'password="PLANTED with a blank"',
        '{"db_password": "PLANTED with a \\" quote", "count": 3}',
        '{"message": "{\\"client_secret\\": \\"PLANTED; more\\"}"}',
        "Authorization: Digest PLANTED",
        "postgresql://db/andon?sslpassword=PLANTED",
        "PUT /hook/a/PLANTED-word?x=1",
        'the password is PLANT\\"ED-env',
        "PLANT%22ED-env",
    ],
)
def test_a_secret_is_found_however_it_is_said(bench, text):
    """Parts of names, quotes, blanks, JSON in JSON, other ways of writing a known one."""
    settings = bench.settings.model_copy(
        update={"webhook_url": SecretStr("https://hook.example/hook/a/PLANTED-word?x=1")}
    )
    hiding = bundle.Hiding(settings, {"SOME_TOKEN": 'PLANT"ED-env', "TOKEN_CHECK": "true"})
    hidden = hiding.text(text)
    assert "PLANT" not in hidden
    assert "blank" not in hidden
    assert "more" not in hidden
    if text.startswith("{"):
        json.loads(hidden)


def test_what_is_no_secret_stays(bench):
    """JSON stays JSON, and what is not set still looks so."""
    text = '{"api_key": "", "tokens": 5, "secret": null, "on": true, "path": "/api/models"}'
    assert bundle.Hiding(bench.settings, {"TOKEN_CHECK": "true"}).text(text) == text


def test_a_link_in_the_place_of_a_file_is_not_followed(bench):
    """Who may write into the folder may not read everything by it."""
    bench.versions()
    action = ask(bench, "collect_diagnostics")
    path = path_of(bench, action)
    path.unlink()
    path.symlink_to(bench.settings.log)
    bench.settings.log.write_text("secret")
    with pytest.raises(NotFound):
        path_of(bench, action)
