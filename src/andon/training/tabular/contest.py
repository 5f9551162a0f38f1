"""The candidates of one training against each other: cross-validated, fitted, one exported.

A candidate that fails is reported with its error and left out; the others go on.
"""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from andon.errors import UnusableUpload
from andon.training import messages
from andon.training.messages import Agreement, Scored, Stage
from andon.training.tabular import export, fitting, scoring, splitting
from andon.training.tabular.candidates import BASELINE, Candidate
from andon.training.tabular.export import ExportDisagrees
from andon.training.tabular.fitting import Fitted, Measured, Plan, Rows

Tell = Callable[[messages.Line], None]

_BEGIN, _FITTED = 0.08, 0.82


@dataclass
class Entry:
    """One candidate on its way.

    Attributes:
        candidate: Which.
        measured: By cross-validation; None before, or where it failed.
        fitted: On all rows to learn from; None before, or where it failed.
        held_out: Its metrics on the held-out rows.
        error: Why it was left out; "" while it is in.
        seconds: It took.
    """

    candidate: Candidate
    measured: Measured | None = None
    fitted: Fitted | None = None
    held_out: dict[str, float] = field(default_factory=dict)
    error: str = ""
    seconds: float = 0.0

    def told(self, *, chosen: bool = False) -> messages.Candidate:
        """What a report says of it."""
        return messages.Candidate(
            name=self.candidate.name,
            algorithm=self.candidate.title,
            cross_validation=self.measured.spreads if self.measured else {},
            held_out=self.held_out,
            seconds=round(self.seconds, 3),
            parameters=self.fitted.model.described() if self.fitted else {},
            tuned=self.fitted.tuned if self.fitted else {},
            baseline=self.candidate is BASELINE,
            chosen=chosen,
            error=self.error,
        )


def compete(
    chosen: list[Candidate], learned: Rows, checked: Rows, plan: Plan, tell: Tell
) -> dict[str, Entry]:
    """The baseline and the candidates, by name, measured and fitted.

    Args:
        chosen: Candidates beside the baseline.
        learned: Rows to learn from.
        checked: Held-out rows; nothing is learned or chosen from them.
        plan: How.
        tell: Told of every stage and candidate.
    """
    few = learned.take(splitting.sample(learned.y, fitting.CROSS_VALIDATED, plan.seed))
    many = learned.take(splitting.sample(learned.y, fitting.MOST_ROWS, plan.seed))
    entries = [Entry(candidate) for candidate in (BASELINE, *chosen)]
    width = (_FITTED - _BEGIN) / len(entries)
    for number, entry in enumerate(entries):
        _run(entry, few, many, checked, plan, tell, (_BEGIN + number * width, width))
        tell(Scored(entry.told()))
    return {entry.candidate.name: entry for entry in entries}


def export_best(
    entries: dict[str, Entry], plan: Plan, checked: Rows, tell: Tell
) -> tuple[Entry, bytes, Agreement]:
    """The best candidate whose file answers as the model does, the file, and how well it agrees.

    Raises:
        UnusableUpload: No candidate could be fitted and exported; the reasons are in the hint.
    """
    able = {
        name: (entry.candidate, entry.measured)
        for name, entry in entries.items()
        if entry.fitted and entry.measured and entry.candidate is not BASELINE
    }
    for name in fitting.ranked(able, plan.metric):
        entry = entries[name]
        assert entry.fitted is not None
        tell(Stage(f"Exporting {entry.candidate.title}", _FITTED))
        try:
            content = export.build(entry.fitted)
            return entry, content, export.measure(content, entry.fitted, checked.x)
        except ExportDisagrees as error:
            entry.error = str(error)
    reasons = "; ".join(f"{e.candidate.title}: {e.error}" for e in entries.values() if e.error)
    raise UnusableUpload(
        "No candidate could be trained on these rows.",
        hint=reasons or "Name at least one candidate beside the baseline.",
    )


def _run(
    entry: Entry,
    few: Rows,
    many: Rows,
    checked: Rows,
    plan: Plan,
    tell: Tell,
    share: tuple[float, float],
) -> None:
    """Cross-validate on `few`, fit on `many`, measure on `checked`."""
    candidate = entry.candidate
    begin, width = share
    stage = f"Cross-validating {candidate.title}"
    if candidate is not BASELINE:
        tell(messages.Say(f"Training {candidate.title} model..."))
    tell(Stage(stage, begin))
    started = time.perf_counter()
    try:
        entry.measured = fitting.cross_validate(
            candidate, few, plan, lambda part: tell(Stage(stage, begin + 0.8 * width * part))
        )
        tell(Stage(f"Fitting {candidate.title}", begin + 0.8 * width))
        moves = entry.measured.moves_threshold
        entry.fitted = fitting.fit(candidate, many, plan, moves_threshold=moves)
        p = entry.fitted.probabilities(checked.x)
        entry.held_out = scoring.metrics(checked.y, p, plan.schema.positive, entry.fitted.threshold)
    except Exception as error:
        # Standard error becomes the log of the run.
        traceback.print_exc()
        entry.fitted = None
        entry.error = f"{type(error).__name__}: {error}"
    entry.seconds = time.perf_counter() - started
