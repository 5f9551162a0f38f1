"""`monitoring.comparison`: two versions on the same rows, and nothing is left behind."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.serving.boards import spot_model
from tests.store.builders import prediction
from tests.support import tabular_models

from andon.errors import Conflict, InvalidRequest, NotFound, UnusableUpload
from andon.monitoring.comparison import MAX_ROWS, compare_rows, csv_rows, stored_rows
from andon.platform import Platform
from andon.settings import Settings
from andon.store.clock import now
from andon.store.feedback import Label
from andon.store.records import ModelVersion

MODEL = "heart"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """An installation with two heart models, the first of which is active."""
    folder = tmp_path_factory.mktemp("comparison")
    made = Platform(Settings(home=folder / "home", watch=False, _env_file=None))
    made.start(serve=False)
    for number, variant in enumerate((0.0, 1.5), start=1):
        path = tabular_models.heart(folder / f"{number}.onnx", variant=variant)
        deploy(made, path, MODEL, activate=number == 1)
    yield made
    made.stop()


def deploy(platform: Platform, path: Path, model: str, *, activate: bool) -> ModelVersion:
    """Add a model file."""
    with platform.deployments.receive() as incoming:
        incoming.write(path.read_bytes())
        return platform.deployments.deploy(
            incoming.finish(),
            filename=path.name,
            model=model,
            source="cli",
            actor="test",
            activate=activate,
        ).version


def rows(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Rows that `heart` takes, their truth drawn from the first version's probability."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        row = {
            "age": int(random.integers(30, 80)),
            "sex": int(random.integers(2)),
            "thalach": float(random.integers(90, 200)),
            "oldpeak": round(float(random.random() * 4), 1),
            "ca": None if random.random() < 0.1 else int(random.integers(4)),
            "thal": str(random.choice(["normal", "fixed", "reversible"])),
        }
        codes = [
            row["age"], row["sex"], row["thalach"], row["oldpeak"],
            np.nan if row["ca"] is None else row["ca"],
            ["normal", "fixed", "reversible"].index(row["thal"]),
        ]  # fmt: skip
        chance = tabular_models.probability(*codes)
        found.append({**row, "actual": int(random.random() < chance)})
    return found


def test_figures_of_both_stand_side_by_side(platform: Platform) -> None:
    """The true model beats the moved one, and the interval of the difference says so."""
    found = compare_rows(platform.engine.fleet, MODEL, 1, 2, rows(600))
    assert (found.rows, found.labelled, found.skipped) == (600, 600, 0)
    brier = found.metrics["brier"]
    assert brier is not None
    assert brier.a < brier.b
    assert brier.low <= brier.difference <= brier.high
    area = found.metrics["roc_auc"]
    assert area is not None
    # Moving every score changes no order.
    assert area.difference == pytest.approx(0, abs=1e-3)
    assert found.agreement is not None
    assert found.agreement.value == pytest.approx(1 - found.flips_total / 600)
    assert len(found.flips) == min(50, found.flips_total)
    flip = found.flips[0]
    assert flip.a.prediction != flip.b.prediction
    assert flip.b.probability > flip.a.probability
    assert flip.b.label == "disease"
    assert "They agree on" in found.verdict


def test_a_version_agrees_with_itself(platform: Platform) -> None:
    """No flips, no differences, and no winner."""
    found = compare_rows(platform.engine.fleet, MODEL, 2, 2, rows(100))
    assert (found.flips, found.flips_total) == ([], 0)
    assert {one.difference for one in found.metrics.values() if one} == {0.0}
    assert found.verdict.startswith("No clear difference on 100 labelled rows")


def test_a_worse_version_is_named(platform: Platform) -> None:
    """With labels that follow the first version exactly, the second loses, in either order."""
    scored = compare_rows(platform.engine.fleet, MODEL, 1, 1, rows(300))
    assert scored.rows == 300
    exact = []
    for row in rows(300):
        features = {name: value for name, value in row.items() if name != "actual"}
        flips = compare_rows(platform.engine.fleet, MODEL, 1, 2, [features]).flips
        exact.append({**features, "actual": flips[0].a.prediction if flips else row["actual"]})
    assert compare_rows(platform.engine.fleet, MODEL, 1, 2, exact).verdict.startswith(
        "v1 is better"
    )
    assert compare_rows(platform.engine.fleet, MODEL, 2, 1, exact).verdict.startswith(
        "v1 is better"
    )


def test_too_few_labels_give_no_winner(platform: Platform) -> None:
    """Agreement is known all the same; without rows there is nothing to say."""
    few = compare_rows(platform.engine.fleet, MODEL, 1, 2, rows(12))
    assert set(few.metrics.values()) == {None}
    assert few.verdict.startswith("Not enough labels to say which is better: 12 of 30.")
    assert few.agreement is not None
    none = compare_rows(platform.engine.fleet, MODEL, 1, 2, [])
    assert none.agreement is None
    assert none.verdict.startswith("There is no row that both versions can take. Give feedback")


def test_a_row_that_cannot_be_taken_is_named_and_left_out(platform: Platform) -> None:
    """A bad value, an unknown field, an unknown class."""
    good = rows(3)
    bad = [{**good[0], "age": "old"}, {**good[1], "shoe": 44}, {**good[2], "actual": "maybe"}]
    found = compare_rows(platform.engine.fleet, MODEL, 1, 2, [*bad, *good])
    assert (found.rows, found.skipped) == (3, 3)
    assert [error.index for error in found.errors] == [0, 1, 2]
    assert "age" in found.errors[0].detail
    with pytest.raises(InvalidRequest, match="too many"):
        compare_rows(platform.engine.fleet, MODEL, 1, 2, [{}] * (MAX_ROWS + 1))


def test_stored_rows_are_compared_and_nothing_is_logged(platform: Platform) -> None:
    """Rows with feedback of any version; no new predictions, no totals."""
    version = platform.db.models.get(MODEL, 1)
    keys = []
    for row in rows(40):
        actual = row.pop("actual")
        logged = prediction(version, features=row, prediction="1", raw_scores=[0.1, 0.9])
        platform.db.writer.write(logged).result(timeout=20)
        keys.append(logged["id"])
        platform.db.feedback.store([Label(logged["id"], actual, now())])
    before = platform.db.models.totals(MODEL)
    found = compare_rows(
        platform.engine.fleet, MODEL, 1, 2, stored_rows(platform.db, MODEL, limit=35)
    )
    assert (found.rows, found.labelled) == (35, 35)
    assert {flip.prediction_id for flip in found.flips} <= set(keys)
    assert platform.db.models.totals(MODEL) == before
    assert len(platform.db.predictions.page(model=MODEL, limit=100)[0]) == 40


def test_versions_that_cannot_be_compared_say_why(platform: Platform, tmp_path: Path) -> None:
    """A picture model, another target, a version that is not there."""
    deploy(platform, spot_model(tmp_path / "spots.onnx", name="spots"), "pcb", activate=True)
    with pytest.raises(Conflict, match="takes pictures"):
        compare_rows(platform.engine.fleet, "pcb", 1, 1, rows(1))
    with pytest.raises(NotFound):
        compare_rows(platform.engine.fleet, MODEL, 1, 99, rows(1))
    other = msgspec.structs.replace(
        tabular_models.HEART, classes=("no", "yes"), class_labels=("no", "yes")
    )
    made = deploy(
        platform, tabular_models.heart(tmp_path / "yes.onnx", schema=other), MODEL, activate=False
    )
    with pytest.raises(Conflict, match="different classes"):
        compare_rows(platform.engine.fleet, MODEL, 1, made.version, rows(1))


def test_classes_in_another_order_are_brought_into_one(platform: Platform, tmp_path: Path) -> None:
    """The probabilities of the same class are compared, wherever it stands."""
    turned = msgspec.structs.replace(
        tabular_models.HEART, classes=(1, 0), class_labels=("disease", "no disease"), positive=1,
        threshold=0.6,
    )  # fmt: skip
    # Answers [1 - p, p]; with the classes turned, p is the probability of no disease.
    weights = -np.array([[0.05], [0.7], [-0.03], [0.6], [0.9], [0.8]], np.float32)
    path = tabular_models.heart(tmp_path / "turned.onnx", schema=turned, weights=weights, bias=-0.2)
    made = deploy(platform, path, MODEL, activate=False)
    found = compare_rows(platform.engine.fleet, MODEL, 1, made.version, rows(200))
    assert found.flips_total == 0
    brier = found.metrics["brier"]
    assert brier is not None
    assert brier.difference == pytest.approx(0, abs=1e-6)


def test_rows_of_a_csv_become_values() -> None:
    """Numbers, categories and missing values by the schema; the target is the truth."""
    text = "age,sex,thalach,oldpeak,ca,thal,num\n54,1,150,1.0,?,normal,1\n60,0,120,2,0,fixed,\n"
    (first, second) = csv_rows(text.encode(), [tabular_models.HEART])
    assert first == {
        "age": 54, "sex": 1, "thalach": 150.0, "oldpeak": 1.0, "ca": None, "thal": "normal",
        "actual": "1",
    }  # fmt: skip
    assert second["actual"] is None
    assert csv_rows(text.encode(), [tabular_models.HEART], "num")[0]["actual"] == "1"
    with pytest.raises(InvalidRequest, match="no column 'sick'"):
        csv_rows(text.encode(), [tabular_models.HEART], "sick")
    with pytest.raises(UnusableUpload, match="UTF-8"):
        csv_rows(b"\xff\xfe", [tabular_models.HEART])
