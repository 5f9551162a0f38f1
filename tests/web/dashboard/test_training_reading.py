"""Reports and cards as the pages read them."""

import pytest
from msgspec.structs import replace
from tests.web.dashboard.reports import plain, report

from andon.training import messages as m
from andon.web.dashboard import training_reading
from andon.web.dashboard.training_reading import evaluation, gate_sentence, measured
from andon.web.dashboard.wording import interval


def read(**given) -> training_reading.Measured:
    """A report as it comes from the database."""
    found = measured(plain(report(**given)))
    assert found is not None
    return found


def against(difference: float, low: float, high: float) -> m.Comparison:
    """Something measured against v3."""
    return m.Comparison(version=3, rows=61, differences={"f1": m.Interval(difference, low, high)})


def cells(grid) -> list[tuple[str, ...]]:
    """The texts of a table."""
    return [line.cells for line in grid.lines]


@pytest.mark.parametrize(
    ("comparison", "told"),
    [
        (None, "F1 0.84 (0.77–0.90)"),
        (
            against(0.022, -0.031, 0.071),
            "F1 0.84 (0.77–0.90), better than v3 on the same 61 rows by 0.02 (−0.03 to 0.07)",
        ),
        (
            against(-0.04, -0.09, 0.01),
            "F1 0.84 (0.77–0.90), worse than v3 on the same 61 rows by 0.04 (−0.01 to 0.09)",
        ),
        (against(0.001, -0.03, 0.03), "F1 0.84 (0.77–0.90), as good as v3 on the same 61 rows"),
    ],
)
def test_the_outcome_is_told_with_its_interval_and_against_what_serves(comparison, told):
    """By how much, on which rows, and how sure that is: whichever way it went."""
    assert gate_sentence(read(comparison=comparison)) == told


@pytest.mark.parametrize(
    "told",
    [None, {}, {"held_out": 3}, {"candidates": "all"}, {"data": {"rows": []}}, {"slices": [1]}],
    ids=str,
)
def test_what_cannot_be_read_is_nothing(told):
    """A card of another release, or from elsewhere, breaks no page."""
    assert measured(told) is None


def test_a_card_with_next_to_nothing_shows_what_it_has():
    """Everything else is left out, without holes."""
    found = measured({"algorithm": "XGBoost", "held_out": {"metrics": {"f1": {"value": 0.8}}}})
    assert found is not None
    shown = evaluation(found)
    assert [(one.name, one.value, one.low) for one in shown.measures] == [("F1", 0.8, None)]
    assert (shown.candidates, shown.confusion, shown.figures, shown.data) == (None, None, (), ())
    assert gate_sentence(found) == "F1 0.80"


def test_the_chosen_candidate_the_baseline_and_a_failed_one_are_told_apart():
    """By words, not by colour alone."""
    grid = evaluation(read()).candidates
    assert grid is not None
    tags = {line.cells[0]: line.tag for line in grid.lines}
    assert tags["Logistic regression"] == "Chosen"
    assert tags["Most frequent class"] == "Baseline"
    assert tags["LightGBM: too few rows in a leaf"] == "Failed"
    assert "0.815 ± 0.041" in cells(grid)[1]


def test_a_group_with_too_few_rows_says_so():
    """Instead of a number that means nothing."""
    (grid,) = [one for one in evaluation(read()).grids if one.id == "slices"]
    by_name = {line.cells[0]: line for line in grid.lines}
    assert by_name["sex: female"].tag == "Too few rows"
    assert by_name["sex: female"].cells[1:] == ("7", "2", "–", "–", "–", "–", "–")
    assert by_name["sex: male"].cells[3] == "0.85 (0.74–0.94)"


def test_the_confusion_matrix_tells_what_was_right():
    """Each cell knows its share of the true class."""
    found = evaluation(read()).confusion
    assert found is not None
    (_, healthy), (name, ill) = found.rows
    assert name == "disease"
    assert [cell.count for cell in (*healthy, *ill)] == [28, 5, 4, 24]
    assert [cell.right for cell in ill] == [False, True]
    assert ill[1].share == pytest.approx(24 / 28)
    assert found.sentence == "52 of 61 held-out rows answered right."


def test_classes_are_told_in_the_words_of_the_schema():
    """Where the report has only their values."""
    held = m.HeldOut(classes=("0", "1"), confusion=((3, 1), (0, 4)))
    shown = evaluation(read(held_out=held), "v4", {"0": "no disease", "1": "disease"})
    assert shown.confusion is not None
    assert shown.confusion.classes == ("no disease", "disease")
    assert dict(shown.data)["Classes"] == "no disease: 164, disease: 139"


def test_a_card_has_no_column_of_times():
    """How long something took is no property of a model."""
    untimed = tuple(replace(one, seconds=0.0) for one in report().candidates)
    grids = [
        evaluation(read(candidates=some)).candidates for some in (report().candidates, untimed)
    ]
    assert [grid.columns[-1][0] for grid in grids if grid] == ["Time", "F1, held out"]
    assert all(
        len(line.cells) == len(grid.columns) for grid in grids if grid for line in grid.lines
    )


def test_a_note_that_a_finding_says_already_is_not_repeated():
    """The same words twice are read twice."""
    told = "These rows are made up."
    data = m.DataUsed(
        origin="x",
        digest="y",
        rows=9,
        held_out=2,
        notes=(told, "Once."),
        findings=(m.Finding("synthetic", "warning", detail=told),),
    )
    assert [one.text for one in evaluation(read(data=data)).concerns] == [told, "Once."]


def test_every_chart_has_its_numbers_beside_it():
    """As many rows as points, and a sentence."""
    figures = {one.id: one for one in evaluation(read()).figures}
    assert set(figures) == {"roc", "precision-recall", "calibration", "importance"}
    for one in figures.values():
        assert len(one.rows) == len(one.spec["data"]["values"])
        assert one.summary
    assert "0.92 (0.85–0.98)" in figures["roc"].summary
    assert "guessing reaches 0.46" in figures["precision-recall"].summary
    assert [row[0] for row in figures["importance"].rows] == [
        "thal",
        "oldpeak",
        "sex",
        "age",
        "chol",
    ]


def test_of_many_features_the_weightiest_are_drawn_and_all_are_listed():
    """A chart of sixty bars tells nobody anything; the sentence says what is left out."""
    many = tuple(m.Importance(f"f{place}", 0.5 - place / 100, 0.01) for place in range(30))
    figures = {one.id: one for one in evaluation(read(importance=many)).figures}
    assert len(figures["importance"].spec["data"]["values"]) == 20
    assert len(figures["importance"].rows) == 30
    assert "20 of 30 features" in figures["importance"].summary


def test_features_that_do_not_help_are_not_said_to_weigh():
    """Shuffling them costs nothing."""
    useless = (m.Importance("a", -0.02, 0.01), m.Importance("b", -0.03, 0.01))
    figures = {one.id: one for one in evaluation(read(importance=useless)).figures}
    assert figures["importance"].summary.startswith("No feature helps")


def test_age_groups_stand_in_their_order():
    """The youngest first, whatever the alphabet says."""
    values = ("45 to 54", "65 and over", "under 45")
    slices = tuple(m.SliceScore(slice="age", value=value, rows=9) for value in values)
    (grid,) = (one for one in evaluation(read(slices=slices)).grids if one.id == "slices")
    assert [row[0] for row in cells(grid)] == ["age: under 45", "age: 45 to 54", "age: 65 and over"]


def test_the_models_threshold_is_marked_on_the_curves():
    """At the rates that the confusion matrix has."""
    figures = {one.id: one for one in evaluation(read()).figures}
    (mark,) = [
        one
        for one in figures["roc"].spec["layer"]
        if "data" in one and "x" in one["data"]["values"][0] and len(one["data"]["values"]) == 1
    ]
    assert mark["data"]["values"] == [{"x": round(5 / 33, 4), "y": round(24 / 28, 4)}]


def test_three_classes_have_no_curve_point_and_no_base_rate():
    """There is no class looked for."""
    held = m.HeldOut(
        metrics={"f1": m.Interval(0.7), "roc_auc": m.Interval(0.8)},
        classes=("a", "b", "c"),
        confusion=((3, 1, 0), (0, 4, 1), (1, 0, 5)),
        roc=((0.0, 0.0), (1.0, 1.0)),
    )
    shown = evaluation(read(held_out=held))
    assert shown.confusion is not None
    assert len(shown.confusion.rows) == 3
    assert "The dot" not in shown.figures[0].summary


def test_errors_come_before_warnings_and_notes():
    """What weighs most is read first; a hint stays with its finding."""
    data = report().data
    findings = (*data.findings, m.Finding("leak", "error", "num", "num tells the target.", "Drop."))
    shown = evaluation(
        read(
            data=m.DataUsed(
                origin="x", digest="y", rows=9, held_out=2, synthetic=True, findings=findings
            )
        )
    )
    assert [one.tone for one in shown.concerns] == ["stop", "look", "none"]
    assert shown.concerns[0].hint == "Drop."
    assert shown.concerns[1].text == "ca: 4 of 303 values are missing."
    assert shown.synthetic
    assert "made-up rows" in shown.basis


def test_an_interval_is_told_in_one_way_everywhere():
    """Differences carry signs, unknown bounds are left out."""
    assert interval(m.Interval(0.842, 0.77, 0.9)) == "0.84 (0.77–0.90)"
    assert interval(m.Interval(-0.02, -0.05, 0.01), signed=True) == "−0.02 (−0.05 to +0.01)"
    assert interval(m.Interval(-0.001, -0.02, 0.0), signed=True) == "0.00 (−0.02 to 0.00)"
    assert interval(m.Interval(0.5)) == "0.50"
    assert interval(None) == "–"
