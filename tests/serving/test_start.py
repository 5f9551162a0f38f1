"""What serves after a start, whatever happened to the files meanwhile."""

import pytest
from tests.serving.boards import board

from andon.errors import ModelNotLoaded


def restart_after(line, change) -> None:
    """Stop, do something to the installation, start."""
    registry = line.platform.registry
    paths = {one.version: registry.path_of(one) for one in line.platform.db.models.list("pcb")}
    line.stop()
    change(paths)
    line.start()


def test_the_active_version_serves_again(serving):
    """A restart changes nothing."""
    serving.deploy("second")
    restart_after(serving, lambda paths: None)
    assert serving.ask().model_version == 2
    assert serving.engine.states()["pcb"].problem == ""


@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "folder"])
def test_a_damaged_active_version_gives_way_to_the_one_before(serving, damage):
    """The previous good version serves, the history says ROLLBACK and why, loudly."""
    serving.deploy("second")

    def spoil(paths):
        data = bytearray(paths[2].read_bytes())
        paths[2].unlink()
        if damage == "changed":
            data[len(data) // 2] ^= 1
            paths[2].write_bytes(data)
        elif damage == "cut":
            paths[2].write_bytes(data[: len(data) // 2])
        elif damage == "folder":
            paths[2].mkdir()

    restart_after(serving, spoil)
    assert serving.ask().model_version == 1
    event = serving.platform.db.events.page(model="pcb")[0][0]
    assert (event.event_type, event.model_version, event.previous_version) == ("ROLLBACK", 1, 2)
    assert "v2 could not be loaded at start" in event.reason
    state = serving.engine.states()["pcb"]
    assert (state.version, state.serving, state.loaded) == (1, 1, True)
    assert "v1 serves instead" in state.problem
    assert any(line.startswith("Rolled back: v2 could not") for line in serving.log)
    assert serving.platform.db.models.get("pcb", 2).damaged


def test_it_goes_back_as_far_as_it_must(serving):
    """Two damaged versions, the third serves."""
    serving.deploy("second")
    serving.deploy("third")

    def spoil(paths):
        paths[3].write_bytes(b"rust")
        paths[2].write_bytes(b"rust")

    restart_after(serving, spoil)
    assert serving.ask().model_version == 1


def test_with_nothing_good_left_it_starts_and_says_so(serving):
    """The server runs without a model; the reason is in the state and the log."""
    restart_after(serving, lambda paths: paths[1].unlink())
    state = serving.engine.states()["pcb"]
    assert (state.version, state.serving, state.loaded) == (1, None, False)
    assert "missing" in state.problem
    with pytest.raises(ModelNotLoaded, match="missing"):
        serving.ask()
    assert any("No version of model pcb can serve" in line for line in serving.log)
    serving.deploy("second")
    assert serving.ask().model_version == 2
    assert serving.engine.states()["pcb"].problem == ""


def test_a_version_that_does_not_load_any_more_gives_way(serving, monkeypatch):
    """The file is whole, but this machine cannot run it (a library was removed)."""
    serving.deploy("second")
    from andon.serving import proving

    load = proving.load

    def fails_for_second(path, options, settings):
        if path.name == "model_v2.onnx":
            from andon.errors import ModelRejected

            raise ModelRejected("libwhatever.so is missing.")
        return load(path, options, settings)

    monkeypatch.setattr(proving, "load", fails_for_second)
    restart_after(serving, lambda paths: None)
    assert serving.ask().model_version == 1
    assert "libwhatever.so" in serving.engine.states()["pcb"].problem


def test_two_models_are_mended_apart(serving):
    """Another model's damage is not this one's."""
    serving.deploy(serving.file("other"), model="solder")
    stored = serving.home / "models" / "solder" / "model_v1.onnx"
    restart_after(serving, lambda paths: stored.unlink())
    assert serving.ask(board(seed=3)).model_version == 1
    assert not serving.engine.states()["solder"].loaded


def test_a_model_without_permission_bits_is_mended(serving):
    """The mode of a stored file is given back before it is loaded."""
    restart_after(serving, lambda paths: paths[1].chmod(0o000))
    assert serving.ask().model_version == 1
    stored = serving.platform.registry.get_model_path(1)
    assert stored.stat().st_mode & 0o777 == 0o644
