"""Trainings that somebody asks a server for, or that the calendar does: the durable job.

The run and its job are queued in one transaction and have one id. A job that runs twice (a
crash) goes on with the same run, and a due time that is acted on twice finds its runs there.
"""

from datetime import datetime
from typing import Any

import msgspec
import structlog

from andon import typed
from andon.errors import Conflict
from andon.settings import Settings
from andon.store import training_runs
from andon.store.clock import micros
from andon.store.database import Database
from andon.store.ids import uuid7_of
from andon.store.jobs import JobGivenUp
from andon.store.records import Job
from andon.store.training_runs import TrainingRun
from andon.training import catalog
from andon.training.catalog import RecipeInfo
from andon.training.runs import Asked, Trainings, require_libraries
from andon.training.watch import host_name, worker_name

log = structlog.get_logger("andon.training")

KIND = training_runs.KIND

SCHEDULE = "retrain"
"""Name of the schedule that trains every recipe anew."""

ATTEMPTS = 2
"""Times a training is begun that dies with its server."""


class Retraining:
    """Makes and runs jobs of kind "train".

    Args:
        db: Where runs and jobs are kept.
        trainings: Runs them.
        settings: Where recipes are, and the default model.
    """

    def __init__(self, db: Database, trainings: Trainings, settings: Settings) -> None:
        self._db = db
        self._trainings = trainings
        self._settings = settings

    def ask(
        self,
        *,
        recipe: str | None = None,
        model: str | None = None,
        seed: int | None = None,
        tuning_trials: int | None = None,
        promote: bool | None = None,
        reason: str = "",
        source: str,
        actor: str = "",
        run_id: str | None = None,
    ) -> TrainingRun:
        """Queue a training; it is durable when this returns.

        It reads what the newest training from this machine's terminal read: see `_meant`.

        Args:
            recipe: Name of a recipe, no path; None: the one that the model comes from.
            model: Registered model; None: the recipe's, or the default one.
            seed: None leaves it to the recipe.
            tuning_trials: None: as in the terminal, or the recipe's.
            promote: None leaves it to the recipe.
            reason: For people.
            source: How it was asked for.
            actor: Who asked.
            run_id: A UUIDv7 made before; None makes one.

        Raises:
            NotFound: There is no such recipe, or none that makes this model.
            Conflict: A training of the model is under way, or the extra is not installed.
        """
        asked, model = self._meant(recipe, model)
        require_libraries()
        trials = asked.tuning_trials if tuning_trials is None else tuning_trials
        asked = msgspec.structs.replace(asked, seed=seed, tuning_trials=trials, promote=promote)
        run = self._trainings.create(
            asked, model=model, source=source, actor=actor, reason=reason, run_id=run_id
        )
        log.info("Training queued", model=run.model, run=run.id, source=source)
        return run

    def run(self, job: Job) -> dict[str, Any]:
        """Run a job's training; which version came of it is the job's result.

        Raises:
            JobInterrupted: This process stops; the next one goes on.
            JobGivenUp: It failed; the run says why.
        """
        run = self._db.training.start(job.payload["run_id"], worker_name())
        if run is None:
            # Cancelled, or failed for somebody who wanted to start another.
            run = self._db.training.get(job.payload["run_id"])
        else:
            run = self._trainings.run(run)
        if run.status == "failed":
            raise JobGivenUp(run.error)
        return {
            "run_id": run.id, "status": run.status, "model": run.model, "version": run.version
        }  # fmt: skip

    def scheduled(self) -> list[RecipeInfo]:
        """The recipes that the calendar trains."""
        models = set(self._db.models.names())
        return [
            recipe
            for recipe in catalog.recipes(self._settings)
            if recipe.retrain and recipe.name in models
        ]

    def due(self, moment: datetime) -> list[str]:
        """Queue what the calendar wants trained at `moment`; ids of the new runs.

        A recipe takes part if it wants it and its model has a version: a box that never
        trained does not begin by itself.
        """
        wanted = self.scheduled()
        if not wanted:
            return []
        if not catalog.is_available():
            log.warning("The weekly training needs the extra `train`, which is not installed")
            return []
        queued = []
        for recipe in wanted:
            # The same due time makes the same id, whoever asks, however often.
            run_id = uuid7_of(micros(moment), f"{SCHEDULE} {recipe.name} {moment}".encode())
            try:
                run = self.ask(
                    model=recipe.name,
                    reason=f"Due at {moment:%Y-%m-%d %H:%M} UTC.",
                    source="schedule",
                    run_id=run_id,
                )
            except Conflict as error:
                log.info(f"Not trained on schedule: {error.detail}", recipe=recipe.name)
            else:
                queued.append(run.id)
        return queued

    def _meant(self, recipe: str | None, model: str | None) -> tuple[Asked, str]:
        """What is to be trained, and the model that it is for.

        A model that somebody at this machine's terminal trained well is trained again as the
        newest time: on the same recipe and data. Where a recipe is named, only if it is that one.
        """
        name = recipe or model or self._settings.default_tabular_model
        found = catalog.known(name, self._settings)
        wanted = model or (name if found is None else found.name)
        before = self._in_terminal(wanted)
        if before is not None and (
            recipe is None or (found is not None and before.recipe in {found.name, found.source})
        ):
            return before, wanted
        return asked_of(found or catalog.find(name, self._settings)), wanted

    def _in_terminal(self, model: str) -> Asked | None:
        """What somebody at this machine's terminal had trained last, and well."""
        run = self._db.training.newest_asked(model.strip().lower(), source="cli", host=host_name())
        if run is None:
            return None
        asked = typed.convert(run.options, Asked)
        known = catalog.known(asked.recipe, self._settings)
        # A recipe may read the database as it stands now in the catalogue, not as it did then.
        return msgspec.structs.replace(asked, telemetry=known is not None and known.telemetry)


def asked_of(recipe: RecipeInfo) -> Asked:
    """A recipe of the catalogue, as it stands there."""
    return Asked(recipe=recipe.name, telemetry=recipe.telemetry)
