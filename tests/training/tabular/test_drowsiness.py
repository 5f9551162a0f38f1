"""Minutes of drivers: stored telemetry where there is enough, else made-up rows that say so."""

from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import train_test_split

from andon.store.database import Database
from andon.store.drowsiness_events import DrowsinessRow
from andon.training.tabular import checks, drowsiness, prepared, schema
from andon.training.tabular.drowsiness import RECIPE, generate_synthetic_data
from andon.training.tabular.recipe import Places
from andon.training.tabular.table import Table

DAY = 1_760_054_400_000_000
MINUTE = 60_000_000


def read(url: str = "", seed: int = 42) -> tuple[Table, list[str]]:
    said: list[str] = []
    return drowsiness.read(RECIPE, Places(Path(), Path(), url), said.append, seed), said


def fill(url: str, drivers: int, minutes: int, days: int = 1) -> None:
    """Six measurements a minute; in every third minute most of them are drowsy."""
    random = np.random.default_rng(5)
    rows = []
    for driver in range(drivers):
        for day in range(days):
            for minute in range(minutes):
                drowsy = minute % 3 == 0
                for point in range(6):
                    flag = drowsy if point else not drowsy
                    moment = DAY + day * 1440 * MINUTE + minute * MINUTE + point * 10_000_000
                    rows.append(
                        DrowsinessRow(
                            event_id=str(uuid4()),
                            given=True,
                            timestamp=moment,
                            driver_id=f"d{driver}",
                            device_id="",
                            site_id="main",
                            ear_value=round(0.2 if flag else 0.3 + 0.05 * random.random(), 4),
                            is_drowsy=flag,
                            duration_ms=500.0 if flag else 100.0,
                            source="test",
                            received=moment,
                        )
                    )
    db = Database(url)
    with db.write() as connection:
        db.telemetry.ingest(connection, rows)
    db.close()


def test_made_up_rows_overlap_as_real_ones_do() -> None:
    """A random forest is right in about 95 of 100 rows, as S1's example shows, and not in all."""
    x, y = generate_synthetic_data()
    assert x.shape == (2000, 4)
    train, test, known, asked = train_test_split(x, y, test_size=0.2, random_state=42, stratify=y)
    forest = RandomForestClassifier(n_estimators=100, max_depth=10, random_state=42)
    answered = forest.fit(train, known).predict(test)
    assert accuracy_score(asked, answered) == pytest.approx(0.95, abs=0.02)
    assert f1_score(asked, answered) == pytest.approx(0.93, abs=0.02)


def test_a_seed_gives_its_rows_again() -> None:
    """And another seed gives others."""
    one, again, other = (generate_synthetic_data(50, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_without_telemetry_rows_are_made_up_and_it_is_said() -> None:
    """In the terminal, the notes and the data report; they can be trained on."""
    table, said = read()
    assert said == ["Generating synthetic training data..."]
    assert table.synthetic
    assert "made up" in table.notes[0]
    found = schema.infer(RECIPE, table)
    report = checks.check(RECIPE, table, found)
    assert report.ok, checks.render(report)
    assert [finding.check for finding in report.findings] == ["synthetic"]
    assert [feature.name for feature in found.features] == ["ear", "variance", "duration", "time"]
    assert prepared.prepare(RECIPE, table, found).groups is None


def test_enough_telemetry_is_trained_on(tmp_path: Path) -> None:
    """Minutes with their four figures, labelled by most of their measurements, by driver."""
    url = f"sqlite:///{tmp_path / 'andon.db'}"
    fill(url, drivers=6, minutes=60)
    table, said = read(url)
    assert not table.synthetic
    assert said == ["Reading 360 minutes of stored telemetry..."]
    assert table.frame["drowsy"].sum() == 120
    assert set(table.frame["driver"]) == {f"d{n}" for n in range(6)}
    first = table.frame.row(0, named=True)
    assert first["duration"] == pytest.approx((5 * 500 + 100) / 6)
    assert first["time"] == pytest.approx(0.5 / 60)
    assert 0.2 < first["ear"] < 0.24
    found = schema.infer(RECIPE, table)
    report = checks.check(RECIPE, table, found)
    assert report.ok, checks.render(report)
    ready = prepared.prepare(RECIPE, table, found)
    assert ready.groups is not None
    assert len(set(ready.groups.tolist())) == 6


def test_the_days_of_few_drivers_are_told_apart(tmp_path: Path) -> None:
    """With one driver no driver could be held out, but days can."""
    url = f"sqlite:///{tmp_path / 'andon.db'}"
    fill(url, drivers=1, minutes=60, days=6)
    table, _ = read(url)
    assert not table.synthetic
    assert table.frame["driver"].n_unique() == 6


def test_too_little_telemetry_is_not_trained_on(tmp_path: Path) -> None:
    """What there is and what is needed is said."""
    url = f"sqlite:///{tmp_path / 'andon.db'}"
    fill(url, drivers=2, minutes=10)
    table, _ = read(url)
    assert table.synthetic
    assert "20 labelled minutes" in table.notes[1]
    assert "300" in table.notes[1]


def test_the_names_of_the_replaced_system_are_kept() -> None:
    """Experiment, registered model and first run, as MLflow shows them."""
    assert RECIPE.experiment == "drowsiness_detection"
    assert RECIPE.mlflow_model == "drowsiness_detector"
    assert RECIPE.run_names[RECIPE.candidates[0]] == "random_forest_baseline"
    assert RECIPE.parameters[RECIPE.candidates[0]] == {"n_estimators": 100, "max_depth": 10}
    assert RECIPE.seed == 42
