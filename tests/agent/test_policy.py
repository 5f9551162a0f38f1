import os
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.agent import policy_page
from andon.agent.policy import ACTIONS, PolicyFile, built_in, default_text, described, load
from andon.errors import ConfigurationError
from andon.settings import Settings


@pytest.fixture
def settings(tmp_path):
    """Settings of an empty home."""
    return Settings(home=tmp_path, _env_file=None)


def write(settings, text):
    """Write the policy file, with a time that differs."""
    settings.policy.write_text(text, encoding="utf-8")
    return settings.policy


def test_the_text_that_is_written_is_the_built_in_policy(settings):
    """Every value of it, for every action and model."""
    read = load(write(settings, default_text()), settings)
    known = built_in(settings)
    for kind in ACTIONS:
        assert read.action(kind) == known.action(kind)
    for model in ("pcb", "heart-disease", "anything"):
        assert read.model(model) == known.model(model)
    assert described(read, ["heart"])["agent"] == described(known, ["heart"])["agent"]


def test_pcb_rolls_back_by_itself_and_others_ask(settings):
    """Decision 25."""
    policy = built_in(settings)
    assert policy.approvals("rollback_model", "pcb") == 0
    assert policy.approvals("rollback_model", "heart-disease") == 1
    assert policy.approvals("retrain_model", "pcb") == 1
    assert policy.approvals("collect_diagnostics", "pcb") == 0
    assert policy.action("rollback_model").cooldown == timedelta(hours=1)


def test_limits_come_from_the_settings_unless_the_file_says_another(settings):
    """A model's own table stands before the default one."""
    settings = settings.model_copy(update={"accuracy_rollback_threshold": 0.8})
    assert built_in(settings).limits("pcb").accuracy == 0.8
    text = (
        "[models.default.limits]\naccuracy = 0.75\nerror_rate = 0.1\n"
        "[models.heart.limits]\naccuracy = 0.9\n"
    )
    policy = load(write(settings, text), settings)
    assert (policy.limits("heart").accuracy, policy.limits("heart").error_rate) == (0.9, 0.1)
    assert policy.limits("pcb").accuracy == 0.75
    assert policy.limits("pcb").latency_factor == 2.0


def test_a_default_table_stands_before_what_is_built_in(settings):
    """Who writes manual for all does not mean all but pcb."""
    policy = load(write(settings, '[models.default]\nrollback = "manual"\n'), settings)
    assert policy.model("pcb").rollback == "manual"


def test_two_people_for_a_risk(settings):
    """Only where the model asks at all."""
    text = '[agent]\nsecond_person = ["high"]\n'
    policy = load(write(settings, text), settings)
    assert policy.approvals("rollback_model", "heart") == 2
    assert policy.approvals("retrain_model", "heart") == 1
    assert policy.approvals("rollback_model", "pcb") == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[agent\n", "Line 1:"),
        ("[agent]\nenabled = maybe\n", "Line 2:"),
        ("[agent]\n\nenabled = 1\n", "Line 3: enabled is 1, and must be true or false."),
        ("[agnet]\n", "Line 1: 'agnet' is no table that is known; did you mean agent?"),
        ("# hello\n[actions.rolback_model]\n", "Line 2: 'rolback_model' is no action"),
        ('[actions.send_alert]\nrisk = "some"\n', "Line 2: risk is 'some', and must be \"low\""),
        ('[actions.send_alert]\ncooldown = "1w"\n', "Line 2: cooldown is '1w'"),
        ('[models.heart]\nrollback = "always"\n', "Line 2: rollback is 'always'"),
        ("[models.nope]\n", "Line 1: 'nope' is no model that is known"),
        ("[models.heart.limits]\naccuracy = 3\n", "Line 2: accuracy is 3"),
        ("[models.heart]\nlimits.accurracy = 0.5\n", "Line 2: 'accurracy' is no key"),
        ("[models.heart]\nlimits = { accuracy = 2 }\n", "Line 2: accuracy is 2"),
        ('[agent]\nsecond_person = ["all"]\n', "Line 2: second_person"),
        ("[agent]\nactions_per_day = -1\n", "Line 2: actions_per_day is -1"),
        ("[models.heart]\nthreshold_min = 0.9\nthreshold_max = 0.1\n", "Line 2: threshold_min"),
        ("actions = 3\n", "Line 1: actions must be a table"),
        ('[models]\n"Not A Name" = {}\n', "Line 2: 'Not A Name' is no name of a model."),
    ],
)
def test_every_fault_is_named_with_its_line(settings, text, words):
    """Of the syntax and of the meaning."""
    with pytest.raises(ConfigurationError) as caught:
        load(write(settings, text), settings, {"heart", "default"})
    assert words in str(caught.value)


def test_all_faults_are_said_at_once(settings):
    """In the order of their lines."""
    text = '[agent]\nenabled = 1\nfoo = 2\n[actions.send_alert]\nrisk = "x"\n'
    with pytest.raises(ConfigurationError) as caught:
        load(write(settings, text), settings)
    said = str(caught.value)
    assert said.index("Line 2") < said.index("Line 3") < said.index("Line 5")


def test_it_is_read_again_when_it_changes(settings):
    """Without a restart."""
    file = PolicyFile(settings.policy, settings)
    assert file.current()[0].actions_per_day == 20
    write(settings, "[agent]\nactions_per_day = 3\n")
    assert file.current()[0].actions_per_day == 3


def test_a_broken_file_loosens_nothing(settings):
    """The last good policy goes on, and what ran by itself waits; mended, it holds again."""
    file = PolicyFile(settings.policy, settings)
    write(settings, '[models.pcb]\nrollback = "auto"\n[models.heart]\nrollback = "manual"\n')
    assert file.current()[0].mode("rollback_model", "pcb") == "auto"
    write(settings, '[models.heart]\nrollback = "auto"\nfoo = 1\n')
    policy, problem = file.current()
    assert "Line 3" in problem
    assert policy.mode("rollback_model", "pcb") == "approve"
    assert policy.mode("rollback_model", "heart") == "manual"
    assert policy.approvals("adjust_threshold", "pcb") == 1
    assert policy.approvals("send_alert", "pcb") == 0
    write(settings, '[models.pcb]\nrollback = "auto"\n')
    policy, problem = file.current()
    assert (problem, policy.mode("rollback_model", "pcb")) == ("", "auto")


def test_a_file_that_is_broken_from_the_start_asks_for_everything(settings):
    """What is built in lets pcb roll back by itself; not so while nobody knows what was meant."""
    write(settings, "[models.pcb\n")
    policy, problem = PolicyFile(settings.policy, settings).current()
    assert problem
    assert policy.mode("rollback_model", "pcb") == "approve"


def test_a_file_that_is_gone_is_a_fault(settings):
    """Deleting it by accident must not loosen anything."""
    file = PolicyFile(settings.policy, settings)
    write(settings, "[agent]\nactions_per_day = 3\n")
    file.current()
    settings.policy.unlink()
    policy, problem = file.current()
    assert "is gone" in problem
    assert (policy.actions_per_day, policy.mode("rollback_model", "pcb")) == (3, "approve")


def test_the_settings_can_turn_it_off(settings):
    """Whatever the file says."""
    off = settings.model_copy(update={"agent": "off"})
    assert not load(write(off, "[agent]\nenabled = true\n"), off).enabled
    dry = settings.model_copy(update={"agent": "dry-run"})
    assert load(write(dry, "[agent]\ndry_run = false\n"), dry).dry_run


@given(st.text(max_size=200))
def test_no_text_breaks_the_reading(text):
    """It is a page or a list of faults."""
    page, faults = policy_page.read(text, actions=ACTIONS, models=None, default="default")
    assert isinstance(faults, list)
    assert page is not None


@pytest.mark.parametrize(
    "page",
    [
        "x = " + "[" * 5000 + "]" * 5000,
        "[models.pcb]\nrollback = " + "{a=" * 900 + "1" + "}" * 900,
        "[agent]\nactions_per_day = " + "9" * 5000,
        "[models.pcb.limits]\nlatency_factor = nan",
        "[models.pcb.limits]\nlatency_factor = inf",
        "# " + "x" * 1024 * 1024,
        "\x00",
    ],
)
def test_a_page_that_is_meant_to_break_the_reader_only_makes_it_tight(tmp_path, page):
    """Too deep, too long, too large, no number: as any other page that cannot be used."""
    path = tmp_path / "policy.toml"
    path.write_text('[models.default]\nrollback = "auto"\n')
    settings = Settings(home=tmp_path)
    file = PolicyFile(path, settings)
    assert file.current()[1] == ""
    path.write_text(page)
    for _ in range(2):
        policy, problem = file.current()
        assert problem
        assert policy.tight
        assert policy.model("other").rollback == "approve"


def test_a_pipe_is_no_policy(tmp_path):
    """Reading one would wait for ever."""
    path = tmp_path / "policy.toml"
    os.mkfifo(path)
    policy, problem = PolicyFile(path, Settings(home=tmp_path)).current()
    assert "it is no file" in problem
    assert policy.tight
