"""The serving engine: what serves, and the interface scripts use.

How one picture is answered is `answering`, one row `rows`; which versions are loaded is `fleet`'s
business, which of them is asked `traffic`'s. Here they meet, with the names of the documented
Python interface.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import structlog

from andon.errors import AndonError, NotFound, TooLarge, UnusableUpload
from andon.registry.registry import ModelRegistry
from andon.runtimes.base import LoadedModel, ModelDescription
from andon.runtimes.images import decode
from andon.serving import annotate, proving
from andon.serving.answers import InferenceResult
from andon.serving.fleet import Fleet, report_failed
from andon.serving.metrics import ServingMetrics
from andon.serving.row_traffic import RowAnswering
from andon.serving.slots import Slot, SlotState
from andon.settings import Settings
from andon.store.database import Database
from andon.store.pictures import Pictures
from andon.store.records import ModelVersion

log = structlog.get_logger("andon.serving")


class InferenceEngine(RowAnswering):
    """Answers pictures and rows with the active versions.

    Works on a bare database and registry; a version is then loaded when it is first asked
    for. A server calls `start`, which loads everything and decides what to do about
    versions that cannot be loaded.

    Args:
        db: Log and versions.
        registry: Model files.
        settings: Limits and the default model. None: defaults, with pictures kept beside
            the database.
        metrics: Counters; own ones if None.
        pictures: Where received pictures are kept; from the settings if None.
    """

    def __init__(
        self,
        db: Database,
        registry: ModelRegistry,
        settings: Settings | None = None,
        *,
        metrics: ServingMetrics | None = None,
        pictures: Pictures | None = None,
    ) -> None:
        if settings is None:
            home = db.path.parent if db.path is not None else Path.cwd()
            settings = Settings(home=home)
        self.registry = registry
        counted = metrics or ServingMetrics(settings.default_model)
        super().__init__(
            db,
            settings,
            Fleet(db, registry, settings, counted),
            pictures or Pictures(settings.uploads, min_free_bytes=settings.min_free_bytes),
            counted,
        )

    @classmethod
    @contextmanager
    def installed(cls) -> Iterator["InferenceEngine"]:
        """The engine of this installation (`ANDON_HOME`), for scripts; closed at the end."""
        settings = Settings()
        db = Database(settings.url, default_model=settings.default_model)
        try:
            registry = ModelRegistry(db, settings.models, default_model=settings.default_model)
            engine = cls(db, registry, settings)
            try:
                yield engine
            finally:
                engine.stop()
        finally:
            db.close()

    # -- What serves --------------------------------------------------------------------

    def start(self) -> None:
        """Load every active version. A damaged one is replaced by an earlier good one."""
        self.shadowing.start()
        self.fleet.start()
        self.traffic.refresh()

    def stop(self) -> None:
        """Answer what was taken in, then close every model."""
        self.shadowing.stop()
        self.fleet.stop()

    def swap(self, version: ModelVersion, loaded: LoadedModel) -> None:
        """Let `version` answer from now on; requests in flight finish on the old one."""
        self.fleet.swap(version, loaded)

    def unload(self, model: str) -> None:
        """Nobody answers for `model` any more."""
        self.fleet.unload(model)

    def slot(self, model: str | None = None) -> Slot | None:
        """The slot that answers for `model` (None: the default model), for looking at."""
        return self.fleet.slot(model or self.settings.default_model)

    def states(self) -> dict[str, SlotState]:
        """What serves each model, and what is wrong."""
        return self.fleet.states()

    def refresh(self) -> None:
        """Take over what another process activated, tuned or tries. Cheap when nothing changed."""
        self.fleet.refresh()
        self.traffic.refresh()

    def describe(self, path: Path, options: dict[str, Any] | None = None) -> ModelDescription:
        """What a model file says of itself; it is loaded and closed again.

        Raises:
            ModelRejected: It cannot be loaded.
        """
        loaded = proving.load(path, options, self.settings)
        try:
            return loaded.description
        finally:
            loaded.close()

    def prove(self, path: Path, options: dict[str, Any] | None = None) -> proving.Proof:
        """Load a model file and run it on a sample. See `proving.prove`."""
        return proving.prove(path, options, self.settings)

    # -- The interface of the documents -------------------------------------------------

    @property
    def lock(self) -> threading.Lock:
        """Guards the change of what serves. Predictions do not take it."""
        return self.fleet.lock

    @property
    def runner(self) -> LoadedModel | None:
        """The loaded default model, or None."""
        slot = self.slot()
        return None if slot is None else slot.model

    @property
    def model_info(self) -> dict[str, Any]:
        """What the loaded default model says of itself; empty while none is loaded."""
        slot = self.slot()
        if slot is None:
            return {}
        info: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(slot.model.description))
        return info

    @property
    def current_version(self) -> int | None:
        """The loaded version of the default model, or None."""
        slot = self.slot()
        return None if slot is None else slot.version.version

    def load_model(self, version: int, path: Path | str | None = None) -> bool:
        """Load a version of the default model and let it answer.

        Args:
            version: A registered version.
            path: Its file; None is where the registry keeps it.

        Returns:
            Whether it answers now. If not, the log says why and nothing has changed.
        """
        model = self.settings.default_model
        with self.fleet.changing(model):
            try:
                record = self.db.models.get(model, version)
            except NotFound as unknown:
                log.warning(f"Failed to load model v{version}: {unknown}", model=model)
                return False
            try:
                if path is None:
                    loaded = self.fleet.load(record)
                else:
                    file = Path(path)
                    if record.format == "eim":
                        file.chmod(0o755)
                    loaded = proving.load(file, record.options, self.settings)
            except (AndonError, OSError) as error:
                report_failed(record, error)
                return False
            self.fleet.swap(record, loaded)
            return True

    def predict(
        self, image_path: Path | str, confidence_threshold: float | None = None
    ) -> InferenceResult:
        """Inspect one picture file with the default model; the answer is logged.

        Raises:
            NotFound: No such file.
            AndonError: As for `answer`.
        """
        path = Path(image_path)
        data = read_picture(path, self.settings.max_image_bytes)
        answer = self.answer_sync(data, image_name=path.name, threshold=confidence_threshold)
        return InferenceResult.of(answer)

    def visualize_detections(
        self, image_path: Path | str, result: InferenceResult, output_path: Path | str
    ) -> Path:
        """Draw a result's boxes and labels on its picture and save that.

        Returns:
            `output_path`; its suffix chooses the format.
        """
        path = Path(image_path)
        data = read_picture(path, self.settings.max_image_bytes)
        picture = decode(data, max_pixels=self.settings.max_image_pixels)
        return annotate.save(annotate.draw(picture, result.detections), Path(output_path))


def read_picture(path: Path, max_bytes: int) -> bytes:
    """A picture file's bytes.

    Raises:
        NotFound: No such file.
        TooLarge: More than `max_bytes`.
        UnusableUpload: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise NotFound(f"There is no picture {path}.", hint="Check the path.") from None
    except OSError as error:
        raise UnusableUpload(f"Picture {path} cannot be read: {error.strerror}.") from None
    if len(data) > max_bytes:
        raise TooLarge(
            f"File too large: {path.name} exceeds {max_bytes} bytes.", hint="Send a smaller one."
        )
    return data
