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


def watched(address: str) -> dict[str, object]:
    """What a server says of who watches."""
    return get(f"{address}/api/watch")


@pytest.mark.slow
@pytest.mark.postgres
def test_another_server_watches_within_15_s_after_kill_9(
    postgres_url: str,  # noqa: F811 - the fixture
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the default lease: the other one says so, looks at the models, and raises an alert."""
    monkeypatch.setenv("ANDON_DATABASE_URL", postgres_url)
    monkeypatch.setenv("ANDON_MONITOR_INTERVAL", "1")
    servers = [Serving("--home", str(tmp_path / name)) for name in ("one", "two")]
    try:
        addresses = [server.address() for server in servers]
        wait(lambda: sum(bool(watched(one)["mine"]) for one in addresses) == 1)
        first = next(place for place, one in enumerate(addresses) if watched(one)["mine"])
        other = addresses[1 - first]
        before = watched(other)
        assert before["holder"] == watched(addresses[first])["holder"]
        servers[first].process.kill()
        begin = time.monotonic()
        wait(lambda: watched(other)["mine"])
        assert time.monotonic() - begin < 15
        wait(lambda: str(watched(other)["last_look"]) > str(before["last_look"]))
        wait(lambda: "fell silent" in str(get(f"{other}/api/alerts?status=open")))
    finally:
        for server in servers:
            server.process.kill()
            server.process.communicate()


def wait(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for something that a server does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)
