"""Edge Impulse models in service: programs that may die, hang or lie."""

import asyncio
import time

import pytest
from tests.serving.boards import board, until
from tests.support.fake_eim import build_fake_eim

from andon.errors import AndonError, ModelRejected, RuntimeFailed

pytestmark = pytest.mark.slow


def trigger(size: int = 64) -> bytes:
    """The picture that makes a fake misbehave."""
    import io

    from PIL import Image

    image = Image.new("RGB", (size, size))
    image.paste((255, 0, 255), (0, 0, 8, 8))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def eim(line, tmp_path):
    """Deploys a fake `.eim`."""
    line.start(eim_timeout=1.0, eim_start_timeout=10.0)

    def deploy(**config):
        return line.deploy(build_fake_eim(tmp_path / "model.eim", **config))

    return deploy


def test_an_eim_is_deployed_and_answers(line, eim):
    """It is a program in the registry, executable, and finds the spot."""
    version = eim().version
    assert version.format == "eim"
    stored = line.home / "models" / "pcb" / "model_v1.eim"
    assert stored.stat().st_mode & 0o111
    assert line.ask_async().detections


@pytest.mark.parametrize("misbehaviour", ["crash", "hang", "garbage", "half-reply"])
def test_one_that_misbehaves_costs_one_answer(line, eim, misbehaviour):
    """The request gets an error in time; the next ones are answered."""
    eim(misbehave=misbehaviour, on="magenta")
    started = time.monotonic()
    with pytest.raises(AndonError) as caught:
        line.ask_async(trigger())
    assert caught.value.status == 503
    assert time.monotonic() - started < 8
    until(lambda: answers(line), seconds=15)
    line.platform.db.writer.flush()
    assert line.platform.db.predictions.page(status="error")[0]


def answers(line) -> bool:
    """Whether a good picture is answered now."""
    try:
        return bool(line.ask_async().detections)
    except AndonError:
        return False


def test_others_are_not_harmed_by_one_that_crashes(line, eim):
    """Another model's answers come as if nothing had happened."""
    eim(misbehave="crash", on="magenta")
    line.deploy(line.file("other"), model="solder")

    async def both():
        bad = [line.engine.answer(trigger(), image_name="bad.png") for _ in range(2)]
        good = [
            line.engine.answer(board(seed=n + 1), image_name="good.png", model="solder")
            for n in range(20)
        ]
        return await asyncio.gather(*bad, *good, return_exceptions=True)

    found = asyncio.run(both())
    assert all(isinstance(one, AndonError) for one in found[:2])
    assert all(one.detections for one in found[2:])


def test_one_that_cannot_start_is_never_activated(line, eim):
    """The reason is in the refusal; what served goes on."""
    line.deploy("first")
    with pytest.raises(ModelRejected):
        eim(misbehave="exit-at-start")
    assert line.ask().model_version == 1
    assert len(line.platform.db.models.list("pcb")) == 1


def test_one_without_its_exec_bit_is_mended_at_start(line, eim):
    """An upload or a copy lost the bit; the start gives it back."""
    eim()
    stored = line.home / "models" / "pcb" / "model_v1.eim"
    line.stop()
    stored.chmod(0o644)
    line.start(eim_timeout=1.0, eim_start_timeout=10.0)
    assert stored.stat().st_mode & 0o777 == 0o755
    assert line.ask_async().detections


def test_it_is_restarted_from_where_it_is_kept(line, eim):
    """Proven in the intake, served from the registry: a crash after that is survived."""
    eim(misbehave="crash", on="magenta")
    assert not list((line.home / "models" / ".incoming").iterdir())
    with pytest.raises(RuntimeFailed):
        line.ask_async(trigger())
    until(lambda: answers(line), seconds=15)
