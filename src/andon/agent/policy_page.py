"""The page of the policy: its tables, and where on the page a fault stands."""

import math
import re
import tomllib
from collections.abc import Collection, Iterator
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, Literal, get_args

import msgspec

from andon import typed
from andon.errors import InvalidRequest
from andon.registry.names import clean_model_name

_Mode = Literal["auto", "approve", "manual"]
_Risk = Literal["low", "medium", "high"]
_DURATION = re.compile(r"([0-9]{1,6})(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_SHARES = frozenset({"accuracy", "error_rate", "confidence_drop", "threshold_min", "threshold_max"})
_DURATIONS = frozenset({"cooldown", "approval_expires", "follow_up_after"})
_NAME = r"(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')"
_KEY = re.compile(rf"\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*=")
_SYNTAX = re.compile(r"^(?P<what>.*?) \(at (?:line (?P<line>\d+), column \d+|end of document)\)$")


class AgentSection(msgspec.Struct, frozen=True, kw_only=True):
    """`[agent]`."""

    enabled: bool | None = None
    dry_run: bool | None = None
    actions_per_day: int | None = None
    approval_expires: str | None = None
    second_person: list[_Risk] | None = None
    follow_up_after: str | None = None


class ActionSection(msgspec.Struct, frozen=True, kw_only=True):
    """`[actions.<type>]`."""

    risk: _Risk | None = None
    cooldown: str | None = None


class LimitsSection(msgspec.Struct, frozen=True, kw_only=True):
    """`[models.<name>.limits]`."""

    accuracy: float | None = None
    latency_factor: float | None = None
    error_rate: float | None = None
    confidence_drop: float | None = None


class ModelSection(msgspec.Struct, frozen=True, kw_only=True):
    """`[models.<name>]`."""

    rollback: _Mode | None = None
    promote: _Mode | None = None
    retrain: _Mode | None = None
    threshold_min: float | None = None
    threshold_max: float | None = None
    threshold_step: float | None = None
    limits: LimitsSection | None = None


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What a page says; what it leaves out is None."""

    agent: AgentSection = AgentSection()
    actions: dict[str, ActionSection] = {}
    models: dict[str, ModelSection] = {}


def duration(words: str) -> timedelta:
    """A time such as "90s", "15m", "24h" or "7d".

    Raises:
        ValueError: It is none.
    """
    found = _DURATION.fullmatch(words.strip())
    if found is None:
        raise ValueError('a time is a number and a unit, such as "90s", "15m", "24h" or "7d"')
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def read(
    text: str, *, actions: Collection[str], models: Collection[str] | None, default: str
) -> tuple[Page, list[str]]:
    """A page, and what is wrong with it: a sentence each, with its line.

    Args:
        text: TOML.
        actions: Types of action there are.
        models: Registered models; None takes any name.
        default: The table for all other models.
    """
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return Page(), [_syntax(str(error), text)]
    except RecursionError:
        return Page(), ["It is nested too deeply."]
    except ValueError:
        # Python's limit, of four thousand digits.
        return Page(), ["It holds a number that is too long."]
    return _Reading(text, actions, models, default).page(plain)


class _Reading:
    """One page on its way through; collects the faults."""

    def __init__(
        self, text: str, actions: Collection[str], models: Collection[str] | None, default: str
    ) -> None:
        self._lines = _lines(text)
        self._actions = actions
        self._models = models
        self._default = default
        self._faults: list[tuple[int, str]] = []

    def page(self, plain: dict[str, Any]) -> tuple[Page, list[str]]:
        """The page and its faults, in the order of their lines."""
        for name in plain.keys() - {"agent", "actions", "models"}:
            self._unknown((name,), "table", ["agent", "actions", "models"])
        agent = self._section(("agent",), plain.get("agent", {}), AgentSection)
        acts = {}
        for name, table in self._tables("actions", plain):
            if name not in self._actions:
                self._unknown(("actions", name), "action", self._actions)
                continue
            acts[name] = self._section(("actions", name), table, ActionSection)
        models = {}
        for name, table in self._tables("models", plain):
            if self._is_model(name):
                models[name] = self._model(name, table)
        page = Page(agent=agent, actions=acts, models=models)
        ordered = sorted(self._faults)
        return page, [f"Line {line}: {what}" if line else what for line, what in ordered]

    def _tables(self, kind: str, plain: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        found = plain.get(kind, {})
        if isinstance(found, dict):
            yield from found.items()
        else:
            self._fault((kind,), f"{kind} must be a table, such as [{kind}.NAME].")

    def _is_model(self, name: str) -> bool:
        if name == self._default:
            return True
        try:
            right = clean_model_name(name) == name
        except InvalidRequest:
            right = False
        if not right:
            self._fault(("models", name), f"{name!r} is no name of a model.")
        elif self._models is not None and name not in self._models:
            self._unknown(("models", name), "model", [*self._models, self._default])
            right = False
        return right

    def _model(self, name: str, table: Any) -> ModelSection:
        place = ("models", name)
        found: ModelSection = self._section(place, table, ModelSection)
        limits = table.get("limits") if isinstance(table, dict) else None
        if limits is not None:
            section = self._section((*place, "limits"), limits, LimitsSection)
            found = msgspec.structs.replace(found, limits=section)
        low, high = found.threshold_min, found.threshold_max
        if low is not None and high is not None and low >= high:
            self._fault((*place, "threshold_min"), "threshold_min must be below threshold_max.")
        return found

    def _section(self, place: tuple[str, ...], table: Any, shape: type[Any]) -> Any:
        """A table as its struct; what is wrong in it is left out and noted."""
        if not isinstance(table, dict):
            self._fault(place, f"{'.'.join(place)} must be a table: [{'.'.join(place)}].")
            return shape()
        fields = {field.name: field.type for field in msgspec.structs.fields(shape)}
        values = {}
        for key, value in table.items():
            where = (*place, key)
            if key not in fields:
                self._unknown(where, "key", fields)
            elif isinstance(value, dict) and key == "limits":
                continue
            else:
                try:
                    values[key] = _value(key, value, fields[key])
                except ValueError as error:
                    self._fault(where, f"{key} {error}.")
        return shape(**values)

    def _unknown(self, place: tuple[str, ...], what: str, known: Collection[str]) -> None:
        name = place[-1]
        close = get_close_matches(name, list(known), n=1)
        listed = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}."
        self._fault(place, f"{name!r} is no {what} that is known; {listed}")

    def _fault(self, place: tuple[str, ...], sentence: str) -> None:
        line = self._lines.get(place, 0)
        if not line:
            # Written another way, such as in an inline table: the nearest place around it.
            around = (
                self._lines[part]
                for end in range(len(place) - 1, 0, -1)
                if (part := place[:end]) in self._lines
            )
            line = next(around, 0)
        self._faults.append((line, sentence))


def _value(key: str, value: Any, kind: Any) -> Any:
    """A value of the right type and within its bounds.

    Raises:
        ValueError: It is not; the text goes on from the key's name.
    """
    try:
        found = typed.convert(value, kind)
    except msgspec.ValidationError:
        raise ValueError(_must_be(kind, value)) from None
    if key in _DURATIONS:
        try:
            span = duration(found)
        except ValueError as error:
            raise ValueError(f"is {value!r}, and {error}") from None
        if key == "approval_expires" and not span:
            raise ValueError("must be more than nothing")
    elif key in _SHARES and not 0 <= found <= 1:
        raise ValueError(f"is {value}, and must be from 0 to 1")
    elif key == "latency_factor" and not 1 < found < math.inf:
        # With "nan" or "inf" no version would ever be slow.
        raise ValueError(f"is {value}, and must be a number of more than 1")
    elif key == "threshold_step" and not 0 < found <= 0.5:
        raise ValueError(f"is {value}, and must be above 0 and at most 0.5")
    elif key == "actions_per_day" and not 0 <= found <= 1000:
        raise ValueError(f"is {value}, and must be from 0 to 1000")
    return found


def _must_be(kind: Any, value: Any) -> str:
    """What a value should have been."""
    plain = next(one for one in get_args(kind) if one is not type(None))
    if plain is bool:
        words = "true or false"
    elif plain is int:
        words = "a whole number"
    elif plain is float:
        words = "a number"
    elif plain is str:
        words = "a text in quotation marks"
    elif getattr(plain, "__origin__", None) is list:
        words = f"a list of {_listed(get_args(plain)[0])}"
    else:
        words = _listed(plain)
    return f"is {value!r}, and must be {words}"


def _listed(literal: Any) -> str:
    *first, last = (f'"{word}"' for word in get_args(literal))
    return f"{', '.join(first)} or {last}"


def _syntax(said: str, text: str) -> str:
    found = _SYNTAX.match(said)
    if found is None:
        return f"{said}."
    line = found["line"] or str(max(1, len(text.splitlines())))
    return f"Line {line}: {found['what']}."


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """The line of each table and key. TOML's own reader says what a header means."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("["):
            place = _path(line)
            if place:
                table = place
                found.setdefault(table, number)
        elif (key := _KEY.match(line)) is not None:
            place = _path(f"{key[1]} = 0")
            for end in range(1, len(place) + 1):
                found.setdefault((*table, *place[:end]), number)
    return found


def _path(line: str) -> tuple[str, ...]:
    try:
        plain: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return ()
    names = []
    while isinstance(plain, dict) and plain:
        ((name, plain),) = plain.items()
        names.append(name)
    return tuple(names)


DEFAULT_TEXT = """\
# What Andon's agent may do by itself. Edit and save: it is read again at once.
# `andon agent policy --check` says what is wrong with it, with the line.
# Times are a number and a unit: "90s", "15m", "24h", "7d".

[agent]
enabled = true            # false: alerts only, nothing is proposed
dry_run = false           # true: write down what would be done, do nothing
actions_per_day = 20      # in any 24 hours; alerts do not count. A quarter is kept for rollbacks
approval_expires = "24h"  # nobody approved it by then: it is not done
second_person = []        # risks that need two different people, such as ["high"]
follow_up_after = "15m"   # when to look whether an action helped

# Each kind of action: "low" runs by itself, "medium" and "high" wait for a person.
# cooldown: the shortest time between two of them for one model.

[actions.retrain_model]
risk = "medium"
cooldown = "24h"

[actions.rollback_model]
risk = "high"
cooldown = "1h"

[actions.promote_model]   # a canary that is judged better becomes the active version
risk = "medium"
cooldown = "1h"

[actions.send_alert]
risk = "low"

[actions.adjust_threshold]
risk = "low"
cooldown = "1h"

[actions.collect_diagnostics]
risk = "low"
cooldown = "1h"

[actions.validate_data]
risk = "low"
cooldown = "1h"

[actions.generate_report]
risk = "low"
cooldown = "6h"

# Each model: "auto" needs nobody, "approve" waits for a person, "manual" is never proposed.
# A model without a table of its own goes by [models.default].

[models.default]
rollback = "approve"
promote = "approve"
retrain = "approve"
threshold_min = 0.1       # the agent moves a threshold within these bounds,
threshold_max = 0.9
threshold_step = 0.05     # by this much at a time

# Where the numbers turn bad. Without these lines: the settings ACCURACY_ROLLBACK_THRESHOLD and
# PERFORMANCE_DEGRADATION_THRESHOLD, and 0.05 and 0.15.
# [models.default.limits]
# accuracy = 0.7          # measured on labels, or estimated without
# latency_factor = 2.0    # times the version's own usual latency
# error_rate = 0.05       # share of the answers that failed
# confidence_drop = 0.15  # fall of the mean confidence

[models.pcb]
rollback = "auto"         # a bad version leaves the line at once; people are told
"""
"""What `andon agent policy --write` puts down: the built-in policy."""
