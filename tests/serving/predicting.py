"""A server that answers pictures and prints the id of every answer it has given.

python -m tests.serving.predicting HOME
"""

import asyncio
import sys
from pathlib import Path

from tests.serving.boards import board

from andon.platform import Platform
from andon.settings import Settings


async def answer(platform: Platform, client: int) -> None:
    """One client that never stops."""
    for number in range(100_000):
        answered = await platform.engine.answer(
            board(seed=(client * 1000 + number) % 17_000 + 1), image_name=f"{client}.png"
        )
        sys.stdout.write(f"{answered.prediction_id}\n")
        sys.stdout.flush()


async def main() -> None:
    """Six clients at a time."""
    settings = Settings(
        home=Path(sys.argv[1]), _env_file=None, watch=False, inference_threads=1, log_level="ERROR"
    )
    platform = Platform(settings)
    platform.start()
    await asyncio.gather(*(answer(platform, client) for client in range(6)))


if __name__ == "__main__":
    asyncio.run(main())
