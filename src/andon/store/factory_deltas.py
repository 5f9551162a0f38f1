"""What events add to the sums by hour and by day, gathered and then stored at once."""

from typing import Any

HOUR = 3_600_000_000
DAY = 24 * HOUR
HOURS = 3600
DAYS = 86_400
"""Widths of the stored buckets, seconds."""

TIMES = ("working", "idle", "absent")
SUMS = (*TIMES, "units", "events")
"""The columns of sums, of these the first in microseconds."""

_PLACES = {name: place for place, name in enumerate(SUMS)}
# Where each sum is in a list of them.
_UNITS, _EVENTS = _PLACES["units"], _PLACES["events"]

Key = tuple[int, str, str]
"""Start of the hour, worker, station."""


class Deltas:
    """What events add to the sums, gathered over a transaction."""

    def __init__(self) -> None:
        self._hours: dict[Key, list[int]] = {}

    def count(self, timestamp: int, worker: str, station: str, units: int) -> None:
        """A new product_count."""
        sums = self._at(timestamp - timestamp % HOUR, worker, station)
        sums[_UNITS] += units
        sums[_EVENTS] += 1

    def state(self, start: int, until: int, worker: str, station: str, kind: str) -> None:
        """A new state and its time."""
        hour = start - start % HOUR
        sums = self._at(hour, worker, station)
        sums[_EVENTS] += 1
        if until <= hour + HOUR:
            sums[_PLACES[kind]] += until - start
        else:
            self.time(start, until, worker, station, kind, 1)

    def time(self, start: int, until: int, worker: str, station: str, kind: str, sign: int) -> None:
        """Time of a state that is gained (sign 1) or lost (-1), split over the hours."""
        place = _PLACES[kind]
        while start < until:
            hour = start - start % HOUR
            end = min(until, hour + HOUR)
            self._at(hour, worker, station)[place] += sign * (end - start)
            start = end

    def units(self, timestamp: int, worker: str, station: str, units: int) -> None:
        """Units that a stored count gained (or lost)."""
        self._at(timestamp - timestamp % HOUR, worker, station)[_UNITS] += units

    def lost(self, timestamp: int, worker: str, station: str, units: int) -> None:
        """An event less, with its units."""
        sums = self._at(timestamp - timestamp % HOUR, worker, station)
        sums[_UNITS] -= units
        sums[_EVENTS] -= 1

    def take(self, before: int | None = None) -> dict[Key, list[int]]:
        """Remove and hand out the sums of the hours before `before`, or of all."""
        if before is None:
            taken, self._hours = self._hours, {}
            return taken
        keys = [key for key in self._hours if key[0] < before]
        return {key: self._hours.pop(key) for key in keys}

    def rows(self, before: int | None = None) -> list[tuple[Any, ...]]:
        """Remove and hand out what was gathered (of the hours before `before`) as rows.

        By hour and by day: width, start, worker, station and the sums; sorted by these, so that
        everybody adds in the same order.
        """
        hours = self.take(before)
        days: dict[Key, list[int]] = {}
        for (start, worker, station), sums in hours.items():
            key = (start - start % DAY, worker, station)
            day = days.get(key)
            if day is None:
                days[key] = sums.copy()
            else:
                for place, value in enumerate(sums):
                    day[place] += value
        rows: list[tuple[Any, ...]] = [
            (width, *key, *sums)
            for width, buckets in ((HOURS, hours), (DAYS, days))
            for key, sums in buckets.items()
            if any(sums)
        ]
        rows.sort()
        return rows

    def _at(self, hour: int, worker: str, station: str) -> list[int]:
        key = (hour, worker, station)
        sums = self._hours.get(key)
        if sums is None:
            sums = self._hours[key] = [0, 0, 0, 0, 0]
        return sums
