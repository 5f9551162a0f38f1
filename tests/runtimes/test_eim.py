"""Running `.eim` programs: answers, boxes, and everything that can go wrong with a process."""

import os
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tests.runtimes.contract import check_runtime, picture, soon
from tests.support.fake_eim import MAGENTA, build_fake_eim

from andon.errors import DeadlineExceeded, ModelRejected, RuntimeFailed
from andon.runtimes import eim_process
from andon.runtimes.base import ModelOptions, Resize, RuntimeConfig, Task
from andon.runtimes.eim import EimRuntime
from andon.runtimes.eim_pool import RestartPolicy
from andon.runtimes.eim_protocol import features_of
from andon.runtimes.eim_workspace import Workspace, sweep

QUICK = RestartPolicy(first_delay=0.01, longest_delay=0.05, crashes=5, cool_down=30.0)
SPOT = [(96, 64, 32, 32)]


@pytest.fixture
def temporary(monkeypatch):
    """A temporary folder of this test alone, with a short path."""
    workspace = Workspace()
    monkeypatch.setattr("tempfile.tempdir", str(workspace.scratch))
    yield workspace.scratch
    workspace.remove()


@pytest.fixture
def load(tmp_path, temporary):
    """Builds a fake, loads it, and closes it at the end; nothing may be left of it then."""
    models = []

    def build_and_load(options=None, config=None, policy=QUICK, **fake):
        path = build_fake_eim(tmp_path / f"m{len(models)}.eim", **fake)
        given = {"start_timeout": 20.0, "message_timeout": 10.0, **(config or {})}
        model = EimRuntime(policy).load(path, options or ModelOptions(), RuntimeConfig(**given))
        models.append(model)
        return model

    yield build_and_load
    for model in models:
        model.close()
    assert list(temporary.iterdir()) == []
    assert running(tmp_path) == []


def running(folder: Path) -> list[str]:
    """Processes, zombies included, that run a file of a folder or are our children."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            zombie = state[0] == "Z" and int(state[1]) == os.getpid()
            if str(folder) in command or zombie:
                found.append(f"{entry.name} {command}")
    return found


def trigger() -> object:
    """A picture that makes a fake with ``on="magenta"`` misbehave."""
    shown = picture()
    shown.pixels[:32, :32] = MAGENTA
    return shown


def boxes(answer) -> list[tuple[str, tuple[int, int, int, int]]]:
    """Labels and boxes."""
    return [(found.label, found.bbox) for found in answer.detections]


FAKES = {
    "fomo": {},
    "fomo of 2023": {"generation": 2023},
    "fomo without shared memory": {"shm": False},
    "gray fomo": {"channels": 1},
    "not square": {"size": (96, 64)},
    "detection": {"model_type": "object_detection"},
    "letterboxed": {"resize": "fit-longest"},
    "cropped": {"resize": "fit-shortest"},
    "classification": {"model_type": "classification", "labels": ("dark", "bright")},
    "clusters": {"model_type": "classification", "labels": ("dark", "bright"), "has_anomaly": 1},
    "visual anomaly": {"model_type": "classification", "has_anomaly": 3, "min_score": 3.0},
}


@pytest.mark.parametrize("name", FAKES)
def test_every_kind_of_program_keeps_the_contract(load, name):
    """Any picture, any size, closed twice."""
    check_runtime(load(**FAKES[name]), "eim")


@pytest.mark.parametrize(
    "fake", [{}, {"shm": False}, {"generation": 2023}, {"model_type": "object_detection"}]
)
def test_a_spot_comes_back_as_its_box(load, fake):
    """Over shared memory, over JSON, from old programs and new."""
    model = load(labels=("red", "green"), **fake)
    shown = picture(384, 192, SPOT, (0, 255, 0))
    assert boxes(model.infer(shown, deadline=soon())) == [("green", (96, 64, 32, 32))]


@pytest.mark.parametrize(
    ("resize", "expected", "width", "height", "spot"),
    [
        ("squash", Resize.STRETCH, 384, 192, (64, 32, 64, 32)),
        ("fit-longest", Resize.LETTERBOX, 384, 192, (64, 64, 32, 32)),
        ("fit-longest", Resize.LETTERBOX, 192, 384, (32, 64, 32, 64)),
        ("fit-shortest", Resize.CROP, 384, 192, (128, 32, 32, 32)),
        ("fit-shortest", Resize.CROP, 192, 288, (16, 80, 32, 32)),
    ],
)
def test_boxes_come_back_through_every_resize_mode(load, resize, expected, width, height, spot):
    """In pixels of the picture."""
    model = load(resize=resize)
    assert model.description.resize is expected
    assert boxes(model.infer(picture(width, height, [spot]), deadline=soon())) == [("spot", spot)]


def test_classification_answers_scores_by_class(load):
    """As the program said them; no decision is taken here."""
    model = load(**FAKES["clusters"])
    answer = model.infer(picture(spots=[(0, 0, 256, 256)]), deadline=soon())
    assert model.description.task is Task.CLASSIFICATION
    assert answer.classes == {"bright": 1.0, "dark": 0.0}
    assert answer.anomaly == pytest.approx(3.0)
    assert answer.scores == (1.0,)


def test_visual_anomaly_answers_cells_and_the_highest_score(load):
    """Scores may exceed one."""
    model = load(**FAKES["visual anomaly"])
    assert model.description.task is Task.ANOMALY
    assert model.description.threshold == 3.0
    answer = model.infer(picture(192, 192, [(32, 48, 16, 16)]), deadline=soon())
    assert boxes(answer) == [("anomaly", (32, 48, 16, 16))]
    assert answer.anomaly == pytest.approx(10.0)
    quiet = model.infer(picture(192, 192), deadline=soon())
    assert (quiet.detections, quiet.anomaly) == ((), 0.0)


def test_the_threshold_of_detection_is_lowered_to_the_floor_and_again_after_a_crash(load):
    """What is held back inside could never be asked for outside."""
    model = load(model_type="object_detection", min_score=0.6, misbehave="crash", on="magenta")
    assert model.description.threshold == 0.6
    weak = picture(96, 96, [(8, 8, 8, 8)], (150, 150, 150))
    (found,) = model.infer(weak, deadline=soon()).detections
    assert found.confidence == pytest.approx(2 * 150 / 255 - 1, abs=0.01)
    with pytest.raises(RuntimeFailed):
        model.infer(trigger(), deadline=soon())
    assert len(model.infer(weak, deadline=soon()).detections) == 1


def test_the_threshold_of_fomo_stays(load):
    """Lower, it would join neighbours into one box."""
    weak = picture(96, 96, [(8, 8, 8, 8)], (150, 150, 150))
    assert load().infer(weak, deadline=soon()).detections == ()


def test_an_old_program_is_stretched_with_a_warning_unless_told(load):
    """It does not say how it was trained."""
    described = load(generation=2023).description
    assert described.resize is Resize.STRETCH
    assert any("'resize'" in warning for warning in described.warnings)
    told = load(ModelOptions(resize=Resize.CROP), generation=2023).description
    assert told.resize is Resize.CROP
    assert any("blind area" in warning for warning in told.warnings)


def test_labels_can_be_renamed(load):
    """One for one."""
    model = load(ModelOptions(labels=("Kratzer",)))
    assert boxes(model.infer(picture(384, 384, SPOT), deadline=soon()))[0][0] == "Kratzer"
    with pytest.raises(ModelRejected, match="2 labels"):
        load(ModelOptions(labels=("a", "b")))


@pytest.mark.parametrize(
    ("fake", "words"),
    [
        ({"model_type": "freeform"}, "freeform"),
        ({"resize": "none"}, "own size"),
        ({"sensor": 1}, "microphone"),
        ({"misbehave": "lies"}, "contradicts itself"),
        ({"misbehave": "no-hello"}, "error code was -5"),
        ({"misbehave": "exit-at-start"}, "exit code 127.*libfoo"),
        ({"misbehave": "crash"}, "SIGSEGV.*arena is on fire"),
        ({"misbehave": "garbage"}, "no JSON"),
    ],
)
def test_what_cannot_be_served_is_rejected_with_the_reason(load, fake, words):
    """The program's own last words included."""
    with pytest.raises(ModelRejected, match=words):
        load(**fake)


@pytest.mark.parametrize("misbehave", ["never-listens", "slow-hello", "hang"])
def test_what_does_not_start_in_time_is_rejected(load, misbehave):
    """And ended."""
    with pytest.raises(ModelRejected, match=r"time|deadline"):
        load(config={"start_timeout": 0.7}, misbehave=misbehave, seconds=60)


def test_options_that_contradict_the_file_are_refused(load):
    """Each by name."""
    for options in (
        ModelOptions(width=64),
        ModelOptions(head="yolov8"),
        ModelOptions(scale="unit"),
        ModelOptions(task=Task.CLASSIFICATION),
    ):
        with pytest.raises(ModelRejected, match="option"):
            load(options)


@pytest.mark.parametrize(
    ("misbehave", "words"),
    [
        ("crash", "SIGSEGV"),
        ("garbage", "no JSON"),
        ("half-reply", "exit code 1"),
        ("wrong-id", "another message"),
        ("error-reply", "error code was -5"),
        ("huge-reply", "exceeds"),
        ("nan", "no number"),
    ],
)
def test_after_any_failure_the_next_request_works(load, misbehave, words):
    """The failed one is answered with the reason."""
    model = load(misbehave=misbehave, on="magenta")
    with pytest.raises(RuntimeFailed, match=words):
        model.infer(trigger(), deadline=soon())
    assert len(model.infer(picture(384, 384, SPOT), deadline=soon()).detections) == 1


def test_a_hung_process_is_replaced_and_the_next_request_works(load):
    """The first one is answered at its deadline."""
    model = load(misbehave="hang", on="magenta")
    with pytest.raises(DeadlineExceeded):
        model.infer(trigger(), deadline=soon(0.2))
    assert len(model.infer(picture(384, 384, SPOT), deadline=soon()).detections) == 1


def test_a_caller_in_a_hurry_costs_no_healthy_process(load, tmp_path):
    """The late answer is awaited and thrown away; the next answer is the next one's."""
    model = load(misbehave="slow", on="magenta", seconds=0.4)
    (before,) = running(tmp_path)
    with pytest.raises(DeadlineExceeded):
        model.infer(trigger(), deadline=soon(0.05))
    shown = picture(384, 384, SPOT)
    assert boxes(model.infer(shown, deadline=soon())) == [("spot", (96, 64, 32, 32))]
    assert running(tmp_path) == [before]


def test_a_busy_process_makes_others_wait_until_their_deadline(load):
    """And no longer."""
    model = load(misbehave="slow", on="magenta", seconds=1.0)
    thread = threading.Thread(target=lambda: model.infer(trigger(), deadline=soon()))
    thread.start()
    time.sleep(0.2)
    with pytest.raises(DeadlineExceeded, match="busy"):
        model.infer(picture(), deadline=soon(0.1))
    thread.join()


def test_two_processes_answer_side_by_side(load):
    """A slow picture does not hold up the next one."""
    model = load(config={"workers": 2}, misbehave="slow", on="magenta", seconds=2.0)
    assert model.capacity == 2
    done = threading.Event()

    def slow() -> None:
        model.infer(trigger(), deadline=soon())
        done.set()

    thread = threading.Thread(target=slow)
    thread.start()
    time.sleep(0.2)
    model.infer(picture(), deadline=soon())
    assert not done.is_set()
    thread.join()


def test_too_many_crashes_are_told_at_once_until_a_probe_succeeds(load, tmp_path):
    """Nobody waits for what will not come; after the rest one start is tried."""
    policy = RestartPolicy(first_delay=0.01, longest_delay=0.01, crashes=2, cool_down=1.0)
    model = load(policy=policy, misbehave="crash", on="magenta")
    for _ in range(3):
        with pytest.raises(RuntimeFailed, match="SIGSEGV"):
            model.infer(trigger(), deadline=soon())
    with pytest.raises(RuntimeFailed, match="rests"):
        model.infer(picture(), deadline=soon())
    until = soon(20)
    while time.monotonic() < until:
        try:
            model.infer(picture(), deadline=soon())
            break
        except RuntimeFailed:
            time.sleep(0.05)
    else:
        pytest.fail("it never came back")


def test_three_refusals_in_a_row_replace_the_process(load, tmp_path):
    """One may be the picture's fault, three are not."""
    model = load(misbehave="error-reply", on="magenta")
    (before,) = running(tmp_path)
    for _ in range(2):
        with pytest.raises(RuntimeFailed, match="refused"):
            model.infer(trigger(), deadline=soon())
    assert running(tmp_path) == [before]
    with pytest.raises(RuntimeFailed, match="refused"):
        model.infer(trigger(), deadline=soon())
    model.infer(picture(), deadline=soon())
    assert before not in running(tmp_path)


def test_a_program_that_prints_without_end_is_drained(load):
    """A full pipe would stop it for good."""
    model = load(misbehave="flood", on="magenta")
    for _ in range(3):
        model.infer(trigger(), deadline=soon())


def test_a_program_that_ignores_sigterm_is_killed(load, monkeypatch):
    """Closing takes bounded time."""
    monkeypatch.setattr(eim_process, "_HANG_UP_WAIT", 0.1)
    monkeypatch.setattr(eim_process, "_TERM_WAIT", 0.1)
    load(misbehave="ignores-term").close()


def test_children_of_a_program_go_with_it(load, tmp_path):
    """The whole process group is ended."""
    model = load(misbehave="child")
    assert len(running(tmp_path)) == 2
    model.close()
    wait_until(lambda: not running(tmp_path))


def test_closing_wakes_those_who_wait(load):
    """With an error, promptly."""
    model = load(misbehave="hang", on="magenta")
    errors: list[Exception] = []

    def ask() -> None:
        try:
            model.infer(trigger(), deadline=soon())
        except (RuntimeFailed, DeadlineExceeded) as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    model.close()
    for thread in threads:
        thread.join(timeout=10)
    assert [type(error) for error in errors] == [RuntimeFailed] * 3


def test_closing_during_a_restart_leaves_nothing(load, tmp_path):
    """At whatever moment."""
    for wait in (0.0, 0.02, 0.05, 0.1):
        model = load(misbehave="crash", on="magenta")
        with pytest.raises(RuntimeFailed):
            model.infer(trigger(), deadline=soon())
        time.sleep(wait)
        model.close()
        assert running(tmp_path) == []


def wait_until(true, seconds=10.0) -> None:
    """Bounded waiting."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def shared_memory(tag: str) -> list[str]:
    """Names in /dev/shm that the fakes of one test made."""
    return [path.name for path in Path("/dev/shm").glob(f"shm-{tag}*")]


def test_shared_memory_of_a_killed_program_is_unlinked(load):
    """It cannot do it itself any more."""
    tag = os.urandom(6).hex()
    model = load(misbehave="crash", on="magenta", shm_tag=tag)
    (made,) = shared_memory(tag)
    with pytest.raises(RuntimeFailed):
        model.infer(trigger(), deadline=soon())
    assert made not in shared_memory(tag)
    model.close()
    assert shared_memory(tag) == []


def test_shared_memory_that_is_taken_away_falls_back_to_json(load, monkeypatch):
    """A full /dev/shm is no reason to fail, and none to die."""

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    model = load()
    assert len(model.infer(picture(384, 384, SPOT), deadline=soon()).detections) == 1
    monkeypatch.undo()


def test_shared_memory_that_fills_up_later_falls_back_to_json(load, monkeypatch):
    """In the middle of service."""
    model = load()

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    assert len(model.infer(picture(384, 384, SPOT), deadline=soon()).detections) == 1


def test_pictures_too_large_for_a_message_need_shared_memory(load):
    """An old program exits at 10 MiB; the model is rejected before it does."""
    with pytest.raises(ModelRejected, match="shared memory"):
        load(size=1104, shm=False)


def test_a_file_without_executable_bits_is_healed(load, tmp_path):
    """Uploads lose them."""
    path = build_fake_eim(tmp_path / "plain.eim")
    path.chmod(0o644)
    model = EimRuntime().load(path, ModelOptions(), RuntimeConfig())
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    model.close()


def test_a_file_that_cannot_be_made_executable_is_rejected(load, tmp_path, monkeypatch):
    """With the words people know from the replaced system."""
    path = build_fake_eim(tmp_path / "plain.eim")
    path.chmod(0o644)

    def refuse(*_args, **_kwargs):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(ModelRejected, match=r'Model file "plain.eim" is not executable'):
        EimRuntime().load(path, ModelOptions(), RuntimeConfig())


def test_a_program_sees_nothing_of_our_environment(load, tmp_path, monkeypatch):
    """Secrets stay here; limits and its own folder are set."""
    monkeypatch.setenv("ANDON_API_KEY", "very-secret-indeed")
    load(config={"memory_bytes": 1 << 30})
    (process,) = running(tmp_path)
    proc = Path("/proc") / process.split()[0]
    environment = (proc / "environ").read_bytes()
    assert b"secret" not in environment
    names = {entry.split(b"=")[0] for entry in environment.split(b"\0") if entry}
    assert names == {b"PATH", b"LANG", b"TMPDIR"}
    limits = (proc / "limits").read_text()
    assert f"{1 << 30}" in limits
    assert (proc / "cwd").readlink().name == "tmp"
    assert (proc / "fd" / "0").readlink() == Path("/dev/null")
    assert "NoNewPrivs:\t1" in (proc / "status").read_text()


def test_a_program_dies_with_a_server_that_is_killed(tmp_path, temporary):
    """And the next server clears up its folder and its shared memory."""
    tag = os.urandom(6).hex()
    path = build_fake_eim(tmp_path / "m.eim", shm_tag=tag)
    code = f"""
import sys, time
from pathlib import Path
from andon.runtimes.base import ModelOptions, RuntimeConfig
from andon.runtimes.eim import EimRuntime
model = EimRuntime().load(Path({str(path)!r}), ModelOptions(), RuntimeConfig())
print("ready", flush=True)
time.sleep(60)
"""
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment
    ) as server:
        assert server.stdout.readline() == b"ready\n"
        assert len(running(tmp_path)) >= 1
        assert len(shared_memory(tag)) == 1
        server.kill()
    wait_until(lambda: not running(tmp_path))
    assert len(list(temporary.iterdir())) == 1
    sweep()
    assert list(temporary.iterdir()) == []
    assert shared_memory(tag) == []


def test_sweeping_leaves_the_folders_of_the_living_alone(temporary):
    """They are locked."""
    workspace = Workspace()
    sweep()
    assert workspace.scratch.is_dir()
    workspace.remove()
    assert list(temporary.iterdir()) == []


def test_the_socket_path_is_short_whatever_the_temporary_folder(tmp_path, monkeypatch):
    """A longer one is cut silently by the program."""
    deep = tmp_path / ("x" * 90)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    workspace = Workspace()
    assert len(os.fsencode(workspace.socket)) < 108
    assert stat.S_IMODE(workspace.folder.stat().st_mode) == 0o700
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(workspace.socket))
    workspace.remove()


def test_colour_is_packed_red_first():
    """Each pixel one number, exactly."""
    pixels = np.array([[[1, 2, 3], [255, 255, 255]]], np.uint8)
    assert features_of(pixels).tolist() == [0x010203, 0xFFFFFF]
    assert features_of(np.array([[0, 7, 255]], np.uint8)).tolist() == [0, 0x070707, 0xFFFFFF]
