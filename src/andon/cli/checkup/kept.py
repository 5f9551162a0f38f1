"""How large the database is, how much of it is free, and since when its rows are kept."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from andon.cli.checkup import rows
from andon.cli.checkup.finding import Finding, ok, warn
from andon.cli.output import size
from andon.errors import AndonError

if TYPE_CHECKING:
    from andon.settings import Settings


def examine(settings: "Settings") -> Iterator[Finding]:
    """All checks of what is kept; none where there is no database that can be read."""
    if not settings.database_url and not (settings.home / "andon.db").exists():
        return
    try:
        with rows.reading(settings) as database:
            found = database.kept()
    except AndonError:
        # `storage` has said so.
        return
    if found is None:
        return
    room = f"The database takes {size(found.space.size)}"
    if found.space.free:
        room += f", {size(found.space.free)} of them free for new rows"
    if found.space.much_free and not found.space.shrinks:
        yield warn(
            "size",
            f"{room}; its file was made by an older Andon and gets no smaller by itself.",
            "Leave it so: new rows use that room first. To have it back, stop Andon and run "
            f"sqlite3 {rows.shown(settings)} 'PRAGMA auto_vacuum=INCREMENTAL; VACUUM;' with as "
            f"much free disk as stays in use ({size(found.space.size - found.space.free)}).",
        )
    else:
        yield ok("size", f"{room}.")
    days = settings.keep_predictions_days
    promise = f"kept for {days:g} days" if days else "kept for ever"
    if found.first is None:
        yield ok("rows", f"No prediction is in the log; they are {promise}.")
        return
    text = f"Predictions go back to {max(found.first, found.since or found.first):%Y-%m-%d}"
    if found.since is not None and found.first < found.since:
        text += f", those with a label to {found.first:%Y-%m-%d}"
    yield ok("rows", f"{text}; they are {promise}.")
