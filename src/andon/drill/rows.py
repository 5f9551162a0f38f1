"""Made-up boards that leave a reflow oven, as rows: what the drill's own model answers."""

import math
import random
from collections.abc import Iterator
from typing import Any

TARGET = "rework"
COLUMNS = ("peak_temperature", "time_above_liquidus", "conveyor_speed", "humidity", "paste")

_PASTES = ("SAC305", "SAC387", "SN100C")


def made_up(
    count: int, *, seed: int, drifted: bool = False
) -> Iterator[tuple[dict[str, Any], bool]]:
    """Rows, each with whether the board needed rework.

    Args:
        count: How many.
        seed: The same seed, the same rows.
        drifted: As after a repair of the oven: hotter, slower, with a paste of another maker.
    """
    draw = random.Random(seed)
    for _ in range(count):
        peak = draw.gauss(252.0 if drifted else 245.0, 4.0)
        above = draw.gauss(78.0 if drifted else 65.0, 8.0)
        humidity = min(90.0, max(10.0, draw.gauss(45.0, 7.0)))
        row = {
            "peak_temperature": round(peak, 1),
            "time_above_liquidus": round(above, 1),
            "conveyor_speed": round(draw.gauss(80.0, 3.0), 1),
            "humidity": round(humidity, 1),
            "paste": draw.choice(_PASTES[1:] if drifted else _PASTES),
        }
        strain = 1.1 * (peak - 245.0) + 0.4 * (above - 65.0) + 0.25 * (humidity - 45.0) - 3.0
        yield row, draw.random() < 1 / (1 + math.exp(-strain))
