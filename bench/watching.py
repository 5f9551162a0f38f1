"""How soon the watching names what is planted, how often it cries wolf, and what it costs.

Streams are written into a real log with simulated times, and the detectors look after every
twenty answers, as a server does after every minute. Beside it, River's detectors with their
defaults see the same streams.
"""

import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from andon.agent.diagnosis import diagnose
from andon.monitoring.cameras import CameraDetector
from andon.monitoring.concept import ConceptDetector
from andon.monitoring.drift.detector import DriftDetector
from andon.monitoring.performance import PerformanceDetector
from andon.monitoring.quality import QualityDetector
from andon.monitoring.signals import Limits, Watched
from andon.platform import Platform
from andon.serving.cameras import CameraHealth
from andon.settings import Settings
from andon.store.clock import micros, now
from andon.store.database import Database
from andon.store.feedback import Label
from andon.store.ids import uuid7_of
from andon.store.records import ModelVersion
from bench import streams
from bench.streams import Answer, Inspector, Material

LOOK_EVERY = 20
PER_HOUR = 20.0
REFERENCE = 520
"""Answers of the reference: 26 hours."""
QUIET = 200
LABELLED = 1000
"""Answers with labels before a model gets worse: what errors are usual for it is known then."""
DAYS = 30
PER_DAY = 1500
LABEL_OF = 5
"""On quiet days every fifth answer gets a label: 300 a day."""
SEED = 101
"""Of the first run. No rule was tuned on these seeds."""

Stream = list[tuple[Answer, bool | None]]


class Scenario(msgspec.Struct):
    """A planted change.

    Attributes:
        name: What happens.
        expected: Kinds of findings that name it: issue types, or "camera".
        quiet: Before; the runs take one after the other, and each with its `changed`.
        changed: After.
        window: Answers of one window.
        before: Answers between the reference and the change.
        labels: Whether labels come.
        more: Further arguments of `streams.drawn` after the change.
    """

    name: str
    expected: tuple[str, ...]
    quiet: list[list[Material]]
    changed: list[list[Material]]
    window: int
    before: int = QUIET
    labels: bool = False
    more: dict[str, float] = {}


class Watching:
    """The detectors over a log of their own.

    Args:
        home: Where the log is made.
        template: The version whose answers these are; its card and reference are used.
    """

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home, mlflow_tracking_uri="off")
        self.db = Database(home / "log.db")
        # As the server does it with every picture.
        self._cameras = CameraHealth(self.settings)
        self._models = 0

    def version(self, template: ModelVersion | None) -> ModelVersion:
        """A version that nobody has asked yet: of rows like the template, else of pictures."""
        self._models += 1
        description: dict[str, Any] = {"task": "object-detection", "labels": []}
        if template is not None:
            description = template.description
        name = f"model-{self._models}"
        added = self.db.models.add(
            name,
            filename="model.onnx",
            file_hash=f"{self._models:064x}",
            file_size=1,
            format="onnx",
            source="bench",
            description=description,
            card=None if template is None else template.card,
            reference=None if template is None else template.reference,
        )
        self.db.models.set_active(name, added.version)
        return self.db.models.get(name, added.version)

    def run(
        self, version: ModelVersion, stream: Iterator[tuple[Answer, bool | None]], quiet: int,
        per_hour: float, *, labels: int, expected: tuple[str, ...], most: int,
    ) -> dict[str, Any]:  # fmt: skip
        """Write a stream into the log and look as it goes.

        Args:
            version: Whose answers they are.
            stream: All of it.
            quiet: Answers before the change.
            per_hour: Answers an hour.
            labels: Every how many answers one gets its label, at once; 0: none.
            expected: What names the change.
            most: Answers after the change at most.

        Returns:
            `false_alarms` (findings before the change, each counted when it begins), `delay` in
            answers (None: not within `most`), `named` what it was first called, `look_ms`.
        """
        step = timedelta(hours=1 / per_hour)
        begin = now() - step * (quiet + most) - timedelta(minutes=1)
        detectors = self.detectors()
        open_before: set[str] = set()
        false: list[str] = []
        looks: list[float] = []
        chunk: Stream = []
        number = 0
        for answer in stream:
            chunk.append(answer)
            number += 1
            if len(chunk) < LOOK_EVERY:
                continue
            self.write(version, chunk, number - len(chunk), begin, step, labels=labels)
            chunk = []
            moment = begin + step * number
            watched = Watched(
                version=version, previous=None, limits=Limits(), moment=moment, since=begin
            )
            began = time.perf_counter()
            signals = [one for detector in detectors for one in detector.look(watched)]
            looks.append((time.perf_counter() - began) * 1000)
            seen = {_kind(one) for one in diagnose(signals)}
            if number <= quiet:
                false += sorted(seen - open_before)
                open_before = seen
            elif named := sorted(seen & set(expected)):
                return _outcome(false, number - quiet, named, looks)
            if number >= quiet + most:
                break
        return _outcome(false, None, [], looks)

    def detectors(self, settings: Settings | None = None) -> list[Any]:
        """Every detector, new."""
        settings = settings or self.settings
        return [
            PerformanceDetector(self.db, settings),
            ConceptDetector(self.db, settings),
            QualityDetector(self.db, settings),
            CameraDetector(self.db, self._cameras.set_limits),
            DriftDetector(self.db, settings, span=timedelta(hours=settings.drift_reference_hours)),
        ]

    def write(
        self, version: ModelVersion, answers: Stream, first: int, begin: datetime,
        step: timedelta, *, labels: int,
    ) -> None:  # fmt: skip
        """Write answers into the log, the first at `begin` plus `first` steps."""
        rows, said = [], []
        for place, (answer, right) in enumerate(answers):
            moment = begin + step * (first + place)
            key = uuid7_of(micros(moment), f"{version.id} {first + place}".encode())
            rows.append(
                self._examined(version, answer)
                | {
                    "id": key,
                    "model_id": version.id,
                    "source": "api",
                    "role": "active",
                    "status": "success",
                    "subject": f"s{first + place}",
                    "created_at": moment,
                }
            )
            if labels and right is not None and (first + place) % labels == 0:
                truth = int(answer["prediction"]) if right else 1 - int(answer["prediction"])
                said.append(Label(key, truth, moment, source="bench"))
        self.db.writer.write_rows(rows).result()
        if said:
            self.db.feedback.store(said)

    def _examined(self, version: ModelVersion, answer: Answer) -> Answer:
        """An answer with what is wrong with its picture."""
        if "image_stats" not in answer:
            return answer
        state, _ = self._cameras.check(
            version.model,
            None,
            answer["image_stats"],
            answer["image_width"],
            answer["image_height"],
            answer["image_name"],
            None,
        )
        return answer | {"camera_state": state}


def _kind(finding: Any) -> str:
    camera = any(signal.name == "camera" for signal in finding.signals)
    return "camera" if camera else str(finding.issue)


def _outcome(
    false: list[str], delay: int | None, named: list[str], looks: list[float]
) -> dict[str, Any]:
    return {
        "false_alarms": false,
        "delay": delay,
        "named": named,
        "look_ms": statistics.median(looks) if looks else None,
    }


# -- Scenarios --------------------------------------------------------------------------


def measure(runs: int = 20, days: int = DAYS, peers: Path | None = None) -> dict[str, Any]:
    """Every scenario `runs` times, and the quiet days.

    Args:
        runs: Of each scenario, with seeds from `SEED` on.
        days: Quiet days.
        peers: Folder of the peers' environments, for River; None leaves it out.
    """
    # It measures with these detectors.
    from bench import watching_cost  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="andon-bench-") as folder:
        template, model = _heart(Path(folder) / "heart")
        (Path(folder) / "log").mkdir()
        watching = Watching(Path(folder) / "log")
        inspector = Inspector()
        # What a server does not hold: it must not slow down what is measured.
        gc.freeze()
        found: dict[str, Any] = {"runs": runs, "scenarios": {}, "quiet": {}}
        for scenario in chain(_rows(model), _boards(inspector)):
            is_rows = "features" in scenario.quiet[0][0].answers[0]
            gc.freeze()
            found["scenarios"][scenario.name] = _scenario(
                watching, scenario, template if is_rows else None, runs, peers
            )
        found["cost"] = watching_cost.looks(watching, template, model, inspector)
        found["quiet"] = _quiet(watching, template, model, inspector, days, peers)
        watching.db.close()
    return found


def _scenario(
    watching: Watching, scenario: Scenario, template: ModelVersion | None, runs: int,
    peers: Path | None,
) -> dict[str, Any]:  # fmt: skip
    most = 4 * scenario.window
    outcomes, sent = [], []
    # Anywhere in a window, and at any hour.
    places = [REFERENCE + scenario.before + LOOK_EVERY * run for run in range(runs)]
    for run, quiet in enumerate(places):
        seed, variant = SEED + run, run % len(scenario.quiet)
        stream = [
            *streams.drawn(scenario.quiet[variant], quiet, seed=seed, per_hour=PER_HOUR),
            *streams.drawn(
                scenario.changed[variant], most, seed=seed + 1000, per_hour=PER_HOUR, begin=quiet,
                **scenario.more,
            ),
        ]  # fmt: skip
        sent.append(stream)
        outcomes.append(
            watching.run(
                watching.version(template), iter(stream), quiet, PER_HOUR,
                labels=int(scenario.labels), expected=scenario.expected, most=most,
            )
        )  # fmt: skip
    entry = _summary(outcomes, 2 * scenario.window) | {"window": scenario.window}
    if peers is not None:
        entry["river"] = _summary(_stock(sent, places, peers), 2 * scenario.window)
    return entry


def _rows(model: Any) -> Iterator[Scenario]:
    cleveland = [[streams.hospital("cleveland", model)]]
    drift = ("data_drift",)
    window = 100
    for name, words in (("hungarian", "rows from Hungary"), ("va", "rows from the VA")):
        other = [[streams.hospital(name, model)]]
        yield Scenario(words, (*drift, "data_quality"), cleveland, other, window)
    yield Scenario(
        "10 points less accurate", ("performance_degradation",), cleveland, cleveland, 200,
        before=LABELLED, labels=True, more={"spoiled": 0.116},
    )  # fmt: skip
    yield Scenario(
        "latency x 2.5", ("performance_degradation",), cleveland, cleveland, window,
        more={"slower": 2.5},
    )  # fmt: skip


def _boards(inspector: Inspector) -> Iterator[Scenario]:
    by_group = streams.groups()
    quiet = [[inspector.material(_some(by_group, by_group))]]
    for change in ("blurred", "darkened", "noised"):
        yield Scenario(
            f"boards {change}", ("camera", "data_drift"), quiet,
            [[inspector.material(_some(by_group, by_group), change)]], 100,
        )  # fmt: skip
    # Each group is the unseen one in turn.
    names = sorted(by_group)
    usual = [
        [inspector.material(_some(by_group, [name for name in by_group if name != unseen]))]
        for unseen in names
    ]
    others = [[inspector.material(_some(by_group, [unseen], of=4))] for unseen in names]
    yield Scenario("boards of an unseen group", ("data_drift",), usual, others, 100)


def _some(by_group: dict[str, list[Path]], names: Iterable[str], of: int = 8) -> list[Path]:
    """Two of so many boards of some groups: a tested one and its template."""
    return [path for name in names for at, path in enumerate(by_group[name]) if at % of < 2]


def _quiet(
    watching: Watching, template: ModelVersion, model: Any, inspector: Inspector, days: int,
    peers: Path | None,
) -> dict[str, Any]:  # fmt: skip
    """Days on which nothing happens but day and night."""
    by_group = streams.groups()
    boards = _some(by_group, by_group)
    lights = [inspector.material(boards, light) for light in ("as taken", "morning", "night")]
    per_hour = PER_DAY / 24
    count = days * PER_DAY
    found = {}
    for name, materials, like in (
        ("rows", [streams.hospital("cleveland", model)], template),
        ("boards", lights, None),
    ):
        stream = list(streams.drawn(materials, count, seed=SEED, per_hour=per_hour, swing=0.3))
        outcome = watching.run(
            watching.version(like), iter(stream), count, per_hour,
            labels=0 if like is None else LABEL_OF, expected=(), most=0,
        )  # fmt: skip
        found[name] = {"false_alarms": outcome["false_alarms"], "look_ms": outcome["look_ms"]}
        if peers is not None:
            (stock,) = _stock([stream], [count], peers)
            found[name]["river_false_alarms"] = stock["false_alarms"]
    return found


def _summary(outcomes: list[dict[str, Any]], within: int) -> dict[str, Any]:
    delays = sorted(one["delay"] for one in outcomes if one["delay"] is not None)
    false = [one["false_alarms"] for one in outcomes]
    named: dict[str, int] = {}
    for one in outcomes:
        for kind in one.get("named", []):
            named[kind] = named.get(kind, 0) + 1
    return {
        "in_time": sum(delay <= within for delay in delays) / len(outcomes),
        "delay_median": statistics.median(delays) if delays else None,
        "delay_most": delays[-1] if delays else None,
        "missed": len(outcomes) - len(delays),
        "false_alarms": sum(len(one) if isinstance(one, list) else one for one in false),
        "named": named,
    }


def _heart(home: Path) -> tuple[ModelVersion, Any]:
    """A model trained on Cleveland, as `andon train heart-disease` does it, and its version."""
    home.mkdir()
    data = streams.HEART / "processed.cleveland.data"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "andon",
            "train",
            "heart-disease",
            "--data",
            str(data),
            "--home",
            str(home),
            "--json",
        ],
        check=True,
        capture_output=True,
    )
    platform = Platform(Settings(home=home, mlflow_tracking_uri="off"))
    platform.start(serve=False)
    version = platform.db.models.get("heart-disease", 1)
    slot = platform.engine.fleet.hold("heart-disease", 1)
    assert slot.tabular is not None
    return version, slot.tabular


def _stock(sent: list[Stream], places: list[int], peers: Path) -> list[dict[str, Any]]:
    """What River says of the same streams."""
    python = peers / "river" / "bin" / "python"
    script = Path(__file__).parent / "peers" / "stock_detectors.py"
    asked = {
        "streams": [
            {
                "values": [_numbers(answer) for answer, _ in stream],
                "errors": _errors(stream),
                "quiet": quiet,
            }
            for stream, quiet in zip(sent, places, strict=True)
        ]
    }
    done = subprocess.run(
        [python, script], input=json.dumps(asked), text=True, capture_output=True, check=True
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def _numbers(answer: Answer) -> list[float | None]:
    if "features" in answer:
        row = [
            float(value) if isinstance(value, int | float) else None
            for value in answer["features"].values()
        ]
        return [*row, answer["probability"], answer["latency_ms"]]
    stats = answer["image_stats"]
    top = max(answer["raw_scores"], default=0.0)
    return [stats["brightness"], stats["contrast"], stats["sharpness"], top, answer["latency_ms"]]


def _errors(stream: Stream) -> list[int] | None:
    if any(right is None for _, right in stream):
        return None
    return [int(not right) for _, right in stream]


def rows(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The lines of the printed table."""
    lines = []
    for name, entry in results["scenarios"].items():
        delay = entry["delay_median"]
        words = f"{entry['in_time']:.0%} in 2 windows"
        words += "" if delay is None else f", after {delay:.0f} (most {entry['delay_most']})"
        lines.append((f"{name}: named", words, ">= 95 %"))
        if "river" in entry:
            stock = entry["river"]
            words = f"{stock['in_time']:.0%}, after {stock['delay_median'] or 0:.0f}; false "
            words += f"before: {stock['false_alarms']}, Andon {entry['false_alarms']}"
            lines.append((f"{name}: River", words, ""))
    for name, entry in results["quiet"].items():
        stock = entry.get("river_false_alarms")
        beside = "" if stock is None else f" (River {stock})"
        figure = f"{len(entry['false_alarms'])}{beside}"
        lines.append((f"false alarms on quiet days, {name}", figure, "<= 1"))
    if "cost" in results:
        cost = results["cost"]
        lines += [
            ("a look at 1,000 rows of 13 features", f"{cost['rows_1000_ms']:.1f} ms", "<= 50 ms"),
            ("a look at 500 pictures", f"{cost['pictures_500_ms']:.1f} ms", "<= 100 ms"),
        ]
    return lines
