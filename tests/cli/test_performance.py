"""`andon performance`: how versions do, from a terminal."""

from pathlib import Path

from tests.cli.conftest import Andon


def test_what_serves_is_told_with_every_signal(serving: Andon, picture: Path) -> None:
    """In sentences, and as JSON; it leaves with 0 where nothing is bad."""
    assert serving("predict", picture).code == 0
    done = serving("performance")
    assert done.code == 0, done.err
    assert "pcb v1" in done.out
    assert "1, 0 failed, 0 refused" in done.out
    assert "unknown error_rate" in done.out
    (found,) = serving("performance", "--model", "pcb", "--json").json
    assert found["performance"]["count"] == 1
    assert {one["state"] for one in found["signals"]} <= {"ok", "unknown"}


def test_nobody_serves_and_nobody_is_known(andon: Andon) -> None:
    """Sentences with the next step."""
    done = andon("performance", "--version", "3")
    assert done.code != 0
    assert "--version needs --model" in done.err
