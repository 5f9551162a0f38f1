"""Which version is asked: the active one, or a candidate that is tried beside it.

A rollout names a candidate and a share. Who belongs to the share is decided by a hash of the
rollout's id and the subject, so a subject is answered by the same version each time, in every
process and after every restart, and one that belonged to a smaller share belongs to a greater one.

Requests ask `split`, which is a look into a dictionary; the database is read by `refresh`, once
a second, and only where something changed.
"""

import hashlib
import threading

import structlog

from andon.errors import AndonError, Conflict, InvalidRequest
from andon.registry.names import clean_model_name
from andon.serving.fleet import Fleet
from andon.serving.slots import Slot
from andon.serving.tripwire import Trip
from andon.settings import Settings
from andon.store.database import Database
from andon.store.records import ModelVersion, Rollout
from andon.store.rollouts import Rollouts, check_weight

log = structlog.get_logger("andon.traffic")

CANARY = "canary"
SHADOW = "shadow"
COMPARE = "compare"

DEFAULT_WEIGHT = 0.10
"""Share of a canary where none is said; shadows and comparisons see everything."""

_SCALE = 2.0**64


def share_of(rollout_id: str, key: str) -> float:
    """Where a subject stands in a rollout, from 0 to below 1, evenly spread and for good."""
    digest = hashlib.sha256(f"{rollout_id}\0{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / _SCALE


class Split:
    """A rollout as requests see it.

    Args:
        rollout: What runs.
        slot: The candidate, loaded; None where it cannot be.
        suspended: Why the candidate is asked nothing for now; empty while it is.

    Attributes:
        mode: "canary", "shadow" or "compare".
    """

    def __init__(self, rollout: Rollout, slot: Slot | None, suspended: str = "") -> None:
        self.rollout = rollout
        self.slot = slot
        self.suspended = suspended
        self.mode = rollout.mode

    def candidate_for(self, subject: str | None, request_key: str) -> bool:
        """Whether the candidate is asked about a subject.

        Args:
            subject: Whom or what a request is about; None: its key decides.
            request_key: The request's id, or else that of its answer.
        """
        weight = self.rollout.weight
        if weight <= 0:
            return False
        key = request_key if subject is None else subject
        return weight >= 1 or share_of(self.rollout.id, key) < weight

    def hold(self) -> Slot | None:
        """The candidate's slot, held, if it may be asked. Never waits."""
        slot = self.slot
        return slot if slot is not None and not self.suspended and slot.hold() else None


class Traffic:
    """The rollouts of this installation.

    Args:
        db: Where they are kept.
        fleet: Loads the candidates.
        settings: The default model.
    """

    def __init__(self, db: Database, fleet: Fleet, settings: Settings) -> None:
        self._db = db
        self._rollouts = Rollouts(db)
        self._fleet = fleet
        self._settings = settings
        self._splits: dict[str, Split] = {}
        self._changing = threading.Lock()
        self._seen: str | None = None
        fleet.tripwire.at_once(self._tripped)

    # -- Asking -------------------------------------------------------------------------

    def split(self, model: str) -> Split | None:
        """The rollout of a model, or None where the active version answers alone."""
        if not self._splits:
            return None
        return self._splits.get(model)

    # -- Changing -----------------------------------------------------------------------

    def start(
        self,
        model: str | None,
        mode: str,
        version: int,
        weight: float | None = None,
        actor: str = "",
        reason: str = "",
    ) -> Rollout:
        """Try a version beside the active one from now on.

        It is loaded first: one that cannot be is not tried. Other processes follow within a
        second or two.

        Args:
            model: Registered model; None is the default model.
            mode: "canary", "shadow" or "compare".
            version: The candidate.
            weight: Share of the subjects it is asked about, 0 to 1. None: 0.1 of a canary, all
                of the others.
            actor: Who wants it.
            reason: Why, for people.

        Raises:
            NotFound: There is no such version.
            Conflict: A rollout runs already, the candidate is active, or none is.
            InvalidRequest: The mode or weight is none.
            ModelDamaged, ModelRejected: The candidate cannot be loaded.
        """
        name = clean_model_name(model or self._settings.default_model)
        if mode not in {CANARY, SHADOW, COMPARE}:
            raise InvalidRequest(
                f"{mode[:64]!r} is no way to try a version.",
                hint="Say canary, shadow or compare.",
                errors=[{"field": "mode", "detail": "must be canary, shadow or compare"}],
            )
        if weight is None:
            weight = DEFAULT_WEIGHT if mode == CANARY else 1.0
        check_weight(weight)
        with self._changing:
            record = self._db.models.get(name, version)
            free = self._rollouts.running(name) is None and not record.is_active
            # Where it is not free, `start` says why.
            slot = self._load(record) if free else None
            try:
                rollout = self._rollouts.start(name, mode, version, weight, actor, reason)
            except BaseException:
                if free:
                    self._fleet.unpin(record.id)
                raise
            if self._fleet.serving:
                self._splits[name] = Split(rollout, slot)
        log.info(
            f"Trying v{version} beside v{rollout.baseline}: {mode}, {weight:.0%} of the subjects",
            model=name,
            actor=actor,
        )
        return rollout

    def set_weight(self, model: str | None, weight: float) -> Rollout:
        """Change the share of the rollout that runs.

        Raises:
            Conflict: None runs.
            InvalidRequest: Not from 0 to 1.
        """
        name = clean_model_name(model or self._settings.default_model)
        check_weight(weight)
        with self._changing:
            rollout = self._rollouts.set_weight(self._running(name).id, weight)
            self._take_over(rollout)
        log.info(f"v{rollout.candidate} gets {weight:.0%} of the subjects", model=name)
        return rollout

    def stop(self, model: str | None, status: str = "stopped", outcome: str = "") -> Rollout:
        """End the rollout that runs; requests on the candidate finish.

        Args:
            model: Registered model; None is the default model.
            status: "promoted", "reverted" or "stopped".
            outcome: Why, for people.

        Returns:
            The rollout. If none runs and the last one ended in this way, that one.

        Raises:
            Conflict: None runs.
        """
        name = clean_model_name(model or self._settings.default_model)
        with self._changing:
            running = self._rollouts.running(name)
            if running is None:
                last, _ = self._rollouts.page(name, limit=1)
                if last and last[0].status == status:
                    return last[0]
            rollout = self._rollouts.end(self._running(name).id, status, outcome)
            self._drop(name)
        log.info(f"The {rollout.mode} of v{rollout.candidate} is over: {status}", model=name)
        return rollout

    def activated(self, version: ModelVersion) -> None:
        """A version serves from now on; where it was the candidate, it was promoted."""
        running = self._rollouts.running(version.model)
        if running is not None and running.candidate_id == version.id:
            self.stop(version.model, "promoted", f"v{version.version} was activated.")

    def require_free(self, version: ModelVersion) -> None:
        """Refuse to delete a version that is being tried.

        Raises:
            Conflict: It is.
        """
        running = self._rollouts.running(version.model)
        if running is not None and running.candidate_id == version.id:
            raise Conflict(
                f"Version {version.version} of model {version.model} is being tried "
                f"({running.mode}) and cannot be deleted.",
                hint="Stop that rollout first.",
            )

    def refresh(self) -> None:
        """Take over what another process changed, or what runs at the start. Cheap when nothing
        did.
        """
        if not self._fleet.serving:
            return
        # Read before the query: a change in between is seen again, never missed.
        token = self._rollouts.last_change()
        if token == self._seen:
            return
        with self._changing:
            running = {rollout.model: rollout for rollout in self._rollouts.all_running()}
            for model in self._splits.keys() - running.keys():
                self._drop(model)
            for rollout in running.values():
                self._follow(rollout)
        self._seen = token

    # -- Inside -------------------------------------------------------------------------

    def _running(self, model: str) -> Rollout:
        running = self._rollouts.running(model)
        if running is None:
            raise Conflict(
                f"No version of model {model} is being tried.",
                hint="`andon traffic canary` starts that.",
            )
        return running

    def _load(self, version: ModelVersion) -> Slot | None:
        """Load a candidate; without a server it is only tried and closed again."""
        if self._fleet.serving:
            return self._fleet.pin(version)
        self._fleet.load(version).close()
        return None

    def _follow(self, rollout: Rollout) -> None:
        """Bring one split in line with the database; with the lock held."""
        split = self._splits.get(rollout.model)
        if split is not None and split.rollout.id == rollout.id:
            self._take_over(rollout)
            return
        if split is not None:
            self._drop(rollout.model)
        try:
            version = self._db.models.by_id(rollout.candidate_id)
            self._splits[rollout.model] = Split(rollout, self._fleet.pin(version))
        except AndonError as error:
            # Tried once per rollout, not once per second.
            self._splits[rollout.model] = Split(rollout, None, f"It cannot be loaded: {error}")
            self._report(rollout, error)
            return
        log.info(
            f"Trying v{rollout.candidate} beside v{rollout.baseline}: {rollout.mode}",
            model=rollout.model,
        )

    def _report(self, rollout: Rollout, error: AndonError) -> None:
        try:
            version = self._db.models.by_id(rollout.candidate_id)
        except AndonError:
            return
        self._fleet.tripwire.report(version, "errors", f"cannot be loaded: {error.detail}")

    def _take_over(self, rollout: Rollout) -> None:
        split = self._splits.get(rollout.model)
        if split is not None and split.rollout.id == rollout.id:
            split.rollout = rollout

    def _drop(self, model: str) -> None:
        split = self._splits.pop(model, None)
        if split is not None:
            self._fleet.unpin(split.rollout.candidate_id)

    def _tripped(self, trip: Trip) -> None:
        """Ask a candidate that crashes or hangs nothing more, and give up what waits for it."""
        for split in list(self._splits.values()):
            if split.rollout.candidate_id == trip.version_id and not split.suspended:
                split.suspended = trip.summary
                log.error(
                    f"v{trip.version} is tried no more here: {trip.summary}", model=trip.model
                )
                if trip.kind == "hang" and split.slot is not None:
                    split.slot.abandon()
