"""`andon models`: versions are added, listed, switched and deleted from a terminal."""

from pathlib import Path

from tests.cli.conftest import Andon


def test_an_empty_home_says_how_to_begin(andon: Andon) -> None:
    """No versions is no error; the next step is named."""
    done = andon("models", "list")
    assert done.code == 0
    assert "andon models add FILE" in done.out
    assert andon("models", "list", "--json").json == []


def test_an_added_model_serves(andon: Andon, detector: Path) -> None:
    """`models add` proves, registers and activates."""
    done = andon("models", "add", detector, "--notes", "first")
    assert done.code == 0, done.err
    assert done.out.startswith("Model pcb v1 (spots.onnx) registered.\n")
    assert "It serves now." in done.out
    (version,) = andon("models", "list", "--json").json
    assert (version["version"], version["is_active"], version["notes"]) == (1, True, "first")


def test_an_added_model_may_wait(andon: Andon, detector: Path) -> None:
    """`--no-activate` registers only, and says how to let it serve."""
    done = andon("models", "add", detector, "--no-activate")
    assert "andon models activate 1" in done.out
    assert not andon("models", "show", "v1", "--json").json["is_active"]


def test_the_same_file_is_the_same_version(serving: Andon, detector: Path) -> None:
    """A file that is there already is answered as a duplicate."""
    answer = serving("models", "add", detector, "--json").json
    assert answer["duplicate"]
    assert answer["version"]["version"] == 1


def test_options_override_what_was_recognised(andon: Andon, detector: Path) -> None:
    """`--labels` and `--resize` win over what the file says."""
    assert andon("models", "add", detector, "--labels", "hole", "--resize", "stretch").code == 0
    shown = andon("models", "show", 1).out
    assert "hole" in shown
    assert "stretch" in shown


def test_a_size_that_is_none_is_refused(andon: Andon, detector: Path) -> None:
    """`--size big` is an error with an example."""
    done = andon("models", "add", detector, "--size", "big")
    assert done.code == 1
    assert "640x640" in done.err


def test_a_file_that_is_no_model_changes_nothing(serving: Andon, tmp_path: Path) -> None:
    """The reason is one line, and version 1 goes on serving."""
    bad = tmp_path / "notes.onnx"
    bad.write_text("not a model")
    done = serving("models", "add", bad)
    assert done.code == 1
    assert done.err.count("The file is no model") == 1
    assert [v["version"] for v in serving("models", "list", "--json").json] == [1]


def test_versions_switch_and_go_back(serving: Andon, other_detector: Path) -> None:
    """Activate and roll back change which version is active."""
    serving("models", "add", other_detector, "--no-activate")
    assert serving("models", "activate", "v2").out == "Model pcb v2 serves now.\n"
    done = serving("models", "rollback", "--reason", "false alarms")
    assert done.out == "Model pcb v1 serves now, in place of v2.\n"
    answer = serving("models", "activate", 2, "--json").json
    assert answer["version"] == 2
    answer = serving("models", "rollback", "--json").json
    assert (answer["version"]["version"], answer["previous_version"]["version"]) == (1, 2)


def test_a_rollback_without_a_predecessor_is_an_error(serving: Andon) -> None:
    """One version has nothing to go back to."""
    done = serving("models", "rollback")
    assert done.code == 1
    assert "no earlier version" in done.err


def test_the_active_version_is_not_deleted(serving: Andon) -> None:
    """The error says what to do first."""
    done = serving("models", "delete", 1, "--yes")
    assert done.code == 1
    assert "Activate another version first." in done.err


def test_a_deleted_version_and_its_file_are_gone(
    serving: Andon, other_detector: Path, home: Path
) -> None:
    """`models delete --yes` asks nobody."""
    serving("models", "add", other_detector, "--no-activate")
    file = home / "models" / "pcb" / "model_v2.onnx"
    assert file.exists()
    assert serving("models", "delete", 2, "--yes").out == "Model pcb v2 deleted.\n"
    assert not file.exists()
    assert serving("models", "show", 2).code == 1


def test_a_version_must_be_a_number(andon: Andon) -> None:
    """`models show latest` is a wrong command line."""
    done = andon("models", "show", "latest")
    assert done.code == 2
    assert "write 3 or v3" in done.err


def test_models_have_names(andon: Andon, detector: Path) -> None:
    """`--model` registers under another name; `list` shows all names or one."""
    andon("models", "add", detector, "--model", "screws")
    andon("models", "add", detector)
    assert {v["model"] for v in andon("models", "list", "--json").json} == {"pcb", "screws"}
    (version,) = andon("models", "list", "-m", "screws", "--json").json
    assert version["model"] == "screws"
    done = andon("models", "list", "-m", "screw")
    assert done.code == 1
    assert "no model named 'screw'" in done.err
    assert "pcb, screws" in done.err


def test_a_table_in_a_pipe_is_plain(serving: Andon) -> None:
    """One row per line, headings first, no boxes and no colours."""
    lines = serving("models", "list").out.splitlines()
    assert lines[0].split()[:3] == ["MODEL", "VERSION", "STATUS"]
    assert lines[1].split()[:2] == ["pcb", "v1"]
    assert len(lines) == 2
    assert "\x1b" not in "".join(lines)
