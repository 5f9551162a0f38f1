"""Training, and the pages of models of rows, over a real server without a browser."""

import re
from collections.abc import Iterator

import msgspec
import pytest
from tests.web.conftest import Site
from tests.web.dashboard.reports import SCHEMA, report
from tests.web.dashboard.test_pages import HTML, text
from tests.web.dashboard.trainings import MODEL, ask, deploy, finished, model_file

from andon.training import catalog
from andon.training import messages as m
from andon.web.dashboard import rows_inspection, training


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with two versions of heart-disease, the first of which serves."""
    made = Site(tmp_path_factory.mktemp("rows") / "home")
    try:
        deploy(made, 0.0)
        deploy(made, 0.7, activate="false")
        yield made
    finally:
        made.close()


def said(site: Site, path: str) -> str:
    """The words of a page that is there."""
    answer = site.client.get(path, headers=HTML)
    assert answer.status_code == 200, path
    return text(answer)


def test_the_training_page_says_the_one_next_step_on_an_empty_box(fresh):
    """Recipes are there from the start, with a button and a command."""
    words = said(fresh, "/training")
    assert "Nothing has been trained yet." in words
    assert "andon train heart-disease" in words
    assert "Train now" in words


def test_without_the_extra_the_training_page_says_the_command(fresh, monkeypatch):
    """Nothing can be pressed, and it is said why."""
    monkeypatch.setattr(catalog, "is_available", lambda: False)
    answer = fresh.client.get("/training")
    assert "pip install" in text(answer)
    (button,) = re.findall(r'<button[^>]*data-model="heart-disease"[^>]*>', answer.text)
    assert "disabled" in button


def test_a_finished_training_tells_its_outcome_first(shop):
    """What came of it, against what, and what to do next: before any table."""
    run = finished(shop, reason="New rows of August")
    words = said(shop, f"/training/{run.id}")
    outcome = "Version 1 serves: F1 0.84 (0.77–0.90), better than v3 on the same 61 rows by 0.02"
    assert outcome in words
    assert words.index(outcome) < words.index("Candidates")
    for part in ("New rows of August", "Confusion matrix", "ROC curve", "By group", "Lineage"):
        assert part in words
    listed = said(shop, "/training")
    assert "Logistic regression" in listed
    assert "New rows of August" in listed


def test_a_training_that_did_not_pass_its_gate_says_why(shop):
    """The reasons stand under the outcome."""
    gate = m.GateResult(passed=False, reasons=("F1 0.71 is below 0.75.",))
    run = finished(shop, report(gate=gate, comparison=None))
    page = training.run_page(shop.platform, run.id)
    assert page.gate == ("F1 0.71 is below 0.75.",)
    assert training.run_page(shop.platform, run.id).evaluation is not None


def test_made_up_data_are_said_loudly(shop):
    """On the run's page, before the figures."""
    data = m.DataUsed(origin="generated", digest="0", rows=900, held_out=180, synthetic=True)
    run = finished(shop, report(data=data))
    words = said(shop, f"/training/{run.id}")
    assert words.index("Trained on made-up data.") < words.index("On held-out rows")


def test_a_failed_and_a_cancelled_training_say_what_happened_and_the_next_step(shop):
    """Nothing is registered, which is said too."""
    db = shop.platform.db
    run = db.training.create(model=MODEL, recipe=MODEL, options={}, source="cli", worker="w")
    db.training.fail(run.id, "w", "The data have one class only.")
    words = said(shop, f"/training/{run.id}")
    assert "Nothing was registered, and nothing changed. The data have one class only." in words
    assert "then train again" in words
    run = db.training.create(model=MODEL, recipe=MODEL, options={}, source="cli", worker="w")
    db.training.stopped(run.id, "w")
    assert "It was cancelled before it was done." in said(shop, f"/training/{run.id}")


def test_a_failure_that_no_button_can_repeat_names_the_command(shop):
    """A file that never made a model has no recipe on the page; names stand as code."""
    db = shop.platform.db
    run = db.training.create(
        model="parts", recipe="parts.csv", options={"target": "broken"}, source="cli", worker="w"
    )
    db.training.fail(run.id, "w", "Add it to `drop` in a recipe, <or> not.")
    answer = shop.client.get(f"/training/{run.id}", headers=HTML)
    assert "<code>andon train parts.csv --target broken</code>" in answer.text
    assert "Add it to <code>drop</code> in a recipe, &lt;or&gt; not." in answer.text
    assert "#recipe-parts" not in answer.text


def test_a_training_that_made_the_same_version_says_so(shop):
    """No version is compared with itself."""
    told = report()
    same = msgspec.structs.replace(told.comparison, version=1)
    page = training.run_page(shop.platform, finished(shop, report(comparison=same)).id)
    assert page.outcome.startswith("Nothing new came of it")
    assert "against" not in {grid.id for grid in page.evaluation.grids}


def test_a_recipe_tells_of_a_version_that_did_not_pass_and_of_a_failure(fresh):
    """What was trained last is known, also where nothing serves."""
    db = fresh.platform.db
    data = m.DataUsed(origin="generated", digest="0", rows=900, held_out=180, synthetic=True)
    deployments = fresh.platform.deployments
    with deployments.receive() as incoming:
        incoming.write(model_file(fresh.models, 3.0, data=data))
        received = incoming.finish()
    refused = {"source": "training", "actor": "cli", "activate": False, "status": "training"}
    deployments.deploy(received, filename="m.onnx", model=MODEL, notes="", **refused)
    run = db.training.create(model=MODEL, recipe=MODEL, options={}, source="cli", worker="w")
    db.training.fail(run.id, "w", "The disk is full.")
    (line,) = (one for one in training.page(fresh.platform).recipes if one.model == MODEL)
    assert (line.version, line.refused, line.failed) == (None, 1, run.id)
    assert line.trained is not None
    assert "v1 did not pass its gate" in said(fresh, "/training")
    assert "v1 was trained, but did not pass its gate." in said(fresh, f"/?model={MODEL}")
    assert "No version serves" in said(fresh, f"/models?model={MODEL}")


def test_a_running_training_is_shown_with_its_progress(shop):
    """On Training and on its own page; the button waits for it."""
    db = shop.platform.db
    run = db.training.create(model=MODEL, recipe=MODEL, options={}, source="api", worker="w")
    db.training.beat(run.id, "w", stage="Cross-validating XGBoost", progress=0.42)
    try:
        answer = shop.client.get("/training")
        assert "Cross-validating XGBoost" in text(answer)
        assert 'value="0.42"' in answer.text
        (button,) = re.findall(
            rf'<button[^>]*data-act="train"[^>]*data-model="{MODEL}"[^>]*>[^<]*', answer.text
        )
        assert "disabled" in button
        assert "Training now" in button
        assert "42 %" in said(shop, f"/training/{run.id}")
    finally:
        db.training.stopped(run.id, "w")


def test_trainings_are_shown_page_by_page(shop):
    """Each comes up once."""
    db = shop.platform.db
    for _ in range(training.PAGE):
        run = db.training.create(model=MODEL, recipe=MODEL, options={}, source="cli", worker="w")
        db.training.stopped(run.id, "w")
    first = training.page(shop.platform)
    assert len(first.runs) == training.PAGE
    second = training.page(shop.platform, before=first.older.removeprefix("before="))
    assert second.newer == "/training"
    assert not {one.id for one in first.runs} & {one.id for one in second.runs}


def test_an_unknown_training_leads_back_to_training(shop):
    """A cut link is told, with a way on."""
    answer = shop.client.get("/training/0193-nothing", headers=HTML)
    assert answer.status_code == 404
    assert "Go to Training" in text(answer)


def test_the_models_page_of_rows_has_no_picture_parts(shop):
    """And that of pictures none of rows."""
    rows = shop.client.get(f"/models?model={MODEL}").text
    assert "compare-drop" not in rows
    assert "Compare two versions on the same rows" in rows
    assert "0.84 (0.77–0.90)" in rows
    default = shop.platform.settings.default_model
    pictures = shop.client.get(f"/models?model={default}").text
    assert "Drop a model file here" in pictures
    assert "same rows" not in pictures


def test_a_version_of_rows_has_its_card(shop):
    """Metrics, importance, groups, features and what is known from feedback."""
    words = said(shop, f"/models/1?model={MODEL}")
    for part in ("What it goes by", "By group", "Features", "18 to 110 years", "0 female, 1 male"):
        assert part in words, part
    assert "Nobody has said yet what any answer really was." in words


def test_the_form_is_made_from_the_schema():
    """Numbers with their limits, choices with their words, unknown where that is allowed."""
    numbers, choices = rows_inspection.form(SCHEMA, {})
    by_name = {field.name: field for field in (*numbers.fields, *choices.fields)}
    age, chol = by_name["age"], by_name["chol"]
    assert (age.minimum, age.maximum, age.step, age.value) == ("0", "120", "1", "56")
    assert (chol.step, chol.nullable, chol.value) == ("any", True, "241")
    assert [one.text for one in by_name["thal"].choices] == [
        "Unknown",
        "normal",
        "fixed defect",
        "reversible defect",
    ]
    assert [one.value for one in by_name["sex"].choices if one.chosen] == ["1"]


def test_the_form_starts_with_the_row_that_is_looked_back_at():
    """A value that was missing stays unknown."""
    _, choices = rows_inspection.form(SCHEMA, {"thal": None, "sex": 0})
    chosen = {
        field.name: [one.text for one in field.choices if one.chosen] for field in choices.fields
    }
    assert chosen == {"sex": ["female"], "thal": ["Unknown"]}


def test_an_answer_has_an_address_and_a_place_in_the_history(shop):
    """The row, the answer and what it really was can be looked at later, without scripts."""
    told = ask(shop, age=67)
    shop.client.post(
        "/api/feedback", json={"prediction_id": told["prediction_id"], "actual": 1}
    ).raise_for_status()
    words = said(shop, f"/inspect?id={told['prediction_id']}")
    assert told["label"] in words
    assert "67 years" in words
    assert "Said so far: disease" in words
    listed = said(shop, f"/inspect?model={MODEL}")
    assert "Numbers" in listed
    assert "disease" in listed


def test_the_overview_of_rows_shows_no_pictures(shop):
    """The lamp, the numbers and the latest rows."""
    ask(shop)
    answer = shop.client.get(f"/?model={MODEL}")
    assert "Rows are answered" in text(answer)
    assert "<img" not in answer.text
    assert "Latest rows" in text(answer)


def test_the_switcher_leads_from_one_model_to_the_other(fresh):
    """From pictures to rows and back, on every page."""
    fresh.upload("first")
    deploy(fresh)
    for path in ("/", "/inspect", "/models"):
        page = fresh.client.get(path)
        assert f'href="?model={MODEL}"' in page.text
        assert f'data-model="{MODEL}"' in fresh.client.get(path, params={"model": MODEL}).text


def test_a_home_with_models_of_rows_alone_is_about_them(fresh):
    """Nobody is told to wait for a model while one serves."""
    deploy(fresh)
    assert f'data-model="{MODEL}"' in fresh.client.get("/").text
    for path in ("/", "/training", "/floor", "/drivers"):
        assert "No model" not in said(fresh, path), path
    default = fresh.platform.settings.default_model
    assert f'href="?model={default}"' in fresh.client.get("/models").text
