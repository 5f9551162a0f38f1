"""Deletes what is old: received pictures, cached drawings, and rows of the log."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from andon.settings import Settings
from andon.store.clock import now
from andon.store.database import Database
from andon.store.pictures import Pictures
from andon.store.space import shrink, space
from andon.store.steps import Deleted, Pace

log = structlog.get_logger("andon.housekeeping")

INTERVAL = 3600.0
"""Seconds between two sweeps."""

_DAY = 86400.0

# Of the time that is spent on rows, at most this share holds up those who write.
_SHARE = 0.2
_LEAST_PAUSE = 0.02
# So soon it is noticed that the server stops, seconds.
_SLICE = 0.1
# Then the pictures are looked after again, and the rest of the rows in the next round.
_LONGEST = 1800.0


def sweep(pictures: Pictures, settings: Settings) -> int:
    """Delete pictures and drawings past their days, and pictures beyond their size.

    Returns:
        Files deleted.
    """
    count = pictures.sweep(settings.keep_uploads_days, settings.max_uploads_bytes)
    count += sweep_folder(settings.output, settings.keep_output_days)
    if count:
        log.info("Old pictures were deleted", files=count)
    return count


def sweep_folder(folder: Path, keep_days: float) -> int:
    """Delete the files of a folder that were last written more than `keep_days` ago.

    Returns:
        Files deleted.
    """
    oldest = time.time() - keep_days * _DAY
    count = 0
    try:
        files = [path for path in folder.iterdir() if not path.is_dir()]
    except FileNotFoundError:
        return 0
    for path in files:
        try:
            if path.lstat().st_mtime < oldest:
                path.unlink()
                count += 1
        except OSError as error:
            log.warning(f"{path.name} could not be deleted: {error.strerror}")
    return count


class RowSweep:
    """Deletes old rows of the database, a few at a time, and gives their room back.

    Args:
        db: The database.
        settings: How long what is kept.
        may: Whether this server is the one that deletes, and goes on; asked again and again.
        registry: Where the numbers for Prometheus are collected; a new one if None.
    """

    def __init__(
        self,
        db: Database,
        settings: Settings,
        may: Callable[[], bool],
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._db = db
        self._settings = settings
        self._may = may
        registry = registry if registry is not None else CollectorRegistry()
        self._deleted = Counter(
            "andon_rows_deleted_total",
            "Rows that this server deleted because they were old.",
            ["kind"],
            registry=registry,
        )
        self._size = Gauge(
            "andon_database_size_bytes", "Size of the database, once an hour.", registry=registry
        )
        self._free = Gauge(
            "andon_database_free_bytes",
            "Part of it that is free for new rows (SQLite), once an hour.",
            registry=registry,
        )

    def run(self) -> dict[str, int]:
        """Delete what is old, unless another server does.

        Returns:
            Rows deleted, by kind; kinds of which nothing was deleted are left out.

        Raises:
            AndonError: The database cannot be read or takes no writes; what was deleted stays so.
        """
        counts: dict[str, int] = {}
        given_back = 0
        pace = _pace(self._may)
        began = time.monotonic()
        try:
            if self._may():
                for kind, days, delete in self._kinds():
                    if not days:
                        continue
                    done = delete(now() - timedelta(days=days), pace)
                    if done.rows:
                        counts[kind] = done.rows
                        self._deleted.labels(kind).inc(done.rows)
                    if not done.finished:
                        break
                given_back = shrink(self._db, pace=pace)
        finally:
            if counts or given_back:
                took = round(time.monotonic() - began, 1)
                log.info("Old rows were deleted", **counts, bytes_given_back=given_back, took=took)
            self._measure()
        return counts

    def _kinds(self) -> list[tuple[str, float, Callable[[datetime, Pace], Deleted]]]:
        """What is deleted: its name, after how many days, and how."""
        rows, settings = self._db.retention, self._settings
        return [
            (
                "predictions",
                settings.keep_predictions_days,
                lambda before, pace: rows.delete_predictions(before, pace=pace),
            ),
            (
                "labelled",
                settings.keep_labelled_days,
                lambda before, pace: rows.delete_predictions(before, labelled=True, pace=pace),
            ),
            (
                "telemetry",
                settings.keep_telemetry_days,
                lambda before, pace: rows.delete_telemetry(before, pace=pace),
            ),
            (
                "jobs",
                settings.keep_jobs_days,
                lambda before, pace: rows.delete_jobs(before, pace=pace),
            ),
            (
                "alerts",
                settings.keep_alerts_days,
                lambda before, pace: rows.delete_alerts(before, pace=pace),
            ),
        ]

    def _measure(self) -> None:
        with self._db.read() as connection:
            found = space(connection)
        self._size.set(found.size)
        self._free.set(found.free)


def _pace(may: Callable[[], bool]) -> Pace:
    """Pauses in proportion to the time a transaction took: a slow card gets longer ones."""
    until = time.monotonic() + _LONGEST

    def pause(took: float) -> bool:
        end = time.monotonic() + max(_LEAST_PAUSE, took * (1 / _SHARE - 1))
        while (left := end - time.monotonic()) > 0 and may():
            time.sleep(min(left, _SLICE))
        return may() and time.monotonic() < until

    return pause
