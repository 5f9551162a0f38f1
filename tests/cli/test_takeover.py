"""Two real servers on one database: when the one that watches is killed, the other takes over."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.test_serve import Serving, get
from tests.store.conftest import (  # noqa: F401 - pytest finds fixtures by their name here
    migrated_schema,
    postgres_server,
    postgres_url,
)

from andon.jobs import lease
from andon.settings import Settings

_LEASE = 2.0


def watched(address: str) -> dict[str, object]:
    """What a server says of who watches."""
    return get(f"{address}/api/watch")


def test_nobody_watches_for_15_s_at_most() -> None:
    """With the settings as they come: the length of the lease, and the wait until it is tried."""
    seconds = Settings(_env_file=None).lease_seconds
    assert seconds + min(seconds / lease._SHARE, lease._LONGEST_POLL) < 15


@pytest.mark.slow
@pytest.mark.postgres
def test_another_server_watches_after_kill_9(
    postgres_url: str,  # noqa: F811 - the fixture
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a short lease: the other one says so, looks at the models, and raises an alert."""
    monkeypatch.setenv("ANDON_DATABASE_URL", postgres_url)
    monkeypatch.setenv("ANDON_MONITOR_INTERVAL", "1")
    monkeypatch.setenv("ANDON_LEASE_SECONDS", f"{_LEASE:g}")
    servers = [Serving("--home", str(tmp_path / name)) for name in ("one", "two")]
    try:
        addresses = [server.address() for server in servers]
        wait(lambda: sum(bool(watched(one)["mine"]) for one in addresses) == 1)
        first = next(place for place, one in enumerate(addresses) if watched(one)["mine"])
        other = addresses[1 - first]
        # Both name the same holder; on a slow machine it may need a moment to be heard of.
        wait(lambda: watched(other)["holder"] == watched(addresses[first])["holder"] != "")
        wait(lambda: watched(other)["last_look"] is not None)
        servers[first].process.kill()
        servers[first].process.wait()
        before = watched(other)["last_look"]
        wait(lambda: watched(other)["mine"])
        wait(lambda: str(watched(other)["last_look"]) > str(before))
        wait(lambda: "fell silent" in str(get(f"{other}/api/alerts?status=open")))
    finally:
        for server in servers:
            server.process.kill()
            server.process.communicate()


def wait(condition: Callable[[], object], seconds: float = 90.0) -> None:
    """Wait for something that a server does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)
