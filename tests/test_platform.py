import os
import shutil
import subprocess
import sys
import threading
import time

import msgspec
import pytest
from tests.serving.boards import board, spot_model, until
from tests.support.broker import publishing, running
from tests.support.floor import MINUTE, at, ingest, register, state
from tests.support.policy import absent

from andon.errors import ConfigurationError, StorageFull, UnusableUpload
from andon.logs import logging_stop
from andon.platform import Platform
from andon.serving.starter import install_starter
from andon.settings import Settings


def settings_of(home, **given) -> Settings:
    """Settings of an installation under test."""
    return Settings(home=home, _env_file=None, **{"watch": False, **given})


@pytest.fixture
def platform(tmp_path):
    """A started server with one active version."""
    made = Platform(settings_of(tmp_path / "home"))
    made.start()
    deploy(made, spot_model(tmp_path / "first.onnx", name="first"))
    yield made
    made.stop()
    logging_stop()


def deploy(platform, file):
    """Let a model file serve."""
    with platform.deployments.receive() as incoming:
        incoming.write(file.read_bytes())
        received = incoming.finish()
    return platform.deployments.deploy(received, filename=file.name, source="upload", actor="test")


def test_it_makes_its_folders(platform):
    """The documented tree is there after the first start."""
    found = {path.name for path in platform.settings.home.iterdir()}
    assert {"andon.db", "andon.log", "models", "deploy", "uploads", "output"} <= found


def test_a_second_server_on_the_same_folder_is_refused(platform):
    """The message names the other process."""
    second = Platform(platform.settings)
    with pytest.raises(ConfigurationError, match=str(os.getpid())):
        second.start()
    second.stop()
    assert platform.engine.answer_sync(board(), image_name="b.png").detections


def test_a_command_beside_the_server_is_not_refused(platform):
    """`serve=False` shares the installation."""
    beside = Platform(platform.settings)
    beside.start(serve=False)
    assert beside.engine.answer_sync(board(), image_name="b.png").model_version == 1
    beside.stop()


def test_several_platforms_share_a_process(platform, tmp_path):
    """Their metrics and databases are their own."""
    other = Platform(settings_of(tmp_path / "other"))
    other.start()
    assert other.engine.states() == {}
    other.stop()
    assert platform.engine.states()["pcb"].loaded


def test_it_can_be_stopped_twice(platform):
    """Stopping is repeatable."""
    platform.stop()
    platform.stop()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    """The error says which one, and what to do."""
    (tmp_path / "home").write_text("a file, where a folder should be")
    with pytest.raises(ConfigurationError, match="home"):
        Platform(settings_of(tmp_path / "home"))


def test_a_picture_can_be_answered_later(platform):
    """The job's result is the answer, and it is in the log once."""
    job = platform.predict_later(board(), image_name="b.png", threshold=0.4, subject="board 9")
    until(lambda: platform.db.jobs.get(job.id).status == "succeeded")
    result = platform.db.jobs.get(job.id).result
    assert result["detections"][0]["label"] == "spot"
    row = platform.db.predictions.get(result["prediction_id"])
    assert (row.source, row.subject, row.threshold) == ("job", "board 9", 0.4)
    msgspec.json.encode(result)


def test_what_is_no_picture_is_refused_before_it_is_queued(platform):
    """There is still somebody to tell."""
    with pytest.raises(UnusableUpload):
        platform.predict_later(b"no picture", image_name="b.png")
    assert platform.db.jobs.page()[0] == []


def test_a_job_whose_picture_is_gone_fails_with_the_reason(platform):
    """It is not tried for ever."""
    platform.jobs.stop()
    job = platform.predict_later(board(), image_name="b.png")
    shutil.rmtree(platform.settings.uploads)
    platform.jobs.start()
    until(lambda: platform.db.jobs.get(job.id).status == "failed")
    assert "gone" in platform.db.jobs.get(job.id).error


def test_a_picture_answered_before_a_crash_is_not_answered_again(platform):
    """The id was fixed when the job was queued: the second run finds the first answer."""
    job = platform.predict_later(board(), image_name="b.png")
    until(lambda: platform.db.jobs.get(job.id).status == "succeeded")
    again = platform._predict_jobs.run(job)
    assert again["prediction_id"] == job.payload["prediction_id"]
    assert platform.db.models.get("pcb", 1).total_inferences == 1


def test_the_starter_is_installed_where_there_is_no_model(tmp_path, monkeypatch):
    """Once; an installation that has versions keeps them."""
    package = tmp_path / "package"
    package.mkdir()
    spot_model(package / "pcb.onnx", name="Starter")
    monkeypatch.setattr("andon.serving.starter.resources.files", lambda name: package)
    platform = Platform(settings_of(tmp_path / "home"))
    platform.start()
    assert install_starter(platform.deployments).description["name"] == "Starter"
    assert install_starter(platform.deployments) is None
    assert platform.engine.answer_sync(board(), image_name="b.png").model_version == 1
    platform.stop()
    logging_stop()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of four megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True, check=False
    )
    if made.returncode:
        absent("A small disk cannot be mounted here (needs root).")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.slow
def test_a_full_disk_is_said_and_recovered_from(small_disk, tmp_path):
    """Nothing is acknowledged that is not stored; with room again it goes on by itself."""
    platform = Platform(settings_of(small_disk / "home", min_free_bytes=0))
    platform.start()
    try:
        deploy(platform, spot_model(tmp_path / "first.onnx", name="first"))
        ask = platform.engine.answer_sync
        given = [ask(board(), image_name="b.png").prediction_id]
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file:
            for piece in (1 << 16, 512):
                try:
                    while file.write(b"x" * piece) == piece:
                        pass
                except OSError:
                    continue
        with pytest.raises(StorageFull):
            for number in range(300):
                answer = ask(board(seed=number + 1), image_name="b.png")
                given.append(answer.prediction_id)
        for prediction_id in given:
            assert platform.db.predictions.get(prediction_id).status == "success"
        ballast.unlink()
        assert ask(board(seed=400), image_name="b.png").detections
        platform.db.check()
    finally:
        platform.stop()
        logging_stop()


def test_stopping_leaves_no_thread_behind(tmp_path):
    """Started and stopped, the process is as before."""
    before = set(threading.enumerate())
    made = Platform(settings_of(tmp_path / "home", watch=True))
    made.start()
    made.stop()
    logging_stop()
    time.sleep(0.1)
    left = {one.name for one in set(threading.enumerate()) - before}
    assert not {name for name in left if name.startswith("andon") and "onnx" not in name}


def test_a_server_listens_to_its_broker_and_leaves_it_in_good_order(tmp_path):
    """What is published is stored; after the stop nothing runs and nothing is lost."""
    before = set(threading.enumerate())
    with running(tmp_path / "broker") as broker, publishing(broker) as camera:
        made = Platform(settings_of(tmp_path / "home", mqtt_url=broker.url))
        register(made.db)
        made.start()
        until(lambda: made.mqtt.state().connected)
        camera.send("andon/main/events", state("working", at(8)).json())
        until(lambda: made.db.factory.first() == at(8))
        made.stop()
        made.stop()
        logging_stop()
        camera.send("andon/main/events", state("idle", at(9)).json())
        again = Platform(settings_of(tmp_path / "home", mqtt_url=broker.url))
        again.start()
        until(lambda: again.db.factory.last() == at(9))
        again.stop()
        logging_stop()
    until(lambda: not (set(threading.enumerate()) - before))


def test_a_command_beside_the_server_does_not_listen(tmp_path):
    """Two sessions of one name would throw each other out."""
    made = Platform(settings_of(tmp_path / "home", mqtt_url="mqtt://127.0.0.1:1"))
    made.start(serve=False)
    assert made.mqtt is None
    made.stop()


def test_a_broker_that_is_no_address_refuses_the_start(tmp_path):
    """With the setting's form, and without what stood there."""
    made = Platform(settings_of(tmp_path / "home", mqtt_url="s3cret@broker"))
    with pytest.raises(ConfigurationError, match="ANDON_MQTT_URL") as caught:
        made.start()
    assert "s3cret" not in str(caught.value)
    logging_stop()


def test_a_changed_longest_gap_counts_from_the_next_start(tmp_path):
    """For the events that are there as for those that come."""
    first = Platform(settings_of(tmp_path / "home"))
    register(first.db)
    first.start()
    ingest(first.db, [state("working", at(8))])
    first.stop()
    second = Platform(settings_of(tmp_path / "home", factory_max_gap=600))
    second.start()
    (total,) = second.db.factory_totals.sums(at(0), at(23))
    assert total.working == 10 * MINUTE
    ingest(second.db, [state("working", at(10))])
    (total,) = second.db.factory_totals.sums(at(0), at(23))
    assert total.working == 20 * MINUTE
    assert second.db.factory_totals.check() == []
    second.stop()
    logging_stop()


def test_the_mqtt_client_costs_only_those_who_use_it():
    """It is loaded with the first broker."""
    code = "import sys, andon.platform, andon.web.app; sys.exit('paho' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
