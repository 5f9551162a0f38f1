"""Andon's registry in MLflow's: a version for each of Andon's, and the aliases.

Andon's registry is the source of truth: what it says now is written down, whatever MLflow said
before. Only `andon.training.mlflow_child` imports this.
"""

from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException

from andon.training.mlflow_runs import ROLE, SHA256, STATUS, VERSION, Logged, Runs
from andon.training.mlflow_tasks import Registered, Version

_STAGING = "staging"
_PRODUCTION = "production"
_DELETED = "deleted"


def mirror(runs: Runs, registered: Registered) -> dict[str, Any]:
    """Bring the versions and aliases of one registered model in step.

    Returns:
        `added`: Andon's numbers of versions that MLflow did not have; `aliases`: Andon's number
        by alias.
    """
    client, name = runs.client, registered.names.registered
    _ensure(client, name, registered.model)
    there = {
        one.tags[SHA256]: one
        for one in client.search_model_versions(f"name = '{name}'")
        if SHA256 in one.tags
    }
    added = []
    numbers: dict[str, Any] = {}
    for version in registered.versions:
        known = there.pop(version.sha256, None)
        if known is None:
            known = _add(runs, registered, version)
            added.append(version.version)
        elif known.tags.get(STATUS) != version.status:
            client.set_model_version_tag(name, known.version, STATUS, version.status)
        numbers[version.sha256] = known.version
    for gone in there.values():
        if gone.tags.get(STATUS) != _DELETED:
            client.set_model_version_tag(name, gone.version, STATUS, _DELETED)
    return {"added": added, "aliases": _point(client, name, registered, numbers)}


def _ensure(client: Any, name: str, model: str) -> None:
    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(
            name,
            {"andon.model": model},
            f"Model {model} of Andon, whose registry decides: aliases that are moved here are "
            "moved back.",
        )


def _add(runs: Runs, registered: Registered, version: Version) -> Any:
    logged = _logged(runs, registered, version)
    return runs.client.create_model_version(
        registered.names.registered,
        logged.uri,
        logged.run_id,
        tags={VERSION: str(version.version), STATUS: version.status, SHA256: version.sha256},
        description=version.notes,
        model_id=logged.uri.removeprefix("models:/"),
    )


def _logged(runs: Runs, registered: Registered, version: Version) -> Logged:
    """The model in the run of its training; without one, in a run that holds it alone."""
    if version.folder is not None:
        logged, _ = runs.send(version.folder)
        return logged
    model = registered.model
    experiment = runs.experiment(registered.names.experiment)
    there = runs.find(experiment, role="version", sha256=version.sha256)
    if there is not None:
        runs.forget(experiment, there.info.run_id)
    run = runs.client.create_run(
        experiment,
        run_name=f"{model}_v{version.version}",
        tags={ROLE: "version", SHA256: version.sha256, "andon.model": model},
    )
    return runs.log_model(run.info.run_id, Path(version.path))


def _point(
    client: Any, name: str, registered: Registered, numbers: dict[str, Any]
) -> dict[str, int]:
    """Set the aliases: the active version, and the newest of those in staging."""
    wanted: dict[str, Version] = {}
    for version in registered.versions:
        if version.status in {_STAGING, _PRODUCTION}:
            wanted[version.status] = version
    # Aliases that people set themselves stay.
    now = client.get_registered_model(name).aliases
    for alias in (_STAGING, _PRODUCTION):
        target = numbers[wanted[alias].sha256] if alias in wanted else None
        if target is None and alias in now:
            client.delete_registered_model_alias(name, alias)
        elif target is not None and str(now.get(alias)) != str(target):
            client.set_registered_model_alias(name, alias, target)
    return {alias: version.version for alias, version in wanted.items()}
