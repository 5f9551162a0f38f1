"""Agents with all their real parts that die by ``kill -9``, and the ones that come after them.

    python -m tests.agent.killing FOLDER PLACE KIND...

For each kind of action an installation is made, an action is asked for, and the process dies at
the place. The next process goes on; what is found then is printed, one line of JSON for each kind.
Processes are forked before anything has a thread: what they import is read once.
"""

import json
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from andon.agent import files
from andon.agent.policy import ACTIONS
from andon.monitoring import quality
from andon.notify.alerting import Alerting
from andon.platform import Platform
from andon.serving.deployment import Deployments
from andon.settings import Settings
from andon.store.agent_actions import AgentActions
from andon.store.clock import now
from andon.store.model_versions import ModelVersions
from andon.training.retraining import Retraining

ROWS = "heart-disease"
PLACES = (
    "after-deciding", "after-claiming", "before-doing", "half-way", "after-doing",
    "before-finishing", "after-finishing",
)  # fmt: skip
_DOING: dict[str, tuple[Any, str]] = {
    "rollback_model": (Deployments, "rollback"),
    "promote_model": (Deployments, "activate"),
    "retrain_model": (Retraining, "ask"),
    "adjust_threshold": (Deployments, "set_threshold"),
    "send_alert": (Alerting, "see"),
    "collect_diagnostics": (files, "put"),
    "generate_report": (files, "put"),
    "validate_data": (quality, "validate"),
}
_HALF: dict[str, tuple[Any, str]] = {
    "rollback_model": (ModelVersions, "set_active"),
    "promote_model": (ModelVersions, "set_active"),
    "adjust_threshold": (ModelVersions, "set_threshold"),
}


def opened(home: Path) -> Platform:
    """The installation, without a server; every action runs at once."""
    platform = Platform(Settings(home=home, inference_threads=1, _env_file=None))
    platform.start(serve=False)
    return platform


def made(home: Path) -> None:
    """An installation with two versions that served and a canary."""
    from tests.serving.boards import spot_model
    from tests.support.tabular_models import heart

    home.mkdir(parents=True)
    low = "".join(f'[actions.{kind}]\nrisk = "low"\n' for kind in ACTIONS)
    (home / "policy.toml").write_text(low, encoding="utf-8")
    platform = opened(home)
    paths = [spot_model(home / f"m{number}.onnx", name=f"m{number}") for number in (1, 2, 3)]
    for path in [*paths, heart(home / "heart.onnx")]:
        received = platform.deployments.receive()
        received.write(path.read_bytes())
        platform.deployments.deploy(
            received.finish(), filename=path.name, source="cli", actor="anna",
            activate=path.stem != "m3",
        )  # fmt: skip
    platform.engine.traffic.start("pcb", "canary", 3, 0.2, "anna", "")
    platform.stop()


def ask(platform: Platform, kind: str) -> str:
    """Ask for an action; its id."""
    given: dict[str, dict[str, Any]] = {
        "adjust_threshold": {"to_threshold": 0.35},
        "send_alert": {"message": "Look at the line."},
    }
    model = ROWS if kind == "retrain_model" else "pcb"
    return platform.agent.propose(
        kind, by="Anna", model=model, parameters=given.get(kind, {}), reason="Because."
    ).action_id


def arm(kind: str, place: str) -> None:
    """Let this process die at a place."""
    if place in {"before-doing", "after-doing"}:
        _die(*_DOING[kind], after=place == "after-doing")
    elif place == "half-way":
        _die(*_HALF.get(kind, _DOING[kind]), after=True)
    else:
        name = {"deciding": "propose", "claiming": "claim", "finishing": "finish"}
        when, _, what = place.partition("-")
        _die(AgentActions, name[what], after=when == "after")


def _die(owner: Any, name: str, *, after: bool) -> None:
    real: Callable[..., Any] = getattr(owner, name)

    def dying(*given: Any, **more: Any) -> None:
        if after:
            real(*given, **more)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, dying)


def forked(work: Callable[[], None]) -> int:
    """Do something in a process of its own; the signal that ended it, or its exit code."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(3)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def found(home: Path, kind: str) -> dict[str, Any]:
    """Go on in the next process, twice; what there is then."""
    platform = opened(home)
    try:
        for later in (0, 30, 60):
            platform.agent.tick(now() + timedelta(seconds=later))
            platform.agent.stop()
        actions = platform.db.actions.page(action_type=kind)[0]
        events = platform.db.events.page(limit=100)[0]
        active = platform.db.models.active("pcb")
        rollout = platform.db.rollouts.page("pcb")[0][0]
        return {
            "kind": kind,
            "actions": [[one.status, one.error] for one in actions],
            "events": Counter(one.event_type for one in events if one.action_id),
            "active": None if active is None else active.version,
            "threshold": platform.db.models.get("pcb", 2).threshold,
            "rollout": rollout.status,
            "runs": [run.status for run in platform.db.training.page()[0]],
            "jobs": [job.kind for job in platform.db.jobs.page()[0]],
            "alerts": [one.title for one in platform.db.alerts.page()[0]],
            "files": sorted(
                path.name[37:] for path in (home / "reports").glob("*") if path.name[0] != "."
            ),
            "result": sorted((actions[0].execution_result or {}) if actions else ()),
        }
    finally:
        platform.stop()


def main(folder: Path, place: str, kinds: list[str]) -> None:
    """All of it."""
    fresh = folder / "fresh"
    forked(lambda: made(fresh))
    for kind in kinds:
        home = folder / f"{place}-{kind}"
        shutil.copytree(fresh, home)

        def live(home: Path = home, kind: str = kind) -> None:
            platform = opened(home)
            if place == "after-deciding":
                arm(kind, place)
            ask(platform, kind)
            arm(kind, place)
            platform.agent.tick(now())
            platform.agent.stop()
            for thread in platform.agent._worker._threads:
                thread.join()

        ended = forked(live)

        def after(home: Path = home, kind: str = kind, ended: int = ended) -> None:
            line = json.dumps({"ended": ended, **found(home, kind)})
            os.write(1, f"{line}\n".encode())

        forked(after)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:] or list(ACTIONS))
