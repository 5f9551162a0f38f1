"""What a version can answer, and what people may call it when they say what was true."""

from typing import Any, Literal

import msgspec

from andon import typed
from andon.errors import InvalidRequest
from andon.runtimes.rows import RowSchema, Value, text_of
from andon.store.feedback import Asked, Labelled
from andon.store.records import ModelVersion

OK = "ok"
DEFECT = "defect"

_MOST_NAMED = 20


class Classes(msgspec.Struct, frozen=True):
    """The classes of a version's answers.

    Attributes:
        kind: "rows" (a tabular model), "pictures" (a picture has one class) or "verdict" (a
            picture has defects or none).
        values: As feedback keeps them, in class order.
        names: What people call them; as many.
        positive: Index of the class looked for; None where there are three or more.
        found: Labels that a detector knows; verdicts only.
    """

    kind: Literal["rows", "pictures", "verdict"]
    values: tuple[Value, ...]
    names: tuple[str, ...]
    positive: int | None = None
    found: tuple[str, ...] = ()

    @classmethod
    def of(cls, version: ModelVersion) -> "Classes":
        """The classes of a stored version."""
        schema = row_schema(version)
        if schema is not None:
            names = schema.class_labels or tuple(text_of(value) for value in schema.classes)
            return cls("rows", schema.classes, names, schema.positive)
        labels = tuple(version.description.get("labels") or ())
        if version.description.get("task") == "image-classification" and labels:
            return cls("pictures", labels, labels)
        return cls("verdict", (OK, DEFECT), (OK, DEFECT), 1, labels)

    def normal(self, actual: Any) -> Any:
        """What somebody said was true, as it is stored.

        Args:
            actual: A class as the data write it, its text or its label. For a verdict: "ok",
                "defect", or a list of the labels that are really there ("a;b" as text).

        Raises:
            InvalidRequest: It is none of them.
        """
        if self.kind == "verdict":
            found = self._defects(actual)
            if found is not None:
                return found
        else:
            place = self._place(actual)
            if place is not None:
                return self.values[place]
        raise InvalidRequest(
            f"The request is not valid: actual {self._wanted(actual)}.",
            errors=[{"field": "actual", "detail": self._wanted(actual)}],
        )

    def truth(self, actual: Any) -> int | None:
        """Index of what was true by a stored label; None where it is no class of these."""
        if self.kind == "verdict":
            return int(bool(actual)) if isinstance(actual, list) else self._place(actual)
        return self._place(actual)

    def answered(self, answer: Asked | Labelled) -> int | None:
        """Index of what was answered; None where it is no class of these."""
        if self.kind == "verdict":
            return int(answer.detections > 0)
        return None if answer.prediction is None else self._place(answer.prediction)

    def _place(self, wanted: Any) -> int | None:
        if isinstance(wanted, bool | int | float):
            # Of equal values such as 1, 1.0 and true, any is understood.
            if wanted in self.values:
                return self.values.index(wanted)
            wanted = text_of(wanted)
        if not isinstance(wanted, str):
            return None
        plain = wanted.strip()
        texts = [text_of(value) for value in self.values]
        for spelled in (texts, [one.casefold() for one in self.names]):
            for word in (plain, plain.casefold()):
                if word in spelled:
                    return spelled.index(word)
        # A spreadsheet may have made 1.0 of 1.
        number = _number(plain)
        numbers = [value for value in self.values if not isinstance(value, str)]
        return self.values.index(number) if number in numbers else None

    def _defects(self, actual: Any) -> Any:
        if isinstance(actual, str):
            if actual.strip().casefold() in {OK, DEFECT}:
                return actual.strip().casefold()
            actual = [part.strip() for part in actual.split(";")]
        if not isinstance(actual, list) or not all(one in self.found for one in actual):
            return None
        return sorted(set(actual))

    def _wanted(self, actual: Any) -> str:
        if self.kind == "verdict":
            words = ['"ok"', '"defect"', "a list of labels"]
            known = self.found
        else:
            pairs = zip(self.values, self.names, strict=True)
            words = [
                f"{value!r}" if text_of(value) == name else f"{value!r} ({name})"
                for value, name in pairs
            ]
            known = ()
        listed = ", ".join(words[:_MOST_NAMED]) + (", …" if len(words) > _MOST_NAMED else "")
        labels = f" (of {', '.join(known[:_MOST_NAMED])})" if known else ""
        return f"must be one of {listed}{labels}, not {str(actual)[:60]!r}"


def row_schema(version: ModelVersion) -> RowSchema | None:
    """The schema of a tabular version, as it was stored; None of one that takes pictures."""
    stored = version.description.get("rows")
    return None if not stored else typed.convert(stored, RowSchema)


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
