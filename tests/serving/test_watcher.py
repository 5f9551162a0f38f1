"""Model files dropped into the deploy folder."""

import os
import shutil
import time

import pytest
from tests.serving.boards import spot_model, until

FAST = {"watch": True, "watch_settle": 0.2, "watch_timeout": 0.6}


@pytest.fixture
def watching(line):
    """An installation that watches its deploy folder, impatiently."""
    line.start(**FAST)
    return line


@pytest.fixture
def deploy(watching):
    """The deploy folder."""
    return watching.home / "deploy"


def names(folder) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_dropped_file_is_deployed_and_moved(watching, deploy):
    """It serves, lies in processed/, and the log tells the documented story."""
    shutil.copy(watching.file("new_model"), deploy / "new_model.onnx")
    until(lambda: names(deploy / "processed") == ["new_model.onnx"])
    assert watching.ask().model_version == 1
    told = [
        "New model detected: new_model.onnx",
        "Model registered: v1 (new_model.onnx)",
        "Model v1 activated",
        "Model v1 loaded successfully: new_model",
        "Model v1 deployment complete",
    ]
    lines = [line for line in watching.log if any(line.startswith(one) for one in told)]
    assert [line.startswith(one) for line, one in zip(lines, told, strict=True)] == [True] * 5
    version = watching.platform.db.models.get("pcb", 1)
    assert version.source == "watch"


def test_files_that_were_there_before_are_deployed_at_start(watching):
    """Nobody has to touch them."""
    watching.stop()
    shutil.copy(watching.file("early"), watching.home / "deploy" / "early.onnx")
    watching.start(**FAST)
    until(lambda: names(watching.home / "deploy" / "processed") == ["early.onnx"])
    assert watching.ask().model_version == 1


def test_a_slow_copy_is_waited_for(watching, deploy):
    """Half a file is not tried as long as it grows."""
    data = watching.file("slow", labels=tuple("abcdefgh")).read_bytes()
    step = len(data) // 6
    with (deploy / "slow.onnx").open("wb") as file:
        for start in range(0, len(data), step):
            file.write(data[start : start + step])
            file.flush()
            time.sleep(0.12)
    until(lambda: names(deploy / "processed") == ["slow.onnx"])
    assert names(deploy / "rejected") == []


def test_a_copy_that_pauses_is_given_time(watching, deploy):
    """A pause longer than the settling time is not the end, if the file grows in time."""
    data = watching.file("pausing").read_bytes()
    half = len(data) // 2
    with (deploy / "pausing.onnx").open("wb") as file:
        file.write(data[:half])
        file.flush()
        time.sleep(0.45)
        file.write(data[half:])
    until(lambda: names(deploy / "processed") == ["pausing.onnx"])
    assert names(deploy / "rejected") == []


def test_a_file_renamed_into_place_is_deployed(watching, deploy):
    """Copied under a temporary name, then renamed: the temporary name is left alone."""
    part = deploy / "model.onnx.part"
    shutil.copy(watching.file("renamed"), part)
    time.sleep(0.5)
    assert part.exists()
    part.rename(deploy / "model.onnx")
    until(lambda: names(deploy / "processed") == ["model.onnx"])


def test_a_bad_file_is_rejected_with_a_reason(watching, deploy):
    """It is moved aside, beside a text a person can act on."""
    (deploy / "bad.onnx").write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 500)
    until(lambda: names(deploy / "rejected") == ["bad.onnx", "bad.onnx.reason.txt"])
    reason = (deploy / "rejected" / "bad.onnx.reason.txt").read_text()
    assert "PNG picture" in reason
    assert "Next step:" in reason
    assert not watching.platform.db.models.list("pcb")


def test_other_files_are_rejected(watching, deploy):
    """What is no model file does not stay and look as if it were taken."""
    others = ["model", "model.pt", "notes.txt"]
    for name in others:
        (deploy / name).write_text("hello")
    reasons = {f"{name}.reason.txt" for name in others}
    until(lambda: reasons <= set(names(deploy / "rejected")))
    assert not any((deploy / name).exists() for name in others)


def test_unfinished_files_are_left_alone(watching, deploy):
    """Browsers and copy programs finish them under another name."""
    unfinished = [".hidden.onnx", "a.crdownload", "a.onnx.tmp", "~a.onnx"]
    for name in unfinished:
        (deploy / name).write_text("half")
    time.sleep(1.0)
    assert [path.name for path in sorted(deploy.iterdir()) if path.is_file()] == unfinished
    assert names(deploy / "rejected") == []


def test_the_same_name_twice_keeps_both(watching, deploy):
    """A second file of the same name is another version and another file in processed/."""
    for name in ("one", "two"):
        shutil.copy(watching.file(name), deploy / "model.onnx")
        until(lambda: not (deploy / "model.onnx").exists())
    assert names(deploy / "processed") == ["model.2.onnx", "model.onnx"]
    assert watching.ask().model_version == 2


def test_the_same_content_twice_is_one_version(watching, deploy):
    """A duplicate is activated, not registered again."""
    file = watching.file("same")
    for name in ("a.onnx", "b.onnx"):
        shutil.copy(file, deploy / name)
        until(lambda name=name: name in names(deploy / "processed"))
    assert [one.version for one in watching.platform.db.models.list("pcb")] == [1]


def test_two_files_at_once_both_become_versions(watching, deploy):
    """The younger one serves in the end."""
    for age, name in ((20, "older"), (10, "younger")):
        made = watching.file(name)
        os.utime(made, (time.time() - age, time.time() - age))
        made.rename(deploy / f"{name}.onnx")
    until(lambda: len(names(deploy / "processed")) == 2)
    active = watching.platform.db.models.active("pcb")
    assert (active.version, active.filename) == (2, "younger.onnx")


def test_a_folder_names_the_model(watching, deploy):
    """deploy/<model>/ deploys that model."""
    (deploy / "solder").mkdir()
    shutil.copy(watching.file("solder"), deploy / "solder" / "board.onnx")
    until((deploy / "processed" / "solder" / "board.onnx").exists)
    assert watching.ask(model="solder").model_version == 1


def test_a_folder_that_cannot_be_a_model_is_refused(watching, deploy):
    """So is a file that lies too deep."""
    for folder in ("Not A Model!", "a/b"):
        (deploy / folder).mkdir(parents=True)
        shutil.copy(watching.file("x"), deploy / folder / "x.onnx")
    until(lambda: len(names(deploy / "rejected")) == 4)
    assert not watching.platform.db.models.list("pcb")


def test_a_link_is_never_followed(watching, deploy, tmp_path):
    """The link is moved aside; what it points to is untouched."""
    target = watching.file("target")
    (deploy / "link.onnx").symlink_to(target)
    until(lambda: "link.onnx.reason.txt" in names(deploy / "rejected"))
    assert (deploy / "rejected" / "link.onnx").is_symlink()
    assert target.exists()
    assert not watching.platform.db.models.list("pcb")


def test_a_pipe_does_not_hang_it(watching, deploy):
    """Opening a pipe would wait for ever; it is not opened."""
    os.mkfifo(deploy / "pipe.onnx")
    until(lambda: "pipe.onnx.reason.txt" in names(deploy / "rejected"))
    shutil.copy(watching.file("after"), deploy / "after.onnx")
    until(lambda: "after.onnx" in names(deploy / "processed"))


def test_a_file_that_vanishes_is_forgotten(watching, deploy):
    """Somebody changed their mind; nothing is left to say."""
    (deploy / "gone.onnx").write_bytes(b"half of a model")
    time.sleep(0.15)
    (deploy / "gone.onnx").unlink()
    shutil.copy(watching.file("after"), deploy / "after.onnx")
    until(lambda: names(deploy / "processed") == ["after.onnx"])
    assert names(deploy / "rejected") == []


def test_a_file_that_cannot_be_read_is_rejected(watching, deploy, monkeypatch):
    """The reason says what to do about it."""
    opening = os.open

    def refuse(path, *args, **given):
        if str(path).endswith("secret.onnx"):
            raise PermissionError(13, os.strerror(13))
        return opening(path, *args, **given)

    monkeypatch.setattr("andon.serving.watcher.os.open", refuse)
    shutil.copy(watching.file("x"), deploy / "secret.onnx")
    until(lambda: "secret.onnx.reason.txt" in names(deploy / "rejected"))
    assert "readable" in (deploy / "rejected" / "secret.onnx.reason.txt").read_text()


def test_a_file_that_does_not_fit_now_is_tried_again(watching, deploy, monkeypatch):
    """A full disk passes; the file stays where it is."""
    from andon.errors import StorageFull

    monkeypatch.setattr("andon.serving.watcher._RETRY", 0.3)
    deployments = watching.platform.deployments
    real = deployments.deploy
    calls = []

    def full_once(*args, **given):
        calls.append(1)
        if len(calls) == 1:
            args[0].discard()
            raise StorageFull("The disk is full.")
        return real(*args, **given)

    monkeypatch.setattr(deployments, "deploy", full_once)
    shutil.copy(watching.file("x"), deploy / "x.onnx")
    until(lambda: names(deploy / "processed") == ["x.onnx"])
    assert len(calls) == 2


def test_it_survives_its_folder_being_deleted(watching, deploy, monkeypatch):
    """The folder is made again."""
    monkeypatch.setattr("andon.serving.watcher._RESCAN", 0.3)
    shutil.rmtree(deploy)
    until(deploy.is_dir)
    spot_model(deploy / ".x", name="back")
    (deploy / ".x").rename(deploy / "back.onnx")
    until((deploy / "processed" / "back.onnx").exists)
