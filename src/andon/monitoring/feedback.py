"""Taking labels in: reading them, finding the answers they are about, storing them.

The one front for HTTP and the command line. What a call took is on disk when it returns; sending
the same again changes nothing.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from andon import typed
from andon.errors import AndonError, Conflict, InvalidRequest, NotFound, UnusableUpload
from andon.events.intake import RowError
from andon.monitoring.classes import Classes
from andon.store.clock import now
from andon.store.database import Database
from andon.store.feedback import Asked, Label, Outcome
from andon.store.windows import SERVING

Form = Literal["json", "ndjson", "csv"]

_MAX_ERRORS = 100
_MAX_NOTE = 2_000
_FIRST_YEAR = 2000
_MAX_ID = 255
_FIELD = re.compile(r" - at `\$\.?(.*?)`$")
_SEPARATORS = ",;\t|"
_COLUMNS = frozenset({"prediction_id", "request_id", "actual", "timestamp", "note"})

Text = Annotated[str, Meta(max_length=_MAX_ID)]


class SentFeedback(msgspec.Struct, kw_only=True):
    """What one answer should have been, as it is sent. Name the answer by one of the two ids."""

    prediction_id: Annotated[Text, Meta(description="Of the answer.")] | None = None
    request_id: (
        Annotated[Text, Meta(description="The caller's own id, where one answer has it.")] | None
    ) = None
    actual: Annotated[
        bool | int | float | Text | Annotated[list[Text], Meta(max_length=100)],
        Meta(
            description="A class of the version: its value, text or label. Of a detector: `ok`, "
            "`defect`, or a list of the labels that are really there.",
            examples=[1],
        ),
    ]
    timestamp: (
        Annotated[
            datetime,
            Meta(tz=True, description="When it was found out; the latest stands. Default: now."),
        ]
        | None
    ) = None
    note: Annotated[str, Meta(max_length=_MAX_NOTE, description="For people.")] = ""


class FeedbackStored(msgspec.Struct, kw_only=True):
    """A label that is on disk, and what it says about the answer."""

    prediction_id: str
    model: str
    model_version: int
    status: Annotated[
        Literal["stored", "duplicate", "superseded"],
        Meta(description="superseded: a later label stands already, and is shown here."),
    ]
    prediction: Annotated[str | None, Meta(description="Class that was answered.")]
    actual: Annotated[Any, Meta(description="What stands now.")]
    correct: Annotated[bool | None, Meta(description="Whether the answer was right.")]
    timestamp: datetime


class FeedbackReport(msgspec.Struct):
    """What became of labels that arrived together."""

    total: int
    stored: int
    duplicates: Annotated[int, Meta(description="They stood already.")]
    superseded: Annotated[int, Meta(description="A later label stands.")]
    rejected: int
    errors: Annotated[list[RowError], Meta(description="The first hundred reasons.")]
    errors_omitted: int | UnsetType = UNSET


class FeedbackIntake:
    """Takes labels in.

    Args:
        db: Answers and labels.
        max_ahead: Labels dated further ahead of this machine's clock are refused, seconds.
    """

    def __init__(self, db: Database, *, max_ahead: float) -> None:
        self._db = db
        self._max_ahead = timedelta(seconds=max_ahead)

    def take_one(self, sent: SentFeedback, *, source: str, actor: str = "") -> FeedbackStored:
        """Store one label.

        Raises:
            NotFound: There is no such answer.
            Conflict: Several answers have this request id, or the answer is an error.
            InvalidRequest: The actual value is no class of the version; `errors` names it.
        """
        (found,) = self._understood([sent], source, actor)
        if isinstance(found, AndonError):
            raise found
        (outcome,) = self._db.feedback.store([found])
        stands = self._db.feedback.get(found.prediction_id)
        asked = self._db.feedback.asked([found.prediction_id]).get(found.prediction_id)
        if outcome == Outcome.UNKNOWN or stands is None or asked is None:
            # Pruned between the two looks.
            raise _unknown(found.prediction_id)
        version = self._db.models.by_id(asked.version_id)
        classes = Classes.of(version)
        truth, said = classes.truth(stands.actual), classes.answered(asked)
        return FeedbackStored(
            prediction_id=found.prediction_id,
            model=version.model,
            model_version=version.version,
            status=typed.convert(str(outcome), Literal["stored", "duplicate", "superseded"]),
            prediction=None if said is None else classes.names[said],
            actual=stands.actual,
            correct=None if truth is None or said is None else truth == said,
            timestamp=stands.timestamp,
        )

    def take(
        self, sent: Sequence[SentFeedback | AndonError], *, source: str, actor: str = ""
    ) -> FeedbackReport:
        """Store labels; a bad one never sinks the others.

        Args:
            sent: As `read` gives them: labels, and why others could not be read.
            source: The way they came.
            actor: Who sent them.
        """
        found = self._understood(sent, source, actor)
        labels = {place: one for place, one in enumerate(found) if isinstance(one, Label)}
        outcomes = self._db.feedback.store(list(labels.values()))
        counts = dict.fromkeys(Outcome, 0)
        errors = {place: one for place, one in enumerate(found) if isinstance(one, AndonError)}
        for (place, label), outcome in zip(labels.items(), outcomes, strict=True):
            counts[outcome] += 1
            if outcome == Outcome.UNKNOWN:
                errors[place] = _unknown(label.prediction_id)
        shown = [RowError(place, str(errors[place])) for place in sorted(errors)[:_MAX_ERRORS]]
        report = FeedbackReport(
            total=len(sent),
            stored=counts[Outcome.STORED],
            duplicates=counts[Outcome.DUPLICATE],
            superseded=counts[Outcome.SUPERSEDED],
            rejected=len(errors),
            errors=shown,
        )
        if len(errors) > len(shown):
            report.errors_omitted = len(errors) - len(shown)
        return report

    def _understood(
        self, sent: Sequence[SentFeedback | AndonError], source: str, actor: str
    ) -> list[Label | AndonError]:
        """Each as a label of an answer that exists, or why it is none."""
        feedback = self._db.feedback
        wanted = [one for one in sent if isinstance(one, SentFeedback)]
        requests = feedback.by_request(
            one.request_id for one in wanted if one.request_id and _plain(one.request_id)
        )
        ids = {one.prediction_id for one in wanted if one.prediction_id}
        ids |= {key for keys in requests.values() for key in keys}
        asked = feedback.asked(key for key in ids if _plain(key))
        classes = {
            key: Classes.of(self._db.models.by_id(key))
            for key in {answer.version_id for answer in asked.values()}
        }
        moment = now()
        found: list[Label | AndonError] = []
        for one in sent:
            if isinstance(one, AndonError):
                found.append(one)
                continue
            try:
                answer = _answer(one, asked, requests)
                found.append(
                    Label(
                        prediction_id=answer.id,
                        actual=classes[answer.version_id].normal(one.actual),
                        timestamp=self._time(one.timestamp, moment),
                        source=source,
                        actor=actor,
                        note=_note(one.note),
                    )
                )
            except AndonError as error:
                found.append(error)
        return found

    def _time(self, sent: datetime | None, moment: datetime) -> datetime:
        if sent is not None and sent > moment + self._max_ahead:
            raise _invalid("timestamp", "is in the future; a later correction could never stand")
        if sent is not None and sent.year < _FIRST_YEAR:
            raise _invalid("timestamp", f"must not be before {_FIRST_YEAR}")
        return sent or moment


def read_one(data: bytes) -> SentFeedback:
    """One label from JSON.

    Raises:
        UnusableUpload: It is no JSON.
        InvalidRequest: A field is wrong; `errors` names it.
    """
    return _converted(_decoded(data, "The body"))


def read(data: bytes, form: Form) -> list[SentFeedback | AndonError]:
    """Labels from a body or file; those that cannot be read are the reason why.

    Args:
        data: A JSON array, one JSON object per line, or CSV with a heading line.
        form: Which of them.

    Raises:
        UnusableUpload: Nothing of it can be read, or it holds no label.
        InvalidRequest: It is JSON of another shape, or a CSV column is missing.
    """
    rows: Iterable[Any]
    if form == "csv":
        rows = _csv_rows(data)
    elif form == "ndjson":
        lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        rows = [line for line in lines if line.strip()]
    else:
        rows = _decoded(data, "The body")
        if not isinstance(rows, list):
            raise _invalid("body", "must be a list of objects")
    found: list[SentFeedback | AndonError] = []
    for row in rows:
        try:
            plain = _decoded(row, "The line") if isinstance(row, bytes) else row
            found.append(_converted(plain))
        except AndonError as error:
            found.append(error)
    if not found:
        raise UnusableUpload("It holds no feedback.", hint="Send at least one object or line.")
    return found


def _decoded(data: bytes, what: str) -> Any:
    try:
        return msgspec.json.decode(data)
    except RecursionError:
        raise UnusableUpload(
            f"{what} is nested too deeply.", hint="Send a JSON object per label."
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnusableUpload(
            f"{what} is not valid JSON: {error}.", hint="Send a JSON object per label."
        ) from None


def _converted(row: Any) -> SentFeedback:
    try:
        return typed.convert(row, SentFeedback)
    except msgspec.ValidationError as error:
        said = str(error)
        field = _FIELD.search(said)
        missing = re.search(r"missing required field `(\w+)`", said)
        if missing:
            raise _invalid(missing[1], "is missing") from None
        if "timezone" in said:
            raise _invalid("timestamp", "must end with Z or a UTC offset such as +02:00") from None
        name = field[1] if field and field[1] else "body"
        raise _invalid(name, f"is not right: {_FIELD.sub('', said)[:200].rstrip('.')}") from None


def _csv_rows(data: bytes) -> Iterator[dict[str, str]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnusableUpload(
            f"The CSV is not UTF-8: {error.reason} at byte {error.start}.",
            hint="Save it as CSV UTF-8.",
        ) from None
    heading = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=heading.count)
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        columns = {(name or "").strip().lower() for name in table.fieldnames or ()}
        if "actual" not in columns or not columns & {"prediction_id", "request_id"}:
            raise _invalid(
                "body", "must begin with a line that names the columns prediction_id and actual"
            )
        for row in table:
            cells = {
                str(name).strip().lower(): value.strip()
                for name, value in row.items()
                if isinstance(value, str)
            }
            if any(cells.values()):
                yield {name: cell for name, cell in cells.items() if cell and name in _COLUMNS}
    except csv.Error as error:
        raise UnusableUpload(f"The CSV cannot be read: {error}.") from None


def _answer(sent: SentFeedback, asked: dict[str, Asked], requests: dict[str, list[str]]) -> Asked:
    """The answer that a label is about."""
    if bool(sent.prediction_id) == bool(sent.request_id):
        raise _invalid("prediction_id", "or request_id must be given, and not both")
    if sent.prediction_id:
        answer = asked.get(sent.prediction_id)
        if answer is None:
            raise _unknown(sent.prediction_id)
    else:
        key = sent.request_id or ""
        having = [asked[one] for one in requests.get(key, ()) if one in asked]
        if not having:
            raise NotFound(f"There is no prediction with the request id {key[:64]!r}.")
        # A candidate that was asked as well has the same id: meant is what the caller got.
        having = [
            one for one in having if one.status == "success" and one.role in SERVING
        ] or having
        if len(having) > 1:
            raise Conflict(
                f"{len(having)} predictions have the request id {key[:64]!r}.",
                hint="Name the prediction by its prediction_id.",
            )
        (answer,) = having
    if answer.status != "success":
        raise Conflict(
            f"Prediction {answer.id} ended in an error: there is no answer to judge.",
            hint="Send feedback on predictions with the status success.",
        )
    return answer


def _unknown(prediction_id: str) -> NotFound:
    return NotFound(
        f"There is no prediction {prediction_id[:64]!r}.",
        hint="Old predictions are pruned; /api/predictions lists those there are.",
    )


def _note(note: str) -> str:
    if "\x00" in note:
        raise _invalid("note", "must not hold NUL characters")
    return note


def _plain(key: str) -> bool:
    """Whether an id can be asked for: no row has another."""
    return key.isprintable() and len(key) <= _MAX_ID


def _invalid(field: str, detail: str) -> InvalidRequest:
    return InvalidRequest(
        f"The request is not valid: {field} {detail}.",
        errors=[{"field": field, "detail": detail}],
    )
