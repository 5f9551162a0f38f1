"""Health, totals and metrics."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support import tabular_models
from tests.web.conftest import Site, board, problem

from andon.errors import DatabaseDamaged


def test_health_has_the_documented_fields(fresh: Site):
    """S0-103, and 200 whatever the state."""
    fresh.upload("first")
    answer = fresh.client.get("/health")
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "healthy"
    assert body["active_model"] == 1
    assert body["redis_available"] is False
    assert isinstance(body["queue_size"], int)
    assert body["timestamp"].endswith("Z")
    assert body["checks"].keys() == {"database", "models", "disk", "watch", "alerts"}
    assert all(check["ok"] for check in body["checks"].values())


def test_without_a_model_health_is_no_model_and_ready(fresh: Site):
    """Nothing is wrong: it can be given one."""
    body = fresh.client.get("/health").json()
    assert (body["status"], body["active_model"]) == ("no_model", None)
    ready = fresh.client.get("/health/ready")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "reason": ""})


def test_a_server_that_answers_rows_alone_is_healthy(fresh: Site):
    """`no_model` means that nothing serves; `active_model` is about the default model."""
    path = tabular_models.heart(fresh.models / "heart.onnx")
    files = {"model": (path.name, path.read_bytes())}
    sent = fresh.client.post(
        "/api/models/upload", files=files, data={"model_name": "heart-disease"}
    )
    assert sent.status_code == 200
    body = fresh.client.get("/health").json()
    assert (body["status"], body["active_model"]) == ("healthy", None)


def test_an_active_model_that_is_not_loaded_degrades(fresh: Site):
    """200 for people, 503 for the load balancer."""
    fresh.upload("first")
    fresh.close()
    [file] = (fresh.home / "models" / "pcb").glob("model_v1*")
    file.write_bytes(b"damaged on disk")
    again = Site(fresh.home)
    try:
        body = again.client.get("/health").json()
        assert (body["status"], body["active_model"]) == ("degraded", 1)
        assert body["checks"]["models"]["ok"] is False
        assert "v1" in body["checks"]["models"]["detail"]
        ready = again.client.get("/health/ready")
        assert ready.status_code == 503
        assert ready.json()["ready"] is False
        problem(again.predict(), 503)
    finally:
        again.close()


def test_a_failing_database_degrades_and_tells_strangers_no_paths(fresh: Site, monkeypatch):
    """The reason is in the log; health is open to everybody."""

    def broken():
        raise DatabaseDamaged("The database /secret/place/andon.db is damaged.")

    monkeypatch.setattr(fresh.platform.db, "check", broken)
    answer = fresh.client.get("/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert "/secret" not in answer.text
    assert fresh.client.get("/health/ready").status_code == 503
    assert fresh.client.get("/health/live").status_code == 200


def test_a_check_that_hangs_has_failed(fresh: Site, monkeypatch):
    """Health answers in time even if the database does not."""
    monkeypatch.setattr("andon.web.api.health._CHECK_SECONDS", 0.05)
    done = []
    monkeypatch.setattr(
        fresh.platform.db, "check", lambda: done.append(__import__("time").sleep(0.5))
    )
    body = fresh.client.get("/health").json()
    assert body["checks"]["database"]["ok"] is False
    assert "did not finish" in body["checks"]["database"]["detail"]


def test_stats_have_the_documented_keys(site: Site):
    """S0-102."""
    before = site.client.get("/api/stats").json()
    assert before.keys() == {
        "active_version",
        "total_inferences",
        "total_detections",
        "avg_confidence",
        "queue_size",
    }
    site.predict(board(seed=31))
    after = site.client.get("/api/stats").json()
    assert after["active_version"] == 1
    assert after["total_inferences"] == before["total_inferences"] + 1
    assert after["total_detections"] == before["total_detections"] + 1
    assert 0 < after["avg_confidence"] <= 1


def test_an_empty_installation_has_zeros(fresh: Site):
    """And no active version."""
    assert fresh.client.get("/api/stats").json() == {
        "active_version": None,
        "total_inferences": 0,
        "total_detections": 0,
        "avg_confidence": 0.0,
        "queue_size": 0,
    }


def families(site: Site) -> dict:
    """All metric families, parsed as Prometheus parses them."""
    answer = site.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = list(text_string_to_metric_families(answer.text))
    names = [family.name for family in found]
    assert len(names) == len(set(names)), "a family comes twice"
    return {family.name: family for family in found}


def test_the_documented_metrics_are_there(site: Site):
    """S0-117 to S0-126, with version labels as v1."""
    site.predict(board(seed=32))
    found = families(site)
    assert found.keys() >= {
        "pcb_inferences",
        "pcb_detections",
        "pcb_model_deployments",
        "pcb_model_rollbacks",
        "pcb_inference_latency_seconds",
        "pcb_confidence_score",
        "pcb_active_model_version",
        "pcb_model_accuracy",
        "pcb_drift_score",
        "pcb_inference_queue_size",
        "andon_inferences",
        "andon_http_requests",
        "andon_http_request_duration_seconds",
        "andon_process_resident_memory_bytes",
        "andon_build_info",
    }
    labels = [sample.labels for sample in found["pcb_inferences"].samples]
    assert {"model_version": "v1", "status": "success"} in labels


def test_http_is_counted_by_template_never_by_path(site: Site):
    """However many paths are asked for, the labels stay few."""
    for n in range(5):
        site.client.get(f"/api/models/{n + 100}")
        site.client.get(f"/nothing/{n}")
        site.client.request("PROPFIND", f"/files/{n}")
    samples = families(site)["andon_http_requests"].samples
    routes = {sample.labels["route"] for sample in samples}
    assert {"/api/models/{version}", "unmatched", "/metrics"} <= routes
    assert not any(re.search(r"/\d", route) for route in routes)
    assert "PROPFIND" not in {sample.labels["method"] for sample in samples}
    counted = [s for s in samples if s.labels["route"] == "/api/models/{version}"]
    assert {s.labels["status"] for s in counted} >= {"404"}


def test_s0_174_as_it_is_written(fresh: Site):
    """The documented integration test: health, upload, predict, list."""
    health = fresh.client.get("/health")
    assert health.status_code == 200
    assert health.json()["status"] in {"healthy", "no_model", "degraded"}
    uploaded = fresh.upload("first")
    assert uploaded.status_code == 200
    version = uploaded.json()["version"]
    predicted = fresh.predict()
    assert predicted.status_code == 200
    assert predicted.json()["model_version"] == version
    assert "detections" in predicted.json()
    models = fresh.client.get("/api/models")
    assert models.status_code == 200
    assert isinstance(models.json(), list)


@pytest.mark.parametrize("path", ["/api/stats?model=nobody", "/api/models?model=" + "x" * 65])
def test_models_that_cannot_be_are_problems(site: Site, path):
    """404 for an unknown name, 422 for no name at all."""
    problem(site.client.get(path), 422 if "x" * 65 in path else 404)
