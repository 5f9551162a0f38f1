"""Puts the detector that Andon ships into service where there is none."""

from importlib import resources

import structlog

from andon.serving.deployment import Deployments
from andon.store.records import ModelVersion

log = structlog.get_logger("andon.starter")

_CHUNK = 1024 * 1024
_NOTES = "Starter detector for bare boards, shipped with Andon."


def install_starter(deployments: Deployments) -> ModelVersion | None:
    """Deploy the shipped detector as the default model, unless that has any version.

    Returns:
        The version, or None where nothing was done: the default model has versions already
        (also if none is active: somebody decided that), or this build ships no detector.

    Raises:
        AndonError: It could not be deployed.
    """
    if deployments.has_versions():
        return None
    shipped = resources.files("andon.starter").joinpath("pcb.onnx")
    if not shipped.is_file():
        log.warning("This installation ships no starter detector")
        return None
    with shipped.open("rb") as file, deployments.receive() as incoming:
        while chunk := file.read(_CHUNK):
            incoming.write(chunk)
        received = incoming.finish()
    deployed = deployments.deploy(
        received, filename="pcb.onnx", notes=_NOTES, source="starter", actor="andon"
    )
    return deployed.version
