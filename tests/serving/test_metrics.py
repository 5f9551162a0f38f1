import pytest
from prometheus_client import generate_latest
from tests.serving.boards import board

from andon.errors import Conflict, ModelRejected, UnusableUpload


@pytest.fixture
def scraped(serving):
    """Reads the value of a sample, or None."""
    return lambda name, **labels: serving.platform.collector.get_sample_value(name, labels)


def test_answers_and_detections_are_counted(serving, scraped):
    """Under the documented names and labels."""
    serving.ask()
    with pytest.raises(UnusableUpload):
        serving.ask(b"no picture")
    assert scraped("pcb_inferences_total", model_version="v1", status="success") == 1
    assert scraped("pcb_inferences_total", model_version="v1", status="error") == 1
    assert scraped("pcb_detections_total", model_version="v1", label="spot") == 1
    assert scraped("pcb_confidence_score_count", model_version="v1") == 1
    assert scraped("pcb_inference_latency_seconds_count", model_version="v1") == 1


@pytest.mark.parametrize(
    ("family", "buckets"),
    [
        ("pcb_inference_latency_seconds", ("0.1", "0.5", "1.0")),
        ("pcb_confidence_score", ("0.7", "0.9", "1.0")),
    ],
)
def test_the_documented_buckets_are_there(serving, scraped, family, buckets):
    """Existing dashboards ask for them."""
    serving.ask()
    for bucket in buckets:
        assert scraped(f"{family}_bucket", model_version="v1", le=bucket) is not None


def test_the_active_version_is_a_number(serving, scraped):
    """It follows every switch."""
    assert scraped("pcb_active_model_version") == 1
    serving.deploy("second")
    assert scraped("pcb_active_model_version") == 2
    assert scraped("andon_active_model_version", model="pcb") == 2


def test_deployments_and_rollbacks_are_counted(serving, scraped, tmp_path):
    """Failed ones as well."""
    serving.deploy("second")
    serving.platform.deployments.rollback(None)
    (tmp_path / "bad.onnx").write_bytes(b"bad" * 100)
    with pytest.raises(ModelRejected):
        serving.deploy(tmp_path / "bad.onnx")
    with pytest.raises(Conflict):
        serving.platform.deployments.rollback(None)
    assert scraped("pcb_model_deployments_total", status="success") == 2
    assert scraped("pcb_model_deployments_total", status="failed") == 1
    assert scraped("pcb_model_rollbacks_total") == 1


def test_what_nobody_measured_has_no_sample(serving, scraped):
    """Accuracy and drift are announced, but carry no number yet."""
    text = generate_latest(serving.platform.collector).decode()
    assert "# TYPE pcb_model_accuracy gauge" in text
    assert scraped("pcb_model_accuracy", model_version="v1") is None
    assert scraped("pcb_drift_score", model_version="v1") is None


def test_the_queue_is_the_number_of_waiting_jobs(serving, scraped):
    """And pictures that wait or run have a gauge of their own."""
    serving.platform.jobs.stop()
    serving.platform.predict_later(board(), image_name="b.png")
    assert scraped("pcb_inference_queue_size") == 1
    assert scraped("andon_inference_queue_size") == 0


def test_other_models_count_under_their_own_label(serving, scraped):
    """The pcb families are the default model's alone."""
    serving.deploy(serving.file("other"), model="solder")
    serving.ask(model="solder")
    labels = {"model": "solder", "model_version": "v1", "status": "success"}
    assert scraped("andon_inferences_total", **labels) == 1
    assert scraped("pcb_inferences_total", model_version="v1", status="success") == 0


def test_a_cached_answer_counts_but_takes_no_model_time(serving, scraped):
    """The latency histogram is the model's."""
    serving.ask()
    serving.ask()
    assert scraped("pcb_inferences_total", model_version="v1", status="success") == 2
    assert scraped("pcb_inference_latency_seconds_count", model_version="v1") == 1
    assert scraped("andon_cached_answers_total", model="pcb", model_version="v1") == 1
