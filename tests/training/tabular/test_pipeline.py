"""A training of prepared rows from the division to the file, the gate and the comparison."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from tests.training.tabular import builders

from andon.errors import UnusableUpload
from andon.runtimes.rows import CARD_KEY, REFERENCE_KEY, SCHEMA_KEY, RowSchema
from andon.training import messages
from andon.training.messages import ActiveModel, Candidate, Comparison, Interval, Spread
from andon.training.tabular import algorithms, export, fitting, gate, pipeline, scoring, splitting
from andon.training.tabular.export import ExportDisagrees
from andon.training.tabular.pipeline import Outcome
from andon.training.tabular.prepared import Prepared
from andon.training.tabular.recipe import Gate

LINEAR = ("logistic-regression",)


def train(
    data: Prepared, *, asked: dict[str, object] | None = None, **changes: object
) -> tuple[Outcome, list[messages.Line]]:
    """A quick training, and what it said."""
    lines: list[messages.Line] = []
    outcome = pipeline.learn(
        builders.recipe(**changes),
        builders.report(data),
        data,
        builders.request(**(asked or {})),
        lines.append,
    )
    return outcome, lines


@pytest.fixture(scope="module")
def trained() -> tuple[Outcome, list[messages.Line]]:
    """All candidates on the made-up rows."""
    return train(builders.made_up())


def metadata(content: bytes) -> dict[str, str]:
    """The entries of a file."""
    return {e.key: e.value for e in onnx.load_model_from_string(content).metadata_props}


def test_a_training_reports_all_it_measured(trained: tuple[Outcome, list[object]]) -> None:
    """The report is complete, and JSON brings it back as it was."""
    report = trained[0].report
    again = msgspec.json.decode(msgspec.json.encode(report), type=messages.TrainReport)
    assert again == report
    names = ["baseline", "logistic-regression", "random-forest", "xgboost", "lightgbm"]
    assert [one.name for one in report.candidates] == names
    assert [one.name for one in report.candidates if one.chosen] == [report.chosen]
    best = max(report.candidates, key=lambda one: one.cross_validation["f1"].mean)
    assert report.chosen == best.name
    assert set(report.held_out.metrics) == set(scoring.METRICS)
    assert best.held_out == {k: one.value for k, one in report.held_out.metrics.items()}
    assert report.data.held_out == 60
    assert sum(map(sum, report.held_out.confusion)) == 60
    assert sum(one.rows for one in report.held_out.calibration) == 60
    assert {one.feature for one in report.importance} == {"width", "weight", "noise", "colour"}
    assert report.importance[-1].feature == "noise"
    assert [one.value for one in report.slices] == ["blue", "green", "red"]
    assert report.gate.passed
    assert report.gate.reasons == ()
    assert report.agreement.max_difference <= 1e-6
    assert report.onnx_bytes == len(trained[0].model)
    assert report.versions["scikit-learn"]


def test_the_figures_are_those_of_the_exported_file(trained: tuple[Outcome, list[object]]) -> None:
    """What was measured on the held-out rows is what the file answers on them."""
    outcome = trained[0]
    data = builders.made_up()
    held = splitting.hold_out(data.keys, data.y, 0.2).mask
    p = export.run(outcome.model, data.x[held])
    found = scoring.metrics(data.y[held], p, 1, outcome.report.held_out.threshold)
    assert found["f1"] == outcome.report.held_out.metrics["f1"].value
    assert found["roc_auc"] == pytest.approx(outcome.report.held_out.metrics["roc_auc"].value)


def test_the_file_carries_schema_card_and_reference(
    trained: tuple[Outcome, list[object]],
) -> None:
    """And nothing that differs between two trainings on the same rows."""
    outcome = trained[0]
    held = metadata(outcome.model)
    schema = msgspec.json.decode(held[SCHEMA_KEY], type=RowSchema)
    assert schema.threshold == outcome.report.held_out.threshold
    assert [feature.name for feature in schema.features] == ["width", "weight", "noise", "colour"]
    card = msgspec.json.decode(held[CARD_KEY])
    assert card["held_out"]["metrics"]["f1"]["value"] == outcome.report.held_out.metrics["f1"].value
    assert card["algorithm"] == outcome.report.algorithm
    assert not {"seconds", "gate", "comparison"} & set(card)
    assert not any("seconds" in one for one in card["candidates"])
    assert 0.1 < card["hold_out"]["1"] < 0.3
    assert msgspec.json.decode(held[REFERENCE_KEY])["rows"] == 240


def test_the_same_data_and_seed_give_the_same_file_byte_for_byte(
    trained: tuple[Outcome, list[object]],
) -> None:
    """Whoever was active meanwhile; another seed gives another."""
    active = ActiveModel(version=1, path="/nowhere.onnx")
    again, _ = train(builders.made_up(), asked={"active": active})
    assert again.model == trained[0].model
    other, _ = train(builders.made_up(), asked={"seed": 7})
    assert other.model != trained[0].model


def test_progress_rises_and_every_candidate_is_told(
    trained: tuple[Outcome, list[messages.Line]],
) -> None:
    """From little to almost all, with the lines for the terminal in their order."""
    lines = trained[1]
    shares = [line.progress for line in lines if isinstance(line, messages.Stage)]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] < 1
    told = [line.candidate.name for line in lines if isinstance(line, messages.Scored)]
    assert len(told) == 5
    said = [line.text for line in lines if isinstance(line, messages.Say)]
    assert said[:2] == ["Training Logistic Regression model...", "Training Random Forest model..."]
    assert said[4] == "Model Metrics:"
    value = trained[0].report.held_out.metrics["f1"].value
    assert said[-1] == f"  F1-Score: {value:.4f}"


def test_three_classes_are_trained_alike() -> None:
    """Macro figures, no threshold, no curves; the file agrees."""
    outcome, _ = train(builders.made_up(classes=3), candidates=("random-forest", "lightgbm"))
    report = outcome.report
    assert set(report.held_out.metrics) == set(scoring.METRICS)
    assert len(report.held_out.confusion) == 3
    assert report.held_out.roc == ()
    assert report.held_out.classes == ("a", "b", "c")
    assert report.agreement.max_difference <= 1e-6


def test_groups_are_held_out_whole() -> None:
    """And the intervals are those of groups."""
    outcome, _ = train(builders.made_up(groups=25), candidates=LINEAR)
    assert 30 <= outcome.report.data.held_out <= 100


def test_a_candidate_that_crashes_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported with its error; the others go on."""

    def broken(*_: object) -> None:
        raise ValueError("no trees today")

    monkeypatch.setattr(algorithms.Forest, "_fit", broken)
    outcome, _ = train(builders.made_up(), candidates=("random-forest", "logistic-regression"))
    failed = next(one for one in outcome.report.candidates if one.name == "random-forest")
    assert failed.error == "ValueError: no trees today"
    assert not failed.chosen
    assert outcome.report.chosen == "logistic-regression"


def test_when_all_crash_the_reasons_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is exported, and the error names each candidate's."""

    def broken(*_: object) -> None:
        raise ValueError("no lines today")

    monkeypatch.setattr(algorithms.Linear, "_fit", broken)
    with pytest.raises(UnusableUpload, match="Logistic Regression: ValueError: no lines today"):
        train(builders.made_up(), candidates=LINEAR)


def test_the_next_best_is_taken_when_a_file_disagrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report says why the best one was not."""
    measure = export.measure

    def strict(content: bytes, fitted: fitting.Fitted, x: np.ndarray) -> messages.Agreement:
        if fitted.candidate.name == "logistic-regression":
            raise ExportDisagrees("It differs by 0.1.", hint="The next best candidate is taken.")
        return measure(content, fitted, x)

    monkeypatch.setattr(export, "measure", strict)
    names = ("logistic-regression", "random-forest")
    outcome, _ = train(builders.made_up(), candidates=names)
    assert outcome.report.chosen == "random-forest"
    passed_over = next(one for one in outcome.report.candidates if one.name == names[0])
    assert passed_over.error == "It differs by 0.1. The next best candidate is taken."


def test_the_request_stands_before_the_recipe() -> None:
    """Its candidates, its seed, its budget."""
    asked = {"candidates": LINEAR, "seed": 5, "tuning_trials": 2}
    outcome, _ = train(builders.made_up(rows=150), asked=asked)
    assert [one.name for one in outcome.report.candidates] == ["baseline", *LINEAR]
    assert outcome.report.seed == 5
    assert set(outcome.report.candidates[1].tuned) == {"C"}


def test_rows_that_cannot_be_divided_are_refused() -> None:
    """A class with a single row stops the training with a sentence."""
    data = builders.made_up(rows=60)
    y = np.zeros(60, dtype=np.int64)
    y[0] = 1
    with pytest.raises(UnusableUpload, match="both learned and checked"):
        train(replace(data, y=y), candidates=LINEAR)


@pytest.mark.parametrize("changes", [{"metric": "auc"}, {"gate": Gate(metric="auc")}])
def test_a_metric_nobody_measures_is_refused(changes: dict[str, object]) -> None:
    """Before anything is trained, with those there are."""
    with pytest.raises(UnusableUpload, match=r"'auc'.*roc_auc"):
        train(builders.made_up(), **changes)


def test_tiny_data_are_trained_as_far_as_they_go() -> None:
    """Twelve rows: fewer folds, wide intervals, no crash."""
    outcome, _ = train(builders.made_up(rows=12, missing=0), candidates=LINEAR)
    assert outcome.report.data.held_out == 2


def test_a_category_that_only_held_out_rows_hold_is_no_obstacle() -> None:
    """Nor a column that is missing or the same in every row."""
    data = builders.made_up()
    held = splitting.hold_out(data.keys, data.y, 0.2).mask
    x = data.x.copy()
    x[:, 0], x[:, 2] = np.nan, 3.0
    x[~held & (x[:, 3] == 2), 3] = 1
    outcome, _ = train(replace(data, x=x))
    assert not any(one.error for one in outcome.report.candidates)


def test_many_rows_are_compared_on_some_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The notes name both numbers."""
    monkeypatch.setattr(fitting, "CROSS_VALIDATED", 100)
    monkeypatch.setattr(fitting, "MOST_ROWS", 150)
    outcome, _ = train(builders.made_up(), candidates=LINEAR)
    assert outcome.report.data.notes == (
        "Candidates were compared on 100 of the 240 rows to learn from, drawn within the classes.",
        "The model learned from 150 of them, drawn within the classes.",
    )


# -- Beside the active version ----------------------------------------------------------


@pytest.fixture(scope="module")
def active(tmp_path_factory: pytest.TempPathFactory) -> ActiveModel:
    """A version trained on the first half of the rows."""
    data = builders.made_up(rows=600)
    half = replace(
        data,
        x=data.x[:300],
        y=data.y[:300],
        keys=data.keys[:300],
        slices={"colour": data.slices["colour"][:300]},
    )
    outcome, _ = train(half, candidates=LINEAR)
    path = tmp_path_factory.mktemp("active") / "model.onnx"
    path.write_bytes(outcome.model)
    return ActiveModel(version=3, path=str(path))


def test_both_versions_answer_rows_that_neither_has_seen(active: ActiveModel) -> None:
    """With the differences and their intervals; the limits in the card say which rows."""
    data = builders.made_up(rows=600)
    outcome, _ = train(data, asked={"active": active}, candidates=LINEAR)
    found = outcome.report.comparison
    assert found is not None
    assert (found.version, found.note) == (3, "")
    assert 80 <= found.rows <= outcome.report.data.held_out == 120
    limits = msgspec.json.decode(metadata(Path(active.path).read_bytes())[CARD_KEY])["hold_out"]
    held = splitting.hold_out(data.keys, data.y, 0.2)
    theirs = held.position <= np.array([limits["0"], limits["1"]])[data.y]
    assert found.rows == (held.mask & theirs).sum()
    difference = found.differences["f1"]
    assert difference.value == pytest.approx(found.new["f1"] - found.active["f1"])
    assert difference.low <= difference.value <= difference.high


def test_the_active_version_reads_rows_by_its_own_schema(
    active: ActiveModel, tmp_path: Path
) -> None:
    """Columns in another order and categories with other codes are the same rows."""
    data = builders.made_up(rows=600)
    order = [3, 1, 0, 2]
    schema = msgspec.structs.replace(
        data.schema,
        features=tuple(
            msgspec.structs.replace(feature, categories=("blue", "green", "red"))
            if feature.kind == "category"
            else feature
            for feature in (data.schema.features[place] for place in order)
        ),
    )
    x = data.x[:, order].copy()
    x[:, 0] = 2 - x[:, 0]
    turned = replace(data, schema=schema, x=x)
    plain, _ = train(data, asked={"active": active}, candidates=LINEAR)
    other, _ = train(turned, asked={"active": active}, candidates=LINEAR)
    assert plain.report.comparison is not None
    assert other.report.comparison is not None
    assert other.report.comparison.active == pytest.approx(plain.report.comparison.active)


def test_a_version_that_cannot_be_compared_is_told_and_fails_no_gate(
    active: ActiveModel, tmp_path: Path
) -> None:
    """Features the data lack, other classes, a damaged file."""
    data = builders.made_up(rows=300)
    features = (
        msgspec.structs.replace(data.schema.features[0], name="breadth"),
        *data.schema.features[1:],
    )
    renamed = replace(data, schema=msgspec.structs.replace(data.schema, features=features))
    outcome, _ = train(renamed, asked={"active": active}, candidates=LINEAR)
    assert outcome.report.comparison.note == "It takes features that these data lack: width."
    assert outcome.report.gate.passed
    assert outcome.report.gate.reasons[0].startswith("It could not be compared with version 3.")

    classes = replace(data, schema=msgspec.structs.replace(data.schema, classes=("no", "yes")))
    outcome, _ = train(classes, asked={"active": active}, candidates=LINEAR)
    assert outcome.report.comparison.note == "It answers other classes."

    few = replace(data, x=data.x[:30], y=data.y[:30], keys=data.keys[:30], slices={})
    outcome, _ = train(few, asked={"active": active}, candidates=LINEAR)
    assert outcome.report.comparison.note.startswith("There are too few rows")

    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no model")
    asked = {"active": ActiveModel(version=1, path=str(damaged))}
    outcome, _ = train(data, asked=asked, candidates=LINEAR)
    assert outcome.report.comparison.note.startswith("Its file could not be run:")


# -- The gate ---------------------------------------------------------------------------


def candidate(cross_validated: float, held_out: float | None) -> Candidate:
    """One with these F1."""
    return Candidate(
        name="x",
        cross_validation={"f1": Spread(cross_validated, 0.0)},
        held_out={} if held_out is None else {"f1": held_out},
    )


def compared(new: float, active: float) -> Comparison:
    """Version 4 beside the new one."""
    return Comparison(
        version=4,
        rows=61,
        new={"f1": new},
        active={"f1": active},
        differences={"f1": Interval(new - active, -0.2, 0.1)},
    )


def test_a_good_model_passes() -> None:
    """At the minimum, above the baseline, as good as the active one."""
    found = gate.judge(Gate(), candidate(0.8, 0.75), candidate(0.6, 0.6), compared(0.75, 0.75))
    assert (found.passed, found.reasons) == (True, ())


@pytest.mark.parametrize(
    ("chosen", "baseline", "comparison", "reason"),
    [
        ((0.8, 0.74), (0.6, 0.6), None, "F1 on the held-out rows is 0.740; 0.750 is asked for."),
        ((0.9, 0.9), (0.95, 0.6), None, "not better than the baseline"),
        ((0.9, 0.9), (0.6, 0.9), None, "on the held-out rows is 0.900, the baseline's 0.900"),
        ((0.9, None), (0.6, 0.6), None, "could not be measured"),
        ((0.9, 0.8), (0.6, 0.6), (0.8, 0.85), "worse than the active version 4 on the same 61"),
    ],
)
def test_a_model_that_is_not_good_enough_fails_with_the_reason(
    chosen: tuple[float, float | None],
    baseline: tuple[float, float],
    comparison: tuple[float, float] | None,
    reason: str,
) -> None:
    """One sentence for each thing that is missing."""
    found = gate.judge(
        Gate(),
        candidate(*chosen),
        candidate(*baseline),
        compared(*comparison) if comparison else None,
    )
    assert not found.passed
    assert len(found.reasons) == 1
    assert reason in found.reasons[0]


def test_a_gate_may_allow_a_worse_version_and_ask_for_a_low_loss() -> None:
    """`not_worse: false`, and a metric that is better when it is lower."""
    worse = compared(0.8, 0.85)
    lenient = Gate(not_worse=False)
    assert gate.judge(lenient, candidate(0.9, 0.8), candidate(0.6, 0.6), worse).passed
    loss = Gate(metric="log_loss", minimum=0.5)
    good = Candidate(
        name="x", cross_validation={"log_loss": Spread(0.4, 0.0)}, held_out={"log_loss": 0.4}
    )
    dummy = Candidate(
        name="y", cross_validation={"log_loss": Spread(0.69, 0.0)}, held_out={"log_loss": 0.69}
    )
    assert gate.judge(loss, good, dummy, None).passed
    assert not gate.judge(loss, dummy, good, None).passed
