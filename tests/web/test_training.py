"""Trainings over HTTP, with a fake process behind them."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.support import trainings
from tests.web.conftest import Site, problem, until

from andon.store.ids import uuid7
from andon.training import catalog


class Works:
    """A server that trains as the test wants."""

    def __init__(self, site: Site, outcome: Path) -> None:
        self.site = site
        self.client = site.client
        self.outcome = outcome
        trainings.prepare(outcome)
        self.behave("good")

    def behave(self, how: str) -> None:
        """How the next training goes."""
        self.site.platform.trainings.command = trainings.command(how, self.outcome)

    def retrain(self, path: str = "/retrain", **asked) -> httpx.Response:
        """Ask for a training."""
        return self.client.post(path, json=asked)

    def ended(self, run_id: str) -> dict:
        """The run, once it has ended."""
        until(lambda: self.get(run_id)["status"] not in {"queued", "running"}, 20)
        return self.get(run_id)

    def get(self, run_id: str) -> dict:
        """The run as it is."""
        answer = self.client.get(f"/api/training/{run_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def works(fresh: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Works]:
    """A server."""
    monkeypatch.setattr(catalog, "missing_packages", list)
    made = Works(fresh, tmp_path / "outcome")
    yield made
    for run in fresh.platform.db.training.unfinished():
        fresh.client.post(f"/api/training/{run.id}/cancel")


@pytest.fixture(scope="module")
def _idle_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("idle") / "home")
    yield made
    made.close()


@pytest.fixture
def idle(_idle_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Works:
    """One server for the tests that queue no training."""
    monkeypatch.setattr(catalog, "missing_packages", list)
    return Works(_idle_site, tmp_path / "outcome")


@pytest.mark.parametrize("path", ["/retrain", "/api/retrain"])
def test_a_training_is_queued_and_becomes_a_version(works: Works, path: str):
    """From the wish to the version, with report, log and job."""
    answer = works.retrain(path, model="heart-disease", reason="new rows", seed=7)
    assert answer.status_code == 202, answer.text
    body = answer.json()
    assert body["status_url"] == f"/api/training/{body['run_id']}"
    run = works.ended(body["run_id"])
    assert (run["status"], run["version"], run["reason"]) == ("succeeded", 1, "new rows")
    assert (run["source"], run["options"]["seed"], run["progress"]) == ("api", 7, 1.0)
    assert run["report"]["chosen"] == "random-forest"
    assert run["data_report"]["rows"] == 10
    until(lambda: works.client.get(f"/api/jobs/{body['job_id']}").json()["status"] == "succeeded")
    report = works.client.get(f"{body['status_url']}/report")
    assert report.json() == run["report"]
    assert "attachment" in report.headers["content-disposition"]
    (listed,) = works.client.get("/api/training").json()["trainings"]
    assert "report" not in listed


def test_nothing_said_means_the_default_model(works: Works):
    """An empty body is a wish, too."""
    answer = works.client.post("/retrain")
    assert answer.status_code == 202
    assert answer.json()["model"] == "heart-disease"


@pytest.mark.parametrize("name", ["data", "target", "drop", "candidates", "options", "telemetry"])
def test_a_caller_names_no_files(idle: Works, tmp_path: Path, name: str):
    """Neither as data nor as a recipe; nothing is queued."""
    problem(idle.retrain(model="heart-disease", **{name: [str(tmp_path)]}), 422, name)
    assert idle.retrain(recipe=str(tmp_path)).status_code in {404, 422}
    assert idle.client.get("/api/training").json()["trainings"] == []


def test_one_at_a_time_per_model(works: Works):
    """409 names the run; other models wait in line; it can be cancelled."""
    works.behave("hang")
    first = works.retrain(model="heart-disease").json()
    refused = problem(works.retrain(model="heart-disease"), 409, first["run_id"])
    assert refused["run_id"] == first["run_id"]
    until(lambda: works.get(first["run_id"])["status"] == "running")
    second = works.retrain(recipe="drowsiness").json()
    assert works.get(second["run_id"])["status"] == "queued"
    answer = works.client.post(f"/api/training/{second['run_id']}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    answer = works.client.post(f"/api/training/{first['run_id']}/cancel")
    assert (answer.status_code, answer.json()["cancelled"]) == (202, True)
    assert works.ended(first["run_id"])["status"] == "cancelled"
    again = works.client.post(f"/api/training/{first['run_id']}/cancel")
    problem(again, 409, "ended already")
    assert works.client.get("/api/models?model=heart-disease").status_code in {200, 404}


def test_pictures_are_answered_while_a_training_runs(works: Works):
    """Neither at once nor as jobs do they wait for it."""
    works.site.upload("first")
    works.behave("hang")
    works.retrain()
    assert works.site.predict().status_code == 200
    queued = works.site.predict(**{"async": "true"})
    assert queued.status_code == 202
    job = queued.json()["job_id"]
    until(lambda: works.client.get(f"/api/jobs/{job}").json()["status"] == "succeeded", 10)


def test_the_log_can_be_followed(works: Works):
    """Piece by piece, by offset or by range, also after the end."""
    works.behave("slow")
    run = works.retrain().json()["run_id"]
    path = f"/api/training/{run}/log"
    text, start = "", 0
    until(lambda: "Taking its time" in works.client.get(path).text, 10)
    while True:
        done = works.get(run)["status"] not in {"queued", "running"}
        answer = works.client.get(path, params={"from": start})
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        text += answer.text
        start = int(answer.headers["x-next-from"])
        if done:
            break
    assert text == works.client.get(path).text
    assert "Model Metrics:" in text
    part = works.client.get(path, headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.text) == (206, text[2:6])


def test_a_training_that_fails_says_why(works: Works):
    """In the run, and in the job."""
    works.behave("refuse")
    run = works.retrain().json()["run_id"]
    assert "The target has one class." in works.ended(run)["error"]
    problem(works.client.get(f"/api/training/{run}/report"), 404, "no report")
    until(lambda: works.client.get(f"/api/jobs/{run}").json()["status"] == "failed")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"recipe": "hart-disease"}, 404, ("hart-disease", "Did you mean 'heart-disease'?")),
        ({"model": "nothing-like-it"}, 404, ("drowsiness, heart-disease.",)),
        ({"recipe": "/etc/passwd"}, 404, ("no recipe",)),
        ({"recipe": "../recipes/x.py"}, 404, ("no recipe",)),
        ({"data": "/etc/passwd"}, 422, ("data",)),
        ({"seed": -1}, 422, ("seed",)),
        ({"seed": "1"}, 422, ("seed",)),
        ({"tuning_trials": 100_000}, 422, ("tuning_trials",)),
        ({"promote": "yes"}, 422, ("promote",)),
        ({"reason": "a\x00b"}, 422, ("reason",)),
        ({"recipe": "heart-disease", "model": "../x"}, 422, ("model",)),
        ([], 422, ()),
    ],
)
def test_what_cannot_be_trained_is_refused(idle: Works, body, status: int, words):
    """With the field, or the nearest name; no file of the server can be named."""
    problem(idle.client.post("/retrain", json=body), status, *words)
    assert idle.client.get("/api/training").json()["trainings"] == []


def test_what_is_no_json_is_refused(idle: Works):
    """As everywhere."""
    problem(idle.client.post("/retrain", content=b"{"), 400)
    problem(idle.client.post("/retrain", content=b"[" * 60_000), 400, "not valid JSON")
    problem(idle.client.post("/retrain", content=b'{"reason": "' + b"x" * 70_000 + b'"}'), 413)


def test_without_the_extra_it_says_what_to_install(idle: Works, monkeypatch):
    """Before anything is queued."""
    monkeypatch.setattr(catalog, "missing_packages", lambda: ["optuna", "polars"])
    problem(idle.retrain(), 409, "optuna", "pip install 'andon[train]'")
    assert idle.client.get("/api/training").json()["trainings"] == []


def test_unknown_runs_are_not_found(idle: Works):
    """By every route."""
    run = uuid7()
    for path in ("", "/log", "/report"):
        problem(idle.client.get(f"/api/training/{run}{path}"), 404, run)
    problem(idle.client.post(f"/api/training/{run}/cancel"), 404, run)
    assert idle.client.get("/api/training/nonsense").status_code == 422


def test_lists_are_filtered_and_paged(works: Works):
    """By model, recipe and status."""
    ids = []
    for _ in range(3):
        ids.append(works.retrain(recipe="heart-disease").json()["run_id"])
        works.ended(ids[-1])
    page = works.client.get("/api/training", params={"limit": 2}).json()
    assert [run["id"] for run in page["trainings"]] == [ids[2], ids[1]]
    rest = works.client.get("/api/training", params={"cursor": page["next_cursor"]}).json()
    assert [run["id"] for run in rest["trainings"]] == [ids[0]]
    for given, count in (
        ({"model": "heart-disease"}, 3),
        ({"recipe": "drowsiness"}, 0),
        ({"status": "succeeded"}, 3),
        ({"status": "failed"}, 0),
    ):
        found = works.client.get("/api/training", params=given).json()["trainings"]
        assert len(found) == count


def test_recipes_and_schedules_are_listed(works: Works):
    """Only models that were trained here take part in the schedule."""
    recipes = {one["name"]: one for one in works.client.get("/api/recipes").json()}
    assert {"heart-disease", "drowsiness"} <= recipes.keys()
    assert not recipes["heart-disease"]["scheduled"]
    (schedule,) = works.client.get("/api/schedules").json()
    assert (schedule["cron"], schedule["models"]) == ("0 2 * * 0", [])
    works.ended(works.retrain().json()["run_id"])
    recipes = {one["name"]: one for one in works.client.get("/api/recipes").json()}
    assert recipes["heart-disease"]["scheduled"]
    assert recipes["heart-disease"]["active_version"] == 1
    (schedule,) = works.client.get("/api/schedules").json()
    assert schedule["models"] == ["heart-disease"]
    assert schedule["next_due_at"].endswith("T02:00:00Z")


def test_a_log_that_was_deleted_is_not_found(works: Works):
    """And the report is still there."""
    run = works.retrain().json()["run_id"]
    works.ended(run)
    (works.site.platform.trainings.folder(run) / "log.txt").unlink()
    problem(works.client.get(f"/api/training/{run}/log"), 404, "not there any more")
    assert works.client.get(f"/api/training/{run}/report").status_code == 200
