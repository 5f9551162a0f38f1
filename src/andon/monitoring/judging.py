"""Is a candidate better, worse, or is there not enough evidence to say?

A running rollout is judged again and again, as answers come. So that looking often does not make
chance look like a finding, every number here comes with a confidence sequence (`sequential`), which
holds at all looks at once. The chance that any of the four guardrails of a rollout is ever wrong is
5 %: each gets a quarter of it. What they measure is in `guardrails`.

"better" means that the candidate may take over: errors, latency and accuracy are no worse within
the margins. "worse" means that one of them is, beyond a margin. Without labels there is no
"better": at most nothing speaks against it. Without traffic there is neither, ever.
"""

from datetime import datetime
from typing import Literal

import msgspec

from andon import typed
from andon.monitoring.guardrails import ALPHA, Guardrail, Margins, guardrails_of
from andon.monitoring.rollout_counts import Counts, count
from andon.monitoring.signals import Issue, Signal, State
from andon.settings import Settings
from andon.store.clock import now
from andon.store.database import Database
from andon.store.records import Rollout

Verdict = Literal["better", "worse", "not_enough"]


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a candidate.

    Attributes:
        verdict: "better", "worse" or "not_enough".
        reasons: Sentences for people, the most important first.
        guardrails: In the order of `GUARDRAILS`.
        answers_active: Of the active version since the rollout began, failed ones included.
        answers_candidate: Of the candidate.
        labels_active: Of them with a label.
        labels_candidate: The same of the candidate.
        since: When the rollout began.
        at: When this was said.
        looks: How often it was looked at; the verdict does not depend on it.
        alpha: Chance that any of this is ever wrong.
        counts: What it rests on, to go on from; can be counted again from the log.
    """

    verdict: Verdict
    reasons: list[str]
    guardrails: list[Guardrail]
    answers_active: int
    answers_candidate: int
    labels_active: int
    labels_candidate: int
    since: datetime
    at: datetime
    looks: int
    alpha: float
    counts: Counts


class Judge:
    """Judges rollouts, reading at each look what the log has got since the last.

    Args:
        db: The log, and where judgements are kept.
        settings: Of the installation.
        margins: Where differences begin to count.
    """

    def __init__(
        self, db: Database, settings: Settings | None = None, margins: Margins | None = None
    ) -> None:
        self._db = db
        self._settings = settings
        self._margins = margins or Margins()

    def look(self, rollout: Rollout) -> Judgement:
        """Judge a running rollout now, and keep the judgement with it.

        Args:
            rollout: As it was just read: its judgement is gone on from.

        Raises:
            Conflict: It has ended meanwhile.
        """
        found = self.judge(rollout)
        self._db.rollouts.set_judgement(rollout.id, msgspec.to_builtins(found))
        return found

    def judge(self, rollout: Rollout, *, anew: bool = False) -> Judgement:
        """The same without keeping it.

        Args:
            rollout: Running or ended; of an ended one, what is in the log by now.
            anew: Count from the beginning.
        """
        before = None if anew else judgement_of(rollout)
        counts = count(self._db, rollout, None if before is None else before.counts)
        return weigh(
            rollout,
            counts,
            self._margins,
            looks=1 + (before.looks if before is not None else 0),
            moment=now(),
        )


def judgement_of(rollout: Rollout) -> Judgement | None:
    """The judgement that is kept with a rollout; None before the first, or where it is of another
    release of Andon: it is counted again then.
    """
    if rollout.judgement is None:
        return None
    try:
        return typed.convert(rollout.judgement, Judgement)
    except msgspec.ValidationError:
        return None


def weigh(
    rollout: Rollout, counts: Counts, margins: Margins, *, looks: int, moment: datetime
) -> Judgement:
    """What follows from the counts. Takes a few milliseconds, whatever they are.

    Args:
        rollout: Which versions, and how they meet.
        counts: What was seen.
        margins: Where differences begin to count.
        looks: How often it was looked at, this one included.
        moment: Now.
    """
    active, candidate = counts.active.total, counts.candidate.total
    guardrails = guardrails_of(rollout, counts, margins)
    verdict = _verdict(guardrails)
    return Judgement(
        verdict=verdict,
        reasons=_reasons(rollout, counts, verdict, guardrails),
        guardrails=guardrails,
        answers_active=active.answers,
        answers_candidate=candidate.answers,
        labels_active=counts.right_active.total,
        labels_candidate=counts.right_candidate.total,
        since=rollout.created_at,
        at=moment,
        looks=looks,
        alpha=ALPHA,
        counts=counts,
    )


def signals(rollout: Rollout, judgement: Judgement) -> list[Signal]:
    """A judgement as signals of the candidate: "canary_errors", "canary_latency",
    "canary_accuracy", "canary_disagreement", whatever the mode.
    """
    states = {"worse": State.BAD, "fine": State.OK, "not_enough": State.UNKNOWN}
    found = []
    for guardrail in judgement.guardrails:
        state = states[guardrail.state]
        if state is State.BAD and not _counts(guardrail, judgement.guardrails):
            state = State.OK
        found.append(
            Signal(
                name=f"canary_{guardrail.name}",
                issue=Issue.ANOMALY if guardrail.name == "disagreement" else Issue.PERFORMANCE,
                state=state,
                summary=guardrail.summary,
                model=rollout.model,
                version=rollout.candidate,
                severity="critical" if rollout.mode == "canary" else "warning",
                value=guardrail.value_candidate,
                threshold=guardrail.threshold,
                baseline=guardrail.value_active,
                count=guardrail.answers_candidate,
                needed=guardrail.answers_candidate + (guardrail.needed or 0),
                since=judgement.since,
                until=judgement.at,
                evidence={
                    "rollout": rollout.id,
                    "mode": rollout.mode,
                    "against": rollout.baseline,
                    "low": guardrail.low,
                    "high": guardrail.high,
                    "verdict": judgement.verdict,
                },
            )
        )
    return found


def _counts(guardrail: Guardrail, guardrails: list[Guardrail]) -> bool:
    """Whether a bad one speaks against the candidate: to answer otherwise is no fault where the
    labels say that it is no worse.
    """
    if guardrail.name != "disagreement":
        return True
    return all(one.state != "fine" for one in guardrails if one.name == "accuracy")


def _verdict(guardrails: list[Guardrail]) -> Verdict:
    if any(one.state == "worse" and _counts(one, guardrails) for one in guardrails):
        return "worse"
    decisive = [one for one in guardrails if one.name != "disagreement"]
    return "better" if all(one.state == "fine" for one in decisive) else "not_enough"


def _reasons(
    rollout: Rollout, counts: Counts, verdict: Verdict, guardrails: list[Guardrail]
) -> list[str]:
    """Sentences, the most important first."""
    answers = counts.candidate.total.answers
    if verdict == "worse":
        bad = [one for one in guardrails if one.state == "worse" and _counts(one, guardrails)]
        return [one.summary for one in bad]
    if verdict == "better":
        said = (
            f"v{rollout.candidate} is no worse than v{rollout.baseline} in errors, latency and "
            f"accuracy, after {_number(answers, 'answer')}."
        )
        return [said, *(one.summary for one in guardrails)]
    active = counts.active.total.answers
    if not answers:
        said = (
            f"v{rollout.candidate} has answered nothing since the rollout began (v"
            f"{rollout.baseline}: {_number(active, 'answer')}), so nothing can be said."
        )
    else:
        said = (
            f"There is not enough evidence yet: {_number(answers, 'answer')} and "
            f"{_number(counts.right_candidate.total, 'label')} of v{rollout.candidate}, "
            f"{_number(active, 'answer')} and {_number(counts.right_active.total, 'label')} of v"
            f"{rollout.baseline}."
        )
    reasons = [said]
    open_ones = [one for one in guardrails if one.state == "not_enough"]
    decided = [one for one in guardrails if one.state != "not_enough"]
    reasons += [one.summary for one in open_ones if one.name != "disagreement"]
    if decided and not counts.right_candidate.total:
        reasons.append(
            "Nothing speaks against it so far, but without labels it cannot be called better: send "
            "feedback on its answers."
        )
    return reasons


def _number(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
