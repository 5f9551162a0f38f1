"""What the agent may do by itself: one page of TOML that a person reads and edits.

A page that cannot be used is refused whole, every fault with its line. While it cannot be used,
nothing is looser than before: see `PolicyFile`.
"""

import errno
import stat
import threading
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec
import structlog

from andon.agent import policy_page
from andon.agent.policy_page import ActionSection, LimitsSection, ModelSection, Page
from andon.errors import ConfigurationError
from andon.monitoring.signals import Limits
from andon.settings import Settings

log = structlog.get_logger("andon.agent")

Mode = Literal["auto", "approve", "manual"]
Risk = Literal["low", "medium", "high"]

DEFAULT = "default"
"""The table of models that have none of their own."""

READING = frozenset({"send_alert", "collect_diagnostics", "validate_data", "generate_report"})
"""Actions that change nothing: they run also while the policy file cannot be used."""

_MOST_BYTES = 1024 * 1024
# What an action follows that a model's own table speaks of.
_OF_MODEL = {
    "rollback_model": "rollback",
    "promote_model": "promote",
    "retrain_model": "retrain",
}
_ACTIONS: dict[str, tuple[Risk, str]] = {
    "retrain_model": ("medium", "24h"),
    "rollback_model": ("high", "1h"),
    "promote_model": ("medium", "1h"),
    "send_alert": ("low", "0s"),
    "adjust_threshold": ("low", "1h"),
    "collect_diagnostics": ("low", "1h"),
    "validate_data": ("low", "1h"),
    "generate_report": ("low", "6h"),
}
ACTIONS = tuple(_ACTIONS)
"""Everything the agent can do."""

_BUILT_IN: dict[str, ModelSection] = {
    DEFAULT: ModelSection(
        rollback="approve",
        promote="approve",
        retrain="approve",
        threshold_min=0.1,
        threshold_max=0.9,
        threshold_step=0.05,
    ),
    "pcb": ModelSection(rollback="auto"),
}


class Unreadable(ConfigurationError):
    """The file is there, and the system does not hand it out."""


class ActionPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one kind of action.

    Attributes:
        action: Its type.
        risk: "low" runs, the others wait for people.
        cooldown: Shortest time between two of them for one model.
        approvals: People who must agree; 0 for low risk.
    """

    action: str
    risk: Risk
    cooldown: timedelta
    approvals: int


class ModelPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one model.

    Attributes:
        model: Its name.
        rollback: "auto" needs nobody, "approve" waits, "manual" is never proposed.
        promote: The same, of a canary that is judged better.
        retrain: The same, of a training.
        limits: Where its numbers turn bad.
        threshold_min: The agent never sets a lower threshold.
        threshold_max: Nor a higher one.
        threshold_step: How far it moves it at a time.
    """

    model: str
    rollback: Mode
    promote: Mode
    retrain: Mode
    limits: Limits
    threshold_min: float
    threshold_max: float
    threshold_step: float


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The whole policy, as it holds now.

    Attributes:
        enabled: Whether the agent does anything about what is found.
        dry_run: Whether it only writes down what it would do.
        actions_per_day: Actions of the agent in 24 hours; alerts do not count.
        approval_expires: How long people have.
        second_person: Risks that need two different people.
        follow_up_after: When it is looked whether an action helped.
        page: What the file says.
        settings_limits: Where numbers turn bad where the file says nothing.
        tight: Nothing that changes something runs by itself: the file cannot be used.
        path: The file; empty where there is none.
    """

    enabled: bool
    dry_run: bool
    actions_per_day: int
    approval_expires: timedelta
    second_person: frozenset[str]
    follow_up_after: timedelta
    page: Page
    settings_limits: Limits
    tight: bool = False
    path: str = ""

    def action(self, kind: str) -> ActionPolicy:
        """What holds for a kind of action, apart from what its model says.

        Raises:
            KeyError: There is no such action.
        """
        risk, cooldown = _ACTIONS[kind]
        said = self.page.actions.get(kind, ActionSection())
        risk = said.risk or risk
        approvals = 0 if risk == "low" else 1 + (risk in self.second_person)
        if self.tight and kind not in READING:
            approvals = max(1, approvals)
        return ActionPolicy(
            action=kind,
            risk=risk,
            cooldown=policy_page.duration(said.cooldown or cooldown),
            approvals=approvals,
        )

    def model(self, model: str) -> ModelPolicy:
        """What holds for a model: its own table, then the default one, then what is built in."""
        tables = [
            self.page.models.get(model),
            self.page.models.get(DEFAULT),
            _BUILT_IN.get(model),
            _BUILT_IN[DEFAULT],
        ]
        found = [table for table in tables if table is not None]
        values = {
            name: next(value for table in found if (value := getattr(table, name)) is not None)
            for name in ModelSection.__struct_fields__
            if name != "limits"
        }
        if self.tight:
            for name in _OF_MODEL.values():
                values[name] = "approve" if values[name] == "auto" else values[name]
        return ModelPolicy(model=model, limits=self.limits(model), **values)

    def limits(self, model: str) -> Limits:
        """Where a model's numbers turn bad."""
        changes: dict[str, float] = {}
        for name in (DEFAULT, model):
            table = self.page.models.get(name)
            said = table.limits if table is not None and table.limits else LimitsSection()
            values = msgspec.structs.asdict(said)
            changes |= {key: value for key, value in values.items() if value is not None}
        return msgspec.structs.replace(self.settings_limits, **changes)

    def mode(self, kind: str, model: str | None) -> Mode:
        """Whether an action for a model runs, waits, or is not proposed at all."""
        if model is not None and kind in _OF_MODEL:
            found: Mode = getattr(self.model(model), _OF_MODEL[kind])
            return found
        return "auto" if self.action(kind).approvals == 0 else "approve"

    def approvals(self, kind: str, model: str | None) -> int:
        """People who must agree to an action of the agent.

        A model's "auto" needs nobody, whatever the risk; "approve" needs one at least.
        """
        if kind in _OF_MODEL and model is not None:
            if self.mode(kind, model) == "auto":
                return 0
            return max(1, self.action(kind).approvals)
        return self.action(kind).approvals


def built_in(settings: Settings) -> Policy:
    """The policy without a file."""
    return _policy(Page(), settings)


def load(path: Path, settings: Settings, models: Collection[str] | None = None) -> Policy:
    """Read a policy file.

    Args:
        path: The file.
        settings: For what the file does not say.
        models: Registered models; a table of another is refused. None: any name is taken.

    Raises:
        ConfigurationError: It cannot be used; every fault is named with its line.
    """
    try:
        text = _text(path)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        kind = Unreadable if isinstance(error, OSError) else ConfigurationError
        raise kind(
            f"The policy file {path.name} cannot be read: {why}.",
            hint="`andon agent policy --write` puts down a fresh one.",
        ) from error
    page, faults = policy_page.read(text, actions=ACTIONS, models=models, default=DEFAULT)
    if faults:
        raise ConfigurationError(
            f"The policy file {path.name} cannot be used. " + " ".join(faults),
            hint="Mend it and see: `andon agent policy --check`.",
        )
    return msgspec.structs.replace(_policy(page, settings), path=str(path))


def _text(path: Path) -> str:
    """What a file holds; a pipe would never end, and no person writes a megabyte of policy."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no file")
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {_MOST_BYTES:,} bytes")
    return content.decode("utf-8")


def _policy(page: Page, settings: Settings) -> Policy:
    said = page.agent
    return Policy(
        enabled=settings.agent != "off" and said.enabled is not False,
        dry_run=settings.agent == "dry-run" or said.dry_run is True,
        actions_per_day=20 if said.actions_per_day is None else said.actions_per_day,
        approval_expires=policy_page.duration(said.approval_expires or "24h"),
        second_person=frozenset(said.second_person or ()),
        follow_up_after=policy_page.duration(said.follow_up_after or "15m"),
        page=page,
        settings_limits=Limits(
            accuracy=settings.accuracy_rollback_threshold,
            latency_factor=settings.performance_degradation_threshold,
        ),
    )


class PolicyFile:
    """The policy file, read again when it changes.

    While it cannot be used the last good policy goes on, with everything that would run by
    itself and change something waiting for a person. The same where a file that was there, or
    that the settings name, is gone.

    Args:
        path: The file; without one what is built in holds.
        settings: For what the file does not say.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self._settings = settings
        self._lock = threading.Lock()
        self._good = built_in(settings)
        self._current = self._good
        self._problem = ""
        self._seen: tuple[int, int, int, int] | None = None
        self._looked = False

    def current(self) -> tuple[Policy, str]:
        """The policy that holds now, and what is wrong with the file; empty where nothing is."""
        with self._lock:
            seen = self._state()
            if not self._looked or seen != self._seen:
                self._looked, self._seen = True, seen
                self._read(there=seen is not None)
            return self._current, self._problem

    def _state(self) -> tuple[int, int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        # The last one changes also where only who may read it does.
        return found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns

    def _read(self, *, there: bool) -> None:
        before = self._problem
        try:
            if there:
                self._good = self._current = load(self.path, self._settings)
                self._problem = ""
                if before:
                    log.info("The policy file can be used again")
                return
            if not self._good.path and self._settings.policy_file is None:
                # There never was one that could be used.
                self._current, self._problem = self._good, ""
                return
            self._problem = (
                f"The policy file {self.path.name} is gone. Put it back, or restart Andon without "
                "one to go by the built-in policy."
            )
        except ConfigurationError as error:
            self._problem = str(error)
            # The file need not change for that to be over.
            self._looked = not isinstance(error, Unreadable)
        self._current = msgspec.structs.replace(self._good, tight=True)
        if self._problem != before:
            log.error(f"{self._problem} Until then nothing that changes something runs by itself.")


def described(policy: Policy, models: Collection[str]) -> dict[str, dict[str, Any]]:
    """The policy as plain values, for people and programs.

    Returns:
        `agent`, `actions` by type and `models` by name; durations in seconds.
    """
    return {
        "agent": {
            "enabled": policy.enabled,
            "dry_run": policy.dry_run,
            "actions_per_day": policy.actions_per_day,
            "approval_expires": policy.approval_expires.total_seconds(),
            "second_person": sorted(policy.second_person),
            "follow_up_after": policy.follow_up_after.total_seconds(),
        },
        "actions": {
            kind: {
                "risk": (found := policy.action(kind)).risk,
                "cooldown": found.cooldown.total_seconds(),
                "approvals": found.approvals,
            }
            for kind in ACTIONS
        },
        "models": {
            name: msgspec.to_builtins(policy.model(name))
            for name in sorted({*models, *policy.page.models} - {DEFAULT})
        },
    }


def default_text() -> str:
    """The built-in policy as a commented file: what `andon agent policy --write` puts down."""
    return policy_page.DEFAULT_TEXT
