"""Eye measurements of drivers: simulated ones, and recorded traces played back.

Two things become telemetry here. A trace of the eye aspect ratio (EAR), frame by frame, is
judged as a device in the car would do it (`replay`). A drive that did not happen is made up
from blinks, growing fatigue and microsleeps (`measurements`): plausible, not measured.

An eye counts as closed while its EAR is below a threshold. `duration_ms` is how long it has
been closed, this frame included; 0 while it is open. `is_drowsy` says that it has been closed
longer than a blink lasts: half a second and more (blinks take 0.1 to 0.4 s).
"""

import csv
import heapq
import math
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple

import msgspec

from andon.errors import UnusableUpload
from andon.store.clock import micros
from andon.store.ids import uuid7_of

DROWSY_AFTER = 0.5
"""Closed for so long is more than a blink, seconds."""

_EDGE_SECONDS = 0.06

Measurement = dict[str, Any]
"""Telemetry as it is sent; `timestamp` is an aware datetime."""


class Frame(NamedTuple):
    """One frame of a trace; `ear` is None where no face was found."""

    number: int
    ear: float | None


class Drive(msgspec.Struct, frozen=True):
    """What to simulate.

    Args:
        start: When the drivers set off, an aware time.
        drivers: D1, D2, …
        hours: How long they drive.
        rate: Measurements of a driver per second.
        seed: The same seed, the same drives.
        site: `site_id` of the telemetry; empty: none.
    """

    start: datetime
    drivers: int = 3
    hours: float = 1.0
    rate: float = 10.0
    seed: int = 1
    site: str = ""


def read_trace(lines: Iterable[str]) -> Iterator[Frame]:
    """The frames of a CSV file with the columns ``Frame``, ``EAR_r`` and ``EAR_l``, or ``EAR``.

    The EAR is the mean of both eyes. Without the column ``Frame`` the rows are counted from 0.

    Raises:
        UnusableUpload: A column is missing, or a row does not hold numbers.
    """
    rows = csv.reader(lines)
    header = [name.strip().lower().lstrip("\ufeff") for name in next(rows, [])]
    eyes = [header.index(name) for name in ("ear_r", "ear_l", "ear") if name in header]
    if not eyes:
        raise UnusableUpload(
            "The trace has no column EAR_r, EAR_l or EAR.",
            hint="Its first line must name the columns, such as Frame,EAR_r,EAR_l.",
        )
    place = header.index("frame") if "frame" in header else None
    for number, row in enumerate(rows):
        if not any(row):
            continue
        try:
            values = [float(row[eye] or "nan") for eye in eyes]
            frame = number if place is None else int(row[place])
        except (ValueError, IndexError) as error:
            raise UnusableUpload(f"Line {number + 2} of the trace holds no numbers.") from error
        ear = math.fsum(values) / len(values)
        yield Frame(frame, max(0.0, ear) if math.isfinite(ear) else None)


def replay(
    frames: Iterable[Frame],
    *,
    fps: float,
    start: datetime,
    threshold: float,
    drowsy_after: float = DROWSY_AFTER,
    further: dict[str, str] | None = None,
) -> Iterator[Measurement]:
    """One measurement per frame with a face, as the device would have sent it.

    Args:
        frames: In their order.
        fps: Frames per second.
        start: The time of frame 0, aware.
        threshold: EAR below which an eye is closed.
        drowsy_after: Time closed from which a driver counts as drowsy, seconds.
        further: `driver_id` and the like, for each.
    """
    closed_from: int | None = None
    for frame in frames:
        if frame.ear is None or frame.ear >= threshold:
            closed_from = None
        elif closed_from is None:
            closed_from = frame.number
        if frame.ear is None:
            continue
        closed = 0.0 if closed_from is None else (frame.number - closed_from + 1) / fps
        yield {
            "timestamp": start + timedelta(seconds=frame.number / fps),
            "ear_value": frame.ear,
            # Frames are counted, so 15 of them at 30 per second are half a second exactly.
            "is_drowsy": closed_from is not None and closed >= drowsy_after,
            "duration_ms": round(closed * 1000, 3),
            **(further or {}),
        }


def measurements(drive: Drive) -> Iterator[Measurement]:
    """The telemetry of every driver, in the order of its time."""
    drivers = [_driver(drive, f"D{number + 1}") for number in range(drive.drivers)]
    return heapq.merge(*drivers, key=lambda one: (one["timestamp"], one["driver_id"]))


def fatigue(hours: float, of_day: float, constitution: float) -> float:
    """How tired a driver is, 0 to 1: by the time at the wheel, and in the small hours.

    Args:
        hours: Time at the wheel.
        of_day: Hour of the day, 0 to 24; four in the morning is worst.
        constitution: Of this driver; 1 is usual.
    """
    night = max(0.0, math.cos((of_day - 4) / 24 * math.tau))
    return min(1.0, (0.1 + 0.4 * min(1.0, hours / 8) + 0.45 * night) * constitution)


def _driver(drive: Drive, driver: str) -> Iterator[Measurement]:
    chance = Random(f"{drive.seed}/{driver}")
    eyes_open, eyes_closed = chance.uniform(0.27, 0.33), chance.uniform(0.06, 0.11)
    constitution = chance.uniform(0.8, 1.25)
    set_off = chance.uniform(0, 2)  # hours at the wheel before the recording begins
    first = drive.start.hour + drive.start.minute / 60
    begin = end = 0.0
    for number in range(int(drive.hours * 3600 * drive.rate)):
        at = number / drive.rate
        tired = fatigue(set_off + at / 3600, (first + at / 3600) % 24, constitution)
        while at >= end:
            begin = end + chance.expovariate((14 + 12 * tired) / 60)
            end = begin + _closure(chance, tired)
        depth = max(0.0, min(1.0, (at - begin) / _EDGE_SECONDS, (end - at) / _EDGE_SECONDS))
        wide = eyes_open - 0.04 * tired
        ear = wide + (eyes_closed - wide) * depth + chance.gauss(0, 0.006)
        closed = at - begin if depth > 0.5 else 0.0
        item: Measurement = {
            "timestamp": drive.start + timedelta(seconds=at),
            "driver_id": driver,
            "device_id": f"cab-{driver}",
            "ear_value": round(max(0.0, ear), 4),
            "is_drowsy": closed >= DROWSY_AFTER,
            "duration_ms": round(closed * 1000, 1),
        }
        if drive.site:
            item["site_id"] = drive.site
        key = "|".join(map(str, item.values()))
        yield {"event_id": uuid7_of(micros(item["timestamp"]), key.encode()), **item}


def _closure(chance: Random, tired: float) -> float:
    """How long the next closure lasts, seconds: a blink, or a microsleep of somebody tired."""
    if chance.random() < 0.12 * tired**3:
        return chance.uniform(0.7, 4.0)
    return min(0.45, chance.lognormvariate(math.log(0.17 * (1 + 0.5 * tired)), 0.25))
