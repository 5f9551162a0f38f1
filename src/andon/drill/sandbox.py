"""An installation of its own for one exercise: real parts, made-up data, marked as such."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from pydantic import SecretStr

from andon.drill.faults import Fault, FaultyModel
from andon.errors import AndonError
from andon.platform import Platform
from andon.settings import Settings
from andon.store.records import ModelVersion
from andon.training.pcb.boards import generate_board

MARK = "SANDBOX.txt"
"""Only a folder with this file in it is ever deleted (`andon.cli.drill`)."""

CAMERA = "drill-camera"
ROWS_MODEL = "drill"

_BOARDS = 40

_TOLD = (
    "This folder belongs to a fire drill (`andon drill`). Nothing in it is real: the boards and "
    "rows are made up, and the models are broken on purpose. It can be deleted.\n"
)
# The mark of a further version: metadata_props is field 14 of an ONNX model, and entries may
# follow one another anywhere in the file.
_METADATA_TAG = b"\x72"


def settings_of(installation: Settings, home: Path, *, policy: Path | None) -> Settings:
    """The settings of a sandbox: those of the installation, with places of its own.

    Windows are short and looks are frequent, so that a drill takes a minute and not a day. The
    policy is the installation's: it is what is tried. Nothing is told outside.
    """
    places = ("models", "deploy", "uploads", "output", "training", "recipes", "data", "reports")
    return installation.model_copy(
        update={f"{place}_dir": None for place in places}
        | {
            "home": home,
            "log_file": None,
            "database_url": "",
            "policy_file": policy
            or (installation.policy if installation.policy.exists() else None),
            "webhook_url": SecretStr(""),
            "mqtt_url": SecretStr(""),
            "mlflow_tracking_uri": SecretStr("off"),
            "retrain_cron": "",
            "watch": False,
            "monitor": True,
            "agent": "on",
            "monitor_interval": 1.0,
            # Fewer answers say nothing about latency.
            "monitor_window": 30,
            "drift_window": 30,
            "drift_reference": 50,
            "drift_reference_hours": 0.0,
            "camera_frozen_after": 5,
            # A repeated board must be run, not remembered.
            "result_cache_size": 0,
        }
    )


class Sandbox:
    """A platform that runs, and what an exercise does with it.

    Args:
        platform: Started; stopped by whoever started it.
    """

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.model = platform.settings.default_model
        self._boards = 0

    def deploy(self, fault: Fault | None = None) -> ModelVersion:
        """Deploy the starter detector as the next version; with a fault, once it serves."""
        number = len(self.platform.db.models.list(self.model)) + 1
        shipped = resources.files("andon.starter").joinpath("pcb.onnx").read_bytes()
        version = self._deploy(shipped + _entry("andon.drill", str(number)), self.model)
        if fault is not None:
            self.tamper(fault)
        return version

    def tamper(self, fault: Fault | None = None) -> FaultyModel:
        """Put a model that can go wrong in the place of the one that serves."""
        fleet = self.platform.engine.fleet
        version = self.platform.db.models.active(self.model)
        assert version is not None
        model = FaultyModel(fleet.load(version), fault)
        fleet.swap(version, model)
        return model

    def deploy_rows(self) -> ModelVersion:
        """Deploy the drill's own model of rows."""
        shipped = resources.files("andon.starter").joinpath("drill.onnx").read_bytes()
        return self._deploy(shipped, ROWS_MODEL)

    def board(self, *, blurred: bool = False) -> str:
        """Inspect the next of forty made-up boards; empty, or why it failed."""
        self._boards += 1
        picture = board(self._boards % _BOARDS, blurred=blurred)
        try:
            self.platform.engine.answer_sync(
                picture,
                image_name=f"drill-{self._boards:04}.png",
                subject=f"drill-{self._boards:04}",
                source="drill",
                camera=CAMERA,
            )
        except AndonError as error:
            return str(error)
        return ""

    def _deploy(self, data: bytes, model: str) -> ModelVersion:
        with self.platform.deployments.receive() as incoming:
            incoming.write(data)
            received = incoming.finish()
        deployed = self.platform.deployments.deploy(
            received, filename="drill.onnx", model=model, notes="Fire drill", source="drill",
            actor="drill",
        )  # fmt: skip
        return deployed.version


@contextmanager
def opened(installation: Settings, home: Path, *, policy: Path | None = None) -> Iterator[Sandbox]:
    """A sandbox in `home`, running; stopped at the end, its folder left."""
    home.mkdir(parents=True)
    (home / MARK).write_text(_TOLD, encoding="utf-8")
    platform = Platform(settings_of(installation, home, policy=policy))
    try:
        # What the sandbox logs goes to its own file alone: the alarms in it are no alarms.
        with redirect_stderr(io.StringIO()):
            platform.start()
        yield Sandbox(platform)
    finally:
        platform.stop()


@cache
def board(number: int, *, blurred: bool = False) -> bytes:
    """A made-up board as a PNG file, as the camera sees it or out of focus."""
    made = generate_board(10_000 + number, defects=None)
    image = Image.fromarray(np.asarray(made.image))
    if blurred:
        image = image.filter(ImageFilter.GaussianBlur(9))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _entry(key: str, value: str) -> bytes:
    """One entry of an ONNX model's metadata, as protobuf writes it."""
    name, text = key.encode(), value.encode()
    pair = b"\x0a" + bytes([len(name)]) + name + b"\x12" + bytes([len(text)]) + text
    return _METADATA_TAG + bytes([len(pair)]) + pair
