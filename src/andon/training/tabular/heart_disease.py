"""The recipe `heart-disease`: the UCI data of 1988, thirteen features, in every coding in use.

One coding leaves here, UCI's own. Files in the two recodings that are passed around are recognised
by their values and translated; what cannot be known of a copy is told as a warning.

* UCI's: cp 1-4, restecg 0-2, slope 1-3, thal 3/6/7, ca 0-3, `?` for missing, target `num` 0-4.
* "shifted": cp, slope counted from 0, thal 0/1/2 for 3/6/7.
* "reversed" (the widely used heart.csv): cp, slope and restecg counted backwards, thal 1/2/3 for
  6/3/7, thal 0 and ca 4 missing in disguise, and a target of which 1 means *no* disease.
"""

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import polars as pl

from andon.errors import Unavailable, UnusableUpload
from andon.runtimes.rows import Feature, Value
from andon.training.messages import Finding
from andon.training.tabular import reading
from andon.training.tabular.recipe import Recipe, SliceRule
from andon.training.tabular.table import Table, counted

URL = (
    "https://archive.ics.uci.edu/ml/machine-learning-databases/heart-disease/"
    "processed.cleveland.data"
)
SHA256 = "a74b7efa387bc9d108d7d0115d831fe9b414b29ae7124f331b622b4efa0427c8"
FILENAME = "processed.cleveland.data"
FOLDER = "heart-disease"
TIMEOUT = 30.0
"""Longest wait for the download to go on, seconds."""
MAX_DOWNLOAD = 1024 * 1024

TARGET = "target"
HOSPITAL = "hospital"
Coding = Literal["uci", "shifted", "reversed"]


def _category(name: str, meanings: dict[Value, str], description: str) -> Feature:
    return Feature(
        name,
        "category",
        categories=tuple(meanings),
        labels=tuple(meanings.values()),
        nullable=True,
        description=description,
    )


def _number(
    name: str, low: float, high: float, unit: str, description: str, *, whole: bool = False
) -> Feature:
    return Feature(
        name,
        "integer" if whole else "number",
        minimum=low,
        maximum=high,
        nullable=True,
        unit=unit,
        description=description,
    )


FEATURES = (
    _number("age", 1, 120, "years", "Age"),
    _category("sex", {0: "female", 1: "male"}, "Sex"),
    _category(
        "cp",
        {
            1: "typical angina",
            2: "atypical angina",
            3: "non-anginal pain",
            4: "asymptomatic",
        },
        "Chest pain",
    ),
    _number("trestbps", 40, 300, "mm Hg", "Resting blood pressure on admission"),
    _number("chol", 50, 1000, "mg/dl", "Serum cholesterol"),
    _category("fbs", {0: "no", 1: "yes"}, "Fasting blood sugar over 120 mg/dl"),
    _category(
        "restecg",
        {0: "normal", 1: "ST-T abnormality", 2: "left ventricular hypertrophy"},
        "Resting electrocardiogram",
    ),
    _number("thalach", 30, 250, "beats per minute", "Highest heart rate reached"),
    _category("exang", {0: "no", 1: "yes"}, "Angina brought on by exercise"),
    _number("oldpeak", -10, 15, "mm", "ST depression by exercise, relative to rest"),
    _category(
        "slope",
        {1: "upsloping", 2: "flat", 3: "downsloping"},
        "Slope of the ST segment at peak exercise",
    ),
    _number("ca", 0, 3, "", "Major vessels coloured by fluoroscopy", whole=True),
    _category(
        "thal",
        {3: "normal", 6: "fixed defect", 7: "reversible defect"},
        "Thallium stress test",
    ),
)
NAMES = tuple(feature.name for feature in FEATURES)

RECIPE = Recipe(
    name="heart-disease",
    title="Heart disease",
    description="Whether a patient has coronary heart disease, from thirteen findings (UCI). "
    "No medical device.",
    target=TARGET,
    positive=1,
    class_labels={"0": "no disease", "1": "heart disease"},
    features=FEATURES,
    drop=(HOSPITAL,),
    slices={
        "sex": "sex",
        "age group": SliceRule(
            "age", (45, 55, 65), ("under 45", "45 to 54", "55 to 64", "65 and over")
        ),
        "hospital": HOSPITAL,
    },
    drop_duplicates=True,
    promote="approve",
    source="heart-disease",
)

# Names of the same columns in other copies.
_ALIASES = {
    "trtbps": "trestbps",
    "thalachh": "thalach",
    "exng": "exang",
    "slp": "slope",
    "caa": "ca",
    "thall": "thal",
}
_TARGETS = ("num", "target", "condition", "output")
_HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
_TO_UCI: dict[Coding, dict[str, dict[float, float | None]]] = {
    "uci": {},
    "shifted": {
        "cp": {0: 1, 1: 2, 2: 3, 3: 4},
        "slope": {0: 1, 1: 2, 2: 3},
        "thal": {0: 3, 1: 6, 2: 7},
    },
    "reversed": {
        "cp": {0: 4, 1: 3, 2: 2, 3: 1},
        "restecg": {0: 2, 1: 0, 2: 1},
        "slope": {0: 3, 1: 2, 2: 1},
        "thal": {0: None, 1: 6, 2: 3, 3: 7},
        "ca": {0: 0, 1: 1, 2: 2, 3: 3, 4: None},
    },
}
# Sick patients have more of these, whatever the copy; of thalach they have less.
_DIRECTIONS = {"oldpeak": 1, "exang": 1, "ca": 1, "thalach": -1}
_LEAST_ROWS = 20


def read(paths: Sequence[Path], folder: Path, tell: Callable[[str], None]) -> Table:
    """The patients of the given files and folders, or of UCI's Cleveland file.

    Args:
        paths: Files or folders; none: the file is downloaded once and kept.
        folder: Of data sets, where the download is kept.
        tell: Takes a line for the terminal.

    Raises:
        UnusableUpload: A file is not these data.
        Unavailable: The file could not be downloaded.
    """
    if not paths:
        paths = [download(folder / FOLDER / FILENAME, tell)]
    findings: list[Finding] = []
    files = [file for path in paths for file in _files(path, findings)]
    frames = [_patients(file, findings) for file in files]
    return Table(
        frame=reading.joined(frames),
        origin=", ".join(file.name for file in files),
        digest=reading.combined([reading.digest(file) for file in files]),
        notes=("UCI Heart Disease, 1988: no clinical claim may rest on it.",),
        findings=tuple(findings),
    )


def download(
    path: Path, tell: Callable[[str], None], url: str = URL, timeout: float = TIMEOUT
) -> Path:
    """UCI's Cleveland file at `path`; fetched unless it is there undamaged.

    Raises:
        Unavailable: It cannot be fetched, or is another file than the one that is known.
    """
    if path.is_file() and reading.digest(path) == SHA256:
        return path
    tell(f"Downloading {url}")
    elsewhere = (
        f"Fetch {FILENAME} elsewhere and name it: andon train heart-disease --data {FILENAME}"
    )
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:  # noqa: S310 - a constant
            content = answer.read(MAX_DOWNLOAD + 1)
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise Unavailable(
            f"The data could not be downloaded from {url}: {reason}.", hint=elsewhere
        ) from error
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise Unavailable(
            f"What {url} answered is not the file that Andon knows (its SHA-256 differs); it was "
            "not kept.",
            hint=elsewhere,
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    partial.write_bytes(content)
    partial.replace(path)
    return path


def _files(path: Path, findings: list[Finding]) -> list[Path]:
    """A file, or a folder's tables; UCI's own folder also holds files of another layout."""
    files = reading.files_of(path)
    processed = [file for file in files if file.name.startswith("processed.")]
    if not path.is_dir() or not processed:
        return files
    others = [file.name for file in files if file not in processed]
    if others:
        findings.append(
            Finding(
                "left-out",
                "warning",
                detail=f"{', '.join(others[:10])}{', …' if len(others) > 10 else ''} in "
                f"{path.name} {'is' if len(others) == 1 else 'are'} left out: where a folder has "
                "files called processed.*, only those are read.",
                hint="Name each file with --data to read it too.",
            )
        )
    return processed


def _patients(path: Path, findings: list[Finding]) -> pl.DataFrame:
    """One file's patients in UCI's coding, with the target as 0 or 1 and the hospital."""
    frame, target = _columns(path, findings)
    coding = _coding(frame, target, path)
    frame = frame.with_columns(
        pl.col(name).replace_strict(mapping, default=pl.col(name), return_dtype=pl.Float64)
        for name, mapping in _TO_UCI[coding].items()
    )
    sick = (frame[target] > 0).cast(pl.Int64)
    if coding != "uci":
        findings.append(_recoded(path, coding))
    if target != "num":
        sick = _direction(frame, sick, path, findings)
    return _undisguised(frame, path, findings).select(
        *NAMES, sick.alias(TARGET), pl.lit(_hospital(path)).alias(HOSPITAL)
    )


def _columns(path: Path, findings: list[Finding]) -> tuple[pl.DataFrame, str]:
    """The file's columns by their usual names, all of them floats, and the target's name."""
    frame = _headless(path)
    if frame is None:
        table = reading.read([path])
        findings.extend(table.findings)
        frame = table.frame
    usual = {name.lower(): name for name in reversed(frame.columns)}
    usual |= {name: usual[alias] for alias, name in _ALIASES.items() if alias in usual}
    frame = frame.select(pl.col(given).alias(name) for name, given in usual.items())
    missing = [name for name in NAMES if name not in frame.columns]
    targets = [name for name in _TARGETS if name in frame.columns]
    if missing or not targets:
        missing += [] if targets else ["num or target"]
        raise UnusableUpload(
            f"{path.name} is not the UCI heart data: it has no column {', '.join(missing)}.",
            hint="Fourteen columns are needed: " + ", ".join(NAMES) + " and num (or target).",
        )
    wanted = frame.select(*NAMES, targets[0])
    for name in wanted.columns:
        if wanted[name].dtype == pl.String and wanted[name].null_count() < wanted.height:
            first = wanted[name].drop_nulls()[0]
            raise UnusableUpload(
                f"{path.name}: the column {name!r} holds texts such as {first!r}; these data are "
                "numbers throughout.",
                hint="Use UCI's file, or the recoded heart.csv.",
            )
    return wanted.cast(pl.Float64), targets[0]


def _headless(path: Path) -> pl.DataFrame | None:
    """UCI's own form: fourteen numbers or `?` a line, no header; None where it is another."""
    if path.suffix.lower() == ".parquet":
        return None
    records = reading.read_records(path)
    width = len(NAMES) + 1
    if not records or any(name.strip().isalpha() for name in records[0]):
        return None
    for number, record in enumerate(records, start=1):
        if len(record) != width:
            raise UnusableUpload(
                f"{path.name}, record {number}: {len(record)} values instead of {width}.",
                hint=f"Use UCI's processed files, such as {FILENAME}.",
            )
    columns = zip(*records, strict=True)
    frame = pl.DataFrame(
        [
            pl.Series(name, [text.strip() for text in texts], dtype=pl.String)
            for name, texts in zip((*NAMES, "num"), columns, strict=True)
        ]
    )
    absent = pl.all().str.to_lowercase().is_in(list(reading.MISSING))
    known = frame.select(pl.when(absent).then(None).otherwise(pl.all()).name.keep())
    numbers = known.cast(pl.Float64, strict=False)
    for name in known.columns:
        wrong = known[name].filter(known[name].is_not_null() & numbers[name].is_null())
        if len(wrong):
            raise UnusableUpload(
                f"{path.name}: {wrong[0]!r} in the column {name} is no number.",
                hint="Missing values are written as `?`.",
            )
    return numbers


def _coding(frame: pl.DataFrame, target: str, path: Path) -> Coding:
    """Which coding a file has, by values that only one of them uses."""
    seen = {name: set(frame[name].drop_nulls().to_list()) for name in ("cp", "slope", "thal")}
    uci = 4 in seen["cp"] or 3 in seen["slope"] or bool({6, 7} & seen["thal"])
    recoded = 0 in seen["cp"] or 0 in seen["slope"] or bool({1, 2} & seen["thal"])
    if uci and recoded:
        raise UnusableUpload(
            f"{path.name} mixes two codings: cp, slope and thal hold values of UCI's and of a "
            "recoded file.",
            hint="Give each file on its own, in one folder.",
        )
    if not recoded:
        return "uci" if uci or target == "num" else _by_slope(frame)
    return _by_slope(frame)


def _by_slope(frame: pl.DataFrame) -> Coding:
    """Which recoding: with a steeper depression the slope goes down, 3 in UCI's coding."""
    together = frame.select(pl.corr("oldpeak", "slope")).item()
    return "reversed" if together is not None and together < 0 else "shifted"


def _recoded(path: Path, coding: Coding) -> Finding:
    how = {
        "shifted": "cp and slope counted from 0, thal 0/1/2",
        "reversed": "cp, slope and restecg counted backwards, thal 1/2/3; thal 0 and ca 4 are "
        "missing values",
    }[coding]
    return Finding(
        "coding",
        "warning",
        detail=f"{path.name} is not in UCI's coding. By its values it is taken as {how}, and was "
        "translated. Which copy it is cannot be known for sure.",
        hint=f"UCI's own file ({FILENAME}) leaves no doubt.",
    )


def _direction(
    frame: pl.DataFrame, sick: pl.Series, path: Path, findings: list[Finding]
) -> pl.Series:
    """The target with 1 for disease: some copies have it the other way round."""
    with_target = frame.with_columns(sick.alias(TARGET))
    votes = 0
    for name, sign in _DIRECTIONS.items():
        together = with_target.select(pl.corr(name, TARGET)).item()
        if together is not None and together == together:  # noqa: PLR0124 - NaN is not itself
            votes += sign if together > 0 else -sign
    if frame.height >= _LEAST_ROWS and votes <= -2:
        findings.append(
            Finding(
                "inverted-target",
                "warning",
                column=TARGET,
                detail=f"In {path.name} the patients with target 1 have the healthier findings "
                "(exercise angina, ST depression, vessels, heart rate): 1 is taken as no disease, "
                "and the target was turned round.",
                hint=f"UCI's own file ({FILENAME}) leaves no doubt.",
            )
        )
        return 1 - sick
    if frame.height < _LEAST_ROWS or votes < 2:
        findings.append(
            Finding(
                "inverted-target",
                "warning",
                column=TARGET,
                detail=f"Some copies of these data have the target the other way round. In "
                f"{path.name} the rows do not tell: 1 is taken as disease.",
                hint="Compare a few rows with UCI's own file.",
            )
        )
    return sick


def _undisguised(frame: pl.DataFrame, path: Path, findings: list[Finding]) -> pl.DataFrame:
    """With null where a value stands for a missing one."""
    for name, value in (("chol", 0), ("trestbps", 0), ("thal", 0), ("ca", 4), ("ca", 9)):
        hidden = int((frame[name] == value).sum())
        if hidden:
            findings.append(
                Finding(
                    "disguised",
                    "info",
                    column=name,
                    detail=f"{counted(hidden)} of {path.name} with {name} {value}, which is "
                    "impossible: taken as missing.",
                    rows=hidden,
                )
            )
    return frame.with_columns(
        *(pl.col(name).replace(0.0, None) for name in ("chol", "trestbps", "thal")),
        pl.col("ca").replace([4.0, 9.0], [None, None]),
    )


def _hospital(path: Path) -> str:
    """From the file's name: processed.hungarian.data is hungarian."""
    parts = path.name.lower().replace("-", ".").replace("_", ".").split(".")
    return next((name for name in _HOSPITALS if name in parts), path.stem.lower())
