"""Real rows: a model of Cleveland's patients meets those of Hungary and Long Beach."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.monitoring.drift.builders import seen, write
from tests.store.builders import add_version
from tests.support.policy import absent
from tests.training.tabular.builders import _HEART, HEART, cleveland

from andon.monitoring.drift import looking, tabular
from andon.monitoring.drift.detector import run
from andon.monitoring.drift.looking import Window
from andon.monitoring.drift.reference import Known
from andon.monitoring.drift.report import Findings, Side
from andon.settings import Settings
from andon.store.clock import now
from andon.store.database import Database
from andon.store.ids import uuid7

linear = pytest.importorskip("sklearn.linear_model")
DATA = cleveland() if (HEART / "processed.cleveland.data").exists() else None
NAMES = _HEART


class Hospital:
    """A model of some of Cleveland's rows, its reference, and answers to others'."""

    def __init__(self) -> None:
        # Comes with Polars.
        from andon.training.tabular.reference import describe

        if DATA is None:
            absent("the heart data are not there")
        data = DATA
        held_out = np.arange(len(data.x)) % 5 == 0
        self._model = linear.LogisticRegression(max_iter=5_000)
        x = self._filled(data.x)
        self._model.fit(x[~held_out], data.y[~held_out])
        p = self._model.predict_proba(x[held_out])
        learned = describe(data.schema, data.x[~held_out], np.repeat(p, 4, axis=0)[:242])
        self.reference = learned
        self.own = self._answers(self._decoded(data.x[held_out]))

    def elsewhere(self, name: str) -> list[dict[str, Any]]:
        """Answers to the rows of another hospital."""
        lines = (HEART / f"processed.{name}.data").read_text(encoding="ascii").split()
        return self._answers(
            [
                {
                    feature: None if text == "?" else float(text)
                    for feature, text in zip(NAMES, line.split(","), strict=False)
                }
                for line in lines
            ]
        )

    @staticmethod
    def _filled(x: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(x), 0.0, x)

    @staticmethod
    def _decoded(x: np.ndarray) -> list[dict[str, Any]]:
        assert DATA is not None
        found = []
        for line in x:
            row: dict[str, Any] = {}
            for feature, value in zip(DATA.schema.features, line, strict=True):
                row[feature.name] = None if np.isnan(value) else float(value)
                if feature.kind == "category" and not np.isnan(value):
                    row[feature.name] = feature.categories[int(value)]
            found.append(row)
        return found

    def _answers(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        assert DATA is not None
        coded = np.zeros((len(rows), len(NAMES)))
        for place, row in enumerate(rows):
            for column, feature in enumerate(DATA.schema.features):
                value = row[feature.name]
                if feature.kind == "category" and value is not None:
                    value = feature.categories.index(int(value))
                coded[place, column] = np.nan if value is None else value
        p = self._model.predict_proba(self._filled(coded))[:, 1]
        return [
            {
                "id": uuid7(),
                "created_at": now(),
                "features": row,
                "prediction": str(int(one > 0.5)),
                "probability": float(one),
                "raw_scores": [float(1 - one), float(one)],
                "detections": None,
            }
            for row, one in zip(rows, p, strict=True)
        ]


@pytest.fixture(scope="module")
def hospital() -> Hospital:
    return Hospital()


def looks(hospital: Hospital, answers: list[dict[str, Any]]) -> list[Findings]:
    """Windows of a hundred in a row, as the detector looks at them."""
    version = SimpleNamespace(model="heart", version=1)
    known = Known(
        side=Side(source="training", count=242), features=tabular.statistics(hospital.reference)
    )
    found: list[Findings] = []
    for begin in range(0, len(answers) - 99, 100):
        window = Window(kind="rows", rows=seen(answers[begin : begin + 100]), needed=100)
        before = found[-1].suspected if found else []
        found.append(looking.look(version, window, known, now(), before=before))
    return found


@pytest.mark.parametrize("name", ["hungarian", "va"])
def test_patients_of_another_hospital_are_drift_at_once(hospital: Hospital, name: str):
    """Ten orders of its rows: ca, hardly ever asked there, is named every time."""
    rows = hospital.elsewhere(name)
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(len(rows))
        found = looks(hospital, [rows[place] for place in order])
        assert [look.verdict for look in found] == ["drift"] * len(found)
        assert "ca" in found[0].drifted
        assert {"slope", "thal"} & set(found[0].drifted)


def test_held_out_patients_of_the_same_hospital_are_none(hospital: Hospital):
    """Two hundred windows of rows drawn anew from those that the model has not seen."""
    random = np.random.default_rng(9)
    drawn = random.integers(len(hospital.own), size=20_000)
    found = looks(hospital, [hospital.own[place] for place in drawn])
    assert [look.verdict for look in found] == ["none"] * len(found)


def test_a_look_through_the_database_names_the_same(hospital: Hospital, db: Database):
    """Own patients are quiet; another hospital's are drift, with its missing values named."""
    version = add_version(
        db,
        "heart",
        reference=hospital.reference,
        description={"task": "tabular-classification"},
    )
    version = db.models.get("heart", version.version)
    settings = Settings(_env_file=None, drift_window=100)
    write(db, version, hospital.own)
    quiet = run(db, settings, version)
    assert quiet.verdict == "none", quiet.report["summary"]
    write(db, version, hospital.elsewhere("va"))
    found = run(db, settings, version)
    assert found.verdict == "drift"
    assert "ca" in found.drifted_features
    assert "missing in" in found.report["summary"]
