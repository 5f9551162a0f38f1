"""Page contexts of training and of models of rows, in every state a page can be in."""

from datetime import timedelta

from msgspec.structs import replace
from tests.web.dashboard.reports import SCHEMA, plain, report
from tests.web.dashboard.scenes import (
    LONG,
    NOW,
    an_hour,
    empty_overview,
    events,
    lamp,
    minutes_ago,
    serving,
    shell,
    version,
)

from andon.training import messages
from andon.web.dashboard import contexts as c
from andon.web.dashboard import rows, rows_inspection, training_reading
from andon.web.dashboard import training_contexts as t

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
F1 = t.Measure(name="F1", value=0.842, low=0.77, high=0.9)
MODELS = ("drowsiness", "heart-disease", "pcb")


def frame(page: str, **given) -> c.Shell:
    """A frame of a page about heart-disease."""
    return shell(page, **{"model": "heart-disease", "models": MODELS, **given})


def evaluation(**given) -> t.Evaluation:
    """What a report tells."""
    found = training_reading.measured(plain(report(**given)))
    assert found is not None
    return training_reading.evaluation(found, "v4")


def going(**given) -> t.Going:
    """A training half-way."""
    values = {
        "id": "0193-0001",
        "model": "heart-disease",
        "queued": False,
        "stage": "Cross-validating XGBoost",
        "progress": 0.42,
        "since": minutes_ago(1.2),
        "by": "by the schedule",
        "reason": "",
        "cancelling": False,
    }
    return t.Going(**{**values, **given})


def recipe(name: str = "heart-disease", **given) -> t.RecipeLine:
    """A recipe whose model serves."""
    values = {
        "model": name,
        "title": name.replace("-", " ").capitalize(),
        "description": "Whether a coronary artery is narrowed, from 13 findings of one visit.",
        "version": 3,
        "f1": F1,
        "synthetic": False,
        "trained": minutes_ago(5000),
        "failed": "",
        "refused": None,
        "waiting": None,
        "following": NOW + timedelta(days=3),
        "running": "",
    }
    return t.RecipeLine(**{**values, **given})


def run(number: int = 1, **given) -> t.RunLine:
    """A training that succeeded."""
    values = {
        "id": f"0193-{number:04}",
        "model": "heart-disease",
        "when": minutes_ago(number * 900),
        "by": "by the schedule",
        "reason": "" if number % 2 else "New rows of August",
        "chosen": "Logistic regression",
        "f1": F1,
        "gate": number % 4 != 3,
        "version": number,
        "seconds": 41.2,
        "status": "succeeded",
    }
    return t.RunLine(**{**values, **given})


def failed(number: int, status: str = "failed") -> t.RunLine:
    """A training without a version."""
    return run(number, chosen="", f1=None, gate=None, version=None, status=status)


def training(**given) -> t.TrainingPage:
    """A few trainings behind it."""
    values = {
        "shell": shell("training", models=()),
        "missing": "",
        "going": (),
        "recipes": (recipe(), recipe("drowsiness", version=None, f1=None, trained=None)),
        "schedule": "By itself on Sundays at 02:00 UTC.",
        "runs": (*(run(number) for number in range(1, 6)), failed(6), failed(7, "cancelled")),
        "older": "before=0193",
        "newer": "",
    }
    return t.TrainingPage(**{**values, **given})


def run_page(**given) -> t.RunPage:
    """A training that succeeded and waits."""
    values = {
        "shell": shell("training", models=()),
        "id": "0193-0001",
        "model": "heart-disease",
        "status": "succeeded",
        "going": None,
        "tone": "good",
        "outcome": "Version 4 was registered and waits in staging: F1 0.84 (0.77–0.90), better "
        "than v3 on the same 61 rows by 0.02 (−0.03 to 0.07).",
        "error": "",
        "following": "Promote it, and v4 answers from then on.",
        "href": "/models/4?model=heart-disease",
        "promotable": 4,
        "gate": (),
        "facts": (("Asked for", "20 Nov 2026 02:00:00 UTC"), ("Came", "by the schedule")),
        "evaluation": evaluation(),
        "log": "/api/training/0193-0001/log",
        "report": "/api/training/0193-0001/report",
        "drawable": True,
    }
    return t.RunPage(**{**values, **given})


def row_version(number: int = 3, **given) -> t.RowVersion:
    """A version that passed its gate."""
    told = given.pop("version", None)
    values = {
        "version": told or version(number, model="heart-disease", source="training"),
        "algorithm": "Logistic regression",
        "f1": F1,
        "auc": t.Measure(name="ROC-AUC", value=0.921, low=0.85, high=0.98),
        "synthetic": False,
        "moves": ("production", "archived"),
        "warning": "",
    }
    return t.RowVersion(**{**values, **given})


def active_version(**given) -> t.RowVersion:
    """The version that serves."""
    told = serving(4, model="heart-disease", source="training")
    return row_version(version=told, moves=(), **given)


def models(**given) -> t.RowModelsPage:
    """One that serves, one that waits, one that failed its gate, one that is archived."""
    staged = version(5, model="heart-disease", status="staging", deployed=None)
    refused = version(2, model="heart-disease", status="training", deployed=None)
    values = {
        "shell": frame("models"),
        "active": active_version().version,
        "versions": (
            active_version(),
            row_version(version=staged),
            row_version(3, moves=("staging", "production")),
            row_version(
                version=refused,
                f1=None,
                auc=None,
                moves=("staging", "archived"),
                warning="It did not pass its gate.",
            ),
        ),
        "previous": 3,
        "pair": (4, 5),
        "classes": {"0": "no disease", "1": "disease"},
        "positive": "disease",
        "events": events(),
    }
    return t.RowModelsPage(**{**values, **given})


def live(**given) -> t.Live:
    """Enough labels."""
    values = {
        "labelled": 140,
        "measures": (F1, t.Measure(name="Accuracy", value=0.86)),
        "sentence": "Over 140 answers whose truth is known.",
    }
    return t.Live(**{**values, **given})


UNKNOWN = t.Live(
    labelled=0, measures=(), sentence="Nobody has said yet what any answer really was."
)


def version_page(**given) -> t.RowVersionPage:
    """The version that serves."""
    values = {
        "shell": frame("models"),
        "one": active_version(),
        "version": active_version().version,
        "run": "0193-0001",
        "evaluation": evaluation(),
        "features": rows.features(SCHEMA),
        "live": live(),
        "options": (),
        "warnings": (),
        "events": events(3),
        "drawable": True,
    }
    return t.RowVersionPage(**{**values, **given})


def line(number: int = 1, **given) -> t.RowLine:
    """An answer; every second is positive, every third has a known truth."""
    positive = number % 2 == 0
    values = {
        "id": f"0193-{number:04}",
        "href": f"/inspect?id=0193-{number:04}",
        "when": minutes_ago(number * 4),
        "ok": True,
        "label": "disease" if positive else "no disease",
        "positive": positive,
        "probability": 0.81 if positive else 0.12,
        "version": 4,
        "subject": f"patient-{number}" if number % 2 else "",
        "actual": "disease" if number % 3 == 0 else "",
        "right": positive if number % 3 == 0 else None,
    }
    return t.RowLine(**{**values, **given})


def history(count: int = 9, **given) -> t.RowHistory:
    """Past rows, one of which failed."""
    broken = line(99, ok=False, label="oldpeak: 99 is above 10.", positive=False, probability=None)
    items = tuple(line(number) for number in range(1, count + 1))
    values = {"items": (*items, broken) if items else (), "older": "before=0193", "newer": ""}
    return t.RowHistory(**{**values, **given})


def inspect(**given) -> t.RowInspectPage:
    """A form that waits."""
    classes = rows_inspection.classes_of(SCHEMA)
    values = {
        "shell": frame("inspect"),
        "active": active_version().version,
        "synthetic": False,
        "groups": rows_inspection.form(SCHEMA, {}),
        "classes": classes,
        "positive": classes[1],
        "threshold": 0.45,
        "shown": None,
        "missing": "",
        "history": history(),
    }
    return t.RowInspectPage(**{**values, **given})


def shown(**given) -> t.ShownRow:
    """An answer that somebody looks back at."""
    values = {
        "line": line(6),
        "threshold": 0.45,
        "latency_ms": 0.7,
        "features": (("age", "56 years"), ("sex", "male"), ("chol", "unknown")),
    }
    return t.ShownRow(**{**values, **given})


def overview(**given) -> t.RowOverviewPage:
    """A model that answers."""
    values = {
        "shell": frame("overview", lamp=lamp(headline="Rows are answered")),
        "one": active_version(),
        "answers": ("no disease", "disease"),
        "threshold": 0.45,
        "strip": an_hour(),
        "total": 12_345,
        "live": live(),
        "latency_p50": 0.6,
        "latency_p95": 1.1,
        "waiting": 0,
        "queue_size": 256,
        "jobs": 0,
        "positive": "disease",
        "latest": history().items,
        "events": events(),
    }
    return t.RowOverviewPage(**{**values, **given})


def nothing(status: str, **given) -> t.RunPage:
    """A training of which nothing came."""
    told = {
        "evaluation": None,
        "report": "",
        "promotable": None,
        "href": "/training",
        "tone": "none",
    }
    return run_page(status=status, **{**told, **given})


SYNTHETIC = messages.DataUsed(
    origin="generated", digest="0" * 64, rows=2000, held_out=400, synthetic=True
)

SCENES = {
    "training, nothing yet": training(runs=(), older=""),
    "training, not installed": training(missing='pip install "andon[train]"', runs=(), older=""),
    "training, some": training(),
    "training, one runs, one waits": training(
        going=(going(), going(id="0193-2", model="drowsiness", queued=True, progress=0.0)),
        recipes=(recipe(running="0193-0001", waiting=4),),
    ),
    "training, being cancelled": training(going=(going(cancelling=True, reason="Typo"),)),
    "training, older page": training(newer="/training", older=""),
    "training, no recipe": training(recipes=(), schedule=""),
    "training, hostile words": training(
        recipes=(recipe(title=HOSTILE, description=HOSTILE),),
        runs=(run(reason=HOSTILE, by=HOSTILE, chosen=HOSTILE),),
        going=(going(stage=HOSTILE, reason=HOSTILE),),
    ),
    "training, long words": training(recipes=(recipe(title=LONG),), runs=(run(reason=LONG),)),
    "run, waits in staging": run_page(),
    "run, gate not passed": run_page(
        tone="look", gate=("F1 0.71 is below 0.75.", "F1 is worse than v3's by 0.04.")
    ),
    "run, made-up data": run_page(evaluation=evaluation(data=SYNTHETIC)),
    "run, first of its model": run_page(evaluation=evaluation(comparison=None)),
    "run, running": nothing("running", going=going()),
    "run, failed": nothing(
        "failed", tone="stop", outcome="The training failed.", error=f"MemoryError\n{LONG}"
    ),
    "run, cancelled": nothing("cancelled", outcome="It was cancelled before it was done."),
    "run, never built": run_page(drawable=False),
    "run, hostile words": run_page(outcome=HOSTILE, gate=(HOSTILE,), facts=((HOSTILE, HOSTILE),)),
    "row models, several": models(),
    "row models, one": models(versions=(active_version(),), previous=None, pair=None, events=()),
    "row models, none active": models(active=None, versions=(row_version(1),), pair=None),
    "row models, damaged and made up": models(
        versions=(
            row_version(
                version=serving(2, model="heart-disease", loaded=False, damaged="It is gone."),
                synthetic=True,
            ),
        ),
    ),
    "row version, serves": version_page(),
    "row version, without a card": version_page(
        run="",
        evaluation=None,
        live=UNKNOWN,
        one=row_version(f1=None, auc=None, algorithm=""),
        events=(),
    ),
    "row version, many worries": version_page(
        one=row_version(warning="It did not pass its gate.", synthetic=True),
        version=version(3, model="heart-disease", notes="By hand", damaged="It is gone."),
        evaluation=evaluation(data=SYNTHETIC),
        warnings=("It was made by another release.",),
        options=(("threshold", "0.5"),),
    ),
    "row inspect, waiting": inspect(),
    "row inspect, nothing serves": inspect(active=None, groups=(), history=history(0, older="")),
    "row inspect, nothing yet": inspect(history=history(0, older="")),
    "row inspect, opened": inspect(shown=shown()),
    "row inspect, opened a failure": inspect(
        shown=shown(line=line(7, ok=False, probability=None), features=(), threshold=None)
    ),
    "row inspect, not there": inspect(missing="This answer is not in the log."),
    "row inspect, three classes": inspect(positive=None, threshold=None),
    "row inspect, hostile words": inspect(
        history=history(0, items=(line(label=HOSTILE, subject=HOSTILE, actual=HOSTILE),)),
    ),
    "row overview, running": overview(),
    "row overview, nothing serves": overview(
        one=None,
        answers=(),
        positive="",
        threshold=None,
        live=UNKNOWN,
        latest=(),
        events=(),
        latency_p50=None,
        latency_p95=None,
        strip=empty_overview().strip,
        shell=frame("overview", lamp=lamp("yellow")),
    ),
    "row overview, made up": overview(one=replace(active_version(), synthetic=True)),
}
