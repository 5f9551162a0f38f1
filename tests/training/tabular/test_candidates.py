"""The algorithms and what a training tries."""

import numpy as np
import optuna
import pytest
from tests.training.tabular import builders

from andon.errors import UnusableUpload
from andon.training.tabular import candidates
from andon.training.tabular.algorithms import MOST_ROUNDS, Booster
from andon.training.tabular.calibration import softmax
from andon.training.tabular.candidates import BASELINE, CANDIDATES, Candidate
from andon.training.tabular.encoding import learn

EACH = pytest.mark.parametrize("candidate", CANDIDATES.values(), ids=list(CANDIDATES))


@EACH
@pytest.mark.parametrize("classes", [2, 3])
def test_every_candidate_learns_what_can_be_learned(candidate: Candidate, classes: int) -> None:
    """With missing values and categories, of two and of three classes."""
    data = builders.made_up(classes=classes)
    model = candidate.make(data.schema, seed=1)
    if isinstance(model, Booster):
        model.rounds = 40
    model.fit(data.x[:200], data.y[:200])
    p = softmax(model.margins(data.x[200:]))
    assert p.shape == (100, classes)
    assert (p.argmax(axis=1) == data.y[200:]).mean() > 1.4 / classes


@EACH
def test_the_same_seed_gives_the_same_model(candidate: Candidate) -> None:
    """To the last bit of every margin."""
    data = builders.made_up()
    margins = []
    for _ in range(2):
        model = candidate.make(data.schema, seed=3)
        model.fit(data.x[:200], data.y[:200], (data.x[200:], data.y[200:]))
        margins.append(model.margins(data.x))
    assert (margins[0] == margins[1]).all()


def test_boosters_stop_when_nothing_helps_any_more() -> None:
    """Long before the most rounds on a few rows, and they say where."""
    data = builders.made_up()
    for candidate in CANDIDATES.values():
        model = candidate.make(data.schema, seed=0)
        if isinstance(model, Booster):
            model.fit(data.x[:200], data.y[:200], (data.x[200:], data.y[200:]))
            assert 1 <= model.rounds < MOST_ROUNDS
            assert model.described()["n_estimators"] == model.rounds


@EACH
def test_a_class_that_a_fold_lacks_gets_next_to_nothing(candidate: Candidate) -> None:
    """The margins have a column for it all the same."""
    data = builders.made_up(classes=3)
    known = data.y != 1
    model = candidate.make(data.schema, seed=0)
    model.fit(data.x[known], data.y[known], (data.x[:50], data.y[:50]))
    p = softmax(model.margins(data.x))
    assert p.shape[1] == 3
    assert p[:, 1].max() < 0.001


@EACH
def test_a_single_class_is_refused(candidate: Candidate) -> None:
    """There is nothing to tell apart."""
    data = builders.made_up()
    with pytest.raises(UnusableUpload, match="single class"):
        candidate.make(data.schema, seed=0).fit(data.x, np.zeros_like(data.y))


@EACH
def test_columns_that_say_nothing_harm_nobody(candidate: Candidate) -> None:
    """One that is missing everywhere, one that is the same everywhere."""
    data = builders.made_up()
    x = data.x.copy()
    x[:, 0], x[:, 2] = np.nan, 7.0
    model = candidate.make(data.schema, seed=0)
    model.fit(x, data.y, (x, data.y))
    assert np.isfinite(model.margins(x)).all()


def test_the_baseline_answers_the_shares_of_the_classes() -> None:
    """Whatever the row."""
    data = builders.made_up(classes=3)
    model = BASELINE.make(data.schema, seed=0)
    model.fit(data.x, data.y)
    p = softmax(model.margins(data.x))
    assert p[0] == pytest.approx(np.bincount(data.y) / len(data.y))
    assert (p == p[0]).all()


def test_encoded_rows_miss_nothing_and_know_what_was_missing() -> None:
    """The median stands in, a column remembers, an unknown category is none of the known ones."""
    data = builders.made_up(missing=0.2)
    encoder = learn(data.x, data.schema)
    encoded = encoder.encode(data.x)
    assert encoded.shape == (300, 3 + 3 + 3)
    assert np.isfinite(encoded).all()
    assert encoded[:, :3].mean(axis=0) == pytest.approx([0, 0, 0], abs=1e-4)
    assert encoded[:, :3].std(axis=0) == pytest.approx([1, 1, 1], abs=1e-4)
    assert (encoded[:, 3] == np.isnan(data.x[:, 0])).all()
    unknown = encoder.encode(np.array([[np.nan, 1000.0, 5.0, 9.0]]))
    assert (unknown[0, 6:] == 0).all()


def test_tuned_and_fixed_parameters_stand_before_the_candidates_own() -> None:
    """A recipe may fix what a search would change."""
    model = candidates.find("random-forest").make(
        builders.made_up().schema, {"n_estimators": 5}, seed=42
    )
    assert model.described() == {
        "n_estimators": 5,
        "max_depth": 10,
        "min_samples_leaf": 3,
        "random_state": 42,
    }


@EACH
def test_a_search_draws_parameters_that_the_algorithm_knows(candidate: Candidate) -> None:
    """Every drawn set can be fitted."""
    data = builders.made_up(rows=80)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = candidate.space(study.ask())
    model = candidate.make(data.schema, drawn, seed=0)
    if isinstance(model, Booster):
        model.rounds = 5
    model.fit(data.x, data.y)
    assert drawn
    assert np.isfinite(model.margins(data.x)).all()


def test_an_unknown_candidate_is_named_with_those_there_are() -> None:
    """So a misspelt recipe can be mended."""
    with pytest.raises(UnusableUpload, match=r"catboost.*random-forest"):
        candidates.find("catboost")
