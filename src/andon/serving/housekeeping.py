"""Deletes what is old: received pictures and cached drawings."""

import time
from pathlib import Path

import structlog

from andon.settings import Settings
from andon.store.pictures import Pictures

log = structlog.get_logger("andon.housekeeping")

INTERVAL = 3600.0
"""Seconds between two sweeps."""

_DAY = 86400.0


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
