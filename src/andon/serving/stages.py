"""The life of a version: training, staging, production, archived, and who may move it where."""

from andon.errors import Conflict
from andon.serving.deployment import Deployments
from andon.store.database import Database
from andon.store.records import ModelVersion

PRODUCTION = "production"

_NEXT = {
    "training": ["staging", "archived"],
    "staging": [PRODUCTION, "archived"],
    "archived": [PRODUCTION, "staging"],
}


def next_stages(version: ModelVersion) -> list[str]:
    """Where a person may move a version from where it is; the one that serves stays."""
    return [] if version.is_active else _NEXT.get(version.status, [])


def move(
    db: Database,
    deployments: Deployments,
    model: str,
    version: int,
    stage: str,
    reason: str = "",
    actor: str = "",
) -> tuple[str, ModelVersion]:
    """Move a version to another stage and keep the reason in the history.

    Args:
        db: Versions.
        deployments: Proves a version that goes into production, and switches to it.
        model: Registered model's name.
        version: Its number.
        stage: "staging", "production" or "archived". Where it is already, nothing changes.
        reason: For people.
        actor: Who does it.

    Returns:
        The stage before, and the version as it is now.

    Raises:
        NotFound: There is no such version.
        Conflict: It serves, or there is no way from its stage to that one.
        ModelDamaged, ModelRejected: It was to serve and cannot; what serves has not changed.
    """
    before = db.models.get(model, version)
    if stage != PRODUCTION:
        db.models.set_stage(model, version, stage, reason, actor)
        return before.status, db.models.get(model, version)
    if before.status == "training":
        raise Conflict(
            f"Version {version} of model {model} did not pass the gate of its training and "
            "cannot go straight into production.",
            hint="Read its report; where it may serve all the same, move it to staging first.",
        )
    return before.status, deployments.activate(model, version, reason, actor)
