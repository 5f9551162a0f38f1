"""Two real servers on one PostgreSQL database, and what happens to the one that watches."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text
from tests.serving.boards import board, spot_model
from tests.serving.test_eim import trigger
from tests.store.conftest import empty_schema, postgres_server
from tests.support.fake_eim import build_fake_eim
from tests.support.servers import Server, servers, until

from andon.store.database import Database

pytestmark = [pytest.mark.slow, pytest.mark.postgres]
_LEASE = 3.0
_LOOK = 1.0
_NAME = f"andon-test-{os.getpid()}"


@pytest.fixture
def two(empty_schema: str, tmp_path: Path) -> Iterator[list[Server]]:
    """Both up, the one that watches first, and a version that serves."""
    Database(empty_schema).close()
    settings: dict[str, Any] = {"monitor_interval": _LOOK, "lease_seconds": _LEASE}
    named = make_url(empty_schema).update_query_dict({"application_name": _NAME})
    settings["database_url"] = named.render_as_string(hide_password=False)
    with servers(tmp_path, 2, **settings) as both:
        until(lambda: sum(one.watches() for one in both) == 1)
        both.sort(key=lambda one: not one.watches())
        both[0].deploy(spot_model(tmp_path / "first.onnx", name="first"))
        for one in both:
            until(lambda one=one: serves(one, 1))
        yield both


def serves(server: Server, version: int) -> bool:
    """Whether a version answers there."""
    found: bool = server.get("/health")["active_model"] == version
    return found


def test_what_one_finds_the_other_shows_and_does(two: list[Server], tmp_path: Path):
    """Numbers and usual sharpness reach the one that does not watch; its trip is acted on.

    A subject is answered by the same version by both.
    """
    holder, other = two
    for number in range(12):
        assert two[number % 2].predict(board(seed=number + 1)).status_code == 200
    until(lambda: other.get("/api/performance?model=pcb")["signals"])
    mine = {one["name"] for one in holder.get("/api/performance?model=pcb")["signals"]}
    assert {one["name"] for one in other.get("/api/performance?model=pcb")["signals"]} == mine

    candidate = spot_model(tmp_path / "second.onnx", name="second")
    other.deploy(candidate, activate="false")
    wish = {"mode": "canary", "version": 2, "weight": 0.4}
    assert other.client.put("/api/traffic", json=wish).status_code == 200
    time.sleep(1.5)
    by = [
        [one.predict(board(seed=50 + k), subject=f"s{k}").json()["model_version"] for one in two]
        for k in range(25)
    ]
    assert all(first == second for first, second in by)
    assert {1, 2} == {first for first, _ in by}
    assert other.client.delete("/api/traffic").status_code == 200

    crashing = build_fake_eim(tmp_path / "bad.eim", size=64, misbehave="crash", on="magenta")
    other.deploy(crashing)
    until(lambda: serves(holder, 3))
    began = time.monotonic()
    while not (serves(other, 1) and serves(holder, 1)):
        other.predict(trigger())
        assert time.monotonic() - began < 15
    assert time.monotonic() - began < 5
    (done,) = holder.get("/api/actions")["actions"]
    assert (done["action_type"], done["status"]) == ("rollback_model", "succeeded")


def test_when_the_holder_stops_or_dies_the_other_takes_over(two: list[Server], empty_schema: str):
    """Within 15 s; and the one that stood still knows that it is the one no more."""
    holder, other = two
    holder.signal(signal.SIGSTOP)
    assert until(other.watches, 15) < 15
    holder.signal(signal.SIGCONT)
    assert not holder.watches()
    until(lambda: other.get("/api/watch")["last_look"])
    # The network fails for a moment: every connection to the database is cut.
    engine = create_engine(empty_schema, isolation_level="AUTOCOMMIT")
    cut = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = :us"
    )
    with engine.connect() as connection:
        connection.execute(cut, {"us": _NAME})
    engine.dispose()
    time.sleep(0.5)
    assert sum(one.watches() for one in two) == 1
    other.signal(signal.SIGKILL)
    assert until(holder.watches, 15) < 15


__all__ = ["empty_schema", "postgres_server"]
